%% Groups with members on many nodes, which come and go.
-module(erlmcp_priority_peers_tests).

-include_lib("eunit/include/eunit.hrl").

-export([join_many/2]).

-import(erlmcp_control_far_test_lib, [on/4, connect/2, name/1, collected/1]).
-import(erlmcp_native_test_lib, [eventually/1]).

-define(LIB, erlmcp_control_far_test_lib).

peers_test_() ->
    [
        {Title, {timeout, 200, fun() -> in_three(Names, Test) end}}
     || {Title, Names, Test} <- [
            {"members on three nodes", [peers_a, peers_b, peers_c], fun members_on_three_nodes/1},
            {"a node that is killed, one that is cut off", [peers_d, peers_e, peers_f], fun nodes_that_go/1},
            {"many join at once", [peers_g, peers_h, peers_i], fun many_join/1},
            {"what is forged", [peers_j, peers_k, peers_l], fun forged/1},
            {"a process of ours that is lost", [peers_m, peers_n, peers_o], fun lost/1},
            {"an alias of another node", [peers_p, peers_q, peers_r], fun alias_of_another/1}
        ]
    ].

in_three(Names, Test) ->
    [A, B, C] = Peers = [?LIB:cluster(?LIB:node(Name)) || Name <- Names],
    try
        [connect(X, Y) || {X, Y} <- [{A, B}, {B, C}, {A, C}]],
        Test(Peers)
    after
        [?LIB:stop(Peer) || Peer <- Peers, is_process_alive(Peer)]
    end.

