-module(erlmcp_native_events).
-moduledoc """
The hub of the event streams: one snapshot a second for all of them, and alerts and moves of breakers as they come.

While no stream is open it costs nothing: no timer runs, and the overload monitor does not know it. With the first
stream a handler (`m:erlmcp_native_events_handler`) is added to the monitor; it stays for half a minute after the last
stream has left, so that a client which comes again by then misses nothing.

A stream asks for what comes after its position, and gets one message as soon as there is something: all events and
the last snapshot since. While it is busy with that, nothing waits for it here, so a stream costs no more memory
than one message, however slow it is. One that wants changes gets of a snapshot what is not as it was in the one before,
if it had that, and else all of it. Of the events the last 256 are kept; a stream that was too slow for more is told
how many it missed.

Snapshots are taken and encoded by a process of their own (`m:erlmcp_native_event_sample`), so that alerts do not wait
for them.
""".

-behaviour(gen_server).

-export([start_link/0, start_link/1, join/3, next/1, leave/0]).
-export([joined/2]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-export_type([position/0, wish/0]).

-doc "A position says what a stream has had, events up to this number and this snapshot, and what it wants next.".
-opaque position() :: {erlmcp_native_event_log:id(), Snapshot :: non_neg_integer(), wish()}.
-doc "A stream wants all of each snapshot, or what has changed in it.".
-type wish() :: whole | changes.

-define(MONITOR, erlmcp_overload_monitor).
%% With the name of the process that it tells as its argument.
-define(HANDLER, erlmcp_native_events_handler).
-define(PERIOD_MS, 1000).
-define(PATIENCE_MS, 5000).
-define(LINGER_MS, 30000).

-record(state, {
    linger_ms :: non_neg_integer(),
    log :: erlmcp_native_event_log:log(),
    %% Each stream's monitor, and its position while it waits.
    streams = #{} :: #{pid() => {reference(), position() | busy}},
    %% The last with its number, of which event it came, and what has changed since the one before.
    snapshots = 0 :: non_neg_integer(),
    snapshot :: {erlmcp_native_event_log:id(), Json :: binary(), Change :: binary() | none} | undefined,
    %% Whoever takes the next.
    sampler :: reference() | undefined,
    fullest = erlmcp_native_event_sample:none() :: erlmcp_native_event_sample:fullest(),
    %% The next snapshot, or the end of the handler.
    timer :: reference() | undefined,
    %% A monitor of the overload monitor that has the handler.
    attached :: reference() | undefined,
    %% Streams that want changes.
    changing = #{} :: #{pid() => []}
}).

-doc "Starts the hub of the event streams.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    start_link(?LINGER_MS).

-doc """
Starts the hub of the event streams. Its handler stays at the monitor for so many milliseconds after the last stream.
""".
-spec start_link(LingerMs :: non_neg_integer()) -> gen_server:start_ret().
start_link(LingerMs) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, LingerMs, []).

-doc """
Makes the caller a stream until it dies, unless there are so many already. It begins after the event with this number;
with `none`, or one that has not been, after the last. It gets all of each snapshot, or what has changed in it.
""".
-spec join(MaxStreams :: pos_integer(), erlmcp_native_event_log:id() | none, wish()) ->
    {ok, position()} | {error, full | not_started}.
join(MaxStreams, LastId, Wish) ->
    erlmcp_native_wait:request(?MODULE, {join, MaxStreams, LastId, Wish}, ?PATIENCE_MS, {?MODULE, joined, none}).

-doc false.
-spec joined({answer, Answer} | {down, term()} | timeout, none) -> Answer | {error, not_started}.
joined({answer, Answer}, none) -> Answer;
joined(_, none) -> {error, not_started}.

-doc """
Asks for what comes after a position: the caller, a stream, gets `{erlmcp_native_events, NewPosition, Events}`, once,
with the events as they are to be sent.
""".
-spec next(position()) -> ok.
next(Position) ->
    gen_server:cast(?MODULE, {next, self(), Position}).

