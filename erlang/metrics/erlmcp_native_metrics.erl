-module(erlmcp_native_metrics).
-moduledoc """
Every metric, in one table that all exporters read, and the snapshot that their values come from.

A metric is named as Prometheus wants it, with its unit last, without the `_total` that exporters of counters
append. Values come from one native call on a dirty scheduler that reads each counter once, and what leaves a
queue before what enters it. Labels are roles, names of rates, components and fixed words, never processes or keys: the
number of time series is bounded by 1024 roles and as many rates and components.

```erlang
1> ok = erlmcp_queue_limits:record_enqueue(session, self()).
2> [{Field, Samples} | _] = erlmcp_native_metrics:collect(), {maps:get(name, Field), Samples}.
{<<"erlmcp_queue_depth">>,[{[<<"default">>],0},{[<<"session">>],1},...]}
```
""".

-export([fields/0, collect/0, families/1, snapshot/0, components/1]).

-export_type([field/0, kind/0, unit/0, value/0, sample/0, family/0]).
-export_type([snapshot/0, control_row/0, rate_row/0, distribution/0]).

-doc "A kind says how a metric behaves. A counter only grows, until its service is stopped or its numbers are reset.".
-type kind() :: counter | gauge | histogram.
-doc "This is the unit that ends a metric's name.".
-type unit() :: none | seconds | bytes | ratio.
-doc "A field has what there is to know of a metric but its values.".
-type field() :: #{
    name := binary(),
    kind := kind(),
    unit := unit(),
    help := binary(),
    %% The names of its labels, in the order of a sample's.
    labels := [binary()]
}.
-doc """
A value is a number. A histogram has its buckets from the lowest, each with how many values were up to its end.
""".
-type value() ::
    number()
    | #{
        count := non_neg_integer(),
        sum := float(),
        buckets := [{End :: float(), Cumulative :: non_neg_integer()}]
    }.
-doc "A sample has the values of a metric's labels, and its own.".
-type sample() :: {[binary()], value()}.
-doc "A family is a metric and all its values.".
-type family() :: {field(), [sample(), ...]}.

-doc "A snapshot has all numbers at one moment.".
-type snapshot() :: #{
    %% System time in milliseconds.
    at_ms := integer(),
    services := #{erlmcp_queue_limits | erlmcp_overload_monitor | erlmcp_control_plane => boolean()},
    %% The three kill switches: are there refusals, alerts, a priority lane?
    switches := #{limits | overload | priority => boolean()},
    %% By name; none while queue limits are not started.
    roles := [erlmcp_native_role:row()],
    %% By name; none while queue limits are not started.
    rates := [rate_row()],
    control := control_row() | undefined,
    pressure := erlmcp_overload_node:pressure() | off,
    cancel := erlmcp_control_cancel:stats() | undefined,
    self := #{
        %% Tracked; an estimate while some come and go.
        owners := non_neg_integer(),
        %% Native memory, an estimate from what is counted.
        memory_bytes := non_neg_integer(),
        %% Alerts and clearings that came too fast for the handlers.
        alerts_lost := non_neg_integer(),
        %% Wake-ups of a monitor that was dead.
        wakeups_dropped := non_neg_integer(),
        %% How often a process with a long mailbox was not held, since 100 were, since the watch began.
        mailboxes_passed_over := non_neg_integer()
    }
}.
-doc "This says of a rate how many keys have a bucket, what was taken, costs added up, and how often was refused.".
-type rate_row() :: {
    erlmcp_overload_rate:name(), Keys :: non_neg_integer(), Taken :: non_neg_integer(), Refused :: non_neg_integer()
}.
-doc "A distribution says of latencies in microseconds how many were below which bounds. It is exact.".
-type distribution() :: #{
    count := non_neg_integer(),
    sum_us := non_neg_integer(),
    below := [{Us :: pos_integer(), Cumulative :: non_neg_integer()}]
}.
-doc """
This is what `erlmcp_control_plane:get_stats/0` returns, where `delivered` is called `total_delivered`, with the
distributions of `latency` and `delivery`, and in each component's row `latency` and `by_type`.
""".
-type control_row() :: #{
    delivered := non_neg_integer(),
    latency := distribution(),
    %% Senders' waits that have ended, and their sum in microseconds.
    waits := #{erlmcp_control_message:control_type() => non_neg_integer()},
    waits_us := #{erlmcp_control_message:control_type() => non_neg_integer()},
    delivery := distribution(),
    atom() => term()
}.

-define(TYPES, [circuit_breaker, health_check, drain_session, cancel_task]).

-doc "Returns the table of metrics, without values.".
-spec fields() -> [field()].
fields() ->
    [Field || {Field, _} <- table()].

-doc "Returns all metrics that have a value now, with their values.".
-spec collect() -> [family()].
collect() ->
    families(snapshot()).

