%% Many at once, loggers that block, switches under load.
-module(erlmcp_overload_load_tests).

-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

-import(erlmcp_queue_limits, [record_enqueue/2, record_dequeue/2, set_limit/2, forget/2]).
-import(erlmcp_native_test_lib, [eventually/2, parallel/2]).
-import(erlmcp_overload_test_lib, [
    monitor/1, start/1, crash/0, fill/3, drain/3, history/0, row/1, next/1, until/2, handler/1, handler/2, idles/1,
    end_all/1, configure/1
]).

-define(M, erlmcp_overload_monitor).
-define(OWNERS, 100000).

load_test_() ->
    erlmcp_overload_test_lib:with_services([
        fun a_hundred_thousand_owners_cross/0,
        fun many_cross_from_many_processes/0,
        fun alerts_go_on_while_a_handler_hangs/0,
        fun killed_in_the_middle/0,
        fun a_logger_that_blocks_holds_up_nobody/0,
        fun a_logger_that_blocks_holds_up_no_monitor_that_lost_alerts/0,
        fun flips_from_all_sides/0,
        fun switched_and_configured_under_load/0
    ]).

%% The longest mailbox seen of the monitor while Fun ran.
watched(Fun) ->
    Monitor = whereis(?M),
    Self = self(),
    Watcher = spawn_link(fun() -> watch(Self, Monitor, 0) end),
    Result = Fun(),
    Watcher ! {stop, Self},
    receive
        {longest, Longest} -> {Longest, Result}
    after 10000 -> error(no_watcher)
    end.

watch(Self, Monitor, Longest) ->
    Length =
        case process_info(Monitor, message_queue_len) of
            {message_queue_len, Now} -> Now;
            undefined -> 0
        end,
    receive
        {stop, Self} -> Self ! {longest, max(Longest, Length)}
    after 0 -> watch(Self, Monitor, max(Longest, Length))
    end.

