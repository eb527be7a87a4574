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

-export([new/0, heard/4, lost/2, age/2, drop/2, fresh/2, demands/2, view/2, read/2, moments/1, counted/2]).

-export_type([picture/0, view/0, moments/0, state/0, counted/0, node_row/0, role_row/0, summary/0]).

-doc "This is what is known of all nodes, and the sums over those that count.".
-opaque picture() :: {#{node() => heard()}, erlmcp_overload_cluster_sums:sums()}.
-doc "A picture as it is read: what is true of it until a moment, and what it takes to know what is true then.".
-opaque view() :: {
    [{node(), AtMs :: integer(), IsCounted :: boolean(), node_row()}],
    Roles :: #{erlmcp_queue_limits:role() => role_row()},
    UntilMs :: integer(),
    erlmcp_overload_cluster_sums:sums()
}.
-doc "This is when each node was heard, which is all that it takes to count them.".
-opaque moments() :: [{AtMs :: integer(), IsCounted :: boolean()}].
-doc "A state says whether what is known of a node is true.".
-type state() :: fresh | stale | gone.
-doc "This is how many nodes are in each state.".
-type counted() :: #{state() => non_neg_integer()}.
-doc "This is what a node has told last, and how long ago.".
-type node_row() :: #{
    state := state(),
    age_ms := non_neg_integer(),
    vsn := binary() | undefined,
    roles := #{erlmcp_queue_limits:role() => erlmcp_overload_cluster_message:role()},
    pressure := #{level := 0..2, cause := none | memory | run_queue} | off,
    %% What was asked a second of each rate of all nodes together.
    rates := #{erlmcp_overload_rate:name() => float()},
    %% Those of which the node does not know it yet, if there are any.
    unknown => #{erlmcp_overload_rate:name() => rate}
}.
-doc "A role is shown with what the fresh nodes have of it.".
-type role_row() :: erlmcp_overload_cluster_sums:row().
-doc "A summary shows all nodes, and sums over those that are fresh.".
-type summary() :: #{
    nodes := #{node() => node_row()},
    roles := #{erlmcp_queue_limits:role() => role_row()},
    %% Those that are fresh are in the sums.
    counted := counted()
}.

%% When it was heard last, whether it is in the sums, and what it told. One that is not in the sums is not fresh.
-type heard() :: {AtMs :: integer(), IsCounted :: boolean(), erlmcp_overload_cluster_message:told()}.

-define(STALE_MS, 3000).
-define(GONE_MS, 15000).
-define(FORGET_MS, 3600000).
-define(MOST, 2048).
%% There is nobody to wait for.
-define(NEVER_MS, (1 bsl 62)).