-doc "Returns all metrics that have a value in a snapshot, with their values.".
-spec families(snapshot()) -> [family()].
families(Snapshot) ->
    [{Field, Samples} || {Field, Read} <- table(), [_ | _] = Samples <- [Read(Snapshot)]].

-doc "Returns all numbers as of now, whatever is started.".
-spec snapshot() -> snapshot().
snapshot() ->
    case erlmcp_native:metrics_snapshot(own) of
        #{roles := Roles, rates := Rates} = Snapshot ->
            Sorted = lists:sort(fun(#{role := A}, #{role := B}) -> A =< B end, Roles),
            Snapshot#{
                roles := Sorted,
                rates := lists:sort(Rates),
                pressure => erlmcp_overload_node:pressure(),
                cancel => cancel()
            };
        _NoLibrary ->
            #{
                at_ms => erlang:system_time(millisecond),
                services => #{
                    erlmcp_queue_limits => false, erlmcp_overload_monitor => false, erlmcp_control_plane => false
                },
                switches => #{limits => false, overload => false, priority => false},
                roles => [],
                rates => [],
                control => undefined,
                pressure => off,
                cancel => undefined,
                self => #{
                    owners => 0,
                    memory_bytes => 0,
                    alerts_lost => 0,
                    wakeups_dropped => 0,
                    mailboxes_passed_over => 0
                }
            }
    end.

cancel() ->
    case erlmcp_native:cancel_stats() of
        Stats when is_map(Stats) -> Stats;
        _NotStarted -> undefined
    end.

