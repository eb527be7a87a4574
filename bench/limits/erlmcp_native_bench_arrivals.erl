-module(erlmcp_native_bench_arrivals).
-moduledoc """
Owners that come: the slowest first enqueue of very many; and owners that come and go at 1,000,000 a minute beside
callers that count.

A slow call on a shared machine may be somebody else's doing. So after each arrival a native is timed that is busy with
nothing for about as long: what it meets, arrivals meet. And the slowest is shown of what each arrival took at least in
all runs.
""".

-behaviour(erlmcp_native_bench).

-export([run/1, come_and_go/0]).

-import(erlmcp_native_bench_thread, [times/2, slowest/1]).

-define(ROLE, session).
-define(LIMIT, ((1 bsl 59) - 1)).
-define(RUNS, 3).
%% About as long as an arrival.
-define(SPIN_NS, 3_000).
-define(A_MINUTE, 1_000_000).
-define(MS_A_MINUTE, 60_000).
-define(MODES, [none, untracked, tracked]).

-doc "Grows tables of their own to the most owners, then has owners come and go beside two callers.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{tracked := Sizes} = Options) ->
    Most = lists:max(Sizes),
    Owners = erlmcp_native_bench_owners:start(Most),
    Pids = tuple_to_list(Owners),
    {Runs, Spins} = lists:unzip([grow(Pids) || _ <- lists:seq(1, ?RUNS)]),
    ok = erlmcp_native_bench_owners:stop(Owners),
    Each = lists:foldl(fun least_of/2, hd(Runs), tl(Runs)),
    Arrivals = #{
        each_run => [summary(Run) || Run <- Runs],
        each_spin => [summary(Spin) || Spin <- Spins],
        at_least => summary(Each)
    },
    {ok, _} = erlmcp_queue_limits:start_link(),
    ok = erlmcp_queue_limits:set_limit(?ROLE, ?LIMIT),
    Churn = churn(Options),
    ok = gen_server:stop(erlmcp_queue_limits),
    result(Most, Arrivals, Churn).

grow(Pids) ->
    Table = erlmcp_native:limits_new([{?ROLE, ?LIMIT}]),
    Call = fun
        (spin) -> ok = erlmcp_native_probe:spin_ns(?SPIN_NS);
        (Pid) -> ok = erlmcp_native:limits_enqueue(Table, ?ROLE, Pid)
    end,
    Arguments = lists:flatmap(fun(Pid) -> [Pid, spin] end, Pids),
    Times = erlmcp_native_bench_thread:run(fun() -> halves(times(Call, Arguments), [], []) end),
    true = length(Pids) =:= erlmcp_native:limits_owners(Table),
    %% A table that is dropped full would be emptied by a normal scheduler.
    ok = erlmcp_native:limits_close(Table),
    Times.

least_of(Run, Other) ->
    lists:zipwith(fun({Wall, Cpu}, {W, C}) -> {min(Wall, W), min(Cpu, C)} end, Run, Other).

halves([], Arrivals, Spins) -> {lists:reverse(Arrivals), lists:reverse(Spins)};
halves([Arrival, Spin | Rest], Arrivals, Spins) -> halves(Rest, [Arrival | Arrivals], [Spin | Spins]).

summary(Times) ->
    Slow = length([Cpu || {_, Cpu} <- Times, Cpu > 100_000]),
    (slowest(Times))#{all_ns => lists:sum([Cpu || {_, Cpu} <- Times]), above_100_us => Slow}.

