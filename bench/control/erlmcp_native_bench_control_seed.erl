-module(erlmcp_native_bench_control_seed).
-moduledoc "What erlmcp said of its own control plane and priority messages, beside what was measured here.".

-export([table/1]).

-doc "Makes a table from the data of the parts.".
-spec table(map()) -> erlmcp_native_bench_report:table().
table(Data) ->
    #{
        idle_stats := #{latency_p50_us := P50, latency_p95_us := P95, latency_p99_us := P99},
        busy := #{check := #{sender := #{max_us := BusyMax}}},
        cpu := #{with := #{schedulers := With}, without := #{schedulers := Without}},
        memory := #{registered := #{vm := Vm, native := Native}},
        backlog := Backlog,
        unused := #{with_per_second := WithAlias, without_per_second := WithoutAlias}
    } = Data,
    [{Priority, Ordinary}] = [
        {P, C} || #{waiting := 100_000, work := decode, checks := #{p99_us := P}, call_us := C} <- Backlog
    ],
    Ms = fun(Us) -> [float_to_list(Us / 1000, [{decimals, 3}]), " ms"] end,
    #{
        head => ["erlmcp's own figures", "it said", "here"],
        left => 1,
        rows => [
            ["latency p50", "< 1 ms", Ms(P50)],
            ["latency p95", "< 5 ms", Ms(P95)],
            ["latency p99", "< 10 ms", Ms(P99)],
            ["health check, 100k messages/s, slowest", "< 100 ms", Ms(BusyMax)],
            ["CPU at 1,000 health checks/s", "< 1 %", percent(100 * (With - Without))],
            ["memory of a component", "~1 KB", [integer_to_list(round(Vm + Native)), " bytes"]],
            ["100k queued, decoded: priority p99", "5 ms", Ms(Priority)],
            ["100k queued, decoded: ordinary", "800 ms", Ms(Ordinary)],
            ["100k queued, decoded: one to the other", "160 x", [integer_to_list(round(Ordinary / Priority)), " x"]],
            ["ordinary messages with an unused alias", "100 %", percent(100 * WithAlias / WithoutAlias)]
        ]
    }.

percent(Percent) -> [float_to_list(float(Percent), [{decimals, 2}]), " %"].
