-module(erlmcp_native_demo_producer).
-moduledoc """
A session that makes requests at a steady pace and takes the answers.

A request first needs room in the session itself, which waits for an answer to each, and then in the tool
executor it is for. What is refused is dropped: this is a client that does not slow down. The session counts
what it waits for on its own, too.
""".

-export([run/4]).

-define(BATCH, 16).
%% A shorter batch would measure the clock as well.
-define(MIN_TIMED, 8).
-define(PAYLOAD_BYTES, 1024).

-doc """
Makes `PerS` requests a second until told to `stop`, then sends `{drained, self()}` once all are answered.
""".
-spec run(Main :: pid(), PerS, Executors :: [pid()], erlmcp_native_demo_meter:meter()) -> no_return() when
    PerS :: pos_integer().
run(Main, PerS, Executors, Meter) ->
    Now = erlang:monotonic_time(microsecond),
    turn(#{
        main => Main,
        meter => Meter,
        payload => rand:bytes(?PAYLOAD_BYTES),
        pace => erlmcp_native_demo_pace:new(PerS, Now),
        executors => Executors,
        waiting => 0,
        highest => 0
    }).

turn(#{pace := Pace0} = State) ->
    Now = erlang:monotonic_time(microsecond),
    {Due, Pace} = erlmcp_native_demo_pace:due(Pace0, Now),
    take_answers(Now + erlmcp_native_demo_pace:tick_us(), offer(Due, State#{pace := Pace})).

offer(0, State) ->
    State;
offer(Due, #{executors := [Executor | Others], meter := Meter, payload := Payload} = State) ->
    N = min(Due, ?BATCH),
    ok = erlmcp_native_demo_meter:offered(Meter, N),
    InSession = ask(session, self(), N, Meter),
    Waiting = note_waiting(InSession, State),
    Admitted = ask(tool_executor, Executor, InSession, Meter),
    repeat(Admitted, fun() -> Executor ! {work, self(), Payload} end),
    repeat(InSession - Admitted, fun() -> erlmcp_queue_limits:record_dequeue(session, self()) end),
    offer(Due - N, Waiting#{
        executors := Others ++ [Executor], waiting := maps:get(waiting, Waiting) - (InSession - Admitted)
    }).

note_waiting(More, #{waiting := Waiting, highest := Highest, meter := Meter} = State) ->
    case Waiting + More of
        New when New > Highest ->
            ok = erlmcp_native_demo_meter:held(Meter, session, New),
            State#{waiting := New, highest := New};
        New ->
            State#{waiting := New}
    end.

%% Asks for room N times, and returns how often there was some. The time is noted where all answers are
%% the same: an admission and a refusal do not cost the same.
ask(_Role, _Owner, 0, _Meter) ->
    0;
ask(Role, Owner, N, Meter) ->
    Before = erlang:monotonic_time(),
    Answers = [erlmcp_queue_limits:try_enqueue(Role, Owner) || _ <- lists:seq(1, N)],
    Native = erlang:monotonic_time() - Before,
    Refusals = [Stats || {error, {capacity_exceeded, Stats}} <- Answers],
    case Refusals of
        [#{retry_after_ms := Ms} | _] -> ok = erlmcp_native_demo_meter:retry_after(Meter, Role, Ms);
        [] -> ok
    end,
    Refused = length(Refusals),
    Ns = erlang:convert_time_unit(Native, native, nanosecond),
    case Refused of
        _ when N < ?MIN_TIMED -> ok;
        0 -> erlmcp_native_demo_meter:cost(Meter, Role, admitted, N, Ns);
        N -> erlmcp_native_demo_meter:cost(Meter, Role, refused, N, Ns);
        _ -> ok
    end,
    N - Refused.

repeat(0, _Fun) ->
    ok;
repeat(N, Fun) ->
    _ = Fun(),
    repeat(N - 1, Fun).

take_answers(NextTurn, State) ->
    case NextTurn - erlang:monotonic_time(microsecond) of
        Left when Left > 0 ->
            receive
                {answer, _Sum} -> take_answers(NextTurn, answered(State));
                stop -> drain(State)
            after (Left + 999) div 1000 -> turn(State)
            end;
        _ ->
            turn(State)
    end.

answered(#{waiting := Waiting} = State) ->
    ok = erlmcp_queue_limits:record_dequeue(session, self()),
    State#{waiting := Waiting - 1}.

drain(#{waiting := 0, main := Main}) ->
    Main ! {drained, self()},
    erlang:hibernate(timer, sleep, [infinity]);
drain(State) ->
    receive
        {answer, _Sum} -> drain(answered(State))
    end.
