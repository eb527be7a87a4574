%% The example of a session keeps what it promises.
-module(erlmcp_examples_session_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [eventually/1, kill/1]).
-import(erlmcp_examples_test_lib, [with_services/1, result/2, failure/2, started/1, asking/1, asked/1]).

-define(SESSION, erlmcp_native_example_session).
-define(CONTROL, erlmcp_control_plane).
-define(LIMITS, erlmcp_queue_limits).
-define(DEADLINE_MS, 10000).

%% A receive with a deadline.
-define(receiving(Pattern, Value),
    receive
        Pattern -> Value
    after ?DEADLINE_MS -> error({not_received, ??Pattern, process_info(self(), messages)})
    end
).

session_test_() ->
    with_services([
        fun requests/0,
        fun too_many_requests/0,
        fun a_busy_session_is_healthy/0,
        fun a_running_request_is_cancelled/0,
        fun a_drain_lets_requests_finish/0,
        fun a_second_drain_changes_nothing/0,
        fun a_breaker_refuses_requests/0,
        fun a_request_counts_until_its_turn_whoever_waits/0,
        fun work_goes_with_its_session/0
    ]).

requests() ->
    {ok, Session} = ?SESSION:start_link(session_1),
    ?assertEqual(result(1, 42), ?SESSION:request(session_1, 1, fun() -> 42 end)),
    ?assertEqual(failure(2, ~"Request crashed"), ?SESSION:request(session_1, 2, fun() -> exit(oops) end)),
    ?assertEqual(failure(3, ~"Session has ended"), ?SESSION:request(session_2, 3, fun() -> 42 end)),
    [?assertMatch({ok, _}, ?CONTROL:send_health_check(session_1, Check)) || Check <- [liveness, readiness, full]],
    ?assertEqual(0, ?LIMITS:get_queue_depth(session, Session)),
    ok = gen_server:stop(Session),
    eventually(fun() -> ?CONTROL:components() =:= [] end).

%% One runs, two wait.
too_many_requests() ->
    ok = ?LIMITS:set_limit(session, 2),
    {ok, Session} = ?SESSION:start_link(session_1),
    {First, Running} = endless_request(session_1, 1),
    Others = [requesting(session_1, N, fun() -> N end) || N <- [2, 3]],
    eventually(fun() -> ?LIMITS:get_queue_depth(session, Session) =:= 2 end),
    ?assertMatch(
        #{~"id" := 4, ~"error" := #{~"code" := -32010, ~"data" := #{~"limit" := 2, ~"depth" := 2}}},
        ?SESSION:request(session_1, 4, fun() -> 42 end)
    ),
    Running ! finish,
    ?assertEqual([result(1, finished), result(2, 2), result(3, 3)], [asked(Asking) || Asking <- [First | Others]]),
    ?assertEqual(result(4, 42), ?SESSION:request(session_1, 4, fun() -> 42 end)),
    ok = gen_server:stop(Session).

%% As many requests wait as may, and the session itself answers nothing.
a_busy_session_is_healthy() ->
    ok = ?LIMITS:set_limit(session, 1000),
    {ok, Session} = ?SESSION:start_link(session_1),
    {First, Running} = endless_request(session_1, 0),
    Others = [requesting(session_1, N, fun() -> N end) || N <- lists:seq(1, 999)],
    eventually(fun() -> process_info(Session, message_queue_len) =:= {message_queue_len, 999} end),
    [?assertMatch({ok, _}, ?CONTROL:send_health_check(session_1, Check)) || Check <- [liveness, readiness, full]],
    ?assertMatch({ok, _}, ?CONTROL:send_circuit_breaker(session_1, query)),
    Running ! finish,
    ?assertEqual(result(0, finished), asked(First)),
    ?assertEqual([result(N, N) || N <- lists:seq(1, 999)], [asked(Other) || Other <- Others]),
    ok = gen_server:stop(Session).

a_running_request_is_cancelled() ->
    {ok, Session} = ?SESSION:start_link(session_1),
    {First, _} = endless_request(session_1, 1),
    Second = requesting(session_1, 2, fun() -> 42 end),
    ?assertEqual({error, not_running}, ?CONTROL:send_cancel_task(session_1, 2)),
    ?assertMatch({ok, _}, ?CONTROL:send_cancel_task(session_1, 1)),
    ?assertEqual([failure(1, ~"Cancelled"), result(2, 42)], [asked(Request) || Request <- [First, Second]]),
    ?assertEqual({error, not_running}, ?CONTROL:send_cancel_task(session_1, 1)),
    ok = gen_server:stop(Session).

