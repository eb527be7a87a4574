-module(erlmcp_native_example_tool_server).
-moduledoc """
A server of tool calls that sheds load with JSON-RPC errors, and obeys the control plane in its own process.

```erlang
1> {ok, _} = application:ensure_all_started(erlmcp_native).
2> {ok, Tools} = erlmcp_native_example_tool_server:start_link(tools).
3> erlmcp_native_example_tool_server:call_tool(Tools, ~"session", 1, fun() -> 42 end).
#{~"id" => 1,~"jsonrpc" => ~"2.0",~"result" => 42}
4> {ok, LatencyUs} = erlmcp_control_plane:send_health_check(tools, readiness).
5> erlmcp_control_plane:cast_priority(tools, {control, cancel_task, #{task_id => 2}}).
ok
6> erlmcp_native_example_tool_server:call_tool(Tools, ~"session", 2, fun() -> 42 end).
#{~"error" => #{~"code" => -32000,~"message" => ~"Cancelled"},~"id" => 2,~"jsonrpc" => ~"2.0"}
```

It registers an alias instead of a handler: control messages come to `handle_info/2` ahead of all tool calls,
with the state at hand, and are answered with `erlmcp_control_plane:reply/2`, at once or later. A drain is
answered when the session's last call has ended; the sender waits for that as long as the component's
`timeout_ms`.

Two things can pile up here, and each has a limit. Calls wait in this process's mailbox, in the role `tool_call`,
until it takes them: also those whose callers gave up or were killed. Calls that it has taken run at once, each in a
process of its own, and each holds a permit in the role `tool_executor` from then until it ends. What is held goes with
this process if it dies.

A call is cancelled by `erlmcp_control_plane:send_cancel_task/2` with its id, whether it runs, waits in the mailbox, or
is still on its way: ahead of all data, a cancellation may well overtake its call. Each call has a token
(`m:erlmcp_control_cancel`), which frees its place and tells this process. A tool that is a fun of one argument gets the
token, looks at it between two steps, and ends by itself; one without arguments is killed. The caller has its answer
at once.
""".

-behaviour(gen_server).

