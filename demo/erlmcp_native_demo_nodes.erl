-module(erlmcp_native_demo_nodes).
-moduledoc """
Makes this node and two more a cluster for a few seconds: they are seen, told and asked from here, and share a rate;
then one of the two is killed. After that this node is alone again, and is distributed no more.

They are connected on loopback, without epmd, and by the cookie of the user. Where that is not possible it is left out,
and said why.
""".

-export([arguments/0, run/3]).

-export_type([result/0, seen/0]).

-define(CLUSTER, 3).
-define(MESSAGES, 200).
%% Until shares have followed what is asked.
-define(EVEN_MS, 1_200).
-define(ASK_MS, 1_000).
-define(DEADLINE_MS, 30_000).
-define(POLL_MS, 5).

-doc "This is how long something took, or `not_seen` if that was not to be seen within half a minute.".
-type seen() :: {Us :: non_neg_integer(), What :: term()} | not_seen.
-doc """
This is what was seen so far, and `skipped` if nothing could be. Three nodes are `known` with all requests that they
hold, and a broadcast was `heard` by both, and answered. `control` is what control messages to the two other nodes
took. `granted` and `allowed` are of the shared rate. `left` is as `known`, and `down` an answer to
a control message, since the kill.
""".
-type result() :: #{
    skipped => string(),
    known => seen(),
    heard => seen(),
    control => #{sent := pos_integer(), answered := non_neg_integer(), p99_us := non_neg_integer()},
    rate => #{asked | granted | allowed := non_neg_integer()},
    left => seen(),
    down => seen()
}.

-doc "Returns the arguments of each of the two nodes more.".
-spec arguments() -> [[string()]].
arguments() ->
    lists:duplicate(?CLUSTER - 1, ["-epmd_module", "erlmcp_native_demo_epmd"]).

-doc """
Does all of it with two nodes that do nothing yet, under names that begin so, and shows each result when it is there.
Both nodes are ended.
""".
-spec run(fun((Newest :: atom(), result()) -> ok), Name :: string(), [erlmcp_native_demo_node:peer()]) -> result().
run(Show, Name, Peers) ->
    try
        distributed(Show, Name, Peers)
    after
        [ok = erlmcp_native_demo_node:stop(Peer) || Peer <- Peers]
    end.

