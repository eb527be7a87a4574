-module(erlmcp_queue_limits).
-moduledoc """
A cap on what waits for each process, per role: refusals instead of queues without bounds.

A *role* is any atom, an *owner* a process of this node, by its pid or as `{name, Atom}`, or an atom. An owner has a
depth in each of its roles, and each role a limit that holds for each of its owners. The mailbox of a process, as it
is, is limited by `m:erlmcp_overload_mailbox`; what is here is a count that callers keep. Counting happens in the
calling process, in native memory: no message is sent, so a burst cannot pile up in a mailbox, and every process sees a
count at once. When a process dies, all its counts go, within 100 ms. Atoms stay until `forget/2`.

A place is best held by a *permit*, which frees it by itself:

```erlang
case erlmcp_queue_limits:acquire(session, Pid) of
    {ok, Permit} -> Pid ! {Request, Permit};
    {error, {capacity_exceeded, Stats}} -> erlmcp_queue_limits:to_json_rpc_error(Id, Stats)
end
```

and `release(Permit)` in `Pid` when it is done. The place is free when the permit is released, by whatever process,
when the owner dies, and when nobody holds the term any more: the message was dropped, or the worker that had it was
killed. A process that lives on and has merely forgotten a permit lets go of it when its garbage is next collected,
which for an idle one may be long after: releasing is the rule, and the rest is for accidents, which do not count for
how fast the owner drains. `try_enqueue/2` takes a place that only `record_dequeue/2` gives back: a caller that is
killed between the two, or forgets the second, leaves the owner with one place less.

`{name, Atom}` stands for the process that is registered under that name, looked up at each call. Enqueued under the
name and dequeued by `self()` is one count; it goes with the process, and a restarted one begins at 0. While nobody is
registered, it is as a pid that is dead. An atom alone is a key of its own, and never looked up.

| role | limit |
| --- | --- |
| `session` | 10000 |
| `sse_stream` | 5000 |
| `task_worker` | 1000 |
| `tool_executor` | 500 |
| `transport` | 2000 |
| `default` | 1000 |

These six exist from the start. Any other, up to 1024 in all, exists from its first record or its first
`set_limit/2`, and follows the limit of `default`, live, until it gets its own. Limits are configured in
`m:erlmcp_native_app`; what `set_limit/2`, `set_reserve/2` and `set_enabled/1` set wins over that until the service is
stopped. Counts, limits and the switch survive a crash of the service's process, and calls go on
meanwhile.

Every function raises `badarg` for a role that is no atom and for what is no owner: a pid of another node, a port or
the name of one, `{name, undefined}`; and `system_limit` where it would make the 1025th role. While the service is not
started, `record_enqueue/2`, `record_dequeue/2` and `record_dequeue/3` return `ok` and count nothing and `release/1`
finds its place gone, so that a process that ends after it does not crash; every other function that needs the service
exits with `{noproc, {Module, Function, Args}}`, whatever its arguments.

Refusals are logged as warnings, at most one line a second and role.
""".

-export([start_link/0]).
-export([check_capacity/2, check_capacity/3, try_enqueue/2, try_enqueue/3, try_enqueue_any/2, try_enqueue_any/3]).
-export([record_enqueue/2, record_dequeue/2, record_dequeue/3, forget/2]).
-export([with_capacity/3, acquire/2, acquire/3, release/1]).
-export([get_queue_depth/1, get_queue_depth/2, get_role_stats/1, get_all_stats/0, reset_stats/1]).
-export([set_limit/2, get_limit/1, get_all_limits/0, set_reserve/2, get_reserve/1, set_enabled/1]).
-export([set_caps/2, get_caps/1]).
-export([to_json_rpc_error/2, to_json_rpc_error/3, retry_after_seconds/1]).

-export_type([role/0, process_role/0, owner/0, owner_key/0, limit/0, limit_setting/0, limit_config/0]).
-export_type([role_stats/0, refusal/0, rate_refusal/0]).
-export_type([permit/0, class/0, reserve/0, caps/0, reason/0, options/0]).

-doc "A role is the kind of work that waits, such as `session`; any atom is one.".
-type role() :: atom().
-doc "A process role is what erlmcp calls a `t:role/0`.".
-type process_role() :: role().
-doc """
An owner is a process of this node, an atom, or, as `{name, Atom}`, the process that is registered under a name at the
time of the call. An atom alone is a key of its own; it is not looked up as a registered name.
""".
-type owner() :: owner_key() | {name, atom()}.
-doc "An owner's key is what it is counted under and what is shown of it, of a process its pid.".
-type owner_key() :: pid() | atom().
-doc """
A permit holds one place of an owner. It may be sent in messages and kept anywhere; a copy is the same permit. It is of
this node: a copy on another, in a file, or made by `term_to_binary/1` does not hold the place.
""".
-opaque permit() :: erlmcp_native:permit().
-doc "A class says how much a request matters. `critical` is that of every request that names none.".
-type class() :: critical_plus | critical | sheddable_plus | sheddable.
-doc "A reserve says which percentage of the limit each class may not use.".
-type reserve() :: #{critical => 0..100, sheddable_plus => 0..100, sheddable => 0..100}.
-doc "Caps say what all owners of a role may have together.".
-type caps() :: #{total => limit(), bytes => limit()}.
-doc "Options say something of a request, see `m:erlmcp_native_request`: a map, or a keyword list.".
-type options() ::
    #{class => class(), bytes => 1..281474976710655, deadline_ms => integer()} | [proplists:property()].
