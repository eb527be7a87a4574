-module(erlmcp_native_bench_limits).
-moduledoc "Queue limits: what an operation costs, beside an empty native, ets and a gen_server.".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(ROLE, session).
-define(LIMIT, ((1 bsl 59) - 1)).
-define(TABLE, erlmcp_native_bench_ets).
-define(HOT, [
    {check, "check_capacity"},
    {enqueue, "record_enqueue"},
    {dequeue, "record_dequeue"},
    {try_enqueue, "try_enqueue"}
]).
-define(COLUMNS, [
    {nothing, "empty"},
    {check, "check"},
    {enqueue, "enqueue"},
    {dequeue, "dequeue"},
    {try_enqueue, "try"},
    {all, "c+e+d"},
    {ets, "2 ets"},
    {server, "server"}
]).
-define(STEPS, [
    {timed, nothing, {as, nothing, 1}},
    {timed, check, {as, check, 1}},
    {timed, enqueue, {as, check, 1}},
    {timed, dequeue, {as, check, 1}},
    {timed, try_enqueue, {as, check, 1}},
    {untimed, dequeue, {as, check, 1}},
    {timed, all, {as, check, 2}},
    {timed, ets, {as, ets, 1}},
    {timed, server, {as, server, 1}}
]).

-doc """
Runs every combination of owners tracked, callers, and whose owner: first in a table that never held any,
with more and more, and once more with few, when the many have died.
""".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{tracked := Sizes} = Options) ->
    {ok, _} = erlmcp_queue_limits:start_link(),
    ok = erlmcp_queue_limits:set_limit(?ROLE, ?LIMIT),
    {ok, Server} = erlmcp_native_bench_server:start_link(?LIMIT),
    ?TABLE = ets:new(?TABLE, [named_table, public, {write_concurrency, auto}]),
    true = ets:insert(?TABLE, {?ROLE, 0}),
    [Few | _] = Sizes,
    Survivors = erlmcp_native_bench_owners:start(Few),
    Others = erlmcp_native_bench_owners:start(lists:max(Sizes) - Few),
    Idle = list_to_tuple(tuple_to_list(Survivors) ++ tuple_to_list(Others)),
    {Cases, _} = lists:mapfoldl(
        fun(Size, Before) ->
            track(Idle, Before + 1, Size),
            ok = persistent_term:put({?MODULE, Size}, list_to_tuple(lists:sublist(tuple_to_list(Idle), Size))),
            {[run(Whose, Callers, Size, Options) || Whose <- [own, shared, random], Callers <- [1, 2, 16]], Size}
        end,
        0,
        Sizes
    ),
    ok = erlmcp_native_bench_owners:stop(Others),
    ok = only_left(Few, 100),
    ok = erlmcp_native_bench_server:drain(),
    Later = [(run(Whose, 1, Few, Options))#{after_many => true} || Whose <- [own, shared, random]],
    ok = gen_server:stop(Server, normal, infinity),
    ok = erlmcp_native_bench_owners:stop(Survivors),
    ok = gen_server:stop(erlmcp_queue_limits),
    result(lists:append(Cases), Later, Few, lists:last(Sizes)).

track(Idle, From, To) ->
    lists:foreach(fun(I) -> add(element(I, Idle)) end, lists:seq(From, To)),
    ok = erlmcp_native_bench_server:drain().

only_left(Few, 0) ->
    {error, {Few, erlmcp_queue_limits:get_role_stats(?ROLE)}};
only_left(Few, Ms) ->
    case erlmcp_queue_limits:get_role_stats(?ROLE) of
        #{owners := Few} -> ok;
        _ -> receive after 1 -> only_left(Few, Ms - 1) end
    end.

%% An owner at depth 0 everywhere.
add(Pid) ->
    ok = erlmcp_queue_limits:record_enqueue(?ROLE, Pid),
    ok = erlmcp_queue_limits:record_dequeue(?ROLE, Pid),
    ok = erlmcp_native_bench_server:enqueue(?ROLE, Pid),
    ok = erlmcp_native_bench_server:dequeue(?ROLE, Pid),
    true = ets:insert(?TABLE, {Pid, 0}).

run(Whose, CallerCount, Size, Options) ->
    Callers = erlmcp_native_bench_run:start_callers(CallerCount),
    lists:foreach(fun add/1, Callers),
    ok = erlmcp_native_bench_server:drain(),
    ok = erlmcp_queue_limits:reset_stats(?ROLE),
    Work = {?ROLE, work(Whose, CallerCount, Size)},
    Timings = erlmcp_native_bench_run:rounds(Options, Callers, ?STEPS, Work),
    ok = verify(Timings, Options),
    ok = erlmcp_native_bench_run:stop_callers(Callers),
    lists:foreach(fun(Caller) -> ets:delete(?TABLE, Caller) end, Callers),
    #{whose => Whose, callers => CallerCount, tracked => Size, timings => Timings}.

work(own, _, _) ->
    fun(Caller, _, _) -> {one, Caller} end;
work(shared, _, Size) ->
    Shared = element(1, persistent_term:get({?MODULE, Size})),
    fun(_, _, _) -> {one, Shared} end;
work(random, CallerCount, Size) ->
    fun(_, I, Done) -> {walk, {?MODULE, Size}, 1 + (I * Size div CallerCount + Done) rem Size} end.

%% Every operation of every round was counted, once, warm-up included.
verify(#{enqueue := #{operations := Each}, all := #{operations := All}}, #{rounds := Rounds}) ->
    Expected = (Rounds + 1) * (2 * Each + All),
    #{
        total_enqueued := Expected,
        total_dequeued := Expected,
        current_depth := 0,
        total_rejected := 0,
        unmatched_dequeues := 0
    } = erlmcp_queue_limits:get_role_stats(?ROLE),
    ok.

result(Cases, Later, Few, Many) ->
    #{
        title => "Queue limits: ns an operation, median / least of the rounds",
        tables => [
            #{
                head => ["owner", "by", "tracked" | [Name || {_, Name} <- ?COLUMNS]],
                left => 1,
                rows => [row(Case) || Case <- Cases ++ Later]
            }
        ],
        notes => [
            "owner    own: each caller's pid; shared: one pid for all; random: another tracked pid each time",
            "by       so many callers at once",
            ["tracked  *: again with few, after the others of ", erlmcp_native_bench_report:count(Many), " have died"],
            "ns       wall time x min(callers, schedulers) / operations: for one caller, its latency",
            "empty    erlmcp_native:limits_nothing/3, which decodes the same arguments and returns ok",
            "c+e+d    check_capacity, record_enqueue and record_dequeue; server: the same by a gen_server with",
            "         maps (call, cast, cast, a monitor an owner), its casts drained before the clock stops",
            "2 ets    two ets:update_counter/3: the owner's row, the role's row; no limit and no monitor"
        ],
        targets => targets(Cases, Later, Few, Many),
        data => #{cases => Cases ++ Later}
    }.

