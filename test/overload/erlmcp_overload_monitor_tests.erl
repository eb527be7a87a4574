%% Levels, alerts, the history and what can be looked at, for a few owners.
-module(erlmcp_overload_monitor_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_queue_limits, [record_enqueue/2, set_limit/2, forget/2]).
-import(erlmcp_native_test_lib, [eventually/1, in_process/1, idle/0]).
-import(erlmcp_overload_test_lib, [
    monitor/1, stop/0, fill/3, drain/3, history/0, history/1, row/1, next/1, until/2, silent/2, pass/1
]).

-define(M, erlmcp_overload_monitor).

levels_test_() ->
    erlmcp_overload_test_lib:with_services([
        fun an_alert_is_there_when_the_call_returns/0,
        fun every_way_in_is_seen/0,
        fun an_alert_has_all_its_keys/0,
        fun limit_one_knows_only_overload/0,
        fun limit_zero/0,
        fun small_limits/0,
        fun flips_inside_the_margin_are_one_alert/0,
        fun each_level_left_is_told_once/0,
        fun a_level_that_comes_back_is_alerted_again/0,
        fun margins/0,
        fun a_lowered_limit_is_one_alert/0,
        fun a_raised_limit_clears/0,
        fun roles_follow_the_default_limit/0,
        fun refused_or_not_it_is_counted/0,
        fun the_periodic_check_finds_a_changed_limit/0,
        fun a_level_that_lasts_is_alerted_again/0,
        fun a_level_that_lasts_is_not_alerted_before_its_time/0,
        fun a_dead_owner_clears/0,
        fun a_forgotten_owner_clears/0,
        fun the_role_follows_its_worst_owner/0,
        fun the_breaker_at_critical/0,
        fun the_breaker_never/0,
        fun reset_alerts_forgets/0,
        fun the_history_is_bounded/0,
        fun the_history_of_a_role/0
    ]).

rows_test_() ->
    erlmcp_overload_test_lib:with_services([
        fun all_rows/0,
        fun rows_of_a_role/0,
        fun the_fullest/0,
        fun the_overloaded/0,
        fun status_is_of_now_and_the_level_is_not/0,
        fun summary_rows/0,
        fun summary_times/0
    ]).

an_alert_is_there_when_the_call_returns() ->
    monitor([]),
    ok = set_limit(r, 10),
    Seen = [
        begin
            ok = record_enqueue(r, a),
            Alerts = history(),
            ?assertEqual(Alerts, in_process(fun() -> history() end)),
            length(Alerts)
        end
     || _ <- lists:seq(1, 12)
    ],
    ?assertEqual([0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 3], Seen),
    ?assertEqual([{overload, r, a, 10, 10}, {critical, r, a, 9, 10}, {warning, r, a, 8, 10}], history()).

every_way_in_is_seen() ->
    monitor([]),
    [ok = set_limit(Role, 5) || Role <- [tried, held]],
    [ok = erlmcp_queue_limits:try_enqueue(tried, a) || _ <- lists:seq(1, 4)],
    ?assertEqual([{warning, tried, a, 4, 5}], history()),
    fill(held, a, 3),
    Inside = fun() -> history(held) end,
    ?assertEqual({ok, [{warning, held, a, 4, 5}]}, erlmcp_queue_limits:with_capacity(held, a, Inside)),
    ?assertEqual(ok, maps:get(level, row(held))).

an_alert_has_all_its_keys() ->
    monitor([]),
    ok = set_limit(r, 8),
    Before = erlang:system_time(millisecond),
    fill(r, self(), 7),
    After = erlang:system_time(millisecond),
    [Alert] = ?M:get_alert_history(),
    #{timestamp := At} = Alert,
    ?assertEqual(
        #{level => warning, role => r, process => self(), depth => 7, limit => 8, utilization => 0.875},
        maps:without([timestamp], Alert)
    ),
    ?assert(Before =< At andalso At =< After, {Before, At, After}).

limit_one_knows_only_overload() ->
    Tag = monitor([]),
    ok = set_limit(r, 1),
    fill(r, a, 3),
    ?assertEqual([{overload, r, a, 1, 1}], history()),
    ?assertEqual([{alert, {overload, r, a, 1, 1}}], until(Tag, {r, open})).

