-module(erlmcp_native_example_session).
-moduledoc """
A session that runs requests one after the other, and whose control handler answers while it is busy.

```erlang
1> {ok, _} = application:ensure_all_started(erlmcp_native).
2> {ok, _} = erlmcp_native_example_session:start_link(session_1).
3> erlmcp_native_example_session:request(session_1, 1, fun() -> 42 end).
#{~"id" => 1,~"jsonrpc" => ~"2.0",~"result" => 42}
4> {ok, LatencyUs} = erlmcp_control_plane:send_circuit_breaker(session_1, open).
```

A handler fun runs in the process that the control plane gives it, and cannot see the session's state. So
what control needs lies in a table where callers, session and handler reach it: health is read there, the
running request is found and killed, and a switch that is thrown refuses the next caller. Only the end after a
drain is the session's own business: the handler sends it on to the session, as a priority message, and is free
again.

Requests wait in the session's mailbox, and that is what is limited: 10,000 may wait there beside the one that runs,
and the next gets a JSON-RPC error. A caller that gives up or is killed leaves its request in the mailbox, where it
counts until its turn has come. There is nothing to give back, so nothing that can be forgotten.
""".

-behaviour(gen_server).

-export([start_link/1, request/3, request/4, try_request/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([work/0]).

-define(ROLE, session).
-define(PATIENCE_MS, 5000).
%% Of JSON-RPC, for what an implementation defines itself.
-define(SERVER_ERROR, -32000).

-doc "Work is a fun; its value is the result.".
-type work() :: fun(() -> term()).

%% Whether it was told to drain.
-type state() :: {Id :: atom(), Finishing :: boolean()}.

-doc "Starts a session. `Id` names its process, its table and its component.".
-spec start_link(Id :: atom()) -> gen_server:start_ret().
start_link(Id) ->
    gen_server:start_link({local, Id}, ?MODULE, Id, []).

-doc "Makes a request and waits at most five seconds for the JSON-RPC response, a result or an error.".
-spec request(Id :: atom(), RequestId :: term(), work()) -> map().
request(Id, RequestId, Work) ->
    request(Id, RequestId, Work, ?PATIENCE_MS).

-doc """
Makes a request and waits at most so many milliseconds for the JSON-RPC response, a result or an error. A request that
was not answered in time is still run when its turn comes, or is running.
""".
-spec request(Id :: atom(), RequestId :: term(), work(), TimeoutMs :: timeout()) -> map().
request(Id, RequestId, Work, TimeoutMs) ->
    case try_request(Id, RequestId, Work, TimeoutMs) of
        {ok, Response} -> Response;
        {error, {capacity_exceeded, Stats}} -> erlmcp_queue_limits:to_json_rpc_error(RequestId, Stats)
    end.

-doc "Makes a request as `request/3` does, and returns a refusal as it is, for whoever answers in more than JSON-RPC.".
-spec try_request(Id :: atom(), RequestId :: term(), work()) ->
    {ok, Response :: map()} | {error, {capacity_exceeded, erlmcp_queue_limits:refusal()}}.
try_request(Id, RequestId, Work) ->
    try_request(Id, RequestId, Work, ?PATIENCE_MS).

try_request(Id, RequestId, Work, TimeoutMs) ->
    case gate(Id) of
        open -> ask(Id, RequestId, Work, TimeoutMs);
        Closed -> {ok, failure(RequestId, Closed)}
    end.

ask(Id, RequestId, Work, TimeoutMs) ->
    try erlmcp_overload_mailbox:call(?ROLE, Id, {request, RequestId, Work}, TimeoutMs) of
        {ok, Response} -> {ok, Response};
        {error, {capacity_exceeded, _}} = Refused -> Refused;
        {error, noproc} -> {ok, failure(RequestId, ended)}
    catch
        exit:{timeout, {gen_server, call, _}} -> {ok, failure(RequestId, timeout)};
        exit:{_Ended, {gen_server, call, _}} -> {ok, failure(RequestId, ended)}
    end.

-doc false.
-spec init(atom()) -> {ok, state()}.
init(Id) ->
    process_flag(trap_exit, true),
    Id = ets:new(Id, [named_table, public, {read_concurrency, true}]),
    true = ets:insert(Id, [{breaker, close}, {draining, false}]),
    _ = erlmcp_priority:create_priority_alias(),
    Session = self(),
    Handler = fun({control, Type, Data}) -> control(Type, Data, Id, Session) end,
    ok = erlmcp_control_plane:register_component(Id, #{handler => Handler, owner => Session}),
    {ok, {Id, false}}.

-doc false.
-spec handle_call({request, term(), work()}, gen_server:from(), state()) -> {reply, map(), state()}.
handle_call({request, RequestId, Work}, _From, {Id, _} = State) ->
    {reply, run(RequestId, Work, Id), State}.

-doc false.
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), state()) -> {noreply, state()} | {stop, normal, state()}.
%% Behind all that is there. Only one `finish` may be under way: of two, each would find the other waiting.
handle_info({priority, _Handler, drain}, {Id, false}) ->
    self() ! finish,
    {noreply, {Id, true}};
handle_info(finish, State) ->
    case erlmcp_overload_mailbox:depth(self()) of
        0 ->
            {stop, normal, State};
        _ ->
            self() ! finish,
            {noreply, State}
    end;
handle_info(_Info, State) ->
    {noreply, State}.

%% The worker goes with the session. Its end is a priority message, so what waits is not searched for it.
run(RequestId, Work, Id) ->
    Worker = spawn_opt(fun() -> exit({done, Work()}) end, [{link, [priority]}]),
    true = ets:insert(Id, {running, RequestId, Worker}),
    receive
        {'EXIT', Worker, Reason} ->
            true = ets:delete(Id, running),
            response(RequestId, Reason);
        {'EXIT', _Parent, Reason} ->
            exit(Reason)
    end.

%% Runs in the handler's process.
control(health_check, #{type := liveness}, _Id, _Session) ->
    ok;
control(health_check, _, Id, _Session) ->
    healthy(gate(Id));
control(drain_session, #{session_id := Id}, Id, Session) ->
    true = ets:insert(Id, {draining, true}),
    erlmcp_priority:send_priority(Session, drain, self());
control(drain_session, _, _Id, _Session) ->
    {error, not_found};
control(cancel_task, #{task_id := RequestId}, Id, _Session) ->
    case ets:lookup(Id, running) of
        [{running, RequestId, Worker}] ->
            exit(Worker, kill),
            ok;
        _ ->
            {error, not_running}
    end;
control(circuit_breaker, #{action := query}, Id, _Session) ->
    healthy(gate(Id));
control(circuit_breaker, #{action := Action}, Id, _Session) ->
    true = ets:insert(Id, {breaker, Action}),
    ok.

healthy(open) -> ok;
healthy(Closed) -> {error, Closed}.

gate(Id) ->
    try {ets:lookup_element(Id, draining, 2), ets:lookup_element(Id, breaker, 2)} of
        {true, _} -> draining;
        {false, open} -> circuit_open;
        {false, _} -> open
    catch
        error:badarg -> ended
    end.

response(RequestId, {done, Result}) -> #{~"jsonrpc" => ~"2.0", ~"id" => RequestId, ~"result" => Result};
response(RequestId, killed) -> failure(RequestId, cancelled);
response(RequestId, _Crash) -> failure(RequestId, crashed).

failure(RequestId, Why) ->
    Error = #{~"code" => ?SERVER_ERROR, ~"message" => text(Why)},
    #{~"jsonrpc" => ~"2.0", ~"id" => RequestId, ~"error" => Error}.

text(ended) -> ~"Session has ended";
text(timeout) -> ~"Request timed out";
text(draining) -> ~"Session is draining";
text(circuit_open) -> ~"Circuit breaker is open";
text(cancelled) -> ~"Cancelled";
text(crashed) -> ~"Request crashed".
