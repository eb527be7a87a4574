-module(erlmcp_native_bench_rate).
-moduledoc """
Taking of a rate beside the floor under any native, beside what most people write by hand, two window counters in a
table, and beside a gen_server that keeps the same buckets in a map; what many callers are granted; what a key takes.

Keys are binaries of 16 bytes, and stand in no order. The more there are, the less of them any cache has: what is more
than at one key is told in loads that wait for the one before, measured in the same run.
""".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(NAME, session).
-define(SIZES, [1, 1_000, 1_000_000]).
-define(CALLERS, 64).
%% What is granted: 100000 a second for so long.
-define(RATE, 100_000).
-define(BURST, 20_000).
-define(GRANT_MS, 2_000).
-define(TABLE, erlmcp_native_bench_ets).

-doc "Times one caller on one key and along many, and has many callers at one key.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{quick := Quick, rounds := Rounds, step_ms := StepMs} = Options) ->
    ok = erlmcp_native_probe:load(),
    {ok, _} = erlmcp_queue_limits:start_link(),
    Sizes = case Quick of true -> [1, 1_000, 20_000]; false -> ?SIZES end,
    Most = lists:max(Sizes),
    Keys = [key(Number) || Number <- lists:seq(1, Most)],
    ok = define(),
    Bytes = bytes_a_key(Keys),
    ?TABLE = ets:new(?TABLE, [named_table, public, {write_concurrency, auto}, {decentralized_counters, true}]),
    {ok, Server} = erlmcp_native_bench_rate_server:start_link(1, 1 bsl 57),
    Short = Options#{rounds := 4 * Rounds, step_ms := max(1, StepMs div 8)},
    Floor = time([{timed, floor, {as, floor, 1}}], fun(Caller, _, _) -> {one, Caller} end, Short),
    Single = [rate_peek, rate_refused, rate_all],
    {ok, 0} = erlmcp_overload_rate:take(refusing, key(1)),
    One = time([{timed, Op, {as, Op, 1}} || Op <- Single], fun(_, _, _) -> {one, key(1)} end, Short),
    Walks = [{Size, walk(Size, Short)} || Size <- Sizes],
    LoadNs = erlmcp_native_probe:memory_latency_ns(Most),
    Granted = granted(),
    ok = gen_server:stop(Server),
    true = ets:delete(?TABLE),
    _ = [persistent_term:erase({?MODULE, Size}) || Size <- Sizes],
    ok = gen_server:stop(erlmcp_queue_limits),
    result(Floor, One, Walks, LoadNs, Granted, Bytes, Most).

key(Number) ->
    <<"tenant", Number:80>>.