row(#{whose := Whose, callers := Callers, tracked := Tracked, timings := Timings} = Case) ->
    [
        atom_to_list(Whose),
        integer_to_list(Callers),
        [erlmcp_native_bench_report:count(Tracked), [$* || is_map_key(after_many, Case)]]
        | [cell(map_get(Operation, Timings)) || {Operation, _} <- ?COLUMNS]
    ].

cell(#{ns := Ns, least_ns := Least}) ->
    [erlmcp_native_bench_report:ns(Ns), $/, erlmcp_native_bench_report:ns(Least)].

targets(Cases, Later, Few, Many) ->
    Own = #{Tracked => T || #{whose := own, callers := 1, tracked := Tracked, timings := T} <- Cases},
    #{Few := Hot, Many := Full} = Own,
    [Late] = [T || #{whose := own, timings := T} <- Later],
    Shared = [T || #{whose := shared, callers := 2, timings := T} <- Cases],
    ManyText = erlmcp_native_bench_report:count(Many),
    lists:append([
        hot("own owner, 1 caller", lower, 3, fun(Op) -> ns(Op, Hot) / ns(nothing, Hot) end),
        hot(["the same, after ", ManyText, " have died"], lower, 3, fun(Op) -> ns(Op, Late) / ns(nothing, Late) end),
        hot([ManyText, " tracked to ", erlmcp_native_bench_report:count(Few)], lower, 1.5, fun(Op) ->
            ns(Op, Full) / ns(Op, Hot)
        end),
        hot("2 callers, 1 owner, worst size", lower, 5, fun(Op) ->
            lists:max([caller_ns(Op, T) / caller_ns(nothing, T) || T <- Shared])
        end),
        hot("2 x ets to own owner, 1 caller", higher, 2, fun(Op) -> ns(ets, Hot) / ns(Op, Hot) end),
        [
            target(
                ["gen_server to native, 16 callers, ", atom_to_list(Whose), ", worst size"],
                higher,
                25,
                lists:min([ns(server, T) / ns(all, T) || T <- Crowd])
            )
         || Whose <- [own, shared, random],
            Crowd <- [[T || #{callers := 16, whose := W, timings := T} <- Cases, W =:= Whose]]
        ]
    ]).

hot(What, Better, Target, Measure) ->
    [target([What, ": ", Name], Better, Target, Measure(Op)) || {Op, Name} <- ?HOT].

target(Name, Better, Target, Measured) ->
    #{name => Name, better => Better, target => Target, measured => Measured, unit => " x"}.

ns(Operation, Timings) -> map_get(ns, map_get(Operation, Timings)).
caller_ns(Operation, Timings) -> map_get(caller_ns, map_get(Operation, Timings)).
