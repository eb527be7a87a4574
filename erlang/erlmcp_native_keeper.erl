-module(erlmcp_native_keeper).
-moduledoc """
Starts the supervisor of the exporters again when that has ended, as a supervisor would, but so that nothing of it
counts against the services: the application's supervisor does not restart it (`m:erlmcp_native_exporters`).

It is started again at once, with what is configured then. If it ends again within ten seconds, or cannot be started,
since its port was taken meanwhile, say, that is tried again and again, with a pause that doubles from 100 ms to 30 s.
`erlmcp_native_app:reload_config/0` does not wait for that.
""".

-behaviour(gen_server).

-export([start_link/0, look/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export([start_exporters/0]).

-include_lib("kernel/include/logger.hrl").

-define(EXPORTERS, erlmcp_native_exporters).
-define(STEADY_MS, 10000).
-define(PAUSE_MS, 100).
-define(LONGEST_MS, 30000).
%% 100 ms doubled so often is more than 30 s.
-define(DOUBLED, 9).

-record(state, {
    %% Of the exporters, or of whoever starts them, or the timer until then.
    awaited = none :: none | {exporters | starter | pause, reference()},
    since_ms = now_ms() :: integer(),
    failures = 0 :: non_neg_integer()
}).

-doc "Starts the process that keeps the exporters, which it finds if they are started.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-doc "Says that somebody else has started the exporters.".
-spec look() -> ok.
look() ->
    gen_server:cast(?MODULE, look).

-doc false.
-spec init([]) -> {ok, #state{}}.
init([]) ->
    {ok, found(#state{})}.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(look, #state{awaited = {pause, Timer}} = State) ->
    _ = erlang:cancel_timer(Timer),
    {noreply, found(State#state{since_ms = now_ms()})};
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({'DOWN', Monitor, process, _, Reason}, #state{awaited = {exporters, Monitor}} = State) ->
    #state{since_ms = SinceMs, failures = Failures} = State,
    Steady = now_ms() - SinceMs >= ?STEADY_MS,
    {noreply, again("have ended", Reason, State#state{failures = case Steady of true -> 0; false -> Failures end})};
handle_info({'DOWN', Monitor, process, _, Outcome}, #state{awaited = {starter, Monitor}} = State) ->
    case Outcome of
        {started, {ok, _}} -> {noreply, found(State#state{since_ms = now_ms()})};
        {started, {error, {already_started, _}}} -> {noreply, found(State#state{since_ms = now_ms()})};
        {started, {error, Reason}} -> {noreply, again("cannot be started", Reason, State)};
        Reason -> {noreply, again("cannot be started", Reason, State)}
    end;
handle_info({timeout, Timer, pause}, #state{awaited = {pause, Timer}} = State) ->
    {noreply, found(State)};
handle_info(_Info, State) ->
    {noreply, State}.

found(State) ->
    case whereis(?EXPORTERS) of
        undefined -> starter(State);
        Pid -> State#state{awaited = {exporters, erlang:monitor(process, Pid)}}
    end.

%% Not here: the supervisor may be waiting for this process to start, or to end.
starter(State) ->
    case erlmcp_native_process:helper(?MODULE, start_exporters, [], []) of
        {_, Monitor} -> State#state{awaited = {starter, Monitor}};
        no_room -> again("cannot be started", system_limit, State)
    end.

-doc false.
-spec start_exporters() -> no_return().
start_exporters() ->
    exit({started, ?EXPORTERS:start_again()}).

again(What, Reason, #state{failures = Failures} = State) ->
    PauseMs = pause_ms(Failures),
    erlmcp_native_log:write(
        error,
        "erlmcp_native: the exporters ~ts: ~0tp; they are started again in ~b ms",
        [What, Reason, PauseMs],
        ?LOCATION,
        #{}
    ),
    State#state{awaited = {pause, erlang:start_timer(PauseMs, self(), pause)}, failures = Failures + 1}.

pause_ms(0) -> 0;
pause_ms(Failures) -> min(?LONGEST_MS, ?PAUSE_MS bsl min(Failures - 1, ?DOUBLED)).

now_ms() ->
    erlang:monotonic_time(millisecond).
