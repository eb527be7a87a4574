-module(erlmcp_control_far).
-moduledoc """
Sending a control message to a component of another node, and waiting for its answer.

It goes to the process registered as `erlmcp_control_gate` there, which routes it as a message of its own node
(`m:erlmcp_control_gate`). The sender asks for the component's timeout before its first message, and knows it from then
on (`m:erlmcp_control_routes`). It waits by its own clock, and tells the other node for how long.

No sender is suspended by the connection: what would wait to be sent is not sent, and no connection is made. The sender
monitors a process of its own node, a link, which ends with the connection (`m:erlmcp_control_link`).
""".

-export([call/6, cast/5]).
-export([asked/2, answered/2]).

-doc "This is what a sender has to know while it waits.".
-type sending() :: #{
    id := atom(),
    node := node(),
    type := erlmcp_control_message:control_type(),
    message := erlmcp_control_message:control_message(),
    sent_at := integer(),
    wait := boolean(),
    call := {module(), atom(), [term()]}
}.
-type result() :: ok | {ok, LatencyUs :: non_neg_integer()} | {error, term()}.

%% Until the component's own is known.
-define(TIMEOUT_MS, 5000).
-define(NS_PER_MS, 1_000_000).

-doc """
Sends a message to a component of another node and waits for the answer. `SentAt` is when the caller began, in
nanoseconds; `Call` is named in what it exits with while this node is no part of a cluster.
""".
-spec call(
    atom(),
    node(),
    erlmcp_control_message:control_type(),
    erlmcp_control_message:control_message(),
    SentAt :: integer(),
    Call :: {module(), atom(), [term()]}
) -> {ok, LatencyUs :: non_neg_integer()} | {error, term()}.
call(Id, Node, Type, Message, SentAt, Call) ->
    find(#{
        id => Id, node => Node, type => Type, message => Message, sent_at => SentAt, wait => true, call => Call
    }).

-doc """
Sends a message to a component of another node without waiting for an answer; the first one to a component waits until
it is known whether that node understands it.
""".
-spec cast(
    atom(),
    node(),
    erlmcp_control_message:control_type(),
    erlmcp_control_message:control_message(),
    Call :: {module(), atom(), [term()]}
) -> ok | {error, term()}.
cast(Id, Node, Type, Message, Call) ->
    SentAt = erlang:monotonic_time(nanosecond),
    find(#{
        id => Id, node => Node, type => Type, message => Message, sent_at => SentAt, wait => false, call => Call
    }).

find(#{id := Id, node := Node, call := Call} = Sending) ->
    case erlmcp_control_routes:find(Id, Node, Call) of
        {route, Link, TimeoutMs} -> send(Link, TimeoutMs, Sending);
        {link, Link} -> ask(Link, Sending);
        nodedown -> failed(nodedown, Sending);
        no_room -> failed(busy, Sending)
    end.

%% Asks how long senders wait there, and learns whether such messages are understood.
ask(Link, #{id := Id} = Sending) ->
    Request = erlmcp_control_gate:request(route, #{id => Id}),
    reach(Link, Request, ?TIMEOUT_MS, Sending, {?MODULE, asked, {Link, Sending}}).

-doc false.
-spec asked(erlmcp_native_wait:reached(), {pid(), sending()}) -> result().
asked({answer, {erlmcp_control, 1, #{timeout_ms := Said}}}, {Link, Sending}) when is_integer(Said), Said >= 0 ->
    #{id := Id, node := Node} = Sending,
    send(Link, erlmcp_control_routes:learn(Id, Node, Link, Said), Sending);
%% The link had ended before it was monitored, of what nobody knows. To ask once more has nothing run twice.
asked({down, noproc}, {_Link, #{call := _, sent_at := SentAt} = Sending}) ->
    case since_us(SentAt) < ?TIMEOUT_MS * 1000 of
        true -> find(Sending);
        false -> failed(nodedown, Sending)
    end;
asked(Outcome, {_Link, Sending}) ->
    answered(Outcome, Sending).

send(Link, TimeoutMs, #{id := Id, message := Message, wait := true, sent_at := SentAt} = Sending) ->
    WaitMs = max(0, TimeoutMs - since_us(SentAt) div 1000),
    Request = erlmcp_control_gate:request(call, #{id => Id, message => Message, timeout_ms => WaitMs}),
    reach(Link, Request, TimeoutMs, Sending, {?MODULE, answered, Sending});
send(_Link, _TimeoutMs, #{id := Id, node := Node, message := Message, wait := false} = Sending) ->
    Request = erlmcp_control_gate:request(cast, #{id => Id, message => Message}),
    case erlang:send(erlmcp_control_gate:at(Node), Request, [nosuspend, noconnect]) of
        ok -> count(sent, Sending), ok;
        NotSent -> answered(NotSent, Sending)
    end.

reach(Link, Request, TimeoutMs, #{node := Node, sent_at := SentAt}, Continuation) ->
    Haste = {erlmcp_native:control_haste(SentAt) =:= true, false},
    Deadline = SentAt + TimeoutMs * ?NS_PER_MS,
    erlmcp_native_wait:reach(Link, erlmcp_control_gate:at(Node), Haste, Request, Deadline, Continuation).

-doc false.
-spec answered(erlmcp_native_wait:reached(), sending()) -> result().
answered({answer, {erlmcp_control, 1, #{result := Result} = Answer}}, #{id := Id, node := Node} = Sending) ->
    ok = erlmcp_control_routes:refresh(Id, Node, Answer),
    result(Result, Sending);
answered({answer, {erlmcp_control, Vsn, _}}, Sending) when is_integer(Vsn) ->
    failed({not_supported, Vsn}, Sending);
answered({down, {shutdown, {not_supported, _} = Why}}, Sending) ->
    failed(Why, Sending);
answered({down, _}, Sending) ->
    failed(nodedown, Sending);
answered(noconnect, Sending) ->
    failed(nodedown, Sending);
answered(nosuspend, Sending) ->
    failed(busy, Sending);
answered(timeout, Sending) ->
    result({error, timeout}, Sending);
answered({answer, _}, Sending) ->
    failed({not_supported, 0}, Sending).

result(ok, Sending) ->
    {ok, count(answered, Sending)};
result({error, Reason} = Error, Sending) ->
    _ = count(fate(Reason), Sending),
    Error;
result(_, Sending) ->
    failed({not_supported, 1}, Sending).

fate(timeout) -> timeout;
fate({handler_crashed, _}) -> died;
fate(_) -> answered.

failed({not_supported, _} = Why, #{id := Id, node := Node} = Sending) ->
    ok = erlmcp_control_routes:forget(Id, Node),
    _ = count(not_supported, Sending),
    {error, Why};
failed(Why, #{node := Node} = Sending) ->
    _ = count(Why, Sending),
    {error, {Why, Node}}.

count(Fate, #{type := Type, node := Node, sent_at := SentAt}) ->
    LatencyUs = since_us(SentAt),
    _ = erlmcp_native:control_ended_far(Type, LatencyUs, Fate),
    ok = erlmcp_control_fates:count(Fate, Node),
    LatencyUs.

since_us(SentAt) ->
    (erlang:monotonic_time(nanosecond) - SentAt) div 1000.
