%% Handlers that raise, die, are killed, or are taken away while somebody waits.
-module(erlmcp_control_crash_tests).

-include_lib("eunit/include/eunit.hrl").

-define(P, erlmcp_control_plane).
-define(C, erlmcp_control_test_lib).
-define(LIB, erlmcp_native_test_lib).
-define(NOT_REGISTERED, {error, component_not_registered}).

crash_test_() ->
    ?C:with_plane([
        fun what_a_handler_raises/0,
        fun a_crash_is_logged/0,
        fun a_death_is_logged/0,
        fun a_handler_is_killed/0,
        fun the_waiting_are_told/0,
        fun a_linked_process_crashes/0,
        fun a_linked_process_shuts_down/0,
        fun a_handler_ends_its_own_process/0,
        run_once(away),
        run_once(shutdown),
        run_once(normal),
        run_once(noproc),
        fun killed_while_idle/0,
        fun to_one_that_has_just_died/0,
        fun to_one_that_dies_again_and_again/0
    ]).

unregister_test_() ->
    ?C:with_plane([
        fun unregister_while_waiting/0,
        fun unregister_while_hanging/0,
        fun reregister_while_waiting/0,
        fun handler_to_alias_while_waiting/0,
        fun handler_alias_handler/0,
        fun callers_killed_while_waiting/0,
        fun a_dead_callers_message_is_run/0
    ]).

usable(Id) ->
    ok = ?P:register_component(Id, fun(_) -> ok end),
    ?assertMatch({ok, _}, ?P:send_circuit_breaker(Id, query)),
    ?assertEqual(?C:queued_all(0), ?C:queued(Id)).

what_a_handler_raises() ->
    [
        begin
            ok = ?P:register_component(a, Fun),
            ?assertEqual({error, {handler_crashed, Reason}}, ?P:send_cancel_task(a, 1)),
            ?assertEqual({error, {handler_crashed, Reason}}, ?P:send_cancel_task(a, 1)),
            ?assert(lists:member(a, ?P:components()))
        end
     || {Fun, Reason} <- [
            {fun(_) -> error(oops) end, oops},
            {fun(_) -> throw(ball) end, {nocatch, ball}},
            {fun(_) -> exit(away) end, away},
            {fun(_) -> exit(normal) end, normal},
            {fun(_) -> exit(shutdown) end, shutdown},
            {fun(_) -> exit(noproc) end, noproc},
            {fun(x) -> ok end, function_clause},
            {fun({control, T, _}) -> T + 1 end, badarith},
            {fun(M) -> ok = M end, {badmatch, {control, cancel_task, #{task_id => 1, timeout_ms => 1000}}}},
            {fun(_) -> gen_server:call(nobody_there, x) end, {noproc, {gen_server, call, [nobody_there, x]}}}
        ]
    ],
    ?assertEqual(20, ?C:stat(handler_crashes)),
    ?assertEqual(20, ?C:stat(total_delivered)),
    usable(a).

a_crash_is_logged() ->
    Captured = ?C:capture(),
    try
        ok = ?P:register_component(crashing, fun(_) -> error(meant_to_crash) end),
        {error, _} = ?P:send_cancel_task(crashing, 1),
        {error, Text} = ?C:logged(5000),
        [?assertNotEqual(nomatch, string:find(Text, Part)) || Part <- ["crashing", "meant_to_crash"]],
        ?assertEqual(nothing, ?C:logged(0))
    after
        ?C:release(Captured)
    end.

%% As for a crash: a killed handler, or one that took a linked process's crash.
a_death_is_logged() ->
    ?C:gate(dying),
    Pid = ?C:idle_pid(dying),
    Captured = ?C:capture(),
    try
        ?LIB:kill(Pid),
        {_, Text} = ?C:logged(5000),
        [?assertNotEqual(nomatch, string:find(Text, Part)) || Part <- ["dying", "killed"]]
    after
        ?C:release(Captured)
    end.

a_handler_is_killed() ->
    ?C:gate(a),
    Sender = ?C:async(fun() -> ?P:send_cancel_task(a, 1) end),
    {Pid, _} = ?C:running(a),
    ?LIB:kill(Pid),
    ?assertEqual({error, {handler_crashed, killed}}, ?C:result(Sender)),
    ?assertEqual([a], ?P:components()),
    ?assertNotEqual(Pid, ?C:idle_pid(a)),
    ?assertEqual(1, ?C:stat(handler_crashes)).

the_waiting_are_told() ->
    ?C:gate(a),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, gate)),
    {Pid, _} = ?C:running(a),
    Senders = [?C:async(fun() -> ?P:send_health_check(a, full) end) || _ <- lists:seq(1, 50)],
    ?C:waits_in(Pid, 50),
    ?LIB:kill(Pid),
    [?assertEqual({error, {handler_crashed, killed}}, ?C:result(Sender)) || Sender <- Senders],
    usable(a).

with_linked(Exit) ->
    ok = ?P:register_component(a, fun(_) ->
        spawn_link(fun() -> exit(Exit) end),
        receive after infinity -> ok end
    end),
    Result = ?C:result(?C:async(fun() -> ?P:send_cancel_task(a, 1) end), 2000),
    usable(a),
    Result.

a_linked_process_crashes() ->
    ?assertEqual({error, {handler_crashed, boom}}, with_linked(boom)),
    ?assertEqual({error, {handler_crashed, killed}}, with_linked(killed)).

a_linked_process_shuts_down() ->
    ?assertEqual({error, {handler_crashed, {shutdown, x}}}, with_linked({shutdown, x})),
    ?assertEqual({error, {handler_crashed, shutdown}}, with_linked(shutdown)).

a_handler_ends_its_own_process() ->
    [
        begin
            ok = ?P:register_component(a, fun(_) -> exit(self(), Reason), receive after infinity -> ok end end),
            ?assertEqual({Reason, {error, {handler_crashed, Seen}}}, {Reason, ?P:send_cancel_task(a, 1)}),
            usable(a)
        end
     || {Reason, Seen} <- [{kill, killed}, {away, away}]
    ].

run_once(Reason) ->
    fun() ->
        Runs = counters:new(1, []),
        ok = ?P:register_component(a, #{timeout_ms => 500, handler => fun(_) ->
            counters:add(Runs, 1, 1),
            exit(self(), Reason),
            receive after infinity -> ok end
        end}),
        Result = ?C:result(?C:async(fun() -> ?P:send_cancel_task(a, 1) end)),
        ?assertEqual(1, counters:get(Runs, 1)),
        ?assertEqual({error, {handler_crashed, Reason}}, Result)
    end.

