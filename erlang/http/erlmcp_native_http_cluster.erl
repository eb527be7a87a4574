-module(erlmcp_native_http_cluster).
-moduledoc """
What `/api/cluster` says: all nodes, as this one has heard of them, and the sums over those that are fresh. With `node`
it is what `/api/summary` says there, which that node is asked for: it has a second, and has to be fresh.
""".

-export([answer/1]).
-export([local/0]).

-import(erlmcp_native_http_json, [text/1]).

-doc "Makes the answer; of a node, by its name, if one was given.".
-spec answer(erlmcp_native_http_query:values()) -> erlmcp_native_http_reply:answer().
answer(#{node := Name}) ->
    #{nodes := Nodes} = erlmcp_overload_cluster:summary(),
    case erlmcp_native_http_query:known(Name, maps:keys(Nodes)) of
        {ok, Node} ->
            asked(erlmcp_overload_cluster:ask(Node, ?MODULE, local, []));
        error ->
            Words = <<"there is no node ", (erlmcp_native_http_query:printable(Name))/binary>>,
            erlmcp_native_http_reply:problem({~"node", Words})
    end;
answer(#{}) ->
    erlmcp_native_http_reply:json(200, all(erlmcp_overload_cluster:summary())).

asked({ok, Summary}) ->
    %% Of another version, it may be anything.
    erlmcp_native_http_reply:json(200, #{summary => erlmcp_native_json:plain(Summary)});
asked({error, timeout}) ->
    erlmcp_native_http_reply:failure(503, ~"the node has not answered within a second");
asked({error, State}) when State =:= stale; State =:= gone; State =:= unknown ->
    erlmcp_native_http_reply:failure(503, <<"the node is ", (text(State))/binary, ", and is not asked">>);
asked({error, {failed, _}}) ->
    erlmcp_native_http_reply:failure(503, ~"the node has failed to answer").

-doc "Returns what another node is told of this one.".
-spec local() -> map().
local() ->
    erlmcp_native_http_json:summary(erlmcp_native_metrics:snapshot()).

all(#{nodes := Nodes, roles := Roles} = Summary) ->
    Summary#{
        at_ms => erlang:system_time(millisecond),
        node => text(node()),
        nodes := [told(Node, Told) || {Node, Told} <- lists:sort(maps:to_list(Nodes))],
        roles := by_name(role, Roles, fun role/1)
    }.

told(Node, #{vsn := Vsn, roles := Roles, rates := Rates, pressure := Pressure} = Told) ->
    Told#{
        node => text(Node),
        vsn := known(Vsn),
        pressure := pressure(Pressure),
        roles := by_name(role, Roles, fun role/1),
        rates := by_name(rate, Rates, fun(PerS) -> #{asked_per_s => PerS} end)
    }.

by_name(Key, Rows, Shown) ->
    [(Shown(Row))#{Key => text(Name)} || {Name, Row} <- lists:sort(maps:to_list(Rows))].

role(#{limit := infinity} = Row) -> Row#{limit := null};
role(Row) -> Row.

pressure(off) -> null;
pressure(Pressure) -> Pressure.

%% It was a binary, and need not be a text.
known(undefined) -> null;
known(Vsn) -> erlmcp_native_json:plain(Vsn).
