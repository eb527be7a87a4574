%% Calls that cannot be answered: wrong arguments, one role too many, a service that is not started.
-module(erlmcp_queue_limits_misuse_tests).

-include_lib("eunit/include/eunit.hrl").

-export([records_do_nothing/0]).

-define(LIMITS, erlmcp_queue_limits).
-define(MAX_ROLES, 1024).

%% A call of each function that needs the service.
calls() ->
    [
        {check_capacity, [session, a]},
        {check_capacity, [session, a, #{}]},
        {try_enqueue, [session, a]},
        {try_enqueue, [session, a, #{}]},
        {try_enqueue, [session, a, [{class, sheddable}]]},
        {with_capacity, [session, a, fun() -> error(not_reached) end]},
        {acquire, [session, a]},
        {acquire, [session, a, #{}]},
        {try_enqueue_any, [session, [a]]},
        {try_enqueue_any, [session, [a], []]},
        {record_enqueue, [session, a]},
        {record_dequeue, [session, a]},
        {record_dequeue, [session, a, dropped]},
        {record_dequeue, [session, a, []]},
        {record_dequeue, [session, a, [{bytes, 1}]]},
        {forget, [session, a]},
        {get_queue_depth, [a]},
        {get_queue_depth, [session, a]},
        {get_role_stats, [session]},
        {get_all_stats, []},
        {reset_stats, [session]},
        {set_limit, [session, 1]},
        {get_limit, [session]},
        {set_reserve, [session, #{sheddable => 50}]},
        {get_reserve, [session]},
        {set_caps, [session, #{total => 1}]},
        {get_caps, [session]},
        {get_all_limits, []},
        {set_enabled, [true]}
    ].

every_function_is_listed_here_test() ->
    Others = [{module_info, 0}, {module_info, 1}, {start_link, 0}, {to_json_rpc_error, 2}, {to_json_rpc_error, 3}] ++
        [{retry_after_seconds, 1}, {release, 1}],
    Listed = [{Function, length(Args)} || {Function, Args} <- calls()],
    ?assertEqual(lists:sort(?LIMITS:module_info(exports)), lists:usort(Others ++ Listed)).

with_role() ->
    [check_capacity, try_enqueue, with_capacity, acquire, try_enqueue_any, record_enqueue, record_dequeue, forget,
     get_role_stats, reset_stats, set_limit, get_limit, set_reserve, get_reserve,
     set_caps, get_caps].

misuse_test_() ->
    erlmcp_native_test_lib:with_service([
        fun a_role_is_an_atom/0,
        fun an_owner_is_a_local_pid_or_an_atom/0,
        fun a_pid_of_an_earlier_node_of_this_name_is_foreign/0,
        fun a_limit_is_a_small_integer/0,
        fun a_switch_is_a_boolean/0,
        fun a_fun_takes_nothing/0,
        fun a_permit_is_one/0,
        fun owners_are_a_list_of_some/0,
        fun nothing_becomes_of_a_wrong_call/0,
        fun nothing_makes_an_atom/0
    ]).

-define(assertBadarg(Function, Args), ?assertError(badarg, apply(?LIMITS, Function, Args), {Function, Args})).

a_role_is_an_atom() ->
    [
        ?assertBadarg(Function, [Role | Args])
     || {Function, [session | Args]} <- calls(),
        Role <- no_atoms()
    ],
    ?assertEqual([], with_role() -- [Function || {Function, [session | _]} <- calls()]).

an_owner_is_a_local_pid_or_an_atom() ->
    [
        ?assertBadarg(Function, replace(a, Owner, Args))
     || {Function, Args} <- calls(),
        lists:member(a, Args),
        Owner <- no_owners()
    ].

replace(Old, New, Args) ->
    [case Arg of Old -> New; _ -> Arg end || Arg <- Args].

no_atoms() ->
    [self() | no_owners()].

no_owners() ->
    [
        erlmcp_native_test_lib:foreign_pid(),
        erlmcp_native_test_lib:earlier_pid(),
        hd(erlang:ports()),
        make_ref(),
        "session",
        <<"session">>,
        "",
        [],
        {},
        #{},
        0,
        -1,
        1.0,
        1 bsl 70,
        fun() -> ok end,
        {name, undefined},
        {name, "session"},
        {name, self()},
        {name, a, b},
        {name},
        {global, session},
        {session, node()}
    ].

a_pid_of_an_earlier_node_of_this_name_is_foreign() ->
    Earlier = erlmcp_native_test_lib:earlier_pid(),
    ?assertEqual({node(), false}, {node(Earlier), Earlier =:= self()}),
    ?assertBadarg(record_enqueue, [session, Earlier]),
    ?assertEqual([true, true], [erlmcp_native_pid:is_local(Pid) || Pid <- [self(), erlmcp_native_test_lib:dead()]]),
    ?assertEqual([], [Term || Term <- no_owners(), erlmcp_native_pid:is_local(Term)]).

a_limit_is_a_small_integer() ->
    [
        ?assertBadarg(set_limit, [session, Limit])
     || Limit <- [-1, 1 bsl 59, 1 bsl 59 + 1, 1 bsl 63, 1 bsl 64, 1 bsl 64 + 1, 1 bsl 200, -(1 bsl 70)] ++
            [1.0, 0.0, unlimited, undefined, "1", <<1>>, {1}, [1], self()]
    ],
    ?assertEqual(10000, ?LIMITS:get_limit(session)).

a_switch_is_a_boolean() ->
    [?assertBadarg(set_enabled, [Switch]) || Switch <- [on, 1, 0, "true", <<"true">>, undefined, []]].

a_fun_takes_nothing() ->
    [
        ?assertBadarg(with_capacity, [session, a, Fun])
     || Fun <- [ok, fun(X) -> X end, {?LIMITS, get_all_limits}, {?LIMITS, get_all_limits, []}, "fun"]
    ],
    ?assertEqual({error, not_found}, ?LIMITS:get_queue_depth(a)).

a_permit_is_one() ->
    {ok, Permit} = ?LIMITS:acquire(session, a),
    Others = [erlmcp_native:limits_new([]), erlmcp_native:latency_new(), [Permit], term_to_binary(Permit)],
    [?assertEqual([1], wrong_argument(release, [Wrong])) || Wrong <- Others ++ no_owners() ++ [a, self()]],
    ?assertEqual(1, ?LIMITS:get_queue_depth(session, a)),
    ?assertEqual(ok, ?LIMITS:release(Permit)).

owners_are_a_list_of_some() ->
    Wrong = [[], [a | b], a, self(), {a, b}, #{}, <<"a">>, fun() -> ok end],
    [
        ?assertEqual([2], wrong_argument(try_enqueue_any, [session, Owners | Options]))
     || Owners <- Wrong ++ [[a, Owner, b] || Owner <- no_owners()] ++ [[Owner] || Owner <- no_owners()],
        Options <- [[], [#{}]]
    ],
    ?assertEqual({error, not_found}, ?LIMITS:get_queue_depth(a)).

nothing_becomes_of_a_wrong_call() ->
    Before = {?LIMITS:get_all_stats(), ?LIMITS:get_all_limits()},
    Wrong = "wrong",
    Misuses = [{Function, Misuse} || {Function, Args} <- calls(), Misuse <- misuses(Wrong, Args)],
    ?assertEqual(103, length(Misuses)),
    [?assertEqual({?LIMITS, Function, length(Args)}, named(Function, Args)) || {Function, Args} <- Misuses],
    ?assertEqual(Before, {?LIMITS:get_all_stats(), ?LIMITS:get_all_limits()}),
    ?assertEqual(0, erlmcp_native:limits_owners(own)).

%% What the error of a call names.
named(Function, Args) ->
    try apply(?LIMITS, Function, Args) of
        Result -> {no_error, Function, Args, Result}
    catch
        error:badarg:Stack ->
            [{Module, Name, Given, _} | _] = Stack,
            {Module, Name, length(Given)}
    end.

%% All ways to have at least one argument wrong.
misuses(Wrong, Args) ->
    Choices = lists:foldr(
        fun(Arg, Rests) -> [[A | Rest] || A <- [Arg, Wrong], Rest <- Rests] end, [[]], Args
    ),
    Choices -- [Args].

nothing_makes_an_atom() ->
    Odd = fun(N) ->
        Text = "never_an_atom_" ++ integer_to_list(N),
        [Text, list_to_binary(Text), {Text, N}, #{Text => N}, [N | Text], N * 1.5, N bsl 70, make_ref()]
    end,
    Try = fun(N) ->
        [
            try
                apply(?LIMITS, Function, replace(a, Term, replace(session, Term, Args)))
            catch
                error:badarg -> ok
            end
         || {Function, [_ | _] = Args} <- calls(),
            Function =/= set_enabled,
            Term <- Odd(N)
        ],
        [?assertError(badarg, ?LIMITS:set_limit(session, Term)) || Term <- Odd(N)],
        [?assertError(badarg, ?LIMITS:set_enabled(Term)) || Term <- Odd(N)]
    end,
    %% The first round may load code.
    Try(1),
    Before = erlang:system_info(atom_count),
    lists:foreach(Try, lists:seq(2, 20)),
    ?assertEqual(Before, erlang:system_info(atom_count)).

too_many_roles_test_() ->
    erlmcp_native_test_lib:with_service([
        {atom_to_list(Function), fun() -> no_more_roles_by(Function, Args) end}
     || {Function, Args} <- [
            {record_enqueue, [one_too_many, a]},
            {record_dequeue, [one_too_many, a]},
            {try_enqueue, [one_too_many, a]},
            {with_capacity, [one_too_many, a, fun() -> error(not_reached) end]},
            {acquire, [one_too_many, a]},
            {try_enqueue_any, [one_too_many, [a]]},
            {set_limit, [one_too_many, 1]},
            {set_reserve, [one_too_many, #{}]},
            {set_caps, [one_too_many, #{}]}
        ]
    ] ++ [fun a_refusal_makes_no_role_too_many/0, fun what_makes_no_role_goes_on/0]).

fill() ->
    Known = map_size(?LIMITS:get_all_limits()),
    Roles = [list_to_atom("role_" ++ integer_to_list(N)) || N <- lists:seq(Known + 1, ?MAX_ROLES)],
    [ok = ?LIMITS:set_limit(Role, 5) || Role <- Roles],
    ?assertEqual(?MAX_ROLES, map_size(?LIMITS:get_all_limits())).

no_more_roles_by(Function, Args) ->
    fill(),
    [?assertError(system_limit, apply(?LIMITS, Function, Args)) || _ <- "ab"],
    ?assertEqual(?MAX_ROLES, map_size(?LIMITS:get_all_limits())),
    ?assertEqual({error, not_found}, ?LIMITS:get_role_stats(one_too_many)),
    ?assertEqual({error, not_found}, ?LIMITS:get_queue_depth(a)),
    ?assertEqual(0, erlmcp_native:limits_owners(own)).

a_refusal_makes_no_role_too_many() ->
    fill(),
    ok = ?LIMITS:set_limit(default, 0),
    ?assertError(system_limit, ?LIMITS:check_capacity(one_too_many, a)),
    ?assertEqual(?MAX_ROLES, map_size(?LIMITS:get_all_stats())).

what_makes_no_role_goes_on() ->
    fill(),
    ?assertEqual(ok, ?LIMITS:check_capacity(one_too_many, a)),
    ?assertEqual(0, ?LIMITS:get_queue_depth(one_too_many, a)),
    ?assertEqual(1000, ?LIMITS:get_limit(one_too_many)),
    ?assertEqual(ok, ?LIMITS:forget(one_too_many, a)),
    ?assertEqual(ok, ?LIMITS:reset_stats(one_too_many)),
    ?assertEqual(ok, ?LIMITS:record_enqueue(one_too_many, erlmcp_native_test_lib:dead())),
    ?assertEqual([ok, ok], [?LIMITS:record_enqueue(Role, a) || Role <- [session, role_1024]]),
    ?assertEqual(2, ?LIMITS:get_queue_depth(a)).

not_started_test_() ->
    erlmcp_native_test_lib:with_service([
        fun() ->
            [apply(?LIMITS, F, A) || {F, A} <- calls(), F =/= with_capacity],
            {ok, Permit} = ?LIMITS:acquire(session, a),
            ok = gen_server:stop(?LIMITS),
            ?assertEqual({error, released}, ?LIMITS:release(Permit)),
            ?assertEqual([1], wrong_argument(release, [a])),
            [
                ?assertExit({noproc, {?LIMITS, F, A}}, apply(?LIMITS, F, A))
             || {F, A} <- [{acquire, [session, a, wrong]}, {try_enqueue_any, [session, a]}]
            ],
            [?assertExit({noproc, {?LIMITS, F, A}}, apply(?LIMITS, F, A)) || {F, A} <- calls(), not records(F)],
            records_do_nothing()
        end
    ]).

%% On a node where the service, and so the library's table, never was; and where there is no library at all.
records_where_nothing_ever_was_test_() ->
    [
        {timeout, 60, fun() ->
            Dir = erlmcp_native_test_lib:temp_dir(),
            try
                Peer = erlmcp_native_test_lib:peer([Ebin(Dir) | erlmcp_native_test_lib:ebins([?MODULE])], []),
                ?assertEqual(ok, peer:call(Peer, ?MODULE, records_do_nothing, [])),
                peer:stop(Peer)
            after
                erlmcp_native_test_lib:remove_dir(Dir)
            end
        end}
     || Ebin <- [
            fun(_) -> filename:dirname(code:which(?LIMITS)) end,
            fun(Dir) -> erlmcp_native_test_lib:install(Dir, []) end
        ]
    ].

%% Whoever ends after the service records a dequeue in terminate/2, and does not crash. Misuse is told as ever.
records_do_nothing() ->
    Functions = [record_enqueue, record_dequeue],
    [
        ?assertEqual(ok, apply(?LIMITS, Function, [session, Owner]))
     || Function <- Functions,
        Owner <- [a, self(), erlmcp_native_test_lib:dead(), {name, nobody_of_this_name}, {name, kernel_sup}]
    ],
    [
        ?assertEqual([Position], wrong_argument(Function, Args))
     || Function <- Functions,
        {Position, Args} <- [{1, [Role, a]} || Role <- no_atoms()] ++ [{2, [session, Owner]} || Owner <- no_owners()]
    ],
    How = [dropped, #{}, [], #{bytes => 5}, [{bytes, 5}]],
    [?assertEqual({Said, ok}, {Said, ?LIMITS:record_dequeue(session, a, Said)}) || Said <- How],
    [
        ?assertEqual({Position, [Position]}, {Position, wrong_argument(record_dequeue, Args)})
     || Said <- How, {Position, Args} <- [{1, ["session", a, Said]}, {2, [session, "a", Said]}]
    ],
    [
        ?assertEqual({Wrong, [Position]}, {Wrong, wrong_argument(record_dequeue, [Role, a, Wrong])})
     || Wrong <- [done, #{bytes => 0}, #{bytes => 1 bsl 48}, #{byte => 1}, [{bytes, 1} | x]],
        {Position, Role} <- [{3, session}, {1, "session"}]
    ],
    ?assertExit({noproc, _}, ?LIMITS:get_all_stats()),
    ok.

wrong_argument(Function, Args) ->
    try
        apply(?LIMITS, Function, Args)
    catch
        error:badarg:Stack -> maps:keys(erlmcp_native_error:format_error(badarg, Stack))
    end.

records(Function) ->
    Function =:= record_enqueue orelse Function =:= record_dequeue.

what_is_told_wants_a_refusal_test_() ->
    Stats = #{role => session, limit => 1, depth => 1, retry_after_ms => 1},
    Rate = #{name => {a}, limit => 1, remaining => 0, retry_after_ms => 1},
    Wrong = [#{}, undefined, [], {capacity_exceeded, Stats}, {rate_limited, Rate}, {error, {rate_limited, Rate}}] ++
        [Stats#{role := "session"}, Stats#{reason => "full"}, Stats#{class => ~"critical"}, Rate#{reset_ms => -1}] ++
        [maps:remove(Key, Stats) || Key <- maps:keys(Stats)] ++ [maps:remove(Key, Rate) || Key <- maps:keys(Rate)],
    [
        [
            ?_assertError(badarg, ?LIMITS:to_json_rpc_error(1, No)),
            ?_assertError(badarg, ?LIMITS:to_json_rpc_error(1, No, #{code => 1})),
            ?_assertError(badarg, ?LIMITS:retry_after_seconds(No))
        ]
     || No <- Wrong
    ].

a_code_is_an_integer_test_() ->
    Stats = #{role => session, limit => 1, depth => 1, retry_after_ms => 1},
    [
        ?_assertError(badarg, ?LIMITS:to_json_rpc_error(1, Stats, Wrong))
     || Wrong <- [#{code => 1.0}, #{code => ~"1"}, #{cod => 1}, code, [code], [{code, x}], [{code, 1} | x], 1]
    ].
