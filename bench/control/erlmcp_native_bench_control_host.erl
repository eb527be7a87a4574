-module(erlmcp_native_bench_control_host).
-moduledoc """
Whether the machine was ours: how long the schedulers' threads were ready to run and had no core, and how
busy the schedulers were. Linux tells the first; elsewhere it is not known.
""".

-export([read/0, since/1]).

-export_type([reading/0]).

-doc "A reading is to be given to `since/1`.".
-opaque reading() :: {Ns :: integer(), WaitedNs :: non_neg_integer() | unknown, [tuple()]}.

-doc "Takes a reading. The schedulers' times are kept while the calling process lives.".
-spec read() -> reading().
read() ->
    _ = erlang:system_flag(scheduler_wall_time, true),
    %% Reading files takes a while: last comes what must fit together.
    Waited = waited_ns(),
    {erlang:monotonic_time(nanosecond), Waited, lists:sort(erlang:statistics(scheduler_wall_time))}.

-doc """
Returns what has happened since a reading, as shares of all the schedulers' time: `waited`, without a core though
ready; `busy`, not waiting for work. `ns` is how many nanoseconds ago the reading was taken.
""".
-spec since(reading()) -> #{waited := float() | unknown, busy := float(), ns := integer()}.
since({Before, WaitedBefore, TimesBefore}) ->
    {Now, Waited, Times} = read(),
    Schedulers = erlang:system_info(schedulers_online),
    Online = [{I, A, T} || {I, A, T} <- Times, I =< Schedulers],
    Pairs = lists:zip(lists:sublist(TimesBefore, Schedulers), Online),
    Active = lists:sum([A - A0 || {{I, A0, _}, {I, A, _}} <- Pairs]),
    Total = lists:sum([T - T0 || {{I, _, T0}, {I, _, T}} <- Pairs]),
    #{
        waited => share(Waited, WaitedBefore, (Now - Before) * Schedulers),
        busy => Active / Total,
        ns => Now - Before
    }.

share(unknown, _, _) -> unknown;
share(Waited, Before, Ns) -> (Waited - Before) / Ns.

waited_ns() ->
    case filelib:wildcard("/proc/" ++ os:getpid() ++ "/task/*/schedstat") of
        [] -> unknown;
        Files -> lists:sum([waited_ns(File) || File <- Files, is_scheduler(File)])
    end.

is_scheduler(File) ->
    case file:read_file(filename:join(filename:dirname(File), "comm"), [raw]) of
        {ok, <<"erts_sched_", _/binary>>} -> true;
        _ -> false
    end.

waited_ns(File) ->
    {ok, Text} = file:read_file(File, [raw]),
    [_Ran, Waited | _] = binary:split(Text, <<" ">>, [global]),
    binary_to_integer(Waited).
