-module(erlmcp_control_call).
-moduledoc """
Sending a control message: straight to the handler's priority alias, and waiting for its answer.

The sender monitors the process that it sends to, through an alias that ends with the monitor: it learns of
a death at once, and an answer that comes late is dropped by the runtime. Where the process is gone before the
message is sent, the sender asks for it to be replaced and sends to its successor.
""".

-export([call/4, cast/3]).

-include("erlmcp_control_request.hrl").

-doc """
Sends a message to a component and waits for the answer. `SentAt` is when the caller began, in native time units.
""".
-spec call(
    atom(),
    erlmcp_control_message:control_type(),
    erlmcp_control_message:control_message(),
    SentAt :: integer()
) -> {ok, LatencyUs :: non_neg_integer()} | {error, term()} | erlmcp_native:fault().
call(Id, Type, Message, SentAt) ->
    case route(Id, Type) of
        {Way, Pid, Alias, TimeoutMs, Ahead} ->
            Deadline = SentAt + erlang:convert_time_unit(TimeoutMs, millisecond, native),
            Monitor = erlang:monitor(process, Pid, [{alias, reply_demonitor}]),
            Request = #control_request{
                from = Monitor, type = Type, message = Message, sent_at = SentAt, deadline = Deadline
            },
            send(Way, Alias, Request, Ahead),
            receive
                {Monitor, Answer} ->
                    answered(Way, Id, Type, SentAt, Answer);
                {'DOWN', Monitor, process, _, Reason} ->
                    down(fate(Reason), Pid, Id, Request)
            after remaining_ms(Deadline) -> gave_up(Monitor, Way, Id, Request)
            end;
        dead ->
            again(Id, Type, Message, SentAt);
        NotSent ->
            not_sent(NotSent)
    end.

-doc "Sends a message to a component without waiting for an answer.".
-spec cast(
    atom(), erlmcp_control_message:control_type(), erlmcp_control_message:control_message()
) -> ok | {error, term()} | erlmcp_native:fault().
cast(Id, Type, Message) ->
    case route(Id, Type) of
        {Way, _Pid, Alias, _TimeoutMs, Ahead} ->
            Request = #control_request{from = none, type = Type, message = Message, sent_at = erlang:monotonic_time()},
            send(Way, Alias, Request, Ahead);
        dead ->
            case revive(Id, undefined) of
                {error, _} = Error -> Error;
                _ -> cast(Id, Type, Message)
            end;
        NotSent ->
            not_sent(NotSent)
    end.

%% The place of a message to a handler is held by this process until it has sent, and goes with it if it is killed.
route(Id, Type) ->
    case erlmcp_native:control_route(Id, Type) of
        {crowded, Pid, Sent} -> look(Id, Type, Pid, Sent);
        Route -> Route
    end.

%% Nobody sees the process of an alias take a message out. What is not known to be gone is not more than all there is in
%% its mailbox: that is looked at when there would be too many, and not before each message.
look(Id, Type, Pid, Sent) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} ->
            case erlmcp_native:control_at_most(Id, Type, Sent, Length) of
                ok -> route(Id, Type);
                NotSent -> NotSent
            end;
        undefined ->
            dead
    end.

not_sent(not_found) -> {error, component_not_registered};
not_sent(queue_full) -> {error, queue_full};
not_sent(Fault) -> Fault.

send({handler, Place}, Alias, Request, Ahead) ->
    erlmcp_control_handler:request(Alias, Request#control_request{place = Place}, Ahead);
send({alias, _}, Alias, #control_request{from = From, message = Message}, Ahead) ->
    Options = case Ahead of true -> [priority]; false -> [] end,
    _ = erlang:send(Alias, {priority, From, Message}, Options),
    ok.

answered(Way, Id, Type, SentAt, Answer) ->
    LatencyUs = since_us(SentAt),
    _ = case Way of
        {alias, Number} -> erlmcp_native:control_delivered(Id, Type, Number);
        {handler, _} -> ok
    end,
    _ = erlmcp_native:control_ended(Id, Type, LatencyUs, answered),
    case Answer of
        ok -> {ok, LatencyUs};
        {error, _} -> Answer
    end.

%% What a death says about the message.
fate(Reason) ->
    Retired = erlmcp_control_handler:retired(),
    Stopped = erlmcp_control_handler:stopped(),
    case Reason of
        Retired -> not_started;
        Stopped -> unregistered;
        noproc -> unclear;
        _ -> {crashed, Reason}
    end.

down(not_started, _, Id, #control_request{type = Type, message = Message, sent_at = SentAt}) ->
    again(Id, Type, Message, SentAt);
down(unregistered, _, _, _) ->
    {error, component_not_registered};
down(unclear, Pid, Id, #control_request{type = Type, message = Message, sent_at = SentAt} = Request) ->
    %% Dead before it was monitored, unless it has died of this very reason.
    case revive(Id, Pid) of
        {died, noproc} -> down({crashed, noproc}, Pid, Id, Request);
        {error, _} = Error -> Error;
        _ -> send_again(Id, Type, Message, SentAt)
    end;
down({crashed, Reason}, _, Id, #control_request{type = Type, sent_at = SentAt}) ->
    _ = erlmcp_native:control_ended(Id, Type, since_us(SentAt), died),
    {error, {handler_crashed, Reason}}.

%% There is another process to send to, or will be.
again(Id, Type, Message, SentAt) ->
    case revive(Id, undefined) of
        {error, _} = Error -> Error;
        _ -> send_again(Id, Type, Message, SentAt)
    end.

send_again(Id, Type, Message, SentAt) ->
    case call(Id, Type, Message, SentAt) of
        not_started -> {error, component_not_registered};
        Result -> Result
    end.

revive(Id, Pid) ->
    try
        erlmcp_control_server:revive(Id, Pid)
    catch
        exit:_ -> {error, {handler_crashed, noproc}}
    end.

%% The monitor's reference marks where the mailbox was when it was made, so that the sender skips what waited there. It
%% is a parameter of its own here: of one that comes out of the record the compiler does not know that it is the same.
gave_up(Monitor, Way, Id, #control_request{type = Type, sent_at = SentAt}) ->
    true = erlang:demonitor(Monitor, [flush]),
    receive
        {Monitor, Answer} -> answered(Way, Id, Type, SentAt, Answer)
    after 0 ->
        _ = erlmcp_native:control_ended(Id, Type, since_us(SentAt), timeout),
        {error, timeout}
    end.

since_us(SentAt) ->
    erlang:convert_time_unit(erlang:monotonic_time() - SentAt, native, microsecond).

%% Rounded up, so that nobody gives up before the deadline that the handler goes by.
remaining_ms(Deadline) ->
    Native = erlang:convert_time_unit(1, millisecond, native),
    max(0, (Deadline - erlang:monotonic_time() + Native - 1) div Native).
