%% Many at once: exact limits, exact counts, no messages, nothing left behind.
-module(erlmcp_queue_limits_load_tests).

-include_lib("eunit/include/eunit.hrl").

-export([come_and_go/2]).

-define(LIMITS, erlmcp_queue_limits).

-import(erlmcp_queue_limits, [
    try_enqueue/2,
    record_enqueue/2,
    record_dequeue/2,
    with_capacity/3,
    get_queue_depth/1,
    get_queue_depth/2,
    set_limit/2
]).
-import(erlmcp_native_test_lib, [stats/2, at_rest/1, parallel/2, eventually/1, idle/0, kill/1]).

load_test_() ->
    erlmcp_native_test_lib:with_service([
        fun nobody_passes_the_limit/0,
        fun the_last_place_is_given_once/0,
        {"one inside", fun() -> nobody_is_in_beyond(1) end},
        {"five inside", fun() -> nobody_is_in_beyond(5) end},
        fun obeys_a_limit_set_before/0,
        fun crashes_lose_no_count/0,
        fun a_burst_is_counted_when_it_returns/0,
        fun owners_of_their_own_are_exact/0
    ]).

nobody_passes_the_limit() ->
    ok = set_limit(session, 100),
    Owner = idle(),
    Each = parallel(64, fun(_) -> length([ok || _ <- lists:seq(1, 500), try_enqueue(session, Owner) =:= ok]) end),
    ?assertEqual(100, lists:sum(Each)),
    ?assertEqual(100, get_queue_depth(session, Owner)),
    ?assertEqual(
        [100, 100, 64 * 500 - 100], stats([max_depth, total_enqueued, total_rejected], session)
    ),
    kill(Owner).

%% Many owners, each with a last place that many want.
the_last_place_is_given_once() ->
    Limit = 3,
    ok = set_limit(session, Limit),
    Owners = [idle() || _ <- lists:seq(1, 5000)],
    Each = parallel(64, fun(_) -> length([ok || Owner <- Owners, try_enqueue(session, Owner) =:= ok]) end),
    ?assertEqual([Limit], lists:usort([get_queue_depth(session, Owner) || Owner <- Owners])),
    ?assertEqual([Limit], stats([max_depth], session)),
    ?assertEqual(Limit * length(Owners), lists:sum(Each)).

nobody_is_in_beyond(Limit) ->
    {Processes, Times} = {64, 50000},
    ok = set_limit(session, Limit),
    Inside = atomics:new(2, []),
    Enter = fun() ->
        highest(Inside, atomics:add_get(Inside, 1, 1)),
        _ = Limit > 1 andalso erlang:yield(),
        atomics:sub(Inside, 1, 1)
    end,
    Taken = parallel(Processes, fun(N) -> length([ok || _ <- lists:seq(1, Times), in(N rem 2, Enter)]) end),
    ?assert(atomics:get(Inside, 2) =< Limit, atomics:get(Inside, 2)),
    [MaxDepth, Enqueued, Dequeued, Unmatched, Rejected] =
        stats([max_depth, total_enqueued, total_dequeued, unmatched_dequeues, total_rejected], session),
    ?assert(MaxDepth =< Limit, MaxDepth),
    ?assertEqual({lists:sum(Taken), lists:sum(Taken), 0}, {Enqueued, Dequeued, Unmatched}),
    ?assertEqual(Processes * Times, Enqueued + Rejected),
    ?assertEqual(0, get_queue_depth(session, a)).

in(0, Enter) ->
    case try_enqueue(session, a) of
        ok ->
            Enter(),
            ok =:= record_dequeue(session, a);
        {error, _} ->
            false
    end;
in(1, Enter) ->
    {Took, _} = with_capacity(session, a, Enter),
    Took =:= ok.

highest(Ref, Now) ->
    Before = atomics:get(Ref, 2),
    Now =< Before orelse
        case atomics:compare_exchange(Ref, 2, Before, Now) of
            ok -> true;
            _ -> highest(Ref, Now)
        end.

%% Whoever hears that a limit was set is held to it.
obeys_a_limit_set_before() ->
    ok = set_limit(session, 1 bsl 58),
    Lowered = atomics:new(1, []),
    Late = parallel(8, fun
        (1) ->
            [ok = record_enqueue(session, a) || _ <- lists:seq(1, 1000)],
            ok = set_limit(session, 10),
            atomics:put(Lowered, 1, 1),
            0;
        (_) ->
            length([late || _ <- lists:seq(1, 20000), late(Lowered)])
    end),
    ?assertEqual(lists:duplicate(8, 0), Late).

late(Lowered) ->
    Held = atomics:get(Lowered, 1),
    try_enqueue(session, a) =:= ok andalso Held =:= 1.

crashes_lose_no_count() ->
    {Ups, Downs} = {20000, 15000},
    Results = parallel(9, fun
        (9) ->
            [
                begin
                    {ok, Pid} = restarted(),
                    unlink(Pid),
                    kill(Pid)
                end
             || _ <- lists:seq(1, 50)
            ],
            ok;
        (N) ->
            Owner = lists:nth(1 + N rem 2, [shared, self()]),
            [ok = record_enqueue(session, Owner) || _ <- lists:seq(1, Ups)],
            [ok = record_dequeue(session, Owner) || _ <- lists:seq(1, Downs)],
            get_queue_depth(session, Owner) >= Ups - Downs
    end),
    ?assertEqual([ok, true], lists:usort(Results)),
    ?assertEqual(4 * (Ups - Downs), get_queue_depth(session, shared)),
    eventually(fun() -> stats([owners], session) =:= [1] end),
    ?assertEqual(
        [8 * Ups, 8 * Downs, 4 * (Ups - Downs), 0],
        stats([total_enqueued, total_dequeued, total_released, unmatched_dequeues], session)
    ),
    ?assert(at_rest(session)).

