-module(erlmcp_native_bench_loops).
-moduledoc """
The timed loops: one an operation, all of one shape and without a fun in it.

Either all on one owner, or along a tuple of owners, backwards from a place and round again. The tuple is
a persistent term under the key that is given: a message would copy it.
""".

-export([run/4]).

-export_type([operation/0, owners/0]).

-doc """
An operation is what a loop times: `nothing` is the empty native, `floor` one that decodes a role and an owner and adds
one to a word, `all` a check, an enqueue and a dequeue. `refused` is a check in a role of limit 0. `ets` is the two
`ets:update_counter/3`, `server` is `all` by way of the gen_server, drained at the end.

A request is let in and has ended: `admit` is a try_enqueue and a dequeue, `admit_class` with a class, `admit_bytes`
with bytes, `hold` an acquire and a release, `drop` an
acquire whose permit is garbage at once, `ets_request` adds one to both rows and takes
it away again, `atomics_request` the same on one word. `sidejob` and `jobs` are the rebuilt ones.

Of a rate, `rate_take` takes one, `rate_peek` looks, `rate_refused` is refused, `rate_all` takes of two names at once.
`rate_ets` counts in two windows of a table, `rate_server` asks the gen_server that keeps buckets; the owner is the key.

`atomics` is `atomics:add_get/3` on an array, and `alias` asks whether a reference is a priority alias: each in place of
the owner. `cancelled` looks at the token that is the persistent term `erlmcp_native_bench_token`. `token` makes one
with the role for its id, and is done with it, and `token_permit` does so with a place.
""".
-type operation() ::
    nothing
    | floor
    | check
    | enqueue
    | dequeue
    | try_enqueue
    | refused
    | all
    | admit
    | admit_class
    | admit_bytes
    | hold
    | drop
    | ets
    | ets_request
    | server
    | sidejob
    | jobs
    | atomics
    | atomics_request
    | rate_take
    | rate_peek
    | rate_refused
    | rate_all
    | rate_ets
    | rate_server
    | alias
    | cancelled
    | token
    | token_permit.
-doc "A loop works on one owner, or on many in turn.".
-type owners() :: {one, pid() | atom() | reference() | binary()} | {walk, Key :: term(), From :: pos_integer()}.

-define(ONE(NAME, OPERATION),
    NAME(_Role, _Owner, 0) ->
        ok;
    NAME(Role, Owner, N) ->
        OPERATION,
        NAME(Role, Owner, N - 1)
).
-define(WALK(NAME, OPERATION),
    NAME(_Role, _Owners, _I, 0) ->
        ok;
    NAME(Role, Owners, 0, N) ->
        NAME(Role, Owners, tuple_size(Owners), N);
    NAME(Role, Owners, I, N) ->
        Owner = element(I, Owners),
        OPERATION,
        NAME(Role, Owners, I - 1, N - 1)
).

