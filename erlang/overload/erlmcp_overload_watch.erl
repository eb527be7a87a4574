-module(erlmcp_overload_watch).
-moduledoc """
The process that the runtime tells of mailboxes that have become long, whoever sends to them.

It belongs to `m:erlmcp_overload_server`, which starts one for the lengths that are watched and another after a crash.
The runtime tells through trace sessions of its own, one for each length, so that nobody else's tracing or system
monitor is in the way. Whom it is told of it looks at, and has held natively (`mailbox_seen/3`). From there on
everything is as for any owner.

A session ends when nobody has its reference any more. If that happens as a process ends, while the runtime tells, OTP
29.1 crashes (seen with erts 17.1). So the references are in a persistent term, and whoever comes next ends the sessions
that a process has left behind; until then they tell nobody.

What it does for each message of the runtime is bounded. How long a mailbox is has to be asked for, and a process that
is busy takes its time to say so: that is done by helpers, at most 100 at a time. Of whom there is no helper for, or who
has not answered within 2 ms, it is said that it has the least length that is watched, and what it has once that is
known.

The runtime does not tell of a mailbox that was long before it was asked to. So when this begins a helper looks at all
processes, one after the other, and again when somebody who is long was passed over and there is room now, or was not
judged then. Between two such looks pass a second, and 20 times what the last one took.
""".

-behaviour(gen_server).

-export([start_link/2, stop/1, close/0]).
-export([read/2, scan/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([lengths/0]).

-doc "From each of these lengths on a mailbox is at the level of that name.".
-type lengths() :: #{warning := pos_integer(), critical := pos_integer(), overload := pos_integer()}.

-define(SESSIONS, {?MODULE, sessions}).
-define(MOST_READERS, 100).
%% After so long it is told without the length.
-define(LATE_MS, 2).
-define(MISSED_MS, 1000).
-define(REST, 20).
-define(STOP_MS, 5000).
-define(WHOLE, 1000000).

-record(state, {
    warning :: pos_integer(),
    %% By their monitors, those whose length is asked for.
    readers = #{} :: #{reference() => pid()},
    scan = none :: none | wanted | {Monitor :: reference(), BegunMs :: integer()},
    next_scan_ms :: integer()
}).

-doc "Starts to watch, linked to the caller, which the millionths are told by which a level is left below its length.".
-spec start_link(lengths(), Margin :: 0..800000) -> gen_server:start_ret().
start_link(Lengths, Margin) ->
    %% What it is told is little for each, and comes at once from very many.
    SpawnOptions = [{message_queue_data, off_heap}, {priority, high}],
    gen_server:start_link(?MODULE, {Lengths, Margin}, [{spawn_opt, SpawnOptions}]).

-doc "Ends the sessions, and the process.".
-spec stop(pid()) -> ok.
stop(Pid) ->
    ok = close(),
    true = unlink(Pid),
    try
        gen_server:stop(Pid, normal, ?STOP_MS)
    catch
        exit:_ ->
            true = exit(Pid, kill),
            ok
    end.

-doc "Ends the sessions that there are, of a process that is dead too.".
-spec close() -> ok.
close() ->
    lists:foreach(fun trace:session_destroy/1, persistent_term:get(?SESSIONS, [])),
    _ = persistent_term:erase(?SESSIONS),
    ok.

-doc false.
-spec init({lengths(), 0..800000}) -> {ok, #state{}}.
init({#{warning := Warning} = Lengths, Margin}) ->
    ok = close(),
    Told = [{trace:session_create(?MODULE, self(), []), Length} || Length <- lists:usort(maps:values(Lengths))],
    %% Before anything is told: from here on no reference goes with this process.
    ok = persistent_term:put(?SESSIONS, [Session || {Session, _} <- Told]),
    [ok = trace:system(Session, long_message_queue, {left_at(Length, Margin), Length}) || {Session, Length} <- Told],
    _ = erlang:send_after(?MISSED_MS, self(), missed),
    {ok, begin_scan(#state{warning = Warning, next_scan_ms = now_ms()})}.

%% Where the level is left, the next crossing is told again.
left_at(Length, Margin) ->
    min(Length - 1, Length * (?WHOLE - Margin) div ?WHOLE).

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({monitor, Pid, long_message_queue, true}, #state{readers = Readers, warning = Warning} = State) when
    map_size(Readers) < ?MOST_READERS
->
    case erlmcp_native_process:helper(?MODULE, read, [Pid, Warning], [link, {priority, high}]) of
        {_, Reader} ->
            _ = erlang:send_after(?LATE_MS, self(), {late, Reader}),
            {noreply, State#state{readers = Readers#{Reader => Pid}}};
        no_room ->
            _ = erlmcp_native:mailbox_seen(own, Pid, Warning),
            {noreply, State}
    end;
handle_info({monitor, Pid, long_message_queue, true}, #state{warning = Warning} = State) ->
    _ = erlmcp_native:mailbox_seen(own, Pid, Warning),
    {noreply, State};
handle_info({'DOWN', Scan, process, _, _}, #state{scan = {Scan, BegunMs}} = State) ->
    RestMs = max(?MISSED_MS, ?REST * (now_ms() - BegunMs)),
    {noreply, State#state{scan = none, next_scan_ms = now_ms() + RestMs}};
handle_info({'DOWN', Reader, process, _, _}, #state{readers = Readers} = State) ->
    {noreply, State#state{readers = maps:remove(Reader, Readers)}};
handle_info({late, Reader}, #state{readers = Readers, warning = Warning} = State) ->
    _ = [erlmcp_native:mailbox_seen(own, Pid, Warning) || #{Reader := Pid} <- [Readers]],
    {noreply, State};
handle_info(missed, State) ->
    _ = erlang:send_after(?MISSED_MS, self(), missed),
    {noreply, look_for_missed(State)};
handle_info(_Info, State) ->
    {noreply, State}.

look_for_missed(#state{scan = none, next_scan_ms = NextMs} = State) ->
    case now_ms() >= NextMs andalso erlmcp_native:mailbox_missed(own) =:= true of
        true -> begin_scan(State);
        false -> State
    end;
look_for_missed(#state{scan = wanted} = State) ->
    begin_scan(State);
look_for_missed(State) ->
    State.

begin_scan(#state{warning = Warning} = State) ->
    Arguments = [erlang:processes_iterator(), Warning],
    case erlmcp_native_process:helper(?MODULE, scan, Arguments, [link]) of
        {_, Monitor} -> State#state{scan = {Monitor, now_ms()}};
        no_room -> State#state{scan = wanted}
    end.

%% It was that long, even if it is not any more.
-doc false.
-spec read(pid(), pos_integer()) -> ok.
read(Pid, Warning) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} -> erlmcp_native:mailbox_seen(own, Pid, max(Length, Warning));
        undefined -> ok
    end,
    ok.

%% It asks one after the other, and waits for who is busy; others run meanwhile.
-doc false.
-spec scan(erlang:processes_iter_ref(), pos_integer()) -> ok.
scan(Iterator, Warning) ->
    case erlang:processes_next(Iterator) of
        {Pid, Next} ->
            case process_info(Pid, message_queue_len) of
                {message_queue_len, Length} when Length >= Warning ->
                    _ = erlmcp_native:mailbox_seen(own, Pid, Length);
                _ ->
                    ok
            end,
            ?MODULE:scan(Next, Warning);
        none ->
            ok
    end.

now_ms() ->
    erlang:monotonic_time(millisecond).
