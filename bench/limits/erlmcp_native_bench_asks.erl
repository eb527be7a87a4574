-module(erlmcp_native_bench_asks).
-moduledoc """
What a request costs that says something of itself, and one in a role with a reserve or caps, beside one in a role
without. Each is let in and leaves again.
""".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(LIMIT, ((1 bsl 59) - 1)).
-define(LIMITS, erlmcp_queue_limits).
%% Role, what it is, what is done there.
-define(CASES, [
    {session, plain, "without options, in a role without reserve and caps", admit},
    {session, class, "with a class", admit_class},
    {transport, reserve, "with a class, in a role with a reserve", admit_class},
    {sse_stream, many, "in a role with a cap of 1,000,000 places", admit},
    {task_worker, few, "in a role with a cap of 6,000 places", admit},
    {tool_executor, bytes, "with bytes, in a role with a cap of bytes", admit_bytes}
]).

-doc "Times one caller on its own owner, and two, each on its own.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{rounds := Rounds, step_ms := StepMs} = Options) ->
    {ok, _} = ?LIMITS:start_link(),
    [ok = ?LIMITS:set_limit(Role, ?LIMIT) || Role <- [session, transport, sse_stream, task_worker, tool_executor]],
    ok = ?LIMITS:set_reserve(transport, #{sheddable_plus => 10, sheddable => 50}),
    ok = ?LIMITS:set_caps(sse_stream, #{total => 1000000}),
    ok = ?LIMITS:set_caps(task_worker, #{total => 6000}),
    ok = ?LIMITS:set_caps(tool_executor, #{bytes => 1 bsl 40}),
    Many = Options#{rounds := 4 * Rounds, step_ms := max(1, StepMs div 4)},
    [One, Two] = [
        #{Name => time(Callers, Role, Operation, Many) || {Role, Name, _, Operation} <- ?CASES}
     || Callers <- [1, 2]
    ],
    ok = gen_server:stop(?LIMITS),
    result(One, Two).

time(Count, Role, Operation, Options) ->
    Callers = erlmcp_native_bench_run:start_callers(Count),
    Whose = fun(Caller, _, _) -> {one, Caller} end,
    Steps = [{timed, Operation, {as, Operation, 1}}],
    #{Operation := Timing} = erlmcp_native_bench_run:rounds(Options, Callers, Steps, {Role, Whose}),
    ok = erlmcp_native_bench_run:stop_callers(Callers),
    Timing.

result(One, Two) ->
    #{
        title => "What a request says, ns an enqueue and a dequeue, median / least of the rounds",
        tables => [
            #{
                head => ["", "1 caller", "2 callers"],
                left => 1,
                rows => [[What, cell(Name, One), cell(Name, Two)] || {_, Name, What, _} <- ?CASES]
            }
        ],
        notes => ["each caller has its own owner. Targets are of the least, with one caller"],
        targets => [
            #{
                name => ["what it adds: ", What],
                better => lower,
                target => 20,
                measured => least(Name, One) - least(plain, One),
                unit => " ns"
            }
         || {_, Name, What, _} <- tl(?CASES)
        ],
        data => #{one => One, two => Two}
    }.

cell(Name, Timings) ->
    #{ns := Ns, least_ns := Least} = maps:get(Name, Timings),
    [erlmcp_native_bench_report:ns(Ns), " / ", erlmcp_native_bench_report:ns(Least)].

least(Name, Timings) -> map_get(least_ns, map_get(Name, Timings)).