-define(NOTHING, erlmcp_native:limits_nothing(own, Role, Owner)).
-define(FLOOR, erlmcp_native_probe:floor(Role, Owner)).
-define(ATOMICS, atomics:add_get(Owner, 1, 1)).
-define(ALIAS, erlmcp_priority:is_priority_alias(Owner)).
-define(CANCELLED, erlmcp_control_cancel:is_cancelled(Owner)).
-define(TOKEN, erlmcp_control_cancel:done(erlmcp_control_cancel:new(#{id => Role}))).
-define(TOKEN_PERMIT, begin
    {ok, Permit} = erlmcp_queue_limits:acquire(Role, Owner),
    erlmcp_control_cancel:done(erlmcp_control_cancel:new(#{id => Role, permit => Permit}))
end).
-define(CHECK, erlmcp_queue_limits:check_capacity(Role, Owner)).
-define(ENQUEUE, erlmcp_queue_limits:record_enqueue(Role, Owner)).
-define(DEQUEUE, erlmcp_queue_limits:record_dequeue(Role, Owner)).
-define(TRY_ENQUEUE, erlmcp_queue_limits:try_enqueue(Role, Owner)).
-define(REFUSED, {error, _} = erlmcp_queue_limits:check_capacity(tool_executor, Owner)).
-define(ALL, begin ?CHECK, ?ENQUEUE, ?DEQUEUE end).
-define(ADMIT, begin ?TRY_ENQUEUE, ?DEQUEUE end).
-define(ADMIT_CLASS, begin
    erlmcp_queue_limits:try_enqueue(Role, Owner, #{class => sheddable}),
    ?DEQUEUE
end).
-define(ADMIT_BYTES, begin
    erlmcp_queue_limits:try_enqueue(Role, Owner, #{bytes => 1000}),
    erlmcp_queue_limits:record_dequeue(Role, Owner, #{bytes => 1000})
end).
-define(HOLD, begin
    {ok, Permit} = erlmcp_queue_limits:acquire(Role, Owner),
    ok = erlmcp_queue_limits:release(Permit)
end).
-define(DROP, {ok, _} = erlmcp_queue_limits:acquire(Role, Owner)).
-define(TABLE, erlmcp_native_bench_ets).
-define(ETS, begin ets:update_counter(?TABLE, Owner, 1), ets:update_counter(?TABLE, Role, 1) end).
-define(ETS_REQUEST, begin
    ?ETS,
    ets:update_counter(?TABLE, Owner, -1),
    ets:update_counter(?TABLE, Role, -1)
end).
-define(ATOMICS_REQUEST, begin ?ATOMICS, atomics:sub_get(Owner, 1, 1) end).
-define(SIDEJOB, begin
    {ok, Worker} = erlmcp_native_bench_sidejob:enter(),
    erlmcp_native_bench_sidejob:leave(Worker)
end).
-define(JOBS, begin
    {ok, Job} = erlmcp_native_bench_jobs:ask(),
    erlmcp_native_bench_jobs:done(Job)
end).
-define(RATE_TAKE, {ok, _} = erlmcp_overload_rate:take(Role, Owner)).
-define(RATE_PEEK, {ok, _} = erlmcp_overload_rate:peek(Role, Owner)).
-define(RATE_REFUSED, {error, _} = erlmcp_overload_rate:take(refusing, Owner)).
-define(RATE_ALL, ok = erlmcp_overload_rate:take_all([{Role, Owner, 1}, {second, Owner, 1}])).
%% What most people write: this second's count, and this minute's.
-define(RATE_ETS, begin
    Second = erlang:system_time(second),
    ets:update_counter(?TABLE, {Owner, second, Second}, {2, 1}, {{Owner, second, Second}, 0}),
    ets:update_counter(?TABLE, {Owner, minute, Second div 60}, {2, 1}, {{Owner, minute, Second div 60}, 0})
end).
-define(RATE_SERVER, {ok, _} = erlmcp_native_bench_rate_server:take(Role, Owner)).
-define(SERVER, begin
    erlmcp_native_bench_server:check(Role, Owner),
    erlmcp_native_bench_server:enqueue(Role, Owner),
    erlmcp_native_bench_server:dequeue(Role, Owner)
end).

-doc "Does an operation so many times.".
-spec run(operation(), erlmcp_queue_limits:role(), owners(), N :: non_neg_integer()) -> ok.
run(nothing, Role, {one, Owner}, N) -> nothing(Role, Owner, N);
run(check, Role, {one, Owner}, N) -> check(Role, Owner, N);
run(enqueue, Role, {one, Owner}, N) -> enqueue(Role, Owner, N);
run(dequeue, Role, {one, Owner}, N) -> dequeue(Role, Owner, N);
run(try_enqueue, Role, {one, Owner}, N) -> try_enqueue(Role, Owner, N);
run(all, Role, {one, Owner}, N) -> all(Role, Owner, N);
run(admit, Role, {one, Owner}, N) -> admit(Role, Owner, N);
run(admit_class, Role, {one, Owner}, N) -> admit_class(Role, Owner, N);
run(admit_bytes, Role, {one, Owner}, N) -> admit_bytes(Role, Owner, N);
run(hold, Role, {one, Owner}, N) -> hold(Role, Owner, N);
run(drop, Role, {one, Owner}, N) -> drop(Role, Owner, N);
run(ets_request, Role, {one, Owner}, N) -> ets_request(Role, Owner, N);
run(atomics_request, Role, {one, Array}, N) -> atomics_request(Role, Array, N);
run(sidejob, Role, {one, Owner}, N) -> sidejob(Role, Owner, N);
run(jobs, Role, {one, Owner}, N) -> jobs(Role, Owner, N), erlmcp_native_bench_jobs:drain();
run(floor, Role, {one, Owner}, N) -> floor(Role, Owner, N);
run(refused, Role, {one, Owner}, N) -> refused(Role, Owner, N);
run(atomics, Role, {one, Array}, N) -> atomics(Role, Array, N);
run(alias, Role, {one, Alias}, N) -> alias(Role, Alias, N);
run(cancelled, Role, {one, _}, N) -> cancelled(Role, persistent_term:get(erlmcp_native_bench_token), N);
run(token, Role, {one, Owner}, N) -> token(Role, Owner, N);
run(token_permit, Role, {one, Owner}, N) -> token_permit(Role, Owner, N);
run(ets, Role, {one, Owner}, N) -> ets(Role, Owner, N);
run(server, Role, {one, Owner}, N) -> server(Role, Owner, N), erlmcp_native_bench_server:drain();
run(rate_take, Role, {one, Key}, N) -> rate_take(Role, Key, N);
run(rate_peek, Role, {one, Key}, N) -> rate_peek(Role, Key, N);
run(rate_refused, Role, {one, Key}, N) -> rate_refused(Role, Key, N);
run(rate_all, Role, {one, Key}, N) -> rate_all(Role, Key, N);
run(rate_ets, Role, {one, Key}, N) -> rate_ets(Role, Key, N);
run(rate_server, Role, {one, Key}, N) -> rate_server(Role, Key, N);
run(Operation, Role, {walk, Key, From}, N) -> walk(Operation, Role, persistent_term:get(Key), From, N).

walk(nothing, Role, Owners, From, N) -> nothing(Role, Owners, From, N);
walk(check, Role, Owners, From, N) -> check(Role, Owners, From, N);
walk(enqueue, Role, Owners, From, N) -> enqueue(Role, Owners, From, N);
walk(dequeue, Role, Owners, From, N) -> dequeue(Role, Owners, From, N);
walk(try_enqueue, Role, Owners, From, N) -> try_enqueue(Role, Owners, From, N);
walk(all, Role, Owners, From, N) -> all(Role, Owners, From, N);
walk(rate_take, Role, Keys, From, N) -> rate_take(Role, Keys, From, N);
walk(rate_ets, Role, Keys, From, N) -> rate_ets(Role, Keys, From, N);
walk(rate_server, Role, Keys, From, N) -> rate_server(Role, Keys, From, N);
walk(ets, Role, Owners, From, N) -> ets(Role, Owners, From, N);
walk(server, Role, Owners, From, N) -> server(Role, Owners, From, N), erlmcp_native_bench_server:drain().

?ONE(nothing, ?NOTHING).
?ONE(floor, ?FLOOR).
?ONE(refused, ?REFUSED).
?ONE(atomics, ?ATOMICS).
?ONE(alias, ?ALIAS).
?ONE(cancelled, ?CANCELLED).
?ONE(token, ?TOKEN).
?ONE(token_permit, ?TOKEN_PERMIT).
?ONE(check, ?CHECK).
?ONE(enqueue, ?ENQUEUE).
?ONE(dequeue, ?DEQUEUE).
?ONE(try_enqueue, ?TRY_ENQUEUE).
?ONE(all, ?ALL).
?ONE(admit, ?ADMIT).
?ONE(admit_class, ?ADMIT_CLASS).
?ONE(admit_bytes, ?ADMIT_BYTES).
?ONE(hold, ?HOLD).
?ONE(drop, ?DROP).
?ONE(ets, ?ETS).
?ONE(ets_request, ?ETS_REQUEST).
?ONE(atomics_request, ?ATOMICS_REQUEST).
?ONE(sidejob, ?SIDEJOB).
?ONE(jobs, ?JOBS).
?ONE(rate_take, ?RATE_TAKE).
?ONE(rate_peek, ?RATE_PEEK).
?ONE(rate_refused, ?RATE_REFUSED).
?ONE(rate_all, ?RATE_ALL).
?ONE(rate_ets, ?RATE_ETS).
?ONE(rate_server, ?RATE_SERVER).
?ONE(server, ?SERVER).

?WALK(nothing, ?NOTHING).
?WALK(check, ?CHECK).
?WALK(enqueue, ?ENQUEUE).
?WALK(dequeue, ?DEQUEUE).
?WALK(try_enqueue, ?TRY_ENQUEUE).
?WALK(all, ?ALL).
?WALK(ets, ?ETS).
?WALK(rate_take, ?RATE_TAKE).
?WALK(rate_ets, ?RATE_ETS).
?WALK(rate_server, ?RATE_SERVER).
?WALK(server, ?SERVER).
