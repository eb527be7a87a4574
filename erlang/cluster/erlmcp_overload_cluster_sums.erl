-module(erlmcp_overload_cluster_sums).
-moduledoc """
Sums over what nodes have told of their roles. They are kept: when a node tells something else, comes or goes, only what
it told is taken out and put in, however many others there are.

What was added can be subtracted again; of the least limit and the worst level that is not so. Therefore it is kept how
many nodes have told each of them.

```erlang
1> Row = #{depth => 3, limit => 10, owners => 1, refused => 0, level => ok},
   One = erlmcp_overload_cluster_sums:replace(#{}, #{session => Row}, erlmcp_overload_cluster_sums:new()),
   Two = erlmcp_overload_cluster_sums:replace(#{}, #{session => Row#{limit := 5, level := critical}}, One).
2> erlmcp_overload_cluster_sums:rows(Two).
#{session => #{depth => 6,level => critical,limit => 5,nodes => 2,owners => 2,refused => 0}}
3> erlmcp_overload_cluster_sums:replace(#{session => Row#{limit := 5, level := critical}}, #{}, Two) =:= One.
true
```
""".

-export([new/0, replace/3, rows/1]).

-export_type([sums/0, told/0, row/0]).

-doc "These are the sums of each role that at least one node has told of.".
-opaque sums() :: #{
    erlmcp_queue_limits:role() => {
        Nodes :: pos_integer(),
        Depth :: non_neg_integer(),
        Owners :: non_neg_integer(),
        Refused :: non_neg_integer(),
        counts(erlmcp_queue_limits:limit()),
        counts(erlmcp_overload_monitor:status())
    }
}.
-doc "This is what one node has told of its roles.".
-type told() :: #{erlmcp_queue_limits:role() => erlmcp_overload_cluster_message:role()}.
-doc "A role is shown with what all nodes together have of it.".
-type row() :: #{
    %% Sums.
    depth := non_neg_integer(),
    owners := non_neg_integer(),
    refused := non_neg_integer(),
    %% The least of any.
    limit := erlmcp_queue_limits:limit(),
    %% The worst of any.
    level := erlmcp_overload_monitor:status(),
    %% How many have told of it.
    nodes := pos_integer()
}.

-type counts(Of) :: #{Of => pos_integer()}.

-doc "Returns sums over nobody.".
-spec new() -> sums().
new() ->
    #{}.

-doc "Takes out what a node told before, and puts in what it tells now: nothing, in either, is an empty map.".
-spec replace(Before :: told(), Now :: told(), sums()) -> sums().
replace(Before, Now, Sums) ->
    Out = fun
        (Role, _, So) when is_map_key(Role, Now) -> So;
        (Role, Row, So) -> out(Role, Row, So)
    end,
    In = fun(Role, Row, So) ->
        case Before of
            #{Role := Row} -> So;
            #{Role := Last} -> change(Role, Last, Row, So);
            #{} -> in(Role, Row, So)
        end
    end,
    maps:fold(In, maps:fold(Out, Sums, Before), Now).

in(Role, #{depth := Depth, limit := Limit, owners := Owners, refused := Refused, level := Level}, Sums) ->
    {N, D, O, R, Limits, Levels} = maps:get(Role, Sums, {0, 0, 0, 0, #{}, #{}}),
    Sums#{Role => {N + 1, D + Depth, O + Owners, R + Refused, more(Limit, Limits), more(Level, Levels)}}.

out(Role, #{depth := Depth, limit := Limit, owners := Owners, refused := Refused, level := Level}, Sums) ->
    case Sums of
        #{Role := {1, _, _, _, _, _}} ->
            maps:remove(Role, Sums);
        #{Role := {N, D, O, R, Limits, Levels}} ->
            Sums#{Role := {N - 1, D - Depth, O - Owners, R - Refused, less(Limit, Limits), less(Level, Levels)}}
    end.

change(Role, Before, #{depth := Depth, limit := Limit, owners := Owners, refused := Refused, level := Level}, Sums) ->
    #{Role := {N, D, O, R, Limits, Levels}} = Sums,
    #{depth := WasD, limit := WasLimit, owners := WasO, refused := WasR, level := WasLevel} = Before,
    Sums#{
        Role := {
            N,
            D + Depth - WasD,
            O + Owners - WasO,
            R + Refused - WasR,
            other(WasLimit, Limit, Limits),
            other(WasLevel, Level, Levels)
        }
    }.

other(Same, Same, Counts) -> Counts;
other(Before, Now, Counts) -> more(Now, less(Before, Counts)).

more(Of, Counts) ->
    case Counts of
        #{Of := Count} -> Counts#{Of := Count + 1};
        #{} -> Counts#{Of => 1}
    end.

less(Of, Counts) ->
    case Counts of
        #{Of := 1} -> maps:remove(Of, Counts);
        #{Of := Count} -> Counts#{Of := Count - 1}
    end.

-doc "Returns the sums as they are shown.".
-spec rows(sums()) -> #{erlmcp_queue_limits:role() => row()}.
rows(Sums) ->
    #{Role => row(Sum) || Role := Sum <- Sums}.

row({Nodes, Depth, Owners, Refused, Limits, Levels}) ->
    #{
        depth => Depth,
        owners => Owners,
        refused => Refused,
        %% Any number is less than an atom.
        limit => lists:min(maps:keys(Limits)),
        level => worst(Levels),
        nodes => Nodes
    }.

worst(#{overload := _}) -> overload;
worst(#{critical := _}) -> critical;
worst(#{warning := _}) -> warning;
worst(#{ok := _}) -> ok.
