%% Everything that the application supervises is killed, one after the other, and so is what it starts besides. After
%% each the tree is as it was, the listener has its port, every feature answers, and no count is lost: without anybody
%% having to say so.
-module(erlmcp_native_tree_tests).

-include_lib("eunit/include/eunit.hrl").

-export([walk/0, give_up/0, port_is_taken/0]).
-export([control/1, init/1, handle_alert/2, handle_clear/2, handle_role/3]).

-import(erlmcp_native_test_lib, [eventually/1, eventually/2, kill/1]).

-define(LIMITS, erlmcp_queue_limits).
-define(MONITOR, erlmcp_overload_monitor).
-define(CONTROL, erlmcp_control_plane).
-define(EXPORTERS, erlmcp_native_exporters).
-define(HTTP, erlmcp_native_http_test_lib).
-define(METRICS, erlmcp_metrics_server).
-define(HANDLER, {?MODULE, []}).
-define(BACK_MS, 15000).

tree_test_() ->
    [
        {atom_to_list(Test), {timeout, 300, fun() -> in_a_node(Test) end}}
     || Test <- [walk, give_up, port_is_taken], has_http()
    ].

has_http() ->
    code:ensure_loaded(cowboy) =:= {module, cowboy}.

in_a_node(Test) ->
    Modules = [
        ?LIMITS, ?MODULE, ?HTTP, erlmcp_native_otlp_test_lib, erlmcp_overload_test_lib, cowboy, cow_http_hd, ranch
    ],
    Peer = erlmcp_native_test_lib:peer(erlmcp_native_test_lib:ebins(Modules), []),
    try
        ?assertEqual(ok, peer:call(Peer, ?MODULE, Test, [], 280000))
    after
        peer:stop(Peer)
    end.

