%% What survives whom: deaths of owners, permits of with_capacity, crashes and stops of the service.
-module(erlmcp_queue_limits_owner_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_queue_limits, [
    try_enqueue/2,
    record_enqueue/2,
    record_dequeue/2,
    with_capacity/3,
    forget/2,
    get_queue_depth/1,
    get_queue_depth/2,
    set_limit/2,
    get_limit/1,
    get_role_stats/1,
    set_enabled/1
]).
-import(erlmcp_native_test_lib, [
    stats/2, at_rest/1, eventually/1, idle/0, kill/1, dead/0, crash/0
]).

-define(LIMITS, erlmcp_queue_limits).

deaths_test_() ->
    erlmcp_native_test_lib:with_service([
        fun a_death_frees_all_its_roles/0,
        fun any_way_to_die_frees/0,
        fun a_death_frees_room_for_nobody_else/0,
        fun the_dead_are_counted_for_nothing/0,
        fun the_dead_are_never_there_again/0,
        fun many_processes_count_for_one_that_dies/0,
        fun a_death_while_the_service_is_away_frees/0,
        fun forgetting_ends_the_monitor/0
    ]).

a_death_frees_all_its_roles() ->
    Pid = idle(),
    [ok = record_enqueue(Role, Owner) || Owner <- [Pid, a], Role <- [session, session, transport]],
    ok = kill(Pid),
    eventually(fun() -> get_queue_depth(Pid) =:= {error, not_found} end),
    ?assertEqual([0, 0], [get_queue_depth(Role, Pid) || Role <- [session, transport]]),
    eventually(fun() -> stats([owners], transport) =:= [1] end),
    ?assertEqual([1, 2, 2, 0], stats([owners, current_depth, total_released, total_dequeued], session)),
    ?assertEqual([1, 1, 1, 0], stats([owners, current_depth, total_released, total_dequeued], transport)),
    ?assertEqual(3, get_queue_depth(a)),
    ?assert(at_rest(session)).

any_way_to_die_frees() ->
    [
        begin
            {Pid, Ref} = spawn_monitor(fun() ->
                ok = record_enqueue(session, self()),
                Die()
            end),
            receive
                {'DOWN', Ref, process, Pid, _} -> ok
            end,
            eventually(fun() -> stats([owners, current_depth], session) =:= [0, 0] end)
        end
     || Die <- [
            fun() -> ok end,
            fun() -> exit(shutdown) end,
            fun() -> error(crash) end,
            fun() -> exit(self(), kill) end
        ]
    ],
    ?assertEqual([4, 4], stats([total_enqueued, total_released], session)).

a_death_frees_room_for_nobody_else() ->
    Pid = idle(),
    ok = set_limit(session, 1),
    [ok, ok] = [try_enqueue(session, Owner) || Owner <- [Pid, a]],
    ok = kill(Pid),
    eventually(fun() -> stats([owners], session) =:= [1] end),
    ?assertMatch({error, _}, try_enqueue(session, a)).

the_dead_are_counted_for_nothing() ->
    Pid = dead(),
    ok = set_limit(session, 0),
    ?assertEqual(
        lists:duplicate(6, ok),
        [
            ?LIMITS:check_capacity(session, Pid),
            try_enqueue(session, Pid),
            record_enqueue(session, Pid),
            record_dequeue(session, Pid),
            forget(session, Pid),
            record_dequeue(unknown, Pid)
        ]
    ),
    ?assertEqual({ok, ran}, with_capacity(session, Pid, fun() -> ran end)),
    ?assertEqual([0, {error, not_found}], [get_queue_depth(session, Pid), get_queue_depth(Pid)]),
    ?assertEqual(
        [0, 0, 0, 0, 0, 0],
        stats([total_enqueued, total_dequeued, unmatched_dequeues, total_rejected, owners, max_depth], session)
    ),
    ?assertEqual({error, not_found}, get_role_stats(unknown)).

the_dead_are_never_there_again() ->
    Pid = idle(),
    ok = record_enqueue(session, Pid),
    ok = kill(Pid),
    %% From here on it is dead, whether its count has gone already or not.
    [?assertEqual(ok, record_dequeue(session, Pid)) || _ <- "abc"],
    [?assertEqual(ok, record_enqueue(session, Pid)) || _ <- "abc"],
    eventually(fun() -> get_queue_depth(Pid) =:= {error, not_found} end),
    ok = record_dequeue(session, Pid),
    ok = record_enqueue(session, Pid),
    ?assertEqual({error, not_found}, get_queue_depth(Pid)),
    eventually(fun() -> stats([owners, current_depth], session) =:= [0, 0] end),
    ?assert(at_rest(session)).

