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

-export([fields/0, collect/0, families/1, snapshot/0]).

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
    %% Messages to aliases of other nodes that were not sent, by why.
    priority_dropped := #{busy | nodedown => non_neg_integer()},
    pressure := erlmcp_overload_node:pressure() | off,
    %% How many nodes this one hears, and how many there are to be.
    cluster := #{counted := erlmcp_overload_cluster_picture:counted(), expected := pos_integer()} | off,
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
-doc "This is all there is to say of a rate, with its name.".
-type rate_row() :: #{name := erlmcp_overload_rate:name(), atom() => term()}.
-doc "A distribution says of latencies in microseconds how many were below which bounds. It is exact.".
-type distribution() :: #{
    count := non_neg_integer(),
    sum_us := non_neg_integer(),
    below := [{Us :: pos_integer(), Cumulative :: non_neg_integer()}]
}.
-doc """
This is what `erlmcp_control_plane:get_stats/0` returns, where `delivered` is called `total_delivered`, with the
distributions of `latency` and `delivery`, and in each component's row `latency`, `by_type` and `rates`: by type, what
there is to say of its rate for that, if it has one, as `t:erlmcp_overload_rate:info/0`.
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
        #{roles := Roles, rates := Rates, control := Control} = Snapshot ->
            Sorted = lists:sort(fun(#{role := A}, #{role := B}) -> A =< B end, Roles),
            Snapshot#{
                roles := Sorted,
                rates := [(erlmcp_native_rate:info(Info))#{name => Name} || {Name, Info} <- lists:sort(Rates)],
                control := control(Control),
                priority_dropped => erlmcp_native:alias_drops(),
                pressure => erlmcp_overload_node:pressure(),
                cluster => cluster(),
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
                priority_dropped => #{},
                pressure => off,
                cluster => off,
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

control(undefined) ->
    undefined;
control(#{by_component := Rows} = Control) ->
    Control#{by_component := maps:map(fun component/2, Rows)}.

component(_, #{rates := Rates} = Row) ->
    Row#{rates := #{Type => erlmcp_native_rate:info(Info) || Type := Info <- Rates}}.

cluster() ->
    case erlmcp_overload_cluster_server:counted() of
        {Counted, Expected} -> #{counted => Counted, expected => Expected};
        none -> off
    end.

cancel() ->
    case erlmcp_native:cancel_stats() of
        Stats when is_map(Stats) -> Stats;
        _NotStarted -> undefined
    end.

table() ->
    erlmcp_native_metrics_limits:rows() ++ erlmcp_native_metrics_control:rows() ++ erlmcp_native_metrics_node:rows().
