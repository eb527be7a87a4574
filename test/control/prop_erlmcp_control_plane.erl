%% Properties of the control plane and of its histograms. The service is started by whoever checks them.
-module(prop_erlmcp_control_plane).

-include_lib("proper/include/proper.hrl").

-export([prop_order/0, prop_latency/0]).

-define(P, erlmcp_control_plane).
-define(C, erlmcp_control_test_lib).
-define(LANES, [circuit_breaker, health_check, drain_session, cancel_task]).

%% Whatever waits when the handler is free: the most urgent type first, and within a type as it came.
prop_order() ->
    ?FORALL({Batches, Enabled}, {non_empty(list(list(oneof(?LANES)))), boolean()}, begin
        ok = ?P:set_enabled(Enabled),
        Test = self(),
        ok = ?P:register_component(order, fun
            ({control, _, #{n := gate}}) ->
                Test ! {gate, self()},
                receive open -> ok end;
            ({control, _, #{n := N}}) ->
                Test ! {ran, N}
        end),
        Results = [ordered(Batch) || Batch <- Batches],
        ok = ?P:unregister_component(order),
        lists:all(fun(Result) -> Result =:= true end, Results)
    end).

ordered(Types) ->
    ok = ?P:cast_priority(order, message(circuit_breaker, gate)),
    Gate = receive {gate, Pid} -> Pid end,
    Numbered = lists:enumerate(Types),
    [ok = ?P:cast_priority(order, message(Type, N)) || {N, Type} <- Numbered],
    Gate ! open,
    Expected = [N || Lane <- ?LANES, {N, Type} <- Numbered, Type =:= Lane],
    Expected =:= [receive {ran, N} -> N after 5000 -> lost end || _ <- Types].

message(Type, N) ->
    {control, Type, Data} = ?C:type(Type, N),
    {control, Type, Data#{n => N}}.

%% Percentiles agree with an exact computation to three significant digits.
prop_latency() ->
    Latency = frequency([{3, range(0, 100)}, {3, range(0, 50000)}, {3, range(0, 60000000)}, {1, 60000000}]),
    ?FORALL(Latencies, non_empty(list(Latency)), begin
        Histogram = erlmcp_native:latency_new(),
        [ok = erlmcp_native:latency_record(Histogram, Us) || Us <- Latencies],
        #{count := Count, p50_us := P50, p95_us := P95, p99_us := P99, p999_us := P999, max_us := Max} =
            erlmcp_native:latency_summary(Histogram),
        Sorted = lists:sort(Latencies),
        Pairs = [{P50, 500}, {P95, 950}, {P99, 990}, {P999, 999}, {Max, 1000}],
        Count =:= length(Latencies) andalso
            lists:all(fun({Seen, PerMille}) -> agrees(Seen, exact(Sorted, Count, PerMille)) end, Pairs)
    end).

exact(Sorted, Count, PerMille) ->
    lists:nth(max(1, (Count * PerMille + 999) div 1000), Sorted).

%% The answer is the highest value that is not told from the exact one.
agrees(Seen, Exact) ->
    Seen >= Exact andalso Seen - Exact =< Exact div 1000 + 1.
