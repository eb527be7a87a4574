-module(erlmcp_priority).
-moduledoc """
Messages that overtake all ordinary ones in a mailbox: priority aliases of OTP 28 (EEP-76), checked.

```erlang
-module(worker).
-behaviour(gen_server).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

init(Jobs) ->
    _ = erlmcp_priority:create_priority_alias(),
    {ok, Jobs}.

handle_call(jobs, _From, Jobs) -> {reply, Jobs, Jobs}.
handle_cast({job, Id}, Jobs) -> {noreply, [Id | Jobs]}.

handle_info({priority, _From, {cancel, Id}}, Jobs) -> {noreply, lists:delete(Id, Jobs)};
handle_info({urgent, shutdown}, Jobs) -> {stop, {shutdown, urgent}, Jobs}.
```

```erlang
1> {ok, Worker} = gen_server:start(worker, [1, 2, 3], []).
2> erlmcp_priority:send_priority(Worker, {cancel, 2}, self()).
ok
3> gen_server:call(Worker, jobs).
[1,3]
```

A priority message arrives before every ordinary message that waits, and priority messages arrive in the
order in which they were sent, as far as they come from one sender. The runtime itself sends an ordinary
message, or none, to what is no priority alias, and says `ok`. Here that is `badarg`: a cancellation that
travels in the slow lane looks delivered.

The destination is an alias made by `create_priority_alias/0`, or a pid of this node or a registered name
whose process has made one; the newest counts. One that a process made by `erlang:alias([priority])` is made known with
`register_priority_alias/1`. For a process that is dead the message is dropped, as with any
send. An alias that was given up by a bare `erlang:unalias/1` cannot be told from a live one, and the message is
dropped.

An alias of another node is sent to as it is: only that node could check it. No sender is suspended: while what goes to
that node waits already, since it is slow or stands still, and while there is no connection to it, the message is
dropped, and counted (`erlmcp_priority_dropped_total`). One that takes more than 32 KiB is `badarg`: the runtime cuts
what is larger than 64 KiB into fragments, and OTP 28.5 crashes when a priority message comes to it in fragments
(erlang/otp#11416).

Needs the library, but no service; groups need the application. `receive` in the process finds a priority message first
whatever it looks for; a process that never asks for one is not slowed down.
""".

-export([
    create_priority_alias/0,
    register_priority_alias/1,
    delete_priority_alias/1,
    is_priority_alias/1,
    send_priority/3,
    send_batch/3,
    send_urgent/2
]).
-export([join/1, leave/1, broadcast/3]).

-export_type([group/0, reach/0]).
-export_type([alias/0, priority_alias/0, destination/0, priority_message/0, urgent_message/0]).

-doc """
An alias is a reference that was made by `create_priority_alias/0`, or made known by `register_priority_alias/1`.
""".
-type alias() :: reference().
-doc "A priority alias is what erlmcp calls an `t:alias/0`.".
-type priority_alias() :: alias().
-doc "A priority message is what a process receives of `send_priority/3`.".
-type priority_message() :: {priority, From :: pid(), Message :: term()}.
-doc "An urgent message is what a process receives of `send_urgent/2`.".
-type urgent_message() :: {urgent, Message :: term()}.
-doc "A destination is an alias, a process of this node that has made one, or the registered name of such a process.".
-type destination() :: alias() | pid() | atom().

-doc "A group is known by its name, which is any term.".
-type group() :: erlmcp_priority_groups:group().
-doc "This tells how many members a message was sent to, and of each node with members whether it was sent there.".
-type reach() :: #{reached := non_neg_integer(), nodes := #{node() => ok | {error, busy | nodedown}}}.

-import(erlmcp_native_error, [raise/2]).

-compile({inline, [send/2, resolve/1, newest/1]}).

%% Of the external format. Far from the 64 KiB of a fragment.
-define(MOST_BYTES_FAR, 32768).
%% Where a process keeps the alias that was made when it joined a group.
-define(JOINED, '$erlmcp_priority_joined').

-doc "Makes a priority alias of the calling process. Raises `badarg` where the runtime has none (before OTP 28).".
-spec create_priority_alias() -> alias().
create_priority_alias() ->
    Alias =
        try
            erlang:alias([priority])
        catch
            error:badarg -> raise(no_priority, {?MODULE, ?FUNCTION_NAME, []})
        end,
    case erlmcp_native:alias_insert(Alias) of
        ok ->
            Alias;
        Fault ->
            _ = erlang:unalias(Alias),
            raise(Fault, {?MODULE, ?FUNCTION_NAME, []})
    end.

