%% erlmcp's session backend, from "Pattern 1: Session Backend Priority".
-module(erlmcp_session_backend).

-behaviour(gen_server).

-export([start_link/0, put/2, ids/0, ping/1, cancel_session/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(ROLE, session).

-record(state, {
    sessions = #{} :: #{binary() => term()},
    priority_alias :: erlmcp_priority:priority_alias() | undefined
}).

-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec put(binary(), term()) -> ok | {error, too_many_requests}.
put(Id, Session) ->
    case queued(?ROLE, whereis(?MODULE)) of
        ok -> gen_server:call(?MODULE, {put, Id, Session});
        {error, _} = Error -> Error
    end.

-spec queued(erlmcp_queue_limits:process_role(), pid() | undefined) -> ok | {error, too_many_requests}.
queued(Role, Pid) when is_pid(Pid) ->
    case erlmcp_queue_limits:check_capacity(Role, Pid) of
        ok -> erlmcp_queue_limits:record_enqueue(Role, Pid);
        {error, {capacity_exceeded, _Stats}} -> {error, too_many_requests}
    end;
queued(_Role, undefined) ->
    {error, too_many_requests}.

-spec ids() -> [binary()].
ids() ->
    gen_server:call(?MODULE, ids).

-spec ping(timeout()) -> {ok, healthy} | {error, timeout}.
ping(Ms) ->
    Ref = make_ref(),
    ok = erlmcp_priority:send_priority(?MODULE, {ping, Ref}, self()),
    receive
        {pong, Ref} -> {ok, healthy}
    after Ms -> {error, timeout}
    end.

-spec cancel_session(binary()) -> ok.
cancel_session(Id) ->
    erlmcp_priority:send_priority(?MODULE, {cancel_session, Id}, self()).

-spec init([]) -> {ok, #state{}}.
init([]) ->
    process_flag(trap_exit, true),
    {ok, #state{priority_alias = try_create_priority_alias()}}.

-spec try_create_priority_alias() -> erlmcp_priority:priority_alias() | undefined.
try_create_priority_alias() ->
    try
        erlmcp_priority:create_priority_alias()
    catch
        _:_ -> undefined
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({put, Id, Session}, _From, #state{sessions = Sessions} = State) ->
    ok = erlmcp_queue_limits:record_dequeue(?ROLE, self()),
    {reply, ok, State#state{sessions = Sessions#{Id => Session}}};
handle_call(ids, _From, #state{sessions = Sessions} = State) ->
    {reply, lists:sort(maps:keys(Sessions)), State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({priority, From, {ping, Ref}}, State) ->
    From ! {pong, Ref},
    {noreply, State};
handle_info({priority, _From, {cancel_session, Id}}, #state{sessions = Sessions} = State) ->
    {noreply, State#state{sessions = maps:remove(Id, Sessions)}};
handle_info(_Info, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, _State) ->
    erlmcp_queue_limits:record_dequeue(?ROLE, self()).
