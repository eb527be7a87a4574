-module(erlmcp_native_role).
-moduledoc """
Every number of a role, in one table: its name, what kind of number it is, what it says, and the metric that is made
of it.

A number has this one name from the library to the page. The library names it (`RoleSummary::numbers` in
`native/core/src/summary.rs`) and `erlmcp_native_metrics:snapshot/0` has it under that name; the metrics
(`m:erlmcp_native_metrics`) and the JSON (`m:erlmcp_native_http_json`) are made from this table. A number that is new
in the library is entered here, in the type `t:row/0` and in the table, and needs nothing else.

Only the drop-in modules call some numbers by other names: `erlmcp_queue_limits:get_role_stats/1` and
`erlmcp_overload_monitor:summary/0` go on saying what erlmcp's modules said.

```erlang
1> [{Name, Help} || #{name := Name, kind := ratio, help := Help} <- erlmcp_native_role:numbers()].
[{max_utilization,<<"Depth of the fullest owner as a share of the limit, at the last check.">>}]
```
""".

-export([numbers/0, levels/0, severity/1]).

-export_type([row/0, entry/0, kind/0, metric/0]).

-doc "A row has a role's numbers at one moment. Each is exact unless its help calls it an estimate.".
-type row() :: #{
    role := erlmcp_queue_limits:role(),
    depth := non_neg_integer(),
    max_depth := non_neg_integer(),
    limit := erlmcp_queue_limits:limit(),
    owners := non_neg_integer(),
    enqueued := non_neg_integer(),
    dequeued := non_neg_integer(),
    unmatched := non_neg_integer(),
    released := non_neg_integer(),
    refused := non_neg_integer(),
    %% None where nobody ever said any, and no cap was set.
    bytes := non_neg_integer() | undefined,
    %% How many places and bytes all owners have together, mailboxes left out, and how many they may have.
    caps := [{total | bytes, Used :: non_neg_integer(), erlmcp_queue_limits:limit()}],
    %% Where the limit is said in milliseconds: those.
    wait_target_ms := 1..1000000 | undefined,
    %% Where there were any; of `critical` and `full` always.
    refused_by := [{erlmcp_queue_limits:class(), erlmcp_queue_limits:reason(), non_neg_integer()}],
    refused_per_s := float(),
    retry_after_ms := 1..60000,
    max_utilization := float(),
    %% From which utilisation up to the next row's, how many owners.
    owners_by_utilization := [{float(), non_neg_integer()}],
    %% From which milliseconds up to the next row's one that comes now waits, for how many owners.
    owners_by_wait := [{non_neg_integer(), non_neg_integer()}],
    max_wait_ms := non_neg_integer(),
    max_stalled_ms := non_neg_integer(),
    level := erlmcp_overload_monitor:status(),
    ms_at_level := #{last_minute | last_hour | since_start => erlmcp_overload_monitor:ms_by_level()},
    alerts := #{warning | critical | overload => non_neg_integer()},
    drained_per_s := float(),
    last_refused_ms := integer() | undefined,
    refusing_since_ms := integer() | undefined,
    owners_by_level := #{erlmcp_overload_monitor:status() => non_neg_integer()},
    fullest := non_neg_integer(),
    as_of_ms := integer() | undefined,
    backlog_ms := non_neg_integer() | undefined,
    breaker := open | closed
}.

-doc "An entry has what there is to know of a number but its value.".
-type entry() :: #{
    name := atom(),
    kind := kind(),
    %% A sentence, of the metric too if there is one.
    help := binary(),
    metric := metric() | none
}.
-doc """
A kind says what a value is. `count`, `ratio` and `per_s` (a second) are numbers, `ms` milliseconds, `moment` system
time in milliseconds; any of them is `undefined` where there is none, which is `null` in JSON and no sample of a metric.
`bytes` is a number of bytes. `limit` is a number, or `infinity`, which is `null` and no sample too: that there is no
limit is no number to draw or to divide by.
`by_level` has a number for each level, `by_alert_level` for each but `ok`, `ms_at_level` milliseconds at each level in
three windows of time, `by_reason` a list of classes, reasons and numbers, `by_utilization` a list of shares of the
limit, each with a number for what lies from there up to the next, and `by_wait` one of milliseconds. `caps` is a list
of what is capped, how much of it is in use, and the cap.
""".
-type kind() ::
    role
    | count
    | bytes
    | limit
    | ratio
    | per_s
    | ms
    | moment
    | level
    | by_level
    | by_alert_level
    | ms_at_level
    | by_reason
    | by_utilization
    | by_wait
    | caps
    | breaker.
