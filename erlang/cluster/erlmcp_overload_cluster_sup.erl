-module(erlmcp_overload_cluster_sup).
-moduledoc """
Supervises what a node of a cluster needs: the scope of `m:pg`, what takes control messages of other nodes and knows
where to send them, what knows of their groups, and whoever tells the others of this node and listens to them. All of
these are started anew when the scope is. It is a child of the exporters' supervisor, which starts and stops it as
`cluster` is configured.
""".

-behaviour(supervisor).

-export([child_spec/0, start_link/0]).
-export([init/1]).

%% The scope, and so the name of its process: no module.
-define(SCOPE, erlmcp_overload).

-doc "Returns the supervisor as a child of another one.".
-spec child_spec() -> supervisor:child_spec().
child_spec() ->
    #{id => cluster, start => {?MODULE, start_link, []}, type => supervisor}.

-doc "Starts the supervisor of what a node of a cluster needs.".
-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-doc false.
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Scope = #{id => pg, start => {pg, start_link, [?SCOPE]}, shutdown => 1000},
    Workers = [
        #{id => Id, start => {Module, start_link, Args}, shutdown => 1000}
     || {Id, Module, Args} <- [
            {erlmcp_control_gate, erlmcp_control_gate, []},
            {erlmcp_control_routes, erlmcp_control_routes, []},
            {erlmcp_priority_peers, erlmcp_priority_peers, [?SCOPE]},
            {erlmcp_overload_cluster, erlmcp_overload_cluster_server, []}
        ]
    ],
    {ok, {#{strategy => rest_for_one, intensity => 10, period => 10}, [Scope | Workers]}}.
