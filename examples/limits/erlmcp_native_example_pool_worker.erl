-module(erlmcp_native_example_pool_worker).
-moduledoc """
A worker of `m:erlmcp_native_example_pool`, which knows nothing of limits: it takes one job after the other.

Workers are found by `pg`, in a table, without a message to anybody. It forgets a worker that has died; until it has,
`erlmcp_overload_mailbox:send_any/3` passes over it.
""".

-behaviour(gen_server).

-export([start_group/0, start_link/0, members/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

-doc "Starts what workers are found by, which has to be there before them.".
-spec start_group() -> {ok, pid()} | {error, term()}.
start_group() ->
    pg:start_link(?MODULE).

-doc "Starts a worker, which is found from then on.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link(?MODULE, [], []).

-doc "Returns the workers of this node: none while the pool is not started.".
-spec members() -> [pid()].
members() ->
    try
        pg:get_local_members(?MODULE, workers)
    catch
        error:badarg -> []
    end.

-doc false.
-spec init([]) -> {ok, none}.
init([]) ->
    ok = pg:join(?MODULE, workers, self()),
    {ok, none}.

-doc false.
-spec handle_call(term(), gen_server:from(), none) -> {reply, {error, unknown_call}, none}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), none) -> {noreply, none}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), none) -> {noreply, none}.
handle_info({job, Alias, Job}, State) ->
    answer(Alias, done(Job)),
    {noreply, State};
handle_info(_Info, State) ->
    {noreply, State}.

%% A job that crashes is not the fault of those that wait behind it.
done(Job) ->
    try
        {ok, Job()}
    catch
        Class:Reason -> {error, {crashed, {Class, Reason}}}
    end.

answer(none, {ok, _}) ->
    ok;
answer(none, {error, Why}) ->
    ?LOG_ERROR("a job has failed: ~tp", [Why]);
answer(Alias, Result) ->
    Alias ! {Alias, Result},
    ok.
