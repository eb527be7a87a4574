-module(erlmcp_native_bench_control_sends).
-moduledoc """
Sending without waiting, beside the bare priority send that erlmcp has: what the sender's own time is.

*Warm* is one message after the other to the same process. *Cold* is the first and only one to a process in whose
mailbox 10,000 ordinary ones wait, all of which were sent just before: hardly anything of what the send needs is in a
cache. For both the process is suspended, so that nobody is woken and nothing is taken out. *Delivered* is cold as well,
to a process that sleeps until it gets the message, and takes the time then.
""".

-export([run/1]).
-export([init/1]).

-import(erlmcp_native_bench_control_times, [head/1, row/2, time_ns/1, target/5]).

-define(WARM, 1_000).
-define(WAITING, 10_000).

-doc "Measures each way of sending, in turn.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{rounds := Rounds, quick := Quick}) ->
    Times = case Quick of true -> 20; false -> 100 end,
    result(warm(Times * Rounds), cold(fun sent_ns/1, Times * Rounds), cold(fun delivered_ns/1, Times * Rounds)).

warm(Rounds) ->
    Ways = [
        {bare, fun bare/2},
        {urgent, fun(Alias, _) -> erlmcp_priority:send_urgent(Alias, stop) end},
        {urgent_pid, fun(_, Pid) -> erlmcp_priority:send_urgent(Pid, stop) end},
        {priority, fun(Alias, _) -> erlmcp_priority:send_priority(Alias, stop, self()) end}
    ],
    [_WarmUp | Timed] = [#{Name => warm_ns(Fun) || {Name, Fun} <- Ways} || _ <- lists:seq(0, Rounds)],
    #{Name => erlmcp_native_bench_run:median([map_get(Name, Round) || Round <- Timed]) || {Name, _} <- Ways}.

warm_ns(Fun) ->
    {Pid, Alias} = receiver(0),
    Ns = time_ns(fun() -> repeat(Fun, Alias, Pid, ?WARM) end),
    ok = erlmcp_native_bench_control_peer:stop(Pid),
    Ns / ?WARM.

repeat(_, _, _, 0) ->
    ok;
repeat(Fun, Alias, Pid, N) ->
    _ = Fun(Alias, Pid),
    repeat(Fun, Alias, Pid, N - 1).

bare(Alias, _) -> erlang:send(Alias, {urgent, stop}, [priority]).

cold(Measure, Rounds) ->
    Ways = [
        {bare, fun(Alias, _) -> erlang:send(Alias, {priority, self(), stop}, [priority]) end},
        {alias, fun(Alias, _) -> erlmcp_priority:send_priority(Alias, stop, self()) end},
        {pid, fun(_, Pid) -> erlmcp_priority:send_priority(Pid, stop, self()) end}
    ],
    [_WarmUp | Timed] = [[{Name, Measure(Fun)} || {Name, Fun} <- Ways] || _ <- lists:seq(0, Rounds)],
    #{Name => summary([Ns || Round <- Timed, {Way, Ns} <- Round, Way =:= Name]) || {Name, _} <- Ways}.

sent_ns(Fun) ->
    {Pid, Alias} = receiver(?WAITING),
    Ns = time_ns(fun() -> Fun(Alias, Pid) end),
    ok = erlmcp_native_bench_control_peer:stop(Pid),
    Ns.

delivered_ns(Fun) ->
    {Pid, Alias} = receiver(?WAITING),
    true = erlang:resume_process(Pid),
    ok = sleeps(Pid),
    Start = erlang:monotonic_time(nanosecond),
    _ = Fun(Alias, Pid),
    End = receive {Pid, Received} -> Received end,
    ok = erlmcp_native_bench_control_peer:stop(Pid),
    End - Start.

sleeps(Pid) ->
    case process_info(Pid, [status, message_queue_len]) of
        [{status, waiting}, {message_queue_len, ?WAITING}] -> ok;
        _ -> sleeps(Pid)
    end.

receiver(Waiting) ->
    Pid = spawn_opt(?MODULE, init, [self()], [link, {message_queue_data, off_heap}]),
    Alias = receive {Pid, Made} -> Made end,
    true = erlang:suspend_process(Pid),
    Data = erlmcp_native_bench_control_peer:data(),
    lists:foreach(fun(_) -> Pid ! Data end, lists:seq(1, Waiting)),
    {Pid, Alias}.

-doc false.
-spec init(pid()) -> no_return().
init(Starter) ->
    Starter ! {self(), erlmcp_priority:create_priority_alias()},
    receive
        {priority, Starter, stop} -> Starter ! {self(), erlang:monotonic_time(nanosecond)}
    end,
    receive
        never -> exit(normal)
    end.

summary(Times) ->
    Histogram = erlmcp_native:latency_new(),
    lists:foreach(fun(Ns) -> ok = erlmcp_native:latency_record(Histogram, Ns) end, Times),
    maps:map(fun(count, N) -> N; (_, Ns) -> Ns / 1000 end, erlmcp_native:latency_summary(Histogram)).

result(#{bare := Bare} = Warm, Cold, Delivered) ->
    To = fun(Way) -> map_get(Way, Warm) / Bare end,
    P50To = fun(Way, Summaries) -> p50(map_get(Way, Summaries)) / p50(map_get(bare, Summaries)) end,
    Ways = [
        {bare, "erlang:send/3 with priority"},
        {urgent, "send_urgent/2, an alias"},
        {urgent_pid, "send_urgent/2, a pid"},
        {priority, "send_priority/3, an alias"}
    ],
    #{
        title => "",
        tables => [
            #{
                head => ["one send, warm", "ns", "to the bare one"],
                left => 1,
                rows => [
                    [Name, erlmcp_native_bench_report:ns(map_get(Way, Warm)), float_to_list(To(Way), [{decimals, 2}])]
                 || {Way, Name} <- Ways
                ]
            },
            table("one send, cold", Cold),
            table("delivered, cold", Delivered)
        ],
        notes => ["cold      the first to that process, with so many waiting there that were sent just before"],
        targets => [
            target("send_urgent/2 to the bare priority send", lower, 1.4, To(urgent), " x"),
            target("send_priority/3 to an alias, cold, sent, p50", lower, 1.3, P50To(alias, Cold), " x"),
            target("send_priority/3 to a pid, cold, sent, p50", lower, 1.3, P50To(pid, Cold), " x"),
            target("send_priority/3 to an alias, cold, delivered, p50", lower, 1.3, P50To(alias, Delivered), " x"),
            target("send_priority/3 to a pid, cold, delivered, p50", lower, 1.3, P50To(pid, Delivered), " x")
        ],
        data => #{sends_warm_ns => Warm, sends_cold => Cold, sends_delivered => Delivered}
    }.

table(What, #{bare := Bare, alias := Alias, pid := Pid}) ->
    #{
        head => head([What, ", ", erlmcp_native_bench_report:count(?WAITING), " waiting"]),
        left => 1,
        rows => [
            row("erlang:send/3 with priority", Bare),
            row("send_priority/3, an alias", Alias),
            row("send_priority/3, a pid", Pid)
        ]
    }.

p50(#{p50_us := Us}) -> Us.
