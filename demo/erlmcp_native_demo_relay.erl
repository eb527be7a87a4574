-module(erlmcp_native_demo_relay).
-moduledoc """
The processes that requests and results pass through: transports, which take a request on to its executor if that has
room, and SSE streams, which frame an event. Each counts itself one down for what it has taken from its mailbox.
""".

-export([transport/1, stream/1]).

-define(NOTED, 64).

-doc "Takes `{forward, Executor, Work}` for ever.".
-spec transport(erlmcp_native_demo_meter:meter()) -> no_return().
transport(Meter) ->
    loop(transport, Meter, ?NOTED).

-doc "Takes `{event, Result}` for ever.".
-spec stream(erlmcp_native_demo_meter:meter()) -> no_return().
stream(Meter) ->
    loop(sse_stream, Meter, ?NOTED).

loop(Role, Meter, 0) ->
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    ok = erlmcp_native_demo_meter:held(Meter, Role, Length),
    loop(Role, Meter, ?NOTED);
loop(Role, Meter, Left) ->
    receive
        Message ->
            pass(Message, Meter),
            ok = erlmcp_queue_limits:record_dequeue(Role, self()),
            loop(Role, Meter, Left - 1)
    end.

pass({forward, Executor, {work, Session, _, _, _} = Work}, Meter) ->
    ok = erlmcp_native_demo_meter:add(Meter, forwarded, 1),
    case erlmcp_queue_limits:try_enqueue(tool_executor, Executor) of
        ok -> Executor ! Work;
        {error, {capacity_exceeded, _}} -> Session ! {refused, Executor}
    end;
pass({event, Sum}, Meter) ->
    _ = iolist_size([~"event: result\ndata: ", integer_to_binary(Sum), ~"\n\n"]),
    erlmcp_native_demo_meter:add(Meter, streamed, 1).
