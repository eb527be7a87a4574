-module(erlmcp_native_bench_control_busy).
-moduledoc """
Health checks in a crowd: sixteen ordinary processes keep all schedulers full and exchange 100,000
messages a second. The sender is one more ordinary process among them.
""".

-export([run/1]).

-import(erlmcp_native_bench_control_times, [head/1, row/2, target/5]).

-define(MEMBERS, 16).
-define(PER_SECOND, 100_000).
-define(WARM_UP_MS, 500).

-doc "Measures one way of sending after the other in the same crowd.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{quick := Quick}) ->
    {Ms, OtherMs} = case Quick of true -> {3_000, 1_000}; false -> {60_000, 5_000} end,
    SliceUs = erlmcp_native_bench_control_crowd:slice_us(),
    ok = erlmcp_control_plane:register_component(busy, fun(_) -> ok end),
    {Peer, Alias} = erlmcp_native_bench_control_peer:start(high),
    {ok, Relay} = erlmcp_native_bench_control_relay:start_link(),
    ok = erlmcp_native_bench_control_relay:add(busy, fun(_) -> ok end),
    Crowd = erlmcp_native_bench_control_crowd:start(?MEMBERS, ?PER_SECOND),
    Check = fun() -> {ok, Us} = erlmcp_control_plane:send_health_check(busy, liveness), Us end,
    Ping = fun() ->
        erlmcp_native_bench_control_times:time_ns(fun() -> erlmcp_native_bench_control_peer:ping(Alias) end) div 1000
    end,
    Relayed = fun() ->
        Message = erlmcp_control_message:health_check(liveness),
        {ok, Us} = erlmcp_native_bench_control_relay:send(busy, Message),
        Us
    end,
    Ways = [
        {check, Check, normal, Ms},
        {ping, Ping, normal, OtherMs},
        {relay, waited_us(Relayed), normal, OtherMs},
        {check_high, Check, high, OtherMs}
    ],
    Seen = #{Way => measure(Fun, Priority, For, Crowd) || {Way, Fun, Priority, For} <- Ways},
    ok = erlmcp_native_bench_control_crowd:stop(Crowd),
    ok = gen_server:stop(Relay),
    ok = erlmcp_native_bench_control_peer:stop(Peer),
    result(Seen, SliceUs, Ms).

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

result(#{check := Check} = Seen, SliceUs, Ms) ->
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
        ],
        data => #{busy => Seen, busy_slice_us => SliceUs}
    }.

delivery(Way, #{delivery_p50_us := P50, delivery_p99_us := P99}) when Way =:= check; Way =:= check_high ->
    [integer_to_list(P50), integer_to_list(P99)];
delivery(_, _) ->
    ["", ""].

percent(unknown) -> "unknown";
percent(Share) -> [float_to_list(100.0 * Share, [{decimals, 1}]), " %"].
