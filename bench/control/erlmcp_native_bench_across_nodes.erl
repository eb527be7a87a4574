-module(erlmcp_native_bench_across_nodes).
-moduledoc """
Two nodes on this machine that are parts of a cluster, connected without epmd: this is their module for it.
""".

-export([start/1, connect/2, call/4]).
-export([start_link/0, listen_port_please/2, register_node/3, address_please/3]).

-doc "Starts a node of this name, with the application on it.".
-spec start(atom()) -> pid().
start(Name) ->
    {ok, Peer, _} = peer:start_link(#{
        connection => standard_io,
        wait_boot => 60_000,
        args =>
            ["-pa" | code:get_path()] ++
            ["-start_epmd", "false", "-epmd_module", ?MODULE_STRING, "-setcookie", ?MODULE_STRING] ++
            ["-sname", lists:concat([Name, "@localhost"]), "-kernel", "logger_level", "none"]
    }),
    ok = call(Peer, application, set_env, [erlmcp_native, cluster, #{nodes => 2}]),
    {ok, _} = call(Peer, application, ensure_all_started, [erlmcp_native]),
    Peer.

-doc "Connects a node to another, and returns what that is called.".
-spec connect(pid(), pid()) -> node().
connect(From, To) ->
    Node = call(To, erlang, node, []),
    ok = call(From, persistent_term, put, [?MODULE, call(To, persistent_term, get, [?MODULE])]),
    true = call(From, net_kernel, connect_node, [Node]),
    Node.

-doc "Calls a function on a node.".
-spec call(pid(), module(), atom(), [term()]) -> term().
call(Peer, Module, Function, Args) ->
    peer:call(Peer, Module, Function, Args, infinity).

-doc "Is called where epmd would be started.".
-spec start_link() -> ignore.
start_link() ->
    ignore.

-doc "Says that a node may listen at any port.".
-spec listen_port_please(term(), term()) -> {ok, 0}.
listen_port_please(_Name, _Host) ->
    {ok, 0}.

-doc "Remembers where this node listens.".
-spec register_node(term(), Port :: non_neg_integer(), term()) -> {ok, Creation :: pos_integer()}.
register_node(_Name, Port, _Family) ->
    persistent_term:put(?MODULE, Port),
    {ok, rand:uniform(16#fffffffe)}.

-doc "Returns where the other node listens.".
-spec address_please(term(), term(), term()) -> {ok, inet:ip_address(), inet:port_number(), Version :: 6}.
address_please(_Name, _Host, _Family) ->
    {ok, {127, 0, 0, 1}, persistent_term:get(?MODULE), 6}.
