-module(erlmcp_native_demo_contest).
-moduledoc """
The demo's load on the library and on a gen_server (`m:erlmcp_native_demo_rival`), one after the other: eight clients
that try to make 100,000 requests/s together and then four times as many, and eight workers that finish all they get.
Here a request is counted at its session and at its executor: that is a check, an enqueue and a dequeue for each of the
two, where the library's check and enqueue are one call. A client that is held up makes fewer requests. A control
message goes to whoever stands behind the counts: the rival itself, or a component of the control plane.

The rival's median for control messages may be the lower one, and then the table says why. A message to a component is
routed, counted and timed, which is most of what passes until its handler starts; then its sender waits for its turn on
its scheduler like any ordinary process. With the library that is behind clients and workers, which have work all the
time. The rival's clients stand in calls meanwhile and leave the schedulers to the sender; and while the rival keeps up,
nothing waits in it half of the time, and a call to a process that has nothing to do costs least. What it is to wait
behind data shows in the 99th percentile. With a sender at priority `high`, the library's median at 100,000 requests/s
fell from 48 to 96 µs to 30 to 33, and its 99th percentile from half a millisecond to less than 0.1, on two busy cores.
""".

-export([run/0, lines/1]).

-export_type([result/0]).

-import(erlmcp_native_demo_text, [short/1, left/2, right/2]).

-define(CLIENTS, 8).
-define(ASKED_PER_S, [100_000, 400_000]).
-define(MS, 2_000).
-define(ROLES, [erlmcp_native_demo_session, erlmcp_native_demo_executor]).
-define(COMPONENT, erlmcp_native_demo_contest).
-define(LIMIT, 1_000).

-doc """
A result says what one of the two made of the load; times are in microseconds, those of a check with what its enqueue
takes.
""".
-type result() :: #{
    who := native | gen_server,
    asked_per_s := pos_integer(),
    reached_per_s := non_neg_integer(),
    %% CPU time of the whole VM, all else included, in hundredths of a processor.
    cpu_percent := non_neg_integer(),
    longest_mailbox := non_neg_integer(),
    check := erlmcp_native_demo_meter:waits(),
    control := erlmcp_native_demo_meter:waits(),
    %% The part of it until whoever runs the message began.
    started := erlmcp_native_demo_meter:waits()
}.

