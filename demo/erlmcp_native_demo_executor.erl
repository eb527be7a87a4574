-module(erlmcp_native_demo_executor).
-moduledoc """
A tool executor: takes requests from its mailbox, works, answers, and counts itself one down; one result in eight
goes to an SSE stream as well, if that has room. Whenever it wakes up, it notes how long its mailbox really is.

It is a component of the control plane, too: control messages come ahead of all requests in the same mailbox,
and are answered at once, while it works and while it rests. Tasks that are cancelled are tools, of
`m:erlmcp_native_demo_cancel`; most have an id that nobody has used.
""".

-export([run/4]).

-define(STREAMED, 8).
-define(BATCH, 64).
-define(REST_MS, 4).

-doc "Registers the caller as the component `Id`, sends `{ready, self()}` to `Crew`, and works for ever.".
-spec run(Crew :: pid(), Id, erlmcp_native_demo_meter:meter(), Streams :: [pid(), ...]) -> no_return() when
    Id :: erlmcp_control_plane:component_id().
run(Crew, Id, Meter, Streams) ->
    Alias = erlmcp_priority:create_priority_alias(),
    ok = erlmcp_control_plane:register_component(Id, #{alias => Alias, timeout_ms => 5_000}),
    Crew ! {ready, self()},
    Speed = erlmcp_native_demo_meter:speed(Meter),
    turn(Speed, pace(Speed), {Meter, list_to_tuple(Streams)}).

turn(Speed, Pace, {Meter, _} = World) ->
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    %% The limits are for requests: a control message that waits beside a full queue of them passes none.
    ok = erlmcp_native_demo_meter:held(Meter, tool_executor, max(0, Length - answer_control(0))),
    case erlmcp_native_demo_meter:speed(Meter) of
        Speed when Speed =:= 0 ->
            work(?BATCH, 100, World),
            turn(Speed, Pace, World);
        Speed ->
            {Due, NextPace} = erlmcp_native_demo_pace:due(Pace, erlang:monotonic_time(microsecond)),
            work(Due, 0, World),
            rest(erlang:monotonic_time(millisecond) + ?REST_MS),
            turn(Speed, NextPace, World);
        Other ->
            turn(Other, pace(Other), World)
    end.

pace(Speed) ->
    erlmcp_native_demo_pace:new(Speed, erlang:monotonic_time(microsecond)).

answer_control(Answered) ->
    receive
        {priority, From, {control, _, _} = Control} ->
            ok = answer(From, Control),
            answer_control(Answered + 1)
    after 0 -> Answered
    end.

answer(From, Control) ->
    ok = control(Control),
    erlmcp_control_plane:reply(From, ok).

control({control, cancel_task, #{task_id := Id}}) -> erlmcp_control_cancel:cancel(Id, cancelled);
control({control, _Type, _Data}) -> ok.

%% At most so many, waiting for the first only.
work(0, _AfterMs, _World) ->
    ok;
work(Most, AfterMs, {Meter, _} = World) ->
    receive
        {priority, From, {control, _, _} = Control} ->
            ok = answer(From, Control),
            work(Most, AfterMs, World);
        {work, _, _, _, _, _} = Work ->
            finish(Work, World),
            work(Most - 1, 0, World);
        {tool, _, _} = Call ->
            ok = erlmcp_queue_limits:record_dequeue(tool_executor, self()),
            ok = erlmcp_native_demo_cancel:start(Call, Meter),
            work(Most - 1, 0, World)
    after AfterMs -> ok
    end.

finish({work, Client, Tag, Number, SentAt, Payload}, {Meter, Streams}) ->
    ok = waited(Tag, SentAt, Meter),
    Sum = erlang:crc32(Payload),
    Stream = element(Number div ?STREAMED rem tuple_size(Streams) + 1, Streams),
    _ = Number rem ?STREAMED =:= 3 andalso stream(Sum, Stream),
    ok = erlmcp_queue_limits:record_dequeue(tool_executor, self()),
    ok = erlmcp_native_demo_meter:add(Meter, finished, 1),
    Client ! {answered, self(), Tag}.

waited(_Tag, untimed, _Meter) ->
    ok;
waited(Tag, SentAt, Meter) ->
    Us = erlang:monotonic_time(microsecond) - SentAt,
    erlmcp_native_demo_meter:waited(Meter, ordinary, erlmcp_native_demo_tally:side(Tag), Us).

stream(Sum, Stream) ->
    case erlmcp_queue_limits:try_enqueue(sse_stream, Stream) of
        ok -> Stream ! {event, Sum};
        {error, {capacity_exceeded, _}} -> dropped
    end.

rest(UntilMs) ->
    receive
        {priority, From, {control, _, _} = Control} ->
            ok = answer(From, Control),
            rest(UntilMs)
    after max(0, UntilMs - erlang:monotonic_time(millisecond)) -> ok
    end.
