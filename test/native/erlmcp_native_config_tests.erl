%% What is configured: where it is looked for, how maps are merged, and what is wrong with it.
-module(erlmcp_native_config_tests).

-include_lib("eunit/include/eunit.hrl").


-define(DEFAULTS, #{
    session => 10000,
    sse_stream => 5000,
    task_worker => 1000,
    tool_executor => 500,
    transport => 2000,
    default => 1000
}).
-define(SWITCHES, [queue_limits_enabled, control_plane_enabled, supervise]).
-define(KEYS, [queue_limits | ?SWITCHES]).
-define(APPS, [erlmcp_core, erlmcp_native]).

config_test_() ->
    {foreach, fun() -> ok end, fun(_) -> unset() end, [
        fun defaults/0,
        fun either_application_will_do/0,
        fun ours_wins/0,
        fun limits_are_merged/0,
        fun keyword_lists_are_maps/0,
        fun unknown_keys/0,
        fun limits_at_the_edges/0,
        fun wrong_values/0,
        fun wrong_limits/0,
        fun what_is_wrong_there_does_not_matter_where_ours_wins/0,
        fun too_many_roles/0,
        fun the_first_problem_is_told/0
    ]}.

unset() ->
    [ok = application:unset_env(App, Key) || App <- ?APPS, Key <- ?KEYS].

with_defaults(Limits) ->
    maps:merge(?DEFAULTS, Limits).

lookup(Key) ->
    erlmcp_native_config:lookup(Key, erlmcp_native_app:table()).

check() ->
    erlmcp_native_config:check(?KEYS, erlmcp_native_app:table()).

set(App, Key, Value) ->
    ok = application:set_env(App, Key, Value).

defaults() ->
    ?assertEqual(ok, check()),
    ?assertEqual(
        [{ok, ?DEFAULTS} | [{ok, true} || _ <- ?SWITCHES]],
        [lookup(Key) || Key <- ?KEYS]
    ).

either_application_will_do() ->
    [
        begin
            [set(App, Switch, false) || Switch <- ?SWITCHES],
            set(App, queue_limits, #{mine => 1}),
            ?assertEqual([{ok, false} || _ <- ?SWITCHES], [lookup(Switch) || Switch <- ?SWITCHES]),
            ?assertEqual({ok, with_defaults(#{mine => 1})}, lookup(queue_limits)),
            unset()
        end
     || App <- ?APPS
    ].

ours_wins() ->
    [
        begin
            set(erlmcp_core, Key, not Ours),
            set(erlmcp_native, Key, Ours),
            ?assertEqual({ok, Ours}, lookup(Key))
        end
     || Key <- ?SWITCHES, Ours <- [true, false]
    ].

limits_are_merged() ->
    set(erlmcp_core, queue_limits, #{session => 1, transport => 2, theirs => 3}),
    set(erlmcp_native, queue_limits, #{session => 4, default => 5, ours => 6}),
    ?assertEqual(
        {ok, with_defaults(#{session => 4, transport => 2, default => 5, theirs => 3, ours => 6})},
        lookup(queue_limits)
    ).

keyword_lists_are_maps() ->
    set(erlmcp_core, queue_limits, [{session, 1}, {transport, 2}, {session, 3}]),
    set(erlmcp_native, queue_limits, []),
    ?assertEqual({ok, with_defaults(#{session => 1, transport => 2})}, lookup(queue_limits)).

%% A key that nobody reads is named, with the nearest that somebody does; its value may be a secret.
unknown_keys() ->
    Table = erlmcp_native_app:table(),
    ?assertEqual(ok, erlmcp_native_config:unknown(Table)),
    Known = "one of queue_limits, reserve, rates, queue_limits_enabled, history, control_plane_enabled, "
        "cancel, overload_monitor_enabled, overload, node, supervise, cluster, http, otlp, metrics_server",
    [
        begin
            ok = application:set_env(erlmcp_native, Key, "hush"),
            ?assertEqual(
                problem(erlmcp_native, Key, hidden, Known ++ Hint), erlmcp_native_config:unknown(Table)
            ),
            ok = application:unset_env(erlmcp_native, Key)
        end
     || {Key, Hint} <- [
            {queue_limit, "; did you mean queue_limits?"},
            {queue_limits_enable, "; did you mean queue_limits_enabled?"},
            {otpl, "; did you mean otlp?"},
            {supervised, "; did you mean supervise?"},
            {zzz, ""}
        ]
    ],
    %% Of another application nobody can say what it reads.
    ok = application:set_env(erlmcp_core, queue_limit, 1),
    ?assertEqual(ok, erlmcp_native_config:unknown(Table)),
    ok = application:unset_env(erlmcp_core, queue_limit).

limits_at_the_edges() ->
    Limits = #{session => 0, transport => 1 bsl 59 - 1},
    set(erlmcp_native, queue_limits, Limits),
    ?assertEqual({ok, with_defaults(Limits)}, lookup(queue_limits)).

problem(App, Key, Value, Expected) ->
    {error, {bad_config, #{application => App, key => Key, value => Value, expected => Expected}}}.

wrong_values() ->
    [
        begin
            set(App, Key, Value),
            Problem = problem(App, Key, Value, Expected),
            ?assertEqual(Problem, lookup(Key)),
            ?assertEqual(Problem, check()),
            unset()
        end
     || App <- ?APPS,
        {Key, Expected, Values} <- [
            {queue_limits, "a map of roles to limits", [
                [session], [{session, 1} | x], [{session, 1, 2}], session, 7, undefined
            ]},
            {queue_limits_enabled, "true or false", [1, "true", yes, undefined, []]},
            {control_plane_enabled, "true or false", [0, <<"false">>, no, undefined]},
            {supervise, "true or false", [0, <<"false">>, no, undefined]}
        ],
        Value <- Values
    ].

wrong_limits() ->
    [
        begin
            set(App, queue_limits, #{session => 1, Role => Limit}),
            Problem = problem(App, [queue_limits, Role], Limit, Expected),
            ?assertEqual(Problem, lookup(queue_limits)),
            ?assertEqual(Problem, check()),
            unset()
        end
     || App <- ?APPS,
        {Role, Limit, Expected} <-
            [{Role, 1, "an atom for the role"} || Role <- ["session", <<"session">>, 1, {a, b}]] ++
                [
                    {mine, Limit, "an integer from 0 to 2^59 - 1, or infinity"}
                 || Limit <- [-1, 1 bsl 59, 1 bsl 64, 1.0, "1", unlimited, undefined]
                ]
    ].

what_is_wrong_there_does_not_matter_where_ours_wins() ->
    set(erlmcp_core, supervise, wrong),
    set(erlmcp_native, supervise, false),
    ?assertEqual(ok, check()).

too_many_roles() ->
    Roles = fun(From, To) ->
        maps:from_list([{list_to_atom("role_" ++ integer_to_list(N)), 1} || N <- lists:seq(From, To)])
    end,
    set(erlmcp_core, queue_limits, Roles(1, 518)),
    set(erlmcp_native, queue_limits, Roles(501, 1018)),
    ?assertEqual(ok, check()),
    set(erlmcp_native, queue_limits, Roles(501, 1019)),
    ?assertMatch(
        {error, {bad_config, #{key := queue_limits, expected := "at most 1024 roles"}}}, check()
    ).

the_first_problem_is_told() ->
    set(erlmcp_native, supervise, wrong),
    set(erlmcp_native, queue_limits_enabled, wrong),
    ?assertEqual(problem(erlmcp_native, queue_limits_enabled, wrong, "true or false"), check()).
