-module(erlmcp_native_otlp).
-moduledoc """
Pushes metrics to an OpenTelemetry endpoint at an interval: OTLP over HTTP, in JSON.

What is pushed is what `m:erlmcp_native_metrics` knows, see `m:erlmcp_native_otlp_encode`. The options are in
`m:erlmcp_native_otlp_options`.

Whatever the endpoint does concerns this process and its helper only, which makes one push at a time and is killed
when its time is over. Snapshots that could not be pushed wait, at most 32 of 8 MB in all, the oldest are given up
for new ones; when they are tried again, and which are not, is in `m:erlmcp_native_otlp_answer`. A failure is logged
when it starts and when it is over. `m:erlmcp_native_self` counts pushes and what was given up.

The first snapshot comes after a part of the interval by chance, so that many nodes do not push all at once. When
this process is stopped, what waits is given up and no last push is made: stopping must not have to wait for
somebody else's machine.

Headers, and the path and query of the endpoint, may be secrets. As they are configured they stand in the application's
environment and nowhere else that is printed: the process reads them itself, since a supervisor logs what it starts a
child with, and keeps them in a table that only it can read. Options that are given to `start_link/1` are in the child
specification of whoever starts it so.

```erlang
1> erlmcp_native_otlp:options(#{endpoint => "127.0.0.1:4318"}).
{error,{[endpoint],
        hidden,
        "a URL such as http://127.0.0.1:4318/v1/metrics, with http or https"}}
```
""".

-behaviour(gen_server).
-behaviour(erlmcp_native_config).

-export([start_configured/1, start_link/1, options/1, config/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, format_status/1]).
-export([help/4]).

%% What the helper may be late before it is killed.
-define(GRACE_MS, 100).

-record(state, {
    interval_ms :: pos_integer(),
    timeout_ms :: pos_integer(),
    compression :: gzip | none,
    %% Where to and with which headers: a private table, so that the state can be shown.
    secrets :: ets:tid(),
    resource :: #{binary() => erlmcp_native_otlp_options:attribute()},
    series :: erlmcp_native_otlp_series:series(),
    buffer = erlmcp_native_otlp_buffer:new() :: erlmcp_native_otlp_buffer:buffer(),
    log :: erlmcp_native_otlp_log:log(),
    %% When the next snapshot is due, in monotonic milliseconds.
    due_ms :: integer(),
    push = none :: none | {Helper :: pid(), Monitor :: reference(), TooLate :: reference()},
    %% Failures in a row, and the timer for the next try.
    failures = 0 :: non_neg_integer(),
    again = none :: none | reference()
}).

-doc """
Starts pushing with what is configured. The argument is not looked at: a supervisor tells by it that the configuration
has changed.
""".
-spec start_configured(Fingerprint :: binary()) -> gen_server:start_ret().
start_configured(_Fingerprint) ->
    maybe
        {ok, #{} = Options} ?= erlmcp_native_config:lookup(otlp, config()),
        gen_server:start_link({local, ?MODULE}, ?MODULE, Options, [])
    else
        {ok, off} -> ignore;
        Error -> Error
    end.

-doc "Starts the process that pushes. It takes options, checked or not.".
-spec start_link(term()) -> gen_server:start_ret().
start_link(Given) ->
    case options(Given) of
        {ok, Options} ->
            gen_server:start_link({local, ?MODULE}, ?MODULE, Options, []);
        {error, Problem} ->
            erlmcp_native_config:problem(erlmcp_native, otlp, Problem)
    end.

-doc "Checks the pusher's options, and adds those that are not given.".
-spec options(term()) ->
    {ok, erlmcp_native_otlp_options:options()} | {error, erlmcp_native_otlp_options:problem()}.
options(Given) ->
    erlmcp_native_otlp_options:check(Given).

-doc false.
-spec config() -> erlmcp_native_options:table().
config() ->
    Options = erlmcp_native_options:options(erlmcp_native_otlp_options:table()),
    [
        #{
            name => otlp,
            type => erlmcp_native_options:optional(off, Options),
            default => off,
            from => [erlmcp_native],
            doc => ~"The options of the pusher, see `m:erlmcp_native_otlp_options`."
        }
    ].

