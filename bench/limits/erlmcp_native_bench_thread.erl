-module(erlmcp_native_bench_thread).
-moduledoc """
How long a single call keeps a scheduler's thread, as near as can be seen from Erlang.

Calls are timed one by one on the wall clock, in a process that stays on one scheduler. Where the system
tells (Linux), the time that this scheduler's thread has run is read before and after every few calls.
Neither the wall time of the slowest of them nor what the thread ran for all of them can be less than what
the slowest took of the processor: `cpu_ns` is the lesser of the two. It errs upwards, by the other calls
or by what the hypervisor takes, and the least of several runs is the one least disturbed.
""".

-export([run/1, neighbour/1, slowest/2, least/1]).

-export_type([slowest/0]).

-doc "This is the slowest call: on the wall clock, and at most on the processor, in nanoseconds.".
-type slowest() :: #{wall_ns := non_neg_integer(), cpu_ns := non_neg_integer(), calls := non_neg_integer()}.

-define(SCHEDULER, 1).
%% Few enough that the process is not scheduled out in between.
-define(CHUNK, 100).

-doc "Runs a fun in a process that stays on one scheduler, and returns its result.".
-spec run(fun(() -> Result)) -> Result.
run(Fun) ->
    Parent = self(),
    Tag = make_ref(),
    _ = spawn_opt(
        fun() ->
            process_flag(priority, high),
            Parent ! {Tag, Fun()}
        end,
        %% Room enough that what it collects is not mistaken for what it calls.
        [link, {scheduler, ?SCHEDULER}, {min_heap_size, 8_000_000}, {min_bin_vheap_size, 100_000_000}]
    ),
    receive
        {Tag, Result} -> Result
    end.

-doc "Starts a process with a monitor on the scheduler of `run/1`, at no higher a priority.".
-spec neighbour(fun(() -> term())) -> {pid(), reference()}.
neighbour(Fun) ->
    spawn_opt(Fun, [monitor, {scheduler, ?SCHEDULER}]).

-doc "Calls a fun with each of the arguments, and returns the slowest call. It is to be used in `run/1`.".
-spec slowest(fun((Argument) -> term()), [Argument]) -> slowest().
slowest(Call, Arguments) ->
    File = schedstat(),
    chunks(Call, Arguments, File, ran_ns(File), #{wall_ns => 0, cpu_ns => 0, calls => 0}).

chunks(_, [], _, _, Slowest) ->
    Slowest;
chunks(Call, Arguments, File, Before, #{wall_ns := Wall, cpu_ns := Cpu, calls := Calls}) ->
    {Longest, Rest} = chunk(Call, Arguments, ?CHUNK, 0),
    After = ran_ns(File),
    Done = #{
        wall_ns => max(Wall, Longest),
        cpu_ns => max(Cpu, ran(Longest, After, Before)),
        calls => Calls + length(Arguments) - length(Rest)
    },
    chunks(Call, Rest, File, After, Done).

ran(Longest, unknown, unknown) -> Longest;
ran(Longest, After, Before) -> min(Longest, After - Before).

chunk(_, [], _, Longest) ->
    {Longest, []};
chunk(_, Rest, 0, Longest) ->
    {Longest, Rest};
chunk(Call, [Argument | Rest], N, Longest) ->
    Start = erlang:monotonic_time(nanosecond),
    _ = Call(Argument),
    Ns = erlang:monotonic_time(nanosecond) - Start,
    chunk(Call, Rest, N - 1, max(Longest, Ns)).

schedstat() ->
    Threads = filelib:wildcard("/proc/" ++ os:getpid() ++ "/task/*"),
    Name = iolist_to_binary(io_lib:format("erts_sched_~b\n", [?SCHEDULER])),
    case [Thread || Thread <- Threads, file:read_file(filename:join(Thread, "comm")) =:= {ok, Name}] of
        [Thread] -> filename:join(Thread, "schedstat");
        [] -> none
    end.

ran_ns(none) ->
    unknown;
ran_ns(File) ->
    {ok, Text} = file:read_file(File, [raw]),
    [Ran | _] = binary:split(Text, <<" ">>),
    binary_to_integer(Ran).

-doc "Returns the least disturbed of several runs.".
-spec least([slowest(), ...]) -> slowest().
least(Runs) ->
    #{
        wall_ns => lists:min([Wall || #{wall_ns := Wall} <- Runs]),
        cpu_ns => lists:min([Cpu || #{cpu_ns := Cpu} <- Runs]),
        calls => lists:sum([Calls || #{calls := Calls} <- Runs])
    }.
