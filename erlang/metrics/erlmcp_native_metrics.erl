-module(erlmcp_native_metrics).
-moduledoc """
Every metric, in one table that all exporters read, and the snapshot that their values come from.

A metric is named as Prometheus wants it, with its unit last, without the `_total` that exporters of counters
append. Values come from one native call on a dirty scheduler that reads each counter once, and what leaves a
queue before what enters it. Labels are roles, components and fixed words, never processes: the number of time
series is bounded by 1024 roles and as many components.

```
1> [{Field, Samples} | _] = erlmcp_native_metrics:collect(), {maps:get(name, Field), Samples}.
{<<"erlmcp_queue_depth">>,[{[<<"default">>],0},{[<<"session">>],17}]}
```
""".

-export([fields/0, collect/0, families/1, snapshot/0]).

-export_type([field/0, kind/0, unit/0, value/0, sample/0, family/0]).
-export_type([snapshot/0, role_row/0, control_row/0, distribution/0]).

-doc "A counter only grows, until its service is stopped or its numbers are reset.".
-type kind() :: counter | gauge | histogram.
-doc "The unit that ends its name.".
-type unit() :: none | seconds | bytes | ratio.
-doc "What there is to know of a metric but its values.".
-type field() :: #{
    name := binary(),
    kind := kind(),
    unit := unit(),
    help := binary(),
    %% The names of its labels, in the order of a sample's.
    labels := [binary()]
}.
-doc "A histogram has its buckets from the lowest, each with how many values were up to its end.".
-type value() ::
    number()
    | #{
        count := non_neg_integer(),
        sum := float(),
        buckets := [{End :: float(), Cumulative :: non_neg_integer()}]
    }.
-doc "The values of a metric's labels, and its own.".
-type sample() :: {[binary()], value()}.
-doc "A metric and all its values.".
-type family() :: {field(), [sample(), ...]}.

-doc "All numbers at one moment.".
-type snapshot() :: #{
    %% System time in milliseconds.
    at_ms := integer(),
    services := #{erlmcp_queue_limits | erlmcp_overload_monitor | erlmcp_control_plane => boolean()},
    %% The three kill switches: are there refusals, alerts, a priority lane?
    switches := #{limits | overload | priority => boolean()},
    %% By name; none while queue limits are not started.
    roles := [role_row()],
    control := control_row() | undefined,
    self := #{
        %% Tracked; an estimate while some come and go.
        owners := non_neg_integer(),
        %% Native memory, an estimate from what is counted.
        memory_bytes := non_neg_integer(),
        %% Alerts and clearings that came too fast for the handlers.
        news_lost := non_neg_integer(),
        %% Wake-ups of a monitor that was dead.
        wakeups_dropped := non_neg_integer()
    }
}.
-doc """
What `erlmcp_queue_limits:role_stats()` and `erlmcp_overload_monitor:role_summary()` say of a role, and more.
""".
-type role_row() :: #{
    role := erlmcp_queue_limits:role(),
    current_depth := non_neg_integer(),
    max_depth := non_neg_integer(),
    limit := non_neg_integer(),
    owners := non_neg_integer(),
    total_enqueued := non_neg_integer(),
    total_dequeued := non_neg_integer(),
    unmatched_dequeues := non_neg_integer(),
    total_released := non_neg_integer(),
    total_rejected := non_neg_integer(),
    capacity_exceeded_count := non_neg_integer(),
    last_capacity_exceeded := integer() | undefined,
    %% Over the last ten seconds.
    drained_per_s := float(),
    refused_per_s := float(),
    %% When the last refusals began without a quiet second since.
    refusing_since := integer() | undefined,
    %% What a caller would be told that is refused by an owner just at its limit.
    retry_after_ms := 1..60000,
    level := erlmcp_overload_monitor:status(),
    owners_by_level := #{erlmcp_overload_monitor:status() => non_neg_integer()},
    %% Raised since the role exists.
    alerts := #{warning | critical | overload => non_neg_integer()},
    ms_at_level := #{last_minute | last_hour | since_start => erlmcp_overload_monitor:ms_by_level()},
    %% As of the last check.
    fullest := non_neg_integer(),
    max_utilization := float(),
    %% From which utilisation up to the next row's, how many owners.
    owners_by_utilization := [{float(), non_neg_integer()}],
    as_of := integer() | undefined,
    %% As it was last reported.
    breaker := open | closed
}.
-doc "Latencies in microseconds: how many were below which bounds. Exact.".
-type distribution() :: #{
    count := non_neg_integer(),
    sum_us := non_neg_integer(),
    below := [{Us :: pos_integer(), Cumulative :: non_neg_integer()}]
}.
-doc """
`erlmcp_control_plane:get_stats/0` with the distributions of `latency` and `delivery`, and in each component's row
`latency` and `delivered_by_type`.
""".
-type control_row() :: #{latency := distribution(), delivery := distribution(), atom() => term()}.

