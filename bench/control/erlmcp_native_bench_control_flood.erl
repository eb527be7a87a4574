-module(erlmcp_native_bench_control_flood).
-moduledoc "Control messages into a component's own process, while data comes to its mailbox at 100,000 a second.".

-export([run/1]).

-import(erlmcp_native_bench_control_times, [head/1, row/2, target/5]).

-define(SENDERS, 2).
-define(PER_SECOND, 100_000).
-define(PAUSE_NS, 160_000).

-doc "Measures messages and the bare ping-pong to the same process through the same alias, in turn.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{rounds := Rounds, step_ms := StepMs}) ->
    {Pid, Alias} = erlmcp_native_bench_control_peer:start(normal),
    ok = erlmcp_control_plane:register_component(flooded, #{alias => Alias}),
    Senders = [spawn_link(fun() -> flood(Pid) end) || _ <- lists:seq(1, ?SENDERS)],
    Funs = [
        {ping, fun() -> ok = erlmcp_native_bench_control_peer:ping(Alias) end},
        {alias, fun() -> {ok, _} = erlmcp_control_plane:send_health_check(flooded, liveness) end},
        {ordinary, fun() -> ok = erlmcp_native_bench_control_peer:call(Pid) end}
    ],
    Start = erlang:monotonic_time(nanosecond),
    Before = erlmcp_native_bench_control_peer:taken(Pid),
    Summaries = erlmcp_native_bench_control_times:interleaved(Funs, Rounds, StepMs * 100, fun pause/0),
    After = erlmcp_native_bench_control_peer:taken(Pid),
    Ns = erlang:monotonic_time(nanosecond) - Start,
    lists:foreach(fun erlmcp_native_bench_control_peer:stop/1, Senders),
    ok = erlmcp_native_bench_control_peer:stop(Pid),
    result(Summaries, (After - Before) * 1_000_000_000 / Ns).

%% One after the other without a pause would mostly see the time between two bursts of data. It does not
%% sleep, since the wake-up would be measured, too.
pause() ->
    pause(erlang:monotonic_time(nanosecond) + 20_000 + rand:uniform(?PAUSE_NS)).

pause(Until) ->
    case erlang:monotonic_time(nanosecond) < Until of
        true -> pause(Until);
        false -> ok
    end.

flood(Pid) ->
    EachNs = ?SENDERS * 1_000_000_000 div ?PER_SECOND,
    flood(Pid, erlmcp_native_bench_control_peer:data(), erlang:monotonic_time(nanosecond), EachNs, 0).

%% As many as are due, every millisecond or so.
flood(Pid, Data, Start, EachNs, Sent) ->
    Due = (erlang:monotonic_time(nanosecond) - Start) div EachNs,
    ok = send(Pid, Data, Due - Sent),
    receive after 1 -> flood(Pid, Data, Start, EachNs, Due) end.

send(_, _, 0) ->
    ok;
send(Pid, Data, N) ->
    Pid ! Data,
    send(Pid, Data, N - 1).

result(#{ping := Ping, alias := InProcess, ordinary := Ordinary} = Summaries, Rate) ->
    Ratio = p99(InProcess) / p99(Ping),
    #{
        title => "",
        tables => [
            #{
                head => head(["round trip, ", integer_to_list(round(Rate)), " data/s there"]),
                left => 1,
                rows => [
                    row("bare ping-pong over its priority alias", Ping),
                    row("send_health_check, the same process", InProcess),
                    row("ordinary ping-pong, the same process", Ordinary)
                ]
            }
        ],
        notes => ["data      from two senders that wake up every millisecond; round trips: one every 100 us or so"],
        targets => [
            target("in-process: data in a second", higher, 0.99 * ?PER_SECOND, Rate, ""),
            target("in-process p99 to bare ping-pong p99, 100k data/s", lower, 10, Ratio, " x")
        ],
        data => #{flood => Summaries, flood_data_per_second => Rate}
    }.

p99(#{p99_us := Us}) -> Us.
