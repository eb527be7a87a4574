-module(erlmcp_native_bench_overload).
-moduledoc """
The overload monitor: how soon a handler hears of a crossing, what looking at all owners takes, and what that
does to admissions. What an operation pays away from thresholds is counted by `scripts/instructions.sh`.
""".

-behaviour(erlmcp_native_bench).
-behaviour(erlmcp_overload_handler).

-export([run/1]).
-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).

-define(LIMITS, erlmcp_queue_limits).
-define(MONITOR, erlmcp_overload_monitor).
-define(ROLES, 50).
-define(BUSY, 16).
-define(HISTORY, 100).
%% Of so many the bytes can be told from the noise.
-define(LONG_HISTORY, 10_000).

-doc "Measures the overload monitor with as many owners as the options track at most.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{tracked := Sizes, quick := Quick}) ->
    Most = lists:max(Sizes),
    Few = min(100_000, Most div 10),
    Crossings = case Quick of true -> 200; false -> 5_000 end,
    {ok, _} = ?LIMITS:start_link(),
    Idle = erlmcp_native_bench_owners:start(Most),
    Told = told(Idle, Crossings),
    {ok, _} = ?MONITOR:start_link([
        {handlers, []}, {check_interval, 16#ffffffff}, {max_alert_history, ?LONG_HISTORY}
    ]),
    History = history_bytes(),
    Roles = [list_to_atom("bench_role_" ++ integer_to_list(N)) || N <- lists:seq(1, ?ROLES)],
    enqueue(Idle, Roles, 1, Few),
    Queues = median(fun() -> length(?MONITOR:queues()) >= Few end),
    FewCheck = median(fun() -> ?MONITOR:force_check() =:= ok end),
    enqueue(Idle, Roles, Few + 1, Most),
    Check = median(fun() -> ?MONITOR:force_check() =:= ok end),
    Summary = median(fun() -> length(?MONITOR:summary()) >= ?ROLES end),
    {Alone, Beside} = admissions(Quick),
    ok = gen_server:stop(?MONITOR),
    ok = gen_server:stop(?LIMITS),
    ok = erlmcp_native_bench_owners:stop(Idle),
    Numbers = #{
        told => Told,
        history_bytes => History,
        queues_us => Queues,
        few_check_us => FewCheck,
        check_us => Check,
        summary_us => Summary,
        admission_ns => #{alone => Alone, beside_a_check => Beside}
    },
    result(Most, Few, Crossings, Numbers).

%% From before the crossing call to the handler's first line, while ordinary processes keep all schedulers full.
told(Idle, Crossings) ->
    Sent = atomics:new(Crossings, []),
    Owners = [element(N, Idle) || N <- lists:seq(1, Crossings)],
    Numbers = maps:from_list(lists:zip(Owners, lists:seq(1, Crossings))),
    Histogram = erlmcp_native:latency_new(),
    Arg = {Numbers, Sent, Histogram, self()},
    {ok, _} = ?MONITOR:start_link([{handlers, [{?MODULE, Arg}]}]),
    ok = ?LIMITS:set_limit(bench_crossing, 1),
    Busy = [spawn_link(fun busy/0) || _ <- lists:seq(1, ?BUSY)],
    lists:foreach(fun(Owner) -> cross(Owner, map_get(Owner, Numbers), Sent) end, Owners),
    [exit(Pid, kill) || Pid <- Busy, unlink(Pid)],
    ok = gen_server:stop(?MONITOR),
    lists:foreach(fun(Owner) -> ok = ?LIMITS:forget(bench_crossing, Owner) end, Owners),
    erlmcp_native:latency_summary(Histogram).

cross(Owner, Number, Sent) ->
    atomics:put(Sent, Number, erlang:monotonic_time()),
    ok = ?LIMITS:record_enqueue(bench_crossing, Owner),
    receive
        {alerted, Number} -> ok
    after 10_000 -> error({never_told, Number})
    end.

busy() ->
    _ = lists:sum(lists:seq(1, 1000)),
    busy().

-doc false.
-spec init(Arg) -> {ok, Arg}.
init(Arg) ->
    {ok, Arg}.

