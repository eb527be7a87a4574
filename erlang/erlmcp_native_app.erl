-module(erlmcp_native_app).
-moduledoc """
The application: checks the configuration, starts the services unless `supervise` is `false`, and applies
configuration that changes later.

What was set at run time by a function wins over the configuration until the service is stopped.
""".

-behaviour(application).

-export([reload_config/0]).
-export([start/2, stop/1, config_change/3]).

-doc """
Applies the configuration as it is now to the services that are started. Needed after
`application:set_env/3` and after a change of `erlmcp_core`'s environment, which nothing announces.
Wrong values change nothing. `supervise` matters at the start only.
""".
-spec reload_config() -> ok | {error, erlmcp_native_config:problem()}.
reload_config() ->
    maybe
        ok ?= erlmcp_native_config:check(),
        ok ?= erlmcp_limits_server:reload_config(),
        ok ?= erlmcp_overload_server:reload_config(),
        ok ?= erlmcp_control_server:reload_config(),
        erlmcp_native_exporters:reload_config()
    end.

-doc false.
-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    maybe
        ok ?= erlmcp_native_config:check(),
        {ok, Supervise} ?= erlmcp_native_config:lookup(supervise),
        erlmcp_native_sup:start_link(Supervise)
    end.

-doc false.
-spec stop(term()) -> ok.
stop(_State) ->
    ok.

-doc false.
-spec config_change([{atom(), term()}], [{atom(), term()}], [atom()]) -> ok.
config_change(_Changed, _New, _Removed) ->
    case reload_config() of
        ok -> ok;
        {error, Problem} -> logger:error("erlmcp_native: new configuration not applied: ~tp", [Problem])
    end.
