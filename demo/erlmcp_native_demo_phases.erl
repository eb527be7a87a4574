-module(erlmcp_native_demo_phases).
-moduledoc "The phases: what is asked of the node in each, what to look at, and when each begins.".

-export([timeline/1, orders/1, limits/0, limit/1, title/1, now/1, look/1]).

-export_type([step/0]).

-define(CLIENTS, 8).
-define(LIMIT, 2_500).
-define(WAIT_MS, 500).

-doc "A step says what happens at a moment.".
-type step() ::
    {phase, erlmcp_native_demo_meter:phase()}
    | {fault, erlmcp_native_demo_fault:kind() | memory}
    | stop.

-doc "Returns what happens when, in microseconds from the start, for a run of so many seconds.".
-spec timeline(Seconds :: pos_integer()) -> [{non_neg_integer(), step()}].
timeline(Seconds) ->
    [
        {round(Share * Seconds * 1.0e6), Step}
     || {Share, Step} <- [
            {0.0, {phase, calm}},
            {0.10, {phase, surge}},
            {0.22, {phase, fixed}},
            {0.39, {phase, pause}},
            {0.45, {phase, wait}},
            {0.62, {phase, faults}},
            {0.63, {fault, session}},
            {0.66, {fault, executor}},
            {0.69, {fault, executor}},
            {0.71, {fault, limits}},
            {0.73, {fault, naive}},
            {0.78, {phase, pressure}},
            {0.79, {fault, memory}},
            {0.91, {phase, recovery}},
            {1.0, stop}
        ]
    ].

-doc """
Returns what a phase asks for: requests a second that each client offers, and how many each executor finishes (0: all
it can).
""".
-spec orders(Phase) -> {Phase, non_neg_integer(), non_neg_integer()} when Phase :: erlmcp_native_demo_meter:phase().
orders(calm) -> {calm, 20_000 div ?CLIENTS, 0};
orders(surge) -> {surge, 100_000 div ?CLIENTS, 0};
orders(fixed) -> {fixed, 100_000 div ?CLIENTS, 2_000};
orders(pause) -> {pause, 0, 2_000};
orders(wait) -> {wait, 100_000 div ?CLIENTS, 2_000};
orders(faults) -> {faults, 100_000 div ?CLIENTS, 2_000};
orders(pressure) -> {pressure, 20_000 div ?CLIENTS, 0};
orders(recovery) -> {recovery, 20_000 div ?CLIENTS, 0}.

-doc "Returns the limits of all roles at the start.".
-spec limits() -> erlmcp_queue_limits:limit_config().
limits() ->
    #{session => 2_000, transport => 1_000, tool_executor => ?LIMIT, sse_stream => 1_000}.

-doc "Returns the limit of each executor from a phase on.".
-spec limit(erlmcp_native_demo_meter:phase()) -> erlmcp_queue_limits:limit_setting().
limit(Phase) when Phase =:= calm; Phase =:= surge; Phase =:= fixed -> ?LIMIT;
limit(_Phase) -> {wait, ?WAIT_MS, #{max => ?LIMIT}}.

-doc "Returns a phase's name and place among the phases.".
-spec title(erlmcp_native_demo_meter:phase()) -> string().
title(calm) -> "CALM (1 of 8)";
title(surge) -> "SURGE (2 of 8)";
title(fixed) -> "OVERLOAD, FIXED (3 of 8)";
title(pause) -> "PAUSE (4 of 8)";
title(wait) -> "OVERLOAD, WAIT (5 of 8)";
title(faults) -> "FAULTS (6 of 8)";
title(pressure) -> "PRESSURE (7 of 8)";
title(recovery) -> "RECOVERY (8 of 8)".

-doc "Says in a line what happens in a phase.".
-spec now(erlmcp_native_demo_meter:phase()) -> string().
now(calm) -> "8 clients send 20,000 requests/s, by 8 sessions, to 8 tool executors.";
now(surge) -> "100,000 requests/s, and executors at full speed: all are served.";
now(fixed) -> "100,000/s, 1 in 16 critical; executors do 2,000/s each; limit 2,500.";
now(pause) -> "nobody asks for anything; the limit becomes {wait, 500}.";
now(wait) -> "the same 100,000/s, executors and classes; limit {wait, 500}.";
now(faults) -> "the same; a session hangs, executors and a service are killed.";
now(pressure) -> "20,000 requests/s; somebody takes as much memory as all else has.";
now(recovery) -> "20,000 requests/s and full speed again.".

-doc "Says in a line what to look at in a phase.".
-spec look(erlmcp_native_demo_meter:phase()) -> string().
look(calm) -> "queues are empty, nothing is refused, control takes microseconds.";
look(surge) -> "five times the load: queues stay short, control as fast as before.";
look(fixed) -> "sheddable work is refused, critical is not; whoever gets in waits long.";
look(pause) -> "queues drain, so that both overloads begin alike.";
look(wait) -> "each executor's limit follows its pace; whoever gets in waits 500 ms.";
look(faults) -> "counts are right and limits hold; control overtakes all that waits.";
look(pressure) -> "the node refuses sheddable work, and clears by itself.";
look(recovery) -> "queues are empty, alerts clear, breakers close.".
