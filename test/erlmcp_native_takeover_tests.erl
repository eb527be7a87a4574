%% A service that the application has started is taken over by whoever starts it explicitly, and kept by them.
-module(erlmcp_native_takeover_tests).

-include_lib("eunit/include/eunit.hrl").

-behaviour(supervisor).

-export([init/1]).

-import(erlmcp_native_test_lib, [eventually/1, kill/1]).

-define(LIMITS, erlmcp_queue_limits).
-define(MONITOR, erlmcp_overload_monitor).
-define(CONTROL, erlmcp_control_plane).
-define(SERVICES, [?LIMITS, ?MONITOR, ?CONTROL]).
-define(DEADLINE_MS, 30000).

takeover_test_() ->
    {foreach, fun up/0, fun down/1, [
        {timeout, 120, Test}
     || Test <- [
            fun all_stays/0,
            fun a_second_one_is_told_who_has_it/0,
            fun a_supervisor_gets_its_child_back/0,
            fun one_that_ends_is_taken_back_at_the_next_start_only/0,
            fun one_that_is_killed_leaves_all_to_the_next/0,
            fun whoever_is_first_keeps_it/0,
            fun a_stop_of_the_application_leaves_it/0,
            fun an_application_that_goes_down_leaves_it/0,
            fun a_foreign_process_of_that_name_stops_the_start/0,
            fun a_start_that_would_fail_takes_nothing/0,
            fun options_of_the_taker_count/0,
            fun of_many_takers_one_gets_it/0,
            fun a_taker_that_is_killed_takes_nothing_apart/0,
            fun taking_over_while_it_crashes/0,
            fun taking_over_while_the_application_starts_and_stops/0,
            fun one_that_does_not_answer_is_kept/0,
            fun nobody_notices/0
        ]
    ]}.

up() ->
    Level = erlmcp_native_test_lib:quiet(),
    ok = application:start(erlmcp_native),
    Level.

down(Level) ->
    _ = application:stop(erlmcp_native),
    application:unset_env(erlmcp_native, overload),
    lists:foreach(fun ended/1, ?SERVICES),
    %% What was killed, and left everything to the next.
    [begin {ok, _} = Service:start_link(), ok = gen_server:stop(Service) end || Service <- ?SERVICES],
    erlmcp_native_test_lib:loud(Level).

%% It may be on its way out already, with whoever had it.
ended(Service) ->
    try gen_server:stop(Service) of
        ok -> ok
    catch
        exit:_ -> erlmcp_native_test_lib:eventually(fun() -> whereis(Service) =:= undefined end)
    end.

%% The child specifications of erlmcp.
init(Services) ->
    Specs = [
        #{
            id => Service,
            start => {Service, start_link, []},
            restart => permanent,
            shutdown => 5000,
            type => worker,
            modules => [Service]
        }
     || Service <- Services
    ],
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, Specs}}.

%% A process that starts a service, and has it until it is told to end.
owner(Service) ->
    Test = self(),
    Owner = spawn(fun() ->
        Test ! {self(), Service:start_link()},
        receive
            {stop, Reason} -> exit(Reason)
        end
    end),
    receive
        {Owner, Result} -> {Owner, Result}
    after ?DEADLINE_MS -> error({not_started, Service, process_info(Owner, current_stacktrace)})
    end.

stop(Owner, Reason) ->
    Monitor = monitor(process, Owner),
    Owner ! {stop, Reason},
    receive
        {'DOWN', Monitor, process, Owner, _} -> ok
    end.

parent(Service) ->
    {parent, Parent} = process_info(whereis(Service), parent),
    Parent.

is_the_applications(Service) ->
    parent(Service) =:= whereis(erlmcp_native_sup).

child(Service) ->
    {Service, Child, worker, _} = lists:keyfind(Service, 1, supervisor:which_children(erlmcp_native_sup)),
    Child.

%% Something that is counted, set and registered in each.
fill() ->
    Test = self(),
    ok = ?LIMITS:set_limit(r, 10),
    ok = ?LIMITS:set_limit(s, 0),
    [ok = ?LIMITS:record_enqueue(r, Owner) || Owner <- lists:duplicate(9, Test) ++ [a]],
    {error, _} = ?LIMITS:try_enqueue(s, a),
    ok = ?MONITOR:set_check_interval(77777),
    ok = ?CONTROL:register_component(c, fun(_) -> ok end),
    {ok, _} = ?CONTROL:send_health_check(c, liveness),
    ok.

is_filled() ->
    lists:foreach(fun is_filled/1, ?SERVICES).

