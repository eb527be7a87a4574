-module(erlmcp_native_sup).
-moduledoc """
Supervises the services, unless another supervisor does, and the exporters.

A service that somebody else starts explicitly is handed over (`m:erlmcp_native_service`): its child stays here without
a process, and is not started again before the application is.

The exporters have a supervisor of their own, which this one does not restart: `m:erlmcp_native_keeper` has it started
again, and however often that is, the services go on.
""".

-behaviour(supervisor).

-export([start_link/1, start_service/1, close/0, reload_exporters/0]).
-export([init/1]).

-doc "Starts the application's supervisor, with the services as its children or with none.".
-spec start_link(Supervise :: boolean()) -> supervisor:startlink_ret().
start_link(Supervise) ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, Supervise).

-doc """
Closes what services of the application's have left open, now that this supervisor has ended. Whoever was stopped has
closed its part itself.
""".
-spec close() -> ok.
close() ->
    Left = [Service || Service <- lists:reverse(services()), erlmcp_native_service:is_left(Service)],
    %% That the library is gone may be why this happens; then nobody counts.
    case Left =/= [] andalso erlmcp_native_error:library() of
        ok -> lists:foreach(fun close/1, Left);
        _NothingOrNoLibrary -> ok
    end.

close(erlmcp_queue_limits) -> erlmcp_limits_server:close();
close(erlmcp_overload_monitor) -> erlmcp_overload_server:close();
close(erlmcp_control_plane) -> erlmcp_control_server:close().

-doc "Has the exporters apply the configuration, if the application is started. Those that were given up start again.".
-spec reload_exporters() -> ok | {error, erlmcp_native_config:problem()}.
reload_exporters() ->
    case {erlmcp_native_exporters:reload_config(), whereis(?MODULE)} of
        {not_started, undefined} -> ok;
        {not_started, _} -> revive();
        {Result, _} -> Result
    end.

revive() ->
    case erlmcp_native_exporters:start_again() of
        {ok, _} -> erlmcp_native_keeper:look();
        {error, {already_started, _}} -> reload_exporters();
        {error, Reason} -> erlmcp_native_exporters:problem(http, Reason)
    end.

-doc """
Starts a service, unless somebody else has: then it is not this supervisor's, and has no process here. That its name is
taken by a process that is no such service is an error.
""".
-spec start_service(module()) -> supervisor:startchild_ret() | ignore.
start_service(Service) ->
    case Service:start_link() of
        {error, {already_started, Pid}} = Taken ->
            Server = server(Service),
            case proc_lib:translate_initial_call(Pid) of
                {Server, init, 1} -> ignore;
                _ -> Taken
            end;
        Result ->
            Result
    end.

-doc false.
-spec init(boolean()) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Supervise) ->
    erlmcp_native_relay:remember(),
    ok = erlmcp_priority_groups:remember(),
    Services = [Service || Supervise, Service <- services()],
    Keeper = #{id => erlmcp_native_keeper, start => {erlmcp_native_keeper, start_link, []}, shutdown => 1000},
    Children = [child(Service) || Service <- Services] ++ [erlmcp_native_exporters:child_spec(), Keeper],
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, Children}}.

services() ->
    [erlmcp_queue_limits, erlmcp_overload_monitor, erlmcp_control_plane].

server(erlmcp_queue_limits) -> erlmcp_limits_server;
server(erlmcp_overload_monitor) -> erlmcp_overload_server;
server(erlmcp_control_plane) -> erlmcp_control_server.

%% Calling a million monitors off takes some seconds.
child(Service) ->
    #{id => Service, start => {?MODULE, start_service, [Service]}, shutdown => 30000, modules => [Service]}.
