-module(erlmcp_overload_handler).
-moduledoc """
What is done about overload: the behaviour of handlers, and the process that runs one.

```erlang
-module(pager).
-behaviour(erlmcp_overload_handler).
-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).

init(Number) -> {ok, Number}.
handle_alert(#{level := overload, process := Owner}, Number) ->
    logger:alert("call ~ts: ~tp is full", [Number, Owner]),
    {ok, Number};
handle_alert(_Alert, Number) ->
    {ok, Number}.
handle_clear(_Alert, Number) -> {ok, Number}.
handle_role(_Role, _OpenOrClose, Number) -> {ok, Number}.
```

and `{overload, #{handlers => [{pager, "…"}]}}` in the configuration, or `handlers` among the options of
`erlmcp_overload_monitor:start_link/1`.

Each handler has a process of its own, at process priority `high`, so that busy processes do not delay it: what
takes long is to be handed on. A callback that takes longer than 5 s, crashes or returns anything
else is given up: it is logged, the handler starts anew with `init/1`, and what it was told counts as told.
Others do not wait for it. While it is busy up to 10000 messages wait for it; of more the oldest are dropped,
and counted in the log.
""".

-export([start/2, tell/2, stop/1, callbacks/0]).
-export([run/2, work/3]).

-include_lib("kernel/include/logger.hrl").

-doc "Makes the handler's state; it is called at the start, and again after a crash.".
-callback init(Arg :: term()) -> {ok, State :: term()}.
-doc "Is told that an owner's alert level has risen, or lasts.".
-callback handle_alert(erlmcp_overload_monitor:alert(), State) -> {ok, State}.
-doc "Is told that an owner has left a level.".
-callback handle_clear(erlmcp_overload_monitor:alert(), State) -> {ok, State}.
-doc "Is told that a role has reached the level at which its breaker opens, or has left it.".
-callback handle_role(erlmcp_queue_limits:role(), open | close, State) -> {ok, State}.

-define(DEADLINE_MS, 5000).
-define(MAX_WAITING, 10000).

-doc "A call is a callback and its arguments, but for the state.".
-type call() ::
    {handle_alert, [erlmcp_overload_monitor:alert()]}
    | {handle_clear, [erlmcp_overload_monitor:alert()]}
    | {handle_role, [atom()]}.

-export_type([call/0]).

%% The runner, which never runs the handler's code and so always takes what it is told; a worker runs it.
-record(runner, {
    module :: module(),
    arg :: term(),
    worker :: pid() | undefined,
    monitor :: reference() | undefined,
    busy = false :: false | reference(),
    starting = false :: boolean(),
    waiting = queue:new() :: queue:queue(call()),
    length = 0 :: non_neg_integer(),
    %% The last that was dropped of each role's breaker, older than all that waits: it is told all the same.
    breakers = #{} :: #{atom() => open | close},
    dropped = 0 :: non_neg_integer()
}).

-doc "Returns the callbacks that a handler must export.".
-spec callbacks() -> [{atom(), arity()}].
callbacks() ->
    [{init, 1}, {handle_alert, 2}, {handle_clear, 2}, {handle_role, 3}].

-doc "Starts the processes of a handler, not linked to the caller.".
-spec start(module(), term()) -> pid().
start(Module, Arg) ->
    proc_lib:spawn_opt(?MODULE, run, [Module, Arg], [{priority, high}]).

-doc "Has a handler's callback called, after those that were asked for before.".
-spec tell(pid(), call()) -> ok.
tell(Pid, Call) ->
    Pid ! {tell, Call},
    ok.

-doc "Ends the processes of a handler.".
-spec stop(pid()) -> ok.
stop(Pid) ->
    Pid ! stop,
    ok.

