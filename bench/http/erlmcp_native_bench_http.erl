-module(erlmcp_native_bench_http).
-moduledoc """
The HTTP endpoints beside a million owners: what a scrape takes, and what readers do to admissions.

Readers are ten processes of this runtime that ask as fast as they can. What they do to admissions is compared with
ten processes that burn the same processor time without touching anything: so much that the runtime takes as many
core seconds a second as it did with the readers, the admitting process left out.
""".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(LIMITS, erlmcp_queue_limits).
-define(ROLES, 50).
-define(CLIENTS, 10).
-define(BATCH, 500).
-define(ROUNDS, 5).

-doc "Measures the endpoints with as many owners as the options track at most.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{tracked := Sizes, quick := Quick}) ->
    Most = lists:max(Sizes),
    ok = application:set_env(erlmcp_native, http, #{port => 0}),
    {ok, Started} = application:ensure_all_started([cowboy, erlmcp_native]),
    Port = erlmcp_native_http:port(),
    Idle = erlmcp_native_bench_owners:start(Most),
    %% With those that are there from the start.
    Further = ?ROLES - map_size(?LIMITS:get_all_limits()),
    Roles = [list_to_atom("bench_role_" ++ integer_to_list(N)) || N <- lists:seq(1, Further)],
    enqueue(Idle, Roles, 1, Most),
    ok = erlmcp_overload_monitor:force_check(),
    components(),
    {Scrape, Bytes} = scrape(Port),
    RoundMs = case Quick of true -> 300; false -> 4000 end,
    Rounds = [round(Port, RoundMs) || _ <- lists:seq(1, ?ROUNDS)],
    [ok = application:stop(App) || App <- lists:reverse(Started), App =/= crypto, App =/= ssl],
    ok = erlmcp_native_bench_owners:stop(Idle),
    result(Most, Scrape, Bytes, Rounds).

enqueue(_, _, From, To) when From > To ->
    ok;
enqueue(Idle, [Role | Roles], From, To) ->
    ok = ?LIMITS:record_enqueue(Role, element(From, Idle)),
    enqueue(Idle, Roles ++ [Role], From + 1, To).

%% Five, each with latencies, as a node has them.
components() ->
    Ids = [bench_session, bench_transport, bench_executor, bench_stream, bench_server],
    [ok = erlmcp_control_plane:register_component(Id, fun(_) -> ok end) || Id <- Ids],
    [{ok, _} = erlmcp_control_plane:send_health_check(Id, liveness) || Id <- Ids, _ <- lists:seq(1, 100)],
    ok.

%% Microseconds of each, and the size of the answer.
scrape(Port) ->
    Socket = erlmcp_native_bench_http_client:open(Port),
    _ = erlmcp_native_bench_http_client:get(Socket, ~"/metrics"),
    Times = [timer:tc(fun() -> erlmcp_native_bench_http_client:get(Socket, ~"/metrics") end) || _ <- lists:seq(1, 51)],
    ok = gen_tcp:close(Socket),
    {[Us || {Us, _} <- Times], byte_size(element(2, hd(Times)))}.

%% With readers, and then with burners of the same processor time.
round(Port, Ms) ->
    Answers = counters:new(1, [write_concurrency]),
    Readers = [spawn_link(fun() -> read(Port, Answers) end) || _ <- lists:seq(1, ?CLIENTS)],
    Reading = measure(Ms),
    stop(Readers),
    Burners = burners(maps:get(other_cores, Reading)),
    Burning = measure(Ms),
    stop(Burners),
    #{reading => Reading#{answers => counters:get(Answers, 1)}, burning => Burning}.

read(Port, Answers) ->
    read(erlmcp_native_bench_http_client:open(Port), Answers, [~"/metrics", ~"/api/queues?top=100"]).

read(Socket, Answers, [Path | Others]) ->
    _ = erlmcp_native_bench_http_client:get(Socket, Path),
    counters:add(Answers, 1, 1),
    read(Socket, Answers, Others ++ [Path]).

stop(Pids) ->
    [begin unlink(Pid), exit(Pid, kill) end || Pid <- Pids],
    ok.

%% Admissions a second, what one takes while its process runs, and how many cores everything else has.
measure(Ms) ->
    Self = self(),
    {_, Taken} = spawn_monitor(fun() -> exit({admitted, admit(Self, Ms)}) end),
    {Cpu, _} = statistics(runtime),
    Begun = erlang:monotonic_time(microsecond),
    receive
        {'DOWN', Taken, process, _, {admitted, {Pairs, PairNs}}} ->
            {CpuEnd, _} = statistics(runtime),
            Us = erlang:monotonic_time(microsecond) - Begun,
            Cores = (CpuEnd - Cpu) * 1000 / Us,
            #{
                pairs_per_s => Pairs * 1.0e6 / Us,
                pair_ns => PairNs,
                other_cores => max(0.0, Cores - Pairs * PairNs / 1000 / Us)
            }
    end.

