-module(erlmcp_native_demo_program).
-moduledoc """
A program that has not been protected, and the same with one line changed, each on a node of its own: eight clients ask
for more than six times what eight executors can do.

Whoever asks waits for half a second. An executor takes eight requests, which is four milliseconds of work, and so on;
it does not know that nobody waits for an answer any more, as no program does. Somebody asks one executor after the
other how it is, and waits for the answer: by a message like all others, or by the control plane.

The node ends itself when it has more memory than it may have, as a container does, and after a minute in any case.
""".

-export([start/1, sample/0, limit/0, patience_us/0]).

-export_type([how/0, sample/0]).

-define(CLIENTS, 8).
-define(EXECUTORS, 8).
-define(OFFERED_PER_S, 100_000).
-define(SPEED, 2_000).
-define(BATCH_MS, 4).
-define(BYTES, 1_024).
-define(PATIENCE_US, 500_000).
-define(LIMIT, 500).
-define(ROLE, tool_executor).
-define(PROBE_MS, 20).
-define(LIFE_MS, 60_000).
-define(COUNTERS, [offered, refused, in_time, late]).
-define(GAUGES, [longest, asked_at_us, slowest_us]).

-doc "Requests are sent by a bare `!`, or by `erlmcp_overload_mailbox:send/3`.".
-type how() :: bare | limited.
-doc """
This is what became of the requests so far, the longest that any mailbox was, what those waited that were taken up, in
microseconds, how long the slowest health check took or takes until now, and the memory of the node, in bytes.
""".
-type sample() :: #{
    offered | refused | in_time | late | longest | check_us | memory := non_neg_integer(),
    waits := erlmcp_native_demo_meter:waits()
}.

-doc "Returns how long the mailbox of an executor may be on the node that is protected.".
-spec limit() -> pos_integer().
limit() -> ?LIMIT.

-doc "Returns how long a client waits, in microseconds.".
-spec patience_us() -> pos_integer().
patience_us() -> ?PATIENCE_US.

-doc "Starts the program on this node, which may have so many bytes.".
-spec start({how(), MostBytes :: pos_integer()}) -> ok.
start({How, MostBytes}) ->
    ok = protected(How),
    Meter = #{
        counters => counters:new(length(?COUNTERS), [write_concurrency]),
        gauges => atomics:new(length(?GAUGES), []),
        waits => erlmcp_native:latency_new()
    },
    ok = persistent_term:put(?MODULE, Meter),
    _ = spawn_opt(fun() -> guard(MostBytes, now_us() + ?LIFE_MS * 1000) end, [{priority, max}]),
    Starter = self(),
    _ = spawn(fun() -> crew(How, Meter, Starter) end),
    receive
        {?MODULE, started} -> ok
    end.

protected(bare) ->
    ok;
protected(limited) ->
    {ok, _} = application:ensure_all_started(erlmcp_native),
    erlmcp_queue_limits:set_limit(?ROLE, ?LIMIT).

%% Whoever fails takes all others along, and the node.
crew(How, Meter, Starter) ->
    _ = process_flag(trap_exit, true),
    Crew = self(),
    Executors = [
        spawn_link(fun() ->
            ok = component(How, Id),
            Crew ! {ready, self()},
            Pace = erlmcp_native_demo_pace:new(?SPEED, now_us()),
            executor(Pace, Meter)
        end)
     || Id <- ids()
    ],
    lists:foreach(fun(Executor) -> receive {ready, Executor} -> ok end end, Executors),
    Pace = erlmcp_native_demo_pace:new(?OFFERED_PER_S div ?CLIENTS, now_us()),
    lists:foreach(
        fun(N) -> spawn_link(fun() -> client(Pace, N, How, list_to_tuple(Executors), Meter) end) end,
        lists:seq(1, ?CLIENTS)
    ),
    _ = spawn_link(fun() -> prober(How, lists:zip(ids(), Executors), Meter) end),
    Starter ! {?MODULE, started},
    receive
        {'EXIT', _, _} -> erlang:halt(1, [{flush, false}])
    end.

ids() ->
    [list_to_atom("executor_" ++ integer_to_list(N)) || N <- lists:seq(1, ?EXECUTORS)].

component(bare, _Id) ->
    ok;
