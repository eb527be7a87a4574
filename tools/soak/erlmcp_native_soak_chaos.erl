-module(erlmcp_native_soak_chaos).
-moduledoc "Services are killed, modules are loaded again, and configuration is changed.".
-behaviour(erlmcp_native_soak_actor).

-export([init/0, act/1, rest/1, not_reloaded/0]).

-define(SERVICES, [erlmcp_queue_limits, erlmcp_overload_monitor, erlmcp_control_plane]).
%% The supervisor puts up with ten in ten seconds.
-define(KILL_EVERY_MS, 2000).
-define(RELOAD_EVERY_MS, 200).
-define(CONFIGURE_EVERY_MS, 1500).

%% {Module, why it is not loaded again}.
-define(NOT_RELOADED, [
    {erlmcp_native, "cannot be loaded over itself; its old code stays"},
    {erlmcp_native_wait, "cannot be loaded over itself; whoever waits is in it"}
]).

-record(state, {
    services = ?SERVICES :: [atom()],
    modules :: [module()],
    due :: #{kill | reload | configure => integer()},
    findings = [] :: [iodata()]
}).

-doc "Returns the modules that are not loaded again, and why.".
-spec not_reloaded() -> [{module(), iodata()}].
not_reloaded() ->
    Refused = [
        {Module, io_lib:format("somebody was in its old code, ~b times", [Times])}
     || {{?MODULE, Module}, Times} <- persistent_term:get()
    ],
    ?NOT_RELOADED ++ lists:sort(Refused).

-doc false.
-spec init() -> #state{}.
init() ->
    Now = now_ms(),
    #state{modules = modules(), due = maps:from_keys([kill, reload, configure], Now + 1000)}.

modules() ->
    erlmcp_native_soak_node:modules() -- [Module || {Module, _} <- ?NOT_RELOADED].

-doc false.
-spec act(#state{}) -> {[atom()], #state{}}.
act(#state{due = Due} = State) ->
    receive after 20 -> ok end,
    Now = now_ms(),
    case [What || {What, At} <- maps:to_list(Due), At =< Now] of
        [kill | _] -> {[service_kills], kill(State#state{due = Due#{kill => Now + ?KILL_EVERY_MS}})};
        [reload | _] -> reload(State#state{due = Due#{reload => Now + ?RELOAD_EVERY_MS}});
        [configure | _] ->
            {[configurations], configure(State#state{due = Due#{configure => Now + ?CONFIGURE_EVERY_MS}})};
        [] ->
            {[], State}
    end.

now_ms() ->
    erlang:monotonic_time(millisecond).

kill(#state{services = [Service | Others]} = State) ->
    case whereis(Service) of
        undefined -> ok;
        Pid -> exit(Pid, kill)
    end,
    State#state{services = Others ++ [Service]}.

reload(#state{modules = []} = State) ->
    reload(State#state{modules = modules()});
reload(#state{modules = [Module | Others], findings = Findings} = State) ->
    Next = State#state{modules = Others},
    case code:soft_purge(Module) of
        false ->
            persistent_term:put({?MODULE, Module}, 1 + persistent_term:get({?MODULE, Module}, 0)),
            {[reloads_refused], Next};
        true ->
            case code:load_file(Module) of
                {module, Module} -> {[reloads], Next};
                {error, Why} -> {[], Next#state{findings = [io_lib:format("~s: ~p", [Module, Why]) | Findings]}}
            end
    end.

configure(#state{findings = Findings} = State) ->
    Limits = #{soak_8 => 20 + rand:uniform(10), session => 1000 * rand:uniform(10)},
    ok = application:set_env(erlmcp_native, queue_limits, Limits),
    Overload = erlmcp_native_soak_node:overload(),
    ok = application:set_env(erlmcp_native, overload, Overload#{realert_interval => 1000 * rand:uniform(60)}),
    case reloaded(10) of
        ok -> State;
        Other -> State#state{findings = [io_lib:format("reload_config: ~0tp", [Other]) | Findings]}
    end.

%% A service that is killed meanwhile is asked once more.
reloaded(Tries) ->
    try
        erlmcp_native_app:reload_config()
    catch
        exit:_ when Tries > 0 ->
            receive after 20 -> reloaded(Tries - 1) end;
        exit:Reason ->
            {exit, Reason}
    end.

-doc false.
-spec rest(#state{}) -> {[iodata()], #state{}}.
rest(#state{findings = Findings} = State) ->
    Back = [
        erlmcp_native_soak_actor:eventually(
            fun() -> whereis(Name) =/= undefined end, io_lib:format("~s is gone", [Name])
        )
     || Name <- [erlmcp_native_sup, erlmcp_native_exporters | ?SERVICES]
    ],
    {Findings ++ lists:append(Back), State#state{findings = []}}.
