%% Senders that give up, answers that come late, and the objective for health checks.
-module(erlmcp_control_timeout_tests).

-include_lib("eunit/include/eunit.hrl").

-define(P, erlmcp_control_plane).
-define(C, erlmcp_control_test_lib).
-define(LIB, erlmcp_native_test_lib).
%% A component's time, within which a handler has begun on a machine that is busy with much else.
-define(BEGUN_MS, 500).

timeout_test_() ->
    ?C:with_plane([
        fun after_the_components_timeout/0,
        fun at_once/0,
        fun the_longest/0,
        fun late_answers_are_dropped/0,
        fun who_gave_up_is_not_run/0,
        fun a_cast_waits_for_ever/0,
        fun the_message_s_timeout_is_not_enforced/0,
        fun to_itself_from_a_handler/0,
        fun two_that_wait_for_each_other/0,
        fun replies_race_with_timeouts/0
    ]).

slo_test_() ->
    ?C:with_plane([
        fun slow_health_checks/0,
        fun unanswered_health_checks/0,
        fun a_handler_that_dies_at_a_health_check/0,
        fun other_types_break_nothing/0,
        fun a_wait_counts_as_well/0
    ]).

elapsed_ms(Fun) ->
    {Us, Result} = timer:tc(Fun),
    {Us div 1000, Result}.

