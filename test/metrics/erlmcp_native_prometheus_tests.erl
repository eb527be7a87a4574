-module(erlmcp_native_prometheus_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_prometheus, [format/2, content_type/1]).
-import(erlmcp_native_prometheus_test_lib, [parse/2, snapshot/2]).

-define(MAX_BYTES, 133_000).
-define(MAX_US, 5_000).

text_test() ->
    Expected =
        ~"""
        # HELP erlmcp_queue_depth Requests that wait.
        # TYPE erlmcp_queue_depth gauge
        erlmcp_queue_depth{role="session"} 17
        erlmcp_queue_depth{role="transport"} 0
        # HELP erlmcp_queue_level_seconds_total Time at each level.
        # TYPE erlmcp_queue_level_seconds_total counter
        erlmcp_queue_level_seconds_total{role="session",level="ok"} 12.5
        erlmcp_queue_level_seconds_total{role="session",level="warning"} 3
        # HELP erlmcp_control_latency_seconds What senders waited.
        # TYPE erlmcp_control_latency_seconds histogram
        erlmcp_control_latency_seconds_bucket{le="1e-06"} 0
        erlmcp_control_latency_seconds_bucket{le="0.25"} 3
        erlmcp_control_latency_seconds_bucket{le="1.0"} 4
        erlmcp_control_latency_seconds_bucket{le="+Inf"} 5
        erlmcp_control_latency_seconds_sum 61.5
        erlmcp_control_latency_seconds_count 5
        # HELP erlmcp_control_component_latency_seconds Of each.
        # TYPE erlmcp_control_component_latency_seconds histogram
        erlmcp_control_component_latency_seconds_bucket{component="server",le="+Inf"} 0
        erlmcp_control_component_latency_seconds_sum{component="server"} 0.0
        erlmcp_control_component_latency_seconds_count{component="server"} 0

        """,
    ?assertEqual(Expected, written(families(), text)).

openmetrics_test() ->
    Expected =
        ~"""
        # HELP erlmcp_queue_depth Requests that wait.
        # TYPE erlmcp_queue_depth gauge
        erlmcp_queue_depth{role="session"} 17
        erlmcp_queue_depth{role="transport"} 0
        # HELP erlmcp_queue_level_seconds Time at each level.
        # TYPE erlmcp_queue_level_seconds counter
        # UNIT erlmcp_queue_level_seconds seconds
        erlmcp_queue_level_seconds_total{role="session",level="ok"} 12.5
        erlmcp_queue_level_seconds_total{role="session",level="warning"} 3
        # HELP erlmcp_control_latency_seconds What senders waited.
        # TYPE erlmcp_control_latency_seconds histogram
        # UNIT erlmcp_control_latency_seconds seconds
        erlmcp_control_latency_seconds_bucket{le="1e-06"} 0
        erlmcp_control_latency_seconds_bucket{le="0.25"} 3
        erlmcp_control_latency_seconds_bucket{le="1.0"} 4
        erlmcp_control_latency_seconds_bucket{le="+Inf"} 5
        erlmcp_control_latency_seconds_sum 61.5
        erlmcp_control_latency_seconds_count 5
        # HELP erlmcp_control_component_latency_seconds Of each.
        # TYPE erlmcp_control_component_latency_seconds histogram
        # UNIT erlmcp_control_component_latency_seconds seconds
        erlmcp_control_component_latency_seconds_bucket{component="server",le="+Inf"} 0
        erlmcp_control_component_latency_seconds_sum{component="server"} 0.0
        erlmcp_control_component_latency_seconds_count{component="server"} 0
        # EOF

        """,
    ?assertEqual(Expected, written(families(), openmetrics)).

nothing_test() ->
    ?assertEqual(~"", written([], text)),
    ?assertEqual(~"# EOF\n", written([], openmetrics)).

content_type_test() ->
    ?assertEqual(~"text/plain; version=0.0.4; charset=utf-8", content_type(text)),
    ?assertEqual(~"application/openmetrics-text; version=1.0.0; charset=utf-8", content_type(openmetrics)),
    [?assertError(badarg, content_type(Format)) || Format <- [json, "text", 1]],
    ?assertError(badarg, format([], json)).

