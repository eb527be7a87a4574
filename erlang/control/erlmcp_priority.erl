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
send. An alias of another node is sent to as it is: only that node could check it. An alias that was given
up by a bare `erlang:unalias/1` cannot be told from a live one, and the message is dropped.

Needs the library, but no service. `receive` in the process finds a priority message first whatever it looks
for; a process that never asks for one is not slowed down.
""".

-export([
    create_priority_alias/0,
    register_priority_alias/1,
    delete_priority_alias/1,
    is_priority_alias/1,
    send_priority/3,
    send_urgent/2
]).

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

-import(erlmcp_native_error, [raise/2]).

-compile({inline, [resolve/1, send/2]}).

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
    case resolve(Destination) of
        {ok, Alias} -> send(Alias, {priority, From, Message});
        dead -> ok;
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
    case resolve(Destination) of
        {ok, Alias} -> send(Alias, {urgent, Message});
        dead -> ok;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Destination, Message]})
    end.

send(Alias, Message) ->
    _ = erlang:send(Alias, Message, [priority]),
    ok.

resolve(Alias) when is_reference(Alias) ->
    case erlmcp_native:alias_route(Alias) of
        Known when Known =:= ok; Known =:= foreign -> {ok, Alias};
        Other -> Other
    end;
resolve(Pid) when is_pid(Pid), node(Pid) =:= node() ->
    erlmcp_native:alias_newest(Pid);
resolve(Name) when is_atom(Name) ->
    case whereis(Name) of
        Pid when is_pid(Pid) -> erlmcp_native:alias_newest(Pid);
        _ -> bad_destination
    end;
resolve(_) ->
    bad_destination.
