-module(erlmcp_native_app).
-moduledoc """
The application: checks the configuration, starts the services unless `supervise` is `false`, and applies
configuration that changes later.

| option | value | default | meaning |
| --- | --- | --- | --- |
| `queue_limits` | a map of roles to limits | see `m:erlmcp_queue_limits` | The limits per owner, as `erlmcp_queue_limits:set_limit/2` takes them, of at most 1024 roles. |
| `reserve` | a map of roles to reserves | `#{}` | What of a role's limit is kept for the higher classes, see `erlmcp_queue_limits:set_reserve/2`. |
| `rates` | a map of names to rates | `#{}` | Rates by name, at most 1024, as `erlmcp_overload_rate:define/2` takes them. |
| `queue_limits_enabled` | true or false | `true` | Whether a full queue refuses. |
| `history` | true or false | `true` | Whether the last day is kept, see `m:erlmcp_native_history`. |
| `control_plane_enabled` | true or false | `true` | Whether control messages use the priority lane. |
| `cancel` | a map of options | `#{}` | Cancellations that come early, see `m:erlmcp_control_notifier`. |
| `overload_monitor_enabled` | true or false | `true` | Whether there are alerts. |
| `overload` | a map of options | `#{}` | The monitor's options, see `m:erlmcp_overload_options`. |
| `node` | off, or a map of options | `off` | What the node can bear, see `m:erlmcp_overload_node`. |
| `supervise` | true or false | `true` | Whether the application starts the three services itself. |
| `cluster` | off, or a map of options | `off` | Many nodes that know of each other, see `m:erlmcp_overload_cluster`. |
| `http` | off, or a map of options | `off` | The options of the HTTP listener, see `m:erlmcp_native_http`. |
| `otlp` | off, or a map of options | `off` | The options of the pusher, see `m:erlmcp_native_otlp_options`. |
| `metrics_server` | a list of latencies, refusals | `[]` | What is passed on to erlmcp's metrics server, see `m:erlmcp_native_metrics_server`. |

`cancel`, `node`, `cluster`, `http`, `otlp` and `metrics_server` are looked up in the environment of `erlmcp_native`
only; of the others each is looked up there, else in that of `erlmcp_core`, and for `queue_limits` the two are merged,
ours over theirs, both over the defaults. Maps may be written as keyword lists. A wrong value, or a key in this
application's environment that is none of these, stops the start with
`{bad_config, #{application, key, value, expected}}`.

Another module of a drop-in's name on the code path, erlmcp's own say, stops the start with `{conflicting_modules, …}`,
which names both files: see `m:erlmcp_native_conflicts`.

With `supervise`, a service that somebody else has started already is left to them, and one that somebody else starts
later is handed over: the child specifications of erlmcp may stay where they are.

What was set at run time by a function wins over the configuration until the service is stopped.
""".

-behaviour(application).
-behaviour(erlmcp_native_config).

-export([reload_config/0, config/0, table/0]).
-export([start/2, stop/1, config_change/3]).
-export([reload/0, change/0, change_exporters/0]).

-include_lib("kernel/include/logger.hrl").

-define(FLUSH_MS, 200).
-define(RELOAD_MS, 20000).

%% Whoever reads configuration, in the order in which it is checked.
-define(READERS, [
    erlmcp_limits_server,
    erlmcp_control_server,
    erlmcp_overload_server,
    ?MODULE,
    erlmcp_overload_cluster_options,
    erlmcp_native_http,
    erlmcp_native_otlp,
    erlmcp_native_metrics_server
]).

-doc """
Applies the configuration as it is now to the services that are started. Needed after
`application:set_env/3` and after a change of `erlmcp_core`'s environment, which nothing announces.
Wrong values change nothing. `supervise` matters at the start only.

Exits with `{timeout, {erlmcp_native_app, reload_config, []}}` if a service does not answer within 5 s, or the exporters
have not been started and stopped within 20 s; what was asked for may still be done later. Exits with `noproc` in the
place of `timeout` if the application is being stopped, and with `killed`, say, if a service dies meanwhile: of the
services some have the new configuration then, and it is to be called again.
""".
-spec reload_config() -> ok | {error, erlmcp_native_config:problem()}.
reload_config() ->
    erlmcp_native_wait:within(?RELOAD_MS, {?MODULE, reload, []}, {?MODULE, ?FUNCTION_NAME, []}).

-doc false.
-spec reload() -> ok | {error, erlmcp_native_config:problem()}.
reload() ->
    maybe
        ok ?= reload_services(),
        erlmcp_native_sup:reload_exporters()
    end.

reload_services() ->
    maybe
        ok ?= check(),
        ok ?= erlmcp_limits_server:reload_config(),
        ok ?= erlmcp_overload_server:reload_config(),
        erlmcp_control_server:reload_config()
    end.

-doc false.
-spec config() -> erlmcp_native_options:table().
config() ->
    [
        #{
            name => supervise,
            type => erlmcp_native_options:boolean(),
            default => true,
            doc => ~"Whether the application starts the three services itself."
        }
    ].

-doc "Returns the table of all keys that are read, by whomever.".
-spec table() -> erlmcp_native_options:table().
table() ->
    lists:append([Reader:config() || Reader <- ?READERS]).

check() ->
    Table = table(),
    maybe
        ok ?= erlmcp_native_config:check([Key || #{name := Key} <- Table], Table),
        erlmcp_native_config:unknown(Table)
    end.

-doc false.
-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    maybe
        ok ?= erlmcp_native_conflicts:check(),
        ok ?= check(),
        {ok, Supervise} ?= erlmcp_native_config:lookup(supervise, config()),
        erlmcp_native_sup:start_link(Supervise)
    end.

-doc false.
-spec stop(term()) -> ok.
stop(_State) ->
    erlmcp_native_sup:close(),
    ok = erlmcp_overload_cluster_server:whole(),
    %% What was said at the end; nobody waits for a logger that is stuck.
    _ = erlmcp_native_log:flush(?FLUSH_MS),
    ok.

-doc false.
-spec config_change([{atom(), term()}], [{atom(), term()}], [atom()]) -> ok.
config_change(_Changed, _New, _Removed) ->
    erlmcp_native_wait:within(?RELOAD_MS, {?MODULE, change, []}, {?MODULE, ?FUNCTION_NAME, []}).

%% The process that waits for this is that of all applications, which an exporter may need when it starts.
-doc false.
-spec change() -> ok.
change() ->
    case applied(fun reload_services/0) of
        ok -> _ = spawn(?MODULE, change_exporters, []), ok;
        error -> ok
    end.

-doc false.
-spec change_exporters() -> ok | error.
change_exporters() ->
    applied(fun erlmcp_native_sup:reload_exporters/0).

applied(Reload) ->
    try Reload() of
        ok -> ok;
        {error, Problem} -> not_applied(Problem)
    catch
        exit:Reason -> not_applied(Reason)
    end.

not_applied(Problem) ->
    erlmcp_native_log:write(
        error, "erlmcp_native: new configuration not applied: ~0tp", [Problem], ?LOCATION, #{}
    ),
    error.
