%% The endpoints against services that run, stop and come back; the listener and its options.
-module(erlmcp_native_http_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_test_lib, [with_listener/1, fetch/1, fetch/2, head/1, json/1, restart/1]).
-import(erlmcp_overload_test_lib, [fill/3, drain/3]).

-define(M, erlmcp_native_http).
-define(LEVELS, [~"ok", ~"warning", ~"critical", ~"overload"]).

endpoints_test_() ->
    with_listener([
        fun a_summary_says_what_was_counted/0,
        fun a_summary_says_what_presses_the_node/0,
        fun a_summary_has_every_field/0,
        fun a_summary_without_any_service/0,
        fun odd_names_are_strings/0,
        fun queues_of_all_roles_by_utilisation/0,
        fun queues_of_one_role/0,
        fun queues_without_the_monitor/0,
        fun queues_of_a_role_without_limits/0,
        fun alerts_newest_first/0,
        fun alerts_without_the_monitor/0,
        fun the_control_plane_by_component/0,
        fun the_control_plane_is_not_started/0,
        fun rates_by_name_and_of_control_messages/0,
        fun rates_without_limits/0,
        fun tasks_and_cancellations/0,
        fun it_lives_and_is_ready/0,
        fun services_come_back/0,
        fun metrics_in_both_formats/0,
        fun heads_have_no_bodies/0,
        fun each_answer_is_not_to_be_kept/0,
        fun connections_stay_open/0
    ]).

