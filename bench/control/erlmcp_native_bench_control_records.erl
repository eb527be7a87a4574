-module(erlmcp_native_bench_control_records).
-moduledoc "What a latency costs to record, and all the numbers to read, after 10,000,000 records.".

-export([run/1]).

-import(erlmcp_native_bench_control_times, [time_ns/1, target/5]).

-define(ROLE, session).
-define(ID, erlmcp_native_bench_1).
-define(READS, 50).
-define(COMPONENTS, [1, 10, 100, 1_000]).

-define(LOOP(NAME, OPERATION),
    NAME(_What, 0) ->
        ok;
    NAME(What, N) ->
        ok = OPERATION,
        NAME(What, N - 1)
).

-doc "Records latencies in rounds beside the empty native, then reads the numbers.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(Options) ->
    {ok, Limits} = erlmcp_queue_limits:start_link(),
    lists:foreach(fun register/1, lists:seq(1, lists:max(?COMPONENTS))),
    ok = unregister_from(2),
    Costs = [{Callers, costs(Callers, Options)} || Callers <- [1, 2]],
    Reads = [read(Components, Options) || Components <- ?COMPONENTS],
    ok = gen_server:stop(Limits),
    result(Costs, Reads).

register(I) ->
    ok = erlmcp_control_plane:register_component(id(I), fun(_) -> ok end).

unregister_from(From) ->
    Ids = [id(I) || I <- lists:seq(From, lists:max(?COMPONENTS))],
    lists:foreach(fun(Id) -> ok = erlmcp_control_plane:unregister_component(Id) end, Ids).

id(I) -> list_to_atom("erlmcp_native_bench_" ++ integer_to_list(I)).

%% Medians over the rounds, of nanoseconds by operation: of one caller, or of two at once.
costs(Callers, #{rounds := Rounds, step_ms := StepMs}) ->
    N = StepMs * 10_000,
    Histogram = erlmcp_native:latency_new(),
    Loops = [
        {nothing, fun() -> nothing(self(), N) end},
        {latency_record, fun() -> latency_record(Histogram, N) end},
        {control_ended, fun() -> control_ended(?ID, N) end}
    ],
    [_WarmUp | Timed] = [
        #{Name => together(Callers, Loop) / N || {Name, Loop} <- Loops}
     || _ <- lists:seq(0, Rounds)
    ],
    #{Name => erlmcp_native_bench_run:median([map_get(Name, Round) || Round <- Timed]) || {Name, _} <- Loops}.

%% The mean of what each took.
together(Callers, Loop) ->
    Parent = self(),
    Pids = [
        spawn_link(fun() -> receive start -> Parent ! {self(), time_ns(Loop)} end end)
     || _ <- lists:seq(1, Callers)
    ],
    lists:foreach(fun(Pid) -> Pid ! start end, Pids),
    lists:sum([receive {Pid, Ns} -> Ns end || Pid <- Pids]) / Callers.

?LOOP(nothing, erlmcp_native:limits_nothing(own, ?ROLE, What)).
?LOOP(latency_record, erlmcp_native:latency_record(What, N band 1023)).
?LOOP(control_ended, erlmcp_native:control_ended(What, health_check, N band 1023, answered)).

read(Components, #{quick := Quick}) ->
    Records = case Quick of true -> 1_000_000; false -> 10_000_000 end,
    lists:foreach(fun register/1, lists:seq(1, Components)),
    ok = erlmcp_control_plane:reset_stats(),
    Ids = list_to_tuple([id(I) || I <- lists:seq(1, Components)]),
    _ = together(2, fun() -> fill(Ids, Records div 2) end),
    Host = erlmcp_native_bench_control_host:read(),
    Ns = [time_ns(fun erlmcp_control_plane:get_stats/0) || _ <- lists:seq(1, ?READS)],
    #{busy := Busy} = erlmcp_native_bench_control_host:since(Host),
    #{latency_p50_us := P50, by_component := Each} = erlmcp_control_plane:get_stats(),
    true = abs(P50 - 1000) < 10,
    Components = map_size(Each),
    Schedulers = erlang:system_info(schedulers_online),
    #{
        components => Components,
        records => Records,
        us => erlmcp_native_bench_run:median(Ns) / 1000,
        max_us => lists:max(Ns) / 1000,
        %% Of one scheduler, since one process reads.
        normal_share => Busy * Schedulers
    }.

%% Most within 2 ms, some over the whole range, so that no histogram is small.
fill(_, 0) ->
    ok;
fill(Ids, N) ->
    Id = element(1 + N rem tuple_size(Ids), Ids),
    Us = case N rem 997 of 0 -> N * 7919 rem 60_000_000; _ -> 1 + N * 31 rem 1999 end,
    ok = erlmcp_native:control_ended(Id, drain_session, Us, answered),
    fill(Ids, N - 1).

result([{_, One} | _] = Costs, Reads) ->
    [#{us := ReadUs, records := Records} | _] = [Read || #{components := 10} = Read <- Reads],
    Ratio = fun(Name) -> map_get(Name, One) / map_get(nothing, One) end,
    Names = [nothing, latency_record, control_ended],
    #{
        title => "",
        tables => [
            #{
                head => ["callers, ns an operation", "empty native", "latency_record/2", "control_ended/4"],
                left => 1,
                rows => [
                    [integer_to_list(Callers) | [erlmcp_native_bench_report:ns(map_get(Name, Cost)) || Name <- Names]]
                 || {Callers, Cost} <- Costs
                ]
            },
            #{
                head => ["get_stats/0 after so many records", "components", "median", "max", "scheduler in use"],
                left => 1,
                rows => [
                    [
                        erlmcp_native_bench_report:count(N),
                        integer_to_list(Components),
                        erlmcp_native_bench_control_times:us(Us),
                        erlmcp_native_bench_control_times:us(MaxUs),
                        [float_to_list(100 * Share, [{decimals, 1}]), " %"]
                    ]
                 || #{components := Components, records := N, us := Us, max_us := MaxUs, normal_share := Share} <- Reads
                ]
            }
        ],
        notes => [
            "record    control_ended/4 records twice: over all components, and into the component's own histogram",
            "in use    of the normal scheduler that the reader came from: the rest is on a dirty one"
        ],
        targets => [
            target("latency_record/2 to the empty native", lower, 4, Ratio(latency_record), " x"),
            target("control_ended/4, two records, to the empty native", lower, 4, Ratio(control_ended), " x"),
            target(
                ["all statistics after ", erlmcp_native_bench_report:count(Records), " records, 10 components"],
                lower,
                1000,
                ReadUs,
                " us"
            )
        ],
        data => #{record_ns => maps:from_list(Costs), reads => Reads}
    }.
