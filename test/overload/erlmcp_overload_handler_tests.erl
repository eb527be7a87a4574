%% Handlers, good and bad; crashes of the monitor; its switches and its configuration.
-module(erlmcp_overload_handler_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_queue_limits, [set_limit/2, forget/2]).
-import(erlmcp_native_test_lib, [eventually/1]).
-import(erlmcp_overload_test_lib, [
    monitor/1, start/1, stop/0, crash/0, fill/3, drain/3, history/0, history/1, row/1, next/1, until/2, role/3,
    silent/2, pass/1, handler/1, handler/2, configure/1
]).

-define(M, erlmcp_overload_monitor).
-define(NEVER_MS, 3600000).
%% A handler that hangs is given up after 5 s.
-define(GIVEN_UP_MS, 8000).

handlers_test_() ->
    erlmcp_overload_test_lib:with_services([
        fun a_handler_keeps_its_state/0,
        fun a_crash_starts_it_anew/0,
        fun a_crash_at_the_start_delays_nobody/0,
        fun nonsense_is_a_crash/0,
        fun an_exit_is_a_crash/0,
        fun a_hanging_handler_delays_nobody_and_is_given_up/0,
        fun a_killed_handler_is_replaced/0,
        fun a_module_that_is_gone/0,
        fun handlers_come_and_go/0,
        fun a_slow_handler_still_hears_that_the_breaker_closes/0,
        fun a_handler_may_call_the_monitor/0
    ]).

crashes_test_() ->
    erlmcp_overload_test_lib:with_services([
        fun a_restart_forgets_nothing/0,
        fun alerts_go_on_while_it_is_away/0,
        fun a_breaker_left_meanwhile_is_closed/0,
        fun a_breaker_of_a_role_gone_meanwhile_is_closed/0,
        fun odd_messages/0
    ]).

switches_test_() ->
    erlmcp_overload_test_lib:with_services([
        fun switched_off/0,
        fun switched_off_survives_a_crash/0,
        fun switched_off_wins_over_the_configuration/0,
        fun switched_off_by_configuration/0,
        fun switched_on_again_finds_who_is_there/0,
        fun an_interval_survives_a_crash/0,
        fun an_interval_ends_with_a_stop/0,
        fun an_interval_by_hand_wins_over_the_configuration/0,
        fun an_interval_by_hand_that_was_configured_before_wins_too/0,
        fun configured_options_apply/0,
        fun options_at_the_start_win/0
    ]).

limits_come_and_go_test_() ->
    erlmcp_overload_test_lib:with_services([
        fun without_limits_there_is_nothing/0,
        fun limits_restarted/0,
        fun limits_crashed/0,
        fun limits_stopped_close_the_breaker/0
    ]).

a_handler_keeps_its_state() ->
    Self = self(),
    Count = fun Count(N) ->
        {return, {ok, {Self, count, fun(E) -> Self ! {n, N, E}, Count(N + 1) end}}}
    end,
    Handler = {erlmcp_overload_test_lib, {Self, count, fun(init) -> Count(1) end}},
    ok = start([{handlers, [Handler]}, {open_breaker_at, never}]),
    ok = set_limit(r, 10),
    fill(r, a, 10),
    Seen = [
        receive
            {n, N, {alert, {Level, _, _, _, _}}} -> Level
        after 5000 -> error(not_told)
        end
     || N <- [1, 2, 3]
    ],
    ?assertEqual([warning, critical, overload], Seen).

%% A handler that does this at its first alert, and an unharmed one.
bad_handler(Act) ->
    [Bad, Good] = [make_ref(), make_ref()],
    Once = atomics:new(1, []),
    First = fun
        ({alert, _}) -> atomics:add_get(Once, 1, 1) =:= 1 andalso Act();
        (_) -> ok
    end,
    ok = start([{handlers, [handler(Bad, First), handler(Good)]}, {open_breaker_at, never}]),
    Monitor = whereis(?M),
    ok = set_limit(r, 10),
    fill(r, a, 10),
    Alerts = [{alert, {L, r, a, D, 10}} || {L, D} <- [{warning, 8}, {critical, 9}, {overload, 10}]],
    ?assertEqual(Alerts, [next(Good) || _ <- Alerts]),
    ?assertEqual(Alerts, [erlmcp_overload_test_lib:next(Bad, ?GIVEN_UP_MS) || _ <- Alerts]),
    ?assertEqual(Monitor, whereis(?M)).

