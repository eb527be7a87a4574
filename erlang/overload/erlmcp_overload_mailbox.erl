-module(erlmcp_overload_mailbox).
-moduledoc """
Sends to processes whose mailbox is full no more: the queue that is limited is the mailbox itself.

A process needs to know nothing of this. Its mailbox in a role has the limit of the role, and whoever sends through
this module is refused where it is that long. What comes by other ways (replies, timers, a bare `!`) counts towards
its length and is not refused.

```erlang
case erlmcp_overload_mailbox:call(session, Server, Request, 5000) of
    {ok, Reply} -> Reply;
    {error, {capacity_exceeded, Stats}} -> erlmcp_queue_limits:to_json_rpc_error(Id, Stats);
    {error, noproc} -> gone
end
```

Nobody passes the limit through this, however many send at once: whoever is admitted counts, in one step, the length
that it was told and all that were admitted and were not there yet. (A pair that is forgotten by
`erlmcp_queue_limits:forget/2` while others send to it may be passed by as many as those.) A sender that is killed in
between leaves nothing behind. Where many send at once to one that takes its messages quickly, and has a small limit,
some are refused although there was room for a moment: their `depth` counts those that came meanwhile twice. Whom one
sends to has to tell its length first. A process that waits does so in some ten nanoseconds, one that has just got a
message in less than a microsecond, and one that is busy when it is next interrupted: usually in some microseconds, at
worst when its turn on its scheduler is over, a millisecond or more. One whose `message_queue_data` is `off_heap` is
asked twice, since the runtime's first answer may lack what others have just sent.

So where the limit is 1000 or more, and less than half of it is in use, what one sender was told holds for all others
for 50 microseconds: what they are admitted for meanwhile is counted, and what comes by other ways is seen after that
time at the latest. With a smaller limit, or less room, the length is asked for at each message.

A *destination* is a pid of this node or a registered name, `{global, Name}` and `{via, Module, Name}` among them,
which is resolved at each call. A process of another node raises `badarg`: it is to be bounded where it lives.

A role and a process are a pair of one kind, that of their first use: here, or in `m:erlmcp_queue_limits`. What
belongs to the other kind raises `badarg`. `erlmcp_queue_limits:check_capacity/2` and
`erlmcp_queue_limits:get_queue_depth/2` answer for either, and `erlmcp_queue_limits:forget/2` drops a pair, which may
then be of the other kind.

In the numbers of a role a mailbox counts with the length that it had when it was last sent to, or looked at, which is
done after each check of the overload monitor: `total_enqueued` is what was sent through this and what was found to
have come otherwise, `total_dequeued` what was found to be taken out. While several send to one mailbox at once these
two may be too high by as many. A level rises with the send that crosses it, and is left within 100 ms of the
mailbox's becoming shorter.

## All mailboxes

`watch_mailboxes/1` has every process of the node watched, whoever sends to it and whether anybody knows of this or not.

```erlang
ok = erlmcp_overload_mailbox:watch_mailboxes(#{warning => 1000, critical => 5000, overload => 10000}).
```

The same can be configured: `{overload, #{watch_mailboxes => #{…}}}`, see `m:erlmcp_overload_options`. Nobody is refused
by that. A mailbox that becomes so long is an alert like any other, under the role `mailbox`: in the history, for
handlers and for the role's breaker, in metrics. Its process is the owner, the length its depth, and the length at which
`overload` begins its limit. `erlmcp_overload_monitor:queues(mailbox)` has a row of each that is held, with the name
that it is registered under and the function that it is in.

A level is left where the mailbox is shorter than its own length by the monitor's `clear_margin`: by a tenth of it, that
is at 900 where `warning` begins at 1000. In other roles that is a tenth of the limit, which would be all of 1000 here.

While the watch is on, the role is nobody else's: what counts, limits, forgets or sends in it raises `badarg`; what only
reads does not. Where the role has owners, the watch does not begin, and that raises `badarg`; a limit that the role has
is as before when the watch ends. Operations on other roles pay nothing for that. Of a process that sends or receives
and stays below the lengths nothing is done either: the runtime compares a number.

What the runtime cannot tell, and what is done about it:

- At most 100 processes are held at a time. The others are counted (`watched/0`, and the metric
  `erlmcp_native_mailboxes_passed_over_total`), and looked for when there is room, at most once a second.
- A mailbox that is long already when the watch begins, or begins anew after a crash, is found by a look at all
  processes, one after the other, in a process of its own.
- Of a process that is suspended the runtime learns when it is resumed, or when anybody asks for its length.
- The length is not told with the crossing and has to be asked for. A mailbox that is short again by then is an alert
  all the same, with the length that was crossed, and left at the next look, within 100 ms.
- A process that dies leaves its level at once.
- While alerts are switched off nobody is held. Who is long when they are switched on again is looked for.

As of `m:erlmcp_queue_limits`: a role that is no atom raises `badarg`, the 1025th role `system_limit`, and while the
service is not started these exit with `{noproc, {Module, Function, Args}}`.
""".

