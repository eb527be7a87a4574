-module(erlmcp_native_bench_control_relay).
-moduledoc """
The rival that erlmcp had: one gen_server in between, that hands each message to the component's handler
process and answers the sender when that has answered.
""".

-behaviour(gen_server).

-export([start_link/0, add/2, send/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(KEPT, 1000).

-record(state, {handlers = #{} :: #{atom() => pid()}, latencies = [] :: [non_neg_integer()]}).

-doc "Starts the relay, the rival of direct sends.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-doc "Registers a component at the relay.".
-spec add(atom(), fun((term()) -> term())) -> ok.
add(Id, Fun) ->
    gen_server:call(?MODULE, {add, Id, Fun}).

-doc "Sends a message by way of the relay and waits for the answer.".
-spec send(atom(), term()) -> {ok, LatencyUs :: non_neg_integer()}.
send(Id, Message) ->
    gen_server:call(?MODULE, {send, Id, Message}).

-doc false.
-spec init([]) -> {ok, #state{}}.
init([]) ->
    {ok, #state{}}.

-doc false.
-spec handle_call({add, atom(), fun((term()) -> term())} | {send, atom(), term()}, gen_server:from(), #state{}) ->
    {reply, ok, #state{}} | {noreply, #state{}}.
handle_call({add, Id, Fun}, _From, #state{handlers = Handlers} = State) ->
    {reply, ok, State#state{handlers = Handlers#{Id => spawn_link(fun() -> handler(Fun) end)}}};
handle_call({send, Id, Message}, From, #state{handlers = Handlers} = State) ->
    #{Id := Handler} = Handlers,
    Handler ! {self(), From, erlang:monotonic_time(microsecond), Message},
    {noreply, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_, State) ->
    {noreply, State}.

-doc false.
-spec handle_info({answered, gen_server:from(), integer()}, #state{}) -> {noreply, #state{}}.
handle_info({answered, From, SentAt}, #state{latencies = Latencies} = State) ->
    LatencyUs = erlang:monotonic_time(microsecond) - SentAt,
    ok = gen_server:reply(From, {ok, LatencyUs}),
    Kept = case length(Latencies) of ?KEPT -> lists:sublist(Latencies, ?KEPT div 2); _ -> Latencies end,
    {noreply, State#state{latencies = [LatencyUs | Kept]}}.

handler(Fun) ->
    receive
        {Relay, From, SentAt, Message} ->
            _ = Fun(Message),
            Relay ! {answered, From, SentAt},
            handler(Fun)
    end.
