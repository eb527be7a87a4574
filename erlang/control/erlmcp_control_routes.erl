-module(erlmcp_control_routes).
-moduledoc """
What is known of components of other nodes: how long their senders wait. It is read where it is needed, and written by
the process registered as `erlmcp_control_routes`.

Whatever is known of a node is known as long as its link lives (`m:erlmcp_control_link`): a node that is gone, or was
started again under the same name, is asked anew. A component that a node says it has not is forgotten.
""".

-behaviour(gen_server).

-export([start_link/0, find/3, learn/4, refresh/3, forget/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(TABLE, ?MODULE).
%% For longer nobody can wait, whatever another node says.
-define(MAX_TIMEOUT_MS, 16#ffffffff).

-record(state, {
    links = #{} :: #{node() => pid()}
}).

-doc "Starts the process, linked to the caller.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], [{spawn_opt, [{priority, high}]}]).

-doc """
Returns the link of a node, and how long senders to that component wait, if that is known; `nodedown` for a node that
this one is not connected to, and `no_room` where this one has no room for the process of a link. Exits with
`{noproc, Call}` while this node is no part of a cluster.
""".
-spec find(atom(), node(), Call :: {module(), atom(), [term()]}) ->
    {route, pid(), TimeoutMs :: 0..?MAX_TIMEOUT_MS} | {link, pid()} | nodedown | no_room.
find(Id, Node, Call) ->
    try ets:lookup(?TABLE, {Id, Node}) of
        [{_, Link, TimeoutMs}] -> {route, Link, TimeoutMs};
        [] -> erlmcp_native_wait:serve(?MODULE, {link, Node}, Call)
    catch
        error:badarg -> exit({noproc, Call})
    end.

-doc """
Learns, by this link, how long senders to a component are to wait, as its node says. Returns how long they do, which is
no longer than the runtime lets anybody wait.
""".
-spec learn(atom(), node(), pid(), Said :: non_neg_integer()) -> TimeoutMs :: 0..?MAX_TIMEOUT_MS.
learn(Id, Node, Link, Said) ->
    TimeoutMs = min(Said, ?MAX_TIMEOUT_MS),
    ok = gen_server:cast(?MODULE, {learn, Id, Node, Link, TimeoutMs}),
    TimeoutMs.

-doc "Takes what an answer says of its component into account.".
-spec refresh(atom(), node(), map()) -> ok.
refresh(Id, Node, #{result := {error, component_not_registered}}) ->
    forget(Id, Node);
refresh(Id, Node, #{timeout_ms := Said}) when is_integer(Said), Said >= 0 ->
    try ets:lookup(?TABLE, {Id, Node}) of
        [{_, Link, Before}] when Before =/= min(Said, ?MAX_TIMEOUT_MS) -> _ = learn(Id, Node, Link, Said), ok;
        _ -> ok
    catch
        error:badarg -> ok
    end;
refresh(_Id, _Node, _Answer) ->
    ok.

-doc "Forgets how long senders to a component wait: it is asked for again.".
-spec forget(atom(), node()) -> ok.
forget(Id, Node) ->
    gen_server:cast(?MODULE, {forget, Id, Node}).

-doc false.
-spec init([]) -> {ok, #state{}}.
init([]) ->
    process_flag(trap_exit, true),
    ?TABLE = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    ok = erlmcp_control_fates:new(),
    {ok, #state{}}.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({link, Node}, _From, #state{links = Links} = State) ->
    case {Links, lists:member(Node, nodes(connected))} of
        {#{Node := Link}, _} ->
            {reply, {link, Link}, State};
        {#{}, true} ->
            case erlmcp_native_process:start(fun() -> erlmcp_control_link:start_link(Node) end) of
                {ok, Link} -> {reply, {link, Link}, State#state{links = Links#{Node => Link}}};
                {error, system_limit} -> {reply, no_room, State}
            end;
        {#{}, false} ->
            {reply, nodedown, State}
    end;
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({learn, Id, Node, Link, TimeoutMs}, #state{links = Links} = State) ->
    _ = is_map_key(Node, Links) andalso map_get(Node, Links) =:= Link andalso
        ets:insert(?TABLE, {{Id, Node}, Link, TimeoutMs}),
    {noreply, State};
handle_cast({forget, Id, Node}, State) ->
    _ = ets:delete(?TABLE, {Id, Node}),
    {noreply, State};
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({'EXIT', Link, _Reason}, #state{links = Links} = State) ->
    _ = ets:match_delete(?TABLE, {'_', Link, '_'}),
    {noreply, State#state{links = maps:filter(fun(_Node, Other) -> Other =/= Link end, Links)}};
handle_info(_Info, State) ->
    {noreply, State}.
