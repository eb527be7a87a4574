-module(erlmcp_native_bench_hot).
-moduledoc """
The hot operations of the queue limits beside what cannot be spared: a native that decodes the same and does one
sequentially consistent addition, and `atomics:add_get/3`.

Few things are timed, in many short rounds. A ratio is of what both take at best: of neighbours on a shared machine that
is the least disturbed.
""".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(ROLE, session).
-define(CLOSED_ROLE, tool_executor).
-define(LIMIT, ((1 bsl 59) - 1)).
-define(HOT, [
    {check, "check_capacity"},
    {enqueue, "record_enqueue"},
    {dequeue, "record_dequeue"},
    {try_enqueue, "try_enqueue"}
]).

-doc "Times one caller on its own owner, and two on one.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{rounds := Rounds, step_ms := StepMs} = Options) ->
    ok = erlmcp_native_probe:load(),
    {ok, _} = erlmcp_queue_limits:start_link(),
    ok = erlmcp_queue_limits:set_limit(?ROLE, ?LIMIT),
    ok = erlmcp_queue_limits:set_limit(?CLOSED_ROLE, 0),
    Many = Options#{rounds := 8 * Rounds, step_ms := max(1, StepMs div 8)},
    Counts = [{timed, Name, {as, floor, 1}} || Name <- [floor, check, enqueue, dequeue, try_enqueue]],
    Undo = [{untimed, dequeue, {as, floor, 1}}],
    Refused = [{timed, refused, {as, floor, 8}}],
    Own = time(1, Counts ++ Undo ++ Refused, fun(Caller, _, _) -> {one, Caller} end, Many),
    Shared = time(2, Counts ++ Undo, fun(_, _, _) -> {one, self()} end, Many),
    Array = atomics:new(1, []),
    Atomics = time(1, [{timed, atomics, {as, atomics, 1}}], fun(_, _, _) -> {one, Array} end, Many),
    Alias = erlmcp_priority:create_priority_alias(),
    Aliases = time(1, [{timed, alias, {as, alias, 1}}], fun(_, _, _) -> {one, Alias} end, Many),
    ok = erlmcp_priority:delete_priority_alias(Alias),
    ok = gen_server:stop(erlmcp_queue_limits),
    result(maps:merge(Own, maps:merge(Atomics, Aliases)), Shared).

time(Count, Steps, Whose, Options) ->
    Callers = erlmcp_native_bench_run:start_callers(Count),
    lists:foreach(fun(Pid) -> ok = erlmcp_queue_limits:record_enqueue(?CLOSED_ROLE, Pid) end, Callers),
    Timings = erlmcp_native_bench_run:rounds(Options, Callers, Steps, {?ROLE, Whose}),
    ok = erlmcp_native_bench_run:stop_callers(Callers),
    Timings.

result(Own, Shared) ->
    Rows = [{floor, "the floor"} | ?HOT],
    Further = [{refused, "a refusal"}, {atomics, "atomics:add_get"}, {alias, "is_priority_alias"}],
    #{
        title => "Queue limits: the hot operations and the floor, ns an operation, median / least of the rounds",
        tables => [
            #{
                head => ["", "own owner, 1 caller", "one owner, 2 callers"],
                left => 1,
                rows => [[Name, cell(Op, Own), cell(Op, Shared)] || {Op, Name} <- Rows ++ Further]
            }
        ],
        notes => [
            "the floor is a native that decodes an atom and a pid and adds one to a word; with two callers, to one",
            "word. Targets are of the least. Two callers: wall time x 2 / operations"
        ],
        targets => lists:append([
            hot("the floor, own owner, 1 caller", 1.6, fun(Op) -> ratio(Op, floor, Own) end),
            hot("atomics:add_get, own owner, 1 caller", 2.2, fun(Op) -> ratio(Op, atomics, Own) end),
            hot("the floor, one owner, 2 callers", 2, fun(Op) -> ratio(Op, floor, Shared) end),
            [
                target("a refusal to the floor", 8, ratio(refused, floor, Own), " x"),
                target("is_priority_alias", 60, least(alias, Own), " ns")
            ]
        ]),
        data => #{own => Own, shared => Shared}
    }.

hot(What, Target, Measure) ->
    [target([Name, " to ", What], Target, Measure(Op), " x") || {Op, Name} <- ?HOT].

target(Name, Target, Measured, Unit) ->
    #{name => Name, better => lower, target => Target, measured => Measured, unit => Unit}.

cell(Operation, Timings) ->
    case Timings of
        #{Operation := #{ns := Ns, least_ns := Least}} ->
            [erlmcp_native_bench_report:ns(Ns), " / ", erlmcp_native_bench_report:ns(Least)];
        #{} ->
            ""
    end.

ratio(Operation, Beside, Timings) -> least(Operation, Timings) / least(Beside, Timings).

least(Operation, Timings) -> map_get(least_ns, map_get(Operation, Timings)).
