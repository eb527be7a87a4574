-module(erlmcp_overload_server).
-moduledoc """
The process registered as `erlmcp_overload_monitor`: it looks at all owners now and then, and passes news on to
the handlers.

It detects nothing itself: the operation that crosses a threshold writes the alert, and wakes this process once
for all that comes until it has looked. What was taken is kept natively until the handlers' processes have it,
and these outlive this one. If all mailboxes are watched, it has a process that the runtime tells of them,
`m:erlmcp_overload_watch`, and if the node is guarded one that looks after that, `m:erlmcp_overload_guard`. It starts
another when one is lost.
""".

-behaviour(gen_server).
-behaviour(erlmcp_native_config).

-export([start_link/1, close/0, config/0, reload_config/0]).
-export([set_check_interval/2, add_handler/2, delete_handler/2, attach/1, detach/1, watch_mailboxes/2]).
-export([check/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/logger.hrl").

-define(NAME, erlmcp_overload_monitor).
%% What was said by hand of whether all mailboxes are watched, for whoever comes after a crash.
-define(WATCH, {?MODULE, watch_mailboxes}).
-define(BATCH, 100).
%% After so long it is tried again to watch.
-define(WATCH_MS, 1000).

-record(state, {
    given :: map(),
    options :: erlmcp_overload_options:options(),
    interval_ms :: pos_integer(),
    timer :: reference(),
    handlers :: erlmcp_overload_handlers:running(),
    %% Beside those of the options.
    added :: [erlmcp_overload_handlers:handler()],
    breakers :: erlmcp_overload_breakers:breakers(),
    %% Whether `more` is on its way: news are passed on in batches, so that nobody waits for all of them.
    more = false :: boolean(),
    looker = erlmcp_overload_looker:new() :: erlmcp_overload_looker:looker(),
    %% Who watches all mailboxes, and by what.
    watch = off :: off | {erlmcp_overload_watch:lengths(), Margin :: 0..800000},
    watcher = none :: none | pid(),
    guard = erlmcp_overload_guard_keeper:new() :: erlmcp_overload_guard_keeper:kept()
}).

-doc "The call that is named in an exit.".
-type mfargs() :: {module(), atom(), [term()]}.

-doc """
Starts the service of the overload monitor, linked to the caller and registered as `erlmcp_overload_monitor`. These
options win over the configuration.
""".
-spec start_link(term()) -> gen_server:start_ret().
start_link(Options) ->
    %% What passes through here is little, and urgent.
    SpawnOptions = [{message_queue_data, off_heap}, {priority, high}],
    Check = {?MODULE, check, [Options]},
    erlmcp_native_service:start_link(?NAME, ?MODULE, Options, [{spawn_opt, SpawnOptions}], Check).

-doc false.
-spec check(term()) -> ok | {error, term()}.
check(Given) ->
    maybe
        {ok, GivenMap} ?= checked(Given),
        {ok, _, _, _} ?= configured(GivenMap),
        ok
    end.

-doc "Ends judging and the handlers, and forgets alerts and what was set by hand.".
-spec close() -> ok.
close() ->
    _ = erlmcp_native:overload_close(own),
    _ = persistent_term:erase(?WATCH),
    ok = erlmcp_overload_watch:close(),
    ok = erlmcp_overload_guard:close(),
    ok = erlmcp_overload_handlers:close(),
    erlmcp_native_service:closed(?NAME).

-doc false.
-spec config() -> erlmcp_native_options:table().
config() ->
    Given = fun(Options) -> erlmcp_native_options:given(erlmcp_overload_options:table(), Options) end,
    [
        #{
            name => overload_monitor_enabled,
            type => erlmcp_native_options:boolean(),
            default => true,
            doc => ~"Whether there are alerts."
        },
        #{
            name => overload,
            type => erlmcp_native_options:checked("a map of options", Given),
            default => #{},
            doc => ~"The monitor's options, see `m:erlmcp_overload_options`."
        }
        | erlmcp_overload_node:config()
    ].