-doc "Returns a picture of nobody.".
-spec new() -> picture().
new() ->
    {#{}, erlmcp_overload_cluster_sums:new()}.

-doc "Takes in what a node tells. Of one more than there may be it is nothing, unless another makes room.".
-spec heard(node(), NowMs :: integer(), erlmcp_overload_cluster_message:told(), picture()) -> picture().
heard(Node, NowMs, Told, {Nodes, _} = Picture) when is_map_key(Node, Nodes); map_size(Nodes) < ?MOST ->
    put(Node, {NowMs, true, Told}, Picture);
heard(Node, NowMs, Told, {Nodes, _} = Picture) ->
    {AtMs, IsCounted, Oldest} = lists:min([{AtMs, IsCounted, Other} || Other := {AtMs, IsCounted, _} <- Nodes]),
    case state(NowMs, AtMs, IsCounted) of
        fresh -> Picture;
        _ -> put(Node, {NowMs, true, Told}, drop(Oldest, Picture))
    end.

-doc "Notes that the connection to a node is lost: what it told is stale from now on.".
-spec lost(node(), picture()) -> picture().
lost(Node, {Nodes, _} = Picture) ->
    case Nodes of
        #{Node := {AtMs, true, Told}} -> put(Node, {AtMs, false, Told}, Picture);
        #{} -> Picture
    end.

-doc "Takes out of the sums those that are not fresh any more, and forgets those that were not heard for an hour.".
-spec age(NowMs :: integer(), picture()) -> picture().
age(NowMs, {Nodes, _} = Picture) ->
    Late = [Node || Node := {AtMs, true, _} <- Nodes, NowMs - AtMs >= ?STALE_MS],
    Past = [Node || Node := {AtMs, _, _} <- Nodes, NowMs - AtMs >= ?FORGET_MS],
    lists:foldl(fun drop/2, lists:foldl(fun lost/2, Picture, Late), Past).

-doc "Drops a node, for one that has another name now.".
-spec drop(node(), picture()) -> picture().
drop(Node, Picture) ->
    {Nodes, Sums} = lost(Node, Picture),
    {maps:remove(Node, Nodes), Sums}.

put(Node, Heard, {Nodes, Sums}) ->
    Before = maps:get(Node, Nodes, none),
    {Nodes#{Node => Heard}, erlmcp_overload_cluster_sums:replace(summed(Before), summed(Heard), Sums)}.

summed({_, true, #{roles := Roles}}) -> Roles;
summed(_) -> #{}.

-doc "Returns what the nodes that are fresh have told.".
-spec fresh(NowMs :: integer(), picture()) -> [erlmcp_overload_cluster_message:told()].
fresh(NowMs, {Nodes, _}) ->
    [Told || _ := {AtMs, IsCounted, Told} <- Nodes, state(NowMs, AtMs, IsCounted) =:= fresh].

-doc "Returns what a node has told of rates.".
-spec demands(node(), picture()) -> #{erlmcp_overload_rate:name() => float()}.
demands(Node, {Nodes, _}) ->
    case Nodes of
        #{Node := {_, _, #{rates := Rates}}} -> Rates;
        #{} -> #{}
    end.

-doc "Makes ready what many read.".
-spec view(NowMs :: integer(), picture()) -> view().
view(NowMs, Picture) ->
    {Nodes, Sums} = age(NowMs, Picture),
    Entries = [{Node, At, Is, Told#{state => fresh, age_ms => 0}} || Node := {At, Is, Told} <- Nodes],
    UntilMs = lists:min([?NEVER_MS | [AtMs + ?STALE_MS || _ := {AtMs, true, _} <- Nodes]]),
    {Entries, erlmcp_overload_cluster_sums:rows(Sums), UntilMs, Sums}.

-doc """
Reads a view at a later moment. A node that has become stale by then is in no sum, although nobody has made another
view.
""".
-spec read(NowMs :: integer(), view()) -> summary().
read(NowMs, {Entries, Rows, UntilMs, Sums}) ->
    Nodes = [{Node, shown(NowMs, AtMs, IsCounted, Row)} || {Node, AtMs, IsCounted, Row} <- Entries],
    Roles =
        case NowMs < UntilMs of
            true -> Rows;
            false -> erlmcp_overload_cluster_sums:rows(lists:foldl(fun without/2, Sums, late(NowMs, Entries)))
        end,
    #{nodes => maps:from_list(Nodes), roles => Roles, counted => count([State || {_, #{state := State}} <- Nodes])}.

-doc "Returns when each node was heard.".
-spec moments(picture()) -> moments().
moments({Nodes, _}) ->
    [{AtMs, IsCounted} || _ := {AtMs, IsCounted, _} <- Nodes].

-doc "Counts nodes by when they were heard, as `read/2` does of a whole picture.".
-spec counted(NowMs :: integer(), moments()) -> counted().
counted(NowMs, Moments) ->
    count([state(NowMs, AtMs, IsCounted) || {AtMs, IsCounted} <- Moments]).

count(States) ->
    Count = fun(State, Counted) -> maps:update_with(State, fun(Before) -> Before + 1 end, Counted) end,
    lists:foldl(Count, #{fresh => 0, stale => 0, gone => 0}, States).

shown(NowMs, AtMs, IsCounted, Row) ->
    Row#{state := state(NowMs, AtMs, IsCounted), age_ms := max(0, NowMs - AtMs)}.

late(NowMs, Entries) ->
    [Roles || {_, AtMs, true, #{roles := Roles}} <- Entries, NowMs - AtMs >= ?STALE_MS].

without(Roles, Sums) ->
    erlmcp_overload_cluster_sums:replace(Roles, #{}, Sums).

state(NowMs, AtMs, _) when NowMs - AtMs >= ?GONE_MS -> gone;
state(NowMs, AtMs, IsCounted) when not IsCounted; NowMs - AtMs >= ?STALE_MS -> stale;
state(_, _, _) -> fresh.
