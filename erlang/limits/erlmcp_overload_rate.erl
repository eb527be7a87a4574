-module(erlmcp_overload_rate).
-moduledoc """
How often somebody may ask: so many in a second, a minute or an hour, for each key.

```erlang
1> erlmcp_overload_rate:define(api, #{rate => {10, minute}, burst => 2}).
ok
2> erlmcp_overload_rate:take(api, ~"tenant-7").
{ok,1}
3> erlmcp_overload_rate:take(api, ~"tenant-7").
{ok,0}
4> {error, {rate_limited, #{retry_after_ms := Ms}}} = erlmcp_overload_rate:take(api, ~"tenant-7"), Ms =< 6000.
true
5> erlmcp_overload_rate:undefine(api).
ok
```

Of each key there is a *bucket*. It holds at most `burst`, begins full, and fills at the rate, evenly: of 10 a minute
one comes back each 6 s, and not ten at each full minute. A request takes its *cost* out of it, 1 unless said, or
is refused and takes nothing. So within any time t at most burst + rate × t is granted, whoever asks, from however
many processes; and what is refused now would be granted `retry_after_ms` later, not a millisecond sooner, if nobody
else takes meanwhile.

A name is an atom, and there are at most 1024. A key is any term, of any size: two keys never share a bucket, but
where there are more than `max_keys`. It is compared as `=:=` does; one whose external form has more than 255 bytes is
compared by the SHA-256 of that.

| option | value | default | meaning |
| --- | --- | --- | --- |
| `rate` | {Number, Period}, an integer from 1 to one a nanosecond and second, minute or hour | must be given | How many may come in a period. |
| `burst` | an integer from 1 to 2^58 | the Number of `rate` | How many of them may come at once. |
| `max_keys` | an integer from 1 to 2^32 - 1 | `1000000` | So many keys are told apart at most. |
| `overflow` | share or refuse | `share` | What becomes of further keys. |
| `scope` | node or cluster | `node` | Whether it is this node's alone, or that of all nodes together. |

A bucket that is empty has to be full again within 2^58 ns, which is nine years: 79,000 at one an hour.

A refusal is `{error, {rate_limited, Map}}`, where the map has

| key | value |
| --- | --- |
| `name`, `key` | what was asked for |
| `limit` | the Number of the rate |
| `remaining` | what is in the bucket, which is less than the cost, rounded down |
| `retry_after_ms` | in so many milliseconds, rounded up, there is enough, unless somebody takes meanwhile |
| `reset_ms` | in so many milliseconds, rounded up, the bucket is full, unless somebody takes meanwhile |

A cost above the burst would wait for ever: it is `{error, {cost_exceeds_burst, #{name => Name, burst => Burst}}}`.

Memory is bounded. A bucket that is full is forgotten after at most ten seconds, which changes no answer; where more
than half of `max_keys` are in use, after a second. Never more than `max_keys` have one. With `overflow => share` all
further keys share a single bucket until some are forgotten; with `refuse` they are refused, with a `retry_after_ms` of
1000, after which some may have been. An attacker who makes up keys comes up against that, and keys that have a bucket
do not notice.

A rate with `scope => cluster` is of all nodes together, and each of them has a share of it: see
`m:erlmcp_overload_cluster`. What each key may have here is then `share` of the rate and of the burst, rounded down, but
one; a cost above that is `cost_exceeds_burst`, with what the burst is here. It counts as asked for, so that the share
grows; a cost above the whole burst does not, since no node could grant it. Where the share is less than one in a
period, one comes back in as many periods as that takes. There are at most 64 such rates, and their names ought to be
short: 64 of 45 characters fit into what nodes tell each other once a second, or 62 of 50, or 34 of 100. Of those that
do not, which are the ones asked least, this node has as much as if nobody asked here, a tenth of an even share where
others are asked; a warning says which. Where no cluster is configured the share is all of it.

Rates belong to the service of `m:erlmcp_queue_limits`. They, and what was taken, survive a crash of its process, and
calls go on meanwhile; a stop of the service forgets them. Those that are always there are configured:

```erlang
{erlmcp_native, [{rates, #{api => #{rate => {10, second}, burst => 20}, signup => #{rate => {3, hour}}}}]}
```

`erlmcp_native_app:reload_config/0` defines them anew as they are configured then, and undefines those that are not any
more. What `define/2` has defined stays as it is.

The clock is the operating system's monotonic one, in nanoseconds: setting the time changes nothing.

The rule is the generic cell rate algorithm of ITU-T I.371 and the ATM Forum's Traffic Management 4.0: a bucket is one
number, the theoretical arrival time, changed by one compare-and-swap in the calling process. It is exact: costs are
whole numbers of a unit that is a nanosecond or less, and nothing is ever rounded when something is taken.

Every function raises `badarg` for a name that is not defined, but for `define/2`, and for a cost that is no integer
from 1 to 2^64 - 1; and exits with `{noproc, {Module, Function, Args}}` while the service is not started.
""".