component(limited, Id) ->
    erlmcp_control_plane:register_component(Id, #{alias => erlmcp_priority:create_priority_alias()}).

client(Pace, Number, How, Executors, Meter) ->
    {Due, Next} = erlmcp_native_demo_pace:due(Pace, now_us()),
    ok = ask(Due, Number, How, Executors, Meter),
    receive
    after 1 -> client(Next, Number + Due, How, Executors, Meter)
    end.

ask(0, _Number, _How, _Executors, _Meter) ->
    ok;
ask(Due, Number, How, Executors, Meter) ->
    Executor = element(Number rem tuple_size(Executors) + 1, Executors),
    Request = {request, now_us(), <<Number:64, 0:(?BYTES - 8)/unit:8>>},
    ok = add(offered, Meter),
    case send(How, Executor, Request) of
        ok -> ok;
        {error, {capacity_exceeded, _}} -> add(refused, Meter)
    end,
    ask(Due - 1, Number + 1, How, Executors, Meter).

%% The line that is changed.
send(bare, Executor, Request) ->
    Executor ! Request,
    ok;
send(limited, Executor, Request) ->
    erlmcp_overload_mailbox:send(?ROLE, Executor, Request).

executor(Pace, Meter) ->
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    ok = raise_to(longest, Length, Meter),
    {Due, Next} = erlmcp_native_demo_pace:due(Pace, now_us()),
    ok = work(Due, Meter),
    receive
    after ?BATCH_MS -> executor(Next, Meter)
    end.

work(0, _Meter) ->
    ok;
work(Due, Meter) ->
    receive
        {request, AtUs, _Bytes} ->
            Us = now_us() - AtUs,
            ok = erlmcp_native:latency_record(maps:get(waits, Meter), max(0, Us)),
            ok = add(case Us =< ?PATIENCE_US of true -> in_time; false -> late end, Meter),
            work(Due - 1, Meter);
        {how_are_you, From, Reference} ->
            From ! {Reference, well},
            work(Due, Meter);
        {priority, From, {control, _, _}} ->
            ok = erlmcp_control_plane:reply(From, ok),
            work(Due, Meter)
    after 0 -> ok
    end.

prober(How, [{Id, Executor} | Others], #{gauges := Gauges} = Meter) ->
    Now = now_us(),
    ok = atomics:put(Gauges, place(asked_at_us, ?GAUGES), Now),
    ok = probe(How, Id, Executor),
    ok = raise_to(slowest_us, now_us() - Now, Meter),
    ok = atomics:put(Gauges, place(asked_at_us, ?GAUGES), 0),
    receive
    after ?PROBE_MS -> prober(How, Others ++ [{Id, Executor}], Meter)
    end.

probe(bare, _Id, Executor) ->
    Reference = make_ref(),
    Executor ! {how_are_you, self(), Reference},
    receive
        {Reference, well} -> ok
    end;
probe(limited, Id, _Executor) ->
    case erlmcp_control_plane:send_health_check(Id, liveness) of
        {ok, _Us} -> ok;
        %% It has taken as long as it is shown to have taken.
        {error, timeout} -> ok
    end.

-spec guard(pos_integer(), integer()) -> no_return().
guard(MostBytes, UntilUs) ->
    case erlang:memory(total) > MostBytes orelse now_us() > UntilUs of
        true -> erlang:halt(137, [{flush, false}]);
        false -> receive after 5 -> guard(MostBytes, UntilUs) end
    end.

-doc "Returns what the program on this node has come to.".
-spec sample() -> sample().
sample() ->
    #{counters := Counters, gauges := Gauges, waits := Waits} = persistent_term:get(?MODULE),
    [Longest, AskedAtUs, SlowestUs] = [atomics:get(Gauges, place(Gauge, ?GAUGES)) || Gauge <- ?GAUGES],
    #{count := _} = Summary = erlmcp_native:latency_summary(Waits),
    Counts = #{Counter => counters:get(Counters, place(Counter, ?COUNTERS)) || Counter <- ?COUNTERS},
    Counts#{
        longest => Longest,
        check_us => max(SlowestUs, pending_us(AskedAtUs)),
        memory => erlang:memory(total),
        waits => maps:with([count, p50_us, p99_us, max_us], Summary)
    }.

%% While nobody asks, that is 0.
pending_us(0) -> 0;
pending_us(AskedAtUs) -> now_us() - AskedAtUs.

add(Counter, #{counters := Counters}) ->
    counters:add(Counters, place(Counter, ?COUNTERS), 1).

raise_to(Gauge, N, #{gauges := Gauges}) ->
    Index = place(Gauge, ?GAUGES),
    raise_to(Gauges, Index, N, atomics:get(Gauges, Index)).

raise_to(_Gauges, _Index, N, Seen) when N =< Seen -> ok;
raise_to(Gauges, Index, N, Seen) ->
    case atomics:compare_exchange(Gauges, Index, Seen, N) of
        ok -> ok;
        Other -> raise_to(Gauges, Index, N, Other)
    end.

place(Name, Names) -> place(Name, Names, 1).

place(Name, [Name | _], Index) -> Index;
place(Name, [_ | Names], Index) -> place(Name, Names, Index + 1).

now_us() ->
    erlang:monotonic_time(microsecond).