after_the_components_timeout() ->
    ?C:gate(a, #{timeout_ms => ?BEGUN_MS}),
    {Ms, Result} = elapsed_ms(fun() -> ?P:send_cancel_task(a, 1) end),
    ?assertEqual({error, timeout}, Result),
    ?assert(Ms >= ?BEGUN_MS andalso Ms < 10 * ?BEGUN_MS, Ms),
    ?assertMatch(#{timeouts := 1, total_delivered := 1, slo_violations := 0}, ?P:get_stats()),
    {Pid, _} = ?C:running(a),
    ?C:go(Pid).

at_once() ->
    Runs = counters:new(1, []),
    ok = ?P:register_component(a, #{timeout_ms => 0, handler => fun(_) -> counters:add(Runs, 1, 1) end}),
    [?assertEqual({error, timeout}, ?P:send_cancel_task(a, N)) || N <- lists:seq(1, 100)],
    ?assertEqual([], ?C:mailbox(self())),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, 1)),
    ok = ?LIB:eventually(fun() -> counters:get(Runs, 1) > 0 end),
    ?assertEqual(1, counters:get(Runs, 1)),
    ?assertEqual(?C:queued_all(0), ?C:queued(a)),
    ?assertMatch(#{timeouts := 100, total_delivered := 1}, ?P:get_stats()).

the_longest() ->
    ok = ?P:register_component(a, #{timeout_ms => 16#ffffffff, handler => fun(_) -> ok end}),
    ?assertMatch({ok, _}, ?P:send_cancel_task(a, 1)).

late_answers_are_dropped() ->
    ?C:gate(a, #{timeout_ms => ?BEGUN_MS}),
    {error, timeout} = ?P:send_cancel_task(a, 1),
    {Pid, _} = ?C:running(a),
    ?C:go(Pid),
    ?C:gate(a, #{timeout_ms => 5000}),
    Pid = ?C:idle_pid(a),
    ?assertEqual([], ?C:mailbox(self())).

who_gave_up_is_not_run() ->
    ?C:gate(a, #{timeout_ms => 50}),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, gate)),
    {Pid, _} = ?C:running(a),
    Senders = [?C:async(fun() -> ?P:send_health_check(a, full) end) || _ <- lists:seq(1, 20)],
    [?assertEqual({error, timeout}, ?C:result(Sender)) || Sender <- Senders],
    ok = ?P:cast_priority(a, ?C:type(cancel_task, last)),
    ?C:go(Pid),
    {Pid, Next} = ?C:running(a),
    ?assertEqual(?C:type(cancel_task, last), Next),
    ?assertEqual(?C:queued_all(0), ?C:queued(a)),
    ?assertMatch(#{timeouts := 20, total_delivered := 2}, ?P:get_stats()),
    ?C:go(Pid).

a_cast_waits_for_ever() ->
    ?C:gate(a, #{timeout_ms => 1}),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, gate)),
    {Pid, _} = ?C:running(a),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, 2)),
    {error, timeout} = ?P:send_cancel_task(a, 3),
    ?C:go(Pid),
    {Pid, {control, cancel_task, #{task_id := 2}}} = ?C:running(a),
    ?C:go(Pid).

the_message_s_timeout_is_not_enforced() ->
    ok = ?P:register_component(a, fun(_) -> receive after 20 -> ok end end),
    {ok, Us} = ?P:send_priority(a, {control, cancel_task, #{task_id => 1, timeout_ms => 1}}),
    ?assert(Us >= 20000).

to_itself_from_a_handler() ->
    Test = self(),
    ok = ?P:register_component(a, #{timeout_ms => ?BEGUN_MS, handler => fun
        ({control, cancel_task, _}) -> Test ! {inner, ?P:send_circuit_breaker(a, query)};
        (_) -> Test ! ran
    end}),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, 1)),
    receive {inner, Result} -> ?assertEqual({error, timeout}, Result) after 20 * ?BEGUN_MS -> error(hangs) end,
    ?assertMatch({ok, _}, ?P:send_health_check(a, full)),
    receive ran -> ok end,
    ?assertEqual([], ?C:mailbox(self())),
    ?assertEqual(?C:queued_all(0), ?C:queued(a)).

two_that_wait_for_each_other() ->
    To = fun(Other) ->
        fun({control, cancel_task, _}) -> ?P:send_cancel_task(Other, 1); (_) -> ok end
    end,
    ok = ?P:register_component(a, #{timeout_ms => 60, handler => To(b)}),
    ok = ?P:register_component(b, #{timeout_ms => 60, handler => To(a)}),
    ?assertEqual({error, timeout}, ?P:send_cancel_task(a, 1)),
    ok = ?LIB:eventually(fun() ->
        [{error, timeout}] =/= lists:usort([?P:send_circuit_breaker(Id, query) || Id <- [a, b]])
    end),
    ok = ?LIB:eventually(fun() -> ?C:stat(queued) =:= ?C:queued_all(0) end).

%% Whichever comes first, the answer or the timeout: one of them, and nothing left behind.
replies_race_with_timeouts() ->
    ok = ?P:register_component(a, #{timeout_ms => 1, handler => fun({control, _, #{task_id := N}}) ->
        Until = erlang:monotonic_time(microsecond) + N,
        (fun Spin() -> erlang:monotonic_time(microsecond) < Until andalso Spin() end)()
    end}),
    Results = [?P:send_cancel_task(a, 600 + N * 2) || N <- lists:seq(1, 400)],
    [?assert(element(1, R) =:= ok orelse R =:= {error, timeout}, R) || R <- Results],
    ?C:gate(a),
    _ = ?C:idle_pid(a),
    ?assertEqual([], ?C:mailbox(self())),
    ?assertEqual(length([R || R <- Results, R =:= {error, timeout}]), ?C:stat(timeouts)).

after_ms(Ms) ->
    fun(_) -> receive after Ms -> ok end end.

slow_health_checks() ->
    ok = ?P:register_component(a, after_ms(50)),
    {ok, Us50} = ?P:send_health_check(a, liveness),
    ?assertEqual(Us50 > 100000, ?C:stat(slo_violations) =:= 1),
    ok = ?P:reset_stats(),
    ok = ?P:register_component(a, after_ms(150)),
    {ok, Us150} = ?P:send_health_check(a, readiness),
    ?assert(Us150 >= 150000),
    ?assertEqual(1, ?C:stat(slo_violations)).

unanswered_health_checks() ->
    ?C:gate(a, #{timeout_ms => ?BEGUN_MS}),
    {error, timeout} = ?P:send_health_check(a, full),
    ?assertMatch(#{slo_violations := 1, timeouts := 1}, ?P:get_stats()),
    {Pid, _} = ?C:running(a),
    ?C:go(Pid),
    %% Answered, if with an error.
    ?C:gate(a, #{timeout_ms => 5000}),
    Sender = ?C:async(fun() -> ?P:send_health_check(a, full) end),
    {Pid, _} = ?C:running(a),
    ?C:go(Pid, {error, unwell}),
    {error, unwell} = ?C:result(Sender),
    ?assertEqual(1, ?C:stat(slo_violations)).

%% Its process dies, so it is never answered.
a_handler_that_dies_at_a_health_check() ->
    ok = ?P:register_component(a, fun(_) -> exit(self(), kill), receive after infinity -> ok end end),
    {error, {handler_crashed, killed}} = ?P:send_health_check(a, full),
    ?assertEqual(1, ?C:stat(slo_violations)).

other_types_break_nothing() ->
    ok = ?P:register_component(a, after_ms(120)),
    {ok, _} = ?P:send_cancel_task(a, 1),
    {ok, _} = ?P:send_drain_session(a, 1),
    {ok, _} = ?P:send_circuit_breaker(a, open),
    ?assertEqual(0, ?C:stat(slo_violations)),
    ?assert(?C:stat(latency_p50_us) >= 120000).

a_wait_counts_as_well() ->
    ok = ?P:register_component(a, after_ms(110)),
    ok = ?P:cast_priority(a, ?C:type(circuit_breaker, a)),
    ok = ?LIB:eventually(fun() -> ?C:stat(total_delivered) =:= 1 end),
    ok = ?P:register_component(a, fun(_) -> ok end),
    {ok, Us} = ?P:send_health_check(a, full),
    ?assertEqual(Us > 100000, ?C:stat(slo_violations) =:= 1).