-doc false.
-spec handle_alert(erlmcp_overload_monitor:alert(), State) -> {ok, State}.
handle_alert(#{process := Process}, {Numbers, Sent, Histogram, Test} = State) ->
    #{Process := Number} = Numbers,
    Native = erlang:monotonic_time() - atomics:get(Sent, Number),
    ok = erlmcp_native:latency_record(Histogram, erlang:convert_time_unit(Native, native, microsecond)),
    Test ! {alerted, Number},
    {ok, State}.

-doc false.
-spec handle_clear(erlmcp_overload_monitor:alert(), State) -> {ok, State}.
handle_clear(_, State) ->
    {ok, State}.

-doc false.
-spec handle_role(erlmcp_queue_limits:role(), open | close, State) -> {ok, State}.
handle_role(_, _, State) ->
    {ok, State}.

%% The first alert makes what carries news to the handlers, which is not the history's.
history_bytes() ->
    ok = ?LIMITS:set_limit(bench_history, 1),
    Alert = fun(N) ->
        ok = ?LIMITS:record_enqueue(bench_history, bench_history),
        ok = ?LIMITS:forget(bench_history, bench_history),
        N
    end,
    _ = [Alert(N) || N <- lists:seq(1, 2 * ?LONG_HISTORY)],
    ?LONG_HISTORY = length(?MONITOR:get_alert_history()),
    Full = erlmcp_native:native_memory(),
    ok = ?MONITOR:reset_alerts(),
    (Full - erlmcp_native:native_memory()) * ?HISTORY div ?LONG_HISTORY.

enqueue(_, _, From, To) when From > To ->
    ok;
enqueue(Idle, [Role | Roles], From, To) ->
    ok = ?LIMITS:record_enqueue(Role, element(From, Idle)),
    enqueue(Idle, Roles ++ [Role], From + 1, To).

%% Microseconds, the median of some, after one that warms up.
median(Right) ->
    true = Right(),
    Times = [
        begin
            {Us, true} = timer:tc(Right),
            Us
        end
     || _ <- lists:seq(1, 9)
    ],
    erlmcp_native_bench_run:median(Times).

%% Nanoseconds of an enqueue and a dequeue, while nothing else runs and while checks run all the time: in turns.
admissions(Quick) ->
    Times = case Quick of true -> 50_000; false -> 2_000_000 end,
    Rounds = [
        begin
            Alone = pair_ns(Times),
            Checker = spawn_link(fun check/0),
            Beside = pair_ns(Times),
            unlink(Checker),
            exit(Checker, kill),
            {Alone, Beside}
        end
     || _ <- lists:seq(1, 7)
    ],
    {Alones, Besides} = lists:unzip(Rounds),
    {erlmcp_native_bench_run:median(Alones), erlmcp_native_bench_run:median(Besides)}.

check() ->
    ok = ?MONITOR:force_check(),
    check().

pair_ns(Times) ->
    Self = self(),
    {Us, ok} = timer:tc(fun() -> pairs(Times, Self) end),
    Us * 1000 / Times.

pairs(0, _) ->
    ok;
pairs(Times, Self) ->
    ok = ?LIMITS:try_enqueue(session, Self),
    ok = ?LIMITS:record_dequeue(session, Self),
    pairs(Times - 1, Self).

result(Most, Few, Crossings, Numbers) ->
    #{
        told := #{p50_us := P50, p99_us := P99, max_us := Max},
        history_bytes := History,
        queues_us := Queues,
        few_check_us := FewCheck,
        check_us := Check,
        summary_us := Summary,
        admission_ns := #{alone := Alone, beside_a_check := Beside}
    } = Numbers,
    Count = fun erlmcp_native_bench_report:count/1,
    Ms = fun(Us) -> io_lib:format("~.3f ms", [Us / 1000]) end,
    #{
        title => "Overload monitor",
        tables => [
            #{
                head => ["what", "measured"],
                left => 1,
                rows => [
                    ["crossing to handler, p50 of " ++ Count(Crossings), Ms(P50)],
                    ["crossing to handler, p99", Ms(P99)],
                    ["crossing to handler, longest", Ms(Max)],
                    ["check of " ++ Count(Few) ++ " owners", Ms(FewCheck)],
                    ["check of " ++ Count(Most) ++ " owners", Ms(Check)],
                    ["queues() of " ++ Count(Few) ++ " owners", Ms(Queues)],
                    [["summary() of ", Count(Most), " owners in ", integer_to_list(?ROLES), " roles"], Ms(Summary)],
                    ["try_enqueue and dequeue, alone", [erlmcp_native_bench_report:ns(Alone), " ns"]],
                    ["the same while checks run all the time", [erlmcp_native_bench_report:ns(Beside), " ns"]],
                    [["history of ", integer_to_list(?HISTORY), " alerts"], [integer_to_list(History), " bytes"]]
                ]
            }
        ],
        notes => [
            io_lib:format("~b ordinary processes keep all schedulers full during the crossings", [?BUSY]),
            io_lib:format("a check every 5 s takes ~.4f % of one core at ~ts owners, ~.4f % at ~ts", [
                Check / 50_000, Count(Most), FewCheck / 50_000, Count(Few)
            ]),
            io_lib:format("~.1f bytes per alert in the history", [History / ?HISTORY])
        ],
        targets => [
            target("crossing to handler, p99, schedulers busy", 10, P99 / 1000, " ms"),
            target("periodic check of " ++ Count(Most) ++ " owners", 50, Check / 1000, " ms"),
            target("admissions while checks run, against alone", 1.2, Beside / Alone, "x"),
            target("queues() of " ++ Count(Few) ++ " owners", 150, Queues / 1000, " ms"),
            target("summary() of 50 roles", 1, Summary / 1000, " ms"),
            target("memory of a full history", 64, History / 1024, " KiB")
        ],
        data => Numbers
    }.

target(Name, Target, Measured, Unit) ->
    #{name => Name, better => lower, target => Target, measured => Measured, unit => Unit}.