-doc false.
-spec run(module(), term()) -> no_return().
run(Module, Arg) ->
    process_flag(trap_exit, true),
    loop(start_worker(#runner{module = Module, arg = Arg})).

loop(#runner{monitor = Monitor, busy = Busy} = Runner) ->
    receive
        {tell, Call} ->
            loop(next(wait(Call, Runner)));
        {done, Monitor} ->
            loop(next(Runner#runner{busy = idle(Busy)}));
        {ready, Monitor} ->
            loop(next(Runner#runner{busy = idle(Busy), starting = false}));
        {timeout, Busy, deadline} ->
            lost(timeout, Runner);
        {'DOWN', Monitor, process, _, Reason} ->
            lost(Reason, Runner#runner{worker = undefined});
        stop ->
            kill(Runner),
            exit(normal);
        _Other ->
            loop(Runner)
    end.

wait(Call, #runner{waiting = Waiting, length = Length} = Runner) when Length < ?MAX_WAITING ->
    Runner#runner{waiting = queue:in(Call, Waiting), length = Length + 1};
wait(Call, #runner{waiting = Waiting, dropped = Dropped, breakers = Breakers} = Runner) ->
    {{value, Oldest}, Rest} = queue:out(Waiting),
    Next = Runner#runner{waiting = queue:in(Call, Rest)},
    case Oldest of
        {handle_role, [Role, Action]} -> Next#runner{breakers = Breakers#{Role => Action}};
        _ -> Next#runner{dropped = Dropped + 1}
    end.

next(#runner{busy = false, breakers = Breakers, waiting = Waiting, length = Length} = Runner) when
    map_size(Breakers) > 0
->
    [{Role, Action} | _] = maps:to_list(Breakers),
    next(Runner#runner{
        breakers = maps:remove(Role, Breakers),
        waiting = queue:in_r({handle_role, [Role, Action]}, Waiting),
        length = Length + 1
    });
next(#runner{busy = false, waiting = Waiting, length = Length} = Runner) when Length > 0 ->
    #runner{worker = Worker, monitor = Monitor} = Runner,
    {{value, Call}, Rest} = queue:out(Waiting),
    Worker ! {call, Monitor, Call},
    Deadline = erlang:start_timer(?DEADLINE_MS, self(), deadline),
    report_dropped(Runner#runner{busy = Deadline, waiting = Rest, length = Length - 1});
next(Runner) ->
    Runner.

report_dropped(#runner{dropped = 0} = Runner) ->
    Runner;
report_dropped(#runner{length = Length, dropped = Dropped, module = Module} = Runner) when
    Length < ?MAX_WAITING div 2
->
    erlmcp_native_log:write(
        warning,
        "erlmcp_overload_monitor: ~tp was too slow for ~b messages",
        [Module, Dropped],
        ?LOCATION,
        #{handler => Module, dropped => Dropped}
    ),
    Runner#runner{dropped = 0};
report_dropped(Runner) ->
    Runner.

idle(false) ->
    false;
idle(Deadline) ->
    _ = erlang:cancel_timer(Deadline),
    receive
        {timeout, Deadline, deadline} -> false
    after 0 -> false
    end.

%% What it was at counts as told. A handler that cannot start is not tried in a tight circle.
lost(Reason, #runner{module = Module, busy = Busy, starting = Starting} = Runner) ->
    kill(Runner),
    erlmcp_native_log:write(
        error,
        "erlmcp_overload_monitor: handler ~tp failed: ~0tp",
        [Module, Reason],
        ?LOCATION,
        #{source => {handler_failed, Module}, handler => Module}
    ),
    Idle = Runner#runner{worker = undefined, busy = idle(Busy)},
    case Starting of
        true -> _ = erlang:send_after(1000, self(), restart), paused(Idle);
        false -> loop(start_worker(Idle))
    end.

paused(Runner) ->
    receive
        {tell, Call} -> paused(wait(Call, Runner));
        restart -> loop(start_worker(Runner));
        stop -> exit(normal)
    end.

kill(#runner{worker = undefined}) ->
    ok;
kill(#runner{worker = Worker, monitor = Monitor}) ->
    true = erlang:demonitor(Monitor, [flush]),
    true = exit(Worker, kill),
    ok.

start_worker(#runner{module = Module, arg = Arg} = Runner) ->
    {Worker, Monitor} = proc_lib:spawn_opt(?MODULE, work, [Module, Arg, self()], [link, monitor, {priority, high}]),
    Worker ! {start, Monitor},
    Deadline = erlang:start_timer(?DEADLINE_MS, self(), deadline),
    Runner#runner{worker = Worker, monitor = Monitor, busy = Deadline, starting = true}.

-doc false.
-spec work(module(), term(), pid()) -> no_return().
work(Module, Arg, Runner) ->
    receive
        {start, Monitor} ->
            {ok, State} = Module:init(Arg),
            Runner ! {ready, Monitor},
            work_loop(Module, State, Runner)
    end.

work_loop(Module, State, Runner) ->
    receive
        {call, Monitor, {Callback, Args}} ->
            {ok, NewState} = apply(Module, Callback, Args ++ [State]),
            Runner ! {done, Monitor},
            work_loop(Module, NewState, Runner);
        _Stray ->
            work_loop(Module, State, Runner)
    end.