-export([send/3, send/4, cast/3, cast/4, call/4, call/5, send_any/3, send_any/4, depth/1]).
-export([watch_mailboxes/1, watched/0]).
-export([unanswered/2]).

-export_type([destination/0, options/0, refused/0]).

-doc "A destination is a process of this node, by its pid or a name.".
-type destination() :: pid() | atom() | {atom(), node()} | {global, term()} | {via, module(), term()}.
-doc "Options say something of a message, see `m:erlmcp_native_request`: a map, or a keyword list.".
-type options() :: erlmcp_queue_limits:options().
-doc "This says that the mailbox is full, and what its role has come to.".
-type refused() :: {error, {capacity_exceeded, erlmcp_queue_limits:refusal()}}.

-import(erlmcp_native_error, [raise/2]).

-compile({inline, [called/7, sent/4, enter/3, decide/7, admit/7]}).

-define(IS_TIMEOUT(T), (T =:= infinity orelse is_integer(T) andalso T >= 0 andalso T =< 16#ffffffff)).
%% How often a length is asked for, while others are admitted by theirs.
-define(TRIES, 10).

-doc """
Sends a message if the mailbox of its destination has room in the role. `ok` says that it is there; `{error, noproc}`
that there is no such process, or that it was dead when its length was asked for.
""".
-spec send(erlmcp_queue_limits:role(), destination(), Message :: term()) -> ok | refused() | {error, noproc}.
send(Role, Destination, Message) ->
    case admit(Role, Destination, [], ?TRIES, mailbox_admit) of
        {Pid, Place, Length} ->
            Pid ! Message,
            sent(Role, Pid, Place, Length);
        {error, _} = Error ->
            Error;
        Fault ->
            raise(Fault, {?MODULE, ?FUNCTION_NAME, [Role, Destination, Message]})
    end.

-doc "Does what `send/3` does, with options.".
-spec send(erlmcp_queue_limits:role(), destination(), Message :: term(), options()) ->
    ok | refused() | {error, noproc}.
send(Role, Destination, Message, Options) ->
    case with(Role, Destination, Options, mailbox_admit) of
        {Pid, Place, Length} ->
            Pid ! Message,
            sent(Role, Pid, Place, Length);
        {error, _} = Error ->
            Error;
        Fault ->
            raise(Fault, {?MODULE, ?FUNCTION_NAME, [Role, Destination, Message, Options]})
    end.

-doc "Does what `send/3` does with what `gen_server:cast/2` sends.".
-spec cast(erlmcp_queue_limits:role(), destination(), Request :: term()) -> ok | refused() | {error, noproc}.
cast(Role, Server, Request) ->
    case admit(Role, Server, [], ?TRIES, mailbox_admit) of
        {Pid, Place, Length} ->
            ok = gen_server:cast(Pid, Request),
            sent(Role, Pid, Place, Length);
        {error, _} = Error ->
            Error;
        Fault ->
            raise(Fault, {?MODULE, ?FUNCTION_NAME, [Role, Server, Request]})
    end.

-doc "Does what `cast/3` does, with options.".
-spec cast(erlmcp_queue_limits:role(), destination(), Request :: term(), options()) ->
    ok | refused() | {error, noproc}.
cast(Role, Server, Request, Options) ->
    case with(Role, Server, Options, mailbox_admit) of
        {Pid, Place, Length} ->
            ok = gen_server:cast(Pid, Request),
            sent(Role, Pid, Place, Length);
        {error, _} = Error ->
            Error;
        Fault ->
            raise(Fault, {?MODULE, ?FUNCTION_NAME, [Role, Server, Request, Options]})
    end.

-doc """
Calls a `gen_server` if its mailbox has room in the role, and returns its reply.

It exits as `gen_server:call/3` does, term for term, if the server does not answer in time, dies meanwhile, or is the
caller itself. A request that was not answered in time counts for as long as it is in the mailbox; its reply, if it
comes, is dropped. The timeout is for the reply: the question for the length of the mailbox comes before it.
""".
-spec call(erlmcp_queue_limits:role(), destination(), Request :: term(), timeout()) ->
    {ok, Reply :: term()} | refused() | {error, noproc}.
call(Role, Server, Request, Timeout) when ?IS_TIMEOUT(Timeout) ->
    case to_call(Role, Server, []) of
        {Pid, Place, Length} -> called(Role, Server, Request, Timeout, Pid, Place, Length);
        {error, _} = Error -> Error;
        calling_self -> exit({calling_self, {gen_server, call, [Server, Request, Timeout]}});
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Role, Server, Request, Timeout]})
    end;
