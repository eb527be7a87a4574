%% How many messages may wait, how many components there may be, and who gives a place back when its holder is killed.
-module(erlmcp_control_room_tests).

-include_lib("eunit/include/eunit.hrl").

-define(P, erlmcp_control_plane).
-define(C, erlmcp_control_test_lib).
-define(LIB, erlmcp_native_test_lib).
-define(MOST, 65536).

place_test_() ->
    ?C:with_plane([
        fun places_go_with_a_sender_that_is_killed_before_it_sends/0,
        fun places_go_with_senders_that_are_killed_anywhere/0,
        fun places_go_with_senders_that_are_killed_while_the_handler_is_at_work/0,
        fun a_place_is_given_back_once/0,
        fun registered_again_it_has_what_waits_and_no_more/0,
        fun no_more_wait_than_there_are_places/0
    ]).

alias_test_() ->
    ?C:with_plane([
        fun an_alias_takes_no_more_than_a_handler/0,
        fun a_flood_into_an_alias_keeps_no_other_type_out/0,
        fun an_alias_that_is_emptied_has_room_again/0,
        fun an_answer_makes_room_behind_a_long_queue/0,
        fun what_is_in_an_alias_is_no_concern_of_its_successor/0,
        fun senders_that_are_killed_fill_no_alias/0
    ]).

components_test_() ->
    ?C:with_plane([fun one_component_too_many/0]).

