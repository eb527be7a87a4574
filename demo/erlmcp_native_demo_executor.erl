-module(erlmcp_native_demo_executor).
-moduledoc """
A tool executor: takes requests from its mailbox, works, answers, and counts itself one down. Its pace stands
for the tools behind it. Whenever it wakes up, it notes how long its mailbox really is.
""".

-export([run/2]).

-doc "Finishes at most `PerS` requests a second.".
-spec run(PerS :: pos_integer(), erlmcp_native_demo_meter:meter()) -> no_return().
run(PerS, Meter) ->
    turn(erlmcp_native_demo_pace:new(PerS, erlang:monotonic_time(microsecond)), Meter).

turn(Pace0, Meter) ->
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    ok = erlmcp_native_demo_meter:held(Meter, tool_executor, Length),
    {Due, Pace} = erlmcp_native_demo_pace:due(Pace0, erlang:monotonic_time(microsecond)),
    finish(Due, Meter),
    receive
    after erlmcp_native_demo_pace:tick_us() div 1000 -> turn(Pace, Meter)
    end.

finish(0, _Meter) ->
    ok;
finish(Due, Meter) ->
    receive
        {work, Session, Payload} ->
            Session ! {answer, erlang:crc32(Payload)},
            ok = erlmcp_queue_limits:record_dequeue(tool_executor, self()),
            ok = erlmcp_native_demo_meter:finished(Meter, 1),
            finish(Due - 1, Meter)
    after 0 -> ok
    end.
