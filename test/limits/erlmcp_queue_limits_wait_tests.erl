%% How long requests wait: what is measured, limits that are said in milliseconds, deadlines, advice to those refused.
-module(erlmcp_queue_limits_wait_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [crash/0, eventually/1, idle/0, kill/1]).

-define(LIMITS, erlmcp_queue_limits).
-define(MONITOR, erlmcp_overload_monitor).

wait_test_() ->
    {foreach, fun start/0, fun stop/1, [
        {"measured", fun what_waited_is_measured/0},
        {"nothing", fun nothing_is_known_before_somebody_waited/0},
        {"dropped", fun what_is_dropped_is_no_drain/0},
        {"all dropped", fun those_that_are_all_dropped_measure_nothing/0},
        {"killed", fun whoever_is_killed_has_done_nothing/0},
        {"stalled", fun one_that_stands_still_is_seen/0},
        {"forgotten", fun what_is_forgotten_is_not_known/0},
        {"reset", fun who_is_marked_at_a_reset_measures_nothing/0},
        {"crash", fun it_survives_a_crash/0},
        {"mailbox", fun of_a_mailbox_nothing_is_known/0},
        {"retry", fun who_is_refused_is_told_by_the_pace_of_the_owner/0},
        {"deadline", fun who_would_be_late_is_refused/0},
        {"over", fun what_is_over_is_refused_by_anybody/0},
        {"over, off", fun switched_off_a_deadline_refuses_nobody/0},
        {"set", fun what_was_set_is_returned/0},
        {"before", fun without_a_max_it_is_the_limit_before/0},
        {"none", fun what_is_no_wait/0},
        {"follows", fun a_limit_follows_the_pace/0},
        {"follower", fun who_follows_the_default_waits_as_that/0},
        {"levels", fun levels_are_of_the_limit_of_the_owner/0},
        {"shell", fun the_shell_knows_it/0}
    ]}.

configured_test_() ->
    {setup, fun erlmcp_native_test_lib:quiet/0, fun erlmcp_native_test_lib:loud/1, [
        fun it_is_configured/0, fun one_that_does_not_fit_is_told/0
    ]}.

