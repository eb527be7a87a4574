%% What a person at the shell is told of rates and cancellations.
-module(erlmcp_overload_pace_tests).

-include_lib("eunit/include/eunit.hrl").

-define(R, erlmcp_overload_rate).
-define(C, erlmcp_control_cancel).

pace_test_() ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name), {timeout, 60, Test}}
     || {Name, Test} <- [
            {a_rate_that_nobody_uses, fun a_rate_that_nobody_uses/0},
            {a_rate_that_refuses, fun a_rate_that_refuses/0},
            {a_rate_with_too_many_keys, fun a_rate_with_too_many_keys/0},
            {a_key, fun a_key/0},
            {a_name_of_more_than_one, fun a_name_of_more_than_one/0},
            {a_rate_that_goes, fun a_rate_that_goes/0},
            {a_component, fun a_component/0},
            {refusals_that_are_over, fun refusals_that_are_over/0},
            {rates_at_the_top, fun rates_at_the_top/0},
            {cancellations, fun cancellations/0},
            {nothing_is_changed, fun nothing_is_changed/0}
        ]
    ]}.

up() ->
    Level = erlmcp_native_test_lib:start(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    {ok, Plane} = erlmcp_control_plane:start_link(),
    unlink(Plane),
    Level.

down(Level) ->
    ok = application:unset_env(erlmcp_native, cancel),
    ok = gen_server:stop(erlmcp_control_plane),
    erlmcp_overload_test_lib:stop(),
    erlmcp_native_test_lib:stop(Level).

a_rate_that_nobody_uses() ->
    ok = ?R:define(api, #{rate => {10, second}, burst => 20, overflow => refuse}),
    says(
        [
            "^the rate api refuses nobody: no key has used any of it",
            "  allows      10 a second to each key, 20 at once after a pause",
            "  refusals    none",
            "  takes       0\\.0 a second, 0 in all, costs added up",
            "  keys        0 of 1000000; further ones are refused\n$"
        ],
        erlmcp_overload:why_text(api)
    ).

%% Between the snapshot and what is looked up then.
a_rate_that_goes() ->
    ok = ?R:define(api, #{rate => {2, hour}}),
    {ok, 1} = ?R:take(api, tenant),
    Snapshot = erlmcp_native_metrics:snapshot(),
    Lines = fun() ->
        [erlmcp_overload_pace:lines(api, Snapshot), erlmcp_overload_pace:key_lines(api, tenant, Snapshot)]
    end,
    ?assertMatch([[_ | _], [_ | _]], Lines()),
    ok = ?R:undefine(api),
    ?assertEqual([[], []], Lines()),
    ok = gen_server:stop(erlmcp_queue_limits),
    ?assertEqual([[], []], Lines()),
    {ok, Limits} = erlmcp_queue_limits:start_link(),
    unlink(Limits).

a_rate_that_refuses() ->
    ok = ?R:define(api, #{rate => {2, hour}}),
    _ = [?R:take(api, ~"tenant-7") || _ <- [1, 2, 3, 4]],
    _ = ?R:take(api, {another, self()}),
    Left = "  emptiest    {another,<[\\d.]+>}: 1 of 2 left, all in (30 min 0|29 min \\d+) s",
    says(
        [
            "^the rate api refuses 1 of 2 keys now, which have nothing left",
            "  allows      2 an hour to each key\n",
            "  refusals    [\\d.]+ a second, 2 in all; since \\d\\d:\\d\\d:\\d\\d \\([\\d.]+ m?s ago\\), "
            "the last [\\d.]+ m?s ago",
            "  keys        2 of 1000000; further ones share one bucket",
            "  emptiest    <<\"tenant-7\">>: 0 of 2 left, the next in (30 min 0|29 min \\d+) s, "
            "all in (1 h 0 min|59 min \\d+ s)",
            Left
        ],
        erlmcp_overload:why_text(api)
    ),
    [_, Shown] = binary:split(erlmcp_overload:why_text(api), ~"emptiest"),
    ?assertMatch([_, _], binary:split(Shown, ~"emptiest")),
    _ = ?R:take(api, binary:copy(~"long", 100), 2),
    says(["a key of more than 255 bytes, [0-9a-f]{16}: 0 of 2 left"], erlmcp_overload:why_text(api)),
    _ = [?R:take(api, {other, N}, 2) || N <- lists:seq(1, 20)],
    ?assertEqual(1 + 4 + 3, length(binary:split(string:trim(erlmcp_overload:why_text(api)), ~"\n", [global]))).

a_rate_with_too_many_keys() ->
    ok = ?R:define(api, #{rate => {1, hour}, burst => 5, max_keys => 1}),
    _ = ?R:take(api, one),
    Crowded = "^the rate api has as many keys as it may, and no place for others",
    says([Crowded, "  keys        1 of 1; further ones share one bucket"], erlmcp_overload:why_text(api)),
    _ = ?R:take(api, other, 2),
    says(["  emptiest    all further keys together: 3 of 5 left"], erlmcp_overload:why_text(api)).

a_key() ->
    ok = ?R:define(api, #{rate => {2, hour}, burst => 3}),
    {ok, 1} = ?R:take(api, ~"t", 2),
    says(
        [
            "^<<\"t\">> of the rate api is not refused: it has 1 of 3 left",
            "  allows      2 an hour, 3 at once",
            "  refusals    none, of all keys"
        ],
        erlmcp_overload:why_text(api, ~"t")
    ),
    {ok, 0} = ?R:take(api, ~"t"),
    says(
        [
            "^<<\"t\">> of the rate api is refused: it has 0 of 3 left, and the next in (30 min 0|29 min \\d+) s",
            "  full        in 1 h (30|29) min"
        ],
        erlmcp_overload:why_text(api, ~"t")
    ),
    says(["of the rate api is not refused: it has 3 of 3 left"], erlmcp_overload:why_text(api, {any, #{term => 1}})),
    Long = erlmcp_overload:why_text(api, lists:duplicate(100000, $k)),
    ?assert(byte_size(Long) < 500),
    says(["nothing was ever counted for other"], erlmcp_overload:why_text(other, a)),
    ?assertError(badarg, erlmcp_overload:why(other, ~"t")).

%% A role, a rate and a component may be called alike.
a_name_of_more_than_one() ->
    ok = erlmcp_queue_limits:set_limit(tools, 3),
    ok = ?R:define(tools, #{rate => {2, hour}}),
    ok = erlmcp_control_plane:register_component(tools, #{
        handler => fun(_) -> ok end, rate => #{health_check => {1, hour}}
    }),
    Each = ["^tools has room", "\nthe rate tools refuses nobody", "\nthe component tools "],
    says(Each, erlmcp_overload:why_text(tools)),
    says(["^a in tools has room for 3", "\na of the rate tools is not refused"], erlmcp_overload:why_text(tools, a)),
    %% No owner, so a key alone.
    says(["^<<\"a\">> of the rate tools is not refused"], erlmcp_overload:why_text(tools, ~"a")).

a_component() ->
    ok = erlmcp_control_plane:register_component(tools, #{
        handler => fun(_) -> ok end, rate => #{cancel_task => {1, hour}, health_check => {10, second}}
    }),
    says(["^the component tools refuses no control message for its rate now"], erlmcp_overload:why_text(tools)),
    {ok, _} = erlmcp_control_plane:send_cancel_task(tools, 1),
    {error, {rate_limited, _}} = erlmcp_control_plane:send_cancel_task(tools, 2),
    says(
        [
            "^the component tools refuses control messages now: cancel_task, more often than it may come",
            "  rate        cancel_task: 1 an hour; the next in (1 h 0 min|59 min \\d+ s); "
            "refusals [\\d.]+ a second, 1 in all; since ",
            "  rate        health_check: 10 a second; the next now; refusals none\n$"
        ],
        erlmcp_overload:why_text(tools)
    ).

%% That they are is seen once a second, whoever looks.
refusals_that_are_over() ->
    Ago = "; the last at \\d\\d:\\d\\d:\\d\\d \\(1[\\d] s ago\\)\n",
    ok = ?R:define(api, #{rate => {1, hour}}),
    _ = [?R:take(api, a) || _ <- [1, 2]],
    erlmcp_native_test_lib:eventually(fun() -> re:run(erlmcp_overload:why_text(api), Ago) =/= nomatch end, 40000),
    ?assertEqual(nomatch, binary:match(erlmcp_overload:top_text(), ~"api")).

rates_at_the_top() ->
    ?assertEqual(nomatch, binary:match(erlmcp_overload:top_text(), ~"allows")),
    ok = ?R:define(quiet, #{rate => {1, hour}}),
    ok = ?R:define(some, #{rate => {1, hour}}),
    ok = ?R:define('r \x{e9}', #{rate => {120, minute}, burst => 1}),
    ok = ?R:define(crowded, #{rate => {1, hour}, max_keys => 5}),
    _ = [?R:take(crowded, N) || N <- [1, 2, 3, 4]],
    _ = [?R:take(some, a) || _ <- [1, 2]],
    _ = [?R:take('r \x{e9}', a, 1) || _ <- lists:seq(1, 100)],
    Rate = #{cancel_task => {1, hour}},
    ok = erlmcp_control_plane:register_component(tools, #{handler => fun(_) -> ok end, rate => Rate}),
    _ = [erlmcp_control_plane:send_cancel_task(tools, N) || N <- [1, 2, 3]],
    [_Queues, Heading | Rows] = string:lexemes(erlmcp_overload:top_text(), "\n"),
    says(["^rate +allows +refused/s +refused +keys$"], Heading),
    [First | Others] = Rows,
    says(["^'r \x{e9}' +120 a minute +\\d+ +\\d+ +1$"], First),
    says(["^some +1 an hour +[\\d.]+ +1 +1$"], row("some", Others)),
    says(["^tools cancel_task +1 an hour +[\\d.]+ +2 +1$"], row("tools", Others)),
    says(["^crowded +1 an hour +0\\.0 +0 +4$"], row("crowded", Others)),
    ?assertEqual(3, length(Others)),
    [?assertEqual(string:length(Heading), string:length(Row)) || Row <- Rows],
    ?assertEqual(3, length(string:lexemes(erlmcp_overload:top_text(1), "\n"))),
    ?assertEqual(1, length(string:lexemes(erlmcp_overload:top_text(0), "\n"))).

row(Name, Rows) ->
    [Row] = [Row || Row <- Rows, string:prefix(Row, Name) =/= nomatch],
    Row.

cancellations() ->
    ok = application:set_env(erlmcp_native, cancel, #{max_tombstones => 10, tombstone_ms => 60000}),
    ok = erlmcp_native_app:reload_config(),
    #{cancelled := #{asked := Asked, early := Early}, displaced := Displaced} = ?C:get_stats(),
    Token = ?C:new(#{id => task}),
    says(
        [
            "^cancel has room for 10 more early cancellations",
            "  tasks       1 can be cancelled now",
            io_lib:format("  cancelled   ~b when asked, ~b early, \\d+ with their owner", [Asked, Early]),
            "  early       0 of 10 are remembered, for tasks that have not begun",
            io_lib:format("  lost        ~b early ones for room; 0 messages, 0 wait to be sent", [Displaced])
        ],
        erlmcp_overload:why_text(cancel)
    ),
    ok = ?C:done(Token),
    _ = [?C:cancel({early, N}, x) || N <- lists:seq(1, 7)],
    ?assertEqual(nomatch, binary:match(erlmcp_overload:top_text(), ~"cancel")),
    ok = ?C:cancel({early, 8}, x),
    Near =
        "\ncancel: ~b of 10 early cancellations are remembered; "
        "~b were forgotten for room, and 0 messages not sent\n",
    says([io_lib:format(Near, [8, Displaced])], erlmcp_overload:top_text()),
    _ = [?C:cancel({early, N}, x) || N <- lists:seq(9, 12)],
    says([io_lib:format(Near, [10, Displaced + 2])], erlmcp_overload:top_text()),
    says(["^cancel has as many early cancellations as it may"], erlmcp_overload:why_text(cancel)).

nothing_is_changed() ->
    ok = ?R:define(api, #{rate => {1, hour}}),
    _ = [?R:take(api, a) || _ <- [1, 2]],
    Counted = fun() -> maps:with([keys, taken, refused], ?R:info(api)) end,
    Before = Counted(),
    [
        Look()
     || Look <- [
            fun() -> erlmcp_overload:why_text(api) end,
            fun() -> erlmcp_overload:why_text(api, a) end,
            fun() -> erlmcp_overload:why_text(api, b) end,
            fun erlmcp_overload:top_text/0
        ]
    ],
    ?assertEqual(Before, Counted()).

says(Expected, Told) ->
    [
        case re:run(Told, unicode:characters_to_binary(Pattern), [unicode]) of
            {match, _} -> ok;
            nomatch -> error({not_told, Pattern, Told})
        end
     || Pattern <- Expected
    ].
