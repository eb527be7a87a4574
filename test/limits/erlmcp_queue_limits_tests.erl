%% What each function of erlmcp_queue_limits does when it is called as it should be.
-module(erlmcp_queue_limits_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_queue_limits, [
    check_capacity/2,
    try_enqueue/2,
    record_enqueue/2,
    record_dequeue/2,
    forget/2,
    get_queue_depth/1,
    get_queue_depth/2,
    set_limit/2,
    get_limit/1,
    get_all_limits/0,
    get_role_stats/1,
    get_all_stats/0,
    reset_stats/1,
    set_enabled/1,
    to_json_rpc_error/2
]).
-import(erlmcp_native_test_lib, [stats/2, eventually/1]).

-define(MAX_LIMIT, (1 bsl 59 - 1)).
-define(DEFAULTS, #{
    session => 10000,
    sse_stream => 5000,
    task_worker => 1000,
    tool_executor => 500,
    transport => 2000,
    default => 1000
}).

queue_limits_test_() ->
    erlmcp_native_test_lib:with_service([
        fun starts_once/0,
        fun has_the_six_roles_from_the_start/0,
        fun counts_up_and_down/0,
        fun counts_beyond_the_limit/0,
        fun never_counts_below_zero/0,
        fun keeps_owners_apart/0,
        fun keeps_roles_apart/0,
        fun sums_over_an_owners_roles/0,
        fun does_not_resolve_names/0,
        fun admits_below_the_limit_only/0,
        fun a_check_takes_nothing/0,
        fun a_refusal_says_why/0,
        fun a_refusal_counts/0,
        fun a_refusal_advises_a_second_when_nothing_drained/0,
        fun a_refusal_advises_by_the_drain_rate/0,
        fun the_advice_stays_in_its_range/0,
        fun limit_zero_refuses_everything/0,
        fun the_highest_limit/0,
        fun a_lowered_limit_holds_at_once/0,
        fun roles_follow_the_default_live/0,
        fun reads_and_passing_checks_make_no_role/0,
        fun records_and_limits_make_roles/0,
        fun forgets_one_role_of_one_owner/0,
        fun stats_of_a_role/0,
        fun stats_of_all_roles/0,
        fun a_reset_zeroes_counters_and_keeps_depths/0,
        fun the_kill_switch/0
    ]).

starts_once() ->
    Pid = whereis(erlmcp_queue_limits),
    ?assertEqual({error, {already_started, Pid}}, erlmcp_queue_limits:start_link()),
    ?assert(is_process_alive(Pid)).

