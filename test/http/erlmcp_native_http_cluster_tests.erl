%% What /api/cluster says, with and without a cluster.
-module(erlmcp_native_http_cluster_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_test_lib, [with_listener/1, fetch/1, json/1]).

cluster_test_() ->
    with_listener([
        fun without_a_cluster_it_is_not_started/0,
        fun all_nodes_are_shown/0,
        fun one_node_is_asked/0,
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
     || Path <- ["/api/cluster", "/api/cluster?node=a@b"]
    ].

all_nodes_are_shown() ->
    ok = erlmcp_queue_limits:set_limit(null, infinity),
    ok = erlmcp_queue_limits:record_enqueue(null, self()),
    with_cluster(fun() ->
        #{~"node" := Node, ~"expected" := 3, ~"nodes" := [Own], ~"roles" := Roles} = Body = json("/api/cluster"),
        ?assertEqual(atom_to_binary(node()), Node),
        ?assertMatch(#{~"cluster" := true}, json("/api/summary")),
        ?assertMatch(#{~"counted" := #{~"fresh" := 1, ~"stale" := 0, ~"gone" := 0}, ~"unsent" := 0}, Body),
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
