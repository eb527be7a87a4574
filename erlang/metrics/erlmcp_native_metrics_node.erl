-module(erlmcp_native_metrics_node).
-moduledoc "The metrics of what presses the node, of the other nodes that it hears, and of the extension itself.".

-export([rows/0]).

-import(erlmcp_native_metric, [field/3, word/1, flags/1]).

-doc "Returns the metrics of the node, of its cluster, and of the extension.".
-spec rows() -> [erlmcp_native_metric:metric()].
rows() ->
    pressure() ++ cluster() ++ own().

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

cluster() ->
    [
        field(
            {gauge, ~"cluster_nodes", none, [~"state"]},
            ~"Nodes of the cluster, this one included, by whether they are heard.",
            fun(Snapshot) ->
                [
                    {[word(State)], map_get(State, Counted)}
                 || #{counted := Counted} <- clusters(Snapshot), State <- [fresh, stale, gone]
                ]
            end
        ),
        field(
            {gauge, ~"cluster_nodes_expected", none, []},
            ~"Nodes that there are when all are there, as configured.",
            fun(Snapshot) -> [{[], Expected} || #{expected := Expected} <- clusters(Snapshot)] end
        )
    ].

clusters(#{cluster := #{} = Cluster}) -> [Cluster];
clusters(#{}) -> [].

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

native(Kind, Name, Unit, Help, Key) ->
    field({Kind, Name, Unit, []}, Help, fun(#{self := #{Key := Value}}) -> [{[], Value}] end).

exporter(Kind, Name, Unit, Help, Key) ->
    field({Kind, Name, Unit, []}, Help, fun(_) -> [{[], N} || N <- exporters(Key)] end).

exporters(Key) ->
    [N || Name := N <- erlmcp_native_self:read(), Name =:= Key].
