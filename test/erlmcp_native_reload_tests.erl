%% Every module of ours is loaded anew, three times, as `c:l/1` does it, while all that there is goes on: nobody is
%% killed, and nothing is lost.
-module(erlmcp_native_reload_tests).

-include_lib("eunit/include/eunit.hrl").

-export([reload/0, control/1, control/2]).
-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).

-import(erlmcp_native_test_lib, [eventually/1, eventually/2]).

-define(P, erlmcp_control_plane).
-define(L, erlmcp_queue_limits).
-define(M, erlmcp_overload_monitor).
-define(HTTP, erlmcp_native_http_test_lib).
-define(ROUNDS, 3).
-define(TASKS, 10).
%% They stay as they are, and say so.
-define(STAY, [erlmcp_native, erlmcp_native_wait]).

%% In a node of its own, where nobody else would be killed.
reload_test_() ->
    {timeout, 300, fun() ->
        Http = [Module || has_http(), Module <- [cowboy, cow_http_hd, ranch]],
        Modules = [?L, ?MODULE, ?HTTP, erlmcp_native_otlp_test_lib, erlmcp_control_test_lib | Http],
        Peer = erlmcp_native_test_lib:peer(erlmcp_native_test_lib:ebins(Modules), []),
        try
            ?assertEqual(ok, peer:call(Peer, ?MODULE, reload, [], 280000))
        after
            peer:stop(Peer)
        end
    end}.

%% Without cowboy there is no stream, and all else goes on.
has_http() ->
    code:ensure_loaded(cowboy) =:= {module, cowboy}.

reload() ->
    _ = has_http() andalso application:ensure_all_started(cowboy),
    Collector = erlmcp_native_otlp_test_lib:listen(erlmcp_native_otlp_test_lib:taking(all)),
    ok = application:load(erlmcp_native),
    ok = application:set_env(erlmcp_native, http, case has_http() of true -> #{port => 0}; false -> off end),
    ok = application:set_env(erlmcp_native, metrics_server, [latencies, refusals]),
    ok = application:set_env(erlmcp_native, otlp, #{
        endpoint => erlmcp_native_otlp_test_lib:url(Collector), interval_ms => 1000
    }),
    ok = application:start(erlmcp_native),
    Waiting = waiting(),
    Busy = busy(),
    Processes = processes_of_ours(),
    {Kept, _} = lists:unzip(Processes),
    Loads = [{Round, Module} || Round <- lists:seq(1, ?ROUNDS), Module <- erlmcp_native_test_lib:ours()],
    Told = lists:foldl(
        fun({Round, Module}, N) ->
            true = purged(Round, Module),
            load(Module),
            progress(Busy),
            next_alert(N, Waiting)
        end,
        1,
        Loads
    ),
    Survivors = processes_of_ours(),
    [] = Processes -- Survivors,
    {Kept, _} = lists:unzip(Survivors),
    ok = stop(Busy),
    ok = over(Told, Waiting),
    ok = erlmcp_native_otlp_test_lib:close(Collector),
    application:stop(erlmcp_native).

%% By name, where there is one; restarted ones would be others.
processes_of_ours() ->
    {Handlers, _} = persistent_term:get({erlmcp_overload_handlers, kept}),
    Named = [
        {Name, whereis(Name)}
     || Name <- [
            ?L, ?P, ?M, erlmcp_native_sup, erlmcp_native_exporters, erlmcp_native_keeper, erlmcp_native_scan,
            erlmcp_native_events, erlmcp_native_metrics_server, erlmcp_native_telemetry, erlmcp_native_otlp
        ]
    ],
    Components = [
        {{component, Id}, element(2, erlmcp_native:control_route(Id, circuit_breaker))}
     || Id <- [quick, named, slow]
    ],
    Workers = [
        {{worker, Handler}, [Worker || Worker <- element(2, process_info(Runner, links)), is_pid(Worker)]}
     || {Handler, Runner} <- Handlers
    ],
    lists:sort(Named ++ Components ++ Handlers ++ Workers).

%% --- what is loaded ---

