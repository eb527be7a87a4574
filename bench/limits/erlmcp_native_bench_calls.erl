-module(erlmcp_native_bench_calls).
-moduledoc "The longest that any native keeps a normal scheduler, at the most owners tracked.".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-import(erlmcp_native_bench_thread, [slowest/2, least/1]).

-define(ROLE, session).
%% Refuses everything.
-define(CLOSED_ROLE, tool_executor).
-define(LIMIT, ((1 bsl 59) - 1)).
-define(RUNS, 3).

-doc "Grows a table of its own to the most owners, then calls every native that is not a dirty one.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{tracked := Sizes, quick := Quick}) ->
    {ok, _} = erlmcp_queue_limits:start_link(),
    Most = lists:max(Sizes),
    Owners = erlmcp_native_bench_owners:start(Most),
    Pids = tuple_to_list(Owners),
    Table = erlmcp_native:limits_new([{?ROLE, ?LIMIT}, {?CLOSED_ROLE, 0}]),
    lists:foreach(fun(Pid) -> enqueue(Table, Pid) end, Pids),
    Most = erlmcp_native:limits_owners(Table),
    Samples = samples(Pids, case Quick of true -> 1_000; false -> 20_000 end),
    Calls = [{Name, repeat(Call, Samples)} || {Name, Call} <- calls(Table)],
    Victims = case Quick of true -> 200; false -> 2_000 end,
    Deaths = [
        {"death of a process that is not tracked", deaths(fun(_) -> ok end, Victims)},
        {"death of a tracked process, all of it", deaths(fun(Pid) -> enqueue(Table, Pid) end, Victims)}
    ],
    ok = erlmcp_native:limits_close(Table),
    ok = erlmcp_native_bench_owners:stop(Owners),
    ok = gen_server:stop(erlmcp_queue_limits),
    result(Most, Calls ++ Deaths).

enqueue(Table, Pid) ->
    ok = erlmcp_native:limits_enqueue(Table, ?ROLE, Pid).

%% Other owners for each run.
samples(Pids, Each) ->
    [lists:sublist(Pids, 1 + Run * Each, Each) || Run <- lists:seq(0, ?RUNS - 1)].

repeat(Call, Samples) ->
    least([erlmcp_native_bench_thread:run(fun() -> slowest(Call, Sample) end) || Sample <- Samples]).

calls(Table) ->
    [
        {"check", fun(Pid) -> ok = erlmcp_native:limits_check(Table, ?ROLE, Pid) end},
        {"try_enqueue", fun(Pid) -> ok = erlmcp_native:limits_try_enqueue(Table, ?ROLE, Pid) end},
        {"enqueue", fun(Pid) -> enqueue(Table, Pid) end},
        {"dequeue", fun(Pid) -> ok = erlmcp_native:limits_dequeue(Table, ?ROLE, Pid) end},
        {"enqueue in a second role", fun(Pid) -> ok = erlmcp_native:limits_enqueue(Table, ?CLOSED_ROLE, Pid) end},
        {"check, refused", fun(Pid) -> {refused, #{}} = erlmcp_native:limits_check(Table, ?CLOSED_ROLE, Pid) end},
        {"acquire, give_back", fun(Pid) ->
            {ok, Permit} = erlmcp_native:limits_acquire(Table, ?ROLE, Pid),
            ok = erlmcp_native:limits_give_back(Permit)
        end},
        {"depth in a role", fun(Pid) -> true = is_integer(erlmcp_native:limits_depth(Table, ?ROLE, Pid)) end},
        {"depth over all roles", fun(Pid) -> true = is_integer(erlmcp_native:limits_depth(Table, Pid)) end},
        {"owners", fun(_) -> true = is_integer(erlmcp_native:limits_owners(Table)) end},
        {"role_stats", fun(_) -> #{} = erlmcp_native:limits_role_stats(Table, ?ROLE) end},
        {"take_refusals", fun(_) -> true = is_tuple(refusals(Table)) end},
        {"reset_stats", fun(_) -> ok = erlmcp_native:limits_reset_stats(Table, ?ROLE) end},
        {"get_limit", fun(_) -> ?LIMIT = erlmcp_native:limits_get_limit(Table, ?ROLE) end},
        {"set_limit", fun(_) -> ok = erlmcp_native:limits_set_limit(Table, ?ROLE, ?LIMIT) end},
        {"set_enforcing", fun(_) -> ok = erlmcp_native:limits_set_enforcing(Table, true) end},
        {"forget, the last role too", fun(Pid) ->
            ok = erlmcp_native:limits_forget(Table, ?CLOSED_ROLE, Pid),
            ok = erlmcp_native:limits_forget(Table, ?ROLE, Pid)
        end}
    ].

refusals(Table) ->
    case erlmcp_native:limits_take_refusals(Table, ?CLOSED_ROLE) of
        not_found -> {0, none};
        Refusals -> Refusals
    end.

%% The `down` callback has no caller: this is the whole end of a process, from the request to the
%% monitor's message, on the scheduler that runs it.
deaths(Prepare, Count) ->
    Run = fun() ->
        Idle = fun() -> receive stop -> ok end end,
        Victims = [erlmcp_native_bench_thread:neighbour(Idle) || _ <- lists:seq(1, Count)],
        lists:foreach(fun({Pid, _}) -> Prepare(Pid) end, Victims),
        slowest(fun({Pid, Monitor}) -> Pid ! stop, receive {'DOWN', Monitor, _, _, _} -> ok end end, Victims)
    end,
    least([erlmcp_native_bench_thread:run(Run) || _ <- lists:seq(1, ?RUNS)]).

result(Most, Calls) ->
    {WorstName, #{cpu_ns := WorstNs}} = lists:last(lists:sort(fun({_, A}, {_, B}) -> cpu(A) =< cpu(B) end, Calls)),
    #{
        title => [
            "Queue limits: the slowest call on a normal scheduler, ",
            erlmcp_native_bench_report:count(Most),
            " tracked"
        ],
        tables => [
            #{
                head => ["native", "calls", "wall us", "CPU us"],
                left => 1,
                rows => [
                    [Name, integer_to_list(N), us(Wall), us(Cpu)]
                 || {Name, #{calls := N, wall_ns := Wall, cpu_ns := Cpu}} <- Calls
                ]
            }
        ],
        notes => [
            "the slowest of a run, the least of 3 runs. CPU: what the scheduler's thread ran, interrupts in it.",
            "The first enqueue of an owner is in the group arrivals"
        ],
        targets => [
            #{
                name => ["slowest native: ", WorstName],
                better => lower,
                target => 1000,
                measured => WorstNs / 1000,
                unit => " us"
            }
        ],
        data => #{tracked => Most, calls => [Call#{native => list_to_binary(Name)} || {Name, Call} <- Calls]}
    }.

cpu(#{cpu_ns := Ns}) -> Ns.

us(Ns) -> float_to_list(Ns / 1000, [{decimals, 1}]).
