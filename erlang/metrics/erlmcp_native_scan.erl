-module(erlmcp_native_scan).
-moduledoc """
Looks at all owners, one look at a time however many ask: for the fullest, for those that are first by another rank, or
for why a role or an owner refuses.

A look at a million owners takes some 30 ms of a dirty scheduler, of which there are few. So whoever asks for what is
being looked for, or was seen within the last 100 ms, gets that. What nobody waits for any more when its turn comes is
not looked for.
""".

-behaviour(gen_server).

-export([start_link/0, fullest/2, first/3, why/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export([see/1, found/2]).

-export_type([scope/0, subject/0, error/0]).

-doc "A scope is one role, or all.".
-type scope() :: all | {role, erlmcp_queue_limits:role()}.
-doc "A subject is who may refuse: a role, or an owner in it.".
-type subject() ::
    {role, erlmcp_queue_limits:role()}
    | {owner, erlmcp_queue_limits:role(), erlmcp_queue_limits:owner_key()}.
-doc """
An error is `busy` if it took longer than 2 s, or too many wait, or else says which process or service is missing.
""".
-type error() :: busy | {not_started, atom()}.

%% What is looked for.
-type wanted() :: scope() | {first, erlmcp_queue_limits:role(), erlmcp_overload_monitor:rank()} | {why, subject()}.
-type found() :: [erlmcp_overload_monitor:queue_info()] | erlmcp_overload_why:said() | none.

-define(MAX_ROWS, 1000).
-define(MAX_WAITING, 10000).
-define(FRESH_MS, 100).
-define(PATIENCE_MS, 2000).
%% A look that takes longer is given up.
-define(LATE_MS, 5000).
%% Of what was asked for longer ago, whoever asked has given up.
-define(GIVEN_UP_MS, (?PATIENCE_MS + ?FRESH_MS)).

-type asker() :: {gen_server:from(), Rows :: non_neg_integer(), AtMs :: integer()}.

-record(running, {
    monitor :: reference(),
    looker :: pid(),
    wanted :: wanted(),
    timer :: reference(),
    late = false :: boolean()
}).
-record(state, {
    running = none :: none | #running{},
    %% Who waits for what, and in which order it is looked for.
    waiting = #{} :: #{wanted() => [asker(), ...]},
    order = queue:new() :: queue:queue(wanted()),
    askers = 0 :: non_neg_integer(),
    seen = #{} :: #{wanted() => {AtMs :: integer(), found()}}
}).

-doc "Starts the process that looks for the fullest owners.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-doc """
Returns the rows of the fullest owners, as many as asked for, the fullest first, as found by a look that began at most
100 ms ago or was going on.
""".
-spec fullest(scope(), 0..1000) -> {ok, [erlmcp_overload_monitor:queue_info()]} | {error, error()}.
fullest(Scope, Rows) when Rows =< ?MAX_ROWS ->
    ask(Scope, Rows).

-doc "Returns the rows of a role's first owners by a rank, found as `fullest/2` finds them.".
-spec first(erlmcp_queue_limits:role(), erlmcp_overload_monitor:rank(), 0..1000) ->
    {ok, [erlmcp_overload_monitor:queue_info()]} | {error, error()}.
first(Role, By, Rows) when Rows =< ?MAX_ROWS ->
    ask({first, Role, By}, Rows).

-doc """
Says why a role or an owner refuses, or that it does not, as of at most 100 ms ago; `none` if nothing was ever counted
for the role.
""".
-spec why(subject()) -> {ok, erlmcp_overload_why:said() | none} | {error, error()}.
why(Subject) ->
    ask({why, Subject}, 0).

ask(Wanted, Rows) ->
    erlmcp_native_wait:request(?MODULE, {look, Wanted, Rows}, ?PATIENCE_MS, {?MODULE, found, none}).

-doc false.
-spec found({answer, Answer} | {down, term()} | timeout, none) -> Answer | {error, error()}.
found({answer, Answer}, none) -> Answer;
found({down, _}, none) -> {error, {not_started, ?MODULE}};
found(timeout, none) -> {error, busy}.

-doc false.
-spec init([]) -> {ok, #state{}}.
init([]) ->
    {ok, #state{}}.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) ->
    {reply, term(), #state{}} | {reply, term(), #state{}, timeout()} | {noreply, #state{}}.
handle_call({look, Scope, Rows}, From, #state{seen = Seen} = State) ->
    case Seen of
        #{Scope := {AtMs, Found}} ->
            case now_ms() - AtMs =< ?FRESH_MS of
                true -> {reply, {ok, part(Found, Rows)}, State, ?FRESH_MS};
                false -> wait(Scope, From, Rows, State)
            end;
        #{} ->
            wait(Scope, From, Rows, State)
    end;
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

wait(_, _, _, #state{askers = ?MAX_WAITING} = State) ->
    {reply, {error, busy}, State};
wait(Scope, From, Rows, #state{waiting = Waiting, order = Order, askers = Askers} = State) ->
    NewOrder =
        case Waiting of
            #{Scope := _} -> Order;
            #{} -> queue:in(Scope, Order)
        end,
    Asker = {From, Rows, now_ms()},
    NewWaiting = maps:update_with(Scope, fun(Others) -> [Asker | Others] end, [Asker], Waiting),
    {noreply, look(State#state{waiting = NewWaiting, order = NewOrder, askers = Askers + 1})}.

look(#state{running = none, order = Order} = State) ->
    case queue:out(Order) of
        {{value, Wanted}, Rest} ->
            Next = State#state{order = Rest},
            case is_awaited(Wanted, State) andalso looking(Wanted) of
                #running{} = Running -> Next#state{running = Running};
                NotLooking -> look(seen(Wanted, NotLooking, Next))
            end;
        {empty, _} ->
            State
    end;
look(State) ->
    State.

%% The last one to ask is the first.
is_awaited(Wanted, #state{waiting = Waiting}) ->
    #{Wanted := [{_, _, AtMs} | _]} = Waiting,
    now_ms() - AtMs =< ?GIVEN_UP_MS.

looking(Wanted) ->
    case erlmcp_native_process:helper(?MODULE, see, [Wanted], []) of
        {Pid, Monitor} ->
            Timer = erlang:start_timer(?LATE_MS, self(), late),
            #running{monitor = Monitor, looker = Pid, wanted = Wanted, timer = Timer};
        no_room ->
            no_room
    end.

-doc false.
-spec see(wanted()) -> no_return().
see(Wanted) ->
    BegunMs = now_ms(),
    exit({seen, BegunMs, looked(Wanted)}).

looked(Wanted) ->
    try
        case Wanted of
            all -> {ok, erlmcp_overload_monitor:fullest(?MAX_ROWS)};
            {role, Role} -> {ok, erlmcp_overload_monitor:queues(Role, #{top => ?MAX_ROWS})};
            {first, Role, By} -> {ok, erlmcp_overload_monitor:queues(Role, #{top => ?MAX_ROWS, by => By})};
            {why, Subject} -> said(Subject, erlmcp_native_metrics:snapshot())
        end
    catch
        exit:{noproc, {erlmcp_overload_monitor, _, _}} -> {error, {not_started, erlmcp_overload_monitor}};
        exit:{noproc, _} -> {error, {not_started, erlmcp_queue_limits}}
    end.

said(Subject, Snapshot) ->
    case {erlmcp_overload_why:missing(Snapshot), Subject} of
        {[Service | _], _} -> {error, {not_started, Service}};
        {[], {role, Role}} -> {ok, erlmcp_overload_why:role(Role, Snapshot)};
        {[], {owner, Role, Owner}} -> {ok, erlmcp_overload_why:owner(Role, Owner, Snapshot)}
    end.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {noreply, #state{}, timeout() | hibernate}.
handle_info({'DOWN', Monitor, process, _, Outcome}, #state{running = #running{monitor = Monitor} = Running} = State) ->
    #running{wanted = Wanted, timer = Timer, late = Late} = Running,
    _ = erlang:cancel_timer(Timer),
    Next = State#state{running = none},
    case Outcome of
        killed when not Late ->
            %% It was going on when the module was replaced for the second time; its askers have not given up.
            {noreply, look(Next#state{order = queue:in_r(Wanted, State#state.order)})};
        _ ->
            {noreply, look(seen(Wanted, Outcome, Next)), ?FRESH_MS}
    end;
handle_info({timeout, Timer, late}, #state{running = #running{timer = Timer, looker = Pid} = Running} = State) ->
    %% It waits for a process that says nothing of its mailbox.
    true = exit(Pid, kill),
    {noreply, State#state{running = Running#running{late = true}}};
handle_info(timeout, State) ->
    {noreply, State#state{seen = #{}}, hibernate};
handle_info(_Info, State) ->
    {noreply, State}.

seen(Wanted, Outcome, #state{waiting = Waiting, askers = Askers, seen = Seen} = State) ->
    {Mine, Others} = maps:take(Wanted, Waiting),
    Fresh = maps:filter(fun(_, {AtMs, _}) -> now_ms() - AtMs =< ?FRESH_MS end, Seen),
    NewSeen = answer(Outcome, Wanted, Mine, Fresh),
    State#state{waiting = Others, askers = Askers - length(Mine), seen = NewSeen}.

answer({seen, AtMs, {ok, Found}}, Scope, Askers, Seen) ->
    [gen_server:reply(From, {ok, part(Found, Rows)}) || {From, Rows, _} <- Askers],
    Seen#{Scope => {AtMs, Found}};
answer(Outcome, _, Askers, Seen) ->
    Error =
        case Outcome of
            {seen, _, NotStarted} -> NotStarted;
            _CrashOrNotLooking -> {error, busy}
        end,
    [gen_server:reply(From, Error) || {From, _, _} <- Askers],
    Seen.

part(Rows, Most) when is_list(Rows) -> lists:sublist(Rows, Most);
part(Said, _) -> Said.

now_ms() ->
    erlang:monotonic_time(millisecond).
