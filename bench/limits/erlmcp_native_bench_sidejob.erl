-module(erlmcp_native_bench_sidejob).
-moduledoc """
What a request costs that is let in and counted as sidejob's README describes it; none of its code. A resource has a
public ETS table with a word for each of its workers, as many as schedulers, and each worker has its share of the
capacity. Whoever sends a request begins with the worker of its scheduler and takes the next that is not full: reads the
word, adds one, and when the request is taken in, one is taken away.

There are no workers here, and no message is sent to any: this is the counting alone.
""".

-export([start/1, stop/0, enter/0, leave/1]).

-define(SHARE, {?MODULE, share}).

-doc "Makes the resource, with so much capacity. It is the caller's.".
-spec start(pos_integer()) -> ok.
start(Capacity) ->
    Workers = erlang:system_info(schedulers),
    ?MODULE = ets:new(?MODULE, [named_table, public, {write_concurrency, true}]),
    true = ets:insert(?MODULE, [{Worker, 0} || Worker <- lists:seq(1, Workers)]),
    persistent_term:put(?SHARE, {Workers, Capacity div Workers}).

-doc "Ends the resource.".
-spec stop() -> ok.
stop() ->
    0 = lists:sum([Used || {_, Used} <- ets:tab2list(?MODULE)]),
    true = ets:delete(?MODULE),
    _ = persistent_term:erase(?SHARE),
    ok.

-doc "Lets a request in, if a worker has room.".
-spec enter() -> {ok, Worker :: pos_integer()} | {error, overload}.
enter() ->
    {Workers, Share} = persistent_term:get(?SHARE),
    enter(erlang:system_info(scheduler_id), Workers, Share, Workers).

enter(_, _, _, 0) ->
    {error, overload};
enter(Worker, Workers, Share, Left) ->
    case ets:lookup_element(?MODULE, Worker, 2) of
        Used when Used < Share ->
            _ = ets:update_counter(?MODULE, Worker, 1),
            {ok, Worker};
        _ ->
            enter(Worker rem Workers + 1, Workers, Share, Left - 1)
    end.

-doc "A worker has taken its request in.".
-spec leave(Worker :: pos_integer()) -> integer().
leave(Worker) ->
    ets:update_counter(?MODULE, Worker, -1).
