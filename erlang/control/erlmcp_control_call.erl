-module(erlmcp_control_call).
-moduledoc """
Sending a control message: straight to the handler's priority alias, and waiting for its answer.

The sender monitors the process that it sends to, through an alias that ends with the monitor: it learns of
a death at once, and an answer that comes late is dropped by the runtime. Where the process is gone before the
message is sent, the sender asks for it to be replaced and sends to its successor. All of that together takes no longer
than the component's `timeout_ms`.

The waiting is done in `m:erlmcp_native_wait`, which is called last and goes on here, so that this module can be
replaced while senders wait.
""".

-export([call/5, cast/4, call_far/5, cast_far/3, cast_later/3]).
-export([asked/2, revived/2]).

-include("erlmcp_control_request.hrl").

-compile({inline, [request/4, sent/2, number/1, options/1, haste/3, deadline/2, within/2]}).

%% The call that is to be named in an error, `again` once the message has been sent to a process that is gone, or how
%% long a sender of another node waits.
-type said() :: {module(), atom(), [term()]} | again | {far, MostMs :: timeout()}.
-type what() :: call | cast.
-type result() :: ok | later | {ok, LatencyUs :: non_neg_integer()} | {error, term()}.

-doc """
Sends a message to a component and waits for the answer. `SentAt` is when the caller began, in nanoseconds; `Call`
is named in what it raises.
""".
-spec call(
    atom(),
    erlmcp_control_message:control_type(),
    erlmcp_control_message:control_message(),
    SentAt :: integer(),
    Call :: {module(), atom(), [term()]}
) -> {ok, LatencyUs :: non_neg_integer()} | {error, term()}.
call(Id, Type, Message, SentAt, Call) ->
    send(call, Id, Type, Message, SentAt, Call).

-doc "Sends a message to a component without waiting for an answer. `Call` is named in what it raises.".
-spec cast(
    atom(),
    erlmcp_control_message:control_type(),
    erlmcp_control_message:control_message(),
    Call :: {module(), atom(), [term()]}
) -> ok | {error, term()}.
cast(Id, Type, Message, Call) ->
    send(cast, Id, Type, Message, erlang:monotonic_time(nanosecond), Call).

-doc "Sends a message of another node, whose sender waits so long at most, and waits for the answer.".
-spec call_far(
    atom(),
    erlmcp_control_message:control_type(),
    erlmcp_control_message:control_message(),
    SentAt :: integer(),
    MostMs :: non_neg_integer()
) -> {ok, LatencyUs :: non_neg_integer()} | {error, term()}.
call_far(Id, Type, Message, SentAt, MostMs) ->
    send(call, Id, Type, Message, SentAt, {far, MostMs}).

-doc "Sends a message of another node without waiting for anything: `later` if `cast_later/3` has to.".
-spec cast_far(atom(), erlmcp_control_message:control_type(), erlmcp_control_message:control_message()) ->
    ok | later | {error, term()}.
cast_far(Id, Type, Message) ->
    send(cast, Id, Type, Message, erlang:monotonic_time(nanosecond), {far, infinity}).

-doc "Sends a message of another node that could not be sent before, since its handler's process was being replaced.".
-spec cast_later(atom(), erlmcp_control_message:control_type(), erlmcp_control_message:control_message()) ->
    ok | {error, term()}.
cast_later(Id, Type, Message) ->
    send(cast, Id, Type, Message, erlang:monotonic_time(nanosecond), again).

-spec send(
    what(), atom(), erlmcp_control_message:control_type(), erlmcp_control_message:control_message(), integer(), said()
) -> result().
send(What, Id, Type, Message, SentAt, Said) ->
    case route(Id, Type, Said) of
        {Way, Pid, Alias, TimeoutMs, Ahead} when What =:= call ->
            Deadline = deadline(SentAt, within(Said, TimeoutMs)),
            Request = request(Type, Message, SentAt, Deadline),
            Continuation = {?MODULE, asked, {number(Way), Pid, Id, Request}},
            erlmcp_native_wait:ask(Pid, Alias, haste(Ahead, Way, SentAt), sent(Way, Request), Deadline, Continuation);
        {Way, _Pid, Alias, _TimeoutMs, Ahead} ->
            _ = erlang:send(Alias, sent(Way, request(Type, Message, SentAt, infinity)), options(Ahead)),
            ok;
        {dead, _} when Said =:= {far, infinity} ->
            later;
        {dead, TimeoutMs} ->
            Deadline = deadline(SentAt, within(Said, TimeoutMs)),
            revive(What, undefined, Id, request(Type, Message, SentAt, Deadline));
        not_found ->
            {error, component_not_registered};
        queue_full ->
            {error, queue_full};
        {rate_limited, _} = Refusal ->
            {error, Refusal};
        not_started when Said =:= again; element(1, Said) =:= far ->
            {error, component_not_registered};
        Fault ->
            erlmcp_native_error:raise(Fault, Said)
    end.