limit_zero() ->
    monitor([]),
    ok = set_limit(r, 0),
    [#{utilization := None, status := ok, depth := 0}] = ?M:queues(r),
    ?assertEqual(0.0, None),
    fill(r, a, 1),
    ?assertEqual([{overload, r, a, 1, 0}], history()),
    [#{utilization := Full, status := overload, depth := 1, process := a}] = ?M:queues(r),
    ?assertEqual(1.0, Full),
    drain(r, a, 1),
    ?assertMatch([#{utilization := +0.0, status := ok, process := a}], ?M:queues(r)),
    ?assertEqual(ok, maps:get(level, row(r))).

small_limits() ->
    monitor([]),
    [
        begin
            Role = list_to_atom("small_" ++ integer_to_list(Limit)),
            ok = set_limit(Role, Limit),
            fill(Role, a, Limit),
            Depths = [{Level, Depth} || {Level, _, _, Depth, _} <- lists:reverse(history(Role))],
            Reached = [{D, level(D, Limit)} || D <- lists:seq(1, Limit)],
            Expected = [{L, D} || {D, L} <- Reached, L =/= ok, L =/= level(D - 1, Limit)],
            ?assertEqual({Limit, Expected}, {Limit, Depths})
        end
     || Limit <- lists:seq(1, 25)
    ].

level(Depth, Limit) when Depth >= Limit -> overload;
level(Depth, Limit) when Depth * 10 >= Limit * 9 -> critical;
level(Depth, Limit) when Depth * 10 >= Limit * 8 -> warning;
level(_, _) -> ok.

flips_inside_the_margin_are_one_alert() ->
    monitor([]),
    ok = set_limit(r, 100),
    fill(r, a, 79),
    [
        begin
            fill(r, a, 1),
            drain(r, a, 1)
        end
     || _ <- lists:seq(1, 100000)
    ],
    ?assertEqual([{warning, r, a, 80, 100}], history()),
    drain(r, a, 8),
    [
        begin
            fill(r, a, 9),
            drain(r, a, 9)
        end
     || _ <- lists:seq(1, 1000)
    ],
    ?assertEqual(1, length(history())).

each_level_left_is_told_once() ->
    Tag = monitor([{open_breaker_at, never}]),
    ok = set_limit(r, 10),
    fill(r, a, 10),
    drain(r, a, 10),
    ?assertEqual(
        [
            {alert, {warning, r, a, 8, 10}},
            {alert, {critical, r, a, 9, 10}},
            {alert, {overload, r, a, 10, 10}},
            {clear, {overload, r, a, 9, 10}},
            {clear, {critical, r, a, 8, 10}},
            {clear, {warning, r, a, 7, 10}}
        ],
        [next(Tag) || _ <- lists:seq(1, 6)]
    ),
    ?assert(silent(Tag, marker)),
    ?assertEqual(3, length(history(r))).

a_level_that_comes_back_is_alerted_again() ->
    monitor([]),
    ok = set_limit(r, 10),
    fill(r, a, 8),
    drain(r, a, 1),
    fill(r, a, 1),
    ?assertEqual([{warning, r, a, 8, 10}, {warning, r, a, 8, 10}], history()).

margins() ->
    [
        begin
            Tag = monitor([{clear_margin, Margin}]),
            ok = set_limit(r, 100),
            fill(r, a, 100),
            drain(r, a, 100),
            Clears = [{Level, At} || {clear, {Level, r, a, At, 100}} <- until_warning_left(Tag)],
            ?assertEqual({Margin, Left}, {Margin, Clears}),
            stop(),
            ok = forget(r, a)
        end
     || {Margin, Left} <- [
            {0, [{overload, 99}, {critical, 89}, {warning, 79}]},
            {0.1, [{overload, 90}, {critical, 80}, {warning, 70}]},
            {0.125, [{overload, 87}, {critical, 77}, {warning, 67}]},
            {0.8, [{overload, 20}, {critical, 10}, {warning, 0}]}
        ]
    ].

until_warning_left(Tag) ->
    case next(Tag) of
        {clear, {warning, _, _, _, _}} = Last -> [Last];
        Event -> [Event | until_warning_left(Tag)]
    end.

a_lowered_limit_is_one_alert() ->
    Tag = monitor([]),
    ok = set_limit(r, 1000),
    fill(r, a, 95),
    ok = set_limit(r, 50),
    ?assertEqual([], history()),
    ok = ?M:force_check(),
    ?assertEqual([{overload, r, a, 95, 50}], history()),
    ok = ?M:force_check(),
    ?assertEqual(1, length(history())),
    ?assertEqual([{alert, {overload, r, a, 95, 50}}], until(Tag, {r, open})).

a_raised_limit_clears() ->
    Tag = monitor([]),
    ok = set_limit(r, 10),
    fill(r, a, 10),
    ?assertEqual(3, length(until(Tag, {r, open}))),
    ok = set_limit(r, 1000),
    ok = ?M:force_check(),
    ?assertEqual([{clear, {Level, r, a, 10, 1000}} || Level <- [overload, critical, warning]], until(Tag, {r, close})),
    ?assertEqual(ok, maps:get(level, row(r))).

roles_follow_the_default_limit() ->
    monitor([]),
    fill(follower, a, 9),
    ok = set_limit(default, 10),
    ok = ?M:force_check(),
    ?assertEqual([{critical, follower, a, 9, 10}], history()).

refused_or_not_it_is_counted() ->
    monitor([]),
    ok = erlmcp_queue_limits:set_enabled(false),
    ok = set_limit(r, 1),
    [ok = erlmcp_queue_limits:try_enqueue(r, a) || _ <- lists:seq(1, 3)],
    ?assertEqual([{overload, r, a, 1, 1}], history()).

the_periodic_check_finds_a_changed_limit() ->
    monitor([{check_interval, 5}]),
    fill(r, a, 10),
    ok = set_limit(r, 10),
    eventually(fun() -> history() =:= [{overload, r, a, 10, 10}] end).

a_level_that_lasts_is_alerted_again() ->
    Tag = monitor([{check_interval, 1}, {realert_interval, 1}]),
    ok = set_limit(r, 10),
    fill(r, a, 8),
    eventually(fun() -> length(history()) >= 4 end),
    ?assertEqual([{warning, r, a, 8, 10}], lists:usort(history())),
    [?assertEqual({alert, {warning, r, a, 8, 10}}, next(Tag)) || _ <- lists:seq(1, 4)],
    drain(r, a, 1),
    eventually(fun() -> maps:get(level, row(r)) =:= ok end),
    Alerts = length(history()),
    [ok = ?M:force_check() || _ <- lists:seq(1, 10)],
    ?assertEqual(Alerts, length(history())).

a_level_that_lasts_is_not_alerted_before_its_time() ->
    monitor([]),
    ok = set_limit(r, 10),
    fill(r, a, 8),
    [ok = ?M:force_check() || _ <- lists:seq(1, 100)],
    ?assertEqual(1, length(history())).

a_dead_owner_clears() ->
    owner_goes(idle(), fun erlmcp_native_test_lib:kill/1).

a_forgotten_owner_clears() ->
    owner_goes(a, fun(Owner) -> forget(r, Owner) end).

owner_goes(Owner, Goes) ->
    Tag = monitor([]),
    ok = set_limit(r, 10),
    fill(r, Owner, 10),
    ?assertEqual(3, length(until(Tag, {r, open}))),
    Goes(Owner),
    Clears = until(Tag, {r, close}),
    ?assertMatch(
        [{clear, {overload, r, Owner, _, _}}, {clear, {critical, _, _, _, _}}, {clear, {warning, _, _, _, _}}],
        Clears
    ),
    ?assertEqual({ok, 0}, {maps:get(level, row(r)), maps:get(owners, row(r))}),
    ?assertEqual(3, length(history())).

the_role_follows_its_worst_owner() ->
    Tag = monitor([]),
    ok = set_limit(r, 10),
    fill(r, b, 1),
    fill(r, a, 10),
    ?assertEqual(
        [{alert, {L, r, a, D, 10}} || {L, D} <- [{warning, 8}, {critical, 9}, {overload, 10}]],
        until(Tag, {r, open})
    ),
    fill(r, b, 9),
    drain(r, a, 10),
    ?assertEqual([], [Event || {r, _} = Event <- until(Tag, {clear, {warning, r, a, 7, 10}})]),
    ?assertEqual(overload, maps:get(level, row(r))),
    drain(r, b, 10),
    _ = until(Tag, {r, close}),
    ?assertEqual(ok, maps:get(level, row(r))).

the_breaker_at_critical() ->
    Tag = monitor([{open_breaker_at, critical}]),
    ok = set_limit(r, 10),
    fill(r, a, 9),
    _ = until(Tag, {r, open}),
    fill(r, a, 1),
    drain(r, a, 1),
    ?assertEqual([], [Event || {r, _} = Event <- until(Tag, {clear, {overload, r, a, 9, 10}})]),
    drain(r, a, 1),
    _ = until(Tag, {r, close}).

the_breaker_never() ->
    Tag = monitor([{open_breaker_at, never}]),
    ok = set_limit(r, 1),
    fill(r, a, 1),
    _ = until(Tag, {alert, {overload, r, a, 1, 1}}),
    ?assert(silent(Tag, marker)).

reset_alerts_forgets() ->
    Tag = monitor([]),
    ok = set_limit(r, 10),
    fill(r, a, 8),
    fill(r, b, 10),
    ok = ?M:reset_alerts(),
    ?assertEqual([], history()),
    ?assertEqual(ok, maps:get(level, row(r))),
    fill(r, b, 1),
    ?assertEqual([{overload, r, b, 11, 10}], history()),
    ok = ?M:force_check(),
    ?assertEqual([{warning, r, a, 8, 10}, {overload, r, b, 11, 10}], history()),
    ?assertEqual(#{ok => 0, warning => 1, critical => 0, overload => 1}, maps:get(owners_by_level, row(r))),
    ok = forget(r, b),
    ok = forget(r, a),
    ?assertEqual([], lists:usort([E || {clear, _} = E <- until(Tag, {clear, {overload, r, b, 0, 10}})])).

the_history_is_bounded() ->
    monitor([{max_alert_history, 3}]),
    ok = set_limit(r, 1),
    [fill(r, Owner, 1) || Owner <- [a, b, c, d, e]],
    ?assertEqual([{overload, r, Owner, 1, 1} || Owner <- [e, d, c]], history()).

the_history_of_a_role() ->
    monitor([]),
    [ok = set_limit(Role, 1) || Role <- [r, s]],
    [fill(Role, Owner, 1) || {Role, Owner} <- [{r, a}, {s, a}, {r, b}]],
    ?assertEqual([{overload, r, b, 1, 1}, {overload, r, a, 1, 1}], history(r)),
    ?assertEqual([{overload, s, a, 1, 1}], history(s)),
    ?assertEqual([], history(nobody_uses_this)),
    ?assertEqual([], history(default)).

-define(ROW_KEYS, [
    depth, drain_per_s, kind, limit, process, role, sojourn_ms, stalled_ms, status, utilization, wait_ms
]).

all_rows() ->
    monitor([]),
    ok = set_limit(r, 10),
    fill(r, a, 9),
    fill(r, b, 1),
    fill(session, self(), 1),
    Rows = ?M:queues(),
    ?assertEqual([?ROW_KEYS], lists:usort([lists:sort(maps:keys(Row)) || Row <- Rows])),
    Roles = [default, sse_stream, task_worker, tool_executor, transport],
    ?assertEqual(
        lists:sort([{r, a}, {r, b}, {session, self()}] ++ [{R, R} || R <- Roles]),
        lists:sort([{Role, Process} || #{role := Role, process := Process} <- Rows])
    ).

rows_of_a_role() ->
    monitor([]),
    ?assertEqual(
        [
            #{
                role => session,
                process => session,
                depth => 0,
                limit => 10000,
                utilization => 0.0,
                status => ok,
                kind => counted,
                drain_per_s => undefined,
                wait_ms => undefined,
                sojourn_ms => undefined,
                stalled_ms => undefined
            }
        ],
        ?M:queues(session)
    ),
    ?assertEqual([], ?M:queues(nobody_uses_this)),
    ?assertEqual([], ?M:queues(nobody_uses_this, #{top => 5})),
    ok = set_limit(r, 8),
    fill(r, a, 7),
    Counted = #{
        role => r, process => a, kind => counted, depth => 7, limit => 8, utilization => 0.875, status => warning
    },
    [Row] = ?M:queues(r),
    ?assertEqual(Counted, maps:with(maps:keys(Counted), Row)),
    %% Nobody has left yet that waited for another.
    Times = #{drain_per_s => undefined, wait_ms => undefined, sojourn_ms => undefined},
    ?assertEqual(Times, maps:without([stalled_ms | maps:keys(Counted)], Row)),
    ?assertMatch(#{stalled_ms := Ms} when is_integer(Ms), Row),
    ok = forget(r, a),
    ?assertMatch([#{process := r, depth := 0}], ?M:queues(r)).

the_fullest() ->
    monitor([]),
    Owners = [{list_to_atom("o" ++ integer_to_list(N)), N} || N <- lists:seq(1, 20)],
    [fill(r, Owner, N) || {Owner, N} <- Owners],
    Depths = fun(Top) -> [Depth || #{depth := Depth} <- ?M:queues(r, #{top => Top})] end,
    ?assertEqual([20, 19, 18], Depths(3)),
    ?assertEqual([], Depths(0)),
    ?assertEqual(lists:seq(20, 1, -1), Depths(1 bsl 100)),
    %% But for how long nobody was taken out, which goes on.
    Still = fun(Rows) -> [maps:remove(stalled_ms, Row) || Row <- Rows] end,
    [First | _] = Still(?M:queues(r, #{top => 1})),
    ?assert(lists:member(First, Still(?M:queues(r)))).

the_overloaded() ->
    monitor([]),
    [ok = set_limit(Role, 10) || Role <- [r, s]],
    [fill(Role, Owner, N) || {Role, Owner, N} <- [{r, a, 8}, {r, b, 9}, {r, c, 10}, {s, a, 11}]],
    Brief = fun(Rows) ->
        lists:sort([{Role, Process, Status} || #{role := Role, process := Process, status := Status} <- Rows])
    end,
    ?assertEqual([{r, b, critical}, {r, c, overload}], Brief(?M:get_overloaded(r))),
    ?assertEqual([{r, b, critical}, {r, c, overload}, {s, a, overload}], Brief(?M:get_overloaded())),
    ?assertEqual([], ?M:get_overloaded(session)),
    ?assertEqual([], ?M:get_overloaded(nobody_uses_this)).

status_is_of_now_and_the_level_is_not() ->
    monitor([]),
    ok = set_limit(r, 100),
    fill(r, a, 100),
    drain(r, a, 5),
    ?assertMatch([#{status := critical}], ?M:queues(r)),
    ?assertEqual(overload, maps:get(level, row(r))),
    drain(r, a, 16),
    ?assertMatch([#{status := ok, depth := 79}], ?M:queues(r)),
    ?assertEqual(warning, maps:get(level, row(r))).

summary_rows() ->
    monitor([]),
    ok = set_limit(r, 10),
    [fill(r, Owner, N) || {Owner, N} <- [{a, 1}, {b, 8}, {c, 9}, {d, 12}, {e, 2}]],
    Summary = ?M:summary(),
    Roles = [default, r, session, sse_stream, task_worker, tool_executor, transport],
    ?assertEqual(Roles, lists:sort([Role || #{role := Role} <- Summary])),
    Row = row(r),
    ?assertEqual(
        [as_of, depth, level, limit, max_utilization, ms_at_level, owners, owners_by_level, role],
        lists:sort(maps:keys(Row))
    ),
    ?assertMatch(#{owners := 5, depth := 32, limit := 10, level := overload}, Row),
    ?assertEqual(#{ok => 2, warning => 1, critical => 1, overload => 1}, maps:get(owners_by_level, Row)),
    Before = erlang:system_time(millisecond),
    ok = ?M:force_check(),
    #{max_utilization := Most, as_of := AsOf} = row(r),
    ?assertEqual(1.2, Most),
    ?assert(Before =< AsOf andalso AsOf =< erlang:system_time(millisecond)).

summary_times() ->
    monitor([]),
    ok = set_limit(r, 10),
    Begun = erlang:monotonic_time(millisecond),
    fill(r, a, 8),
    pass(30),
    fill(r, a, 2),
    pass(60),
    ok = forget(r, a),
    Ended = erlang:monotonic_time(millisecond),
    #{ms_at_level := Times} = row(r),
    ?assertEqual([last_hour, last_minute, since_start], lists:sort(maps:keys(Times))),
    [
        begin
            ?assertEqual([critical, ok, overload, warning], lists:sort(maps:keys(Ms))),
            #{warning := Warning, critical := Critical, overload := Overload} = Ms,
            ?assert(Warning >= 29, Ms),
            ?assert(Overload >= 59, Ms),
            ?assert(Warning + Critical + Overload =< Ended - Begun + 1, Ms)
        end
     || Ms <- maps:values(Times)
    ].
