-module(erlmcp_native_soak).
-moduledoc """
Everything that comes and goes, for a long time, while services are killed and modules and configuration are reloaded
(`make soak`).

Some actors work (`m:erlmcp_native_soak_actor`). Once a second all of them come to rest: then what must be true at rest
is looked at, what the node holds is taken down, and the work goes on. At the end a line is laid through each of those
numbers (`m:erlmcp_native_soak_slope`): what grows, beyond the noise, is a finding. The environment says for how long
(`SOAK_MINUTES`, 20) and from which seed (`SOAK_SEED`). The exit status is 0 when nothing was found.
""".

-export([main/0]).

-define(WORK_MS, 900).
%% What is held then has been held for the first time: caches, allocators, code.
-define(WARM_UP, 0.5).
%% More would only be more of the same.
-define(MOST_FINDINGS, 20).

-doc "Runs, prints what was done, and exits.".
-spec main() -> no_return().
main() ->
    try
        halt(run())
    catch
        Class:Reason:Stack ->
            io:format("soak ended: ~0tP~n", [{Class, Reason, Stack}, 100]),
            halt(2)
    end.

run() ->
    Minutes = erlmcp_native_settings:number("SOAK_MINUTES", 20.0),
    Seed = round(erlmcp_native_settings:number("SOAK_SEED", float(rand:uniform(1_000_000_000)))),
    io:format("soak: ~.1f minutes, SOAK_SEED=~b~n", [Minutes, Seed]),
    ok = erlmcp_native_soak_node:start(),
    _ = process_flag(trap_exit, true),
    Crew = erlmcp_native_soak_crew:start(Seed),
    Start = erlang:monotonic_time(millisecond),
    {Findings, Samples} = rounds(Crew, Start, Start + round(Minutes * 60_000), [], []),
    Counts = erlmcp_native_soak_crew:stop(Crew),
    io:format("~nat rest ~b times; done:~n", [length(Samples)]),
    [io:format("  ~-24s ~10b~n", [What, Number]) || {What, Number} <- lists:sort(maps:to_list(Counts))],
    io:format("~nnot reloaded:~n"),
    [io:format("  ~s: ~s~n", [Module, Why]) || {Module, Why} <- erlmcp_native_soak_chaos:not_reloaded()],
    Measured = [Sample || {At, _} = Sample <- Samples, At - Start > ?WARM_UP * Minutes * 60_000],
    Growing = erlmcp_native_soak_slope:report(Measured),
    All = lists:reverse(Findings) ++ [[atom_to_list(Kind), " grows"] || Kind <- Growing],
    io:format("~nfound: ~b (SOAK_SEED=~b)~n", [length(All), Seed]),
    [io:format("  ~ts~n", [Finding]) || Finding <- All],
    min(1, length(All)).

rounds(Crew, Start, End, Findings, Samples) ->
    Now = erlang:monotonic_time(millisecond),
    case Now >= End orelse length(Findings) >= ?MOST_FINDINGS of
        true ->
            {Findings, lists:reverse(Samples)};
        false ->
            receive after ?WORK_MS -> ok end,
            New = erlmcp_native_soak_crew:rest(Crew) ++ erlmcp_native_soak_rest:look(),
            Sample = {erlang:monotonic_time(millisecond), erlmcp_native_soak_node:numbers()},
            ok = erlmcp_native_soak_crew:resume(Crew),
            Told = [io_lib:format("after ~b s: ~ts", [(Now - Start) div 1000, Finding]) || Finding <- New],
            [io:format("~ts~n", [Line]) || Line <- Told],
            rounds(Crew, Start, End, Told ++ Findings, [Sample | Samples])
    end.
