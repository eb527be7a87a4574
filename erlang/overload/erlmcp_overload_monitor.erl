-module(erlmcp_overload_monitor).
-moduledoc """
Tells when a queue is at 80, 90 or 100 % of its limit, at the moment it happens, and when it is over.

The queues are those of `m:erlmcp_queue_limits`. Each owner has an *alert level* in each of its roles:
`warning`, `critical` or `overload`, from 80, 90 and 100 % of the limit. It rises with the enqueue that crosses a
threshold; that operation itself writes the alert into the history, so it is there when the call returns. One
rise is one alert, of the highest level reached. A level is left when the depth has fallen a tenth of the limit
below its threshold (`clear_margin`), or the owner is gone. While it lasts it is alerted again every minute
(`realert_interval`). A limit that changed is noticed by the next check, every 5 s or by `force_check/0`.

```erlang
1> erlmcp_queue_limits:set_limit(tool_executor, 10).
ok
2> [erlmcp_queue_limits:record_enqueue(tool_executor, a) || _ <- lists:seq(1, 9)], ok.
ok
3> [{Level, Depth} || #{level := Level, depth := Depth} <- erlmcp_overload_monitor:get_alert_history()].
[{critical,9},{warning,8}]
```

An alert is logged, at most once a second for each role and level, and handed to the handlers
(`m:erlmcp_overload_handler`); the default one reports to erlmcp's health monitor and circuit breaker. A role's
breaker opens when one of its owners reaches `open_breaker_at`, and closes when none is there any more and it was
open for `breaker_min_open`, 5 s unless configured: under steady overload it would flap otherwise. The
history has each alert once, over crashes of the service's process too, and handlers get each at least once,
unless more than 16384 come before this process has taken them: then the rest are counted in the log.

Options are those of `m:erlmcp_overload_options`. While the service is not started, `reset_alerts/0` and
`force_check/0` return `ok` and do nothing; every other function exits with `{noproc, {Module, Function, Args}}`. The
three that ask its process, `set_check_interval/1`, `add_handler/2` and `delete_handler/2`, exit with
`{timeout, {Module, Function, Args}}` if it has not answered within 5 s, and what was asked for may still be done later.
While queue limits are not started there is nothing to see.
""".

-export([start_link/0, start_link/1]).
-export([queues/0, queues/1, queues/2, fullest/1, get_overloaded/0, get_overloaded/1, summary/0]).
-export([get_alert_history/0, get_alert_history/1, reset_alerts/0]).
-export([force_check/0, set_check_interval/1, set_enabled/1]).
-export([add_handler/2, delete_handler/2]).

-export_type([status/0, alert_level/0, queue_info/0, rank/0, alert/0, role_summary/0, ms_by_level/0]).

