%% The service's process crashes, is stopped, is supervised by others; owners die; configuration changes.
-module(erlmcp_control_restart_tests).

-include_lib("eunit/include/eunit.hrl").

-define(P, erlmcp_control_plane).
-define(C, erlmcp_control_test_lib).
-define(LIB, erlmcp_native_test_lib).

crash_test_() ->
    ?C:with_plane([
        fun registrations_survive/0,
        fun handlers_run_and_answer_meanwhile/0,
        fun statistics_go_on/0,
        fun killed_several_times/0,
        fun a_handler_dies_meanwhile/0,
        fun registering_meanwhile/0,
        fun misuse_meanwhile/0,
        fun an_unregistered_handler_does_not_outlive_its_time/0
    ]).

owner_test_() ->
    ?C:with_plane([
        fun an_owner_dies/0,
        fun an_owner_dies_meanwhile/0,
        fun an_owner_was_dead/0,
        fun another_owner/0,
        fun senders_wait_when_the_owner_dies/0,
        fun an_alias_process_dies_meanwhile/0,
        fun the_successor_of_a_dead_one_is_not_waited_for/0
    ]).

stop_test_() ->
    ?C:with_plane([
        fun a_stop_ends_all_handlers/0,
        fun a_stop_tells_those_who_wait/0,
        fun a_stop_ends_a_handler_that_traps_exits/0,
        fun a_stop_ends_an_unregistered_handler/0,
        fun a_stop_after_a_crash/0,
        fun under_another_supervisor/0
    ]).

switch_test_() ->
    {foreach, fun() -> ok = unset(), ?C:start() end, fun(Level) -> ok = unset(), ?C:stop(Level) end, [
        fun off_still_delivers/0,
        fun configured/0,
        fun switched_by_hand_wins/0,
        fun wrong_values/0
    ]}.

