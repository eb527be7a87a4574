-module(package_use).
-moduledoc "Starts the application and uses each part of its library, in a runtime of any system.".

-export([main/1]).

-doc "Prints what it ran on, and stops the runtime with status 0; with another one when something is not as it should.".
-spec main([string()]) -> no_return().
main([Target]) ->
    {ok, _} = application:ensure_all_started(erlmcp_native),
    limits(),
    many_at_once(),
    death(),
    control(),
    rates(),
    io:format("package: ~ts: run on OTP ~ts, NIF ~ts, ~ts~n", [
        Target,
        erlang:system_info(otp_release),
        erlang:system_info(nif_version),
        erlang:system_info(system_architecture)
    ]),
    halt(0).

limits() ->
    ok = erlmcp_queue_limits:set_limit(package, 2),
    ok = erlmcp_queue_limits:try_enqueue(package, self()),
    ok = erlmcp_queue_limits:try_enqueue(package, self()),
    {error, {capacity_exceeded, #{limit := 2, depth := 2}}} = erlmcp_queue_limits:try_enqueue(package, self()),
    ok = erlmcp_queue_limits:record_dequeue(package, self()),
    1 = erlmcp_queue_limits:get_queue_depth(package, self()).

many_at_once() ->
    ok = erlmcp_queue_limits:set_limit(many, 100),
    Callers = [spawn_monitor(fun() -> [erlmcp_queue_limits:try_enqueue(many, one) || _ <- lists:seq(1, 10)] end)
        || _ <- lists:seq(1, 50)],
    [receive {'DOWN', Monitor, process, Pid, Reason} -> normal = Reason end || {Pid, Monitor} <- Callers],
    100 = erlmcp_queue_limits:get_queue_depth(many, one),
    {ok, #{total_enqueued := 100, total_rejected := 400}} = {ok, erlmcp_queue_limits:get_role_stats(many)}.

%% What a process has counted goes when it dies.
death() ->
    {Pid, Monitor} = spawn_monitor(fun() -> ok = erlmcp_queue_limits:record_enqueue(package, self()) end),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
    gone(Pid, erlang:monotonic_time(millisecond) + 20_000).

gone(Pid, Deadline_ms) ->
    case erlmcp_queue_limits:get_queue_depth(package, Pid) of
        0 ->
            ok;
        _ ->
            true = erlang:monotonic_time(millisecond) < Deadline_ms,
            erlang:yield(),
            gone(Pid, Deadline_ms)
    end.

control() ->
    ok = erlmcp_control_plane:register_component(package, fun(_) -> ok end),
    {ok, _} = erlmcp_control_plane:send_health_check(package, full),
    #{by_type := #{health_check := 1}} = erlmcp_control_plane:get_stats().

rates() ->
    ok = erlmcp_overload_rate:define(package, #{rate => {1, hour}, burst => 1}),
    {ok, 0} = erlmcp_overload_rate:take(package, {key, <<"of any kind">>}),
    {error, {rate_limited, _}} = erlmcp_overload_rate:take(package, {key, <<"of any kind">>}),
    ok.