-doc """
A limit is the depth per owner from which requests are refused, from 0, which refuses everything, to 2^59 - 1; with
`infinity` nothing is ever refused, counting goes on, and no alert level is reached.
""".
-type limit() :: 0..576460752303423487 | infinity.
-doc """
A limit is set as a number, as `infinity`, or in milliseconds: for so long somebody should wait at most, see
`set_limit/2`.
""".
-type limit_setting() :: limit() | {wait, TargetMs :: 1..1000000, #{min => 1..1048575, max => 1..4194303}}.
-doc "These are limits by role, as they are configured, and as `get_all_limits/0` returns them.".
-type limit_config() :: #{role() => limit_setting()}.
%% What erlmcp's has not is optional, so that a function that is specified by erlmcp's type may return this; all but the
%% last five are always there.
-doc """
These are a role's numbers. Each is exact; while others count, they may be a few operations apart. At rest
`total_enqueued = total_dequeued - unmatched_dequeues + total_released + current_depth`, as far as they were counted
since the last `reset_stats/1`.
""".
-type role_stats() :: #{
    role := role(),
    %% Sum over the role's owners.
    current_depth := non_neg_integer(),
    %% The highest depth that one owner reached.
    max_depth := non_neg_integer(),
    total_enqueued := non_neg_integer(),
    %% Unmatched ones included.
    total_dequeued := non_neg_integer(),
    %% Dequeues that found depth 0 or no owner.
    unmatched_dequeues => non_neg_integer(),
    %% Depth given up by owners that died or were forgotten.
    total_released => non_neg_integer(),
    total_rejected := non_neg_integer(),
    %% The same number.
    capacity_exceeded_count := non_neg_integer(),
    %% System time in milliseconds.
    last_capacity_exceeded := integer() | undefined,
    owners => non_neg_integer(),
    limit => limit(),
    %% In a refusal only: see refusal().
    process => owner_key(),
    depth => non_neg_integer(),
    class => class(),
    reason => reason(),
    retry_after_ms => 1..60000
}.
-doc """
A reason says why a request was refused: the first of these that held. `node`: the node is hard pressed, and has to do
without requests of this class (`m:erlmcp_overload_node`). `full`: the owner's depth was at the limit. `class`: what was
left of the limit is reserved for higher classes (`set_reserve/2`). `deadline`: it would not have been done in time.
`role` and `bytes`: all owners of the role together had as many, or as many bytes, as they may (`set_caps/2`).
""".
-type reason() :: node | full | class | deadline | role | bytes.
-doc """
A refusal has the role's numbers with `process`, its `depth` that decided, the `class` of the request, the `reason`, and
`retry_after_ms`, an estimate of when there will be room: (depth - limit + 1) / what the owner does per millisecond
while any wait, which is measured by those that waited. The limit is what the class may use of it, or what is done until
the deadline. Of an owner for which nobody has waited yet behind another it is (depth - limit + 1) × owners / what the
role drained per millisecond over the last ten seconds, or since it began to drain after a quiet time, if that is less.
Where it is the role that has no room, as many have to leave as it has too many, of whichever owners. It is between 1
and 60000, and 1000 when nothing drained. Where the reason is `node` it is 1000 at least, since how long the node is
pressed its queues do not tell.
""".
-type refusal() :: role_stats().
-doc """
A rate's refusal has the `name` of the limit and the `key` whose rate it is, both any terms; the `limit` itself, which
is how many may come in a second, minute or hour; how much is `remaining` now; in how many milliseconds what was refused
will be let in, if nothing else comes, and in how many the key will have its whole burst again. With a `rate` in it,
such as `{100, minute}`, HTTP clients are told the unit of the limit, too.
""".
-type rate_refusal() :: #{
    name := term(),
    limit := pos_integer(),
    remaining := non_neg_integer(),
    retry_after_ms := non_neg_integer(),
    key => term(),
    reset_ms => non_neg_integer(),
    rate => {pos_integer(), second | minute | hour},
    atom() => term()
}.

%% What erlmcp calls MCP_ERROR_RATE_LIMITED.
-define(RATE_LIMITED, -32010).

