-module(erlmcp_native_prometheus).
-moduledoc """
Metrics as Prometheus reads them: its text format 0.0.4, or OpenMetrics 1.0.0.

Counters get their `_total`, histograms their `_bucket`, `_sum` and `_count`, and help texts and label values are
escaped: a role or component may have any name. Bounds of buckets are written alike in both formats, so that a
scraper that changes from one to the other finds the same series.

```erlang
1> Families = erlmcp_native_metrics:collect().
2> io:put_chars(erlmcp_native_prometheus:format(Families, text)).
```

prints

```output
# HELP erlmcp_queue_depth Requests that wait, over all owners of the role.
# TYPE erlmcp_queue_depth gauge
erlmcp_queue_depth{role="default"} 0
...
```
""".

-export([format/2, content_type/1]).

-export_type([format/0]).

-doc "A format is one of the two that Prometheus reads.".
-type format() :: text | openmetrics.

-doc "Formats all families as the body of a response, in UTF-8. Raises `badarg` for another format.".
-spec format([erlmcp_native_metrics:family()], format()) -> iodata().
format(Families, text) ->
    [family(Family, text) || Family <- Families];
format(Families, openmetrics) ->
    [[family(Family, openmetrics) || Family <- Families], ~"# EOF\n"];
format(Families, Format) ->
    erlmcp_native_error:raise(bad_format, {?MODULE, ?FUNCTION_NAME, [Families, Format]}).

-doc "Returns the content type of a response in a format. Raises `badarg` for another format.".
-spec content_type(format()) -> binary().
content_type(text) -> ~"text/plain; version=0.0.4; charset=utf-8";
content_type(openmetrics) -> ~"application/openmetrics-text; version=1.0.0; charset=utf-8";
content_type(Format) -> erlmcp_native_error:raise(bad_format, {?MODULE, ?FUNCTION_NAME, [Format]}).

family({#{name := Name, kind := Kind, labels := Labels} = Field, Samples}, Format) ->
    Parts = label_parts(Labels),
    [header(Field, Format) | [sample(Kind, Name, label_pairs(Parts, Values), Value) || {Values, Value} <- Samples]].

header(#{name := Name, kind := counter, help := Help}, text) ->
    descriptors([Name, ~"_total"], ~"counter", none, escape_help(Help));
header(#{name := Name, kind := Kind, help := Help}, text) ->
    descriptors(Name, atom_to_binary(Kind), none, escape_help(Help));
header(#{name := Name, kind := Kind, unit := Unit, help := Help}, openmetrics) ->
    descriptors(Name, atom_to_binary(Kind), Unit, escape(Help)).

descriptors(Name, Type, Unit, Help) ->
    [
        [~"# HELP ", Name, $\s, Help, $\n],
        [~"# TYPE ", Name, $\s, Type, $\n],
        [[~"# UNIT ", Name, $\s, atom_to_binary(Unit), $\n] || Unit =/= none]
    ].

sample(gauge, Name, Pairs, Value) ->
    line(Name, Pairs, number(Value));
sample(counter, Name, Pairs, Value) ->
    line([Name, ~"_total"], Pairs, number(Value));
sample(histogram, Name, Pairs, #{count := Count, sum := Sum, buckets := Buckets}) ->
    Bucket = [Name, ~"_bucket"],
    [
        [line(Bucket, [Pairs, le(Pairs, bound(End))], integer_to_binary(Upto)) || {End, Upto} <- Buckets],
        line(Bucket, [Pairs, le(Pairs, ~"+Inf")], integer_to_binary(Count)),
        line([Name, ~"_sum"], Pairs, number(Sum)),
        line([Name, ~"_count"], Pairs, integer_to_binary(Count))
    ].

line(Name, [], Value) ->
    [Name, $\s, Value, $\n];
line(Name, Pairs, Value) ->
    [Name, ${, Pairs, ~"} ", Value, $\n].

le([], Bound) -> [~"le=\"", Bound, $"];
le(_, Bound) -> [~",le=\"", Bound, $"].

%% What stands before each value.
label_parts([]) -> [];
label_parts([First | Rest]) -> [<<First/binary, "=\"">> | [<<"\",", Label/binary, "=\"">> || Label <- Rest]].

label_pairs([], []) -> [];
label_pairs(Parts, Values) -> [[[Part, escape(Value)] || Part <- Parts && Value <- Values], $"].

escape_help(Help) ->
    <<<<(escaped_help(Byte))/binary>> || <<Byte>> <= Help>>.

escaped_help($") -> ~"\"";
escaped_help(Byte) -> escaped(Byte).

%% Most values need none.
escape(Text) ->
    case is_plain(Text) of
        true -> Text;
        false -> <<<<(escaped(Byte))/binary>> || <<Byte>> <= Text>>
    end.

is_plain(<<Byte, Rest/binary>>) when Byte =/= $\\, Byte =/= $", Byte =/= $\n -> is_plain(Rest);
is_plain(Rest) -> Rest =:= <<>>.

escaped($\\) -> ~B"\\";
escaped($") -> ~B(\");
escaped($\n) -> ~B"\n";
escaped(Byte) -> <<Byte>>.

number(Value) when is_integer(Value) -> integer_to_binary(Value);
number(Value) -> float_to_binary(Value, [short]).

%% The canonical text of a float: 1e-06, 0.00025, 0.5, 1.0, 100000.0, 1e+06.
bound(Float) when Float == 0 ->
    ~"0.0";
bound(Float) when Float < 0 ->
    [$- | bound(-Float)];
bound(Float) ->
    [Mantissa | Exponent] = binary:split(float_to_binary(Float, [short]), ~"e"),
    [Whole, Fraction] = binary:split(Mantissa, ~"."),
    Significant = string:trim(<<Whole/binary, Fraction/binary>>, leading, "0"),
    %% Where the point is, counted from the first significant digit.
    Point = byte_size(Significant) - byte_size(Fraction) + lists:sum([binary_to_integer(E) || E <- Exponent]),
    case string:trim(Significant, trailing, "0") of
        Digits when Point < -3; Point > 6 -> scientific(Digits, Point - 1);
        Digits -> decimal(Digits, Point)
    end.

scientific(<<First, Rest/binary>>, Exponent) ->
    Sign = case Exponent < 0 of true -> $-; false -> $+ end,
    [First, [[$., Rest] || Rest =/= <<>>], $e, Sign, string:pad(integer_to_binary(abs(Exponent)), 2, leading, $0)].

decimal(Digits, Point) when Point =< 0 ->
    [~"0.", binary:copy(~"0", -Point), Digits];
decimal(Digits, Point) when Point >= byte_size(Digits) ->
    [Digits, binary:copy(~"0", Point - byte_size(Digits)), ~".0"];
decimal(Digits, Point) ->
    <<Whole:Point/binary, Fraction/binary>> = Digits,
    [Whole, $., Fraction].
