%% What is passed on to erlmcp's metrics server and to telemetry, by stand-ins with the same heads.
-module(erlmcp_native_relay_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [eventually/2]).
-import(erlmcp_overload_test_lib, [fill/3, drain/3, stand_in/2, without/1]).

-define(SERVER, erlmcp_metrics_server).
-define(DEADLINE_MS, 10000).
-define(MOST, 10000).

metrics_server_test_() ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name), {timeout, 60, Test}}
     || {Name, Test} <- [
            {refusals_reach_it, fun refusals_reach_it/0},
            {mean_latencies_reach_it, fun mean_latencies_reach_it/0},
            {only_what_is_switched_on_reaches_it, fun only_what_is_switched_on_reaches_it/0},
            {what_was_before_is_not_passed_on, fun what_was_before_is_not_passed_on/0},
            {a_reset_loses_nothing, fun a_reset_loses_nothing/0},
            {too_many_are_counted, fun too_many_are_counted/0},
            {one_that_is_stuck_is_spared, fun one_that_is_stuck_is_spared/0},
            {one_that_crashes_hurts_the_relay_only, fun one_that_crashes_hurts_the_relay_only/0}
        ]
    ]}.

telemetry_test_() ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name), {timeout, 60, Test}}
     || {Name, Test} <- [
            {events, fun events/0},
            {roles_when_asked, fun roles_when_asked/0},
            {a_monitor_that_was_stopped_is_found_again, fun a_monitor_that_was_stopped_is_found_again/0},
            {a_function_that_hangs_delays_nobody, fun a_function_that_hangs_delays_nobody/0},
            {without_the_library, fun without_the_library/0}
        ]
    ]}.

up() ->
    Level = erlmcp_native_test_lib:start(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}, {open_breaker_at, overload}]),
    {ok, Plane} = erlmcp_control_plane:start_link(),
    unlink(Plane),
    ok = erlmcp_native_self:start(),
    ok = erlmcp_queue_limits:set_limit(r, 0),
    Level.

down(Level) ->
    [end_process(whereis(Name)) || Name <- [?SERVER, erlmcp_native_metrics_server, erlmcp_native_telemetry]],
    [without(Module) || Module <- [?SERVER, telemetry]],
    ok = gen_server:stop(erlmcp_control_plane),
    erlmcp_overload_test_lib:stop(),
    erlmcp_native_test_lib:stop(Level).

end_process(undefined) -> ok;
end_process(Pid) -> erlmcp_native_test_lib:kill(Pid).

refusals_reach_it() ->
    ready(),
    refuse(7),
    ?assertEqual([error || _ <- lists:seq(1, 7)], told(7)).

%% One a second and type, however many there were; each is in one of the means.
mean_latencies_reach_it() ->
    Slow = [{cancel_task, 20}, {drain_session, 10}],
    ok = erlmcp_control_plane:register_component(c, fun({control, Type, _}) ->
        receive
        after proplists:get_value(Type, Slow, 0) -> ok
        end
    end),
    ready(),
    %% Between two turns of the relay, as far as can be had; of those that are cut in two there are two means.
    Waited = [element(2, {ok, _} = erlmcp_control_plane:send_health_check(c, liveness)) || _ <- lists:seq(1, 3000)],
    {ok, _} = erlmcp_control_plane:send_cancel_task(c, 1),
    {ok, _} = erlmcp_control_plane:send_drain_session(c, 1),
    await(fun() -> length(slow()) >= 2 andalso length(seen()) > length(slow()) end),
    Means = [Ms || {latency, Ms} <- seen()],
    ?assertMatch([Drain, Cancel] when Drain >= 10.0 andalso Drain < Cancel andalso Cancel >= 20.0, lists:sort(slow())),
    Quick = Means -- slow(),
    ?assert(length(Quick) =< 10),
    [?assert(Ms * 1000 >= lists:min(Waited) andalso Ms * 1000 =< lists:max(Waited)) || Ms <- Quick].

slow() ->
    [Ms || {latency, Ms} <- seen(), Ms >= 10].

only_what_is_switched_on_reaches_it() ->
    ok = erlmcp_control_plane:register_component(c, fun(_) -> ok end),
    Both = fun() -> refuse(1), {ok, _} = erlmcp_control_plane:send_health_check(c, liveness) end,
    [
        begin
            ready(Callbacks),
            {ok, _} = Both(),
            passed(whereis(erlmcp_native_metrics_server), 1),
            ?assertEqual(Kinds, [case What of {latency, _} -> latency; error -> error end || What <- seen()]),
            [end_process(whereis(Name)) || Name <- [?SERVER, erlmcp_native_metrics_server]]
        end
     || {Callbacks, Kinds} <- [{[refused], [error]}, {[waited], [latency]}, {[refused, waited], [error, latency]}]
    ].

