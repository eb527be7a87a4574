%% Owners by name, and one of several.
-module(erlmcp_queue_limits_name_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_queue_limits, [
    try_enqueue/2, record_enqueue/2, record_dequeue/2, get_queue_depth/1, get_queue_depth/2, set_limit/2,
    try_enqueue_any/2
]).
-import(erlmcp_native_test_lib, [stats/2, eventually/1, idle/0, kill/1, dead/0]).

-define(LIMITS, erlmcp_queue_limits).
-define(NAME, {name, erlmcp_owner_by_name}).

names_test_() ->
    erlmcp_native_test_lib:with_service([
        fun a_name_is_its_process/0,
        fun every_function_knows_names/0,
        fun an_atom_is_none/0,
        fun a_count_goes_with_the_process/0,
        fun nobody_is_as_the_dead/0,
        fun a_name_that_moves_is_resolved_at_each_call/0,
        fun a_port_is_no_owner/0,
        fun a_mailbox_by_its_name/0
    ]).

named() ->
    Pid = idle(),
    true = register(element(2, ?NAME), Pid),
    Pid.

a_name_is_its_process() ->
    Pid = named(),
    ok = record_enqueue(session, ?NAME),
    ok = record_enqueue(session, Pid),
    ?assertEqual([2, 2, 2], [get_queue_depth(session, Pid), get_queue_depth(session, ?NAME), get_queue_depth(?NAME)]),
    ok = record_dequeue(session, Pid),
    ok = record_dequeue(session, ?NAME),
    ?assertEqual([0, 0, 1], [get_queue_depth(Pid) | stats([unmatched_dequeues, owners], session)]),
    kill(Pid).