is_filled(?LIMITS) ->
    ?assertEqual([10, 0], [?LIMITS:get_limit(Role) || Role <- [r, s]]),
    ?assertEqual([9, 1], [?LIMITS:get_queue_depth(r, Owner) || Owner <- [self(), a]]),
    ?assertMatch(#{total_rejected := 1}, ?LIMITS:get_role_stats(s));
is_filled(?MONITOR) ->
    ?assertMatch([#{level := critical}, #{level := warning}], ?MONITOR:get_alert_history(r));
is_filled(?CONTROL) ->
    ?assertEqual([c], ?CONTROL:components()),
    ?assertMatch({ok, _}, ?CONTROL:send_cancel_task(c, 1)),
    ?assertMatch(#{by_type := #{health_check := 1}}, ?CONTROL:get_stats()).

all_stays() ->
    ok = fill(),
    Before = [whereis(Service) || Service <- ?SERVICES],
    Taken = [
        begin
            {Owner, {ok, Pid}} = owner(Service),
            ?assertEqual({Pid, Owner}, {whereis(Service), parent(Service)}),
            ?assertEqual(undefined, child(Service)),
            is_filled(),
            Pid
        end
     || Service <- ?SERVICES
    ],
    ?assertEqual([], Before -- [Pid || Pid <- Before, not is_process_alive(Pid)]),
    ?assertEqual(Taken, [whereis(Service) || Service <- ?SERVICES]),
    ?assert(lists:keymember(erlmcp_native, 1, application:which_applications())),
    ?assertEqual(ok, erlmcp_native_app:reload_config()),
    ?assertEqual(ok, ?CONTROL:register_component(c, fun(_) -> {error, again} end)),
    ?assertEqual({error, again}, ?CONTROL:send_health_check(c, liveness)).

a_second_one_is_told_who_has_it() ->
    [
        begin
            {_, {ok, Pid}} = owner(Service),
            ?assertMatch({_, {error, {already_started, Pid}}}, owner(Service)),
            ?assertEqual(Pid, whereis(Service))
        end
     || Service <- ?SERVICES
    ].

a_supervisor_gets_its_child_back() ->
    ok = fill(),
    {ok, Supervisor} = supervisor:start_link(?MODULE, ?SERVICES),
    [?assertEqual(Supervisor, parent(Service)) || Service <- ?SERVICES],
    is_filled(),
    [
        begin
            kill(whereis(Service)),
            eventually(fun() -> is_pid(whereis(Service)) end),
            ?assertEqual({Supervisor, undefined}, {parent(Service), child(Service)})
        end
     || Service <- ?SERVICES, _ <- [1, 2]
    ],
    is_filled(),
    ok = gen_server:stop(Supervisor),
    ?assertEqual([undefined, undefined, undefined], [whereis(Service) || Service <- ?SERVICES]).

one_that_ends_is_taken_back_at_the_next_start_only() ->
    ok = fill(),
    [
        begin
            {Owner, {ok, Pid}} = owner(Service),
            Monitor = monitor(process, Pid),
            stop(Owner, shutdown),
            receive
                {'DOWN', Monitor, process, Pid, shutdown} -> ok
            end
        end
     || Service <- ?SERVICES
    ],
    ok = erlmcp_native_app:reload_config(),
    ?assertEqual([undefined, undefined, undefined], [whereis(Service) || Service <- ?SERVICES]),
    ?assertExit({noproc, _}, ?LIMITS:get_all_limits()),
    %% Or by hand.
    {ok, Again} = supervisor:restart_child(erlmcp_native_sup, ?LIMITS),
    ?assertEqual({Again, 10000}, {whereis(?LIMITS), ?LIMITS:get_limit(session)}),
    ok = application:stop(erlmcp_native),
    ok = application:start(erlmcp_native),
    ?assert(lists:all(fun is_the_applications/1, ?SERVICES)),
    ?assertEqual({10000, []}, {?LIMITS:get_limit(session), ?CONTROL:components()}).

one_that_is_killed_leaves_all_to_the_next() ->
    ok = fill(),
    [
        begin
            {Owner, {ok, Pid}} = owner(Service),
            Monitor = monitor(process, Pid),
            kill(Owner),
            receive
                {'DOWN', Monitor, process, Pid, killed} -> ok
            end,
            is_filled(),
            ?assertEqual(undefined, whereis(Service)),
            ?assertMatch({_, {ok, _}}, owner(Service)),
            is_filled()
        end
     || Service <- ?SERVICES
    ].

%% Whoever has it before the application starts.
whoever_is_first_keeps_it() ->
    ok = application:stop(erlmcp_native),
    Pids = [Pid || Service <- ?SERVICES, {_, {ok, Pid}} <- [owner(Service)]],
    ok = fill(),
    ?assertEqual(ok, application:start(erlmcp_native)),
    ?assertEqual(Pids, [whereis(Service) || Service <- ?SERVICES]),
    ?assertEqual([undefined, undefined, undefined], [child(Service) || Service <- ?SERVICES]),
    is_filled().

a_stop_of_the_application_leaves_it() ->
    ok = fill(),
    Pids = [Pid || Service <- ?SERVICES, {_, {ok, Pid}} <- [owner(Service)]],
    ok = application:stop(erlmcp_native),
    ?assertEqual(Pids, [whereis(Service) || Service <- ?SERVICES]),
    is_filled(),
    ok = application:start(erlmcp_native),
    ?assertEqual(Pids, [whereis(Service) || Service <- ?SERVICES]),
    is_filled().

an_application_that_goes_down_leaves_it() ->
    {Owner, {ok, _}} = owner(?LIMITS),
    ok = ?LIMITS:record_enqueue(session, a),
    ok = ?CONTROL:register_component(component, fun(_) -> ok end),
    kill(whereis(erlmcp_native_sup)),
    eventually(fun() -> not lists:keymember(erlmcp_native, 1, application:which_applications()) end),
    ?assertEqual(1, ?LIMITS:get_queue_depth(session, a)),
    ?assertEqual(not_started, erlmcp_native:control_components()),
    Owner ! {stop, shutdown}.

a_foreign_process_of_that_name_stops_the_start() ->
    ok = application:stop(erlmcp_native),
    [
        begin
            true = register(Service, self()),
            ?assertMatch(
                {error, {{shutdown, {failed_to_start_child, Service, _}}, _}}, application:start(erlmcp_native)
            ),
            true = unregister(Service)
        end
     || Service <- ?SERVICES
    ].

a_start_that_would_fail_takes_nothing() ->
    ok = fill(),
    Before = [whereis(Service) || Service <- ?SERVICES],
    Wrong = ?MONITOR:start_link([{check_intervall, 1}]),
    ?assertMatch({error, {bad_config, #{key := [overload, check_intervall]}}}, Wrong),
    [
        begin
            ok = application:set_env(erlmcp_native, Key, wrong),
            ?assertMatch({error, {bad_config, #{key := Key}}}, Service:start_link()),
            ok = application:unset_env(erlmcp_native, Key)
        end
     || {Service, Key} <- [
            {?LIMITS, queue_limits}, {?LIMITS, queue_limits_enabled}, {?MONITOR, overload},
            {?MONITOR, overload_monitor_enabled}, {?CONTROL, control_plane_enabled}
        ]
    ],
    ?assertEqual(Before, [whereis(Service) || Service <- ?SERVICES]),
    ?assert(lists:all(fun is_the_applications/1, ?SERVICES)),
    is_filled().

options_of_the_taker_count() ->
    ok = fill(),
    {ok, Pid} = ?MONITOR:start_link([{max_alert_history, 1}]),
    ?assertMatch([#{level := critical}], ?MONITOR:get_alert_history(r)),
    unlink(Pid),
    kill(Pid).

of_many_takers_one_gets_it() ->
    [
        begin
            ok = application:stop(erlmcp_native),
            ok = application:start(erlmcp_native),
            ok = fill(),
            Test = self(),
            Takers = [
                spawn(fun() ->
                    receive
                        go -> ok
                    end,
                    Test ! {self(), Service:start_link()},
                    receive
                        stop -> exit(shutdown)
                    end
                end)
             || _ <- lists:seq(1, 20)
            ],
            [Taker ! go || Taker <- Takers],
            Results = [
                receive
                    {Taker, Result} -> Result
                after ?DEADLINE_MS -> error({hangs, process_info(Taker, current_stacktrace)})
                end
             || Taker <- Takers
            ],
            [{ok, Pid}] = [Result || {ok, _} = Result <- Results],
            ?assertEqual([{error, {already_started, Pid}}], lists:usort(Results -- [{ok, Pid}])),
            ?assertEqual({Pid, undefined}, {whereis(Service), child(Service)}),
            is_filled(),
            Monitor = monitor(process, Pid),
            [Taker ! stop || Taker <- Takers],
            receive
                {'DOWN', Monitor, process, Pid, _} -> ok
            end
        end
     || Service <- ?SERVICES, _ <- lists:seq(1, 5)
    ].

%% Whatever it was at: it is the application's, the taker's for a moment, or nobody's, and all is there.
a_taker_that_is_killed_takes_nothing_apart() ->
    [
        begin
            ok = fill(),
            Taker = spawn(fun() -> Service:start_link(), receive never -> ok end end),
            spin(Round * 20),
            kill(Taker),
            {Owner, {ok, Pid}} = settled(Service),
            ?assertEqual(Pid, whereis(Service)),
            is_filled(),
            again(Service, Owner)
        end
     || Service <- ?SERVICES, Round <- lists:seq(0, 30)
    ].

%% The application takes it back, with nothing in it.
again(Service, Owner) ->
    Monitor = monitor(process, whereis(Service)),
    stop(Owner, shutdown),
    receive
        {'DOWN', Monitor, process, _, shutdown} -> ok
    end,
    ok = application:stop(erlmcp_native),
    ok = application:start(erlmcp_native),
    ?assert(is_the_applications(Service)).

%% The taker's process may still be on its way out.
settled(Service) ->
    case owner(Service) of
        {_, {ok, _}} = Owned ->
            Owned;
        {Owner, {error, {already_started, Pid}}} ->
            stop(Owner, normal),
            Monitor = monitor(process, Pid),
            receive
                {'DOWN', Monitor, process, Pid, killed} -> settled(Service);
                {'DOWN', Monitor, process, Pid, noproc} -> settled(Service)
            after ?DEADLINE_MS -> error({somebody_has_it, Pid})
            end
    end.

spin(0) -> ok;
spin(N) -> _ = erlang:phash2({N, N}), spin(N - 1).

%% The application's supervisor starts it again at the same time, and does not give up over it.
taking_over_while_it_crashes() ->
    [
        begin
            ok = fill(),
            Supervisor = whereis(erlmcp_native_sup),
            exit(whereis(Service), kill),
            {Owner, {ok, Pid}} = owner(Service),
            %% Done with everything that was on its way.
            _ = supervisor:which_children(erlmcp_native_sup),
            ?assertEqual({Pid, undefined}, {whereis(Service), child(Service)}),
            ?assertEqual(Supervisor, whereis(erlmcp_native_sup)),
            is_filled(),
            again(Service, Owner)
        end
     || Service <- ?SERVICES, _ <- lists:seq(1, 10)
    ].

taking_over_while_the_application_starts_and_stops() ->
    [
        begin
            Test = self(),
            Switch = spawn_link(fun() ->
                [
                    begin
                        _ = application:stop(erlmcp_native),
                        ok = application:start(erlmcp_native)
                    end
                 || _ <- lists:seq(1, 5)
                ],
                Test ! {self(), done},
                receive
                    never -> ok
                end
            end),
            {Owner, {ok, Pid}} = owner(Service),
            receive
                {Switch, done} -> ok
            after ?DEADLINE_MS -> error(hangs)
            end,
            ?assertEqual({Pid, Owner, undefined}, {whereis(Service), parent(Service), child(Service)}),
            unlink(Switch),
            kill(Switch),
            Monitor = monitor(process, Pid),
            stop(Owner, shutdown),
            receive
                {'DOWN', Monitor, process, Pid, _} -> ok
            end
        end
     || Service <- ?SERVICES, _ <- lists:seq(1, 5)
    ].

%% It answers late, when nobody waits any more: then it stays the application's.
one_that_does_not_answer_is_kept() ->
    ok = fill(),
    Pid = whereis(?LIMITS),
    ok = sys:suspend(Pid),
    ?assertEqual({error, {already_started, Pid}}, ?LIMITS:start_link()),
    ok = sys:resume(Pid),
    _ = sys:get_state(Pid),
    _ = supervisor:which_children(erlmcp_native_sup),
    ?assertEqual({Pid, Pid}, {whereis(?LIMITS), child(?LIMITS)}),
    is_filled().

%% Callers go on while it changes hands.
nobody_notices() ->
    ok = fill(),
    Stop = atomics:new(1, []),
    Test = self(),
    Callers = [
        spawn_monitor(fun() -> Test ! {self(), calling}, exit({calls, call(Stop, Call, 0)}) end)
     || Call <- [
            fun() -> ok = ?LIMITS:try_enqueue(busy, b), ok = ?LIMITS:record_dequeue(busy, b) end,
            fun() -> {ok, _} = ?CONTROL:send_health_check(c, liveness) end,
            fun() -> [_ | _] = ?MONITOR:get_alert_history(r) end
        ]
    ],
    [
        receive
            {Caller, calling} -> ok
        end
     || {Caller, _} <- Callers
    ],
    [{_, {ok, _}} = owner(Service) || Service <- ?SERVICES],
    ok = atomics:put(Stop, 1, 1),
    [
        receive
            {'DOWN', Monitor, process, Caller, Reason} -> ?assertMatch({calls, Calls} when Calls > 0, Reason)
        end
     || {Caller, Monitor} <- Callers
    ],
    ?assertEqual(0, ?LIMITS:get_queue_depth(busy, b)).

call(Stop, Call, Calls) ->
    _ = Call(),
    case atomics:get(Stop, 1) of
        0 -> call(Stop, Call, Calls + 1);
        1 -> Calls + 1
    end.
