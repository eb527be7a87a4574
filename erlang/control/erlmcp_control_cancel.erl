-module(erlmcp_control_cancel).
-moduledoc """
How a task learns that nobody waits for it any more.

Whoever starts a task makes a token for it, and the task looks at it from time to time: one atomic read, from any
process. Whoever wants the task to end cancels the token, or the id that it was made with; so does the end of its
owner, the process of the client's connection, say. That sets the token's flag, frees the place that the task holds in
a queue, and tells one process, ahead of all that waits in its mailbox.

```erlang
1> {ok, Permit} = erlmcp_queue_limits:acquire(tool_executor, self()).
2> Alias = erlmcp_priority:create_priority_alias().
3> Token = erlmcp_control_cancel:new(#{id => 17, permit => Permit, notify => Alias}).
4> erlmcp_control_cancel:is_cancelled(Token).
false
5> erlmcp_control_cancel:cancel(17, ~"the client has changed its mind").
ok
6> {erlmcp_control_cancel:is_cancelled(Token), erlmcp_control_cancel:reason(Token)}.
{true,<<"the client has changed its mind">>}
7> receive {urgent, {cancelled, Id, _Why}} -> Id end.
17
8> erlmcp_queue_limits:get_queue_depth(tool_executor, self()).
0
9> erlmcp_control_cancel:done(Token).
ok
```

A cancellation may overtake its request: it goes ahead of all data. So one for an id that its owner has no token of is
remembered, for five seconds unless configured otherwise, and `new/1` with that id returns a token that is cancelled
already, its permit freed. Ids are used once: one that is cancelled when its task is done is remembered too.

The options of `new/1`:

| option | value | default | meaning |
| --- | --- | --- | --- |
| `id` | any term, undefined for none | `undefined` | By which the owner's task is cancelled, and which is told. |
| `owner` | a pid of this node |  | Whose death cancels the task with the reason `owner_down`, and in whose name its id is; the caller unless given. |
| `permit` | undefined, or a permit of `erlmcp_queue_limits:acquire/2` | `undefined` | The place that is freed when the task is cancelled or done. |
| `notify` | undefined, or a priority alias | `undefined` | Gets `{urgent, {cancelled, Id, Reason}}` once, when the task is cancelled. |

How long, and how many, is configured by `{cancel, #{tombstone_ms => 5000, max_tombstones => 65536}}`
(`m:erlmcp_control_notifier`).

**Whoever has it.** A token is a term: it may be sent to other processes of this node, and means nothing on another.
It is forgotten as by `done/1` when no process has it any more, so that a task that crashes leaves nothing. Keep it for
as long as the task runs, also if only the message is wanted.

**First wins.** A token is cancelled once: the first reason stays, one message is sent, the place is freed once. What
comes after that, or after `done/1`, is `ok` and does nothing. A message that was on its way when `done/1` was called
still arrives. The place of a task that was done counts as one that was released; that of one that was cancelled, or let
go, says nothing of how fast the owner drains.

**Who sends.** Whoever calls `cancel/2,3`, before it returns, and `new/1` where the task was cancelled early. Nobody
calls when an owner dies: flags are set and places freed by the runtime itself, at once (of an owner with more than some
hundred tokens the others follow on a thread of their own), and a process of the control plane sends the messages. It
sends for callers, too, that are killed before they have; one that is killed just after it has sent may be sent for once
more. While that process is away, messages wait for its successor, a million at most.

Ids and reasons can be any term of up to 2 MiB in the external format (`byte_size(term_to_binary(Id))`). Those that are
atoms, binaries or integers of 60 bits are the quickest.

Needs the service of the control plane: `new/1`, `cancel/2` by id, `cancel/3` and `get_stats/0` exit with
`{noproc, {Module, Function, Args}}` while it is not started. What concerns a token in hand does not. Tokens and what is
remembered survive a crash of its process; when it is stopped, what was remembered is forgotten, and nobody is told of
owners that die before it is started again.
""".

-export([new/1, is_cancelled/1, reason/1, done/1]).
-export([cancel/2, cancel/3]).
-export([get_stats/0]).
-export([tell/1, table/0]).

-export_type([token/0, id/0, reason/0, options/0, stats/0]).