-define(MAX_COMPONENTS, 1024).
-define(LEVELS, [ok, warning, critical, overload]).
-define(TYPES, [circuit_breaker, health_check, drain_session, cancel_task]).

-doc "The table, without values.".
-spec fields() -> [field()].
fields() ->
    [Field || {Field, _} <- table()].

-doc "All metrics that have a value now.".
-spec collect() -> [family()].
collect() ->
    families(snapshot()).

-doc "All metrics that have a value in a snapshot.".
-spec families(snapshot()) -> [family()].
families(Snapshot) ->
    [{Field, Samples} || {Field, Read} <- table(), [_ | _] = Samples <- [Read(Snapshot)]].

-doc "All numbers now. Works whatever is started.".
-spec snapshot() -> snapshot().
snapshot() ->
    case erlmcp_native:metrics_snapshot(own) of
        #{roles := Roles} = Snapshot ->
            Snapshot#{roles := lists:sort(fun(#{role := A}, #{role := B}) -> A =< B end, Roles)};
        _NoLibrary ->
            #{
                at_ms => erlang:system_time(millisecond),
                services => #{
                    erlmcp_queue_limits => false, erlmcp_overload_monitor => false, erlmcp_control_plane => false
                },
                switches => #{limits => false, overload => false, priority => false},
                roles => [],
                control => undefined,
                self => #{owners => 0, memory_bytes => 0, news_lost => 0, wakeups_dropped => 0}
            }
    end.

table() ->
    queues() ++ levels() ++ control() ++ own().