a_crash_starts_it_anew() ->
    bad_handler(fun() -> error(bad_handler) end).

nonsense_is_a_crash() ->
    bad_handler(fun() -> {return, nonsense} end).

an_exit_is_a_crash() ->
    bad_handler(fun() -> exit(normal) end).

a_hanging_handler_delays_nobody_and_is_given_up() ->
    bad_handler(fun() ->
        process_flag(trap_exit, true),
        receive
            never -> ok
        end
    end).

a_killed_handler_is_replaced() ->
    bad_handler(fun() -> exit(self(), kill) end).

a_crash_at_the_start_delays_nobody() ->
    [Bad, Good] = [make_ref(), make_ref()],
    Self = self(),
    Tries = atomics:new(1, []),
    Act = fun
        (init) ->
            Try = atomics:add_get(Tries, 1, 1),
            Self ! tried,
            Try > 1 orelse error(bad_handler);
        (_) -> ok
    end,
    ok = start([{handlers, [handler(Bad, Act), handler(Good)]}]),
    receive
        tried -> ok
    after 5000 -> error(not_started)
    end,
    ok = set_limit(r, 1),
    eventually(fun() -> atomics:get(Tries, 1) > 1 end),
    fill(r, a, 1),
    ?assertEqual({alert, {overload, r, a, 1, 1}}, next(Good)),
    ?assertEqual({alert, {overload, r, a, 1, 1}}, next(Bad)).

a_module_that_is_gone() ->
    Gone = erlmcp_overload_gone_handler,
    ok = erlmcp_overload_test_lib:stand_in(Gone, [
        "init(_) -> {ok, s}.",
        "handle_alert(_, S) -> {ok, S}.",
        "handle_clear(_, S) -> {ok, S}.",
        "handle_role(_, _, S) -> {ok, S}."
    ]),
    Good = make_ref(),
    ok = start([{handlers, [{Gone, x}, handler(Good)]}]),
    ok = erlmcp_overload_test_lib:without(Gone),
    ok = set_limit(r, 1),
    fill(r, a, 1),
    ?assertEqual({alert, {overload, r, a, 1, 1}}, next(Good)),
    ok = ?M:force_check(),
    ?assertEqual({r, open}, next(Good)).