members_on_three_nodes([A, B, C] = Peers) ->
    Members = [{Peer, on(Peer, ?LIB, member, [g])} || Peer <- [B, B, C]],
    ok = reaches(A, g, 3),
    From = on(A, erlang, whereis, [init]),
    ?assertEqual(
        #{reached => 3, nodes => #{name(B) => ok, name(C) => ok}}, on(A, erlmcp_priority, broadcast, [g, now, From])
    ),
    Got = fun({Peer, Pid}) -> lists:member({Pid, {priority, From, now}}, collected(Peer)) end,
    ok = eventually(fun() -> lists:all(Got, Members) end),
    %% All see the same, whoever asks; each member once.
    [ok = reaches(Peer, g, 3) || Peer <- Peers],
    [{_, Leaves}, {_, Dies} | _] = Members,
    leave = on(B, erlang, send, [Leaves, leave]),
    true = on(B, erlang, exit, [Dies, kill]),
    [ok = reaches(Peer, g, 1) || Peer <- Peers],
    ?assertEqual(#{reached => 1, nodes => #{name(C) => ok}}, on(B, erlmcp_priority, broadcast, [g, hello, From])),
    %% A node that comes later learns of all.
    Late = ?LIB:cluster(?LIB:node(peers_late)),
    try
        _ = [connect(Late, Peer) || Peer <- Peers],
        ok = reaches(Late, g, 1),
        _ = on(Late, ?LIB, member, [g]),
        [ok = reaches(Peer, g, 2) || Peer <- Peers]
    after
        ?LIB:stop(Late)
    end,
    [ok = reaches(Peer, g, 1) || Peer <- Peers].

nodes_that_go([A, B, C]) ->
    _ = [on(Peer, ?LIB, member, [g]) || Peer <- [A, B, C]],
    ok = reaches(A, g, 3),
    ok = ?LIB:killed(C),
    ok = reaches(A, g, 2),
    ok = ?LIB:disconnect(A, name(B)),
    [ok = reaches(Peer, g, 1) || Peer <- [A, B]],
    %% What changes meanwhile is known afterwards.
    _ = on(B, ?LIB, member, [g]),
    _ = on(B, ?LIB, member, [h]),
    _ = connect(A, B),
    [ok = reaches(Peer, Group, Number) || Peer <- [A, B], {Group, Number} <- [{g, 3}, {h, 1}]],
    %% One that stands still delays nobody.
    OsPid = on(B, os, getpid, []),
    ok = ?LIB:signal(OsPid, "STOP"),
    From = on(A, erlang, whereis, [init]),
    {#{reached := 3}, Ms} = on(A, ?LIB, timed, [erlmcp_priority, broadcast, [g, hello, From]]),
    ?assert(Ms < 2000),
    ok = ?LIB:signal(OsPid, "CONT").

many_join([A, B, _C]) ->
    Groups = [{many, N} || N <- lists:seq(1, 1000)],
    ok = on(B, ?MODULE, join_many, [20000, [one | Groups]]),
    ok = reaches(A, one, 20000),
    [ok = reaches(A, Group, 1) || Group <- Groups].

join_many(Number, [Group | Groups]) ->
    Caller = self(),
    Join = fun(Joined) ->
        spawn(fun() ->
            [ok = erlmcp_priority:join(Name) || Name <- Joined],
            Caller ! joined,
            receive
                never -> ok
            end
        end)
    end,
    _ = [Join([Group]) || _ <- lists:seq(1, Number)],
    _ = Join(Groups),
    lists:foreach(fun(_) -> receive joined -> ok end end, lists:seq(0, Number)).

forged([A, B, C]) ->
    _ = on(B, ?LIB, member, [g]),
    ok = reaches(A, g, 1),
    Before = [on(A, erlang, whereis, [Name]) || Name <- [erlmcp_priority_peers, erlmcp_priority_groups]],
    [_, Known] = [on(B, erlang, whereis, [Name]) || Name <- [erlmcp_priority_groups, erlmcp_priority_peers]],
    Alias = on(C, erlang, make_ref, []),
    Tell = fun(Peer, Map) -> {erlmcp_priority_peers, 1, Peer, Map} end,
    [
        on(C, erlang, send, [{erlmcp_priority_peers, name(A)}, Message])
     || Message <- [
            hello,
            {erlmcp_priority_peers, 2, Known, #{}},
            Tell(none, #{group => g, message => not_from_anybody}),
            Tell(Known, []),
            Tell(Known, #{ask => everything}),
            Tell(Known, #{counts => #{g => 5}, alias => none}),
            Tell(Known, #{counts => #{g => 5}, alias => Alias}),
            Tell(Known, #{counts => [{g, 5}], alias => Alias}),
            Tell(on(C, erlang, whereis, [init]), #{counts => #{g => 5}, alias => Alias}),
            {make_ref(), join, erlmcp_priority_peers, [x]},
            {'$gen_cast', x}
        ]
    ],
    ok = reaches(A, g, 1),
    ?assertEqual(Before, [on(A, erlang, whereis, [Name]) || Name <- [erlmcp_priority_peers, erlmcp_priority_groups]]).

lost([A, B, _C]) ->
    _ = on(B, ?LIB, member, [g]),
    ok = reaches(A, g, 1),
    [
        begin
            Pid = on(Peer, erlang, whereis, [Name]),
            true = on(Peer, erlang, exit, [Pid, kill]),
            ok = eventually(fun() -> not lists:member(on(Peer, erlang, whereis, [Name]), [Pid, undefined]) end),
            ok = reaches(A, g, 1)
        end
     || Peer <- [A, B], Name <- [erlmcp_priority_peers, erlmcp_priority_groups, erlmcp_overload]
    ],
    _ = on(B, ?LIB, member, [g]),
    ok = reaches(A, g, 2).

%% Priority crosses over, but nothing that the runtime would cut into pieces.
alias_of_another([A, B, _C]) ->
    Pid = on(B, ?LIB, member, [g]),
    {ok, Alias} = on(B, erlmcp_native, alias_newest, [Pid]),
    From = on(A, erlang, whereis, [init]),
    ok = on(A, erlmcp_priority, send_batch, [Alias, [1, 2], From]),
    ok = on(A, erlmcp_priority, send_urgent, [Alias, binary:copy(<<0>>, 32000)]),
    ok = eventually(fun() -> length(collected(B)) =:= 2 end),
    Large = binary:copy(<<0>>, 32768),
    [
        ?assertError(badarg, on(A, erlmcp_priority, Function, Args))
     || {Function, Args} <- [
            {send_urgent, [Alias, Large]}, {send_priority, [Alias, Large, From]}, {send_batch, [Alias, [Large], From]}
        ]
    ],
    ok = ?LIB:disconnect(A, name(B)),
    ok = on(A, erlmcp_priority, send_urgent, [Alias, dropped]),
    ?assertEqual(#{busy => 0, nodedown => 1}, on(A, erlmcp_native, alias_drops, [])),
    Families = on(A, erlmcp_native_metrics, collect, []),
    Metrics = [Samples || {#{name := ~"erlmcp_priority_dropped"}, Samples} <- Families],
    ?assertEqual([[{[~"busy"], 0}, {[~"nodedown"], 1}]], Metrics).

reaches(Peer, Group, Number) ->
    From = on(Peer, erlang, whereis, [init]),
    eventually(fun() -> maps:get(reached, on(Peer, erlmcp_priority, broadcast, [Group, hello, From])) =:= Number end).
