-module(erlmcp_native_exporters).
-moduledoc """
Supervises what tells others: the groups of priority messages, the event hub and what it and the endpoints share, the
relay to `telemetry`, and, as far as they are configured, the HTTP listener, the pusher to an OpenTelemetry endpoint,
the relay to erlmcp's metrics, and what tells the other nodes of a cluster.

A listener that cannot be had, since its port is taken, say, stops the start of the application. Once started,
whatever becomes of the exporters has no effect on the services. If this supervisor ends, `m:erlmcp_native_keeper` has
it started again.
""".

-behaviour(supervisor).

-export([child_spec/0, start_link/0, start_again/0, reload_config/0, problem/2]).
-export([init/1]).

-include_lib("kernel/include/logger.hrl").

%% What a target hangs at is not waited for.
-define(SHUTDOWN_MS, 1000).
%% Not the module, but the process: of the application.
-define(SUPERVISOR, erlmcp_native_sup).
-define(ALWAYS, [erlmcp_priority_groups, erlmcp_native_scan, erlmcp_native_events]).
%% By the key of their options. A scope of pg greets all nodes when it starts, and is suspended where one of them stands
%% still and its connection is full: whoever is started after it waits for that.
-define(CONFIGURED, [
    {http, erlmcp_native_http},
    {otlp, erlmcp_native_otlp},
    {metrics_server, erlmcp_native_metrics_server},
    {cluster, erlmcp_overload_cluster_options}
]).

-doc """
Returns the supervisor as a child of the application's: not started again by that, since it would count against the
services.
""".
-spec child_spec() -> supervisor:child_spec().
child_spec() ->
    #{id => ?MODULE, start => {?MODULE, start_link, []}, type => supervisor, restart => temporary}.

-doc "Starts the supervisor of the exporters with what is configured.".
-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-doc """
Starts the supervisor as the application's child once more. Its children of before, which end with it but not in the
same moment, have as long for that as when they are shut down.
""".
-spec start_again() -> supervisor:startchild_ret().
start_again() ->
    Names = [erlmcp_overload_cluster_sup, erlmcp_native_telemetry | ?ALWAYS] ++ [Module || {_, Module} <- ?CONFIGURED],
    _ = [await_end(Pid) || Name <- Names, Pid <- [whereis(Name)], is_pid(Pid), erlmcp_native_pid:is_orphan(Pid)],
    supervisor:start_child(?SUPERVISOR, child_spec()).

await_end(Pid) ->
    Monitor = erlang:monitor(process, Pid),
    receive
        {'DOWN', Monitor, process, _, _} -> true
    after ?SHUTDOWN_MS -> exit(Pid, kill)
    end.

-doc "Starts, restarts and stops what is configured otherwise than before, if the exporters are started.".
-spec reload_config() -> ok | not_started | {error, erlmcp_native_config:problem()}.
reload_config() ->
    case whereis(?MODULE) of
        undefined -> not_started;
        _ -> reload(?CONFIGURED)
    end.

reload([]) ->
    ok;
reload([{Id, Module} | Rest]) ->
    maybe
        {ok, Options} ?= erlmcp_native_config:lookup(Id, Module:config()),
        ok ?= change(Id, running(Id), wanted(Id, Options)),
        ok ?= follow(Id, Options),
        reload(Rest)
    end.

running(Id) ->
    case supervisor:get_childspec(?MODULE, Id) of
        {ok, #{start := Start}} -> Start;
        {error, not_found} -> off
    end.

%% A cluster is not left and joined again for another number.
follow(cluster, off) -> erlmcp_overload_cluster_server:whole();
follow(cluster, _Options) -> erlmcp_overload_cluster_server:reload();
follow(_, _) -> ok.

change(_Id, off, off) ->
    ok;
change(_Id, Start, #{start := Start}) ->
    ok;
change(Id, off, Spec) ->
    case supervisor:start_child(?MODULE, Spec) of
        {ok, _} -> ok;
        {error, Reason} -> problem(Id, Reason)
    end;
change(Id, _Start, Wanted) ->
    _ = supervisor:terminate_child(?MODULE, Id),
    _ = supervisor:delete_child(?MODULE, Id),
    change(Id, off, Wanted).

-doc "Says that what is configured under a key cannot be started, for this reason.".
-spec problem(cluster | http | otlp | metrics_server, Reason :: term()) -> {error, erlmcp_native_config:problem()}.
problem(Id, Reason) ->
    Expected = lists:flatten(io_lib:format("what can be started, not ~0tp", [Reason])),
    %% Its value may have secrets in it.
    erlmcp_native_config:problem(erlmcp_native, Id, {[], hidden, Expected}).

-doc false.
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}} | ignore.
init([]) ->
    erlmcp_native_self:start(),
    Telemetry = #{
        id => erlmcp_native_telemetry,
        start => {erlmcp_native_relay, start_link, [erlmcp_native_telemetry]},
        shutdown => ?SHUTDOWN_MS
    },
    Configured = [Spec || {Id, Module} <- ?CONFIGURED, Spec <- [configured(Id, Module)], Spec =/= off],
    Always = [#{id => Module, start => {Module, start_link, []}, shutdown => ?SHUTDOWN_MS} || Module <- ?ALWAYS],
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, Always ++ [Telemetry | Configured]}}.

configured(Id, Module) ->
    case erlmcp_native_config:lookup(Id, Module:config()) of
        {ok, Options} ->
            wanted(Id, Options);
        {error, Problem} ->
            %% It was right when the application was started.
            erlmcp_native_log:write(error, "erlmcp_native: ~ts is off: ~0tp", [Id, Problem], ?LOCATION, #{}),
            off
    end.

wanted(_Id, off) ->
    off;
wanted(cluster, _Options) ->
    erlmcp_overload_cluster_sup:child_spec();
wanted(http, Options) ->
    (erlmcp_native_http:child_spec(Options))#{id => http};
wanted(metrics_server, Parts) ->
    case erlmcp_native_metrics_server:child_spec(Parts) of
        off -> off;
        Spec -> Spec#{shutdown => ?SHUTDOWN_MS}
    end;
wanted(otlp, Options) ->
    #{id => otlp, start => {erlmcp_native_otlp, start_configured, [fingerprint(Options)]}}.

%% Tells options apart and does not tell them: they may have secrets in them, and a child's start is printed.
fingerprint(Options) ->
    erlang:md5(term_to_binary({salt(), Options}, [deterministic])).

salt() ->
    case persistent_term:get({?MODULE, salt}, undefined) of
        undefined ->
            Salt = rand:bytes(16),
            persistent_term:put({?MODULE, salt}, Salt),
            Salt;
        Salt ->
            Salt
    end.