-doc """
Applies the configuration of the overload monitor, if the service is started. Exits with `{timeout, Call}` if that does
not answer within 5 s.
""".
-spec reload_config() -> ok | {error, erlmcp_native_config:problem()}.
reload_config() ->
    maybe
        {ok, _, _, _} ?= configured(#{}),
        try
            erlmcp_native_wait:serve(?NAME, reload_config, {?MODULE, ?FUNCTION_NAME, []})
        catch
            exit:{noproc, _} -> ok
        end
    end.

-doc """
Sets the milliseconds between two checks by hand. `Call` is named in what this exits with: see
`erlmcp_native_wait:serve/3`.
""".
-spec set_check_interval(pos_integer(), Call :: mfargs()) -> ok.
set_check_interval(IntervalMs, Call) ->
    erlmcp_native_wait:serve(?NAME, {set_check_interval, IntervalMs}, Call).

-doc "Adds a handler to those of the options, unless it is there. It exits as `set_check_interval/2` does.".
-spec add_handler(erlmcp_overload_handlers:handler(), Call :: mfargs()) -> ok.
add_handler(Handler, Call) ->
    erlmcp_native_wait:serve(?NAME, {add_handler, Handler}, Call).

-doc "Ends a handler that was added with `add_handler/2`. It exits as `set_check_interval/2` does.".
-spec delete_handler(erlmcp_overload_handlers:handler(), Call :: mfargs()) -> ok.
delete_handler(Handler, Call) ->
    erlmcp_native_wait:serve(?NAME, {delete_handler, Handler}, Call).

-doc "Has a handler added, and does not wait for that: for processes that others wait for.".
-spec attach(erlmcp_overload_handlers:handler()) -> ok.
attach(Handler) ->
    gen_server:cast(?NAME, {add_handler, Handler}).

-doc "Has a handler that was added ended, and does not wait for that.".
-spec detach(erlmcp_overload_handlers:handler()) -> ok.
detach(Handler) ->
    gen_server:cast(?NAME, {delete_handler, Handler}).

-doc "Has all mailboxes watched by these lengths, or not any more. It exits as `set_check_interval/2` does.".
-spec watch_mailboxes(erlmcp_overload_watch:lengths() | off, Call :: mfargs()) -> ok | erlmcp_native:fault().
watch_mailboxes(Lengths, Call) ->
    erlmcp_native_wait:serve(?NAME, {watch_mailboxes, Lengths}, Call).

-doc false.
-spec init(term()) -> {ok, #state{}} | {error, term()}.
init(Given) ->
    process_flag(trap_exit, true),
    maybe
        ok ?= erlmcp_native_error:library(),
        {ok, GivenMap} ?= checked(Given),
        {ok, Options, Enabled, Node} ?= configured(GivenMap),
        #{check_interval := ConfiguredMs} = Options,
        Rules = erlmcp_overload_options:rules(Options),
        erlmcp_native_service:opens(?NAME),
        IntervalMs = erlmcp_native:overload_open(own, Rules, Enabled, ConfiguredMs),
        {Running, Added} = erlmcp_overload_handlers:kept(),
        State = #state{
            given = GivenMap,
            options = Options,
            interval_ms = IntervalMs,
            timer = check_later(IntervalMs),
            handlers = Running,
            added = Added,
            breakers = erlmcp_overload_breakers:new(erlmcp_native:overload_reported(own))
        },
        %% What the process before may have taken and not passed on.
        {ok, pass_on(guard(Node, watch_as_told(run(State))))}
    end.

checked(Given) ->
    case erlmcp_native_options:given(erlmcp_overload_options:table(), Given) of
        {ok, _} = Ok -> Ok;
        {error, Problem} -> erlmcp_native_config:problem(erlmcp_native, overload, Problem)
    end.

configured(Given) ->
    maybe
        {ok, Configured} ?= erlmcp_native_config:lookup(overload, config()),
        {ok, Enabled} ?= erlmcp_native_config:lookup(overload_monitor_enabled, config()),
        {ok, Node} ?= erlmcp_native_config:lookup(node, config()),
        {ok, erlmcp_overload_options:complete(maps:merge(Configured, Given)), Enabled, Node}
    end.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(reload_config, _From, #state{given = Given} = State) ->
    case configured(Given) of
        {ok, Options, Enabled, Node} -> {reply, ok, guard(Node, apply_options(Options, Enabled, State))};
        {error, _} = Error -> {reply, Error, State}
    end;
handle_call({set_check_interval, IntervalMs}, _From, State) ->
    _ = erlmcp_native:overload_set_interval(own, IntervalMs),
    {reply, ok, set_interval(IntervalMs, State)};
handle_call({add_handler, Handler}, _From, State) ->
    {reply, ok, add(Handler, State)};
handle_call({delete_handler, Handler}, _From, State) ->
    {reply, ok, delete(Handler, State)};
handle_call({watch_mailboxes, Lengths}, _From, State) ->
    case watch(Lengths, State) of
        {ok, NewState} -> persistent_term:put(?WATCH, Lengths), {reply, ok, NewState};
        Fault -> {reply, Fault, State}
    end;
handle_call({hand_over, UntilMs}, _From, State) ->
    {reply, erlmcp_native_service:hand_over(?NAME, UntilMs), State};
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({add_handler, Handler}, State) ->
    {noreply, add(Handler, State)};
handle_cast({delete_handler, Handler}, State) ->
    {noreply, delete(Handler, State)};
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(news, State) ->
    {noreply, pass_on(State)};
handle_info(more, State) ->
    {noreply, pass_on(State#state{more = false})};
handle_info({timeout, Timer, check}, #state{timer = Timer, interval_ms = IntervalMs, looker = Looker} = State) ->
    _ = erlmcp_native:overload_check(own),
    Checked = State#state{timer = check_later(IntervalMs), looker = erlmcp_overload_looker:all(Looker)},
    %% There may not have been room for a handler before.
    {noreply, pass_on(run(Checked))};
handle_info({'EXIT', Watcher, Reason}, #state{watcher = Watcher} = State) ->
    erlmcp_native_log:write(
        error,
        "erlmcp_overload_monitor: who watches mailboxes was lost, and is started anew: ~0tp",
        [Reason],
        ?LOCATION,
        #{}
    ),
    {noreply, start_watcher(State#state{watcher = none})};
handle_info(watch, #state{watcher = none} = State) ->
    {noreply, start_watcher(State)};
handle_info(Info, #state{looker = Looker} = State) ->
    case erlmcp_overload_looker:handle(Info, Looker) of
        {looks, NewLooker} -> {noreply, State#state{looker = NewLooker}};
        {looked, NewLooker} -> {noreply, pass_on(State#state{looker = NewLooker})};
        other -> {noreply, lost(Info, State)}
    end.

-doc false.
-spec terminate(term(), #state{}) -> ok.
terminate(Reason, #state{guard = Guard} = State) ->
    _ = stop_watcher(State),
    _ = erlmcp_overload_guard_keeper:stop(Guard),
    case erlmcp_native_service:is_stopped(Reason) of
        true -> close();
        false -> ok
    end.

apply_options(Options, Enabled, State) ->
    #{check_interval := ConfiguredMs} = Options,
    Rules = erlmcp_overload_options:rules(Options),
    IntervalMs = erlmcp_native:overload_configure(own, Rules, Enabled, ConfiguredMs),
    NewState = run(State#state{options = Options}),
    pass_on(set_interval(IntervalMs, watch_as_told(NewState))).

guard(Node, #state{guard = Guard} = State) ->
    State#state{guard = erlmcp_overload_guard_keeper:keep(Node, Guard)}.

lost(Info, #state{guard = Guard, breakers = Breakers} = State) ->
    case {erlmcp_overload_guard_keeper:handle(Info, Guard), erlmcp_overload_breakers:handle(Info, Breakers)} of
        {{ok, NewGuard}, _} -> State#state{guard = NewGuard};
        {_, due} -> roles(State);
        {other, other} -> handler_lost(Info, State)
    end.

%% What was said by hand wins.
watch_as_told(#state{options = #{watch_mailboxes := Configured}} = State) ->
    Lengths = persistent_term:get(?WATCH, Configured),
    case watch(Lengths, State) of
        {ok, NewState} ->
            NewState;
        Fault ->
            erlmcp_native_log:write(
                error, "erlmcp_overload_monitor: mailboxes are not watched: ~0tp", [Fault], ?LOCATION, #{}
            ),
            State
    end.

watch(off, State) ->
    Stopped = stop_watcher(State),
    ok = erlmcp_overload_watch:close(),
    _ = erlmcp_native:mailbox_watch(own, off),
    {ok, pass_on(Stopped#state{watch = off})};
watch(Lengths, #state{options = Options, watch = Watch, watcher = Watcher} = State) ->
    {Margin, _, _} = erlmcp_overload_options:rules(Options),
    #{warning := Warning, critical := Critical, overload := Overload} = Lengths,
    case erlmcp_native:mailbox_watch(own, {Warning, Critical, Overload}) of
        ok when Watch =:= {Lengths, Margin}, is_pid(Watcher) -> {ok, State};
        ok -> {ok, start_watcher((stop_watcher(State))#state{watch = {Lengths, Margin}})};
        Fault -> Fault
    end.

start_watcher(#state{watch = {Lengths, Margin}} = State) ->
    case erlmcp_native_process:start(fun() -> erlmcp_overload_watch:start_link(Lengths, Margin) end) of
        {ok, Watcher} ->
            State#state{watcher = Watcher};
        {error, Reason} ->
            erlmcp_native_log:write(
                error, "erlmcp_overload_monitor: mailboxes cannot be watched: ~0tp", [Reason], ?LOCATION, #{}
            ),
            _ = erlang:send_after(?WATCH_MS, self(), watch),
            State
    end;
start_watcher(#state{watch = off} = State) ->
    State.

stop_watcher(#state{watcher = none} = State) ->
    State;
stop_watcher(#state{watcher = Watcher} = State) ->
    ok = erlmcp_overload_watch:stop(Watcher),
    State#state{watcher = none}.

set_interval(IntervalMs, #state{interval_ms = IntervalMs} = State) ->
    State;
set_interval(IntervalMs, #state{timer = Timer} = State) ->
    _ = erlang:cancel_timer(Timer),
    State#state{interval_ms = IntervalMs, timer = check_later(IntervalMs)}.

check_later(IntervalMs) ->
    erlang:start_timer(IntervalMs, self(), check).

%% One of the handlers' processes, perhaps.
handler_lost({'DOWN', _, process, Pid, _}, #state{handlers = Handlers} = State) ->
    run(State#state{handlers = lists:keydelete(Pid, 2, Handlers)});
handler_lost(_Info, State) ->
    State.

run(#state{options = #{handlers := Wanted}, added = Added, handlers = Handlers} = State) ->
    State#state{handlers = erlmcp_overload_handlers:run(Wanted, Added, Handlers)}.

add(Handler, #state{added = Added} = State) ->
    run(State#state{added = lists:uniq(Added ++ [Handler])}).

delete(Handler, #state{added = Added} = State) ->
    run(State#state{added = lists:delete(Handler, Added)}).

pass_on(State) ->
    case erlmcp_native:overload_news(own, ?BATCH) of
        {[], Lost} ->
            report_lost(Lost),
            look_later(roles(State));
        {News, Lost} ->
            report_lost(Lost),
            _ = [tell(call(What, Alert), State) || {What, Alert} <- News],
            _ = erlmcp_native:overload_told(own),
            roles(more(State));
        _NotStarted ->
            State
    end.

look_later(#state{looker = Looker} = State) ->
    State#state{looker = erlmcp_overload_looker:later(Looker)}.

more(#state{more = true} = State) ->
    State;
more(State) ->
    self() ! more,
    State#state{more = true}.

call(raised, Alert) -> {handle_alert, [Alert]};
call(cleared, Alert) -> {handle_clear, [Alert]}.

report_lost(0) ->
    ok;
report_lost(Lost) ->
    erlmcp_native_log:write(
        error,
        "erlmcp_overload_monitor: ~b alerts came too fast for the handlers",
        [Lost],
        ?LOCATION,
        #{lost => Lost}
    ).

tell(Call, #state{handlers = Handlers}) ->
    erlmcp_overload_handlers:tell(Call, Handlers).

%% A role's breaker follows its level, whatever happened in between; a role that is no more has left it.
roles(#state{options = Options, breakers = Breakers} = State) ->
    #{open_breaker_at := At, breaker_min_open := MinOpenMs} = Options,
    case {erlmcp_native:overload_levels(own), erlmcp_native:overload_is_enabled(own)} of
        {Levels, Enabled} when is_list(Levels), is_boolean(Enabled) ->
            Open = [Role || {Role, Level} <- Levels, is_open(Level, At)],
            May = case Enabled of true -> later; false -> at_once end,
            {Actions, NewBreakers} = erlmcp_overload_breakers:follow(Open, MinOpenMs, May, Breakers),
            _ = [role(Role, Action, State) || {Role, Action} <- Actions],
            State#state{breakers = NewBreakers};
        _NotStarted ->
            State
    end.

role(Role, Action, State) ->
    tell({handle_role, [Role, Action]}, State),
    _ = erlmcp_native:overload_set_reported(own, Role, Action =:= open),
    ok.

is_open(overload, At) -> At =/= never;
is_open(critical, At) -> At =:= critical;
is_open(_, _) -> false.
