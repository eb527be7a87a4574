-module(erlmcp_control_server).
-moduledoc """
The process registered as `erlmcp_control_plane`: it starts handlers, restarts those that died, and removes
components whose owner died. No message to a component passes through it.

The registry is native and outlives this process, and so do the handlers, which are monitored and not
linked: a new process finds both.
""".

-behaviour(gen_server).

-export([start_link/0, reload_config/0, register_component/2, unregister_component/1, revive/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(NAME, erlmcp_control_plane).

-doc "How a component was registered, every option given a value.".
-type registration() :: #{
    handler := erlmcp_control_plane:handler() | undefined,
    alias := reference() | undefined,
    owner := pid() | undefined,
    timeout_ms := non_neg_integer(),
    priority := high | normal
}.

-export_type([registration/0]).

%% What is watched: a handler, or a process without which the component goes.
-record(component, {
    pid :: pid(),
    alias :: reference(),
    registration :: registration(),
    handler :: reference() | undefined,
    owner :: reference() | undefined
}).

-type state() :: #{atom() => #component{}}.

-doc "Starts the service.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?NAME}, ?MODULE, [], [{spawn_opt, [{message_queue_data, off_heap}]}]).

-doc "Applies the configuration, if the service is started.".
-spec reload_config() -> ok | {error, erlmcp_native_config:problem()}.
reload_config() ->
    maybe
        {ok, Priority} ?= erlmcp_native_config:lookup(control_plane_enabled),
        _ = erlmcp_native:control_configure(Priority),
        ok
    end.

-doc "Registers a component, or replaces its registration.".
-spec register_component(atom(), registration()) -> ok.
register_component(Id, Registration) ->
    gen_server:call(?NAME, {register, Id, Registration}, infinity).

-doc "Unregisters a component, registered or not.".
-spec unregister_component(atom()) -> ok.
unregister_component(Id) ->
    gen_server:call(?NAME, {unregister, Id}, infinity).

-doc "Returns when the component no longer sends to a process that a sender has found dead.".
-spec revive(atom(), timeout()) -> ok.
revive(Id, TimeoutMs) ->
    gen_server:call(?NAME, {revive, Id}, TimeoutMs).

-doc false.
-spec init([]) -> {ok, state()} | {error, term()}.
init([]) ->
    process_flag(trap_exit, true),
    maybe
        ok ?= erlmcp_native_error:library(),
        {ok, Priority} ?= erlmcp_native_config:lookup(control_plane_enabled),
        Rows = erlmcp_native:control_open(Priority),
        true ?= is_list(Rows) orelse {error, Rows},
        %% After a crash: what died unseen is told by its new monitor.
        {ok, #{Id => watch(Id, Alias, Registration) || {Id, Alias, Registration} <- Rows}}
    end.

-doc false.
-spec handle_call(term(), gen_server:from(), state()) -> {reply, ok | {error, unknown_call}, state()}.
handle_call({register, Id, Registration}, _From, State) ->
    Old = maps:get(Id, State, undefined),
    {reply, ok, State#{Id => enter(Id, Registration, Old)}};
handle_call({unregister, Id}, _From, State) ->
    {reply, ok, leave(Id, State)};
handle_call({revive, Id}, _From, State) ->
    case State of
        #{Id := #component{pid = Pid}} ->
            case is_process_alive(Pid) of
                true -> {reply, ok, State};
                false -> {reply, ok, lost(Id, State)}
            end;
        #{} ->
            {reply, ok, State}
    end;
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({{handler, Id}, Monitor, process, _, _}, State) ->
    case State of
        #{Id := #component{handler = Monitor}} -> {noreply, lost(Id, State)};
        #{} -> {noreply, State}
    end;
handle_info({{owner, Id}, Monitor, process, _, _}, State) ->
    case State of
        #{Id := #component{owner = Monitor}} -> {noreply, leave(Id, State)};
        #{} -> {noreply, State}
    end;
handle_info({kill, Pid}, State) ->
    exit(Pid, kill),
    {noreply, State};
handle_info(_Info, State) ->
    {noreply, State}.

-doc false.
-spec terminate(term(), state()) -> ok.
terminate(Reason, State) ->
    case erlmcp_native_error:is_normal(Reason) of
        true ->
            _ = erlmcp_native:control_close(),
            maps:foreach(fun(_, Component) -> end_handler(Component) end, State);
        false ->
            ok
    end.

end_handler(#component{handler = undefined}) -> ok;
end_handler(#component{pid = Pid}) -> exit(Pid, shutdown).

enter(Id, #{alias := undefined, handler := Fun, priority := Priority} = Registration, Old) ->
    Alias =
        case Old of
            #component{handler = Monitor, alias = Running} when Monitor =/= undefined ->
                erlmcp_control_handler:replace(Running, Fun, Priority),
                Running;
            _ ->
                start_handler(Id, Registration)
        end,
    put_component(Id, Alias, Registration, Old);
enter(Id, #{alias := Alias} = Registration, Old) ->
    Component = put_component(Id, Alias, Registration, Old),
    retire(Old),
    Component.

start_handler(Id, #{handler := Fun, priority := Priority}) ->
    {_Pid, Alias} = erlmcp_control_handler:start(Id, Fun, Priority),
    Alias.

put_component(Id, Alias, Registration, Old) ->
    unwatch(Old),
    #{alias := OwnAlias, timeout_ms := TimeoutMs} = Registration,
    Kind = case OwnAlias of undefined -> handler; _ -> alias end,
    ok = erlmcp_native:control_put(Id, Kind, Alias, TimeoutMs, Registration),
    watch(Id, Alias, Registration).

%% The registration of an alias goes with its process; so does that of an owner.
watch(Id, Alias, #{alias := OwnAlias, owner := Owner} = Registration) ->
    {ok, Pid} = erlmcp_native:alias_process(Alias),
    {Handler, Needed} =
        case OwnAlias of
            undefined -> {monitor_as({handler, Id}, Pid), Owner};
            _ -> {undefined, Pid}
        end,
    #component{
        pid = Pid,
        alias = Alias,
        registration = Registration,
        handler = Handler,
        owner = monitor_as({owner, Id}, Needed)
    }.

monitor_as(_, undefined) -> undefined;
monitor_as(Tag, Pid) -> erlang:monitor(process, Pid, [{tag, Tag}]).

unwatch(undefined) ->
    ok;
unwatch(#component{handler = Handler, owner = Owner}) ->
    _ = [erlang:demonitor(Monitor) || Monitor <- [Handler, Owner], Monitor =/= undefined],
    ok.

lost(Id, State) ->
    #{Id := #component{registration = Registration, handler = Handler} = Component} = State,
    case Handler of
        undefined ->
            leave(Id, State);
        _ ->
            _ = erlmcp_native:control_crashed(),
            Alias = start_handler(Id, Registration),
            State#{Id => put_component(Id, Alias, Registration, Component)}
    end.

leave(Id, State) ->
    case maps:take(Id, State) of
        {Component, Rest} ->
            _ = erlmcp_native:control_remove(Id),
            unwatch(Component),
            retire(Component),
            Rest;
        error ->
            State
    end.

%% A handler may finish what it is at, for as long as its senders would have waited.
retire(#component{handler = Handler, pid = Pid, alias = Alias, registration = #{timeout_ms := Ms}}) when
    Handler =/= undefined
->
    erlmcp_control_handler:stop(Alias),
    _ = erlang:send_after(Ms, self(), {kill, Pid}),
    ok;
retire(_) ->
    ok.
