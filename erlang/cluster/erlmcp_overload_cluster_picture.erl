-module(erlmcp_overload_cluster_picture).
-moduledoc """
What is known of all nodes of a cluster, as one of them sees it: who was heard when, and the sums over those that count.
It is a value; whoever has it says what time it is, in milliseconds of any clock that never goes back.

A node is `fresh` until it was not heard for 3 s or its connection is lost, then `stale`, and `gone` when it was not
heard for 15 s. Only fresh ones are in a sum. What is gone stays known for an hour, so that somebody who looks sees
that it is missing, and there are at most 2048: of those that are not fresh the one goes that was not heard for longest.

```erlang
1> Told = erlmcp_overload_cluster_message:read(#{roles => [{session, 3, 10, 1, 0, ok}]}),
   Heard = erlmcp_overload_cluster_picture:heard(a@host, 1000, Told, erlmcp_overload_cluster_picture:new()),
   View = erlmcp_overload_cluster_picture:view(2000, Heard).
2> #{counted := Counted, roles := Roles} = erlmcp_overload_cluster_picture:read(2500, View), Counted.
#{fresh => 1,gone => 0,stale => 0}
3> Roles.
#{session => #{depth => 3,level => ok,limit => 10,nodes => 1,owners => 1,refused => 0}}
4> #{counted := Later, roles := None} = erlmcp_overload_cluster_picture:read(4000, View), {Later, None}.
{#{fresh => 0,gone => 0,stale => 1},#{}}
```
""".

-export([new/0, heard/4, lost/2, forget/2, drop/2, fresh/2, demands/2, view/2, read/2]).

-export_type([picture/0, view/0, state/0, node_row/0, role_row/0, summary/0]).

-doc "This is what is known of all nodes.".
-opaque picture() :: #{node() => heard()}.
-doc "This is a picture as it is read: with the sums over those that are fresh until a moment.".
-opaque view() :: {[{node(), heard()}], Roles :: #{erlmcp_queue_limits:role() => role_row()}, UntilMs :: integer()}.
-doc "A state says whether what is known of a node is true.".
-type state() :: fresh | stale | gone.
-doc "This is what a node has told last, and how long ago.".
-type node_row() :: #{
    state := state(),
    age_ms := non_neg_integer(),
    vsn := binary() | undefined,
    roles := #{erlmcp_queue_limits:role() => erlmcp_overload_cluster_message:role()},
    pressure := #{level := 0..2, cause := none | memory | run_queue} | off,
    %% What was asked a second of each rate of all nodes together.
    rates := #{erlmcp_overload_rate:name() => float()}
}.
-doc "A role is shown with what the fresh nodes have of it.".
-type role_row() :: #{
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
-doc "A summary shows all nodes, and sums over those that are fresh.".
-type summary() :: #{
    nodes := #{node() => node_row()},
    roles := #{erlmcp_queue_limits:role() => role_row()},
    %% How many nodes are in each state: the first of them are in the sums.
    counted := #{state() => non_neg_integer()}
}.

%% When it was heard last, whether its connection is lost since, and what it told.
-type heard() :: {AtMs :: integer(), Lost :: boolean(), erlmcp_overload_cluster_message:told()}.

-define(STALE_MS, 3000).
-define(GONE_MS, 15000).
-define(FORGET_MS, 3600000).
-define(MOST, 2048).
%% There is nobody to wait for.
-define(NEVER_MS, (1 bsl 62)).

-doc "Returns a picture of nobody.".
-spec new() -> picture().
new() ->
    #{}.

-doc "Takes in what a node tells. Of one more than there may be it is nothing, unless another makes room.".
-spec heard(node(), NowMs :: integer(), erlmcp_overload_cluster_message:told(), picture()) -> picture().
heard(Node, NowMs, Told, Picture) when is_map_key(Node, Picture); map_size(Picture) < ?MOST ->
    Picture#{Node => {NowMs, false, Told}};
heard(Node, NowMs, Told, Picture) ->
    {_, Oldest} = lists:min([{AtMs, Other} || Other := {AtMs, _, _} <- Picture]),
    case state(NowMs, maps:get(Oldest, Picture)) of
        fresh -> Picture;
        _ -> (maps:remove(Oldest, Picture))#{Node => {NowMs, false, Told}}
    end.