call(Role, Server, Request, Timeout) ->
    raise(bad_timeout, {?MODULE, ?FUNCTION_NAME, [Role, Server, Request, Timeout]}).

-doc "Does what `call/4` does, with options.".
-spec call(erlmcp_queue_limits:role(), destination(), Request :: term(), timeout(), options()) ->
    {ok, Reply :: term()} | refused() | {error, noproc}.
call(Role, Server, Request, Timeout, Options) when ?IS_TIMEOUT(Timeout) ->
    case to_call(Role, Server, Options) of
        {Pid, Place, Length} -> called(Role, Server, Request, Timeout, Pid, Place, Length);
        {error, _} = Error -> Error;
        calling_self -> exit({calling_self, {gen_server, call, [Server, Request, Timeout]}});
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Role, Server, Request, Timeout, Options]})
    end;
call(Role, Server, Request, Timeout, Options) ->
    raise(bad_timeout, {?MODULE, ?FUNCTION_NAME, [Role, Server, Request, Timeout, Options]}).

%% Whoever calls itself sends nothing, and nothing is to be counted.
to_call(Role, Pid, Options) when Pid =:= self() ->
    erlmcp_native_owner:unless_earlier(Role, erlmcp_native_request:judged(Options, calling_self));
to_call(Role, Pid, Options) when is_pid(Pid) ->
    with(Role, Pid, Options, mailbox_admit);
to_call(Role, Name, Options) ->
    case resolve(Name) of
        Pid when is_pid(Pid) -> to_call(Role, Pid, Options);
        noproc -> nobody(Role, Options);
        bad_process -> bad_process
    end.

called(Role, Server, Request, Timeout, Pid, Place, Length) ->
    Sent = gen_server:send_request(Pid, Request),
    ok = sent(Role, Pid, Place, Length),
    erlmcp_native_wait:respond(Sent, Timeout, {?MODULE, unanswered, {Server, Request, Timeout}}).

-doc false.
-spec unanswered(timeout | {error, {term(), term()}}, {term(), term(), timeout()}) -> no_return().
unanswered(timeout, Args) -> exit({timeout, {gen_server, call, tuple_to_list(Args)}});
unanswered({error, {Reason, _}}, Args) -> exit({Reason, {gen_server, call, tuple_to_list(Args)}}).

-doc """
Sends a message to one of several processes: of two that are chosen at random to that with the shorter mailbox, or,
where both are full or dead, to that of the others with the shortest. Refused if all are full, which counts as one
refusal; `{error, noproc}` if all are dead.
""".
-spec send_any(erlmcp_queue_limits:role(), [destination(), ...], Message :: term()) ->
    {ok, destination()} | refused() | {error, noproc}.
send_any(Role, Destinations, Message) ->
    any(Role, Destinations, Message, [], {?MODULE, ?FUNCTION_NAME, [Role, Destinations, Message]}).

-doc "Does what `send_any/3` does, with options.".
-spec send_any(erlmcp_queue_limits:role(), [destination(), ...], Message :: term(), options()) ->
    {ok, destination()} | refused() | {error, noproc}.
send_any(Role, Destinations, Message, Options) ->
    any(Role, Destinations, Message, Options, {?MODULE, ?FUNCTION_NAME, [Role, Destinations, Message, Options]}).

