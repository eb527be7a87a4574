%% What senders learn of a node that dies, stands still, is cut off, comes back, is hidden, or does not let them in.
-module(erlmcp_control_far_fates_tests).

-include_lib("eunit/include/eunit.hrl").

-export([send_later/3, all_busy/3, crowded/1, ended/1]).

-import(erlmcp_control_far_test_lib, [on/3, on/4, component/2, component/3, connect/2]).
-import(erlmcp_native_test_lib, [eventually/1]).

-define(LIB, erlmcp_control_far_test_lib).
-define(NEVER, {control, cancel_task, #{task_id => never}}).

fates_test_() ->
    [
        {Title, {timeout, 200, Test}}
     || {Title, Test} <- [
            {"a node that is killed, and comes back under its name", fun killed_and_back/0},
            {"a connection that is lost, and is back", fun split_and_healed/0},
            {"a node that stands still", fun stands_still/0},
            {"a connection that takes no more", fun takes_no_more/0},
            {"a cluster that waits for a node to be started", fun cluster_waits/0},
            {"a hidden node", fun hidden/0},
            {"a node of another cookie", fun other_cookie/0},
            {"a gate that is lost", fun lost_gate/0},
            {"a node without room for a process", fun no_room/0},
            {"a link to a node without a connection", fun link_to_nobody/0}
        ]
    ].

%% Nodes a and b, and how b is called on a.
pair(Test, Names, Args) ->
    [A, B] = Peers = [?LIB:cluster(?LIB:node(Name, Args)) || Name <- Names],
    try
        Test(A, B, connect(A, B))
    after
        [?LIB:stop(Peer) || Peer <- Peers, is_process_alive(Peer)]
    end.

killed_and_back() ->
    pair(
        fun(A, B, Node) ->
            ok = component(B, c),
            Sender = waits(A, B, Node),
            ok = ?LIB:killed(B),
            ?assertEqual({error, {nodedown, Node}}, outcome(A, Sender)),
            ?assertEqual({error, {nodedown, Node}}, on(A, send_cancel_task, [{c, Node}, t])),
            ?assertEqual({error, {nodedown, Node}}, on(A, cast_priority, [{c, Node}, ?NEVER])),
            %% Another one, which has the name: nothing is known of it.
            Again = ?LIB:cluster(?LIB:node(fate_b)),
            Node = connect(A, Again),
            ?assertEqual({error, component_not_registered}, on(A, send_cancel_task, [{c, Node}, t])),
            ok = component(Again, c),
            ?assertMatch({ok, _}, on(A, send_cancel_task, [{c, Node}, t])),
            ok = ?LIB:stop(Again)
        end,
        [fate_a, fate_b],
        []
    ).

split_and_healed() ->
    pair(
        fun(A, B, Node) ->
            ok = component(B, c),
            Sender = waits(A, B, Node),
            ok = ?LIB:disconnect(A, Node),
            ?assertEqual({error, {nodedown, Node}}, outcome(A, Sender)),
            ?assertEqual({error, {nodedown, Node}}, on(A, send_cancel_task, [{c, Node}, t])),
            %% Nobody has made a connection for that.
            ?assertEqual([], on(A, erlang, nodes, [connected])),
            {go, ok} = on(B, erlang, send, [far_waits, {go, ok}]),
            Node = connect(A, B),
            ?assertMatch({ok, _}, on(A, send_cancel_task, [{c, Node}, t]))
        end,
        [fate_c, fate_d],
        []
    ).

stands_still() ->
    pair(
        fun(A, B, Node) ->
            ok = component(B, c, #{timeout_ms => 300}),
            {ok, _} = on(A, send_cancel_task, [{c, Node}, t]),
            OsPid = on(B, os, getpid, []),
            ok = ?LIB:signal(OsPid, "STOP"),
            ?assertEqual({error, timeout}, on(A, send_cancel_task, [{c, Node}, given_up])),
            ok = ?LIB:signal(OsPid, "CONT"),
            ok = eventually(fun() -> element(1, on(A, send_cancel_task, [{c, Node}, t])) =:= ok end)
        end,
        [fate_e, fate_f],
        []
    ).

%% Whatever waits to be sent to that node, nobody is suspended: not by control messages, nor by those to an alias or a
%% group.
takes_no_more() ->
    pair(
        fun(A, B, Node) ->
            ok = component(B, c),
            {ok, _} = on(A, send_cancel_task, [{c, Node}, t]),
            Member = on(B, ?LIB, member, [crowd]),
            {ok, Alias} = on(B, erlmcp_native, alias_newest, [Member]),
            Reached = fun() -> maps:get(reached, on(A, erlmcp_priority, broadcast, [crowd, hello, Member])) end,
            ok = eventually(fun() -> Reached() =:= 1 end),
            OsPid = on(B, os, getpid, []),
            ok = ?LIB:signal(OsPid, "STOP"),
            ok = on(A, ?LIB, flood, [Node]),
            Busy = fun() -> on(A, cast_priority, [{c, Node}, ?NEVER]) =:= {error, {busy, Node}} end,
            ok = eventually(Busy),
            {Results, Ms} = on(A, ?LIB, timed, [?MODULE, all_busy, [Node, Alias, Member]]),
            ?assertEqual(
                [
                    {error, {busy, Node}},
                    {error, {busy, Node}},
                    ok,
                    #{reached => 0, nodes => #{Node => {error, busy}}}
                ],
                Results
            ),
            ?assert(Ms < 2000),
            #{busy := Dropped} = on(A, erlmcp_native, alias_drops, []),
            ?assert(Dropped >= 1),
            #{far := #{busy := NotSent}} = on(A, get_stats, []),
            ?assert(NotSent >= 2),
            ok = ?LIB:signal(OsPid, "CONT"),
            ok = ?LIB:stop(A)
        end,
        [fate_g, fate_h],
        ["+zdbbl", "1"]
    ).

all_busy(Node, Alias, From) ->
    [
        erlmcp_control_plane:send_cancel_task({c, Node}, t),
        erlmcp_control_plane:cast_priority({not_asked_yet, Node}, ?NEVER),
        erlmcp_priority:send_priority(Alias, dropped, From),
        erlmcp_priority:broadcast(crowd, dropped, From)
    ].

%% Nothing that is configured waits with it.
cluster_waits() ->
    [A, B] = [?LIB:node(Name, ["+zdbbl", "1"]) || Name <- [fate_s, fate_t]],
    Node = connect(A, B),
    OsPid = on(B, os, getpid, []),
    ok = ?LIB:signal(OsPid, "STOP"),
    ok = on(A, ?LIB, flood, [Node]),
    ok = eventually(fun() -> on(A, erlang, send, [{nobody, Node}, x, [nosuspend]]) =:= nosuspend end),
    Otlp = #{endpoint => "http://localhost:1"},
    [ok = on(A, application, set_env, [erlmcp_native, Key, Value]) || {Key, Value} <- [{cluster, #{}}, {otlp, Otlp}]],
    Starter = on(A, erlang, spawn, [application, ensure_all_started, [erlmcp_native]]),
    Runs = fun(Name) -> is_pid(on(A, erlang, whereis, [Name])) end,
    ok = eventually(fun() -> Runs(erlmcp_native_otlp) end),
    ok = eventually(fun() -> Runs(erlmcp_overload) end),
    Scope = fun() -> on(A, erlang, process_info, [on(A, erlang, whereis, [erlmcp_overload]), status]) end,
    ok = eventually(fun() -> Scope() =:= {status, suspended} end),
    ?assert(on(A, erlang, is_process_alive, [Starter])),
    ok = ?LIB:signal(OsPid, "KILL"),
    ok = eventually(fun() -> Runs(erlmcp_overload_cluster) end),
    ok = ?LIB:stop(A).

hidden() ->
    pair(
        fun(A, B, Node) ->
            ok = component(B, c),
            ?assertEqual([], on(A, erlang, nodes, [])),
            ?assertMatch({ok, _}, on(A, send_cancel_task, [{c, Node}, t])),
            ok = component(A, c),
            ?assertMatch({ok, _}, on(B, send_cancel_task, [{c, ?LIB:name(A)}, t]))
        end,
        [fate_i, fate_j],
        ["-hidden"]
    ).

other_cookie() ->
    pair(
        fun(A, B, Node) ->
            ok = component(B, c),
            ok = ?LIB:disconnect(A, Node),
            true = on(A, erlang, set_cookie, [Node, other]),
            ?assertEqual({error, {nodedown, Node}}, on(A, send_cancel_task, [{c, Node}, t])),
            ?assertEqual(false, on(A, net_kernel, connect_node, [Node])),
            ?assertEqual({error, {nodedown, Node}}, on(A, send_cancel_task, [{c, Node}, t]))
        end,
        [fate_k, fate_l],
        []
    ).

%% What it had handed on is answered, and another one is there soon.
lost_gate() ->
    pair(
        fun(A, B, Node) ->
            ok = component(B, c),
            Sender = waits(A, B, Node),
            Gate = on(B, erlang, whereis, [erlmcp_control_gate]),
            true = on(B, erlang, exit, [Gate, kill]),
            New = fun() -> not lists:member(on(B, erlang, whereis, [erlmcp_control_gate]), [undefined, Gate]) end,
            ok = eventually(New),
            {go, {error, as_before}} = on(B, erlang, send, [far_waits, {go, {error, as_before}}]),
            ?assertEqual({error, as_before}, outcome(A, Sender)),
            ?assertMatch({ok, _}, on(A, send_cancel_task, [{c, Node}, t]))
        end,
        [fate_m, fate_n],
        []
    ).

%% What was to be sent is not, and whoever else sends is not hurt.
no_room() ->
    pair(
        fun(A, B, Node) ->
            ok = component(B, c),
            Routes = on(A, erlang, whereis, [erlmcp_control_routes]),
            %% A place may be given up meanwhile by somebody else.
            ok = eventually(fun() -> on(A, ?MODULE, crowded, [Node]) =:= {error, {busy, Node}} end),
            ?assertEqual(Routes, on(A, erlang, whereis, [erlmcp_control_routes])),
            ?assertMatch({ok, _}, on(A, send_cancel_task, [{c, Node}, t]))
        end,
        [fate_o, fate_p],
        ["+P", "1024"]
    ).

crowded(Node) ->
    {links, Linked} = process_info(whereis(erlmcp_control_routes), links),
    Links = [Pid || Pid <- Linked, proc_lib:translate_initial_call(Pid) =:= {erlmcp_control_link, init, 1}],
    _ = [erlmcp_native_test_lib:kill(Link) || Link <- Links],
    Crowd = crowd([]),
    try
        erlmcp_control_plane:send_cancel_task({c, Node}, t)
    after
        [exit(Pid, kill) || {Pid, _} <- Crowd],
        [receive {'DOWN', Monitor, process, _, _} -> ok end || {_, Monitor} <- Crowd]
    end.

crowd(Crowd) ->
    try spawn_monitor(fun() -> receive never -> ok end end) of
        One -> crowd([One | Crowd])
    catch
        error:system_limit -> Crowd
    end.

%% It does not make the connection.
link_to_nobody() ->
    [A, B] = Peers = [?LIB:node(fate_q), ?LIB:cluster(?LIB:node(fate_r))],
    try
        Node = ?LIB:acquaint(A, B),
        ?assertEqual({shutdown, nodedown}, on(A, ?MODULE, ended, [Node])),
        ?assertEqual([], on(A, erlang, nodes, [connected]))
    after
        [?LIB:stop(Peer) || Peer <- Peers]
    end.

ended(Node) ->
    process_flag(trap_exit, true),
    {ok, Link} = erlmcp_control_link:start_link(Node),
    receive
        {'EXIT', Link, Reason} -> Reason
    after 10000 -> still_there
    end.

%% A sender that waits for a handler which is at its message.
waits(A, B, Node) ->
    Sender = on(A, ?MODULE, send_later, [c, Node, far_waits]),
    ok = eventually(fun() -> on(B, ?LIB, runs, [far_waits]) end),
    Sender.

send_later(Id, Node, Name) ->
    spawn(fun() ->
        Result = erlmcp_control_plane:send_cancel_task({Id, Node}, {wait, Name}),
        receive
            {tell, From} -> From ! {self(), Result}
        end
    end).

outcome(Peer, Sender) ->
    on(Peer, erlang, apply, [fun told/1, [Sender]]).

told(Sender) ->
    Sender ! {tell, self()},
    receive
        {Sender, Result} -> Result
    after 20000 -> no_result
    end.
