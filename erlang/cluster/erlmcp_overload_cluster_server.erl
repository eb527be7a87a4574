-module(erlmcp_overload_cluster_server).
-moduledoc """
The process of `m:erlmcp_overload_cluster`: it tells the others of this node, keeps what they tell, and sets this node's
shares of rates. What it makes of all that is decided in `m:erlmcp_overload_cluster_picture`,
`m:erlmcp_overload_cluster_shares` and `m:erlmcp_overload_cluster_message`.

It sends one message to each node at each interval, as a cast that is dropped where it would have to wait, and asks
nobody anything. It is found through a group of its name in the scope of `m:pg`. What others send is taken in if it is
of a node that is connected and not hidden: so nobody can make up names.

Whoever reads has a view of an ETS table, made anew at each interval, and 50 ms after a connection was lost.
""".

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, reload/0, read/0, counted/0, is_readable/0, whole/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(NAME, erlmcp_overload_cluster).
%% The scope: no module.
-define(SCOPE, erlmcp_overload).
-define(VIEW_MS, 50).
-define(WHOLE, 1_000_000_000).

-record(state, {
    options :: erlmcp_overload_cluster_options:options(),
    name = node() :: node(),
    picture = erlmcp_overload_cluster_picture:new() :: erlmcp_overload_cluster_picture:picture(),
    meter = erlmcp_overload_cluster_shares:new() :: erlmcp_overload_cluster_shares:meter(),
    %% Those that are connected and not hidden.
    connected = #{} :: #{node() => []},
    %% How many messages were not sent, since they would have had to wait.
    unsent = 0 :: non_neg_integer(),
    %% Whether there are rates that the others cannot be told of, since the message has no room.
    untold = false :: boolean(),
    view = none :: none | reference()
}).

-doc "Starts the process, registered as `erlmcp_overload_cluster`, with what is configured.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    Options = [{spawn_opt, [{priority, high}, {message_queue_data, off_heap}]}],
    gen_server:start_link({local, ?NAME}, ?MODULE, [], Options).

-doc "Has the process go by what is configured now.".
-spec reload() -> ok.
reload() ->
    gen_server:cast(?NAME, reload).

-doc "Returns what there is to read, and what belongs to it, if the process is started.".
-spec read() -> {erlmcp_overload_cluster_picture:view(), Expected :: pos_integer(), Unsent :: non_neg_integer()} | none.
read() ->
    try erlmcp_native_room:lookup(?NAME, view) of
        [{view, View, Expected, Unsent}] -> {View, Expected, Unsent};
        %% It is just being started.
        [] -> none
    catch
        error:badarg -> none
    end.

-doc "Returns how many nodes are in each state, and how many there are to be: what they have told is not copied.".
-spec counted() -> {erlmcp_overload_cluster_picture:counted(), Expected :: pos_integer()} | none.
counted() ->
    try ets:lookup(?NAME, moments) of
        [{moments, Moments, Expected}] -> {erlmcp_overload_cluster_picture:counted(now_ms(), Moments), Expected};
        [] -> none
    catch
        error:badarg -> none
    end.

-doc "Says whether there is something to read, without copying it.".
-spec is_readable() -> boolean().
is_readable() ->
    try
        ets:member(?NAME, view)
    catch
        error:badarg -> false
    end.

-doc "Gives this node all of each rate, when it is no more in a cluster.".
-spec whole() -> ok.
whole() ->
    case erlmcp_native:rate_shared() of
        Shared when is_list(Shared) -> set([{Name, ?WHOLE} || {Name, _, _} <- Shared], ?WHOLE);
        _NotStarted -> set([], ?WHOLE)
    end.