-doc "Runs both under the same load, which takes about eight seconds.".
-spec run() -> [result()].
run() ->
    lists:foreach(fun(Role) -> ok = erlmcp_queue_limits:set_limit(Role, ?LIMIT) end, ?ROLES),
    ok = erlmcp_control_plane:register_component(?COMPONENT, fun({control, _, #{task_id := Run}}) -> Run() end),
    Native = both(native, whereis(erlmcp_queue_limits), #{
        admit => fun(Role, Owner) -> erlmcp_queue_limits:try_enqueue(Role, Owner) =:= ok end,
        dequeue => fun erlmcp_queue_limits:record_dequeue/2,
        control => fun(Run) -> {ok, _} = erlmcp_control_plane:send_cancel_task(?COMPONENT, Run) end
    }),
    ok = erlmcp_control_plane:unregister_component(?COMPONENT),
    {ok, Rival} = erlmcp_native_demo_rival:start_link(?LIMIT),
    Baseline = both(gen_server, Rival, #{
        admit => fun(Role, Owner) ->
            erlmcp_native_demo_rival:check(Role, Owner) =:= ok andalso
                erlmcp_native_demo_rival:enqueue(Role, Owner) =:= ok
        end,
        dequeue => fun erlmcp_native_demo_rival:dequeue/2,
        control => fun erlmcp_native_demo_rival:urgent/1
    }),
    ok = gen_server:stop(Rival),
    Native ++ Baseline.

both(Who, Process, Calls) ->
    [measure(Who, Asked, Process, Calls) || Asked <- ?ASKED_PER_S].

measure(Who, Asked, Process, #{dequeue := Dequeue, control := Control} = Calls) ->
    Reached = counters:new(1, [write_concurrency]),
    Checks = erlmcp_native:latency_new(),
    Controls = erlmcp_native:latency_new(),
    Starts = erlmcp_native:latency_new(),
    Workers = [spawn_link(fun() -> worker(Dequeue) end) || _ <- lists:seq(1, ?CLIENTS)],
    Clients = [
        spawn_link(fun() ->
            Pace = erlmcp_native_demo_pace:new(Asked div ?CLIENTS, erlang:monotonic_time(microsecond)),
            client(Pace, Worker, Calls, Reached, Checks)
        end)
     || Worker <- Workers
    ],
    Prober = spawn_link(fun() -> prober(Control, Controls, Starts) end),
    {CpuBefore, _} = erlang:statistics(runtime),
    Longest = watch(Process, erlang:monotonic_time(millisecond) + ?MS, 0),
    {CpuAfter, _} = erlang:statistics(runtime),
    PerS = counters:get(Reached, 1) * 1000 div ?MS,
    lists:foreach(fun stop/1, [Prober | Clients] ++ Workers),
    #{
        who => Who,
        asked_per_s => Asked,
        cpu_percent => (CpuAfter - CpuBefore) * 100 div ?MS,
        reached_per_s => PerS,
        longest_mailbox => Longest,
        check => waits(Checks),
        control => waits(Controls),
        started => waits(Starts)
    }.

waits(Histogram) ->
    #{count := _} = Summary = erlmcp_native:latency_summary(Histogram),
    maps:with([count, p50_us, p99_us, max_us], Summary).

watch(Process, Until, Longest) ->
    {message_queue_len, Length} = process_info(Process, message_queue_len),
    case erlang:monotonic_time(millisecond) >= Until of
        true -> max(Longest, Length);
        false -> receive after 5 -> watch(Process, Until, max(Longest, Length)) end
    end.

stop(Pid) ->
    true = unlink(Pid),
    Monitor = erlang:monitor(process, Pid),
    true = exit(Pid, kill),
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    end.

client(Pace, Worker, Calls, Reached, Checks) ->
    {Due, Next} = erlmcp_native_demo_pace:due(Pace, erlang:monotonic_time(microsecond)),
    requests(Due, Worker, Calls, Reached, Checks),
    receive after 1 -> client(Next, Worker, Calls, Reached, Checks) end.

requests(0, _Worker, _Calls, _Reached, _Checks) ->
    ok;
requests(Due, Worker, Calls, Reached, Checks) ->
    request(Worker, Calls, Checks),
    ok = counters:add(Reached, 1, 1),
    requests(Due - 1, Worker, Calls, Reached, Checks).

request(Worker, #{admit := Admit, dequeue := Dequeue}, Checks) ->
    [Session, Executor] = ?ROLES,
    case timed(fun() -> Admit(Session, self()) end, Checks) of
        true ->
            case timed(fun() -> Admit(Executor, Worker) end, Checks) of
                true -> Worker ! {work, self()};
                false -> Dequeue(Session, self())
            end;
        false ->
            refused
    end.

worker(Dequeue) ->
    [Session, Executor] = ?ROLES,
    receive
        {work, Client} ->
            ok = Dequeue(Executor, self()),
            ok = Dequeue(Session, Client),
            worker(Dequeue)
    end.

prober(Control, Controls, Starts) ->
    SentAt = erlang:monotonic_time(microsecond),
    _ = Control(fun() -> since(SentAt, Starts) end),
    ok = since(SentAt, Controls),
    receive after 5 -> prober(Control, Controls, Starts) end.

timed(Fun, Histogram) ->
    Start = erlang:monotonic_time(microsecond),
    Value = Fun(),
    ok = since(Start, Histogram),
    Value.

since(StartUs, Histogram) ->
    erlmcp_native:latency_record(Histogram, erlang:monotonic_time(microsecond) - StartUs).

-doc "Shows the results as a table, and says why where the gen_server's control messages took less.".
-spec lines([result()]) -> [erlmcp_native_demo_text:line()].
lines(Results) ->
    [
        [],
        [
            {bold, [
                [left("who", 10), right("asked/s", 9), right("reached/s", 10), right("CPU %", 6), right("mailbox", 8)],
                [right("check p50", 11), right("p99", 9), right("ctl p50", 9), right("p99", 7)]
            ]}
        ]
        | [line(Result) || Result <- Results]
    ] ++ lists:append([why(Result, Results) || #{who := native} = Result <- Results]).

why(#{asked_per_s := Asked, control := #{p50_us := P50}, started := #{p50_us := StartP50}}, Results) ->
    case [Us || #{who := gen_server, asked_per_s := Same, control := #{p50_us := Us}} <- Results, Same =:= Asked] of
        [Lower] when Lower < P50 ->
            Parts = [short(StartP50), " of the ", short(P50), " (ctl p50). Then"],
            [
                [["At ", short(Asked), "/s the handler starts after " | Parts]],
                ["its sender waits for its turn behind clients; the gen_server's stand in calls."]
            ];
        _ ->
            []
    end.

line(#{who := Who, asked_per_s := Asked, reached_per_s := Reached, cpu_percent := Cpu} = Result) ->
    #{longest_mailbox := Mailbox, check := Check, control := Control} = Result,
    #{p50_us := CheckP50, p99_us := CheckP99} = Check,
    #{p50_us := ControlP50, p99_us := ControlP99} = Control,
    [
        [left(atom_to_list(Who), 10), right(short(Asked), 9), right(short(Reached), 10)],
        [right(integer_to_list(min(99_999, Cpu)), 6), right(short(Mailbox), 8), right(short(CheckP50), 11)],
        [right(short(CheckP99), 9), right(short(ControlP50), 9), right(short(ControlP99), 7)]
    ].