walk() ->
    Started = start(),
    Before = lists:sort([Path || {Path, _} <- tree()]),
    Ranch = {ranch_listener_sup, erlmcp_native_http},
    true = lists:member([?EXPORTERS, http, listener, Ranch, ranch_acceptors_sup], Before),
    InTheTree = [{Path, fun() -> proplists:get_value(Path, tree()) end} || Path <- Before],
    lists:foldl(
        fun({What, Find}, State) ->
            refuse(1),
            Killed = Find(),
            kill(Killed),
            back(What, fun() -> is_pid(Find()) andalso Find() =/= Killed end),
            back(What, fun() -> lists:sort([Path || {Path, _} <- tree()]) =:= Before end),
            works(What, State#{refused := maps:get(refused, State) + 1})
        end,
        works(nothing, Started),
        InTheTree ++ besides()
    ),
    application:stop(erlmcp_native).

%% What nothing supervises, or others do.
besides() ->
    [
        {runner, fun runner/0},
        {worker, fun worker/0},
        {component, fun component/0},
        {ranch_server, fun() -> whereis(ranch_server) end}
    ].

runner() ->
    {Handlers, _} = persistent_term:get({erlmcp_overload_handlers, kept}),
    proplists:get_value(?HANDLER, Handlers).

worker() ->
    case process_info(runner(), links) of
        {links, [Worker]} -> Worker;
        _ -> undefined
    end.

component() ->
    case erlmcp_native:control_route(component, circuit_breaker) of
        dead -> undefined;
        Route -> element(2, Route)
    end.

back(What, Condition) ->
    try
        eventually(Condition, ?BACK_MS)
    catch
        error:Reason -> error({not_back, What, Reason, {is, [Path || {Path, _} <- tree()]}})
    end.

%% All processes of the tree with the ids that lead to them. What is dying has none below.
tree() ->
    tree([], erlmcp_native_sup).

tree(At, Supervisor) ->
    lists:append([
        [{Path, Pid} | [Below || Type =:= supervisor, not is_connections(Id), Below <- tree(Path, Pid)]]
     || {Id, Pid, Type, _} <- children(Supervisor), is_pid(Pid), Path <- [At ++ [name(Id)]]
    ]).

children(Supervisor) ->
    try
        supervisor:which_children(Supervisor)
    catch
        exit:_ -> []
    end.

name({acceptor, _, N}) -> {acceptor, N};
name(Id) -> Id.

is_connections({ranch_conns_sup, _}) -> true;
is_connections(_) -> false.

%% --- what is started, and whether it works ---

start() ->
    {ok, _} = application:ensure_all_started(cowboy),
    Collector = erlmcp_native_otlp_test_lib:listen(erlmcp_native_otlp_test_lib:taking(all)),
    Port = erlmcp_native_otlp_test_lib:free_port(),
    Told = counters:new(1, []),
    persistent_term:put(?MODULE, {self(), Told}),
    ok = erlmcp_overload_test_lib:stand_in(?METRICS, [
        "record_error() -> counters:add(element(2, persistent_term:get(erlmcp_native_tree_tests)), 1, 1).",
        "record_latency(_) -> ok."
    ]),
    true = register(?METRICS, erlmcp_native_test_lib:idle()),
    ok = application:load(erlmcp_native),
    [
        ok = application:set_env(erlmcp_native, Key, Value)
     || {Key, Value} <- [
            {http, #{port => Port}},
            {otlp, #{endpoint => erlmcp_native_otlp_test_lib:url(Collector), interval_ms => 1000}},
            {metrics_server, [latencies, refusals]},
            {overload, #{handlers => [?HANDLER]}},
            {queue_limits, #{closed => 0, alerting => 1}}
        ]
    ],
    ok = application:start(erlmcp_native),
    ok = ?CONTROL:register_component(component, {?MODULE, control}),
    %% What was before the relay saw the target would not be passed on.
    eventually(fun() -> is_map(ets:lookup_element(erlmcp_native_relay, erlmcp_native_metrics_server, 2, none)) end),
    #{port => Port, depth => 0, refused => 0}.

refuse(Count) ->
    [{error, {capacity_exceeded, _}} = ?LIMITS:try_enqueue(closed, a) || _ <- lists:seq(1, Count)],
    ok.

works(What, #{port := Port, depth := Depth, refused := Refused}) ->
    ok = ?LIMITS:record_enqueue(session, kept),
    ?assertEqual({What, Depth + 1}, {What, ?LIMITS:get_queue_depth(session, kept)}),
    Owner = list_to_atom("owner_" ++ integer_to_list(Depth)),
    ok = ?LIMITS:record_enqueue(alerting, Owner),
    receive
        {alert, Owner} -> ok
    after ?BACK_MS -> error({no_alert, What})
    end,
    ?assertMatch({_, {ok, _}}, {What, ?CONTROL:send_health_check(component, liveness)}),
    back({What, port}, fun() -> erlmcp_native_http:port() =:= Port end),
    Paths = ["/metrics", "/health/ready", "/api/queues", "/"],
    [back({What, Path}, fun() -> status(Path) =:= 200 end) || Path <- Paths],
    back({What, events}, fun streams/0),
    Sent = sent(),
    back({What, push}, fun() -> sent() > Sent end),
    refuse(1),
    {_, Told} = persistent_term:get(?MODULE),
    back({What, relay}, fun() -> counters:get(Told, 1) =:= Refused + 1 end),
    #{port => Port, depth => Depth + 1, refused => Refused + 1}.

%% A listener that is started anew meanwhile has no port, or closes what it has accepted.
status(Path) ->
    try ?HTTP:fetch(Path) of
        {Status, _, _} -> Status;
        closed -> closed
    catch
        error:{badmatch, {error, Reason}} -> Reason;
        exit:badarg -> no_port
    end.

streams() ->
    try ?HTTP:open() of
        Stream ->
            {#{~"event" := ~"snapshot"}, Next} = ?HTTP:event(Stream, ?BACK_MS),
            ?HTTP:close(Next),
            true
    catch
        error:{badmatch, _} -> false;
        exit:badarg -> false
    end.

sent() ->
    maps:get(otlp_sent, erlmcp_native_self:read()).

control(_) -> ok.

init([]) -> {ok, []}.
handle_alert(#{level := overload, process := Owner}, []) ->
    element(1, persistent_term:get(?MODULE)) ! {alert, Owner},
    {ok, []};
handle_alert(_, []) ->
    {ok, []}.
handle_clear(_, []) -> {ok, []}.
handle_role(_, _, []) -> {ok, []}.

%% --- exporters that end again and again ---

%% Their supervisor has given up, several times; the services do not notice.
give_up() ->
    Started = start(),
    Services = services(),
    [
        begin
            Exporters = whereis(?EXPORTERS),
            exhaust(Exporters),
            eventually(fun() -> not lists:member(whereis(?EXPORTERS), [undefined, Exporters]) end, ?BACK_MS)
        end
     || _ <- lists:seq(1, 4)
    ],
    ?assertEqual(Services, services()),
    back(gave_up, fun() -> erlmcp_native_http:port() =:= maps:get(port, Started) end),
    _ = works(gave_up, Started),
    application:stop(erlmcp_native).

exhaust(Exporters) ->
    case is_process_alive(Exporters) of
        true ->
            Scan = whereis(erlmcp_native_scan),
            _ = is_pid(Scan) andalso kill(Scan),
            exhaust(Exporters);
        false ->
            ok
    end.

services() ->
    [whereis(Name) || Name <- [erlmcp_native_sup, erlmcp_native_keeper, ?LIMITS, ?MONITOR, ?CONTROL]].

%% They cannot be started, and are when they can. Or somebody says so before.
port_is_taken() ->
    _ = start(),
    Services = services(),
    [
        begin
            ok = application:set_env(erlmcp_native, http, off),
            ok = erlmcp_native_app:reload_config(),
            {ok, Thief} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]),
            {ok, Port} = inet:port(Thief),
            ok = application:set_env(erlmcp_native, http, #{port => Port}),
            kill(whereis(?EXPORTERS)),
            eventually(fun() -> not is_up() end, ?BACK_MS),
            ?assertMatch({error, {bad_config, #{key := http}}}, erlmcp_native_app:reload_config()),
            ?assertEqual(Services, services()),
            ok = gen_tcp:close(Thief),
            Again(),
            back(Port, fun() -> erlmcp_native_http:port() =:= Port end)
        end
     || Again <- [fun() -> ok end, fun() -> ok = erlmcp_native_app:reload_config() end]
    ],
    application:stop(erlmcp_native).

is_up() ->
    whereis(?EXPORTERS) =/= undefined.
