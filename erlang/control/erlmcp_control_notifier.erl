-module(erlmcp_control_notifier).
-moduledoc """
Tells of cancellations that nobody else can tell of, and forgets those that came too early and too long ago.

No native code can send through an alias. So where an owner dies, or whoever has cancelled is killed before it has sent,
this process sends: `{urgent, {cancelled, Id, Reason}}`, at priority `high` as long as there is little to send. It is
started by `m:erlmcp_control_server`, and another one when it ends; what is to be sent is native and waits for it.

The options of the key `cancel`:

| option | value | default | meaning |
| --- | --- | --- | --- |
| `tombstone_ms` | milliseconds, an integer from 0 to 3600000 | `5000` | How long a cancellation is remembered that comes before its task. |
| `max_tombstones` | an integer from 0 to 262144 | `65536` | How many are remembered; the oldest go. |
""".

-behaviour(gen_server).

-export([start_link/0, stop/1, configure/1, table/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, handle_continue/2]).

-record(state, {
    %% Until the next tombstone is too old.
    timer = none :: none | reference()
}).

-doc "Starts the process, linked to the caller.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link(?MODULE, [], [{spawn_opt, [{priority, high}, {message_queue_data, off_heap}]}]).

-doc "Ends the process, linked to the caller or not.".
-spec stop(pid()) -> ok.
stop(Pid) ->
    true = unlink(Pid),
    Monitor = monitor(process, Pid),
    true = exit(Pid, kill),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    end.

-doc "Applies the options of the key `cancel`.".
-spec configure(#{tombstone_ms := non_neg_integer(), max_tombstones := non_neg_integer()}) -> ok.
configure(#{tombstone_ms := TombstoneMs, max_tombstones := Most}) ->
    _ = erlmcp_native:cancel_configure(TombstoneMs, Most),
    ok.

-doc false.
-spec table() -> erlmcp_native_options:table().
table() ->
    [
        #{
            name => tombstone_ms,
            type => erlmcp_native_options:milliseconds(0, 3_600_000),
            default => 5000,
            doc => ~"How long a cancellation is remembered that comes before its task."
        },
        #{
            name => max_tombstones,
            type => erlmcp_native_options:integer(0, 262_144),
            default => 65_536,
            doc => ~"How many are remembered; the oldest go."
        }
    ].

-doc false.
-spec init([]) -> {ok, #state{}, {continue, news}}.
init([]) ->
    _ = erlmcp_native:cancel_attach(),
    {ok, #state{}, {continue, news}}.

-doc false.
-spec handle_continue(news, #state{}) -> {noreply, #state{}}.
handle_continue(news, State) ->
    {noreply, news(State)}.

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
handle_info(news, State) ->
    {noreply, news(State)};
handle_info({timeout, Timer, sweep}, #state{timer = Timer} = State) ->
    {noreply, sweep(State#state{timer = none})};
handle_info(_Info, State) ->
    {noreply, State}.

%% After each hundred it looks for what else has come, and others of its priority have their turn.
news(State) ->
    case erlmcp_native:cancel_news() of
        [_ | _] = Tellings ->
            lists:foreach(fun erlmcp_control_cancel:tell/1, Tellings),
            %% Very much is not in such a haste that everybody else should stand still.
            _ = process_flag(priority, normal),
            _ = self() ! news,
            State;
        _NothingOrNotStarted ->
            _ = process_flag(priority, high),
            sweep(State)
    end.

%% One timer, while there is anything that grows old.
sweep(#state{timer = none} = State) ->
    case erlmcp_native:cancel_sweep() of
        Ms when is_integer(Ms) -> State#state{timer = erlang:start_timer(Ms, self(), sweep)};
        _NothingOrNotStarted -> State
    end;
sweep(State) ->
    State.
