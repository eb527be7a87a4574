%% Every function of the control plane, used rightly and wrongly.
-module(erlmcp_control_plane_tests).

-include_lib("eunit/include/eunit.hrl").

-define(P, erlmcp_control_plane).
-define(C, erlmcp_control_test_lib).
-define(LIB, erlmcp_native_test_lib).
-define(LANES, [circuit_breaker, health_check, drain_session, cancel_task]).

service_test_() ->
    ?C:with_plane([
        fun start_link/0,
        fun register_and_unregister/0,
        fun registering_again_replaces/0,
        fun what_is_delivered/0,
        fun answers/0,
        fun casts/0,
        fun send_priority_takes_every_message/0,
        fun not_registered/0,
        fun statistics/0,
        fun reset/0,
        fun latencies_agree_with_the_senders/0,
        fun odd_ids/0,
        fun handler_process/0,
        fun normal_priority/0,
        fun to_another_component_from_a_handler/0,
        fun registering_from_a_handler/0,
        fun unregistering_from_its_own_handler/0,
        fun a_big_mailbox_does_not_slow_the_sender/0
    ]).

misuse_test_() ->
    ?C:with_plane([
        fun bad_ids/0, fun bad_handlers/0, fun bad_options/0, fun the_option_is_named/0, fun bad_messages/0,
        fun bad_rest/0
    ]).

not_started_test_() ->
    [{"before the start", fun not_started/0}, {"after a stop", fun stopped/0}].

start_link() ->
    Pid = whereis(?P),
    ?assertEqual({error, {already_started, Pid}}, ?P:start_link()),
    ?assertEqual({message_queue_data, off_heap}, process_info(Pid, message_queue_data)).