-export([start_link/1, call_tool/4, call_tool/5]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([tool/0]).

-define(WAITING, tool_call).
-define(RUNNING, tool_executor).
-define(PATIENCE_MS, 30_000).
-define(DRAIN_MS, 30_000).
%% Of JSON-RPC, for what an implementation defines itself.
-define(SERVER_ERROR, -32000).

-doc "A tool is a fun; its value is the result. One with an argument is told there whether it was cancelled.".
-type tool() :: fun(() -> term()) | fun((erlmcp_control_cancel:token()) -> term()).

-record(task, {
    id :: term(),
    session :: term(),
    pid :: pid() | undefined,
    tool :: tool(),
    token :: erlmcp_control_cancel:token(),
    caller :: gen_server:from()
}).
-record(state, {
    alias :: erlmcp_priority:alias(),
    breaker = close :: open | close | half_open,
    tasks = #{} :: #{Monitor :: reference() => #task{}},
    %% Who waits for the end of a session's calls.
    draining = #{} :: #{SessionId :: term() => [erlmcp_control_plane:from()]}
}).

-doc "Starts a server, known to the control plane as `Component`.".
-spec start_link(Component :: atom()) -> gen_server:start_ret().
start_link(Component) ->
    gen_server:start_link(?MODULE, Component, []).

-doc "Calls a tool and waits at most half a minute for the JSON-RPC response, a result or an error.".
-spec call_tool(pid(), SessionId :: term(), TaskId :: term(), tool()) -> map().
call_tool(Server, SessionId, TaskId, Tool) ->
    call_tool(Server, SessionId, TaskId, Tool, ?PATIENCE_MS).

-doc """
Calls a tool and waits at most so many milliseconds for the JSON-RPC response, a result or an error. A tool that did not
end in time goes on; `erlmcp_control_plane:send_cancel_task/2` stops it.
""".
-spec call_tool(pid(), SessionId :: term(), TaskId :: term(), tool(), TimeoutMs :: timeout()) -> map().
call_tool(Server, SessionId, TaskId, Tool, TimeoutMs) ->
    try erlmcp_overload_mailbox:call(?WAITING, Server, {call_tool, SessionId, TaskId, Tool}, TimeoutMs) of
        {ok, Response} -> Response;
        {error, {capacity_exceeded, Stats}} -> erlmcp_queue_limits:to_json_rpc_error(TaskId, Stats);
        {error, noproc} -> failure(TaskId, ~"Tool server has ended")
    catch
        exit:{timeout, {gen_server, call, _}} -> failure(TaskId, ~"Tool timed out");
        exit:{_Ended, {gen_server, call, _}} -> failure(TaskId, ~"Tool server has ended")
    end.

-doc false.
-spec init(atom()) -> {ok, #state{}}.
init(Component) ->
    process_flag(trap_exit, true),
    Alias = erlmcp_priority:create_priority_alias(),
    ok = erlmcp_control_plane:register_component(Component, #{alias => Alias, timeout_ms => ?DRAIN_MS}),
    {ok, #state{alias = Alias}}.

-doc false.
-spec handle_call({call_tool, term(), term(), tool()}, gen_server:from(), #state{}) ->
    {noreply, #state{}} | {reply, map(), #state{}}.
handle_call({call_tool, SessionId, TaskId, Tool}, From, State) when is_function(Tool, 0); is_function(Tool, 1) ->
    case admit(SessionId, TaskId, State) of
        {ok, Token} -> start(#task{id = TaskId, session = SessionId, tool = Tool, token = Token, caller = From}, State);
        {error, {capacity_exceeded, Stats}} -> {reply, erlmcp_queue_limits:to_json_rpc_error(TaskId, Stats), State};
        {error, Reason} -> {reply, failure(TaskId, Reason), State}
    end.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({priority, From, {control, Type, Data}}, State) ->
    {noreply, control(Type, Data, From, State)};
handle_info({urgent, {cancelled, TaskId, _Reason}}, State) ->
    {noreply, cancelled(TaskId, State)};
handle_info({'DOWN', Monitor, process, _, Reason}, #state{tasks = Tasks} = State) ->
    case Tasks of
        #{Monitor := Task} -> {noreply, ended(Monitor, response(Task, Reason), State)};
        #{} -> {noreply, State}
    end;
handle_info(_Info, State) ->
    {noreply, State}.

%% Checked before the limit is, and both in one process: what is refused here counts nowhere.
admit(_SessionId, _TaskId, #state{breaker = open}) ->
    {error, ~"Circuit breaker is open"};
admit(SessionId, _TaskId, #state{draining = Draining}) when is_map_key(SessionId, Draining) ->
    {error, ~"Session is draining"};
admit(_SessionId, TaskId, #state{alias = Alias}) ->
    case erlmcp_queue_limits:acquire(?RUNNING, self()) of
        {ok, Permit} -> token(TaskId, Permit, Alias);
        Refused -> Refused
    end.

token(TaskId, Permit, Alias) ->
    case erlmcp_control_cancel:new(#{id => TaskId, permit => Permit, notify => Alias}) of
        {error, already_known} ->
            _ = erlmcp_queue_limits:release(Permit),
            {error, ~"Id is in use"};
        Token ->
            {ok, Token}
    end.

start(#task{id = TaskId, tool = Tool, token = Token} = Task, #state{tasks = Tasks} = State) ->
    case erlmcp_control_cancel:is_cancelled(Token) of
        true ->
            ok = erlmcp_control_cancel:done(Token),
            {reply, failure(TaskId, ~"Cancelled"), State};
        false ->
            {Pid, Monitor} = spawn_opt(fun() -> exit({done, run(Tool, Token)}) end, [link, {monitor, [priority]}]),
            {noreply, State#state{tasks = Tasks#{Monitor => Task#task{pid = Pid}}}}
    end.

run(Tool, _Token) when is_function(Tool, 0) -> Tool();
run(Tool, Token) -> Tool(Token).

ended(Monitor, Response, #state{tasks = Tasks} = State) ->
    {#task{session = SessionId, token = Token, caller = Caller}, Others} = maps:take(Monitor, Tasks),
    demonitor(Monitor),
    ok = erlmcp_control_cancel:done(Token),
    gen_server:reply(Caller, Response),
    drained(SessionId, State#state{tasks = Others}).

%% One with this id that is there now may be another.
cancelled(TaskId, #state{tasks = Tasks} = State) ->
    Cancelled = [
        {Monitor, Task}
     || Monitor := #task{id = Id, token = Token} = Task <- Tasks,
        Id =:= TaskId,
        erlmcp_control_cancel:is_cancelled(Token)
    ],
    lists:foldl(fun cancelled_task/2, State, Cancelled).

cancelled_task({Monitor, #task{id = TaskId, pid = Pid, tool = Tool}}, State) ->
    %% Whoever is told ends by itself.
    _ = is_function(Tool, 0) andalso exit(Pid, kill),
    ended(Monitor, failure(TaskId, ~"Cancelled"), State).

control(health_check, _, From, #state{breaker = open} = State) ->
    answer(From, {error, circuit_open}, State);
control(health_check, _, From, State) ->
    answer(From, ok, State);
control(drain_session, #{session_id := SessionId}, From, #state{draining = Draining} = State) ->
    Waiting = maps:get(SessionId, Draining, []),
    drained(SessionId, State#state{draining = Draining#{SessionId => [From | Waiting]}});
control(cancel_task, #{task_id := TaskId}, From, State) ->
    %% Known or not: of a call that has not come yet it is remembered. What it tells this process comes with its next
    %% turn, which is late for whoever waits.
    ok = erlmcp_control_cancel:cancel(TaskId, cancelled),
    answer(From, ok, cancelled(TaskId, State));
control(circuit_breaker, #{action := query}, From, #state{breaker = Breaker} = State) ->
    answer(From, case Breaker of open -> {error, circuit_open}; _ -> ok end, State);
control(circuit_breaker, #{action := Action}, From, State) ->
    answer(From, ok, State#state{breaker = Action}).

answer(From, Answer, State) ->
    ok = erlmcp_control_plane:reply(From, Answer),
    State.

%% The session stays closed: it is in `draining` for good.
drained(SessionId, #state{draining = Draining, tasks = Tasks} = State) ->
    Running = [Id || #task{id = Id, session = Session} <- maps:values(Tasks), Session =:= SessionId],
    case {Draining, Running} of
        {#{SessionId := Waiting}, []} ->
            lists:foreach(fun(From) -> ok = erlmcp_control_plane:reply(From, ok) end, Waiting),
            State#state{draining = Draining#{SessionId := []}};
        _ ->
            State
    end.

response(#task{id = TaskId}, {done, Result}) ->
    #{~"jsonrpc" => ~"2.0", ~"id" => TaskId, ~"result" => Result};
response(#task{id = TaskId}, _Crash) ->
    failure(TaskId, ~"Tool crashed").

failure(TaskId, Text) ->
    Error = #{~"code" => ?SERVER_ERROR, ~"message" => Text},
    #{~"jsonrpc" => ~"2.0", ~"id" => TaskId, ~"error" => Error}.