distributed(Show, Name, Peers) ->
    Own = node_name(Name, 1),
    ok = Show(none, #{}),
    case erlmcp_native_demo_member:listen(Own) of
        {ok, Port} ->
            try
                clustered(Show, #{Own => Port}, Name, Peers)
            after
                ok = erlmcp_native_demo_member:leave()
            end;
        {error, Reason} ->
            Skipped = #{skipped => lists:flatten(io_lib:format("~0P", [Reason, 6]))},
            ok = Show(skipped, Skipped),
            Skipped
    end.

node_name(Name, Number) ->
    list_to_atom(lists:concat([Name, "_", Number, "@localhost"])).

clustered(Show, Own, Name, Peers) ->
    Names = [node_name(Name, Number) || Number <- lists:seq(2, ?CLUSTER)],
    Others = lists:zip(Names, Peers),
    Ports = maps:merge(Own, #{Node => listen(Node, Peer) || {Node, Peer} <- Others}),
    ok = erlmcp_native_demo_epmd:know(Ports),
    _ = [ok = on(Peer, erlmcp_native_demo_epmd, know, [Ports]) || Peer <- Peers],
    StartUs = now_us(),
    _ = [true = net_kernel:connect_node(Node) || Node <- Names],
    ok = erlmcp_native_demo_member:join(?CLUSTER),
    _ = [ok = on(Peer, erlmcp_native_demo_member, serve, [?CLUSTER]) || Peer <- Peers],
    Steps = [
        {known, fun() -> known(?CLUSTER, StartUs) end},
        {heard, fun() -> heard(Names) end},
        {control, fun() -> control(Names) end},
        {rate, fun() -> rate(Peers) end}
    ],
    AllThere = steps(Show, Steps, #{}),
    killed(Show, lists:last(Others), AllThere).

on(Peer, Module, Function, Arguments) ->
    {ok, Result} = erlmcp_native_demo_node:call(Peer, Module, Function, Arguments),
    Result.

listen(Node, Peer) ->
    {ok, Port} = on(Peer, erlmcp_native_demo_member, listen, [Node]),
    Port.

steps(Show, Steps, Result) ->
    lists:foldl(
        fun({Key, Step}, Before) ->
            After = Before#{Key => Step()},
            ok = Show(Key, After),
            After
        end,
        Result,
        Steps
    ).

killed(Show, {Node, Peer}, Result) ->
    StartUs = now_us(),
    ok = erlmcp_native_demo_node:stop(Peer),
    Steps = [{left, fun() -> known(?CLUSTER - 1, StartUs) end}, {down, fun() -> down(Node, StartUs) end}],
    steps(Show, Steps, Result).

%% This node holds nothing.
known(Nodes, StartUs) ->
    Held = (Nodes - 1) * erlmcp_native_demo_member:held(),
    Role = erlmcp_native_demo_member:role(),
    await(StartUs, fun() ->
        case erlmcp_overload_cluster:summary() of
            #{counted := #{fresh := Nodes}, roles := #{Role := #{nodes := Nodes, depth := Held}}} -> {ok, Held};
            #{} -> false
        end
    end).

%% Whom a node does not know of yet it does not reach, and one that is not reached is not told later.
heard(Names) ->
    All = length(Names),
    case await(now_us(), fun() -> broadcast(All, Names) end) of
        {_, Us} -> {Us, all};
        not_seen -> not_seen
    end.

broadcast(All, Names) ->
    StartUs = now_us(),
    case erlmcp_priority:broadcast(erlmcp_native_demo_member:group(), StartUs, self()) of
        #{reached := All} -> answers(Names, StartUs);
        #{} -> false
    end.

answers([], StartUs) ->
    {ok, now_us() - StartUs};
answers([Name | Names], StartUs) ->
    receive
        {erlmcp_native_demo_member, StartUs, Name} -> answers(Names, StartUs)
    after ?DEADLINE_MS -> false
    end.

control(Names) ->
    Component = erlmcp_native_demo_member:component(),
    %% The first one to each asks for the way.
    _ = [erlmcp_control_plane:send_health_check({Component, Name}, liveness) || Name <- Names],
    Results = [
        timer:tc(erlmcp_control_plane, send_health_check, [{Component, Name}, liveness])
     || _ <- lists:seq(1, ?MESSAGES div length(Names)),
        Name <- Names
    ],
    Sorted = lists:sort([Us || {Us, _} <- Results]),
    #{
        sent => length(Results),
        answered => length([ok || {_, {ok, _}} <- Results]),
        p99_us => lists:nth(length(Sorted) * 99 div 100, Sorted)
    }.

rate(Peers) ->
    receive
    after ?EVEN_MS -> ok
    end,
    StartUs = now_us(),
    {AskedBefore, GrantedBefore} = asked(Peers),
    receive
    after ?ASK_MS -> ok
    end,
    {Asked, Granted} = asked(Peers),
    Us = now_us() - StartUs,
    #{
        asked => Asked - AskedBefore,
        granted => Granted - GrantedBefore,
        allowed => erlmcp_native_demo_member:burst() + erlmcp_native_demo_member:rate() * Us div 1_000_000
    }.

asked(Peers) ->
    All = [erlmcp_native_demo_member:asked() | [on(Peer, erlmcp_native_demo_member, asked, []) || Peer <- Peers]],
    {lists:sum([Asked || {Asked, _} <- All]), lists:sum([Granted || {_, Granted} <- All])}.

down(Node, StartUs) ->
    await(StartUs, fun() ->
        case erlmcp_control_plane:send_health_check({erlmcp_native_demo_member:component(), Node}, liveness) of
            {error, {nodedown, Node}} -> {ok, nodedown};
            _ -> false
        end
    end).

await(StartUs, See) ->
    await(StartUs, See, now_us() + ?DEADLINE_MS * 1000).

await(StartUs, See, DeadlineUs) ->
    case See() of
        {ok, What} ->
            {now_us() - StartUs, What};
        false ->
            case now_us() > DeadlineUs of
                true -> not_seen;
                false -> receive after ?POLL_MS -> await(StartUs, See, DeadlineUs) end
            end
    end.

now_us() ->
    erlang:monotonic_time(microsecond).