%% As of `m:erlmcp_native_request`.
-define(MOST_BYTES, 16#ffffffffffff).

-import(erlmcp_native_error, [raise/2]).
-import(erlmcp_native_owner, [by_name/4, by_name/5, counted/6]).

-doc """
Starts the service of the queue limits. It runs natively; the process owns the name and writes the log.

A service that the application has started is taken over: it is the caller's from then on, with all its counts, and the
application's again only when that is started anew. Whoever comes next gets `already_started`.
""".
-spec start_link() -> {ok, pid()} | {error, {already_started, pid()} | term()}.
start_link() ->
    erlmcp_limits_server:start_link().

-doc """
Tells whether the owner's depth in a role is below the limit, and takes nothing: between this and `record_enqueue/2`
others may come. A refusal counts in `total_rejected`. Of an owner whose mailbox is limited in the role
(`m:erlmcp_overload_mailbox`), its length is asked for now.
""".
-spec check_capacity(role(), owner()) -> ok | {error, {capacity_exceeded, refusal()}}.
check_capacity(Role, Owner) ->
    case erlmcp_native:limits_check(own, Role, Owner) of
        ok -> ok;
        {refused, Stats} -> {error, {capacity_exceeded, Stats}};
        wrong_kind -> check_mailbox(Role, Owner, [], {?MODULE, ?FUNCTION_NAME, [Role, Owner]});
        Fault ->
            Call = {?MODULE, ?FUNCTION_NAME, [Role, Owner]},
            counted(Fault, Role, Owner, fun ok/0, fun(Pid) -> check_capacity(Role, Pid) end, Call)
    end.

-doc "Does what `check_capacity/2` does, with options.".
-spec check_capacity(role(), owner(), options()) -> ok | {error, {capacity_exceeded, refusal()}}.
check_capacity(Role, Owner, Options) ->
    case erlmcp_native:limits_check(own, Role, Owner, Options) of
        ok -> ok;
        {refused, Stats} -> {error, {capacity_exceeded, Stats}};
        wrong_kind -> check_mailbox(Role, Owner, Options, {?MODULE, ?FUNCTION_NAME, [Role, Owner, Options]});
        bad_option ->
            case erlmcp_native_request:map(Options) of
                {ok, Map} -> check_capacity(Role, Owner, Map);
                Bad -> raise(Bad, {?MODULE, ?FUNCTION_NAME, [Role, Owner, Options]})
            end;
        Fault ->
            Call = {?MODULE, ?FUNCTION_NAME, [Role, Owner, Options]},
            counted(Fault, Role, Owner, fun ok/0, fun(Pid) -> check_capacity(Role, Pid, Options) end, Call)
    end.

check_mailbox(Role, Pid, Options, Call) ->
    case erlmcp_native:mailbox_check(own, Role, Pid, length_of(Pid), Options) of
        ok -> ok;
        {refused, Stats} -> {error, {capacity_exceeded, Stats}};
        Fault -> raise(Fault, Call)
    end.

%% As of one that is not there.
length_of(Pid) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} -> Length;
        undefined -> 0
    end.

-doc """
Takes a place for the owner in a role if there is room: `check_capacity/2` and `record_enqueue/2` as one atomic step,
so that whatever the number of callers, no owner passes its limit through this. For a dead pid it returns `ok`, and
nothing is counted.
""".
-spec try_enqueue(role(), owner()) -> ok | {error, {capacity_exceeded, refusal()}}.
try_enqueue(Role, Owner) ->
    case erlmcp_native:limits_try_enqueue(own, Role, Owner) of
        ok -> ok;
        {refused, Stats} -> {error, {capacity_exceeded, Stats}};
        Fault ->
            Call = {?MODULE, ?FUNCTION_NAME, [Role, Owner]},
            counted(Fault, Role, Owner, fun ok/0, fun(Pid) -> try_enqueue(Role, Pid) end, Call)
    end.

-doc "Does what `try_enqueue/2` does, with options.".
-spec try_enqueue(role(), owner(), options()) -> ok | {error, {capacity_exceeded, refusal()}}.
try_enqueue(Role, Owner, Options) ->
    case erlmcp_native:limits_try_enqueue(own, Role, Owner, Options) of
        ok -> ok;
        {refused, Stats} -> {error, {capacity_exceeded, Stats}};
        bad_option ->
            case erlmcp_native_request:map(Options) of
                {ok, Map} -> try_enqueue(Role, Owner, Map);
                Bad -> raise(Bad, {?MODULE, ?FUNCTION_NAME, [Role, Owner, Options]})
            end;
        Fault ->
            Call = {?MODULE, ?FUNCTION_NAME, [Role, Owner, Options]},
            counted(Fault, Role, Owner, fun ok/0, fun(Pid) -> try_enqueue(Role, Pid, Options) end, Call)
    end.

-doc """
Runs `Fun` in the calling process, which holds a place of the owner meanwhile. The place is free again when `Fun`
returns, when it raises, which passes on, and when the caller is killed.

What this bounds is how many callers are inside `Fun` at once, and not what waits for the owner: a call that has timed
out has given its place back, and its message is still in the mailbox of a server that hangs. A mailbox is bounded by
`m:erlmcp_overload_mailbox`; a place that is to last for as long as the work does travels with it as a permit, by
`acquire/2`. For a dead owner `Fun` runs, and nothing is counted.
""".
-spec with_capacity(role(), owner(), fun(() -> Result)) ->
    {ok, Result} | {error, {capacity_exceeded, refusal()}}.
