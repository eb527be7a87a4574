-module(erlmcp_native_demo_overload).
-moduledoc """
What the same overload came to with a fixed limit and with one in milliseconds, and a node that is short of memory:
beside each other.
""".

-export([lines/1]).

-export_type([limits/0]).

-import(erlmcp_native_demo_text, [short/1, ms/1, left/2, right/2]).

%% The memory may be gone only after its phase.
-define(COLUMNS, [
    {"a fixed limit", [fixed]}, {"{wait, 500}", [wait]}, {"pressure, recovery", [pressure, recovery]}
]).

-doc "These are the least and the most that any executor's own limit was at the end of a phase.".
-type limits() :: #{
    erlmcp_native_demo_meter:phase() => {erlmcp_queue_limits:limit(), erlmcp_queue_limits:limit()}
}.

-doc "Makes the table, and a line of how soon the node refused and was over it.".
-spec lines(erlmcp_native_demo_promises:facts()) -> [erlmcp_native_demo_text:line()].
lines(#{sample := #{tally := Tally, waits := Waits}, limits := Limits, pressed := Pressed}) ->
    [
        [{bold, [left("overload", 22) | [right(Title, 19) || {Title, _} <- ?COLUMNS]]}],
        row("limits at the end", fun([Phase | _]) -> limits(maps:get(Phase, Limits)) end),
        row("accepted: waited, p99", fun(Phases) -> waited([maps:get({ordinary, Phase}, Waits) || Phase <- Phases]) end)
    ] ++
        [
            row([atom_to_list(Class), " served"], fun(Phases) -> served(Class, maps:with(Phases, Tally)) end)
         || Class <- [critical, sheddable]
        ] ++
        refused(lists:usort(lists:append([maps:keys(reasons(Phases, Tally)) || {_, Phases} <- ?COLUMNS])), Tally) ++
        lists:append([pressed(One) || One <- Pressed]).

row(Name, Value) ->
    [left(Name, 22) | [right(Value(Phases), 19) || {_, Phases} <- ?COLUMNS]].

refused([], _Tally) ->
    [];
refused(Refused, Tally) ->
    [
        ["refused, by reason:"]
        | [
            row(["  ", atom_to_list(Class), ", ", atom_to_list(Reason)], fun(Phases) ->
                short(maps:get({Class, Reason}, reasons(Phases, Tally), 0))
            end)
         || {Class, Reason} <- Refused
        ]
    ].

reasons(Phases, Tally) ->
    erlmcp_native_demo_tally:reasons(Phases, Tally).

limits({Same, Same}) -> short(Same);
limits({Least, Most}) -> [short(Least), " to ", short(Most)].

waited(Waits) ->
    case [Us || #{count := Count, p99_us := Us} <- Waits, Count > 0] of
        [] -> "-";
        P99s -> ms(lists:max(P99s))
    end.

served(Class, Tally) ->
    [Answered, Offered] = [erlmcp_native_demo_tally:total(What, Class, Tally) || What <- [answered, offered]],
    [short(Answered), " of ", short(Offered)].

pressed(#{bytes := Bytes, share := Share, memory_limit := Limit, cause := Cause} = Pressed) ->
    #{refused_us := Refused, served_us := Served} = Pressed,
    [
        [io_lib:format("With ~s MB more, ~b % of ~s MB, the node refused ", [
            short(Bytes bsr 20), round(Share * 100), short(Limit bsr 20)
        ]), seen(Refused), " after its mark,"],
        ["for ", atom_to_list(Cause), "; it served all again ", seen(Served), " after these were gone."]
    ].

seen(not_seen) -> "(not seen)";
seen(Us) -> ms(Us).