any(Role, Destinations, Message, Options, Call) ->
    Offer = fun(Destination) -> attempt(Role, Destination, Message, Options, mailbox_offer) end,
    Ask = fun(Destination) -> attempt(Role, Destination, Message, Options, mailbox_admit) end,
    case erlmcp_native_choice:any(Destinations, fun is_destination/1, fun rank/1, Offer, Ask) of
        {ok, _} = Sent -> Sent;
        {error, noproc} = Nobody -> Nobody;
        {refused, Stats} -> {error, {capacity_exceeded, Stats}};
        NoProcesses when NoProcesses =:= bad_list; NoProcesses =:= bad_process -> raise(no_processes, Call);
        Fault -> raise(Fault, Call)
    end.

is_destination(Pid) when is_pid(Pid) -> erlmcp_native_pid:is_local(Pid);
is_destination(Name) when is_atom(Name) -> Name =/= undefined;
is_destination({global, _}) -> true;
is_destination({via, Module, _}) -> is_registry(Module);
is_destination({Name, Node}) -> is_atom(Name) andalso Node =:= node();
is_destination(_) -> false.

attempt(Role, Destination, Message, Options, By) ->
    case with(Role, Destination, Options, By) of
        {Pid, Place, Length} ->
            Pid ! Message,
            sent(Role, Pid, Place, Length);
        {error, noproc} ->
            dead;
        {error, {capacity_exceeded, Stats}} ->
            {refused, Stats};
        FullOrFault ->
            FullOrFault
    end.

rank(Destination) ->
    case resolve(Destination) of
        Pid when is_pid(Pid) ->
            case erlmcp_native_pid:is_local(Pid) of
                true -> length_of(Pid);
                false -> first
            end;
        noproc -> dead;
        bad_process -> first
    end.

-doc "Returns how long the mailbox of a process is now, whether anybody has limited it or not.".
-spec depth(destination()) -> non_neg_integer() | {error, noproc}.
depth(Destination) ->
    case rank(Destination) of
        first -> raise(bad_process, {?MODULE, ?FUNCTION_NAME, [Destination]});
        dead -> {error, noproc};
        Length -> Length
    end.

-doc """
Watches the mailboxes of all processes of this node from now on, whoever sends to them, or ends that.

`warning` is the length at which this level begins, 1000 if it is left out, `critical`, 5000, and `overload`, 10000:
integers from 1 to 2^32 - 1, none below the one before. Of those that are equal the milder ones are never told. `off`
ends the watch: levels are left, and the role is anybody's again. Of `m:erlmcp_overload_monitor` the service must be
started, and what was set lasts until that is stopped, over crashes of its process too.

If the role `mailbox` has owners, that raises `badarg`, and changes nothing.
""".
-spec watch_mailboxes(#{warning | critical | overload => pos_integer()} | [proplists:property()] | off) -> ok.
watch_mailboxes(Lengths) ->
    Call = {?MODULE, ?FUNCTION_NAME, [Lengths]},
    case erlmcp_native_options:check(erlmcp_overload_options:watch(), Lengths) of
        {ok, Checked} -> begun(erlmcp_overload_server:watch_mailboxes(Checked, Call), Call);
        {error, Problem} -> raise({bad_option, Problem}, Call)
    end.

begun(ok, _) -> ok;
begun(Fault, Call) -> raise(Fault, Call).

-doc """
Returns by which lengths all mailboxes are watched, how many processes are held now, at most 100, and how often one
that was long was passed over since so many were.
""".
-spec watched() ->
    #{
        warning := pos_integer(),
        critical := pos_integer(),
        overload := pos_integer(),
        held := non_neg_integer(),
        passed_over := non_neg_integer()
    }
    | off.
watched() ->
    case erlmcp_native:mailbox_watched(own) of
        {{Warning, Critical, Overload}, Held, PassedOver} ->
            #{
                warning => Warning,
                critical => Critical,
                overload => Overload,
                held => Held,
                passed_over => PassedOver
            };
        off ->
            off;
        Fault ->
            raise(Fault, {?MODULE, ?FUNCTION_NAME, []})
    end.

