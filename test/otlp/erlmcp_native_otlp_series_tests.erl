%% Since when series have been counting. What a model can say is in prop_erlmcp_native_otlp.
-module(erlmcp_native_otlp_series_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_otlp_series, [at_ms/1, start_ms/3]).

%% By a clock that nobody sets.
new(SinceMs) ->
    erlmcp_native_otlp_series:new({SinceMs, SinceMs}).

update(Families, AtMs, Series) ->
    update(Families, AtMs, AtMs, Series).

update(Families, AtMs, MonotonicMs, Series) ->
    erlmcp_native_otlp_series:update(Families, {AtMs, MonotonicMs}, Series).

counter(Samples) ->
    {#{name => ~"c", kind => counter}, Samples}.

histogram(Count, Sum, Cumulative) ->
    Buckets = [{Place * 1.0, N} || {Place, N} <- lists:enumerate(Cumulative)],
    {#{name => ~"h", kind => histogram}, [{[], #{count => Count, sum => Sum, buckets => Buckets}}]}.

%% The start of a series after each snapshot. The first is taken at 10, each next one 10 later.
starts(Name, Labels, Snapshots) ->
    {Starts, _} = lists:mapfoldl(
        fun({AtMs, Families}, Series) ->
            New = update(Families, AtMs, Series),
            {start_ms(Name, Labels, New), New}
        end,
        new(0),
        lists:zip(lists:seq(10, 10 * length(Snapshots), 10), Snapshots)
    ),
    Starts.

a_counter_test() ->
    Values = [5, 5, 6, 2, 2, 3, 0, 0, 9],
    ?assertEqual([0, 0, 0, 30, 30, 30, 60, 60, 60], starts(~"c", [~"a"], [[counter([{[~"a"], N}])] || N <- Values])),
    ?assertEqual([0, 0, 20], starts(~"c", [~"a"], [[counter([{[~"a"], N}])] || N <- [1.5, 1.75, 1.5]])).

%% Each for itself.
others_test() ->
    Both = [[counter([{[~"a"], A}, {[~"b"], B}])] || {A, B} <- [{1, 1}, {2, 0}, {3, 1}]],
    ?assertEqual([0, 0, 0], starts(~"c", [~"a"], Both)),
    ?assertEqual([0, 10, 10], starts(~"c", [~"b"], Both)).

a_late_comer_test() ->
    Series = update([counter([{[~"a"], 1}])], 10, new(0)),
    ?assertEqual(10, start_ms(~"c", [~"b"], update([counter([{[~"a"], 1}, {[~"b"], 7}])], 20, Series))).

one_that_comes_back_test() ->
    Series = update([], 20, update([counter([{[~"a"], 1}])], 10, new(0))),
    ?assertEqual(20, start_ms(~"c", [~"a"], update([counter([{[~"a"], 7}])], 30, Series))).

a_histogram_test() ->
    ?assertEqual(
        [0, 0, 20, 30, 40, 40, 60],
        starts(~"h", [], [
            [histogram(Count, Sum, Cumulative)]
         || {Count, Sum, Cumulative} <- [
                {3, 1.0, [1, 2]},
                {4, 1.5, [1, 2]},
                {2, 1.5, [1, 2]},
                {2, 1.0, [1, 2]},
                {3, 2.0, [0, 3]},
                {3, 2.0, [0, 3]},
                {9, 9.0, [9]}
            ]
        ])
    ).

%% By a hundred, once, twenty after the snapshot before.
the_clock_is_set_back_test() ->
    Start = fun(Label, Series) -> start_ms(~"c", [Label], Series) end,
    First = update([counter([{[~"old"], 5}])], 1000, new(0)),
    Second = update([counter([{[~"old"], 5}, {[~"young"], 5}, {[~"reset"], 5}])], 1100, First),
    Third = update([counter([{[Label], 5} || Label <- [~"old", ~"young", ~"reset", ~"new"]])], 1200, Second),
    ?assertEqual([0, 1000, 1000, 1100], [Start(Label, Third) || Label <- [~"old", ~"young", ~"reset", ~"new"]]),
    Samples = [{[~"old"], 6}, {[~"young"], 6}, {[~"reset"], 4}, {[~"new"], 6}, {[~"newer"], 1}],
    Fourth = update([counter(Samples)], 1120, 1220, Third),
    %% The last point was at 1200, which is 1100 now.
    ?assertEqual(1120, at_ms(Fourth)),
    Labels = [~"old", ~"young", ~"reset", ~"new", ~"newer"],
    ?assertEqual([0, 1000, 1100, 1100, 1100], [Start(Label, Fourth) || Label <- Labels]),
    %% Far.
    Far = update([counter(Samples)], 20, 1220, Third),
    ?assertEqual([0, -200, 0, -100, 0], [Start(Label, Far) || Label <- Labels]),
    %% And on from there.
    Fifth = update([counter(Samples)], 1170, 1270, Fourth),
    ?assertEqual({1170, [0, 1000, 1100, 1100, 1100]}, {at_ms(Fifth), [Start(Label, Fifth) || Label <- Labels]}).

the_clock_is_set_forward_test() ->
    First = update([counter([{[~"a"], 5}])], 1000, new(900)),
    Second = update([counter([{[~"a"], 6}, {[~"b"], 1}])], 5000, 1010, First),
    ?assertEqual([5000, 900, 1000], [at_ms(Second), start_ms(~"c", [~"a"], Second), start_ms(~"c", [~"b"], Second)]).

%% What resets numbers, for good.
real_test_() ->
    {setup, fun erlmcp_native_test_lib:start/0, fun erlmcp_native_test_lib:stop/1, fun() ->
        Start = fun(Series) -> start_ms(~"erlmcp_queue_enqueued", [~"session"], Series) end,
        Now = fun(AtMs, Series) -> update(erlmcp_native_metrics:collect(), AtMs, Series) end,
        ok = erlmcp_queue_limits:record_enqueue(session, a),
        First = Now(10, new(0)),
        ok = erlmcp_queue_limits:record_enqueue(session, a),
        Second = Now(20, First),
        ?assertEqual([0, 0], [Start(First), Start(Second)]),
        ok = erlmcp_queue_limits:reset_stats(session),
        Third = Now(30, Second),
        ?assertEqual(20, Start(Third)),
        ok = gen_server:stop(erlmcp_queue_limits),
        Fourth = Now(40, Third),
        {ok, Pid} = erlmcp_queue_limits:start_link(),
        unlink(Pid),
        ok = erlmcp_queue_limits:record_enqueue(session, a),
        ?assertEqual(40, Start(Now(50, Fourth)))
    end}.
