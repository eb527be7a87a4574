%% What the soak calls growth, on numbers of which it is known.
-module(erlmcp_native_soak_slope_tests).

-include_lib("eunit/include/eunit.hrl").

-define(MEAN, 100_000_000).

%% Twenty minutes of samples, a second each: a constant, a sawtooth of ten seconds, noise, and so much a minute.
samples(Seed, PerMinute, Noise) ->
    _ = rand:seed(exsss, Seed),
    [
        {Second * 1000, #{
            memory => round(
                ?MEAN + 1_000_000 * (Second rem 10) + Noise * rand:normal() + PerMinute * Second / 60
            ),
            atoms => 10_000 + trunc(PerMinute * Second / 60 / 1_000_000)
        }}
     || Second <- lists:seq(1, 1200)
    ].

growing(Samples) ->
    erlmcp_native_soak_slope:report(Samples).

what_is_flat_does_not_grow_test() ->
    [?assertEqual({Seed, []}, {Seed, growing(samples(Seed, 0, 1_000_000))}) || Seed <- lists:seq(1, 50)].

what_grows_is_seen_test() ->
    [
        ?assertEqual({Seed, [atoms, memory]}, {Seed, growing(samples(Seed, 1_000_000, 1_000_000))})
     || Seed <- lists:seq(1, 50)
    ].

what_shrinks_does_not_grow_test() ->
    ?assertEqual([], growing(samples(1, -1_000_000, 1_000_000))).

%% One atom for good is enough, where nothing else makes any.
a_step_of_a_count_is_no_growth_but_a_stair_is_test() ->
    Stair = [{Second * 1000, #{atoms => 10_000 + Second div 100}} || Second <- lists:seq(1, 1200)],
    Step = [{Second * 1000, #{atoms => 10_000 + Second div 600}} || Second <- lists:seq(1, 1200)],
    ?assertEqual([atoms], growing(Stair)),
    ?assertEqual([], growing(Step)).

%% As a table does that has become larger for good.
what_has_grown_once_does_not_grow_test() ->
    {Before, Step, Seconds} = {?MEAN, ?MEAN div 50, lists:seq(1, 1200)},
    [
        ?assertEqual(
            {At, []}, {At, growing([{S * 1000, #{memory => Before + min(1, S div At) * Step}} || S <- Seconds])}
        )
     || At <- [100, 200, 300, 400, 500, 600]
    ].

what_grows_ever_less_does_not_grow_test() ->
    Memory = fun(Second) -> ?MEAN + round(5_000_000 * (1 - math:exp(-Second / 200))) end,
    ?assertEqual([], growing([{Second * 1000, #{memory => Memory(Second)}} || Second <- lists:seq(1, 1200)])).

too_few_samples_say_nothing_test() ->
    ?assertEqual([], growing(lists:sublist(samples(1, 1_000_000, 0), 10))).

a_line_is_found_test() ->
    {Slope, Error} = erlmcp_native_soak_slope:line([{X / 1, 3 * X + 7} || X <- lists:seq(1, 120)]),
    ?assert(abs(Slope - 3) < 1.0e-6),
    ?assert(Error < 1.0e-6).