%% A length that lacks nothing of what was sent before. Many senders to a mailbox off the heap leave messages in buffers
%% that the runtime counts no sooner than the receiver has emptied them, which it does before it answers: so the next
%% answer lacks none of them.
all_of(Pid) ->
    case process_info(Pid, [message_queue_len, message_queue_data]) of
        [{_, Length}, {_, on_heap}] -> Length;
        [_, _] -> length_of(Pid);
        undefined -> dead
    end.

length_of(Pid) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} -> Length;
        undefined -> dead
    end.

with(Role, Destination, Options, By) ->
    case admit(Role, Destination, Options, ?TRIES, By) of
        bad_option ->
            case erlmcp_native_request:map(Options) of
                {ok, Map} -> admit(Role, Destination, Map, ?TRIES, By);
                Bad -> Bad
            end;
        Admitted ->
            Admitted
    end.

%% Whom to send to, the place that it takes, and the length that was found, if somebody had to ask. By `mailbox_offer`,
%% which refuses nobody, one more answer is `full`.
admit(Role, Pid, Options, Tries, By) when is_pid(Pid) ->
    case enter(Role, Pid, Options) of
        Place when is_integer(Place) ->
            {Pid, Place, unasked};
        {ask, Note} ->
            case all_of(Pid) of
                dead -> {error, noproc};
                Length -> admit(Role, Pid, Note, Length, Options, Tries, By)
            end;
        noproc ->
            {error, noproc};
        Fault ->
            Fault
    end;
admit(Role, Destination, Options, Tries, By) ->
    case resolve(Destination) of
        Pid when is_pid(Pid) -> admit(Role, Pid, Options, Tries, By);
        noproc -> nobody(Role, Options);
        bad_process -> bad_process
    end.

enter(Role, Pid, []) -> erlmcp_native:mailbox_enter(own, Role, Pid);
enter(Role, Pid, Options) -> erlmcp_native:mailbox_enter(own, Role, Pid, Options).

admit(Role, Pid, Note, Length, Options, Tries, By) ->
    case decide(By, Role, Pid, Note, Length, Tries =:= 1, Options) of
        Place when is_integer(Place) -> {Pid, Place, Length};
        {refused, Stats} -> {error, {capacity_exceeded, Stats}};
        again -> admit(Role, Pid, Options, max(1, Tries - 1), By);
        FullOrFault -> FullOrFault
    end.

decide(mailbox_admit, Role, Pid, Note, Length, IsLast, []) ->
    erlmcp_native:mailbox_admit(own, Role, Pid, Note, Length, IsLast);
decide(mailbox_admit, Role, Pid, Note, Length, IsLast, Options) ->
    erlmcp_native:mailbox_admit(own, Role, Pid, Note, Length, IsLast, Options);
decide(mailbox_offer, Role, Pid, Note, Length, IsLast, Options) ->
    erlmcp_native:mailbox_offer(own, Role, Pid, Note, Length, IsLast, Options).

%% For all other arguments to be judged as they are with somebody there.
nobody(Role, Options) ->
    erlmcp_native_owner:unless_earlier(Role, erlmcp_native_request:judged(Options, {error, noproc})).

%% The service may have been stopped meanwhile; the message is there all the same.
sent(Role, Pid, Place, unasked) ->
    _ = erlmcp_native:mailbox_sent(own, Role, Pid, Place),
    ok;
sent(Role, Pid, Place, Length) ->
    _ = erlmcp_native:mailbox_sent(own, Role, Pid, Place, Length),
    ok.

resolve(Pid) when is_pid(Pid) -> Pid;
resolve(undefined) -> bad_process;
resolve(Name) when is_atom(Name) -> process(whereis(Name));
resolve({global, Name}) -> process(global:whereis_name(Name));
resolve({via, Module, Name}) ->
    case is_registry(Module) of
        true -> process(Module:whereis_name(Name));
        false -> bad_process
    end;
resolve({Name, Node}) when is_atom(Name), Node =:= node() -> resolve(Name);
resolve(_) -> bad_process.

is_registry(Module) when is_atom(Module) ->
    erlang:function_exported(Module, whereis_name, 1) orelse
        code:ensure_loaded(Module) =:= {module, Module} andalso erlang:function_exported(Module, whereis_name, 1);
is_registry(_) ->
    false.

process(undefined) -> noproc;
process(Pid) when is_pid(Pid) -> Pid;
process(_) -> bad_process.