-doc "Says that the caller is no stream any more, though it lives on.".
-spec leave() -> ok.
leave() ->
    gen_server:cast(?MODULE, {leave, self()}).

-doc false.
-spec init(non_neg_integer()) -> {ok, #state{}, {continue, clean}}.
init(LingerMs) ->
    process_flag(trap_exit, true),
    erlmcp_native_self:set(http_streams, 0),
    %% Numbers go on growing over restarts.
    Log = erlmcp_native_event_log:new(erlang:system_time(microsecond)),
    {ok, #state{linger_ms = LingerMs, log = Log}, {continue, clean}}.

-doc false.
-spec handle_continue(clean, #state{}) -> {noreply, #state{}}.
handle_continue(clean, State) ->
    %% What a hub that was killed has left behind.
    ok = erlmcp_overload_server:detach({?HANDLER, ?MODULE}),
    {noreply, State}.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({publish, _}, _From, #state{streams = Streams, timer = undefined} = State) when map_size(Streams) =:= 0 ->
    %% A handler that could not be deleted, since its monitor was crashing.
    {reply, ok, detached(State)};
handle_call({publish, Event}, _From, #state{log = Log} = State) ->
    {reply, ok, hand_out(State#state{log = erlmcp_native_event_log:append(Event, Log)})};
handle_call({join, Max, _, _}, _From, #state{streams = Streams} = State) when map_size(Streams) >= Max ->
    {reply, {error, full}, State};
handle_call({join, _, LastId, Wish}, {Pid, _}, #state{streams = Streams, changing = Changing, log = Log} = State) ->
    Joined = counted(State#state{
        streams = Streams#{Pid => {erlang:monitor(process, Pid), busy}},
        changing = case Wish of changes -> Changing#{Pid => []}; whole -> Changing end
    }),
    Last = erlmcp_native_event_log:last(Log),
    Begin = if is_integer(LastId), LastId =< Last -> LastId; true -> Last end,
    Ticking = if map_size(Streams) =:= 0 -> tick(cancelled(Joined)); true -> Joined end,
    {reply, {ok, {Begin, 0, Wish}}, Ticking};
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({next, Pid, Position}, #state{streams = Streams} = State) ->
    case Streams of
        #{Pid := {Monitor, busy}} ->
            Waiting = State#state{streams = Streams#{Pid := {Monitor, Position}}},
            {noreply, hand_out(Pid, Position, Waiting)};
        #{} ->
            {noreply, State}
    end;
handle_cast({leave, Pid}, #state{streams = Streams} = State) ->
    case Streams of
        #{Pid := {Monitor, _}} ->
            true = erlang:demonitor(Monitor, [flush]),
            {noreply, gone(Pid, State)};
        #{} ->
            {noreply, State}
    end;
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({timeout, Timer, tick}, #state{timer = Timer} = State) ->
    {noreply, tick(State)};
handle_info({timeout, Timer, linger}, #state{timer = Timer} = State) ->
    {noreply, detached(State#state{timer = undefined})};
handle_info({'DOWN', Monitor, process, _, Outcome}, #state{sampler = Monitor} = State) ->
    {noreply, sampled(Outcome, State#state{sampler = undefined})};
handle_info({'DOWN', Monitor, process, _, _}, #state{attached = Monitor} = State) ->
    {noreply, State#state{attached = undefined}};
handle_info({'DOWN', _, process, Pid, _}, State) ->
    {noreply, gone(Pid, State)};
handle_info(_Info, State) ->
    {noreply, State}.

-doc false.
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, State) ->
    erlmcp_native_self:set(http_streams, 0),
    _ = detached(State),
    ok.

counted(#state{streams = Streams} = State) ->
    erlmcp_native_self:set(http_streams, map_size(Streams)),
    State.

gone(Pid, #state{streams = Streams, changing = Changing} = State) ->
    left(counted(State#state{streams = maps:remove(Pid, Streams), changing = maps:remove(Pid, Changing)})).

left(#state{streams = Streams, linger_ms = LingerMs} = State) when map_size(Streams) =:= 0 ->
    Timer = erlang:start_timer(LingerMs, self(), linger),
    (cancelled(State))#state{timer = Timer, snapshot = undefined, fullest = erlmcp_native_event_sample:none()};
left(State) ->
    State.

cancelled(#state{timer = undefined} = State) ->
    State;
cancelled(#state{timer = Timer} = State) ->
    _ = erlang:cancel_timer(Timer),
    State#state{timer = undefined}.

tick(State) ->
    Timer = erlang:start_timer(?PERIOD_MS, self(), tick),
    sample(attached(State#state{timer = Timer})).

%% Not waited for, since streams wait for this process. Is there no monitor, or does it die first, that is tried again.
attached(#state{attached = undefined} = State) ->
    Attached = erlang:monitor(process, ?MONITOR),
    ok = erlmcp_overload_server:attach({?HANDLER, ?MODULE}),
    State#state{attached = Attached};
attached(State) ->
    State.

detached(#state{attached = Attached} = State) ->
    _ = Attached =/= undefined andalso erlang:demonitor(Attached, [flush]),
    ok = erlmcp_overload_server:detach({?HANDLER, ?MODULE}),
    State#state{attached = undefined}.

%% One at a time: the next is taken when this one is done.
sample(#state{sampler = undefined, fullest = Fullest} = State) ->
    case erlmcp_native_event_sample:start(Fullest, before(State)) of
        {_, Monitor} -> State#state{sampler = Monitor};
        no_room -> State
    end;
sample(State) ->
    State.

before(#state{changing = Changing, snapshot = {_, Json, _}}) when map_size(Changing) > 0 -> Json;
before(_) -> none.

sampled({sample, Json, Change, Fullest}, #state{streams = Streams, snapshots = Before, log = Log} = State) when
    map_size(Streams) > 0
->
    Snapshot = {erlmcp_native_event_log:last(Log), Json, Change},
    hand_out(State#state{snapshots = Before + 1, snapshot = Snapshot, fullest = Fullest});
sampled(_NoneOrNobody, State) ->
    State.

hand_out(#state{streams = Streams} = State) ->
    maps:fold(
        fun
            (_, {_, busy}, Acc) -> Acc;
            (Pid, {_, Position}, Acc) -> hand_out(Pid, Position, Acc)
        end,
        State,
        Streams
    ).

hand_out(Pid, {Id, Seen, Wish}, #state{streams = Streams, snapshots = Newest, log = Log} = State) ->
    {Events, NewLog} = erlmcp_native_event_log:since(Id, Log),
    case {Events, snapshot(Id, Seen, Wish, State)} of
        {[], none} ->
            State;
        {_, Snapshot} ->
            %% Events alone are no snapshot, and what has changed since it is nothing to who has not had it.
            Had = case Snapshot of none -> Seen; _ -> Newest end,
            Pid ! {?MODULE, {erlmcp_native_event_log:last(Log), Had, Wish}, merged(Events, Snapshot)},
            #{Pid := {Monitor, _}} = Streams,
            State#state{streams = Streams#{Pid := {Monitor, busy}}, log = NewLog}
    end.

snapshot(Id, Seen, changes, #state{snapshots = Newest, snapshot = {At, _, Change}}) when
    Newest =:= Seen + 1, Seen > 0, Change =/= none
->
    {At, erlmcp_native_event_log:change(max(Id, At), Change)};
snapshot(Id, Seen, _, #state{snapshots = Newest, snapshot = {At, Json, _}}) when Newest > Seen ->
    {At, erlmcp_native_event_log:snapshot(max(Id, At), Json)};
snapshot(_, _, _, _) ->
    none.

merged(Events, none) ->
    [Event || {_, Event} <- Events];
merged(Events, {At, Snapshot}) ->
    {Before, After} = lists:splitwith(fun({Id, _}) -> Id =< At end, Events),
    [Event || {_, Event} <- Before] ++ [Snapshot | [Event || {_, Event} <- After]].