-doc "A metric is made of a number. Its name here is without the `erlmcp_` before it.".
-type metric() :: {counter | gauge, Name :: binary()}.

-doc "Returns the table of numbers. Those with a metric come first, in the order of the metrics.".
-spec numbers() -> [entry()].
numbers() ->
    [
        #{name => Name, kind => Kind, metric => Metric, help => Help}
     || {Name, Kind, Metric, Help} <- [
            {depth, count, {gauge, ~"queue_depth"}, ~"Requests that wait, over all owners of the role."},
            {max_depth, count, {gauge, ~"queue_depth_max"},
                ~"The highest depth that one owner reached since the numbers were reset."},
            {limit, limit, {gauge, ~"queue_limit"}, ~"The depth per owner from which requests are refused."},
            {owners, count, {gauge, ~"queue_owners"}, ~"Processes and names that have a queue."},
            {enqueued, count, {counter, ~"queue_enqueued"}, ~"Requests recorded."},
            {dequeued, count, {counter, ~"queue_dequeued"}, ~"Dequeues recorded, unmatched ones included."},
            {unmatched, count, {counter, ~"queue_unmatched_dequeues"}, ~"Dequeues that found nothing to take."},
            {released, count, {counter, ~"queue_released"},
                ~"Depth given up by owners that died or were forgotten."},
            {refused, count, {counter, ~"queue_refused"}, ~"Requests refused."},
            {refused_by, by_reason, {counter, ~"queue_refusals_by_class"},
                ~"Requests refused since the role exists, by how much they mattered, where there were any."},
            {refused_per_s, per_s, {gauge, ~"queue_refusals_per_second"},
                ~"Refusals a second over the last ten seconds."},
            {retry_after_ms, ms, {gauge, ~"queue_retry_after_seconds"},
                ~"What a caller is told to wait that is refused by an owner just at its limit. An estimate."},
            {max_utilization, ratio, {gauge, ~"queue_utilization_ratio"},
                ~"Depth of the fullest owner as a share of the limit, at the last check."},
            {owners_by_utilization, by_utilization, {gauge, ~"queue_owners_by_utilization"},
                ~"Owners at the last check, by utilisation from this share of the limit up to the next."},
            {max_wait_ms, ms, {gauge, ~"queue_wait_seconds"},
                ~"How long one waits that comes, at most of all owners, at the last check. An estimate."},
            {max_stalled_ms, ms, {gauge, ~"queue_stalled_seconds"},
                ~"How long nobody was taken out while somebody waited, at most of all owners, at the last check."},
            {wait_target_ms, ms, {gauge, ~"queue_wait_target_seconds"},
                ~"How long one is to wait at most, where the limit is said in milliseconds."},
            {bytes, bytes, {gauge, ~"queue_waiting_bytes"},
                ~"Bytes of what waits, over all owners, as far as requests said so."},
            {caps, caps, {gauge, ~"queue_cap_utilization_ratio"},
                ~"What all owners have together as a share of what they may, where there is a cap."},
            {level, level, {gauge, ~"queue_level"},
                ~"Alert level of the role: 0 ok, 1 warning, 2 critical, 3 overload."},
            {ms_at_level, ms_at_level, {counter, ~"queue_level_seconds"},
                ~"Time that the role was at each alert level."},
            {alerts, by_alert_level, {counter, ~"queue_alerts"}, ~"Alerts raised."},
            {role, role, none, ~"The role that the numbers are of."},
            {drained_per_s, per_s, none, ~"Dequeues a second that took something, over the last ten seconds."},
            {last_refused_ms, moment, none, ~"When a request was refused last."},
            {refusing_since_ms, moment, none, ~"When the last refusals began without a quiet second since."},
            {owners_by_level, by_level, none, ~"Owners by the alert level that they hold."},
            {fullest, count, none, ~"Depth of the fullest owner at the last check."},
            {owners_by_wait, by_wait, none,
                ~"Owners at the last check, by how long one waits that comes, from so long up to the next."},
            {as_of_ms, moment, none, ~"When the last check was, which looks at every owner."},
            {backlog_ms, ms, none,
                ~"How long what waits would take to drain at the rate of the last ten seconds. An estimate."},
            {breaker, breaker, none, ~"The role's breaker as it was reported last."}
        ]
    ].

-doc "Returns the alert levels, the mildest first.".
-spec levels() -> [erlmcp_overload_monitor:status()].
levels() ->
    [ok, warning, critical, overload].

-doc "Returns the place of a level among `levels/0`, from 0.".
-spec severity(erlmcp_overload_monitor:status()) -> 0..3.
severity(ok) -> 0;
severity(warning) -> 1;
severity(critical) -> 2;
severity(overload) -> 3.
