-module(erlmcp_native_demo_session).
-moduledoc """
A session: takes its clients' requests from its mailbox and sends each on to the tool executor it is for, one in eight
by a transport, if that has room.

What is limited is its mailbox, by whoever sends: it counts nothing and gives nothing back. Executors answer the client,
so nothing else comes to it, and at each receive it looks how long its mailbox really is.
""".

-export([run/2]).

-define(BY_TRANSPORT, 8).

-doc "Runs a session for ever. Requests come as `{request, Executor, Work}`.".
-spec run(erlmcp_native_demo_meter:meter(), Transports :: [pid(), ...]) -> no_return().
run(Meter, Transports) ->
    turn(Meter, list_to_tuple(Transports)).

turn(Meter, Transports) ->
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    ok = erlmcp_native_demo_meter:held(Meter, session, Length),
    receive
        {request, Executor, {work, Client, Tag, _, _, _} = Work} ->
            case pass(Executor, Work, Transports) of
                ok ->
                    ok;
                {error, {capacity_exceeded, Refusal}} ->
                    ok = erlmcp_native_demo_tally:refused(erlmcp_native_demo_meter:tally(Meter), Tag, Refusal),
                    Client ! {refused, Executor, Tag}
            end,
            turn(Meter, Transports)
    end.

pass(Executor, {work, _, Tag, Number, _, _} = Work, Transports) when Number rem ?BY_TRANSPORT =:= 0 ->
    Transport = element(Number div ?BY_TRANSPORT rem tuple_size(Transports) + 1, Transports),
    admit(transport, Transport, Tag, {forward, Executor, Work});
pass(Executor, {work, _, Tag, _, _, _} = Work, _Transports) ->
    admit(tool_executor, Executor, Tag, Work).

admit(Role, Owner, Tag, Message) ->
    case erlmcp_queue_limits:try_enqueue(Role, Owner, erlmcp_native_demo_tally:options(Tag)) of
        ok ->
            Owner ! Message,
            ok;
        Refused ->
            Refused
    end.
