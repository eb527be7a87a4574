-module(erlmcp_native_demo_phases).
-moduledoc "The four phases: what is asked of the node in each, what to look at, and when each begins.".

-export([timeline/1, orders/1, title/1, now/1, look/1]).

-export_type([step/0]).

-define(CLIENTS, 8).

-doc "A step says what happens at a moment.".
-type step() :: {phase, erlmcp_native_demo_meter:phase()} | {fault, erlmcp_native_demo_fault:kind()} | stop.

-doc "Returns what happens when, in microseconds from the start, for a run of so many seconds.".
-spec timeline(Seconds :: pos_integer()) -> [{non_neg_integer(), step()}].
timeline(Seconds) ->
    [
        {round(Share * Seconds * 1.0e6), Step}
     || {Share, Step} <- [
            {0.0, {phase, calm}},
            {0.20, {phase, surge}},
            {0.45, {phase, overload}},
            {0.50, {fault, session}},
            {0.55, {fault, executor}},
            {0.60, {fault, executor}},
            {0.65, {fault, limits}},
            {0.70, {fault, naive}},
            {0.75, {phase, recovery}},
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
orders(overload) -> {overload, 100_000 div ?CLIENTS, 3_000};
orders(recovery) -> {recovery, 20_000 div ?CLIENTS, 0}.

-doc "Returns a phase's name and place among the phases.".
-spec title(erlmcp_native_demo_meter:phase()) -> string().
title(calm) -> "CALM (1 of 4)";
title(surge) -> "SURGE (2 of 4)";
title(overload) -> "OVERLOAD (3 of 4)";
title(recovery) -> "RECOVERY (4 of 4)".

-doc "Says in a line what happens in a phase.".
-spec now(erlmcp_native_demo_meter:phase()) -> string().
now(calm) -> "8 clients send 20,000 requests/s, by 8 sessions, to 8 tool executors.";
now(surge) -> "100,000 requests/s, and executors at full speed: all are served.";
now(overload) -> "100,000 requests/s, but each executor manages 3,000/s; some are killed.";
now(recovery) -> "20,000 requests/s and full speed again.".

-doc "Says in a line what to look at in a phase.".
-spec look(erlmcp_native_demo_meter:phase()) -> string().
look(calm) -> "queues are empty, nothing is refused, control takes microseconds.";
look(surge) -> "five times the load: queues stay short, control as fast as before.";
look(overload) -> "full at the limit, the rest refused; control overtakes all that waits.";
look(recovery) -> "queues drain, alerts clear, the breaker closes.".