a_drain_lets_requests_finish() ->
    {ok, Session} = ?SESSION:start_link(session_1),
    Monitor = monitor(process, Session),
    {First, Running} = endless_request(session_1, 1),
    Second = requesting(session_1, 2, fun() -> 42 end),
    eventually(fun() -> process_info(Session, message_queue_len) =:= {message_queue_len, 1} end),
    ?assertEqual({error, not_found}, ?CONTROL:send_drain_session(session_1, session_2)),
    ?assertMatch({ok, _}, ?CONTROL:send_drain_session(session_1, session_1)),
    ?assertEqual(failure(3, ~"Session is draining"), ?SESSION:request(session_1, 3, fun() -> 42 end)),
    ?assertEqual({error, draining}, ?CONTROL:send_health_check(session_1, readiness)),
    ?assertMatch({ok, _}, ?CONTROL:send_health_check(session_1, liveness)),
    Running ! finish,
    ?assertEqual([result(1, finished), result(2, 42)], [asked(Request) || Request <- [First, Second]]),
    ?assertEqual(normal, ?receiving({'DOWN', Monitor, process, Session, Reason}, Reason)),
    ?assertEqual(failure(4, ~"Session has ended"), ?SESSION:request(session_1, 4, fun() -> 42 end)),
    eventually(fun() -> ?CONTROL:components() =:= [] end).

%% Both wait for the session's attention at once, and are answered.
a_second_drain_changes_nothing() ->
    {ok, Session} = ?SESSION:start_link(session_1),
    unlink(Session),
    Monitor = monitor(process, Session),
    {First, Running} = endless_request(session_1, 1),
    Second = requesting(session_1, 2, fun() -> 42 end),
    eventually(fun() -> process_info(Session, message_queue_len) =:= {message_queue_len, 1} end),
    [?assertMatch({ok, _}, ?CONTROL:send_drain_session(session_1, session_1)) || _ <- [1, 2]],
    Running ! finish,
    ?assertEqual([result(1, finished), result(2, 42)], [asked(Request) || Request <- [First, Second]]),
    try
        ?assertEqual(normal, ?receiving({'DOWN', Monitor, process, Session, Reason}, Reason))
    after
        exit(Session, kill)
    end,
    eventually(fun() -> ?CONTROL:components() =:= [] end).

a_breaker_refuses_requests() ->
    {ok, Session} = ?SESSION:start_link(session_1),
    {First, Running} = endless_request(session_1, 1),
    ?assertMatch({ok, _}, ?CONTROL:send_circuit_breaker(session_1, open)),
    ?assertEqual(failure(2, ~"Circuit breaker is open"), ?SESSION:request(session_1, 2, fun() -> 42 end)),
    ?assertEqual({error, circuit_open}, ?CONTROL:send_circuit_breaker(session_1, query)),
    ?assertEqual({error, circuit_open}, ?CONTROL:send_health_check(session_1, full)),
    Running ! finish,
    ?assertEqual(result(1, finished), asked(First)),
    ?assertMatch({ok, _}, ?CONTROL:send_circuit_breaker(session_1, close)),
    ?assertEqual(result(2, 42), ?SESSION:request(session_1, 2, fun() -> 42 end)),
    ok = gen_server:stop(Session).

a_request_counts_until_its_turn_whoever_waits() ->
    {ok, Session} = ?SESSION:start_link(session_1),
    {First, Running} = endless_request(session_1, 1),
    {Caller, _} = requesting(session_1, 2, fun() -> 42 end),
    eventually(fun() -> ?LIMITS:get_queue_depth(session, Session) =:= 1 end),
    ok = kill(Caller),
    ?assertEqual(failure(3, ~"Request timed out"), ?SESSION:request(session_1, 3, fun() -> 42 end, 1)),
    ?assertEqual(2, ?LIMITS:get_queue_depth(session, Session)),
    Running ! finish,
    ?assertEqual(result(1, finished), asked(First)),
    ?assertEqual(result(4, 42), ?SESSION:request(session_1, 4, fun() -> 42 end)),
    ?assertEqual(0, ?LIMITS:get_queue_depth(session, Session)),
    ok = gen_server:stop(Session).

work_goes_with_its_session() ->
    {ok, Session} = ?SESSION:start_link(session_1),
    unlink(Session),
    {First, Running} = endless_request(session_1, 1),
    ok = kill(Session),
    ?assertEqual(failure(1, ~"Session has ended"), asked(First)),
    eventually(fun() -> not is_process_alive(Running) end),
    eventually(fun() -> ?CONTROL:components() =:= [] end),
    %% And a session with whoever started it.
    {Parent, Ref} = spawn_monitor(fun() ->
        {ok, _} = ?SESSION:start_link(session_2),
        receive
            stop -> exit(stopped)
        end
    end),
    eventually(fun() -> whereis(session_2) =/= undefined end),
    {Second, AlsoRunning} = endless_request(session_2, 2),
    Parent ! stop,
    ?assertEqual(stopped, ?receiving({'DOWN', Ref, process, Parent, Reason}, Reason)),
    ?assertEqual(failure(2, ~"Session has ended"), asked(Second)),
    eventually(fun() -> not is_process_alive(AlsoRunning) end).

endless_request(Session, Id) ->
    started(fun(Work) -> requesting(Session, Id, Work) end).

requesting(Session, Id, Work) ->
    asking(fun() -> ?SESSION:request(Session, Id, Work) end).
