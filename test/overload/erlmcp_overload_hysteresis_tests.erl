%% Levels that neither flap nor lag.
-module(erlmcp_overload_hysteresis_tests).

-include_lib("eunit/include/eunit.hrl").

-define(H, erlmcp_overload_hysteresis).
-define(HOUR_MS, 3600000).
-define(SAMPLE_MS, 100).

rules() ->
    #{rise_ms => 500, clear_ms => 2000, clear_at => {3.0, 6.0}, most_ms => 300}.

looks(Numbers, Level) ->
    {Levels, _} = lists:mapfoldl(
        fun(Number, {AtMs, H}) ->
            New = ?H:look(AtMs, Number, H),
            {?H:level(New), {AtMs + ?SAMPLE_MS, New}}
        end,
        {0, ?H:new({4, 8}, rules(), Level)},
        Numbers
    ),
    Levels.

properties_test_() ->
    [
        {timeout, 60,
            ?_assert(proper:quickcheck(Property, [{numtests, 1000}, {max_size, 80}, quiet, {to_file, user}]))}
     || Property <- [
            prop_erlmcp_overload_hysteresis:prop_changes_have_their_reasons(),
            prop_erlmcp_overload_hysteresis:prop_steady_numbers_change_nothing()
        ]
    ].

half_a_second_above_is_a_level_test() ->
    ?assertEqual([0, 0, 0, 0, 0, 1], looks(lists:duplicate(6, 4), 0)),
    ?assertEqual([0, 0, 0, 0, 0, 2, 2], looks(lists:duplicate(7, 8), 0)),
    ?assertEqual(lists:duplicate(100, 0), looks(lists:duplicate(100, 3.999), 0)).

a_peak_is_none_test() ->
    ?assertEqual(lists:duplicate(60, 0), looks(lists:append(lists:duplicate(20, [100, 0, 0])), 0)).

more_above_than_below_is_one_test() ->
    ?assertEqual(1, lists:last(looks(lists:append(lists:duplicate(10, [5, 5, 1])), 0))).

two_seconds_below_are_an_end_test() ->
    ?assertEqual(lists:duplicate(20, 1) ++ [0], looks(lists:duplicate(21, 2.999), 1)),
    ?assertEqual(lists:duplicate(20, 2) ++ [1, 1], looks(lists:duplicate(22, 3), 2)),
    %% One that comes back in between begins anew.
    Back = lists:duplicate(19, 0) ++ [3] ++ lists:duplicate(19, 0),
    ?assertEqual(lists:duplicate(39, 1), looks(Back, 1)).

both_levels_end_at_once_test() ->
    ?assertEqual(lists:duplicate(20, 2) ++ [0], looks(lists:duplicate(21, 0), 2)).

a_clock_that_stands_still_or_goes_back_changes_nothing_test() ->
    [
        begin
            {_, H} = lists:foldl(
                fun(_, {AtMs, Before}) -> {AtMs + Step, ?H:look(AtMs, Number, Before)} end,
                {0, ?H:new({4, 8}, rules(), Level)},
                lists:seq(1, 1000)
            ),
            ?assertEqual(Level, ?H:level(H))
        end
     || Step <- [0, -100], {Number, Level} <- [{100, 0}, {0, 2}]
    ].

a_clock_that_jumps_is_one_late_look_test() ->
    At = fun(Moments, Number, Level) ->
        lists:foldl(fun(AtMs, H) -> ?H:look(AtMs, Number, H) end, ?H:new({4, 8}, rules(), Level), Moments)
    end,
    Hours = [Hour * ?HOUR_MS || Hour <- lists:seq(0, 7)],
    ?assertEqual(0, ?H:level(At(lists:sublist(Hours, 2), 100, 0))),
    ?assertEqual(2, ?H:level(At(lists:sublist(Hours, 3), 100, 0))),
    ?assertEqual(2, ?H:level(At(lists:sublist(Hours, 7), 0, 2))),
    ?assertEqual(0, ?H:level(At(Hours, 0, 2))).

%% At the mark, with noise of several kinds, always the same: once over, a level stays, and the other is not reached.
an_hour_at_the_mark_test_() ->
    {timeout, 60, [
        {Name, fun() ->
            _ = rand:seed(exsss, 14),
            %% As the guard does it.
            Look = fun() -> lists:sum([Signal(Mark) || _ <- lists:seq(1, 5)]) / 5 end,
            Levels = looks([Look() || _ <- lists:seq(1, ?HOUR_MS div ?SAMPLE_MS)], 0),
            ?assertEqual([0, Level], changes(Levels))
        end}
     || {Mark, Level} <- [{4, 1}],
        {Name, Signal} <- [
            {"no noise", fun(Mean) -> Mean end},
            {"a tenth", fun(Mean) -> Mean * (0.9 + 0.2 * rand:uniform()) end},
            {"a quarter", fun(Mean) -> Mean * (0.75 + 0.5 * rand:uniform()) end},
            {"normal", fun(Mean) -> Mean + 0.5 * rand:normal() end},
            %% The queue of a server that is five times as long busy as it is idle, looked at now and then.
            {"geometric", fun(Mean) -> math:floor(math:log(rand:uniform()) / math:log(Mean / (Mean + 1))) end}
        ]
    ]}.

changes([Level, Level | Rest]) -> changes([Level | Rest]);
changes([Level | Rest]) -> [Level | changes(Rest)];
changes([]) -> [].
