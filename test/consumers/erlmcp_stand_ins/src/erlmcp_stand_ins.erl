%% Runs the stand-ins, on a node of their own: `erl -s erlmcp_stand_ins main`.
-module(erlmcp_stand_ins).

-export([main/0]).

-define(SERVICES, [erlmcp_queue_limits, erlmcp_overload_monitor, erlmcp_control_plane]).
-define(SERVERS, [
    erlmcp_server_our_header,
    erlmcp_server_their_header,
    erlmcp_server_our_first_header,
    erlmcp_server_their_first_header
]).
-define(DEADLINE_MS, 10000).

-spec main() -> no_return().
main() ->
    ok = logger:set_primary_config(level, none),
    try
        {ok, _} = application:ensure_all_started(erlmcp_core),
        supervised(),
        lists:foreach(fun server/1, ?SERVERS),
        sessions(),
        overload(),
        dashboard(),
        told(),
        goes_last(),
        io:format(
            "erlmcp's stand-ins: ~b servers, sessions, overload, dashboard, refusals, stop~n", [length(?SERVERS)]
        ),
        halt(0)
    catch
        Class:Reason:Stack ->
            io:format("erlmcp's stand-ins: ~tp~n", [{Class, Reason, Stack}]),
            halt(1)
    end.

%% The services are erlmcp's, though the application had them, and erlmcp_core's limits are in force.
-spec supervised() -> ok.
supervised() ->
    lists:foreach(fun restarted/1, ?SERVICES),
    [2, 5, 10000] = [erlmcp_queue_limits:get_limit(Role) || Role <- [tool_executor, custom_role, session]],
    ok.

-spec restarted(atom()) -> ok.
restarted(Service) ->
    Supervisor = whereis(erlmcp_core_sup),
    {parent, Supervisor} = process_info(whereis(Service), parent),
    Monitor = monitor(process, Service),
    exit(whereis(Service), kill),
    receive
        {'DOWN', Monitor, process, _, killed} -> ok
    end,
    eventually(fun() -> is_pid(whereis(Service)) end),
    {parent, Supervisor} = process_info(whereis(Service), parent),
    ok.

-spec server(module()) -> ok.
server(Server) ->
    {ok, Pid} = Server:start_link(Server),
    {ok, 42} = Server:call_tool(Server, fun() -> 42 end),
    true = Server:is_alive(Server),
    [true, true, true] = [element(1, Server:health(Server, Type)) =:= ok || Type <- [liveness, readiness, full]],
    {error, {draining, ~"s1", shutdown}} = Server:drain(Server, ~"s1"),
    {error, {draining, ~"s1", migration}} = Server:migrate(Server, ~"s1"),
    {ok, _} = Server:breaker(Server, open),
    {error, closed} = Server:breaker(Server, query),
    ok = gen_server:call(Server, {register, 7, make_ref()}),
    ok = Server:cancel(Server, 7),
    [] = gen_server:call(Server, cancellable),
    #{by_type := #{health_check := Checks}} = Server:stats(),
    true = Checks >= 4,
    %% The tool that is full.
    [ok = erlmcp_queue_limits:record_enqueue(tool_executor, Pid) || _ <- [1, 2]],
    {error, -32010, _} = Server:call_tool(Server, fun() -> not_reached end),
    unlink(Pid),
    Monitor = monitor(process, Pid),
    ok = Server:shutdown(Server:alias_of(Server)),
    receive
        {'DOWN', Monitor, process, Pid, {shutdown, urgent}} -> ok
    end,
    false = Server:is_alive(Server),
    ok.

-spec sessions() -> ok.
sessions() ->
    ok = erlmcp_session_backend:put(~"a", 1),
    [~"a"] = erlmcp_session_backend:ids(),
    {ok, healthy} = erlmcp_session_backend:ping(5000),
    ok = erlmcp_session_backend:cancel_session(~"a"),
    [] = erlmcp_session_backend:ids(),
    0 = erlmcp_queue_limits:get_queue_depth(session, whereis(erlmcp_session_backend)),
    ok.

