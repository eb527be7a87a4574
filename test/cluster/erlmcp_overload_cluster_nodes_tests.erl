%% The picture of all nodes and the shares of rates on real nodes: killed, stopped, cut off and healed, restarted under
%% the same name, hidden, with other cookies.
-module(erlmcp_overload_cluster_nodes_tests).

-include_lib("eunit/include/eunit.hrl").

-export([ask/2, load/0]).

-import(erlmcp_native_test_lib, [eventually/1]).

-define(CLUSTER, erlmcp_overload_cluster).
-define(LIB, erlmcp_priority_test_lib).
-define(RATE, erlmcp_overload_rate).
%% Long enough that nothing comes back.
-define(SHARED, #{rate => {1000, hour}, scope => cluster}).

nodes_test_() ->
    [
        {atom_to_list(Name), {timeout, 120, Test}}
     || {Name, Test} <- [
            {nodes_are_in_each_others_picture, fun in_each_others_picture/0},
            {a_killed_node_is_in_no_sum, fun killed/0},
            {a_stopped_node_is_in_no_sum_and_holds_up_nobody, fun stopped/0},
            {a_node_that_was_lost_this_moment_is_not_asked, fun just_lost/0},
            {a_split_halves_shares_and_heals, fun split/0},
            {a_node_comes_back_under_its_name, fun restarted/0},
            {hidden_nodes_and_other_cookies_are_not_heard, fun strangers/0},
            {a_later_version_is_read_as_far_as_it_is_known, fun later_version/0},
            {shares_follow_demand, fun demand/0}
        ]
    ].

%% --- nodes ---

start(Name) ->
    start(Name, []).

start(Name, Args) ->
    Paths = erlmcp_native_test_lib:ebins([?CLUSTER, ?MODULE, ?LIB]),
    Apart = ["-kernel", "prevent_overlapping_partitions", "false", "-connect_all", "false"],
    Peer = erlmcp_native_test_lib:peer(Paths, ?LIB:node_args(Name) ++ Apart ++ Args),
    true = erlang:unlink(Peer),
    Peer.

cluster(Name, Nodes) ->
    Peer = start(Name),
    ok = on(Peer, application, set_env, [erlmcp_native, cluster, #{nodes => Nodes, interval_ms => 200}]),
    {ok, _} = on(Peer, application, ensure_all_started, [erlmcp_native]),
    ok = on(Peer, ?RATE, define, [api, ?SHARED]),
    Peer.

clusters(Names, Nodes, Test) ->
    Peers = [cluster(Name, Nodes) || Name <- Names],
    try
        [connect(A, B) || A <- Peers, B <- Peers, A =/= B],
        await_fresh(Peers, length(Peers)),
        Test(Peers)
    after
        [peer:stop(Peer) || Peer <- Peers, is_process_alive(Peer)]
    end.

connect(A, B) ->
    Ports = [{X, on(X, persistent_term, get, [{?LIB, port}])} || X <- [A, B]],
    [ok = on(X, persistent_term, put, [{?LIB, name(Y)}, Port]) || X <- [A, B], {Y, Port} <- Ports, Y =/= X],
    on(A, net_kernel, connect_node, [name(B)]).

disconnect(A, B) ->
    Node = name(B),
    _ = on(A, erlang, disconnect_node, [Node]),
    eventually(fun() -> not lists:member(Node, on(A, erlang, nodes, [])) end).

name(Peer) ->
    on(Peer, erlang, node, []).

on(Peer, Module, Function, Args) ->
    peer:call(Peer, Module, Function, Args, 60000).

signal(Peer, Signal) when is_pid(Peer) ->
    signal(on(Peer, os, getpid, []), Signal);
signal(OsPid, Signal) ->
    ok = erlmcp_native_test_lib:signal(OsPid, Signal),
    OsPid.

killed_node(Peer) ->
    Monitor = erlang:monitor(process, Peer),
    _ = signal(Peer, "KILL"),
    receive
        {'DOWN', Monitor, process, Peer, _} -> ok
    after 20000 -> error(still_there)
    end.

summary(Peer) ->
    on(Peer, ?CLUSTER, summary, []).

state_of(Node, Peer) ->
    case summary(Peer) of
        #{nodes := #{Node := #{state := State}}} -> State;
        _ -> unknown
    end.

await_fresh(Peers, Count) ->
    [
        eventually(fun() ->
            #{counted := #{fresh := Fresh}, roles := #{session := #{nodes := Told}}} = summary(Peer),
            Fresh =:= Count andalso Told =:= Count
        end)
     || Peer <- Peers
    ].

share(Peer) ->
    maps:get(share, on(Peer, ?RATE, info, [api])).

await_share(Peer, Expected) ->
    eventually(fun() -> abs(share(Peer) - Expected) < 0.02 * Expected end).

%% --- tests ---

in_each_others_picture() ->
    clusters([erlmcp_cluster_a, erlmcp_cluster_b], 2, fun([A, B]) ->
        ok = on(A, erlmcp_queue_limits, record_enqueue, [session, one]),
        [ok = on(B, erlmcp_queue_limits, record_enqueue, [session, N]) || N <- [one, two]],
        [
            eventually(fun() ->
                #{roles := #{session := Row}} = summary(Peer),
                Row =:= #{depth => 3, limit => 10000, owners => 3, refused => 0, level => ok, nodes => 2}
            end)
         || Peer <- [A, B]
        ],
        NodeB = name(B),
        ?assertMatch(
            #{nodes := #{NodeB := #{vsn := ~"0.1.0", roles := #{session := #{depth := 2}}}}, expected := 2}, summary(A)
        ),
        ?assertEqual({ok, NodeB}, on(A, ?CLUSTER, ask, [NodeB, erlang, node, []])),
        {ok, Top} = on(A, ?CLUSTER, ask, [NodeB, erlmcp_overload, top_text, []]),
        ?assertMatch({match, _}, re:run(Top, "session"))
    end).

killed() ->
    clusters([erlmcp_cluster_a, erlmcp_cluster_b, erlmcp_cluster_c], 3, fun([A, B, C]) ->
        NodeC = name(C),
        killed_node(C),
        await_fresh([A, B], 2),
        ?assertNotEqual(fresh, state_of(NodeC, A)),
        %% Two of three, and nobody asks.
        [await_share(Peer, 1 / 3) || Peer <- [A, B]],
        ?assertEqual({error, stale}, on(A, ?CLUSTER, ask, [NodeC, erlang, node, []])),
        eventually(fun() -> state_of(NodeC, A) =:= gone end),
        Families = on(A, erlmcp_native_metrics, collect, []),
        [Counted] = [Samples || {#{name := ~"erlmcp_cluster_nodes"}, Samples} <- Families],
        ?assertEqual([{[~"fresh"], 2}, {[~"stale"], 0}, {[~"gone"], 1}], Counted)
    end).

stopped() ->
    clusters([erlmcp_cluster_a, erlmcp_cluster_b], 2, fun([A, B]) ->
        NodeB = name(B),
        OsPid = signal(B, "STOP"),
        try
            %% Its connection is there, and nothing comes. Asked while it counts as fresh, it costs a second at most.
            Answer = on(A, ?CLUSTER, ask, [NodeB, erlang, node, []]),
            ?assert(lists:member(Answer, [{error, timeout}, {error, stale}])),
            await_fresh([A], 1),
            ?assertEqual(stale, state_of(NodeB, A)),
            ?assert(lists:member(NodeB, on(A, erlang, nodes, []))),
            {Us, _} = on(A, timer, tc, [?CLUSTER, summary, []]),
            ?assert(Us < 100000)
        after
            signal(OsPid, "CONT")
        end,
        await_fresh([A, B], 2)
    end).

%% The picture is that of before, for three seconds.
just_lost() ->
    clusters([erlmcp_cluster_a, erlmcp_cluster_b], 2, fun([A, B]) ->
        NodeB = name(B),
        [ok = on(Peer, sys, suspend, [?CLUSTER]) || Peer <- [A, B]],
        disconnect(A, B),
        ?assertEqual({error, stale}, on(A, ?CLUSTER, ask, [NodeB, erlang, node, []])),
        ?assertEqual([], on(A, erlang, nodes, [connected])),
        [ok = on(Peer, sys, resume, [?CLUSTER]) || Peer <- [A, B]]
    end).

split() ->
    clusters([erlmcp_cluster_a, erlmcp_cluster_b], 2, fun([A, B]) ->
        [await_share(Peer, 0.5) || Peer <- [A, B]],
        load(A),
        await_share(A, 0.95),
        await_share(B, 0.05),
        disconnect(A, B),
        await_fresh([A, B], 1),
        %% Each has half, whatever is asked of it, and not all of it twice.
        [await_share(Peer, 0.5) || Peer <- [A, B]],
        true = connect(A, B),
        await_fresh([A, B], 2),
        await_share(A, 0.95),
        await_share(B, 0.05)
    end).

restarted() ->
    clusters([erlmcp_cluster_a, erlmcp_cluster_b], 2, fun([A, B]) ->
        NodeB = name(B),
        ok = on(B, erlmcp_queue_limits, record_enqueue, [session, one]),
        eventually(fun() -> depth(NodeB, A) =:= 1 end),
        killed_node(B),
        await_fresh([A], 1),
        Again = cluster(erlmcp_cluster_b, 2),
        try
            ?assertEqual(NodeB, name(Again)),
            true = connect(A, Again),
            await_fresh([A, Again], 2),
            ?assertEqual(0, depth(NodeB, A))
        after
            peer:stop(Again)
        end
    end).

depth(Node, Peer) ->
    #{nodes := #{Node := #{roles := #{session := #{depth := Depth}}}}} = summary(Peer),
    Depth.

strangers() ->
    A = cluster(erlmcp_cluster_a, 2),
    Hidden = start(erlmcp_cluster_hidden, ["-hidden"]),
    Other = start(erlmcp_cluster_other),
    try
        [
            begin
                ok = on(Peer, application, set_env, [erlmcp_native, cluster, #{interval_ms => 200}]),
                {ok, _} = on(Peer, application, ensure_all_started, [erlmcp_native])
            end
         || Peer <- [Hidden, Other]
        ],
        true = on(Other, erlang, set_cookie, [another]),
        ?assertEqual(true, connect(A, Hidden)),
        ?assertEqual(false, connect(A, Other)),
        %% A message by hand, of a node that is connected and hidden: it is not in the picture.
        Forged = {'$gen_cast', {?CLUSTER, 1, name(Hidden), #{}}},
        _ = on(Hidden, erlang, send, [{?CLUSTER, name(A)}, Forged]),
        NameA = name(A),
        Ages = fun() -> maps:get(age_ms, maps:get(NameA, maps:get(nodes, summary(A)))) end,
        [eventually(fun() -> Ages() < 200 end) || _ <- lists:seq(1, 3)],
        ?assertEqual([NameA], maps:keys(maps:get(nodes, summary(A)))),
        ?assertEqual([name(Hidden)], on(A, erlang, nodes, [hidden]))
    after
        [peer:stop(Peer) || Peer <- [A, Hidden, Other]]
    end.

later_version() ->
    A = cluster(erlmcp_cluster_a, 2),
    B = start(erlmcp_cluster_b),
    try
        true = connect(A, B),
        NodeB = name(B),
        Map = #{vsn => ~"9.0.0", roles => [{session, 5, 10, 1, 0, ok, more}, {new, row}], another => key},
        Tell = [{?CLUSTER, name(A)}, {'$gen_cast', {?CLUSTER, 9, NodeB, Map}}],
        eventually(fun() -> on(B, erlang, send, Tell), state_of(NodeB, A) =:= fresh end),
        #{nodes := #{NodeB := Told}} = summary(A),
        Session = #{depth => 5, limit => 10, owners => 1, refused => 0, level => ok},
        ?assertEqual(#{vsn => ~"9.0.0", roles => #{session => Session}}, maps:with([vsn, roles], Told))
    after
        [peer:stop(Peer) || Peer <- [A, B]]
    end.

%% Together they are granted what one was.
demand() ->
    clusters([erlmcp_cluster_a, erlmcp_cluster_b], 2, fun([A, B]) ->
        [load(Peer) || Peer <- [A, B]],
        [await_share(Peer, 0.5) || Peer <- [A, B]],
        ?assertMatch(#{rate := {1000, hour}, scope := cluster}, on(A, ?RATE, info, [api])),
        Granted = [on(Peer, ?MODULE, ask, [key, 1000]) || Peer <- [A, B]],
        %% A hundredth of a share is no change.
        ?assert(abs(lists:sum(Granted) - 1000) =< 25)
    end).

ask(Key, Times) ->
    length([ok || _ <- lists:seq(1, Times), {ok, _} <- [?RATE:take(api, Key)]]).

%% Asks 500 times a second, as evenly as it can, of another key than a test does; it goes with its node.
load(Peer) ->
    _ = on(Peer, erlang, spawn, [?MODULE, load, []]),
    ok.

load() ->
    _ = ask(others, 50),
    receive
    after 100 -> load()
    end.
