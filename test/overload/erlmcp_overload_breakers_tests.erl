%% A breaker that is open stays so for its time, whatever its role's level does meanwhile.
-module(erlmcp_overload_breakers_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_overload_test_lib, [monitor/1, fill/3, drain/3, role/3]).

-define(B, erlmcp_overload_breakers).
-define(L, erlmcp_queue_limits).
-define(M, erlmcp_overload_monitor).
-define(LONG_MS, 3600000).

follow(Wanted, NowMs, Open) ->
    ?B:follow(Wanted, NowMs, fun() -> 5000 end, later, Open).

one_opens_with_its_role_and_closes_no_sooner_than_it_may_test() ->
    {[{a, open}], Open, never} = follow([a], 100, #{}),
    ?assertEqual({[], Open, never}, follow([a], 200, Open)),
    ?assertEqual({[], Open, 5100}, follow([], 300, Open)),
    ?assertEqual({[], Open, never}, follow([a], 400, Open)),
    ?assertEqual({[], Open, 5100}, follow([], 5099, Open)),
    ?assertEqual({[{a, close}], #{}, never}, follow([], 5100, Open)),
    %% One that was open for longer closes at once.
    ?assertEqual({[{a, close}], #{}, never}, follow([], 99999, Open)).

each_has_its_own_time_test() ->
    {_, Open, _} = follow([a], 0, #{}),
    {[{b, open}], Both, 5000} = follow([b], 1000, Open),
    {[{a, close}], Left, 6000} = follow([], 5000, Both),
    ?assertEqual({[{b, close}], #{}, never}, follow([], 6000, Left)).

one_that_was_open_before_counts_from_now_on_test() ->
    {[], Open, 5100} = follow([], 100, #{a => since_before}),
    ?assertEqual({[{a, close}], #{}, never}, follow([], 5100, Open)).

without_a_least_time_it_follows_at_once_test() ->
    None = fun() -> 0 end,
    {[{a, open}], Open, never} = ?B:follow([a], 100, None, later, #{}),
    ?assertEqual({[{a, close}], #{}, never}, ?B:follow([], 100, None, later, Open)).

what_is_judged_no_more_closes_at_once_test() ->
    {_, Open, _} = follow([a, b], 100, #{}),
    ?assertEqual({[{a, close}, {b, close}], #{}, never}, ?B:follow([], 101, fun() -> 5000 end, at_once, Open)).

a_clock_that_stands_still_or_goes_back_closes_nothing_test() ->
    {_, Open, _} = follow([a], 100, #{}),
    [?assertEqual({[], Open, 5100}, follow([], NowMs, Open)) || NowMs <- [100, 100, 0, -100000]].

each_opening_has_a_time_of_its_own_a_tenth_around_what_is_said_test() ->
    Now = fun() -> erlang:monotonic_time(millisecond) end,
    Times = [
        begin
            BeforeMs = Now(),
            {_, #{open := #{a := MayMs}, timer := Timer}} = ?B:follow([], 10000, later, ?B:new([a])),
            _ = erlang:cancel_timer(Timer),
            ?assert(MayMs - BeforeMs >= 9000 andalso MayMs - Now() =< 11000),
            MayMs - BeforeMs
        end
     || _ <- lists:seq(1, 50)
    ],
    ?assert(length(lists:usort(Times)) > 5).

service_test_() ->
    erlmcp_overload_test_lib:with_services([
        fun steady_overload_opens_it_once/0,
        fun it_closes_by_itself_when_its_time_is_over/0,
        fun it_stays_as_long_as_the_level_does/0,
        fun alerts_that_are_forgotten_do_not_close_it/0,
        fun switched_off_it_closes_at_once/0,
        fun a_crash_of_the_monitor_does_not_close_it/0,
        fun another_time_holds_for_the_next_opening/0
    ]).

%% What is told of the role's breaker until an alert of another.
actions(Tag) ->
    ok = ?L:set_limit(marker, 5),
    fill(marker, marker, 4),
    [Action || {r, Action} <- erlmcp_overload_test_lib:until(Tag, {alert, {warning, marker, marker, 4, 5}})].

opened(Options) ->
    Tag = monitor(Options),
    ok = ?L:set_limit(r, 10),
    fill(r, a, 10),
    ?assertEqual(open, role(Tag, r, 5000)),
    Tag.

steady_overload_opens_it_once() ->
    Tag = opened([{breaker_min_open, ?LONG_MS}]),
    [
        begin
            drain(r, a, 10),
            fill(r, a, 10)
        end
     || _ <- lists:seq(1, 200)
    ],
    drain(r, a, 10),
    ?assertEqual([], actions(Tag)).

it_closes_by_itself_when_its_time_is_over() ->
    Begun = erlang:monotonic_time(millisecond),
    Tag = opened([{breaker_min_open, 300}]),
    drain(r, a, 10),
    ?assertEqual(close, role(Tag, r, 10000)),
    ?assert(erlang:monotonic_time(millisecond) - Begun >= 270).

it_stays_as_long_as_the_level_does() ->
    Tag = opened([{breaker_min_open, 1}]),
    erlmcp_overload_test_lib:pass(50),
    ?assertEqual([], actions(Tag)),
    drain(r, a, 10),
    ?assertEqual(close, role(Tag, r, 5000)).

alerts_that_are_forgotten_do_not_close_it() ->
    Tag = opened([{breaker_min_open, ?LONG_MS}]),
    ok = ?M:reset_alerts(),
    ok = ?M:force_check(),
    ?assertEqual([], actions(Tag)).

switched_off_it_closes_at_once() ->
    Tag = opened([{breaker_min_open, ?LONG_MS}]),
    ok = ?M:set_enabled(false),
    ?assertEqual(close, role(Tag, r, 5000)).

a_crash_of_the_monitor_does_not_close_it() ->
    Tag = opened([{breaker_min_open, ?LONG_MS}]),
    drain(r, a, 10),
    erlmcp_overload_test_lib:crash(),
    Again = monitor([{breaker_min_open, 300}]),
    ?assertEqual(close, role(Again, r, 5000)),
    ?assertEqual([], [Action || {T, {r, Action}} <- received(), T =:= Tag]).

received() ->
    receive
        Message -> [Message | received()]
    after 0 -> []
    end.

another_time_holds_for_the_next_opening() ->
    ok = application:set_env(erlmcp_native, overload, #{breaker_min_open => ?LONG_MS}),
    Tag = make_ref(),
    {ok, Pid} = ?M:start_link([{handlers, [erlmcp_overload_test_lib:handler(Tag)]}]),
    unlink(Pid),
    ok = ?L:set_limit(r, 10),
    fill(r, a, 10),
    ?assertEqual(open, role(Tag, r, 5000)),
    ok = erlmcp_overload_test_lib:configure([{overload, #{breaker_min_open => 0}}]),
    drain(r, a, 10),
    ok = ?L:set_limit(other, 1),
    fill(other, a, 1),
    ?assertEqual(open, role(Tag, other, 5000)),
    drain(other, a, 1),
    ?assertEqual(close, role(Tag, other, 5000)).