killed_while_idle() ->
    ?C:gate(a),
    Pids = [begin Pid = ?C:idle_pid(a), ?LIB:kill(Pid), Pid end || _ <- lists:seq(1, 20)],
    ?assertEqual(20, length(lists:usort(Pids))),
    usable(a),
    ?assertEqual(20, ?C:stat(handler_crashes)).

to_one_that_has_just_died() ->
    Test = self(),
    ok = ?P:register_component(a, fun(_) -> Test ! {at, self()}, ok end),
    {ok, _} = ?P:send_cancel_task(a, 1),
    lists:foldl(
        fun(_, Pid) ->
            ?LIB:kill(Pid),
            ?assertMatch({ok, _}, ?P:send_cancel_task(a, 1)),
            receive {at, New} -> New end
        end,
        receive {at, First} -> First end,
        lists:seq(1, 500)
    ),
    ?assertEqual(500, ?C:stat(handler_crashes)),
    ?assertEqual(501, ?C:stat(total_delivered)).

%% Every sender gets an answer, and none after its time.
to_one_that_dies_again_and_again() ->
    Test = self(),
    ok = ?P:register_component(a, #{timeout_ms => 2000, handler => fun(_) -> Test ! {at, self()} end}),
    Senders = [
        ?C:async(fun() -> [?P:send_cancel_task(a, N) || N <- lists:seq(1, 300)] end)
     || _ <- lists:seq(1, 4)
    ],
    Killed = (fun Loop(0) -> ok; Loop(N) -> receive {at, Pid} -> exit(Pid, kill), Loop(N - 1) end end)(200),
    ?assertEqual(ok, Killed),
    Results = lists:append([?C:result(Sender) || Sender <- Senders]),
    Odd = [R || R <- Results, element(1, R) =/= ok, R =/= {error, {handler_crashed, killed}}],
    ?assertEqual([], Odd),
    (fun Flush() -> receive {at, _} -> Flush() after 0 -> ok end end)(),
    usable(a).

unregister_while_waiting() ->
    ?C:gate(a),
    Running = ?C:async(fun() -> ?P:send_cancel_task(a, 0) end),
    {Pid, _} = ?C:running(a),
    Waiting = [?C:async(fun() -> ?P:send_cancel_task(a, N) end) || N <- lists:seq(1, 20)],
    ?C:waits_in(Pid, 20),
    ok = ?P:unregister_component(a),
    ?assertEqual(?NOT_REGISTERED, ?P:send_cancel_task(a, 1)),
    ?C:go(Pid, {error, finished}),
    ?assertEqual({error, finished}, ?C:result(Running)),
    [?assertEqual(?NOT_REGISTERED, ?C:result(Sender)) || Sender <- Waiting],
    ?C:down(Pid).

unregister_while_hanging() ->
    ?C:gate(a, #{timeout_ms => 1000}),
    Running = ?C:async(fun() -> ?P:send_cancel_task(a, 0) end),
    {Pid, _} = ?C:running(a),
    Waiting = ?C:async(fun() -> ?P:send_cancel_task(a, 1) end),
    ?C:waits_in(Pid, 1),
    ok = ?P:unregister_component(a),
    ?assertMatch({error, _}, ?C:result(Running)),
    ?assertMatch({error, _}, ?C:result(Waiting)),
    ?C:down(Pid).

reregister_while_waiting() ->
    ?C:gate(a),
    Running = ?C:async(fun() -> ?P:send_cancel_task(a, 0) end),
    {Pid, _} = ?C:running(a),
    Waiting = [?C:async(fun() -> ?P:send_cancel_task(a, N) end) || N <- lists:seq(1, 20)],
    ?C:waits_in(Pid, 20),
    ok = ?P:register_component(a, fun(_) -> {error, new} end),
    ?C:go(Pid, {error, old}),
    ?assertEqual({error, old}, ?C:result(Running)),
    [?assertEqual({error, new}, ?C:result(Sender)) || Sender <- Waiting],
    ?assertEqual(21, ?C:stat(total_delivered)).

handler_to_alias_while_waiting() ->
    ?C:gate(a),
    Running = ?C:async(fun() -> ?P:send_cancel_task(a, 0) end),
    {Pid, _} = ?C:running(a),
    Waiting = ?C:async(fun() -> ?P:send_cancel_task(a, 1) end),
    ?C:waits_in(Pid, 1),
    ok = ?P:register_component(a, #{alias => erlmcp_priority:create_priority_alias()}),
    ?C:go(Pid, {error, old}),
    ?assertEqual({error, old}, ?C:result(Running)),
    ?assertMatch({error, _}, ?C:result(Waiting)),
    ?C:down(Pid).

handler_alias_handler() ->
    Alias = erlmcp_priority:create_priority_alias(),
    [
        begin
            ?C:gate(a),
            Pid = ?C:idle_pid(a),
            ok = ?P:register_component(a, #{alias => Alias}),
            ?C:down(Pid),
            Sender = ?C:async(fun() -> ?P:send_cancel_task(a, 1) end),
            receive {priority, From, {control, cancel_task, _}} -> ok = ?P:reply(From, {error, alias}) end,
            ?assertEqual({error, alias}, ?C:result(Sender))
        end
     || _ <- lists:seq(1, 20)
    ],
    usable(a).

callers_killed_while_waiting() ->
    ?C:gate(a),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, gate)),
    {Pid, _} = ?C:running(a),
    Senders = [?C:async(fun() -> ?P:send_cancel_task(a, N) end) || N <- lists:seq(1, 50)],
    ?C:waits_in(Pid, 50),
    [?LIB:kill(Sender) || {Sender, _} <- Senders],
    [?assertEqual({died, killed}, ?C:result(Sender)) || Sender <- Senders],
    ?C:go(Pid),
    [begin {Pid, _} = ?C:running(a), ?C:go(Pid) end || _ <- Senders],
    usable(a).

a_dead_callers_message_is_run() ->
    ?C:gate(a),
    {Sender, _} = ?C:async(fun() -> ?P:send_cancel_task(a, mine) end),
    {Pid, {control, cancel_task, #{task_id := mine}}} = ?C:running(a),
    ?LIB:kill(Sender),
    ?C:go(Pid),
    ?assertEqual(Pid, ?C:idle_pid(a)).
