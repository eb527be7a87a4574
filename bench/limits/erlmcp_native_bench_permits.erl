-module(erlmcp_native_bench_permits).
-moduledoc """
A place that a permit holds beside one that is counted in and out; and what very many permits leave behind.

What a permit costs is mostly the runtime's: it makes a resource and ends it, with the garbage of the process that held
it. A ratio is of what both take at best, as in the group `hot`.
""".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(ROLE, session).
-define(LIMIT, ((1 bsl 59) - 1)).
-define(HELD, [1_000, 100_000]).

-doc "Times one caller on its own owner, and two on one; then takes permits by the million.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{rounds := Rounds, step_ms := StepMs, quick := Quick} = Options) ->
    {ok, _} = erlmcp_queue_limits:start_link(),
    ok = erlmcp_queue_limits:set_limit(?ROLE, ?LIMIT),
    Many = Options#{rounds := 8 * Rounds, step_ms := max(1, StepMs div 8)},
    Steps = [{timed, Name, {as, admit, 1}} || Name <- [admit, hold, drop]],
    Own = time(1, Steps, fun(Caller, _, _) -> {one, Caller} end, Many),
    Shared = time(2, Steps, fun(_, _, _) -> {one, self()} end, Many),
    Count = case Quick of true -> 100_000; false -> 5_000_000 end,
    Left = left(Count),
    Ends = [{Held, lists:min([end_ns(Held) || _ <- lists:seq(1, Rounds)])} || Held <- ?HELD],
    #{current_depth := 0, unmatched_dequeues := 0} = erlmcp_queue_limits:get_role_stats(?ROLE),
    ok = gen_server:stop(erlmcp_queue_limits),
    result(Own, Shared, Count, Left, Ends).

time(Count, Steps, Whose, Options) ->
    Callers = erlmcp_native_bench_run:start_callers(Count),
    Timings = erlmcp_native_bench_run:rounds(Options, Callers, Steps, {?ROLE, Whose}),
    ok = erlmcp_native_bench_run:stop_callers(Callers),
    Timings.

%% Half of them are released, half dropped, each kind in a process of its own, which is gone when memory is looked at. A
%% first run of each makes what stays anyway.
left(Count) ->
    ok = take(1_000),
    Before = erlmcp_native_bench_run:memory([]),
    ok = take(Count),
    After = erlmcp_native_bench_run:memory([]),
    #{current_depth := Depth, owners := Owners} = erlmcp_queue_limits:get_role_stats(?ROLE),
    #{
        depth => Depth,
        owners => Owners,
        native => map_get(native, After) - map_get(native, Before),
        vm => map_get(vm, After) - map_get(vm, Before)
    }.

take(Count) ->
    ok = erlmcp_queue_limits:record_enqueue(?ROLE, permits),
    ok = in_process(fun() -> erlmcp_native_bench_loops:run(hold, ?ROLE, {one, permits}, Count) end),
    ok = in_process(fun() -> erlmcp_native_bench_loops:run(drop, ?ROLE, {one, permits}, Count) end),
    ok = emptied(100),
    ok = erlmcp_queue_limits:forget(?ROLE, permits).

%% The destructors of a process's last permits may run just after its end.
emptied(0) ->
    {error, erlmcp_queue_limits:get_queue_depth(?ROLE, permits)};
emptied(Ms) ->
    case erlmcp_queue_limits:get_queue_depth(?ROLE, permits) of
        1 -> ok;
        _ -> receive after 1 -> emptied(Ms - 1) end
    end.

in_process(Fun) ->
    {Pid, Monitor} = spawn_monitor(Fun),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end.

%% How long it takes from the kill of a process with so many permits until the last place is free.
end_ns(Held) ->
    Self = self(),
    Holder = spawn(fun() ->
        Permits = [Permit || _ <- lists:seq(1, Held), {ok, Permit} <- [erlmcp_queue_limits:acquire(?ROLE, permits)]],
        Self ! {self(), held},
        receive never -> Permits end
    end),
    receive {Holder, held} -> ok end,
    Held = erlmcp_queue_limits:get_queue_depth(?ROLE, permits),
    Start = erlang:monotonic_time(nanosecond),
    true = exit(Holder, kill),
    ok = free(),
    Ns = erlang:monotonic_time(nanosecond) - Start,
    ok = erlmcp_queue_limits:forget(?ROLE, permits),
    Ns.

free() ->
    case erlmcp_queue_limits:get_queue_depth(?ROLE, permits) of
        0 -> ok;
        _ -> erlang:yield(), free()
    end.

result(Own, Shared, Count, #{native := Native, vm := Vm} = Left, Ends) ->
    Rows = [
        {admit, "try_enqueue + record_dequeue"}, {hold, "acquire + release"}, {drop, "acquire, and dropped"}
    ],
    Each = erlmcp_native_bench_report:count(Count),
    #{
        title => "Queue limits: permits, ns for taking a place and giving it back, median / least of the rounds",
        tables => [
            #{
                head => ["", "own owner, 1 caller", "one owner, 2 callers"],
                left => 1,
                rows => [[Name, cell(Op, Own), cell(Op, Shared)] || {Op, Name} <- Rows]
            },
            #{
                head => ["a process dies that holds", "until the last place is free"],
                left => 1,
                rows => [
                    [[erlmcp_native_bench_report:count(Held), " permits"], [erlmcp_native_bench_report:ns(Ns), " ns"]]
                 || {Held, Ns} <- Ends
                ]
            }
        ],
        notes => [
            "targets are of the least. Two callers: wall time x 2 / operations",
            io_lib:format("~ts permits released and as many dropped left ~b bytes native and ~b of the VM", [
                Each, Native, Vm
            ])
        ],
        targets => [
            target("acquire + release, own owner, 1 caller", 250, least(hold, Own), " ns"),
            target(["native bytes left, of ", Each, " released and as many dropped"], Count div 100, Native, " bytes"),
            target("bytes of the VM left, of those", Count div 100, Vm, " bytes")
        ],
        data => #{own => Own, shared => Shared, left => Left, ends => [#{held => H, ns => Ns} || {H, Ns} <- Ends]}
    }.

target(Name, Target, Measured, Unit) ->
    #{name => Name, better => lower, target => Target, measured => Measured, unit => Unit}.

cell(Operation, Timings) ->
    #{Operation := #{ns := Ns, least_ns := Least}} = Timings,
    [erlmcp_native_bench_report:ns(Ns), " / ", erlmcp_native_bench_report:ns(Least)].

least(Operation, Timings) -> map_get(least_ns, map_get(Operation, Timings)).
