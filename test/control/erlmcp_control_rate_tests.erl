%% How often messages of a type may be sent to a component.
-module(erlmcp_control_rate_tests).

-include_lib("eunit/include/eunit.hrl").

-define(PLANE, erlmcp_control_plane).
-define(SLOW(N), {N, hour}).

rate_test_() ->
    {foreach, fun start/0, fun stop/1, [
        fun a_type_is_sent_as_often_as_it_may_be/0,
        fun another_registration_keeps_the_proportion/0,
        fun who_is_unregistered_begins_anew/0,
        fun it_survives_a_crash/0,
        fun a_dead_handler_costs_one/0,
        fun an_alias_has_rates_too/0,
        fun what_is_no_rate_is_named/0
    ]}.

start() ->
    Level = erlmcp_native_test_lib:quiet(),
    {ok, Pid} = ?PLANE:start_link(),
    unlink(Pid),
    Level.

stop(Level) ->
    case whereis(erlmcp_control_plane) of
        undefined -> {ok, Pid} = ?PLANE:start_link(), ok = gen_server:stop(Pid);
        Pid -> ok = gen_server:stop(Pid)
    end,
    erlmcp_native_test_lib:loud(Level).

register(Rate) ->
    ok = ?PLANE:register_component(c, #{handler => fun(_) -> ok end, rate => Rate}).

a_type_is_sent_as_often_as_it_may_be() ->
    register(#{cancel_task => ?SLOW(3), health_check => ?SLOW(1)}),
    [?assertMatch({ok, _}, ?PLANE:send_cancel_task(c, task)) || _ <- [1, 2, 3]],
    {error, {rate_limited, Refused}} = ?PLANE:send_cancel_task(c, task),
    ?assertMatch(#{name := c, key := cancel_task, limit := 3, remaining := 0, retry_after_ms := _}, Refused),
    Cancel = erlmcp_control_message:cancel_task(task),
    ?assertMatch({error, {rate_limited, _}}, ?PLANE:cast_priority(c, Cancel)),
    ?assertMatch({error, {rate_limited, _}}, ?PLANE:send_priority(c, Cancel)),
    ?assertMatch({ok, _}, ?PLANE:send_health_check(c, liveness)),
    ?assertMatch({error, {rate_limited, #{key := health_check}}}, ?PLANE:send_health_check(c, liveness)),
    %% It has none.
    [?assertMatch({ok, _}, ?PLANE:send_drain_session(c, session)) || _ <- lists:seq(1, 100)],
    ?assertMatch(#{queued := #{cancel_task := 0}, by_type := #{cancel_task := 3}}, ?PLANE:get_stats()).

another_registration_keeps_the_proportion() ->
    register(#{cancel_task => ?SLOW(4)}),
    [{ok, _} = ?PLANE:send_cancel_task(c, task) || _ <- [1, 2, 3]],
    register(#{cancel_task => ?SLOW(8)}),
    [?assertMatch({ok, _}, ?PLANE:send_cancel_task(c, task)) || _ <- [1, 2]],
    ?assertMatch({error, {rate_limited, #{limit := 8}}}, ?PLANE:send_cancel_task(c, task)),
    register(#{}),
    ?assertMatch({ok, _}, ?PLANE:send_cancel_task(c, task)).

who_is_unregistered_begins_anew() ->
    register(#{cancel_task => ?SLOW(1)}),
    {ok, _} = ?PLANE:send_cancel_task(c, task),
    ok = ?PLANE:unregister_component(c),
    register(#{cancel_task => ?SLOW(1)}),
    ?assertMatch({ok, _}, ?PLANE:send_cancel_task(c, task)).

it_survives_a_crash() ->
    register(#{cancel_task => ?SLOW(1)}),
    {ok, _} = ?PLANE:send_cancel_task(c, task),
    erlmcp_native_test_lib:kill(whereis(erlmcp_control_plane)),
    ?assertMatch({error, {rate_limited, _}}, ?PLANE:send_cancel_task(c, task)),
    {ok, Pid} = ?PLANE:start_link(),
    unlink(Pid),
    ?assertMatch({error, {rate_limited, _}}, ?PLANE:send_cancel_task(c, task)).

%% The message goes to its successor, and is counted once.
a_dead_handler_costs_one() ->
    register(#{cancel_task => ?SLOW(3)}),
    {{handler, _}, Handler, _, _, _} = erlmcp_native:control_route(c, health_check),
    erlmcp_native_test_lib:kill(Handler),
    [?assertMatch({ok, _}, ?PLANE:send_cancel_task(c, task)) || _ <- [1, 2, 3]],
    ?assertMatch({error, {rate_limited, _}}, ?PLANE:send_cancel_task(c, task)).

an_alias_has_rates_too() ->
    Alias = erlmcp_priority:create_priority_alias(),
    ok = ?PLANE:register_component(c, #{alias => Alias, rate => #{cancel_task => ?SLOW(1)}}),
    Cancel = erlmcp_control_message:cancel_task(task),
    ?assertEqual(ok, ?PLANE:cast_priority(c, Cancel)),
    ?assertMatch({error, {rate_limited, _}}, ?PLANE:cast_priority(c, Cancel)),
    receive {priority, none, {control, cancel_task, _}} -> ok after 5000 -> error(nothing) end,
    receive {priority, _, _} -> error(more) after 0 -> ok end,
    _ = erlmcp_priority:delete_priority_alias(Alias),
    ok.

what_is_no_rate_is_named() ->
    Bad = [
        {#{cancel_task => 5}, [rate, cancel_task]},
        {#{cancel_task => {0, second}}, [rate, cancel_task]},
        {#{cancel_task => {1, day}}, [rate, cancel_task]},
        {#{cancel => {1, second}}, [rate, cancel]},
        {none, [rate]}
    ],
    [
        ?assertEqual({Rate, Path}, {Rate, path(fun() -> ?PLANE:register_component(c, Options#{rate => Rate}) end)})
     || {Rate, Path} <- Bad, Options <- [#{handler => fun id/1}]
    ],
    ?assertEqual([], ?PLANE:components()).

path(Call) ->
    try Call() of
        Result -> {not_raised, Result}
    catch
        error:badarg:Stack ->
            [{_, _, _, Info} | _] = Stack,
            #{cause := {bad_option, {Path, _, _}}} = proplists:get_value(error_info, Info),
            Path
    end.

id(Message) -> Message.