-doc "A status says how full an owner is.".
-type status() :: ok | warning | critical | overload.
-doc "An alert level is what erlmcp calls a `t:status/0`; alerts are of the three levels above `ok`.".
-type alert_level() :: status().
-doc "A row shows an owner in a role, as it is now. A role without owners has a row with the role as its process.".
-type queue_info() :: #{
    role := erlmcp_queue_limits:role(),
    process := erlmcp_queue_limits:owner_key(),
    depth := non_neg_integer(),
    limit := erlmcp_queue_limits:limit(),
    %% depth / limit; for limit 0, 0.0 at depth 0 and else 1.0; for infinity 0.0.
    utilization := float(),
    status := status(),
    %% How many requests the owner does in a second while any wait, for how many milliseconds one that comes now would
    %% wait, and the last one that was measured has waited. None of it is known of a mailbox, nor before somebody has
    %% waited for another.
    drain_per_s => float() | undefined,
    wait_ms => non_neg_integer() | undefined,
    sojourn_ms => non_neg_integer() | undefined,
    %% For how many milliseconds nobody was taken out while somebody waited, to a tenth of a second.
    stalled_ms => non_neg_integer() | undefined,
    %% What the depth is: counted, or the length of the owner's mailbox, which is asked for with the row.
    kind => counted | mailbox,
    %% Of a mailbox: whether its process did not answer within 100 ms, or came after five such, or there was no room for
    %% whoever asks. Then the depth is what was known last.
    silent => boolean(),
    %% These are of rows of the role mailbox, where all mailboxes are watched.
    registered_name => atom(),
    current_function => mfa() | undefined
}.
-doc """
A rank is what rows are ordered by: the depth as a share of the limit, the depth, how long a newcomer waits, or how long
nobody was taken out. Rows of the same rank come by their utilisation, those of which it is not known last.
""".
-type rank() :: utilization | depth | wait | stalled.
-doc "An alert says that an owner has reached a level.".
-type alert() :: #{
    level := warning | critical | overload,
    role := erlmcp_queue_limits:role(),
    process := erlmcp_queue_limits:owner_key(),
    depth := non_neg_integer(),
    limit := erlmcp_queue_limits:limit(),
    utilization := float(),
    %% System time in milliseconds.
    timestamp := integer()
}.
-doc "These are the milliseconds that were spent at each level.".
-type ms_by_level() :: #{status() => non_neg_integer()}.
-doc "A summary shows a role. All of it is exact as of now, but for `max_utilization`, which is of the last check.".
-type role_summary() :: #{
    role := erlmcp_queue_limits:role(),
    owners := non_neg_integer(),
    depth := non_neg_integer(),
    limit := erlmcp_queue_limits:limit(),
    %% The worst alert level of its owners.
    level := status(),
    owners_by_level := #{status() => non_neg_integer()},
    %% Windows of 60 buckets of a second and of a minute, the one that runs included.
    ms_at_level := #{last_minute | last_hour | since_start => ms_by_level()},
    max_utilization := float(),
    %% System time of the last check in milliseconds.
    as_of := integer() | undefined
}.

-import(erlmcp_native_error, [raise/2]).

