%% The hot natives: they are registered by hand, and a thread keeps near whom it has just counted for.
-module(erlmcp_queue_limits_hot_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_queue_limits, [
    check_capacity/2, try_enqueue/2, record_enqueue/2, record_dequeue/2, forget/2, get_queue_depth/2, set_limit/2
]).
-import(erlmcp_native_test_lib, [stats/2, at_rest/1, eventually/1, idle/0, kill/1, in_process/1, parallel/2]).

-define(CALLS, [
    fun erlmcp_queue_limits:check_capacity/2,
    fun erlmcp_queue_limits:try_enqueue/2,
    fun erlmcp_queue_limits:record_enqueue/2,
    fun erlmcp_queue_limits:record_dequeue/2
]).
-define(HOT, [limits_check, limits_try_enqueue, limits_enqueue, limits_dequeue]).

%% By the code that registers the hot ones, in a library for tests: `native/probe`.
a_panic_is_an_error_test() ->
    ok = erlmcp_native_probe:load(),
    [?assertError(nif_panicked, erlmcp_native_probe:panics(How)) || How <- [once, twice]],
    ?assertEqual(session, erlmcp_native_probe:floor(session, self())).

hot_test_() ->
    erlmcp_native_test_lib:with_service([
        fun every_hot_native_is_in_the_library/0,
        fun what_is_near_counts_as_what_is_not/0,
        fun the_dead_are_counted_for_nothing_however_near/0,
        fun the_forgotten_begin_anew_however_near/0,
        fun a_service_that_is_started_again_begins_anew/0,
        fun a_limit_holds_for_what_is_near/0,
        fun roles_and_owners_are_told_apart/0,
        fun terms_that_are_none_are_refused/0,
        fun many_schedulers_count_for_one/0
    ]).

%% The stubs would say `not_started`.
every_hot_native_is_in_the_library() ->
    ?assertEqual([bad_role, bad_role, bad_role, bad_role], [erlmcp_native:Name(own, 1, self()) || Name <- ?HOT]),
    ?assertEqual([ok, ok, ok, ok], [erlmcp_native:Name(own, session, self()) || Name <- ?HOT]).

%% In one time slice, and so on one thread.
near(Owner) ->
    [ok = record_enqueue(session, Owner) || _ <- lists:seq(1, 10)].

what_is_near_counts_as_what_is_not() ->
    Pid = idle(),
    near(Pid),
    [ok = try_enqueue(session, Pid) || _ <- lists:seq(1, 10)],
    ok = check_capacity(session, Pid),
    ?assertEqual(20, get_queue_depth(session, Pid)),
    [ok = record_dequeue(session, Pid) || _ <- lists:seq(1, 21)],
    ?assertEqual([20, 21, 1, 0, 20], stats(
        [total_enqueued, total_dequeued, unmatched_dequeues, current_depth, max_depth], session
    )),
    ok = kill(Pid).

the_dead_are_counted_for_nothing_however_near() ->
    Pid = idle(),
    near(Pid),
    ok = kill(Pid),
    eventually(fun() -> stats([owners], session) =:= [0] end),
    [ok = Call(session, Pid) || Call <- ?CALLS],
    ?assertEqual([10, 10, 0, 0, 0], stats(
        [total_enqueued, total_released, total_dequeued, current_depth, owners], session
    )).

the_forgotten_begin_anew_however_near() ->
    near(name),
    ok = forget(session, name),
    ok = record_enqueue(session, name),
    ?assertEqual(1, get_queue_depth(session, name)),
    near(name),
    ?assertEqual(11, get_queue_depth(session, name)),
    ?assert(at_rest(session)).

a_service_that_is_started_again_begins_anew() ->
    near(name),
    ok = gen_server:stop(erlmcp_queue_limits),
    ok = record_enqueue(session, name),
    {ok, Pid} = erlmcp_queue_limits:start_link(),
    unlink(Pid),
    ?assertEqual(0, get_queue_depth(session, name)),
    near(name),
    ?assertEqual([10, 10, 1], stats([total_enqueued, current_depth, owners], session)).

a_limit_holds_for_what_is_near() ->
    near(name),
    ok = set_limit(session, 11),
    ok = try_enqueue(session, name),
    [
        ?assertMatch(
            {error, {capacity_exceeded, #{role := session, process := name, depth := 11, limit := 11}}},
            Ask(session, name)
        )
     || Ask <- [fun erlmcp_queue_limits:try_enqueue/2, fun erlmcp_queue_limits:check_capacity/2]
    ],
    ?assertEqual([2, 11], stats([total_rejected, current_depth], session)).

roles_and_owners_are_told_apart() ->
    Owners = [list_to_atom("owner_" ++ integer_to_list(I)) || I <- lists:seq(1, 200)],
    Counted = [{Role, Owner} || Owner <- Owners, Role <- [session, transport, session]],
    [ok = record_enqueue(Role, Owner) || _ <- lists:seq(1, 5), {Role, Owner} <- Counted],
    ?assertEqual([], [Owner || Owner <- Owners, get_queue_depth(session, Owner) =/= 10]),
    ?assertEqual([], [Owner || Owner <- Owners, get_queue_depth(transport, Owner) =/= 5]).

terms_that_are_none_are_refused() ->
    near(self()),
    [
        ?assertError(badarg, Call(Role, Owner))
     || Call <- ?CALLS,
        {Role, Owner} <- [{session, make_ref()}, {session, [self()]}, {session, 7}, {self(), self()}, {{}, self()}]
    ].

many_schedulers_count_for_one() ->
    Pid = idle(),
    Count = fun(_) -> [ok = record_enqueue(session, Pid) || _ <- lists:seq(1, 10_000)], ok end,
    ?assertEqual(lists:duplicate(16, ok), parallel(16, Count)),
    ?assertEqual(160_000, in_process(fun() -> get_queue_depth(session, Pid) end)),
    ok = kill(Pid),
    eventually(fun() -> stats([owners, total_released], session) =:= [0, 160_000] end).
