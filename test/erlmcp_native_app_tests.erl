%% The application: its start and stop, supervision either way, configuration that comes and changes.
-module(erlmcp_native_app_tests).

-include_lib("eunit/include/eunit.hrl").

-behaviour(supervisor).

-export([init/1]).

-import(erlmcp_native_test_lib, [eventually/1, kill/1]).
-import(erlmcp_native_app, [reload_config/0]).
-import(erlmcp_queue_limits, [get_limit/1, set_limit/2, set_enabled/1, try_enqueue/2, get_queue_depth/2]).

-define(LIMITS, erlmcp_queue_limits).

app_test_() ->
    {foreach, fun erlmcp_native_test_lib:quiet/0, fun cleanup/1, [
        {timeout, 30, Test}
     || Test <- [
            fun supervises/0,
            fun leaves_supervision_to_others/0,
            fun restarts_the_service/0,
            fun going_down_leaves_nothing_open/0,
            fun wrong_values_stop_the_start/0,
            fun a_key_that_nobody_reads_stops_the_start/0,
            fun keyword_lists_are_taken/0,
            fun the_application_file_is_right/0,
            fun limits_are_configured/0,
            fun the_switch_is_configured/0,
            fun reloads/0,
            fun the_relay_to_erlmcps_metrics_is_configured/0,
            fun a_cluster_is_configured/0,
            fun config_changes_are_applied/0,
            fun wrong_values_change_nothing/0,
            fun a_reload_without_room_for_its_roles_says_so/0,
            fun set_by_hand_wins_until_a_normal_stop/0,
            fun set_by_hand_wins_over_a_crash/0,
            fun reloads_without_a_service/0,
            fun a_start_link_heeds_the_configuration/0,
            fun wrong_values_stop_a_start_link/0
        ]
    ]}.

cleanup(Level) ->
    _ = application:stop(erlmcp_native),
    [
        application:unset_env(App, Key)
     || App <- [erlmcp_core, erlmcp_native],
        Key <- [queue_limits, queue_limits_enabled, control_plane_enabled, supervise, cluster, otlp, metrics_server]
    ],
    %% The supervisor's restarts are bounded, and a test may have used them up: nothing may be left.
    Started = erlmcp_native_test_lib:start(),
    erlmcp_native_test_lib:stop(Started),
    erlmcp_native_test_lib:loud(Level).

start() ->
    application:start(erlmcp_native).

ours(Key, Value) ->
    ok = application:set_env(erlmcp_native, Key, Value).

theirs(Key, Value) ->
    ok = application:set_env(erlmcp_core, Key, Value).

supervises() ->
    ?assertEqual(ok, start()),
    ?assert(is_pid(whereis(?LIMITS))),
    ?assert(lists:member(?LIMITS, [Id || {Id, _, _, _} <- supervisor:which_children(erlmcp_native_sup)])),
    ok = ?LIMITS:record_enqueue(session, a),
    ?assertEqual(ok, application:stop(erlmcp_native)),
    ?assertEqual(undefined, whereis(?LIMITS)),
    ?assertExit({noproc, _}, get_queue_depth(session, a)),
    ok = start(),
    ?assertEqual(0, get_queue_depth(session, a)).

