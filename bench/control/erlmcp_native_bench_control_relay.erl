-module(erlmcp_native_bench_control_relay).
-moduledoc """
The rival that erlmcp had: one gen_server in between, that hands each message to the component's handler
process and answers the sender when that has answered. Both run at the priority that is asked for.
""".

-behaviour(gen_server).

-export([start_link/1, stop/1, add/3, send/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(KEPT, 1000).

-record(state, {
    priority :: high | normal,
    handlers = #{} :: #{atom() => pid()},
    latencies = [] :: [non_neg_integer()]
}).

-doc "Starts a relay, the rival of direct sends.".
-spec start_link(high | normal) -> gen_server:start_ret().
start_link(Priority) ->
    gen_server:start_link(?MODULE, Priority, [{spawn_opt, [{priority, Priority}]}]).

-doc "Stops a relay.".
-spec stop(pid()) -> ok.
stop(Relay) ->
    gen_server:stop(Relay).

-doc "Registers a component at a relay.".
-spec add(pid(), atom(), fun((term()) -> term())) -> ok.
add(Relay, Id, Fun) ->
    gen_server:call(Relay, {add, Id, Fun}).

-doc "Sends a message by way of a relay and waits for the answer.".
-spec send(pid(), atom(), term()) -> {ok, LatencyUs :: non_neg_integer()}.
send(Relay, Id, Message) ->
    gen_server:call(Relay, {send, Id, Message}).

-doc false.
-spec init(high | normal) -> {ok, #state{}}.
init(Priority) ->
    {ok, #state{priority = Priority}}.

-doc false.
-spec handle_call({add, atom(), fun((term()) -> term())} | {send, atom(), term()}, gen_server:from(), #state{}) ->
    {reply, ok, #state{}} | {noreply, #state{}}.
handle_call({add, Id, Fun}, _From, #state{priority = Priority, handlers = Handlers} = State) ->
    Handler = spawn_opt(fun() -> handler(Fun) end, [link, {priority, Priority}]),
    {reply, ok, State#state{handlers = Handlers#{Id => Handler}}};
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