restarted() ->
    case whereis(erlmcp_queue_limits) of
        undefined -> erlmcp_queue_limits:start_link();
        Pid -> {ok, Pid}
    end.

a_burst_is_counted_when_it_returns() ->
    Each = 1000000 div 16,
    Before = mailboxes(),
    Results = parallel(16, fun(_) -> burst(Each) end),
    After = mailboxes(),
    ?assertEqual(lists:duplicate(16, ok), Results),
    ?assertEqual(1000000, get_queue_depth(session, a)),
    ?assertEqual([1000000, 1000000], stats([current_depth, total_enqueued], session)),
    Grown = maps:filter(fun(Pid, Length) -> Length > maps:get(Pid, Before, 0) end, After),
    ?assertEqual(#{}, maps:remove(self(), Grown)).

burst(0) ->
    ok;
burst(N) ->
    ok = record_enqueue(session, a),
    burst(N - 1).

mailboxes() ->
    maps:from_list([
        {Pid, Length}
     || Pid <- processes(), {message_queue_len, Length} <- [process_info(Pid, message_queue_len)]
    ]).

owners_of_their_own_are_exact() ->
    Results = parallel(32, fun(N) ->
        [
            begin
                ok = record_enqueue(session, self()),
                K = get_queue_depth(session, self())
            end
         || K <- lists:seq(1, 1000)
        ],
        [ok = record_dequeue(session, self()) || _ <- lists:seq(1, N)],
        get_queue_depth(self())
    end),
    ?assertEqual([1000 - N || N <- lists:seq(1, 32)], Results),
    eventually(fun() -> stats([owners, current_depth], session) =:= [0, 0] end).

%% In a node of its own, whose memory nothing else changes. What grows does so each time; what the runtime has not yet
%% given back on a busy machine does not: so it is tried up to three times.
come_and_go_test_() ->
    {timeout, 400, fun() -> comes_back(3) end}.

comes_back(Tries) ->
    Peer = erlmcp_native_test_lib:peer(erlmcp_native_test_lib:ebins([erlmcp_queue_limits, ?MODULE]), []),
    Rounds =
        try
            peer:call(Peer, ?MODULE, come_and_go, [10, 100000], 100000)
        after
            peer:stop(Peer)
        end,
    {Runtime2, Native2} = lists:nth(2, Rounds),
    {Runtime10, Native10} = lists:nth(10, Rounds),
    case abs(Runtime10 - Runtime2) * 100 =< Runtime2 andalso abs(Native10 - Native2) * 100 =< Native2 of
        true -> ok;
        false when Tries > 1 -> comes_back(Tries - 1);
        false -> error({does_not_come_back, Rounds})
    end.

%% Bytes after each round, those of the runtime and those of native code.
%% A table keeps the size that it once had. More come first, so that it is not chance that decides in which
%% round the last of its parts has grown.
come_and_go(Rounds, Owners) ->
    _ = erlmcp_native_test_lib:start(),
    [ok] = parallel(1, fun(_) -> come_and_go(2 * Owners) end),
    [
        begin
            %% Not in this process, whose heap is among what is measured.
            [ok] = parallel(1, fun(_) -> come_and_go(Owners) end),
            footprint()
        end
     || _ <- lists:seq(1, Rounds)
    ].

come_and_go(Owners) ->
    Before = length(processes()),
    Self = self(),
    Pids = [spawn_monitor(fun() -> owner(Self) end) || _ <- lists:seq(1, Owners)],
    [
        receive
            in -> ok
        end
     || _ <- Pids
    ],
    ?assertEqual(Owners, erlmcp_native:limits_owners(own)),
    ?assertEqual([Owners, 2 * Owners], stats([owners, current_depth], session)),
    [Pid ! leave || {Pid, _} <- Pids],
    [
        receive
            {'DOWN', _, process, _, normal} -> ok
        end
     || _ <- Pids
    ],
    eventually(fun() -> erlmcp_native:limits_owners(own) =:= 0 end),
    [
        eventually(fun() -> stats([owners, current_depth], Role) =:= [0, 0] end)
     || Role <- [session, transport]
    ],
    eventually(fun() -> length(processes()) =:= Before end).

owner(Starter) ->
    [ok = record_enqueue(Role, self()) || Role <- [session, session, transport]],
    Starter ! in,
    receive
        leave -> ok
    end.

%% The least of some readings: what the dead held is freed a while later, and a reading may fall before.
footprint() ->
    Readings = [reading() || _ <- lists:seq(1, 20)],
    {lists:min([Runtime || {Runtime, _} <- Readings]), lists:min([Native || {_, Native} <- Readings])}.

reading() ->
    settle(),
    [garbage_collect(Pid) || Pid <- processes()],
    {erlang:memory(total), erlmcp_native:native_memory()}.

%% What is taken out of the table is freed a batch at a time, by the thread that took it out: the last
%% batches are made to go.
settle() ->
    [
        begin
            {Pid, Ref} = spawn_opt(fun turn_over/0, [monitor, {scheduler, Scheduler}]),
            receive
                {'DOWN', Ref, process, Pid, normal} -> ok
            end
        end
     || _ <- "twice", Scheduler <- lists:seq(1, erlang:system_info(schedulers))
    ].

turn_over() ->
    [ok = Do(session, self()) || _ <- lists:seq(1, 500), Do <- [fun ?LIMITS:record_enqueue/2, fun ?LIMITS:forget/2]].
