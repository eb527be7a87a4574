%% Wrong arguments, options and configuration; a monitor that is not started.
-module(erlmcp_overload_misuse_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_overload_test_lib, [monitor/1, stop/0, stand_in/2, without/1, configure/1, history/0]).

-define(M, erlmcp_overload_monitor).

calls() ->
    [
        {queues, []},
        {queues, [session]},
        {queues, [session, #{top => 3}]},
        {get_overloaded, []},
        {get_overloaded, [session]},
        {summary, []},
        {get_alert_history, []},
        {get_alert_history, [session]},
        {set_check_interval, [5]},
        {set_enabled, [true]},
        {set_enabled, [false]}
    ].

%% erlmcp's were casts, and nobody has to see to it that the service is there.
answered_at_any_time() ->
    [{reset_alerts, []}, {force_check, []}].

not_started_test_() ->
    erlmcp_overload_test_lib:with_services([fun not_started/0]).

not_started() ->
    all_noproc(),
    monitor([]),
    [apply(?M, Function, Args) || {Function, Args} <- calls() ++ answered_at_any_time()],
    stop(),
    all_noproc().

all_noproc() ->
    [?assertExit({noproc, {?M, Function, Args}}, apply(?M, Function, Args)) || {Function, Args} <- calls()],
    [?assertEqual(ok, apply(?M, Function, Args)) || {Function, Args} <- answered_at_any_time()].

%% Where nothing was ever started.
on_a_new_node_test_() ->
    {timeout, 60, fun() ->
        Peer = erlmcp_native_test_lib:peer([filename:dirname(code:which(?M))], []),
        try
            [
                ?assertExit({exception, {noproc, {?M, Function, Args}}, _}, peer_call(Peer, Function, Args))
             || {Function, Args} <- calls()
            ],
            [?assertEqual(ok, peer:call(Peer, ?M, Function, Args)) || {Function, Args} <- answered_at_any_time()],
            {ok, _} = peer:call(Peer, gen_server, start, [{local, ?M}, erlmcp_overload_server, [], []]),
            ?assertEqual([], peer:call(Peer, ?M, queues, [])),
            {ok, _} = peer:call(Peer, gen_server, start, [{local, erlmcp_queue_limits}, erlmcp_limits_server, [], []]),
            ok = peer:call(Peer, erlmcp_queue_limits, set_limit, [r, 1]),
            ok = peer:call(Peer, erlmcp_queue_limits, record_enqueue, [r, a]),
            ?assertMatch([#{level := overload}], peer:call(Peer, ?M, get_alert_history, []))
        after
            peer:stop(Peer)
        end
    end}.

peer_call(Peer, Function, Args) ->
    try
        peer:call(Peer, ?M, Function, Args)
    catch
        exit:{noproc, _} = Reason:Stack -> exit({exception, Reason, Stack})
    end.

twice_test_() ->
    erlmcp_overload_test_lib:with_services([
        fun() ->
            monitor([]),
            Pid = whereis(?M),
            ?assertEqual({error, {already_started, Pid}}, ?M:start_link()),
            ?assertEqual({error, {already_started, Pid}}, ?M:start_link([{max_alert_history, 5}]))
        end
    ]).

bad_arguments_test_() ->
    erlmcp_overload_test_lib:with_services([fun bad_arguments/0, fun bad_arguments_change_nothing/0]).

-define(NOT_ROLES, ["session", <<"session">>, 1, 1.5, {}, {session}, [], self(), make_ref(), #{}]).

bad_arguments() ->
    monitor([]),
    [
        is_badarg(1, Function, Args)
     || Role <- ?NOT_ROLES,
        {Function, Args} <- [
            {queues, [Role]}, {queues, [Role, #{top => 1}]}, {get_overloaded, [Role]}, {get_alert_history, [Role]}
        ]
    ],
    [
        is_badarg(2, queues, [session, Options])
     || Options <- [#{}, #{top => -1}, #{top => a}, #{top => 1.0}, #{top => 1, x => 2}, #{x => 1}, [{top, a}], 3]
    ],
    [
        is_badarg(2, queues, [session, Options])
     || Options <- [#{}, #{top => -1}, #{top => a}, #{top => 1.0}, #{top => 1, x => 2}, #{x => 1}, [{top, a}], 3]
    ],
    [is_badarg(1, set_check_interval, [Ms]) || Ms <- [0, -1, 1.0, 1 bsl 32, 1 bsl 100, infinity, "5", undefined]],
    [is_badarg(1, set_enabled, [Switch]) || Switch <- [1, on, "true", undefined, []]].

is_badarg(Position, Function, Args) ->
    try apply(?M, Function, Args) of
        Result -> error({accepted, Function, Args, Result})
    catch
        error:badarg:Stack ->
            [{?M, Function, Args, Info} | _] = Stack,
            #{module := Module} = proplists:get_value(error_info, Info),
            Texts = Module:format_error(badarg, Stack),
            ?assertMatch({_, _, _, [Position]}, {Function, Args, Texts, maps:keys(Texts)})
    end.

bad_arguments_change_nothing() ->
    monitor([]),
    Pid = whereis(?M),
    [?assertError(badarg, ?M:set_check_interval(Ms)) || Ms <- [0, a]],
    ?assertError(badarg, ?M:set_enabled(maybe_so)),
    ?assertEqual(Pid, whereis(?M)),
    ok = erlmcp_queue_limits:set_limit(r, 1),
    erlmcp_overload_test_lib:fill(r, a, 1),
    ?assertEqual([{overload, r, a, 1, 1}], history()).

%% Key in the error, option, value, what is shown of it.
bad_options() ->
    [
        {[overload, Name], Name, Value, case {Name, Value} of {handlers, [Odd]} -> Odd; _ -> Value end}
     || {Name, Values} <- [
            {check_interval, [0, -1, 1.5, "5", 1 bsl 32, infinity, undefined]},
            {realert_interval, [0, -1, 1.5, 1 bsl 32, infinity]},
            {max_alert_history, [0, -1, 10001, 1000000, 1.0, all]},
            {clear_margin, [-0.01, 0.81, 1, -1, a, "0.1"]},
            {open_breaker_at, [warning, ok, true, "overload"]},
            {handlers, [a, #{}, [a], [{a}], [{"m", x}], [{erlmcp_overload_no_such_module, x}], [{lists, x}]]},
            {chek_interval, [5]},
            {"check_interval", [5]},
            {{a, b}, [5]}
        ],
        Value <- Values
    ].

bad_options_test_() ->
    erlmcp_overload_test_lib:with_services([
        fun bad_options_at_the_start/0,
        fun bad_options_in_the_configuration/0,
        fun bad_options_at_a_reload/0,
        fun not_options_at_all/0,
        fun improper_lists/0,
        fun the_error_names_what_is_wrong/0,
        fun good_options/0
    ]).

start(Options) ->
    case ?M:start_link(Options) of
        {ok, Pid} ->
            unlink(Pid),
            ok;
        Error ->
            Error
    end.

quietly(Fun) ->
    Before = process_flag(trap_exit, true),
    try
        Fun()
    after
        process_flag(trap_exit, Before),
        flush_exits()
    end.

flush_exits() ->
    receive
        {'EXIT', _, _} -> flush_exits()
    after 0 -> ok
    end.

bad_options_at_the_start() ->
    quietly(fun() ->
        [
            begin
                Result = start([{Name, Value}]),
                ?assertMatch(
                    {_, {error, {bad_config, #{key := Key, value := Shown, expected := [_ | _]}}}},
                    {{Name, Value}, Result}
                ),
                ?assertEqual(undefined, whereis(?M))
            end
         || {Key, Name, Value, Shown} <- bad_options()
        ]
    end).

bad_options_in_the_configuration() ->
    quietly(fun() ->
        [
            begin
                [ok = application:unset_env(Other, overload) || Other <- [erlmcp_native, erlmcp_core]],
                ok = application:set_env(App, overload, #{Name => Value}),
                ?assertMatch({error, {bad_config, #{application := App, key := Key, value := Shown}}}, start([])),
                ?assertMatch(
                    {error, {bad_config, #{application := App, key := Key}}}, erlmcp_native_app:reload_config()
                )
            end
         || App <- [erlmcp_native, erlmcp_core], {Key, Name, Value, Shown} <- bad_options()
        ]
    end).

bad_options_at_a_reload() ->
    monitor([{max_alert_history, 2}]),
    Pid = whereis(?M),
    [
        ?assertMatch({error, {bad_config, #{key := Key, value := Shown}}}, configure([{overload, #{Name => Value}}]))
     || {Key, Name, Value, Shown} <- bad_options()
    ],
    [
        ?assertMatch({error, {bad_config, #{key := overload, value := Value}}}, configure([{overload, Value}]))
     || Value <- [[5], [{check_interval, 5} | x], a, 5, undefined]
    ],
    ok = application:unset_env(erlmcp_native, overload),
    [
        ?assertMatch(
            {error, {bad_config, #{key := overload_monitor_enabled, value := Value}}},
            configure([{overload_monitor_enabled, Value}])
        )
     || Value <- [1, on, "true", undefined]
    ],
    ?assertEqual(Pid, whereis(?M)),
    ok = application:unset_env(erlmcp_native, overload_monitor_enabled),
    ?assertEqual(ok, erlmcp_native_app:reload_config()).

not_options_at_all() ->
    quietly(fun() ->
        [
            ?assertMatch({Options, {error, {bad_config, #{key := overload}}}}, {Options, start(Options)})
         || Options <- [a, 5, {check_interval, 5}, [5], ["check_interval"], [{check_interval, 5, 6}], <<"x">>]
        ],
        ?assertMatch(
            {error, {bad_config, #{key := [overload, check_interval], value := true}}},
            start([check_interval])
        )
    end).

improper_lists() ->
    Handlers = [{erlmcp_overload_log, x} | y],
    quietly(fun() ->
        ?assertMatch({error, {bad_config, #{key := overload}}}, start([{check_interval, 5} | x])),
        ?assertMatch({error, {bad_config, #{key := [overload, handlers]}}}, start([{handlers, Handlers}]))
    end),
    ?assertMatch(
        {error, {bad_config, #{key := [overload, handlers]}}},
        configure([{overload, #{handlers => Handlers}}])
    ).

the_error_names_what_is_wrong() ->
    Lacks = erlmcp_overload_lacking_handler,
    ok = stand_in(Lacks, ["init(_) -> {ok, s}. handle_alert(_, S) -> {ok, S}. handle_role(_, _, S) -> {ok, S}."]),
    quietly(fun() ->
        Text = fun(Options) ->
            {error, Problem} = start(Options),
            lists:flatten(io_lib:format("~0tp", [Problem]))
        end,
        [
            ?assertMatch({_, {match, _}}, {Options, re:run(Text(Options), Names)})
         || {Options, Names} <- [
                {[{handlers, [{Lacks, x}]}], "erlmcp_overload_lacking_handler.*handle_clear/2"},
                {[{handlers, [{erlmcp_overload_no_such_module, x}]}], "erlmcp_overload_no_such_module"},
                {[{chek_interval, 5}], "chek_interval.*did you mean check_interval"},
                {[{max_alert_history, 0}], "max_alert_history"}
            ]
        ]
    end),
    without(Lacks).

good_options() ->
    [
        begin
            ok = start(Options),
            stop()
        end
     || {Name, Values} <- [
            {check_interval, [1, 16#ffffffff]},
            {realert_interval, [1, 16#ffffffff]},
            {max_alert_history, [1, 10000]},
            {clear_margin, [0, 0.0, 0.8, 0.1]},
            {open_breaker_at, [overload, critical, never]},
            {handlers, [[], [{erlmcp_overload_default_handler, []}, {erlmcp_overload_default_handler, []}]]}
        ],
        Value <- Values,
        Options <- [[{Name, Value}], #{Name => Value}]
    ],
    ok = start([{max_alert_history, 1}, {max_alert_history, 7}]).
