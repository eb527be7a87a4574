-module(erlmcp_native_metrics_control).
-moduledoc "The metrics of control messages and of tasks that can be cancelled.".

-export([rows/0]).

-import(erlmcp_native_metric, [field/3, word/1, components/1]).

-define(TYPES, [circuit_breaker, health_check, drain_session, cancel_task]).

-doc "Returns the metrics of the control plane.".
-spec rows() -> [erlmcp_native_metric:metric()].
rows() ->
    control() ++ far() ++ cancelled().

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
        field(
            {counter, ~"control_rate_refused", none, [~"component", ~"type"]},
            ~"Control messages refused since the component gets no more of the type, where it has a rate.",
            by_component(fun(#{rates := Rates}) ->
                [{[word(Type)], Refused} || {Type, #{refused := Refused}} <- sorted(Rates)]
            end)
        ),
        plane(~"control_slo_violations", ~"Health checks that took over 100 ms or were not answered.", slo_violations),
        plane(~"control_timeouts", ~"Senders of control messages that gave up.", timeouts),
        plane(~"control_handler_crashes", ~"Handlers of control messages that raised or died.", handler_crashes)
    ].

far() ->
    [
        field(
            {counter, ~"control_far", none, [~"how"]},
            ~"Control messages to other nodes, by what became of them.",
            fun(#{control := #{far := Fates}}) -> [{[word(Fate)], Number} || {Fate, Number} <- sorted(Fates)];
               (#{}) -> []
            end
        ),
        field(
            {counter, ~"priority_dropped", none, [~"why"]},
            ~"Priority messages to aliases of other nodes that were not sent.",
            fun(#{priority_dropped := Drops}) -> [{[word(Why)], Number} || {Why, Number} <- sorted(Drops)];
               (#{}) -> []
            end
        )
    ].

cancelled() ->
    [
        cancel(gauge, ~"cancel_tokens", [], ~"Tasks that can be cancelled.", fun(#{tokens := N}) ->
            [{[], N}]
        end),
        cancel(gauge, ~"cancel_tombstones", [], ~"Early cancellations.", fun(#{tombstones := N}) ->
            [{[], N}]
        end),
        cancel(
            gauge,
            ~"cancel_tombstones_limit",
            [],
            ~"Early cancellations that are remembered at most.",
            fun(#{tombstones_limit := N}) -> [{[], N}] end
        ),
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

types(ByType) ->
    [{[word(Type)], maps:get(Type, ByType)} || Type <- ?TYPES].

%% Every so many bounds, from the first on.
histogram(#{count := Count, sum_us := SumUs, below := Below}, Step) ->
    #{count => Count, sum => SumUs / 1.0e6, buckets => buckets(Below, Step)}.

buckets([{Us, Cumulative} | Rest], Step) ->
    [{Us / 1.0e6, Cumulative} | buckets(lists:nthtail(min(Step - 1, length(Rest)), Rest), Step)];
buckets([], _) ->
    [].
