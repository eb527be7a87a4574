-module(erlmcp_control_call).
-moduledoc """
Sending a control message: straight to the handler's priority alias, and waiting for its answer.

The sender monitors the process that it sends to, through an alias that ends with the monitor: it learns of
a death at once, and an answer that comes late is dropped by the runtime. A process that was gone before the
message came is being replaced; then the sender asks where to send now.
""".

-export([call/4, cast/3]).

-doc "Sends and waits. `SentAt` is when the caller began, in native time units.".
-spec call(
    atom(),
    erlmcp_control_message:control_type(),
    erlmcp_control_message:control_message(),
    SentAt :: integer()
) -> {ok, LatencyUs :: non_neg_integer()} | {error, term()} | erlmcp_native:fault().
call(Id, Type, Message, SentAt) ->
    case erlmcp_native:control_route(Id, Type) of
        {Kind, Pid, Alias, TimeoutMs, Lane} ->
            Deadline = SentAt + erlang:convert_time_unit(TimeoutMs, millisecond, native),
            Monitor = erlang:monitor(process, Pid, [{alias, reply_demonitor}]),
            send(Kind, Alias, Monitor, Type, Message, SentAt, Deadline, Lane),
            receive
                {Monitor, Answer} ->
                    answered(Kind, Id, Type, SentAt, Answer);
                {'DOWN', Monitor, process, _, Reason} ->
                    down(Reason, Id, Type, Message, SentAt, Deadline)
            after remaining_ms(Deadline) ->
                gave_up(Monitor, Kind, Id, Type, SentAt)
            end;
        not_found ->
            {error, component_not_registered};
        Fault ->
            Fault
    end.

-doc "Sends.".
-spec cast(
    atom(), erlmcp_control_message:control_type(), erlmcp_control_message:control_message()
) -> ok | {error, component_not_registered} | erlmcp_native:fault().
cast(Id, Type, Message) ->
    case erlmcp_native:control_route(Id, Type) of
        {Kind, _Pid, Alias, _TimeoutMs, Lane} ->
            send(Kind, Alias, none, Type, Message, erlang:monotonic_time(), infinity, Lane);
        not_found ->
            {error, component_not_registered};
        Fault ->
            Fault
    end.

send(handler, Alias, From, Type, Message, SentAt, Deadline, Lane) ->
    erlmcp_control_handler:request(Alias, From, Type, Message, SentAt, Deadline, Lane);
send(alias, Alias, From, _Type, Message, _SentAt, _Deadline, Lane) ->
    Options = case Lane of true -> [priority]; false -> [] end,
    _ = erlang:send(Alias, {priority, From, Message}, Options),
    ok.

answered(Kind, Id, Type, SentAt, Answer) ->
    LatencyUs = since_us(SentAt),
    _ = Kind =:= alias andalso erlmcp_native:control_delivered(Id, Type),
    _ = erlmcp_native:control_ended(Id, Type, LatencyUs, answered),
    case Answer of
        ok -> {ok, LatencyUs};
        {error, _} -> Answer
    end.

%% `noproc` and `normal`: this message was not started, and there is another process, or will be.
down(Reason, Id, Type, Message, SentAt, Deadline) when Reason =:= noproc; Reason =:= normal ->
    try erlmcp_control_server:revive(Id, remaining_ms(Deadline)) of
        ok -> again(Id, Type, Message, SentAt)
    catch
        exit:{timeout, _} -> timed_out(Id, Type, SentAt);
        exit:_ -> {error, {handler_crashed, Reason}}
    end;
down(shutdown, _, _, _, _, _) ->
    {error, component_not_registered};
down(Reason, Id, Type, _, SentAt, _) ->
    _ = erlmcp_native:control_ended(Id, Type, since_us(SentAt), answered),
    {error, {handler_crashed, Reason}}.

again(Id, Type, Message, SentAt) ->
    case call(Id, Type, Message, SentAt) of
        not_started -> {error, component_not_registered};
        Result -> Result
    end.

gave_up(Monitor, Kind, Id, Type, SentAt) ->
    true = erlang:demonitor(Monitor, [flush]),
    receive
        {Monitor, Answer} -> answered(Kind, Id, Type, SentAt, Answer)
    after 0 -> timed_out(Id, Type, SentAt)
    end.

timed_out(Id, Type, SentAt) ->
    _ = erlmcp_native:control_ended(Id, Type, since_us(SentAt), timeout),
    {error, timeout}.

since_us(SentAt) ->
    erlang:convert_time_unit(erlang:monotonic_time() - SentAt, native, microsecond).

%% Rounded up, so that nobody gives up before the deadline that the handler goes by.
remaining_ms(Deadline) ->
    Native = erlang:convert_time_unit(1, millisecond, native),
    max(0, (Deadline - erlang:monotonic_time() + Native - 1) div Native).
