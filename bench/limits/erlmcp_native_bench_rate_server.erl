-module(erlmcp_native_bench_rate_server).
-moduledoc """
The rival of a rate: one process that keeps a bucket for each name and key in a map, by the same rule, and is asked by
call.
""".

-behaviour(gen_server).

-export([start_link/2, take/2]).
-export([init/1, handle_call/3, handle_cast/2]).

%% How many nanoseconds one takes, how many all of a burst; and theoretical arrival times.
-record(state, {
    one_ns :: pos_integer(),
    window_ns :: pos_integer(),
    arrivals = #{} :: #{{atom(), term()} => integer()}
}).

-doc "Starts the gen_server, with an interval in nanoseconds and a burst for every name.".
-spec start_link(OneNs :: pos_integer(), Burst :: pos_integer()) -> gen_server:start_ret().
start_link(OneNs, Burst) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, #state{one_ns = OneNs, window_ns = OneNs * Burst}, []).

-doc "Asks the gen_server for one.".
-spec take(atom(), term()) -> {ok, Remaining :: non_neg_integer()} | {error, RetryNs :: pos_integer()}.
take(Name, Key) ->
    gen_server:call(?MODULE, {take, Name, Key}, infinity).

-doc false.
-spec init(#state{}) -> {ok, #state{}}.
init(State) ->
    {ok, State}.

-doc false.
-spec handle_call({take, atom(), term()}, gen_server:from(), #state{}) ->
    {reply, {ok, non_neg_integer()} | {error, pos_integer()}, #state{}}.
handle_call({take, Name, Key}, _From, #state{one_ns = OneNs, window_ns = WindowNs, arrivals = Arrivals} = State) ->
    NowNs = erlang:monotonic_time(nanosecond),
    Arrival = max(NowNs, maps:get({Name, Key}, Arrivals, NowNs)) + OneNs,
    case NowNs + WindowNs - Arrival of
        Room when Room >= 0 ->
            {reply, {ok, Room div OneNs}, State#state{arrivals = Arrivals#{{Name, Key} => Arrival}}};
        Room ->
            {reply, {error, -Room}, State}
    end.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.
