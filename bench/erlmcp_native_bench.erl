-module(erlmcp_native_bench).
-moduledoc """
The benchmarks behind `make bench`: runs each group, prints its tables, then all targets, and writes the
whole as JSON.

`BENCH_QUICK=1` runs smaller sizes and shorter rounds, `BENCH_JSON` names the file
(`_build/bench/bench.json`), `BENCH_ONLY=limits,burst` runs some groups only. A missed target is a result and no
failure: the status is 1 if something could not be measured or was found to be wrong, 2 for a group that there is not.

A group is a module with this behaviour; a new one is one line in `groups/0`.
""".

-export([main/0, groups/0]).

-export_type([options/0, result/0, target/0]).

-doc "These options say what a run is to be like.".
-type options() :: #{
    quick := boolean(),
    rounds := pos_integer(),
    %% How long a timed step is to take at least.
    step_ms := pos_integer(),
    %% How many owners are tracked, ascending.
    tracked := [pos_integer(), ...]
}.
-doc "A target is a number to reach. Measured and target are in `unit`; better is lower or higher.".
-type target() :: #{
    name := iodata(),
    better := lower | higher,
    target := number(),
    measured := number(),
    unit := iodata()
}.
-doc "A result has a group's tables, targets, and whatever else it wants in the JSON.".
-type result() :: #{
    title := iodata(),
    tables := [erlmcp_native_bench_report:table()],
    notes := [iodata()],
    targets := [target()],
    data := map()
}.

-doc "Measures, and fails rather than report what it did not see.".
-callback run(options()) -> result().

-doc "Returns the groups by name, in the order in which they run. Memory wants a table that never grew: it is first.".
-spec groups() -> [{Name :: atom(), module()}].
groups() ->
    [
        {memory, erlmcp_native_bench_memory},
        {burst, erlmcp_native_bench_burst},
        {hot, erlmcp_native_bench_hot},
        {asks, erlmcp_native_bench_asks},
        {permits, erlmcp_native_bench_permits},
        {limits, erlmcp_native_bench_limits},
        {far, erlmcp_native_bench_far},
        {rate, erlmcp_native_bench_rate},
        {peers, erlmcp_native_bench_peers},
        {arrivals, erlmcp_native_bench_arrivals},
        {calls, erlmcp_native_bench_calls},
        {control, erlmcp_native_bench_control},
        {cancel, erlmcp_native_bench_cancel},
        {across, erlmcp_native_bench_across},
        {overload, erlmcp_native_bench_overload},
        {mailbox, erlmcp_native_bench_mailbox},
        {watch, erlmcp_native_bench_watch},
        {node, erlmcp_native_bench_node},
        {cluster, erlmcp_native_bench_cluster},
        {http, erlmcp_native_bench_http}
    ].

-doc "Runs the benchmarks and ends the runtime.".
-spec main() -> no_return().
main() ->
    logger:set_primary_config(level, error),
    Options = options(os:getenv("BENCH_QUICK", "") =/= ""),
    Machine = erlmcp_native_bench_report:machine(),
    erlmcp_native_bench_report:print_machine(Machine, Options),
    Results = [{Name, run(Module, Options)} || {Name, Module} <- chosen()],
    Good = [{Name, Result} || {Name, {ok, Result}} <- Results],
    erlmcp_native_bench_report:print_targets([Target || {_, #{targets := Targets}} <- Good, Target <- Targets]),
    File = os:getenv("BENCH_JSON", "_build/bench/bench.json"),
    ok = erlmcp_native_bench_report:write_json(File, Machine, Options, Good),
    io:format("~n~ts~n", [filename:absname(File)]),
    halt(case length(Good) =:= length(Results) of true -> 0; false -> 1 end).

options(false) ->
    #{quick => false, rounds => 7, step_ms => 50, tracked => [100, 10_000, 1_000_000]};
options(true) ->
    #{quick => true, rounds => 3, step_ms => 5, tracked => [100, 2_000, 20_000]}.

chosen() ->
    case os:getenv("BENCH_ONLY", "") of
        "" ->
            groups();
        Only ->
            Wanted = string:lexemes(Only, ", "),
            Known = [atom_to_list(Name) || {Name, _} <- groups()],
            case Wanted -- Known of
                [] -> [Group || {Name, _} = Group <- groups(), lists:member(atom_to_list(Name), Wanted)];
                Unknown -> unknown(Unknown, Known)
            end
    end.

-spec unknown([string()], [string()]) -> no_return().
unknown(Unknown, Known) ->
    io:format(standard_error, "BENCH_ONLY: there is no group ~ts; there are ~ts~n", [
        lists:join(", ", Unknown), lists:join(", ", Known)
    ]),
    halt(2).

%% Each group has a process of its own, so that what it leaves behind goes with it.
run(Module, Options) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({result, Module:run(Options)}) end),
    receive
        {'DOWN', Monitor, process, Pid, {result, Result}} ->
            erlmcp_native_bench_report:print(Result),
            {ok, Result};
        {'DOWN', Monitor, process, Pid, Reason} ->
            io:format("~n~ts failed: ~tp~n", [Module, Reason]),
            failed
    end.
