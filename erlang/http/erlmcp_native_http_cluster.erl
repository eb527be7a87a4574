-module(erlmcp_native_http_cluster).
-moduledoc """
What `/api/cluster` says: all nodes, as this one has heard of them, and the sums over those that are fresh. With `node`
it is what `/api/summary` says there, which that node is asked for: it has a second, and has to be fresh. `not_reached`
has those nodes to which control messages of this one came to nothing within the last hour (`m:erlmcp_control_fates`).
""".

-export([answer/1, ask/4]).
-export([local/0]).

-import(erlmcp_native_http_json, [text/1]).

-doc "Makes the answer; of a node, by its name, if one was given.".
-spec answer(erlmcp_native_http_query:values()) -> erlmcp_native_http_reply:answer().
answer(#{node := Name}) ->
    case ask(Name, ?MODULE, local, []) of
        {ok, Summary} -> erlmcp_native_http_reply:json(200, #{summary => Summary});
        {error, Answer} -> Answer
    end;
answer(#{}) ->
    erlmcp_native_http_reply:json(200, all(erlmcp_overload_cluster:summary())).

-doc """
Calls a function on the node of this name, which has a second and has to be fresh, and returns what it said, as JSON has
it, or what to answer instead. Of another version, what it said may be anything.
""".
-spec ask(Name :: binary(), module(), Function :: atom(), Args :: [term()]) ->
    {ok, erlmcp_native_json:plain()} | {error, erlmcp_native_http_reply:answer()}.
ask(Name, Module, Function, Args) ->
    #{nodes := Nodes} = erlmcp_overload_cluster:summary(),
    case erlmcp_native_http_query:known(Name, maps:keys(Nodes)) of
        {ok, Node} ->
            case erlmcp_overload_cluster:ask(Node, Module, Function, Args) of
                {ok, Said} -> {ok, erlmcp_native_json:plain(Said)};
                {error, Reason} -> {error, erlmcp_native_http_reply:failure(503, words(Reason))}
            end;
        error ->
            Words = <<"there is no node ", (erlmcp_native_http_query:printable(Name))/binary>>,
            {error, erlmcp_native_http_reply:problem({~"node", Words})}
    end.

words(timeout) -> ~"the node has not answered within a second";
words({failed, _}) -> ~"the node has failed to answer";
words(State) -> <<"the node is ", (text(State))/binary, ", and is not asked">>.

-doc "Returns what another node is told of this one.".
-spec local() -> map().
local() ->
    erlmcp_native_http_json:summary(erlmcp_native_metrics:snapshot()).

all(#{nodes := Nodes, roles := Roles} = Summary) ->
    Summary#{
        at_ms => erlang:system_time(millisecond),
        node => text(node()),
        nodes := [told(Node, Told) || {Node, Told} <- lists:sort(maps:to_list(Nodes))],
        not_reached => by_name(node, erlmcp_control_fates:read(), fun(Row) -> Row end),
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