-doc "Notes that the connection to a node is lost: what it told is stale from now on.".
-spec lost(node(), picture()) -> picture().
lost(Node, Picture) ->
    case Picture of
        #{Node := {AtMs, _, Told}} -> Picture#{Node := {AtMs, true, Told}};
        #{} -> Picture
    end.

-doc "Forgets those that were not heard for an hour.".
-spec forget(NowMs :: integer(), picture()) -> picture().
forget(NowMs, Picture) ->
    #{Node => Heard || Node := {AtMs, _, _} = Heard <- Picture, NowMs - AtMs < ?FORGET_MS}.

-doc "Drops a node, for one that has another name now.".
-spec drop(node(), picture()) -> picture().
drop(Node, Picture) ->
    maps:remove(Node, Picture).

-doc "Returns what the nodes that are fresh have told.".
-spec fresh(NowMs :: integer(), picture()) -> [erlmcp_overload_cluster_message:told()].
fresh(NowMs, Picture) ->
    [Told || _ := {_, _, Told} = Heard <- Picture, state(NowMs, Heard) =:= fresh].

-doc "Returns what a node has told of rates.".
-spec demands(node(), picture()) -> #{erlmcp_overload_rate:name() => float()}.
demands(Node, Picture) ->
    case Picture of
        #{Node := {_, _, #{rates := Rates}}} -> Rates;
        #{} -> #{}
    end.

-doc "Adds up what is fresh, for many to read.".
-spec view(NowMs :: integer(), picture()) -> view().
view(NowMs, Picture) ->
    Until = [AtMs + ?STALE_MS || _ := {AtMs, _, _} = Heard <- Picture, state(NowMs, Heard) =:= fresh],
    {maps:to_list(Picture), sums(fresh(NowMs, Picture)), lists:min([?NEVER_MS | Until])}.

-doc """
Reads a view at a later moment. A node that has become stale by then is in no sum, although nobody has made another
view.
""".
-spec read(NowMs :: integer(), view()) -> summary().
read(NowMs, {Entries, Sums, UntilMs}) ->
    Nodes = #{Node => shown(NowMs, Heard) || {Node, Heard} <- Entries},
    Roles =
        case NowMs < UntilMs of
            true -> Sums;
            false -> sums([Told || {_, {_, _, Told} = Heard} <- Entries, state(NowMs, Heard) =:= fresh])
        end,
    States = [State || _ := #{state := State} <- Nodes],
    Counted = #{State => length([Of || Of <- States, Of =:= State]) || State <- [fresh, stale, gone]},
    #{nodes => Nodes, roles => Roles, counted => Counted}.

shown(NowMs, {AtMs, _, Told} = Heard) ->
    Told#{state => state(NowMs, Heard), age_ms => max(0, NowMs - AtMs)}.

state(NowMs, {AtMs, _, _}) when NowMs - AtMs >= ?GONE_MS -> gone;
state(NowMs, {AtMs, Lost, _}) when Lost; NowMs - AtMs >= ?STALE_MS -> stale;
state(_, _) -> fresh.

sums(Told) ->
    lists:foldl(fun(#{roles := Roles}, Sums) -> maps:fold(fun add/3, Sums, Roles) end, #{}, Told).

add(Role, #{depth := Depth, limit := Limit, owners := Owners, refused := Refused, level := Level} = Row, Sums) ->
    case Sums of
        #{Role := Sum} ->
            #{depth := D, limit := L, owners := O, refused := R, level := Worst, nodes := Nodes} = Sum,
            Sums#{
                Role := #{
                    depth => D + Depth,
                    %% Any number is less than an atom.
                    limit => min(L, Limit),
                    owners => O + Owners,
                    refused => R + Refused,
                    level => worse(Worst, Level),
                    nodes => Nodes + 1
                }
            };
        #{} ->
            Sums#{Role => Row#{nodes => 1}}
    end.

worse(Level, Level) ->
    Level;
worse(One, Other) ->
    case severity(One) >= severity(Other) of
        true -> One;
        false -> Other
    end.

severity(ok) -> 0;
severity(warning) -> 1;
severity(critical) -> 2;
severity(overload) -> 3.