with_capacity(Role, Owner, Fun) when is_function(Fun, 0) ->
    case erlmcp_native:limits_acquire(own, Role, Owner) of
        {ok, Permit} ->
            erlmcp_native_wait:holding(Fun, Permit);
        {refused, Stats} ->
            {error, {capacity_exceeded, Stats}};
        Fault ->
            Call = {?MODULE, ?FUNCTION_NAME, [Role, Owner, Fun]},
            counted(Fault, Role, Owner, fun() -> {ok, Fun()} end, fun(Pid) -> with_capacity(Role, Pid, Fun) end, Call)
    end;
with_capacity(Role, Owner, Fun) ->
    raise(bad_fun, {?MODULE, ?FUNCTION_NAME, [Role, Owner, Fun]}).

-doc """
Takes a place for the owner in a role if there is room, as `try_enqueue/2` does, and returns a permit that holds it. For
a dead owner nothing is counted, and the permit holds nothing.
""".
-spec acquire(role(), owner()) -> {ok, permit()} | {error, {capacity_exceeded, refusal()}}.
acquire(Role, Owner) ->
    place(Role, Owner, [], {?MODULE, ?FUNCTION_NAME, [Role, Owner]}).

-doc "Does what `acquire/2` does, with options.".
-spec acquire(role(), owner(), options()) -> {ok, permit()} | {error, {capacity_exceeded, refusal()}}.
acquire(Role, Owner, Options) ->
    place(Role, Owner, Options, {?MODULE, ?FUNCTION_NAME, [Role, Owner, Options]}).

place(Role, Owner, Options, Call) ->
    case erlmcp_native:limits_acquire(own, Role, Owner, Options) of
        {ok, _} = Acquired ->
            Acquired;
        {refused, Stats} ->
            {error, {capacity_exceeded, Stats}};
        bad_option ->
            case erlmcp_native_request:map(Options) of
                {ok, Map} -> place(Role, Owner, Map, Call);
                Bad -> raise(Bad, Call)
            end;
        Fault ->
            Place = fun
                (nobody) -> no_place(Role, Call);
                (Pid) -> place(Role, Pid, Options, Call)
            end,
            by_name(Fault, Owner, Place, Call)
    end.

no_place(Role, Call) ->
    case erlmcp_native:limits_acquire(own, Role) of
        {ok, _} = Acquired -> Acquired;
        Fault -> raise(Fault, Call)
    end.

-doc """
Gives the place of a permit back, in whatever process; it counts as dequeued. `{error, released}` says that there is
none to give back, and takes nothing: it was given back before, or it went, and then counted as released, with its
owner, by `forget/2`, or when the service was stopped; or the owner was dead when it was acquired. Raises `badarg` for
what is no permit.
""".
-spec release(permit()) -> ok | {error, released}.
release(Permit) ->
    case erlmcp_native:limits_give_back(Permit) of
        ok -> ok;
        released -> {error, released};
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Permit]})
    end.

-doc """
Takes a place for one of several owners, which it returns as it was given: of two that are chosen at random for that
with the smaller depth, or, where both are full or dead, for that of the others with the smallest. Refused if all are
full, which counts as one refusal; `{error, noproc}` if all are dead. `erlmcp_overload_mailbox:send_any/3` chooses by
the same rule.
""".
-spec try_enqueue_any(role(), [owner(), ...]) ->
    {ok, owner()} | {error, {capacity_exceeded, refusal()}} | {error, noproc}.
try_enqueue_any(Role, Owners) ->
    any(Role, Owners, [], {?MODULE, ?FUNCTION_NAME, [Role, Owners]}).

-doc "Does what `try_enqueue_any/2` does, with options.".
-spec try_enqueue_any(role(), [owner(), ...], options()) ->
    {ok, owner()} | {error, {capacity_exceeded, refusal()}} | {error, noproc}.
try_enqueue_any(Role, Owners, Options) ->
    any(Role, Owners, Options, {?MODULE, ?FUNCTION_NAME, [Role, Owners, Options]}).

any(Role, Owners, Options, Call) ->
    case erlmcp_native_owner:any(Role, Owners, Options) of
        {ok, _} = Enqueued -> Enqueued;
        {error, noproc} = Nobody -> Nobody;
        {refused, Stats} -> {error, {capacity_exceeded, Stats}};
        Fault -> raise(Fault, Call)
    end.

-doc """
Adds one to an owner's depth, beyond the limit too. For a dead pid, and while the service is not started, nothing is
counted.
""".
-spec record_enqueue(role(), owner()) -> ok.
record_enqueue(Role, Owner) ->
    case erlmcp_native:limits_enqueue(own, Role, Owner) of
        ok -> ok;
        Fault -> not_recorded(Fault, Role, Owner, {?MODULE, ?FUNCTION_NAME, [Role, Owner]})
    end.