what_was_before_is_not_passed_on() ->
    ok = erlmcp_control_plane:register_component(c, fun(_) -> ok end),
    refuse(3),
    {ok, _} = erlmcp_control_plane:send_health_check(c, liveness),
    ready(),
    refuse(1),
    ?assertEqual([error], told(1)).

a_reset_loses_nothing() ->
    ready(),
    refuse(4),
    [error, error, error, error] = told(4),
    ok = erlmcp_queue_limits:reset_stats(r),
    refuse(2),
    ?assertEqual([error, error], told(2)).

too_many_are_counted() ->
    ready(),
    Before = skipped(),
    Refused = 3 * ?MOST,
    refuse(Refused),
    await(fun() -> length(seen()) + skipped() - Before =:= Refused end),
    ?assert(skipped() > Before),
    ?assert(length(seen()) >= ?MOST).

one_that_is_stuck_is_spared() ->
    ready(),
    Server = whereis(?SERVER),
    ok = sys:suspend(Server),
    [Server ! stuck || _ <- lists:seq(1, ?MOST)],
    Before = skipped(),
    refuse(100),
    await(fun() -> skipped() - Before =:= 100 end),
    ok = erlmcp_native_metrics_server:waited([{health_check, 2, 10}, {cancel_task, 1, 10}]),
    ?assertEqual(102, skipped() - Before),
    ?assertEqual({message_queue_len, ?MOST}, process_info(Server, message_queue_len)),
    ok = sys:resume(Server).

one_that_crashes_hurts_the_relay_only() ->
    ok = stand_in(?SERVER, ["record_error() -> exit(stand_in_crashes). record_latency(_) -> exit(stand_in_crashes)."]),
    true = register(?SERVER, spawn(fun Forever() -> receive _ -> Forever() end end)),
    {ok, Relay} = erlmcp_native_relay:start_link(erlmcp_native_metrics_server),
    unlink(Relay),
    Monitor = erlang:monitor(process, Relay),
    refuse_until(fun() -> not is_process_alive(Relay) end),
    receive
        {'DOWN', Monitor, process, Relay, stand_in_crashes} -> ok
    after ?DEADLINE_MS -> error(not_crashed)
    end,
    ?assertEqual(ok, erlmcp_queue_limits:record_enqueue(r, a)).

