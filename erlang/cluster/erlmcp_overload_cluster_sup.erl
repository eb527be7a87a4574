-module(erlmcp_overload_cluster_sup).
-moduledoc """
Supervises what a node of a cluster needs: the scope of `m:pg`. It is a child of the exporters' supervisor, which starts
and stops it as `cluster` is configured.
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
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, [Scope]}}.