-doc "A token is held by whoever runs a task, or is to cancel it.".
-type token() :: erlmcp_native:cancel_token().
-doc "An id is any term, in the name of an owner: that of a request on a connection.".
-type id() :: term().
-doc "This is why a task was cancelled: what the canceller has said, or `owner_down`.".
-type reason() :: term().
-doc "A task is described by these, as a map or a keyword list.".
-type options() :: #{
    id => id(),
    owner => pid(),
    permit => erlmcp_queue_limits:permit() | undefined,
    notify => erlmcp_priority:alias() | undefined
}.
-doc "These are the numbers of this node, since the library was loaded.".
-type stats() :: #{
    %% Neither done nor let go, and of an owner that lives.
    tokens := non_neg_integer(),
    %% Cancellations that are remembered.
    tombstones := non_neg_integer(),
    %% So many are at most: `max_tombstones` of the configuration.
    tombstones_limit := non_neg_integer(),
    %% Tasks by how they were cancelled: by a call, by one that came before its task, by the owner's death.
    cancelled := #{asked := non_neg_integer(), early := non_neg_integer(), owner_down := non_neg_integer()},
    %% Cancellations forgotten before their time, since there were too many.
    displaced := non_neg_integer(),
    %% Messages that wait to be sent.
    notices := non_neg_integer(),
    %% Messages given up, since a million waited.
    notices_dropped := non_neg_integer()
}.

-import(erlmcp_native_error, [raise/2]).

-compile({inline, [label/1, term/1, is_long/1]}).

-define(OPTIONS, [id, owner, permit, notify]).
-define(SMALLEST, -(1 bsl 59)).
-define(LARGEST, ((1 bsl 59) - 1)).
%% Labels that are longer than the one are read and written on a dirty scheduler, and longer than the other refused.
-define(LONG, 65_536).
-define(LONGEST, 2_097_152).
-define(is_written(Term),
    (is_atom(Term) orelse (is_integer(Term) andalso Term >= ?SMALLEST andalso Term =< ?LARGEST))
).

-doc """
Makes a token for a task. It is cancelled already, and its permit freed, if its id was cancelled shortly before, or its
owner is dead. While the owner has a token with the same id, it is `{error, already_known}`, and the permit stays the
caller's.

Raises `badarg` for what is no such option, with what is wrong with it: among others for an alias that its process has
given up. One whose process is dead is none that could be told, and no error.
""".
-spec new(options() | [{atom(), term()}]) -> token() | {error, already_known}.
new(Options) when is_map(Options) ->
    Id = maps:get(id, Options, undefined),
    Owner = maps:get(owner, Options, self()),
    Permit = maps:get(permit, Options, undefined),
    Alias = maps:get(notify, Options, undefined),
    Call = {?MODULE, ?FUNCTION_NAME, [Options]},
    Label = label(Id),
    case length([Name || Name <- ?OPTIONS, is_map_key(Name, Options)]) =:= map_size(Options) of
        true -> made(native_new(Label, Owner, Permit, Alias), Options, Call);
        false -> wrong(bad_option, Options, Call)
    end;
new(Options) ->
    case erlmcp_native_options:check(erlmcp_native_options:options(table()), Options) of
        {ok, Checked} -> new(Checked);
        {error, Problem} -> raise({bad_option, Problem}, {?MODULE, ?FUNCTION_NAME, [Options]})
    end.

native_new(Label, Owner, Permit, Alias) ->
    case is_long(Label) of
        false -> erlmcp_native:cancel_new(Label, Owner, Permit, Alias);
        true -> erlmcp_native:cancel_new_long(Label, Owner, Permit, Alias)
    end.

made(Token, _, _) when is_reference(Token) ->
    Token;
made({tell, Token, Telling}, _, _) ->
    ok = tell(Telling),
    Token;
made(already_known = Known, _, _) ->
    {error, Known};
made(not_started = Fault, _, Call) ->
    raise(Fault, Call);
made(Fault, Options, Call) ->
    wrong(Fault, Options, Call).

%% The table knows how to say what.
-spec wrong(erlmcp_native:fault(), map(), {module(), atom(), [term()]}) -> no_return().
wrong(Fault, Options, Call) ->
    case erlmcp_native_options:check(erlmcp_native_options:options(table()), Options) of
        {error, Problem} -> raise({bad_option, Problem}, Call);
        %% It was given up just now, say.
        {ok, _} -> raise(Fault, Call)
    end.

-doc "Tells whether the task was cancelled. Any process may ask, also when the task is done or its owner dead.".
-spec is_cancelled(token()) -> boolean().
is_cancelled(Token) ->
    case erlmcp_native:cancel_check(Token) of
        Cancelled when is_boolean(Cancelled) -> Cancelled;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Token]})
    end.

-doc "Returns why the task was cancelled, and `undefined` if it was not.".
-spec reason(token()) -> reason() | undefined.
reason(Token) ->
    case erlmcp_native:cancel_check(Token) of
        true -> term(native_reason(Token));
        false -> undefined;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Token]})
    end.

native_reason(Token) ->
    case erlmcp_native:cancel_reason(Token) of
        long -> erlmcp_native:cancel_reason_long(Token);
        Reason -> Reason
    end.

-doc "Forgets a token, since its task has ended, and frees its permit. Once more it is `ok` and does nothing.".
-spec done(token()) -> ok.
done(Token) ->
    case erlmcp_native:cancel_done(Token) of
        ok -> ok;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Token]})
    end.

