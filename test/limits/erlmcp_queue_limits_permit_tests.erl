%% Permits: who gives a place back, and when it is given back by nobody.
-module(erlmcp_queue_limits_permit_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_queue_limits, [
    acquire/2, release/1, try_enqueue/2, record_enqueue/2, record_dequeue/2, forget/2, get_queue_depth/2, set_limit/2
]).
-import(erlmcp_native_test_lib, [stats/2, at_rest/1, eventually/1, idle/0, kill/1, dead/0, crash/0, parallel/2]).

-define(LIMITS, erlmcp_queue_limits).

permits_test_() ->
    erlmcp_native_test_lib:with_service([
        fun a_permit_is_a_place/0,
        fun with_options_that_are_none/0,
        fun a_place_is_given_back_once/0,
        fun any_process_gives_it_back/0,
        fun a_permit_that_nobody_holds_is_given_back/0,
        fun a_permit_in_a_message_lives_with_it/0,
        fun whoever_holds_it_last_may_be_killed/0,
        fun a_place_goes_with_its_owner/0,
        fun the_dead_have_no_places/0,
        fun a_place_goes_when_its_owner_is_forgotten/0,
        fun a_place_of_an_owner_that_is_there_again_is_its_own/0,
        fun a_place_that_somebody_else_took_out_is_an_unmatched_dequeue/0,
        fun places_of_many_uses_keep_apart/0,
        fun a_permit_survives_a_crash_of_the_service/0,
        fun a_permit_of_a_service_that_was_stopped/0,
        fun a_permit_of_a_table_that_was_closed/0,
        fun a_mailbox_has_no_permits/0,
        fun everybody_at_once/0,
        fun owners_that_are_forgotten_meanwhile/0,
        fun levels_rise_and_fall/0
    ]).

