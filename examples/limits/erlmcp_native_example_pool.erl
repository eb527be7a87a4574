-module(erlmcp_native_example_pool).
-moduledoc """
A pool of workers, each with a mailbox that is limited. Of two workers chosen at random a job goes to that with the
shorter mailbox, and to any other that has room if both are full. No process stands before the workers, which could
become the queue itself.

```erlang
1> {ok, _} = application:ensure_all_started(erlmcp_native).
2> {ok, _} = erlmcp_native_example_pool:start_link(4).
3> erlmcp_native_example_pool:run(fun() -> 42 end, 1000).
{ok,42}
4> ok = erlmcp_queue_limits:set_limit(example_pool, 0).
5> erlmcp_native_example_pool:submit(fun() -> 42 end).
{error,{busy,RetryAfterMs}}
```

The limit of the role `example_pool` is how many jobs wait for one worker, beside the one that it is at. Jobs of callers
that gave up or were killed wait as others do, and count. A worker that is killed takes what waits for it along: who
waits for such a job is told so, and its successor begins with an empty mailbox.
""".

-behaviour(supervisor).

-export([start_link/1, submit/1, run/2]).
-export([init/1]).

-import(erlmcp_native_example_pool_worker, [members/0]).

-export_type([job/0, refused/0]).

-define(ROLE, example_pool).

-doc "A job is a fun; its value is the result.".
-type job() :: fun(() -> term()).
-doc "A refusal says in how many milliseconds there may be room, or that no worker is there.".
-type refused() :: {error, {busy, RetryAfterMs :: pos_integer()} | no_worker}.

-doc "Starts a pool of so many workers. There is one pool on a node.".
-spec start_link(Workers :: pos_integer()) -> supervisor:startlink_ret().
start_link(Workers) ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, {pool, Workers}).

-doc "Has a job done, and waits for nothing.".
-spec submit(job()) -> ok | refused().
submit(Job) ->
    case to_any({job, none, Job}) of
        {ok, _Worker} -> ok;
        Refused -> Refused
    end.

-doc """
Has a job done, and waits at most so many milliseconds for its value. A job that was not done in time is still done when
its turn comes.
""".
-spec run(job(), TimeoutMs :: timeout()) ->
    {ok, term()} | refused() | {error, timeout | {crashed, term()} | {worker_died, term()}}.
run(Job, TimeoutMs) ->
    %% An alias that is no more drops what comes too late.
    Alias = alias([reply]),
    case to_any({job, Alias, Job}) of
        {ok, Worker} ->
            await(Alias, monitor(process, Worker), TimeoutMs);
        Refused ->
            _ = unalias(Alias),
            Refused
    end.

await(Alias, Monitor, TimeoutMs) ->
    Answer =
        receive
            {Alias, Result} -> Result;
            {'DOWN', Monitor, process, _, Reason} -> {error, {worker_died, Reason}}
        after TimeoutMs -> {error, timeout}
        end,
    _ = unalias(Alias),
    true = demonitor(Monitor, [flush]),
    receive
        {Alias, Late} -> Late
    after 0 -> Answer
    end.

to_any(Message) ->
    case members() of
        [] -> {error, no_worker};
        Workers -> told(erlmcp_overload_mailbox:send_any(?ROLE, Workers, Message))
    end.

told({ok, Worker}) -> {ok, Worker};
told({error, noproc}) -> {error, no_worker};
told({error, {capacity_exceeded, #{retry_after_ms := RetryAfterMs}}}) -> {error, {busy, RetryAfterMs}}.

-doc false.
-spec init({pool | workers, pos_integer()}) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init({pool, Workers}) ->
    %% With the group goes who is in it.
    children(rest_for_one, [
        #{id => group, start => {erlmcp_native_example_pool_worker, start_group, []}},
        #{id => workers, start => {supervisor, start_link, [?MODULE, {workers, Workers}]}, type => supervisor}
    ]);
init({workers, Workers}) ->
    children(one_for_one, [
        #{id => Number, start => {erlmcp_native_example_pool_worker, start_link, []}}
     || Number <- lists:seq(1, Workers)
    ]).

children(Strategy, Children) ->
    {ok, {#{strategy => Strategy, intensity => 10, period => 1}, Children}}.
