-module(erlmcp_native_demo_phases).
-moduledoc "The phases: what is asked of the node in each, what to look at, and when each begins.".

-export([timeline/1, orders/1, limits/0, limit/1, title/1, now/1, look/1]).

-export_type([phase/0, step/0, orders/0]).

-define(CLIENTS, 8).
-define(LIMIT, 2_500).
-define(WAIT_MS, 500).

-doc """
Before the phases of the meter, two are on nodes of their own, `naive` and `bounded`, and one is of this node and
two more.
""".
-type phase() :: naive | bounded | nodes | erlmcp_native_demo_meter:phase().
-doc "A step says what happens at a moment.".
-type step() ::
    {phase, erlmcp_native_demo_meter:phase()}
    | {fault, erlmcp_native_demo_fault:kind() | memory | cancel}
    | stop.
-doc """
Orders are requests a second that each client offers, those that the noisy one offers, and how many each executor
finishes (0: all it can).
""".
-type orders() :: {
    erlmcp_native_demo_meter:phase(),
    Client :: non_neg_integer(),
    Noisy :: non_neg_integer(),
    Speed :: non_neg_integer()
}.

-doc "Returns what happens when, in microseconds from the start, for a run of so many seconds.".
-spec timeline(Seconds :: pos_integer()) -> [{non_neg_integer(), step()}].
timeline(Seconds) ->
    [
        {round(Share * Seconds * 1.0e6), Step}
     || {Share, Step} <- [
            {0.0, {phase, calm}},
            {0.08, {phase, tenants}},
            {0.15, {phase, noisy}},
            {0.24, {phase, surge}},
            {0.33, {phase, fixed}},
            {0.48, {phase, pause}},
            {0.54, {phase, wait}},
            {0.62, {fault, cancel}},
            {0.69, {phase, faults}},
            {0.70, {fault, session}},
            {0.72, {fault, executor}},
            {0.75, {fault, executor}},
            {0.77, {fault, limits}},
            {0.78, {fault, naive}},
            {0.82, {phase, pressure}},
            {0.83, {fault, memory}},
            {0.93, {phase, recovery}},
            {1.0, stop}
        ]
    ].

-doc "Returns what a phase asks for.".
-spec orders(erlmcp_native_demo_meter:phase()) -> orders().
orders(calm) -> {calm, 20_000 div ?CLIENTS, 0, 0};
orders(tenants) -> {tenants, 20_000 div ?CLIENTS, 0, 10_000};
orders(noisy) -> {noisy, 20_000 div ?CLIENTS, 100_000, 10_000};
orders(surge) -> {surge, 100_000 div ?CLIENTS, 0, 0};
orders(fixed) -> {fixed, 100_000 div ?CLIENTS, 0, 2_000};
orders(pause) -> {pause, 0, 0, 2_000};
orders(wait) -> {wait, 100_000 div ?CLIENTS, 0, 2_000};
orders(faults) -> {faults, 100_000 div ?CLIENTS, 0, 2_000};
orders(pressure) -> {pressure, 20_000 div ?CLIENTS, 0, 0};
orders(recovery) -> {recovery, 20_000 div ?CLIENTS, 0, 0}.

-doc "Returns the limits of all roles at the start.".
-spec limits() -> erlmcp_queue_limits:limit_config().
limits() ->
    #{session => 2_000, transport => 1_000, tool_executor => ?LIMIT, sse_stream => 1_000}.

-doc "Returns the limit of each executor from a phase on.".
-spec limit(erlmcp_native_demo_meter:phase()) -> erlmcp_queue_limits:limit_setting().
limit(Phase) when Phase =:= pause; Phase =:= wait; Phase =:= faults; Phase =:= pressure; Phase =:= recovery ->
    {wait, ?WAIT_MS, #{max => ?LIMIT}};
limit(_Phase) ->
    ?LIMIT.

-doc "Returns a phase's name and place among all phases.".
-spec title(phase()) -> string().
title(Phase) ->
    Phases = [naive, bounded, nodes | erlmcp_native_demo_meter:phases()],
    Place = length(lists:takewhile(fun(Before) -> Before =/= Phase end, Phases)) + 1,
    lists:concat([name(Phase), " (", Place, "/", length(Phases), ")"]).

name(naive) -> "A NAIVE NODE";
name(bounded) -> "THE SAME, BOUNDED";
name(nodes) -> "THREE NODES";
name(calm) -> "CALM";
name(tenants) -> "TENANTS";
name(noisy) -> "A NOISY ONE";
name(surge) -> "SURGE";
name(fixed) -> "OVERLOAD, FIXED";
name(pause) -> "PAUSE";
name(wait) -> "OVERLOAD, WAIT";
name(faults) -> "FAULTS";
name(pressure) -> "PRESSURE";
name(recovery) -> "RECOVERY".

-doc "Says in a line what happens in a phase.".
-spec now(phase()) -> unicode:chardata().
now(naive) -> "100,000 requests/s to 8 executors that do 2,000/s each, by a bare !.";
now(bounded) -> ["the same; in place of the ! is erlmcp_overload_mailbox:send/3."];
now(nodes) -> ["two more nodes; all share ", erlmcp_native_demo_member:limit(), ", and each asks for all of it."];
now(calm) -> "8 clients send 20,000 requests/s, by 8 sessions, to 8 tool executors.";
now(tenants) -> ["each client may ask ", erlmcp_native_demo_tenants:limit(), "; executors do 10,000/s each."];
now(noisy) -> "a ninth tenant asks 100,000 requests/s, and so for more than can be done.";
now(surge) -> "100,000 requests/s, and executors at full speed: all are served.";
now(fixed) -> "100,000/s, 1 in 16 critical; executors do 2,000/s each; limit 2,500.";
now(pause) -> "nobody asks for anything; the limit becomes {wait, 500}.";
now(wait) -> "the same 100,000/s, executors and classes; limit {wait, 500}.";
now(faults) -> "the same; a session hangs, executors and a service are killed.";
now(pressure) -> "20,000 requests/s; somebody takes as much memory as all else has.";
now(recovery) -> "20,000 requests/s and full speed again.".

-doc "Says in a line what to look at in a phase.".
-spec look(phase()) -> string().
look(naive) -> "mailboxes and memory grow; who asks waits 500 ms, and soon all is late.";
look(bounded) -> "what cannot be done is refused at once; what is answered is in time.";
look(nodes) -> "they get no more than the rate; one is killed, and is in no sum any more.";
look(calm) -> "queues are empty, nothing is refused, control takes microseconds.";
look(tenants) -> "nobody asks for more than its rate: nobody is refused.";
look(noisy) -> "it is held to its rate; the others are served as before, and as fast.";
look(surge) -> "five times the load: queues stay short, control as fast as before.";
look(fixed) -> "sheddable work is refused, critical is not; whoever gets in waits long.";
look(pause) -> "queues drain, so that both overloads begin alike.";
look(wait) -> "each limit follows its executor; a tool is cancelled past all that waits.";
look(faults) -> "counts are right and limits hold; control overtakes all that waits.";
look(pressure) -> "the node refuses sheddable work, and clears by itself.";
look(recovery) -> "queues are empty, alerts clear, breakers close.".
