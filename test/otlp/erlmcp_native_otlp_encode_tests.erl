%% The JSON of a push, decoded again and compared with what it was made of, and what a collector makes of its names.
-module(erlmcp_native_otlp_encode_tests).

-include_lib("eunit/include/eunit.hrl").

-define(AT_MS, 1795428127578).
-define(LEVELS, [ok, warning, critical, overload]).

%% All kinds of numbers, and names in any script.
snapshot() ->
    #{
        at_ms => ?AT_MS,
        services => #{erlmcp_queue_limits => true, erlmcp_overload_monitor => false, erlmcp_control_plane => true},
        switches => #{limits => true, overload => false, priority => true},
        roles => [
            role(Role, N)
         || {Role, N} <- [{'', 0}, {'a"b\\c\n', 7}, {session, 1 bsl 62}, {'日本\x{10ffff}', 123456789}]
        ],
        rates => [
            #{name => 'a"b\\c\n', keys => 3, max_keys => 4, taken => 1 bsl 62, refused => 0},
            #{name => '日本', keys => 0, max_keys => 1 bsl 32 - 1, taken => 0, refused => 8}
        ],
        control => #{
            latency => distribution(3),
            delivery => distribution(0),
            slo_violations => 5,
            timeouts => 6,
            handler_crashes => 7,
            by_component => #{
                Id => #{
                    by_type => types(N),
                    queued => types(N + 1),
                    latency => distribution(N),
                    rates => #{cancel_task => #{refused => N}}
                }
             || Id := N <- #{server => 1, 'сервер' => 20}
            }
        },
        pressure => #{
            level => 1,
            cause => memory,
            refuses => [sheddable_plus, sheddable],
            since_ms => ?AT_MS - 1000,
            memory => #{
                level => 1, used => 750, limit => 1000, share => 0.75, marks => {0.7, 0.85}, source => machine
            },
            run_queue => #{level => 0, length => 3, schedulers => 2, per_scheduler => 1.5, marks => {4, 8}}
        },
        cancel => #{
            tokens => 21,
            tombstones => 22,
            tombstones_limit => 65536,
            notices => 23,
            cancelled => #{asked => 24, early => 25, owner_down => 26},
            displaced => 27,
            notices_dropped => 28
        },
        self => #{
            owners => 11,
            memory_bytes => 12345678901234,
            alerts_lost => 13,
            wakeups_dropped => 14,
            mailboxes_passed_over => 15
        }
    }.

