-module(erlmcp_native_demo_request_prober).
-moduledoc """
Makes ordinary requests at a tool executor, a few a second and one at a time, and times them from the sending
to the answer: what a message waits that overtakes nothing. They are admitted or refused, and counted, as all
others are.
""".

-export([run/4]).

-define(PAYLOAD, <<"how long?">>).

-doc "Makes at most `PerS` requests a second until told to `stop`; then sends `{drained, self()}`.".
-spec run(Main :: pid(), PerS :: pos_integer(), Executor :: pid(), erlmcp_native_demo_meter:meter()) ->
    no_return().
run(Main, PerS, Executor, Meter) ->
    turn(Main, erlmcp_native_demo_pace:new(PerS, erlang:monotonic_time(microsecond)), Executor, Meter).

turn(Main, Pace0, Executor, Meter) ->
    {Due, Pace} = erlmcp_native_demo_pace:due(Pace0, erlang:monotonic_time(microsecond)),
    _ = Due > 0 andalso request(Executor, Meter),
    receive
        stop ->
            Main ! {drained, self()},
            erlang:hibernate(timer, sleep, [infinity])
    after erlmcp_native_demo_pace:tick_us() div 1000 -> turn(Main, Pace, Executor, Meter)
    end.

request(Executor, Meter) ->
    ok = erlmcp_native_demo_meter:offered(Meter, 1),
    case erlmcp_queue_limits:try_enqueue(tool_executor, Executor) of
        ok ->
            SentAt = erlang:monotonic_time(microsecond),
            Executor ! {work, self(), ?PAYLOAD},
            receive
                {answer, _Sum} -> ok
            end,
            erlmcp_native_demo_meter:waited(Meter, erlang:monotonic_time(microsecond) - SentAt);
        {error, {capacity_exceeded, _Stats}} ->
            ok
    end.