every_function_knows_names() ->
    Pid = named(),
    ok = set_limit(session, 1),
    ?assertEqual(ok, ?LIMITS:check_capacity(session, ?NAME)),
    ?assertEqual({ok, 1}, ?LIMITS:with_capacity(session, ?NAME, fun() -> get_queue_depth(session, Pid) end)),
    ?assertEqual(ok, try_enqueue(session, ?NAME)),
    Refused = [
        ?LIMITS:check_capacity(session, ?NAME),
        try_enqueue(session, ?NAME),
        ?LIMITS:acquire(session, ?NAME),
        ?LIMITS:with_capacity(session, ?NAME, fun() -> error(not_reached) end)
    ],
    [?assertMatch({error, {capacity_exceeded, #{process := Pid, depth := 1}}}, Result) || Result <- Refused],
    ?assertEqual(ok, ?LIMITS:forget(session, ?NAME)),
    ?assertEqual({error, not_found}, get_queue_depth(Pid)),
    {ok, Permit} = ?LIMITS:acquire(session, ?NAME, #{}),
    ?assertEqual([1, ok, 0], [get_queue_depth(session, Pid), ?LIMITS:release(Permit), get_queue_depth(session, Pid)]),
    kill(Pid).

an_atom_is_none() ->
    Pid = named(),
    {name, Atom} = ?NAME,
    ok = record_enqueue(session, Atom),
    ?assertEqual([1, 0], [get_queue_depth(session, Owner) || Owner <- [Atom, ?NAME]]),
    kill(Pid).

a_count_goes_with_the_process() ->
    First = named(),
    ok = set_limit(session, 1),
    ok = try_enqueue(session, ?NAME),
    kill(First),
    eventually(fun() -> stats([owners, total_released], session) =:= [0, 1] end),
    Second = named(),
    ?assertEqual([0, ok], [get_queue_depth(session, ?NAME), try_enqueue(session, ?NAME)]),
    kill(Second).

nobody_is_as_the_dead() ->
    ok = set_limit(session, 0),
    Answers = [
        [
            ?LIMITS:check_capacity(session, Owner),
            try_enqueue(session, Owner),
            record_enqueue(session, Owner),
            record_dequeue(session, Owner),
            record_dequeue(unknown, Owner),
            ?LIMITS:forget(session, Owner),
            ?LIMITS:with_capacity(session, Owner, fun() -> ran end),
            get_queue_depth(session, Owner),
            get_queue_depth(Owner),
            begin {ok, Permit} = ?LIMITS:acquire(session, Owner), ?LIMITS:release(Permit) end,
            try_enqueue_any(session, [Owner])
        ]
     || Owner <- [dead(), ?NAME]
    ],
    ?assertMatch([Same, Same], Answers),
    ?assertEqual([0, 0, 0], stats([total_enqueued, total_dequeued, total_rejected], session)),
    ?assertEqual({error, not_found}, ?LIMITS:get_role_stats(unknown)).

a_name_that_moves_is_resolved_at_each_call() ->
    First = named(),
    ok = record_enqueue(session, ?NAME),
    true = unregister(element(2, ?NAME)),
    ok = record_enqueue(session, ?NAME),
    Second = named(),
    ok = record_enqueue(session, ?NAME),
    ?assertEqual([1, 1], [get_queue_depth(session, Pid) || Pid <- [First, Second]]),
    [kill(Pid) || Pid <- [First, Second]].

a_port_is_no_owner() ->
    Port = open_port({spawn, "cat"}, []),
    true = register(element(2, ?NAME), Port),
    [
        ?assertError(badarg, apply(?LIMITS, Function, Args), Function)
     || {Function, Args} <- [
            {try_enqueue, [session, ?NAME]},
            {record_dequeue, [session, ?NAME]},
            {acquire, [session, ?NAME]},
            {get_queue_depth, [?NAME]},
            {try_enqueue_any, [session, [a, ?NAME, b]]}
        ]
    ],
    ?assertEqual({error, not_found}, get_queue_depth(a)),
    true = port_close(Port).

a_mailbox_by_its_name() ->
    Pid = named(),
    ok = erlmcp_overload_mailbox:send(session, Pid, x),
    ?assertError(badarg, record_enqueue(session, ?NAME)),
    ?assertEqual(ok, ?LIMITS:check_capacity(session, ?NAME)),
    ?assertEqual(get_queue_depth(session, Pid), get_queue_depth(session, ?NAME)),
    kill(Pid).

any_test_() ->
    erlmcp_native_test_lib:with_service([
        fun the_less_full_of_two/0,
        fun the_next_best_where_those_are_full/0,
        fun the_dead_are_passed_over/0,
        fun all_that_are_given_get_some/0,
        fun one_of_very_many/0,
        fun names_among_others/0,
        fun one_that_is_suspended_and_oneself/0,
        fun a_mailbox_is_told_whichever_is_chosen/0
    ]).

the_less_full_of_two() ->
    [ok = record_enqueue(session, a) || _ <- "abc"],
    ?assertEqual(
        [{ok, b}, {ok, b}, {ok, b}],
        [?LIMITS:try_enqueue_any(session, Owners, #{}) || Owners <- [[a, b], [b, a], [a, b]]]
    ),
    ?assertEqual(3, get_queue_depth(session, b)).

the_next_best_where_those_are_full() ->
    ok = set_limit(session, 2),
    Owners = [a, b, c, d, e],
    [ok = record_enqueue(session, Owner) || Owner <- [a, b, d, e], _ <- "ab"],
    ?assertEqual([{ok, c}, {ok, c}], [try_enqueue_any(session, Owners) || _ <- "ab"]),
    ?assertMatch({error, {capacity_exceeded, #{depth := 2}}}, try_enqueue_any(session, Owners)),
    ?assertEqual(10, hd(stats([current_depth], session))).

the_dead_are_passed_over() ->
    Dead = dead(),
    Pid = idle(),
    ok = set_limit(session, 1),
    ?assertEqual({ok, Pid}, try_enqueue_any(session, [Dead, {name, nobody_of_this_name}, Dead, Pid, Dead])),
    ?assertMatch({error, {capacity_exceeded, #{process := Pid}}}, try_enqueue_any(session, [Dead, Pid, Dead])),
    ?assertEqual({error, noproc}, try_enqueue_any(session, [Dead, Dead, Dead])),
    kill(Pid).

all_that_are_given_get_some() ->
    Owners = [a, b, c, d],
    Chosen = [Owner || _ <- lists:seq(1, 400), {ok, Owner} <- [try_enqueue_any(session, Owners)]],
    ?assertEqual(Owners, lists:usort(Chosen)),
    Depths = [get_queue_depth(session, Owner) || Owner <- Owners],
    ?assertEqual(400, lists:sum(Depths)),
    %% Two choices keep them together, where one would leave them some twenty apart.
    ?assert(lists:max(Depths) - lists:min(Depths) =< 10).

one_of_very_many() ->
    ok = set_limit(session, 1),
    Owners = lists:duplicate(999_999, a) ++ [b],
    ?assertEqual([ok, ok], [element(1, try_enqueue_any(session, Owners)) || _ <- "ab"]),
    ?assertMatch({error, {capacity_exceeded, _}}, try_enqueue_any(session, Owners)).

names_among_others() ->
    Pid = named(),
    [ok = record_enqueue(session, Owner) || Owner <- [a, a, Pid]],
    ?assertEqual({ok, ?NAME}, try_enqueue_any(session, [a, ?NAME])),
    ?assertEqual(2, get_queue_depth(session, Pid)),
    kill(Pid).

one_that_is_suspended_and_oneself() ->
    Pid = named(),
    true = erlang:suspend_process(Pid),
    ok = record_enqueue(session, self()),
    ?assertEqual({ok, ?NAME}, try_enqueue_any(session, [self(), ?NAME])),
    {ok, Permit} = ?LIMITS:acquire(session, ?NAME),
    ?assertEqual([2, ok, 1], [get_queue_depth(?NAME), ?LIMITS:release(Permit), get_queue_depth(?NAME)]),
    kill(Pid),
    ?assertEqual({ok, self()}, try_enqueue_any(session, [self(), ?NAME])).

a_mailbox_is_told_whichever_is_chosen() ->
    ok = erlmcp_overload_mailbox:send(session, self(), x),
    receive x -> ok end,
    ?assertError(badarg, try_enqueue_any(session, [a, self()])).
