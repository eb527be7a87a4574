-module(erlmcp_native_demo_client).
-moduledoc """
A client that makes requests at the rate that is asked for, a batch a millisecond to each session in turn, and takes the
answers.

A request needs room in the session's mailbox, and then in the queue of the tool executor it is for. What is refused is
dropped: this is a client that does not slow down. It counts what it waits for on its own, by executor: what an executor
had, or was to get, when it was killed is lost. What becomes of the others is in the tally, by their class and the phase
in which they were offered.
""".

-export([run/2]).

%% No divisor of anything that classes and executors go by.
-define(TIMED, 61).
-define(PAYLOAD, <<"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"}">>).

-doc "Runs a client for ever. Executors come as `{executor, Pid}`.".
-spec run(erlmcp_native_demo_meter:meter(), Sessions :: [pid(), ...]) -> no_return().
run(Meter, Sessions) ->
    turn(#{
        meter => Meter,
        sessions => Sessions,
        executors => {},
        waiting => #{},
        number => 0,
        rate => 0,
        pace => erlmcp_native_demo_pace:new(0, now_us())
    }).

turn(#{meter := Meter, rate := Rate} = State) ->
    Now = now_us(),
    case erlmcp_native_demo_meter:rate(Meter) of
        Rate ->
            {Due, Pace} = erlmcp_native_demo_pace:due(maps:get(pace, State), Now),
            take(1, offer(Due, Now, State#{pace := Pace}));
        Other ->
            turn(State#{rate := Other, pace := erlmcp_native_demo_pace:new(Other, Now)})
    end.

offer(_Due, _Now, #{executors := {}} = State) ->
    State;
offer(0, _Now, #{sessions := [Session | Others]} = State) ->
    State#{sessions := Others ++ [Session]};
offer(Due, Now, #{meter := Meter, number := Number, executors := Executors, sessions := [Session | _]} = State) ->
    Tally = erlmcp_native_demo_meter:tally(Meter),
    Tag = erlmcp_native_demo_tally:tag(erlmcp_native_demo_meter:phase(Meter), Number),
    ok = erlmcp_native_demo_tally:add(Tally, Tag, offered),
    Executor = element(Number rem tuple_size(Executors) + 1, Executors),
    Next = State#{number := Number + 1},
    Request = {request, Executor, work(Tag, Number, Now)},
    case erlmcp_overload_mailbox:send(session, Session, Request, erlmcp_native_demo_tally:options(Tag)) of
        ok ->
            offer(Due - 1, Now, waits(Executor, Next));
        {error, {capacity_exceeded, Refusal}} ->
            ok = erlmcp_native_demo_tally:refused(Tally, Tag, Refusal),
            ok = erlmcp_native_demo_tally:add(Tally, Tag, refused),
            offer(Due - 1, Now, Next)
    end.

work(Tag, Number, Now) when Number rem ?TIMED =:= 1 -> {work, self(), Tag, Number, Now, ?PAYLOAD};
work(Tag, Number, _Now) -> {work, self(), Tag, Number, untimed, ?PAYLOAD}.

waits(Executor, #{waiting := Waiting} = State) ->
    State#{waiting := maps:update_with(Executor, fun(N) -> N + 1 end, Waiting)}.

%% What is there is taken without waiting.
take(AfterMs, #{waiting := Waiting, executors := Executors} = State) ->
    receive
        {answered, Executor, Tag} ->
            take(0, ended(Executor, Tag, answered, State));
        {refused, Executor, Tag} ->
            take(0, ended(Executor, Tag, refused, State));
        {executor, Executor} ->
            _ = erlang:monitor(process, Executor),
            New = erlang:append_element(Executors, Executor),
            take(0, State#{executors := New, waiting := Waiting#{Executor => 0}});
        {'DOWN', _, process, Executor, _} ->
            take(0, dead(Executor, State))
    after AfterMs -> turn(State)
    end.

%% A refusal may come after the executor's death; then it is among the lost.
ended(Executor, Tag, How, #{meter := Meter, waiting := Waiting} = State) ->
    case Waiting of
        #{Executor := N} ->
            ok = erlmcp_native_demo_tally:add(erlmcp_native_demo_meter:tally(Meter), Tag, How),
            State#{waiting := Waiting#{Executor := N - 1}};
        #{} ->
            State
    end.

dead(Executor, #{meter := Meter, waiting := Waiting, executors := Executors} = State) ->
    {Lost, Rest} = maps:take(Executor, Waiting),
    ok = erlmcp_native_demo_meter:add(Meter, lost, Lost),
    Left = list_to_tuple(lists:delete(Executor, tuple_to_list(Executors))),
    State#{waiting := Rest, executors := Left}.

now_us() ->
    erlang:monotonic_time(microsecond).
