-module(erlmcp_native_demo_executor).
-moduledoc """
A tool executor: takes requests from its mailbox, works, answers, and counts itself one down. Its pace stands
for the tools behind it. Whenever it wakes up, it notes how long its mailbox really is.

It is a component of the control plane, too: control messages come ahead of all requests in the same mailbox,
and are answered at once, while it works and while it rests.
""".

-export([run/5]).

-doc "Registers as `Id`, sends `{ready, self()}`, and finishes at most `PerS` requests a second.".
-spec run(Main :: pid(), Id, TimeoutMs, PerS, erlmcp_native_demo_meter:meter()) -> no_return() when
    Id :: erlmcp_control_plane:component_id(), TimeoutMs :: pos_integer(), PerS :: pos_integer().
run(Main, Id, TimeoutMs, PerS, Meter) ->
    Alias = erlmcp_priority:create_priority_alias(),
    ok = erlmcp_control_plane:register_component(Id, #{alias => Alias, timeout_ms => TimeoutMs}),
    Main ! {ready, self()},
    turn(erlmcp_native_demo_pace:new(PerS, erlang:monotonic_time(microsecond)), Meter).

turn(Pace0, Meter) ->
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    %% The limits are for requests: a control message that waits beside a full queue of them passes none.
    ok = erlmcp_native_demo_meter:held(Meter, tool_executor, max(0, Length - answer_control(0))),
    {Due, Pace} = erlmcp_native_demo_pace:due(Pace0, erlang:monotonic_time(microsecond)),
    finish(Due, Meter),
    rest(erlang:monotonic_time(microsecond) + erlmcp_native_demo_pace:tick_us()),
    turn(Pace, Meter).

answer_control(Answered) ->
    receive
        {priority, From, {control, _Type, _Data}} ->
            ok = erlmcp_control_plane:reply(From, ok),
            answer_control(Answered + 1)
    after 0 -> Answered
    end.

finish(0, _Meter) ->
    ok;
finish(Due, Meter) ->
    receive
        {priority, From, {control, _Type, _Data}} ->
            ok = erlmcp_control_plane:reply(From, ok),
            finish(Due, Meter);
        {work, From, Payload} ->
            From ! {answer, erlang:crc32(Payload)},
            ok = erlmcp_queue_limits:record_dequeue(tool_executor, self()),
            ok = erlmcp_native_demo_meter:finished(Meter, 1),
            finish(Due - 1, Meter)
    after 0 -> ok
    end.

rest(UntilUs) ->
    Left = UntilUs - erlang:monotonic_time(microsecond),
    receive
        {priority, From, {control, _Type, _Data}} ->
            ok = erlmcp_control_plane:reply(From, ok),
            rest(UntilUs)
    after max(0, (Left + 999) div 1000) -> ok
    end.
