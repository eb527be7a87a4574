%% Latency histograms as resources.
-module(erlmcp_native_latency_tests).

-include_lib("eunit/include/eunit.hrl").

-define(N, erlmcp_native).
-define(LIB, erlmcp_native_test_lib).

percentiles_test_() ->
    {timeout, 60, ?_assert(
        proper:quickcheck(prop_erlmcp_control_plane:prop_latency(), [{to_file, user}, quiet, {numtests, 300}])
    )}.

empty_test() ->
    ?assertEqual(
        #{count => 0, p50_us => 0, p95_us => 0, p99_us => 0, p999_us => 0, max_us => 0},
        ?N:latency_summary(?N:latency_new())
    ).

one_value_test() ->
    [
        begin
            Histogram = ?N:latency_new(),
            ok = ?N:latency_record(Histogram, Us),
            #{count := 1, p50_us := Seen, max_us := Seen} = ?N:latency_summary(Histogram),
            ?assert(Seen >= Us andalso Seen - Us =< Us div 1000)
        end
     || Us <- [0, 1, 2, 999, 1000, 2047, 2048, 4097, 99999, 1000000, 59999999, 60000000]
    ].

longer_than_a_minute_test() ->
    [
        begin
            Histogram = ?N:latency_new(),
            ok = ?N:latency_record(Histogram, Us),
            #{count := 1, max_us := Max} = ?N:latency_summary(Histogram),
            ?assert(Max >= 60000000 andalso Max < 60060000)
        end
     || Us <- [60000001, 1 bsl 32, 1 bsl 59, 1 bsl 60, (1 bsl 63) - 1, 1 bsl 63, (1 bsl 64) - 1]
    ].

reset_test() ->
    Histogram = ?N:latency_new(),
    [ok = ?N:latency_record(Histogram, Us) || Us <- lists:seq(1, 1000)],
    ok = ?N:latency_reset(Histogram),
    ?assertMatch(#{count := 0, max_us := 0}, ?N:latency_summary(Histogram)),
    ok = ?N:latency_record(Histogram, 7),
    ?assertMatch(#{count := 1, p50_us := 7, max_us := 7}, ?N:latency_summary(Histogram)).

concurrent_recording_loses_nothing_test_() ->
    {timeout, 60, fun() ->
        Histogram = ?N:latency_new(),
        Done = ?LIB:parallel(50, fun(I) ->
            [ok = ?N:latency_record(Histogram, I * 1000) || _ <- lists:seq(1, 4000)],
            I rem 10 =:= 0 andalso is_map(?N:latency_summary(Histogram))
        end),
        ?assertEqual([], [D || D <- Done, not is_boolean(D)]),
        #{count := 200000, p50_us := P50, max_us := Max} = ?N:latency_summary(Histogram),
        ?assert(P50 >= 25000 andalso P50 =< 25025),
        ?assert(Max >= 50000 andalso Max =< 50050)
    end}.

%% A process sees what it has recorded itself, and what others had before they said so.
nothing_recorded_before_is_missing_test() ->
    Histogram = ?N:latency_new(),
    Counts = [
        begin
            ok = ?LIB:in_process(fun() -> ?N:latency_record(Histogram, 1) end),
            maps:get(count, ?N:latency_summary(Histogram))
        end
     || _ <- lists:seq(1, 200)
    ],
    ?assertEqual(lists:seq(1, 200), Counts).

bad_input_test() ->
    Histogram = ?N:latency_new(),
    [
        ?assertEqual({Bad, bad_latency}, {Bad, ?N:latency_record(Histogram, Bad)})
     || Bad <- [-1, 1.0, a, "1", <<1>>, -(1 bsl 70), {1}, self(), fun() -> 1 end]
    ],
    [
        begin
            ?assertEqual(bad_histogram, ?N:latency_record(Bad, 1)),
            ?assertEqual(bad_histogram, ?N:latency_summary(Bad)),
            ?assertEqual(bad_histogram, ?N:latency_reset(Bad))
        end
     || Bad <- [own, make_ref(), 1, self(), <<>>, [], ?N:limits_new([{default, 1}]), erlang:alias([priority])]
    ],
    ?assertMatch(#{count := 0}, ?N:latency_summary(Histogram)).

they_go_with_their_last_reference_test_() ->
    {timeout, 60, fun() ->
        Make = fun() ->
            ok = ?LIB:in_process(fun() ->
                Histograms = [?N:latency_new() || _ <- lists:seq(1, 200)],
                [ok = ?N:latency_record(H, Us) || H <- Histograms, Us <- [1, 60000000]],
                ok
            end)
        end,
        Make(),
        Before = ?N:native_memory(),
        [Make() || _ <- lists:seq(1, 20)],
        case Before of
            undefined -> ok;
            _ -> ok = ?LIB:eventually(fun() -> ?N:native_memory() - Before < 10000000 end)
        end
    end}.

through_the_external_format_test() ->
    Histogram = ?N:latency_new(),
    ok = ?N:latency_record(Histogram, 5),
    Same = binary_to_term(term_to_binary(Histogram)),
    ?assertMatch(#{count := 1}, ?N:latency_summary(Same)).
