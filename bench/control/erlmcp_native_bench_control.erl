-module(erlmcp_native_bench_control).
-moduledoc "The control plane: a part each for what it costs, how fast it is, and what load does to it.".

-behaviour(erlmcp_native_bench).

-export([run/1]).

%% Memory wants a plane that never held a component: it is first.
-define(PARTS, [
    erlmcp_native_bench_control_memory,
    erlmcp_native_bench_control_idle,
    erlmcp_native_bench_control_sends,
    erlmcp_native_bench_control_busy,
    erlmcp_native_bench_control_flood,
    erlmcp_native_bench_control_backlog,
    erlmcp_native_bench_control_records,
    erlmcp_native_bench_control_queues,
    erlmcp_native_bench_control_unused,
    erlmcp_native_bench_control_cpu
]).

-doc "Runs the parts of the control plane's benchmark, each with a control plane of its own.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(Options) ->
    Parts = [part(Part, Options) || Part <- ?PARTS],
    All = fun(Key) -> lists:append([map_get(Key, Part) || Part <- Parts]) end,
    Data = lists:foldl(fun(#{data := Part}, Sum) -> maps:merge(Sum, Part) end, #{}, Parts),
    #{
        title => "Control plane: latencies in us",
        tables => All(tables) ++ [erlmcp_native_bench_control_seed:table(Data)],
        notes => All(notes),
        targets => All(targets),
        data => Data
    }.

part(Part, Options) ->
    {ok, Plane} = erlmcp_control_plane:start_link(),
    Result = Part:run(Options),
    ok = gen_server:stop(Plane),
    Result.
