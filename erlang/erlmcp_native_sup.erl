-module(erlmcp_native_sup).
-moduledoc """
Supervises the services, unless another supervisor does, and the exporters.

Should the exporters crash again and again, they are given up, and the services go on.
""".

-behaviour(supervisor).

-export([start_link/1, reload_exporters/0]).
-export([init/1]).

-doc "Starts the application's supervisor, with the services as its children or with none.".
-spec start_link(Supervise :: boolean()) -> supervisor:startlink_ret().
start_link(Supervise) ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, Supervise).

-doc "Has the exporters apply the configuration, if the application is started. Those that were given up start again.".
-spec reload_exporters() -> ok | {error, erlmcp_native_config:problem()}.
reload_exporters() ->
    case {erlmcp_native_exporters:reload_config(), whereis(?MODULE)} of
        {not_started, undefined} -> ok;
        {not_started, _} -> revive();
        {Result, _} -> Result
    end.

revive() ->
    case supervisor:start_child(?MODULE, erlmcp_native_exporters:child_spec()) of
        {ok, _} -> ok;
        {error, Reason} -> erlmcp_native_exporters:problem(http, Reason)
    end.

-doc false.
-spec init(boolean()) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Supervise) ->
    Services = [Service || Supervise, Service <- services()],
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, [
        child(S) || S <- Services
    ] ++ [erlmcp_native_exporters:child_spec()]}}.

services() ->
    [erlmcp_queue_limits, erlmcp_overload_monitor, erlmcp_control_plane].

%% Calling a million monitors off takes some seconds.
child(Service) ->
    #{id => Service, start => {Service, start_link, []}, shutdown => 30000}.