has_the_six_roles_from_the_start() ->
    ?assertEqual(?DEFAULTS, get_all_limits()),
    ?assertEqual(?DEFAULTS, maps:map(fun(_, #{limit := Limit}) -> Limit end, get_all_stats())).

counts_up_and_down() ->
    ?assertEqual(0, get_queue_depth(session, self())),
    ?assertEqual([ok, ok, ok], [record_enqueue(session, self()) || _ <- "abc"]),
    ?assertEqual(3, get_queue_depth(session, self())),
    ?assertEqual(ok, record_dequeue(session, self())),
    ?assertEqual(2, get_queue_depth(session, self())),
    ?assertEqual(2, elsewhere(get_queue_depth, [session, self()])).

elsewhere(Function, Args) ->
    erlmcp_native_test_lib:in_process(fun() -> apply(erlmcp_queue_limits, Function, Args) end).

counts_beyond_the_limit() ->
    ok = set_limit(session, 1),
    ?assertEqual([ok, ok, ok], [record_enqueue(session, a) || _ <- "abc"]),
    ?assertEqual(3, get_queue_depth(session, a)),
    ?assertEqual([3, 3, 0], stats([current_depth, max_depth, total_rejected], session)).

never_counts_below_zero() ->
    ?assertEqual(ok, record_dequeue(session, a)),
    ok = record_enqueue(session, a),
    ok = record_dequeue(session, a),
    ?assertEqual(ok, record_dequeue(session, a)),
    ?assertEqual(0, get_queue_depth(session, a)),
    ?assertEqual(
        [1, 3, 2, 0],
        stats([total_enqueued, total_dequeued, unmatched_dequeues, current_depth], session)
    ),
    ok = record_enqueue(session, a),
    ?assertEqual(1, get_queue_depth(session, a)).

keeps_owners_apart() ->
    Pid = erlmcp_native_test_lib:idle(),
    ok = set_limit(session, 1),
    ?assertEqual([ok, ok, ok], [try_enqueue(session, Owner) || Owner <- [a, b, Pid]]),
    ?assertMatch({error, _}, try_enqueue(session, a)),
    ok = record_dequeue(session, b),
    ?assertEqual([1, 0, 1], [get_queue_depth(session, Owner) || Owner <- [a, b, Pid]]),
    ?assertEqual([2, 3], stats([current_depth, owners], session)).

keeps_roles_apart() ->
    ok = record_enqueue(session, a),
    ok = record_enqueue(transport, a),
    ok = record_enqueue(transport, a),
    ?assertEqual([1, 2, 0], [get_queue_depth(Role, a) || Role <- [session, transport, default]]),
    ?assertEqual([1], stats([current_depth], session)),
    ?assertEqual([2], stats([current_depth], transport)).

sums_over_an_owners_roles() ->
    ?assertEqual({error, not_found}, get_queue_depth(a)),
    [ok = record_enqueue(Role, a) || Role <- [session, session, transport, of_its_own]],
    ?assertEqual(4, get_queue_depth(a)),
    [ok = record_dequeue(Role, a) || Role <- [session, session, transport, of_its_own]],
    ?assertEqual(0, get_queue_depth(a)).

does_not_resolve_names() ->
    Self = self(),
    register(a_name, Self),
    ok = record_enqueue(session, a_name),
    ?assertEqual([1, 0], [get_queue_depth(session, Owner) || Owner <- [a_name, Self]]),
    unregister(a_name),
    ?assertEqual(1, get_queue_depth(session, a_name)).

admits_below_the_limit_only() ->
    ok = set_limit(session, 2),
    ?assertMatch(
        [ok, ok, {error, _}, {error, _}],
        [try_enqueue(session, a) || _ <- "abcd"]
    ),
    ?assertEqual(2, get_queue_depth(session, a)),
    ok = record_dequeue(session, a),
    ?assertEqual(ok, try_enqueue(session, a)),
    ?assertMatch({error, _}, try_enqueue(session, a)).

a_check_takes_nothing() ->
    ok = set_limit(session, 1),
    ?assertEqual([ok, ok], [check_capacity(session, a) || _ <- "ab"]),
    ?assertEqual({error, not_found}, get_queue_depth(a)),
    ok = record_enqueue(session, a),
    ?assertMatch({error, {capacity_exceeded, _}}, check_capacity(session, a)),
    ok = record_dequeue(session, a),
    ?assertEqual(ok, check_capacity(session, a)).

a_refusal_says_why() ->
    ok = set_limit(session, 2),
    [ok = record_enqueue(session, Owner) || Owner <- [a, a, a, b]],
    [
        begin
            {error, {capacity_exceeded, Stats}} = Refuse(session, a),
            ?assertEqual(
                [
                    capacity_exceeded_count,
                    class,
                    current_depth,
                    depth,
                    last_capacity_exceeded,
                    limit,
                    max_depth,
                    owners,
                    process,
                    reason,
                    retry_after_ms,
                    role,
                    total_dequeued,
                    total_enqueued,
                    total_rejected,
                    total_released,
                    unmatched_dequeues
                ],
                lists:sort(maps:keys(Stats))
            ),
            ?assertMatch(
                #{
                    role := session, process := a, class := critical,
                    depth := 3, limit := 2, current_depth := 4, owners := 2
                },
                Stats
            ),
            ?assertEqual(
                get_role_stats(session), maps:without([process, class, depth, reason, retry_after_ms], Stats)
            )
        end
     || Refuse <- [
            fun erlmcp_queue_limits:check_capacity/2,
            fun erlmcp_queue_limits:try_enqueue/2,
            fun(R, O) -> erlmcp_queue_limits:with_capacity(R, O, fun() -> error(not_reached) end) end
        ]
    ],
    Pid = self(),
    ok = set_limit(session, 0),
    ?assertMatch({error, {capacity_exceeded, #{process := Pid, depth := 0}}}, try_enqueue(session, Pid)).

a_refusal_counts() ->
    Keys = [total_rejected, capacity_exceeded_count, last_capacity_exceeded],
    ?assertEqual([0, 0, undefined], stats(Keys, session)),
    ok = set_limit(session, 0),
    Before = erlang:system_time(millisecond),
    {error, _} = check_capacity(session, a),
    {error, _} = try_enqueue(session, b),
    After = erlang:system_time(millisecond),
    [2, 2, Last] = stats(Keys, session),
    ?assert(Before =< Last andalso Last =< After, {Before, Last, After}),
    ?assertEqual([0, 0], stats([total_enqueued, owners], session)),
    ?assertEqual([0, 0, undefined], stats(Keys, transport)).

a_refusal_advises_a_second_when_nothing_drained() ->
    ok = set_limit(session, 1),
    ok = record_enqueue(session, a),
    %% One that takes nothing drains nothing.
    ok = record_dequeue(session, b),
    ?assertMatch({error, {capacity_exceeded, #{retry_after_ms := 1000}}}, try_enqueue(session, a)).

a_refusal_advises_by_the_drain_rate() ->
    Begun = now_ms(),
    ok = set_limit(drained, 1),
    Made = now_ms(),
    [ok = record_enqueue(drained, Owner) || Owner <- [a, a, a, a, b]],
    [
        begin
            ok = record_enqueue(drained, c),
            ok = record_dequeue(drained, c)
        end
     || _ <- lists:seq(1, 100)
    ],
    eventually(fun() -> now_ms() - Made >= 150 end),
    Earliest = now_ms() - Made,
    {error, {capacity_exceeded, #{retry_after_ms := Advice}}} = try_enqueue(drained, a),
    Latest = now_ms() - Begun,
    %% (depth 4 - limit 1 + 1) × 3 owners at 100 in so many milliseconds.
    Wait = fun(Ms) -> ceil(4 * 3 / (100 / Ms)) end,
    ?assert(Wait(Earliest - 1) =< Advice andalso Advice =< Wait(Latest + 1), {Earliest, Advice, Latest}).

now_ms() ->
    erlang:monotonic_time(millisecond).

the_advice_stays_in_its_range() ->
    Made = now_ms(),
    ok = set_limit(slow, 1),
    [ok = record_enqueue(slow, a) || _ <- lists:seq(1, 10000)],
    ok = record_dequeue(slow, a),
    eventually(fun() -> now_ms() - Made >= 20 end),
    ?assertMatch({error, {capacity_exceeded, #{retry_after_ms := 60000}}}, check_capacity(slow, a)),
    ok = set_limit(fast, 1),
    [
        begin
            ok = record_enqueue(fast, a),
            ok = record_dequeue(fast, a)
        end
     || _ <- lists:seq(1, 10000)
    ],
    ok = record_enqueue(fast, a),
    ?assertMatch({error, {capacity_exceeded, #{retry_after_ms := 1}}}, check_capacity(fast, a)).

limit_zero_refuses_everything() ->
    ok = set_limit(session, 0),
    ?assertEqual(0, get_limit(session)),
    ?assertMatch({error, {capacity_exceeded, #{depth := 0, limit := 0}}}, check_capacity(session, a)),
    ?assertMatch({error, {capacity_exceeded, #{depth := 0, limit := 0}}}, try_enqueue(session, self())),
    ?assertEqual(0, erlmcp_native:limits_owners(own)).

the_highest_limit() ->
    ?assertEqual(ok, set_limit(session, ?MAX_LIMIT)),
    ?assertEqual(?MAX_LIMIT, get_limit(session)),
    ?assertEqual(ok, try_enqueue(session, a)),
    ok = set_limit(default, ?MAX_LIMIT),
    ?assertEqual(?MAX_LIMIT, get_limit(unknown)),
    ?assertEqual(ok, try_enqueue(unknown, a)).

a_lowered_limit_holds_at_once() ->
    [ok = try_enqueue(session, a) || _ <- lists:seq(1, 5)],
    ok = set_limit(session, 3),
    ?assertMatch({error, _}, elsewhere(try_enqueue, [session, a])),
    ?assertEqual(5, get_queue_depth(session, a)),
    [ok = record_dequeue(session, a) || _ <- "abc"],
    ?assertEqual(ok, try_enqueue(session, a)),
    ?assertMatch({error, _}, try_enqueue(session, a)),
    ok = set_limit(session, 4),
    ?assertEqual(ok, try_enqueue(session, a)).

roles_follow_the_default_live() ->
    ok = record_enqueue(follower, a),
    ?assertEqual([1000, 1000], [get_limit(Role) || Role <- [follower, unknown]]),
    ok = set_limit(default, 1),
    ?assertEqual([1, 1, 10000], [get_limit(Role) || Role <- [follower, unknown, session]]),
    ?assertMatch({error, {capacity_exceeded, #{limit := 1}}}, try_enqueue(follower, a)),
    ok = set_limit(follower, 2),
    ok = set_limit(default, 7),
    ?assertEqual([2, 7, 7], [get_limit(Role) || Role <- [follower, unknown, default]]),
    ?assertMatch(#{follower := 2, default := 7}, get_all_limits()),
    ?assertMatch([2], stats([limit], follower)).

reads_and_passing_checks_make_no_role() ->
    ?assertEqual(1000, get_limit(unknown)),
    ?assertEqual(0, get_queue_depth(unknown, a)),
    ?assertEqual({error, not_found}, get_queue_depth(a)),
    ?assertEqual({error, not_found}, get_role_stats(unknown)),
    ?assertEqual(ok, reset_stats(unknown)),
    ?assertEqual(ok, forget(unknown, a)),
    ?assertEqual(ok, check_capacity(unknown, a)),
    ?assertEqual(?DEFAULTS, get_all_limits()),
    ?assertEqual(lists:sort(maps:keys(?DEFAULTS)), lists:sort(maps:keys(get_all_stats()))).

records_and_limits_make_roles() ->
    ok = record_enqueue(one, a),
    ok = record_dequeue(two, a),
    ok = try_enqueue(three, a),
    ok = set_limit(four, 1),
    {ok, _} = erlmcp_queue_limits:with_capacity(five, a, fun() -> ok end),
    ok = set_limit(default, 0),
    {error, _} = check_capacity(six, a),
    ?assertEqual(
        (maps:map(fun(_, _) -> 0 end, maps:from_keys([one, two, three, five, six], 0)))#{four => 1},
        maps:without(maps:keys(?DEFAULTS), get_all_limits())
    ).

forgets_one_role_of_one_owner() ->
    [ok = record_enqueue(Role, Owner) || Role <- [session, session, transport], Owner <- [a, b]],
    ?assertEqual(ok, forget(session, a)),
    ?assertEqual([0, 2], [get_queue_depth(session, Owner) || Owner <- [a, b]]),
    ?assertEqual([1, 2], [get_queue_depth(a), get_queue_depth(transport, a) + get_queue_depth(transport, b)]),
    ?assertEqual([2, 1, 2], stats([current_depth, owners, total_released], session)),
    ?assertEqual(ok, forget(transport, a)),
    ?assertEqual({error, not_found}, get_queue_depth(a)),
    ?assertEqual(ok, forget(transport, a)),
    ?assertEqual(ok, forget(transport, never_there)),
    ok = record_enqueue(session, a),
    ?assertEqual(1, get_queue_depth(session, a)).

stats_of_a_role() ->
    ok = set_limit(session, 3),
    [ok = try_enqueue(session, Owner) || Owner <- [a, a, a, b, b, c]],
    {error, _} = try_enqueue(session, a),
    [ok = record_dequeue(session, Owner) || Owner <- [a, c, c]],
    ok = forget(session, b),
    Stats = get_role_stats(session),
    ?assertEqual(
        #{
            role => session,
            current_depth => 2,
            max_depth => 3,
            total_enqueued => 6,
            total_dequeued => 3,
            unmatched_dequeues => 1,
            total_released => 2,
            total_rejected => 1,
            capacity_exceeded_count => 1,
            owners => 2,
            limit => 3
        },
        maps:remove(last_capacity_exceeded, Stats)
    ),
    ?assert(is_integer(maps:get(last_capacity_exceeded, Stats))),
    ?assert(erlmcp_native_test_lib:at_rest(session)).

stats_of_all_roles() ->
    ok = record_enqueue(mine, a),
    All = get_all_stats(),
    ?assertEqual(7, map_size(All)),
    ?assertEqual(All, maps:map(fun(Role, _) -> get_role_stats(Role) end, All)),
    ?assertMatch(#{mine := #{role := mine, current_depth := 1}}, All).

a_reset_zeroes_counters_and_keeps_depths() ->
    ok = set_limit(session, 2),
    [try_enqueue(session, a) || _ <- "abc"],
    [ok = record_dequeue(session, Owner) || Owner <- [a, b]],
    ok = record_enqueue(session, gone),
    ok = forget(session, gone),
    ok = record_enqueue(transport, a),
    ?assertEqual(ok, reset_stats(session)),
    ?assertEqual(
        #{
            role => session,
            current_depth => 1,
            max_depth => 0,
            total_enqueued => 0,
            total_dequeued => 0,
            unmatched_dequeues => 0,
            total_released => 0,
            total_rejected => 0,
            capacity_exceeded_count => 0,
            last_capacity_exceeded => undefined,
            owners => 1,
            limit => 2
        },
        get_role_stats(session)
    ),
    ?assertEqual([1, 1], [get_queue_depth(session, a), hd(stats([total_enqueued], transport))]),
    ok = try_enqueue(session, a),
    ?assertMatch({error, _}, try_enqueue(session, a)),
    ?assertEqual([1, 2, 1], stats([total_enqueued, max_depth, total_rejected], session)).

the_kill_switch() ->
    ok = set_limit(session, 1),
    ?assertEqual(ok, set_enabled(false)),
    ?assertEqual([ok, ok, ok], [try_enqueue(session, a) || _ <- "abc"]),
    ?assertEqual(ok, check_capacity(session, a)),
    ?assertEqual({ok, 4}, erlmcp_queue_limits:with_capacity(session, a, fun() -> get_queue_depth(a) end)),
    ?assertEqual([1, 3, 0], [get_limit(session) | stats([current_depth, total_rejected], session)]),
    ?assertEqual(ok, set_enabled(true)),
    ?assertMatch({error, _}, try_enqueue(session, a)).

to_json_rpc_error_test() ->
    Stats = #{role => session, limit => 10, depth => 12, retry_after_ms => 250, and_more => 1},
    #{<<"error">> := #{<<"message">> := Message}} = Response = to_json_rpc_error(<<"id">>, Stats),
    ?assertEqual(
        #{
            <<"jsonrpc">> => <<"2.0">>,
            <<"id">> => <<"id">>,
            <<"error">> => #{
                <<"code">> => -32010,
                <<"message">> => Message,
                <<"data">> => #{
                    <<"role">> => <<"session">>,
                    <<"limit">> => 10,
                    <<"depth">> => 12,
                    <<"class">> => <<"critical">>,
                    <<"reason">> => <<"full">>,
                    <<"retryAfterMs">> => 250
                }
            }
        },
        Response
    ),
    ?assertMatch(<<_, _/binary>>, Message),
    [?assertMatch(#{<<"id">> := Id}, to_json_rpc_error(Id, Stats)) || Id <- [1, null]],
    ?assert(is_binary(iolist_to_binary(json:encode(Response)))).

a_code_of_one_s_own_test() ->
    Stats = #{role => session, limit => 10, depth => 12, retry_after_ms => 250},
    Default = #{<<"error">> := Error} = to_json_rpc_error(7, Stats),
    [?assertEqual(Default, erlmcp_queue_limits:to_json_rpc_error(7, Stats, None)) || None <- [#{}, []]],
    [
        ?assertEqual(
            Default#{<<"error">> := Error#{<<"code">> := Code}},
            erlmcp_queue_limits:to_json_rpc_error(7, Stats, Options)
        )
     || Code <- [-32000, 0, 429, 1 bsl 70], Options <- [#{code => Code}, [{code, Code}]]
    ].

a_rate_s_refusal_becomes_one_too_test() ->
    Stats = #{name => api, key => ~"secret", limit => 10, remaining => 0, retry_after_ms => 250, reset_ms => 9000},
    ?assertEqual(
        #{
            <<"code">> => -32010,
            <<"message">> => <<"Too many requests: they come faster than they may">>,
            <<"data">> => #{
                <<"name">> => <<"api">>,
                <<"limit">> => 10,
                <<"remaining">> => 0,
                <<"reason">> => <<"rate">>,
                <<"retryAfterMs">> => 250,
                <<"resetMs">> => 9000
            }
        },
        maps:get(<<"error">>, to_json_rpc_error(null, Stats))
    ).

a_refusal_becomes_a_json_rpc_error_test_() ->
    erlmcp_native_test_lib:with_service([
        fun() ->
            ok = set_limit('rôle', 0),
            {error, {capacity_exceeded, Stats}} = try_enqueue('rôle', a),
            #{<<"error">> := #{<<"data">> := Data}} = to_json_rpc_error(7, Stats),
            ?assertEqual(
                #{
                    <<"role">> => <<"rôle"/utf8>>,
                    <<"limit">> => 0,
                    <<"depth">> => 0,
                    <<"class">> => <<"critical">>,
                    <<"reason">> => <<"full">>,
                    <<"retryAfterMs">> => 1000
                },
                Data
            )
        end
    ]).
