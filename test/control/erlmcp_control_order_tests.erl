%% Which of the messages that wait goes first, and how many wait.
-module(erlmcp_control_order_tests).

-include_lib("eunit/include/eunit.hrl").

-define(P, erlmcp_control_plane).
-define(C, erlmcp_control_test_lib).
-define(LIB, erlmcp_native_test_lib).
-define(LANES, [circuit_breaker, health_check, drain_session, cancel_task]).

order_test_() ->
    ?C:with_plane([
        fun strict_order_and_fifo/0,
        fun ten_thousand_cancellations_and_a_breaker/0,
        fun four_types_of_waiting_senders/0,
        fun order_without_the_priority_lane/0,
        fun ahead_of_stray_messages/0,
        fun the_lane_may_change_while_messages_wait/0,
        fun new_messages_overtake_between_two_runs/0
    ]).

queued_test_() ->
    ?C:with_plane([
        fun queued_per_type/0,
        fun queued_counts_waiting_senders/0,
        fun queued_after_a_crash/0,
        fun queued_after_a_death/0,
        fun queued_after_replacing_and_unregistering/0,
        fun queued_survives_a_reset/0,
        fun queued_is_zero_after_senders_were_killed/0
    ]).

property_test_() ->
    {setup, fun ?C:start/0, fun ?C:stop/1,
        {timeout, 60,
            ?_assert(
                proper:quickcheck(prop_erlmcp_control_plane:prop_order(), [{to_file, user}, quiet, {numtests, 60}])
            )}}.

%% Casts all these while the handler is at another one; returns them as they were run.
run_of(Messages) ->
    ?C:gate(a),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, gate)),
    {Pid, _} = ?C:running(a),
    [ok = ?P:cast_priority(a, Message) || Message <- Messages],
    ?C:go(Pid),
    [
        begin
            {Pid, Message} = ?C:running(a),
            ?C:go(Pid),
            Message
        end
     || _ <- Messages
    ].

strict_order_and_fifo() ->
    Mixed = [?C:type(Type, N) || N <- lists:seq(1, 50), Type <- lists:reverse(?LANES)],
    Sorted = [?C:type(Type, N) || Type <- ?LANES, N <- lists:seq(1, 50)],
    ?assertEqual(Sorted, run_of(Mixed)),
    ?assertEqual([], ?C:mailbox(self())).

ten_thousand_cancellations_and_a_breaker() ->
    Test = self(),
    Gate = ?C:gate_fun(a),
    ok = ?P:register_component(a, fun
        ({control, _, #{task_id := gate}} = Message) -> Gate(Message);
        ({control, Type, _}) -> Test ! {Type, ?C:queued(a)}
    end),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, gate)),
    {Pid, _} = ?C:running(a),
    [ok = ?P:cast_priority(a, ?C:type(cancel_task, N)) || N <- lists:seq(1, 10000)],
    Breaker = ?C:async(fun() -> ?P:send_circuit_breaker(a, open) end),
    ?C:waits_in(Pid, 10001),
    ?assertMatch(#{circuit_breaker := 1, cancel_task := 10000}, ?C:queued(a)),
    ?C:go(Pid),
    receive {_, _} = First -> ?assertMatch({circuit_breaker, #{cancel_task := 10000}}, First) end,
    ?assertMatch({ok, _}, ?C:result(Breaker)).

four_types_of_waiting_senders() ->
    ?C:gate(a),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, gate)),
    {Pid, _} = ?C:running(a),
    Senders = [
        begin
            Sender = ?C:async(fun() -> ?P:send_priority(a, ?C:type(Type, N)) end),
            ?C:waits_in(Pid, N),
            {Type, Sender}
        end
     || {N, Type} <- lists:enumerate(lists:reverse(?LANES))
    ],
    ?C:go(Pid),
    [
        begin
            {Pid, {control, Type, _}} = ?C:running(a),
            ?C:go(Pid, {error, Type}),
            ?assertEqual({error, Type}, ?C:result(proplists:get_value(Type, Senders)))
        end
     || Type <- ?LANES
    ].

order_without_the_priority_lane() ->
    ok = ?P:set_enabled(false),
    strict_order_and_fifo().

%% Nothing else is sent to a handler's process. If somebody does, it waits for nothing.
ahead_of_stray_messages() ->
    ?C:gate(a),
    Pid = ?C:idle_pid(a),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, gate)),
    {Pid, _} = ?C:running(a),
    [Pid ! {stray, N} || N <- lists:seq(1, 10000)],
    Sender = ?C:async(fun() -> ?P:send_cancel_task(a, 1) end),
    ?C:waits_in(Pid, 10001),
    ?assertMatch([{control_request, _, _, _, _, _, _} | _], ?C:mailbox(Pid)),
    ?C:go(Pid),
    {Pid, _} = ?C:running(a),
    ?C:go(Pid),
    ?assertMatch({ok, _}, ?C:result(Sender)),
    ?assertEqual([], ?C:mailbox(Pid)).

the_lane_may_change_while_messages_wait() ->
    ?C:gate(a),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, gate)),
    {Pid, _} = ?C:running(a),
    Messages = [?C:type(Type, N) || N <- lists:seq(1, 4), Type <- ?LANES],
    [
        begin
            ok = ?P:set_enabled(N rem 3 =:= 0),
            ok = ?P:cast_priority(a, Message)
        end
     || {N, Message} <- lists:enumerate(Messages)
    ],
    ?C:go(Pid),
    Run = [begin {Pid, M} = ?C:running(a), ?C:go(Pid), M end || _ <- Messages],
    ?assertEqual([T || T <- ?LANES, _ <- lists:seq(1, 4)], [T || {control, T, _} <- Run]),
    ?assertEqual(lists:sort(Messages), lists:sort(Run)).

