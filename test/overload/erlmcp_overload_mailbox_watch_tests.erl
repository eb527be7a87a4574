%% The mailboxes of all processes are watched, whoever sends to them.
-module(erlmcp_overload_mailbox_watch_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [eventually/1, eventually/2]).
-import(erlmcp_overload_test_lib, [monitor/1, until/2, next/1, end_all/1, history/1]).
-import(erlmcp_overload_watch_test_lib, [lengths/0, receiver/0, drown/2, take/2, watched/0, watched/1, held/0, row/1]).
-import(erlmcp_overload_watch_test_lib, [watcher/0, is_watched_by_another/1, sessions/0]).

-define(B, erlmcp_overload_mailbox).
-define(L, erlmcp_queue_limits).
-define(M, erlmcp_overload_monitor).
-define(MANY_MS, 60000).

watch_test_() ->
    erlmcp_overload_watch_test_lib:in_node([
        fun a_naive_sender_is_told_of/0,
        fun several_levels_at_once_are_one_alert/0,
        fun levels_rise_and_are_left_by_their_own_margin/0,
        fun who_is_left_and_comes_again_is_told_again/0,
        fun the_margin_that_is_configured_is_that_of_each_level/0,
        fun whoever_dies_while_it_is_held_is_left/0,
        fun rows_say_who_it_is_and_what_it_does/0,
        fun who_was_long_before_is_found/0,
        fun a_process_that_is_busy_is_told_of/0,
        fun a_suspended_process_is_told_of_when_it_is_looked_at/0,
        fun a_hundred_are_held_and_the_rest_is_counted/0,
        fun very_many_at_once/0,
        fun other_lengths_from_now_on/0,
        fun equal_lengths/0,
        fun off_leaves_nothing/0,
        fun a_crash_of_the_watching_process/0,
        fun a_crash_of_the_monitor/0,
        fun crashes_while_very_many_cross/0,
        fun a_stop_of_the_monitor/0,
        fun a_stop_of_queue_limits/0,
        fun alerts_that_are_forgotten_are_told_anew/0,
        fun alerts_switched_off_and_on/0,
        fun the_breaker_follows_the_role/0
    ]).

not_started_test_() ->
    [
        ?_assertExit({noproc, {?B, watch_mailboxes, [off]}}, ?B:watch_mailboxes(off)),
        ?_assertExit({noproc, {?B, watched, []}}, ?B:watched())
    ].