within({far, MostMs}, TimeoutMs) -> min(MostMs, TimeoutMs);
within(_Said, TimeoutMs) -> TimeoutMs.

request(Type, Message, SentAt, Deadline) ->
    #control_request{from = none, type = Type, message = Message, sent_at = SentAt, deadline = Deadline}.

%% The place of a message to a handler is held by this process until it has sent, and goes with it if it is killed.
route(Id, Type, Said) ->
    case found(Id, Type, Said) of
        {crowded, Pid, Sent} -> look(Id, Type, Said, Pid, Sent);
        Route -> Route
    end.

%% What is sent again has been counted in the rate of its type.
found(Id, Type, again) -> erlmcp_native:control_reroute(Id, Type);
found(Id, Type, _Call) -> erlmcp_native:control_route(Id, Type).

%% Nobody sees the process of an alias take a message out. What is not known to be gone is not more than all there is in
%% its mailbox: that is looked at when there would be too many, and not before each message.
look(Id, Type, Said, Pid, Sent) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} ->
            case erlmcp_native:control_at_most(Id, Type, Sent, Length) of
                ok -> route(Id, Type, Said);
                NotSent -> NotSent
            end;
        undefined ->
            route(Id, Type, Said)
    end.

sent({handler, Place}, Request) -> Request#control_request{place = Place};
sent({alias, _Number}, #control_request{from = From, message = Message}) -> {priority, From, Message}.

%% Of a message to an alias. Its place is not kept while its sender waits.
number({alias, Number}) -> Number;
number({handler, _Place}) -> none.

haste(false, _Way, _SentAt) ->
    none;
haste(true, {handler, _Place}, SentAt) ->
    {erlmcp_native:control_haste(SentAt), true};
haste(true, {alias, _Number}, SentAt) ->
    {erlmcp_native:control_haste(SentAt), false}.

options(true) -> [priority];
options(false) -> [].

deadline(SentAt, TimeoutMs) ->
    SentAt + TimeoutMs * 1_000_000.

-doc false.
-spec asked(
    {answer, term()} | {down, term()} | timeout, {Number :: pos_integer() | none, pid(), atom(), #control_request{}}
) -> result().
asked({answer, Answer}, {Number, _Pid, Id, #control_request{type = Type, sent_at = SentAt}}) ->
    LatencyUs = since_us(SentAt),
    _ = Number =/= none andalso erlmcp_native:control_delivered(Id, Type, Number),
    _ = erlmcp_native:control_ended(Id, Type, LatencyUs, answered),
    case Answer of
        ok -> {ok, LatencyUs};
        {error, _} -> Answer
    end;
asked({down, Reason}, {_Number, Pid, Id, Request}) ->
    Retired = erlmcp_control_handler:retired(),
    Stopped = erlmcp_control_handler:stopped(),
    case Reason of
        %% Not started: there is another process to send to, or will be.
        Retired -> revive(call, undefined, Id, Request);
        Stopped -> {error, component_not_registered};
        %% Dead before it was monitored, unless it has died of this very reason.
        noproc -> revive(call, Pid, Id, Request);
        _ -> died(Reason, Id, Request)
    end;
asked(timeout, {_Number, _Pid, Id, Request}) ->
    too_late(Id, Request).

died(Reason, Id, #control_request{type = Type, sent_at = SentAt}) ->
    _ = erlmcp_native:control_ended(Id, Type, since_us(SentAt), died),
    {error, {handler_crashed, Reason}}.

too_late(Id, #control_request{type = Type, sent_at = SentAt}) ->
    _ = erlmcp_native:control_ended(Id, Type, since_us(SentAt), timeout),
    {error, timeout}.

revive(What, Died, Id, #control_request{deadline = Deadline} = Request) ->
    erlmcp_control_server:revive(Id, Died, Deadline, {?MODULE, revived, {What, Died, Id, Request}}).

-doc false.
-spec revived(
    {answer, term()} | {down, term()} | timeout, {what(), pid() | undefined, atom(), #control_request{}}
) -> result().
revived({answer, {died, noproc}}, {call, Died, Id, Request}) when Died =/= undefined ->
    died(noproc, Id, Request);
revived({answer, _}, {What, _Died, Id, Request}) ->
    #control_request{type = Type, message = Message, sent_at = SentAt, deadline = Deadline} = Request,
    case erlang:monotonic_time(nanosecond) < Deadline of
        true -> send(What, Id, Type, Message, SentAt, again);
        false -> revived(timeout, {What, undefined, Id, Request})
    end;
revived({down, _}, _Context) ->
    {error, {handler_crashed, noproc}};
revived(timeout, {call, _Died, Id, Request}) ->
    too_late(Id, Request);
revived(timeout, {cast, _Died, _Id, _Request}) ->
    {error, timeout}.

since_us(SentAt) ->
    (erlang:monotonic_time(nanosecond) - SentAt) div 1000.
