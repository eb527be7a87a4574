%% erlmcp's metrics: a list of latencies that grows, and a count of errors.
-module(erlmcp_metrics_server).

-behaviour(gen_server).

-export([start_link/0, record_latency/1, record_error/0, get/0]).
-export([init/1, handle_call/3, handle_cast/2]).

-type state() :: {Latencies :: [number()], Errors :: non_neg_integer()}.

-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec record_latency(Milliseconds :: number()) -> ok.
record_latency(Milliseconds) ->
    gen_server:cast(?MODULE, {latency, Milliseconds}).

-spec record_error() -> ok.
record_error() ->
    gen_server:cast(?MODULE, error).

-spec get() -> state().
get() ->
    gen_server:call(?MODULE, get).

-spec init([]) -> {ok, state()}.
init([]) ->
    {ok, {[], 0}}.

-spec handle_call(get, gen_server:from(), state()) -> {reply, state(), state()}.
handle_call(get, _From, State) ->
    {reply, State, State}.

-spec handle_cast({latency, number()} | error, state()) -> {noreply, state()}.
handle_cast({latency, Milliseconds}, {Latencies, Errors}) -> {noreply, {[Milliseconds | Latencies], Errors}};
handle_cast(error, {Latencies, Errors}) -> {noreply, {Latencies, Errors + 1}}.