a_naive_sender_is_told_of() ->
    Tag = watched(),
    Pid = drown(receiver(), 100),
    ?assertEqual({alert, {warning, mailbox, Pid, 100, 300}}, next(Tag)),
    ?assertEqual([{warning, mailbox, Pid, 100, 300}], history(mailbox)),
    ?assertMatch(#{level := warning, owners := 1}, erlmcp_overload_test_lib:row(mailbox)),
    end_all([Pid]).

several_levels_at_once_are_one_alert() ->
    Tag = watched(),
    Pid = receiver(),
    true = erlang:suspend_process(Pid),
    drown(Pid, 1000),
    true = erlang:resume_process(Pid),
    Before = until(Tag, {alert, {overload, mailbox, Pid, 1000, 300}}),
    %% Told without its length, where that took too long to be told.
    ?assertEqual([], Before -- [{alert, {warning, mailbox, Pid, 100, 300}}]),
    ?assertEqual([], until(Tag, {mailbox, open})),
    end_all([Pid]).

levels_rise_and_are_left_by_their_own_margin() ->
    Tag = watched([{open_breaker_at, never}]),
    Pid = drown(receiver(), 100),
    ?assertMatch({alert, {warning, mailbox, Pid, 100, 300}}, next(Tag)),
    drown(Pid, 150),
    ?assertMatch({alert, {critical, mailbox, Pid, _, 300}}, next(Tag)),
    drown(Pid, 50),
    ?assertMatch({alert, {overload, mailbox, Pid, _, 300}}, next(Tag)),
    %% A tenth below 300 is 270, below 200 is 180, and below 100 is 90.
    take(Pid, 29),
    ?assertMatch(#{depth := 271, status := critical}, row(Pid)),
    take(Pid, 1),
    ?assertMatch({clear, {overload, mailbox, Pid, 270, 300}}, next(Tag)),
    take(Pid, 90),
    ?assertMatch({clear, {critical, mailbox, Pid, 180, 300}}, next(Tag)),
    take(Pid, 90),
    ?assertMatch({clear, {warning, mailbox, Pid, 90, 300}}, next(Tag)),
    eventually(fun() -> held() =:= [] end),
    ?assertMatch(#{held := 0}, ?B:watched()),
    end_all([Pid]).

who_is_left_and_comes_again_is_told_again() ->
    Tag = watched(),
    Pid = receiver(),
    [
        begin
            drown(Pid, 100),
            ?assertMatch({alert, {warning, mailbox, Pid, _, 300}}, next(Tag)),
            %% Armed again at 90.
            take(Pid, 10),
            ?assertMatch({clear, {warning, mailbox, Pid, 90, 300}}, next(Tag)),
            drown(Pid, 10),
            ?assertMatch({alert, {warning, mailbox, Pid, 100, 300}}, next(Tag)),
            take(Pid, 100),
            ?assertMatch({clear, {warning, mailbox, Pid, 0, 300}}, next(Tag))
        end
     || _ <- lists:seq(1, 5)
    ],
    end_all([Pid]).

the_margin_that_is_configured_is_that_of_each_level() ->
    Tag = watched([{clear_margin, 0.5}]),
    Pid = drown(receiver(), 100),
    ?assertMatch({alert, _}, next(Tag)),
    take(Pid, 49),
    ?assertMatch(#{depth := 51}, row(Pid)),
    take(Pid, 1),
    ?assertMatch({clear, {warning, mailbox, Pid, 50, 300}}, next(Tag)),
    end_all([Pid]).

whoever_dies_while_it_is_held_is_left() ->
    Tag = watched(),
    Pid = drown(receiver(), 150),
    ?assertMatch({alert, _}, next(Tag)),
    end_all([Pid]),
    ?assertMatch({clear, {warning, mailbox, Pid, 0, 300}}, next(Tag)),
    eventually(fun() -> maps:get(held, ?B:watched()) =:= 0 end),
    ?assertEqual([mailbox], [Process || #{process := Process} <- ?M:queues(mailbox)]).

rows_say_who_it_is_and_what_it_does() ->
    Tag = watched(),
    [Named, Other] = Pids = [receiver(), receiver()],
    true = register(?MODULE, Named),
    [drown(Pid, 250) || Pid <- Pids],
    ?assertMatch({alert, _}, next(Tag)),
    eventually(fun() -> held() =:= lists:sort(Pids) end),
    ?assertMatch(
        #{
            kind := mailbox,
            depth := 250,
            limit := 300,
            status := critical,
            registered_name := ?MODULE,
            current_function := {erlmcp_overload_watch_test_lib, receiver_loop, 0}
        },
        row(Named)
    ),
    drown(Other, 50),
    ?assertMatch(#{depth := 300, status := overload, utilization := 1.0, registered_name := undefined}, row(Other)),
    ?assertEqual(lists:sort(Pids), lists:sort([Pid || #{process := Pid} <- ?M:get_overloaded(mailbox)])),
    ?assertMatch([#{process := Other}], ?M:queues(mailbox, #{top => 1})),
    ?assertEqual(300, ?L:get_queue_depth(mailbox, Other)),
    ?assertEqual(300, ?L:get_limit(mailbox)),
    ?assert(is_binary(erlmcp_native_json:encode(?M:queues(mailbox)))),
    end_all(Pids).

who_was_long_before_is_found() ->
    Pids = [drown(receiver(), 120) || _ <- lists:seq(1, 5)],
    Tag = watched(),
    Told = [next(Tag) || _ <- Pids],
    ?assertEqual(lists:sort([{alert, {warning, mailbox, Pid, 120, 300}} || Pid <- Pids]), lists:sort(Told)),
    end_all(Pids).

a_process_that_is_busy_is_told_of() ->
    Tag = watched(),
    Pid = spawn(fun Loop() -> Loop() end),
    drown(Pid, 150),
    %% Its length is told if it has answered soon enough.
    ?assertMatch({alert, {warning, mailbox, Pid, _, 300}}, next(Tag)),
    eventually(fun() -> maps:get(depth, row(Pid)) =:= 150 end),
    end_all([Pid]).

%% The runtime takes nothing in for it.
a_suspended_process_is_told_of_when_it_is_looked_at() ->
    Tag = watched(),
    Pid = receiver(),
    true = erlang:suspend_process(Pid),
    drown(Pid, 150),
    ?assertEqual(150, ?B:depth(Pid)),
    ?assertMatch({alert, {warning, mailbox, Pid, 150, 300}}, next(Tag)),
    Resumed = receiver(),
    true = erlang:suspend_process(Resumed),
    drown(Resumed, 150),
    true = erlang:resume_process(Resumed),
    ?assertMatch({alert, {warning, mailbox, Resumed, 150, 300}}, next(Tag)),
    end_all([Pid, Resumed]).

a_hundred_are_held_and_the_rest_is_counted() ->
    Tag = watched(),
    Pids = [drown(receiver(), 120) || _ <- lists:seq(1, 101)],
    eventually(fun() -> maps:get(passed_over, ?B:watched()) > 0 end),
    ?assertMatch(#{held := 100, warning := 100, critical := 200, overload := 300}, ?B:watched()),
    [Last] = lists:usort(Pids) -- held(),
    ?assertEqual(100, length([alert || {alert, _} <- [next(Tag) || _ <- lists:seq(1, 100)]])),
    #{passed_over := Before} = ?B:watched(),
    #{self := #{mailboxes_passed_over := PassedOver}} = erlmcp_native_metrics:snapshot(),
    #{passed_over := After} = ?B:watched(),
    ?assert(Before =< PassedOver andalso PassedOver =< After),
    %% There is room, and it is found.
    end_all([hd(held())]),
    eventually(fun() -> lists:member(Last, held()) end, 10000),
    end_all(Pids).

very_many_at_once() ->
    %% Whom a handler of ours would tell would be long itself.
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    ok = ?B:watch_mailboxes(lengths()),
    Pids = [receiver() || _ <- lists:seq(1, 10000)],
    [true = erlang:suspend_process(Pid) || Pid <- Pids],
    [drown(Pid, 110) || Pid <- Pids],
    Watcher = watcher(),
    [true = erlang:resume_process(Pid) || Pid <- Pids],
    eventually(fun() -> maps:get(passed_over, ?B:watched()) >= 9900 end, ?MANY_MS),
    ?assertMatch(#{held := 100}, ?B:watched()),
    ?assertEqual(100, length(held())),
    ?assertEqual(Watcher, watcher()),
    eventually(fun() -> process_info(Watcher, message_queue_len) =:= {message_queue_len, 0} end),
    end_all(Pids),
    eventually(fun() -> maps:get(held, ?B:watched()) =:= 0 end),
    %% It goes on.
    Pid = drown(receiver(), 300),
    eventually(fun() -> held() =:= [Pid] end),
    ?assertMatch(#{status := overload}, row(Pid)),
    end_all([Pid]).

other_lengths_from_now_on() ->
    Tag = watched(),
    Pids = [Short, Long] = [drown(receiver(), Length) || Length <- [120, 180]],
    ?assertMatch([{alert, _}, {alert, _}], [next(Tag), next(Tag)]),
    ok = ?B:watch_mailboxes(#{warning => 150, critical => 170, overload => 1000}),
    Told = [{alert, {critical, mailbox, Long, 180, 1000}}, {clear, {warning, mailbox, Short, 120, 1000}}],
    ?assertEqual(Told, lists:sort([next(Tag), next(Tag)])),
    eventually(fun() -> held() =:= [Long] end),
    drown(Short, 40),
    ?assertMatch({alert, {warning, mailbox, Short, 160, 1000}}, next(Tag)),
    ?assertEqual(3, length(sessions())),
    end_all(Pids).

equal_lengths() ->
    Tag = monitor([{open_breaker_at, never}]),
    ok = ?B:watch_mailboxes([{warning, 100}, {critical, 100}, {overload, 100}]),
    ?assertEqual([erlmcp_overload_watch], sessions()),
    Pid = drown(receiver(), 99),
    Other = drown(receiver(), 100),
    ?assertMatch({alert, {overload, mailbox, Other, 100, 100}}, next(Tag)),
    ?assertEqual([Other], held()),
    end_all([Pid, Other]).

off_leaves_nothing() ->
    Tag = watched([{open_breaker_at, never}]),
    Pid = drown(receiver(), 250),
    ?assertMatch({alert, _}, next(Tag)),
    eventually(fun() -> map_get(level, erlmcp_overload_test_lib:row(mailbox)) =:= critical end),
    Watcher = watcher(),
    ok = ?B:watch_mailboxes(off),
    ?assertEqual(off, ?B:watched()),
    ?assertEqual([], sessions()),
    ?assertNot(is_process_alive(Watcher)),
    ?assertEqual([{clear, {Level, mailbox, Pid, 0, 300}} || Level <- [critical, warning]], clearings(Tag, Pid)),
    ?assertMatch(#{level := ok, owners := 0}, erlmcp_overload_test_lib:row(mailbox)),
    ?assertEqual([], held()),
    ok = ?B:watch_mailboxes(off),
    %% What the role is told of now is somebody else's.
    ?assertEqual(ok, ?L:record_enqueue(mailbox, Pid)),
    drown(Pid, 1000),
    ?assert(erlmcp_overload_test_lib:silent(Tag, ?MODULE)),
    end_all([Pid]).

%% Up to the last.
clearings(Tag, Pid) ->
    case next(Tag) of
        {clear, {warning, mailbox, Pid, _, _}} = Last -> [Last];
        {alert, _} -> clearings(Tag, Pid);
        Event -> [Event | clearings(Tag, Pid)]
    end.

a_crash_of_the_watching_process() ->
    Tag = watched(),
    Pid = drown(receiver(), 120),
    ?assertMatch({alert, _}, next(Tag)),
    Watcher = watcher(),
    erlmcp_native_test_lib:kill(Watcher),
    eventually(fun() -> is_watched_by_another(Watcher) end),
    ?assertMatch(#{warning := 100, held := 1}, ?B:watched()),
    eventually(fun() -> length(sessions()) =:= 3 end),
    Other = drown(receiver(), 120),
    ?assertMatch({alert, {warning, mailbox, Other, 120, 300}}, next(Tag)),
    ?assertEqual(lists:sort([Pid, Other]), held()),
    end_all([Pid, Other]).

a_crash_of_the_monitor() ->
    Tag = watched(),
    Pid = drown(receiver(), 120),
    ?assertMatch({alert, _}, next(Tag)),
    erlmcp_overload_test_lib:crash(),
    Missed = drown(receiver(), 120),
    ?assertMatch(#{warning := 100}, ?B:watched()),
    Again = monitor([]),
    ?assertEqual(lengths(), maps:with([warning, critical, overload], ?B:watched())),
    ?assertEqual({alert, {warning, mailbox, Missed, 120, 300}}, next(Again)),
    ?assertEqual(lists:sort([Pid, Missed]), held()),
    ?assertEqual(3, length(sessions())),
    erlmcp_overload_test_lib:crash(),
    Off = monitor([]),
    ok = ?B:watch_mailboxes(off),
    _ = until(Off, {clear, {warning, mailbox, Missed, 0, 300}}),
    erlmcp_overload_test_lib:crash(),
    _ = monitor([]),
    ?assertEqual(off, ?B:watched()),
    ?assertEqual([], sessions()),
    end_all([Pid, Missed]).

%% The runtime crashes if a session's last reference goes with a process meanwhile.
crashes_while_very_many_cross() ->
    Start = fun() -> erlmcp_overload_test_lib:start([{handlers, []}]) end,
    ok = Start(),
    ok = ?B:watch_mailboxes(lengths()),
    [
        begin
            Pids = [receiver() || _ <- lists:seq(1, 1000)],
            Sender = spawn(fun() -> [drown(Pid, 310) || Pid <- Pids] end),
            eventually(fun() -> maps:get(held, ?B:watched()) > 0 end),
            case Victim of
                watcher -> erlmcp_native_test_lib:kill(watcher());
                monitor -> erlmcp_overload_test_lib:crash(), Start()
            end,
            eventually(fun() -> length(sessions()) =:= 3 end),
            end_all([Sender | Pids]),
            eventually(fun() -> maps:get(held, ?B:watched()) =:= 0 end)
        end
     || _ <- lists:seq(1, 10), Victim <- [watcher, monitor]
    ].

a_stop_of_the_monitor() ->
    _ = watched(),
    Pid = drown(receiver(), 120),
    eventually(fun() -> held() =:= [Pid] end),
    erlmcp_overload_test_lib:stop(),
    ?assertEqual([], sessions()),
    ?assertEqual(ok, ?L:record_enqueue(mailbox, a)),
    _ = monitor([]),
    ?assertEqual(off, ?B:watched()),
    end_all([Pid]).

a_stop_of_queue_limits() ->
    Tag = watched(),
    Pid = drown(receiver(), 120),
    ?assertMatch({alert, _}, next(Tag)),
    ok = gen_server:stop(?L),
    Missed = drown(receiver(), 120),
    {ok, Started} = ?L:start_link(),
    unlink(Started),
    eventually(fun() -> held() =:= lists:sort([Pid, Missed]) end, 10000),
    ?assertError(badarg, ?L:record_enqueue(mailbox, a)),
    end_all([Pid, Missed]).

alerts_that_are_forgotten_are_told_anew() ->
    Tag = watched(),
    Pid = drown(receiver(), 120),
    ?assertMatch({alert, _}, next(Tag)),
    ok = ?M:reset_alerts(),
    ?assertEqual({alert, {warning, mailbox, Pid, 120, 300}}, next(Tag)),
    end_all([Pid]).

alerts_switched_off_and_on() ->
    Tag = watched(),
    Pid = drown(receiver(), 120),
    ?assertMatch({alert, _}, next(Tag)),
    ok = ?M:set_enabled(false),
    Other = drown(receiver(), 120),
    eventually(fun() -> maps:get(held, ?B:watched()) =:= 0 end),
    ok = ?M:set_enabled(true),
    Told = [next(Tag), next(Tag)],
    ?assertEqual(lists:sort([{alert, {warning, mailbox, Of, 120, 300}} || Of <- [Pid, Other]]), lists:sort(Told)),
    end_all([Pid, Other]).

the_breaker_follows_the_role() ->
    Tag = watched(),
    Pid = drown(receiver(), 300),
    ?assertEqual(open, erlmcp_overload_test_lib:role(Tag, mailbox, 5000)),
    take(Pid, 300),
    ?assertEqual(close, erlmcp_overload_test_lib:role(Tag, mailbox, 5000)),
    end_all([Pid]).
