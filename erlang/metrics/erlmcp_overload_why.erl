-module(erlmcp_overload_why).
-moduledoc """
Why a role or an owner refuses, as a verdict and lines below it. `m:erlmcp_overload` prints them at a shell; over HTTP
`/api/why` has them, and the page shows them.

```erlang
1> erlmcp_queue_limits:set_limit(tool_executor, 0).
2> Snapshot = erlmcp_native_metrics:snapshot().
3> {Verdict, Lines} = erlmcp_overload_why:role(tool_executor, Snapshot).
4> Verdict.
"tool_executor refuses everything: its limit is 0"
5> proplists:get_value("free", Lines).
"when the limit is raised"
```
""".

-export([missing/1, is_counted/2, role/2, owner/3]).

-export_type([said/0]).

-import(erlmcp_overload_text, [words/2, list/1, rate/1, clock/1, ago/1, duration/1]).

-define(ALERTS, 3).
-define(L, erlmcp_queue_limits).
-define(M, erlmcp_overload_monitor).

-doc "What is said is a verdict and, by their names, lines that say more. All are in Unicode, and each is one line.".
-type said() :: {Verdict :: string(), [{Name :: string(), Words :: string()}]}.

-doc "Returns the services that are not started without which nothing can be said.".
-spec missing(erlmcp_native_metrics:snapshot()) -> [module()].
missing(#{services := Services}) ->
    [Name || Name := false <- Services, Name =/= erlmcp_control_plane].

-doc "Tells whether anything was ever counted for a role.".
-spec is_counted(?L:role(), erlmcp_native_metrics:snapshot()) -> boolean().
is_counted(Role, Snapshot) ->
    row(Role, Snapshot) =/= none.

-doc "Says why a role refuses, or that it does not, and `none` of one for which nothing was ever counted.".
-spec role(?L:role(), erlmcp_native_metrics:snapshot()) -> said() | none.
role(Role, Snapshot) ->
    case row(Role, Snapshot) of
        none ->
            none;
        Row ->
            case Role =:= node andalso erlmcp_overload_node:pressure() of
                #{} = Pressure -> of_node(Row, Pressure, alerts(Role, any));
                _ -> of_role(Row, ?M:queues(Role, #{top => ?ALERTS}), alerts(Role, any))
            end
    end.

-doc "Says why an owner is refused in a role, or that it is not, and `none` if nothing was ever counted for the role.".
-spec owner(?L:role(), ?L:owner_key(), erlmcp_native_metrics:snapshot()) -> said() | none.
owner(Role, Owner, Snapshot) ->
    case row(Role, Snapshot) of
        none -> none;
        Row -> of_owner(Row, erlmcp_overload_answers:of_owner(Role, Owner), alerts(Role, Owner))
    end.

row(Role, #{roles := Rows, switches := Switches}) ->
    case [Row || #{role := Of} = Row <- Rows, Of =:= Role] of
        [Row] -> Row#{switches => Switches};
        [] -> none
    end.

alerts(Role, Owner) ->
    Of = [Alert || #{process := Process} = Alert <- ?M:get_alert_history(Role), Owner =:= any orelse Process =:= Owner],
    lists:sublist(Of, ?ALERTS).

of_node(Row, #{since_ms := SinceMs} = Pressure, Alerts) ->
    Since = words("~s (~s ago)", [clock(SinceMs), ago(SinceMs)]),
    Rest = [{"since", Since}, {"level", level(Row)}, {"alerts", list([alert(Alert) || Alert <- Alerts])}],
    {erlmcp_overload_strain:verdict(Pressure), erlmcp_overload_strain:lines(Pressure) ++ Rest}.

of_role(#{role := Role, limit := Limit} = Row, Fullest, Alerts) ->
    Depth = lists:max([0 | [D || #{depth := D} <- Fullest]]),
    Outlook = outlook(Role, Depth),
    Verdict =
        case Outlook of
            open -> "refuses nothing: limits are switched off";
            unlimited -> words("refuses nothing: it has no limit; the fullest owner has ~b", [Depth]);
            closed -> "refuses everything: its limit is 0";
            {crowded, _} -> "refuses all that is counted: all owners together have as many as they may";
            {room, _} -> words("has room: the fullest owner has ~ts", [of_limit(Depth, Limit)]);
            _Full -> words("refuses what comes for a full owner: the fullest has ~ts", [of_limit(Depth, Limit)])
        end,
    Lines = [
        {"drains", drains(Row)},
        {"free", free(Outlook)},
        {"level", level(Row)},
        {"fullest", list([full(Process, D, Limit) || #{process := Process, depth := D} <- Fullest, D > 0])},
        {"alerts", list([alert(Alert) || Alert <- Alerts])}
        | signs(Role, erlmcp_overload_answers:of_rows([Full || #{depth := D} = Full <- Fullest, D > 0]))
    ],
    First = strain() ++ [{"owners", owners(Row)}, {"refusals", refusals(Row)} | erlmcp_overload_bounds:lines(Row)],
    {words("~tp ~ts", [Role, Verdict]), First ++ Lines}.

of_owner(#{role := Role} = Row, {Owner, Depth, Said} = Asked, Alerts) ->
    {Limit, DrainPerS, WaitMs, SojournMs, StalledMs} = own(Role, Owner),
    Outlook = outlook(Role, Owner, Depth),
    Is =
        case Outlook of
            open -> "is not refused: limits are switched off";
            unlimited -> "is not refused: the role has no limit";
            {room, Places} -> words("has room for ~b", [Places]);
            {crowded, _} -> "is refused, as all owners together have as many as they may";
            _Refused -> "is refused"
        end,
    Lines = [
        {"drains", own_drains(DrainPerS, drains(Row))},
        {"waits", waits(WaitMs, SojournMs)},
        {"stalled", stalled(StalledMs)},
        {"free", free(Outlook)},
        {"alerts", list([alert(Alert) || Alert <- Alerts])}
        | signs(Role, [Asked])
    ],
    First = strain() ++ [{"refusals", refusals(Row) ++ ", of the role"} | erlmcp_overload_bounds:lines(Row)],
    Verdict = words("~tp in ~tp ~ts: it has ~ts~ts", [Owner, Role, Is, of_limit(Depth, Limit), fate(Said)]),
    {Verdict, First ++ Lines}.

strain() ->
    [{"node", Words} || Words <- erlmcp_overload_strain:of_role()].

signs(Role, Owners) ->
    [{atom_to_list(Kind), Sentence} || {Kind, Sentence} <- erlmcp_overload_signs:of_owners(Role, Owners)].

own(Role, Owner) ->
    case erlmcp_native:limits_owner(own, Role, Owner) of
        {_, _, _, _, _} = Known -> Known;
        _StoppedMeanwhile -> erlmcp_native_error:raise(not_started, {?MODULE, owner, [Role, Owner]})
    end.

outlook(Role, Depth) ->
    outlook_is(Role, erlmcp_native:limits_outlook(own, Role, Depth)).

outlook(Role, Owner, Depth) ->
    outlook_is(Role, erlmcp_native:limits_outlook(own, Role, Owner, Depth)).

outlook_is(Role, Is) ->
    case Is of
        Outlook when Outlook =:= open; Outlook =:= unlimited; Outlook =:= closed; is_tuple(Outlook) -> Outlook;
        _StoppedMeanwhile -> erlmcp_native_error:raise(not_started, {?MODULE, role, [Role]})
    end.

fate(undefined) -> "; it is dead, and holds nothing";
fate(_) -> "".

owners(#{owners := 0}) ->
    "none";
owners(#{owners := Owners, owners_by_level := ByLevel}) ->
    words("~b: ~s", [Owners, list([words("~b ~s", [N, Level]) || {Level, N} <- by_level(ByLevel), N > 0])]).

refusals(#{refused := 0}) ->
    "none";
refusals(#{refused := InAll, refused_per_s := PerS} = Row) ->
    words("~s a second, ~b in all~ts", [rate(PerS), InAll, when_refused(Row)]).

when_refused(#{refusing_since_ms := Since, last_refused_ms := Last}) when is_integer(Since), is_integer(Last) ->
    words("; since ~s (~s ago), the last ~s ago", [clock(Since), ago(Since), ago(Last)]);
when_refused(_) ->
    "".

drains(#{drained_per_s := PerS}) when PerS == 0 ->
    "nothing was taken out in the last ten seconds";
drains(#{drained_per_s := PerS}) ->
    words("~s a second, all owners together", [rate(PerS)]).

own_drains(undefined, OfRole) -> OfRole;
own_drains(PerS, _) -> words("~s a second while any wait", [rate(PerS)]).

waits(undefined, _) -> "not known";
waits(WaitMs, SojournMs) ->
    words("one that comes now for about ~s; the last one that was marked waited ~s", [
        duration(WaitMs), duration(SojournMs)
    ]).

stalled(undefined) -> "not known";
stalled(0) -> "no";
stalled(Ms) -> words("nobody was taken out for ~s, and somebody waits", [duration(Ms)]).

free(Outlook) when Outlook =:= open; Outlook =:= unlimited -> "now";
free({room, _}) -> "now";
free(closed) -> "when the limit is raised";
free({stuck, Ms}) -> words("unknown: nothing drains; refused callers are told ~b s", [Ms div 1000]);
free({crowded, Ms}) -> words("when enough have left, of whichever owners: in about ~s; an estimate", [duration(Ms)]);
free({full, Ms}) -> words("in about ~s, as refused callers are told; an estimate", [duration(Ms)]).

level(#{level := Level, breaker := Breaker, ms_at_level := #{last_hour := Hour}, switches := #{overload := Judged}}) ->
    Times = [words("~s at ~s", [duration(Ms), L]) || {L, Ms} <- lists:reverse(by_level(Hour)), L =/= ok],
    Off = case Judged of true -> ""; false -> "; alerts are switched off" end,
    words("~s; in the last hour ~ts; breaker ~s~s", [Level, list(Times), Breaker, Off]).

full(Process, Depth, Limit) ->
    words("~tp ~ts", [Process, of_limit(Depth, Limit)]).

of_limit(Depth, infinity) -> words("~b without a limit", [Depth]);
of_limit(Depth, Limit) -> words("~b of ~b", [Depth, Limit]).

alert(#{level := Level, process := Process, depth := Depth, limit := Limit, timestamp := At}) ->
    words("~s ~s ~ts", [clock(At), Level, full(Process, Depth, Limit)]).

by_level(ByLevel) ->
    [{Level, maps:get(Level, ByLevel)} || Level <- erlmcp_native_role:levels()].
