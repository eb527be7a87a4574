-module(erlmcp_native_demo_session).
-moduledoc """
A session that makes requests at the rate that is asked for, a batch a millisecond, and takes the answers.

A request first needs room in the session itself, which waits for an answer to each, and then in the tool executor
it is for; one in eight goes by a transport, and needs room there before. What is refused is dropped: this is a
client that does not slow down. The session counts what it waits for on its own, too, by executor: what an executor
had when it was killed is lost.
""".

-export([run/2]).

-define(BY_TRANSPORT, 8).
-define(TIMED, 64).
-define(PAYLOAD, <<"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"}">>).

-doc "Runs a session for ever. Executors come as `{executor, Pid}`.".
-spec run(erlmcp_native_demo_meter:meter(), Transports :: [pid(), ...]) -> no_return().
run(Meter, Transports) ->
    turn(#{
        meter => Meter,
        transports => list_to_tuple(Transports),
        executors => {},
        waiting => #{},
        sum => 0,
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
offer(0, _Now, #{meter := Meter, sum := Sum} = State) ->
    ok = erlmcp_native_demo_meter:held(Meter, session, Sum),
    State;
offer(Due, Now, #{meter := Meter, number := Number, executors := Executors} = State) ->
    ok = erlmcp_native_demo_meter:add(Meter, offered, 1),
    Executor = element(Number rem tuple_size(Executors) + 1, Executors),
    Next = State#{number := Number + 1},
    case erlmcp_queue_limits:try_enqueue(session, self()) of
        ok ->
            case send(Executor, work(Number, Now), Next) of
                ok -> offer(Due - 1, Now, waits(Executor, Next));
                refused -> offer(Due - 1, Now, refused(Next))
            end;
        {error, {capacity_exceeded, _}} ->
            ok = erlmcp_native_demo_meter:add(Meter, refused, 1),
            offer(Due - 1, Now, Next)
    end.

work(Number, Now) when Number rem ?TIMED =:= 1 -> {work, self(), Number, Now, ?PAYLOAD};
work(Number, _Now) -> {work, self(), Number, untimed, ?PAYLOAD}.

send(Executor, {work, _, Number, _, _} = Work, #{transports := Transports}) when Number rem ?BY_TRANSPORT =:= 0 ->
    Transport = element(Number div ?BY_TRANSPORT rem tuple_size(Transports) + 1, Transports),
    admit(transport, Transport, {forward, Executor, Work});
send(Executor, Work, _State) ->
    admit(tool_executor, Executor, Work).

admit(Role, Owner, Message) ->
    case erlmcp_queue_limits:try_enqueue(Role, Owner) of
        ok ->
            Owner ! Message,
            ok;
        {error, {capacity_exceeded, _}} ->
            refused
    end.

waits(Executor, #{waiting := Waiting, sum := Sum} = State) ->
    State#{waiting := maps:update_with(Executor, fun(N) -> N + 1 end, Waiting), sum := Sum + 1}.

refused(#{meter := Meter} = State) ->
    ok = erlmcp_queue_limits:record_dequeue(session, self()),
    ok = erlmcp_native_demo_meter:add(Meter, refused, 1),
    State.

%% What is there is taken without waiting.
take(AfterMs, #{waiting := Waiting, executors := Executors} = State) ->
    receive
        {answered, Executor} ->
            take(0, ended(Executor, answered, State));
        {refused, Executor} ->
            take(0, ended(Executor, refused, State));
        {executor, Executor} ->
            _ = erlang:monitor(process, Executor),
            New = erlang:append_element(Executors, Executor),
            take(0, State#{executors := New, waiting := Waiting#{Executor => 0}});
        {'DOWN', _, process, Executor, _} ->
            take(0, dead(Executor, State))
    after AfterMs -> turn(State)
    end.

%% An answer by way of a transport may come after the executor's death; then it is among the lost.
ended(Executor, How, #{meter := Meter, waiting := Waiting, sum := Sum} = State) ->
    case Waiting of
        #{Executor := N} ->
            ok = erlmcp_queue_limits:record_dequeue(session, self()),
            ok = erlmcp_native_demo_meter:add(Meter, How, 1),
            State#{waiting := Waiting#{Executor := N - 1}, sum := Sum - 1};
        #{} ->
            State
    end.

dead(Executor, #{meter := Meter, waiting := Waiting, sum := Sum, executors := Executors} = State) ->
    {Lost, Rest} = maps:take(Executor, Waiting),
    lists:foreach(fun(_) -> ok = erlmcp_queue_limits:record_dequeue(session, self()) end, lists:seq(1, Lost)),
    ok = erlmcp_native_demo_meter:add(Meter, lost, Lost),
    Left = list_to_tuple(lists:delete(Executor, tuple_to_list(Executors))),
    State#{waiting := Rest, sum := Sum - Lost, executors := Left}.

now_us() ->
    erlang:monotonic_time(microsecond).