-doc """
Cancels the task of a token; or, of what is no token, the task that the caller has under this id, or will have within
the next five seconds. Returns when whoever is to be told has been sent the message.
""".
-spec cancel(token() | id(), reason()) -> ok.
cancel(Token, Reason) when is_reference(Token) ->
    Call = {?MODULE, ?FUNCTION_NAME, [Token, Reason]},
    case cancel_token(Token, label(Reason)) of
        bad_token -> cancel_id(self(), Token, Reason, Call);
        Result -> told(Result, Call)
    end;
cancel(Id, Reason) ->
    cancel_id(self(), Id, Reason, {?MODULE, ?FUNCTION_NAME, [Id, Reason]}).

-doc """
Cancels the task that an owner has under this id, or will have within the next five seconds, known or not. Of an owner
that is dead there is nothing left to cancel. Raises `badarg` for one that is no pid of this node.
""".
-spec cancel(Owner :: pid(), id(), reason()) -> ok.
cancel(Owner, Id, Reason) ->
    cancel_id(Owner, Id, Reason, {?MODULE, ?FUNCTION_NAME, [Owner, Id, Reason]}).

cancel_token(Token, Label) ->
    case is_long(Label) of
        false -> erlmcp_native:cancel_token(Token, Label);
        true -> erlmcp_native:cancel_token_long(Token, Label)
    end.

cancel_id(Owner, Id, Reason, Call) ->
    {IdLabel, ReasonLabel} = {label(Id), label(Reason)},
    case is_long(IdLabel) orelse is_long(ReasonLabel) of
        false -> told(erlmcp_native:cancel_id(Owner, IdLabel, ReasonLabel), Call);
        true -> told(erlmcp_native:cancel_id_long(Owner, IdLabel, ReasonLabel), Call)
    end.

told(ok, _) -> ok;
told({tell, Telling}, _) -> tell(Telling);
told(bad_process, Call) -> raise(bad_pid, Call);
told(Fault, Call) -> raise(Fault, Call).

-doc false.
-spec tell(erlmcp_native:cancel_telling()) -> ok.
tell(Telling) ->
    {Alias, Id, Reason} = native_notice(Telling),
    _ = erlang:send(Alias, {urgent, {cancelled, term(Id), term(Reason)}}, [priority]),
    _ = erlmcp_native:cancel_told(Telling),
    ok.

native_notice(Telling) ->
    case erlmcp_native:cancel_notice(Telling) of
        long -> erlmcp_native:cancel_notice_long(Telling);
        Notice -> Notice
    end.

-doc "Returns how many tokens and tombstones there are, and how many tasks were cancelled.".
-spec get_stats() -> stats().
get_stats() ->
    case erlmcp_native:cancel_stats() of
        Stats when is_map(Stats) -> Stats;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, []})
    end.

%% Equal terms are written alike. What is too long is none.
label(Term) when is_binary(Term) -> short(Term, Term);
label(Term) when ?is_written(Term) -> Term;
label(Term) ->
    External = term_to_binary(Term, [deterministic]),
    short(External, {External}).

short(Binary, Label) when byte_size(Binary) =< ?LONGEST -> Label;
short(_Binary, _Label) -> [].

term({External}) -> binary_to_term(External);
term(Term) -> Term.

is_long({External}) -> byte_size(External) > ?LONG;
is_long(Label) -> is_binary(Label) andalso byte_size(Label) > ?LONG.

-doc false.
-spec table() -> erlmcp_native_options:table().
table() ->
    [
        #{
            name => id,
            type => erlmcp_native_options:checked("any term, undefined for none", fun(_) -> true end),
            default => undefined,
            doc => ~"By which the owner's task is cancelled, and which is told."
        },
        #{
            name => owner,
            type => erlmcp_native_options:checked("a pid of this node", fun erlmcp_native_pid:is_local/1),
            default => none,
            shown => ~"",
            doc => <<
                "Whose death cancels the task with the reason `owner_down`, and in whose name its id is; the caller "
                "unless given."
            >>
        },
        #{
            name => permit,
            type => unless_undefined("a permit of `erlmcp_queue_limits:acquire/2`", fun is_reference/1),
            default => undefined,
            doc => ~"The place that is freed when the task is cancelled or done."
        },
        #{
            name => notify,
            type => unless_undefined("a priority alias", fun is_alias/1),
            default => undefined,
            doc => ~"Gets `{urgent, {cancelled, Id, Reason}}` once, when the task is cancelled."
        }
    ].

is_alias(Alias) ->
    is_reference(Alias) andalso lists:member(erlmcp_native:alias_check(Alias), [ok, dead]).

unless_undefined(Expected, Check) ->
    erlmcp_native_options:optional(undefined, erlmcp_native_options:checked(Expected, Check)).