%% Whenever the owner dies among what others count for it, nothing of that stays.
many_processes_count_for_one_that_dies() ->
    [
        begin
            Owner = idle(),
            Results = erlmcp_native_test_lib:parallel(4, fun
                (1) ->
                    [ok = record_enqueue(Role, Owner) || _ <- lists:seq(1, Round rem 20), Role <- [session, r]],
                    kill(Owner);
                (_) ->
                    [ok = count_for(Owner, N) || N <- lists:seq(1, 60)],
                    ok
            end),
            ?assertEqual([ok, ok, ok, ok], Results),
            eventually(fun() -> get_queue_depth(Owner) =:= {error, not_found} end)
        end
     || Round <- lists:seq(1, 200)
    ],
    [
        eventually(fun() -> stats([owners, current_depth], Role) =:= [0, 0] end)
     || Role <- [session, r]
    ],
    ?assertEqual([true, true], [at_rest(Role) || Role <- [session, r]]),
    ?assertEqual(0, erlmcp_native:limits_owners(own)).

count_for(Owner, N) when N rem 5 =:= 0 -> forget(session, Owner);
count_for(Owner, N) when N rem 3 =:= 0 -> record_dequeue(session, Owner);
count_for(Owner, N) when N rem 7 =:= 0 -> try_enqueue(r, Owner);
count_for(Owner, _) -> record_enqueue(session, Owner).

a_death_while_the_service_is_away_frees() ->
    Pid = idle(),
    ok = record_enqueue(session, Pid),
    crash(),
    ok = kill(Pid),
    eventually(fun() -> stats([owners, total_released], session) =:= [0, 1] end),
    ?assertEqual({error, not_found}, get_queue_depth(Pid)).

forgetting_ends_the_monitor() ->
    Pid = idle(),
    Watched = fun(Times) -> eventually(fun() -> watchers(Pid) =:= Times end) end,
    Watched(0),
    ok = record_enqueue(session, Pid),
    ok = record_enqueue(transport, Pid),
    Watched(1),
    ok = forget(session, Pid),
    Watched(1),
    ok = forget(transport, Pid),
    Watched(0),
    ok = record_enqueue(session, Pid),
    Watched(1),
    ok = gen_server:stop(?LIMITS),
    Watched(0).

watchers(Pid) ->
    {monitored_by, By} = process_info(Pid, monitored_by),
    length(By).

permits_test_() ->
    erlmcp_native_test_lib:with_service([
        fun a_permit_lasts_as_long_as_the_fun/0,
        fun a_permit_goes_back_when_the_fun_raises/0,
        fun a_permit_goes_back_when_its_holder_is_killed/0,
        fun a_permit_goes_back_when_its_holder_is_the_owner/0,
        fun no_permit_when_full/0,
        fun permits_nest/0,
        fun the_owner_dies_meanwhile/0,
        fun the_owner_is_forgotten_meanwhile/0,
        fun the_count_is_dequeued_meanwhile/0,
        fun the_service_crashes_meanwhile/0,
        fun the_service_is_stopped_meanwhile/0,
        fun the_service_is_stopped_and_started_meanwhile/0
    ]).

a_permit_lasts_as_long_as_the_fun() ->
    ?assertEqual({ok, 1}, with_capacity(session, a, fun() -> get_queue_depth(session, a) end)),
    ?assertEqual({ok, {error, r}}, with_capacity(session, a, fun() -> {error, r} end)),
    ?assertEqual(0, get_queue_depth(session, a)),
    ?assertEqual(
        [2, 2, 0, 1], stats([total_enqueued, total_dequeued, unmatched_dequeues, max_depth], session)
    ).

a_permit_goes_back_when_the_fun_raises() ->
    ?assertThrow(ball, with_capacity(session, a, fun() -> throw(ball) end)),
    ?assertError(crash, with_capacity(session, a, fun() -> error(crash) end)),
    ?assertExit(leave, with_capacity(session, a, fun() -> exit(leave) end)),
    ?assertEqual(0, get_queue_depth(session, a)),
    ?assertEqual([3, 3, 0], stats([total_enqueued, total_dequeued, unmatched_dequeues], session)),
    try
        with_capacity(session, a, fun() -> raise_here() end)
    catch
        error:Reason:Stack ->
            ?assertEqual(here, Reason),
            ?assertMatch([{?MODULE, raise_here, 0, _} | _], Stack)
    end.

-spec raise_here() -> no_return().
raise_here() ->
    error(here).

