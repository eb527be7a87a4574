-module(erlmcp_native_bench_node).
-moduledoc """
The node's guard: how soon it refuses when memory or run queue are over their marks, how soon that is over, how often a
level comes and goes under a load that stays at its mark, and what looking costs.

The load at the mark is real, for some minutes: the mark is the mean that the run queue has under it. Of that a record
is kept, of 50 moments a second, and played again and again to the levels' own module until an hour is over.
""".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(NODE, erlmcp_overload_node).
-define(MONITOR, erlmcp_overload_monitor).
-define(HYSTERESIS, erlmcp_overload_hysteresis).
-define(HOUR_MS, 3_600_000).
-define(LOOK_MS, 100).
-define(MOMENT_MS, 20).
-define(NEVER_MS, 16#ffffffff).

-doc "Measures the guard, for minutes, or for seconds in a quick run.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{quick := Quick}) ->
    {Times, SteadyS, CostS} = case Quick of true -> {3, 10, 5}; false -> {15, 180, 30} end,
    {ok, _} = erlmcp_queue_limits:start_link(),
    RunQueue = [run_queue() || _ <- lists:seq(1, Times)],
    Memory = [memory() || _ <- lists:seq(1, Times)],
    Steady = [{Name, steady(Load, SteadyS)} || {Name, Load} <- [{spinning, fun spinning/0}, {jobs, fun jobs/0}]],
    {Off, On} = cost(CostS),
    ok = gen_server:stop(erlmcp_queue_limits),
    result(SteadyS, #{run_queue => RunQueue, memory => Memory, steady => Steady, off => Off, on => On}).

guarded(Options, During) ->
    ok = application:set_env(erlmcp_native, node, Options),
    {ok, _} = ?MONITOR:start_link([{handlers, []}, {max_alert_history, 10_000}, {realert_interval, ?NEVER_MS}]),
    ok = until(fun() -> level() =:= 0 end),
    Result = During(),
    ok = gen_server:stop(?MONITOR),
    ok = application:unset_env(erlmcp_native, node),
    Result.

level() ->
    case ?NODE:pressure() of
        #{level := Level} -> Level;
        off -> off
    end.

%% Whoever looks may not wait for the load.
until(Condition) ->
    Before = process_flag(priority, max),
    ok = until(Condition, now_ms() + 30_000),
    _ = process_flag(priority, Before),
    ok.

until(Condition, Deadline) ->
    case {Condition(), now_ms() >= Deadline} of
        {true, _} -> ok;
        {false, false} -> receive after 1 -> until(Condition, Deadline) end;
        {false, true} -> error(not_seen_within_30_s)
    end.

now_ms() ->
    erlang:monotonic_time(millisecond).

%% From the load to the first refusal, and from its end to the last, in milliseconds.
times(Begin, End) ->
    {RefusedUs, Load} = timed(Begin, fun() -> level() > 0 end),
    {OverUs, _} = timed(fun() -> End(Load) end, fun() -> level() =:= 0 end),
    {RefusedUs / 1000, OverUs / 1000}.

timed(Act, Condition) ->
    Before = erlang:monotonic_time(microsecond),
    Result = Act(),
    ok = until(Condition),
    {erlang:monotonic_time(microsecond) - Before, Result}.

run_queue() ->
    Count = 16 * erlang:system_info(schedulers_online),
    guarded(#{memory => off}, fun() -> times(fun() -> spin(Count) end, fun stop/1) end).

memory() ->
    %% Six tenths of it are in use, and then eight: little enough to be there in an instant.
    Limit = round(max(erlang:memory(total), resident()) / 0.6),
    guarded(#{run_queue => off, memory_limit => Limit}, fun() ->
        times(
            fun() -> spawn(fun() -> hold(binary:copy(<<1>>, Limit div 5)) end) end,
            fun(Holder) -> exit(Holder, kill) end
        )
    end).

resident() ->
    case file:read_file("/proc/self/status") of
        {ok, Status} -> erlmcp_overload_memory:resident(Status);
        {error, _} -> 0
    end.

hold(Binary) ->
    receive
        never -> Binary
    end.

spin(Count) ->
    [spawn(fun busy/0) || _ <- lists:seq(1, Count)].

busy() ->
    _ = lists:sum(lists:seq(1, 1000)),
    busy().

stop(Pids) ->
    [exit(Pid, kill) || Pid <- Pids].

%% Processes that never end keep a queue of one length.
spinning() ->
    spin(5 * erlang:system_info(schedulers_online)).

%% Processes that do something and then pause keep one whose length changes from one moment to the next.
jobs() ->
    [spawn(fun job/0) || _ <- lists:seq(1, 64 * erlang:system_info(schedulers_online))].

job() ->
    _ = lists:sum(lists:seq(1, 3000)),
    receive
    after 1 + rand:uniform(2) -> job()
    end.

steady(Load, Seconds) ->
    Pids = Load(),
    {Mean, _} = record(2_000),
    Mark = max(0.1, Mean),
    {Changes, Record} = guarded(#{memory => off, run_queue => {Mark, 2 * Mark}}, fun() ->
        {_, Recorded} = record(Seconds * 1000),
        {changes(), Recorded}
    end),
    _ = stop(Pids),
    #{mark => Mark, spread => spread(Record), changes => Changes, hour => hour(Record, Mark)}.

%% Alerts, but for one that says that the load is there.
changes() ->
    max(0, length(?MONITOR:get_alert_history(node)) - 1).

%% The run queue for each scheduler, at each moment.
record(Ms) ->
    Before = process_flag(priority, max),
    Record = record(now_ms() + Ms, []),
    _ = process_flag(priority, Before),
    {lists:sum(Record) / length(Record), Record}.

record(Deadline, Record) ->
    Length = erlang:statistics(total_run_queue_lengths) / erlang:system_info(schedulers_online),
    case now_ms() >= Deadline of
        true -> [Length | Record];
        false -> receive after ?MOMENT_MS -> record(Deadline, [Length | Record]) end
    end.

spread(Record) ->
    Sorted = lists:sort(Record),
    At = fun(Share) -> lists:nth(1 + trunc(Share * (length(Sorted) - 1)), Sorted) end,
    {At(0.01), At(0.5), At(0.99)}.

%% The record as often as an hour takes: how often the levels that the guard would have changed, but for the first time.
hour(Record, Mark) ->
    Rules = #{
        rise_ms => 500, clear_ms => 2000, clear_at => {0.75 * Mark, 1.5 * Mark}, most_ms => 3 * ?LOOK_MS
    },
    Looks = looks(Record),
    Levels = hour(0, Looks, Looks, ?HYSTERESIS:new({Mark, 2 * Mark}, Rules, 0), [0]),
    max(0, length(Levels) - 2).

looks([A, B, C, D, E | Rest]) -> [(A + B + C + D + E) / 5 | looks(Rest)];
looks(_) -> [].

hour(?HOUR_MS, _, _, _, Levels) ->
    Levels;
hour(AtMs, [], Looks, Hysteresis, Levels) ->
    hour(AtMs, Looks, Looks, Hysteresis, Levels);
hour(AtMs, [Length | Rest], Looks, Hysteresis, [Level | _] = Levels) ->
    New = ?HYSTERESIS:look(AtMs, Length, Hysteresis),
    case ?HYSTERESIS:level(New) of
        Level -> hour(AtMs + ?LOOK_MS, Rest, Looks, New, Levels);
        Other -> hour(AtMs + ?LOOK_MS, Rest, Looks, New, [Other | Levels])
    end.

%% What the node takes of a processor, in milliseconds a second, without the guard and with it.
cost(Seconds) ->
    {guarded_cost(#{memory => off, run_queue => off, sample_ms => 1000}, Seconds), guarded_cost(#{}, Seconds)}.

guarded_cost(Options, Seconds) ->
    guarded(Options, fun() ->
        {BeforeMs, _} = erlang:statistics(runtime),
        receive after Seconds * 1000 -> ok end,
        {AfterMs, _} = erlang:statistics(runtime),
        (AfterMs - BeforeMs) / Seconds
    end).

result(SteadyS, Numbers) ->
    #{run_queue := RunQueue, memory := Memory, steady := Steady, off := Off, on := On} = Numbers,
    Row = fun(Name, Times) ->
        {Refused, Over} = lists:unzip(Times),
        Ms = fun(Of) -> io_lib:format("~b ms", [round(Of)]) end,
        Median = fun erlmcp_native_bench_run:median/1,
        [Name, Ms(Median(Refused)), Ms(lists:max(Refused)), Ms(Median(Over)), Ms(lists:max(Over))]
    end,
    Slowest = fun(Times) -> lists:max([Refused || {Refused, _} <- Times]) end,
    #{
        title => "The node's guard",
        tables => [
            #{
                head => ["over its mark", "to refusal, median", "longest", "end to calm, median", "longest"],
                left => 1,
                rows => [Row("run queue", RunQueue), Row("memory", Memory)]
            },
            #{
                head => ["at its mark", "mark", "p1", "p50", "p99", "flaps", "in an hour of the record"],
                left => 1,
                rows => [
                    [
                        atom_to_list(Name)
                        | [io_lib:format("~.2f", [float(Number)]) || Number <- [Mark, P1, P50, P99]] ++
                            [integer_to_list(Count) || Count <- [Changes, Hour]]
                    ]
                 || {Name, #{mark := Mark, spread := {P1, P50, P99}, changes := Changes, hour := Hour}} <- Steady
                ]
            }
        ],
        notes => [
            io_lib:format("each load at its mark for ~b s; lengths of the run queue are for each scheduler", [SteadyS]),
            io_lib:format("the idle node takes ~.2f ms of a processor a second without a look, ~.2f with it", [Off, On])
        ],
        targets => [
            target("run queue over the mark to first refusal, longest", 1000, Slowest(RunQueue), " ms"),
            target("memory over the mark to first refusal, longest", 1000, Slowest(Memory), " ms"),
            target("flaps at the mark", 0, lists:sum([C || {_, #{changes := C}} <- Steady]), ""),
            target("flaps at the mark, an hour of the record", 0, lists:sum([H || {_, #{hour := H}} <- Steady]), "")
        ],
        data => data(Numbers)
    }.

target(Name, Target, Measured, Unit) ->
    #{name => Name, better => lower, target => Target, measured => Measured, unit => Unit}.

data(#{steady := Steady} = Numbers) ->
    Pairs = fun(Times) -> [#{refused_ms => Refused, over_ms => Over} || {Refused, Over} <- Times] end,
    Numbers#{
        run_queue := Pairs(maps:get(run_queue, Numbers)),
        memory := Pairs(maps:get(memory, Numbers)),
        steady := #{Name => Of#{spread := tuple_to_list(Spread)} || {Name, #{spread := Spread} = Of} <- Steady}
    }.
