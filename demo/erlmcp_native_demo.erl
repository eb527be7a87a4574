-module(erlmcp_native_demo).
-moduledoc """
`make demo`: sixteen sessions push 100,000 requests/s at tool executors that finish 60,000/s, and a table
shows what the limits make of it.

Control messages pass through all that, some sixty a second, fifty of them health checks. Each executor is a
component that takes them in its own full mailbox, ahead of all requests; one more has a handler process. Next
to what their senders wait the table shows what ordinary requests to the same executors are measured to wait.

Everything shown is measured while it runs: the processes, messages, refusals and times are real, and on a
machine that cannot keep the pace the rates are those it reached. After `DEMO_SECONDS` (15) a summary is
printed. The exit status is 0 if no owner ever passed its limit and the counts add up, 1 if not, 2 for a
bad `DEMO_SECONDS`. A control message that was answered late, or never, is shown, and is no failure.
""".

-export([main/0]).

-define(OFFERED_PER_S, 100_000).
-define(FINISHED_PER_S, 60_000).
-define(PRODUCERS, 16).
-define(EXECUTORS, 8).

-define(HANDLER, sessions).
-define(CONTROL_PER_S, 60).
-define(CONTROL_TIMEOUT_MS, 1_000).
-define(TIMED_PER_S, 80).

-define(SECONDS, "15").
-define(MAX_SECONDS, 86_400).
-define(WINDOW_US, 1_000_000).
-define(DRAIN_MS, 10_000).

-doc "Runs the demo and halts.".
-spec main() -> no_return().
main() ->
    %% Ends at once; an orderly stop would take the services away from under the processes.
    ok = os:set_signal(sigterm, default),
    Text = os:getenv("DEMO_SECONDS", ?SECONDS),
    case seconds(Text) of
        {ok, Seconds} ->
            halt(run(Seconds));
        error ->
            io:format(standard_error, "DEMO_SECONDS must be a whole number from 1 to ~b, not \"~ts\"~n", [
                ?MAX_SECONDS, Text
            ]),
            halt(2)
    end.

seconds(Text) ->
    Digits = [Digit || Digit <- Text, Digit >= $0, Digit =< $9],
    case string:to_integer(Text) of
        {Seconds, ""} when Digits =:= Text, Seconds >= 1, Seconds =< ?MAX_SECONDS -> {ok, Seconds};
        _ -> error
    end.

run(Seconds) ->
    Log = erlmcp_native_demo_log:install(),
    case application:ensure_all_started(erlmcp_native) of
        {ok, _} ->
            show(Seconds, Log, erlmcp_native_demo_display:new());
        {error, Reason} ->
            io:format(standard_error, "erlmcp_native does not start: ~tp~n", [Reason]),
            1
    end.

show(Seconds, Log, Display) ->
    try
        World = start_world(),
        Start = erlmcp_native_demo_sample:take(World),
        Timeline = #{
            world => World,
            log => Log,
            display => Display,
            seconds => Seconds,
            start => Start,
            end_us => maps:get(at_us, Start) + Seconds * 1_000_000
        },
        Stopped = frames(Timeline, [Start]),
        stop_senders(World),
        AtRest = erlmcp_native_demo_sample:take(World),
        {Verdict, Sections} = erlmcp_native_demo_summary:sections(World, Start, Stopped, AtRest),
        ok = erlmcp_native_demo_display:print(Display, Sections),
        case Verdict of
            held -> 0;
            failed -> 1
        end
    catch
        throw:output_closed ->
            1;
        throw:{worker_ended, Pid, Reason} ->
            io:format(standard_error, "~nThe demo's process ~p ended: ~tp~n", [Pid, Reason]),
            1
    end.

