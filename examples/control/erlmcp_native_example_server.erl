-module(erlmcp_native_example_server).
-moduledoc """
A server of long operations that takes cancellations, pings and orders to stop or to collect garbage ahead of
all requests.

```erlang
1> {ok, _} = application:ensure_all_started(erlmcp_native).
2> {ok, Server} = erlmcp_native_example_server:start_link().
3> Request = gen_server:send_request(Server, {run, 1, fun() -> timer:sleep(infinity) end}).
4> ok = erlmcp_native_example_server:cancel(Server, 1).
5> gen_server:receive_response(Request, 1000).
{reply,{error,cancelled}}
6> ok = erlmcp_priority:send_urgent(Server, {emergency_gc}).
7> unlink(Server), ok = erlmcp_priority:send_urgent(Server, shutdown).
```

Operations run in processes of their own, linked to the server: priority helps a process that comes back to
its mailbox, and a server that computes by itself does not. They are monitored with `priority` too, so that
the end of an operation is seen before the requests that wait.

Requests that wait have the limit of the role `operation`. How many operations run at once is not limited here;
`m:erlmcp_native_example_tool_server` limits both.
""".

-behaviour(gen_server).

-export([start_link/0, run/3, cancel/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(ROLE, operation).

-include_lib("kernel/include/logger.hrl").

-export_type([operation/0]).

-doc "An operation is a fun; its value is the answer.".
-type operation() :: fun(() -> term()).

-record(running, {pid :: pid(), monitor :: reference(), caller :: gen_server:from()}).
-record(state, {
    running = #{} :: #{RequestId :: term() => #running{}},
    monitors = #{} :: #{reference() => RequestId :: term()}
}).

-doc "Starts a server of operations, linked to the caller.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link(?MODULE, [], []).

-doc "Runs an operation and waits for it, however long it takes.".
-spec run(pid(), RequestId :: term(), operation()) ->
    {ok, term()}
    | {error, cancelled | duplicate | {crashed, term()}}
    | erlmcp_overload_mailbox:refused()
    | {error, noproc}.
run(Server, RequestId, Operation) ->
    case erlmcp_overload_mailbox:call(?ROLE, Server, {run, RequestId, Operation}, infinity) of
        {ok, Answer} -> Answer;
        Refused -> Refused
    end.

-doc "Has an operation given up, before any request that is queued.".
-spec cancel(pid(), RequestId :: term()) -> ok.
cancel(Server, RequestId) ->
    erlmcp_priority:send_priority(Server, {cancel_operation, RequestId}, self()).

-doc false.
-spec init([]) -> {ok, #state{}}.
init([]) ->
    process_flag(trap_exit, true),
    _ = erlmcp_priority:create_priority_alias(),
    {ok, #state{}}.

-doc false.
-spec handle_call({run, term(), operation()}, gen_server:from(), #state{}) ->
    {noreply, #state{}} | {reply, {error, duplicate}, #state{}}.
handle_call({run, RequestId, _}, _From, #state{running = Running} = State) when is_map_key(RequestId, Running) ->
    {reply, {error, duplicate}, State};
handle_call({run, RequestId, Operation}, From, #state{running = Running, monitors = Monitors} = State) ->
    {Pid, Monitor} = spawn_opt(fun() -> exit({done, Operation()}) end, [link, {monitor, [priority]}]),
    {noreply, State#state{
        running = Running#{RequestId => #running{pid = Pid, monitor = Monitor, caller = From}},
        monitors = Monitors#{Monitor => RequestId}
    }}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, {shutdown, urgent}, #state{}}.
handle_info({priority, _From, {cancel_operation, RequestId}}, State) ->
    {noreply, cancelled(RequestId, State)};
handle_info({priority, From, {ping, Ref}}, State) ->
    From ! {pong, Ref},
    {noreply, State};
handle_info({urgent, shutdown}, State) ->
    ?LOG_WARNING("urgent shutdown"),
    {stop, {shutdown, urgent}, State};
handle_info({urgent, {emergency_gc}}, State) ->
    Before = erlang:memory(total),
    _ = [garbage_collect(Pid) || Pid <- [self() | pids(State)]],
    ?LOG_WARNING("emergency collection freed ~b bytes", [Before - erlang:memory(total)]),
    {noreply, State};
handle_info({'DOWN', Monitor, process, _, Reason}, #state{monitors = Monitors} = State) ->
    case Monitors of
        #{Monitor := RequestId} -> {noreply, ended(RequestId, answer(Reason), State)};
        #{} -> {noreply, State}
    end;
handle_info(_Info, State) ->
    {noreply, State}.

-doc false.
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, State) ->
    lists:foreach(fun(Pid) -> exit(Pid, kill) end, pids(State)).

%% Nothing is known of an operation that has ended, or whose request is still queued.
cancelled(RequestId, #state{running = Running} = State) ->
    case Running of
        #{RequestId := #running{pid = Pid}} ->
            exit(Pid, kill),
            ended(RequestId, {error, cancelled}, State);
        #{} ->
            State
    end.

ended(RequestId, Answer, #state{running = Running, monitors = Monitors} = State) ->
    {#running{monitor = Monitor, caller = Caller}, Others} = maps:take(RequestId, Running),
    demonitor(Monitor),
    gen_server:reply(Caller, Answer),
    State#state{running = Others, monitors = maps:remove(Monitor, Monitors)}.

answer({done, Value}) -> {ok, Value};
answer(Reason) -> {error, {crashed, Reason}}.

pids(#state{running = Running}) ->
    [Pid || #running{pid = Pid} <- maps:values(Running)].
