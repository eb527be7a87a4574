-module(erlmcp_overload_cluster_message).
-moduledoc """
What nodes of a cluster tell each other of themselves: `{erlmcp_overload_cluster, Version, Node, Map}`, of at most 4096
bytes.

| key | value |
| --- | --- |
| `vsn` | the version of this application there, a binary |
| `roles` | `{Role, Depth, Limit, Owners, Refused, Level}` of the fullest roles, the fullest first: 64, or as many as fit |
| `pressure` | `{Level, Cause}` of what presses the node, or `off` |
| `rates` | `{Name, DemandPerS}` of the rates of all nodes together; `{Name, unknown}` before it is known |

It is read by other versions than the one that has made it. So no key ever changes its meaning; a key, or an element at
the end of a row, that is not known is passed over, and what is missing is as if there were none. Nor is anything
believed: what is not as it should be, in a key or in a row, is left out, and the rest counts.

```erlang
1> Row = {session, 3, 10, 1, 0, ok},
   {erlmcp_overload_cluster, 1, _, Map} = erlmcp_overload_cluster_message:make(
       #{vsn => ~"0.1.0", roles => [Row], pressure => off, rates => []}
   ).
2> Told = erlmcp_overload_cluster_message:read(Map#{roles := [Row, {odd, -1}], another => key}), maps:get(roles, Told).
#{session => #{depth => 3,level => ok,limit => 10,owners => 1,refused => 0}}
```
""".

-export([make/1, read/1]).

-export_type([message/0, own/0, told/0, role/0, row/0]).

-doc "A message is what travels.".
-type message() :: {erlmcp_overload_cluster, Version :: pos_integer(), node(), map()}.
-doc "A row is what travels of a role.".
-type row() :: {
    erlmcp_queue_limits:role(),
    Depth :: non_neg_integer(),
    erlmcp_queue_limits:limit(),
    Owners :: non_neg_integer(),
    Refused :: non_neg_integer(),
    erlmcp_overload_monitor:status()
}.
-doc "This is what a node has to tell, the fullest roles first.".
-type own() :: #{
    vsn := binary() | undefined,
    roles := [row()],
    pressure := {0..2, none | memory | run_queue} | off,
    rates := [{erlmcp_overload_rate:name(), DemandPerS :: number() | unknown}]
}.
-doc "A role is shown with the numbers of all its owners on one node.".
-type role() :: #{
    depth := non_neg_integer(),
    limit := erlmcp_queue_limits:limit(),
    owners := non_neg_integer(),
    refused := non_neg_integer(),
    level := erlmcp_overload_monitor:status()
}.
-doc "This is what a node has told, as far as it makes sense.".
-type told() :: #{
    vsn := binary() | undefined,
    roles := #{erlmcp_queue_limits:role() => role()},
    pressure := #{level := 0..2, cause := none | memory | run_queue} | off,
    rates := #{erlmcp_overload_rate:name() => DemandPerS :: float()},
    %% Those of which it does not know yet what is asked, if there are any.
    unknown => #{erlmcp_overload_rate:name() => rate}
}.

-define(VERSION, 1).
-define(MOST_BYTES, 4096).
-define(MOST_ROWS, 64).
%% What a list takes beside its elements.
-define(LIST_BYTES, 6).
-define(MOST, (1 bsl 60)).
-define(MOST_PER_S, 1.0e15).
-define(MOST_VSN, 32).

-doc "Makes a node's message. Rates come before roles where not all have room.".
-spec make(own()) -> message().
make(#{vsn := Vsn, roles := Roles, pressure := Pressure, rates := Rates}) ->
    Bare = message(#{vsn => Vsn, pressure => Pressure, roles => [], rates => []}),
    Room = ?MOST_BYTES - erlang:external_size(Bare) - 2 * ?LIST_BYTES,
    {Told, Left} = fitting(Rates, Room, ?MOST_ROWS),
    {Rows, _} = fitting(Roles, Left, ?MOST_ROWS),
    message(#{vsn => Vsn, pressure => Pressure, roles => Rows, rates => Told}).

message(Map) ->
    {erlmcp_overload_cluster, ?VERSION, node(), Map}.

%% The first that fit, whatever is behind them.
fitting([Row | Rest], Room, Most) when Most > 0 ->
    case Room - erlang:external_size(Row) of
        Left when Left >= 0 ->
            {Rows, AtLast} = fitting(Rest, Left, Most - 1),
            {[Row | Rows], AtLast};
        _ ->
            {[], Room}
    end;
fitting(_, Room, _) ->
    {[], Room}.

-doc "Reads the map of a message, whoever has made it.".
-spec read(term()) -> told().
read(Map) when is_map(Map) ->
    Rates = maps:get(rates, Map, []),
    Told = #{
        vsn => vsn(maps:get(vsn, Map, undefined)),
        roles => rows(fun role/1, maps:get(roles, Map, [])),
        pressure => pressure(maps:get(pressure, Map, off)),
        rates => rows(fun rate/1, Rates)
    },
    case rows(fun unknown/1, Rates) of
        None when map_size(None) =:= 0 -> Told;
        Unknown -> Told#{unknown => Unknown}
    end;
read(_) ->
    read(#{}).

vsn(Vsn) when is_binary(Vsn), byte_size(Vsn) =< ?MOST_VSN -> binary:copy(Vsn);
vsn(_) -> undefined.

pressure({Level, Cause}) when
    is_integer(Level), Level >= 0, Level =< 2, (Cause =:= none orelse Cause =:= memory orelse Cause =:= run_queue)
->
    #{level => Level, cause => Cause};
pressure(_) ->
    off.

rows(Read, List) ->
    maps:from_list(rows(Read, List, ?MOST_ROWS)).

rows(Read, [Row | Rest], Most) when Most > 0 ->
    case Read(Row) of
        {_, _} = Pair -> [Pair | rows(Read, Rest, Most - 1)];
        none -> rows(Read, Rest, Most - 1)
    end;
rows(_, _, _) ->
    [].

role(Row) when is_tuple(Row), tuple_size(Row) >= 6 ->
    Role = element(1, Row),
    Shown = #{
        depth => element(2, Row),
        limit => element(3, Row),
        owners => element(4, Row),
        refused => element(5, Row),
        level => element(6, Row)
    },
    case is_atom(Role) andalso is_shown(Shown) of
        true -> {Role, Shown};
        false -> none
    end;
role(_) ->
    none.

is_shown(#{depth := Depth, limit := Limit, owners := Owners, refused := Refused, level := Level}) ->
    is_count(Depth) andalso (Limit =:= infinity orelse is_count(Limit)) andalso is_count(Owners) andalso
        is_count(Refused) andalso lists:member(Level, [ok, warning, critical, overload]).

is_count(Count) ->
    is_integer(Count) andalso Count >= 0 andalso Count =< ?MOST.

rate(Row) when is_tuple(Row), tuple_size(Row) >= 2, is_atom(element(1, Row)), is_number(element(2, Row)) ->
    case element(2, Row) of
        PerS when PerS >= 0 -> {element(1, Row), min(PerS, ?MOST_PER_S) * 1.0};
        _ -> none
    end;
rate(_) ->
    none.

unknown({Name, unknown}) when is_atom(Name) -> {Name, rate};
unknown(_) -> none.