start_world() ->
    Meter = erlmcp_native_demo_meter:new(),
    Main = self(),
    Ids = [list_to_atom("tool_executor_" ++ integer_to_list(N)) || N <- lists:seq(1, ?EXECUTORS)],
    Executors = [
        spawn_worker(fun() ->
            erlmcp_native_demo_executor:run(
                Main, Id, ?CONTROL_TIMEOUT_MS, ?FINISHED_PER_S div ?EXECUTORS, Meter
            )
        end)
     || Id <- Ids
    ],
    ok = erlmcp_control_plane:register_component(?HANDLER, #{
        handler => fun({control, _Type, _Data}) -> ok end, timeout_ms => ?CONTROL_TIMEOUT_MS
    }),
    lists:foreach(fun await_ready/1, Executors),
    Producers = [
        spawn_worker(fun() ->
            erlmcp_native_demo_producer:run(
                Main, ?OFFERED_PER_S div ?PRODUCERS, rotate(N, Executors), Meter
            )
        end)
     || N <- lists:seq(1, ?PRODUCERS)
    ],
    ControlProber = spawn_worker(fun() ->
        erlmcp_native_demo_control_prober:run(Main, ?CONTROL_PER_S, ?HANDLER, Ids)
    end),
    RequestProbers = [
        spawn_worker(fun() ->
            erlmcp_native_demo_request_prober:run(Main, ?TIMED_PER_S div ?EXECUTORS, Executor, Meter)
        end)
     || Executor <- Executors
    ],
    #{
        meter => Meter,
        owners => [{tool_executor, Executors}, {session, Producers}],
        probers => [ControlProber | RequestProbers],
        handler => ?HANDLER,
        executors => Ids,
        offered_per_s => ?OFFERED_PER_S,
        finished_per_s => ?FINISHED_PER_S
    }.

spawn_worker(Fun) ->
    {Pid, _Monitor} = spawn_monitor(Fun),
    Pid.

await_ready(Executor) ->
    receive
        {ready, Executor} -> ok;
        {'DOWN', _, process, Pid, Reason} -> throw({worker_ended, Pid, Reason})
    end.

rotate(N, List) ->
    {Front, Back} = lists:split(N rem length(List), List),
    Back ++ Front.

%% Draws until the time is up, and returns the last sample. Samples are kept, newest first, for as long as
%% rates are taken over.
frames(#{end_us := End, display := Display} = Timeline, [#{at_us := Last} | _] = Samples) ->
    Next = min(End, Last + erlmcp_native_demo_display:interval_us(Display)),
    wait_until(Next),
    #{at_us := Now} = Sample = erlmcp_native_demo_sample:take(maps:get(world, Timeline)),
    Window = [Sample | recent(Samples, Now - ?WINDOW_US)],
    Drawn = draw(Timeline, Window),
    case Now < End of
        true -> frames(Drawn, Window);
        false -> Sample
    end.

%% Up to and including the first that is old enough.
recent([#{at_us := At} = Sample | _], Since) when At =< Since -> [Sample];
recent([Sample | Older], Since) -> [Sample | recent(Older, Since)];
recent([], _Since) -> [].

draw(Timeline, Window) ->
    #{world := World, start := Start, seconds := Seconds, log := Log, display := Display} = Timeline,
    {Events, NextLog} = erlmcp_native_demo_log:events(Log, erlmcp_native_demo_display:mode(Display)),
    Sections = [
        erlmcp_native_demo_sections:title(Start, hd(Window), Seconds),
        erlmcp_native_demo_sections:flow(World, Window),
        erlmcp_native_demo_sections:roles(Window),
        erlmcp_native_demo_sections:control(hd(Window)),
        erlmcp_native_demo_sections:events(Events)
    ],
    ok = erlmcp_native_demo_display:frame(Display, Sections),
    Timeline#{log := NextLog}.

wait_until(Us) ->
    Left = Us - erlang:monotonic_time(microsecond),
    receive
        {'DOWN', _, process, Pid, Reason} -> throw({worker_ended, Pid, Reason})
    after max(0, (Left + 999) div 1000) -> ok
    end.

%% Every answer is awaited, so that what was counted comes to rest.
stop_senders(#{owners := Owners, probers := Probers}) ->
    {session, Producers} = lists:keyfind(session, 1, Owners),
    Senders = Probers ++ Producers,
    lists:foreach(fun(Sender) -> Sender ! stop end, Senders),
    Deadline = erlang:monotonic_time(millisecond) + ?DRAIN_MS,
    lists:foreach(fun(Sender) -> await_drained(Sender, Deadline) end, Senders).

await_drained(Sender, Deadline) ->
    receive
        {drained, Sender} -> ok;
        {'DOWN', _, process, Pid, Reason} -> throw({worker_ended, Pid, Reason})
    after max(0, Deadline - erlang:monotonic_time(millisecond)) -> ok
    end.
