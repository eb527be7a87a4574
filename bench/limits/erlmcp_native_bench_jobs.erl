-module(erlmcp_native_bench_jobs).
-moduledoc """
What a request costs that is let in as the README of jobs describes it; none of its code. Whoever has a request asks one
process, by a call; a queue with a counter as its regulator lets so many in at a time. `done/1` tells that a job has
ended, and is only needed by who stays alive: the process watches who asked.

Nobody waits in the queue here, and nothing is sampled: this is the asking alone.
""".

-behaviour(gen_server).

-export([start_link/1, ask/0, done/1, drain/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    limit :: pos_integer(),
    jobs = #{} :: #{reference() => []}
}).

-doc "Starts the process, with so many jobs at a time.".
-spec start_link(pos_integer()) -> gen_server:start_ret().
start_link(Limit) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Limit, []).

-doc "Asks for a job to be let in.".
-spec ask() -> {ok, reference()} | {error, rejected}.
ask() ->
    gen_server:call(?MODULE, ask, infinity).

-doc "Tells that a job has ended.".
-spec done(reference()) -> ok.
done(Job) ->
    gen_server:cast(?MODULE, {done, Job}).

-doc "Waits until the process has seen all that the caller told it before.".
-spec drain() -> ok.
drain() ->
    gen_server:call(?MODULE, drain, infinity).

-doc false.
-spec init(pos_integer()) -> {ok, #state{}}.
init(Limit) ->
    {ok, #state{limit = Limit}}.

-doc false.
-spec handle_call(ask | drain, gen_server:from(), #state{}) ->
    {reply, ok | {ok, reference()} | {error, rejected}, #state{}}.
handle_call(drain, _From, State) ->
    {reply, ok, State};
handle_call(ask, _From, #state{limit = Limit, jobs = Jobs} = State) when map_size(Jobs) >= Limit ->
    {reply, {error, rejected}, State};
handle_call(ask, {Client, _}, #state{jobs = Jobs} = State) ->
    Job = erlang:monitor(process, Client),
    {reply, {ok, Job}, State#state{jobs = Jobs#{Job => []}}}.

-doc false.
-spec handle_cast({done, reference()}, #state{}) -> {noreply, #state{}}.
handle_cast({done, Job}, #state{jobs = Jobs} = State) ->
    true = erlang:demonitor(Job, [flush]),
    {noreply, State#state{jobs = maps:remove(Job, Jobs)}}.

-doc false.
-spec handle_info({'DOWN', reference(), process, pid(), term()}, #state{}) -> {noreply, #state{}}.
handle_info({'DOWN', Job, process, _, _}, #state{jobs = Jobs} = State) ->
    {noreply, State#state{jobs = maps:remove(Job, Jobs)}}.