a_summary_says_what_was_counted() ->
    ok = erlmcp_queue_limits:set_limit(r, 10),
    fill(r, a, 9),
    drain(r, a, 1),
    fill(r, b, 10),
    {error, _} = erlmcp_queue_limits:try_enqueue(r, b),
    ok = erlmcp_queue_limits:record_dequeue(r, c),
    ok = erlmcp_overload_monitor:force_check(),
    erlmcp_native_test_lib:eventually(fun() -> maps:get(~"breaker", row(~"r")) =:= ~"open" end),
    ?assertMatch(
        #{
            ~"limit" := 10,
            ~"owners" := 2,
            ~"depth" := 18,
            ~"max_depth" := 10,
            ~"fullest" := 10,
            ~"max_utilization" := 1.0,
            ~"as_of_ms" := AsOf,
            ~"level" := ~"overload",
            ~"enqueued" := 19,
            ~"dequeued" := 2,
            ~"refused" := 1,
            ~"unmatched" := 1,
            ~"released" := 0,
            ~"retry_after_ms" := RetryAfter,
            ~"last_refused_ms" := LastRefused,
            ~"owners_by_level" := #{~"ok" := 0, ~"warning" := 1, ~"critical" := 0, ~"overload" := 1},
            ~"alerts" := #{~"warning" := 2, ~"critical" := 2, ~"overload" := 1},
            ~"ms_at_level" := #{~"last_minute" := _, ~"last_hour" := _, ~"since_start" := #{~"overload" := _}},
            ~"breaker" := ~"open"
        } when is_integer(AsOf) andalso is_integer(LastRefused) andalso RetryAfter >= 1,
        row(~"r")
    ),
    #{~"owners_by_utilization" := Bands, ~"refused_per_s" := Refused, ~"drained_per_s" := Drained} = row(~"r"),
    ?assertEqual(
        [{0.0, 0}, {0.25, 0}, {0.5, 0}, {0.8, 1}, {0.9, 0}, {1.0, 1}],
        [{F, N} || #{~"from" := F, ~"owners" := N} <- Bands]
    ),
    ?assert(is_float(Refused) andalso is_float(Drained)).

row(Role) ->
    [Row] = [Row || #{~"role" := Of} = Row <- maps:get(~"roles", json("/api/summary")), Of =:= Role],
    Row.

a_summary_has_every_field() ->
    ok = erlmcp_control_plane:register_component(server, fun(_) -> ok end),
    {ok, _} = erlmcp_control_plane:send_health_check(server, full),
    Summary = json("/api/summary"),
    ?assertEqual(
        fields(
            "at_ms up_ms started_ms node version services switches roles rates control cancel pressure cluster self"
        ),
        fields(Summary)
    ),
    #{~"roles" := [Role | _], ~"control" := Control, ~"self" := Self, ~"node" := Node, ~"version" := Version} = Summary,
    ?assertEqual(lists:sort([atom_to_binary(Name) || #{name := Name} <- erlmcp_native_role:numbers()]), fields(Role)),
    ?assertEqual(
        [],
        fields(
            "role limit owners depth max_depth fullest max_utilization as_of_ms level enqueued dequeued refused"
            " unmatched released refused_per_s drained_per_s retry_after_ms last_refused_ms owners_by_level alerts"
            " ms_at_level owners_by_utilization owners_by_wait max_wait_ms max_stalled_ms breaker"
        ) -- fields(Role)
    ),
    ?assertEqual(
        fields(
            "delivered by_type queued components latency_p50_us latency_p95_us latency_p99_us latency_p999_us"
            " max_latency_us delivery_p50_us delivery_p99_us slo_violations timeouts handler_crashes latency_below"
            " refused_by_rate"
        ),
        fields(Control)
    ),
    ?assertEqual(fields("owners memory_bytes alerts_lost wakeups_dropped mailboxes_passed_over streams"), fields(Self)),
    ?assertEqual(atom_to_binary(node()), Node),
    ?assertMatch(<<Digit, _/binary>> when Digit >= $0 andalso Digit =< $9, Version),
    ?assertEqual(?LEVELS -- [~"ok"], [L || L <- ?LEVELS, is_map_key(L, maps:get(~"alerts", Role))]),
    #{~"latency_below" := Below, ~"delivered" := 1, ~"components" := 1} = Control,
    Counts = [N || #{~"us" := _, ~"count" := N} <- Below],
    ?assertEqual({lists:sort(Counts), 1}, {Counts, lists:last(Counts)}),
    ?assertEqual([1 bsl K || K <- lists:seq(0, length(Below) - 1)], [Us || #{~"us" := Us} <- Below]),
    ?assertMatch(
        #{
            ~"services" := #{
                ~"erlmcp_queue_limits" := true,
                ~"erlmcp_overload_monitor" := true,
                ~"erlmcp_control_plane" := true
            },
            ~"switches" := #{~"limits" := true, ~"overload" := true, ~"priority" := true}
        },
        Summary
    ).

fields(Map) when is_map(Map) -> lists:sort(maps:keys(Map));
fields(Names) -> lists:sort([list_to_binary(Name) || Name <- string:lexemes(Names, " ")]).

rates_by_name_and_of_control_messages() ->
    ok = erlmcp_overload_rate:define(null, #{rate => {2, hour}, burst => 3, max_keys => 7, overflow => refuse}),
    _ = [erlmcp_overload_rate:take(null, ~"a secret") || _ <- [1, 2, 3, 4]],
    Rate = #{cancel_task => {1, hour}},
    ok = erlmcp_control_plane:register_component(server, #{handler => fun(_) -> ok end, rate => Rate}),
    _ = [erlmcp_control_plane:send_cancel_task(server, N) || N <- [1, 2]],
    {200, _, Text} = fetch("/api/rates"),
    ?assertEqual(nomatch, string:find(Text, "secret")),
    #{~"at_ms" := AtMs, ~"rates" := [Named], ~"control" := [Ration]} = json("/api/rates"),
    ?assertMatch(
        #{
            ~"name" := ~"null",
            ~"limit" := 2,
            ~"period" := ~"hour",
            ~"burst" := 3,
            ~"keys" := 1,
            ~"max_keys" := 7,
            ~"overflow" := ~"refuse",
            ~"taken" := 3,
            ~"refused" := 1,
            ~"refusing_since_ms" := Since,
            ~"last_refused_ms" := Last,
            ~"taken_per_s" := Taken,
            ~"refused_per_s" := Refused
        } when Since =< Last andalso Last =< AtMs + 1 andalso Taken > 0 andalso Refused > 0,
        Named
    ),
    ?assertMatch(
        #{
            ~"component" := ~"server",
            ~"type" := ~"cancel_task",
            ~"limit" := 1,
            ~"refused" := 1,
            ~"retry_after_ms" := Ms
        } when Ms > 0,
        Ration
    ),
    #{~"rates" := [Shown], ~"control" := #{~"refused_by_rate" := ByType}} = json("/api/summary"),
    ?assertEqual({fields(Named), #{~"cancel_task" => 1}}, {fields(Shown), ByType}),
    #{~"by_component" := #{~"server" := #{~"rates" := #{~"cancel_task" := #{~"refused" := 1}}}}} = json("/api/control"),
    ok = erlmcp_overload_rate:define(quiet, #{rate => {1, second}}),
    #{~"rates" := [_, Quiet]} = json("/api/rates"),
    ?assertMatch(#{~"name" := ~"quiet", ~"refusing_since_ms" := null, ~"last_refused_ms" := null}, Quiet).

rates_without_limits() ->
    stop([erlmcp_queue_limits]),
    unavailable("/api/rates", ~"erlmcp_queue_limits is not started"),
    ?assertMatch(#{~"rates" := []}, json("/api/summary")).

tasks_and_cancellations() ->
    #{~"cancel" := #{~"tokens" := Tokens, ~"cancelled" := #{~"asked" := Asked}}} = json("/api/summary"),
    [One, _Other] = Both = [erlmcp_control_cancel:new(#{id => N}) || N <- [1, 2]],
    ok = erlmcp_control_cancel:cancel(One, ~"enough"),
    ok = erlmcp_control_cancel:cancel({not_yet, self()}, ~"enough"),
    #{~"cancel" := Cancel} = json("/api/summary"),
    ?assertMatch(#{~"tombstones" := 1, ~"tombstones_limit" := 65536, ~"displaced" := _, ~"notices" := 0}, Cancel),
    #{~"tokens" := Now, ~"cancelled" := #{~"asked" := AskedNow}} = Cancel,
    ?assertEqual({2, 1}, {Now - Tokens, AskedNow - Asked}),
    [ok = erlmcp_control_cancel:done(Token) || Token <- Both].

a_summary_says_what_presses_the_node() ->
    ?assertMatch(#{~"pressure" := null}, json("/api/summary")),
    ok = erlmcp_overload_test_lib:configure([{node, #{memory_limit => 1048576, run_queue => off, sample_ms => 10}}]),
    Pressed = fun() -> maps:get(~"pressure", json("/api/summary")) end,
    erlmcp_native_test_lib:eventually(fun() -> Pressed() =/= null andalso maps:get(~"level", Pressed()) =:= 2 end),
    ?assertMatch(
        #{
            ~"level" := 2,
            ~"cause" := ~"memory",
            ~"refuses" := [~"critical", ~"sheddable_plus", ~"sheddable"],
            ~"since_ms" := _,
            ~"memory" := #{
                ~"level" := 2,
                ~"used" := _,
                ~"limit" := 1048576,
                ~"share" := _,
                ~"marks" := [0.7, 0.85],
                ~"source" := ~"configured"
            },
            ~"run_queue" := null
        },
        Pressed()
    ),
    ok = erlmcp_overload_test_lib:configure([{node, off}]).

a_summary_without_any_service() ->
    stop([erlmcp_control_plane, erlmcp_overload_monitor, erlmcp_queue_limits]),
    ?assertMatch(
        #{
            ~"roles" := [],
            ~"control" := null,
            ~"services" := #{
                ~"erlmcp_queue_limits" := false,
                ~"erlmcp_overload_monitor" := false,
                ~"erlmcp_control_plane" := false
            }
        },
        json("/api/summary")
    ).

stop(Services) ->
    [ok = gen_server:stop(Service) || Service <- Services].

odd_names_are_strings() ->
    Odd = [null, true, undefined, '', 'a"b', '\\', '\n', 'ä\x{1F600}', 'with space&=+%'],
    [fill(Role, Role, 1) || Role <- Odd],
    [ok = erlmcp_control_plane:register_component(Id, fun(_) -> ok end) || Id <- Odd],
    Names = [atom_to_binary(Atom) || Atom <- Odd],
    ?assertEqual([], Names -- [Role || #{~"role" := Role} <- maps:get(~"roles", json("/api/summary"))]),
    Rows = maps:get(~"queues", json("/api/queues?top=100")),
    ?assertEqual([], [{N, N} || N <- Names] -- [{R, P} || #{~"role" := R, ~"process" := P} <- Rows]),
    ?assertEqual(lists:sort(Names), lists:sort(maps:keys(maps:get(~"by_component", json("/api/control"))))),
    [
        ?assertMatch(#{~"role" := Name, ~"queues" := [#{~"process" := Name}]}, json("/api/queues?role=" ++ quote(Name)))
     || Name <- Names
    ].

quote(Name) ->
    binary_to_list(uri_string:quote(Name)).

queues_of_all_roles_by_utilisation() ->
    Times = [~"drain_per_s", ~"wait_ms", ~"sojourn_ms", ~"stalled_ms"],
    ok = erlmcp_queue_limits:set_limit(small, 10),
    ok = erlmcp_queue_limits:set_limit(large, 100),
    fill(small, a, 9),
    fill(large, b, 95),
    fill(large, self(), 10),
    #{~"at_ms" := AtMs, ~"role" := null, ~"top" := 10, ~"queues" := Rows} = json("/api/queues"),
    ?assert(abs(AtMs - erlang:system_time(millisecond)) < 60000),
    ?assertEqual(
        [
            #{
                ~"role" => ~"large",
                ~"process" => ~"b",
                ~"kind" => ~"counted",
                ~"depth" => 95,
                ~"limit" => 100,
                ~"utilization" => 0.95,
                ~"status" => ~"critical"
            },
            #{
                ~"role" => ~"small",
                ~"process" => ~"a",
                ~"kind" => ~"counted",
                ~"depth" => 9,
                ~"limit" => 10,
                ~"utilization" => 0.9,
                ~"status" => ~"critical"
            },
            #{
                ~"role" => ~"large",
                ~"process" => list_to_binary(pid_to_list(self())),
                ~"kind" => ~"counted",
                ~"depth" => 10,
                ~"limit" => 100,
                ~"utilization" => 0.1,
                ~"status" => ~"ok"
            }
        ],
        [maps:without(Times, Row) || Row <- Rows]
    ),
    [?assertMatch(#{~"drain_per_s" := null, ~"wait_ms" := null, ~"sojourn_ms" := null}, Row) || Row <- Rows],
    [?assert(is_integer(Ms)) || #{~"stalled_ms" := Ms} <- Rows],
    ?assertMatch(#{~"top" := 1, ~"queues" := [#{~"process" := ~"b"}]}, json("/api/queues?top=1")).

queues_of_one_role() ->
    fill(r, a, 2),
    fill(r, b, 3),
    fill(other, c, 100),
    ?assertMatch(
        #{~"role" := ~"r", ~"queues" := [#{~"process" := ~"b", ~"depth" := 3}, #{~"process" := ~"a"}]},
        json("/api/queues?role=r")
    ),
    ?assertMatch(
        #{~"role" := ~"r", ~"top" := 1, ~"queues" := [#{~"process" := ~"b"}]},
        json("/api/queues?top=1&role=r")
    ).

queues_without_the_monitor() ->
    stop([erlmcp_overload_monitor]),
    unavailable("/api/queues", ~"erlmcp_overload_monitor is not started").

queues_of_a_role_without_limits() ->
    stop([erlmcp_queue_limits]),
    unavailable("/api/queues?role=session", ~"erlmcp_queue_limits is not started"),
    ?assertMatch(#{~"queues" := []}, json("/api/queues")).

unavailable(Path, Reason) ->
    {503, #{~"retry-after" := _, ~"content-type" := ~"application/json"}, Body} = fetch(Path),
    ?assertEqual(#{~"error" => ~"unavailable", ~"reason" => Reason}, json:decode(Body)).

alerts_newest_first() ->
    ok = erlmcp_queue_limits:set_limit(r, 10),
    fill(r, self(), 9),
    ok = erlmcp_queue_limits:set_limit(s, 1),
    fill(s, b, 1),
    Me = list_to_binary(pid_to_list(self())),
    #{~"role" := null, ~"at_ms" := _, ~"alerts" := Alerts} = json("/api/alerts"),
    ?assertMatch(
        [
            #{
                ~"level" := ~"overload",
                ~"role" := ~"s",
                ~"process" := ~"b",
                ~"depth" := 1,
                ~"limit" := 1,
                ~"utilization" := 1.0
            },
            #{
                ~"level" := ~"critical",
                ~"role" := ~"r",
                ~"process" := Me,
                ~"depth" := 9,
                ~"limit" := 10,
                ~"utilization" := 0.9
            },
            #{~"level" := ~"warning", ~"role" := ~"r", ~"process" := Me, ~"depth" := 8, ~"timestamp" := Ms}
        ] when is_integer(Ms),
        Alerts
    ),
    ?assertMatch(#{~"role" := ~"s", ~"alerts" := [#{~"role" := ~"s"}]}, json("/api/alerts?role=s")).

alerts_without_the_monitor() ->
    stop([erlmcp_overload_monitor]),
    unavailable("/api/alerts", ~"erlmcp_overload_monitor is not started").

the_control_plane_by_component() ->
    ok = erlmcp_control_plane:register_component(server, fun(_) -> ok end),
    ok = erlmcp_control_plane:register_component(idle, fun(_) -> ok end),
    [{ok, _} = erlmcp_control_plane:send_health_check(server, full) || _ <- lists:seq(1, 3)],
    {ok, _} = erlmcp_control_plane:send_cancel_task(server, 1),
    Types = #{~"circuit_breaker" => 0, ~"health_check" => 3, ~"drain_session" => 0, ~"cancel_task" => 1},
    #{~"at_ms" := _, ~"delivered" := 4, ~"by_type" := Types, ~"components" := 2, ~"by_component" := Rows} =
        json("/api/control"),
    #{~"server" := Server, ~"idle" := #{~"delivered" := 0}} = Rows,
    ?assertMatch(
        #{
            ~"delivered" := 4,
            ~"by_type" := Types,
            ~"queued" := #{~"cancel_task" := 0},
            ~"latency_p50_us" := _
        },
        Server
    ).

the_control_plane_is_not_started() ->
    stop([erlmcp_control_plane]),
    unavailable("/api/control", ~"erlmcp_control_plane is not started").

it_lives_and_is_ready() ->
    ?assertEqual(#{~"status" => ~"ok"}, json("/health/live")),
    ?assertEqual(#{~"status" => ~"ok"}, json("/health/ready")),
    stop([erlmcp_control_plane, erlmcp_overload_monitor]),
    ?assertEqual(#{~"status" => ~"ok"}, json("/health/live")),
    {503, _, Body} = fetch("/health/ready"),
    ?assertEqual(
        #{~"status" => ~"unavailable", ~"missing" => [~"erlmcp_control_plane", ~"erlmcp_overload_monitor"]},
        json:decode(Body)
    ).

services_come_back() ->
    stop([erlmcp_overload_monitor]),
    {503, _, _} = fetch("/api/queues"),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    fill(r, a, 1),
    ?assertMatch(#{~"queues" := [#{~"role" := ~"r"}]}, json("/api/queues")),
    ok = restart(erlmcp_overload_monitor),
    ?assertMatch(#{~"queues" := [#{~"role" := ~"r"}]}, json("/api/queues?role=r")).

metrics_in_both_formats() ->
    fill(r, a, 7),
    {200, #{~"content-type" := Text, ~"vary" := ~"accept, accept-encoding"}, Body} = fetch("/metrics"),
    ?assertEqual(erlmcp_native_prometheus:content_type(text), Text),
    ?assertMatch({_, _}, binary:match(Body, ~"\nerlmcp_queue_depth{role=\"r\"} 7\n")),
    ?assertEqual(nomatch, binary:match(Body, ~"# EOF")),
    {200, #{~"content-type" := OpenMetrics}, Other} =
        fetch("/metrics", ["accept: application/openmetrics-text; version=1.0.0"]),
    ?assertEqual(erlmcp_native_prometheus:content_type(openmetrics), OpenMetrics),
    ?assertEqual(~"# EOF\n", binary:part(Other, byte_size(Other), -6)),
    [
        ?assertMatch({200, #{~"content-type" := Text}, _}, fetch("/metrics", ["accept: " ++ Accept]))
     || Accept <- ["garbage", "application/json", "text/html, */*;q=0.1", ",;q=;=", [255, 254]]
    ].

heads_have_no_bodies() ->
    [
        begin
            {Status, #{~"content-type" := Type, ~"content-length" := Length}, Body} = fetch(Path),
            ?assertMatch({Status, #{~"content-type" := Type}, <<>>}, head(Path)),
            ?assertEqual(byte_size(Body), binary_to_integer(Length))
        end
     || Path <- ["/api/summary", "/api/queues", "/health/live", "/nothing", "/api/queues?top=x", "/api/%zz"]
    ],
    ?assertMatch({200, #{~"content-type" := ~"text/event-stream"}, <<>>}, head("/events")),
    ?assertMatch(#{~"self" := #{~"streams" := 0}}, json("/api/summary")).

each_answer_is_not_to_be_kept() ->
    [
        ?assertMatch({_, #{~"cache-control" := ~"no-store", ~"x-content-type-options" := ~"nosniff"}, _}, fetch(Path))
     || Path <- [
            "/api/summary", "/api/queues", "/api/alerts", "/api/rates", "/api/control", "/health/live", "/health/ready",
            "/metrics",
            "/no"
        ]
    ].

connections_stay_open() ->
    Socket = erlmcp_native_http_test_lib:connect(),
    [
        begin
            ok = gen_tcp:send(Socket, "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"),
            ?assertMatch({200, _, ~"{\"status\":\"ok\"}"}, erlmcp_native_http_test_lib:answer(Socket))
        end
     || _ <- lists:seq(1, 100)
    ],
    ok = gen_tcp:close(Socket).

%% The listener

options_test_() ->
    {setup, fun() -> {ok, _} = application:ensure_all_started(cowboy) end, fun(_) -> ok end, [
        {atom_to_list(Name), {timeout, 60, Test}}
     || Test <- [
            fun options_have_defaults/0,
            fun wrong_options_are_named/0,
            fun it_listens_on_loopback_and_nowhere_else/0,
            fun it_listens_on_another_address/0,
            fun there_is_one_listener/0,
            fun a_port_that_is_taken/0,
            fun a_supervisor_runs_it/0,
            fun a_new_listener_has_new_options/0,
            fun a_listener_that_starts_has_no_port_yet/0,
            fun connections_without_a_request_are_kept_as_configured/0,
            fun wrong_options_start_nothing/0,
            fun mounted_in_another_listener/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

options_have_defaults() ->
    Defaults = #{
        port => 0,
        ip => {127, 0, 0, 1},
        max_connections => 1024,
        max_streams => 256,
        idle_timeout_ms => 5000,
        send_timeout_ms => 30000
    },
    ?assertEqual({ok, Defaults}, ?M:options(#{port => 0})),
    Given = #{
        port => 65535,
        ip => {0, 0, 0, 0, 0, 0, 0, 1},
        max_connections => 1,
        max_streams => 10000,
        idle_timeout_ms => 3600000,
        send_timeout_ms => 1000
    },
    ?assertEqual({ok, Given}, ?M:options(Given)),
    ?assertEqual({ok, Given}, ?M:options(element(2, ?M:options(Given)))).

wrong_options_are_named() ->
    %% What was meant to be a token may be anywhere.
    [?assertMatch({error, {[], hidden, [_ | _]}}, ?M:options(Value)) || Value <- [on, [80], {port, 1}, 80]],
    ?assertMatch({ok, #{port := 1}}, ?M:options([{port, 1}])),
    ?assertMatch({error, {[port], undefined, _}}, ?M:options(#{})),
    [
        ?assertMatch({error, {[Name], Value, [_ | _]}}, ?M:options(#{port => 80, Name => Value}))
     || {Name, Value} <- [
            {port, -1},
            {port, 65536},
            {port, "80"},
            {port, 80.0},
            {ip, "127.0.0.1"},
            {ip, {1, 2, 3}},
            {ip, {1, 2, 3, 256}},
            {ip, any},
            {ip, {local, "/tmp/socket"}},
            {max_connections, 0},
            {max_connections, 65536},
            {max_connections, infinity},
            {max_streams, 0},
            {max_streams, 10001},
            {idle_timeout_ms, 999},
            {idle_timeout_ms, infinity},
            {send_timeout_ms, 0},
            {send_timeout_ms, 600001}
        ]
    ],
    [
        ?assertMatch({error, {[Name], hidden, [_ | _]}}, ?M:options(#{port => 80, Name => Value}))
     || {Name, Value} <- [{streams, 1}, {"port", 80}]
    ],
    Level = erlmcp_native_test_lib:quiet(),
    ok = application:stop(cowboy),
    Asked = fun(App) -> "the application " ++ App ++ " to be started before erlmcp_native" end,
    ?assertEqual({error, {[], #{port => 80}, Asked("cowboy")}}, ?M:options(#{port => 80})),
    ok = application:stop(ranch),
    ?assertEqual({error, {[], #{port => 80}, Asked("ranch")}}, ?M:options(#{port => 80})),
    {ok, _} = application:ensure_all_started(cowboy),
    erlmcp_native_test_lib:loud(Level).

start(Options) ->
    {ok, Pid} = ?M:start_link(Options),
    unlink(Pid),
    Pid.

stop_listener(Pid) ->
    ok = gen_server:stop(Pid, shutdown, 10000).

it_listens_on_loopback_and_nowhere_else() ->
    Pid = start(#{port => 0}),
    {ok, Addresses} = inet:getifaddrs(),
    Others = [Ip || {_, Options} <- Addresses, {addr, {A, _, _, _} = Ip} <- Options, A =/= 127],
    [?assertEqual({error, econnrefused}, gen_tcp:connect(Ip, ?M:port(), [], 1000)) || Ip <- Others],
    ?assertMatch({200, _, _}, fetch("/health/live")),
    stop_listener(Pid),
    ?assertEqual(undefined, ?M:port()).

it_listens_on_another_address() ->
    Pid = start(#{port => 0, ip => {0, 0, 0, 0}}),
    {ok, Addresses} = inet:getifaddrs(),
    [
        begin
            {ok, Socket} = gen_tcp:connect(Ip, ?M:port(), [], 1000),
            gen_tcp:close(Socket)
        end
     || {_, Options} <- Addresses, {addr, Ip} <- Options, tuple_size(Ip) =:= 4
    ],
    stop_listener(Pid).

there_is_one_listener() ->
    Pid = start(#{port => 0}),
    ?assertMatch({error, {already_started, _}}, ?M:start_link(#{port => 0})),
    ?assertMatch({200, _, _}, fetch("/health/live")),
    stop_listener(Pid).

a_port_that_is_taken() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    Trapping = process_flag(trap_exit, true),
    Level = erlmcp_native_test_lib:quiet(),
    ?assertEqual({error, {listen, Port, eaddrinuse}}, ?M:start_link(#{port => Port})),
    erlmcp_native_test_lib:loud(Level),
    ok = gen_tcp:close(Socket),
    Pid = start(#{port => Port}),
    ?assertEqual(Port, ?M:port()),
    stop_listener(Pid),
    true = process_flag(trap_exit, Trapping).

a_supervisor_runs_it() ->
    #{start := {M, F, A}} = Spec = ?M:child_spec(#{port => 0}),
    ?assertMatch(#{type := supervisor, id := ?M}, Spec),
    %% What is asked for in the same way is the same.
    ?assertEqual(Spec, ?M:child_spec(#{port => 0})),
    {ok, Pid} = apply(M, F, A),
    unlink(Pid),
    ?assertMatch({200, _, _}, fetch("/health/live")),
    stop_listener(Pid).

a_new_listener_has_new_options() ->
    [
        begin
            Pid = start(#{port => 0, max_connections => Most}),
            ?assertEqual(Most, ranch:get_max_connections(?M)),
            case Most rem 2 of
                0 ->
                    stop_listener(Pid);
                1 ->
                    Level = erlmcp_native_test_lib:quiet(),
                    Port = ?M:port(),
                    erlmcp_native_test_lib:kill(Pid),
                    erlmcp_native_test_lib:eventually(fun() -> gone(Port) end),
                    erlmcp_native_test_lib:loud(Level)
            end
        end
     || Most <- lists:seq(1, 20)
    ].

gone(Port) ->
    ?M:port() =:= undefined andalso
        gen_tcp:connect({127, 0, 0, 1}, Port, [], 1000) =:= {error, econnrefused}.

%% It is there before it listens: first as it is made to be, then as it happens.
a_listener_that_starts_has_no_port_yet() ->
    Idle = erlmcp_native_test_lib:idle(),
    ok = ranch_server:set_listener_sup(?M, Idle),
    ?assertEqual(undefined, ?M:port()),
    erlmcp_native_test_lib:kill(Idle),
    Self = self(),
    {Asker, Monitor} = spawn_monitor(fun() -> ask_for_ports(Self, []) end),
    Bound = [
        begin
            Pid = start(#{port => 0}),
            Port = ?M:port(),
            stop_listener(Pid),
            Port
        end
     || _ <- lists:seq(1, 20)
    ],
    Asker ! {stop, Self},
    receive
        {'DOWN', Monitor, process, Asker, {ports, Ports}} -> ?assertEqual([], Ports -- [undefined | Bound])
    after 10000 -> error(still_asking)
    end.

ask_for_ports(Owner, Ports) ->
    receive
        {stop, Owner} -> exit({ports, Ports})
    after 0 -> ask_for_ports(Owner, lists:usort([?M:port() | Ports]))
    end.

connections_without_a_request_are_kept_as_configured() ->
    [
        begin
            Pid = start(#{port => 0, idle_timeout_ms => Ms}),
            Socket = erlmcp_native_http_test_lib:connect(),
            ok = gen_tcp:send(Socket, "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"),
            {200, _, _} = erlmcp_native_http_test_lib:answer(Socket),
            Begun = erlang:monotonic_time(millisecond),
            ?assertEqual(Expected, gen_tcp:recv(Socket, 0, 7000)),
            TookMs = erlang:monotonic_time(millisecond) - Begun,
            ?assert(TookMs >= min(Ms, 7000) - 100),
            _ = gen_tcp:close(Socket),
            stop_listener(Pid)
        end
     || {Ms, Expected} <- [{1000, {error, closed}}, {60000, {error, timeout}}]
    ].

wrong_options_start_nothing() ->
    ?assertMatch({error, {bad_option, {[max_streams], 0, _}}}, ?M:start_link(#{port => 0, max_streams => 0})),
    ?assertEqual(undefined, ?M:port()).

mounted_in_another_listener() ->
    State = erlmcp_native_http_test_lib:up(#{}),
    Mine = {"/mine", erlmcp_native_http_handler, live},
    Dispatch = cowboy_router:compile([{'_', [Mine | ?M:routes()]}]),
    {ok, _} = cowboy:start_clear(?MODULE, [{port, 0}, {ip, {127, 0, 0, 1}}], #{env => #{dispatch => Dispatch}}),
    Ask = fun(Path) ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, ranch:get_port(?MODULE), [binary, {active, false}]),
        ok = gen_tcp:send(Socket, ["GET ", Path, " HTTP/1.1\r\nhost: localhost\r\n\r\n"]),
        {Status, _, _} = erlmcp_native_http_test_lib:answer(Socket),
        ok = gen_tcp:close(Socket),
        Status
    end,
    Paths = ["/mine", "/metrics", "/events"] ++
        ["/api/" ++ Name || Name <- ["summary", "queues", "alerts", "control"]] ++ ["/health/live", "/health/ready"],
    ?assertEqual([{Path, 200} || Path <- Paths], [{Path, Ask(Path)} || Path <- Paths]),
    ?assertEqual([400, 404, 404], [Ask(Path) || Path <- ["/api/queues?top=0", "/page/nothing.js", "/nothing"]]),
    ok = cowboy:stop_listener(?MODULE),
    erlmcp_native_http_test_lib:down(State).