-doc """
Takes one from an owner's depth, never below 0: a dequeue without a matching enqueue counts in `unmatched_dequeues`.
For a dead pid, and while the service is not started, nothing is counted.
""".
-spec record_dequeue(role(), owner()) -> ok.
record_dequeue(Role, Owner) ->
    case erlmcp_native:limits_dequeue(own, Role, Owner) of
        ok -> ok;
        Fault -> not_recorded(Fault, Role, Owner, {?MODULE, ?FUNCTION_NAME, [Role, Owner]})
    end.

-doc """
Takes one from an owner's depth, as `record_dequeue/2` does, with something to say of it.

`#{bytes => Bytes}` gives these bytes back to the role, of which there is a cap (`set_caps/2`): as many as were said
when it came. No more are given back than the owner has. Those that are not, since nothing was said here, are when the
owner dies or is forgotten.

`dropped` is one that was not done, as it had expired or was cancelled. It counts as a dequeue, but not for how fast the
owner drains: dropping goes faster than doing. Of one that has bytes that is `#{dropped => true, bytes => Bytes}`.
""".
-spec record_dequeue(role(), owner(), How) -> ok when
    How :: dropped | #{bytes => pos_integer(), dropped => boolean()} | [proplists:property()].
record_dequeue(Role, Owner, dropped = How) ->
    case erlmcp_native:limits_discard(own, Role, Owner) of
        ok -> ok;
        Fault -> not_recorded(Fault, Role, Owner, {?MODULE, ?FUNCTION_NAME, [Role, Owner, How]})
    end;