%% The health monitor and the metrics hear of it, the latter only what was switched on.
-spec overload() -> ok.
overload() ->
    ok = application:set_env(erlmcp_native, metrics_server, [refusals]),
    ok = erlmcp_native_app:reload_config(),
    ok = erlmcp_queue_limits:set_limit(custom_role, 10),
    [ok = erlmcp_queue_limits:record_enqueue(custom_role, self()) || _ <- lists:seq(1, 10)],
    ok = erlmcp_overload_monitor:force_check(),
    overload = erlmcp_dashboard_routes:worst(erlmcp_overload_monitor:get_alert_history(custom_role)),
    eventually(fun() -> erlmcp_health_monitor:get_health(custom_role) =:= {degraded, open} end),
    [ok = erlmcp_queue_limits:record_dequeue(custom_role, self()) || _ <- lists:seq(1, 10)],
    eventually(fun() -> erlmcp_health_monitor:get_health(custom_role) =:= {degraded, closed} end),
    ok = erlmcp_health_monitor:reset_health_status(),
    eventually(fun() ->
        {error, {capacity_exceeded, _}} = refused(),
        {Latencies, Errors} = erlmcp_metrics_server:get(),
        Latencies =:= [] andalso Errors > 0
    end).

%% What its handlers of HTTP answer to who is refused: by a queue, and by the rate of a client.
-spec told() -> ok.
told() ->
    {error, Refused} = erlmcp_queue_limits:check_capacity(closed_role, self()),
    {503, #{~"retry-after" := _}, _} = answer(Refused),
    Rate = #{name => api, key => ~"client", limit => 10, remaining => 0, retry_after_ms => 100, reset_ms => 1000},
    {429, #{~"ratelimit" := ~"\"api\";r=0;t=1"}, Json} = answer({rate_limited, Rate}),
    #{~"status" := 429, ~"retryAfterMs" := 100} = json:decode(Json),
    {capacity_exceeded, Stats} = Refused,
    true = lists:member(erlmcp_queue_limits:retry_after_seconds(Stats), [1, 2]),
    #{~"error" := #{~"code" := -32000}} = erlmcp_queue_limits:to_json_rpc_error(1, Stats, #{code => -32000}),
    ok.

-spec answer(erlmcp_overload_http:refusal()) -> {429 | 503, #{binary() => binary()}, Json :: binary()}.
answer(Refused) ->
    {Status, Headers, Body} = erlmcp_overload_http:to_http(Refused),
    {Status, #{Name => iolist_to_binary(Value) || {Name, Value} <- Headers}, iolist_to_binary(json:encode(Body))}.

-spec refused() -> ok | {error, {capacity_exceeded, map()}}.
refused() ->
    ok = erlmcp_queue_limits:set_limit(closed_role, 0),
    erlmcp_queue_limits:check_capacity(closed_role, self()).

-spec dashboard() -> ok.
dashboard() ->
    ok = erlmcp_queue_limits:record_enqueue(session, self()),
    Read = #{
        Path => json:decode(Json)
     || Path <- [queues, overloaded, alerts, limits, stats, control, refusal],
        {200, Json} <- [erlmcp_dashboard_routes:handle(Path)]
    },
    #{
        queues := Queues,
        alerts := [#{~"role" := ~"custom_role", ~"process" := <<"<", _/binary>>} | _],
        limits := #{~"session" := 10000},
        stats := #{~"custom_role" := #{~"total_enqueued" := 10}},
        control := #{~"by_type" := #{~"health_check" := _}},
        refusal := [~"error", [~"capacity_exceeded", #{~"role" := ~"closed_role", ~"limit" := 0}]]
    } = Read,
    [_] = [Row || #{~"role" := ~"session", ~"depth" := 1} = Row <- Queues],
    #{total_rejected := Rejected} = erlmcp_dashboard_routes:counts(closed_role),
    true = Rejected > 0,
    {error, not_found} = erlmcp_dashboard_routes:counts(no_such_role),
    ok.

%% Whoever ends after the services records a dequeue, and does not crash.
-spec goes_last() -> ok.
goes_last() ->
    [Server | _] = ?SERVERS,
    {ok, Pid} = Server:start_link(Server),
    ok = application:stop(erlmcp_core),
    [undefined, undefined, undefined] = [whereis(Service) || Service <- ?SERVICES],
    ok = Server:stop(Server),
    false = is_process_alive(Pid),
    ok = erlmcp_overload_monitor:force_check(),
    ok = erlmcp_overload_monitor:reset_alerts().

-spec eventually(fun(() -> boolean())) -> ok.
eventually(Condition) ->
    eventually(Condition, erlang:monotonic_time(millisecond) + ?DEADLINE_MS).

-spec eventually(fun(() -> boolean()), integer()) -> ok.
eventually(Condition, Deadline) ->
    case Condition() of
        true ->
            ok;
        false ->
            true = erlang:monotonic_time(millisecond) < Deadline,
            receive
            after 5 -> eventually(Condition, Deadline)
            end
    end.
