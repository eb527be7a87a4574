-module(erlmcp_overload_guard).
-moduledoc """
The process that looks how much memory and run queue the node has in use, and says natively how hard that presses it;
what that means is in `m:erlmcp_overload_node`.

It belongs to `m:erlmcp_overload_server`, through `m:erlmcp_overload_guard_keeper`. It never waits: the length of run
queues is a number that the runtime has, and what has to be waited for is done by helpers, of each kind one at a time,
with a priority as high. Files are read by dirty schedulers, which may all be busy; and for `erlang:memory/1` every
scheduler is asked, which one may put off. What a helper has found is its exit reason, but for what is read at each
look: that is told by a process that stays, `m:erlmcp_overload_resident`.

What it knows beside the numbers, the options and where the limit is from, is in a persistent term for those who ask.
""".

-behaviour(gen_server).

-export([start_link/2, reconfigure/2, told/0, close/0]).
-export([find/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

-define(TOLD, {?MODULE, told}).
-define(RISE_MS, 500).
-define(CLEAR_MS, 2000).
%% What memory is lower by where a level is left, and the share of its mark of the run queue.
-define(POINTS, 0.05).
-define(SHARE, 0.75).
%% So many moments make a length of the run queue.
-define(GLANCES, 5).
%% However late a look is, no more than so many times its interval have passed.
-define(LATE, 3).
-define(TOTAL_MS, 500).
-define(LIMIT_MS, 10000).
%% A number that is older is none.
-define(OLD_MS, 5000).
%% For so long a level holds that is not said anew, or for so many looks.
-define(HOLD_MS, 5000).
-define(HOLD, 5).

-type finding() :: resident | total | limit.
-type helper() :: reference() | pid().
-record(state, {
    root :: file:filename(),
    options :: erlmcp_overload_node:options(),
    memory :: erlmcp_overload_hysteresis:hysteresis() | off,
    run_queue :: erlmcp_overload_hysteresis:hysteresis() | off,
    %% Who finds what, and since when.
    helpers = #{} :: #{finding() => {helper(), integer()}},
    reader :: pid(),
    %% What was found last, and when that was begun.
    found = #{} :: #{finding() => {term(), integer()}},
    %% The lengths of the run queue since the last look, and when the next is due.
    lengths = [] :: [non_neg_integer()],
    due_ms = erlang:monotonic_time(millisecond) :: integer()
}).

-doc "Starts to look, linked to the caller. Files are those below a root, which is empty for all but tests.".
-spec start_link(erlmcp_overload_node:options(), Root :: file:filename()) -> gen_server:start_ret().
start_link(Options, Root) ->
    gen_server:start_link(?MODULE, {Options, Root}, [{spawn_opt, [{priority, high}, {message_queue_data, off_heap}]}]).

-doc "Has other options followed from the next look on, and does not wait for that.".
-spec reconfigure(pid(), erlmcp_overload_node:options()) -> ok.
reconfigure(Guard, Options) ->
    gen_server:cast(Guard, {options, Options}).

-doc "Returns what is known beside the numbers, while there is a guard, or one is to come.".
-spec told() ->
    #{options := erlmcp_overload_node:options(), source := erlmcp_overload_memory:source() | unknown} | none.
told() ->
    persistent_term:get(?TOLD, none).

-doc "Ends what a guard that is dead has begun.".
-spec close() -> ok.
close() ->
    _ = persistent_term:erase(?TOLD),
    _ = erlmcp_native:node_guard(own, false),
    ok.

-doc false.
-spec init({erlmcp_overload_node:options(), file:filename()}) -> {ok, #state{}} | {error, term()}.
init({Options, Root}) ->
    maybe
        {ok, Levels} ?= begun(erlmcp_native:node_pressure(own)),
        {ok, Reader} ?= erlmcp_native_process:start(fun() -> erlmcp_overload_resident:start_link(Root) end),
        {ok, glance(tell(with_options(Options, Levels, Root, Reader)))}
    end.

%% Goes on from where whoever was here before has left. To begin needs a dirty scheduler, to go on does not.
begun({Level, _, {{Memory, _, _}, {RunQueue, _, _}}}) when Level > 0 ->
    {ok, {Memory, RunQueue}};
begun({_, _, _}) ->
    {ok, {0, 0}};
begun(off) ->
    case erlmcp_native:node_guard(own, true) of
        ok -> {ok, {0, 0}};
        Fault -> {error, Fault}
    end;
begun(Fault) ->
    {error, Fault}.

with_options(Options, {Memory, RunQueue}, Root, Reader) ->
    #{memory := Shares, run_queue := Lengths} = Options,
    #state{
        root = Root,
        reader = Reader,
        options = Options,
        memory = hysteresis(Shares, 0, fun(Mark) -> Mark - ?POINTS end, Options, Memory),
        run_queue = hysteresis(Lengths, ?RISE_MS, fun(Mark) -> Mark * ?SHARE end, Options, RunQueue)
    }.

hysteresis(off, _, _, _, _) ->
    off;
hysteresis({First, Second} = Marks, RiseMs, ClearAt, #{sample_ms := SampleMs}, Level) ->
    Rules = #{
        rise_ms => RiseMs,
        clear_ms => ?CLEAR_MS,
        clear_at => {ClearAt(First), ClearAt(Second)},
        most_ms => ?LATE * SampleMs
    },
    erlmcp_overload_hysteresis:new(Marks, Rules, Level).

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({options, Options}, #state{memory = Memory, run_queue = RunQueue, root = Root, reader = Reader} = State) ->
    New = with_options(Options, {level(Memory), level(RunQueue)}, Root, Reader),
    #state{memory = NewMemory, run_queue = NewRunQueue} = New,
    {noreply, tell(State#state{options = Options, memory = NewMemory, run_queue = NewRunQueue})};
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(glance, State) ->
    {noreply, glance(State)};
handle_info({resident, Reader, Bytes}, State) ->
    {noreply, helped(Reader, Bytes, State)};
handle_info({'DOWN', Helper, process, _, {found, Value}}, State) ->
    {noreply, helped(Helper, Value, State)};
handle_info({'DOWN', Helper, process, _, _Lost}, State) ->
    {noreply, helped(Helper, unknown, State)};
handle_info(_Info, State) ->
    {noreply, State}.

helped(Helper, Value, #state{helpers = Helpers} = State) ->
    case [{Finding, BegunMs} || Finding := {Of, BegunMs} <- Helpers, Of =:= Helper] of
        [{Finding, BegunMs}] ->
            Left = State#state{helpers = maps:remove(Finding, Helpers)},
            learnt(Finding, note(Finding, Value, BegunMs, Left), State);
        [] ->
            State
    end.

%% What the limit was stays known where nobody can find out: a node that has no file left to open has one all the same.
note(limit, Value, AtMs, #state{found = #{limit := {{_, _} = Known, _}} = Found} = State) when not is_tuple(Value) ->
    State#state{found = Found#{limit := {Known, AtMs}}};
note(Finding, Value, AtMs, #state{found = Found} = State) ->
    State#state{found = Found#{Finding => {Value, AtMs}}}.

learnt(limit, State, Before) ->
    case {limit(State), found(limit, Before)} of
        {unknown, Known} when Known =/= {ok, unknown} -> log_unknown();
        {_, _} -> ok
    end,
    tell(State);
learnt(_, State, _) ->
    State.

log_unknown() ->
    erlmcp_native_log:write(
        warning,
        "erlmcp_overload_node: it is not known how much memory there is, and memory_limit does not say it: "
        "none is ever too much",
        [],
        ?LOCATION,
        #{}
    ).

%% A run queue changes from one moment to the next. So it is looked at more often than anything is decided, unless
%% there is none.
glance(#state{options = #{sample_ms := SampleMs}, lengths = Lengths, due_ms = DueMs} = State) ->
    NowMs = erlang:monotonic_time(millisecond),
    Length = erlang:statistics(total_run_queue_lengths),
    Glanced = State#state{lengths = [Length | Lengths]},
    NewState =
        case NowMs >= DueMs of
            true -> look(NowMs, Glanced#state{due_ms = NowMs + SampleMs});
            false -> Glanced
        end,
    InMs =
        case {Length, NewState} of
            {0, #state{lengths = []}} -> SampleMs;
            _ -> max(1, SampleMs div ?GLANCES)
        end,
    _ = erlang:send_after(InMs, self(), glance),
    NewState.

look(NowMs, #state{options = #{sample_ms := SampleMs}, memory = Memory, run_queue = RunQueue} = State) ->
    {Share, Used, Limit} = memory(NowMs, State),
    {PerScheduler, Length, Most} = run_queue(State),
    NewMemory = look(NowMs, Share, Memory),
    NewRunQueue = look(NowMs, PerScheduler, RunQueue),
    HoldMs = max(?HOLD_MS, ?HOLD * SampleMs),
    _ = erlmcp_native:node_press(
        own, {level(NewMemory), Used, Limit}, {level(NewRunQueue), Length, Most}, HoldMs
    ),
    help(NowMs, State#state{memory = NewMemory, run_queue = NewRunQueue, lengths = []}).

look(_, _, off) -> off;
look(NowMs, Number, Hysteresis) -> erlmcp_overload_hysteresis:look(NowMs, Number, Hysteresis).

level(off) -> 0;
level(Hysteresis) -> erlmcp_overload_hysteresis:level(Hysteresis).

memory(NowMs, State) ->
    Used = max(in_use(resident, NowMs, State), in_use(total, NowMs, State)),
    case limit(State) of
        {Limit, _} -> {Used / Limit, Used, Limit};
        unknown -> {0, Used, 0}
    end.

in_use(Finding, NowMs, #state{found = Found}) ->
    case Found of
        #{Finding := {Bytes, AtMs}} when is_integer(Bytes), NowMs - AtMs =< ?OLD_MS -> Bytes;
        #{} -> 0
    end.

limit(#state{options = #{memory_limit := Bytes}}) when is_integer(Bytes) ->
    {Bytes, configured};
limit(State) ->
    case found(limit, State) of
        {ok, {_, _} = Limit} -> Limit;
        _NotKnown -> unknown
    end.

found(Finding, #state{found = Found}) ->
    case Found of
        #{Finding := {Value, _}} -> {ok, Value};
        #{} -> none
    end.

run_queue(#state{options = #{run_queue := Marks}, lengths = Lengths}) ->
    Schedulers = erlang:system_info(schedulers_online),
    Mean = lists:sum(Lengths) / length(Lengths),
    Most = case Marks of {_, Second} -> ceil(Second * Schedulers); off -> 0 end,
    {Mean / Schedulers, round(Mean), Most}.

%% What is due to be found, and is not being looked for.
help(_, #state{memory = off} = State) ->
    State;
help(NowMs, #state{options = #{memory_limit := Given}} = State) ->
    Due = [{resident, 0}, {total, ?TOTAL_MS}] ++ [{limit, ?LIMIT_MS} || Given =:= auto],
    lists:foldl(fun({Finding, EveryMs}, Helped) -> help(Finding, EveryMs, NowMs, Helped) end, State, Due).

help(Finding, EveryMs, NowMs, #state{helpers = Helpers, found = Found} = State) ->
    case {Helpers, Found} of
        {#{Finding := _}, _} ->
            State;
        {_, #{Finding := {_, BegunMs}}} when NowMs - BegunMs < EveryMs ->
            State;
        _ ->
            case helper(Finding, State) of
                no_room -> note(Finding, no_room, NowMs, State);
                Helper -> State#state{helpers = Helpers#{Finding => {Helper, NowMs}}}
            end
    end.

helper(resident, #state{reader = Reader}) ->
    ok = erlmcp_overload_resident:read(Reader),
    Reader;
helper(Finding, #state{root = Root}) ->
    case erlmcp_native_process:helper(?MODULE, find, [Finding, Root], [{priority, high}]) of
        {_, Helper} -> Helper;
        no_room -> no_room
    end.

-doc false.
-spec find(total | limit, file:filename()) -> no_return().
find(limit, Root) ->
    exit({found, erlmcp_overload_memory:limit(Root)});
find(total, _) ->
    exit({found, total()}).

%% A runtime that was started without some of its allocators does not know.
total() ->
    try
        erlang:memory(total)
    catch
        error:notsup -> unknown
    end.

%% The same again costs nothing.
tell(#state{options = Options} = State) ->
    Source =
        case limit(State) of
            {_, From} -> From;
            unknown -> unknown
        end,
    ok = persistent_term:put(?TOLD, #{options => Options, source => Source}),
    State.