define() ->
    Large = #{rate => {1_000_000_000, second}, burst => 1 bsl 57, max_keys => 2_000_000},
    ok = erlmcp_overload_rate:define(?NAME, Large),
    ok = erlmcp_overload_rate:define(second, Large),
    ok = erlmcp_overload_rate:define(refusing, #{rate => {1, hour}, burst => 1}),
    ok = erlmcp_overload_rate:define(granting, #{rate => {?RATE, second}, burst => ?BURST}).

%% Each is taken of once, of a rate at which none is forgotten meanwhile.
bytes_a_key(Keys) ->
    ok = erlmcp_overload_rate:define(filling, #{rate => {1, hour}, burst => 1, max_keys => 2_000_000}),
    #{native := Before} = erlmcp_native_bench_run:memory([]),
    lists:foreach(fun(Key) -> {ok, 0} = erlmcp_overload_rate:take(filling, Key) end, Keys),
    #{keys := Count} = erlmcp_overload_rate:info(filling),
    #{native := After} = erlmcp_native_bench_run:memory([]),
    ok = erlmcp_overload_rate:undefine(filling),
    (After - Before) / Count.

walk(Size, Options) ->
    Mixed = lists:keysort(1, [{rand:uniform(), key(Number)} || Number <- lists:seq(1, Size)]),
    Keys = list_to_tuple([Key || {_, Key} <- Mixed]),
    ok = persistent_term:put({?MODULE, Size}, Keys),
    %% All of them are there, as they would be.
    ok = erlmcp_native_bench_loops:run(rate_take, ?NAME, {walk, {?MODULE, Size}, Size}, Size),
    Whose = fun(_, _, Done) -> {walk, {?MODULE, Size}, 1 + Done rem Size} end,
    Time = fun(Operation) -> time([{timed, Operation, {as, Operation, 1}}], Whose, Options) end,
    lists:foldl(fun maps:merge/2, #{}, [Time(Operation) || Operation <- [rate_take, rate_ets, rate_server]]).

time(Steps, Whose, Options) ->
    Callers = erlmcp_native_bench_run:start_callers(1),
    Timings = erlmcp_native_bench_run:rounds(Options, Callers, Steps, {?NAME, Whose}),
    ok = erlmcp_native_bench_run:stop_callers(Callers),
    Timings.

%% All at one key, as fast as they can. The time is once what nobody was granted anything before and after, and once
%% what all were there.
granted() ->
    Self = self(),
    Ends = erlang:monotonic_time(millisecond) + ?GRANT_MS,
    From = erlang:monotonic_time(nanosecond),
    Callers = [spawn_link(fun() -> Self ! {self(), grants(Ends, 0)} end) || _ <- lists:seq(1, ?CALLERS)],
    {Begun, Ended, Counts} = lists:unzip3([receive {Caller, Granted} -> Granted end || Caller <- Callers]),
    Until = erlang:monotonic_time(nanosecond),
    Sum = lists:sum(Counts),
    Most = ?BURST + ?RATE * (Until - From) / 1.0e9,
    Least = ?BURST + ?RATE * (lists:max(Ended) - lists:min(Begun)) / 1.0e9,
    #{granted => Sum, most => Most, least => Least}.

grants(Ends, 0) ->
    Begun = erlang:monotonic_time(nanosecond),
    grants(Ends, Begun, Begun, 0).

grants(Ends, Begun, Last, Count) ->
    {Now, More} = grants_of(100, 0),
    case erlang:monotonic_time(millisecond) < Ends of
        true -> grants(Ends, Begun, max(Last, Now), Count + More);
        false -> {Begun, Now, Count + More}
    end.

grants_of(0, Granted) ->
    {erlang:monotonic_time(nanosecond), Granted};
grants_of(N, Granted) ->
    case erlmcp_overload_rate:take(granting, one) of
        {ok, _} -> grants_of(N - 1, Granted + 1);
        {error, _} -> grants_of(N - 1, Granted)
    end.

result(Floor, One, Walks, LoadNs, #{granted := Granted, most := Most, least := Least} = Grants, Bytes, Keys) ->
    FloorNs = least(floor, Floor),
    [{_, First} | _] = Walks,
    FirstNs = least(rate_take, First),
    Times = fun(Ns) -> float_to_list(Ns / FloorNs, [{decimals, 1}]) end,
    Loads = fun(Ns) -> float_to_list((Ns - FirstNs) / LoadNs, [{decimals, 1}]) end,
    Row = fun({Size, Timings}) ->
        Ns = least(rate_take, Timings),
        [["take, of ", erlmcp_native_bench_report:count(Size), " keys"], ns(Ns), Times(Ns), Loads(Ns)] ++
            [ns(least(rate_ets, Timings)), ns(least(rate_server, Timings))]
    end,
    Other = fun({Operation, Name}) ->
        Ns = least(Operation, One),
        [Name, ns(Ns), Times(Ns), "", "", ""]
    end,
    #{
        title => "Rates: one caller, least of the rounds in ns",
        tables => [
            #{
                head => ["", "ns", "floors", "more, in loads", "two window counters", "gen_server with a map"],
                left => 1,
                rows => [["the floor", ns(FloorNs), "1.0", "", "", ""]] ++ [Row(Walk) || Walk <- Walks] ++
                    lists:map(Other, [
                        {rate_peek, "peek, of one key"},
                        {rate_refused, "take that is refused"},
                        {rate_all, "take_all of two names"}
                    ])
            }
        ],
        notes => [
            ["a load that waits for the one before: ", ns(LoadNs), " ns"],
            io_lib:format("~b callers at one key were granted ~b in about ~b s; burst + rate x t is ~.1f, from ~.1f", [
                ?CALLERS, Granted, ?GRANT_MS div 1000, Most, Least
            ])
        ],
        targets => [
            target(["a take of ", erlmcp_native_bench_report:count(Size), " keys, in floors"], lower, 4,
                least(rate_take, Timings) / FloorNs, "")
         || {Size, Timings} <- Walks
        ] ++ [
            target(["a take of ", erlmcp_native_bench_report:count(Keys), " keys, more than of one"], lower, 2,
                (least(rate_take, element(2, lists:last(Walks))) - FirstNs) / LoadNs, " loads"),
            target("granted to 64 callers, of burst + rate x t", lower, 100, 100 * Granted / Most, " %"),
            target("granted to 64 callers while all were there", higher, 99.9, 100 * Granted / Least, " %"),
            target(["bytes a key, of ", erlmcp_native_bench_report:count(Keys)], lower, 128, Bytes, " bytes")
        ],
        data => #{
            floor => Floor, one => One, walks => maps:from_list(Walks), load_ns => LoadNs, granted => Grants,
            bytes => Bytes
        }
    }.

target(Name, Better, Target, Measured, Unit) ->
    #{name => Name, better => Better, target => Target, measured => Measured, unit => Unit}.

ns(Ns) -> erlmcp_native_bench_report:ns(Ns).

least(Operation, Timings) -> map_get(least_ns, map_get(Operation, Timings)).