-define(MAX_MS, 16#ffffffff).
%% For each mailbox whose length is asked for.
-define(PATIENCE_MS, 100).

-doc """
Starts the service of the overload monitor with the configured options.

A service that the application has started is taken over: it is the caller's from then on, with all its alerts, and the
application's again only when that is started anew. Whoever comes next gets `already_started`.
""".
-spec start_link() -> {ok, pid()} | {error, {already_started, pid()} | term()}.
start_link() ->
    start_link([]).

-doc "Starts the service of the overload monitor; these options win over the configured ones.".
-spec start_link(#{atom() => term()} | [proplists:property()]) ->
    {ok, pid()} | {error, {already_started, pid()} | term()}.
start_link(Options) ->
    erlmcp_overload_server:start_link(Options).

-doc "Returns a row for every owner of every role. It takes about a microsecond for each, on a dirty scheduler.".
-spec queues() -> [queue_info()].
queues() ->
    fresh(erlmcp_native:overload_rows(own, {}, false), {?MODULE, ?FUNCTION_NAME, []}).

-doc "Returns a row for each owner of a role, and none for an unknown role.".
-spec queues(erlmcp_queue_limits:role()) -> [queue_info()].
queues(Role) ->
    fresh(rows(Role, false), {?MODULE, ?FUNCTION_NAME, [Role]}).

-doc """
Returns the rows of a role's first `top` owners: the fullest, or those that are first `by` another rank.

| option | value | default | meaning |
| --- | --- | --- | --- |
| `top` | an integer from 0 | must be given | How many. |
| `by` | utilization, depth, wait or stalled | `utilization` | What they are ordered by, the highest first. |
""".
-spec queues(erlmcp_queue_limits:role(), #{top := non_neg_integer(), by => rank()}) -> [queue_info()].
queues(Role, Options) when is_atom(Role) ->
    Call = {?MODULE, ?FUNCTION_NAME, [Role, Options]},
    case erlmcp_native_options:check(erlmcp_native_options:options(looks()), Options) of
        {ok, #{top := Most, by := By}} ->
            sorted(erlmcp_native:overload_first(own, Role, By, min(Most, ?MAX_MS)), By, Call);
        {error, Problem} -> raise({bad_option, Problem}, Call)
    end;
queues(Role, Options) ->
    raise(bad_role, {?MODULE, ?FUNCTION_NAME, [Role, Options]}).

looks() ->
    Top = erlmcp_native_options:checked("an integer from 0", fun(Most) -> is_integer(Most) andalso Most >= 0 end),
    [
        #{name => top, type => Top, default => required, doc => ~"How many."},
        #{
            name => by,
            type => erlmcp_native_options:one_of([utilization, depth, wait, stalled]),
            default => utilization,
            doc => ~"What they are ordered by, the highest first."
        }
    ].

-doc """
Returns the rows of the fullest owners of all roles, as many as asked for, by their utilisation, the fullest first.
""".
-spec fullest(non_neg_integer()) -> [queue_info()].
fullest(Most) when is_integer(Most), Most >= 0 ->
    Call = {?MODULE, ?FUNCTION_NAME, [Most]},
    sorted(erlmcp_native:overload_first(own, {}, utilization, min(Most, ?MAX_MS)), utilization, Call);
fullest(Most) ->
    raise(bad_number, {?MODULE, ?FUNCTION_NAME, [Most]}).

-doc "Returns the rows of all owners that are at `critical` or `overload` now.".
-spec get_overloaded() -> [queue_info()].
get_overloaded() ->
    crowded(erlmcp_native:overload_rows(own, {}, true), {?MODULE, ?FUNCTION_NAME, []}).

-doc "Returns the rows of a role's owners that are at `critical` or `overload` now.".
-spec get_overloaded(erlmcp_queue_limits:role()) -> [queue_info()].
get_overloaded(Role) ->
    crowded(rows(Role, true), {?MODULE, ?FUNCTION_NAME, [Role]}).

rows(Role, Crowded) when is_atom(Role) -> erlmcp_native:overload_rows(own, Role, Crowded);
rows(_, _) -> bad_role.

-doc "Returns a row for each role: its owners, its level, and how long it was at each level.".
-spec summary() -> [role_summary()].
summary() ->
    list(erlmcp_native:overload_summary(own), {?MODULE, ?FUNCTION_NAME, []}).

-doc "Returns the last alerts of all roles, the newest first.".
-spec get_alert_history() -> [alert()].
get_alert_history() ->
    list(erlmcp_native:overload_history(own), {?MODULE, ?FUNCTION_NAME, []}).

-doc "Returns the last alerts of a role, the newest first.".
-spec get_alert_history(erlmcp_queue_limits:role()) -> [alert()].
get_alert_history(Role) when is_atom(Role) ->
    Alerts = list(erlmcp_native:overload_history(own), {?MODULE, ?FUNCTION_NAME, [Role]}),
    [Alert || #{role := Of} = Alert <- Alerts, Of =:= Role];
get_alert_history(Role) ->
    raise(bad_role, {?MODULE, ?FUNCTION_NAME, [Role]}).

-doc """
Forgets the history of alerts and the alert level of every owner. Who is still above a threshold is alerted anew by its
next enqueue or the next check. While the service is not started, it does nothing.
""".
-spec reset_alerts() -> ok.
reset_alerts() ->
    done_or_not_started(erlmcp_native:overload_reset(own), {?MODULE, ?FUNCTION_NAME, []}).

-doc """
Looks at every owner; when it returns, that is done and its alerts are in the history. While the service is not
started, it does nothing.
""".
-spec force_check() -> ok.
force_check() ->
    done_or_not_started(erlmcp_native:overload_check(own), {?MODULE, ?FUNCTION_NAME, []}).

-doc "Sets the time between checks, in milliseconds from 1 to 2^32 - 1.".
-spec set_check_interval(pos_integer()) -> ok.
set_check_interval(IntervalMs) when is_integer(IntervalMs), IntervalMs >= 1, IntervalMs =< ?MAX_MS ->
    erlmcp_overload_server:set_check_interval(IntervalMs, {?MODULE, ?FUNCTION_NAME, [IntervalMs]});
set_check_interval(IntervalMs) ->
    raise(bad_interval, {?MODULE, ?FUNCTION_NAME, [IntervalMs]}).

-doc "Switches alerts on or off: `false` means no alerts and no handlers, while `queues/0` still answers.".
-spec set_enabled(boolean()) -> ok.
set_enabled(Enabled) ->
    done(erlmcp_native:overload_set_enabled(own, Enabled), {?MODULE, ?FUNCTION_NAME, [Enabled]}).

-doc """
Adds a handler (`m:erlmcp_overload_handler`) to the configured ones, until the service is stopped or
`delete_handler/2`; a crash of the service's process is no end. Adding it once more does nothing.
""".
-spec add_handler(module(), Arg :: term()) -> ok.
add_handler(Module, Arg) ->
    Call = {?MODULE, ?FUNCTION_NAME, [Module, Arg]},
    case erlmcp_overload_options:is_handler({Module, Arg}) of
        true -> erlmcp_overload_server:add_handler({Module, Arg}, Call);
        false -> raise(bad_callbacks, Call)
    end.

-doc "Ends a handler that was added with `add_handler/2`, if it was. Those that are configured stay.".
-spec delete_handler(module(), Arg :: term()) -> ok.
delete_handler(Module, Arg) ->
    erlmcp_overload_server:delete_handler({Module, Arg}, {?MODULE, ?FUNCTION_NAME, [Module, Arg]}).

%% The library cannot ask for the length of a mailbox.
fresh(Given, Call) ->
    Rows = list(Given, Call),
    Asked = [{Pid, asked(Role)} || #{kind := mailbox, role := Role, process := Pid} <- Rows],
    with_lengths(Rows, erlmcp_native_process_info:each(Asked, ?PATIENCE_MS)).

asked(mailbox) -> [message_queue_len, registered_name, current_function];
asked(_) -> [message_queue_len].

with_lengths(Rows, []) -> Rows;
with_lengths([#{kind := mailbox} = Row | Rows], [Info | Infos]) -> [with_length(Row, Info) | with_lengths(Rows, Infos)];
with_lengths([Row | Rows], Infos) -> [Row | with_lengths(Rows, Infos)].

with_length(#{role := mailbox} = Row, [_, {registered_name, Name}, {current_function, Function}] = Info) ->
    Seen = #{registered_name => name(Name), current_function => Function},
    maps:merge(as_it_is(Row, Info), Seen);
with_length(#{role := mailbox} = Row, Info) ->
    maps:merge(as_it_is(Row, Info), #{registered_name => undefined, current_function => undefined});
with_length(Row, Info) ->
    as_it_is(Row, Info).

as_it_is(#{role := Role, process := Pid} = Row, [{message_queue_len, Length} | _]) ->
    case erlmcp_native:mailbox_row(own, Role, Pid, Length) of
        #{} = Fresh -> Fresh#{silent => false};
        _NotStarted -> Row#{silent => false}
    end;
as_it_is(Row, Info) ->
    Row#{silent => Info =:= silent}.

name([]) -> undefined;
name(Name) -> Name.

crowded(Rows, Call) ->
    [Row || #{status := Status} = Row <- fresh(Rows, Call), Status =:= critical orelse Status =:= overload].

%% The first by what was known are shown as they are now.
sorted(Rows, By, Call) ->
    Ranked = [
        {{rank(By, Row), Utilization, Depth}, Row}
     || #{utilization := Utilization, depth := Depth} = Row <- fresh(Rows, Call)
    ],
    [Row || {_, Row} <- lists:reverse(lists:keysort(1, lists:reverse(Ranked)))].

rank(utilization, _) -> 0;
rank(depth, #{depth := Depth}) -> Depth;
rank(wait, #{wait_ms := Ms}) -> known(Ms);
rank(stalled, #{stalled_ms := Ms}) -> known(Ms).

known(undefined) -> -1;
known(Ms) -> Ms.

list(List, _) when is_list(List) -> List;
list(Fault, Call) -> raise(Fault, Call).

done(ok, _) -> ok;
done(Fault, Call) -> raise(Fault, Call).

done_or_not_started(not_started, _) -> ok;
done_or_not_started(Result, Call) -> done(Result, Call).
