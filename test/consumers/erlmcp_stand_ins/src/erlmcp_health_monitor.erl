%% erlmcp's health monitor: casts, and a status that stays until it is reset.
-module(erlmcp_health_monitor).

-behaviour(gen_server).

-export([start_link/0, report_degradation/1, report_circuit_breaker/2, reset_health_status/0, get_health/1]).
-export([init/1, handle_call/3, handle_cast/2]).

-type state() :: #{atom() => {degraded | healthy, open | closed}}.

-spec start_link() -> {ok, pid()} | ignore | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec report_degradation(ComponentId :: atom()) -> ok.
report_degradation(ComponentId) ->
    gen_server:cast(?MODULE, {degraded, ComponentId}).

-spec report_circuit_breaker(ComponentId :: atom(), open | closed) -> ok.
report_circuit_breaker(ComponentId, Status) ->
    gen_server:cast(?MODULE, {breaker, ComponentId, Status}).

-spec reset_health_status() -> ok.
reset_health_status() ->
    gen_server:call(?MODULE, reset).

-spec get_health(atom()) -> {degraded | healthy, open | closed}.
get_health(ComponentId) ->
    gen_server:call(?MODULE, {get, ComponentId}).

-spec init([]) -> {ok, state()}.
init([]) ->
    {ok, #{}}.

-spec handle_call(reset | {get, atom()}, gen_server:from(), state()) -> {reply, term(), state()}.
handle_call(reset, _From, _State) ->
    {reply, ok, #{}};
handle_call({get, Id}, _From, State) ->
    {reply, maps:get(Id, State, {healthy, closed}), State}.

-spec handle_cast({degraded, atom()} | {breaker, atom(), open | closed}, state()) -> {noreply, state()}.
handle_cast({degraded, Id}, State) ->
    {_, Breaker} = maps:get(Id, State, {healthy, closed}),
    {noreply, State#{Id => {degraded, Breaker}}};
handle_cast({breaker, Id, Breaker}, State) ->
    {Health, _} = maps:get(Id, State, {healthy, closed}),
    {noreply, State#{Id => {Health, Breaker}}}.
