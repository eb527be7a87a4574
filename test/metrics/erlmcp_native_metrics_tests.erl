%% The snapshot and the table of metrics over it.
-module(erlmcp_native_metrics_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_overload_test_lib, [fill/3, drain/3]).

-define(L, erlmcp_queue_limits).
-define(M, erlmcp_native_metrics).

metrics_test_() ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name), {timeout, 60, Test}}
     || {Name, Test} <- [
            {a_role_in_numbers, fun a_role_in_numbers/0},
            {owners_by_utilization_as_of_the_last_check, fun owners_by_utilization_as_of_the_last_check/0},
            {alerts_are_counted_by_level, fun alerts_are_counted_by_level/0},
            {rates_are_of_the_last_ten_seconds, fun rates_are_of_the_last_ten_seconds/0},
            {rates_by_name, fun rates_by_name/0},
            {rates_of_control_messages, fun rates_of_control_messages/0},
            {the_control_plane_in_numbers, fun the_control_plane_in_numbers/0},
            {no_more_than_1024_components, fun as_many_components_as_there_can_be/0},
            {each_field_has_a_value, fun each_field_has_a_value/0},
            {names_are_unique_and_samples_have_their_labels, fun names_are_unique_and_samples_have_their_labels/0},
            {what_leaves_is_read_before_what_enters, fun what_leaves_is_read_before_what_enters/0},
            {memory_is_near_what_the_allocator_says, fun memory_is_near_what_the_allocator_says/0},
            {the_fullest_of_all_roles, fun the_fullest_of_all_roles/0},
            {switches_as_they_stand, fun switches_as_they_stand/0},
            {what_presses_the_node, fun what_presses_the_node/0},
            {tokens_and_cancellations, fun tokens_and_cancellations/0},
            {a_lost_wakeup_is_counted, fun a_lost_wakeup_is_counted/0}
        ]
    ]}.

up() ->
    Level = erlmcp_native_test_lib:start(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}, {open_breaker_at, never}]),
    {ok, Plane} = erlmcp_control_plane:start_link(),
    unlink(Plane),
    Level.

down(Level) ->
    [ok = application:unset_env(erlmcp_native, Key) || Key <- [node, cluster]],
    ok = gen_server:stop(erlmcp_control_plane),
    erlmcp_overload_test_lib:stop(),
    erlmcp_native_test_lib:stop(Level).