start() ->
    Level = erlmcp_native_test_lib:start(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    Level.

stop(Level) ->
    erlmcp_overload_test_lib:stop(),
    erlmcp_native_test_lib:stop(Level).

%% Time goes by.
pass(Ms) ->
    UntilNs = erlang:monotonic_time(nanosecond) + Ms * 1_000_000,
    eventually(fun() -> erlang:monotonic_time(nanosecond) >= UntilNs end).

fill(Role, Owner, N) ->
    [ok = ?LIMITS:record_enqueue(Role, Owner) || _ <- lists:seq(1, N)],
    ok.

%% So many are done, and each takes so long.
drain(Role, Owner, N, Ms) ->
    lists:foreach(
        fun(_) ->
            pass(Ms),
            ok = ?LIMITS:record_dequeue(Role, Owner)
        end,
        lists:seq(1, N)
    ).

row(Role, Owner) ->
    [Row] = [Row || #{process := Process} = Row <- ?MONITOR:queues(Role), Process =:= Owner],
    Row.

%% An owner with nothing waiting that does one in 20 ms or a little more.
slow(Role, Owner) ->
    fill(Role, Owner, 2),
    drain(Role, Owner, 2, 20).

what_waited_is_measured() ->
    fill(session, a, 10),
    drain(session, a, 2, 50),
    #{drain_per_s := PerS, wait_ms := WaitMs, sojourn_ms := SojournMs} = row(session, a),
    %% The second was marked, and went after 100 ms or a little more. The runtime's clock may be a hundredth faster than
    %% the system's, which the library reads.
    ?assert(SojournMs >= 98),
    ?assert(abs(PerS - 2000 / SojournMs) < 1),
    ?assert(abs(WaitMs - 8 * SojournMs / 2) < 10),
    ?assertMatch([#{drain_per_s := PerS}], ?MONITOR:queues(session, #{top => 1})),
    ?assertMatch([#{sojourn_ms := SojournMs} | _], ?MONITOR:fullest(3)).

nothing_is_known_before_somebody_waited() ->
    [begin fill(session, a, 1), drain(session, a, 1, 1) end || _ <- lists:seq(1, 5)],
    Unknown = #{drain_per_s => undefined, wait_ms => undefined, sojourn_ms => undefined},
    ?assertEqual(Unknown#{stalled_ms => 0}, maps:with([stalled_ms | maps:keys(Unknown)], row(session, a))).

what_is_dropped_is_no_drain() ->
    fill(session, a, 4),
    drain(session, a, 2, 20),
    #{drain_per_s := Before} = row(session, a),
    pass(150),
    fill(session, a, 2),
    [ok = ?LIMITS:record_dequeue(session, a, dropped) || _ <- [1, 2, 3]],
    drain(session, a, 1, 20),
    %% Four that counted 20 ms as one, and not 200 a second.
    #{drain_per_s := PerS} = row(session, a),
    ?assert(PerS =< Before + 1),
    ?assertMatch(#{current_depth := 0, total_dequeued := 6, unmatched_dequeues := 0}, ?LIMITS:get_role_stats(session)),
    ?assertEqual(ok, ?LIMITS:record_dequeue(session, a, dropped)),
    ?assertMatch(#{unmatched_dequeues := 1}, ?LIMITS:get_role_stats(session)),
    Args = [session, a, gone],
    ?assertError(badarg, apply(?LIMITS, record_dequeue, Args)).

those_that_are_all_dropped_measure_nothing() ->
    fill(session, a, 2),
    pass(20),
    [ok = ?LIMITS:record_dequeue(session, a, dropped) || _ <- [1, 2]],
    ?assertMatch(#{depth := 0, drain_per_s := undefined, sojourn_ms := undefined}, row(session, a)).

%% With what it had in hand.
whoever_is_killed_has_done_nothing() ->
    Self = self(),
    Pid = spawn(fun() ->
        Permits = [Permit || {ok, Permit} <- [?LIMITS:acquire(session, a), ?LIMITS:acquire(session, a)]],
        Self ! {self(), has, length(Permits)},
        receive {give_back, From} -> From ! Permits end
    end),
    receive {Pid, has, Many} -> ?assertEqual(2, Many) end,
    pass(20),
    kill(Pid),
    eventually(fun() -> ?LIMITS:get_queue_depth(session, a) =:= 0 end),
    ?assertMatch(#{drain_per_s := undefined, sojourn_ms := undefined}, row(session, a)),
    ?assertMatch(#{total_dequeued := 2, total_released := 0}, ?LIMITS:get_role_stats(session)).

one_that_stands_still_is_seen() ->
    fill(session, a, 2),
    pass(300),
    #{stalled_ms := Ms} = row(session, a),
    ?assert(Ms >= 250),
    ok = ?LIMITS:record_dequeue(session, a),
    eventually(fun() -> maps:get(stalled_ms, row(session, a)) < 250 end),
    ok = ?LIMITS:record_dequeue(session, a),
    pass(20),
    ?assertMatch(#{stalled_ms := 0}, row(session, a)).

what_is_forgotten_is_not_known() ->
    Pid = idle(),
    [slow(Role, Pid) || Role <- [session, transport]],
    ?assertMatch(#{drain_per_s := PerS} when is_float(PerS), row(session, Pid)),
    fill(session, Pid, 3),
    ok = ?LIMITS:forget(session, Pid),
    fill(session, Pid, 1),
    ?assertMatch(#{depth := 1, drain_per_s := undefined}, row(session, Pid)),
    ?assertMatch(#{drain_per_s := PerS} when is_float(PerS), row(transport, Pid)),
    kill(Pid),
    eventually(fun() -> [] =:= [Row || #{process := P} = Row <- ?MONITOR:queues(transport), P =:= Pid] end).

who_is_marked_at_a_reset_measures_nothing() ->
    fill(session, a, 2),
    ok = ?LIMITS:reset_stats(session),
    drain(session, a, 2, 20),
    ?assertMatch(#{drain_per_s := undefined}, row(session, a)),
    pass(150),
    slow(session, a),
    #{drain_per_s := PerS} = row(session, a),
    ok = ?LIMITS:reset_stats(session),
    ?assertMatch(#{drain_per_s := PerS}, row(session, a)).

it_survives_a_crash() ->
    slow(session, a),
    ok = ?LIMITS:set_limit(session, {wait, 500, #{}}),
    #{drain_per_s := PerS, limit := Limit} = row(session, a),
    crash(),
    ?assertMatch(#{drain_per_s := PerS, limit := Limit}, row(session, a)),
    ?assertMatch({wait, 500, _}, ?LIMITS:get_limit(session)).

of_a_mailbox_nothing_is_known() ->
    Idle = idle(),
    ok = ?LIMITS:set_limit(session, {wait, 500, #{max => 2}}),
    [ok, ok] = [erlmcp_overload_mailbox:send(session, Idle, N) || N <- [1, 2]],
    ?assertMatch(
        #{kind := mailbox, limit := 2, drain_per_s := undefined, wait_ms := undefined, stalled_ms := undefined},
        row(session, Idle)
    ),
    ?assertMatch({error, {capacity_exceeded, #{reason := full}}}, erlmcp_overload_mailbox:send(session, Idle, 3)).

who_is_refused_is_told_by_the_pace_of_the_owner() ->
    ok = ?LIMITS:set_limit(session, 10),
    %% By the rate of the role, it would be four times as long.
    [fill(session, Other, 1) || Other <- [b, c, d]],
    slow(session, a),
    fill(session, a, 14),
    #{drain_per_s := PerS} = row(session, a),
    {error, {capacity_exceeded, #{retry_after_ms := Ms, depth := 14, limit := 10}}} = ?LIMITS:try_enqueue(session, a),
    ?assert(abs(Ms - 5000 / PerS) =< 1),
    {error, {capacity_exceeded, #{retry_after_ms := Ms}}} = ?LIMITS:check_capacity(session, a).

who_would_be_late_is_refused() ->
    slow(session, a),
    fill(session, a, 9),
    #{drain_per_s := PerS} = row(session, a),
    %% Ten and what is added for chance.
    TenMs = ceil((10 + 2.2 * math:sqrt(10)) * 1000 / PerS),
    Late = #{deadline_ms => TenMs - 15},
    InTime = [{deadline_ms, TenMs + 15}],
    [
        ?assertMatch({error, {capacity_exceeded, #{reason := deadline, depth := 9, limit := 10000}}}, Try(Late))
     || Try <- tries()
    ],
    [?assertMatch({Function, ok}, {Function, element(1, tuple(Try(InTime)))}) || {Function, Try} <- named_tries()],
    %% Of whom nothing is known nobody is late.
    ?assertEqual(ok, ?LIMITS:try_enqueue(session, unknown, #{deadline_ms => 1})),
    %% What is full is full, deadline or not.
    ok = ?LIMITS:set_limit(session, 3),
    ?assertMatch({error, {capacity_exceeded, #{reason := full}}}, ?LIMITS:try_enqueue(session, a, Late)).

tries() ->
    [Try || {_, Try} <- named_tries()].

%% Those that take a place give it back.
named_tries() ->
    Back = fun
        (ok) -> ?LIMITS:record_dequeue(session, a, dropped);
        ({ok, a}) -> ?LIMITS:record_dequeue(session, a, dropped);
        ({ok, Permit}) -> ?LIMITS:release(Permit);
        ({error, _} = Refused) -> Refused
    end,
    [
        {check_capacity, fun(Options) -> ?LIMITS:check_capacity(session, a, Options) end},
        {try_enqueue, fun(Options) -> Back(?LIMITS:try_enqueue(session, a, Options)) end},
        {try_enqueue_any, fun(Options) -> Back(?LIMITS:try_enqueue_any(session, [a], Options)) end},
        %% The last: a permit that is released is one that is done, and changes the pace.
        {acquire, fun(Options) -> Back(?LIMITS:acquire(session, a, Options)) end}
    ].

tuple(Answer) when is_tuple(Answer) -> Answer;
tuple(Answer) -> {Answer}.

what_is_over_is_refused_by_anybody() ->
    slow(session, a),
    Idle = idle(),
    ok = erlmcp_overload_mailbox:send(transport, Idle, m),
    [
        ?assertMatch({error, {capacity_exceeded, #{reason := deadline}}}, Refused)
     || Ms <- [0, -1, -(1 bsl 58)],
        Options <- [#{deadline_ms => Ms}],
        Refused <- [
            ?LIMITS:try_enqueue(session, a, Options),
            ?LIMITS:try_enqueue(session, unknown, Options),
            ?LIMITS:check_capacity(session, unknown, Options),
            ?LIMITS:acquire(no_role_yet, unknown, Options),
            erlmcp_overload_mailbox:send(transport, Idle, m, Options)
        ]
    ],
    ?assertEqual({error, not_found}, ?LIMITS:get_queue_depth(unknown)).

switched_off_a_deadline_refuses_nobody() ->
    slow(session, a),
    ok = ?LIMITS:set_enabled(false),
    [?assertEqual(ok, ?LIMITS:try_enqueue(session, Owner, #{deadline_ms => 0})) || Owner <- [a, b]].

what_was_set_is_returned() ->
    Wait = {wait, 500, #{min => 5, max => 200}},
    ok = ?LIMITS:set_limit(session, Wait),
    ?assertEqual(Wait, ?LIMITS:get_limit(session)),
    ?assertMatch(#{session := Wait, transport := 2000}, ?LIMITS:get_all_limits()),
    fill(session, a, 1),
    ?assertMatch(#{limit := 200}, row(session, a)),
    ?assertMatch(#{limit := 200}, ?LIMITS:get_role_stats(session)),
    ok = ?LIMITS:set_limit(session, 7),
    ?assertEqual(7, ?LIMITS:get_limit(session)),
    ?assertMatch(#{limit := 7}, row(session, a)).

without_a_max_it_is_the_limit_before() ->
    Set = fun(Before, Options) ->
        ok = ?LIMITS:set_limit(r, Before),
        ok = ?LIMITS:set_limit(r, {wait, 500, Options}),
        {wait, 500, Both} = ?LIMITS:get_limit(r),
        Both
    end,
    ?assertEqual(#{min => 10, max => 300}, Set(300, #{})),
    ?assertEqual(#{min => 4, max => 4}, Set(4, #{})),
    ?assertEqual(#{min => 10, max => 4194303}, Set(infinity, #{})),
    ?assertEqual(#{min => 3, max => 4194303}, Set(1 bsl 50, [{min, 3}])),
    ?assertEqual(#{min => 10, max => 20}, Set({wait, 9, #{max => 20}}, #{})).

what_is_no_wait() ->
    Wrong =
        [{wait, Ms, #{max => 100}} || Ms <- [0, -1, 1.0, 500.5, 1_000_001, 1 bsl 64, infinity, <<"500">>]] ++
            [{wait, 500, Options} || Options <- [
                #{min => 20, max => 10}, #{min => 0, max => 10}, #{min => -1}, #{min => 1.0}, #{max => 0},
                #{max => infinity}, #{max => 4194304}, #{min => 20_000}, #{target => 3}, [max], a, 5
            ]] ++
            [{wait, 500}, wait, {wait}, {wait, 500, #{}, x}, {delay, 500, #{}}],
    [?assertError(badarg, ?LIMITS:set_limit(session, Limit), Limit) || Limit <- Wrong],
    ?assertEqual(10000, ?LIMITS:get_limit(session)),
    ok = ?LIMITS:set_limit(r, 0),
    ?assertError(badarg, ?LIMITS:set_limit(r, {wait, 500, #{}})),
    ?assertError(badarg, ?LIMITS:set_limit("r", {wait, 500, #{}})).

a_limit_follows_the_pace() ->
    ok = ?LIMITS:set_limit(session, {wait, 500, #{min => 3, max => 1000}}),
    fill(session, a, 2),
    ?assertMatch(#{limit := 1000}, row(session, a)),
    drain(session, a, 2, 20),
    #{limit := Limit, drain_per_s := PerS} = row(session, a),
    ?assertEqual(max(3, places(PerS / 2)), Limit),
    Admitted = until_refused(fun() -> ?LIMITS:try_enqueue(session, a) end, 0),
    ?assertEqual(Limit, Admitted),
    ?assertMatch({error, {capacity_exceeded, #{limit := Limit, depth := Limit}}}, ?LIMITS:check_capacity(session, a)),
    ?assertMatch({error, {capacity_exceeded, #{limit := Limit}}}, ?LIMITS:acquire(session, a)),
    %% Another owner has its own, and a class its share.
    ?assertEqual(ok, ?LIMITS:check_capacity(session, b)),
    ok = ?LIMITS:set_reserve(session, #{sheddable => 100}),
    ?assertMatch({error, {capacity_exceeded, #{reason := full}}}, ?LIMITS:try_enqueue(session, a)).

%% How many may wait where so many are done within the target: N with N + 2.6 × √N of 1.3 times those, or all.
places(Done) ->
    Root = (math:sqrt(2.6 * 2.6 + 4 * 1.3 * Done) - 2.6) / 2,
    trunc(min(ceil(Root * Root), Done)).

until_refused(Try, N) ->
    case Try() of
        ok -> until_refused(Try, N + 1);
        {error, {capacity_exceeded, _}} -> N
    end.

who_follows_the_default_waits_as_that() ->
    ok = ?LIMITS:set_limit(default, {wait, 200, #{}}),
    slow(r, a),
    #{limit := Limit, drain_per_s := PerS} = row(r, a),
    ?assertEqual(max(10, places(PerS / 5)), Limit),
    ?assertEqual({wait, 200, #{min => 10, max => 1000}}, ?LIMITS:get_limit(r)),
    ?assertMatch(#{r := {wait, 200, _}}, ?LIMITS:get_all_limits()).

levels_are_of_the_limit_of_the_owner() ->
    ok = ?LIMITS:set_limit(session, {wait, 200, #{min => 4, max => 1000}}),
    slow(session, a),
    #{limit := Limit} = row(session, a),
    ?assert(Limit < 15),
    fill(session, a, Limit),
    ?assertMatch(#{status := overload, limit := Limit}, row(session, a)),
    Alert = #{level => overload, process => a, limit => Limit, depth => Limit},
    ?assertMatch([Alert | _], [maps:with(maps:keys(Alert), Raised) || Raised <- ?MONITOR:get_alert_history()]),
    ok = ?MONITOR:force_check(),
    ?assertMatch(#{level := overload}, summary(session)),
    [ok = ?LIMITS:record_dequeue(session, a, dropped) || _ <- lists:seq(1, Limit)],
    ?assertMatch(#{level := ok}, summary(session)).

summary(Role) ->
    [Row] = [Row || #{role := Of} = Row <- ?MONITOR:summary(), Of =:= Role],
    Row.

the_shell_knows_it() ->
    ok = ?LIMITS:set_limit(session, {wait, 60_000, #{min => 10}}),
    slow(session, a),
    fill(session, a, 3),
    Why = erlmcp_overload:why_text(session, a),
    [
        ?assertMatch({match, _}, re:run(Why, Pattern), Pattern)
     || Pattern <- [
            "a in session has room for \\d+: it has 3 of \\d+\n",
            "drains      [\\d.]+ a second while any wait",
            "waits       one that comes now for about [\\d.]+ m?s; the last one that was marked waited [\\d.]+ m?s",
            "stalled     "
        ]
    ],
    Top = erlmcp_overload:top_text(),
    ?assertMatch(
        {match, _},
        re:run(
            Top,
            "\n  drains [\\d.]+ a second, a newcomer waits [\\d.]+ m?s, one waited [\\d.]+ m?s; stalled [\\d.]+ m?s\n"
        )
    ),
    [?assert(byte_size(Line) =< 80) || Line <- binary:split(Top, ~"\n", [global])].

it_is_configured() ->
    ok = application:set_env(erlmcp_native, queue_limits, #{
        session => {wait, 500, #{}}, r => {wait, 250, [{min, 7}]}, default => {wait, 100, #{max => 50}}
    }),
    try
        Level = erlmcp_native_test_lib:start(),
        try
            ?assertMatch(
                #{
                    session := {wait, 500, #{min := 10, max := 10000}},
                    r := {wait, 250, #{min := 7, max := 1000}},
                    default := {wait, 100, #{min := 10, max := 50}},
                    transport := 2000
                },
                ?LIMITS:get_all_limits()
            ),
            %% What was set by hand wins, and what is configured anew holds at once.
            ok = ?LIMITS:set_limit(session, 4),
            ok = application:set_env(erlmcp_native, queue_limits, #{session => 9, r => {wait, 300, #{}}}),
            ok = erlmcp_limits_server:reload_config(),
            ?assertMatch(#{session := 4, r := {wait, 300, _}, default := 1000}, ?LIMITS:get_all_limits())
        after
            erlmcp_native_test_lib:stop(Level)
        end
    after
        application:unset_env(erlmcp_native, queue_limits)
    end.

one_that_does_not_fit_is_told() ->
    [
        begin
            ok = application:set_env(erlmcp_native, queue_limits, #{session => Limit}),
            try
                ?assertMatch({error, _}, erlmcp_limits_server:check())
            after
                application:unset_env(erlmcp_native, queue_limits)
            end
        end
     || Limit <- [{wait, 0, #{}}, {wait, 500, #{min => 5, max => 4}}, {wait, 500, #{min => 10_001}}, {wait, 1.5, #{}}]
    ].