events() ->
    with_telemetry(fun() -> ok end),
    ok = erlmcp_queue_limits:set_limit(s, 10),
    fill(s, a, 8),
    {alert, #{depth := 8, limit := 10, utilization := 0.8}, Meta} = event(overload),
    ?assertMatch(#{level := warning, role := s, process := a, timestamp := _}, Meta),
    drain(s, a, 1),
    ?assertMatch({clear, #{depth := 7}, #{level := warning, role := s}}, event(overload)),
    fill(s, a, 3),
    %% The breaker follows the role, and may be told before the alerts.
    Events = [event(overload) || _ <- lists:seq(1, 4)],
    {Alerts, Breaker} = lists:partition(fun({What, _, _}) -> What =:= alert end, Events),
    ?assertEqual([warning, critical, overload], [Level || {alert, _, #{level := Level}} <- Alerts]),
    ?assertEqual([{breaker, #{count => 1}, #{role => s, action => open}}], Breaker),
    refuse(5),
    ?assertEqual({refused, #{count => 5}, #{role => r, class => critical, reason => full}}, event(queue_limits)),
    %% Numbers only: what is not limited has no limit.
    ok = erlmcp_queue_limits:set_limit(s, infinity),
    ok = erlmcp_overload_monitor:force_check(),
    Cleared = [Cleared || {clear, Cleared, _} <- [event(overload) || _ <- lists:seq(1, 4)]],
    ?assertEqual([#{depth => 10, utilization => 0.0}], lists:usort(Cleared)).

roles_when_asked() ->
    ?assertEqual(ok, erlmcp_native_telemetry:emit()),
    with_telemetry(fun() -> ok end),
    ok = erlmcp_queue_limits:set_limit(s, 10),
    ok = erlmcp_queue_limits:set_limit(free, infinity),
    fill(s, a, 9),
    ok = erlmcp_overload_monitor:force_check(),
    ?assertEqual(ok, erlmcp_native_telemetry:emit()),
    Roles = #{Role => Measured || {role, Measured, #{role := Role}} <- told_now(queue_limits)},
    #{s := S, free := Free} = Roles,
    Expected = #{
        depth => 9, owners => 1, limit => 10, utilization => 0.9, level => 2, wait_ms => 0, stalled_ms => 0,
        refused_per_s => 0.0
    },
    ?assertEqual(lists:sort(maps:keys(Expected)), lists:sort(maps:keys(S))),
    ?assertEqual(maps:without([stalled_ms], Expected), maps:without([stalled_ms], S)),
    ?assertNot(is_map_key(limit, Free)).

%% Whatever is started: one that raises is called by telemetry_poller no more.
no_roles_while_nobody_counts_test() ->
    telemetry(fun() -> ok end),
    ?assertEqual(ok, erlmcp_native_telemetry:emit()),
    ?assertEqual([], told_now(queue_limits)),
    without(telemetry).

told_now(Of) ->
    receive
        {Of, Event} -> [Event | told_now(Of)]
    after 0 -> []
    end.

a_monitor_that_was_stopped_is_found_again() ->
    with_telemetry(fun() -> ok end),
    erlmcp_overload_test_lib:stop(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}, {open_breaker_at, never}]),
    cross_until_told(1).

a_function_that_hangs_delays_nobody() ->
    ready(),
    with_telemetry(fun() -> receive never -> ok end end),
    refuse(2),
    ?assertMatch({refused, _, _}, event(queue_limits)),
    _ = told(2),
    refuse(3),
    ?assertEqual([error, error, error], told(3)).

without_the_library() ->
    {ok, Relay} = erlmcp_native_relay:start_link(erlmcp_native_telemetry),
    unlink(Relay),
    refuse(1),
    passed(Relay, 2),
    ?assert(is_process_alive(Relay)),
    ?assertEqual({ok, []}, erlmcp_native_telemetry:handle_alert(#{level => warning}, [])).

%% A metrics server that keeps what it is told, and a relay that has begun.
ready() ->
    ready([refused, waited]).

ready(Parts) ->
    ok = stand_in(?SERVER, [
        "init(_) -> {ok, []}.",
        "handle_call(seen, _, S) -> {reply, lists:reverse(S), S}; handle_call(forget, _, _) -> {reply, ok, []}.",
        "handle_cast(M, S) -> {noreply, [M | S]}. handle_info(_, S) -> {noreply, S}.",
        "record_error() -> gen_server:cast(erlmcp_metrics_server, error).",
        "record_latency(Ms) when is_number(Ms) -> gen_server:cast(erlmcp_metrics_server, {latency, Ms})."
    ]),
    {ok, Server} = gen_server:start({local, ?SERVER}, ?SERVER, [], []),
    {ok, Relay} = erlmcp_native_relay:start_link(erlmcp_native_metrics_server, Parts),
    unlink(Relay),
    ok = erlmcp_queue_limits:set_limit(probe, 0),
    passed(Relay, 1),
    ?assertEqual([], gen_server:call(Server, seen)).

%% Returns when the relay has passed on so often.
passed(Relay, Times) ->
    1 = erlang:trace(Relay, true, ['receive']),
    [
        receive
            {trace, Relay, 'receive', pass_on} -> ok
        after ?DEADLINE_MS -> error(not_passed)
        end
     || _ <- lists:seq(1, Times)
    ],
    1 = erlang:trace(Relay, false, ['receive']),
    _ = sys:get_state(Relay),
    ok.

with_telemetry(Act) ->
    telemetry(Act),
    {ok, Relay} = erlmcp_native_relay:start_link(erlmcp_native_telemetry),
    unlink(Relay),
    passed(Relay, 1).

telemetry(Act) ->
    persistent_term:put({?MODULE, telemetry}, {self(), Act}),
    ok = stand_in(telemetry, [
        "execute([erlmcp_native, Of, Event], Measurements, Metadata) ->",
        "    {Pid, Act} = persistent_term:get({erlmcp_native_relay_tests, telemetry}),",
        "    Pid ! {Of, {Event, Measurements, Metadata}},",
        "    Act(), ok."
    ]).

event(Of) ->
    receive
        {Of, Event} -> Event
    after ?DEADLINE_MS -> error({no_event, Of})
    end.

%% The relay looks once a second whether there is another monitor.
cross_until_told(Limit) when Limit < 1000 ->
    ok = erlmcp_queue_limits:set_limit(s, Limit),
    Owner = list_to_atom("owner_" ++ integer_to_list(Limit)),
    fill(s, Owner, Limit),
    receive
        {overload, {alert, _, #{role := s}}} -> ok
    after 100 -> cross_until_told(Limit + 1)
    end.

refuse(Times) ->
    [{error, _} = erlmcp_queue_limits:try_enqueue(r, a) || _ <- lists:seq(1, Times)],
    ok.

refuse_until(Condition) ->
    eventually(
        fun() ->
            refuse(1),
            Condition()
        end,
        ?DEADLINE_MS
    ).

await(Condition) ->
    eventually(Condition, ?DEADLINE_MS).

seen() ->
    gen_server:call(?SERVER, seen).

%% What the server was told, when it is so much.
told(Count) ->
    await(fun() -> length(seen()) >= Count end),
    Seen = seen(),
    ok = gen_server:call(?SERVER, forget),
    Seen.

skipped() ->
    maps:get(relay_skipped, erlmcp_native_self:read()).