help_is_escaped_test() ->
    Families = [{field(~"erlmcp_a", gauge, none, [], ~"A \"b\" \\ c\nd"), [{[], 1}]}],
    [?assertEqual(Line, hd(binary:split(written(Families, Format), ~"\n"))) || {Format, Line} <- [
        {text, ~B(# HELP erlmcp_a A "b" \\ c\nd)}, {openmetrics, ~B(# HELP erlmcp_a A \"b\" \\ c\nd)}
    ]].

odd_roles_test_() ->
    Roles = [
        {'', ~B(role="")},
        {'with space', ~B(role="with space")},
        {'say "hi"', ~B(role="say \"hi\"")},
        {'C:\\n', ~B(role="C:\\n")},
        {'two\nlines', ~B(role="two\nlines")},
        {'},x="y"} 1', ~B(role="},x=\"y\"} 1")},
        {'größe', ~B(role="größe")},
        {'負荷\x{1F600}', ~"role=\"負荷\x{1F600}\""},
        {'a\rb\tc', ~"role=\"a\rb\tc\""}
    ],
    [
        {lists:flatten(io_lib:format("~0tp as ~tp", [Role, Format])), fun() ->
            Families = erlmcp_native_metrics:families(snapshot([Role], [Role])),
            Body = written(Families, Format),
            ?assertNotEqual(nomatch, binary:match(Body, <<"erlmcp_queue_depth{", Pair/binary, "} 1234567\n">>)),
            Labels = [
                Labels
             || #{samples := Samples} <- parse(Body, Format), {_, Labels, _} <- Samples, is_key(~"role", Labels)
            ],
            ?assertNotEqual([], Labels),
            ?assertEqual([atom_to_binary(Role)], lists:usort([proplists:get_value(~"role", L) || L <- Labels]))
        end}
     || {Role, Pair} <- Roles, Format <- [text, openmetrics]
    ].

bounds_test_() ->
    [
        ?_assertEqual(Text, bound(Float))
     || {Float, Text} <- [
            {0.0, ~"0.0"},
            {1.0e-10, ~"1e-10"},
            {1.0e-9, ~"1e-09"},
            {1.6e-5, ~"1.6e-05"},
            {1.0e-4, ~"0.0001"},
            {1.28e-4, ~"0.000128"},
            {0.001, ~"0.001"},
            {0.1, ~"0.1"},
            {0.999, ~"0.999"},
            {1.0, ~"1.0"},
            {1.7, ~"1.7"},
            {10.0, ~"10.0"},
            {67.108864, ~"67.108864"},
            {123456.5, ~"123456.5"},
            {1.0e5, ~"100000.0"},
            {1.0e6, ~"1e+06"},
            {1.25e6, ~"1.25e+06"},
            {1.0e10, ~"1e+10"},
            {-0.5, ~"-0.5"}
        ]
    ].

everything_of_a_snapshot_is_found_again_test_() ->
    [
        fun() ->
            Families = erlmcp_native_metrics:families(snapshot([session, transport], [server])),
            Parsed = parse(written(Families, Format), Format),
            ?assertEqual(length(Families), length(Parsed)),
            [
                ?assertEqual(
                    {Help, lists:sum([lines(Value) || {_, Value} <- Samples])}, {ParsedHelp, length(ParsedSamples)}
                )
             || {#{help := Help}, Samples} <- Families && #{help := ParsedHelp, samples := ParsedSamples} <- Parsed
            ]
        end
     || Format <- [text, openmetrics]
    ].

%% Fifty roles after a busy month stay small, and are no work worth mentioning.
size_and_time_test_() ->
    ok = erlmcp_native_self:start(),
    Name = fun(Prefix, N) -> list_to_atom(Prefix ++ integer_to_list(N)) end,
    Roles = [Name("role_", N) || N <- lists:seq(1, 50)],
    Components = [Name("component_", N) || N <- lists:seq(1, 5)],
    Families = erlmcp_native_metrics:families(snapshot(Roles, Components)),
    [
        {atom_to_list(Format), fun() ->
            Write = fun() -> written(Families, Format) end,
            ?assertEqual([], [Size || Size <- [byte_size(Write())], Size >= ?MAX_BYTES]),
            Times = [Us || _ <- lists:seq(1, 20), {Us, _} <- [timer:tc(Write)]],
            ?assertEqual([], [Us || Us <- [lists:min(Times)], Us >= ?MAX_US])
        end}
     || Format <- [text, openmetrics]
    ].

properties_test_() ->
    [
        {atom_to_list(Property),
            {timeout, 120, fun() ->
                ?assert(
                    proper:quickcheck(prop_erlmcp_native_prometheus:Property(), [
                        {numtests, Times}, {max_size, 30}, quiet, {to_file, user}
                    ])
                )
            end}}
     || {Property, Times} <- [{prop_all_found_again, 500}, {prop_bounds_are_canonical, 5000}]
    ].

%% The table keeps to the rules of Prometheus and OpenMetrics for names.
names_test_() ->
    [
        {binary_to_list(Name), [
            ?_assertEqual(match, re:run(Name, "^erlmcp(_[a-z][a-z0-9]*)+$", [{capture, none}])),
            ?_assertEqual(
                [],
                [
                    Suffix
                 || Suffix <- ["total", "created", "count", "sum", "bucket", "gcount", "gsum", "info"],
                    ends_in(Suffix, Name)
                ]
            ),
            ?_assertEqual([Given || Given <- [Unit], Given =/= none], [Of || Of <- units(), ends_in(Of, Name)]),
            ?_assertEqual(
                [],
                [
                    Label
                 || Label <- Labels,
                    re:run(Label, "^[a-z][a-z_]*$", [{capture, none}]) =/= match orelse
                        lists:member(Label, [~"le", ~"quantile", ~"job", ~"instance"])
                ]
            ),
            ?_assertEqual(Labels, lists:uniq(Labels)),
            ?_assertEqual(match, re:run(Help, "^[A-Z][^\n]*\\.$", [{capture, none}])),
            ?_assert(lists:member(Kind, [counter, gauge, histogram]))
        ]}
     || #{name := Name, kind := Kind, unit := Unit, labels := Labels, help := Help} <- erlmcp_native_metrics:fields()
    ].

%% Neither families nor their samples may be taken for others'.
no_name_twice_test() ->
    Names = lists:append([
        lists:usort([Name | sample_names(Kind, Name)])
     || #{name := Name, kind := Kind} <- erlmcp_native_metrics:fields()
    ]),
    ?assertEqual([], Names -- lists:uniq(Names)).

sample_names(gauge, Name) -> [Name];
sample_names(counter, Name) -> [<<Name/binary, "_total">>];
sample_names(histogram, Name) -> [<<Name/binary, "_", Of/binary>> || Of <- [~"bucket", ~"sum", ~"count"]].

written(Families, Format) ->
    iolist_to_binary(format(Families, Format)).

families() ->
    [
        {field(~"erlmcp_queue_depth", gauge, none, [~"role"], ~"Requests that wait."), [
            {[~"session"], 17}, {[~"transport"], 0}
        ]},
        {field(~"erlmcp_queue_level_seconds", counter, seconds, [~"role", ~"level"], ~"Time at each level."), [
            {[~"session", ~"ok"], 12.5}, {[~"session", ~"warning"], 3}
        ]},
        {field(~"erlmcp_control_latency_seconds", histogram, seconds, [], ~"What senders waited."), [
            {[], #{count => 5, sum => 61.5, buckets => [{1.0e-6, 0}, {0.25, 3}, {1.0, 4}]}}
        ]},
        {field(~"erlmcp_control_component_latency_seconds", histogram, seconds, [~"component"], ~"Of each."), [
            {[~"server"], #{count => 0, sum => 0.0, buckets => []}}
        ]}
    ].

field(Name, Kind, Unit, Labels) ->
    field(Name, Kind, Unit, Labels, ~"Help.").

field(Name, Kind, Unit, Labels, Help) ->
    #{name => Name, kind => Kind, unit => Unit, labels => Labels, help => Help}.

bound(Float) ->
    Histogram = #{count => 0, sum => 0.0, buckets => [{Float, 0}]},
    Body = written([{field(~"erlmcp_a", histogram, none, []), [{[], Histogram}]}], openmetrics),
    {match, [Text]} = re:run(Body, "bucket{le=\"([^+\"][^\"]*)\"", [{capture, all_but_first, binary}]),
    Text.

lines(#{buckets := Buckets}) -> length(Buckets) + 3;
lines(_) -> 1.

is_key(Key, Labels) ->
    lists:keymember(Key, 1, Labels).

units() ->
    [seconds, bytes, ratio].

ends_in(Suffix, Name) ->
    string:find(Name, [$_, to_list(Suffix)], trailing) =:= iolist_to_binary([$_, to_list(Suffix)]).

to_list(Text) when is_atom(Text) -> atom_to_list(Text);
to_list(Text) -> Text.