register_and_unregister() ->
    ?assertEqual([], ?P:components()),
    ok = ?P:register_component(a, fun(_) -> ok end),
    ok = ?P:register_component(b, #{handler => fun(_) -> ok end}),
    ?assertEqual([a, b], lists:sort(?P:components())),
    ok = ?P:unregister_component(a),
    ok = ?P:unregister_component(a),
    ok = ?P:unregister_component(never_there),
    ?assertEqual([b], ?P:components()),
    ?assertEqual({error, component_not_registered}, ?P:send_health_check(a, full)).

registering_again_replaces() ->
    ok = ?P:register_component(a, fun(_) -> {error, first} end),
    ?assertEqual({error, first}, ?P:send_health_check(a, full)),
    ok = ?P:register_component(a, fun(_) -> {error, second} end),
    ?assertEqual({error, second}, ?P:send_health_check(a, full)),
    ?assertEqual([a], ?P:components()).

what_is_delivered() ->
    Test = self(),
    ok = ?P:register_component(a, fun(M) -> Test ! {got, M} end),
    Got = fun() -> receive {got, M} -> M after 5000 -> nothing end end,
    Before = erlang:system_time(millisecond),
    [
        begin
            From = erlang:monotonic_time(microsecond),
            {ok, Us} = ?P:send_health_check(a, Type),
            To = erlang:monotonic_time(microsecond),
            ?assert(is_integer(Us) andalso Us >= 0),
            ?assertMatch({control, health_check, #{type := Type, timeout_ms := 100, requested_at := At}} when
                At >= From andalso At =< To, Got())
        end
     || Type <- [liveness, readiness, full]
    ],
    {ok, _} = ?P:send_drain_session(a, <<"s1">>),
    ?assertEqual(
        {control, drain_session, #{session_id => <<"s1">>, reason => shutdown, timeout_ms => 5000}}, Got()
    ),
    {ok, _} = ?P:send_cancel_task(a, {task, 1}),
    ?assertEqual({control, cancel_task, #{task_id => {task, 1}, timeout_ms => 1000}}, Got()),
    [
        begin
            {ok, _} = ?P:send_circuit_breaker(a, Action),
            ?assertMatch(
                {control, circuit_breaker, #{action := Action, component := a, timestamp := At}} when
                    At >= Before,
                Got()
            )
        end
     || Action <- [open, close, half_open, query]
    ].

answers() ->
    [
        begin
            ok = ?P:register_component(a, fun(_) -> Value end),
            ?assertMatch({ok, Us} when is_integer(Us), ?P:send_cancel_task(a, 1), Value)
        end
     || Value <- [ok, {ok, 1}, error, {error}, {error, a, b}, undefined, [], self(), <<0:8000>>]
    ],
    [
        begin
            ok = ?P:register_component(a, fun(_) -> {error, R} end),
            ?assertEqual({error, R}, ?P:send_cancel_task(a, 1))
        end
     || R <- [no, {no, 1}, timeout, component_not_registered, undefined, lists:seq(1, 1000)]
    ].

casts() ->
    ?C:gate(a),
    ok = ?P:cast_priority(a, ?C:type(cancel_task, 1)),
    {Pid, Message} = ?C:running(a),
    ?assertEqual(?C:type(cancel_task, 1), Message),
    ?C:go(Pid, {error, no}),
    ok = ?LIB:eventually(fun() -> ?C:queued(a) =:= ?C:queued_all(0) end),
    ?assertEqual({error, component_not_registered}, ?P:cast_priority(b, ?C:type(cancel_task, 1))),
    ?assertEqual([], ?C:mailbox(self())).

send_priority_takes_every_message() ->
    ok = ?P:register_component(a, fun({control, Type, _}) -> {error, Type} end),
    [?assertEqual({error, Type}, ?P:send_priority(a, ?C:type(Type, 1))) || Type <- ?LANES],
    %% Maps may carry more keys.
    ?assertEqual({error, cancel_task}, ?P:send_priority(a, {control, cancel_task, #{task_id => 1, x => y}})).

not_registered() ->
    Error = {error, component_not_registered},
    ?assertEqual(Error, ?P:send_priority(a, ?C:type(cancel_task, 1))),
    ?assertEqual(Error, ?P:send_health_check(a, full)),
    ?assertEqual(Error, ?P:send_drain_session(a, 1)),
    ?assertEqual(Error, ?P:send_cancel_task(a, 1)),
    ?assertEqual(Error, ?P:send_circuit_breaker(a, query)),
    ?assertMatch(#{total_delivered := 0, timeouts := 0}, ?P:get_stats()).

statistics() ->
    Zero = ?C:queued_all(0),
    ?assertMatch(
        #{
            total_delivered := 0, by_type := Zero, queued := Zero, latency_p50_us := 0, latency_p95_us := 0,
            latency_p99_us := 0, latency_p999_us := 0, max_latency_us := 0, delivery_p50_us := 0,
            delivery_p99_us := 0, slo_violations := 0, timeouts := 0, handler_crashes := 0, by_component := #{}
        },
        ?P:get_stats()
    ),
    ok = ?P:register_component(a, fun({control, Type, _}) -> Type =:= cancel_task andalso error(no) end),
    ok = ?P:register_component(b, fun(_) -> {error, no} end),
    [{ok, _} = ?P:send_circuit_breaker(a, query) || _ <- lists:seq(1, 3)],
    {error, _} = ?P:send_cancel_task(a, 1),
    [{error, no} = ?P:send_drain_session(b, 1) || _ <- [1, 2]],
    ok = ?P:cast_priority(b, ?C:type(health_check, b)),
    ok = ?LIB:eventually(fun() -> ?C:stat(total_delivered) =:= 7 end),
    #{by_type := ByType, by_component := #{a := A, b := B}} = Stats = ?P:get_stats(),
    ?assertEqual(#{circuit_breaker => 3, health_check => 1, drain_session => 2, cancel_task => 1}, ByType),
    ?assertMatch(#{delivered := 4, queued := Zero}, A),
    ?assertMatch(#{delivered := 3, queued := Zero}, B),
    ?assertMatch(#{handler_crashes := 1, timeouts := 0, slo_violations := 0}, Stats),
    [?assert(is_map_key(Key, A)) || Key <-
        [latency_p50_us, latency_p95_us, latency_p99_us, latency_p999_us, max_latency_us]].

reset() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    {ok, _} = ?P:send_health_check(a, full),
    ok = ?P:reset_stats(),
    ?assertMatch(
        #{total_delivered := 0, max_latency_us := 0, latency_p50_us := 0, delivery_p99_us := 0,
            by_component := #{a := #{delivered := 0, max_latency_us := 0}}},
        ?P:get_stats()
    ),
    {ok, _} = ?P:send_health_check(a, full),
    ?assertEqual(1, ?C:stat(total_delivered)).

latencies_agree_with_the_senders() ->
    Wait = fun(Ms) -> receive after Ms -> ok end end,
    ok = ?P:register_component(a, fun({control, _, #{task_id := Ms}}) -> Wait(Ms) end),
    Measured = lists:sort([
        begin
            {ok, Us} = ?P:send_cancel_task(a, Ms),
            ?assert(Us >= Ms * 1000),
            Us
        end
     || Ms <- [1, 2, 4, 8, 16, 32, 40, 48, 56, 64]
    ]),
    #{latency_p50_us := P50, latency_p95_us := P95, max_latency_us := Max, delivery_p99_us := Delivery} =
        ?P:get_stats(),
    Agrees = fun(Seen, Exact) -> Seen >= Exact andalso Seen - Exact =< Exact div 1000 + 1 end,
    ?assert(Agrees(P50, lists:nth(5, Measured))),
    ?assert(Agrees(P95, lists:last(Measured))),
    ?assert(Agrees(Max, lists:last(Measured))),
    ?assert(Delivery < 64000).

odd_ids() ->
    Ids = ['', undefined, true, list_to_atom(lists:duplicate(255, $a)), list_to_atom([16#1F600])],
    [ok = ?P:register_component(Id, fun(_) -> {error, Id} end) || Id <- Ids],
    [?assertEqual({error, Id}, ?P:send_circuit_breaker(Id, query)) || Id <- Ids],
    ?assertEqual(lists:sort(Ids), lists:sort(?P:components())).

handler_process() ->
    ?C:gate(a),
    Pid = ?C:idle_pid(a),
    ?assertEqual(
        [{priority, high}, {message_queue_data, off_heap}], process_info(Pid, [priority, message_queue_data])
    ),
    ?assertNotEqual(Pid, whereis(?P)),
    ?C:gate(b),
    ?assertNotEqual(Pid, ?C:idle_pid(b)).

normal_priority() ->
    ?C:gate(a, #{priority => normal}),
    ?assertEqual({priority, normal}, process_info(?C:idle_pid(a), priority)),
    ?C:gate(a, #{priority => high}),
    ?assertEqual({priority, high}, process_info(?C:idle_pid(a), priority)).

to_another_component_from_a_handler() ->
    ok = ?P:register_component(b, fun(_) -> {error, from_b} end),
    ok = ?P:register_component(a, fun(_) -> ?P:send_circuit_breaker(b, query) end),
    ?assertEqual({error, from_b}, ?P:send_cancel_task(a, 1)).

registering_from_a_handler() ->
    ok = ?P:register_component(a, fun(_) ->
        ok = ?P:register_component(b, fun(_) -> {error, b} end),
        ok = ?P:register_component(a, fun(_) -> {error, new} end)
    end),
    {ok, _} = ?P:send_cancel_task(a, 1),
    ?assertEqual({error, new}, ?P:send_cancel_task(a, 1)),
    ?assertEqual({error, b}, ?P:send_cancel_task(b, 1)).

unregistering_from_its_own_handler() ->
    Test = self(),
    ok = ?P:register_component(a, fun(_) -> ok = ?P:unregister_component(a), Test ! self() end),
    ?assertMatch({ok, _}, ?P:send_cancel_task(a, 1)),
    ?C:down(receive Pid when is_pid(Pid) -> Pid end),
    ?assertEqual({error, component_not_registered}, ?P:send_cancel_task(a, 1)),
    ?assertEqual([], ?P:components()).

%% With room on the heap: a collection would look at each message.
a_big_mailbox_does_not_slow_the_sender() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    Time = fun() ->
        {Us, _} = timer:tc(fun() -> [{ok, _} = ?P:send_cancel_task(a, 1) || _ <- lists:seq(1, 200)] end),
        Us
    end,
    Test = self(),
    Best = fun(Messages) ->
        Pid = spawn_opt(
            fun() ->
                _ = [self() ! N || N <- lists:seq(1, Messages)],
                Test ! {self(), lists:min([Time() || _ <- lists:seq(1, 5)])}
            end,
            [{min_heap_size, 1 bsl 20}]
        ),
        receive {Pid, Us} -> Us end
    end,
    Small = Best(0),
    Big = Best(200000),
    ?assert(Big < 10 * Small + 20000, {Small, Big}).

bad_ids() ->
    Bad = [1, "a", <<"a">>, self(), make_ref(), {a}, [], #{}, 1.0, fun(_) -> ok end],
    [
        begin
            ?assertEqual(1, ?C:badarg(register_component, [Id, fun(_) -> ok end])),
            ?assertEqual(1, ?C:badarg(register_component, [Id, #{handler => fun(_) -> ok end}])),
            ?assertEqual(1, ?C:badarg(unregister_component, [Id])),
            ?assertEqual(1, ?C:badarg(send_priority, [Id, ?C:type(cancel_task, 1)])),
            ?assertEqual(1, ?C:badarg(cast_priority, [Id, ?C:type(cancel_task, 1)])),
            ?assertEqual(1, ?C:badarg(send_health_check, [Id, full])),
            ?assertEqual(1, ?C:badarg(send_drain_session, [Id, 1])),
            ?assertEqual(1, ?C:badarg(send_cancel_task, [Id, 1])),
            ?assertEqual(1, ?C:badarg(send_circuit_breaker, [Id, query]))
        end
     || Id <- Bad
    ],
    ?assertMatch(#{total_delivered := 0}, ?P:get_stats()).

bad_handlers() ->
    [
        ?assertEqual(2, ?C:badarg(register_component, [a, Handler]))
     || Handler <- [fun() -> ok end, fun(_, _) -> ok end, fun erlang:self/0, ok, undefined, self(), [], {m, f}]
    ],
    ?assertEqual([], ?P:components()),
    %% Of the right arity, that it does not exist shows later.
    ok = ?P:register_component(a, fun no_such_module:f/1),
    ?assertEqual({error, {handler_crashed, undef}}, ?P:send_cancel_task(a, 1)).

bad_options() ->
    Fun = fun(_) -> ok end,
    Alias = erlmcp_priority:create_priority_alias(),
    GivenUp = erlmcp_priority:create_priority_alias(),
    ok = erlmcp_priority:delete_priority_alias(GivenUp),
    Dead = ?LIB:in_process(fun erlmcp_priority:create_priority_alias/0),
    Bad = [
        #{}, #{owner => self()}, #{handler => fun() -> ok end}, #{handler => Fun, alias => Alias},
        #{handler => Fun, owner => a}, #{handler => Fun, owner => ?LIB:foreign_pid()},
        #{handler => Fun, owner => ?LIB:earlier_pid()},
        #{handler => Fun, timeout_ms => -1}, #{handler => Fun, timeout_ms => 1.0},
        #{handler => Fun, timeout_ms => infinity}, #{handler => Fun, timeout_ms => 1 bsl 32},
        #{handler => Fun, priority => low}, #{handler => Fun, priority => max},
        #{handler => Fun, unknown => 1}, #{handler => Fun, "timeout_ms" => 1},
        #{alias => self()}, #{alias => make_ref()}, #{alias => erlang:alias([])}, #{alias => GivenUp},
        #{alias => Dead}, #{alias => a}, #{alias => ?LIB:foreign_pid()}, #{alias => erlang:alias([priority])}
    ],
    [?assertEqual({2, Options}, {?C:badarg(register_component, [a, Options]), Options}) || Options <- Bad],
    ?assertEqual([], ?P:components()),
    ok = ?P:register_component(a, [{handler, Fun}, {timeout_ms, 1}]),
    ok = ?P:register_component(b, #{handler => Fun, alias => undefined, owner => undefined}).

%% The explanation names the option, and the nearest that there is.
the_option_is_named() ->
    Fun = fun(_) -> ok end,
    [
        ?assertEqual(
            Text,
            try
                ?P:register_component(a, Options)
            catch
                error:badarg:Stack -> maps:get(2, erlmcp_native_error:format_error(badarg, Stack))
            end
        )
     || {Options, Text} <- [
            {#{handler => Fun, timeout => 1},
                "timeout: 1 is not one of handler, alias, owner, timeout_ms, priority, rate; did you mean timeout_ms?"},
            {[{handler, Fun}, {priority, low}], "priority: low is not high or normal"},
            {#{},
                "handler: undefined is not a fun of one argument, {Module, Function} or {Module, Function, ExtraArgs}, "
                "or else an alias"}
        ]
    ].

bad_messages() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    Bad = [
        ok, {control}, {control, health_check}, {control, health_check, []}, {control, health_check, #{}},
        {control, health_check, #{type => quick}}, {control, health_check, #{type => full, timeout_ms => -1}},
        {control, health_check, #{type => full, timeout_ms => 0.5}}, {control, drain_session, #{}},
        {control, drain_session, #{session_id => 1, timeout_ms => infinity}},
        {control, cancel_task, #{session_id => 1}}, {control, cancel_task, #{task_id => 1, timeout_ms => -5}},
        {control, circuit_breaker, #{}}, {control, circuit_breaker, #{action => reopen}},
        {control, unknown, #{type => full}}, {control, "health_check", #{type => full}},
        {data, health_check, #{type => full}}, {control, health_check, #{type => full}, extra},
        {control, health_check, #{type => [full]}}, {control, 1, #{}}, fun() -> ok end, #{}
    ],
    [
        begin
            ?assertEqual({2, Message}, {?C:badarg(send_priority, [a, Message]), Message}),
            ?assertEqual({2, Message}, {?C:badarg(cast_priority, [a, Message]), Message})
        end
     || Message <- Bad
    ],
    ?assertEqual(?C:queued_all(0), ?C:queued(a)),
    ?assertMatch({ok, _}, ?P:send_health_check(a, full)).

bad_rest() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    [?assertEqual(2, ?C:badarg(send_health_check, [a, Type])) || Type <- [quick, "full", 1, undefined]],
    [?assertEqual(2, ?C:badarg(send_circuit_breaker, [a, Action])) || Action <- [closed, "open", 1, toggle]],
    [?assertEqual(1, ?C:badarg(set_enabled, [On])) || On <- [1, "true", undefined, yes]],
    [?assertEqual(2, ?C:badarg(reply, [make_ref(), Answer])) || Answer <- [no, {ok, 1}, {error}, {error, a, b}]],
    [?C:badarg(reply, [From, ok]) || From <- [self(), a, 1, {self(), make_ref()}]],
    ok = ?P:reply(make_ref(), ok),
    ok = ?P:reply(none, {error, no}).

calls() ->
    Fun = fun(_) -> ok end,
    [
        {register_component, [a, Fun]},
        {register_component, [a, #{handler => Fun}]},
        {unregister_component, [a]},
        {send_priority, [a, ?C:type(cancel_task, 1)]},
        {cast_priority, [a, ?C:type(cancel_task, 1)]},
        {send_health_check, [a, full]},
        {send_drain_session, [a, 1]},
        {send_cancel_task, [a, 1]},
        {send_circuit_breaker, [a, open]},
        {components, []},
        {get_stats, []},
        {reset_stats, []},
        {set_enabled, [true]}
    ].

not_started() ->
    ?assertEqual(undefined, whereis(?P)),
    [?assertExit({noproc, {?P, F, Args}}, apply(?P, F, Args)) || {F, Args} <- calls()].

stopped() ->
    ok = ?C:restart(),
    ok = ?P:register_component(a, fun(_) -> ok end),
    ok = gen_server:stop(?P),
    not_started().
