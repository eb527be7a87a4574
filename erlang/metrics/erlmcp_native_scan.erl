-module(erlmcp_native_scan).
-moduledoc """
Looks for the fullest owners, one look at a time however many ask.

A look at a million owners takes some 30 ms of a dirty scheduler, of which there are few. So whoever asks for what is
being looked for, or was seen within the last 100 ms, gets that.
""".

-behaviour(gen_server).

-export([start_link/0, fullest/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export([see/1, found/2]).

-export_type([scope/0]).

-doc "A scope is one role, or all.".
-type scope() :: all | {role, erlmcp_queue_limits:role()}.

-define(MAX_ROWS, 1000).
-define(MAX_WAITING, 10000).
-define(FRESH_MS, 100).
-define(PATIENCE_MS, 2000).

-record(state, {
    running = none :: none | {reference(), scope()},
    %% Who waits for what, and in which order it is looked for.
    waiting = #{} :: #{scope() => [{gen_server:from(), Rows :: non_neg_integer()}]},
    order = queue:new() :: queue:queue(scope()),
    askers = 0 :: non_neg_integer(),
    seen = #{} :: #{scope() => {AtMs :: integer(), [erlmcp_overload_monitor:queue_info()]}}
}).

-doc "Starts the process that looks for the fullest owners.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-doc """
Returns the rows of the fullest owners, as many as asked for, the fullest first, as found by a look that began at most
100 ms ago or was going on. `busy` means that it took longer than 2 s, or that too many wait; `not_started` says which
process is missing.
""".
-spec fullest(scope(), 0..1000) ->
    {ok, [erlmcp_overload_monitor:queue_info()]} | {error, busy | {not_started, atom()}}.
fullest(Scope, Rows) when Rows =< ?MAX_ROWS ->
    erlmcp_native_wait:request(?MODULE, {fullest, Scope, Rows}, ?PATIENCE_MS, {?MODULE, found, none}).

-doc false.
-spec found({answer, Answer} | {down, term()} | timeout, none) -> Answer | {error, busy | {not_started, atom()}}.
found({answer, Answer}, none) -> Answer;
found({down, _}, none) -> {error, {not_started, ?MODULE}};
found(timeout, none) -> {error, busy}.

-doc false.
-spec init([]) -> {ok, #state{}}.
init([]) ->
    {ok, #state{}}.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) ->
    {reply, term(), #state{}} | {reply, term(), #state{}, timeout()} | {noreply, #state{}}.
handle_call({fullest, Scope, Rows}, From, #state{seen = Seen} = State) ->
    case Seen of
        #{Scope := {AtMs, Found}} ->
            case now_ms() - AtMs =< ?FRESH_MS of
                true -> {reply, {ok, lists:sublist(Found, Rows)}, State, ?FRESH_MS};
                false -> wait(Scope, From, Rows, State)
            end;
        #{} ->
            wait(Scope, From, Rows, State)
    end;
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

wait(_, _, _, #state{askers = ?MAX_WAITING} = State) ->
    {reply, {error, busy}, State};
wait(Scope, From, Rows, #state{waiting = Waiting, order = Order, askers = Askers} = State) ->
    NewOrder =
        case Waiting of
            #{Scope := _} -> Order;
            #{} -> queue:in(Scope, Order)
        end,
    Asker = {From, Rows},
    NewWaiting = maps:update_with(Scope, fun(Others) -> [Asker | Others] end, [Asker], Waiting),
    {noreply, look(State#state{waiting = NewWaiting, order = NewOrder, askers = Askers + 1})}.

look(#state{running = none, order = Order} = State) ->
    case queue:out(Order) of
        {{value, Scope}, Rest} ->
            {_, Monitor} = spawn_monitor(?MODULE, see, [Scope]),
            State#state{running = {Monitor, Scope}, order = Rest};
        {empty, _} ->
            State
    end;
look(State) ->
    State.

-doc false.
-spec see(scope()) -> no_return().
see(Scope) ->
    BegunMs = now_ms(),
    exit({seen, BegunMs, rows(Scope)}).

rows(Scope) ->
    try
        case Scope of
            all -> {ok, erlmcp_overload_monitor:fullest(?MAX_ROWS)};
            {role, Role} -> {ok, erlmcp_overload_monitor:queues(Role, #{top => ?MAX_ROWS})}
        end
    catch
        exit:{noproc, _} -> {error, {not_started, erlmcp_overload_monitor}}
    end.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {noreply, #state{}, timeout() | hibernate}.
handle_info({'DOWN', Monitor, process, _, killed}, #state{running = {Monitor, Scope}, order = Order} = State) ->
    %% A look that was going on when the module was replaced for the second time; its askers have not given up.
    {noreply, look(State#state{running = none, order = queue:in_r(Scope, Order)})};
handle_info({'DOWN', Monitor, process, _, Outcome}, #state{running = {Monitor, Scope}} = State) ->
    #state{waiting = Waiting, askers = Askers, seen = Seen} = State,
    {Mine, Others} = maps:take(Scope, Waiting),
    Fresh = maps:filter(fun(_, {AtMs, _}) -> now_ms() - AtMs =< ?FRESH_MS end, Seen),
    NewSeen = answer(Outcome, Scope, Mine, Fresh),
    Next = State#state{running = none, waiting = Others, askers = Askers - length(Mine), seen = NewSeen},
    {noreply, look(Next), ?FRESH_MS};
handle_info(timeout, State) ->
    {noreply, State#state{seen = #{}}, hibernate};
handle_info(_Info, State) ->
    {noreply, State}.

answer({seen, AtMs, {ok, Found}}, Scope, Askers, Seen) ->
    [gen_server:reply(From, {ok, lists:sublist(Found, Rows)}) || {From, Rows} <- Askers],
    Seen#{Scope => {AtMs, Found}};
answer(Outcome, _, Askers, Seen) ->
    Error =
        case Outcome of
            {seen, _, NotStarted} -> NotStarted;
            _Crash -> {error, busy}
        end,
    [gen_server:reply(From, Error) || {From, _} <- Askers],
    Seen.

now_ms() ->
    erlang:monotonic_time(millisecond).