-doc false.
-spec init([]) -> {ok, #state{}} | {error, term()}.
init([]) ->
    maybe
        ok ?= erlmcp_native_error:library(),
        {ok, #{} = Options} ?= configured(),
        _ = net_kernel:monitor_nodes(true),
        ?NAME = ets:new(?NAME, [named_table, protected, {read_concurrency, true}]),
        ok = pg:join(?SCOPE, ?NAME, self()),
        State = tick(begin_shares(#state{options = Options, connected = #{Node => [] || Node <- nodes()}})),
        %% Those that are started together do not all tell at once.
        tick_later(rand:uniform(maps:get(interval_ms, Options))),
        {ok, State}
    else
        {ok, off} -> {error, off};
        {error, _} = Error -> Error
    end.

configured() ->
    erlmcp_native_config:lookup(cluster, erlmcp_overload_cluster_options:config()).

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({?NAME, Version, Node, Map}, #state{connected = Connected, picture = Picture} = State) when
    is_integer(Version), is_map_key(Node, Connected)
->
    Told = erlmcp_overload_cluster_message:read(Map),
    {noreply, State#state{picture = erlmcp_overload_cluster_picture:heard(Node, now_ms(), Told, Picture)}};
handle_cast(reload, State) ->
    case configured() of
        {ok, #{} = Options} -> {noreply, view(State#state{options = Options})};
        %% It is about to be ended, or was wrong after all.
        _ -> {noreply, State}
    end;
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(tick, #state{options = #{interval_ms := IntervalMs}} = State) ->
    tick_later(IntervalMs),
    {noreply, tick(State)};
handle_info({nodeup, Node}, #state{connected = Connected} = State) when is_atom(Node) ->
    {noreply, State#state{connected = Connected#{Node => []}}};
handle_info({nodedown, Node}, #state{connected = Connected, picture = Picture} = State) ->
    {noreply,
        view_soon(State#state{
            connected = maps:remove(Node, Connected), picture = erlmcp_overload_cluster_picture:lost(Node, Picture)
        })};
handle_info({timeout, Timer, view}, #state{view = Timer} = State) ->
    {noreply, view(State#state{view = none})};
handle_info(_Info, State) ->
    {noreply, State}.

view_soon(#state{view = none} = State) -> State#state{view = erlang:start_timer(?VIEW_MS, self(), view)};
view_soon(State) -> State.

tick_later(Ms) ->
    _ = erlang:send_after(Ms, self(), tick),
    ok.

now_ms() ->
    erlang:monotonic_time(millisecond).

%% What nobody has said a share of yet, since it was there before any process like this one.
begin_shares(#state{options = #{nodes := Nodes}} = State) ->
    New = [Name || {Name, _, 1.0} <- shared()],
    Base = ?WHOLE div Nodes,
    ok = set([{Name, Base} || Name <- New], Base),
    State.

tick(#state{meter = Meter, picture = Picture, name = Name, unsent = Unsent, untold = Untold} = State) ->
    NowMs = now_ms(),
    NewMeter = erlmcp_overload_cluster_shares:asked(NowMs, [{Of, Asked} || {Of, Asked, _} <- shared()], Meter),
    Demands = erlmcp_overload_cluster_shares:demands(NewMeter),
    {_, _, Node, Map} = Message = own(Demands ++ erlmcp_overload_cluster_shares:unknown(NewMeter)),
    Others = erlmcp_overload_cluster_picture:age(NowMs, Picture),
    Renamed = case Node of Name -> Others; _ -> erlmcp_overload_cluster_picture:drop(Name, Others) end,
    %% As others see it.
    Told = erlmcp_overload_cluster_message:read(Map),
    NewPicture = erlmcp_overload_cluster_picture:heard(Node, NowMs, Told, Renamed),
    view(State#state{
        name = Node,
        meter = NewMeter,
        picture = NewPicture,
        unsent = Unsent + tell({'$gen_cast', Message}),
        untold = untold(Demands, Told, Untold)
    }).

%% It is said when it begins. They need not be the same ones each time.
untold(Demands, #{rates := Told}, Before) ->
    Untold = [Name || {Name, _} <- Demands, not is_map_key(Name, Told)],
    _ = Untold =/= [] andalso not Before andalso
        erlmcp_native_log:write(
            warning,
            "erlmcp_overload_cluster: what is asked here of ~b of ~b rates of all nodes together is not told the "
            "others, since their names are too long for one message: this node has as much as if nobody asked of ~0tp",
            [length(Untold), length(Demands), Untold],
            ?LOCATION,
            #{source => untold_rates}
        ),
    Untold =/= [].

shared() ->
    case erlmcp_native:rate_shared() of
        Shared when is_list(Shared) -> Shared;
        _NotStarted -> []
    end.

own(Rates) ->
    erlmcp_overload_cluster_message:make(#{
        vsn => vsn(),
        roles => erlmcp_overload_cluster_own:roles(),
        pressure => erlmcp_overload_cluster_own:pressure(),
        rates => Rates
    }).

vsn() ->
    case application:get_key(erlmcp_native, vsn) of
        {ok, Vsn} -> list_to_binary(Vsn);
        undefined -> undefined
    end.

%% A node that does not take its messages in is no reason to wait, and one that is not connected none to connect to it.
tell(Message) ->
    Others = [Pid || Pid <- pg:get_members(?SCOPE, ?NAME), node(Pid) =/= node()],
    length([Pid || Pid <- Others, erlang:send(Pid, Message, [nosuspend, noconnect]) =/= ok]).

%% What there is to read, and the shares that follow from it.
view(#state{options = #{nodes := Nodes}, picture = Picture, meter = Meter, name = Name, unsent = Unsent} = State) ->
    NowMs = now_ms(),
    Fresh = erlmcp_overload_cluster_picture:fresh(NowMs, Picture),
    Own = erlmcp_overload_cluster_picture:demands(Name, Picture),
    Shares = erlmcp_overload_cluster_shares:shares(Own, Fresh, {Nodes, Meter}),
    Before = #{Of => round(?WHOLE * Share) || {Of, _, Share} <- shared()},
    Changed = [
        {Of, Parts}
     || {Of, Parts} <- Shares,
        #{Of := Last} <- [Before],
        erlmcp_overload_cluster_shares:is_another(Parts, Last)
    ],
    ok = set(Changed, ?WHOLE div max(Nodes, length(Fresh))),
    View = erlmcp_overload_cluster_picture:view(NowMs, Picture),
    Moments = erlmcp_overload_cluster_picture:moments(Picture),
    true = ets:insert(?NAME, [{view, View, Nodes, Unsent}, {moments, Moments, Nodes}]),
    State.

set(Shares, Base) ->
    _ = erlmcp_native:rate_set_shares(Shares, max(1, Base)),
    ok.
