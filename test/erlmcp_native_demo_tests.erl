-module(erlmcp_native_demo_tests).

-include_lib("eunit/include/eunit.hrl").

-define(EXTREMES, [0, 1, 999_999, 1_000_000, 16#7fffffffffffffff]).

settings_test_() ->
    Read = fun(Set) ->
        erlmcp_native_demo_settings:read(fun(Name, Default) -> proplists:get_value(Name, Set, Default) end)
    end,
    [
        ?_assertMatch(
            {ok, #{seconds := 30, plain := false, compare := false, hold := false, port := 0}}, Read([])
        ),
        ?_assertMatch({ok, #{seconds := 4, plain := true}}, Read([{"DEMO_SECONDS", "4"}, {"DEMO_PLAIN", "1"}])),
        ?_assertMatch({ok, #{seconds := 30}}, Read([{"DEMO_SECONDS", ""}]))
        | [
            ?_assertMatch({error, [_ | _]}, Read([{Name, Value}]))
         || {Name, Values} <- [
                {"DEMO_SECONDS", ["3", "86401", "-4", "ten", "4.5", "+9", "99999999999999999999"]},
                {"DEMO_PLAIN", ["yes", "2"]},
                {"DEMO_COMPARE", ["x"]},
                {"DEMO_HOLD", ["true"]},
                {"DEMO_PORT", ["65536", "http"]}
            ],
            Value <- Values
        ]
    ].

short_test_() ->
    [?_assertEqual(Text, erlmcp_native_demo_text:short(N)) || {N, Text} <- [
        {0, "0"}, {999_999, "999,999"}, {1_000_000, "1.0M"}, {999_949_999, "999.9M"}, {999_960_000, "1.0G"},
        {9_223_372_036_854_775_807, "9223.4P"}
    ]].

pace_makes_good_a_twentieth_of_a_second_test() ->
    Pace0 = erlmcp_native_demo_pace:new(1000, 0),
    {10, Pace1} = erlmcp_native_demo_pace:due(Pace0, 10_000),
    {0, Pace2} = erlmcp_native_demo_pace:due(Pace1, 10_500),
    {50, Pace3} = erlmcp_native_demo_pace:due(Pace2, 5_000_000),
    ?assertMatch({1, _}, erlmcp_native_demo_pace:due(Pace3, 5_001_000)).

timeline_test() ->
    Timeline = erlmcp_native_demo_phases:timeline(4),
    ?assertEqual(Timeline, lists:keysort(1, Timeline)),
    ?assertEqual({4_000_000, stop}, lists:last(Timeline)),
    ?assertEqual([calm, surge, overload, recovery], [Phase || {_, {phase, Phase}} <- Timeline]).

lines_fit_test_() ->
    [
        {lists:concat([N, " ", Phase]), ?_assertEqual([], [Line || Line <- Lines, width(Line) > 79])}
     || N <- ?EXTREMES,
        Phase <- [calm, surge, overload, recovery],
        Lines <- [
            erlmcp_native_demo_frame:frame(view(N, Phase)),
            erlmcp_native_demo_frame:heading(Phase),
            [erlmcp_native_demo_frame:plain(view(N, Phase))],
            erlmcp_native_demo_promises:lines(erlmcp_native_demo_promises:verdicts(facts(N))),
            erlmcp_native_demo_compare:lines([compared(native, N, N), compared(gen_server, N, N - 1)])
        ]
    ].

%% A table in which the library looks worse says why, with what was measured, and no other does.
a_lower_median_of_the_gen_server_is_explained_test() ->
    Lines = fun(P50) ->
        Results = [compared(native, 100_000, 83), compared(gen_server, 100_000, P50)],
        lists:nthtail(2 + length(Results), erlmcp_native_demo_compare:lines(Results))
    end,
    ?assertEqual([], Lines(83)),
    Why = unicode:characters_to_list(Lines(82)),
    [?assertNotEqual(nomatch, string:find(Why, Part)) || Part <- ["At 100,000/s", "of the 83 (ctl p50)", "gen_server"]].

%% A line that is cut says less than was measured. A node that has run for long has long pids.
what_was_measured_is_said_to_the_end_test_() ->
    Long = list_to_pid("<0.268435455.8191>"),
    [
        ?_assertMatch(
            {match, _},
            re:run(erlmcp_native_demo_frame:event(1022.8, Event#{process := Long, us := 219_900}), "219\\.9 ms" ++ End)
        )
     || {Event, End} <- [
            {(drowned(1))#{depth := 123_456}, "$"},
            {(freed(1))#{depth := 1_000, left := 1_000}, "$"},
            {(hung(1))#{depth := 10_000, limit := 10_000}, ": 10,000 of 10,000 wait$"}
        ]
    ].

a_frame_fits_24_rows_test() ->
    ?assert(length(erlmcp_native_demo_frame:frame(view(1, overload))) =< 23).

events_fit_test_() ->
    [
        ?_assert(string:length(erlmcp_native_demo_frame:event(86_400.0, Event)) =< 79)
     || N <- ?EXTREMES,
        Event <- [alert(N), breaker(), freed(N), survived(N), hung(N), drowned(N), untold(N)]
    ].

all_is_kept_test() ->
    Verdicts = erlmcp_native_demo_promises:verdicts(facts(1)),
    ?assertEqual([], [V || #{ok := false} = V <- Verdicts]),
    ?assert(erlmcp_native_demo_promises:kept(Verdicts)).

broken_promises_test_() ->
    Role = fun(Name, Change) ->
        #{sample := #{roles := Roles} = Sample} = Facts = facts(1),
        Facts#{sample := Sample#{roles := [
            case R of
                #{role := Name} -> Change(R);
                #{} -> R
            end
         || R <- Roles
        ]}}
    end,
    Stats = fun(Key, Value) -> Role(transport, fun(#{stats := Old} = R) -> R#{stats := Old#{Key := Value}} end) end,
    Broken = #{
        "session: longest mailbox" => [
            Role(session, fun(R) -> R#{held := 1001} end), (facts(1))#{hung := [(hung(1))#{depth := 1001}]}
        ],
        "transport: highest depth" => [Stats(max_depth, 1001), Role(transport, fun(R) -> R#{held := 1001} end)],
        "roles whose counts do not add up" => [Stats(total_enqueued, 5), Stats(total_released, 1)],
        "requests that are unaccounted for" => [counts(#{offered => 4}), counts(#{lost => 2})],
        "executors' own count - the library's" => [counts(#{finished => 17})],
        "killed executors' counts are gone in" => [
            (facts(1))#{freed := [(freed(1))#{left := 1}]}, (facts(1))#{freed := []}
        ],
        "counts lost with erlmcp_queue_limits" => [
            (facts(1))#{survived := [(survived(1))#{counts_lost := 1}]}, (facts(1))#{survived := []}
        ],
        "a mailbox drowned by a bare !: told" => [
            (facts(1))#{drowned := [untold(1)]}, (facts(1))#{drowned := []}
        ],
        "control messages without an answer" => [counts(#{unanswered => 1000})],
        "alerts standing after recovery" => [Role(session, fun(R) -> R#{level := warning} end)],
        "breakers open after recovery" => [Role(session, fun(R) -> R#{breaker := open} end)],
        "longest mailbox of an owner" => [(facts(1))#{owner_mailbox := 2000}],
        "longest mailbox of a library process" => [(facts(1))#{service_mailbox := 30_000}]
    },
    [
        {Name, fun() ->
            Verdicts = erlmcp_native_demo_promises:verdicts(Facts),
            ?assertEqual([Name], [N || #{name := N, ok := false} <- Verdicts]),
            ?assertEqual([Name], [N || #{name := N, met := false} <- Verdicts]),
            ?assertNot(erlmcp_native_demo_promises:kept(Verdicts))
        end}
     || Name := List <- Broken, Facts <- List
    ].

late_is_not_met_and_decides_nothing_test() ->
    #{sample := #{waits := Waits} = Sample} = Facts = facts(1),
    Late = Waits#{{control, overload} := #{count => 1, p50_us => 1, p99_us => 20_000, max_us => 20_000}},
    Verdicts = erlmcp_native_demo_promises:verdicts(Facts#{
        sample := Sample#{waits := Late, share := 0.06}, drowned := [drowned(20_001)]
    }),
    ?assertEqual(
        [
            "a mailbox drowned by a bare !: told",
            "control message p99 under overload",
            "the demo's own share of the CPU"
        ],
        [N || #{name := N, met := false} <- Verdicts]
    ),
    ?assert(erlmcp_native_demo_promises:kept(Verdicts)).

json_lines_parse_test_() ->
    [
        ?_test(begin
            Bytes = iolist_to_binary(Line),
            ?assertMatch([_, <<>>], binary:split(Bytes, ~"\n", [global])),
            #{~"type" := Type} = json:decode(binary:part(Bytes, 0, byte_size(Bytes) - 1))
        end)
     || N <- ?EXTREMES,
        {Type, Line} <- [
            {~"second", erlmcp_native_demo_json:second(sample(N, surge), sample(0, calm))},
            {~"alert", erlmcp_native_demo_json:event(alert(N))},
            {~"breaker", erlmcp_native_demo_json:event(breaker())},
            {~"fault", erlmcp_native_demo_json:fault(executor, freed(N))},
            {~"fault", erlmcp_native_demo_json:fault(limits, survived(N))},
            {~"fault", erlmcp_native_demo_json:fault(session, hung(N))},
            {~"fault", erlmcp_native_demo_json:fault(naive, drowned(N))},
            {~"compare", erlmcp_native_demo_json:compared([compared(native, N, N)])},
            {~"promises", erlmcp_native_demo_json:promises(erlmcp_native_demo_promises:verdicts(facts(N)), 0)}
        ]
    ].

width(Line) ->
    lists:sum([erlmcp_native_demo_text:width(Span) || Span <- Line]).

counts(Changes) ->
    #{sample := #{counts := Counts} = Sample} = Facts = facts(1),
    Facts#{sample := Sample#{counts := maps:merge(Counts, Changes)}}.

view(N, Phase) ->
    #{
        new => sample(N, Phase),
        old => (sample(0, Phase))#{at_us := 0},
        at_s => 86_400,
        seconds => 86_400,
        page => "http://127.0.0.1:65535/",
        events => lists:duplicate(4, lists:duplicate(200, $x))
    }.

facts(N) ->
    #{
        sample => sample(N, recovery),
        freed => [freed(N)],
        survived => [survived(0)],
        hung => [hung(N)],
        drowned => [drowned(N)],
        surge_per_s => 100_000 * N,
        owner_mailbox => N,
        service_mailbox => N
    }.

%% Adds up, whatever N is: 3 N offered, N each answered, refused and lost.
sample(N, Phase) ->
    Waits = #{count => N, p50_us => N, p99_us => N, max_us => N},
    #{
        at_us => 1_000_000,
        phase => Phase,
        counts => #{
            offered => 3 * N, answered => N, refused => N, lost => N, finished => N, forwarded => N, streamed => N,
            control => N, unanswered => 0, died => N
        },
        roles => [role(R, N) || R <- [session, transport, tool_executor, sse_stream]],
        waits => #{
            {What, P} => Waits
         || What <- [control, ordinary, crossing], P <- [calm, surge, overload, recovery]
        },
        control => #{delivered => N, slo_violations => N, health_checks => N},
        alerts => #{raised => N, cleared => N, opened => N},
        owner_mailbox => N,
        service_mailbox => N,
        share => 0.01
    }.

role(Role, N) ->
    #{
        role => Role,
        limit => max(1000, N),
        owners => 8,
        fullest => N,
        level => ok,
        breaker => close,
        held => N,
        stats => #{
            total_enqueued => N, total_dequeued => N, unmatched_dequeues => 0, total_released => 0, total_rejected => N,
            current_depth => 0, max_depth => N
        }
    }.

alert(N) ->
    #{at_ms => 0, what => cleared, role => tool_executor, level => critical, process => self(), depth => N}.

breaker() ->
    #{at_ms => 0, what => breaker, role => tool_executor, action => open}.

freed(N) ->
    #{process => self(), depth => N, left => 0, us => N}.

survived(N) ->
    #{away_us => N, counts_lost => N}.

hung(N) ->
    #{process => self(), depth => N, limit => max(1, N), us => N}.

drowned(N) ->
    #{process => self(), depth => N, told => true, us => N}.

untold(N) ->
    (drowned(N))#{told := false}.

compared(Who, N, ControlP50) ->
    Waits = #{count => N, p50_us => N, p99_us => N, max_us => N},
    #{
        who => Who, asked_per_s => N, reached_per_s => N, cpu_percent => N, longest_mailbox => N, check => Waits,
        control => Waits#{p50_us := max(0, ControlP50)}, started => Waits
    }.
