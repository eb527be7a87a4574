%% What is written can be read again, whatever the names of roles.
-module(prop_erlmcp_native_prometheus).

-include_lib("proper/include/proper.hrl").

-export([prop_all_found_again/0, prop_bounds_are_canonical/0]).

-import(erlmcp_native_prometheus_test_lib, [parse/2, number/1]).

prop_all_found_again() ->
    ?FORALL(
        {Families, Format},
        {families(), oneof([text, openmetrics])},
        begin
            Body = iolist_to_binary(erlmcp_native_prometheus:format(Families, Format)),
            Parsed = parse(Body, Format),
            Expected = [expected(Family, Format) || Family <- Families],
            ?WHENFAIL(io:format("~n~ts~n~p~n~p~n", [Body, Parsed, Expected]), Parsed =:= Expected)
        end
    ).

prop_bounds_are_canonical() ->
    ?FORALL(
        Bound,
        ?SUCHTHAT(
            Float,
            oneof([float(), ?LET({N, E}, {range(-999, 999), range(-12, 12)}, N * math:pow(10, E))]),
            Float /= 0
        ),
        begin
            Histogram = #{count => 0, sum => 0.0, buckets => [{Bound, 0}]},
            Families = [{field(~"a", histogram, none, []), [{[], Histogram}]}],
            Body = iolist_to_binary(erlmcp_native_prometheus:format(Families, text)),
            {match, [Text]} = re:run(Body, "le=\"([^+\"][^\"]*)\"", [{capture, all_but_first, binary}]),
            %% As %g has it, and never without a point or an exponent.
            Form =
                case abs(Bound) >= 1.0e-4 andalso abs(Bound) < 1.0e6 of
                    true -> "^-?(0|[1-9][0-9]*)\\.[0-9]*[0-9]$";
                    false -> "^-?[1-9](\\.[0-9]*[1-9])?e[+-][0-9]{2,3}$"
                end,
            ?WHENFAIL(
                io:format("~n~w ~ts~n", [Bound, Text]),
                number(Text) == Bound andalso re:run(Text, Form, [{capture, none}]) =:= match
            )
        end
    ).

expected({#{name := Name, kind := Kind, unit := Unit, help := Help}, Samples}, Format) ->
    #{
        name =>
            case {Kind, Format} of
                {counter, text} -> <<Name/binary, "_total">>;
                _ -> Name
            end,
        kind => atom_to_binary(Kind),
        unit =>
            case {Unit, Format} of
                {none, _} -> none;
                {_, text} -> none;
                _ -> atom_to_binary(Unit)
            end,
        help => Help,
        samples => [Sample || {Values, Value} <- Samples, Sample <- expected(Kind, Name, labels(Values), Value)]
    }.

expected(gauge, Name, Labels, Value) ->
    [{Name, Labels, Value}];
expected(counter, Name, Labels, Value) ->
    [{<<Name/binary, "_total">>, Labels, Value}];
expected(histogram, Name, Labels, #{count := Count, sum := Sum, buckets := Buckets}) ->
    [
        {<<Name/binary, "_bucket">>, Labels ++ [{~"le", End}], Upto}
     || {End, Upto} <- Buckets ++ [{infinity, Count}]
    ] ++ [{<<Name/binary, "_sum">>, Labels, Sum}, {<<Name/binary, "_count">>, Labels, Count}].

labels(Values) ->
    [{label(N), Value} || {N, Value} <- lists:enumerate(Values)].

label(N) ->
    <<"label_", (integer_to_binary(N))/binary>>.

families() ->
    ?LET(
        Drafts,
        short_list({oneof([gauge, counter, histogram]), oneof([none, seconds, bytes, ratio]), text(), range(0, 3)}),
        [family(N, Draft) || {N, Draft} <- lists:enumerate(Drafts)]
    ).

family(N, {Kind, Unit, Help, Labels}) ->
    Name = <<"erlmcp_family_", (integer_to_binary(N))/binary, (suffix(Unit))/binary>>,
    {field(Name, Kind, Unit, [label(I) || I <- lists:seq(1, Labels)], Help),
        non_empty(short_list({vector(Labels, text()), value(Kind)}))}.

suffix(none) -> <<>>;
suffix(Unit) -> <<"_", (atom_to_binary(Unit))/binary>>.

field(Name, Kind, Unit, Labels) ->
    field(Name, Kind, Unit, Labels, ~"Help.").

field(Name, Kind, Unit, Labels, Help) ->
    #{name => Name, kind => Kind, unit => Unit, labels => Labels, help => Help}.

value(histogram) ->
    ?LET(
        {Bounds, Counts, Sum},
        {list(float(0.0, inf)), non_empty(list(non_neg_integer())), float()},
        begin
            Ends = lists:usort([Bound + 0.0 || Bound <- Bounds]),
            Sorted = lists:sort(Counts),
            Upto = [lists:nth(min(N, length(Sorted)), Sorted) || N <- lists:seq(1, length(Ends))],
            #{count => lists:last(Sorted), sum => Sum, buckets => lists:zip(Ends, Upto)}
        end
    );
value(counter) ->
    oneof([non_neg_integer(), 1 bsl 63, float(0.0, inf)]);
value(gauge) ->
    oneof([integer(), float()]).

%% With more of what has to be escaped than chance would have.
text() ->
    Escaped = oneof([~"\\", ~"\"", ~"\n", ~"\r", ~"\\n", ~"}", ~",", ~"=", ~"#", <<0>>, ~" "]),
    ?LET(Parts, short_list(oneof([utf8(), Escaped])), iolist_to_binary(Parts)).

short_list(Type) ->
    ?LET(N, range(0, 8), vector(N, Type)).