-export([define/2, undefine/1, names/0, info/1]).
-export([take/2, take/3, take_all/1, peek/2, give_back/3, reset/2]).
-export([table/0]).

-export_type([name/0, key/0, cost/0, rate/0, options/0, info/0, limited/0, exceeding/0, refusal/0]).

-doc "A name is that of a rate.".
-type name() :: atom().
-doc "A key is whose bucket is asked: any term.".
-type key() :: term().
-doc "A cost is how much is taken.".
-type cost() :: 1..18446744073709551615.
-doc "A rate is so many in a second, a minute or an hour, at most one a nanosecond.".
-type rate() :: {pos_integer(), second | minute | hour}.
-doc "Options say how a rate is defined, as a map or a keyword list.".
-type options() ::
    #{
        rate := rate(),
        burst => pos_integer(),
        max_keys => pos_integer(),
        overflow => share | refuse,
        scope => node | cluster
    }
    | [proplists:property()].
-doc "This is what there is to say of a rate.".
-type info() :: #{
    rate := rate(),
    burst := pos_integer(),
    max_keys := pos_integer(),
    overflow := share | refuse,
    scope := node | cluster,
    %% Which part of it is this node's now, from 0.0 to 1.0.
    share := float(),
    %% How many keys have a bucket.
    keys := non_neg_integer(),
    %% What was taken since the rate was first defined, costs added up.
    taken := non_neg_integer(),
    %% What is taken a second, over the last ten seconds.
    taken_per_s := float(),
    %% How many requests were refused since then.
    refused := non_neg_integer(),
    refused_per_s := float(),
    %% Since when some are, without a pause of ten seconds, and when the last was: system time, to a second.
    refusing_since_ms := integer() | undefined,
    last_refused_ms := integer() | undefined
}.
-doc "This is what a refusal says. Times are rounded up.".
-type limited() :: #{
    name := name(),
    key := key(),
    limit := pos_integer(),
    remaining := non_neg_integer(),
    retry_after_ms := pos_integer(),
    reset_ms := pos_integer()
}.
-doc "This is said of a cost that is never there.".
-type exceeding() :: #{name := name(), burst := pos_integer()}.
-doc "A refusal is one for now, or for ever.".
-type refusal() :: {rate_limited, limited()} | {cost_exceeds_burst, exceeding()}.

-define(CALL(Args), {?MODULE, ?FUNCTION_NAME, Args}).

-import(erlmcp_native_error, [raise/2]).

-doc """
Defines a rate, or changes it while it is used: what each key has used of its burst stays so in proportion, and whoever
asks after this has returned is held to the new one. To change one takes as long as all buckets take to be looked
through, about a second for a million, on a dirty scheduler; nobody waits for that but the caller.

Raises `badarg` for what is wrong in the options, which it names, and `system_limit` where it would make the 1025th, or
the 65th of all nodes together.
""".
-spec define(name(), options()) -> ok.
define(Name, Options) ->
    case erlmcp_native_rate:check(Options) of
        {ok, Definition} ->
            case erlmcp_native:rate_define(Name, erlmcp_native_rate:fields(Definition)) of
                ok -> ok;
                bad_name -> raise(bad_rate_name, ?CALL([Name, Options]));
                Fault -> raise(Fault, ?CALL([Name, Options]))
            end;
        {error, Problem} ->
            %% Of what is wrong the service comes first.
            case erlmcp_native:rate_info(Name) of
                not_started -> raise(not_started, ?CALL([Name, Options]));
                _ -> raise({bad_option, Problem}, ?CALL([Name, Options]))
            end
    end.

-doc "Undefines a rate, and forgets all that was taken of it. One that is configured is defined again by a reload.".
-spec undefine(name()) -> ok.
undefine(Name) ->
    case erlmcp_native:rate_undefine(Name) of
        ok -> ok;
        Fault -> raise(Fault, ?CALL([Name]))
    end.

-doc "Returns the names that are defined, in order.".
-spec names() -> [name()].
names() ->
    case erlmcp_native:rate_names() of
        Names when is_list(Names) -> lists:sort(Names);
        Fault -> raise(Fault, ?CALL([]))
    end.

