-module(erlmcp_native_bench_control_cpu).
-moduledoc "What the control plane takes of the processors at 1,000 health checks a second, all else idle.".

-export([run/1]).

-doc "Measures a process that wakes once a millisecond, with health checks and without.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{quick := Quick}) ->
    Ms = case Quick of true -> 1_000; false -> 5_000 end,
    ok = erlmcp_control_plane:register_component(cpu, fun(_) -> ok end),
    Check = fun() -> {ok, _} = erlmcp_control_plane:send_health_check(cpu, liveness) end,
    Without = used(Ms, fun() -> ok end),
    With = used(Ms, Check),
    result(With, Without).

used(Ms, Fun) ->
    _ = erlang:statistics(runtime),
    Host = erlmcp_native_bench_control_host:read(),
    Start = erlang:monotonic_time(millisecond),
    Done = ticks(Start, Ms, Fun, 0),
    #{busy := Busy, ns := Ns} = erlmcp_native_bench_control_host:since(Host),
    {_, RuntimeMs} = erlang:statistics(runtime),
    #{
        %% Both of one processor.
        schedulers => Busy * erlang:system_info(schedulers_online),
        process => RuntimeMs * 1_000_000 / Ns,
        per_second => Done * 1_000_000_000 / Ns
    }.

ticks(Start, Ms, Fun, Done) ->
    case erlang:monotonic_time(millisecond) - Start of
        Due when Due > Ms ->
            Done;
        Due ->
            lists:foreach(fun(_) -> Fun() end, lists:seq(Done + 1, Due)),
            receive after 1 -> ticks(Start, Ms, Fun, Due) end
    end.

result(#{schedulers := With, process := ProcessWith, per_second := Rate} = Used, Without) ->
    #{schedulers := Idle, process := ProcessIdle} = Without,
    #{
        title => "",
        tables => [
            #{
                head => ["CPU of one core, %", "wake-ups alone", "with checks", "difference"],
                left => 1,
                rows => [
                    ["schedulers at work" | percents([Idle, With, With - Idle])],
                    ["operating-system process" | percents([ProcessIdle, ProcessWith, ProcessWith - ProcessIdle])]
                ]
            }
        ],
        notes => [
            io_lib:format("CPU       ~b health checks/s; the process's share includes schedulers that look for work", [
                round(Rate)
            ])
        ],
        targets => [],
        data => #{cpu => #{with => Used, without => Without}}
    }.

percents(Shares) ->
    [float_to_list(100.0 * Share, [{decimals, 2}]) || Share <- Shares].
