-module(erlmcp_overload).
-moduledoc """
For a person at a shell, at three in the morning: which queues are fullest, why a role, an owner or a rate refuses, and
when that is likely to be over. Looks, and changes nothing.

```erlang
1> erlmcp_queue_limits:set_limit(tool_executor, 3).
2> [erlmcp_queue_limits:try_enqueue(tool_executor, self()) || _ <- lists:seq(1, 4)].
3> erlmcp_overload_monitor:force_check().
4> erlmcp_overload:why(tool_executor).
```

prints

```output
tool_executor refuses what comes for a full owner: the fullest has 3 of 3
  owners      1: 1 overload
  refusals    0.1 a second, 1 in all; since 03:12:44 (2.1 s ago), the last 2.1 s ago
  reasons     1 critical (full)
  drains      nothing was taken out in the last ten seconds
  free        unknown: nothing drains; refused callers are told 1 s
  level       overload; in the last hour 2.1 s at overload, 0 ms at critical, 0 ms at warning; breaker open
  fullest     <0.142.0> 3 of 3
  alerts      03:12:44 overload <0.142.0> 3 of 3
  sign        <0.142.0> is full, and its mailbox is empty: unless its queue is elsewhere, places were not given back
  remedy      a permit gives its place back by itself: acquire/2; erlmcp_overload_mailbox limits a mailbox as it is
```

`free` is what `retry_after_ms` says. Of an owner whose pace was measured it is the time in which as many drain as are
in the way; of others the time in which they drain from each of the role's owners, at the rate of the last ten seconds
or since it began to drain, if that is less. Nothing drains: it is a second, and the consumer may
be stuck.

Of an owner, `why/2` also says how fast it drains, for how long a request waits for it, and how long nobody was taken
out: see `t:erlmcp_overload_monitor:queue_info/0`, whose numbers `top/0` shows as well.

What bounds the role beside a number is said where it was set: `wait`, a limit in milliseconds; `reserve`, what lower
classes may not use; `caps`, what all owners together have of what they may. `reasons` has the refusals by class and
reason (`t:erlmcp_queue_limits:reason/0`).

While the node itself refuses (`m:erlmcp_overload_node`) a line `node` says what, and for how much memory or run queue;
`why(node)` says more of that.

Of a rate (`m:erlmcp_overload_rate`) `why/1` says what it allows, how much it refuses and takes, how many keys it knows,
and who has used most of it: `emptiest`, three keys. `why/2` says of a key whether it is refused, and when the next
comes. Keys are shown as they are: to whoever has a shell of the node. The name of a component shows the rates of its
control messages, and `why(cancel)` how many tasks can be cancelled and how many cancellations came early
(`m:erlmcp_control_cancel`). Where several have one name, all are shown. So `why(api)` prints, say,

```text
the rate api refuses 1 of 14 keys now, which have nothing left
  allows      10 a second to each key, 20 at once after a pause
  refusals    3.4 a second, 1203 in all; since 03:12:44 (2 min 1 s ago), the last 412 ms ago
  takes       98 a second, 120456 in all, costs added up
  keys        14 of 1000000; further ones share one bucket
  emptiest    <<"tenant-7">>: 0 of 20 left, the next in 64 ms, all in 2.0 s
  emptiest    <<"tenant-3">>: 16 of 20 left, all in 312 ms
```

`top/0` ends with the rates that refuse now, or have most of the keys that they may, and with early cancellations when
nearly as many are remembered as may be.

`sign` is what tells of a count that was kept wrongly, if anything does: an owner that is full while its mailbox is
empty, an atom that is counted as an owner and is the name of a process, dequeues that found nothing to take. `silent`
says who does not answer when it is asked for its mailbox, which it has 100 ms for.
""".

-export([top/0, top/1, why/1, why/2]).
-export([top_text/0, top_text/1, why_text/1, why_text/2]).

-import(erlmcp_overload_text, [words/2, line/2, rate/1, duration/1]).

-define(STALLED_MS, 1000).
-define(ROWS, 10).
-define(L, erlmcp_queue_limits).
-define(M, erlmcp_overload_monitor).

-doc "Prints the ten fullest owners of all roles, and the rates that refuse.".
-spec top() -> ok.
top() ->
    top(?ROWS).

-doc "Prints the fullest owners of all roles, as many as asked for, and the rates that refuse, as many at most.".
-spec top(non_neg_integer()) -> ok.
top(Most) ->
    print(top_lines(Most, ?FUNCTION_NAME)).

-doc "Returns what `top/0` prints, in UTF-8.".
-spec top_text() -> binary().
top_text() ->
    top_text(?ROWS).

-doc "Returns what `top/1` prints, in UTF-8.".
-spec top_text(non_neg_integer()) -> binary().
top_text(Most) ->
    text(top_lines(Most, ?FUNCTION_NAME)).

-doc "Prints why a role, a rate or a component refuses, or that it does not; of `cancel`, what there is to cancel.".
-spec why(Name :: atom()) -> ok.
why(Role) ->
    print(why_lines(Role, ?FUNCTION_NAME)).

-doc "Prints why an owner is refused in a role, or a key by a rate, or that it is not.".
-spec why(?L:role(), ?L:owner()) -> ok;
         (erlmcp_overload_rate:name(), erlmcp_overload_rate:key()) -> ok.
why(Role, Owner) ->
    print(why_lines(Role, Owner, ?FUNCTION_NAME)).

-doc "Returns what `why/1` prints, in UTF-8: for a remote call, of which the node's own console need not hear.".
-spec why_text(Name :: atom()) -> binary().
why_text(Role) ->
    text(why_lines(Role, ?FUNCTION_NAME)).

