%% What the suites of many nodes share: nodes that are parts of a cluster, without epmd; stopping and killing them.
-module(erlmcp_control_far_test_lib).

-export([node/1, node/2, cluster/1, connect/2, acquaint/2, disconnect/2, stop/1, on/3, on/4, name/1]).
-export([signal/2, killed/1]).
-export([handle/2, component/2, component/3, runs/1, collect/0, collected/1, member/1]).
-export([flood/1, fill/1, timed/3]).

-import(erlmcp_native_test_lib, [eventually/1]).

-define(LIB, erlmcp_priority_test_lib).

node(Name) ->
    node(Name, []).

node(Name, Args) ->
    Paths = erlmcp_native_test_lib:ebins([erlmcp_control_plane, ?MODULE]),
    Apart = ["-kernel", "prevent_overlapping_partitions", "false", "-connect_all", "false"],
    Peer = erlmcp_native_test_lib:peer(Paths, ?LIB:node_args(Name) ++ Apart ++ Args),
    true = erlang:unlink(Peer),
    Peer.

%% Starts the application as part of a cluster.
cluster(Peer) ->
    ok = on(Peer, application, set_env, [erlmcp_native, cluster, #{}]),
    {ok, _} = on(Peer, application, ensure_all_started, [erlmcp_native]),
    Peer.

connect(A, B) ->
    Node = acquaint(A, B),
    true = on(A, net_kernel, connect_node, [Node]),
    Node.

%% Both ways, so that either could connect. Returns the second's name.
acquaint(A, B) ->
    Ports = [{X, on(X, persistent_term, get, [{?LIB, port}])} || X <- [A, B]],
    [ok = on(X, persistent_term, put, [{?LIB, name(Y)}, Port]) || X <- [A, B], {Y, Port} <- Ports, Y =/= X],
    name(B).

disconnect(A, Node) ->
    true = on(A, erlang, disconnect_node, [Node]),
    eventually(fun() -> not lists:member(Node, on(A, erlang, nodes, [connected])) end).

name(Peer) ->
    on(Peer, erlang, node, []).

on(Peer, Function, Args) ->
    on(Peer, erlmcp_control_plane, Function, Args).

on(Peer, Module, Function, Args) ->
    peer:call(Peer, Module, Function, Args, 60000).

stop(Peer) ->
    peer:stop(Peer).

%% By the operating system, which needs no answer of the node.
signal(OsPid, Signal) ->
    erlmcp_native_test_lib:signal(OsPid, Signal).

killed(Peer) ->
    Monitor = erlang:monitor(process, Peer),
    ok = signal(on(Peer, os, getpid, []), "KILL"),
    receive
        {'DOWN', Monitor, process, Peer, _} -> ok
    after 20000 -> error(still_there)
    end.

%% A component that keeps what it is given, and does as it is told by the name of a task.
component(Peer, Id) ->
    component(Peer, Id, #{}).

component(Peer, Id, Options) ->
    ok = on(Peer, ?MODULE, collect, []),
    ok = on(Peer, register_component, [Id, Options#{handler => {?MODULE, handle, [Id]}}]).

handle({control, cancel_task, #{task_id := {wait, Name}}} = Message, Id) ->
    true = register(Name, self()),
    note({Id, Message}),
    receive
        {go, Answer} -> true = unregister(Name), Answer
    end;
handle({control, cancel_task, #{task_id := {error, _} = Error}}, _Id) ->
    Error;
handle({control, cancel_task, #{task_id := {crash, Reason}}}, _Id) ->
    exit(Reason);
handle(Message, Id) ->
    note({Id, Message}),
    ok.

note(What) ->
    ?MODULE ! {note, What}.

%% A process of the node that keeps what is noted there.
collect() ->
    _ = whereis(?MODULE) =:= undefined andalso register(?MODULE, spawn(fun() -> keep([]) end)),
    ok.

keep(Noted) ->
    receive
        {note, What} -> keep([What | Noted]);
        {noted, From, Ref} -> From ! {Ref, lists:reverse(Noted)}, keep(Noted)
    end.

collected(here) ->
    Ref = make_ref(),
    ?MODULE ! {noted, self(), Ref},
    receive
        {Ref, Noted} -> Noted
    end;
collected(Peer) ->
    on(Peer, ?MODULE, collected, [here]).

%% The handler of a component is at a message that waits under this name.
runs(Name) ->
    is_pid(whereis(Name)).

%% A process of this node that joins a group and notes what it gets.
member(Group) ->
    Caller = self(),
    ok = collect(),
    Pid = spawn(fun() ->
        ok = erlmcp_priority:join(Group),
        Caller ! {self(), joined},
        serve(Group)
    end),
    receive
        {Pid, joined} -> Pid
    end.

serve(Group) ->
    receive
        leave -> ok = erlmcp_priority:leave(Group), serve(Group);
        Message -> note({self(), Message}), serve(Group)
    end.

%% What goes to a node until nothing more can be sent there.
flood(Node) ->
    _ = spawn(?MODULE, fill, [{?MODULE, Node}]),
    ok.

fill(To) ->
    To ! {note, binary:copy(<<0>>, 1000)},
    fill(To).

%% The result of a call, and how many milliseconds it took.
timed(Module, Function, Args) ->
    {Us, Result} = timer:tc(Module, Function, Args),
    {Result, Us div 1000}.