%% The child specification of the seed.
init([]) ->
    ChildSpecs = [
        #{
            id => erlmcp_queue_limits,
            start => {erlmcp_queue_limits, start_link, []},
            restart => permanent,
            shutdown => 5000,
            type => worker,
            modules => [erlmcp_queue_limits]
        }
    ],
    {ok, {#{strategy => one_for_one, intensity => 5, period => 10}, ChildSpecs}}.

leaves_supervision_to_others() ->
    ours(supervise, false),
    ok = start(),
    ?assertMatch(
        [{erlmcp_native_exporters, _, supervisor, _}, {erlmcp_native_keeper, _, worker, _}],
        lists:sort(supervisor:which_children(erlmcp_native_sup))
    ),
    ?assertEqual(undefined, whereis(?LIMITS)),
    {ok, Other} = supervisor:start_link(?MODULE, []),
    [{_, Service, _, _}] = supervisor:which_children(Other),
    ?assertEqual(Service, whereis(?LIMITS)),
    ok = ?LIMITS:record_enqueue(session, a),
    kill(Service),
    eventually(fun() -> is_pid(whereis(?LIMITS)) end),
    ?assertEqual(1, get_queue_depth(session, a)),
    ok = gen_server:stop(Other),
    ?assertExit({noproc, _}, get_queue_depth(session, a)).

restarts_the_service() ->
    ok = start(),
    ok = ?LIMITS:record_enqueue(session, a),
    First = whereis(?LIMITS),
    kill(First),
    eventually(fun() -> is_pid(whereis(?LIMITS)) andalso whereis(?LIMITS) =/= First end),
    ?assertEqual(1, get_queue_depth(session, a)).

%% Whoever it is that dies too often, and if the supervisor itself is killed: nothing counts where nothing runs.
going_down_leaves_nothing_open() ->
    Services = [?LIMITS, erlmcp_overload_monitor, erlmcp_control_plane],
    [
        begin
            ok = start(),
            Test = self(),
            ok = ?LIMITS:record_enqueue(session, a),
            ok = erlmcp_control_plane:register_component(component, fun(_) -> Test ! {handler, self()}, ok end),
            ok = erlmcp_control_plane:cast_priority(component, {control, cancel_task, #{task_id => 1}}),
            Handler = receive {handler, Pid} -> Pid after 5000 -> error(no_handler) end,
            {[{_, Runner} | _], _} = persistent_term:get({erlmcp_overload_handlers, kept}),
            goes_down(Killed),
            ?assertEqual([], [Service || Service <- Services, whereis(Service) =/= undefined]),
            Natives = [limits_get_limits, overload_levels, overload_history],
            ?assertEqual([not_started], lists:usort([erlmcp_native:Native(own) || Native <- Natives])),
            ?assertEqual(not_started, erlmcp_native:control_components()),
            ?assertEqual(undefined, persistent_term:get({erlmcp_overload_handlers, kept}, undefined)),
            eventually(fun() -> not (is_process_alive(Handler) orelse is_process_alive(Runner)) end),
            ok = start(),
            ?assertEqual({0, []}, {get_queue_depth(session, a), erlmcp_native:control_components()}),
            ok = application:stop(erlmcp_native)
        end
     || Killed <- [erlmcp_native_sup | Services]
    ].

goes_down(Name) ->
    case {lists:keymember(erlmcp_native, 1, application:which_applications()), whereis(Name)} of
        {false, _} -> ok;
        {true, undefined} -> receive after 1 -> goes_down(Name) end;
        {true, Pid} -> kill(Pid), goes_down(Name)
    end.

wrong_values_stop_the_start() ->
    [
        begin
            ok = application:set_env(App, Key, Value),
            {error, {{bad_config, Problem}, _}} = start(),
            ?assertEqual(#{application => App, key => At, value => Wrong, expected => Expected}, Problem),
            ok = application:unset_env(App, Key)
        end
     || App <- [erlmcp_core, erlmcp_native],
        {Key, Value, At, Wrong, Expected} <- [
            {queue_limits, #{session => -1}, [queue_limits, session], -1, "an integer from 0 to 2^59 - 1, or infinity"},
            {queue_limits, [session], queue_limits, [session], "a map of roles to limits"},
            {queue_limits_enabled, on, queue_limits_enabled, on, "true or false"},
            {control_plane_enabled, [], control_plane_enabled, [], "true or false"},
            {supervise, 1, supervise, 1, "true or false"}
        ]
    ],
    ?assertEqual(ok, start()).

a_key_that_nobody_reads_stops_the_start() ->
    ours(queue_limit, #{session => 1}),
    {error, {{bad_config, Problem}, _}} = start(),
    ?assertMatch(#{application := erlmcp_native, key := queue_limit, value := hidden}, Problem),
    ?assertEqual("did you mean queue_limits?", lists:last(string:split(maps:get(expected, Problem), "; "))),
    application:unset_env(erlmcp_native, queue_limit),
    ok = start(),
    ours(queue_limit, #{session => 1}),
    ?assertMatch({error, {bad_config, #{key := queue_limit}}}, reload_config()),
    application:unset_env(erlmcp_native, queue_limit).

keyword_lists_are_taken() ->
    ours(queue_limits, [{session, 2}]),
    ours(overload, [{max_alert_history, 1}, {open_breaker_at, never}]),
    ok = start(),
    ?assertEqual([2, 500], [get_limit(Role) || Role <- [session, tool_executor]]),
    [ok = erlmcp_queue_limits:record_enqueue(session, Owner) || Owner <- [a, a, b, b]],
    ?assertMatch([_], erlmcp_overload_monitor:get_alert_history()),
    application:unset_env(erlmcp_native, overload).

the_application_file_is_right() ->
    _ = application:load(erlmcp_native),
    {ok, Modules} = application:get_key(erlmcp_native, modules),
    Sources = filelib:wildcard("**/*.erl", filename:join(erlmcp_native_test_lib:root(), "erlang")),
    ?assertEqual(
        lists:sort([filename:basename(Source, ".erl") || Source <- Sources]),
        lists:sort([atom_to_list(Module) || Module <- Modules])
    ),
    ours(otlp, #{endpoint => "http://127.0.0.1:1/v1/metrics"}),
    ours(metrics_server, [refusals]),
    ours(cluster, #{}),
    ok = start(),
    {ok, Registered} = application:get_key(erlmcp_native, registered),
    %% One of them is there while there is something to be logged only.
    Always = Registered -- [erlmcp_native_log_writer],
    ?assertEqual([], [Name || Name <- Always, whereis(Name) =:= undefined]).

limits_are_configured() ->
    theirs(queue_limits, #{session => 20000, task_worker => 2000}),
    ours(queue_limits, #{session => 2, mine => 3}),
    ok = start(),
    ?assertEqual(
        [2, 2000, 3, 500], [get_limit(Role) || Role <- [session, task_worker, mine, tool_executor]]
    ),
    ?assertMatch([ok, ok, {error, _}], [try_enqueue(session, a) || _ <- "abc"]).

the_switch_is_configured() ->
    theirs(queue_limits_enabled, false),
    ours(queue_limits, #{session => 0}),
    ok = start(),
    ?assertEqual(ok, try_enqueue(session, a)),
    ours(queue_limits_enabled, true),
    ok = reload_config(),
    ?assertMatch({error, _}, try_enqueue(session, a)).

reloads() ->
    ok = start(),
    theirs(queue_limits, #{session => 7, mine => 8}),
    ?assertEqual(10000, get_limit(session)),
    ?assertEqual(ok, reload_config()),
    ?assertEqual([7, 8], [get_limit(Role) || Role <- [session, mine]]),
    theirs(queue_limits, #{default => 9}),
    ok = reload_config(),
    ?assertEqual([10000, 9, 9], [get_limit(Role) || Role <- [session, mine, default]]).

the_relay_to_erlmcps_metrics_is_configured() ->
    Relay = fun() -> whereis(erlmcp_native_metrics_server) end,
    ok = start(),
    ?assertEqual(undefined, Relay()),
    Pids = [
        begin
            ours(metrics_server, Parts),
            ok = reload_config(),
            Relay()
        end
     || Parts <- [[latencies], [latencies], [refusals, latencies], [latencies, refusals, latencies], []]
    ],
    ?assertMatch([A, A, B, B, undefined] when is_pid(A) andalso is_pid(B) andalso A =/= B, Pids),
    ours(metrics_server, [latency]),
    ?assertMatch({error, {bad_config, #{key := metrics_server, value := latency}}}, reload_config()),
    theirs(metrics_server, [latencies]),
    application:unset_env(erlmcp_native, metrics_server),
    ok = reload_config(),
    ?assertEqual(undefined, Relay()).

a_cluster_is_configured() ->
    ok = start(),
    ?assertEqual(undefined, whereis(erlmcp_overload)),
    ours(cluster, [{nodes, 3}]),
    ?assertEqual(ok, reload_config()),
    ?assertEqual(
        [erlmcp_overload_cluster, erlmcp_priority_peers], lists:sort(pg:which_groups(erlmcp_overload))
    ),
    Scope = whereis(erlmcp_overload),
    ours(cluster, #{nodes => 4}),
    ?assertEqual(ok, reload_config()),
    ?assertEqual(Scope, whereis(erlmcp_overload)),
    ours(cluster, #{nodes => 2049}),
    ?assertMatch(
        {error, {bad_config, #{key := [cluster, nodes], expected := "an integer from 1 to 2048"}}}, reload_config()
    ),
    ours(cluster, off),
    ?assertEqual(ok, reload_config()),
    ?assertEqual(undefined, whereis(erlmcp_overload)).

config_changes_are_applied() ->
    ok = start(),
    Before = application_controller:prep_config_change(),
    ours(queue_limits, #{session => 11}),
    ?assertEqual(ok, application_controller:config_change(Before)),
    ?assertEqual(11, get_limit(session)).

wrong_values_change_nothing() ->
    ok = start(),
    ours(queue_limits, #{session => 1, transport => wrong}),
    ?assertMatch(
        {error, {bad_config, #{key := [queue_limits, transport], value := wrong}}}, reload_config()
    ),
    ?assertEqual(10000, get_limit(session)),
    ours(queue_limits, #{session => 1}),
    ours(supervise, wrong),
    ?assertMatch({error, {bad_config, #{key := supervise}}}, reload_config()),
    ?assertEqual(10000, get_limit(session)),
    ?assertEqual(ok, erlmcp_native_app:config_change([], [], [])),
    ?assertEqual(10000, get_limit(session)).

%% Others may have taken all the roles meanwhile.
a_reload_without_room_for_its_roles_says_so() ->
    ok = start(),
    Free = 1024 - map_size(?LIMITS:get_all_limits()),
    [ok = set_limit(list_to_atom("role_" ++ integer_to_list(N)), 1) || N <- lists:seq(1, Free)],
    ours(queue_limits, #{session => 5, one_too_many => 6}),
    case reload_config() of
        ok -> ?assertEqual([5, 6], [get_limit(Role) || Role <- [session, one_too_many]]);
        {error, _} -> ?assertEqual([10000, 1000], [get_limit(Role) || Role <- [session, one_too_many]])
    end.

set_by_hand_wins_until_a_normal_stop() ->
    ok = start(),
    ok = set_limit(session, 1),
    ok = set_limit(default, 2),
    ok = set_enabled(false),
    ours(queue_limits, #{session => 10, default => 20, transport => 30}),
    ours(queue_limits_enabled, true),
    ok = reload_config(),
    ?assertEqual([1, 2, 2, 30], [get_limit(Role) || Role <- [session, default, unknown, transport]]),
    ?assertEqual([ok, ok], [try_enqueue(session, a) || _ <- "ab"]),
    ok = application:stop(erlmcp_native),
    ok = start(),
    ?assertEqual([10, 20, 20, 30], [get_limit(Role) || Role <- [session, default, unknown, transport]]),
    ok = set_limit(session, 0),
    ?assertMatch({error, _}, try_enqueue(session, a)).

set_by_hand_wins_over_a_crash() ->
    ours(queue_limits, #{session => 10, transport => 30}),
    ok = start(),
    ok = set_limit(session, 0),
    ok = set_enabled(false),
    ours(queue_limits, #{session => 11, transport => 31}),
    First = whereis(?LIMITS),
    kill(First),
    eventually(fun() -> get_limit(transport) =:= 31 end),
    ?assertEqual(0, get_limit(session)),
    ?assertEqual(ok, try_enqueue(session, a)),
    ok = set_enabled(true),
    ?assertMatch({error, _}, try_enqueue(session, a)).

reloads_without_a_service() ->
    ours(supervise, false),
    ?assertEqual(ok, reload_config()),
    ok = start(),
    ?assertEqual(ok, reload_config()),
    ours(queue_limits_enabled, wrong),
    ?assertMatch({error, {bad_config, _}}, reload_config()).

a_start_link_heeds_the_configuration() ->
    theirs(queue_limits, #{session => 1}),
    Level = erlmcp_native_test_lib:start(),
    ?assertEqual(1, get_limit(session)),
    ?assertEqual(false, lists:keymember(erlmcp_native, 1, application:which_applications())),
    erlmcp_native_test_lib:stop(Level).

wrong_values_stop_a_start_link() ->
    theirs(queue_limits, #{session => a_lot}),
    Result = erlmcp_native_test_lib:in_process(fun() ->
        process_flag(trap_exit, true),
        ?LIMITS:start_link()
    end),
    ?assertMatch({error, {bad_config, #{key := [queue_limits, session], value := a_lot}}}, Result),
    ?assertEqual(undefined, whereis(?LIMITS)).

%% The seed's sys.config in a node of its own, with an application that takes erlmcp_core's place.
seed_config_test_() ->
    {timeout, 30, fun() ->
        Dir = erlmcp_native_test_lib:temp_dir(),
        try
            Config = filename:join(Dir, "sys.config"),
            ok = file:write_file(Config, seed_config()),
            Core = {application, erlmcp_core, [
                {vsn, "1"}, {modules, []}, {registered, []}, {applications, [kernel, stdlib, erlmcp_native]}
            ]},
            ok = file:write_file(filename:join(Dir, "erlmcp_core.app"), io_lib:format("~p.", [Core])),
            Ebin = filename:dirname(code:which(?LIMITS)),
            Peer = erlmcp_native_test_lib:peer([Ebin, Dir], ["-config", filename:rootname(Config)]),
            ?assertMatch({ok, _}, peer:call(Peer, application, ensure_all_started, [erlmcp_core])),
            Limit = fun(Role) -> peer:call(Peer, ?LIMITS, get_limit, [Role]) end,
            ?assertEqual(
                [20000, 2000, 5000, 5000, 500],
                [Limit(Role) || Role <- [session, task_worker, custom_role, sse_stream, tool_executor]]
            ),
            ok = peer:call(Peer, ?LIMITS, set_limit, [session, 0]),
            ?assertEqual(ok, peer:call(Peer, ?LIMITS, try_enqueue, [session, a])),
            peer:stop(Peer)
        after
            erlmcp_native_test_lib:remove_dir(Dir)
        end
    end}.

%% From "Configure Limits" and "Kill Switches".
seed_config() ->
    "[
        {erlmcp_core, [
            {queue_limits, #{
                session => 20000,         %% Increase session capacity
                task_worker => 2000,      %% Increase task worker capacity
                custom_role => 5000       %% Add custom role
            }},
            {control_plane_enabled, false},      %% Disable priority handling
            {queue_limits_enabled, false},       %% Disable queue enforcement
            {overload_monitor_enabled, false}    %% Disable monitoring
        ]}
    ].".