queues() ->
    [
        role(gauge, ~"queue_depth", ~"Requests that wait, over all owners of the role.", current_depth),
        role(
            gauge,
            ~"queue_depth_max",
            ~"The highest depth that one owner reached since the numbers were reset.",
            max_depth
        ),
        role(gauge, ~"queue_limit", ~"The depth per owner from which requests are refused.", limit),
        role(gauge, ~"queue_owners", ~"Processes and names that have a queue.", owners),
        role(counter, ~"queue_enqueued", ~"Requests recorded.", total_enqueued),
        role(counter, ~"queue_dequeued", ~"Dequeues recorded, unmatched ones included.", total_dequeued),
        role(counter, ~"queue_unmatched_dequeues", ~"Dequeues that found nothing to take.", unmatched_dequeues),
        role(counter, ~"queue_released", ~"Depth given up by owners that died or were forgotten.", total_released),
        role(counter, ~"queue_refused", ~"Requests refused.", total_rejected),
        role(gauge, ~"queue_refusals_per_second", ~"Refusals a second over the last ten seconds.", refused_per_s),
        field(
            {gauge, ~"queue_retry_after_seconds", seconds, [~"role"]},
            ~"What a caller is told to wait that is refused by an owner just at its limit. An estimate.",
            by_role(fun(#{retry_after_ms := Ms}) -> [{[], Ms / 1000}] end)
        ),
        field(
            {gauge, ~"queue_utilization_ratio", ratio, [~"role"]},
            ~"Depth of the fullest owner as a share of the limit, at the last check.",
            by_role(fun(#{max_utilization := Utilization}) -> [{[], Utilization}] end)
        ),
        field(
            {gauge, ~"queue_owners_by_utilization", none, [~"role", ~"from"]},
            ~"Owners at the last check, by utilisation from this share of the limit up to the next.",
            by_role(fun(#{owners_by_utilization := Bands}) ->
                [{[float_to_binary(From, [short])], Owners} || {From, Owners} <- Bands]
            end)
        )
    ].

levels() ->
    [
        field(
            {gauge, ~"queue_level", none, [~"role"]},
            ~"Alert level of the role: 0 ok, 1 warning, 2 critical, 3 overload.",
            by_role(fun(#{level := Level}) -> [{[], severity(Level)}] end)
        ),
        field(
            {counter, ~"queue_level_seconds", seconds, [~"role", ~"level"]},
            ~"Time that the role was at each alert level.",
            by_role(fun(#{ms_at_level := #{since_start := Ms}}) ->
                [{[word(Level)], maps:get(Level, Ms) / 1000} || Level <- ?LEVELS]
            end)
        ),
        field(
            {counter, ~"queue_alerts", none, [~"role", ~"level"]},
            ~"Alerts raised.",
            by_role(fun(#{alerts := Alerts}) ->
                [{[word(Level)], maps:get(Level, Alerts)} || Level <- tl(?LEVELS)]
            end)
        )
    ].

control() ->
    [
        field(
            {counter, ~"control_messages", none, [~"component", ~"type"]},
            ~"Control messages whose handler was started.",
            by_component(fun(#{delivered_by_type := ByType}) -> types(ByType) end)
        ),
        field(
            {gauge, ~"control_queued", none, [~"component", ~"type"]},
            ~"Control messages that wait for their handler.",
            by_component(fun(#{queued := ByType}) -> types(ByType) end)
        ),
        field(
            {histogram, ~"control_latency_seconds", seconds, []},
            ~"What senders of control messages waited for the answer, over all components.",
            plane(fun(#{latency := Latency}) -> histogram(Latency, 1) end)
        ),
        field(
            {histogram, ~"control_delivery_seconds", seconds, []},
            ~"From the sending of a control message to the start of its handler, over all components.",
            plane(fun(#{delivery := Delivery}) -> histogram(Delivery, 1) end)
        ),
        field(
            {histogram, ~"control_component_latency_seconds", seconds, [~"component"]},
            ~"What senders of control messages waited for the answer.",
            by_component(fun(#{latency := Latency}) -> [{[], histogram(Latency, 2)}] end)
        ),
        plane(~"control_slo_violations", ~"Health checks that took over 100 ms or were not answered.", slo_violations),
        plane(~"control_timeouts", ~"Senders of control messages that gave up.", timeouts),
        plane(~"control_handler_crashes", ~"Handlers of control messages that raised or died.", handler_crashes)
    ].

own() ->
    [
        field(
            {gauge, ~"service_up", none, [~"service"]},
            ~"Whether the service is started.",
            fun(#{services := Services}) -> flags(Services) end
        ),
        field(
            {gauge, ~"switch_enabled", none, [~"switch"]},
            ~"The kill switches: refusals, alerts, the priority lane.",
            fun(#{switches := Switches}) -> flags(Switches) end
        ),
        native(gauge, ~"native_owners", none, ~"Owners tracked.", owners),
        native(
            gauge,
            ~"native_memory_bytes",
            bytes,
            ~"Native memory, estimated from the records that are held.",
            memory_bytes
        ),
        native(
            counter,
            ~"native_alerts_lost",
            none,
            ~"Alerts and clearings that came too fast for the handlers; the history has them.",
            news_lost
        ),
        native(
            counter,
            ~"native_wakeups_dropped",
            none,
            ~"Wake-ups of an overload monitor that was dead.",
            wakeups_dropped
        ),
        field(
            {counter, ~"otlp_pushes", none, [~"result"]},
            ~"Pushes of metrics to the OpenTelemetry endpoint.",
            fun(_) ->
                [
                    {[Result], N}
                 || {Name, Result} <- [{otlp_sent, ~"ok"}, {otlp_failed, ~"error"}], N <- exporters(Name)
                ]
            end
        ),
        exporter(counter, ~"otlp_dropped", none, ~"Snapshots given up before they were pushed.", otlp_dropped),
        exporter(gauge, ~"otlp_buffered_bytes", bytes, ~"Snapshots that wait to be pushed.", otlp_buffered_bytes),
        exporter(gauge, ~"http_streams", none, ~"Event streams open.", http_streams),
        exporter(
            counter,
            ~"relay_skipped",
            none,
            ~"Latencies and refusals that were too many to be passed on to erlmcp_metrics_server.",
            relay_skipped
        )
    ].

field({Kind, Name, Unit, Labels}, Help, Read) ->
    {#{name => <<"erlmcp_", Name/binary>>, kind => Kind, unit => Unit, help => Help, labels => Labels}, Read}.

role(Kind, Name, Help, Key) ->
    field({Kind, Name, none, [~"role"]}, Help, by_role(fun(#{Key := Value}) -> [{[], Value}] end)).

by_role(Samples) ->
    fun(#{roles := Rows}) ->
        [{[word(Role) | Labels], Value} || #{role := Role} = Row <- Rows, {Labels, Value} <- Samples(Row)]
    end.

plane(Value) ->
    fun(#{control := undefined}) -> [];
       (#{control := Control}) -> [{[], Value(Control)}]
    end.

plane(Name, Help, Key) ->
    field({counter, Name, none, []}, Help, plane(fun(#{Key := Value}) -> Value end)).

%% By name, so that those that are shown stay the same if there are too many.
by_component(Samples) ->
    fun(#{control := undefined}) -> [];
       (#{control := #{by_component := Rows}}) ->
        Shown = lists:sublist(lists:sort(maps:to_list(Rows)), ?MAX_COMPONENTS),
        [{[word(Id) | Labels], Value} || {Id, Row} <- Shown, {Labels, Value} <- Samples(Row)]
    end.

native(Kind, Name, Unit, Help, Key) ->
    field({Kind, Name, Unit, []}, Help, fun(#{self := #{Key := Value}}) -> [{[], Value}] end).

exporter(Kind, Name, Unit, Help, Key) ->
    field({Kind, Name, Unit, []}, Help, fun(_) -> [{[], N} || N <- exporters(Key)] end).

exporters(Key) ->
    [N || Name := N <- erlmcp_native_self:read(), Name =:= Key].

types(ByType) ->
    [{[word(Type)], maps:get(Type, ByType)} || Type <- ?TYPES].

flags(Flags) ->
    [{[word(Name)], case Flag of true -> 1; false -> 0 end} || {Name, Flag} <- lists:sort(maps:to_list(Flags))].

%% Every so many bounds, from the first on.
histogram(#{count := Count, sum_us := SumUs, below := Below}, Step) ->
    #{count => Count, sum => SumUs / 1.0e6, buckets => buckets(Below, Step)}.

buckets([{Us, Cumulative} | Rest], Step) ->
    [{Us / 1.0e6, Cumulative} | buckets(lists:nthtail(min(Step - 1, length(Rest)), Rest), Step)];
buckets([], _) ->
    [].

severity(ok) -> 0;
severity(warning) -> 1;
severity(critical) -> 2;
severity(overload) -> 3.

word(Atom) ->
    atom_to_binary(Atom).