-doc false.
-spec init(erlmcp_native_otlp_options:options()) -> {ok, #state{}} | {error, term()}.
init(#{endpoint := Endpoint, interval_ms := IntervalMs, headers := Headers} = Options) ->
    process_flag(trap_exit, true),
    {ok, #{scheme := Scheme} = Target} = erlmcp_native_otlp_url:parse(Endpoint),
    maybe
        ok ?= tls(Scheme),
        erlmcp_native_self:set(otlp_buffered_bytes, 0),
        {ok,
            snapshot_at(now_ms() + rand:uniform(IntervalMs), #state{
                interval_ms = IntervalMs,
                timeout_ms = maps:get(timeout_ms, Options),
                compression = maps:get(compression, Options),
                secrets = secrets(Target, Headers),
                resource = erlmcp_native_otlp_options:resource(Options),
                series = erlmcp_native_otlp_series:new(runtime_started()),
                log = erlmcp_native_otlp_log:new(erlmcp_native_otlp_url:name(Target)),
                due_ms = 0
            })}
    end.

secrets(Target, Headers) ->
    Table = ets:new(?MODULE, [private]),
    true = ets:insert(Table, {push, Target, Headers}),
    Table.

tls(http) ->
    ok;
tls(https) ->
    case application:ensure_all_started(ssl) of
        {ok, _} -> ok;
        {error, Reason} -> {error, {https_needs_ssl, Reason}}
    end.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {noreply, #state{}, hibernate}.
handle_info({timeout, _, snapshot}, #state{due_ms = DueMs, interval_ms = IntervalMs} = State) ->
    Pushing = push(snapshot(State)),
    %% It left much garbage.
    {noreply, snapshot_at(next_ms(DueMs, IntervalMs, now_ms()), Pushing), hibernate};
handle_info({timeout, Timer, again}, #state{again = Timer} = State) ->
    {noreply, push(State#state{again = none})};
handle_info({timeout, Timer, too_late}, #state{push = {Helper, _, Timer}} = State) ->
    exit(Helper, kill),
    {noreply, State};
handle_info({'DOWN', Monitor, process, _, Reason}, #state{push = {_, Monitor, Timer}} = State) ->
    _ = erlang:cancel_timer(Timer),
    Verdict = erlmcp_native_otlp_answer:verdict(outcome(Reason), erlang:system_time(second)),
    {noreply, push(pushed(Verdict, State#state{push = none}))};
handle_info(_Info, State) ->
    {noreply, State}.

-doc false.
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{push = Push}) ->
    case Push of
        {Helper, _, _} -> exit(Helper, kill);
        none -> true
    end,
    erlmcp_native_self:set(otlp_buffered_bytes, 0).

-doc false.
-spec format_status(gen_server:format_status()) -> gen_server:format_status().
format_status(#{state := #state{buffer = Buffer, failures = Failures}} = Status) ->
    %% The rest is long.
    Status#{state := #{waiting => erlmcp_native_otlp_buffer:size(Buffer), failures => Failures}};
format_status(Status) ->
    Status.

snapshot_at(Ms, State) ->
    _ = erlang:start_timer(Ms, self(), snapshot, [{abs, true}]),
    State#state{due_ms = Ms}.

%% Those that were missed are not made up for.
next_ms(DueMs, IntervalMs, NowMs) when DueMs + IntervalMs > NowMs -> DueMs + IntervalMs;
next_ms(_, IntervalMs, NowMs) -> NowMs + IntervalMs.

snapshot(#state{compression = Compression, resource = Resource, series = Before, buffer = Buffer} = State) ->
    #{at_ms := AtMs} = Snapshot = erlmcp_native_metrics:snapshot(),
    Families = erlmcp_native_metrics:families(Snapshot),
    Series = erlmcp_native_otlp_series:update(Families, {AtMs, now_ms()}, Before),
    Json = erlmcp_native_otlp_encode:request(Families, Series, Resource),
    {Dropped, NewBuffer} = erlmcp_native_otlp_buffer:in(erlmcp_native_otlp_encode:body(Json, Compression), Buffer),
    dropped(Dropped, State#state{series = Series, buffer = NewBuffer}).

dropped(N, #state{buffer = Buffer, log = Log} = State) ->
    erlmcp_native_self:add(otlp_dropped, N),
    erlmcp_native_self:set(otlp_buffered_bytes, erlmcp_native_otlp_buffer:bytes(Buffer)),
    State#state{log = erlmcp_native_otlp_log:dropped(N, Log)}.

push(#state{push = none, again = none, buffer = Buffer} = State) ->
    case erlmcp_native_otlp_buffer:take(Buffer) of
        {Item, Rest} -> started(start(Item, State), State#state{buffer = Rest});
        empty -> State
    end;
push(State) ->
    State.

start({Encoding, Body}, #state{secrets = Secrets, timeout_ms = TimeoutMs}) ->
    [{push, Target, Given}] = ets:lookup(Secrets, push),
    Deadline = now_ms() + TimeoutMs,
    Headers = headers(Encoding) ++ Given,
    %% Linked, so that it does not outlive this process however that ends.
    case erlmcp_native_process:helper(?MODULE, help, [Target, Headers, Body, Deadline], [link]) of
        {Helper, Monitor} ->
            {Helper, Monitor, erlang:start_timer(Deadline + ?GRACE_MS, self(), too_late, [{abs, true}])};
        no_room ->
            no_room
    end.

started({_, _, _} = Push, State) ->
    State#state{push = Push};
started(no_room, State) ->
    Outcome = {failed, send, system_limit},
    pushed(erlmcp_native_otlp_answer:verdict(Outcome, erlang:system_time(second)), State).

%% The helper ends with the outcome. What an exception carries may have headers in it.
-doc false.
-spec help(erlmcp_native_otlp_url:target(), [{binary(), binary()}], binary(), Deadline :: integer()) -> no_return().
help(Target, Headers, Body, Deadline) ->
    Outcome =
        try
            erlmcp_native_otlp_request:post(Target, Headers, Body, Deadline)
        catch
            Class:_:_ -> {failed, send, {raised, Class}}
        end,
    exit({shutdown, {outcome, Outcome}}).

outcome({shutdown, {outcome, Outcome}}) -> Outcome;
outcome(_Killed) -> {failed, answer, timeout}.

headers(Encoding) ->
    [
        {~"user-agent", <<"erlmcp_native/", (erlmcp_native_otlp_options:version())/binary>>},
        {~"content-type", ~"application/json"}
        | [{~"content-encoding", ~"gzip"} || Encoding =:= gzip]
    ].

pushed(taken, #state{log = Log} = State) ->
    sent(State#state{log = erlmcp_native_otlp_log:taken(Log)});
pushed({taken_partly, Rejected, Message}, #state{log = Log} = State) ->
    sent(State#state{log = erlmcp_native_otlp_log:taken_partly(Rejected, Message, Log)});
pushed({retry, AskedMs, Problem}, State) ->
    #state{failures = Failures, buffer = Buffer} = Failed = failed(Problem, State),
    DelayMs = erlmcp_native_otlp_answer:delay_ms(Failures + 1, AskedMs, rand:uniform()),
    Failed#state{
        buffer = erlmcp_native_otlp_buffer:back(Buffer),
        failures = Failures + 1,
        again = erlang:start_timer(DelayMs, self(), again)
    };
pushed({give_up, Problem}, State) ->
    #state{buffer = Buffer} = Failed = failed(Problem, State),
    dropped(1, Failed#state{buffer = erlmcp_native_otlp_buffer:done(Buffer), failures = 0}).

sent(#state{buffer = Before, log = Log} = State) ->
    erlmcp_native_self:add(otlp_sent, 1),
    Buffer = erlmcp_native_otlp_buffer:done(Before),
    NewLog =
        case erlmcp_native_otlp_buffer:size(Buffer) of
            0 -> erlmcp_native_otlp_log:caught_up(Log);
            _ -> Log
        end,
    dropped(0, State#state{buffer = Buffer, failures = 0, log = NewLog}).

failed(Problem, #state{log = Log} = State) ->
    erlmcp_native_self:add(otlp_failed, 1),
    State#state{log = erlmcp_native_otlp_log:failed(Problem, Log)}.

%% The native counters are no older.
runtime_started() ->
    Monotonic = erlang:system_info(start_time),
    {milliseconds(Monotonic + erlang:time_offset()), milliseconds(Monotonic)}.

milliseconds(Native) ->
    erlang:convert_time_unit(Native, native, millisecond).

now_ms() ->
    erlang:monotonic_time(millisecond).
