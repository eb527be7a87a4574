%% Components that take the messages in their own process.
-module(erlmcp_control_alias_tests).

-include_lib("eunit/include/eunit.hrl").

-define(P, erlmcp_control_plane).
-define(C, erlmcp_control_test_lib).
-define(LIB, erlmcp_native_test_lib).

alias_test_() ->
    ?C:with_plane([
        fun delivery_and_reply/0,
        fun ahead_of_everything/0,
        fun in_order/0,
        fun in_the_ordinary_lane/0,
        fun casts_need_no_reply/0,
        fun late_replies_are_dropped/0,
        fun replies_from_elsewhere/0,
        fun counted_once_answered/0,
        fun slo/0,
        fun its_process_dies_while_a_sender_waits/0,
        fun its_process_ends_normally_while_a_sender_waits/0,
        fun its_process_dies/0,
        fun its_owner_dies/0,
        fun its_alias_is_given_up/0,
        fun from_its_own_process/0,
        fun two_components_of_one_process/0
    ]).

register_self(Id) ->
    register_self(Id, #{}).

register_self(Id, Options) ->
    Alias = erlmcp_priority:create_priority_alias(),
    ok = ?P:register_component(Id, Options#{alias => Alias}).

%% A process with an alias, registered as a component, that does what it is told.
server(Id, Options) ->
    Test = self(),
    {Pid, _} = spawn_monitor(fun() ->
        register_self(Id, Options),
        Test ! ready,
        (fun Loop() -> receive {run, Fun} -> Fun(), Loop() end end)()
    end),
    receive ready -> Pid end.

next() ->
    receive {priority, From, Message} -> {From, Message} after 5000 -> error(nothing) end.

delivery_and_reply() ->
    register_self(a),
    [
        begin
            Sender = ?C:async(fun() -> ?P:send_cancel_task(a, 7) end),
            {From, Message} = next(),
            ?assertEqual({control, cancel_task, #{task_id => 7, timeout_ms => 1000}}, Message),
            ok = ?P:reply(From, Answer),
            case Answer of
                ok -> ?assertMatch({ok, Us} when is_integer(Us), ?C:result(Sender));
                _ -> ?assertEqual(Answer, ?C:result(Sender))
            end
        end
     || Answer <- [ok, {error, no}, {error, {not_now, [1, 2]}}]
    ].

ahead_of_everything() ->
    register_self(a),
    [self() ! {data, N} || N <- lists:seq(1, 10000)],
    Sender = ?C:async(fun() -> ?P:send_circuit_breaker(a, open) end),
    ?C:waits_in(self(), 10001),
    First = receive Any -> Any end,
    ?assertMatch({priority, _, {control, circuit_breaker, _}}, First),
    ok = ?P:reply(element(2, First), ok),
    ?assertMatch({ok, _}, ?C:result(Sender)).

in_order() ->
    register_self(a),
    Messages = [?C:type(T, N) || N <- lists:seq(1, 100), T <- [cancel_task, drain_session, health_check]],
    [ok = ?P:cast_priority(a, Message) || Message <- Messages],
    ?assertEqual(Messages, [element(2, next()) || _ <- Messages]).

in_the_ordinary_lane() ->
    register_self(a),
    ok = ?P:set_enabled(false),
    self() ! data,
    ok = ?P:cast_priority(a, ?C:type(cancel_task, 1)),
    ok = ?P:set_enabled(true),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, 2)),
    ?assertMatch(
        [{priority, _, {_, _, #{task_id := 2}}}, data, {priority, _, {_, _, #{task_id := 1}}}],
        ?C:mailbox(self())
    ).

casts_need_no_reply() ->
    register_self(a),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, 1)),
    {From, _} = next(),
    ok = ?P:reply(From, ok),
    ok = ?P:reply(From, {error, no}),
    ?assertEqual([], ?C:mailbox(self())).

late_replies_are_dropped() ->
    Test = self(),
    Server = server(a, #{timeout_ms => 20}),
    {error, timeout} = ?P:send_cancel_task(a, 1),
    Server ! {run, fun() -> {From, _} = next(), [ok = ?P:reply(From, ok) || _ <- [1, 2]], Test ! done end},
    receive done -> ok end,
    ?assertEqual([], ?C:mailbox(self())),
    ?assertMatch(#{timeouts := 1}, ?P:get_stats()).

replies_from_elsewhere() ->
    register_self(a),
    Sender = ?C:async(fun() -> ?P:send_cancel_task(a, 1) end),
    {From, _} = next(),
    ok = ?LIB:in_process(fun() -> ?P:reply(From, {error, elsewhere}) end),
    ?assertEqual({error, elsewhere}, ?C:result(Sender)).

counted_once_answered() ->
    register_self(a),
    [
        begin
            Sender = ?C:async(fun() -> ?P:send_cancel_task(a, N) end),
            {From, _} = next(),
            ok = ?P:reply(From, ok),
            ok = ?P:reply(From, ok),
            {ok, _} = ?C:result(Sender)
        end
     || N <- [1, 2, 3]
    ],
    #{total_delivered := 3, by_type := #{cancel_task := 3}, by_component := #{a := A}} = ?P:get_stats(),
    Zero = ?C:queued_all(0),
    ?assertMatch(#{delivered := 3, queued := Zero}, A).

slo() ->
    register_self(a, #{timeout_ms => 10}),
    {error, timeout} = ?P:send_health_check(a, full),
    ?assertEqual(1, ?C:stat(slo_violations)).

its_process_dies_while_a_sender_waits() ->
    Server = server(a, #{}),
    Sender = ?C:async(fun() -> ?P:send_cancel_task(a, 1) end),
    ?C:waits_in(Server, 1),
    ?LIB:kill(Server),
    ?assertEqual({error, {handler_crashed, killed}}, ?C:result(Sender)),
    ok = ?LIB:eventually(fun() -> ?P:components() =:= [] end),
    ?assertEqual({error, component_not_registered}, ?P:send_cancel_task(a, 1)).

its_process_ends_normally_while_a_sender_waits() ->
    Server = server(a, #{}),
    Sender = ?C:async(fun() -> ?P:send_cancel_task(a, 1) end),
    ?C:waits_in(Server, 1),
    Server ! {run, fun() -> exit(normal) end},
    ?assertMatch({error, _}, ?C:result(Sender)).

its_process_dies() ->
    Server = server(a, #{}),
    ?LIB:kill(Server),
    ?assertEqual({error, component_not_registered}, ?P:send_cancel_task(a, 1)),
    ok = ?LIB:eventually(fun() -> ?P:components() =:= [] end).

its_owner_dies() ->
    Owner = ?LIB:idle(),
    register_self(a, #{owner => Owner}),
    ?assertEqual([a], ?P:components()),
    ?LIB:kill(Owner),
    ok = ?LIB:eventually(fun() -> ?P:components() =:= [] end).

%% Nobody gets it: the sender must not believe that it was delivered.
its_alias_is_given_up() ->
    Alias = erlmcp_priority:create_priority_alias(),
    ok = ?P:register_component(a, #{alias => Alias, timeout_ms => 50}),
    ok = erlmcp_priority:delete_priority_alias(Alias),
    ?assertMatch({error, _}, ?P:send_cancel_task(a, 1)),
    ?assertEqual([], ?C:mailbox(self())).

from_its_own_process() ->
    register_self(a, #{timeout_ms => 20}),
    ?assertEqual({error, timeout}, ?P:send_cancel_task(a, 1)),
    {From, _} = next(),
    ok = ?P:reply(From, ok),
    ?assertEqual([], ?C:mailbox(self())).

two_components_of_one_process() ->
    register_self(a),
    register_self(b),
    ok = ?P:cast_priority(b, ?C:type(cancel_task, 1)),
    ok = ?P:unregister_component(a),
    ok = ?P:cast_priority(b, ?C:type(cancel_task, 2)),
    ?assertMatch([{_, {_, _, #{task_id := 1}}}, {_, {_, _, #{task_id := 2}}}], [next(), next()]).
