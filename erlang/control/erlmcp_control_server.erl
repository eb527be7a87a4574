-module(erlmcp_control_server).
-moduledoc """
The process registered as `erlmcp_control_plane`: it starts handlers, restarts those that died, and removes
components whose owner died. No message to a component passes through it.

The registry is native and outlives this process, and so do the handlers, which are monitored and not
linked: a new process finds both. What the node has no room for, to start a process, is tried again.
""".

-behaviour(gen_server).
-behaviour(erlmcp_native_config).

-export([start_link/0, close/0, config/0, reload_config/0, register_component/3, unregister_component/2, revive/4]).
-export([check/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/logger.hrl").

-define(NAME, erlmcp_control_plane).
%% When it is tried again to start what there was no room for.
-define(AGAIN_MS, 100).

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

%% The monitors of the handler, if it is ours, unless it is to be started again, and of the processes without which the
%% component goes.
-record(component, {
    pid :: pid(),
    alias :: reference(),
    registration :: registration(),
    handler :: reference() | lost | undefined,
    needed :: [reference()],
    %% The handler's process before this one.
    died :: {pid(), Reason :: term()} | undefined
}).

-record(state, {
    components :: #{atom() => #component{}},
    %% Handlers that may finish what they are at, and whether somebody sees to it that they do.
    retiring = #{} :: #{pid() => retiring | {no_reaper, TimeoutMs :: non_neg_integer()}},
    %% Who tells of cancellations.
    notifier = none :: pid() | none,
    %% Who waits for a handler that is to be started again, and when that is.
    waiting = [] :: [term()],
    again = none :: reference() | none
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
Registers a component, or replaces its registration. A new one is refused while there are 1024, or there is no room for
its handler's process. `Call` is named in what this exits with: see `erlmcp_native_wait:serve/3`.
""".
-spec register_component(atom(), registration(), Call :: mfargs()) -> ok | {error, too_many_components | system_limit}.
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
        %% After a crash: what died unseen is told by its new monitor.
        Components = #{Id => watch(Id, Alias, Reg) || {Id, Alias, Reg} <- Rows},
        {ok, notified(#state{components = Components})}
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
    case NewState#state.components of
        #{Id := #component{died = {Pid, Reason}}} -> revived([From], {died, Reason}, NewState);
        #{Id := #component{handler = lost}} -> {noreply, NewState#state{waiting = [From | NewState#state.waiting]}};
        #{} -> revived([From], unknown, NewState)
    end;
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
    {noreply, notified(State)};
handle_info({timeout, Timer, again}, #state{again = Timer, waiting = Waiting} = State) ->
    revived(Waiting, unknown, tried_again(State#state{again = none, waiting = []}));
handle_info({retired, _Monitor, process, Pid, _}, #state{retiring = Retiring} = State) ->
    {noreply, State#state{retiring = maps:remove(Pid, Retiring)}};
handle_info(_Info, State) ->
    {noreply, State}.

-doc false.
-spec terminate(term(), state()) -> ok.
terminate(Reason, #state{components = Components, retiring = Retiring, notifier = Notifier}) ->
    _ = is_pid(Notifier) andalso erlmcp_control_notifier:stop(Notifier),
    case erlmcp_native_service:is_stopped(Reason) of
        true ->
            Running = [Pid || _ := #component{handler = M, pid = Pid} <- Components, M =/= undefined],
            close(Running ++ maps:keys(Retiring));
        false ->
            ok
    end.

revived(Senders, Answer, State) ->
    _ = [From ! {From, Answer} || From <- Senders, is_reference(From)],
    {noreply, State}.

notified(State) ->
    case erlmcp_native_process:start(fun erlmcp_control_notifier:start_link/0) of
        {ok, Notifier} -> State#state{notifier = Notifier};
        {error, system_limit} -> again(State#state{notifier = none})
    end.

again(#state{again = none} = State) -> State#state{again = erlang:start_timer(?AGAIN_MS, self(), again)};
again(State) -> State.

tried_again(#state{components = Components, retiring = Retiring, notifier = Notifier} = State) ->
    Notified = case Notifier of none -> notified(State); _ -> State end,
    Reaped = maps:fold(fun reaped/3, Notified, Retiring),
    maps:fold(
        fun
            (Id, #component{handler = lost} = Component, Acc) -> started_again(Id, Component, Acc);
            (_, _, Acc) -> Acc
        end,
        Reaped,
        Components
    ).

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
            is_reference(Monitor)
        ->
            erlmcp_control_handler:replace(Running, Fun, Priority),
            put_component(Id, Running, Registration, Old, State);
        _ ->
            start_handler(Id, Registration, Old, State)
    end.

start_handler(Id, #{handler := Fun, priority := Priority} = Registration, Old, State) ->
    case erlmcp_native_process:start(fun() -> erlmcp_control_handler:start(Id, Fun, Priority) end) of
        {error, system_limit} = NoRoom ->
            {NoRoom, State};
        {Pid, Alias} ->
            {Result, NewState} = put_component(Id, Alias, Registration, Old, State),
            case Result of
                ok -> erlmcp_control_handler:entered(Pid);
                {error, _} -> erlmcp_control_handler:kill(Pid)
            end,
            {Result, NewState}
    end.

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
    _ = [erlang:demonitor(Monitor) || Monitor <- [Handler | Needed], is_reference(Monitor)],
    ok.

%% A process that is dead may not have been heard of yet: its message is on the way. One that is at work is not asked.
bury(Id, #state{components = Components} = State) ->
    case Components of
        #{Id := #component{handler = lost}} ->
            State;
        #{Id := #component{pid = Pid, handler = Monitor}} when is_reference(Monitor) ->
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
        #{Id := #component{pid = Pid} = Component} ->
            _ = erlmcp_native:control_crashed(Id),
            ok = erlmcp_control_failure:keep(Id, "its process died: ~0tp", [Reason]),
            erlmcp_native_log:write(
                error,
                "erlmcp_control_plane: handler of ~tp died: ~0tp",
                [Id, Reason],
                ?LOCATION,
                #{source => {handler_died, Id}, component => Id}
            ),
            started_again(Id, Component#component{died = {Pid, Reason}}, State)
    end.

%% Whoever has found its process dead waits until then.
started_again(Id, #component{registration = Registration, died = Died} = Component, State) ->
    case start_handler(Id, Registration, Component, State) of
        {ok, #state{components = #{Id := New} = Components} = NewState} ->
            NewState#state{components = Components#{Id := New#component{died = Died}}};
        {{error, system_limit}, #state{components = Components}} ->
            again(State#state{components = Components#{Id := Component#component{handler = lost}}})
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
retire(#component{handler = Handler} = Component, State) when is_reference(Handler) ->
    #component{pid = Pid, alias = Alias, registration = #{timeout_ms := TimeoutMs}} = Component,
    erlmcp_control_handler:stop(Alias),
    _ = erlang:monitor(process, Pid, [{tag, retired}]),
    reaped(Pid, {no_reaper, TimeoutMs}, State);
retire(_, State) ->
    State.

reaped(Pid, {no_reaper, TimeoutMs} = Unreaped, #state{retiring = Retiring} = State) ->
    case erlmcp_native_process:start(fun() -> erlmcp_control_reaper:start(Pid, TimeoutMs) end) of
        ok -> State#state{retiring = Retiring#{Pid => retiring}};
        {error, system_limit} -> again(State#state{retiring = Retiring#{Pid => Unreaped}})
    end;
reaped(_Pid, retiring, State) ->
    State.
