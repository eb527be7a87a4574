-module(erlmcp_native_demo_control).
-moduledoc """
Sends control messages at a steady pace, one at a time, and waits for each answer: health checks to a component with
a handler process and to the executors, and now and then a cancellation, a question to a circuit breaker, and the
drain of a session.
""".

-export([run/3]).

-define(PER_S, 100).

-doc """
Sends control messages for ever: sessions are drained at the component `Handler`, tasks cancelled at the executors.
""".
-spec run(erlmcp_native_demo_meter:meter(), Handler, Executors :: [Handler]) -> no_return() when
    Handler :: erlmcp_control_plane:component_id().
run(Meter, Handler, Executors) ->
    Pace = erlmcp_native_demo_pace:new(?PER_S, erlang:monotonic_time(microsecond)),
    turn(rand:uniform(24), Pace, {Meter, Handler, list_to_tuple(Executors)}).

turn(Number, Pace, World) ->
    {Due, Next} = erlmcp_native_demo_pace:due(Pace, erlang:monotonic_time(microsecond)),
    lists:foreach(fun(N) -> probe(N, World) end, lists:seq(Number, Number + Due - 1)),
    receive
    after 4 -> turn(Number + Due, Next, World)
    end.

probe(Number, {Meter, _, _} = World) ->
    case send(Number, World) of
        {_, {ok, Us}} ->
            ok = erlmcp_native_demo_meter:add(Meter, control, 1),
            erlmcp_native_demo_meter:waited(Meter, control, Us);
        {_, {error, timeout}} ->
            erlmcp_native_demo_meter:add(Meter, unanswered, 1);
        {check, {error, {handler_crashed, _Killed}}} ->
            erlmcp_native_demo_meter:add(Meter, died, 1);
        {_, {error, _KilledOrNotYetBack}} ->
            ok
    end.

send(Number, {_, Handler, Executors}) ->
    Executor = element(rand:uniform(tuple_size(Executors)), Executors),
    case Number rem 24 of
        6 -> {other, erlmcp_control_plane:send_cancel_task(Executor, Number)};
        12 -> {other, erlmcp_control_plane:send_drain_session(Handler, Number)};
        18 -> {other, erlmcp_control_plane:send_cancel_task(Executor, Number)};
        0 -> {other, erlmcp_control_plane:send_circuit_breaker(Executor, query)};
        N when N rem 2 =:= 0 -> {check, erlmcp_control_plane:send_health_check(Handler, liveness)};
        _ -> {check, erlmcp_control_plane:send_health_check(Executor, liveness)}
    end.
