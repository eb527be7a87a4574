-module(erlmcp_native_bench_run).
-moduledoc """
Times loops in the processes that run them.

All of a case's operations are timed once a round, one after the other, so that whatever else the machine
does hits all alike. A number is the median of the rounds, beside the least.

`ns` is processor time an operation: the time from the first caller's start to the last one's end, times
the schedulers that the callers can use, by all operations. For one caller that is plain latency.
`caller_ns` is what a caller sees, its own time by its own operations, as a mean over the callers.
""".

-export([start_callers/1, stop_callers/1, rounds/4, median/1]).
-export([memory/1]).

-export_type([step/0, timing/0, number_of/0]).

-doc "A step is what a caller does; `untimed` ones undo what a timed one did.".
-type step() :: {timed | untimed, erlmcp_native_bench_loops:operation(), number_of()}.
-doc "This says how often: as often as this operation takes a step's time, divided.".
-type number_of() :: {as, erlmcp_native_bench_loops:operation(), Divisor :: pos_integer()}.
-doc """
A timing has medians and the least over the rounds, in nanoseconds, and the operations of one round, all callers
together.
""".
-type timing() :: #{ns := float(), least_ns := float(), caller_ns := float(), operations := pos_integer()}.

-doc "Starts processes that run loops.".
-spec start_callers(pos_integer()) -> [pid(), ...].
start_callers(Count) ->
    [spawn_link(fun caller/0) || _ <- lists:seq(1, Count)].

-doc "Ends the callers, and returns when they are gone.".
-spec stop_callers([pid()]) -> ok.
stop_callers(Callers) ->
    Monitors = [erlang:monitor(process, Caller) || Caller <- Callers],
    lists:foreach(fun(Caller) -> Caller ! stop end, Callers),
    lists:foreach(fun(Monitor) -> receive {'DOWN', Monitor, process, _, _} -> ok end end, Monitors).

caller() ->
    receive
        {run, From, Tag, Operation, Role, Owners, N} ->
            Start = erlang:monotonic_time(nanosecond),
            ok = erlmcp_native_bench_loops:run(Operation, Role, Owners, N),
            End = erlang:monotonic_time(nanosecond),
            From ! {Tag, Start, End},
            caller();
        stop ->
            ok
    end.

-doc """
Runs the steps in rounds, after a warm-up. `Owners` says what each caller works on in a round, given its
index, from 1, and the number of operations it has done by then.
""".
-spec rounds(erlmcp_native_bench:options(), [pid(), ...], [step()], Work) ->
    #{erlmcp_native_bench_loops:operation() => timing()}
when
    Work :: {
        erlmcp_queue_limits:role(),
        fun((pid(), pos_integer(), non_neg_integer()) -> erlmcp_native_bench_loops:owners())
    }.
rounds(#{rounds := Rounds, step_ms := StepMs}, Callers, Steps, Work) ->
    Numbers = #{Like => calibrate(Like, StepMs, Callers, Work) || {_, _, {as, Like, _}} <- Steps},
    Stride = lists:max(maps:values(Numbers)),
    [_WarmUp | Timed] = [round(Steps, Numbers, Round * Stride, Callers, Work) || Round <- lists:seq(0, Rounds)],
    #{
        Operation => timing(Operation, Timed, number(Number, Numbers) * length(Callers))
     || {timed, Operation, Number} <- Steps
    }.

round(Steps, Numbers, Done, Callers, Work) ->
    Times = [
        {Kind, Operation, time(Operation, number(Number, Numbers), Done, Callers, Work)}
     || {Kind, Operation, Number} <- Steps
    ],
    #{Operation => Time || {timed, Operation, Time} <- Times}.

number({as, Like, Divisor}, Numbers) ->
    max(1, map_get(Like, Numbers) div Divisor).

time(Operation, N, Done, Callers, {Role, Owners}) ->
    Tag = make_ref(),
    Indexed = lists:enumerate(Callers),
    Runs = [{Caller, {run, self(), Tag, Operation, Role, Owners(Caller, I, Done), N}} || {I, Caller} <- Indexed],
    lists:foreach(fun({Caller, Run}) -> Caller ! Run end, Runs),
    Spans = [receive {Tag, Start, End} -> {Start, End} end || _ <- Callers],
    {Starts, Ends} = lists:unzip(Spans),
    Wall = lists:max(Ends) - lists:min(Starts),
    Width = min(length(Callers), erlang:system_info(schedulers_online)),
    Total = N * length(Callers),
    {Wall * Width / Total, lists:sum([End - Start || {Start, End} <- Spans]) / Total, Wall}.

%% Only operations that leave no trace, or one that does not matter, are calibrated with.
calibrate(Operation, StepMs, Callers, Work) ->
    calibrate(Operation, StepMs * 1_000_000, 100, Callers, Work).

calibrate(Operation, StepNs, N, Callers, Work) ->
    case time(Operation, N, 0, Callers, Work) of
        {_, _, Wall} when Wall < StepNs div 5 -> calibrate(Operation, StepNs, N * 2, Callers, Work);
        {_, _, Wall} -> max(N, N * StepNs div Wall)
    end.

timing(Operation, Rounds, Operations) ->
    {Ns, CallerNs, _} = lists:unzip3([map_get(Operation, Round) || Round <- Rounds]),
    #{ns => median(Ns), least_ns => lists:min(Ns), caller_ns => median(CallerNs), operations => Operations}.

-doc "Returns the middle one of some numbers; of an even number, the upper middle.".
-spec median([number(), ...]) -> number().
median(Numbers) ->
    lists:nth(length(Numbers) div 2 + 1, lists:sort(Numbers)).

-doc """
Returns the bytes in use now, by malloc and by the runtime, as soon as that hardly changes any more. These processes'
garbage is collected before.
""".
-spec memory([pid()]) -> #{native := non_neg_integer(), vm := non_neg_integer()}.
memory(Pids) ->
    lists:foreach(fun(Pid) -> true = erlang:garbage_collect(Pid) end, [self() | Pids]),
    #{vm => settled(erlang:memory(total), 10), native => erlmcp_native:native_memory()}.

%% What one scheduler frees for another takes a moment.
settled(Bytes, 0) ->
    Bytes;
settled(Bytes, Tries) ->
    receive after 5 -> ok end,
    case erlang:memory(total) of
        Other when abs(Other - Bytes) < 1_000 -> Other;
        Other -> settled(Other, Tries - 1)
    end.