%% As many senders as there are places, each killed between its route and its send; in one process.
places_go_with_a_sender_that_is_killed_before_it_sends() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    Holder = holder(a, cancel_task, ?MOST),
    ?assertEqual((?C:queued_all(0))#{cancel_task := ?MOST}, ?C:queued(a)),
    ?assertEqual({error, queue_full}, ?P:send_cancel_task(a, 1)),
    ?LIB:kill(Holder),
    ok = nothing_waits(a),
    ?assertMatch({ok, _}, ?P:send_cancel_task(a, 1)).

%% A process that has taken N routes and sends nothing.
holder(Id, Type, N) ->
    Test = self(),
    Pid = spawn(fun() ->
        Routes = [{_, _, _, _, _} = erlmcp_native:control_route(Id, Type) || _ <- lists:seq(1, N)],
        Test ! {routed, self()},
        receive
            never -> Routes
        end
    end),
    receive
        {routed, Pid} -> Pid
    end.

%% A sender's heap, and with it the places in it, goes a little later than others hear of its death.
nothing_waits(Id) ->
    ?LIB:eventually(fun() -> ?C:queued(Id) =:= ?C:queued_all(0) end).

places_go_with_senders_that_are_killed_anywhere() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    kill_senders(fun Loop() -> _ = ?P:cast_priority(a, ?C:type(cancel_task, 1)), Loop() end),
    kill_senders(fun Loop() -> _ = ?P:send_health_check(a, full), Loop() end),
    {ok, _} = ?P:send_circuit_breaker(a, query),
    ok = nothing_waits(a).

kill_senders(Sender) ->
    [
        begin
            Pids = [spawn(Sender) || _ <- lists:seq(1, 10)],
            _ = [erlang:yield() || _ <- lists:seq(1, N rem 7)],
            [exit(Pid, kill) || Pid <- Pids],
            [?C:down(Pid) || Pid <- Pids]
        end
     || N <- lists:seq(1, 100)
    ].

%% What they have sent waits on.
places_go_with_senders_that_are_killed_while_the_handler_is_at_work() ->
    ?C:gate(a),
    ok = ?P:cast_priority(a, ?C:type(circuit_breaker, gate)),
    {Pid, _} = ?C:running(a),
    kill_senders(fun() -> [ok = ?P:cast_priority(a, ?C:type(cancel_task, N)) || N <- lists:seq(1, 5)] end),
    ok = ?LIB:eventually(fun() ->
        {message_queue_len, Waits} = process_info(Pid, message_queue_len),
        ?C:queued(a) =:= (?C:queued_all(0))#{cancel_task := Waits}
    end),
    ?LIB:kill(Pid),
    ok = nothing_waits(a).

a_place_is_given_back_once() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    {{handler, First}, _, _, _, _} = erlmcp_native:control_route(a, drain_session),
    {{handler, _} = Second, _, _, _, _} = erlmcp_native:control_route(a, drain_session),
    ok = erlmcp_native:control_taken(a, First, skipped),
    ok = erlmcp_native:control_taken(a, First, skipped),
    ?assertEqual((?C:queued_all(0))#{drain_session := 1}, ?C:queued(a)),
    ?assertEqual(bad_place, erlmcp_native:control_taken(a, make_ref(), skipped)),
    ?assertMatch({handler, _}, Second).

%% The process stays, and with it what truly waits.
registered_again_it_has_what_waits_and_no_more() ->
    ?C:gate(a),
    ok = ?P:cast_priority(a, ?C:type(circuit_breaker, gate)),
    {Pid, _} = ?C:running(a),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, 1)),
    Holder = holder(a, cancel_task, 10),
    Test = self(),
    ok = ?P:register_component(a, fun(Message) -> Test ! {new, Message}, ok end),
    ?assertEqual((?C:queued_all(0))#{cancel_task := 11}, ?C:queued(a)),
    ?LIB:kill(Holder),
    ok = ?LIB:eventually(fun() -> ?C:queued(a) =:= (?C:queued_all(0))#{cancel_task := 1} end),
    ?C:go(Pid),
    receive {new, {control, cancel_task, _}} -> ok end,
    ok = nothing_waits(a).

%% However many come at once.
no_more_wait_than_there_are_places() ->
    ?C:gate(a),
    ok = ?P:cast_priority(a, ?C:type(circuit_breaker, gate)),
    {Pid, _} = ?C:running(a),
    Casts = ?LIB:parallel(8, fun(I) ->
        length([N || N <- lists:seq(1, 10000), ok =:= ?P:cast_priority(a, ?C:type(cancel_task, {I, N}))])
    end),
    ?assertEqual(?MOST, lists:sum(Casts)),
    ?assertEqual({error, queue_full}, ?P:send_cancel_task(a, 1)),
    ok = ?P:cast_priority(a, ?C:type(health_check, 1)),
    ?LIB:kill(Pid),
    ok = nothing_waits(a).

%% A component's own process that takes a message when it is told to.
server(Id) ->
    Test = self(),
    Pid = spawn(fun() ->
        ok = ?P:register_component(Id, #{alias => erlmcp_priority:create_priority_alias()}),
        Test ! {ready, self()},
        (fun Loop() -> receive {run, Fun} -> Fun(), Loop() end end)()
    end),
    receive
        {ready, Pid} -> Pid
    end.

run(Pid, Fun) ->
    Test = self(),
    Pid ! {run, fun() -> Test ! {ran, Fun()} end},
    receive
        {ran, Result} -> Result
    end.

cast(Id, Type, N) ->
    length([ok || I <- lists:seq(1, N), ok =:= ?P:cast_priority(Id, ?C:type(Type, I))]).

an_alias_takes_no_more_than_a_handler() ->
    Pid = server(a),
    ?assertEqual(?MOST, cast(a, cancel_task, 200000)),
    ?assertEqual({error, queue_full}, ?P:send_cancel_task(a, 1)),
    ?assertEqual({message_queue_len, ?MOST}, process_info(Pid, message_queue_len)),
    ?LIB:kill(Pid).

a_flood_into_an_alias_keeps_no_other_type_out() ->
    Pid = server(a),
    Floods = ?LIB:parallel(4, fun(_) -> cast(a, cancel_task, 20000) end),
    %% A few more where several find room for one.
    ?assert(lists:sum(Floods) >= ?MOST andalso lists:sum(Floods) < ?MOST + 4),
    ?assertEqual(1, cast(a, circuit_breaker, 1)),
    ?LIB:kill(Pid).

take_all() ->
    receive
        {priority, _, _} -> take_all()
    after 0 -> ok
    end.

an_alias_that_is_emptied_has_room_again() ->
    Pid = server(a),
    [
        begin
            ?assertEqual(?MOST, cast(a, cancel_task, ?MOST)),
            ?assertEqual({error, queue_full}, ?P:cast_priority(a, ?C:type(cancel_task, 1))),
            ok = run(Pid, fun take_all/0)
        end
     || _ <- [1, 2, 3]
    ],
    ?LIB:kill(Pid).

%% Its mailbox alone would not tell: it is long with what is none of ours.
an_answer_makes_room_behind_a_long_queue() ->
    Pid = server(a),
    [Pid ! ordinary || _ <- lists:seq(1, ?MOST)],
    ?assertEqual(?MOST - 1, cast(a, cancel_task, ?MOST - 1)),
    Sender = ?C:async(fun() -> ?P:send_cancel_task(a, last) end),
    ?C:waits_in(Pid, 2 * ?MOST),
    ?assertEqual({error, queue_full}, ?P:cast_priority(a, ?C:type(cancel_task, 1))),
    ok = run(Pid, fun Take() ->
        receive
            {priority, none, _} -> Take();
            {priority, From, _} -> ?P:reply(From, ok)
        end
    end),
    ?assertMatch({ok, _}, ?C:result(Sender)),
    ?assertEqual(?MOST, cast(a, cancel_task, ?MOST + 1)),
    ?LIB:kill(Pid).

what_is_in_an_alias_is_no_concern_of_its_successor() ->
    Pid = server(a),
    ?assertEqual(?MOST, cast(a, cancel_task, ?MOST)),
    New = server(a),
    ?assertEqual(?MOST, cast(a, cancel_task, ?MOST + 1)),
    [?LIB:kill(Server) || Server <- [Pid, New]].

senders_that_are_killed_fill_no_alias() ->
    Pid = server(a),
    ?LIB:kill(holder(a, cancel_task, ?MOST)),
    ?assertEqual(?MOST, cast(a, cancel_task, ?MOST + 1)),
    ?LIB:kill(Pid).

one_component_too_many() ->
    Before = erlang:system_info(process_count),
    Ids = [list_to_atom("component_" ++ integer_to_list(N)) || N <- lists:seq(1, 1025)],
    {Fit, [More]} = lists:split(1024, Ids),
    [ok = ?P:register_component(Id, fun(_) -> ok end) || Id <- Fit],
    Processes = erlang:system_info(process_count),
    ?assertEqual({error, too_many_components}, ?P:register_component(More, fun(_) -> ok end)),
    Alias = erlmcp_priority:create_priority_alias(),
    ?assertEqual({error, too_many_components}, ?P:register_component(More, #{alias => Alias})),
    ok = ?LIB:eventually(fun() -> erlang:system_info(process_count) =< Processes end),
    ?assertEqual({error, component_not_registered}, ?P:send_cancel_task(More, 1)),
    %% Those there are can be replaced, and their processes too.
    ok = ?P:register_component(hd(Fit), fun(_) -> {error, new} end),
    ?assertEqual({error, new}, ?P:send_cancel_task(hd(Fit), 1)),
    ?LIB:kill(element(2, erlmcp_native:control_route(hd(Fit), cancel_task))),
    ?assertEqual({error, new}, ?P:send_cancel_task(hd(Fit), 1)),
    %% Over a crash of the service, too.
    ?C:crash(),
    ok = ?C:restart(),
    ?assertEqual({error, too_many_components}, ?P:register_component(More, fun(_) -> ok end)),
    ok = ?P:unregister_component(hd(Fit)),
    ok = ?P:register_component(More, fun(_) -> ok end),
    [ok = ?P:unregister_component(Id) || Id <- Ids],
    ok = ?LIB:eventually(fun() -> erlang:system_info(process_count) =< Before end).