-doc "Returns how a rate is defined, and what was counted of it since it first was.".
-spec info(name()) -> info().
info(Name) ->
    case erlmcp_native:rate_info(Name) of
        Info when is_map(Info) -> erlmcp_native_rate:info(Info);
        Fault -> raise(Fault, ?CALL([Name]))
    end.

-doc "Takes one out of a key's bucket, and returns what is left.".
-spec take(name(), key()) -> {ok, Remaining :: non_neg_integer()} | {error, {rate_limited, limited()}}.
take(Name, Key) ->
    case erlmcp_native:rate_take(Name, Key, 1) of
        Remaining when is_integer(Remaining) -> {ok, Remaining};
        {error, _} = Refused -> Refused;
        packed -> answer(erlmcp_native:rate_take(Name, Key, erlmcp_native_rate:pack(Key), 1), ?CALL([Name, Key]));
        Fault -> raise(Fault, ?CALL([Name, Key]))
    end.

-doc """
Takes `Cost` out of a key's bucket if there is as much, and returns what is left. All processes that ask at once are
granted no more than there is.
""".
-spec take(name(), key(), cost()) -> {ok, Remaining :: non_neg_integer()} | {error, refusal()}.
take(Name, Key, Cost) ->
    case erlmcp_native:rate_take(Name, Key, Cost) of
        Remaining when is_integer(Remaining) ->
            {ok, Remaining};
        {error, _} = Refused ->
            Refused;
        packed ->
            Packed = erlmcp_native_rate:pack(Key),
            answer(erlmcp_native:rate_take(Name, Key, Packed, Cost), ?CALL([Name, Key, Cost]));
        Fault ->
            raise(Fault, ?CALL([Name, Key, Cost]))
    end.

-doc """
Takes of several buckets at once, at most 64: of all, or of none.

```text
erlmcp_overload_rate:take_all([{tenant, Tenant, 1}, {user, User, 1}, {tokens, Tenant, Tokens}])
```

A refusal is that of the first in the list that refuses. What is refused takes nothing, not even for a moment: nobody
else is refused for it, and nobody finds one bucket taken from and another not yet. What is asked for twice of one key
is asked for in sum.
""".
-spec take_all([{name(), key(), cost()}]) -> ok | {error, refusal()}.
take_all(Items) ->
    case items(Items, fun(_) -> none end) of
        bad_items ->
            raise(bad_items, ?CALL([Items]));
        Bare ->
            case erlmcp_native:rate_take_all(Bare) of
                packed ->
                    Packed = items(Items, fun erlmcp_native_rate:pack/1),
                    answer(erlmcp_native:rate_take_all(Packed), ?CALL([Items]));
                Answer ->
                    answer(Answer, ?CALL([Items]))
            end
    end.

items([{Name, Key, Cost} | Rest], Pack) ->
    case items(Rest, Pack) of
        bad_items -> bad_items;
        Others -> [{Name, Key, Pack(Key), Cost} | Others]
    end;
items([], _) ->
    [];
items(_, _) ->
    bad_items.

-doc "Returns what `take/2` would answer now, and takes nothing.".
-spec peek(name(), key()) -> {ok, Remaining :: non_neg_integer()} | {error, {rate_limited, limited()}}.
peek(Name, Key) ->
    with_key(Key, fun(Packed) -> erlmcp_native:rate_peek(Name, Key, Packed) end, ?CALL([Name, Key])).

-doc """
Gives back what was taken, for work that was not done after all: at most to full, so that more than was taken does no
harm. Of a key that has been forgotten meanwhile the bucket is full already.
""".
-spec give_back(name(), key(), cost()) -> ok.
give_back(Name, Key, Cost) ->
    with_key(Key, fun(Packed) -> erlmcp_native:rate_give_back(Name, Key, Packed, Cost) end, ?CALL([Name, Key, Cost])).

-doc "Fills a key's bucket.".
-spec reset(name(), key()) -> ok.
reset(Name, Key) ->
    with_key(Key, fun(Packed) -> erlmcp_native:rate_reset(Name, Key, Packed) end, ?CALL([Name, Key])).

-doc "Returns the options of `define/2` as data.".
-spec table() -> erlmcp_native_options:table().
table() ->
    erlmcp_native_rate:table().

with_key(Key, Operation, Call) ->
    case Operation(none) of
        packed -> answer(Operation(erlmcp_native_rate:pack(Key)), Call);
        Answer -> answer(Answer, Call)
    end.

answer(ok, _) -> ok;
answer(Remaining, _) when is_integer(Remaining) -> {ok, Remaining};
answer({ok, _} = Taken, _) -> Taken;
answer({error, _} = Refused, _) -> Refused;
answer(Fault, Call) -> raise(Fault, Call).
