%% A server of erlmcp, from "Integrate with erlmcp_server.erl" and "Pattern 2: Server Priority". Whoever includes this
%% has included a header with the messages.
-behaviour(gen_server).

-export([start_link/1, stop/1, call_tool/2, cancel/2, shutdown/1, is_alive/1, alias_of/1, send/2, stats/0]).
-export([health/2, drain/2, breaker/2, migrate/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(MCP_ERROR_RATE_LIMITED, -32010).

-record(state, {
    server_id :: atom(),
    cancellable_requests = #{} :: #{term() => reference()},
    %% As erlmcp's processes make theirs.
    priority_alias :: erlmcp_priority:priority_alias() | undefined
}).

-spec start_link(atom()) -> {ok, pid()} | ignore | {error, term()}.
start_link(ServerId) ->
    gen_server:start_link({local, ServerId}, ?MODULE, ServerId, []).

-spec stop(atom()) -> ok.
stop(ServerId) ->
    gen_server:stop(ServerId).

-spec call_tool(atom(), fun(() -> Result)) -> {ok, Result} | {error, integer(), binary()}.
call_tool(ServerId, Tool) ->
    gen_server:call(ServerId, {call_tool, Tool}).

-spec cancel(atom(), term()) -> ok.
cancel(ServerId, RequestId) ->
    erlmcp_priority:send_priority(ServerId, {cancel_operation, RequestId}, self()).

-spec shutdown(erlmcp_priority:priority_alias()) -> ok.
shutdown(Alias) ->
    erlmcp_priority:send_urgent(Alias, shutdown).

-spec alias_of(atom()) -> erlmcp_priority:priority_alias() | undefined.
alias_of(ServerId) ->
    gen_server:call(ServerId, alias).

-spec is_alive(atom()) -> boolean().
is_alive(ServerId) ->
    case health(ServerId, liveness) of
        {ok, LatencyUs} when LatencyUs >= 0 -> true;
        {error, _} -> false
    end.

-spec health(atom(), health_check_type()) -> {ok, non_neg_integer()} | {error, term()}.
health(ServerId, Type) ->
    erlmcp_control_plane:send_health_check(ServerId, Type).

-spec drain(atom(), binary()) -> {ok, non_neg_integer()} | {error, term()}.
drain(ServerId, SessionId) ->
    erlmcp_control_plane:send_drain_session(ServerId, SessionId).

-spec breaker(atom(), circuit_breaker_action()) -> {ok, non_neg_integer()} | {error, term()}.
breaker(ServerId, Action) ->
    erlmcp_control_plane:send_circuit_breaker(ServerId, Action).

%% A message that is made here, with all that erlmcp's type has.
-spec migrate(atom(), binary()) -> {ok, non_neg_integer()} | {error, term()}.
migrate(ServerId, SessionId) ->
    send(ServerId, migration(SessionId)).

-spec migration(binary()) -> control_message().
migration(SessionId) ->
    {control, drain_session, #{session_id => SessionId, reason => migration, timeout_ms => 5000, force => true}}.

-spec send(atom(), control_message()) -> {ok, non_neg_integer()} | {error, term()}.
send(ServerId, Message) ->
    erlmcp_control_plane:send_priority(ServerId, Message).

-spec stats() -> control_plane_stats().
stats() ->
    erlmcp_control_plane:get_stats().

-spec init(atom()) -> {ok, #state{}}.
init(ServerId) ->
    process_flag(trap_exit, true),
    ControlHandler = fun(Message) -> handle_control_message(Message, ServerId) end,
    ok = erlmcp_control_plane:register_component(ServerId, ControlHandler),
    {ok, #state{server_id = ServerId, priority_alias = priority_alias()}}.

-spec priority_alias() -> erlmcp_priority:priority_alias() | undefined.
priority_alias() ->
    try erlang:alias([priority]) of
        Alias ->
            ok = erlmcp_priority:register_priority_alias(Alias),
            Alias
    catch
        error:badarg -> undefined
    end.

-spec handle_control_message(control_message(), atom()) -> ok | {error, term()}.
handle_control_message({control, health_check, #{type := Type, requested_at := RequestedAt}}, _ServerId) ->
    AgeUs = erlang:monotonic_time(microsecond) - RequestedAt,
    case AgeUs >= 0 andalso AgeUs < 60000000 andalso lists:member(Type, [liveness, readiness, full]) of
        true -> ok;
        false -> {error, {not_of_this_clock, AgeUs}}
    end;
handle_control_message({control, drain_session, #{session_id := SessionId, reason := Reason}}, _ServerId) ->
    {error, {draining, SessionId, Reason}};
handle_control_message({control, cancel_task, #{task_id := TaskId}}, ServerId) ->
    gen_server:cast(ServerId, {cancel, TaskId});
handle_control_message({control, circuit_breaker, #{action := query}}, _ServerId) ->
    {error, closed};
handle_control_message({control, circuit_breaker, #{action := _}}, _ServerId) ->
    ok.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({call_tool, Tool}, _From, State) ->
    case erlmcp_queue_limits:check_capacity(tool_executor, self()) of
        ok ->
            ok = erlmcp_queue_limits:record_enqueue(tool_executor, self()),
            Result = Tool(),
            ok = erlmcp_queue_limits:record_dequeue(tool_executor, self()),
            {reply, {ok, Result}, State};
        {error, {capacity_exceeded, _Stats}} ->
            {reply, {error, ?MCP_ERROR_RATE_LIMITED, <<"Too many concurrent tool executions">>}, State}
    end;
handle_call({register, RequestId, CancelRef}, _From, #state{cancellable_requests = Requests} = State) ->
    {reply, ok, State#state{cancellable_requests = Requests#{RequestId => CancelRef}}};
handle_call(cancellable, _From, #state{cancellable_requests = Requests} = State) ->
    {reply, maps:keys(Requests), State};
handle_call(alias, _From, #state{priority_alias = Alias} = State) ->
    {reply, Alias, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({cancel, RequestId}, State) ->
    {noreply, cancelled(RequestId, State)}.

-spec handle_info(erlmcp_priority:priority_message() | erlmcp_priority:urgent_message(), #state{}) ->
    {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({priority, _From, {cancel_operation, RequestId}}, State) ->
    {noreply, cancelled(RequestId, State)};
handle_info({urgent, shutdown}, State) ->
    {stop, {shutdown, urgent}, State};
handle_info({urgent, {emergency_gc}}, State) ->
    true = garbage_collect(),
    {noreply, State}.

%% The services may have gone before.
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{server_id = ServerId}) ->
    ok = erlmcp_queue_limits:record_dequeue(tool_executor, self()),
    try
        erlmcp_control_plane:unregister_component(ServerId)
    catch
        exit:{noproc, _} -> ok
    end.

-spec cancelled(term(), #state{}) -> #state{}.
cancelled(RequestId, #state{cancellable_requests = Requests} = State) ->
    case maps:take(RequestId, Requests) of
        {_CancelRef, Others} -> State#state{cancellable_requests = Others};
        error -> State
    end.
