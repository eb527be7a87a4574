-module(erlmcp_native_bench_control_busy).
-moduledoc """
Health checks in a crowd: sixteen ordinary processes keep all schedulers full and exchange 100,000
messages a second. The sender is one more ordinary process among them.

Checks and those by way of a relay are measured once more in one run, in turn: what else the machine does hits both.
""".

-export([run/1]).

-import(erlmcp_native_bench_control_times, [head/1, row/2, target/5]).

-define(MEMBERS, 16).
-define(PER_SECOND, 100_000).
-define(WARM_UP_MS, 500).
%% So often the ways take turns, with so many messages each.
-define(EACH, 50).
-define(TURN_MS, 50).

-doc "Measures one way of sending after the other in the same crowd.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{quick := Quick}) ->
    {Ms, OtherMs} = case Quick of true -> {3_000, 1_000}; false -> {60_000, 5_000} end,
    SliceUs = erlmcp_native_bench_control_crowd:slice_us(),
    ok = erlmcp_control_plane:register_component(busy, fun(_) -> ok end),
    {Peer, Alias} = erlmcp_native_bench_control_peer:start(high),
    [Relay, High] = [relay(Priority) || Priority <- [normal, high]],
    Crowd = erlmcp_native_bench_control_crowd:start(?MEMBERS, ?PER_SECOND),
    Check = fun() -> {ok, Us} = erlmcp_control_plane:send_health_check(busy, liveness), Us end,
    Ping = fun() ->
        erlmcp_native_bench_control_times:time_ns(fun() -> erlmcp_native_bench_control_peer:ping(Alias) end) div 1000
    end,
    Ways = [
        {check, Check, normal, Ms},
        {ping, Ping, normal, OtherMs},
        {relay, waited_us(relayed(Relay)), normal, OtherMs},
        {check_high, Check, high, OtherMs}
    ],
    Seen = #{Way => measure(Fun, Priority, For, Crowd) || {Way, Fun, Priority, For} <- Ways},
    Turns = in_turn([{check, Check}, {relay, relayed(Relay)}, {relay_high, relayed(High)}], Ms div ?TURN_MS),
    ok = erlmcp_native_bench_control_crowd:stop(Crowd),
    lists:foreach(fun erlmcp_native_bench_control_relay:stop/1, [Relay, High]),
    ok = erlmcp_native_bench_control_peer:stop(Peer),
    result(Seen, Turns, SliceUs, Ms).

relay(Priority) ->
    {ok, Relay} = erlmcp_native_bench_control_relay:start_link(Priority),
    ok = erlmcp_native_bench_control_relay:add(Relay, busy, fun(_) -> ok end),
    Relay.

relayed(Relay) ->
    fun() ->
        Message = erlmcp_control_message:health_check(liveness),
        {ok, _} = erlmcp_native_bench_control_relay:send(Relay, busy, Message)
    end.

in_turn(Funs, Rounds) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        exit({seen, erlmcp_native_bench_control_times:interleaved(Funs, Rounds, ?EACH)})
    end),
    receive
        {'DOWN', Monitor, process, Pid, {seen, Summaries}} -> Summaries
    end.

%% What its sender waited: the relay sees less.
waited_us(Relayed) ->
    fun() -> erlmcp_native_bench_control_times:time_ns(Relayed) div 1000 end.

measure(Fun, Priority, Ms, Crowd) ->
    Histogram = erlmcp_native:latency_new(),
    Parent = self(),
    Sender = spawn_opt(
        fun() ->
            send_for(?WARM_UP_MS, Fun, Histogram),
            ok = erlmcp_control_plane:reset_stats(),
            ok = erlmcp_native:latency_reset(Histogram),
            Parent ! {self(), warm},
            send_for(Ms, Fun, Histogram),
            Parent ! {self(), done}
        end,
        [link, {priority, Priority}]
    ),
    receive {Sender, warm} -> ok end,
    %% The rest of this runs late in such a crowd, and not for long.
    process_flag(priority, high),
    Host = erlmcp_native_bench_control_host:read(),
    {Before, From} = taken(Crowd),
    receive {Sender, done} -> ok end,
    {After, To} = taken(Crowd),
    Load = erlmcp_native_bench_control_host:since(Host),
    process_flag(priority, normal),
    #{
        sender => erlmcp_native:latency_summary(Histogram),
        stats => maps:with([delivery_p50_us, delivery_p99_us, slo_violations], erlmcp_control_plane:get_stats()),
        data_per_second => (After - Before) * 1_000_000_000 / (To - From),
        load => Load
    }.

