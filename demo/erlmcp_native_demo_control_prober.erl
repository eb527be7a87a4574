-module(erlmcp_native_demo_control_prober).
-moduledoc """
Sends control messages at a steady pace, one at a time, and waits for each answer: health checks to all
components, and now and then a cancellation, a question to a circuit breaker, and the drain of a session. What
it waits is measured by the control plane.
""".

-export([run/4]).

-doc """
Sends `PerS` messages a second, five in six of them health checks, until told to `stop`; then sends
`{drained, self()}`. Sessions are drained at the component `Handler`, tasks cancelled at the executors.
""".
-spec run(Main :: pid(), PerS, Handler, Executors) -> no_return() when
    PerS :: pos_integer(),
    Handler :: erlmcp_control_plane:component_id(),
    Executors :: [erlmcp_control_plane:component_id()].
run(Main, PerS, Handler, Executors) ->
    turn(1, #{
        main => Main,
        pace => erlmcp_native_demo_pace:new(PerS, erlang:monotonic_time(microsecond)),
        handler => Handler,
        executors => Executors
    }).

turn(Number, #{main := Main, pace := Pace0} = State) ->
    {Due, Pace} = erlmcp_native_demo_pace:due(Pace0, erlang:monotonic_time(microsecond)),
    lists:foreach(fun(N) -> probe(N, State) end, lists:seq(Number, Number + Due - 1)),
    receive
        stop ->
            Main ! {drained, self()},
            erlang:hibernate(timer, sleep, [infinity])
    after erlmcp_native_demo_pace:tick_us() div 1000 -> turn(Number + Due, State#{pace := Pace})
    end.

%% That there was no answer in time is counted by the control plane.
probe(Number, State) ->
    case send(Number, State) of
        {ok, _LatencyUs} -> ok;
        {error, timeout} -> ok
    end.

send(Number, #{handler := Handler, executors := Executors}) ->
    case Number rem 24 of
        6 -> erlmcp_control_plane:send_cancel_task(any(Executors), Number);
        12 -> erlmcp_control_plane:send_drain_session(Handler, Number);
        18 -> erlmcp_control_plane:send_cancel_task(any(Executors), Number);
        0 -> erlmcp_control_plane:send_circuit_breaker(any([Handler | Executors]), query);
        _ -> erlmcp_control_plane:send_health_check(any([Handler | Executors]), liveness)
    end.

any(Ids) ->
    lists:nth(rand:uniform(length(Ids)), Ids).