%% The median of the batches is one that was not interrupted.
admit(Owner, Ms) ->
    Until = erlang:monotonic_time(millisecond) + Ms,
    Batches = admit_until(Until, Owner, []),
    {length(Batches) * ?BATCH, erlmcp_native_bench_run:median(Batches) / ?BATCH}.

admit_until(Until, Owner, Batches) ->
    case erlang:monotonic_time(millisecond) < Until of
        true ->
            Begun = erlang:monotonic_time(nanosecond),
            pairs(?BATCH, Owner),
            admit_until(Until, Owner, [erlang:monotonic_time(nanosecond) - Begun | Batches]);
        false ->
            Batches
    end.

pairs(0, _) ->
    ok;
pairs(Times, Owner) ->
    ok = ?LIMITS:try_enqueue(session, Owner),
    ok = ?LIMITS:record_dequeue(session, Owner),
    pairs(Times - 1, Owner).

%% Processes that together take so many cores.
burners(Cores) ->
    ChunkUs = chunk_us(),
    Share = Cores / ?CLIENTS,
    [
        spawn_link(fun() -> burn(Share, ChunkUs, erlang:monotonic_time(microsecond), 0) end)
     || _ <- lists:seq(1, ?CLIENTS)
    ].

burn(Share, ChunkUs, Since, BurntUs) ->
    Owed = (erlang:monotonic_time(microsecond) - Since) * Share - BurntUs,
    case Owed > 0 of
        true ->
            chunk(),
            burn(Share, ChunkUs, Since, BurntUs + ChunkUs);
        false ->
            receive after 1 -> burn(Share, ChunkUs, Since, BurntUs) end
    end.

chunk_us() ->
    erlmcp_native_bench_run:median([element(1, timer:tc(fun chunk/0)) || _ <- lists:seq(1, 101)]).

chunk() ->
    _ = lists:foldl(fun(N, Sum) -> (Sum * 31 + N) band 16#ffffff end, 1, lists:seq(1, 20_000)),
    ok.

result(Most, Scrape, Bytes, Rounds) ->
    ScrapeMs = erlmcp_native_bench_run:median(Scrape) / 1000,
    Median = fun(Phase, Key) ->
        erlmcp_native_bench_run:median([maps:get(Key, maps:get(Phase, Round)) || Round <- Rounds])
    end,
    Slower = erlmcp_native_bench_run:median([
        Burning / Reading
     || #{reading := #{pairs_per_s := Reading}, burning := #{pairs_per_s := Burning}} <- Rounds
    ]),
    Cost = erlmcp_native_bench_run:median([
        Reading / Burning
     || #{reading := #{pair_ns := Reading}, burning := #{pair_ns := Burning}} <- Rounds
    ]),
    Count = erlmcp_native_bench_report:count(Most),
    Row = fun(Name, Phase) ->
        [
            Name,
            integer_to_list(round(Median(Phase, pairs_per_s))),
            erlmcp_native_bench_report:ns(Median(Phase, pair_ns)),
            io_lib:format("~.2f", [Median(Phase, other_cores)])
        ]
    end,
    #{
        title => "HTTP endpoints",
        tables => [
            #{
                head => [["scrape of ", Count, " owners in 50 roles"], "measured"],
                left => 1,
                rows => [
                    ["median", io_lib:format("~.2f ms", [ScrapeMs])],
                    ["longest of 51", io_lib:format("~.2f ms", [lists:max(Scrape) / 1000])],
                    ["size", io_lib:format("~.1f kB", [Bytes / 1000])]
                ]
            },
            #{
                head => ["try_enqueue and dequeue", "a second", "ns while running", "other cores"],
                left => 1,
                rows => [
                    Row("beside ten readers", reading),
                    Row("beside ten burners of as much", burning)
                ]
            }
        ],
        notes => [
            io_lib:format("readers got ~b answers a round, /metrics and /api/queues?top=100 in turns", [
                Median(reading, answers)
            ])
        ],
        targets => [
            target("scrape of " ++ Count ++ " owners in 50 roles, median", 20, ScrapeMs, " ms"),
            target("size of a scrape", 100, Bytes / 1000, " kB"),
            target("admissions a second, burners against readers", 1.2, Slower, "x"),
            target("an admission while it runs, readers against burners", 1.2, Cost, "x")
        ],
        data => #{scrape_us => Scrape, scrape_bytes => Bytes, rounds => Rounds}
    }.

target(Name, Target, Measured, Unit) ->
    #{name => Name, better => lower, target => Target, measured => Measured, unit => Unit}.
