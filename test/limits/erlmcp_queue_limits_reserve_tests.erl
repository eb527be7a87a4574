%% What of a limit is kept for the higher classes: who is refused where, and what is no reserve.
-module(erlmcp_queue_limits_reserve_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [crash/0, eventually/1, idle/0, parallel/2, stats/2]).

-define(LIMITS, erlmcp_queue_limits).
-define(MAILBOX, erlmcp_overload_mailbox).
-define(CLASSES, [critical_plus, critical, sheddable_plus, sheddable]).

reserve_test_() ->
    erlmcp_native_test_lib:with_service([
        fun each_class_has_its_share/0,
        fun a_share_is_rounded_down/0,
        fun a_class_that_is_not_named_has_that_of_the_one_above/0,
        fun a_mailbox_has_shares_too/0,
        fun a_permit_and_one_of_several/0,
        fun a_lower_class_waits_longer/0,
        fun nothing_is_kept_of_no_limit/0,
        fun switched_off_nothing_is_refused/0,
        fun it_is_of_its_role_alone/0,
        fun what_is_none_is_said/0,
        fun it_survives_a_crash/0,
        fun why_knows_it/0,
        fun refusals_are_counted_by_class_and_reason/0,
        fun a_client_is_told_why/0,
        fun no_class_passes_its_share_whoever_calls/0
    ]).

configured_test_() ->
    {setup, fun erlmcp_native_test_lib:quiet/0, fun erlmcp_native_test_lib:loud/1, [
        fun it_is_configured/0, fun a_wrong_one_is_told/0
    ]}.

