-module(erlmcp_native_fuzz_run).
-moduledoc """
Calls functions in this node for some time, from several processes that are killed now and then, and watches.

First comes a short run, so that everything is there that will stay; then what the node holds is taken down, the run
proper follows, and what the node holds then is compared.
""".

-export([natives/3, functions/3]).
-export_type([result/0]).

-doc "What came of it.".
-type result() :: #{
    calls := [{mfa(), #{erlmcp_native_fuzz_judge:kind() => non_neg_integer()}}],
    findings := [{What :: term(), Example :: iodata(), Times :: pos_integer()}],
    kills := non_neg_integer(),
    service_kills := non_neg_integer(),
    restarts := non_neg_integer(),
    longest_stop_ms := non_neg_integer(),
    states := {erlmcp_native_fuzz_state:state(), erlmcp_native_fuzz_state:state()},
    schedules := [tuple()],
    log := map()
}.

-define(WORKERS, 12).
-define(KILL_EVERY_MS, 20).
%% Less often than the supervisor puts up with.
-define(KILL_SERVICE_EVERY_MS, 2500).
-define(RESTART_EVERY_MS, 10_000).
-define(HANGS_AFTER_MS, 10_000).
-define(SERVICES, [erlmcp_queue_limits, erlmcp_overload_monitor, erlmcp_control_plane]).

-record(run, {
    settings :: map(),
    %% Pid => number and life.
    workers = #{} :: #{pid() => {pos_integer(), pos_integer()}},
    kills = 0 :: non_neg_integer(),
    services :: [atom()],
    service_kills = 0 :: non_neg_integer(),
    restarts = 0 :: non_neg_integer(),
    longest_stop_ms = 0 :: non_neg_integer(),
    %% Somebody stops the application and starts it again.
    restarter = none :: none | pid(),
    %% What timers of this part send.
    part = make_ref() :: reference(),
    stopping = false :: boolean()
}).

-doc "Calls natives, with no service started.".
-spec natives(pos_integer(), integer(), file:filename()) -> result().
natives(Ms, Seed, Folder) ->
    Reset = fun() ->
        _ = erlmcp_native:limits_close(own),
        _ = erlmcp_native:overload_close(own),
        _ = erlmcp_native:control_close(),
        ok
    end,
    run(erlmcp_native_fuzz_plan:natives(), [], Ms, Seed, Folder, fun() -> ok end, Reset).

-doc "Calls everything else, with the application started, whose services are killed now and then.".
-spec functions(pos_integer(), integer(), file:filename()) -> result().
functions(Ms, Seed, Folder) ->
    ok = application:set_env(erlmcp_native, http, #{port => 0}),
    Start = fun() -> {ok, _} = application:ensure_all_started(erlmcp_native), ok end,
    Reset = fun() -> ok = application:stop(erlmcp_native) end,
    run(erlmcp_native_fuzz_plan:functions(), ?SERVICES, Ms, Seed, Folder, Start, Reset).

run(Functions, Services, Ms, Seed, Folder, Start, Reset) ->
    _ = process_flag(priority, high),
    ok = erlmcp_native_fuzz_log:install(),
    ok = load(),
    ok = erlmcp_native_fuzz_odd:make(),
    ok = erlmcp_native_fuzz_pool:make(),
    ok = erlmcp_native_fuzz_schedules:start(),
    _ = ets:new(erlmcp_native_fuzz_worker:calls(), [named_table, public]),
    Settings = #{
        functions => list_to_tuple(Functions),
        specs => erlmcp_native_fuzz_spec:load(erlmcp_native_fuzz_plan:modules()),
        counters => counters:new(length(Functions) * length(erlmcp_native_fuzz_judge:kinds()), []),
        findings => ets:new(findings, [public]),
        seed => Seed,
        folder => Folder,
        group_leader => erlmcp_native_fuzz_sink:start()
    },
    Part = fun(PartMs, Run) ->
        ok = Start(),
        Done = work(PartMs, Run),
        ok = Reset(),
        ok = erlmcp_native_fuzz_pool:clear(),
        {erlmcp_native_fuzz_state:take(), Done}
    end,
    {Before, Warm} = Part(Ms div 6, #run{settings = Settings, services = Services}),
    {After, Done} = Part(Ms - Ms div 6, Warm#run{workers = #{}, stopping = false, part = make_ref()}),
    #{
        calls => counted(Settings),
        findings => ets:tab2list(maps:get(findings, Settings)),
        kills => Done#run.kills,
        service_kills => Done#run.service_kills,
        restarts => Done#run.restarts,
        longest_stop_ms => Done#run.longest_stop_ms,
        states => {Before, After},
        schedules => erlmcp_native_fuzz_schedules:seen(),
        log => erlmcp_native_fuzz_log:seen()
    }.

%% All that calls may need, so that atoms do not come with modules.
load() ->
    Applications =
        [kernel, stdlib, sasl, os_mon, crypto, asn1, public_key, ssl, inets, ranch, cowlib, cowboy, erlmcp_native],
    _ = [application:load(Application) || Application <- Applications],
    _ = [
        code:ensure_loaded(Module)
     || Application <- Applications,
        {ok, Modules} <- [application:get_key(Application, modules)],
        Module <- Modules
    ],
    ok.

work(Ms, Run) ->
    _ = rand:seed(exsss, map_get(seed, Run#run.settings)),
    ok = later(Ms, stop, Run),
    ok = later(1000, look, Run),
    ok = later(?KILL_SERVICE_EVERY_MS, kill_service, Run),
    ok = later(?RESTART_EVERY_MS, restart, Run),
    ok = later(?KILL_EVERY_MS, kill, Run),
    loop(lists:foldl(fun(Number, Started) -> start(Number, 1, Started) end, Run, lists:seq(1, ?WORKERS))).

later(Ms, What, #run{part = Part}) ->
    _ = erlang:send_after(Ms, self(), {Part, What}),
    ok.

start(Number, Life, #run{settings = Settings, workers = Workers} = Run) ->
    {Pid, _} = erlmcp_native_fuzz_worker:start(Settings#{number => Number, life => Life}),
    Run#run{workers = Workers#{Pid => {Number, Life}}}.

loop(#run{stopping = true, workers = Workers, restarter = none} = Run) when map_size(Workers) =:= 0 ->
    Run;
loop(#run{workers = Workers, part = Part} = Run) ->
    receive
        {'DOWN', _, process, Pid, Reason} when is_map_key(Pid, Workers) -> loop(ended(Pid, Reason, Run));
        {Part, kill} -> loop(kill(Run));
        {Part, kill_service} -> loop(kill_service(Run));
        {Part, restart} -> loop(restart(Run));
        {restarted, StopUs, Outcome} -> loop(restarted(StopUs div 1000, Outcome, Run));
        {Part, look} -> loop(look(Run));
        {Part, stop} ->
            lists:foreach(fun(Pid) -> exit(Pid, kill) end, maps:keys(Workers)),
            loop(Run#run{stopping = true})
    end.

ended(Pid, Reason, #run{workers = Workers, stopping = Stopping} = Run) ->
    {{Number, Life}, Others} = maps:take(Pid, Workers),
    true = ets:delete(erlmcp_native_fuzz_worker:calls(), Number),
    Left = Run#run{workers = Others},
    case Reason of
        _ when Reason =:= killed; Reason =:= fuzz -> ok;
        _ -> found({caller, died}, io_lib:format("~tP", [Reason, 30]), Run)
    end,
    case Stopping of
        true -> Left;
        false -> start(Number, Life + 1, Left)
    end.

kill(#run{stopping = true} = Run) ->
    Run;
kill(#run{workers = Workers, kills = Kills} = Run) ->
    Pids = maps:keys(Workers),
    exit(lists:nth(rand:uniform(length(Pids)), Pids), kill),
    ok = later(rand:uniform(2 * ?KILL_EVERY_MS), kill, Run),
    Run#run{kills = Kills + 1}.

kill_service(#run{stopping = Stopping, services = Services} = Run) when Stopping; Services =:= [] ->
    Run;
kill_service(#run{services = [Service | Others], service_kills = Kills} = Run) ->
    ok = later(?KILL_SERVICE_EVERY_MS, kill_service, Run),
    Killed =
        case whereis(Service) of
            undefined -> 0;
            Pid -> exit(Pid, kill), 1
        end,
    Run#run{services = Others ++ [Service], service_kills = Kills + Killed}.

%% Stops the application while it is used, and starts it again.
restart(#run{stopping = Stopping, services = Services} = Run) when Stopping; Services =:= [] ->
    Run;
restart(Run) ->
    Self = self(),
    Restarter = spawn_link(fun() ->
        {StopUs, Stopped} = timer:tc(fun() -> application:stop(erlmcp_native) end),
        receive after 20 -> ok end,
        Self ! {restarted, StopUs, [Stopped, application:ensure_all_started(erlmcp_native)]}
    end),
    Run#run{restarter = Restarter}.

restarted(StopMs, Outcome, #run{restarts = Restarts, longest_stop_ms = Longest} = Run) ->
    ok = later(?RESTART_EVERY_MS, restart, Run),
    case Outcome of
        [ok, {ok, _}] -> ok;
        _ -> found({application, not_restarted}, io_lib:format("~0tP", [Outcome, 60]), Run)
    end,
    Run#run{restarts = Restarts + 1, longest_stop_ms = max(Longest, StopMs), restarter = none}.

look(#run{stopping = true} = Run) ->
    Run;
look(#run{services = Services, restarter = Restarter} = Run) ->
    ok = later(1000, look, Run),
    Now = erlang:monotonic_time(millisecond),
    [
        hangs(Pid, Function, Run)
     || {_, Pid, Function, Since} <- ets:tab2list(erlmcp_native_fuzz_worker:calls()), Now - Since > ?HANGS_AFTER_MS
    ],
    case Services =:= [] orelse Restarter =/= none orelse whereis(erlmcp_native_sup) =/= undefined of
        true ->
            ok;
        false ->
            found({application, ended}, "", Run),
            application:ensure_all_started(erlmcp_native)
    end,
    Run.

hangs(Pid, Function, Run) ->
    case process_info(Pid, current_stacktrace) of
        undefined ->
            ok;
        Stack ->
            exit(Pid, kill),
            found({Function, hangs}, io_lib:format("~tP", [Stack, 60]), Run)
    end.

found(What, Example, #run{settings = #{findings := Findings}}) ->
    _ = ets:insert_new(Findings, {What, Example, 0}),
    _ = ets:update_counter(Findings, What, {3, 1}),
    ok.

counted(#{functions := Functions, counters := Counters}) ->
    Kinds = erlmcp_native_fuzz_judge:kinds(),
    [
        {Function, #{
            Kind => counters:get(Counters, (Index - 1) * length(Kinds) + Place)
         || {Place, Kind} <- lists:enumerate(Kinds)
        }}
     || {Index, Function} <- lists:enumerate(tuple_to_list(Functions))
    ].