rates_by_name() ->
    #{rates := []} = ?M:snapshot(),
    [ok = erlmcp_overload_rate:define(Name, #{rate => {1, hour}, burst => 5}) || Name <- [b, a]],
    [_ = erlmcp_overload_rate:take(a, Key, 3) || Key <- [1, 2, 2]],
    #{rates := [#{name := a} = A, #{name := b} = B], at_ms := NowMs} = ?M:snapshot(),
    ?assertMatch(#{rate := {1, hour}, burst := 5, max_keys := 1000000, keys := 2, taken := 6, refused := 1}, A),
    ?assertMatch(#{keys := 0, taken := 0, refused := 0, last_refused_ms := undefined}, B),
    #{refused_per_s := PerS, refusing_since_ms := SinceMs, last_refused_ms := LastMs} = A,
    ?assert(PerS > 0 andalso SinceMs =< LastMs andalso LastMs =< NowMs + 1),
    Samples = [
        {Name, Values}
     || {#{name := Name, labels := [~"rate"]}, Values} <- ?M:collect()
    ],
    ?assertEqual(
        [
            {~"erlmcp_rate_taken", [{[~"a"], 6}, {[~"b"], 0}]},
            {~"erlmcp_rate_refused", [{[~"a"], 1}, {[~"b"], 0}]},
            {~"erlmcp_rate_keys", [{[~"a"], 2}, {[~"b"], 0}]},
            {~"erlmcp_rate_keys_limit", [{[~"a"], 1000000}, {[~"b"], 1000000}]}
        ],
        Samples
    ).

rates_of_control_messages() ->
    Rate = #{cancel_task => {2, hour}, health_check => {7, second}},
    ok = erlmcp_control_plane:register_component(tools, #{handler => fun(_) -> ok end, rate => Rate}),
    ok = erlmcp_control_plane:register_component(free, fun(_) -> ok end),
    _ = [erlmcp_control_plane:send_cancel_task(tools, N) || N <- [1, 2, 3]],
    #{control := #{by_component := #{tools := #{rates := Rates}, free := #{rates := None}}}} = ?M:snapshot(),
    ?assertEqual(#{}, None),
    #{cancel_task := #{rate := {2, hour}, taken := 2, refused := 1}, health_check := #{refused := 0}} = Rates,
    [Samples] = [Values || {#{name := ~"erlmcp_control_rate_refused"}, Values} <- ?M:collect()],
    ?assertEqual([{[~"tools", ~"cancel_task"], 1}, {[~"tools", ~"health_check"], 0}], Samples).

a_role_in_numbers() ->
    ok = ?L:set_limit(r, 4),
    [?L:try_enqueue(r, a) || _ <- lists:seq(1, 7)],
    drain(r, a, 1),
    drain(r, b, 2),
    fill(r, c, 2),
    ok = ?L:forget(r, c),
    Row = row(r),
    ?assertMatch(
        #{
            depth := 3,
            max_depth := 4,
            limit := 4,
            owners := 1,
            enqueued := 6,
            dequeued := 3,
            unmatched := 2,
            released := 2,
            refused := 3,
            breaker := closed
        },
        Row
    ),
    [
        ?assertEqual(Value, value(Name, [~"r"]))
     || {Name, Value} <- [
            {~"erlmcp_queue_depth", 3},
            {~"erlmcp_queue_depth_max", 4},
            {~"erlmcp_queue_limit", 4},
            {~"erlmcp_queue_owners", 1},
            {~"erlmcp_queue_enqueued", 6},
            {~"erlmcp_queue_dequeued", 3},
            {~"erlmcp_queue_unmatched_dequeues", 2},
            {~"erlmcp_queue_released", 2},
            {~"erlmcp_queue_refused", 3}
        ]
    ],
    %% As the modules say it that the callers know.
    Face = #{
        current_depth => depth,
        total_enqueued => enqueued,
        total_dequeued => dequeued,
        unmatched_dequeues => unmatched,
        total_released => released,
        total_rejected => refused,
        capacity_exceeded_count => refused,
        last_capacity_exceeded => last_refused_ms,
        as_of => as_of_ms
    },
    Named = fun(Names) -> #{Name => maps:get(maps:get(Name, Face, Name), row(r)) || Name <- Names} end,
    Stats = ?L:get_role_stats(r),
    ?assertEqual(Stats, Named(maps:keys(Stats))),
    #{ms_at_level := _} = Summary = erlmcp_overload_test_lib:row(r),
    Same = maps:keys(Summary) -- [ms_at_level],
    ?assertEqual(maps:with(Same, Summary), Named(Same)).

owners_by_utilization_as_of_the_last_check() ->
    ok = ?L:set_limit(r, 100),
    [fill(r, Owner, Depth) || {Owner, Depth} <- [{a, 1}, {b, 24}, {c, 25}, {d, 79}, {e, 80}, {f, 100}, {g, 130}]],
    #{owners_by_utilization := Before, max_utilization := +0.0, as_of_ms := Started} = row(r),
    ?assertEqual([0, 0, 0, 0, 0, 0], [Owners || {_, Owners} <- Before]),
    ok = erlmcp_overload_monitor:force_check(),
    #{owners_by_utilization := Bands, max_utilization := 1.3, fullest := 130, as_of_ms := AsOf} = row(r),
    ?assertEqual([{0.0, 2}, {0.25, 1}, {0.5, 1}, {0.8, 1}, {0.9, 0}, {1.0, 2}], Bands),
    ?assert(AsOf >= Started),
    ?assertEqual(1, value(~"erlmcp_queue_owners_by_utilization", [~"r", ~"0.8"])),
    ?assertEqual(1.3, value(~"erlmcp_queue_utilization_ratio", [~"r"])).

alerts_are_counted_by_level() ->
    ok = ?L:set_limit(r, 10),
    fill(r, a, 10),
    drain(r, a, 10),
    fill(r, a, 8),
    #{alerts := Alerts, level := warning} = row(r),
    ?assertEqual(#{warning => 2, critical => 1, overload => 1}, Alerts),
    ?assertEqual(2, value(~"erlmcp_queue_alerts", [~"r", ~"warning"])),
    ?assertEqual(1, value(~"erlmcp_queue_level", [~"r"])),
    %% The history can be forgotten, a counter goes on.
    ok = erlmcp_overload_monitor:reset_alerts(),
    ok = erlmcp_overload_monitor:force_check(),
    ?assertMatch(#{alerts := #{warning := 3}}, row(r)).

rates_are_of_the_last_ten_seconds() ->
    ok = ?L:set_limit(r, 0),
    ?assertMatch(
        #{refused_per_s := +0.0, drained_per_s := +0.0, retry_after_ms := 1000, refusing_since_ms := undefined}, row(r)
    ),
    erlmcp_native_test_lib:eventually(fun() ->
        [?L:check_capacity(r, a) || _ <- lists:seq(1, 10)],
        #{refused_per_s := Refused} = row(r),
        Refused > 10.0
    end),
    #{refusing_since_ms := Since, last_refused_ms := Last} = row(r),
    ?assert(Since =< Last),
    ok = ?L:reset_stats(r),
    ?assertMatch(#{refusing_since_ms := undefined}, row(r)),
    ok = ?L:set_limit(s, 1),
    erlmcp_native_test_lib:eventually(fun() ->
        [begin ok = ?L:record_enqueue(s, a), ok = ?L:record_dequeue(s, a) end || _ <- lists:seq(1, 100)],
        #{drained_per_s := Drained, retry_after_ms := RetryMs} = row(s),
        Drained > 1000.0 andalso RetryMs =:= max(1, ceil(1000 / Drained))
    end).

the_control_plane_in_numbers() ->
    ok = erlmcp_control_plane:register_component(c, fun(_) -> ok end),
    {ok, _} = erlmcp_control_plane:send_health_check(c, liveness),
    {ok, _} = erlmcp_control_plane:send_cancel_task(c, 1),
    {ok, _} = erlmcp_control_plane:send_cancel_task(c, 2),
    Stats = erlmcp_control_plane:get_stats(),
    #{control := Control} = ?M:snapshot(),
    #{total_delivered := Delivered, by_component := _} = Stats,
    ?assertMatch(#{delivered := Delivered}, Control),
    Same = maps:keys(Stats) -- [total_delivered, by_component],
    ?assertEqual(maps:with(Same, Stats), maps:with(Same, Control)),
    ?assertEqual(1, value(~"erlmcp_control_messages", [~"c", ~"health_check"])),
    ?assertEqual(2, value(~"erlmcp_control_messages", [~"c", ~"cancel_task"])),
    ?assertEqual(0, value(~"erlmcp_control_queued", [~"c", ~"cancel_task"])),
    #{max_latency_us := MaxUs} = Stats,
    [
        begin
            #{count := 3, sum := Sum, buckets := Buckets} = value(Name, Labels),
            ?assert(Sum > 0),
            ?assert(Sum =< 3 * (MaxUs + 1) / 1.0e6),
            {Ends, Counts} = lists:unzip(Buckets),
            ?assertEqual(Ends, lists:usort(Ends)),
            ?assertEqual(Counts, lists:sort(Counts)),
            ?assertEqual(3, lists:last(Counts)),
            ?assert(lists:last(Ends) > 60)
        end
     || {Name, Labels} <- [
            {~"erlmcp_control_latency_seconds", []},
            {~"erlmcp_control_component_latency_seconds", [~"c"]}
        ]
    ].

as_many_components_as_there_can_be() ->
    Ids = [list_to_atom("component_" ++ integer_to_list(N)) || N <- lists:seq(1, 1024)],
    Alias = erlmcp_priority:create_priority_alias(),
    [ok = erlmcp_control_plane:register_component(Id, #{alias => Alias}) || Id <- Ids],
    Shown = [Label || {[Label], _} <- samples(~"erlmcp_control_component_latency_seconds")],
    ?assertEqual([atom_to_binary(Id) || Id <- lists:sort(Ids)], Shown).

each_field_has_a_value() ->
    ok = erlmcp_native_self:start(),
    Rate = #{cancel_task => {1, hour}},
    ok = erlmcp_control_plane:register_component(c, #{handler => fun(_) -> ok end, rate => Rate}),
    ok = erlmcp_overload_rate:define(api, #{rate => {1, hour}}),
    %% A guard knows how much memory there is: on a machine that says nothing, too.
    ok = erlmcp_overload_test_lib:configure([{node, #{memory_limit => 1 bsl 50}}]),
    ok = application:set_env(erlmcp_native, cluster, #{}),
    {ok, Cluster} = erlmcp_overload_cluster_sup:start_link(),
    ok = ?L:set_limit(r, {wait, 500, #{}}),
    ok = ?L:set_caps(r, #{total => 0}),
    {error, _} = ?L:try_enqueue(r, a),
    With = [Name || {#{name := Name}, _} <- ?M:collect()],
    ?assertEqual([Name || #{name := Name} <- ?M:fields()], With),
    ok = gen_server:stop(Cluster).

names_are_unique_and_samples_have_their_labels() ->
    ok = erlmcp_control_plane:register_component(c, fun(_) -> ok end),
    fill('a "b"\n\\', a, 1),
    Names = [Name || #{name := Name} <- ?M:fields()],
    ?assertEqual(length(Names), length(lists:usort(Names))),
    [
        begin
            ?assertEqual(length(Labels), length(Values)),
            ?assertEqual(length(Samples), length(lists:usort([Of || {Of, _} <- Samples])))
        end
     || {#{labels := Labels}, Samples} <- ?M:collect(), {Values, _} <- Samples
    ],
    ?assertEqual(1, value(~"erlmcp_queue_depth", [~"a \"b\"\n\\"])).

%% At no time is a depth shown that nobody had, above the number of owners here.
what_leaves_is_read_before_what_enters() ->
    Workers = [spawn_link(fun() -> busy(r, self()) end) || _ <- [1, 2, 3]],
    [
        begin
            #{roles := Rows} = ?M:snapshot(),
            [
                begin
                    ?assert(Enqueued >= Dequeued - Unmatched),
                    ?assertEqual(Enqueued, Dequeued - Unmatched + Released + Depth)
                end
             || #{
                    role := r,
                    enqueued := Enqueued,
                    dequeued := Dequeued,
                    unmatched := Unmatched,
                    released := Released,
                    depth := Depth
                } <- Rows
            ]
        end
     || _ <- lists:seq(1, 500)
    ],
    [begin unlink(Pid), erlmcp_native_test_lib:kill(Pid) end || Pid <- Workers].

busy(Role, Self) ->
    ok = ?L:record_enqueue(Role, Self),
    ok = ?L:record_dequeue(Role, Self),
    busy(Role, Self).

memory_is_near_what_the_allocator_says() ->
    case erlmcp_native:native_memory() of
        undefined ->
            ok;
        _ ->
            Pids = erlmcp_overload_test_lib:idles(100000),
            Allocated = erlmcp_native:native_memory(),
            #{memory_bytes := Estimated} = own(),
            [ok = ?L:record_enqueue(r, Pid) || Pid <- Pids],
            #{memory_bytes := Now, owners := Owners} = own(),
            ?assert(Owners >= 100000),
            Share = (Now - Estimated) / (erlmcp_native:native_memory() - Allocated),
            erlmcp_overload_test_lib:end_all(Pids),
            ?assert(Share > 0.7 andalso Share < 1.3, Share)
    end.

the_fullest_of_all_roles() ->
    [ok = ?L:set_limit(Role, Limit) || {Role, Limit} <- [{big, 1000}, {small, 4}, {none, 0}]],
    [
        fill(Role, Owner, Depth)
     || {Role, Owner, Depth} <- [{big, a, 500}, {big, b, 990}, {small, a, 3}, {small, b, 5}, {none, a, 1}]
    ],
    Order = [{Role, Owner} || #{role := Role, process := Owner} <- erlmcp_overload_monitor:fullest(4)],
    ?assertEqual([{small, b}, {none, a}, {big, b}, {small, a}], Order),
    ?assertEqual([], erlmcp_overload_monitor:fullest(0)),
    ?assertEqual(5, length(erlmcp_overload_monitor:fullest(1 bsl 70))),
    [?assertError(badarg, erlmcp_overload_monitor:fullest(Most)) || Most <- [-1, 1.0, all]].

switches_as_they_stand() ->
    All = #{limits => true, overload => true, priority => true},
    ?assertMatch(#{switches := All}, ?M:snapshot()),
    ok = ?L:set_enabled(false),
    ok = erlmcp_overload_monitor:set_enabled(false),
    ok = erlmcp_control_plane:set_enabled(false),
    ?assertMatch(#{switches := #{limits := false, overload := false, priority := false}}, ?M:snapshot()),
    ?assertEqual(0, value(~"erlmcp_switch_enabled", [~"limits"])).

what_presses_the_node() ->
    Gauges = ["pressure", "memory_used_bytes", "memory_limit_bytes", "run_queue"],
    Names = [list_to_binary("erlmcp_node_" ++ Gauge) || Gauge <- Gauges],
    ?assertEqual([[], [], [], []], [samples(Name) || Name <- Names]),
    %% What is in use is more than all of it.
    Options = #{memory_limit => 1048576, run_queue => {1000, 1000}, sample_ms => 10},
    ok = erlmcp_overload_test_lib:configure([{node, Options}]),
    erlmcp_native_test_lib:eventually(fun() -> value(~"erlmcp_node_pressure", [~"memory"]) =:= 2 end),
    ?assertEqual(0, value(~"erlmcp_node_pressure", [~"run_queue"])),
    ?assertEqual(1048576, value(~"erlmcp_node_memory_limit_bytes", [])),
    ?assert(value(~"erlmcp_node_memory_used_bytes", []) > 1048576),
    ?assert(value(~"erlmcp_node_run_queue", []) >= 0),
    ?assertMatch(#{level := overload, depth := 0, owners := 0, limit := infinity}, row(node)),
    %% What is not looked at has no value.
    ok = erlmcp_overload_test_lib:configure([{node, Options#{memory => off}}]),
    erlmcp_native_test_lib:eventually(fun() -> samples(~"erlmcp_node_memory_limit_bytes") =:= [] end),
    ok = erlmcp_overload_test_lib:configure([{node, off}]),
    ?assertEqual([[], [], [], []], [samples(Name) || Name <- Names]).

%% What other tests left and lost is there.
tokens_and_cancellations() ->
    Lost = fun() -> [value(~"erlmcp_cancel_lost", [What]) || What <- [~"early", ~"message"]] end,
    There = fun() -> [value(Name, []) || Name <- [~"erlmcp_cancel_tokens", ~"erlmcp_cancel_tombstones"]] end,
    #{cancel := #{cancelled := #{asked := Asked, owner_down := Down}}} = ?M:snapshot(),
    {LostBefore, [Tokens, Tombstones]} = {Lost(), There()},
    Owner = erlmcp_native_test_lib:idle(),
    [Token, Other] = [erlmcp_control_cancel:new(#{owner => Owner}) || _ <- "ab"],
    ?assertEqual([Tokens + 2, Tombstones], There()),
    ok = erlmcp_control_cancel:cancel(Token, x),
    ok = erlmcp_control_cancel:cancel(Owner, early, x),
    ?assertEqual(
        [Tombstones + 1, Asked + 1],
        [value(~"erlmcp_cancel_tombstones", []), value(~"erlmcp_cancel_tasks", [~"asked"])]
    ),
    ok = erlmcp_native_test_lib:kill(Owner),
    erlmcp_native_test_lib:eventually(fun() -> value(~"erlmcp_cancel_tasks", [~"owner_down"]) =:= Down + 1 end),
    ?assertEqual([Tokens, Tombstones], There()),
    ?assertEqual(LostBefore, Lost()),
    ?assertEqual([ok, ok], [erlmcp_control_cancel:done(Each) || Each <- [Token, Other]]).

a_lost_wakeup_is_counted() ->
    #{wakeups_dropped := Before} = own(),
    erlmcp_overload_test_lib:crash(),
    ok = ?L:set_limit(r, 1),
    fill(r, a, 1),
    ?assertMatch(#{wakeups_dropped := N} when N > Before, own()),
    ok = erlmcp_overload_test_lib:start([{handlers, []}, {open_breaker_at, never}]).

%% Nothing is started: everything is still answered.
nothing_is_started_test() ->
    #{services := Services, roles := [], control := undefined, self := #{}} = ?M:snapshot(),
    ?assertEqual([false, false, false], maps:values(Services)),
    ?assertEqual(0, value(~"erlmcp_service_up", [~"erlmcp_queue_limits"])),
    ?assertEqual([], samples(~"erlmcp_queue_depth")).

row(Role) ->
    #{roles := Rows} = ?M:snapshot(),
    ?assertEqual(Rows, lists:sort(fun(#{role := A}, #{role := B}) -> A =< B end, Rows)),
    [Row] = [R || #{role := Of} = R <- Rows, Of =:= Role],
    Row.

own() ->
    #{self := Self} = ?M:snapshot(),
    Self.

samples(Name) ->
    lists:append([Samples || {#{name := Of}, Samples} <- ?M:collect(), Of =:= Name]).

value(Name, Labels) ->
    {Labels, Value} = lists:keyfind(Labels, 1, samples(Name)),
    Value.