%% Runs with_capacity in a process that stays inside until it is killed.
holder(Owner) ->
    Self = self(),
    Pid = spawn(fun() ->
        Mine = case Owner of self -> self(); _ -> Owner end,
        with_capacity(session, Mine, fun() ->
            Self ! {inside, self()},
            receive
                leave -> left
            end
        end),
        Self ! {outside, self()}
    end),
    receive
        {inside, Pid} -> Pid
    after 5000 -> error(not_inside)
    end.

leave(Holder) ->
    Holder ! leave,
    receive
        {outside, Holder} -> ok
    after 5000 -> error(still_inside)
    end.

a_permit_goes_back_when_its_holder_is_killed() ->
    ok = set_limit(session, 1),
    Holder = holder(a),
    ?assertMatch({error, _}, try_enqueue(session, a)),
    ok = kill(Holder),
    eventually(fun() -> get_queue_depth(session, a) =:= 0 end),
    ?assertEqual([1, 1, 0, 0], stats([total_enqueued, total_dequeued, unmatched_dequeues, total_released], session)),
    ?assertEqual(ok, try_enqueue(session, a)).

a_permit_goes_back_when_its_holder_is_the_owner() ->
    ok = kill(holder(self)),
    eventually(fun() -> stats([owners, current_depth], session) =:= [0, 0] end),
    eventually(fun() -> at_rest(session) end),
    ?assertEqual([1, 0], stats([total_enqueued, unmatched_dequeues], session)).