-doc "Returns what `why/2` prints, in UTF-8.".
-spec why_text(?L:role(), ?L:owner()) -> binary();
              (erlmcp_overload_rate:name(), erlmcp_overload_rate:key()) -> binary().
why_text(Role, Owner) ->
    text(why_lines(Role, Owner, ?FUNCTION_NAME)).

top_lines(Most, _) when is_integer(Most), Most >= 0 ->
    Snapshot = erlmcp_native_metrics:snapshot(),
    case started(Snapshot) of
        ok ->
            Rates = erlmcp_overload_pace:table(Most, Snapshot),
            table(?M:fullest(Most)) ++ Rates ++ erlmcp_overload_cancels:near(Snapshot);
        Words ->
            [Words]
    end;
top_lines(Most, Function) ->
    erlmcp_native_error:raise(bad_number, {?MODULE, Function, [Most]}).

why_lines(Name, _) when is_atom(Name) ->
    Snapshot = erlmcp_native_metrics:snapshot(),
    case started(Snapshot) of
        ok ->
            Others = erlmcp_overload_pace:lines(Name, Snapshot) ++ cancels(Name, Snapshot),
            case {erlmcp_overload_why:role(Name, Snapshot), Others} of
                {{_, _} = Said, _} -> lines(Said) ++ Others;
                {none, [_ | _]} -> Others;
                {none, []} -> [nothing_counted(Name)]
            end;
        Words ->
            [Words]
    end;
why_lines(Role, Function) ->
    erlmcp_native_error:raise(bad_role, {?MODULE, Function, [Role]}).

cancels(cancel, Snapshot) -> erlmcp_overload_cancels:lines(Snapshot);
cancels(_, _) -> [].

%% What is no owner may be a key of the rate of that name.
why_lines(Role, Owner, Function) when is_atom(Role) ->
    Snapshot = erlmcp_native_metrics:snapshot(),
    OfRate = erlmcp_overload_pace:key_lines(Role, Owner, Snapshot),
    case OfRate =/= [] andalso not erlmcp_overload_why:is_counted(Role, Snapshot) of
        true -> OfRate;
        false -> owner_lines(Role, Owner, OfRate, {?MODULE, Function, [Role, Owner]}) ++ OfRate
    end;
why_lines(Role, Owner, Function) ->
    erlmcp_native_error:raise(bad_role, {?MODULE, Function, [Role, Owner]}).

owner_lines(Role, Owner, OfRate, Call) ->
    IsProcess = is_atom(Owner) orelse erlmcp_native_pid:is_local(Owner),
    case OfRate =:= [] orelse erlmcp_native_owner:is_owner(Owner) of
        true when IsProcess ->
            owner_lines(Role, Owner);
        false ->
            [];
        true ->
            Look = fun
                (nobody) -> [words("~tp in ~tp is not refused: nobody is registered so", [Owner, Role])];
                (Pid) -> owner_lines(Role, Pid)
            end,
            erlmcp_native_owner:by_name(bad_owner, Owner, Look, Call)
    end.

owner_lines(Role, Owner) ->
    Snapshot = erlmcp_native_metrics:snapshot(),
    case started(Snapshot) of
        ok ->
            case erlmcp_overload_why:owner(Role, Owner, Snapshot) of
                {_, _} = Said -> lines(Said);
                none -> [nothing_counted(Role)]
            end;
        Words ->
            [Words]
    end.

lines({Verdict, Lines}) ->
    [Verdict | [line(Name, Words) || {Name, Words} <- Lines]].

print(Lines) ->
    io:put_chars(text(Lines)).

text(Lines) ->
    unicode:characters_to_binary([[Line, $\n] || Line <- Lines]).

started(Snapshot) ->
    case erlmcp_overload_why:missing(Snapshot) of
        [] -> ok;
        Missing -> ["not started: ", lists:join(", ", [atom_to_list(Name) || Name <- Missing])]
    end.

nothing_counted(Role) ->
    words("nothing was ever counted for ~tp; it would have the limit of default, ~tp", [Role, ?L:get_limit(Role)]).

table(Rows) ->
    [row(["role", "owner", "depth", "limit", "full"], status, kind) | lists:append([rows(Row) || Row <- Rows])].

rows(#{role := Role, process := Owner, depth := Depth, limit := Limit, utilization := Utilization} = Row) ->
    #{status := Status, kind := Kind} = Row,
    Full = [number(round(Utilization * 100)), "%"],
    [row([name(Role), name(Owner), number(Depth), name(Limit), Full], Status, Kind) | timing(Row)].

%% A line more for an owner that was measured, that stands still, or does not answer.
timing(#{drain_per_s := PerS, wait_ms := WaitMs, sojourn_ms := OneMs, stalled_ms := StalledMs}) when is_float(PerS) ->
    [
        words("  drains ~s a second, a newcomer waits ~s, one waited ~s; stalled ~s", [
            rate(PerS), duration(WaitMs), duration(OneMs), duration(StalledMs)
        ])
    ];
timing(#{stalled_ms := StalledMs}) when is_integer(StalledMs), StalledMs >= ?STALLED_MS ->
    [words("  stalled ~s", [duration(StalledMs)])];
timing(#{silent := true}) ->
    ["  does not answer; this is the depth that was known last"];
timing(_) ->
    [].

row([Role, Owner, Depth, Limit, Full], Status, Kind) ->
    [
        string:pad(Role, 18),
        " ",
        string:pad(Owner, 17),
        [string:pad(Number, Width, leading) || {Number, Width} <- [{Depth, 10}, {Limit, 10}, {Full, 6}]],
        "  ",
        string:pad(atom_to_list(Status), 9),
        atom_to_list(Kind)
    ].

name(Term) ->
    words("~tp", [Term]).

number(N) ->
    integer_to_list(N).
