-module(erlmcp_overload_runner).
-moduledoc """
The process that has a handler's callbacks called: it keeps what waits, and looks at the time. It never runs the
handler's code, and so always takes what it is told; its worker (`m:erlmcp_overload_worker`) does that.
""".

-behaviour(gen_server).

-export([start/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/logger.hrl").

-define(DEADLINE_MS, 5000).
-define(PAUSE_MS, 1000).
-define(MAX_WAITING, 10000).

-record(state, {
    module :: module(),
    arg :: term(),
    worker :: pid() | undefined,
    %% Of the worker; it also marks its answers.
    monitor :: reference() | undefined,
    %% What it is at, and until when: a call, its start, or nothing while there is none.
    at = nothing :: call | start | nothing,
    deadline = none :: erlmcp_native_deadline:deadline() | none,
    waiting = queue:new() :: queue:queue(erlmcp_overload_handler:call()),
    length = 0 :: non_neg_integer(),
    %% The last that was dropped of each role's breaker, older than all that waits: it is told all the same.
    breakers = #{} :: #{atom() => open | close},
    dropped = 0 :: non_neg_integer()
}).

-doc "Starts the process, not linked to the caller.".
-spec start(module(), term()) -> pid() | no_room.
start(Module, Arg) ->
    Start = fun() -> gen_server:start(?MODULE, {Module, Arg}, [{spawn_opt, [{priority, high}]}]) end,
    case erlmcp_native_process:start(Start) of
        {ok, Pid} -> Pid;
        {error, system_limit} -> no_room
    end.

-doc false.
-spec init({module(), term()}) -> {ok, #state{}}.
init({Module, Arg}) ->
    process_flag(trap_exit, true),
    {ok, start_worker(#state{module = Module, arg = Arg})}.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
handle_cast({tell, Call}, State) ->
    {noreply, next(wait(Call, State))};
handle_cast(stop, State) ->
    {stop, normal, State};
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({Monitor, Answer}, #state{monitor = Monitor} = State) ->
    {noreply, answered(Answer, State)};
handle_info({'DOWN', Monitor, process, _, Reason}, #state{monitor = Monitor} = State) ->
    {noreply, lost(Reason, State#state{worker = undefined})};
handle_info({timeout, Timer, beat}, #state{deadline = Deadline} = State) ->
    case erlmcp_native_deadline:beat(Timer, Deadline) of
        {running, Longer} -> {noreply, State#state{deadline = Longer}};
        passed -> {noreply, too_late(State)};
        stray -> {noreply, State}
    end;
handle_info(restart, #state{worker = undefined} = State) ->
    {noreply, start_worker(State)};
handle_info(_Info, State) ->
    {noreply, State}.

-doc false.
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, State) ->
    kill(State).

%% The answer may have come meanwhile.
too_late(#state{monitor = Monitor} = State) ->
    receive
        {Monitor, Answer} -> answered(Answer, State)
    after 0 -> lost(timeout, State)
    end.

answered(done, State) -> next(idle(State));
answered({failed, Reason}, State) -> lost(Reason, State).

idle(#state{deadline = Deadline} = State) ->
    ok = erlmcp_native_deadline:stop(Deadline),
    State#state{at = nothing, deadline = none}.

wait(Call, #state{waiting = Waiting, length = Length} = State) when Length < ?MAX_WAITING ->
    State#state{waiting = queue:in(Call, Waiting), length = Length + 1};
wait(Call, #state{waiting = Waiting, dropped = Dropped, breakers = Breakers} = State) ->
    {{value, Oldest}, Rest} = queue:out(Waiting),
    Next = State#state{waiting = queue:in(Call, Rest)},
    case Oldest of
        {handle_role, [Role, Action]} -> Next#state{breakers = Breakers#{Role => Action}};
        _ -> Next#state{dropped = Dropped + 1}
    end.

next(#state{worker = Worker, at = At} = State) when Worker =:= undefined; At =/= nothing ->
    State;
next(#state{breakers = Breakers, waiting = Waiting, length = Length} = State) when map_size(Breakers) > 0 ->
    [{Role, Action} | _] = maps:to_list(Breakers),
    next(State#state{
        breakers = maps:remove(Role, Breakers),
        waiting = queue:in_r({handle_role, [Role, Action]}, Waiting),
        length = Length + 1
    });
next(#state{worker = Worker, monitor = Monitor, waiting = Waiting, length = Length} = State) when Length > 0 ->
    {{value, {Callback, Args}}, Rest} = queue:out(Waiting),
    ok = erlmcp_overload_worker:call(Worker, Monitor, Callback, Args),
    report_dropped(busy(call, State#state{waiting = Rest, length = Length - 1}));
next(State) ->
    State.

busy(At, State) ->
    State#state{at = At, deadline = erlmcp_native_deadline:start(?DEADLINE_MS)}.

report_dropped(#state{length = Length, dropped = Dropped, module = Module} = State) when
    Dropped > 0, Length < ?MAX_WAITING div 2
->
    erlmcp_native_log:write(
        warning,
        "erlmcp_overload_monitor: ~tp was too slow for ~b messages",
        [Module, Dropped],
        ?LOCATION,
        #{handler => Module, dropped => Dropped}
    ),
    State#state{dropped = 0};
report_dropped(State) ->
    State.

%% What it was at counts as told. A handler that cannot start is not tried in a tight circle.
lost(Reason, #state{module = Module, at = At} = State) ->
    ok = kill(State),
    erlmcp_native_log:write(
        error,
        "erlmcp_overload_monitor: handler ~tp failed: ~0tp",
        [Module, Reason],
        ?LOCATION,
        #{source => {handler_failed, Module}, handler => Module}
    ),
    Idle = idle(State#state{worker = undefined, monitor = undefined}),
    case At of
        start -> start_later(Idle);
        _ -> start_worker(Idle)
    end.

kill(#state{worker = undefined}) ->
    ok;
kill(#state{worker = Worker, monitor = Monitor}) ->
    true = erlang:demonitor(Monitor, [flush]),
    true = exit(Worker, kill),
    ok.

start_worker(#state{module = Module, arg = Arg} = State) ->
    case erlmcp_native_process:start(fun() -> erlmcp_overload_worker:start(Module) end) of
        {error, system_limit} ->
            start_later(State);
        {Worker, Monitor} ->
            ok = erlmcp_overload_worker:call(Worker, Monitor, init, [Arg]),
            busy(start, State#state{worker = Worker, monitor = Monitor})
    end.

start_later(State) ->
    _ = erlang:send_after(?PAUSE_MS, self(), restart),
    State.
