%% Each example under more requests than it can take: callers that are killed or give up while they wait, a consumer
%% that hangs, is blocked, or is killed and started again. The mailboxes are looked at all the time, as the runtime has
%% them. See erlmcp_examples_drowned for how each example is asked.
-module(erlmcp_examples_drowned_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [eventually/1, parallel/2, quiet/0, loud/1]).
-import(erlmcp_examples_drowned, [ask/2, ask/3, consumers/1, lengths/1, bounded/1]).

-define(LIMITS, erlmcp_queue_limits).
-define(CALLERS, 200).
-define(SENDERS, 64).
-define(EACH, 20).
-define(ENOUGH, 500).
-define(ROUNDS, 10).
-define(DEADLINE_MS, 10000).

-define(receiving(Pattern, Value),
    receive
        Pattern -> Value
    after ?DEADLINE_MS -> error({not_received, ??Pattern, process_info(self(), messages)})
    end
).

drowned_test_() ->
    [
        {lists:concat([Example, ", ", Name]), {timeout, 60, fun() -> in_bath(Example, Scenario) end}}
     || Scenario <- [
            fun callers_are_killed_while_it_hangs/1,
            fun callers_give_up_while_it_hangs/1,
            fun callers_are_killed_while_it_is_blocked/1,
            fun callers_are_killed_while_it_works/1,
            fun it_is_killed_and_started_again/1,
            fun the_service_is_started_again_while_it_works/1,
            fun what_is_held_is_forgotten_while_it_works/1
        ],
        {name, Name} <- [erlang:fun_info(Scenario, name)],
        Example <- erlmcp_examples_drowned:examples(Name)
    ].

in_bath(Example, Scenario) ->
    Level = quiet(),
    {ok, _} = application:ensure_all_started(cowboy),
    Services = [?LIMITS, erlmcp_control_plane],
    [{ok, _}, {ok, _}] = [Service:start_link() || Service <- Services],
    Bath = erlmcp_examples_drowned:start(Example),
    try
        Scenario(Bath),
        %% Nothing stays closed.
        eventually(fun() -> [L || L <- lengths(Bath), L > 0] =:= [] end),
        served(Bath),
        eventually(fun() -> held(Bath) =:= 0 end)
    after
        erlmcp_examples_drowned:stop(Bath),
        [ok = gen_server:stop(Service) || Service <- lists:reverse(Services)],
        loud(Level)
    end.

callers_are_killed_while_it_hangs(Bath) ->
    watched(Bath, fun() ->
        [ok = sys:suspend(Consumer) || Consumer <- consumers(Bath)],
        #{places := Places} = Bath,
        Endings = [ending(Bath) || _ <- lists:seq(1, ?CALLERS)],
        ?assertEqual({Places, ?CALLERS - Places}, {count(killed, Endings), count(refused, Endings)}),
        full(Bath),
        [ok = sys:resume(Consumer) || Consumer <- consumers(Bath)]
    end).

callers_give_up_while_it_hangs(Bath) ->
    watched(Bath, fun() ->
        [ok = sys:suspend(Consumer) || Consumer <- consumers(Bath)],
        Endings = lists:append(parallel(?SENDERS, fun(_) -> [ask(Bath, quick, 1) || _ <- lists:seq(1, ?EACH)] end)),
        case Bath of
            #{admits := at_once, places := Places} ->
                Expected = {Places, ?SENDERS * ?EACH - Places},
                ?assertEqual(Expected, {count(timeout, Endings), count(refused, Endings)});
            #{} ->
                ?assertEqual(0, count(served, Endings)),
                _ = [ending(Bath) || _ <- lists:seq(1, ?EACH)]
        end,
        full(Bath),
        [ok = sys:resume(Consumer) || Consumer <- consumers(Bath)]
    end).