%% In the first round there is nothing old. Soft, once: nobody may be in the old code for ever.
purged(2, Module) -> ok =:= eventually(fun() -> code:soft_purge(Module) end, 20000);
purged(_, Module) -> _ = code:purge(Module), true.

load(Module) ->
    case lists:member(Module, ?STAY) of
        true -> {error, on_load_failure} = code:load_file(Module);
        false -> {module, Module} = code:load_file(Module)
    end.

%% --- those who never wait for long ---

busy() ->
    ok = ?L:set_limit(busy, 100),
    ok = ?P:register_component(quick, fun(_) -> ok end),
    ok = ?P:register_component(named, {?MODULE, control}),
    Works = [
        fun() -> ok = ?L:try_enqueue(busy, self()), ok = ?L:record_dequeue(busy, self()) end,
        fun() -> {ok, done} = ?L:with_capacity(busy, self(), fun() -> done end) end,
        fun() -> {ok, _} = ?P:send_health_check(quick, liveness) end,
        fun() -> {ok, _} = ?P:send_circuit_breaker(named, query) end,
        fun() ->
            ok = ?P:cast_priority(quick, {control, cancel_task, #{task_id => 1}}),
            {ok, _} = ?P:send_cancel_task(quick, 2)
        end,
        fun() -> {ok, [_ | _]} = erlmcp_native_scan:fullest(all, 10) end,
        fun() ->
            ok = ?P:register_component(comes_and_goes, #{handler => {?MODULE, control, [a]}, timeout_ms => 1000}),
            {ok, _} = ?P:send_health_check(comes_and_goes, full),
            ok = ?P:unregister_component(comes_and_goes)
        end
    ],
    Progress = counters:new(length(Works), []),
    {Progress, [{N, spawn_monitor(fun() -> work(Work, N, Progress) end)} || {N, Work} <- lists:enumerate(Works)]}.

control({control, _, _}) -> ok.
control({control, _, _}, a) -> ok.

work(Work, N, Progress) ->
    Work(),
    ok = counters:add(Progress, N, 1),
    receive
        stop -> ok
    after N rem 2 -> work(Work, N, Progress)
    end.

%% Everybody has begun something since, and so is out of what was the newest code before.
progress({Progress, Workers}) ->
    Before = [{N, counters:get(Progress, N)} || {N, _} <- Workers],
    Went = fun({N, Count}) -> counters:get(Progress, N) > Count + 1 end,
    eventually(fun() -> alive(Workers) andalso lists:all(Went, Before) end, 20000).

alive(Workers) ->
    [
        receive
            {'DOWN', Monitor, process, Pid, Reason} -> error({died, N, Reason})
        after 0 -> ok
        end
     || {N, {Pid, Monitor}} <- Workers
    ],
    true.

stop({_, Workers}) ->
    [Pid ! stop || {_, {Pid, _}} <- Workers],
    [
        receive
            {'DOWN', Monitor, process, Pid, Reason} -> {N, normal} = {N, Reason}
        after 20000 -> error({still_working, N})
        end
     || {N, {Pid, Monitor}} <- Workers
    ],
    eventually(fun() -> [0, 0] =:= erlmcp_native_test_lib:stats([owners, current_depth], busy) end).

%% --- those who wait all the time ---

-record(waiting, {senders, retiring, held, stream, handler, runner}).

waiting() ->
    %% Somebody holds a permit for long.
    Self = self(),
    Held = erlmcp_control_test_lib:async(fun() ->
        ?L:with_capacity(held, self(), fun() -> Self ! {held, self()}, receive go -> held end end)
    end),
    receive {held, _} -> ok end,
    %% A handler is at a message for long, more wait, and so do their senders; another one is to end.
    ok = ?P:register_component(slow, #{handler => fun(Message) -> slow(Self, Message) end, timeout_ms => 300000}),
    Senders = [erlmcp_control_test_lib:async(fun() -> ?P:send_cancel_task(slow, N) end) || N <- lists:seq(1, ?TASKS)],
    {_, _} = at(slow),
    eventually(fun() -> maps:get(cancel_task, erlmcp_control_test_lib:queued(slow)) =:= ?TASKS - 1 end),
    [ok = ?P:cast_priority(slow, {control, drain_session, #{session_id => N}}) || N <- lists:seq(1, ?TASKS)],
    Gone = fun(_) -> Self ! {retiring, self()}, receive go -> ok end end,
    ok = ?P:register_component(gone, #{handler => Gone, timeout_ms => 300000}),
    Retiring = erlmcp_control_test_lib:async(fun() -> ?P:send_health_check(gone, full) end),
    Runner = receive {retiring, Pid} -> Pid end,
    ok = ?P:unregister_component(gone),
    %% An overload handler is at an alert while modules are loaded, and more wait.
    ok = ?M:add_handler(?MODULE, Self),
    ok = ?L:set_limit(alert, 1),
    [ok = ?L:record_enqueue(alert, list_to_atom("owner_" ++ integer_to_list(N))) || N <- lists:seq(1, alerts())],
    Handler = receive {alert, At, 1} -> At end,
    Stream = next_snapshot(case has_http() of true -> ?HTTP:open(); false -> none end),
    #waiting{senders = Senders, retiring = Retiring, held = Held, stream = Stream, handler = Handler, runner = Runner}.

next_snapshot(none) ->
    none;
next_snapshot(Stream) ->
    {_, Rest} = ?HTTP:named(~"snapshot", Stream, 10000),
    Rest.

slow(Test, {control, Type, Data}) ->
    Test ! {slow, self(), {Type, Data}},
    receive go -> ok end.

at(slow) ->
    receive {slow, Pid, Message} -> {Pid, Message} after 60000 -> error(not_run) end.

init(Test) ->
    {ok, {Test, 1}}.

handle_alert(#{role := alert}, {Test, N}) ->
    Test ! {alert, self(), N},
    receive go -> ok end,
    {ok, {Test, N + 1}};
handle_alert(_, State) ->
    {ok, State}.

handle_clear(_, State) -> {ok, State}.

handle_role(_, _, State) -> {ok, State}.

%% One for each load of a module, and some for afterwards.
alerts() ->
    ?ROUNDS * length(erlmcp_native_test_lib:ours()) + 30.

%% It was at this one, and is at the next.
next_alert(N, #waiting{handler = Handler}) ->
    Handler ! go,
    receive
        {alert, Handler, Next} -> Next = N + 1
    after 60000 -> error({not_told, N + 1})
    end.

over(Told, #waiting{senders = Senders, retiring = Retiring, held = Held, stream = Stream} = Waiting) ->
    #waiting{handler = Handler, runner = Runner} = Waiting,
    %% The stream goes on.
    _ = next_snapshot(next_snapshot(Stream)),
    %% The handler has kept its state, and is told of the others in turn.
    All = alerts(),
    All = lists:foldl(fun(_, N) -> next_alert(N, Waiting) end, Told, lists:seq(Told + 1, All)),
    Handler ! go,
    %% All messages are run, each once, the more urgent ones first; all senders have their answer.
    {Slow, Slow, Ran} = run(element(2, erlmcp_native:control_route(slow, circuit_breaker)), 2 * ?TASKS - 1, []),
    [{drain_session, _}] = lists:usort([{Type, ok} || {Type, _} <- lists:sublist(Ran, ?TASKS)]),
    [?assertMatch({ok, _}, erlmcp_control_test_lib:result(Sender)) || Sender <- Senders],
    Runner ! go,
    ?assertMatch({ok, _}, erlmcp_control_test_lib:result(Retiring)),
    {Pid, _} = Held,
    Pid ! go,
    ?assertEqual({ok, held}, erlmcp_control_test_lib:result(Held)),
    eventually(fun() -> [0, 1] =:= erlmcp_native_test_lib:stats([current_depth, total_dequeued], held) end).

run(Slow, 0, Ran) ->
    Slow ! go,
    {Slow, Slow, lists:reverse(Ran)};
run(Slow, Left, Ran) ->
    Slow ! go,
    {Slow, Message} = at(slow),
    run(Slow, Left - 1, [Message | Ran]).
