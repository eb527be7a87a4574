-module(erlmcp_native_otlp_encode).
-moduledoc """
Metrics as the JSON that OTLP over HTTP takes: one `ExportMetricsServiceRequest` with one resource and one scope.

Names and units are OpenTelemetry's: the first two words are the namespace, and the unit, in UCUM, is not in the
name. What a collector's Prometheus exporter makes of them is what `erlmcp_native_metrics` calls them, and so what
`/metrics` says:

| Prometheus | OTLP | unit | as |
| --- | --- | --- | --- |
| `erlmcp_queue_depth` | `erlmcp.queue.depth` | | gauge |
| `erlmcp_queue_enqueued_total` | `erlmcp.queue.enqueued` | | monotonic sum |
| `erlmcp_queue_retry_after_seconds` | `erlmcp.queue.retry_after` | `s` | gauge |
| `erlmcp_queue_utilization_ratio` | `erlmcp.queue.utilization` | `1` | gauge |
| `erlmcp_native_memory_bytes` | `erlmcp.native.memory` | `By` | gauge |
| `erlmcp_control_latency_seconds` | `erlmcp.control.latency` | `s` | histogram |
| `erlmcp_queue_level_seconds_total` | `erlmcp.queue.level_seconds` | `s` | monotonic sum |

The last keeps its unit, since there is an `erlmcp.queue.level`; the exporter does not append what is there. A number
of things has no unit: `1` would make a ratio of it.

Counters and histograms are cumulative, since when `m:erlmcp_native_otlp_series` knows. The bounds of OTLP's buckets
are the highest values in them, those of ours the lowest above. As latencies are whole microseconds, the fraction
dropped, and bounds are too, this is the same for all but latencies of exactly a bound, to the nanosecond.
""".

-export([request/3, body/2, name/1, unit/1]).

-doc "Makes the request, as JSON, of families and of the series that belong to them.".
-spec request(
    [erlmcp_native_metrics:family()],
    erlmcp_native_otlp_series:series(),
    Resource :: #{binary() => erlmcp_native_otlp_options:attribute()}
) -> iodata().
request(Families, Series, Resource) ->
    Scope = #{name => ~"erlmcp_native", version => erlmcp_native_otlp_options:version()},
    json:encode(#{
        resourceMetrics => [
            #{
                resource => #{attributes => attributes(maps:to_list(Resource))},
                scopeMetrics => [
                    #{scope => Scope, metrics => [metric(Family, Series) || Family <- Families]}
                ]
            }
        ]
    }).

-doc "Makes the body of a push, with its content-encoding. Less than a kilobyte is not compressed.".
-spec body(iodata(), gzip | none) -> {gzip | identity, binary()}.
body(Json, Compression) ->
    case Compression =:= gzip andalso iolist_size(Json) > 1024 of
        true -> {gzip, zlib:gzip(Json)};
        false -> {identity, iolist_to_binary(Json)}
    end.

-doc "Returns what OpenTelemetry calls a metric.".
-spec name(erlmcp_native_metrics:field()) -> binary().
name(#{name := Name} = Field) ->
    Short = without_unit(Field),
    Fields = erlmcp_native_metrics:fields(),
    Taken = Short =/= Name andalso lists:any(fun(#{name := Other}) -> Other =:= Short end, Fields),
    [App, Space | Words] = binary:split(case Taken of true -> Name; false -> Short end, ~"_", [global]),
    iolist_to_binary([App, $., Space, $., lists:join($_, Words)]).

-doc "Returns the unit of a metric in UCUM, empty if it has none.".
-spec unit(erlmcp_native_metrics:field()) -> binary().
unit(#{unit := none}) -> <<>>;
unit(#{unit := seconds}) -> ~"s";
unit(#{unit := bytes}) -> ~"By";
unit(#{unit := ratio}) -> ~"1".

without_unit(#{name := Name, unit := none}) ->
    Name;
without_unit(#{name := Name, unit := Unit}) ->
    Suffix = <<$_, (atom_to_binary(Unit))/binary>>,
    [Short, <<>>] = binary:split(Name, Suffix),
    Short.

metric({#{kind := Kind, help := Help, labels := Labels} = Field, Samples}, Series) ->
    Points = [point(Field, Labels, Sample, Series) || Sample <- Samples],
    #{name => name(Field), description => Help, unit => unit(Field), data(Kind) => points(Kind, Points)}.

data(gauge) -> gauge;
data(counter) -> sum;
data(histogram) -> histogram.

%% 2 is cumulative.
points(gauge, Points) -> #{dataPoints => Points};
points(counter, Points) -> #{dataPoints => Points, aggregationTemporality => 2, isMonotonic => true};
points(histogram, Points) -> #{dataPoints => Points, aggregationTemporality => 2}.

point(#{name := Name, kind := Kind}, LabelNames, {Labels, Value}, Series) ->
    Point = #{
        attributes => attributes(lists:zip(LabelNames, Labels)),
        timeUnixNano => nanoseconds(erlmcp_native_otlp_series:at_ms(Series))
    },
    case Kind of
        gauge -> maps:merge(Point, value(Value));
        _ -> maps:merge(Point#{startTimeUnixNano => start(Name, Labels, Series)}, value(Value))
    end.

start(Name, Labels, Series) ->
    nanoseconds(erlmcp_native_otlp_series:start_ms(Name, Labels, Series)).

value(#{count := Count, sum := Sum, buckets := Buckets}) ->
    {Bounds, Cumulative} = lists:unzip(Buckets),
    #{
        count => integer_to_binary(Count),
        sum => Sum,
        explicitBounds => Bounds,
        bucketCounts => [integer_to_binary(N) || N <- each(Cumulative ++ [Count], 0)]
    };
value(Value) when is_integer(Value) ->
    #{asInt => integer_to_binary(Value)};
value(Value) when is_float(Value) ->
    #{asDouble => Value}.

each([Cumulative | Rest], Below) -> [Cumulative - Below | each(Rest, Cumulative)];
each([], _) -> [].

attributes(Attributes) ->
    [#{key => Key, value => attribute(Value)} || {Key, Value} <- Attributes].

attribute(Text) when is_binary(Text) -> #{stringValue => Text};
attribute(Flag) when is_boolean(Flag) -> #{boolValue => Flag};
attribute(Number) when is_integer(Number) -> #{intValue => integer_to_binary(Number)};
attribute(Number) when is_float(Number) -> #{doubleValue => Number}.

nanoseconds(Ms) ->
    integer_to_binary(Ms * 1000000).