-doc "Returns the components with their rows, by name.".
-spec components(control_row()) -> [{atom(), map()}].
components(#{by_component := Rows}) ->
    lists:sort(maps:to_list(Rows)).

table() ->
    queues() ++ [refusals(), waits() | rates()] ++ control() ++ cancelled() ++ pressure() ++ own().

queues() ->
    [
        field(
            {Metric, Name, unit(Kind), [~"role" | labels(Kind)]},
            Help,
            by_role(fun(#{Number := Value}) -> samples(Kind, Value) end)
        )
     || #{name := Number, kind := Kind, metric := {Metric, Name}, help := Help} <- erlmcp_native_role:numbers()
    ].

unit(ms) -> seconds;
unit(ms_at_level) -> seconds;
unit(ratio) -> ratio;
unit(caps) -> ratio;
unit(bytes) -> bytes;
unit(_) -> none.

labels(by_utilization) -> [~"from"];
labels(by_reason) -> [~"class"];
labels(caps) -> [~"cap"];
labels(Kind) when Kind =:= by_level; Kind =:= by_alert_level; Kind =:= ms_at_level -> [~"level"];
labels(_) -> [].

samples(_, undefined) ->
    [];
samples(limit, infinity) ->
    [];
samples(ms, Ms) ->
    [{[], Ms / 1000}];
samples(level, Level) ->
    [{[], erlmcp_native_role:severity(Level)}];
samples(ms_at_level, #{since_start := ByLevel}) ->
    [{Labels, Ms / 1000} || {Labels, Ms} <- samples(by_level, ByLevel)];
samples(Kind, ByLevel) when Kind =:= by_level; Kind =:= by_alert_level ->
    [{[word(Level)], maps:get(Level, ByLevel)} || Level <- erlmcp_native_role:levels(), is_map_key(Level, ByLevel)];
samples(by_utilization, Bands) ->
    [{[float_to_binary(From, [short])], Owners} || {From, Owners} <- Bands];
samples(by_reason, Refused) ->
    lists:sort(maps:to_list(sums([{[word(Class)], Count} || {Class, _, Count} <- Refused, Count > 0])));
samples(caps, Caps) ->
    [{[word(Of)], share(Used, Most)} || {Of, Used, Most} <- Caps, is_integer(Most)];
samples(_, Number) ->
    [{[], Number}].

%% Of nothing all is in use.
share(_, 0) -> 1.0;
share(Used, Most) -> Used / Most.

sums(Counted) ->
    lists:foldl(
        fun({Of, Count}, Sums) -> maps:update_with(Of, fun(Sum) -> Sum + Count end, Count, Sums) end, #{}, Counted
    ).

%% Over all roles, as what follows.
waits() ->
    field(
        {gauge, ~"queue_owners_by_wait", none, [~"from"]},
        ~"Owners of all roles at the last check, by how long one waits that comes, from so long up to the next.",
        fun(#{roles := Rows}) ->
            Sums = sums(lists:append([Bands || #{owners_by_wait := Bands} <- Rows])),
            [{[float_to_binary(FromMs / 1000, [short])], N} || {FromMs, N} <- lists:sort(maps:to_list(Sums))]
        end
    ).

%% Over all roles: that is one of a few for the node, instead of as many for each role, which has them by class alone.
refusals() ->
    field(
        {counter, ~"queue_refusals_by_reason", none, [~"class", ~"reason"]},
        ~"Requests refused over all roles, by how much they mattered and why, where there were any.",
        fun(#{roles := Rows}) ->
            All = [{[word(Class), word(Why)], N} || #{refused_by := By} <- Rows, {Class, Why, N} <- By],
            lists:sort(maps:to_list(sums(All)))
        end
    ).

rates() ->
    [
        rate(counter, ~"rate_taken", ~"What was taken of a rate, costs added up.", 3),
        rate(counter, ~"rate_refused", ~"Requests that a rate refused.", 4),
        rate(gauge, ~"rate_keys", ~"Keys that have a bucket of their own, since they have used some of it.", 2)
    ].

rate(Kind, Name, Help, Place) ->
    field({Kind, Name, none, [~"rate"]}, Help, fun(#{rates := Rows}) ->
        [{[word(element(1, Row))], element(Place, Row)} || Row <- Rows]
    end).

control() ->
    [
        field(
            {counter, ~"control_messages", none, [~"component", ~"type"]},
            ~"Control messages whose handler was started.",
            by_component(fun(#{by_type := ByType}) -> types(ByType) end)
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

cancelled() ->
    [
        cancel(gauge, ~"cancel_tokens", [], ~"Tasks that can be cancelled.", fun(#{tokens := N}) ->
            [{[], N}]
        end),
        cancel(gauge, ~"cancel_tombstones", [], ~"Early cancellations.", fun(#{tombstones := N}) ->
            [{[], N}]
        end),
        cancel(counter, ~"cancel_tasks", [~"how"], ~"Tasks cancelled.", fun(#{cancelled := By}) ->
            [{[word(How)], N} || {How, N} <- sorted(By)]
        end),
        cancel(
            counter,
            ~"cancel_lost",
            [~"what"],
            ~"Cancellations forgotten, for room.",
            fun(#{displaced := Early, notices_dropped := Messages}) ->
                [{[~"early"], Early}, {[~"message"], Messages}]
            end
        )
    ].

cancel(Kind, Name, Labels, Help, Samples) ->
    field({Kind, Name, none, Labels}, Help, fun(Snapshot) -> lists:append([Samples(S) || S <- cancels(Snapshot)]) end).

cancels(#{cancel := Stats}) -> [Stats || is_map(Stats)].

sorted(Map) -> lists:sort(maps:to_list(Map)).

pressure() ->
    [
        field(
            {gauge, ~"node_pressure", none, [~"cause"]},
            ~"How hard the node is pressed: 1 refuses what can be shed, 2 all but critical_plus.",
            fun(#{pressure := Pressure}) ->
                [{[word(Cause)], Level} || {Cause, #{level := Level}} <- causes(Pressure)]
            end
        ),
        cause(~"node_memory_used_bytes", bytes, ~"Memory in use.", memory, used),
        cause(~"node_memory_limit_bytes", bytes, ~"Memory that the node may use.", memory, limit),
        cause(~"node_run_queue", none, ~"Processes and ports that wait, for each scheduler.", run_queue, per_scheduler)
    ].

cause(Name, Unit, Help, Cause, Key) ->
    field({gauge, Name, Unit, []}, Help, fun(#{pressure := Pressure}) ->
        [{[], Number} || {Of, #{Key := Number}} <- causes(Pressure), Of =:= Cause, is_number(Number)]
    end).

causes(off) -> [];
causes(Pressure) -> [{Cause, map_get(Cause, Pressure)} || Cause <- [memory, run_queue]].

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
            alerts_lost
        ),
        native(
            counter,
            ~"native_wakeups_dropped",
            none,
            ~"Wake-ups of an overload monitor that was dead.",
            wakeups_dropped
        ),
        native(
            counter,
            ~"native_mailboxes_passed_over",
            none,
            ~"How often a process with a long mailbox was not held, since 100 were. Alerts are of those that are held.",
            mailboxes_passed_over
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
            ~"Refusals and mean latencies that were too many to be passed on to erlmcp_metrics_server.",
            relay_skipped
        )
    ].

field({Kind, Name, Unit, Labels}, Help, Read) ->
    {#{name => <<"erlmcp_", Name/binary>>, kind => Kind, unit => Unit, help => Help, labels => Labels}, Read}.

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

by_component(Samples) ->
    fun(#{control := undefined}) -> [];
       (#{control := Control}) ->
        [{[word(Id) | Labels], Value} || {Id, Row} <- components(Control), {Labels, Value} <- Samples(Row)]
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
    [{[word(Name)], case Flag of true -> 1; false -> 0 end} || {Name, Flag} <- sorted(Flags)].

%% Every so many bounds, from the first on.
histogram(#{count := Count, sum_us := SumUs, below := Below}, Step) ->
    #{count => Count, sum => SumUs / 1.0e6, buckets => buckets(Below, Step)}.

buckets([{Us, Cumulative} | Rest], Step) ->
    [{Us / 1.0e6, Cumulative} | buckets(lists:nthtail(min(Step - 1, length(Rest)), Rest), Step)];
buckets([], _) ->
    [].

word(Atom) ->
    atom_to_binary(Atom).