%% It is at as much as it can be at, and comes to nothing else.
callers_are_killed_while_it_is_blocked(#{runs := Runs, waiting := Waiting} = Bath) ->
    watched(Bath, fun() ->
        Works = blocked(Bath),
        ?assertEqual(Runs, length(Works)),
        Endings = [ending(Bath, Waiting) || _ <- lists:seq(1, ?CALLERS)],
        ?assertEqual({Waiting, ?CALLERS - Waiting}, {count(killed, Endings), count(refused, Endings)}),
        [Work ! finish || Work <- Works]
    end).

callers_are_killed_while_it_works(Bath) ->
    watched(Bath, fun() ->
        Counts = #{served => counters:new(1, []), refused => counters:new(1, [])},
        Start = fun() -> spawn(fun() -> asking(Bath, Counts) end) end,
        Consumers = consumers(Bath),
        [true = erlang:suspend_process(Consumer) || Consumer <- Consumers],
        Callers = killing([Start() || _ <- lists:seq(1, ?SENDERS)], Start, refused, Counts),
        [true = erlang:resume_process(Consumer) || Consumer <- Consumers],
        [exit(Caller, kill) || Caller <- killing(Callers, Start, served, Counts)]
    end).

%% Whoever waits is told, whoever comes then is served.
it_is_killed_and_started_again(#{places := Places} = Bath) ->
    watched(Bath, fun() -> [killed_and_started_again(Bath, Places) || _ <- lists:seq(1, ?ROUNDS)] end).

killed_and_started_again(Bath, Places) ->
    Consumers = consumers(Bath),
    [ok = sys:suspend(Consumer) || Consumer <- Consumers],
    Waiting = [waiting(Bath) || _ <- lists:seq(1, Places)],
    full(Bath),
    ?assertEqual(refused, ask(Bath, quick)),
    %% One that is killed may take others along, by the supervisor that gives up.
    Killed = [{monitor(process, Consumer), exit(Consumer, kill)} || Consumer <- Consumers],
    [?receiving({'DOWN', Ref, process, _, _}, gone) || {Ref, true} <- Killed],
    [?assertEqual(gone, ?receiving({'DOWN', Ref, process, _, {is, How}}, How)) || {_, Ref} <- Waiting],
    eventually(fun() ->
        Next = consumers(Bath),
        length(Next) =:= length(Consumers) andalso Next -- Consumers =:= Next
    end),
    served(Bath).

the_service_is_started_again_while_it_works(Bath) ->
    goes_on(Bath, fun() ->
        ok = gen_server:stop(?LIMITS),
        {ok, _} = ?LIMITS:start_link()
    end).

what_is_held_is_forgotten_while_it_works(Bath) ->
    goes_on(Bath, fun() -> [ok = ?LIMITS:forget(Role, Owner) || {Role, Owner} <- pairs(Bath)] end).

%% The places of what it is at are gone, and it answers all the same.
goes_on(#{runs := Runs} = Bath, Lose) ->
    Consumers = consumers(Bath),
    Asking = [spawn_monitor(fun() -> exit({is, ask(Bath, endless)}) end) || _ <- lists:seq(1, Runs)],
    eventually(fun() -> at_work() + lists:sum(lengths(Bath)) >= Runs end),
    _ = Lose(),
    [working() ! finish || _ <- lists:seq(1, Runs)],
    [?assertEqual(served, ?receiving({'DOWN', Ref, process, _, {is, How}}, How)) || {_, Ref} <- Asking],
    ?assertEqual(Consumers, consumers(Bath)).

%% Where none waits each is answered.
ending(Bath, 0) -> ask(Bath, quick);
ending(Bath, _) -> ending(Bath).

%% How it ends with a caller that is killed as soon as its request has come.
ending(Bath) ->
    {Caller, Ref} = waiting(Bath),
    exit(Caller, kill),
    case ?receiving({'DOWN', Ref, process, Caller, Reason}, Reason) of
        killed -> killed;
        {is, How} -> How
    end.

%% A caller whose request has come, or that has been told.
waiting(Bath) ->
    Before = lists:sum(lengths(Bath)),
    {Caller, Ref} = spawn_monitor(fun() -> exit({is, ask(Bath, quick)}) end),
    eventually(fun() -> not is_process_alive(Caller) orelse lists:sum(lengths(Bath)) > Before end),
    {Caller, Ref}.

blocked(#{block := Block, runs := Runs}) ->
    ok = Block(),
    [working() || _ <- lists:seq(1, Runs)].

working() ->
    ?receiving({works, Work}, Work).

at_work() ->
    {messages, Messages} = process_info(self(), messages),
    length([works || {works, _} <- Messages]).

asking(Bath, Counts) ->
    How = ask(Bath, quick),
    case Counts of
        #{How := Count} -> counters:add(Count, 1, 1);
        #{} -> ok
    end,
    asking(Bath, Counts).

%% Until it went so with enough of them. Each that is killed has a successor.
killing([Caller | Callers], Start, How, Counts) ->
    exit(Caller, kill),
    Next = Callers ++ [Start()],
    case counters:get(maps:get(How, Counts), 1) >= ?ENOUGH of
        true ->
            Next;
        false ->
            receive after 1 -> ok end,
            killing(Next, Start, How, Counts)
    end.

served(Bath) ->
    eventually(fun() -> ask(Bath, quick) =:= served end).

full(#{limit := Limit} = Bath) ->
    ?assertEqual([Limit || _ <- consumers(Bath)], lengths(Bath)).

count(How, Endings) -> length([Ending || Ending <- Endings, Ending =:= How]).

%% What is held beside the mailboxes.
held(Bath) ->
    lists:sum([?LIMITS:get_queue_depth(Role, Owner) || {Role, Owner} <- pairs(Bath)]).

pairs(#{held := Pairs, consumers := Consumers}) ->
    [{Role, Owner} || {Role, Owners} <- Pairs, Owner <- owners(Owners, Consumers)].

owners(consumers, Consumers) -> Consumers();
owners(Name, _) -> [Name].

%% Runs the fun, and looks at the mailboxes all the while.
watched(#{limit := Limit, otherwise := Otherwise} = Bath, Fun) ->
    Test = self(),
    {Watcher, Monitor} = spawn_monitor(fun() -> watch(Bath, monitor(process, Test), 0, 0) end),
    _ =
        try
            Fun()
        after
            Watcher ! stop
        end,
    {Highest, Looks} = ?receiving({'DOWN', Monitor, process, Watcher, {watched, H, L}}, {H, L}),
    ?assert(Looks > 0),
    Most = case Otherwise of unbounded -> Limit; _ -> Limit + Otherwise end,
    ?assertEqual({true, Highest}, {Highest =< Most, Highest}).

watch(Bath, Test, Highest, Looks) ->
    receive
        stop -> exit({watched, Highest, Looks});
        {'DOWN', Test, process, _, _} -> ok
    after 0 -> watch(Bath, Test, lists:max([Highest | bounded(Bath)]), Looks + 1)
    end.