-doc """
Makes known an alias that the calling process made by `erlang:alias([priority])`; it counts as its newest. Made known
once more, it stays where it was.

Raises `badarg` for whatever is no live priority alias of the calling process: the alias of another, one that was given
up, one without `priority`, or one that ends with its first message. The runtime tells none of these apart, and so this
sends the caller two messages through the alias, takes them out of the mailbox again, and sees whether they have
overtaken an ordinary one. An alias that ends with its first message is used up by that.
""".
-spec register_priority_alias(alias()) -> ok.
register_priority_alias(Alias) ->
    maybe
        {ok, Pid} ?= erlmcp_native:alias_process(Alias),
        true ?= Pid =:= self() andalso overtakes(Alias),
        ok ?= erlmcp_native:alias_insert(Alias)
    else
        Fault when Fault =:= false; Fault =:= bad_destination ->
            raise(bad_alias, {?MODULE, ?FUNCTION_NAME, [Alias]});
        Fault ->
            raise(Fault, {?MODULE, ?FUNCTION_NAME, [Alias]})
    end.

overtakes(Alias) ->
    Tag = make_ref(),
    self() ! {Tag, ordinary},
    lists:foreach(fun(Nth) -> erlang:send(Alias, {Tag, Nth}, [priority]) end, [first, second]),
    self() ! {Tag, done},
    %% A receive looks at what was taken in before; this one has it taken in.
    receive
        {Tag, never} -> ok
    after 0 -> ok
    end,
    arrived(Tag) =:= [first, second, ordinary].

arrived(Tag) ->
    receive
        {Tag, done} -> [];
        {Tag, What} -> [What | arrived(Tag)]
    end.

-doc "Gives an alias of the calling process up. Raises `badarg` if it is none, or was given up already.".
-spec delete_priority_alias(alias()) -> ok.
delete_priority_alias(Alias) ->
    case erlmcp_native:alias_delete(Alias) of
        ok ->
            _ = erlang:unalias(Alias),
            ok;
        Fault ->
            raise(Fault, {?MODULE, ?FUNCTION_NAME, [Alias]})
    end.

-doc """
Tells whether this is a priority alias of a living process of this node, made or registered here and not given up.
""".
-spec is_priority_alias(term()) -> boolean().
is_priority_alias(Term) ->
    is_reference(Term) andalso erlmcp_native:alias_check(Term) =:= ok.

-doc """
Sends `{priority, From, Message}` ahead of all ordinary messages. Raises `badarg` for a destination that
would not get it so, and for a `From` that is no pid.
""".
-spec send_priority(destination(), Message :: term(), From :: pid()) -> ok.
send_priority(Destination, Message, From) when is_pid(From) ->
    case send(Destination, {priority, From, Message}) of
        ok -> ok;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Destination, Message, From]})
    end;
send_priority(Destination, Message, From) ->
    raise(bad_sender, {?MODULE, ?FUNCTION_NAME, [Destination, Message, From]}).

-doc """
Sends `{urgent, Message}` ahead of all ordinary messages. Raises `badarg` for a destination that would not
get it so.
""".
-spec send_urgent(destination(), Message :: term()) -> ok.
send_urgent(Destination, Message) ->
    case send(Destination, {urgent, Message}) of
        ok -> ok;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Destination, Message]})
    end.

-doc """
Sends several messages as one, `{priority, From, {batch, Messages}}`, ahead of all ordinary messages.

```erlang
1> Alias = erlmcp_priority:create_priority_alias().
2> erlmcp_priority:send_batch(Alias, [{cancel, 1}, {cancel, 2}], self()).
ok
3> receive {priority, _From, {batch, Messages}} -> Messages end.
[{cancel,1},{cancel,2}]
```

Nothing is sent of an empty list. Raises `badarg` as `send_priority/3`, and for what is no list.
""".
-spec send_batch(destination(), Messages :: [term()], From :: pid()) -> ok.
send_batch(Destination, Messages, From) when length(Messages) >= 0, is_pid(From) ->
    case send(Destination, {priority, From, {batch, Messages}}, Messages) of
        ok -> ok;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Destination, Messages, From]})
    end;
send_batch(Destination, Messages, From) when length(Messages) >= 0 ->
    raise(bad_sender, {?MODULE, ?FUNCTION_NAME, [Destination, Messages, From]});
send_batch(Destination, Messages, From) ->
    raise(bad_messages, {?MODULE, ?FUNCTION_NAME, [Destination, Messages, From]}).