record_dequeue(Role, Owner, #{bytes := Bytes} = How) when
    map_size(How) =:= 1, is_integer(Bytes), Bytes > 0, Bytes =< ?MOST_BYTES
->
    case erlmcp_native:limits_dequeue(own, Role, Owner, Bytes) of
        ok -> ok;
        Fault -> not_recorded(Fault, Role, Owner, {?MODULE, ?FUNCTION_NAME, [Role, Owner, How]})
    end;
record_dequeue(Role, Owner, How) when is_map(How); is_list(How) ->
    Leaving = erlmcp_native_request:leaving(How),
    case dequeue_with(Role, Owner, Leaving) of
        ok -> ok;
        bad_option -> wrongly_left(Role, Leaving, {?MODULE, ?FUNCTION_NAME, [Role, Owner, How]});
        Fault -> not_recorded(Fault, Role, Owner, {?MODULE, ?FUNCTION_NAME, [Role, Owner, How]})
    end;
record_dequeue(Role, Owner, How) ->
    wrongly_left(Role, bad_dequeue, {?MODULE, ?FUNCTION_NAME, [Role, Owner, How]}).

dequeue_with(Role, Owner, {ok, #{dropped := true, bytes := Bytes}}) ->
    erlmcp_native:limits_discard(own, Role, Owner, Bytes);
dequeue_with(Role, Owner, {ok, #{dropped := true}}) ->
    erlmcp_native:limits_discard(own, Role, Owner);
dequeue_with(Role, Owner, {ok, #{bytes := Bytes}}) ->
    erlmcp_native:limits_dequeue(own, Role, Owner, Bytes);
dequeue_with(Role, Owner, {ok, #{}}) ->
    erlmcp_native:limits_dequeue(own, Role, Owner);
dequeue_with(_, _, _) ->
    bad_option.

%% A service that is not started is no fault here, and what is wrong is wrong all the same.
-spec wrongly_left(term(), erlmcp_native_error:reason(), {module(), atom(), [term()]}) -> no_return().
wrongly_left(Role, Bad, Call) ->
    case erlmcp_native_owner:unless_earlier(Role, Bad) of
        not_started when is_atom(Role) -> raise(Bad, Call);
        not_started -> raise(bad_role, Call);
        Fault -> raise(Fault, Call)
    end.

%% The library has not looked at the arguments of a call to a service that is not started.
not_recorded(not_started, Role, Owner, Call) when is_atom(Role) ->
    case erlmcp_native_owner:is_owner(Owner) of
        true -> ok;
        false -> raise(bad_owner, Call)
    end;
not_recorded(not_started, _, _, {_, _, _} = Call) -> raise(bad_role, Call);
not_recorded(Fault, Role, Owner, {_, Function, [_, _ | How]} = Call) ->
    Record = fun(Pid) -> apply(?MODULE, Function, [Role, Pid | How]) end,
    counted(Fault, Role, Owner, fun ok/0, Record, Call).

ok() -> ok.

-doc "Drops the owner's count in a role; what it held counts as released.".
-spec forget(role(), owner()) -> ok.
forget(Role, Owner) ->
    case erlmcp_native:limits_forget(own, Role, Owner) of
        ok -> ok;
        Fault ->
            Call = {?MODULE, ?FUNCTION_NAME, [Role, Owner]},
            counted(Fault, Role, Owner, fun ok/0, fun(Pid) -> forget(Role, Pid) end, Call)
    end.

-doc "Returns the owner's depth in a role, 0 if either is unknown. A mailbox that is limited is as long as it is now.".
-spec get_queue_depth(role(), owner()) -> non_neg_integer().
get_queue_depth(Role, Owner) ->
    case erlmcp_native:limits_depth(own, Role, Owner) of
        Depth when is_integer(Depth) -> Depth;
        mailbox -> length_of(Owner);
        Fault ->
            Call = {?MODULE, ?FUNCTION_NAME, [Role, Owner]},
            by_name(Fault, Owner, 0, fun(Pid) -> get_queue_depth(Role, Pid) end, Call)
    end.

-doc """
Returns the owner's depth over all its roles, or `{error, not_found}` if it has none. Its mailbox counts once, if it is
limited in any.
""".
-spec get_queue_depth(owner()) -> non_neg_integer() | {error, not_found}.
get_queue_depth(Owner) ->
    case erlmcp_native:limits_depth(own, Owner) of
        Depth when is_integer(Depth) -> Depth;
        {Counted, mailbox} -> Counted + length_of(Owner);
        not_found -> {error, not_found};
        Fault ->
            Call = {?MODULE, ?FUNCTION_NAME, [Owner]},
            by_name(Fault, Owner, {error, not_found}, fun(Pid) -> get_queue_depth(Pid) end, Call)
    end.

-doc """
Sets a role's limit, for each of its owners. An admission that starts after this has returned obeys it; a depth may
stand above a lowered limit. Raises `badarg` for what is no limit, and `system_limit` for the 1025th role.

A limit may be said in milliseconds: with `{wait, TargetMs, Options}` nobody is to wait for longer than the target, and
each owner has a limit of its own, as many as it does in that time. How fast an owner drains is measured by requests
that others waited before: from when one came until it was taken out, as many were done as waited with it. What is taken
out undone is said by `record_dequeue/3`.

```erlang
1> erlmcp_queue_limits:set_limit(tool_executor, {wait, 500, #{min => 5}}).
ok
2> erlmcp_queue_limits:get_limit(tool_executor).
{wait,500,#{max => 500,min => 5}}
```

The limit is between `min`, 10 unless it is given, and `max`, which is the number there was before, unless it is given,
and 4194303 at most; in the configuration it is the default limit of the role. It is `max` before anything was
measured. With each measurement it falls as far as it should, or rises, at most to twice what it was; and it stays
while fewer wait than half of what it should be, and does not rise while fewer wait than half of what the lowest class
may use of it (`set_reserve/2`). Of less than 75 that are done within the target some are left out, since chance makes
more of a difference then. Below 2 nothing could be measured any more, so that is the least, unless `max` is 1; for the
same reason `min` should leave two places to each class that may be the only one that comes. Mailboxes
(`m:erlmcp_overload_mailbox`) have `max`, since nobody says when something is taken out of one. What `get_role_stats/1`
has as the limit of such a role is `max`; each owner's own is in the rows of `m:erlmcp_overload_monitor`, in alerts, and
in refusals.
""".
-spec set_limit(role(), limit_setting()) -> ok.
set_limit(Role, Limit) ->
    case erlmcp_native:limits_set_limit(own, Role, library(Role, Limit)) of
        ok -> ok;
        bad_limit when element(1, Limit) =:= wait -> raise(bad_wait, {?MODULE, ?FUNCTION_NAME, [Role, Limit]});
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Role, Limit]})
    end.

%% The library says what is wrong with what is no limit, and first of all with the role.
library(Role, {wait, _, _} = Wait) ->
    case erlmcp_native:limits_get_limit(own, Role) of
        Fault when is_atom(Fault), Fault =/= infinity -> bad_limit;
        Before -> erlmcp_native_limit:to_library(Wait, erlmcp_native_limit:most(Before))
    end;
library(_, Limit) ->
    Limit.

-doc """
Returns a role's limit per owner as it was set, a wait with both its options; that of `default` for an unknown role.
""".
-spec get_limit(role()) -> limit_setting().
get_limit(Role) ->
    case erlmcp_native:limits_get_limit(own, Role) of
        Limit when is_integer(Limit); Limit =:= infinity; is_tuple(Limit) -> erlmcp_native_limit:from_library(Limit);
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Role]})
    end.

-doc "Returns the limits per owner of all roles, as they were set.".
-spec get_all_limits() -> #{role() => limit_setting()}.
get_all_limits() ->
    case erlmcp_native:limits_get_limits(own) of
        Limits when is_map(Limits) -> #{Role => erlmcp_native_limit:from_library(Limit) || Role := Limit <- Limits};
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, []})
    end.

-doc """
Keeps a part of a role's limit for the higher classes of requests: each class is given the percentage of the limit that
it may not use, and is refused with the reason `class` from there on.

```erlang
1> erlmcp_queue_limits:set_limit(session, 100).
ok
2> erlmcp_queue_limits:set_reserve(session, #{sheddable_plus => 10, sheddable => 50}).
ok
3> [erlmcp_queue_limits:try_enqueue(session, a, #{class => sheddable}) || _ <- lists:seq(1, 50)],
   {error, {capacity_exceeded, #{depth := 50, reason := class}}} =
       erlmcp_queue_limits:try_enqueue(session, a, #{class => sheddable}),
   erlmcp_queue_limits:try_enqueue(session, a).
ok
```

A class that is not named has the percentage of the class above it, and `critical` 0; the percentage may not be less for
a class than for the one above it. What a class may use is rounded down, so that none passes its share of a small limit;
`critical_plus` always has all of it. So any reserve of `critical` at a limit of 1 refuses every call that names no
class, as with 100 at any limit. Of the limit `infinity` nothing is kept. Mailboxes (`m:erlmcp_overload_mailbox`) go by
it too. An admission that starts after this has returned obeys it.

By default, and in a role that does not follow this or the configuration, nothing is kept: reserves are of their role
alone, of `default` too. Raises `badarg` for what is no reserve, and `system_limit` for the 1025th role.
""".
-spec set_reserve(role(), reserve() | [proplists:property()]) -> ok.
set_reserve(Role, Reserve) ->
    Call = {?MODULE, ?FUNCTION_NAME, [Role, Reserve]},
    case erlmcp_native_options:check(erlmcp_native_reserve:type(), Reserve) of
        {ok, Percents} ->
            case erlmcp_native:limits_set_reserve(own, Role, Percents) of
                ok -> ok;
                Fault -> raise(Fault, Call)
            end;
        {error, Problem} ->
            raise(erlmcp_native_owner:unless_earlier(Role, {bad_option, Problem}), Call)
    end.

-doc "Returns what of a role's limit is kept for the higher classes, as `set_reserve/2` takes it, of each class.".
-spec get_reserve(role()) -> reserve().
get_reserve(Role) ->
    case erlmcp_native:limits_get_reserve(own, Role) of
        {_, _, _} = Percents -> erlmcp_native_reserve:classes(Percents);
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Role]})
    end.

