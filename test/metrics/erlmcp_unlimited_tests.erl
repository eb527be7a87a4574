%% A limit of infinity: nothing is refused, no level is reached, and nobody who shows limits stumbles over it.
-module(erlmcp_unlimited_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_overload_test_lib, [fill/3]).

-define(L, erlmcp_queue_limits).
-define(M, erlmcp_overload_monitor).
-define(MANY, 20000).

unlimited_test_() ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name), {timeout, 60, Test}}
     || {Name, Test} <- [
            {it_is_told_as_it_was_set, fun it_is_told_as_it_was_set/0},
            {nothing_is_refused, fun nothing_is_refused/0},
            {no_level_is_reached, fun no_level_is_reached/0},
            {a_level_that_was_held_is_left, fun a_level_that_was_held_is_left/0},
            {a_limit_again, fun a_limit_again/0},
            {the_default, fun the_default/0},
            {rows, fun rows/0},
            {the_shell, fun the_shell/0},
            {json, fun json/0},
            {metrics, fun metrics/0},
            {a_refusal_of_before, fun a_refusal_of_before/0},
            {a_refusal_to_be_logged, fun a_refusal_to_be_logged/0},
            {configured, fun configured/0}
        ]
    ]}.

up() ->
    Level = erlmcp_native_test_lib:start(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    ok = ?L:set_limit(r, infinity),
    Level.

down(Level) ->
    application:unset_env(erlmcp_native, queue_limits),
    erlmcp_overload_test_lib:stop(),
    erlmcp_native_test_lib:stop(Level).

it_is_told_as_it_was_set() ->
    ?assertEqual(infinity, ?L:get_limit(r)),
    ?assertMatch(#{r := infinity, session := 10000}, ?L:get_all_limits()),
    ?assertMatch(#{limit := infinity}, ?L:get_role_stats(r)),
    ?assertMatch(#{r := #{limit := infinity}}, ?L:get_all_stats()),
    ?assertMatch([#{limit := infinity}], [Row || #{role := r} = Row <- ?M:summary()]).

nothing_is_refused() ->
    fill(r, a, ?MANY),
    ?assertEqual([ok, ok], [?L:check_capacity(r, a), ?L:try_enqueue(r, a)]),
    ?assertEqual({ok, here}, ?L:with_capacity(r, a, fun() -> here end)),
    ?assertMatch(#{total_rejected := 0, current_depth := ?MANY + 1}, ?L:get_role_stats(r)).

no_level_is_reached() ->
    fill(r, a, ?MANY),
    ok = ?M:force_check(),
    ?assertEqual([], ?M:get_alert_history()),
    ?assertEqual([], ?M:get_overloaded(r)),
    ?assertMatch([#{level := ok, max_utilization := +0.0}], [Row || #{role := r} = Row <- ?M:summary()]).

%% What is told of it, too: the level is left, of no limit.
a_level_that_was_held_is_left() ->
    ok = ?L:set_limit(r, 10),
    fill(r, a, 10),
    ?assertMatch([#{level := overload} | _], ?M:get_alert_history(r)),
    Lines = logged(fun() ->
        ok = ?L:set_limit(r, infinity),
        ok = ?M:force_check(),
        ?assertMatch([#{level := ok}], [Row || #{role := r} = Row <- ?M:summary()])
    end),
    [?assertNotEqual(nomatch, string:find(Lines, "left " ++ Level)) || Level <- ["overload", "critical", "warning"]],
    ?assertNotEqual(nomatch, string:find(Lines, "10 of infinity")).

a_limit_again() ->
    fill(r, a, 10),
    ok = ?L:set_limit(r, 10),
    ok = ?M:force_check(),
    ?assertMatch({error, {capacity_exceeded, #{limit := 10, depth := 10}}}, ?L:try_enqueue(r, a)),
    ?assertMatch([#{level := overload, limit := 10}], ?M:get_alert_history(r)).

the_default() ->
    ok = ?L:set_limit(default, infinity),
    fill(unknown, a, ?MANY),
    ?assertEqual([infinity, infinity, 10000], [?L:get_limit(Role) || Role <- [unknown, another, session]]),
    ?assertEqual(ok, ?L:try_enqueue(unknown, a)),
    says("it would have the limit of default, infinity", erlmcp_overload:why_text(another)).

%% Without a limit none is full, and so they come last.
rows() ->
    fill(r, a, ?MANY),
    fill(session, b, 1),
    ?assertMatch(
        [#{process := a, depth := ?MANY, limit := infinity, utilization := +0.0, status := ok}], ?M:queues(r)
    ),
    ?assertMatch([#{process := a}], ?M:queues(r, #{top => 1})),
    ?assertMatch([#{process := b}, #{process := a}], ?M:fullest(2)).

the_shell() ->
    says("r refuses nothing: it has no limit; the fullest owner has 0\n", erlmcp_overload:why_text(r)),
    fill(r, a, 17),
    Role = erlmcp_overload:why_text(r),
    says("r refuses nothing: it has no limit; the fullest owner has 17", Role),
    says("free        now", Role),
    says("fullest     a 17 without a limit", Role),
    says("a in r is not refused: the role has no limit: it has 17 without a limit", erlmcp_overload:why_text(r, a)),
    says("r +a +17 +infinity +0%  ok", erlmcp_overload:top_text()).

json() ->
    fill(r, a, 3),
    Summary = erlmcp_native_http_json:summary(erlmcp_native_metrics:snapshot()),
    #{~"roles" := Roles} = json:decode(erlmcp_native_http_json:encode(Summary)),
    ?assertMatch([#{~"limit" := null, ~"depth" := 3, ~"fullest" := _}], [R || #{~"role" := ~"r"} = R <- Roles]),
    Rows = erlmcp_native_http_json:queues(?M:queues(r)),
    ?assertMatch([#{~"limit" := null, ~"utilization" := +0.0}], json:decode(iolist_to_binary(json:encode(Rows)))),
    ?assertMatch([#{~"limit" := null}], json:decode(erlmcp_native_json:encode(?M:queues(r)))).

%% No limit is no sample: neither a number to draw nor one to divide by.
metrics() ->
    fill(r, a, 3),
    Families = erlmcp_native_metrics:collect(),
    Of = fun(Name) -> [Value || {#{name := N}, Samples} <- Families, N =:= Name, {[~"r"], Value} <- Samples] end,
    ?assertEqual({[], [3], [0.0]}, {
        Of(~"erlmcp_queue_limit"), Of(~"erlmcp_queue_depth"), Of(~"erlmcp_queue_utilization_ratio")
    }),
    Text = iolist_to_binary(erlmcp_native_prometheus:format(Families, text)),
    ?assertEqual(nomatch, binary:match(Text, ~"erlmcp_queue_limit{role=\"r\"}")),
    ?assertMatch({_, _}, binary:match(Text, ~"erlmcp_queue_limit{role=\"session\"} 10000")),
    %% With none of any role there is no such metric.
    [ok = ?L:set_limit(Role, infinity) || Role := _ <- ?L:get_all_limits()],
    ?assertEqual([], [F || {#{name := ~"erlmcp_queue_limit"}, _} = F <- erlmcp_native_metrics:collect()]).

%% Told or logged when the limit is gone already.
a_refusal_to_be_logged() ->
    Table = erlmcp_native:limits_new([{default, 1}]),
    ok = erlmcp_native:limits_set_limit(Table, r, 0),
    {refused, _} = erlmcp_native:limits_try_enqueue(Table, r, a),
    ok = erlmcp_native:limits_set_limit(Table, r, infinity),
    ?assertEqual({1, infinity, 0, 0}, erlmcp_native:limits_take_refusals(Table, r)).

a_refusal_of_before() ->
    ok = ?L:set_limit(r, 0),
    Lines = logged(fun() ->
        {error, {capacity_exceeded, Stats}} = ?L:try_enqueue(r, a),
        ok = ?L:set_limit(r, infinity),
        Error = ?L:to_json_rpc_error(1, Stats#{limit := infinity}),
        Json = iolist_to_binary(json:encode(Error)),
        ?assertMatch(#{~"error" := #{~"data" := #{~"limit" := null}}}, json:decode(Json))
    end),
    ?assertNotEqual(nomatch, string:find(Lines, "r refused 1; limit ")).

configured() ->
    ok = application:set_env(erlmcp_native, queue_limits, #{session => infinity, default => infinity}),
    ok = erlmcp_native_app:reload_config(),
    ?assertEqual([infinity, infinity, 500], [?L:get_limit(Role) || Role <- [session, unknown, tool_executor]]),
    ok = application:set_env(erlmcp_native, queue_limits, #{session => 'Infinity'}),
    {error, {bad_config, Problem}} = erlmcp_native_app:reload_config(),
    ?assertMatch(#{value := 'Infinity', expected := "an integer from 0 to 2^59 - 1, or infinity"}, Problem),
    ?assertEqual(infinity, ?L:get_limit(session)).

says(Pattern, Text) ->
    ?assertMatch({_, {match, _}}, {Text, re:run(Text, Pattern)}).

%% What is logged while it runs and until the processes that log are at rest.
logged(Fun) ->
    Handlers = [{Id, Level} || #{id := Id, level := Level} <- logger:get_handler_config()],
    [ok = logger:set_handler_config(Id, level, none) || {Id, _} <- Handlers],
    #{level := Before} = logger:get_primary_config(),
    File = filename:join(erlmcp_native_test_lib:temp_dir(), "log"),
    ok = logger:add_handler(?MODULE, logger_std_h, #{config => #{file => File}}),
    ok = logger:set_primary_config(level, all),
    try
        Fun(),
        %% Each kind of line comes at once, the first time.
        erlmcp_native_test_lib:eventually(fun() ->
            ok = logger_std_h:filesync(?MODULE),
            {ok, Bytes} = file:read_file(File),
            binary:match(Bytes, [~"left warning", ~"refused"]) =/= nomatch
        end),
        {ok, Text} = file:read_file(File),
        unicode:characters_to_list(Text)
    after
        ok = logger:remove_handler(?MODULE),
        ok = logger:set_primary_config(level, Before),
        [ok = logger:set_handler_config(Id, level, Level) || {Id, Level} <- Handlers],
        erlmcp_native_test_lib:remove_dir(filename:dirname(File))
    end.