taken(Crowd) ->
    {erlmcp_native_bench_control_crowd:taken(Crowd), erlang:monotonic_time(nanosecond)}.

send_for(Ms, Fun, Histogram) ->
    send_until(erlang:monotonic_time(millisecond) + Ms, Fun, Histogram).

send_until(End, Fun, Histogram) ->
    ok = erlmcp_native:latency_record(Histogram, Fun()),
    case erlang:monotonic_time(millisecond) < End of
        true -> send_until(End, Fun, Histogram);
        false -> ok
    end.

result(#{check := Check} = Seen, Turns, SliceUs, Ms) ->
    #{sender := Sender, stats := Stats, data_per_second := Rate} = Check,
    #{delivery_p99_us := DeliveryP99, slo_violations := Violations} = Stats,
    #{p99_us := P99, p999_us := P999} = Sender,
    Rows = [
        {check, "send_health_check, handler"},
        {ping, "bare ping-pong over a priority alias"},
        {relay, "gen_server that relays"},
        {check_high, "send_health_check, sender at high"}
    ],
    #{
        title => "",
        tables => [
            #{
                head => head("what the sender waits, 16 busy") ++ ["delivery p50", "p99"],
                left => 1,
                rows => [row(Name, Summary) ++ delivery(Way, Own) ||
                    {Way, Name} <- Rows, #{sender := Summary, stats := Own} <- [map_get(Way, Seen)]]
            },
            #{
                head => head("what the sender waits, in turn"),
                left => 1,
                rows => [
                    row("send_health_check, handler", map_get(check, Turns)),
                    row("gen_server that relays", map_get(relay, Turns)),
                    row("gen_server that relays, at high", map_get(relay_high, Turns))
                ]
            },
            #{
                head => ["meanwhile", "data/s", "schedulers busy", "their threads had no core"],
                left => 1,
                rows => [[Name, integer_to_list(round(PerSecond)), percent(Busy), percent(Waited)] ||
                    {Way, Name} <- Rows,
                    #{data_per_second := PerSecond, load := #{busy := Busy, waited := Waited}} <- [map_get(Way, Seen)]]
            }
        ],
        notes => [
            io_lib:format("busy      ~b ordinary processes, never idle; a time slice of their work takes ~.1f us", [
                ?MEMBERS, SliceUs
            ]),
            "sender    an ordinary process too: answered, it queues behind half of them on its scheduler",
            "          at high: for comparison only. No core: what others on the machine took of it"
        ],
        targets => [
            target("busy: data in a second", higher, 0.99 * ?PER_SECOND, Rate, ""),
            target("busy: delivery p99", lower, 50, DeliveryP99, " us"),
            target("busy: sender p99", lower, 500, P99, " us"),
            target(["busy: sender p99.9 over ", integer_to_list(Ms div 1000), " s"], lower, 5000, P999, " us"),
            target("busy: SLO violations", lower, 0, Violations, "")
            | [to_relay(Name, Percentile, Turns) || Name <- [relay, relay_high], Percentile <- [p50_us, p99_us]]
        ],
        data => #{busy => Seen, busy_in_turn => Turns, busy_slice_us => SliceUs}
    }.

to_relay(Name, Percentile, #{check := Check} = Turns) ->
    Ratio = map_get(Percentile, Check) / map_get(Percentile, map_get(Name, Turns)),
    Relay = case Name of relay -> "to a relay"; relay_high -> "to a relay at high" end,
    target(["busy: sender ", string:slice(atom_to_list(Percentile), 0, 3), " ", Relay], lower, 0.8, Ratio, " x").

delivery(Way, #{delivery_p50_us := P50, delivery_p99_us := P99}) when Way =:= check; Way =:= check_high ->
    [integer_to_list(P50), integer_to_list(P99)];
delivery(_, _) ->
    ["", ""].

percent(unknown) -> "unknown";
percent(Share) -> [float_to_list(100.0 * Share, [{decimals, 1}]), " %"].
