-module(erlmcp_native_demo_tests).

-include_lib("eunit/include/eunit.hrl").

-define(EXTREMES, [0, 1, 999_999, 1_000_000, 16#7fffffffffffffff]).

settings_test_() ->
    Read = fun(Set) ->
        erlmcp_native_demo_settings:read(fun(Name, Default) -> proplists:get_value(Name, Set, Default) end)
    end,
    [
        ?_assertMatch(
            {ok, #{seconds := 30, asked := false, plain := false, compare := true, rival := false}}, Read([])
        ),
        ?_assertMatch({ok, #{hold := false, port := 0}}, Read([])),
        ?_assertMatch({ok, #{seconds := 4, asked := true}}, Read([{"DEMO_SECONDS", "4"}])),
        ?_assertMatch({ok, #{plain := true}}, Read([{"DEMO_PLAIN", "1"}])),
        ?_assertMatch({ok, #{seconds := 30, asked := false}}, Read([{"DEMO_SECONDS", ""}])),
        ?_assertMatch({ok, #{compare := false}}, Read([{"DEMO_COMPARE", "0"}])),
        ?_assertMatch({ok, #{compare := true, nodes := false}}, Read([{"DEMO_NODES", "0"}]))
        | [
            ?_assertMatch({error, [_ | _]}, Read([{Name, Value}]))
         || {Name, Values} <- [
                {"DEMO_SECONDS", ["3", "86401", "-4", "ten", "4.5", "+9", "99999999999999999999"]},
                {"DEMO_PLAIN", ["yes", "2"]},
                {"DEMO_COMPARE", ["true"]},
                {"DEMO_NODES", ["2"]},
                {"DEMO_RIVAL", ["x"]},
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

%% A machine that runs something else meanwhile makes both longer.
a_share_is_of_what_schedulers_were_busy_test() ->
    Before = [{1, 10, 1_000}, {2, 20, 1_000}],
    After = [{2, 320, 2_000}, {1, 510, 2_000}],
    ?assertEqual(800.0, erlmcp_native_demo_share:busy_ns(1_000, Before, After)),
    ?assertEqual(0.0, erlmcp_native_demo_share:busy_ns(1_000, Before, Before)).

timeline_test() ->
    Timeline = erlmcp_native_demo_phases:timeline(4),
    ?assertEqual(Timeline, lists:keysort(1, Timeline)),
    ?assertEqual({4_000_000, stop}, lists:last(Timeline)),
    ?assertEqual(erlmcp_native_demo_meter:phases(), [Phase || {_, {phase, Phase}} <- Timeline]).

%% Of a minute, ten seconds are left for a machine that has much else to do.
budget_test() ->
    Settings = settings([]),
    Parts = erlmcp_native_demo_budget:parts(Settings),
    Phases = [naive, bounded, nodes | erlmcp_native_demo_meter:phases()],
    ?assertEqual([start] ++ Phases ++ [rest], [Part || {Part, _} <- Parts]),
    ?assert(lists:sum([Ms || {_, Ms} <- Parts]) =< 50_000),
    Own = [Ms || {Phase, Ms} <- Parts, lists:member(Phase, erlmcp_native_demo_meter:phases())],
    ?assertEqual(30_000, lists:sum(Own)),
    Fewer = erlmcp_native_demo_budget:parts(Settings#{compare := false, nodes := false}),
    ?assertEqual([naive, bounded, nodes], [Part || {Part, _} <- Parts] -- [Part || {Part, _} <- Fewer]).

what_began_late_is_shorter_and_what_was_asked_for_is_not_test_() ->
    Seconds = fun(Set, PassedMs) -> erlmcp_native_demo_budget:seconds(settings(Set), PassedMs) end,
    Before = 16_000,
    [
        ?_assertEqual(30, Seconds([], 0)),
        ?_assertEqual(30, Seconds([], Before)),
        ?_assertEqual(29, Seconds([], Before + 1)),
        ?_assertEqual(25, Seconds([], Before + 5_000)),
        ?_assertEqual(20, Seconds([], 1_000_000)),
        ?_assertEqual(26, Seconds([{"DEMO_NODES", "0"}], Before)),
        ?_assertEqual(30, Seconds([{"DEMO_SECONDS", "30"}], 1_000_000))
    ].

settings(Set) ->
    {ok, Settings} = erlmcp_native_demo_settings:read(fun(Name, _) -> proplists:get_value(Name, Set, "") end),
    Settings.

%% Of the eight in a row that go to eight executors all are of a class, so that each executor gets a sixteenth.
a_sixteenth_is_critical_test() ->
    Tags = [erlmcp_native_demo_tally:tag(calm, N) || N <- lists:seq(0, 127)],
    Critical = lists:duplicate(8, #{class => critical}),
    ?assertEqual(
        Critical ++ lists:duplicate(120, #{class => sheddable}), [erlmcp_native_demo_tally:options(Tag) || Tag <- Tags]
    ),
    ?assertEqual([calm], lists:usort([erlmcp_native_demo_tally:side(Tag) || Tag <- Tags])).

requests_count_for_their_phase_and_class_test() ->
    Tally = erlmcp_native_demo_tally:new(),
    Places = [{Side, Number} || Side <- erlmcp_native_demo_meter:sides(), Number <- [0, 8]],
    %% One, two, three: no two places have the same counts.
    _ = [
        [count(Tally, erlmcp_native_demo_tally:tag(Side, Number)) || _ <- lists:seq(1, Times)]
     || {Times, {Side, Number}} <- lists:enumerate(Places)
    ],
    Counts = erlmcp_native_demo_tally:read(Tally),
    ?assertEqual(
        lists:seq(1, length(Places)),
        [
            Same
         || Side <- erlmcp_native_demo_meter:sides(),
            Class <- [critical, sheddable],
            [Same] <- [lists:usort(maps:values(maps:get(Class, maps:get(Side, Counts))))]
        ]
    ),
    ?assertEqual({253, 132}, {
        erlmcp_native_demo_tally:total(full, Counts), erlmcp_native_demo_tally:total(full, sheddable, Counts)
    }),
    ?assertEqual(
        #{{Class, Reason} => N || {Class, N} <- [{critical, 20}, {sheddable, 22}], Reason <- [node, full, class]},
        erlmcp_native_demo_tally:reasons([calm, recovery], Counts)
    ),
    ?assertEqual(#{}, erlmcp_native_demo_tally:reasons([calm], tally(0))).

count(Tally, Tag) ->
    _ = [erlmcp_native_demo_tally:refused(Tally, Tag, #{reason => Reason}) || Reason <- [node, full, class]],
    [erlmcp_native_demo_tally:add(Tally, Tag, What) || What <- [limited, offered, answered, refused]].

lines_fit_test_() ->
    [
        {lists:concat([N, " ", Phase]), ?_assertEqual([], [Line || Line <- Lines, width(Line) > 79])}
     || N <- ?EXTREMES,
        Phase <- erlmcp_native_demo_meter:phases(),
        Lines <- [
            erlmcp_native_demo_frame:frame(view(N, Phase)),
            erlmcp_native_demo_frame:heading(Phase),
            erlmcp_native_demo_frame:columns(),
            [erlmcp_native_demo_frame:plain(view(N, Phase))],
            erlmcp_native_demo_overload:lines(facts(N)),
            erlmcp_native_demo_tenants:lines(sample(N, recovery)),
            erlmcp_native_demo_verdict:lines(erlmcp_native_demo_promises:verdicts(facts(N))),
            erlmcp_native_demo_contest:lines([compared(native, N, N), compared(gen_server, N, N - 1)])
        ]
    ].

%% A table in which the library looks worse says why, with what was measured, and no other does.
a_lower_median_of_the_gen_server_is_explained_test() ->
    Lines = fun(P50) ->
        Results = [compared(native, 100_000, 83), compared(gen_server, 100_000, P50)],
        lists:nthtail(2 + length(Results), erlmcp_native_demo_contest:lines(Results))
    end,
    ?assertEqual([], Lines(83)),
    Why = unicode:characters_to_list(Lines(82)),
    [?assertNotEqual(nomatch, string:find(Why, Part)) || Part <- ["At 100,000/s", "of the 83 (ctl p50)", "gen_server"]].

%% A line that is cut says less than was measured. A node that has run for long has long pids.
what_was_measured_is_said_to_the_end_test_() ->
    Long = list_to_pid("<0.268435455.8191>"),
    [
        ?_assertMatch({match, _}, re:run(erlmcp_native_demo_frame:event(1022.8, Event), End))
     || {Event, End} <- [
            {(drowned(1))#{process := Long, depth := 123_456, us := 219_900}, "219\\.9 ms$"},
            {(freed(1))#{process := Long, depth := 1_000, left := 1_000, us := 219_900}, "219\\.9 ms$"},
            {(hung(1))#{process := Long, depth := 10_000, limit := 10_000, us := 219_900},
                "219\\.9 ms: 10,000 of 10,000 wait$"},
            {(pressed(1))#{refused_us := 14_999_000, served_us := 14_999_000}, "in 14,999 ms; served in 14,999 ms$"},
            {(cancelled(1))#{past := 2_500, ended_us := 14_999_000}, "14,999 ms; the next never began$"},
            {(cancelled(1))#{ended_us := not_seen, overtaken := ended}, "goes on; the next ended, too$"}
        ]
    ].

a_frame_fits_24_rows_test_() ->
    [
        ?_assertEqual(23, length(erlmcp_native_demo_frame:frame(view(1, Phase))))
     || Phase <- erlmcp_native_demo_meter:phases()
    ].

%% What was refused by nobody has no line.
the_overloads_are_beside_each_other_test() ->
    #{sample := #{tally := Tally} = Sample} = Facts = facts(1),
    Lines = fun(Counts) ->
        Shown = erlmcp_native_demo_overload:lines(Facts#{sample := Sample#{tally := Counts}}),
        [unicode:characters_to_list([text(Span) || Span <- Line]) || Line <- Shown]
    end,
    #{wait := #{critical := Critical, sheddable := Sheddable} = Wait} = Tally,
    All = Lines(Tally#{wait := Wait#{
        critical := Critical#{full := 7}, sheddable := Sheddable#{offered := 480_000, answered := 32_000}
    }}),
    [
        ?assertMatch([_], [Line || Line <- All, re:run(Line, Expected) =/= nomatch])
     || Expected <- [
            "limits at the end +2,500 +941 to 979 +958$",
            "sheddable served +1 of 3 +32,000 of 480,000 +2 of 6$",
            "  critical, full +0 +7 +0$",
            "  sheddable, node +1 +1 +2$",
            "With 128 MB more, 80 % of 320 MB, the node refused 0.0 ms after its mark,$",
            "^for memory; it served all again 0.0 ms after these were gone.$"
        ]
    ],
    ?assertEqual([], [Line || Line <- Lines(tally(0)), string:prefix(Line, "refused") =/= nomatch]).

text({_Style, Text}) -> Text;
text(Text) -> Text.

events_fit_test_() ->
    [
        ?_assert(string:length(erlmcp_native_demo_frame:event(86_400.0, Event)) =< 79)
     || N <- ?EXTREMES,
        Event <- [
            alert(N), breaker(), freed(N), survived(N), hung(N), drowned(N), untold(N), pressed(N), unseen(refused_us),
            unseen(served_us), cancelled(N)
        ]
    ].

all_is_kept_test() ->
    Verdicts = erlmcp_native_demo_promises:verdicts(facts(1)),
    ?assertEqual([], [V || #{ok := false} = V <- Verdicts]),
    ?assert(erlmcp_native_demo_verdict:kept(Verdicts)).

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
        "refusals, own count - the library's" => [
            (facts(1))#{library_refused := #{}},
            (facts(1))#{library_refused := #{{sheddable, class} => 8, {sheddable, node} => 9, {sheddable, full} => 8}},
            (facts(1))#{library_refused := #{
                {sheddable, class} => 8, {sheddable, node} => 8, {sheddable, full} => 8, {critical, deadline} => 1
            }}
        ],
        "granted to the noisy tenant" => [
            tallied(noisy_one, #{offered => 1_498}), tallied(noisy_one, #{limited => 0})
        ],
        "the others refused by their rate" => [tallied(calm, #{limited => 1})],
        "the others are served beside it" => [tallied(noisy, #{answered => 0, offered => 7})],
        "and wait ms at p99: beside it/alone" => [waited({ordinary, noisy}, 5_001_000)],
        "taken, own count - the library's" => [
            told(#{taken => 67}), told(#{taken => 65}), told(#{refused => 0})
        ],
        "a tool that runs, cancelled: ends in" => [(facts(1))#{cancelled := [(cancelled(1))#{ended_us := not_seen}]}],
        "cancelled tools that keep a place" => [(facts(1))#{cancelled := [(cancelled(1))#{freed := false}]}],
        "one whose cancel overtook its call" => [(facts(1))#{cancelled := [(cancelled(1))#{overtaken := not_seen}]}],
        "critical ones refused in overload" => [critical_refused(fixed, 2), critical_refused(wait, 3)],
        "critical ones refused by the node" => [node_refused()],
        "{wait, 500}: accepted waited at p99" => [waited({ordinary, wait}, 5_001_000)],
        "a node short of memory refuses in" => [(facts(1))#{pressed := [unseen(refused_us)]}],
        "and when it is not, serves all in" => [(facts(1))#{pressed := [unseen(served_us)]}],
        "control message p99 under overload" => [waited({control, P}, 1_001_000) || P <- [fixed, wait, faults]],
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
            ?assertNot(erlmcp_native_demo_verdict:kept(Verdicts))
        end}
     || Name := List <- Broken, Facts <- List
    ].

none_is_kept_that_was_not_tried_test() ->
    Verdicts = erlmcp_native_demo_promises:verdicts((facts(1))#{cancelled := []}),
    ?assertEqual(
        ["a tool that runs, cancelled: ends in", "one whose cancel overtook its call"],
        [N || #{name := N, ok := false} <- Verdicts]
    ).

late_is_not_met_and_decides_nothing_test() ->
    #{sample := Sample} = Facts = waited({control, wait}, 20_000),
    Verdicts = erlmcp_native_demo_promises:verdicts(Facts#{
        sample := Sample#{share := 0.06}, drowned := [drowned(20_001)], pressed := [pressed(3_000_001)],
        cancelled := [(cancelled(10_001))#{overtaken := ended}]
    }),
    ?assertEqual(
        [
            "a node short of memory refuses in",
            "and when it is not, serves all in",
            "a mailbox drowned by a bare !: told",
            "a tool that runs, cancelled: ends in",
            "one whose cancel overtook its call",
            "control message p99 under overload",
            "the demo's own share of the CPU"
        ],
        [N || #{name := N, met := false} <- Verdicts]
    ),
    ?assert(erlmcp_native_demo_verdict:kept(Verdicts)).

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
            {~"fault", erlmcp_native_demo_json:fault(memory, pressed(N))},
            {~"fault", erlmcp_native_demo_json:fault(cancel, cancelled(N))},
            {~"alert", erlmcp_native_demo_json:event((alert(N))#{role := node, process := memory})},
            {~"nodes", erlmcp_native_demo_json:nodes(#{known => {N, N}, left => not_seen, skipped => "x"})},
            {~"contest", erlmcp_native_demo_json:contested([compared(native, N, N)])},
            {~"promises", erlmcp_native_demo_json:promises(erlmcp_native_demo_promises:verdicts(facts(N)), 0)}
        ]
    ].

width(Line) ->
    lists:sum([erlmcp_native_demo_text:width(Span) || Span <- Line]).

waited(What, Us) ->
    #{sample := #{waits := Waits} = Sample} = Facts = facts(1),
    Facts#{sample := Sample#{waits := Waits#{What := #{count => 1, p50_us => 1, p99_us => Us, max_us => Us}}}}.

%% Of three critical requests of this phase, and so of six of both.
critical_refused(Phase, N) ->
    #{sample := #{tally := Tally} = Sample} = Facts = facts(1),
    #{Phase := #{critical := Critical} = Counts} = Tally,
    Facts#{sample := Sample#{tally := Tally#{Phase := Counts#{critical := Critical#{refused := N}}}}}.

%% Of sheddable requests, as the library has counted them.
tallied(Side, Changes) ->
    #{sample := #{tally := Tally} = Sample} = Facts = facts(1),
    #{Side := #{sheddable := Sheddable} = Counts} = Tally,
    Changed = Tally#{Side := Counts#{sheddable := maps:merge(Sheddable, Changes)}},
    Facts#{sample := Sample#{tally := Changed, rate := rate(Changed)}}.

told(Changes) ->
    #{sample := #{rate := Rate} = Sample} = Facts = facts(1),
    Facts#{sample := Sample#{rate := maps:merge(Rate, Changes)}}.

node_refused() ->
    #{sample := #{tally := Tally} = Sample, library_refused := Library} = Facts = facts(1),
    #{pressure := #{critical := Critical} = Counts} = Tally,
    Facts#{
        sample := Sample#{tally := Tally#{pressure := Counts#{critical := Critical#{node := 1}}}},
        library_refused := Library#{{critical, node} => 1}
    }.

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
        events => lists:duplicate(9, lists:duplicate(200, $x))
    }.

facts(N) ->
    #{
        sample => sample(N, recovery),
        compared => [],
        nodes => #{},
        freed => [freed(N)],
        survived => [survived(0)],
        hung => [hung(N)],
        drowned => [drowned(N)],
        pressed => [pressed(N)],
        cancelled => [cancelled(N)],
        limits => #{fixed => {2_500, 2_500}, wait => {941, 979}, pressure => {958, 958}},
        library_refused => erlmcp_native_demo_tally:reasons(erlmcp_native_demo_meter:sides(), tally(N)),
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
            limited => 0, offered => 3 * N, answered => N, refused => N, lost => N, finished => N, forwarded => N,
            streamed => N, control => N, unanswered => 0, died => N
        },
        tally => tally(N),
        rate => rate(tally(N)),
        asking_ns => N,
        roles => [role(R, N) || R <- [session, transport, tool_executor, sse_stream]],
        node => #{level => min(2, N), share => N / 1, limit => unknown, breaker => open},
        waits => #{
            {What, P} => Waits
         || What <- [control, ordinary, crossing], P <- erlmcp_native_demo_meter:sides()
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
        fullest_limit => max(1000, N),
        own_limits => {1000, max(1000, N)},
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

pressed(N) ->
    #{
        bytes => 128 bsl 20, memory_limit => 320 bsl 20, share => 0.8, cause => memory, refused_us => N, served_us => N
    }.

unseen(Key) ->
    (pressed(1))#{Key := not_seen}.

%% Of three of a class in a phase one is answered and one refused, but for what is critical. Beside the noisy one all
%% are answered, and only that is limited. Sums are below 10^20.
tally(Any) ->
    N = min(Any, 1_000_000_000_000_000_000),
    Critical = #{limited => 0, offered => 3 * N, answered => N, refused => 0, node => 0, full => 0, class => 0},
    Sheddable = Critical#{refused := N, node := N, full := N, class := N},
    All = #{Side => #{critical => Critical, sheddable => Sheddable} || Side <- erlmcp_native_demo_meter:sides()},
    Served = #{answered => 3 * N},
    All#{
        noisy := #{critical => maps:merge(Critical, Served), sheddable => maps:merge(Sheddable, Served)},
        noisy_one := #{critical => Critical, sheddable => Sheddable#{limited := N}}
    }.

rate(Tally) ->
    [Taken, Refused] = [erlmcp_native_demo_tally:total(What, Tally) || What <- [offered, limited]],
    #{taken => Taken, refused => Refused}.

cancelled(N) ->
    #{process => self(), past => N, ended_us => N, freed => true, overtaken => never_began}.

untold(N) ->
    (drowned(N))#{told := false}.

compared(Who, N, ControlP50) ->
    Waits = #{count => N, p50_us => N, p99_us => N, max_us => N},
    #{
        who => Who, asked_per_s => N, reached_per_s => N, cpu_percent => N, longest_mailbox => N, check => Waits,
        control => Waits#{p50_us := max(0, ControlP50)}, started => Waits
    }.
