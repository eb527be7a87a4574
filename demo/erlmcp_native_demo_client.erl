-module(erlmcp_native_demo_client).
-moduledoc """
A client, each a tenant of its own, that makes requests at the rate that is asked for, a batch a millisecond to each
session in turn, and takes the answers.

A request is within the tenant's rate, or goes nowhere; it needs room in the session's mailbox, and then in the queue of
the tool executor it is for. What is refused is dropped: this is a client that does not slow down. It counts what it
waits for on its own, by executor: what an executor had, or was to get, when it was killed is lost. What becomes of the
others is in the tally, by their class and the phase in which they were offered; those of the noisy one have a place of
their own.
""".

-export([run/3]).

%% No divisor of anything that classes and executors go by.
-define(TIMED, 61).
-define(PAYLOAD, <<"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"}">>).

-doc "Runs a client for ever. Executors come as `{executor, Pid}`.".
-spec run(erlmcp_native_demo_meter:meter(), erlmcp_native_demo_tenants:tenant(), Sessions :: [pid(), ...]) ->
    no_return().
run(Meter, Tenant, Sessions) ->
    turn(#{
        meter => Meter,
        tenant => Tenant,
        kind => erlmcp_native_demo_tenants:kind(Tenant),
        sessions => Sessions,
        executors => {},
        waiting => #{},
        number => 0,
        rate => 0,
        pace => erlmcp_native_demo_pace:new(0, now_us())
    }).

turn(#{meter := Meter, kind := Kind, rate := Rate} = State) ->
    Now = now_us(),
    case erlmcp_native_demo_meter:rate(Meter, Kind) of
        Rate ->
            {Due, Pace} = erlmcp_native_demo_pace:due(maps:get(pace, State), Now),
            %% Rates go by this clock, which is not corrected as the runtime's is.
            FromNs = os:perf_counter(nanosecond),
            Offered = ask(Due, Now, State#{pace := Pace}),
            ToNs = os:perf_counter(nanosecond),
            _ = Kind =:= noisy_one andalso Due > 0 andalso erlmcp_native_demo_meter:asked(Meter, FromNs, ToNs),
            take(1, Offered);
        Other ->
            turn(State#{rate := Other, pace := erlmcp_native_demo_pace:new(Other, Now)})
    end.

ask(_Due, _Now, #{executors := {}} = State) ->
    State;
ask(0, _Now, #{sessions := [Session | Others]} = State) ->
    State#{sessions := Others ++ [Session]};
ask(Due, Now, #{meter := Meter, tenant := Tenant, number := Number} = State) ->
    Tag = erlmcp_native_demo_tally:tag(side(State), Number),
    Next = State#{number := Number + 1},
    case erlmcp_native_demo_tenants:take(Tenant) of
        ok ->
            ask(Due - 1, Now, offer(Tag, Now, Next));
        limited ->
            ok = erlmcp_native_demo_tally:add(erlmcp_native_demo_meter:tally(Meter), Tag, limited),
            ask(Due - 1, Now, Next)
    end.

side(#{kind := noisy_one}) -> noisy_one;
side(#{kind := client, meter := Meter}) -> erlmcp_native_demo_meter:phase(Meter).

offer(Tag, Now, #{meter := Meter, number := Number, executors := Executors, sessions := [Session | _]} = State) ->
    Tally = erlmcp_native_demo_meter:tally(Meter),
    ok = erlmcp_native_demo_tally:add(Tally, Tag, offered),
    Executor = element(Number rem tuple_size(Executors) + 1, Executors),
    Request = {request, Executor, work(Tag, Number, Now)},
    case erlmcp_overload_mailbox:send(session, Session, Request, erlmcp_native_demo_tally:options(Tag)) of
        ok ->
            waits(Executor, State);
        {error, {capacity_exceeded, Refusal}} ->
            ok = erlmcp_native_demo_tally:refused(Tally, Tag, Refusal),
            ok = erlmcp_native_demo_tally:add(Tally, Tag, refused),
            State
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
