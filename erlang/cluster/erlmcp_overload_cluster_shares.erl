-module(erlmcp_overload_cluster_shares).
-moduledoc """
How much is asked of each rate of all nodes together, and which share of it a node has. It is a value: whoever has it
brings the counts, the time, and what the others have told.

The demand is what is asked for a second, granted or not; half of it is of the last look, and half of those before.

The share is rate × (0.1 / N + 0.9 × K / N × demand / Σ demand), where K is how many nodes are heard, this one
included, and N how many there are when all are there, or K if that is more. Σ is over those that are heard; where
nobody asks, each has as much as any other. One that does not know yet what is asked of it has its Nth, and so it is as
if it were not heard. So all shares together are K / N of the rate: all of it while all are
there, and in a split each part has what its nodes have, whatever they ask for. What a node that has just begun to be
asked can grant at once is its part of the first tenth.

```erlang
1> erlmcp_overload_cluster_shares:share(30.0, 40.0, 2, 2).
725000000
2> [erlmcp_overload_cluster_shares:share(Demand, 40.0, 2, 4) || Demand <- [30.0, 10.0]].
[362500000,137500000]
```
""".

-export([new/0, asked/3, demands/1, unknown/1, shares/3, share/4, is_another/2]).

-export_type([meter/0, parts/0]).

-doc "This is what is known of what is asked.".
-opaque meter() :: #{
    erlmcp_overload_rate:name() => {Asked :: non_neg_integer(), AtMs :: integer(), DemandPerS :: float() | unknown}
}.
-doc "A share is in parts of 10^9.".
-type parts() :: 1..1000000000.

-define(WHOLE, 1_000_000_000).
%% Where the library's count begins anew.
-define(WRAP, (1 bsl 64)).
-define(EVEN, 0.1).
%% What is asked in less says little. It is less than any interval.
-define(LEAST_MS, 50).
%% A change by less is none.
-define(TOLERANCE, 0.01).

-doc "Returns one that knows nothing yet.".
-spec new() -> meter().
new() ->
    #{}.

-doc """
Takes in how much was asked of each rate by now. Of one that is seen for the first time nothing is known yet, nor of one
whose count has gone back, since it was defined anew. A look within 50 ms of the last is none: one request in a
millisecond is not a thousand a second.
""".
-spec asked(NowMs :: integer(), [{erlmcp_overload_rate:name(), Asked :: non_neg_integer()}], meter()) -> meter().
asked(NowMs, Asked, Meter) ->
    #{Name => look(NowMs, Count, maps:get(Name, Meter, none)) || {Name, Count} <- Asked}.

look(NowMs, Count, none) ->
    {Count, NowMs, unknown};
look(NowMs, _, {_, AtMs, _} = Before) when NowMs - AtMs < ?LEAST_MS ->
    Before;
look(NowMs, Count, {Last, AtMs, Before}) ->
    case (Count - Last + ?WRAP) rem ?WRAP of
        Back when Back >= ?WRAP div 2 ->
            {Count, NowMs, unknown};
        Asked ->
            PerS = 1000 * Asked / (NowMs - AtMs),
            {Count, NowMs, case Before of unknown -> PerS; _ -> (PerS + Before) / 2 end}
    end.

-doc "Returns the demands that are known, the highest first.".
-spec demands(meter()) -> [{erlmcp_overload_rate:name(), DemandPerS :: float()}].
demands(Meter) ->
    Known = [{-PerS, Name} || Name := {_, _, PerS} <- Meter, is_float(PerS)],
    [{Name, abs(PerS)} || {PerS, Name} <- lists:sort(Known)].

-doc "Returns the rates of which it is not known yet what is asked.".
-spec unknown(meter()) -> [{erlmcp_overload_rate:name(), unknown}].
unknown(Meter) ->
    [{Name, unknown} || Name := {_, _, unknown} <- Meter].

-doc """
Returns the shares of a node that has told these demands, of the rates that it knows something of; `Fresh` is what all
have told that are heard, the node itself included.
""".
-spec shares(Own :: #{erlmcp_overload_rate:name() => float()}, Fresh :: [#{rates := map(), _ => _}], {
    Nodes :: pos_integer(), meter()
}) -> [{erlmcp_overload_rate:name(), parts()}].
shares(Own, Fresh, {Nodes, Meter}) ->
    All = max(Nodes, length(Fresh)),
    [
        {Name, share(maps:get(Name, Own, 0.0), sum(Name, Fresh), heard(Name, Fresh), All)}
     || {Name, _} <- demands(Meter)
    ].

heard(Name, Fresh) ->
    max(1, length([known || Told <- Fresh, not is_map_key(Name, maps:get(unknown, Told, #{}))])).

sum(Name, Fresh) ->
    lists:sum([maps:get(Name, Rates, 0.0) || #{rates := Rates} <- Fresh]).

-doc "Returns the share of a node of which so much is asked, of so much in all, of the nodes that are heard.".
-spec share(DemandPerS :: float(), Sum :: float(), Heard :: pos_integer(), Nodes :: pos_integer()) -> parts().
share(Demand, Sum, Heard, Nodes) ->
    All = max(Heard, Nodes),
    Part = case Sum > 0 of true -> Demand / Sum; false -> 1 / Heard end,
    Share = ?EVEN / All + (1 - ?EVEN) * Heard / All * Part,
    max(1, min(?WHOLE, round(?WHOLE * Share))).

-doc "Tells whether a share differs from another by so much that it is worth a change: by more than a hundredth.".
-spec is_another(parts(), parts()) -> boolean().
is_another(Parts, Before) ->
    abs(Parts - Before) > ?TOLERANCE * Before.