%% The modes in turns, so that what else the machine does hits all alike.
churn(#{quick := Quick} = Options) ->
    Callers = erlmcp_native_bench_run:start_callers(2),
    Turns = case Quick of true -> 2; false -> 10 end,
    Rounds = [[{Mode, churn(Mode, Callers, Options)} || Mode <- ?MODES] || _ <- lists:seq(1, Turns)],
    ok = only_left(length(Callers), 1_000),
    ok = erlmcp_native_bench_run:stop_callers(Callers),
    Rounds.

churn(Mode, Callers, Options) ->
    Churner = spawn_link(fun() -> churner(Mode, 0, erlang:monotonic_time()) end),
    Timings = erlmcp_native_bench_run:rounds(
        Options, Callers, [{timed, all, {as, all, 1}}], {?ROLE, fun(Caller, _, _) -> {one, Caller} end}
    ),
    Tag = make_ref(),
    Churner ! {stop, self(), Tag},
    receive
        {Tag, Came, Ms} -> #{timing => map_get(all, Timings), came => Came, ms => Ms}
    end.

%% As many as are due, every millisecond.
churner(none, _, _) ->
    receive
        {stop, From, Tag} -> From ! {Tag, 0, 0}
    end;
churner(Mode, Came, Start) ->
    Ms = erlang:convert_time_unit(erlang:monotonic_time() - Start, native, millisecond),
    receive
        {stop, From, Tag} -> From ! {Tag, Came, Ms}
    after 1 ->
        Due = Ms * ?A_MINUTE div ?MS_A_MINUTE,
        come(Mode, Due - Came),
        churner(Mode, max(Came, Due), Start)
    end.

come(_, N) when N =< 0 ->
    ok;
come(tracked, N) ->
    _ = spawn(?MODULE, come_and_go, []),
    come(tracked, N - 1);
come(untracked, N) ->
    _ = spawn(erlmcp_native_probe, floor, [?ROLE, self()]),
    come(untracked, N - 1).

-doc false.
-spec come_and_go() -> ok.
come_and_go() ->
    erlmcp_queue_limits:record_enqueue(?ROLE, self()).

%% Whoever has gone is not counted any more.
only_left(Callers, 0) ->
    {error, {Callers, erlmcp_queue_limits:get_role_stats(?ROLE)}};
only_left(Callers, Ms) ->
    case erlmcp_queue_limits:get_role_stats(?ROLE) of
        #{owners := Callers, current_depth := 0, unmatched_dequeues := 0} -> ok;
        _ -> receive after 1 -> only_left(Callers, Ms - 1) end
    end.

result(Most, Arrivals, Churn) ->
    #{each_run := Runs, each_spin := Spins, at_least := AtLeast} = Arrivals,
    Count = erlmcp_native_bench_report:count(Most),
    Rows =
        [{["arrivals, run ", integer_to_list(I)], Run} || {I, Run} <- lists:enumerate(Runs)] ++
            [{["nothing, run ", integer_to_list(I)], Run} || {I, Run} <- lists:enumerate(Spins)] ++
            [{"arrivals, each by its least in all runs", AtLeast}],
    Ratio = fun(Mode, Beside) -> ratio(Mode, Beside, Churn) end,
    #{
        title => ["Queue limits: arrivals, from none to ", Count, "; and 1M owners a minute that come and go"],
        tables => [
            #{
                head => ["slowest first enqueue", "calls", "wall us", "CPU us", "above 100 us", "CPU ms, all"],
                left => 1,
                rows => [
                    [
                        Name,
                        integer_to_list(Calls),
                        us(Wall),
                        us(Cpu),
                        integer_to_list(Slow),
                        integer_to_list(All div 1_000_000)
                    ]
                 || {Name, #{calls := Calls, wall_ns := Wall, cpu_ns := Cpu, above_100_us := Slow, all_ns := All}} <-
                        Rows
                ]
            },
            #{
                head => ["beside owners that", "ns", "least", "came a minute"],
                left => 1,
                rows => [
                    [
                        Name,
                        erlmcp_native_bench_report:ns(erlmcp_native_bench_run:median(ns(Mode, Churn))),
                        erlmcp_native_bench_report:ns(lists:min(ns(Mode, Churn))),
                        integer_to_list(round(a_minute(Mode, Churn)))
                    ]
                 || {Mode, Name} <- [
                        {none, "do not come"},
                        {untracked, "come and go, and are not tracked"},
                        {tracked, "come and go with one enqueued"}
                    ]
                ]
            }
        ],
        notes => [
            "CPU: what the scheduler's thread ran; interrupts, and a hypervisor that does not say so, are in it. above",
            "100 us: so many calls by CPU. nothing: a native that is busy for 3 us, after each arrival",
            "ns: check_capacity, record_enqueue, record_dequeue by 2 callers on their own owners, a turn's median"
        ],
        targets => [
            target("slowest first enqueue, worst of 3 runs, CPU", 1000, worst(Runs) / 1000, " us"),
            target("slowest first enqueue, of the least in all runs", 1000, worst([AtLeast]) / 1000, " us"),
            target("hot beside 1M owners a minute, tracked to not", 1.2, Ratio(tracked, untracked), " x"),
            target("hot beside 1M owners a minute to none", 1.5, Ratio(tracked, none), " x"),
            (target("owners that came and went a minute", ?A_MINUTE * 0.95, a_minute(tracked, Churn), ""))#{
                better := higher
            }
        ],
        data => #{arrivals => Arrivals, churn => [maps:from_list(Round) || Round <- Churn]}
    }.

worst(Runs) -> lists:max([Cpu || #{cpu_ns := Cpu} <- Runs]).

%% Of turns, each with its neighbour in time.
ratio(Mode, Beside, Churn) ->
    erlmcp_native_bench_run:median(lists:zipwith(fun(A, B) -> A / B end, ns(Mode, Churn), ns(Beside, Churn))).

ns(Mode, Churn) ->
    [Ns || Round <- Churn, {M, #{timing := #{ns := Ns}}} <- Round, M =:= Mode].

a_minute(Mode, Churn) ->
    Turns = [{Came, Ms} || Round <- Churn, {M, #{came := Came, ms := Ms}} <- Round, M =:= Mode],
    {Came, Ms} = lists:unzip(Turns),
    lists:sum(Came) * ?MS_A_MINUTE / max(1, lists:sum(Ms)).

us(Ns) -> float_to_list(Ns / 1000, [{decimals, 1}]).

target(Name, Target, Measured, Unit) ->
    #{name => Name, better => lower, target => Target, measured => Measured, unit => Unit}.
