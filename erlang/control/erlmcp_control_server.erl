-module(erlmcp_control_server).
-moduledoc """
The process registered as `erlmcp_control_plane`: it starts handlers, restarts those that died, and removes
components whose owner died. No message to a component passes through it.

The registry is native and outlives this process, and so do the handlers, which are monitored and not
linked: a new process finds both.
""".

-behaviour(gen_server).
-behaviour(erlmcp_native_config).

-export([start_link/0, close/0, config/0, reload_config/0, register_component/3, unregister_component/2, revive/4]).
-export([check/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/logger.hrl").

-define(NAME, erlmcp_control_plane).

-doc "This is how a component was registered, with a value for every option.".
-type registration() :: #{
    handler := erlmcp_control_plane:handler() | undefined,
    alias := reference() | undefined,
    owner := pid() | undefined,
    timeout_ms := non_neg_integer(),
    priority := high | normal,
    rate := #{erlmcp_control_message:control_type() => erlmcp_overload_rate:rate()}
}.

-export_type([registration/0]).

-doc "The call that is named in an exit.".
-type mfargs() :: {module(), atom(), [term()]}.

%% The monitors of the handler, if it is ours, and of the processes without which the component goes.
-record(component, {
    pid :: pid(),
    alias :: reference(),
    registration :: registration(),
    handler :: reference() | undefined,
    needed :: [reference()],
    %% The handler's process before this one.
    died :: {pid(), Reason :: term()} | undefined
}).

-record(state, {
    components :: #{atom() => #component{}},
    %% Handlers that may finish what they are at.
    retiring = #{} :: #{pid() => retiring},
    %% Who tells of cancellations.
    notifier :: pid()
}).

-type state() :: #state{}.

-doc "Starts the service of the control plane, linked to the caller and registered as `erlmcp_control_plane`.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    SpawnOptions = [{message_queue_data, off_heap}],
    erlmcp_native_service:start_link(?NAME, ?MODULE, [], [{spawn_opt, SpawnOptions}], {?MODULE, check, []}).

-doc false.
-spec check() -> ok | {error, term()}.
check() ->
    erlmcp_native_config:check([Key || #{name := Key} <- config()], config()).

-doc "Closes the plane that a process has left open, and ends the handlers of all components.".
-spec close() -> ok.
close() ->
    Rows = erlmcp_native:control_open(true),
    true = is_list(Rows),
    close([Pid || {_, Alias, #{alias := undefined}} <- Rows, {ok, Pid} <- [erlmcp_native:alias_process(Alias)]]).

-doc false.
-spec config() -> erlmcp_native_options:table().
config() ->
    [
        #{
            name => control_plane_enabled,
            type => erlmcp_native_options:boolean(),
            default => true,
            doc => ~"Whether control messages use the priority lane."
        },
        #{
            name => cancel,
            from => [erlmcp_native],
            type => erlmcp_native_options:options(erlmcp_control_notifier:table()),
            default => #{Name => Default || #{name := Name, default := Default} <- erlmcp_control_notifier:table()},
            shown => ~"`#{}`",
            doc => ~"Cancellations that come early, see `m:erlmcp_control_notifier`."
        }
    ].

-doc "Applies the configuration of the priority lane, and of cancellation, if the service is started.".
-spec reload_config() -> ok | {error, erlmcp_native_config:problem()}.
reload_config() ->
    maybe
        {ok, Priority} ?= erlmcp_native_config:lookup(control_plane_enabled, config()),
        {ok, Cancel} ?= erlmcp_native_config:lookup(cancel, config()),
        _ = erlmcp_native:control_configure(Priority),
        erlmcp_control_notifier:configure(Cancel)
    end.

-doc """
Registers a component, or replaces its registration. A new one is refused while there are 1024. `Call` is named in what
this exits with: see `erlmcp_native_wait:serve/3`.
""".
-spec register_component(atom(), registration(), Call :: mfargs()) -> ok | {error, too_many_components}.
register_component(Id, Registration, Call) ->
    erlmcp_native_wait:serve(?NAME, {register, Id, Registration}, Call).

-doc "Unregisters a component, registered or not. Exits as `register_component/3`.".
-spec unregister_component(atom(), Call :: mfargs()) -> ok.
unregister_component(Id, Call) ->
    erlmcp_native_wait:serve(?NAME, {unregister, Id}, Call).

-doc """
Waits until the component no longer sends to a process that a sender has found dead. The continuation gets
`{answer, {died, Reason}}`, of what that process has died, or `{answer, unknown}`; `{down, Reason}`, the service is not
there; or `timeout`, at the deadline in nanoseconds.
""".
-spec revive(atom(), pid() | undefined, Deadline :: integer(), erlmcp_native_wait:continuation()) -> term().
revive(Id, Pid, Deadline, {Module, Function, Context} = Continuation) ->
    case whereis(?NAME) of
        undefined -> Module:Function({down, noproc}, Context);
        Service -> erlmcp_native_wait:ask(Service, Service, none, {revive, none, Id, Pid}, Deadline, Continuation)
    end.

-doc false.
-spec init([]) -> {ok, state()} | {error, term()}.
init([]) ->
    process_flag(trap_exit, true),
    maybe
        ok ?= erlmcp_native_error:library(),
        {ok, Priority} ?= erlmcp_native_config:lookup(control_plane_enabled, config()),
        {ok, Cancel} ?= erlmcp_native_config:lookup(cancel, config()),
        erlmcp_native_service:opens(?NAME),
        Rows = erlmcp_native:control_open(Priority),
        true ?= is_list(Rows) orelse {error, Rows},
        ok = erlmcp_control_notifier:configure(Cancel),
        {ok, Notifier} = erlmcp_control_notifier:start_link(),
        %% After a crash: what died unseen is told by its new monitor.
        Components = #{Id => watch(Id, Alias, Reg) || {Id, Alias, Reg} <- Rows},
        {ok, #state{components = Components, notifier = Notifier}}
    end.

-doc false.
-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call({register, Id, Registration}, _From, State) ->
    {Result, NewState} = enter(Id, Registration, State),
    {reply, Result, NewState};
handle_call({unregister, Id}, _From, State) ->
    {reply, ok, leave(Id, State)};
handle_call({hand_over, UntilMs}, _From, State) ->
    {reply, erlmcp_native_service:hand_over(?NAME, UntilMs), State};
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({revive, From, Id, Pid}, State) ->
    NewState = bury(Id, State),
    Answer =
        case NewState#state.components of
            #{Id := #component{died = {Pid, Reason}}} -> {died, Reason};
            #{} -> unknown
        end,
    _ = is_reference(From) andalso (From ! {From, Answer}),
    {noreply, NewState};
handle_info({{handler, Id}, Monitor, process, _, Reason}, #state{components = Components} = State) ->
    case Components of
        #{Id := #component{handler = Monitor}} -> {noreply, lost(Id, Reason, State)};
        #{} -> {noreply, State}
    end;
handle_info({{needed, Id}, Monitor, process, _, _}, #state{components = Components} = State) ->
    maybe
        #{Id := #component{needed = Needed}} ?= Components,
        true ?= lists:member(Monitor, Needed),
        {noreply, leave(Id, State)}
    else
        _ -> {noreply, State}
    end;
handle_info({'EXIT', Notifier, Reason}, #state{notifier = Notifier} = State) ->
    erlmcp_native_log:write(
        error,
        "erlmcp_control_plane: who tells of cancellations was lost, and is started anew: ~0tp",
        [Reason],
        ?LOCATION,
        #{source => notifier_died}
    ),
    {ok, New} = erlmcp_control_notifier:start_link(),
    {noreply, State#state{notifier = New}};
handle_info({retired, _Monitor, process, Pid, _}, #state{retiring = Retiring} = State) ->
    {noreply, State#state{retiring = maps:remove(Pid, Retiring)}};
handle_info(_Info, State) ->
    {noreply, State}.

-doc false.
-spec terminate(term(), state()) -> ok.
terminate(Reason, #state{components = Components, retiring = Retiring, notifier = Notifier}) ->
    ok = erlmcp_control_notifier:stop(Notifier),
    case erlmcp_native_service:is_stopped(Reason) of
        true ->
            Running = [Pid || _ := #component{handler = M, pid = Pid} <- Components, M =/= undefined],
            close(Running ++ maps:keys(Retiring));
        false ->
            ok
    end.

close(Handlers) ->
    _ = erlmcp_native:control_close(),
    lists:foreach(fun erlmcp_control_handler:kill/1, Handlers),
    erlmcp_native_service:closed(?NAME).

enter(Id, Registration, #state{components = Components} = State) ->
    Old = maps:get(Id, Components, undefined),
    case {Registration, Old} of
        {#{alias := Alias}, _} when Alias =/= undefined ->
            {Result, NewState} = put_component(Id, Alias, Registration, Old, State),
            {Result, retire(Old, NewState)};
        {#{handler := Fun, priority := Priority}, #component{handler = Monitor, alias = Running}} when
            Monitor =/= undefined
        ->
            erlmcp_control_handler:replace(Running, Fun, Priority),
            put_component(Id, Running, Registration, Old, State);
        _ ->
            start_handler(Id, Registration, Old, State)
    end.

start_handler(Id, #{handler := Fun, priority := Priority} = Registration, Old, State) ->
    {Pid, Alias} = erlmcp_control_handler:start(Id, Fun, Priority),
    {Result, NewState} = put_component(Id, Alias, Registration, Old, State),
    case Result of
        ok -> erlmcp_control_handler:entered(Pid);
        {error, _} -> erlmcp_control_handler:kill(Pid)
    end,
    {Result, NewState}.

%% There is an end to components, but not to how often one that is there is replaced.
put_component(Id, Alias, Registration, Old, #state{components = Components} = State) ->
    #{alias := OwnAlias, timeout_ms := TimeoutMs, rate := Rate} = Registration,
    Rates = [{Type, Number, erlmcp_native_rate:period_ns(Period)} || Type := {Number, Period} <- Rate],
    Bytes = erlang:external_size(Registration),
    Kind = case OwnAlias of undefined -> handler; _ -> alias end,
    case erlmcp_native:control_put(Id, Kind, Alias, {TimeoutMs, Rates}, Registration, Bytes) of
        ok ->
            unwatch(Old),
            {ok, State#state{components = Components#{Id => watch(Id, Alias, Registration)}}};
        too_many_components = Reason ->
            {{error, Reason}, State}
    end.

%% The registration of an alias goes with its process, too.
watch(Id, Alias, #{alias := OwnAlias, owner := Owner} = Registration) ->
    {ok, Pid} = erlmcp_native:alias_process(Alias),
    {Handler, Needed} =
        case OwnAlias of
            undefined -> {monitor_as({handler, Id}, Pid), [Owner]};
            _ -> {undefined, [Pid, Owner]}
        end,
    #component{
        pid = Pid,
        alias = Alias,
        registration = Registration,
        handler = Handler,
        needed = [monitor_as({needed, Id}, Process) || Process <- Needed, Process =/= undefined]
    }.

monitor_as(Tag, Pid) -> erlang:monitor(process, Pid, [{tag, Tag}]).

unwatch(undefined) ->
    ok;
unwatch(#component{handler = Handler, needed = Needed}) ->
    _ = [erlang:demonitor(Monitor) || Monitor <- [Handler | Needed], Monitor =/= undefined],
    ok.

%% A process that is dead may not have been heard of yet: its message is on the way. One that is at work is not asked.
bury(Id, #state{components = Components} = State) ->
    case Components of
        #{Id := #component{pid = Pid, handler = Monitor}} when Monitor =/= undefined ->
            case erlmcp_native:is_living(Pid) of
                false ->
                    receive
                        {{handler, Id}, Monitor, process, _, Reason} -> lost(Id, Reason, State)
                    end;
                _ ->
                    State
            end;
        #{Id := #component{pid = Pid}} ->
            case erlmcp_native:is_living(Pid) of
                false -> leave(Id, State);
                _ -> State
            end;
        #{} ->
            State
    end.

lost(Id, Reason, #state{components = Components} = State) ->
    case Components of
        #{Id := #component{pid = Pid, registration = Registration} = Component} ->
            _ = erlmcp_native:control_crashed(Id),
            ok = erlmcp_control_failure:keep(Id, "its process died: ~0tp", [Reason]),
            erlmcp_native_log:write(
                error,
                "erlmcp_control_plane: handler of ~tp died: ~0tp",
                [Id, Reason],
                ?LOCATION,
                #{source => {handler_died, Id}, component => Id}
            ),
            {ok, NewState} = start_handler(Id, Registration, Component, State),
            #state{components = #{Id := New} = NewComponents} = NewState,
            NewState#state{components = NewComponents#{Id := New#component{died = {Pid, Reason}}}}
    end.

leave(Id, #state{components = Components} = State) ->
    case maps:take(Id, Components) of
        {Component, Rest} ->
            _ = erlmcp_native:control_remove(Id),
            unwatch(Component),
            retire(Component, State#state{components = Rest});
        error ->
            State
    end.

%% A handler may finish what it is at, for as long as its senders would have waited. Another process sees to
%% that, since this one may crash.
retire(#component{handler = Handler} = Component, State) when Handler =/= undefined ->
    #component{pid = Pid, alias = Alias, registration = #{timeout_ms := TimeoutMs}} = Component,
    erlmcp_control_handler:stop(Alias),
    ok = erlmcp_control_reaper:start(Pid, TimeoutMs),
    _ = erlang:monitor(process, Pid, [{tag, retired}]),
    #state{retiring = Retiring} = State,
    State#state{retiring = Retiring#{Pid => retiring}};
retire(_, State) ->
    State.