new_messages_overtake_between_two_runs() ->
    ?C:gate(a),
    [ok = ?P:cast_priority(a, ?C:type(drain_session, N)) || N <- [1, 2, 3]],
    {Pid, {control, drain_session, #{session_id := 1}}} = ?C:running(a),
    ok = ?P:cast_priority(a, ?C:type(health_check, a)),
    ?C:go(Pid),
    {Pid, {control, health_check, _}} = ?C:running(a),
    ok = ?P:cast_priority(a, ?C:type(circuit_breaker, a)),
    ok = ?P:cast_priority(a, ?C:type(health_check, a)),
    ?C:go(Pid),
    Rest = [begin {Pid, {control, T, _}} = ?C:running(a), ?C:go(Pid), T end || _ <- lists:seq(1, 4)],
    ?assertEqual([circuit_breaker, health_check, drain_session, drain_session], Rest).

gated_with(Counts) ->
    ?C:gate(a),
    ok = ?P:cast_priority(a, ?C:type(circuit_breaker, gate)),
    {Pid, _} = ?C:running(a),
    [ok = ?P:cast_priority(a, ?C:type(Type, N)) || Type := Count <- Counts, N <- lists:seq(1, Count)],
    ?assertEqual(Counts, ?C:queued(a)),
    ?assertEqual(Counts, ?C:stat(queued)),
    Pid.

queued_per_type() ->
    Pid = gated_with(#{circuit_breaker => 3, health_check => 5, drain_session => 7, cancel_task => 11}),
    ?C:go(Pid),
    [begin {Pid, _} = ?C:running(a), ?C:go(Pid) end || _ <- lists:seq(1, 3 + 5 + 7 + 11)],
    ?assertEqual(?C:queued_all(0), ?C:queued(a)),
    ?assertEqual(27, ?C:stat(total_delivered)).

queued_counts_waiting_senders() ->
    Pid = gated_with(?C:queued_all(0)),
    Senders = [?C:async(fun() -> ?P:send_cancel_task(a, N) end) || N <- lists:seq(1, 20)],
    ok = ?LIB:eventually(fun() -> maps:get(cancel_task, ?C:queued(a)) =:= 20 end),
    ?C:go(Pid),
    [begin {Pid, _} = ?C:running(a), ?C:go(Pid) end || _ <- Senders],
    [?assertMatch({ok, _}, ?C:result(Sender)) || Sender <- Senders],
    ?assertEqual(?C:queued_all(0), ?C:queued(a)).

queued_after_a_crash() ->
    Pid = gated_with(?C:queued_all(2)),
    ?C:go(Pid, fun() -> error(meant) end),
    [begin {Pid, _} = ?C:running(a), ?C:go(Pid, fun() -> throw(meant) end) end || _ <- lists:seq(1, 8)],
    ?assertEqual(?C:queued_all(0), ?C:queued(a)).

queued_after_a_death() ->
    Pid = gated_with(?C:queued_all(9)),
    ?LIB:kill(Pid),
    ok = ?LIB:eventually(fun() -> ?C:queued(a) =:= ?C:queued_all(0) end),
    New = ?C:idle_pid(a),
    ?assertNotEqual(Pid, New),
    ?assertEqual(?C:queued_all(0), ?C:queued(a)).

queued_after_replacing_and_unregistering() ->
    Pid = gated_with(?C:queued_all(3)),
    Test = self(),
    ok = ?P:register_component(a, fun(M) -> Test ! {new, M} end),
    ?assertEqual(?C:queued_all(3), ?C:queued(a)),
    ?C:go(Pid),
    [receive {new, _} -> ok end || _ <- lists:seq(1, 12)],
    ?assertEqual(?C:queued_all(0), ?C:queued(a)),
    Again = gated_with(?C:queued_all(3)),
    ok = ?P:unregister_component(a),
    ?assertEqual(?C:queued_all(0), ?C:stat(queued)),
    ?C:gate(a),
    ?assertEqual(?C:queued_all(0), ?C:queued(a)),
    ?C:go(Again),
    ?C:down(Again),
    ?assertEqual(?C:queued_all(0), ?C:queued(a)).

queued_survives_a_reset() ->
    Pid = gated_with(?C:queued_all(3)),
    ok = ?P:reset_stats(),
    ?assertEqual(?C:queued_all(3), ?C:queued(a)),
    ?C:go(Pid),
    [begin {Pid, _} = ?C:running(a), ?C:go(Pid) end || _ <- lists:seq(1, 12)],
    ?assertEqual(?C:queued_all(0), ?C:queued(a)).

%% Senders are killed wherever they are: looking the route up, sending, waiting.
queued_is_zero_after_senders_were_killed() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    Sender = fun() -> (fun Loop() -> _ = ?P:send_cancel_task(a, 1), Loop() end)() end,
    [
        begin
            Pids = [spawn(Sender) || _ <- [1, 2, 3]],
            _ = [erlang:yield() || _ <- lists:seq(1, N rem 7)],
            [?LIB:kill(Pid) || Pid <- Pids]
        end
     || N <- lists:seq(1, 2000)
    ],
    {ok, _} = ?P:send_cancel_task(a, last),
    %% The heap of one that was killed, and with it its message's place, goes a little later than its 'DOWN'.
    ok = ?LIB:eventually(fun() -> ?C:queued(a) =:= ?C:queued_all(0) end).
