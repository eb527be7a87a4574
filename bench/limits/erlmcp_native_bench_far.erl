-module(erlmcp_native_bench_far).
-moduledoc """
The hot operations on an owner that no cache has, beside the memory's own latency: how long a load takes that waits for
the one before, along as many records, in the same run. What is more than on one's own owner is told in such loads,
since not every machine counts the misses of its caches.
""".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(ROLE, session).
-define(LIMIT, ((1 bsl 59) - 1)).
-define(FEW, 100).
-define(HOT, [
    {check, "check_capacity"},
    {enqueue, "record_enqueue"},
    {dequeue, "record_dequeue"},
    {all, "all three"}
]).

-doc "Times one caller on its own owner, on few in turn, and on very many in no order.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{tracked := Sizes, rounds := Rounds, step_ms := StepMs} = Options) ->
    ok = erlmcp_native_probe:load(),
    {ok, _} = erlmcp_queue_limits:start_link(),
    ok = erlmcp_queue_limits:set_limit(?ROLE, ?LIMIT),
    Most = lists:max(Sizes),
    Owners = erlmcp_native_bench_owners:start(Most),
    lists:foreach(fun(Pid) -> ok = erlmcp_queue_limits:record_enqueue(?ROLE, Pid) end, tuple_to_list(Owners)),
    %% Not the order in which they came.
    Mixed = lists:keysort(1, [{rand:uniform(), Pid} || Pid <- tuple_to_list(Owners)]),
    ok = persistent_term:put({?MODULE, many}, list_to_tuple([Pid || {_, Pid} <- Mixed])),
    ok = persistent_term:put({?MODULE, few}, list_to_tuple(lists:sublist(tuple_to_list(Owners), ?FEW))),
    %% Short ones, so that some are whole between two of whoever else is at work.
    Many = Options#{rounds := 12 * Rounds, step_ms := max(1, StepMs div 25)},
    Near = time(Many, fun(Caller, _, _) -> {one, Caller} end),
    Few = time(Many, fun(_, _, Done) -> {walk, {?MODULE, few}, 1 + Done rem ?FEW} end),
    Far = time(Many, fun(_, _, Done) -> {walk, {?MODULE, many}, 1 + Done rem Most} end),
    LoadNs = erlmcp_native_probe:memory_latency_ns(Most),
    ok = erlmcp_native_bench_owners:stop(Owners),
    _ = [persistent_term:erase({?MODULE, Key}) || Key <- [many, few]],
    ok = gen_server:stop(erlmcp_queue_limits),
    result(Most, LoadNs, Near, Few, Far).

time(Options, Whose) ->
    [Caller] = Callers = erlmcp_native_bench_run:start_callers(1),
    ok = erlmcp_queue_limits:record_enqueue(?ROLE, Caller),
    %% One operation after the other: of two in a round the second would find what the first has fetched.
    Time = fun(Operation) ->
        Step = {timed, Operation, {as, Operation, 1}},
        erlmcp_native_bench_run:rounds(Options, Callers, [Step], {?ROLE, Whose})
    end,
    Timings = [Time(Operation) || {Operation, _} <- ?HOT],
    ok = erlmcp_native_bench_run:stop_callers(Callers),
    lists:foldl(fun maps:merge/2, #{}, Timings).

result(Most, LoadNs, Near, Few, Far) ->
    Loads = fun(Operation) -> (least(Operation, Far) - least(Operation, Near)) / LoadNs end,
    Count = erlmcp_native_bench_report:count(Most),
    #{
        title => ["Queue limits: an owner that no cache has, least of the rounds in ns"],
        tables => [
            #{
                head => ["", "own owner", [integer_to_list(?FEW), " in turn"], [Count, ", random"], "more, in loads"],
                left => 1,
                rows => [
                    [Name | [erlmcp_native_bench_report:ns(least(Operation, T)) || T <- [Near, Few, Far]]] ++
                        [float_to_list(Loads(Operation), [{decimals, 1}])]
                 || {Operation, Name} <- ?HOT
                ]
            }
        ],
        notes => [
            [
                "a load that waits for the one before, along ",
                Count,
                " records of 128 bytes: ",
                erlmcp_native_bench_report:ns(LoadNs)
            ]
        ],
        targets => [
            #{
                name => [Name, ", ", Count, " at random, more than on its own owner"],
                better => lower,
                target => 2,
                measured => Loads(Operation),
                unit => " loads"
            }
         || {Operation, Name} <- ?HOT
        ],
        data => #{near => Near, few => Few, far => Far, load_ns => LoadNs}
    }.

least(Operation, Timings) -> map_get(least_ns, map_get(Operation, Timings)).