%% Whoever waited for the one before has the service look whether the process of today lives. That has a message, and is
%% in a native.
the_successor_of_a_dead_one_is_not_waited_for() ->
    Test = self(),
    {Silent, Go} = ?LIB:silent(5000, fun() ->
        ok = ?P:register_component(a, #{alias => erlmcp_priority:create_priority_alias()}),
        Test ! registered,
        ok
    end),
    receive registered -> ok end,
    Go(fun() ->
        Silent ! message,
        erlmcp_control_plane ! {revive, make_ref(), a, Test},
        ok = ?P:register_component(b, fun(_) -> ok end),
        ?assertEqual([a, b], lists:sort(?P:components())),
        ?assertEqual(silent, erlmcp_native_process_info:one(Silent, status, 1))
    end),
    ?LIB:kill(Silent).

registrations_survive() ->
    ok = ?P:register_component(a, #{handler => fun(_) -> {error, a} end, timeout_ms => 30, priority => normal}),
    ?C:gate(b, #{timeout_ms => 10}),
    ok = ?P:set_enabled(false),
    ?C:crash(),
    ?assertEqual({error, a}, ?P:send_cancel_task(a, 1)),
    ?assertEqual([a, b], lists:sort(?P:components())),
    ok = ?C:restart(),
    ?assertEqual({error, a}, ?P:send_cancel_task(a, 1)),
    ?assertEqual({error, timeout}, ?P:send_cancel_task(b, 1)),
    ok = ?P:unregister_component(a),
    ?assertEqual([b], ?P:components()),
    {Pid, _} = ?C:running(b),
    ?LIB:kill(Pid),
    ok = ?LIB:eventually(fun() -> ?C:stat(handler_crashes) =:= 1 end),
    %% Still as registered, and still in the ordinary lane.
    ?assertEqual({error, timeout}, ?P:send_cancel_task(b, 1)),
    ?assertMatch({{handler, _}, _, _, 10, false}, erlmcp_native:control_route(b, cancel_task)).

handlers_run_and_answer_meanwhile() ->
    ?C:gate(a),
    Sender = ?C:async(fun() -> ?P:send_cancel_task(a, 1) end),
    {Pid, _} = ?C:running(a),
    Waiting = ?C:async(fun() -> ?P:send_cancel_task(a, 2) end),
    ?C:waits_in(Pid, 1),
    ?C:crash(),
    ?C:go(Pid, {error, first}),
    ?assertEqual({error, first}, ?C:result(Sender)),
    {Pid, _} = ?C:running(a),
    ok = ?C:restart(),
    ?C:go(Pid, {error, second}),
    ?assertEqual({error, second}, ?C:result(Waiting)),
    ?assertEqual(Pid, ?C:idle_pid(a)).

statistics_go_on() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    {ok, _} = ?P:send_cancel_task(a, 1),
    ?C:crash(),
    {ok, _} = ?P:send_cancel_task(a, 2),
    ?assertEqual(2, ?C:stat(total_delivered)),
    ok = ?C:restart(),
    {ok, _} = ?P:send_cancel_task(a, 3),
    ?assertMatch(#{total_delivered := 3, by_component := #{a := #{delivered := 3}}}, ?P:get_stats()).

killed_several_times() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    Stop = atomics:new(1, []),
    Sender = fun(Loop, N) ->
        {ok, _} = ?P:send_cancel_task(a, N),
        case atomics:get(Stop, 1) of
            0 -> Loop(Loop, N + 1);
            1 -> N
        end
    end,
    Senders = [?C:async(fun() -> Sender(Sender, 1) end) || _ <- [1, 2, 3]],
    [begin ?C:crash(), ok = ?C:restart() end || _ <- lists:seq(1, 50)],
    ok = atomics:put(Stop, 1, 1),
    Sent = lists:sum([?C:result(S) || S <- Senders]),
    ?assertEqual(Sent, ?C:stat(total_delivered)),
    ?assertEqual(0, ?C:stat(handler_crashes)).

a_handler_dies_meanwhile() ->
    ?C:gate(a),
    Pid = ?C:idle_pid(a),
    Sender = ?C:async(fun() -> ?P:send_cancel_task(a, 1) end),
    {Pid, _} = ?C:running(a),
    ?C:crash(),
    ?LIB:kill(Pid),
    ?assertEqual({error, {handler_crashed, killed}}, ?C:result(Sender)),
    ?assertMatch({error, {handler_crashed, _}}, ?P:send_cancel_task(a, 2)),
    ok = ?C:restart(),
    ?assertNotEqual(Pid, ?C:idle_pid(a)),
    ?assertEqual(?C:queued_all(0), ?C:queued(a)).

registering_meanwhile() ->
    ?C:crash(),
    Fun = fun(_) -> ok end,
    ?assertExit({noproc, {?P, register_component, [a, Fun]}}, ?P:register_component(a, Fun)),
    ?assertExit({noproc, {?P, unregister_component, [a]}}, ?P:unregister_component(a)),
    ?assertEqual([], ?P:components()).

misuse_meanwhile() ->
    ?C:crash(),
    ?assertEqual(1, ?C:badarg(send_cancel_task, [1, 1])),
    ?assertEqual(2, ?C:badarg(register_component, [a, fun() -> ok end])),
    ok = ?P:set_enabled(true),
    ok = ?P:reset_stats(),
    ?assertEqual({error, component_not_registered}, ?P:send_cancel_task(a, 1)).

an_unregistered_handler_does_not_outlive_its_time() ->
    ?C:gate(a, #{timeout_ms => 50}),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, 1)),
    {Pid, _} = ?C:running(a),
    ok = ?P:unregister_component(a),
    ?C:crash(),
    ok = ?C:restart(),
    ok = ?LIB:eventually(fun() -> not is_process_alive(Pid) end).

an_owner_dies() ->
    Owner = ?LIB:idle(),
    ?C:gate(a, #{owner => Owner}),
    Pid = ?C:idle_pid(a),
    ?LIB:kill(Owner),
    ?C:down(Pid),
    ok = ?LIB:eventually(fun() -> ?P:components() =:= [] end),
    ?assertEqual({error, component_not_registered}, ?P:send_cancel_task(a, 1)).

an_owner_dies_meanwhile() ->
    Owner = ?LIB:idle(),
    ?C:gate(a, #{owner => Owner}),
    Pid = ?C:idle_pid(a),
    ?C:crash(),
    ?LIB:kill(Owner),
    ok = ?C:restart(),
    ?C:down(Pid),
    ok = ?LIB:eventually(fun() -> ?P:components() =:= [] end).

an_owner_was_dead() ->
    ok = ?P:register_component(a, #{handler => fun(_) -> ok end, owner => ?LIB:dead()}),
    ok = ?LIB:eventually(fun() -> ?P:components() =:= [] end).

another_owner() ->
    [First, Second] = [?LIB:idle() || _ <- [1, 2]],
    ok = ?P:register_component(a, #{handler => fun(_) -> ok end, owner => First}),
    ok = ?P:register_component(a, #{handler => fun(_) -> ok end, owner => Second}),
    ?LIB:kill(First),
    ok = ?P:register_component(b, fun(_) -> ok end),
    ?assertMatch({ok, _}, ?P:send_cancel_task(a, 1)),
    ?LIB:kill(Second),
    ok = ?LIB:eventually(fun() -> ?P:components() =:= [b] end).

senders_wait_when_the_owner_dies() ->
    Owner = ?LIB:idle(),
    ?C:gate(a, #{owner => Owner, timeout_ms => 1000}),
    Sender = ?C:async(fun() -> ?P:send_cancel_task(a, 1) end),
    {Pid, _} = ?C:running(a),
    ?LIB:kill(Owner),
    ok = ?LIB:eventually(fun() -> ?P:components() =:= [] end),
    ?C:go(Pid),
    ?assertMatch({ok, _}, ?C:result(Sender)),
    ?C:down(Pid).

an_alias_process_dies_meanwhile() ->
    Test = self(),
    Pid = spawn(fun() ->
        ok = ?P:register_component(a, #{alias => erlmcp_priority:create_priority_alias()}),
        Test ! ready,
        receive after infinity -> ok end
    end),
    receive ready -> ok end,
    ?C:crash(),
    ?LIB:kill(Pid),
    ?assertMatch({error, _}, ?P:send_cancel_task(a, 1)),
    ok = ?C:restart(),
    ok = ?LIB:eventually(fun() -> ?P:components() =:= [] end).

a_stop_ends_all_handlers() ->
    Ids = [a, b, c],
    Pids = [begin ?C:gate(Id), ?C:idle_pid(Id) end || Id <- Ids],
    ok = ?P:cast_priority(a, ?C:type(cancel_task, 1)),
    _ = ?C:running(a),
    ok = gen_server:stop(?P),
    [?C:down(Pid) || Pid <- Pids],
    ?assertExit({noproc, _}, ?P:components()),
    ok = ?C:restart(),
    ?assertEqual([], ?P:components()),
    ?assertMatch(#{total_delivered := 0}, ?P:get_stats()).

a_stop_tells_those_who_wait() ->
    ?C:gate(a),
    Sender = fun(N) -> ?C:async(fun() -> ?P:send_cancel_task(a, N) end) end,
    First = Sender(1),
    {Pid, _} = ?C:running(a),
    Senders = [First | [Sender(N) || N <- lists:seq(2, 5)]],
    ?C:waits_in(Pid, 4),
    ok = gen_server:stop(?P, shutdown, 5000),
    [?assertEqual({error, component_not_registered}, ?C:result(Waiting)) || Waiting <- Senders].

a_stop_ends_a_handler_that_traps_exits() ->
    Test = self(),
    ok = ?P:register_component(a, fun(_) -> process_flag(trap_exit, true), Test ! self() end),
    {ok, _} = ?P:send_cancel_task(a, 1),
    Pid = receive P when is_pid(P) -> P end,
    ok = gen_server:stop(?P),
    ok = ?LIB:eventually(fun() -> not is_process_alive(Pid) end).

a_stop_ends_an_unregistered_handler() ->
    ?C:gate(a, #{timeout_ms => 100}),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, 1)),
    {Pid, _} = ?C:running(a),
    ok = ?P:unregister_component(a),
    ok = gen_server:stop(?P),
    ok = ?LIB:eventually(fun() -> not is_process_alive(Pid) end).

a_stop_after_a_crash() ->
    ?C:gate(a),
    Pid = ?C:idle_pid(a),
    ?C:crash(),
    ok = ?C:restart(),
    ok = gen_server:stop(?P),
    ?C:down(Pid).

%% As in the seed's child specification.
under_another_supervisor() ->
    ok = gen_server:stop(?P),
    Spec = #{
        id => ?P, start => {?P, start_link, []}, restart => permanent, shutdown => 5000, type => worker,
        modules => [?P]
    },
    {ok, Sup} = erlmcp_control_test_lib:supervise([Spec]),
    ?C:gate(a),
    Handler = ?C:idle_pid(a),
    Pid = whereis(?P),
    ?LIB:kill(Pid),
    ok = ?LIB:eventually(fun() -> is_pid(whereis(?P)) andalso whereis(?P) =/= Pid end),
    ?assertEqual(Handler, ?C:idle_pid(a)),
    true = unlink(Sup),
    exit(Sup, shutdown),
    ?C:down(Sup),
    ?C:down(Handler),
    ?assertExit({noproc, _}, ?P:components()).

unset() ->
    [application:unset_env(App, control_plane_enabled) || App <- [erlmcp_native, erlmcp_core]],
    ok.

%% Is the priority lane in use? A process sees it once it has taken in what was sent, here by being asked.
lane() ->
    ok = ?P:register_component(lane, #{alias => erlmcp_priority:create_priority_alias()}),
    self() ! data,
    ok = ?P:cast_priority(lane, ?C:type(cancel_task, 1)),
    ok = ?C:waits_in(self(), 2),
    [First, _] = [receive M -> M end || _ <- [1, 2]],
    ok = ?P:unregister_component(lane),
    First =/= data.

off_still_delivers() ->
    ?assert(lane()),
    ok = ?P:set_enabled(false),
    ?assertNot(lane()),
    ok = ?P:register_component(a, fun(_) -> {error, a} end),
    ?assertEqual({error, a}, ?P:send_health_check(a, full)),
    ok = ?P:set_enabled(true),
    ?assert(lane()).

restart_normally() ->
    ok = gen_server:stop(?P),
    ok = ?C:restart().

configured() ->
    [
        begin
            ok = application:set_env(App, control_plane_enabled, false),
            ok = restart_normally(),
            ?assertNot(lane()),
            ok = application:set_env(App, control_plane_enabled, true),
            ok = erlmcp_native_app:reload_config(),
            ?assert(lane()),
            ok = application:set_env(App, control_plane_enabled, false),
            ?assert(lane()),
            ok = erlmcp_native_app:config_change([{control_plane_enabled, false}], [], []),
            ?assertNot(lane()),
            ok = unset(),
            ok = erlmcp_native_app:reload_config(),
            ?assert(lane())
        end
     || App <- [erlmcp_core, erlmcp_native]
    ],
    ok = application:set_env(erlmcp_core, control_plane_enabled, false),
    ok = application:set_env(erlmcp_native, control_plane_enabled, true),
    ok = erlmcp_native_app:reload_config(),
    ?assert(lane()).

switched_by_hand_wins() ->
    ok = application:set_env(erlmcp_native, control_plane_enabled, false),
    ok = erlmcp_native_app:reload_config(),
    ok = ?P:set_enabled(true),
    ok = erlmcp_native_app:reload_config(),
    ?assert(lane()),
    ?C:crash(),
    ?assert(is_list(?P:components())),
    ok = ?C:restart(),
    ?assert(lane()),
    ok = restart_normally(),
    ?assertNot(lane()).

wrong_values() ->
    [
        begin
            ok = application:set_env(erlmcp_native, control_plane_enabled, Value),
            Problem =
                {bad_config, #{
                    application => erlmcp_native, key => control_plane_enabled, value => Value,
                    expected => "true or false"
                }},
            ?assertEqual({error, Problem}, erlmcp_native_app:reload_config()),
            ?assert(lane()),
            ok = gen_server:stop(?P),
            ?assertEqual(
                {error, Problem}, ?LIB:in_process(fun() -> process_flag(trap_exit, true), ?P:start_link() end)
            ),
            ok = unset(),
            ok = ?C:restart()
        end
     || Value <- [1, "false", undefined, [], #{}]
    ].
