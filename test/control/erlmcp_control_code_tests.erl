%% Handlers and the code they are in: given by name, replaced while they are registered; and what `sys` is told.
-module(erlmcp_control_code_tests).

-include_lib("eunit/include/eunit.hrl").

-export([told/1, told/2, told/3]).

-define(P, erlmcp_control_plane).
-define(C, erlmcp_control_test_lib).
-define(LIB, erlmcp_native_test_lib).
-define(STAND_IN, erlmcp_control_stand_in).

code_test_() ->
    ?C:with_plane([
        fun by_name/0,
        fun by_name_survives_every_crash/0,
        fun a_name_must_be_exported/0,
        fun a_fun_goes_with_its_module/0,
        fun sys_sees_a_handler/0,
        fun sys_stops_and_goes_on/0,
        fun sys_is_answered_in_a_flood/0,
        fun sys_ends_a_handler/0
    ]).

told({control, Type, _}) -> {error, Type}.
told({control, Type, _}, A) -> {error, {Type, A}}.
told({control, Type, _}, A, B) -> {error, {Type, A, B}}.

by_name() ->
    [
        begin
            ok = ?P:register_component(a, Handler),
            ?assertEqual({error, Answer}, ?P:send_health_check(a, full))
        end
     || {Handler, Answer} <- [
            {{?MODULE, told}, health_check},
            {{?MODULE, told, []}, health_check},
            {{?MODULE, told, [x]}, {health_check, x}},
            {{?MODULE, told, [x, y]}, {health_check, x, y}},
            {#{handler => {?MODULE, told, [x]}}, {health_check, x}},
            {[{handler, {?MODULE, told, [x, y]}}, {timeout_ms, 1000}], {health_check, x, y}},
            {fun ?MODULE:told/1, health_check}
        ]
    ].

by_name_survives_every_crash() ->
    ok = ?P:register_component(a, {?MODULE, told, [x]}),
    ?C:crash(),
    ?assertEqual({error, {cancel_task, x}}, ?P:send_cancel_task(a, 1)),
    ok = ?C:restart(),
    {{handler, _}, Pid, _, _, _} = erlmcp_native:control_route(a, health_check),
    ?LIB:kill(Pid),
    ?assertEqual({error, {cancel_task, x}}, ?P:send_cancel_task(a, 2)).

a_name_must_be_exported() ->
    Bad = [
        {?MODULE, told, [x, y, z]}, {?MODULE, never}, {erlmcp_no_such_module, f}, {?MODULE, told, x},
        {?MODULE, told, [x | y]}, {"m", f}, {?MODULE, 1}, {?MODULE, told, [], []}, {}, {a}
    ],
    [?assertEqual(2, ?C:badarg(register_component, [a, Handler])) || Handler <- Bad],
    [?assertEqual(2, ?C:badarg(register_component, [a, #{handler => Handler}])) || Handler <- Bad],
    ?assertEqual(
        "handler: {erlmcp_control_code_tests,never,[x]} is not exported: erlmcp_control_code_tests:never/2",
        try
            ?P:register_component(a, {?MODULE, never, [x]})
        catch
            error:badarg:Stack -> maps:get(2, erlmcp_native_error:format_error(badarg, Stack))
        end
    ),
    ?assertEqual([], ?P:components()).

%% Of the three ways to say what runs, two find the newest version.
a_fun_goes_with_its_module() ->
    load(1),
    ok = ?P:register_component(by_fun, ?STAND_IN:handler()),
    ok = ?P:register_component(by_external_fun, fun ?STAND_IN:version/1),
    ok = ?P:register_component(by_name, {?STAND_IN, version}),
    Answers = fun() -> [?P:send_cancel_task(Id, 1) || Id <- [by_fun, by_external_fun, by_name]] end,
    ?assertEqual([{error, 1}, {error, 1}, {error, 1}], Answers()),
    load(2),
    ?assertEqual([{error, 1}, {error, 2}, {error, 2}], Answers()),
    load(3),
    [{error, {handler_crashed, {badfun, _}}}, {error, 3}, {error, 3}] = Answers(),
    load(4),
    [{error, {handler_crashed, {badfun, _}}}, {error, 4}, {error, 4}] = Answers(),
    erlmcp_overload_test_lib:without(?STAND_IN).

%% As `c:l/1`.
load(Version) ->
    _ = code:purge(?STAND_IN),
    Answer = "{error, " ++ integer_to_list(Version) ++ "}",
    ok = erlmcp_overload_test_lib:stand_in(?STAND_IN, [
        "version(_) -> " ++ Answer ++ ".", "handler() -> fun(_) -> " ++ Answer ++ " end."
    ]).

handler(Id) ->
    {{handler, _}, Pid, _, _, _} = erlmcp_native:control_route(Id, circuit_breaker),
    Pid.

sys_sees_a_handler() ->
    ok = ?P:register_component(a, {?MODULE, told}),
    Pid = handler(a),
    State = sys:get_state(Pid),
    ?assertEqual([a, {?MODULE, told}], lists:sublist(tuple_to_list(State), 2, 2)),
    ?assertMatch({status, Pid, {module, erlmcp_control_handler}, _}, sys:get_status(Pid)),
    ?assertEqual(State, sys:replace_state(Pid, fun(S) -> S end)),
    ok = sys:suspend(Pid),
    ok = sys:change_code(Pid, erlmcp_control_handler, undefined, []),
    ok = sys:resume(Pid),
    ?assertEqual({error, health_check}, ?P:send_health_check(a, full)).

%% What comes meanwhile waits, and is run by urgency.
sys_stops_and_goes_on() ->
    Test = self(),
    ok = ?P:register_component(a, fun({control, Type, _}) -> Test ! {ran, Type}, ok end),
    Pid = handler(a),
    ok = sys:suspend(Pid),
    Types = [cancel_task, drain_session, health_check, circuit_breaker],
    [ok = ?P:cast_priority(a, ?C:type(Type, a)) || Type <- Types],
    Sender = ?C:async(fun() -> ?P:send_cancel_task(a, 1) end),
    ?C:waits_in(Pid, 5),
    ok = sys:resume(Pid),
    ?assertMatch({ok, _}, ?C:result(Sender)),
    Ran = [receive {ran, Type} -> Type after 5000 -> error(not_run) end || _ <- lists:seq(1, 5)],
    ?assertEqual(lists:reverse(Types) ++ [cancel_task], Ran).

sys_is_answered_in_a_flood() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    Pid = handler(a),
    Stop = atomics:new(1, []),
    Flood = fun Loop(Sent) ->
        ok = ?P:cast_priority(a, ?C:type(cancel_task, Sent)),
        {ok, _} = ?P:send_cancel_task(a, Sent),
        case atomics:get(Stop, 1) of
            0 -> Loop(Sent + 1);
            1 -> Sent
        end
    end,
    Senders = [?C:async(fun() -> Flood(1) end) || _ <- lists:seq(1, 5)],
    [_ = sys:get_state(Pid) || _ <- lists:seq(1, 100)],
    [
        begin
            ok = sys:suspend(Pid),
            ok = sys:resume(Pid)
        end
     || _ <- lists:seq(1, 100)
    ],
    ok = atomics:put(Stop, 1, 1),
    Sent = lists:sum([?C:result(Sender) || Sender <- Senders]),
    ?assertEqual(Pid, handler(a)),
    ?LIB:eventually(fun() -> ?C:stat(total_delivered) =:= 2 * Sent end),
    ?assertEqual(0, maps:get(cancel_task, ?C:queued(a))).

sys_ends_a_handler() ->
    ok = ?P:register_component(a, {?MODULE, told}),
    Pid = handler(a),
    Monitor = monitor(process, Pid),
    ok = sys:terminate(Pid, over),
    receive
        {'DOWN', Monitor, process, Pid, over} -> ok
    after 5000 -> error(still_there)
    end,
    ?assertEqual({error, health_check}, ?P:send_health_check(a, full)).