no_permit_when_full() ->
    ok = set_limit(session, 1),
    Holder = holder(a),
    ?assertMatch(
        {error, {capacity_exceeded, #{process := a, depth := 1}}},
        with_capacity(session, a, fun() -> error(not_reached) end)
    ),
    ?assertEqual([1, 1], stats([current_depth, total_rejected], session)),
    ok = leave(Holder),
    ?assertEqual({ok, in}, with_capacity(session, a, fun() -> in end)).

permits_nest() ->
    ok = set_limit(session, 2),
    Inner = fun() -> with_capacity(session, a, fun() -> with_capacity(session, a, fun() -> no end) end) end,
    ?assertMatch({ok, {ok, {error, {capacity_exceeded, #{depth := 2}}}}}, with_capacity(session, a, Inner)),
    ?assertEqual([0, 2], [get_queue_depth(session, a) | stats([max_depth], session)]).

the_owner_dies_meanwhile() ->
    Owner = idle(),
    Holder = holder(Owner),
    ok = kill(Owner),
    eventually(fun() -> stats([owners], session) =:= [0] end),
    ok = leave(Holder),
    ?assertEqual([1, 0, 1, 0], stats([total_enqueued, total_dequeued, total_released, owners], session)),
    ?assert(at_rest(session)).

%% What is counted for the owner later is not the permit's to give back.
the_owner_is_forgotten_meanwhile() ->
    Holder = holder(a),
    ok = forget(session, a),
    ok = record_enqueue(session, a),
    ok = leave(Holder),
    ?assertEqual(1, get_queue_depth(session, a)),
    ?assertEqual([2, 0, 1, 0], stats([total_enqueued, total_dequeued, total_released, unmatched_dequeues], session)).

the_count_is_dequeued_meanwhile() ->
    Holder = holder(a),
    ok = record_dequeue(session, a),
    ok = leave(Holder),
    ?assertEqual(0, get_queue_depth(session, a)),
    ?assert(at_rest(session)).

the_service_crashes_meanwhile() ->
    Holder = holder(a),
    crash(),
    ?assertEqual(1, get_queue_depth(session, a)),
    ok = leave(Holder),
    ?assertEqual([0, 1], stats([current_depth, total_dequeued], session)).

the_service_is_stopped_meanwhile() ->
    Holder = holder(a),
    ok = gen_server:stop(?LIMITS),
    ?assertEqual(ok, leave(Holder)).

the_service_is_stopped_and_started_meanwhile() ->
    Holder = holder(a),
    ok = gen_server:stop(?LIMITS),
    restart(),
    ?assertEqual({error, not_found}, get_queue_depth(a)),
    ok = record_enqueue(session, a),
    ok = leave(Holder),
    ?assertEqual(1, get_queue_depth(session, a)),
    ?assertEqual([1, 0], stats([total_enqueued, total_dequeued], session)).

restart() ->
    {ok, Pid} = ?LIMITS:start_link(),
    unlink(Pid),
    ok.

crashes_test_() ->
    erlmcp_native_test_lib:with_service([
        fun a_crash_forgets_nothing/0,
        fun calls_go_on_while_the_process_is_away/0,
        fun a_normal_stop_forgets_everything/0,
        fun ends_that_are_normal/0,
        fun ends_that_are_crashes/0,
        fun a_full_table_survives_a_crash/0
    ]).

a_crash_forgets_nothing() ->
    ok = set_limit(session, 2),
    [try_enqueue(session, Owner) || Owner <- [a, a, a, self()]],
    ok = record_dequeue(session, b),
    ok = set_limit(mine, 9),
    Before = ?LIMITS:get_all_stats(),
    crash(),
    ?assertEqual(Before, ?LIMITS:get_all_stats()),
    restart(),
    ?assertEqual(Before, ?LIMITS:get_all_stats()),
    ?assertEqual([2, 9], [get_limit(Role) || Role <- [session, mine]]),
    ?assertMatch({error, _}, try_enqueue(session, a)),
    ok = set_enabled(false),
    crash(),
    restart(),
    ?assertEqual(ok, try_enqueue(session, a)).

calls_go_on_while_the_process_is_away() ->
    crash(),
    ?assertEqual(undefined, whereis(?LIMITS)),
    ok = set_limit(session, 1),
    ?assertEqual(ok, try_enqueue(session, self())),
    ?assertMatch({error, {capacity_exceeded, _}}, try_enqueue(session, self())),
    ?assertEqual({ok, 1}, with_capacity(transport, a, fun() -> get_queue_depth(a) end)),
    ok = record_dequeue(session, self()),
    ok = set_enabled(false),
    restart(),
    ?assertEqual([0, 1, 1], stats([current_depth, total_enqueued, total_rejected], session)),
    ?assertEqual(1, get_limit(session)).

a_normal_stop_forgets_everything() ->
    ok = set_limit(session, 0),
    ok = set_enabled(false),
    [ok = record_enqueue(Role, Owner) || Role <- [session, mine], Owner <- [a, self()]],
    ok = gen_server:stop(?LIMITS),
    restart(),
    ?assertEqual([0, 0], [erlmcp_native:limits_owners(own), get_queue_depth(session, a)]),
    ?assertEqual([0, 0, 10000], stats([total_enqueued, owners, limit], session)),
    ?assertEqual(6, map_size(?LIMITS:get_all_limits())),
    ok = set_limit(session, 0),
    ?assertMatch({error, _}, try_enqueue(session, a)).

%% Starts the service from a process that ends so, and returns when both have ended.
end_with(Reason) ->
    ok = gen_server:stop(?LIMITS),
    {Starter, Ref} = spawn_monitor(fun() ->
        {ok, _} = ?LIMITS:start_link(),
        receive
            leave -> exit(Reason)
        end
    end),
    eventually(fun() -> is_pid(whereis(?LIMITS)) end),
    Service = whereis(?LIMITS),
    eventually(fun() -> {initial_call, _} = process_info(Service, initial_call), is_started() end),
    ok = record_enqueue(session, a),
    Down = monitor(process, Service),
    Starter ! leave,
    [
        receive
            {'DOWN', R, process, _, _} -> ok
        after 5000 -> error(still_alive)
        end
     || R <- [Ref, Down]
    ].

is_started() ->
    try
        is_map(?LIMITS:get_all_limits())
    catch
        exit:{noproc, _} -> false
    end.

ends_that_are_normal() ->
    [
        begin
            end_with(Reason),
            ?assertExit({noproc, {?LIMITS, get_queue_depth, [a]}}, get_queue_depth(a)),
            restart(),
            ?assertEqual({error, not_found}, get_queue_depth(a))
        end
     || Reason <- [normal, shutdown, {shutdown, why}]
    ].

ends_that_are_crashes() ->
    [
        begin
            end_with(Reason),
            ?assertEqual({Reason, 1}, {Reason, get_queue_depth(a)}),
            restart(),
            ?assertEqual({Reason, 1}, {Reason, get_queue_depth(a)})
        end
     || Reason <- [killed, crash, {shut, down}]
    ].

%% Configured roles must not be too many for a restart.
a_full_table_survives_a_crash() ->
    Free = 1024 - map_size(?LIMITS:get_all_limits()),
    [ok = record_enqueue(list_to_atom("role_" ++ integer_to_list(N)), a) || N <- lists:seq(1, Free)],
    ok = application:set_env(erlmcp_native, queue_limits, #{configured_late => 5}),
    try
        crash(),
        restart()
    after
        application:unset_env(erlmcp_native, queue_limits)
    end,
    ?assertEqual(Free, get_queue_depth(a)).