handlers_come_and_go() ->
    [One, Two] = [make_ref(), make_ref()],
    Self = self(),
    Started = fun(Name) ->
        fun
            (init) -> Self ! {started, Name, self()};
            (_) -> ok
        end
    end,
    {First, Second} = {handler(One, Started(one)), handler(Two, Started(two))},
    ok = configure([{overload, #{handlers => [First]}}]),
    ok = start([]),
    FirstPid = started(one),
    ok = set_limit(r, 1),
    fill(r, a, 1),
    _ = until(One, {r, open}),
    ok = configure([{overload, #{handlers => [First, Second]}}]),
    SecondPid = started(two),
    Ref = monitor(process, FirstPid),
    fill(r, b, 1),
    [?assertEqual({alert, {overload, r, b, 1, 1}}, next(Tag)) || Tag <- [One, Two]],
    ok = configure([{overload, #{handlers => [Second]}}]),
    receive
        {'DOWN', Ref, process, FirstPid, _} -> ok
    after 5000 -> error(still_there)
    end,
    fill(r, c, 1),
    ?assertEqual({alert, {overload, r, c, 1, 1}}, next(Two)),
    Ref2 = monitor(process, SecondPid),
    stop(),
    receive
        {'DOWN', Ref2, process, SecondPid, _} -> ok
    after 5000 -> error(still_there)
    end,
    receive
        {One, Event} -> error(Event);
        {started, Name, _} -> error(Name)
    after 0 -> ok
    end.

started(Name) ->
    receive
        {started, Name, Pid} -> Pid
    after 5000 -> error(not_started)
    end.

%% More alerts than wait for a handler come after the role was told.
a_slow_handler_still_hears_that_the_breaker_closes() ->
    [Slow, Good] = [make_ref(), make_ref()],
    Self = self(),
    Wait = fun
        ({alert, {_, blocker, _, _, _}}) ->
            Self ! {blocked, self()},
            receive
                go -> ok
            end;
        (_) ->
            ok
    end,
    ok = start([{handlers, [handler(Slow, Wait), handler(Good)]}]),
    [ok = set_limit(Role, Limit) || {Role, Limit} <- [{blocker, 5}, {r, 1}, {many, 10}]],
    fill(r, a, 1),
    ?assertEqual(open, role(Slow, r, 5000)),
    fill(blocker, a, 4),
    Blocked =
        receive
            {blocked, Pid} -> Pid
        after 5000 -> error(not_told)
        end,
    ok = forget(r, a),
    _ = until(Good, {r, close}),
    [
        begin
            fill(many, a, 8),
            drain(many, a, 8)
        end
     || _ <- lists:seq(1, 5500)
    ],
    ok = set_limit(last, 1),
    fill(last, a, 1),
    _ = until(Good, {alert, {overload, last, a, 1, 1}}),
    Blocked ! go,
    Told = until(Slow, {alert, {overload, last, a, 1, 1}}),
    ?assert(lists:member({r, close}, Told), {told, length(Told)}).

a_handler_may_call_the_monitor() ->
    Tag = make_ref(),
    Call = fun
        ({alert, _}) ->
            ok = ?M:force_check(),
            ok = ?M:set_check_interval(?NEVER_MS),
            [_ | _] = ?M:get_alert_history(),
            ok;
        (_) ->
            ok
    end,
    ok = start([{handlers, [handler(Tag, Call)]}]),
    ok = set_limit(r, 10),
    fill(r, a, 10),
    ?assertEqual(3, length([E || {alert, _} = E <- until(Tag, {r, open})])).

a_restart_forgets_nothing() ->
    Tag = monitor([]),
    ok = set_limit(r, 10),
    fill(r, a, 10),
    ?assertEqual(3, length(until(Tag, {r, open}))),
    History = ?M:get_alert_history(),
    crash(),
    ?assertEqual(History, ?M:get_alert_history()),
    Tag2 = monitor([]),
    ok = ?M:force_check(),
    ?assertEqual(History, ?M:get_alert_history()),
    ok = forget(r, a),
    ?assertEqual([{clear, {L, r, a, 0, 10}} || L <- [overload, critical, warning]], until(Tag2, {r, close})).

alerts_go_on_while_it_is_away() ->
    Tag = make_ref(),
    Options = [{handlers, [handler(Tag)]}],
    ok = start(Options),
    ok = set_limit(r, 10),
    crash(),
    fill(r, a, 10),
    ?assertEqual([{overload, r, a, 10, 10}, {critical, r, a, 9, 10}, {warning, r, a, 8, 10}], history()),
    [#{level := overload} | _] = [Row || #{role := r} = Row <- ?M:summary()],
    ok = ?M:force_check(),
    ok = start(Options),
    ?assertEqual(
        [{alert, {L, r, a, D, 10}} || {L, D} <- [{warning, 8}, {critical, 9}, {overload, 10}]],
        until(Tag, {r, open})
    ).

a_breaker_left_meanwhile_is_closed() ->
    Tag = make_ref(),
    Options = [{handlers, [handler(Tag)]}],
    ok = start(Options),
    ok = set_limit(r, 1),
    fill(r, a, 1),
    ?assertEqual(open, role(Tag, r, 5000)),
    crash(),
    ok = forget(r, a),
    ok = start(Options),
    ?assertEqual(close, role(Tag, r, 5000)).

a_breaker_of_a_role_gone_meanwhile_is_closed() ->
    Tag = make_ref(),
    Options = [{handlers, [handler(Tag)]}],
    ok = start(Options),
    ok = set_limit(r, 1),
    fill(r, a, 1),
    ?assertEqual(open, role(Tag, r, 5000)),
    crash(),
    ok = gen_server:stop(erlmcp_queue_limits),
    ok = start(Options),
    ?assertEqual(close, role(Tag, r, 2000)).

odd_messages() ->
    Tag = monitor([]),
    Monitor = whereis(?M),
    [
        Monitor ! Odd
     || Odd <- [
            hello,
            news,
            {timeout, make_ref(), check},
            {'EXIT', erlmcp_native_test_lib:dead(), crash},
            {'DOWN', make_ref(), process, self(), x}
        ]
    ],
    ok = gen_server:cast(?M, hello),
    ?assertEqual({error, unknown_call}, gen_server:call(?M, hello)),
    ?assert(silent(Tag, marker)),
    ?assertEqual(Monitor, whereis(?M)).

switched_off() ->
    Tag = monitor([]),
    [ok = set_limit(Role, 1) || Role <- [r, s]],
    fill(r, a, 1),
    ?assertEqual([{alert, {overload, r, a, 1, 1}}], until(Tag, {r, open})),
    ok = ?M:set_enabled(false),
    ?assertEqual({r, close}, next(Tag)),
    Alerts = history(),
    fill(s, a, 2),
    ok = ?M:force_check(),
    ?assertEqual(Alerts, history()),
    ?assertMatch([#{process := a, depth := 2, status := overload}], ?M:queues(s)),
    ?assertEqual(2, length(?M:get_overloaded())),
    drain(s, a, 2),
    ok = ?M:set_enabled(true),
    ?assertMatch([{alert, {overload, r, a, 1, 1}}], until(Tag, {r, open})),
    ?assert(silent(Tag, marker)).

switched_off_survives_a_crash() ->
    monitor([]),
    ok = ?M:set_enabled(false),
    crash(),
    ok = set_limit(r, 1),
    fill(r, a, 1),
    Tag = monitor([]),
    fill(r, b, 1),
    ok = ?M:force_check(),
    ?assertEqual([], history()),
    stop(),
    Tag2 = monitor([]),
    ?assertEqual([{overload, r, a, 1, 1}, {overload, r, b, 1, 1}], lists:sort(history())),
    _ = until(Tag2, {r, open}),
    receive
        {Tag, Event} -> error(Event)
    after 0 -> ok
    end.

switched_off_wins_over_the_configuration() ->
    monitor([]),
    ok = ?M:set_enabled(false),
    ok = configure([{overload_monitor_enabled, true}]),
    ok = set_limit(r, 1),
    fill(r, a, 1),
    ok = ?M:force_check(),
    ?assertEqual([], history()),
    ok = ?M:set_enabled(true),
    ok = configure([{overload_monitor_enabled, false}]),
    fill(r, b, 1),
    ?assertEqual([{overload, r, a, 1, 1}, {overload, r, b, 1, 1}], lists:sort(history())).

switched_off_by_configuration() ->
    ok = configure([{overload_monitor_enabled, false}]),
    Tag = monitor([]),
    ok = set_limit(r, 1),
    fill(r, a, 1),
    ok = ?M:force_check(),
    ?assertEqual([], history()),
    ?assertMatch([#{status := overload}], ?M:queues(r)),
    ok = configure([{overload_monitor_enabled, true}]),
    ?assertEqual([{overload, r, a, 1, 1}], history()),
    ?assertEqual([{alert, {overload, r, a, 1, 1}}], until(Tag, {r, open})),
    ok = configure([{overload_monitor_enabled, false}]),
    ?assertEqual({r, close}, next(Tag)).

switched_on_again_finds_who_is_there() ->
    monitor([]),
    ok = ?M:set_enabled(false),
    ok = set_limit(r, 10),
    fill(r, a, 9),
    ok = ?M:set_enabled(true),
    ?assertEqual([{critical, r, a, 9, 10}], history()),
    drain(r, a, 9),
    ?assertEqual(ok, maps:get(level, row(r))).

%% Whether the monitor checks by itself.
checks(Role) ->
    fill(Role, a, 10),
    ok = set_limit(Role, 10),
    eventually(fun() -> history(Role) =/= [] end).

an_interval_survives_a_crash() ->
    monitor([]),
    ok = ?M:set_check_interval(5),
    checks(r),
    crash(),
    monitor([]),
    checks(s).

an_interval_ends_with_a_stop() ->
    monitor([]),
    ok = ?M:set_check_interval(5),
    stop(),
    monitor([]),
    fill(r, a, 10),
    ok = set_limit(r, 10),
    pass(200),
    ?assertEqual([], history()).

an_interval_by_hand_wins_over_the_configuration() ->
    ok = configure([{overload, #{check_interval => ?NEVER_MS, handlers => []}}]),
    {ok, Pid} = ?M:start_link(),
    unlink(Pid),
    ok = ?M:set_check_interval(5),
    ok = configure([{overload, #{check_interval => ?NEVER_MS - 1}}]),
    checks(r).

an_interval_by_hand_that_was_configured_before_wins_too() ->
    ok = configure([{overload, #{check_interval => 5, handlers => []}}]),
    {ok, Pid} = ?M:start_link(),
    unlink(Pid),
    ok = ?M:set_check_interval(5),
    ok = configure([{overload, #{check_interval => ?NEVER_MS, handlers => []}}]),
    checks(r).

configured_options_apply() ->
    Tag = make_ref(),
    Given = #{max_alert_history => 1, handlers => [handler(Tag)], breaker_min_open => 0},
    ok = application:set_env(erlmcp_core, overload, Given),
    {ok, Pid} = ?M:start_link(),
    unlink(Pid),
    [ok = set_limit(Role, 10) || Role <- [r, s]],
    fill(r, a, 10),
    ?assertEqual([{overload, r, a, 10, 10}], history()),
    _ = until(Tag, {r, open}),
    ok = configure([
        {overload, #{
            max_alert_history => 2,
            clear_margin => 0,
            open_breaker_at => critical,
            handlers => [handler(Tag)],
            breaker_min_open => 0,
            check_interval => 5
        }}
    ]),
    fill(s, a, 9),
    ?assertEqual([{critical, s, a, 9, 10}, {warning, s, a, 8, 10}], history()),
    _ = until(Tag, {s, open}),
    drain(s, a, 1),
    ?assertEqual([{clear, {critical, s, a, 8, 10}}], until(Tag, {s, close})),
    checks(t),
    ok = configure([{overload, #{open_breaker_at => never, handlers => [handler(Tag)], breaker_min_open => 0}}]),
    ?assertEqual(close, role(Tag, r, 5000)).

options_at_the_start_win() ->
    ok = configure([{overload, #{max_alert_history => 1}}]),
    monitor([{max_alert_history, 2}]),
    ok = configure([{overload, #{max_alert_history => 3}}]),
    ok = set_limit(r, 10),
    fill(r, a, 10),
    ?assertEqual(2, length(history())).

without_limits_there_is_nothing() ->
    ok = gen_server:stop(erlmcp_queue_limits),
    monitor([]),
    Nothing = [
        ?M:queues(), ?M:queues(session), ?M:queues(session, #{top => 3}),
        ?M:get_overloaded(), ?M:get_overloaded(session),
        ?M:get_alert_history(), ?M:get_alert_history(session), ?M:summary()
    ],
    ?assertEqual([], lists:append(Nothing)),
    Each = [?M:force_check(), ?M:reset_alerts(), ?M:set_check_interval(1), ?M:set_enabled(false), ?M:set_enabled(true)],
    ?assertEqual([ok], lists:usort(Each)).

limits_again() ->
    {ok, Pid} = erlmcp_queue_limits:start_link(),
    unlink(Pid),
    ok.

limits_restarted() ->
    Tag = monitor([]),
    ok = set_limit(r, 1),
    fill(r, a, 1),
    _ = until(Tag, {r, open}),
    ok = gen_server:stop(erlmcp_queue_limits),
    _ = until(Tag, {r, close}),
    ?assertEqual([[], [], []], [?M:queues(), ?M:get_overloaded(), ?M:summary()]),
    limits_again(),
    ?assertEqual([], ?M:queues(r)),
    ok = set_limit(r, 1),
    fill(r, a, 1),
    ?assertEqual([{alert, {overload, r, a, 1, 1}}], until(Tag, {r, open})),
    ?assertEqual({overload, r, a, 1, 1}, hd(history())).

limits_crashed() ->
    Tag = monitor([]),
    ok = set_limit(r, 2),
    fill(r, a, 1),
    erlmcp_native_test_lib:crash(),
    fill(r, a, 1),
    ?assertEqual([{overload, r, a, 2, 2}], history()),
    limits_again(),
    ?assertEqual([{alert, {overload, r, a, 2, 2}}], until(Tag, {r, open})),
    ?assertMatch([#{depth := 2, limit := 2}], ?M:queues(r)).

limits_stopped_close_the_breaker() ->
    Tag = monitor([]),
    Roles = [r, s, t],
    [ok = set_limit(Role, 1) || Role <- Roles],
    [fill(Role, a, 1) || Role <- Roles],
    ?assertEqual([open, open, open], [role(Tag, Role, 5000) || Role <- Roles]),
    ok = gen_server:stop(erlmcp_queue_limits),
    ?assertEqual([close, close, close], [role(Tag, Role, 5000) || Role <- Roles]).
