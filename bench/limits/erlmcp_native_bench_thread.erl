-module(erlmcp_native_bench_thread).
-moduledoc """
How long a single call keeps a scheduler's thread.

Calls are timed one by one in a process that stays on one scheduler: on the wall clock, and by the time that this
scheduler's thread has run. The former has in it that others had the processor, the latter has not. Both have in them
what interrupts and a hypervisor take that does not say so; how much that is, a call that does nothing shows.
""".

-export([run/1, neighbour/1, times/2, slowest/1, slowest/2, least/1]).

-export_type([slowest/0, times/0]).

-doc "This is the slowest call: on the wall clock, and on the processor, in nanoseconds.".
-type slowest() :: #{wall_ns := non_neg_integer(), cpu_ns := non_neg_integer(), calls := non_neg_integer()}.
-doc "These are the times of each call, in nanoseconds, in the order of the calls.".
-type times() :: [{WallNs :: non_neg_integer(), CpuNs :: non_neg_integer()}].

-define(SCHEDULER, 1).
%% Few enough that the process is not scheduled out in one of them.
-define(CHUNK, 100).

-doc "Runs a fun in a process that stays on one scheduler, and returns its result.".
-spec run(fun(() -> Result)) -> Result.
run(Fun) ->
    ok = erlmcp_native_probe:load(),
    Parent = self(),
    Tag = make_ref(),
    _ = spawn_opt(
        fun() ->
            process_flag(priority, high),
            Parent ! {Tag, Fun()}
        end,
        %% Room enough that what it collects is not mistaken for what it calls.
        [link, {scheduler, ?SCHEDULER}, {min_heap_size, 16_000_000}, {min_bin_vheap_size, 100_000_000}]
    ),
    receive
        {Tag, Result} -> Result
    end.

-doc "Starts a process with a monitor on the scheduler of `run/1`, at no higher a priority.".
-spec neighbour(fun(() -> term())) -> {pid(), reference()}.
neighbour(Fun) ->
    spawn_opt(Fun, [monitor, {scheduler, ?SCHEDULER}]).

-doc "Calls a fun with each of the arguments, and returns what each call took. It is to be used in `run/1`.".
-spec times(fun((Argument) -> term()), [Argument]) -> times().
times(Call, Arguments) ->
    times(Call, Arguments, 0, []).

times(_, [], _, Times) ->
    lists:reverse(Times);
times(Call, Arguments, 0, Times) ->
    true = erlang:yield(),
    times(Call, Arguments, ?CHUNK, Times);
times(Call, [Argument | Rest], Left, Times) ->
    Start = erlang:monotonic_time(nanosecond),
    Ran = erlmcp_native_probe:thread_cpu_ns(),
    _ = Call(Argument),
    CpuNs = erlmcp_native_probe:thread_cpu_ns() - Ran,
    WallNs = erlang:monotonic_time(nanosecond) - Start,
    times(Call, Rest, Left - 1, [{WallNs, CpuNs} | Times]).

-doc "Returns the slowest of some calls.".
-spec slowest(times()) -> slowest().
slowest(Times) ->
    {Wall, Cpu} = lists:foldl(fun({Wall, Cpu}, {W, C}) -> {max(Wall, W), max(Cpu, C)} end, {0, 0}, Times),
    #{wall_ns => Wall, cpu_ns => Cpu, calls => length(Times)}.

-doc "Calls a fun with each of the arguments, and returns the slowest call. It is to be used in `run/1`.".
-spec slowest(fun((Argument) -> term()), [Argument]) -> slowest().
slowest(Call, Arguments) ->
    slowest(times(Call, Arguments)).

-doc "Returns the least disturbed of several runs.".
-spec least([slowest(), ...]) -> slowest().
least(Runs) ->
    #{
        wall_ns => lists:min([Wall || #{wall_ns := Wall} <- Runs]),
        cpu_ns => lists:min([Cpu || #{cpu_ns := Cpu} <- Runs]),
        calls => lists:sum([Calls || #{calls := Calls} <- Runs])
    }.
