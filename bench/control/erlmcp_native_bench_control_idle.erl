-module(erlmcp_native_bench_control_idle).
-moduledoc "A round trip while nothing else goes on.".

-export([run/1]).

-import(erlmcp_native_bench_control_times, [head/1, row/2, target/5]).

-doc "Measures health checks to a handler and into a process, beside the bare ping-pong and the relay, in turn.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{rounds := Rounds, step_ms := StepMs}) ->
    ok = erlmcp_control_plane:register_component(handler, fun(_) -> ok end),
    {Pid, Alias} = erlmcp_native_bench_control_peer:start(normal),
    ok = erlmcp_control_plane:register_component(alias, #{alias => Alias}),
    {ok, Relay} = erlmcp_native_bench_control_relay:start_link(normal),
    ok = erlmcp_native_bench_control_relay:add(Relay, handler, fun(_) -> ok end),
    Funs = [
        {ping, fun() -> ok = erlmcp_native_bench_control_peer:ping(Alias) end},
        {handler, fun() -> {ok, _} = erlmcp_control_plane:send_health_check(handler, liveness) end},
        {alias, fun() -> {ok, _} = erlmcp_control_plane:send_health_check(alias, liveness) end},
        {relay, fun() ->
            Message = erlmcp_control_message:health_check(liveness),
            {ok, _} = erlmcp_native_bench_control_relay:send(Relay, handler, Message)
        end}
    ],
    Summaries = erlmcp_native_bench_control_times:interleaved(Funs, Rounds, StepMs * 200),
    Stats = erlmcp_control_plane:get_stats(),
    ok = erlmcp_native_bench_control_relay:stop(Relay),
    ok = erlmcp_native_bench_control_peer:stop(Pid),
    result(Summaries, Stats).

result(#{ping := Ping, handler := Handler, alias := InProcess, relay := Relay} = Summaries, Stats) ->
    Ratio = p50(Handler) / p50(Ping),
    #{
        title => "",
        tables => [
            #{
                head => head("round trip, idle"),
                left => 1,
                rows => [
                    row("bare ping-pong over a priority alias", Ping),
                    row("send_health_check, handler", Handler),
                    row("send_health_check, component's own process", InProcess),
                    row("gen_server that relays", Relay)
                ]
            }
        ],
        notes => [],
        targets => [target("idle p50, send_health_check to bare ping-pong", lower, 2, Ratio, " x")],
        data => #{
            idle => Summaries,
            idle_stats => maps:with([latency_p50_us, latency_p95_us, latency_p99_us], Stats)
        }
    }.

p50(#{p50_us := Us}) -> Us.