-doc """
Has the calling process join a group. It gets what is sent there by `broadcast/3` until it leaves or dies. It gets that
once, however often it joins. A process without a priority alias has one made, which `leave/1` gives up with the last
group.

Raises `badarg` for a group whose name takes more than 32 KiB: nothing could be sent there. Exits with
`{noproc, {erlmcp_priority, join, [Group]}}` while the application is not started.
""".
-spec join(group()) -> ok.
join(Group) ->
    _ = erlang:external_size(Group) =< ?MOST_BYTES_FAR orelse raise(too_large, {?MODULE, ?FUNCTION_NAME, [Group]}),
    ok = erlmcp_priority_groups:join(Group, {?MODULE, ?FUNCTION_NAME, [Group]}),
    case erlmcp_native:alias_newest(self()) of
        {ok, _} ->
            ok;
        _ ->
            _ = put(?JOINED, create_priority_alias()),
            ok
    end.

-doc "Has the calling process leave a group, whether it is in there or not. Exits as `join/1`.".
-spec leave(group()) -> ok.
leave(Group) ->
    maybe
        0 ?= erlmcp_priority_groups:leave(Group, {?MODULE, ?FUNCTION_NAME, [Group]}),
        Alias = erase(?JOINED),
        true ?= is_reference(Alias),
        ok ?= erlmcp_native:alias_delete(Alias),
        _ = erlang:unalias(Alias),
        ok
    else
        _ -> ok
    end.

-doc """
Sends `{priority, From, Message}` to all members of a group, ahead of all ordinary messages. It is one message a node,
and is given to the members there; nobody is waited for, and a node that is slow delays no other.

```erlang
1> ok = erlmcp_priority:join(workers).
2> erlmcp_priority:broadcast(workers, stop_all, self()).
#{reached => 1,nodes => #{nonode@nohost => ok}}
3> receive {priority, _From, Message} -> Message end.
stop_all
4> erlmcp_priority:leave(workers).
ok
```

Other nodes have members if they and this one are parts of a cluster (`m:erlmcp_overload_cluster`). How many each has it
tells when that changes: `reached` counts the members that there were by then, some 20 ms ago, of the nodes where the
message was sent. A message of more than 32 KiB, together with the group, is `badarg`.
""".
-spec broadcast(group(), Message :: term(), From :: pid()) -> reach().
broadcast(Group, Message, From) when is_pid(From) ->
    Sent = {priority, From, Message},
    case erlang:external_size({Group, Sent}) =< ?MOST_BYTES_FAR of
        true ->
            Here = [{node(), Count, ok} || Count <- [erlmcp_priority_groups:send(Group, Sent)], Count > 0],
            Nodes = Here ++ erlmcp_priority_peers:send(Group, Sent),
            #{
                reached => lists:sum([Count || {_, Count, ok} <- Nodes]),
                nodes => #{Node => Result || {Node, _, Result} <- Nodes}
            };
        false ->
            raise(too_large, {?MODULE, ?FUNCTION_NAME, [Group, Message, From]})
    end;
broadcast(Group, Message, From) ->
    raise(bad_sender, {?MODULE, ?FUNCTION_NAME, [Group, Message, From]}).

send(Destination, _Batch, []) ->
    case resolve(Destination) of
        {_HereOrFar, _Alias} -> ok;
        dead -> ok;
        Fault -> Fault
    end;
send(Destination, Batch, [_ | _]) ->
    send(Destination, Batch).

send(Destination, Message) ->
    case resolve(Destination) of
        {here, Alias} ->
            _ = erlang:send(Alias, Message, [priority]),
            ok;
        {far, Alias} ->
            send_far(Alias, Message);
        dead ->
            ok;
        Fault ->
            Fault
    end.

send_far(Alias, Message) ->
    maybe
        true ?= erlang:external_size(Message) =< ?MOST_BYTES_FAR,
        ok ?= erlang:send(Alias, Message, [priority, nosuspend, noconnect])
    else
        false -> too_large;
        nosuspend -> dropped(busy);
        noconnect -> dropped(nodedown)
    end.

dropped(Why) ->
    _ = erlmcp_native:alias_dropped(Why),
    ok.

resolve(Alias) when is_reference(Alias) ->
    case erlmcp_native:alias_route(Alias) of
        ok -> {here, Alias};
        foreign -> {far, Alias};
        Other -> Other
    end;
resolve(Pid) when is_pid(Pid), node(Pid) =:= node() ->
    newest(Pid);
resolve(Name) when is_atom(Name) ->
    case whereis(Name) of
        Pid when is_pid(Pid) -> newest(Pid);
        _ -> bad_destination
    end;
resolve(_) ->
    bad_destination.

newest(Pid) ->
    case erlmcp_native:alias_newest(Pid) of
        {ok, Alias} -> {here, Alias};
        Other -> Other
    end.