-doc """
Bounds what all owners of a role have together, beside the limit of each: `total` is how many may wait, `bytes` how many
bytes these may have, as requests say (`try_enqueue/3`); each is an integer from 0 to 2^59 - 1, or `infinity`, which it
is if it is left out. Whoever would be one too many is refused with the reason `role` or `bytes`.

```erlang
1> erlmcp_queue_limits:set_caps(tool_executor, #{total => 20000, bytes => 1000000}).
ok
2> erlmcp_queue_limits:try_enqueue(tool_executor, a, #{bytes => 700000}).
ok
3> {error, {capacity_exceeded, #{reason := bytes}}} =
       erlmcp_queue_limits:try_enqueue(tool_executor, b, #{bytes => 700000}),
   erlmcp_queue_limits:record_dequeue(tool_executor, a, #{bytes => 700000}).
ok
```

Bytes come back with `record_dequeue/3`, which is told how many, with the permit, and when the owner dies or is
forgotten; how many there are now the page and `/api/summary` say. Requests that say nothing of bytes have none. What is
recorded by `record_enqueue/2` counts, and is not refused. Mailboxes (`m:erlmcp_overload_mailbox`) are left out, with
their bytes: how long they are, senders do not decide alone.

However many call at once, nobody is admitted beyond a cap. An admission that starts after this has returned obeys it; a
cap may be below what is there, and then nobody is let in until enough has left. Only an operation that was under way
when a role got its first cap may be missing in the count until it has ended. Nobody is refused before the cap is
reached, but for what is just on its way in another call. Caps are of the role alone, and not configured: they are gone
when the service is stopped.
""".
-spec set_caps(role(), caps() | [proplists:property()]) -> ok.
set_caps(Role, Caps) ->
    Call = {?MODULE, ?FUNCTION_NAME, [Role, Caps]},
    case erlmcp_native_caps:check(Caps) of
        {ok, #{total := Total, bytes := Bytes}} ->
            case erlmcp_native:limits_set_caps(own, Role, Total, Bytes) of
                ok -> ok;
                Fault -> raise(Fault, Call)
            end;
        {error, Problem} ->
            raise(erlmcp_native_owner:unless_earlier(Role, {bad_option, Problem}), Call)
    end.

-doc "Returns what all owners of a role may have together.".
-spec get_caps(role()) -> caps().
get_caps(Role) ->
    case erlmcp_native:limits_get_caps(own, Role) of
        {Total, Bytes} -> #{total => Total, bytes => Bytes};
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Role]})
    end.