%% How many of each class are admitted, one class after the other, the lowest first.
admitted(Role, Owner) ->
    Admit = fun(Class) -> until_refused(fun() -> ?LIMITS:try_enqueue(Role, Owner, #{class => Class}) end) end,
    [length(Admit(Class)) || Class <- lists:reverse(?CLASSES)].

until_refused(Try) ->
    case Try() of
        ok -> [ok | until_refused(Try)];
        {error, {capacity_exceeded, _}} -> []
    end.

each_class_has_its_share() ->
    ok = ?LIMITS:set_limit(session, 100),
    ok = ?LIMITS:set_reserve(session, #{critical => 5, sheddable_plus => 20, sheddable => 50}),
    ?assertEqual([50, 30, 15, 5], admitted(session, a)),
    Refused = [?LIMITS:try_enqueue(session, a, #{class => Class}) || Class <- ?CLASSES],
    ?assertEqual(
        [full, full, full, full], [Reason || {error, {capacity_exceeded, #{reason := Reason}}} <- Refused]
    ),
    ok = ?LIMITS:record_dequeue(session, a),
    [ok, {error, {capacity_exceeded, #{reason := class, depth := 99, limit := 100}}}] =
        [?LIMITS:check_capacity(session, a, #{class => Class}) || Class <- [critical_plus, critical]],
    %% A call that names none is critical.
    ?assertMatch({error, {capacity_exceeded, #{reason := class}}}, ?LIMITS:try_enqueue(session, a)),
    ?assertMatch({error, {capacity_exceeded, #{reason := class}}}, ?LIMITS:check_capacity(session, a)),
    ?assertMatch({error, {capacity_exceeded, #{reason := class}}}, ?LIMITS:with_capacity(session, a, fun() -> no end)),
    ?assertEqual([12], stats([total_rejected], session)).

a_share_is_rounded_down() ->
    ok = ?LIMITS:set_reserve(session, #{sheddable => 1}),
    [
        begin
            ok = ?LIMITS:set_limit(session, Limit),
            Owner = list_to_atom("owner" ++ integer_to_list(Limit)),
            ?assertEqual([(Limit * 99) div 100, Limit - (Limit * 99) div 100, 0, 0], admitted(session, Owner))
        end
     || Limit <- [1, 2, 99, 100, 101, 199, 200, 201, 10007]
    ],
    %% Of a limit of 1 any reserve is all of it.
    ok = ?LIMITS:set_limit(session, 1),
    ok = ?LIMITS:set_reserve(session, #{critical => 1}),
    ?assertMatch({error, {capacity_exceeded, #{reason := class}}}, ?LIMITS:try_enqueue(session, b)),
    ?assertEqual(ok, ?LIMITS:try_enqueue(session, b, #{class => critical_plus})).

a_class_that_is_not_named_has_that_of_the_one_above() ->
    Given = [
        {#{}, {0, 0, 0}},
        {#{critical => 10}, {10, 10, 10}},
        {#{sheddable_plus => 10}, {0, 10, 10}},
        {[{sheddable, 10}], {0, 0, 10}},
        {#{critical => 1, sheddable => 2}, {1, 1, 2}},
        {#{critical => 100}, {100, 100, 100}}
    ],
    [
        begin
            ok = ?LIMITS:set_reserve(session, Reserve),
            ?assertEqual(
                #{critical => Critical, sheddable_plus => SheddablePlus, sheddable => Sheddable},
                ?LIMITS:get_reserve(session)
            )
        end
     || {Reserve, {Critical, SheddablePlus, Sheddable}} <- Given
    ].

a_mailbox_has_shares_too() ->
    Pid = idle(),
    ok = ?LIMITS:set_limit(mail, 10),
    ok = ?LIMITS:set_reserve(mail, #{sheddable_plus => 20, sheddable => 50}),
    Sends = [
        fun(Class) -> ?MAILBOX:send(mail, Pid, hello, #{class => Class}) end,
        fun(Class) -> ?MAILBOX:cast(mail, Pid, hello, [{class, Class}]) end
    ],
    Sent = [until_refused(fun() -> Send(sheddable) end) || Send <- Sends],
    ?assertEqual([5, 0], [length(Oks) || Oks <- Sent]),
    ?assertMatch({error, {capacity_exceeded, #{reason := class, depth := 5}}}, (hd(Sends))(sheddable)),
    ?assertMatch(
        {error, {capacity_exceeded, #{reason := class}}}, ?LIMITS:check_capacity(mail, Pid, #{class => sheddable})
    ),
    ?assertMatch(
        {error, {capacity_exceeded, #{reason := class}}}, ?MAILBOX:send_any(mail, [Pid], hello, #{class => sheddable})
    ),
    ?assertMatch(
        {error, {capacity_exceeded, #{reason := class}}}, ?MAILBOX:call(mail, Pid, hello, 1000, #{class => sheddable})
    ),
    ?assertEqual(3, length(until_refused(fun() -> (hd(Sends))(sheddable_plus) end))),
    ?assertEqual(2, length(until_refused(fun() -> ?MAILBOX:send(mail, Pid, hello) end))),
    ?assertMatch({error, {capacity_exceeded, #{reason := full}}}, (hd(Sends))(sheddable)).

a_permit_and_one_of_several() ->
    ok = ?LIMITS:set_limit(session, 2),
    ok = ?LIMITS:set_reserve(session, #{sheddable => 50}),
    {ok, Permit} = ?LIMITS:acquire(session, a, #{class => sheddable}),
    {error, {capacity_exceeded, #{reason := class}}} = ?LIMITS:acquire(session, a, #{class => sheddable}),
    Any = fun(Class) -> ?LIMITS:try_enqueue_any(session, [a, b], #{class => Class}) end,
    ?assertEqual({ok, b}, Any(sheddable)),
    ?assertMatch({error, {capacity_exceeded, #{reason := class}}}, Any(sheddable)),
    ?assertMatch({ok, _}, Any(critical)),
    ?assertEqual(ok, ?LIMITS:release(Permit)).

%% More has to drain before there is room for it.
a_lower_class_waits_longer() ->
    ok = ?LIMITS:set_limit(session, 1000),
    [ok = ?LIMITS:record_enqueue(session, a) || _ <- lists:seq(1, 1100)],
    [ok = ?LIMITS:record_dequeue(session, a) || _ <- lists:seq(1, 100)],
    ok = ?LIMITS:set_reserve(session, #{sheddable => 90}),
    After = fun(Class) ->
        {error, {capacity_exceeded, #{retry_after_ms := Ms}}} = ?LIMITS:check_capacity(session, a, #{class => Class}),
        Ms
    end,
    eventually(fun() -> After(critical) < 1000 end),
    ?assert(After(sheddable) > After(critical)).

nothing_is_kept_of_no_limit() ->
    ok = ?LIMITS:set_limit(session, infinity),
    ok = ?LIMITS:set_reserve(session, #{critical => 100}),
    ?assertEqual([ok || _ <- ?CLASSES], [?LIMITS:try_enqueue(session, a, #{class => Class}) || Class <- ?CLASSES]).

switched_off_nothing_is_refused() ->
    ok = ?LIMITS:set_reserve(session, #{critical => 100}),
    ?assertMatch({error, _}, ?LIMITS:try_enqueue(session, a)),
    ok = ?LIMITS:set_enabled(false),
    ?assertEqual(ok, ?LIMITS:try_enqueue(session, a)).

it_is_of_its_role_alone() ->
    None = #{critical => 0, sheddable_plus => 0, sheddable => 0},
    ok = ?LIMITS:set_reserve(default, #{critical => 100}),
    ok = ?LIMITS:record_enqueue(new, a),
    ?assertEqual([None, None], [?LIMITS:get_reserve(Role) || Role <- [new, unknown]]),
    ?assertEqual(ok, ?LIMITS:try_enqueue(new, a)),
    ?assertMatch({error, {capacity_exceeded, #{reason := class}}}, ?LIMITS:try_enqueue(default, a)),
    %% A role that is not known is made.
    ok = ?LIMITS:set_reserve(newer, #{sheddable => 100}),
    ?assertMatch(#{owners := 0}, ?LIMITS:get_role_stats(newer)),
    ?assertMatch({error, {capacity_exceeded, _}}, ?LIMITS:try_enqueue(newer, a, #{class => sheddable})).

what_is_none_is_said() ->
    Falls = " is not a map of percentages that fall from no class to the one below it: "
        "critical, sheddable_plus, sheddable",
    [
        ?assertEqual(Said, said(Reserve))
     || {Reserve, Said} <- [
            {#{critical => 101}, "critical: 101 is not an integer from 0 to 100"},
            {#{critical => -1}, "critical: -1 is not an integer from 0 to 100"},
            {#{sheddable => 1.5}, "sheddable: 1.5 is not an integer from 0 to 100"},
            {#{sheddable => 1 bsl 70}, "sheddable: 1180591620717411303424 is not an integer from 0 to 100"},
            {#{critical => 2, sheddable => 1}, "#{critical => 2,sheddable => 1}" ++ Falls},
            {#{critical => 2, sheddable_plus => 1}, "#{critical => 2,sheddable_plus => 1}" ++ Falls},
            {#{critical_plus => 1},
                "critical_plus: 1 is not one of critical, sheddable_plus, sheddable; did you mean critical?"},
            {50, "50 is not a map of options"},
            {[a | b], "[a|b] is not a map of options"}
        ]
    ],
    ?assertEqual(#{critical => 0, sheddable_plus => 0, sheddable => 0}, ?LIMITS:get_reserve(session)),
    ?assertError(badarg, ?LIMITS:set_reserve("session", #{})),
    ?assertError(badarg, ?LIMITS:set_reserve("session", #{critical => 101})),
    ?assertError(badarg, ?LIMITS:get_reserve("session")),
    [_ | _] = [ok = ?LIMITS:set_reserve(role(N), #{}) || N <- lists:seq(1, 1024 - map_size(?LIMITS:get_all_limits()))],
    ?assertError(system_limit, ?LIMITS:set_reserve(one_more, #{})).

said(Reserve) ->
    try ?LIMITS:set_reserve(session, Reserve)
    catch
        error:badarg:Stack ->
            #{2 := Text} = erlmcp_native_error:format_error(badarg, Stack),
            unicode:characters_to_list(Text)
    end.

role(N) -> list_to_atom("reserve_role" ++ integer_to_list(N)).

it_survives_a_crash() ->
    ok = ?LIMITS:set_reserve(session, #{sheddable => 50}),
    crash(),
    ?assertMatch(#{sheddable := 50}, ?LIMITS:get_reserve(session)),
    {ok, Pid} = ?LIMITS:start_link(),
    ?assertMatch(#{sheddable := 50}, ?LIMITS:get_reserve(session)),
    ok = gen_server:stop(Pid),
    {ok, Again} = ?LIMITS:start_link(),
    unlink(Again),
    ?assertMatch(#{sheddable := 0}, ?LIMITS:get_reserve(session)).

%% What an operator is told of an owner is what the next call meets that names no class.
why_knows_it() ->
    ok = ?LIMITS:set_limit(session, 10),
    ok = ?LIMITS:set_reserve(session, #{critical => 50}),
    [ok = ?LIMITS:record_enqueue(session, a) || _ <- "abc"],
    ?assertEqual({room, 2}, erlmcp_native:limits_outlook(own, session, 3)),
    ?assertMatch({stuck, _}, erlmcp_native:limits_outlook(own, session, 5)).

refusals_are_counted_by_class_and_reason() ->
    ok = ?LIMITS:set_limit(session, 2),
    ok = ?LIMITS:set_reserve(session, #{sheddable => 50}),
    Counted = fun() ->
        [{#{kind := counter}, Samples}] = lists:filter(fun is_by_reason/1, erlmcp_native_metrics:collect()),
        Samples
    end,
    _ = [?LIMITS:try_enqueue(session, a, #{class => sheddable}) || _ <- "abc"],
    ?assertEqual([{[~"critical", ~"full"], 0}, {[~"sheddable", ~"class"], 2}], Counted()),
    _ = [?LIMITS:try_enqueue(session, a) || _ <- "abc"],
    _ = [?LIMITS:check_capacity(session, a, #{class => Class}) || Class <- ?CLASSES],
    ?assertEqual(
        [
            {[~"critical", ~"full"], 3},
            {[~"critical_plus", ~"full"], 1},
            {[~"sheddable", ~"class"], 2},
            {[~"sheddable", ~"full"], 1},
            {[~"sheddable_plus", ~"full"], 1}
        ],
        Counted()
    ),
    ?assertEqual([8], stats([total_rejected], session)),
    [{#{kind := counter}, ByClass}] = lists:filter(fun is_by_class/1, erlmcp_native_metrics:collect()),
    ?assertEqual(
        [
            {[~"session", ~"critical"], 3},
            {[~"session", ~"critical_plus"], 1},
            {[~"session", ~"sheddable"], 3},
            {[~"session", ~"sheddable_plus"], 1}
        ],
        [Sample || {[~"session", _], _} = Sample <- ByClass]
    ),
    #{roles := Rows} = erlmcp_native_http_json:summary(erlmcp_native_metrics:snapshot()),
    [Refused] = [By || #{role := ~"session", refused_by := By} <- Rows],
    ?assert(lists:member(#{class => sheddable, reason => class, refused => 2}, Refused)),
    ok = ?LIMITS:reset_stats(session),
    %% So that it only grows, whichever role's numbers are reset.
    ?assertMatch([{[~"critical", ~"full"], 3} | _], Counted()).

is_by_class({#{name := Name}, _}) -> Name =:= ~"erlmcp_queue_refusals_by_class".

is_by_reason({#{name := Name}, _}) -> Name =:= ~"erlmcp_queue_refusals_by_reason".

a_client_is_told_why() ->
    ok = ?LIMITS:set_reserve(session, #{sheddable => 100}),
    {error, {capacity_exceeded, Stats}} = ?LIMITS:try_enqueue(session, a, #{class => sheddable}),
    Said = fun(Reason) ->
        #{~"error" := #{~"message" := Message, ~"data" := #{~"reason" := Text}}} =
            json:decode(iolist_to_binary(json:encode(?LIMITS:to_json_rpc_error(1, Stats#{reason := Reason})))),
        ?assertEqual(Text, atom_to_binary(Reason)),
        Message
    end,
    ?assertEqual(~"Too many requests: what is left of the queue is reserved", Said(maps:get(reason, Stats))),
    ?assertEqual(6, length(lists:usort([Said(Reason) || Reason <- [node, full, class, deadline, role, bytes]]))).

no_class_passes_its_share_whoever_calls() ->
    ok = ?LIMITS:set_limit(session, 1000),
    ok = ?LIMITS:set_reserve(session, #{critical => 10, sheddable_plus => 30, sheddable => 70}),
    Most = #{critical_plus => 1000, critical => 900, sheddable_plus => 700, sheddable => 300},
    Worker = fun(N) ->
        [
            begin
                Class = lists:nth(1 + (N + Turn) rem 4, ?CLASSES),
                case ?LIMITS:try_enqueue(session, a, #{class => Class}) of
                    ok -> {Class, admitted};
                    {error, {capacity_exceeded, #{depth := Depth}}} -> {Class, Depth}
                end
            end
         || Turn <- lists:seq(1, 1000)
        ]
    end,
    Outcomes = lists:append(parallel(8, Worker)),
    %% Of each class fewer than its share were admitted, since others were, too; and who was refused was so there.
    [
        ?assert(length([1 || {Is, admitted} <- Outcomes, Is =:= Class]) =< Share, Class)
     || Class := Share <- Most
    ],
    ?assertEqual([], [{Class, Depth} || {Class, Depth} <- Outcomes, is_integer(Depth), Depth < maps:get(Class, Most)]),
    ?assertEqual(1000, ?LIMITS:get_queue_depth(session, a)).

it_is_configured() ->
    with_env(#{session => #{sheddable => 50}, new => [{critical, 10}]}, fun() ->
        ?assertEqual(
            [
                #{critical => 0, sheddable_plus => 0, sheddable => 50},
                #{critical => 10, sheddable_plus => 10, sheddable => 10}
            ],
            [?LIMITS:get_reserve(Role) || Role <- [session, new]]
        ),
        ok = ?LIMITS:set_reserve(session, #{sheddable => 20}),
        Changed = #{session => #{sheddable => 70}, task_worker => #{sheddable => 5}},
        ok = application:set_env(erlmcp_native, reserve, Changed),
        ok = erlmcp_limits_server:reload_config(),
        %% What was set by hand wins.
        Kept = [maps:get(sheddable, ?LIMITS:get_reserve(Role)) || Role <- [session, task_worker, new]],
        ?assertEqual([20, 5, 0], Kept)
    end).

a_wrong_one_is_told() ->
    [
        with_env(Wrong, fun(Answer) -> ?assertMatch({error, {bad_config, #{key := Key}}}, Answer) end, fun() -> ok end)
     || {Wrong, Key} <- [
            {#{session => #{sheddable => 101}}, [reserve, session, sheddable]},
            {#{session => #{critical => 2, sheddable => 1}}, [reserve, session]},
            {#{session => 1}, [reserve, session]},
            {#{"session" => #{}}, [reserve, "session"]},
            {1, reserve}
        ]
    ].

with_env(Reserve, Test) ->
    with_env(Reserve, fun({ok, Pid}) -> unlink(Pid) end, Test).

with_env(Reserve, Started, Test) ->
    ok = application:set_env(erlmcp_native, reserve, Reserve),
    Trapped = process_flag(trap_exit, true),
    try
        _ = Started(?LIMITS:start_link()),
        Test()
    after
        _ = process_flag(trap_exit, Trapped),
        ok = application:unset_env(erlmcp_native, reserve),
        [ok = gen_server:stop(Pid) || Pid <- [whereis(?LIMITS)], is_pid(Pid)]
    end.