a_hundred_thousand_owners_cross() ->
    ok = start([{handlers, []}]),
    ok = set_limit(r, 1),
    Owners = idles(?OWNERS),
    {Longest, Ms} = watched(fun() ->
        Begun = erlang:monotonic_time(millisecond),
        [ok = record_enqueue(r, Owner) || Owner <- Owners],
        erlang:monotonic_time(millisecond) - Begun
    end),
    ?assert(Longest < 10, {mailbox, Longest}),
    %% Far more than it takes, but on a machine that is busy with much else.
    ?assert(Ms < 30000, Ms),
    Last = lists:nthtail(?OWNERS - 100, Owners),
    ?assertEqual([{overload, r, Owner, 1, 1} || Owner <- lists:reverse(Last)], history()),
    ?assertMatch(#{owners := ?OWNERS, owners_by_level := #{overload := ?OWNERS}}, row(r)),
    end_all(Owners),
    eventually(fun() -> maps:get(owners, row(r)) =:= 0 end, 10000),
    ?assertMatch(#{level := ok, owners_by_level := #{overload := 0}}, row(r)).

many_cross_from_many_processes() ->
    ok = start([{handlers, []}, {max_alert_history, 10000}]),
    ok = set_limit(r, 1),
    {Workers, Each} = {20, 500},
    Shares = [idles(Each) || _ <- lists:seq(1, Workers)],
    {Longest, _} = watched(fun() ->
        parallel(Workers, fun(I) -> [ok = record_enqueue(r, Owner) || Owner <- lists:nth(I, Shares)] end)
    end),
    ?assert(Longest < 10, {mailbox, Longest}),
    Alerted = [Owner || {overload, r, Owner, 1, 1} <- lists:reverse(history())],
    ?assertEqual(lists:sort(lists:append(Shares)), lists:sort(Alerted)),
    [
        begin
            Mine = maps:from_keys(Share, mine),
            ?assertEqual(Share, [Owner || Owner <- Alerted, is_map_key(Owner, Mine)])
        end
     || Share <- Shares
    ],
    end_all(lists:append(Shares)).

alerts_go_on_while_a_handler_hangs() ->
    [Hung, Good] = [make_ref(), make_ref()],
    Hang = fun
        ({alert, _}) ->
            receive
                never -> ok
            end;
        (_) ->
            ok
    end,
    ok = start([{handlers, [handler(Hung, Hang), handler(Good)]}, {open_breaker_at, never}, {max_alert_history, 1000}]),
    ok = set_limit(r, 1),
    Owners = idles(1000),
    [fill(r, Owner, 1) || Owner <- Owners],
    Alerts = [{overload, r, Owner, 1, 1} || Owner <- Owners],
    ?assertEqual(lists:reverse(Alerts), history()),
    ?assertEqual([{alert, Alert} || Alert <- Alerts], [next(Good) || _ <- Alerts]),
    ?assertEqual({alert, hd(Alerts)}, next(Hung)),
    receive
        {Hung, Event} -> error(Event)
    after 0 -> ok
    end,
    end_all(Owners).

killed_in_the_middle() ->
    [One, Two] = [make_ref(), make_ref()],
    Options = [{handlers, [handler(One), handler(Two)]}, {open_breaker_at, never}, {max_alert_history, 10000}],
    ok = start(Options),
    ok = set_limit(r, 1),
    Owners = idles(8000),
    Self = self(),
    spawn_link(fun() ->
        [fill(r, Owner, 1) || Owner <- Owners],
        Self ! crossed
    end),
    Kills = kill_until_crossed(Options, 0),
    ?assert(Kills > 0),
    Alerts = [{overload, r, Owner, 1, 1} || Owner <- Owners],
    ?assertEqual(lists:reverse(Alerts), history()),
    ok = set_limit(last, 1),
    fill(last, a, 1),
    [
        ?assertEqual([], [{alert, Alert} || Alert <- Alerts] -- until(Tag, {alert, {overload, last, a, 1, 1}}))
     || Tag <- [One, Two]
    ],
    end_all(Owners).

kill_until_crossed(Options, Kills) ->
    crash(),
    ok = start(Options),
    receive
        crossed -> Kills + 1
    after 0 -> kill_until_crossed(Options, Kills + 1)
    end.

%% While Fun runs whoever logs anything waits.
with_blocked_logger(Fun) ->
    Handlers = [{Id, Level} || #{id := Id, level := Level} <- logger:get_handler_config()],
    [ok = logger:set_handler_config(Id, level, none) || {Id, _} <- Handlers],
    Gate = erlmcp_native_test_lib:idle(),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{gate => Gate, to => self()}}),
    Level = erlmcp_native_test_lib:quiet(),
    erlmcp_native_test_lib:loud(all),
    try
        Fun()
    after
        erlmcp_native_test_lib:loud(Level),
        erlmcp_native_test_lib:kill(Gate),
        ok = logger:remove_handler(?MODULE),
        [ok = logger:set_handler_config(Id, level, Before) || {Id, Before} <- Handlers]
    end.

log(_, #{config := #{gate := Gate, to := Pid}}) ->
    Ref = monitor(process, Gate),
    Pid ! {blocked, self()},
    receive
        {'DOWN', Ref, process, Gate, _} -> ok
    end.

a_logger_that_blocks_holds_up_nobody() ->
    Tag = monitor([]),
    ok = set_limit(r, 10),
    with_blocked_logger(fun() ->
        fill(r, a, 10),
        receive
            {blocked, Logging} -> ?assertNotEqual(whereis(?M), Logging)
        after 5000 -> error(nothing_logged)
        end,
        ?assertEqual(3, length(until(Tag, {r, open}))),
        [ok = record_enqueue(s, b) || _ <- lists:seq(1, 1000)],
        ?assertEqual({overload, s, b, 1000, 1000}, hd(history())),
        ?assertEqual(3, length(until(Tag, {s, open}))),
        ok = ?M:force_check(),
        ok = ?M:set_check_interval(3600000)
    end).

%% The monitor itself has something to log: more came than it keeps.
a_logger_that_blocks_holds_up_no_monitor_that_lost_alerts() ->
    Tag = monitor([{open_breaker_at, never}]),
    [ok = set_limit(Role, 1) || Role <- [r, last]],
    Owners = idles(20000),
    Monitor = whereis(?M),
    with_blocked_logger(fun() ->
        true = erlang:suspend_process(Monitor),
        [fill(r, Owner, 1) || Owner <- Owners],
        true = erlang:resume_process(Monitor),
        receive
            {Tag, {alert, {overload, r, _, 1, 1}}} -> ok
        after 5000 -> error(not_told)
        end,
        eventually(fun() -> hears_of_the_last(Tag) end, 5000)
    end),
    end_all(Owners).

%% Until there is room again it is among the lost.
hears_of_the_last(Tag) ->
    fill(last, a, 1),
    receive
        {Tag, {alert, {overload, last, a, 1, 1}}} -> true
    after 20 ->
        drain(last, a, 1),
        false
    end.

flips_from_all_sides() ->
    ok = start([{handlers, []}]),
    ok = set_limit(r, 1000),
    fill(r, a, 790),
    parallel(8, fun(_) ->
        [
            begin
                ok = record_enqueue(r, a),
                ok = record_dequeue(r, a)
            end
         || _ <- lists:seq(1, 12500)
        ]
    end),
    ?assert(length(history()) =< 1, history()),
    fill(r, a, 10),
    ?assertMatch([{warning, r, a, _, 1000}], history()).

switched_and_configured_under_load() ->
    Tag = make_ref(),
    ok = configure([{overload, #{handlers => [handler(Tag)], check_interval => 1}}]),
    {ok, Pid} = ?M:start_link(),
    unlink(Pid),
    ok = set_limit(r, 10),
    Stop = atomics:new(1, []),
    Self = self(),
    Workers = [
        spawn_link(fun() ->
            Self ! {counted, I, load(Stop, lists:nth(I, [a, b, c, a]), 0)}
        end)
     || I <- lists:seq(1, 4)
    ],
    [
        begin
            ok = ?M:set_enabled(N rem 2 =:= 0),
            ok = erlmcp_queue_limits:set_enabled(N rem 3 =/= 0),
            Handlers = lists:sublist([handler(Tag), handler(Tag, fun(_) -> ok end)], 1 + N rem 2),
            ok = configure([
                {overload, #{handlers => Handlers, max_alert_history => 1 + N}},
                {overload_monitor_enabled, N rem 5 =/= 0}
            ]),
            ok = set_limit(r, 5 + N rem 10),
            ok = ?M:force_check(),
            _ = ?M:summary(),
            N rem 4 =:= 0 andalso ?M:reset_alerts()
        end
     || N <- lists:seq(1, 30)
    ],
    ok = erlmcp_queue_limits:set_enabled(true),
    ok = atomics:put(Stop, 1, 1),
    Counted = [
        receive
            {counted, I, Count} -> Count
        after 10000 -> error({still_running, Worker})
        end
     || {I, Worker} <- lists:zip([1, 2, 3, 4], Workers)
    ],
    Total = lists:sum(Counted),
    ?assertEqual(
        [Total, Total, 0, 0],
        erlmcp_native_test_lib:stats([total_enqueued, total_dequeued, unmatched_dequeues, current_depth], r)
    ),
    ?assert(erlmcp_native_test_lib:at_rest(r)),
    ok = ?M:set_enabled(true),
    ok = ?M:force_check(),
    ?assertMatch(#{level := ok, owners_by_level := #{warning := 0, critical := 0, overload := 0}}, row(r)),
    ok = ?M:reset_alerts(),
    ok = set_limit(r, 2),
    fill(r, z, 2),
    ?assertEqual([{overload, r, z, 2, 2}], history()),
    eventually(fun() -> {message_queue_len, 0} =:= process_info(whereis(?M), message_queue_len) end, 5000),
    ok = forget(r, z).

load(Stop, Owner, Count) ->
    case atomics:get(Stop, 1) of
        1 ->
            Count;
        0 ->
            fill(r, Owner, 12),
            drain(r, Owner, 12),
            load(Stop, Owner, Count + 12)
    end.
