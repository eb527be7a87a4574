-module(erlmcp_native_bench_control_backlog).
-moduledoc """
Control messages into a process in whose queue a great many ordinary ones wait already.

The process takes them meanwhile, and either drops them or decodes their JSON. It sees a priority message when
it is next scheduled, which is after 4000 reductions at most. A round in which half of the backlog was gone
before all was sent does not count: that was no backlog any more.
""".

-export([run/1]).

-import(erlmcp_native_bench_control_times, [head/1, row/2, us/1, time_ns/1, target/5]).

-define(CASES, [
    #{waiting => 100_000, work => drop, rounds => 6, samples => 5, calls => 1},
    #{waiting => 100_000, work => decode, rounds => 6, samples => 5, calls => 1},
    #{waiting => 1_000_000, work => drop, rounds => 3, samples => 50, calls => 1},
    #{waiting => 1_000_000, work => decode, rounds => 1, samples => 500, calls => 0.3}
]).

-doc "Measures with 1,000,000 messages waiting, and with the 100,000 of erlmcp's own benchmark.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{rounds := Rounds}) ->
    result([backlog(Case, Rounds) || Case <- ?CASES]).

backlog(#{waiting := Waiting, work := Work, rounds := Times, samples := Samples, calls := Share} = Case, Rounds) ->
    Check = fun() -> {ok, _} = erlmcp_control_plane:send_health_check(backlogged, liveness) end,
    Sample = fun(Pid) ->
        Checks = [time_ns(Check) || _ <- lists:seq(1, Samples)],
        {message_queue_len, Left} = process_info(Pid, message_queue_len),
        {Checks, Left}
    end,
    Call = fun(Pid) -> time_ns(fun() -> erlmcp_native_bench_control_peer:call(Pid) end) end,
    %% A round first that nobody looks at.
    [_ | Seen] = [waiting(Waiting, Work, Sample) || _ <- lists:seq(0, Times * Rounds)],
    Calls = [waiting(Waiting, Work, Call) || _ <- lists:seq(1, ceil(Times * Rounds * Share))],
    [_ | _] = Good = [Round || {_, Left} = Round <- Seen, Left >= Waiting div 2],
    {Checks, Left} = lists:unzip(Good),
    Case#{
        checks => summary(lists:sort(lists:append(Checks))),
        call_us => erlmcp_native_bench_run:median(Calls) / 1000,
        least_left => lists:min(Left),
        rounds_left_out => length(Seen) - length(Good)
    }.

waiting(Waiting, Work, Fun) ->
    {Pid, Alias} = erlmcp_native_bench_control_peer:start(normal, Work),
    ok = erlmcp_control_plane:register_component(backlogged, #{alias => Alias}),
    {ok, _} = erlmcp_control_plane:send_health_check(backlogged, liveness),
    true = erlang:suspend_process(Pid),
    Data = erlmcp_native_bench_control_peer:data(),
    lists:foreach(fun(_) -> Pid ! Data end, lists:seq(1, Waiting)),
    true = erlang:resume_process(Pid),
    Result = Fun(Pid),
    ok = erlmcp_native_bench_control_peer:stop(Pid),
    Result.

summary(Sorted) ->
    Count = length(Sorted),
    At = fun(Share) -> lists:nth(max(1, ceil(Share * Count)), Sorted) / 1000 end,
    #{
        count => Count,
        p50_us => At(0.5),
        p95_us => At(0.95),
        p99_us => At(0.99),
        p999_us => At(0.999),
        max_us => At(1)
    }.

result(Cases) ->
    #{
        title => "",
        tables => [
            #{
                head => head("round trip, waiting") ++ ["left", "out", "ordinary", "to p99"],
                left => 1,
                rows => [case_row(Case) || Case <- Cases]
            }
        ],
        notes => [
            "waiting   so many, each dropped or its JSON decoded: in the process's own time, meanwhile",
            "left      of those, the least after a round; out: rounds left out, for less than half was left",
            "ordinary  the median of ordinary ping-pongs, no monitor, once so many wait; to p99: by p99"
        ],
        targets => lists:append([targets(Case) || #{waiting := 1_000_000} = Case <- Cases]),
        data => #{backlog => Cases}
    }.

case_row(#{checks := #{p99_us := P99} = Checks, call_us := CallUs, least_left := Left} = Case) ->
    row(name(Case), Checks) ++
        [
            erlmcp_native_bench_report:count(Left div 1000 * 1000),
            integer_to_list(map_get(rounds_left_out, Case)),
            us(CallUs),
            [integer_to_list(round(CallUs / P99)), " x"]
        ].

name(#{waiting := Waiting, work := Work}) ->
    [erlmcp_native_bench_report:count(Waiting), ", ", case Work of drop -> "dropped"; decode -> "decoded" end].

targets(#{checks := #{p99_us := P99}, call_us := CallUs} = Case) ->
    [
        target(["in-process p99, ", name(Case)], lower, 1000, P99, " us"),
        target(["in-process p99, ", name(Case), ": ordinary to it"], higher, 1000, CallUs / P99, " x")
    ].