a_permit_is_a_place() ->
    ok = set_limit(session, 2),
    [{ok, First}, {ok, Second}] = [acquire(session, a) || _ <- "ab"],
    ?assertMatch({error, {capacity_exceeded, #{process := a, depth := 2, limit := 2}}}, acquire(session, a)),
    ?assertMatch({error, {capacity_exceeded, _}}, try_enqueue(session, a)),
    ?assertEqual([ok, ok], [release(Permit) || Permit <- [First, Second]]),
    ?assertEqual(0, get_queue_depth(session, a)),
    ?assertEqual([2, 2, 0, 2], stats([total_enqueued, total_dequeued, unmatched_dequeues, total_rejected], session)).

with_options_that_are_none() ->
    [
        begin
            {ok, Permit} = ?LIMITS:acquire(session, a, Options),
            ?assertEqual(ok, release(Permit))
        end
     || Options <- [#{}, []]
    ].

a_place_is_given_back_once() ->
    ok = record_enqueue(session, a),
    {ok, Permit} = acquire(session, a),
    ?assertEqual([ok, {error, released}, {error, released}], [release(Permit) || _ <- "abc"]),
    ?assertEqual(1, get_queue_depth(session, a)),
    {ok, Shared} = acquire(session, a),
    Results = parallel(8, fun(_) -> release(Shared) end),
    ?assertEqual([ok | lists:duplicate(7, {error, released})], lists:sort(fun(A, _) -> A =:= ok end, Results)),
    ?assertEqual(1, get_queue_depth(session, a)).

any_process_gives_it_back() ->
    Owner = idle(),
    {ok, Permit} = acquire(session, Owner),
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> Self ! {released, release(Permit)} end),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
    receive {released, Result} -> ?assertEqual(ok, Result) end,
    ?assertEqual([0, {error, released}], [get_queue_depth(session, Owner), release(Permit)]),
    kill(Owner).

a_permit_that_nobody_holds_is_given_back() ->
    {ok, _} = acquire(session, a),
    ?assertEqual(1, get_queue_depth(session, a)),
    eventually(fun() -> erlang:garbage_collect() andalso get_queue_depth(session, a) =:= 0 end),
    ?assertEqual([1, 0, 0], stats([total_dequeued, unmatched_dequeues, total_released], session)).

a_permit_in_a_message_lives_with_it() ->
    Receiver = spawn(fun Loop() ->
        receive
            {drop, {permit, _}} -> true = erlang:garbage_collect(), Loop();
            stop -> ok
        end
    end),
    send_permit(Receiver, a),
    send_permit(Receiver, b),
    true = erlang:garbage_collect(),
    %% Those that are not taken out are held by the mailbox.
    ?assertEqual([1, 1], [get_queue_depth(session, Owner) || Owner <- [a, b]]),
    Receiver ! {drop, nothing_yet},
    kill(Receiver),
    eventually(fun() -> [get_queue_depth(session, Owner) || Owner <- [a, b]] =:= [0, 0] end).

send_permit(Receiver, Owner) ->
    {ok, Permit} = acquire(session, Owner),
    Receiver ! {permit, Permit}.

whoever_holds_it_last_may_be_killed() ->
    Self = self(),
    Holder = spawn(fun() ->
        {ok, Permit} = acquire(session, a),
        Self ! {self(), holds},
        receive never -> Permit end
    end),
    receive {Holder, holds} -> ok end,
    ?assertEqual(1, get_queue_depth(session, a)),
    kill(Holder),
    eventually(fun() -> get_queue_depth(session, a) =:= 0 end).

a_place_goes_with_its_owner() ->
    Owner = idle(),
    {ok, Permit} = acquire(session, Owner),
    kill(Owner),
    eventually(fun() -> stats([owners, total_released], session) =:= [0, 1] end),
    ?assertEqual([{error, released}, {error, released}], [release(Permit) || _ <- "ab"]),
    ?assertEqual([1, 0, 0], stats([total_enqueued, total_dequeued, unmatched_dequeues], session)).

the_dead_have_no_places() ->
    ok = set_limit(session, 0),
    {ok, Permit} = acquire(session, dead()),
    ?assertEqual([{error, released}, {error, released}], [release(Permit) || _ <- "ab"]),
    ?assertEqual([0, 0, 0], stats([total_enqueued, total_rejected, unmatched_dequeues], session)).

a_place_goes_when_its_owner_is_forgotten() ->
    {ok, Permit} = acquire(session, a),
    ok = forget(session, a),
    ?assertEqual({error, released}, release(Permit)),
    ?assertEqual([1, 0, 1], stats([total_enqueued, total_dequeued, total_released], session)).

%% As another record, and in the same one, which a second role keeps.
a_place_of_an_owner_that_is_there_again_is_its_own() ->
    [
        begin
            [ok = record_enqueue(Role, a) || Role <- Others],
            {ok, Old} = acquire(session, a),
            ok = forget(session, a),
            {ok, New} = acquire(session, a),
            ?assertEqual({error, released}, release(Old)),
            ?assertEqual(1, get_queue_depth(session, a)),
            ?assertEqual([ok, {error, released}], [release(New) || _ <- "ab"]),
            ?assertEqual(0, get_queue_depth(session, a)),
            [ok = forget(Role, a) || Role <- [session | Others]]
        end
     || Others <- [[], [transport], [transport]]
    ].

a_place_that_somebody_else_took_out_is_an_unmatched_dequeue() ->
    {ok, Permit} = acquire(session, a),
    ok = record_dequeue(session, a),
    ?assertEqual([ok, {error, released}], [release(Permit) || _ <- "ab"]),
    ?assertEqual([1, 2, 1, 0], stats([total_enqueued, total_dequeued, unmatched_dequeues, current_depth], session)).

places_of_many_uses_keep_apart() ->
    ok = record_enqueue(transport, a),
    Uses = [
        begin
            Permits = [acquire(session, a) || _ <- "abc"],
            ok = forget(session, a),
            Permits
        end
     || _ <- lists:seq(1, 20)
    ],
    Last = [acquire(session, a) || _ <- "abc"],
    ?assertEqual([{error, released}], lists:usort([release(Permit) || Permits <- Uses, {ok, Permit} <- Permits])),
    ?assertEqual(3, get_queue_depth(session, a)),
    ?assertEqual([ok, ok, ok], [release(Permit) || {ok, Permit} <- Last]),
    ?assertEqual([0, 0], [get_queue_depth(session, a) | stats([unmatched_dequeues], session)]),
    ?assert(at_rest(session)).

a_permit_survives_a_crash_of_the_service() ->
    [{ok, Given}, {ok, Kept}] = [acquire(session, a) || _ <- "ab"],
    crash(),
    ?assertEqual(ok, release(Given)),
    {ok, Pid} = ?LIMITS:start_link(),
    unlink(Pid),
    ?assertEqual(1, get_queue_depth(session, a)),
    ?assertEqual(ok, release(Kept)).

a_permit_of_a_service_that_was_stopped() ->
    [{ok, Before}, {ok, After}] = [acquire(session, a) || _ <- "ab"],
    ok = gen_server:stop(?LIMITS),
    ?assertEqual({error, released}, release(Before)),
    {ok, Pid} = ?LIMITS:start_link(),
    unlink(Pid),
    {ok, New} = acquire(session, a),
    ?assertEqual({error, released}, release(After)),
    ?assertEqual([1, ok], [get_queue_depth(session, a), release(New)]).

a_permit_of_a_table_that_was_closed() ->
    Table = erlmcp_native:limits_new([{session, 2}]),
    [{ok, Closed}, {ok, Dropped}] = [erlmcp_native:limits_acquire(Table, session, a) || _ <- "ab"],
    ?assertEqual(2, erlmcp_native:limits_depth(Table, session, a)),
    ?assertEqual(0, get_queue_depth(session, a)),
    ok = release(Dropped),
    ok = erlmcp_native:limits_close(Table),
    ?assertEqual([{error, released}, {error, released}], [release(Permit) || Permit <- [Closed, Dropped]]).

a_mailbox_has_no_permits() ->
    ok = erlmcp_overload_mailbox:send(session, self(), x),
    receive x -> ok end,
    ?assertError(badarg, acquire(session, self())).

%% Some give back, some drop, some are killed.
everybody_at_once() ->
    ok = set_limit(session, 5),
    Owner = idle(),
    Work = fun
        (N) when N rem 3 =:= 0 -> [hold(Owner, fun ?LIMITS:release/1) || _ <- lists:seq(1, 300)];
        (N) when N rem 3 =:= 1 -> [hold(Owner, fun(_) -> dropped end) || _ <- lists:seq(1, 300)];
        (_) ->
            [
                begin
                    {Pid, Monitor} = spawn_monitor(fun() -> hold(Owner, fun(_) -> exit(self(), kill) end) end),
                    receive {'DOWN', Monitor, process, Pid, _} -> ok end
                end
             || _ <- lists:seq(1, 100)
            ]
    end,
    _ = parallel(9, fun(N) -> _ = Work(N), true = erlang:garbage_collect(), ok end),
    eventually(fun() -> get_queue_depth(session, Owner) =:= 0 end),
    ?assertEqual([true, 0], [at_rest(session) | stats([unmatched_dequeues], session)]),
    ?assert(hd(stats([max_depth], session)) =< 5),
    kill(Owner).

hold(Owner, Then) ->
    case acquire(session, Owner) of
        {ok, Permit} -> Then(Permit);
        {error, {capacity_exceeded, _}} -> refused
    end.

%% Nobody takes out what another put in, whoever is forgotten and comes again.
owners_that_are_forgotten_meanwhile() ->
    ok = record_enqueue(transport, a),
    Rounds = lists:seq(1, 3000),
    Forget = fun() -> [begin ok = forget(session, a), ok = try_enqueue(session, a) end || _ <- Rounds] end,
    Hold = fun() -> [begin {ok, Permit} = acquire(session, a), release(Permit) end || _ <- Rounds] end,
    _ = parallel(4, fun(N) -> _ = case N of 1 -> Forget(); _ -> Hold() end, ok end),
    ?assertEqual([1, true, 0], [get_queue_depth(session, a), at_rest(session) | stats([unmatched_dequeues], session)]).

levels_rise_and_fall() ->
    {ok, Monitor} = erlmcp_overload_monitor:start_link(),
    ok = set_limit(session, 10),
    Permits = [acquire(session, a) || _ <- lists:seq(1, 10)],
    ?assertMatch([#{level := overload, process := a} | _], erlmcp_overload_monitor:get_alert_history(session)),
    ?assertMatch([#{level := overload}], [Row || #{role := session} = Row <- erlmcp_overload_monitor:summary()]),
    [ok = release(Permit) || {ok, Permit} <- Permits],
    ?assertMatch([#{level := ok}], [Row || #{role := session} = Row <- erlmcp_overload_monitor:summary()]),
    ok = gen_server:stop(Monitor).
