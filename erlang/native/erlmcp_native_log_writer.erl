-module(erlmcp_native_log_writer).
-moduledoc """
The process that has lines written to the log: one at a time, each by a process that may wait for the logger as long as
it likes.

It is started by the first line, by whomever, and ends a second after the last one is written: there is no state that
could be lost, and none to look after. It belongs to no application, so that what is said at a stop is still written.

How many lines a source has had in the current second is counted in a table, by whoever has a line: what is too much
costs a count, and is neither formatted nor sent.
""".

-behaviour(gen_server).

-export([admit/1, write/2, flush/1, text/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-export_type([event/0]).

-doc "A line: its level, fields and metadata. The text is one of the fields.".
-type event() :: {logger:level(), #{text := binary(), atom() => term()}, logger:metadata()}.

-define(SECOND_MS, 1000).
%% Lines a second, of all sources.
-define(MOST, 100).
%% Lines that wait for the logger.
-define(WAITING, 200).
-define(ALL, {?MODULE, all}).

-record(state, {
    writer = none :: none | reference(),
    waiting = queue:new() :: queue:queue(event()),
    %% Lines that found no room there.
    lost = 0 :: non_neg_integer(),
    %% The line that stands for what is left out of a source.
    lines = #{} :: #{Source :: term() => event()},
    %% Who is told when nothing waits.
    flushing = [] :: [gen_server:from()]
}).

-doc "Counts a line of a source, or of none, and says whether it is to be written.".
-spec admit(Source :: term()) -> boolean().
admit(Source) ->
    try
        count(Source)
    catch
        error:badarg ->
            %% There is no table: no line for more than a second.
            start(),
            try
                count(Source)
            catch
                error:badarg -> true
            end
    end.

count(none) ->
    ets:update_counter(?MODULE, ?ALL, {2, 1}, {?ALL, 0}) =< ?MOST;
count(Source) ->
    ets:update_counter(?MODULE, {source, Source}, {2, 1}, {{source, Source}, 0}) =:= 1 andalso count(none).

%% At high priority, so that a caller that has it does not wait for those that have not.
start() ->
    Start = fun() -> gen_server:start({local, ?MODULE}, ?MODULE, [], [{spawn_opt, [{priority, high}]}]) end,
    _ = erlmcp_native_process:start(Start),
    ok.

-doc "Has a line written that was admitted.".
-spec write(Source :: term(), event()) -> ok.
write(Source, Event) ->
    try
        ?MODULE ! {line, Source, Event}
    of
        _ -> ok
    catch
        error:badarg ->
            start(),
            _ = catch_badarg(fun() -> ?MODULE ! {line, Source, Event} end),
            ok
    end.

catch_badarg(Send) ->
    try
        Send()
    catch
        error:badarg -> gone
    end.

-doc "Waits until nothing waits to be written, and says whether that was so in time.".
-spec flush(TimeoutMs :: non_neg_integer()) -> boolean().
flush(TimeoutMs) ->
    try
        gen_server:call(?MODULE, flush, TimeoutMs)
    catch
        exit:{timeout, _} -> false;
        exit:_ -> true
    end.

-doc "Returns the text of a report.".
-spec text(#{text := binary(), atom() => term()}, logger:report_cb_config()) -> unicode:chardata().
text(#{text := Text}, _Config) ->
    Text.

-doc false.
-spec init([]) -> {ok, #state{}}.
init([]) ->
    %% Not an application's, which would end this process with itself.
    true = group_leader(whereis(init), self()),
    _ = ets:new(?MODULE, [named_table, public, {write_concurrency, true}]),
    tick(),
    {ok, #state{}}.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) ->
    {reply, {error, unknown_call}, #state{}} | {noreply, #state{}}.
handle_call(flush, From, #state{flushing = Flushing} = State) ->
    {noreply, next(State#state{flushing = [From | Flushing]})};
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
handle_info({line, Source, Event}, State) ->
    {noreply, next(wait(Event, keep(Source, Event, State)))};
handle_info({'DOWN', Writer, process, _, _}, #state{writer = Writer} = State) ->
    {noreply, next(State#state{writer = none})};
handle_info(tick, State) ->
    Next = next(sweep(State)),
    case is_idle(Next) of
        true -> {stop, normal, Next};
        false -> tick(), {noreply, Next}
    end;
handle_info(_Info, State) ->
    {noreply, State}.

is_idle(#state{writer = Writer, waiting = Waiting, lost = Lost, lines = Lines}) ->
    Writer =:= none andalso queue:is_empty(Waiting) andalso Lost =:= 0 andalso map_size(Lines) =:= 0.

%% A line that came at the last moment is the first of another process. Whoever had found the name may still be sending
%% when it is gone: how long its thread takes for that is the system's affair.
-doc false.
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, _State) ->
    true = ets:delete(?MODULE),
    true = unregister(?MODULE),
    hand_over().

hand_over() ->
    receive
        {line, Source, Event} -> _ = admit(Source), write(Source, Event), hand_over();
        {'$gen_call', From, flush} -> gen_server:reply(From, true), hand_over()
    after ?SECOND_MS -> ok
    end.

tick() ->
    _ = erlang:send_after(?SECOND_MS, self(), tick),
    ok.

keep(none, _, State) -> State;
keep(Source, Event, #state{lines = Lines} = State) -> State#state{lines = Lines#{Source => Event}}.

%% The second is over: what was left out in it is told.
sweep(#state{lines = Lines} = State) ->
    Known = State#state{lines = maps:filter(fun is_counted/2, Lines)},
    {LeftOut, Swept} = lists:foldl(fun sweep/2, {0, Known}, ets:tab2list(?MODULE)),
    case LeftOut of
        0 -> Swept;
        _ -> wait(event(warning, "erlmcp_native: ~b log lines in a second were left out", left_out, LeftOut), Swept)
    end.

is_counted(Source, _) ->
    ets:member(?MODULE, {source, Source}).

sweep({?ALL, Count}, {LeftOut, State}) ->
    true = ets:delete(?MODULE, ?ALL),
    {LeftOut + max(0, Count - ?MOST), State};
sweep({{source, Source}, Count} = Row, {LeftOut, #state{lines = Lines} = State}) ->
    case Lines of
        #{Source := Event} when Count > 1 ->
            %% Counted on from one, as if this line were the next second's first.
            _ = ets:update_counter(?MODULE, {source, Source}, {2, 1 - Count}),
            {LeftOut, wait(left_out(Count - 1, Event), State)};
        #{Source := _} ->
            %% Unless it has been counted up since.
            true = ets:delete_object(?MODULE, Row),
            {LeftOut, State};
        #{} ->
            %% Its first was one too many of all.
            true = ets:delete_object(?MODULE, Row),
            {LeftOut + Count - 1, State}
    end.

left_out(Count, {Level, #{text := Text} = Report, Meta}) ->
    Said = <<Text/binary, " (", (integer_to_binary(Count))/binary, " more in a second)">>,
    {Level, Report#{text := Said, left_out => Count}, Meta#{left_out => Count, time := logger:timestamp()}}.

event(Level, Format, Name, Count) ->
    Report = #{Name => Count, text => erlmcp_native_log_text:format(Format, [Count])},
    {Level, Report, #{pid => self(), gl => group_leader(), time => logger:timestamp()}}.

wait(Event, #state{waiting = Waiting, lost = Lost} = State) ->
    case queue:len(Waiting) < ?WAITING of
        true -> State#state{waiting = queue:in(Event, Waiting)};
        false -> State#state{lost = Lost + weight(Event)}
    end.

weight({_, #{left_out := Count}, _}) -> Count;
weight(_) -> 1.

%% The lines that wait, and then how many there would have been more. Where the node has no room for who writes, they
%% wait for the next second.
next(#state{writer = none, waiting = Waiting, lost = Lost, flushing = Flushing} = State) ->
    case {queue:out(Waiting), Lost} of
        {{{value, Event}, Rest}, _} ->
            written(start_writer(Event), State#state{waiting = Rest}, State);
        {{empty, _}, 0} ->
            lists:foreach(fun(From) -> gen_server:reply(From, true) end, Flushing),
            State#state{flushing = []};
        {{empty, _}, _} ->
            written(start_writer(lost(State)), State#state{lost = 0}, State)
    end;
next(State) ->
    State.

written(no_room, _, State) -> State;
written({_, Writer}, State, _) -> State#state{writer = Writer}.

lost(#state{lost = Lost}) ->
    event(error, "erlmcp_native: ~b log lines were lost while the logger was stuck or slow", lost_lines, Lost).

%% No code of ours is in what waits there, so that it can be replaced meanwhile.
start_writer({Level, Report, Meta}) ->
    erlmcp_native_process:helper(logger, log, [Level, Report, Meta#{report_cb => fun ?MODULE:text/2}], []).
