%% erlmcp's supervisor, with the three child specifications from "Add to Supervision Tree".
-module(erlmcp_core_sup).

-behaviour(supervisor).

-export([start_link/0]).
-export([init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    ChildSpecs = [
        #{id => erlmcp_health_monitor, start => {erlmcp_health_monitor, start_link, []}},
        #{id => erlmcp_metrics_server, start => {erlmcp_metrics_server, start_link, []}},
        %% Control Plane - Priority Message Handler
        #{
            id => erlmcp_control_plane,
            start => {erlmcp_control_plane, start_link, []},
            restart => permanent,
            shutdown => 5000,
            type => worker,
            modules => [erlmcp_control_plane]
        },
        %% Queue Limits - Deterministic Backpressure
        #{
            id => erlmcp_queue_limits,
            start => {erlmcp_queue_limits, start_link, []},
            restart => permanent,
            shutdown => 5000,
            type => worker,
            modules => [erlmcp_queue_limits]
        },
        %% Overload Monitor - Queue Depth Tracking
        #{
            id => erlmcp_overload_monitor,
            start => {erlmcp_overload_monitor, start_link, []},
            restart => permanent,
            shutdown => 5000,
            type => worker,
            modules => [erlmcp_overload_monitor]
        },
        #{id => erlmcp_session_backend, start => {erlmcp_session_backend, start_link, []}}
    ],
    {ok, {#{strategy => one_for_one, intensity => 5, period => 10}, ChildSpecs}}.
