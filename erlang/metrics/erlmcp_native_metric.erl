-module(erlmcp_native_metric).
-moduledoc """
One metric of the table of `m:erlmcp_native_metrics`: what there is to know of it, and how its values are read from a
snapshot.
""".

-export([field/3, sums/1, word/1, flags/1, components/1]).

-export_type([metric/0]).

-doc "A metric is a field, and what reads its values.".
-type metric() :: {
    erlmcp_native_metrics:field(), fun((erlmcp_native_metrics:snapshot()) -> [erlmcp_native_metrics:sample()])
}.

-doc "Makes a metric; its name goes without the prefix that all have.".
-spec field(
    {erlmcp_native_metrics:kind(), Name :: binary(), erlmcp_native_metrics:unit(), Labels :: [binary()]},
    Help :: binary(),
    fun((erlmcp_native_metrics:snapshot()) -> [erlmcp_native_metrics:sample()])
) -> metric().
field({Kind, Name, Unit, Labels}, Help, Read) ->
    {#{name => <<"erlmcp_", Name/binary>>, kind => Kind, unit => Unit, help => Help, labels => Labels}, Read}.

-doc "Adds up what is counted of the same.".
-spec sums([{Of, number()}]) -> #{Of => number()}.
sums(Counted) ->
    lists:foldl(
        fun({Of, Count}, Sums) -> maps:update_with(Of, fun(Sum) -> Sum + Count end, Count, Sums) end, #{}, Counted
    ).

-doc "Returns the text of a name.".
-spec word(atom()) -> binary().
word(Atom) ->
    atom_to_binary(Atom).

-doc "Returns a sample for each of some flags, by name.".
-spec flags(#{atom() => boolean()}) -> [erlmcp_native_metrics:sample()].
flags(Flags) ->
    [{[word(Name)], case Flag of true -> 1; false -> 0 end} || {Name, Flag} <- lists:sort(maps:to_list(Flags))].

-doc "Returns the components of a control plane with their rows, by name.".
-spec components(erlmcp_native_metrics:control_row()) -> [{atom(), map()}].
components(#{by_component := Rows}) ->
    lists:sort(maps:to_list(Rows)).
