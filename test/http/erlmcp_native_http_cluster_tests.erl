%% What /api/cluster says, with and without a cluster.
-module(erlmcp_native_http_cluster_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_test_lib, [with_listener/1, fetch/1, json/1]).
-import(erlmcp_native_test_lib, [eventually/2]).

cluster_test_() ->
    with_listener([
        fun without_a_cluster_it_is_not_started/0,
        fun all_nodes_are_shown/0,
        fun one_node_is_asked/0,
        fun one_node_is_asked_for_its_history/0,
        fun what_another_version_says_is_shown_or_refused/0,
        fun odd_nodes_are_none/0
    ]).

%% The processes alone: the listener's application is not that of the tests.
with_cluster(Test) ->
    ok = application:set_env(erlmcp_native, cluster, #{nodes => 3}),
    {ok, Pid} = erlmcp_overload_cluster_sup:start_link(),
    unlink(Pid),
    try
        Test()
    after
        Monitor = monitor(process, Pid),
        exit(Pid, shutdown),
        receive
            {'DOWN', Monitor, process, _, _} -> ok
        end,
        ok = erlmcp_overload_cluster_server:whole(),
        application:unset_env(erlmcp_native, cluster)
    end.

without_a_cluster_it_is_not_started() ->
    Reason = #{~"error" => ~"unavailable", ~"reason" => ~"erlmcp_overload_cluster is not started"},
    ?assertMatch(#{~"cluster" := false}, json("/api/summary")),
    [
        begin
            {503, _, Body} = fetch(Path),
            ?assertEqual(Reason, json:decode(Body))
        end
     || Path <- ["/api/cluster", "/api/cluster?node=a@b", "/api/history?node=a@b"]
    ].

all_nodes_are_shown() ->
    ok = erlmcp_queue_limits:set_limit(null, infinity),
    ok = erlmcp_queue_limits:record_enqueue(null, self()),
    with_cluster(fun() ->
        #{~"node" := Node, ~"expected" := 3, ~"nodes" := [Own], ~"roles" := Roles} = Body = json("/api/cluster"),
        ?assertEqual(atom_to_binary(node()), Node),
        ?assertMatch(#{~"cluster" := true}, json("/api/summary")),
        ?assertMatch(#{~"counted" := #{~"fresh" := 1, ~"stale" := 0, ~"gone" := 0}, ~"unsent" := 0}, Body),
        ?assertMatch(#{~"not_reached" := []}, Body),
        {error, {nodedown, gone@nowhere}} = erlmcp_control_plane:send_cancel_task({c, gone@nowhere}, t),
        ?assertMatch(
            #{~"not_reached" := [#{~"node" := ~"gone@nowhere", ~"nodedown" := 1, ~"last_ms" := _}]},
            json("/api/cluster")
        ),
        ?assertMatch(#{~"node" := Node, ~"state" := ~"fresh", ~"rates" := [], ~"pressure" := null}, Own),
        [Row] = [Row || #{~"role" := ~"null"} = Row <- Roles],
        ?assertMatch(#{~"depth" := 1, ~"limit" := null, ~"level" := ~"ok", ~"nodes" := 1, ~"owners" := 1}, Row)
    end).

one_node_is_asked() ->
    ok = erlmcp_queue_limits:record_enqueue(session, self()),
    with_cluster(fun() ->
        Name = atom_to_list(node()),
        #{~"summary" := #{~"roles" := Roles, ~"node" := Node}} = json("/api/cluster?node=" ++ Name),
        ?assertEqual(list_to_binary(Name), Node),
        ?assertMatch([#{~"depth" := 1}], [Row || #{~"role" := ~"session"} = Row <- Roles])
    end).

one_node_is_asked_for_its_history() ->
    ok = erlmcp_queue_limits:record_enqueue(r, self()),
    ok = erlmcp_queue_limits:record_enqueue(null, self()),
    eventually(fun() -> length(maps:get(~"roles", json("/api/history"))) =:= 2 end, 30000),
    with_cluster(fun() ->
        Path = "/api/history?node=" ++ atom_to_list(node()),
        Own = json("/api/history"),
        All = #{~"roles" := Rows} = json(Path),
        ?assertEqual(lists:sort(maps:keys(Own)), lists:sort(maps:keys(All))),
        ?assertMatch(#{~"of" := Name, ~"points" := 600, ~"step_ms" := 1000, ~"role" := null} when
            Name =:= map_get(~"of", Own), All),
        ?assertEqual([~"null", ~"r"], [Role || #{~"role" := Role} <- Rows]),
        [?assert(lists:member(1, Fullest)) || #{~"fullest" := Fullest} <- Rows],
        #{~"role" := ~"null", ~"span" := ~"last_day", ~"roles" := [#{~"role" := ~"null", ~"fullest" := Day}]} =
            json(Path ++ "&role=null&span=24h"),
        ?assertEqual(1440, length(Day)),
        {400, _, Unknown} = fetch(Path ++ "&role=nobody"),
        ?assertMatch(#{~"parameter" := ~"role"}, json:decode(Unknown)),
        {400, _, Nobody} = fetch("/api/history?node=nobody@nowhere"),
        ?assertMatch(#{~"parameter" := ~"node"}, json:decode(Nobody)),
        ok = erlmcp_native:history_keep(false),
        {503, _, Off} = fetch(Path),
        ?assertMatch(#{~"reason" := <<"no history is kept", _/binary>>}, json:decode(Off))
    end).

%% As another version may answer.
what_another_version_says_is_shown_or_refused() ->
    with_cluster(fun() ->
        Name = atom_to_binary(node()),
        ?assertEqual({ok, ~"odd"}, erlmcp_native_http_cluster:ask(Name, erlang, list_to_atom, ["odd"])),
        {error, {503, _, Failed}} = erlmcp_native_http_cluster:ask(Name, erlang, no_such_function, []),
        ?assertMatch(#{~"reason" := ~"the node has failed to answer"}, json:decode(Failed)),
        {error, {503, _, Late}} = erlmcp_native_http_cluster:ask(Name, timer, sleep, [infinity]),
        ?assertMatch(#{~"reason" := ~"the node has not answered within a second"}, json:decode(Late))
    end).

odd_nodes_are_none() ->
    with_cluster(fun() ->
        [
            ?assertMatch({400, _, _}, fetch("/api/cluster?" ++ Query))
         || Query <- [
                "node=nobody@nowhere", "node=", "node", "nodes=a", "node=a&node=b", "node=%ff", "role=session",
                "node=" ++ lists:duplicate(1021, $a)
            ]
        ]
    end).