role(Role, N) ->
    Numbers = lists:enumerate(erlmcp_native_role:numbers()),
    (#{Name => number(Kind, N, Place) || {Place, #{name := Name, kind := Kind}} <- Numbers})#{role := Role}.

number(Kind, N, Place) when Kind =:= ratio; Kind =:= per_s -> N / Place;
number(level, N, _) -> lists:nth(1 + N rem 4, ?LEVELS);
number(by_level, N, Place) -> maps:from_keys(?LEVELS, N + Place);
number(by_alert_level, N, Place) -> maps:from_keys(tl(?LEVELS), N + Place);
number(ms_at_level, N, Place) -> #{since_start => maps:from_keys(?LEVELS, N + Place)};
number(by_reason, N, _) -> [{critical, full, N}, {sheddable, class, 3}];
number(caps, N, _) -> [{total, N, 100}, {bytes, 7, infinity}];
number(by_wait, N, _) -> [{0, N}, {10, 1}, {100, 0}, {1000, N}, {10000, 2}];
number(by_utilization, N, _) -> [{0.0, N}, {0.25, 1}, {0.5, 0}, {0.8, N}, {0.9, 2}, {1.0, 3}];
number(_, N, Place) -> N + Place.

types(N) ->
    #{circuit_breaker => N, health_check => 0, drain_session => N + 1, cancel_task => 2 * N}.

distribution(N) ->
    Below = [{1 bsl Place, N * Place} || Place <- lists:seq(0, 26)],
    #{count => N * 26 + N, sum_us => N * 1234567, below => Below}.

families() ->
    erlmcp_native_metrics:families(snapshot()).

series(Families) ->
    erlmcp_native_otlp_series:update(Families, {?AT_MS, 0}, erlmcp_native_otlp_series:new({1000, 0})).

%% The only resource and its only scope.
decoded(Families, Series, Resource) ->
    Json = iolist_to_binary(erlmcp_native_otlp_encode:request(Families, Series, Resource)),
    #{~"resourceMetrics" := [Resources]} = Map = json:decode(Json),
    #{~"resource" := #{~"attributes" := Attributes}, ~"scopeMetrics" := [Scope]} = Resources,
    ?assertEqual([~"resourceMetrics"], maps:keys(Map)),
    {Attributes, Scope}.

everything_test() ->
    Families = families(),
    {[], #{~"metrics" := Metrics}} = decoded(Families, series(Families), #{}),
    ?assertEqual(length(Families), length(Metrics)),
    [is_metric(Family, Metric) || {Family, Metric} <- lists:zip(Families, Metrics)].

is_metric({#{kind := Kind, help := Help} = Field, Samples}, Metric) ->
    Key = maps:get(Kind, #{gauge => ~"gauge", counter => ~"sum", histogram => ~"histogram"}),
    ?assertEqual(
        #{
            ~"name" => erlmcp_native_otlp_encode:name(Field),
            ~"unit" => erlmcp_native_otlp_encode:unit(Field),
            ~"description" => Help
        },
        maps:remove(Key, Metric)
    ),
    #{Key := #{~"dataPoints" := Points} = Data} = Metric,
    ?assertEqual(
        case Kind of
            gauge -> #{};
            counter -> #{~"aggregationTemporality" => 2, ~"isMonotonic" => true};
            histogram -> #{~"aggregationTemporality" => 2}
        end,
        maps:remove(~"dataPoints", Data)
    ),
    ?assertEqual([point(Field, Sample) || Sample <- Samples], Points).

point(#{kind := Kind, labels := Names}, {Labels, Value}) ->
    Start = [{~"startTimeUnixNano", ~"1000000000"} || Kind =/= gauge],
    maps:merge(
        maps:from_list([
            {~"timeUnixNano", ~"1795428127578000000"},
            {~"attributes", [
                #{~"key" => Name, ~"value" => #{~"stringValue" => Label}} || {Name, Label} <- lists:zip(Names, Labels)
            ]}
            | Start
        ]),
        number(Value)
    ).

number(Value) when is_integer(Value) ->
    #{~"asInt" => integer_to_binary(Value)};
number(Value) when is_float(Value) ->
    #{~"asDouble" => Value};
number(#{count := Count, sum := Sum, buckets := Buckets}) ->
    Ends = [0 | [Cumulative || {_, Cumulative} <- Buckets]] ++ [Count],
    Each = [integer_to_binary(B - A) || {A, B} <- lists:zip(lists:droplast(Ends), tl(Ends))],
    #{
        ~"count" => integer_to_binary(Count),
        ~"sum" => Sum,
        ~"explicitBounds" => [Bound || {Bound, _} <- Buckets],
        ~"bucketCounts" => Each
    }.

%% By hand, from what is known of the snapshot.
histogram_test() ->
    Families = families(),
    {_, #{~"metrics" := Metrics}} = decoded(Families, series(Families), #{}),
    [Point] = [
        Point
     || #{~"name" := ~"erlmcp.control.latency", ~"unit" := ~"s", ~"histogram" := #{~"dataPoints" := [Point]}} <- Metrics
    ],
    #{~"explicitBounds" := Bounds, ~"bucketCounts" := Counts} = Point,
    ?assertEqual([1.0e-6, 2.0e-6, 4.0e-6], lists:sublist(Bounds, 3)),
    ?assertEqual({67.108864, 27}, {lists:last(Bounds), length(Bounds)}),
    ?assertEqual([~"0" | lists:duplicate(27, ~"3")], Counts),
    ?assertMatch(#{~"count" := ~"81", ~"sum" := 3.703701}, Point).

what_is_there_now_test_() ->
    {setup, fun erlmcp_native_test_lib:start/0, fun erlmcp_native_test_lib:stop/1, fun() ->
        [ok = erlmcp_queue_limits:record_enqueue(Role, a) || Role <- [session, 'ü', session]],
        Snapshot = erlmcp_native_metrics:snapshot(),
        Families = erlmcp_native_metrics:families(Snapshot),
        #{at_ms := AtMs} = Snapshot,
        Series = erlmcp_native_otlp_series:update(Families, {AtMs, 5}, erlmcp_native_otlp_series:new({AtMs - 5, 0})),
        {_, #{~"metrics" := Metrics}} = decoded(Families, Series, #{}),
        ?assertEqual(
            [erlmcp_native_otlp_encode:name(Field) || {Field, _} <- Families],
            [Name || #{~"name" := Name} <- Metrics]
        ),
        [Points] = [Points || #{~"name" := ~"erlmcp.queue.enqueued", ~"sum" := #{~"dataPoints" := Points}} <- Metrics],
        ?assertEqual(
            [{~"session", ~"2"}, {~"ü", ~"1"}],
            lists:sort([
                {Role, N}
             || #{~"asInt" := N, ~"attributes" := [#{~"value" := #{~"stringValue" := Role}}]} <- Points, N =/= ~"0"
            ])
        ),
        [
            ?assertEqual({integer_to_binary((AtMs - 5) * 1000000), integer_to_binary(AtMs * 1000000)}, {Start, At})
         || #{~"startTimeUnixNano" := Start, ~"timeUnixNano" := At} <- Points
        ]
    end}.

resource_test() ->
    _ = application:load(erlmcp_native),
    Resource = #{~"a" => ~"ü", ~"b" => 1 bsl 63 - 1, ~"c" => 1.5, ~"d" => true, ~"e" => false, ~"f" => ~""},
    {Attributes, #{~"scope" := Scope, ~"metrics" := []}} = decoded([], series([]), Resource),
    ?assertEqual(
        [
            #{~"key" => ~"a", ~"value" => #{~"stringValue" => ~"ü"}},
            #{~"key" => ~"b", ~"value" => #{~"intValue" => ~"9223372036854775807"}},
            #{~"key" => ~"c", ~"value" => #{~"doubleValue" => 1.5}},
            #{~"key" => ~"d", ~"value" => #{~"boolValue" => true}},
            #{~"key" => ~"e", ~"value" => #{~"boolValue" => false}},
            #{~"key" => ~"f", ~"value" => #{~"stringValue" => ~""}}
        ],
        lists:sort(Attributes)
    ),
    ?assertEqual(#{~"name" => ~"erlmcp_native", ~"version" => erlmcp_native_otlp_options:version()}, Scope).

bodies_test() ->
    Short = binary:copy(~"a", 1024),
    ?assertEqual({identity, Short}, erlmcp_native_otlp_encode:body([Short], gzip)),
    Long = binary:copy(~"a", 1025),
    ?assertEqual({identity, Long}, erlmcp_native_otlp_encode:body([Long], none)),
    {gzip, Packed} = erlmcp_native_otlp_encode:body([Long], gzip),
    ?assertEqual(Long, zlib:gunzip(Packed)).

names_test() ->
    Fields = erlmcp_native_metrics:fields(),
    Names = [erlmcp_native_otlp_encode:name(Field) || Field <- Fields],
    ?assertEqual(length(Fields), length(lists:usort(Names))),
    [?assertMatch({match, _}, re:run(Name, "^erlmcp\\.[a-z0-9]+\\.[a-z0-9_]+$")) || Name <- Names],
    Known = #{
        Name => {erlmcp_native_otlp_encode:name(Field), erlmcp_native_otlp_encode:unit(Field)}
     || #{name := Name} = Field <- Fields
    },
    ?assertMatch(
        #{
            ~"erlmcp_queue_depth" := {~"erlmcp.queue.depth", ~""},
            ~"erlmcp_queue_enqueued" := {~"erlmcp.queue.enqueued", ~""},
            ~"erlmcp_queue_retry_after_seconds" := {~"erlmcp.queue.retry_after", ~"s"},
            ~"erlmcp_queue_utilization_ratio" := {~"erlmcp.queue.utilization", ~"1"},
            ~"erlmcp_native_memory_bytes" := {~"erlmcp.native.memory", ~"By"},
            ~"erlmcp_queue_level" := {~"erlmcp.queue.level", ~""},
            ~"erlmcp_queue_level_seconds" := {~"erlmcp.queue.level_seconds", ~"s"},
            ~"erlmcp_control_latency_seconds" := {~"erlmcp.control.latency", ~"s"}
        },
        Known
    ).

%% The rules of OpenTelemetry's specification for the way to Prometheus lead back to our own names.
prometheus_names_test() ->
    [
        ?assertEqual(
            <<Name/binary, (case Kind of counter -> ~"_total"; _ -> ~"" end)/binary>>,
            prometheus(erlmcp_native_otlp_encode:name(Field), erlmcp_native_otlp_encode:unit(Field), Kind)
        )
     || #{name := Name, kind := Kind} = Field <- erlmcp_native_metrics:fields()
    ].

prometheus(Name, Unit, Kind) ->
    Words = string:lexemes(binary_to_list(Name), "._"),
    WithUnit = append(maps:get(Unit, #{~"" => none, ~"s" => "seconds", ~"By" => "bytes", ~"1" => none}), Words),
    All =
        case {Kind, Unit} of
            {counter, _} -> lists:delete("total", WithUnit) ++ ["total"];
            {gauge, ~"1"} -> lists:delete("ratio", WithUnit) ++ ["ratio"];
            _ -> WithUnit
        end,
    iolist_to_binary(lists:join("_", All)).

append(none, Words) ->
    Words;
append(Unit, Words) ->
    case lists:member(Unit, Words) of
        true -> Words;
        false -> Words ++ [Unit]
    end.
