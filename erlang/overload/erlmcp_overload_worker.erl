-module(erlmcp_overload_worker).
-moduledoc """
The process that a handler's callbacks run in, one at a time, and that keeps its state.

It calls them from `m:erlmcp_native_wait`, so that our own modules can be replaced while a callback runs.
""".

-behaviour(gen_server).

-export([start/1, call/4]).
-export([enter/2, returned/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {module :: module(), runner :: pid(), kept = [] :: [HandlerState :: term()]}).

-doc "Starts the process, linked to the caller and monitored by it.".
-spec start(module()) -> {pid(), Monitor :: reference()}.
start(Module) ->
    proc_lib:spawn_opt(?MODULE, enter, [Module, self()], [link, monitor, {priority, high}]).

-doc """
Has a callback called with these arguments and the handler's state, which `init` has made. Whoever started the process
gets `{Monitor, done | {failed, Reason}}`; after a failure the process is gone.
""".
-spec call(pid(), Monitor :: reference(), atom(), [term()]) -> ok.
call(Worker, Monitor, Callback, Args) ->
    gen_server:cast(Worker, {call, Monitor, Callback, Args}).

-doc false.
-spec enter(module(), pid()) -> no_return().
enter(Module, Runner) ->
    gen_server:enter_loop(?MODULE, [], #state{module = Module, runner = Runner}).

-doc false.
-spec init(term()) -> ignore.
init(_) ->
    ignore.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({call, Monitor, Callback, Args}, #state{module = Module, kept = Kept} = State) ->
    erlmcp_native_wait:run({Module, Callback, Args ++ Kept}, {?MODULE, returned, {Monitor, State}});
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(_Info, State) ->
    {noreply, State}.

%% The runner logs what went wrong; who is to answer does not log.
-doc false.
-spec returned(erlmcp_native_wait:outcome(), {Monitor :: reference(), #state{}}) -> {noreply, #state{}}.
returned({returned, {ok, Kept}}, {Monitor, #state{runner = Runner} = State}) ->
    Runner ! {Monitor, done},
    {noreply, State#state{kept = [Kept]}};
returned(Outcome, {Monitor, #state{runner = Runner}}) ->
    Runner ! {Monitor, {failed, reason(Outcome)}},
    exit({shutdown, failed}).

reason({returned, Value}) -> {bad_return_value, Value};
reason({raised, exit, Reason, _}) -> Reason;
reason({raised, error, Reason, Stacktrace}) -> {Reason, Stacktrace};
reason({raised, throw, Value, Stacktrace}) -> {{nocatch, Value}, Stacktrace}.