-doc "Returns a role's numbers, or `{error, not_found}` for an unknown role.".
-spec get_role_stats(role()) -> role_stats() | {error, not_found}.
get_role_stats(Role) ->
    case erlmcp_native:limits_role_stats(own, Role) of
        Stats when is_map(Stats) -> Stats;
        not_found -> {error, not_found};
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Role]})
    end.

-doc "Returns the numbers of all roles.".
-spec get_all_stats() -> #{role() => role_stats()}.
get_all_stats() ->
    case erlmcp_native:limits_all_stats(own) of
        Stats when is_map(Stats) -> Stats;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, []})
    end.

-doc "Zeroes a role's counters; depths, owners and the limit stay.".
-spec reset_stats(role()) -> ok.
reset_stats(Role) ->
    case erlmcp_native:limits_reset_stats(own, Role) of
        ok -> ok;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Role]})
    end.

-doc "Switches refusals on or off: `false` means that nothing is refused, while counting goes on.".
-spec set_enabled(boolean()) -> ok.
set_enabled(Enabled) ->
    case erlmcp_native:limits_set_enforcing(own, Enabled) of
        ok -> ok;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Enabled]})
    end.

-doc """
Makes a JSON-RPC 2.0 error response of a refusal, ready to be encoded, with `class` and `reason` among its data; code
-32010 is erlmcp's `?MCP_ERROR_RATE_LIMITED`. It works without the service, and raises `badarg` for what is no refusal.
""".
-spec to_json_rpc_error(Id :: term(), refusal() | rate_refusal()) -> #{binary() => term()}.
to_json_rpc_error(Id, Stats) when is_map(Stats) ->
    json_rpc_error(Id, Stats, ?RATE_LIMITED, {?MODULE, ?FUNCTION_NAME, [Id, Stats]});
to_json_rpc_error(Id, Stats) ->
    raise(bad_stats, {?MODULE, ?FUNCTION_NAME, [Id, Stats]}).

-doc """
Does what `to_json_rpc_error/2` does, with a `code` of one's own, which may be any integer.

```erlang
1> Stats = #{role => session, limit => 10, depth => 10, reason => full, retry_after_ms => 250}.
2> #{~"error" := Error} = erlmcp_queue_limits:to_json_rpc_error(~"7", Stats, #{code => -32000}), Error.
#{~"code" => -32000,
  ~"data" =>
      #{~"class" => ~"critical",~"depth" => 10,~"limit" => 10,~"reason" => ~"full",
        ~"retryAfterMs" => 250,~"role" => ~"session"},
  ~"message" => ~"Too many requests: the queue is full"}
```

JSON-RPC leaves -32000 to -32099 to implementations. The revision 2026-07-28 of MCP gives -32000 to -32019 no meaning,
so that -32010 and any other of these may be used, and keeps -32020 to -32099 for itself; none of those should be used
here.
""".
-spec to_json_rpc_error(Id :: term(), refusal() | rate_refusal(), #{code => integer()} | [proplists:property()]) ->
    #{binary() => term()}.
to_json_rpc_error(Id, Stats, Options) when is_map(Stats) ->
    Call = {?MODULE, ?FUNCTION_NAME, [Id, Stats, Options]},
    case erlmcp_native_options:check(erlmcp_native_options:options(error_options()), Options) of
        {ok, #{code := Code}} -> json_rpc_error(Id, Stats, Code, Call);
        {error, Problem} -> raise({bad_option, Problem}, Call)
    end;
to_json_rpc_error(Id, Stats, Options) ->
    raise(bad_stats, {?MODULE, ?FUNCTION_NAME, [Id, Stats, Options]}).

error_options() ->
    Integer = erlmcp_native_options:checked("an integer", fun erlang:is_integer/1),
    [#{name => code, type => Integer, default => ?RATE_LIMITED, doc => ~"The error's code."}].

json_rpc_error(Id, Stats, Code, Call) ->
    case erlmcp_native_refusal:read(Stats) of
        error -> raise(bad_stats, Call);
        Refusal -> erlmcp_native_refusal:json_rpc(Id, Refusal, Code)
    end.

-doc """
Returns after how many whole seconds somebody who was refused should come again, for a header `retry-after`: the
`retry_after_ms` of the refusal rounded up, and by chance up to a fifth more, rounded up too, so that those who were
refused together do not come back together. Of 250 and of 1000 ms it makes 1 or 2 seconds, of 10 seconds 10, 11 or 12.

It works without the service, and raises `badarg` for what is no refusal.
""".
-spec retry_after_seconds(refusal() | rate_refusal()) -> pos_integer().
retry_after_seconds(Stats) when is_map(Stats) ->
    case erlmcp_native_refusal:read(Stats) of
        {_, #{retry_after_ms := RetryAfterMs}} -> erlmcp_native_refusal:seconds(RetryAfterMs);
        error -> raise(bad_stats, {?MODULE, ?FUNCTION_NAME, [Stats]})
    end;
retry_after_seconds(Stats) ->
    raise(bad_stats, {?MODULE, ?FUNCTION_NAME, [Stats]}).
