%% The mailbox of a process as the queue that is limited.
-module(erlmcp_overload_mailbox_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [eventually/1, kill/1]).

-define(B, erlmcp_overload_mailbox).
-define(L, erlmcp_queue_limits).
-define(M, erlmcp_overload_monitor).

mailbox_test_() ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name), {timeout, 60, Test}}
     || Test <- [
            fun what_is_sent_is_what_arrives/0,
            fun nothing_is_sent_at_the_limit/0,
            fun what_comes_otherwise_counts/0,
            fun room_comes_back_when_messages_are_taken_out/0,
            fun limits_that_change_are_obeyed/0,
            fun refusals_are_counted/0,
            fun names/0,
            fun nobody_there/0,
            fun depth/0,
            fun one_of_several/0,
            fun one_of_very_many/0,
            fun wrong_arguments/0,
            fun kinds_keep_apart/0,
            fun the_numbers_of_a_role_add_up/0,
            fun whoever_is_killed_before_it_sends_leaves_nothing/0,
            fun whoever_is_killed_before_it_sends_is_in_nobodys_way_without_a_limit/0,
            fun whoever_sends_while_the_pair_is_forgotten_gives_its_place_back/0,
            fun what_was_told_late_is_told_to_nobody_else/0,
            fun suspended_processes_are_bounded_too/0,
            fun oneself/0,
            fun calls_end_as_those_of_gen_server/0,
            fun calling_oneself/0,
            fun no_late_reply_is_left/0,
            fun rows_show_the_length_as_it_is/0,
            fun levels_rise_with_the_send_and_are_left_soon/0,
            fun all_are_looked_at_after_a_check/0,
            fun an_unlimited_role/0,
            fun limits_switched_off/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

not_started_test_() ->
    [
        {atom_to_list(Function),
            ?_assertExit({noproc, {?B, Function, Args}}, apply(?B, Function, Args))}
     || {Function, Args} <- [
            {send, [s, self(), x]},
            {send, [s, a_name_of_nobody, x]},
            {cast, [s, self(), x]},
            {call, [s, self(), x, 100]},
            {send_any, [s, [self()], x]}
        ]
    ].

up() ->
    Level = erlmcp_native_test_lib:start(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    ok = ?L:set_limit(s, 3),
    Level.

down(Level) ->
    erlmcp_overload_test_lib:stop(),
    erlmcp_native_test_lib:stop(Level).

%% Takes no message before it is told to, and then so many. It ends with the test.
receiver() ->
    with_test(fun receiver_loop/0).

with_test(Loop) ->
    Test = self(),
    spawn(fun() ->
        _ = monitor(process, Test),
        Loop()
    end).

next() ->
    receive
        Message -> Message
    end.

receiver_loop() ->
    receive
        {take, From, Count} ->
            From ! {self(), taken, [next() || _ <- lists:seq(1, Count)]},
            receiver_loop();
        {'DOWN', _, process, _, _} ->
            ok
    end.

take(Pid, Count) ->
    Pid ! {take, self(), Count},
    receive
        {Pid, taken, Messages} -> Messages
    after 5000 -> error(nothing_taken)
    end.

what_is_sent_is_what_arrives() ->
    Pid = receiver(),
    ?assertEqual(ok, ?B:send(s, Pid, {a, message})),
    ?assertEqual(ok, ?B:cast(s, Pid, request, #{})),
    ?assertEqual(ok, ?B:send(s, Pid, last, [])),
    ?assertEqual([{a, message}, {'$gen_cast', request}, last], take(Pid, 3)).

nothing_is_sent_at_the_limit() ->
    Pid = receiver(),
    ?assertEqual([ok, ok, ok], [?B:send(s, Pid, N) || N <- [1, 2, 3]]),
    {error, {capacity_exceeded, Stats}} = ?B:send(s, Pid, 4),
    ?assertMatch(#{role := s, process := Pid, depth := 3, limit := 3, retry_after_ms := 1000}, Stats),
    ?assertMatch({error, {capacity_exceeded, _}}, ?B:cast(s, Pid, 4)),
    ?assertMatch({error, {capacity_exceeded, _}}, ?B:call(s, Pid, 4, 0)),
    ?assertMatch({error, {capacity_exceeded, _}}, ?L:check_capacity(s, Pid)),
    ?assertEqual([1, 2, 3], take(Pid, 3)),
    ?assertEqual({message_queue_len, 0}, process_info(Pid, message_queue_len)).

what_comes_otherwise_counts() ->
    Pid = receiver(),
    [Pid ! N || N <- [1, 2]],
    ?assertEqual(ok, ?B:send(s, Pid, 3)),
    Pid ! 4,
    ?assertMatch({error, {capacity_exceeded, #{depth := 4}}}, ?B:send(s, Pid, 5)),
    ?assertEqual([1, 2, 3, 4], take(Pid, 4)).

room_comes_back_when_messages_are_taken_out() ->
    Pid = receiver(),
    [
        begin
            [ok = ?B:send(s, Pid, {Round, N}) || N <- [1, 2, 3]],
            ?assertMatch({error, _}, ?B:send(s, Pid, x)),
            ?assertEqual([{Round, N} || N <- [1, 2, 3]], take(Pid, 3))
        end
     || Round <- lists:seq(1, 100)
    ].

limits_that_change_are_obeyed() ->
    Pid = receiver(),
    [ok = ?B:send(s, Pid, N) || N <- [1, 2, 3]],
    ok = ?L:set_limit(s, 4),
    ?assertEqual(ok, ?B:send(s, Pid, 4)),
    ok = ?L:set_limit(s, 2),
    ?assertMatch({error, {capacity_exceeded, #{depth := 4, limit := 2}}}, ?B:send(s, Pid, 5)),
    ok = ?L:set_limit(s, 0),
    ?assertMatch({error, {capacity_exceeded, #{limit := 0}}}, ?B:send(s, receiver(), 5)).

refusals_are_counted() ->
    Pid = receiver(),
    [?B:send(s, Pid, N) || N <- lists:seq(1, 10)],
    ?assertMatch(#{total_rejected := 7, total_enqueued := 3}, ?L:get_role_stats(s)).

names() ->
    Pid = receiver(),
    true = register(?MODULE, Pid),
    yes = global:register_name({?MODULE, Pid}, Pid),
    Names = [?MODULE, {?MODULE, node()}, {global, {?MODULE, Pid}}, {via, global, {?MODULE, Pid}}],
    ok = ?L:set_limit(s, 4),
    ?assertEqual([ok, ok, ok, ok], [?B:send(s, Name, x) || Name <- Names]),
    ?assertEqual([4, 4, 4, 4], [?B:depth(Name) || Name <- Names]),
    ?assertMatch({error, {capacity_exceeded, #{process := Pid}}}, ?B:send(s, ?MODULE, x)),
    %% Another takes the name over.
    true = unregister(?MODULE),
    Other = receiver(),
    true = register(?MODULE, Other),
    ?assertEqual({ok, 1}, {?B:send(s, ?MODULE, x), ?B:depth(Other)}),
    kill(Other).

nobody_there() ->
    Dead = receiver(),
    kill(Dead),
    Nobody = [Dead, a_name_of_nobody, {global, nobody}, {via, global, nobody}],
    [
        ?assertEqual({error, noproc}, Outcome)
     || One <- Nobody,
        Outcome <- [
            ?B:send(s, One, x), ?B:cast(s, One, x), ?B:call(s, One, x, 100), ?B:depth(One), ?B:send_any(s, [One], x)
        ]
    ],
    ?assertMatch(#{owners := 0}, ?L:get_role_stats(s)).

depth() ->
    Pid = receiver(),
    ?assertEqual(0, ?B:depth(Pid)),
    [Pid ! N || N <- lists:seq(1, 10)],
    ?assertEqual(10, ?B:depth(Pid)).

one_of_several() ->
    [Long, Short] = Two = [receiver(), receiver()],
    [Long ! x || _ <- [1, 2]],
    ?assertEqual([{ok, Short}, {ok, Short}], [?B:send_any(s, Two, x) || _ <- [1, 2]]),
    _ = [?B:send_any(s, Two, x) || _ <- [1, 2]],
    ?assertEqual([3, 3], [?B:depth(Pid) || Pid <- Two]),
    ?assertMatch({error, {capacity_exceeded, _}}, ?B:send_any(s, Two, x)),
    %% Whichever two are chosen: there is one with room.
    Third = receiver(),
    Dead = receiver(),
    kill(Dead),
    All = [Dead, Long, nobody, Short, Third],
    ?assertEqual([{ok, Third}, {ok, Third}, {ok, Third}], [?B:send_any(s, All, x, #{}) || _ <- [1, 2, 3]]),
    ?assertMatch({error, {capacity_exceeded, _}}, ?B:send_any(s, All, x)),
    ?assertEqual({error, noproc}, ?B:send_any(s, [Dead, nobody, Dead], x)).

one_of_very_many() ->
    Pid = receiver(),
    ?assertEqual({ok, Pid}, ?B:send_any(s, lists:duplicate(1_000_000, Pid), x)).

wrong_arguments() ->
    {ok, Port} = gen_udp:open(0, [{ip, loopback}]),
    Remote = erlmcp_native_test_lib:foreign_pid(),
    Bad = fun(Function, Args, Argument) ->
        try apply(?B, Function, Args) of
            Value -> error({returned, Value})
        catch
            error:badarg:Stack ->
                ?assertMatch([{?B, Function, Args, [{error_info, #{module := erlmcp_native_error}}]} | _], Stack),
                ?assertMatch(#{Argument := _}, erlmcp_native_error:format_error(badarg, Stack))
        end
    end,
    [
        begin
            Bad(send, [s, Process, x], 2),
            Bad(cast, [s, Process, x], 2),
            Bad(call, [s, Process, x, 100], 2),
            Bad(send_any, [s, [self(), Process, self()], x], 2),
            Bad(depth, [Process], 1)
        end
     || Process <- [
            Remote, erlmcp_native_test_lib:earlier_pid(), Port, undefined, "name", 1, {global}, {self(), node()},
            {name, other@host}, {via, lists, name}, {via, no_such_module, name}, make_ref()
        ]
    ],
    [Bad(send_any, [s, List, x], 2) || List <- [[], self(), [self() | self()], x]],
    [Bad(send, [Role, self(), x], 1) || Role <- ["s", 1, {s}]],
    Bad(send, ["s", nobody, x], 1),
    [Bad(call, [s, self(), x, Timeout], 4) || Timeout <- [-1, 1.5, x, 16#100000000]],
    [Bad(send, [s, self(), x, Options], 4) || Options <- [#{unknown => 1}, x, [{unknown, 1}], 1]],
    Bad(cast, [s, self(), x, #{a => 1}], 4),
    Bad(call, [s, self(), x, 100, #{a => 1}], 5),
    Bad(send_any, [s, [self()], x, #{a => 1}], 4),
    ok = gen_udp:close(Port),
    ?assertEqual({message_queue_len, 0}, process_info(self(), message_queue_len)).

kinds_keep_apart() ->
    [One, Other] = [receiver(), receiver()],
    ok = ?B:send(s, One, x),
    ok = ?L:record_enqueue(s, Other),
    [?assertError(badarg, ?L:Function(s, One)) || Function <- [record_enqueue, record_dequeue, try_enqueue]],
    ?assertError(badarg, ?L:with_capacity(s, One, fun() -> ok end)),
    ?assertError(badarg, ?B:send(s, Other, x)),
    ?assertEqual([1, 1], [?L:get_queue_depth(s, Pid) || Pid <- [One, Other]]),
    ?assertEqual([ok, ok], [?L:check_capacity(s, Pid) || Pid <- [One, Other]]),
    %% In another role as one likes.
    ok = ?L:record_enqueue(t, One),
    ok = ?L:record_enqueue(t, One),
    ?assertEqual(3, ?L:get_queue_depth(One)),
    %% As in the beginning.
    ok = ?L:forget(s, One),
    ok = ?L:record_enqueue(s, One),
    ?assertError(badarg, ?B:send(s, One, x)),
    ok = ?L:forget(s, Other),
    ?assertEqual(ok, ?B:send(s, Other, x)).

the_numbers_of_a_role_add_up() ->
    ok = ?L:set_limit(s, 100),
    Pids = [receiver() || _ <- [1, 2, 3]],
    [ok = ?B:send(s, Pid, x) || Pid <- Pids, _ <- lists:seq(1, 20)],
    [Pid ! x || Pid <- Pids, _ <- [1, 2]],
    [take(Pid, 10) || Pid <- Pids],
    [ok = ?B:send(s, Pid, x) || Pid <- Pids],
    ?assertMatch(#{total_enqueued := 63, total_dequeued := 24, current_depth := 39}, ?L:get_role_stats(s)),
    [kill(Pid) || Pid <- Pids],
    eventually(fun() -> #{owners := Owners} = ?L:get_role_stats(s), Owners =:= 0 end),
    ?assertMatch(#{current_depth := 0, total_released := 39}, ?L:get_role_stats(s)).

whoever_is_killed_before_it_sends_leaves_nothing() ->
    Pid = receiver(),
    [killed_before_it_sends(s, Pid) || _ <- [1, 2, 3]],
    ?assertEqual([ok, ok, ok], [?B:send(s, Pid, N) || N <- [1, 2, 3]]),
    ?assertMatch({error, _}, ?B:send(s, Pid, 4)),
    ?assertMatch(#{total_rejected := 1}, ?L:get_role_stats(s)).

%% Nobody is refused here, so that nobody has to look for who is dead.
whoever_is_killed_before_it_sends_is_in_nobodys_way_without_a_limit() ->
    Pid = receiver(),
    ok = ?L:set_limit(s, infinity),
    [killed_before_it_sends(s, Pid) || _ <- lists:seq(1, 1000)],
    ?assert(admitted(s, Pid) < 100).

killed_before_it_sends(Role, Pid) ->
    {Sender, Monitor} = spawn_monitor(fun() -> exit({admitted, admitted(Role, Pid)}) end),
    receive
        {'DOWN', Monitor, process, Sender, Reason} -> ?assertMatch({admitted, _}, Reason)
    end.

%% The number of its place: they are taken from the lowest.
admitted(Role, Pid) ->
    case erlmcp_native:mailbox_enter(own, Role, Pid) of
        {ask, Note} ->
            Place = erlmcp_native:mailbox_admit(own, Role, Pid, Note, 0, true),
            true = is_integer(Place),
            Place;
        Place when is_integer(Place) ->
            Place
    end.

%% Its owner is one still, by another role.
whoever_sends_while_the_pair_is_forgotten_gives_its_place_back() ->
    Pid = receiver(),
    ok = ?L:record_enqueue(other, Pid),
    [
        begin
            Place = admitted(s, Pid),
            ok = ?L:forget(s, Pid),
            ok = erlmcp_native:mailbox_sent(own, s, Pid, Place, 0)
        end
     || _ <- lists:seq(1, 5)
    ],
    ?assertEqual([ok, ok, ok], [?B:send(s, Pid, N) || N <- [1, 2, 3]]).

%% What comes by other ways between the question and the answer is seen by the next who sends.
what_was_told_late_is_told_to_nobody_else() ->
    Pid = receiver(),
    ok = ?L:set_limit(s, 1000),
    {ask, {Noted, Ns} = Note} = erlmcp_native:mailbox_enter(own, s, Pid),
    Place = erlmcp_native:mailbox_admit(own, s, Pid, {Noted, max(0, Ns - 60_000)}, 0, true),
    ok = erlmcp_native:mailbox_sent(own, s, Pid, Place, 0),
    ?assertMatch({ask, {_, _}}, erlmcp_native:mailbox_enter(own, s, Pid)),
    Now = erlmcp_native:mailbox_admit(own, s, Pid, Note, 1, true),
    ok = erlmcp_native:mailbox_sent(own, s, Pid, Now, 1).

suspended_processes_are_bounded_too() ->
    Pid = receiver(),
    true = erlang:suspend_process(Pid),
    ?assertMatch([ok, ok, ok, {error, _}], [?B:send(s, Pid, N) || N <- [1, 2, 3, 4]]),
    ?assertMatch({error, {capacity_exceeded, _}}, ?B:call(s, Pid, x, 10)),
    true = erlang:resume_process(Pid),
    ?assertEqual([1, 2, 3], take(Pid, 3)).

oneself() ->
    ?assertMatch([ok, ok, ok, {error, _}], [?B:send(s, self(), N) || N <- [1, 2, 3, 4]]),
    ?assertEqual([1, 2, 3], [receive Message -> Message end || _ <- [1, 2, 3]]).

%% A server that does what it is asked for.
server() ->
    with_test(fun server_loop/0).

server_loop() ->
    receive
        {'$gen_call', From, {reply, Reply}} -> gen_server:reply(From, Reply), server_loop();
        {'$gen_call', _, {exit, Reason}} -> exit(Reason);
        {'$gen_call', From, {late, Gate}} -> receive Gate -> gen_server:reply(From, late) end, server_loop();
        {'$gen_call', From, stack} -> gen_server:reply(From, ok);
        {'DOWN', _, process, _, _} -> ok
    end.

%% Each with a server of its own: what of a call's end tells the server is the same in both.
calls_end_as_those_of_gen_server() ->
    ok = ?L:set_limit(s, 10),
    Outcome = fun(Call) ->
        try Call() of
            {ok, Reply} -> {reply, Reply};
            Reply -> {reply, Reply}
        catch
            Class:Reason -> {Class, Reason}
        end
    end,
    [
        begin
            Server = server(),
            Theirs = Outcome(fun() -> gen_server:call(Server, Request, Timeout) end),
            Again = case is_process_alive(Server) of true -> Server; false -> server() end,
            Ours = Outcome(fun() -> ?B:call(s, Again, Request, Timeout) end),
            ?assertEqual(named(Theirs, Server), named(Ours, Again))
        end
     || {Request, Timeout} <- [
            {{reply, 1}, infinity},
            {{reply, 1}, 5000},
            {{late, make_ref()}, 10},
            {{late, make_ref()}, 0},
            {{exit, normal}, 5000},
            {{exit, shutdown}, infinity},
            {{exit, {shutdown, why}}, 5000},
            {{exit, kill}, 5000},
            {{exit, {odd, [reason]}}, 5000}
        ]
    ],
    Self = self(),
    ?assertEqual(
        Outcome(fun() -> gen_server:call(Self, x, 100) end), Outcome(fun() -> ?B:call(s, Self, x, 100) end)
    ),
    true = register(?MODULE, server()),
    ?assertExit({timeout, {gen_server, call, [?MODULE, {late, x}, 1]}}, ?B:call(s, ?MODULE, {late, x}, 1)).

%% By whatever name, with room or without: nothing is sent, and nothing counts.
calling_oneself() ->
    true = register(?FUNCTION_NAME, self()),
    yes = global:register_name(?FUNCTION_NAME, self()),
    Names = [self(), ?FUNCTION_NAME, {?FUNCTION_NAME, node()}, {global, ?FUNCTION_NAME}, {via, global, ?FUNCTION_NAME}],
    Called = fun() ->
        [
            begin
                Exit = {calling_self, {gen_server, call, [Name, x, 100]}},
                ?assertExit(Exit, gen_server:call(Name, x, 100)),
                ?assertExit(Exit, ?B:call(s, Name, x, 100)),
                ?assertExit(Exit, ?B:call(s, Name, x, 100, #{}))
            end
         || _ <- lists:seq(1, 20), Name <- Names
        ]
    end,
    _ = Called(),
    ?assertEqual(0, ?L:get_queue_depth(s, self())),
    Counts = fun() -> maps:with([total_enqueued, total_rejected, current_depth, owners], ?L:get_role_stats(s)) end,
    None = #{total_enqueued => 0, total_rejected => 0, current_depth => 0, owners => 0},
    ?assertEqual(None, Counts()),
    [ok = ?B:send(s, self(), N) || N <- [1, 2, 3]],
    _ = Called(),
    ?assertEqual(None#{total_enqueued := 3, current_depth := 3, owners := 1}, Counts()),
    %% What is wrong otherwise is told first.
    ?assertError(badarg, ?B:call("s", self(), x, 100)),
    ?assertError(badarg, ?B:call(s, self(), x, -1)),
    ?assertError(badarg, ?B:call(s, self(), x, 100, #{unknown => 1})),
    ok = global:unregister_name(?FUNCTION_NAME).

named({Class, {Reason, {gen_server, call, [Server | Args]}}}, Server) -> {Class, Reason, Args};
named(Outcome, _) -> Outcome.

no_late_reply_is_left() ->
    Server = server(),
    Gate = make_ref(),
    ?assertExit({timeout, _}, ?B:call(s, Server, {late, Gate}, 5)),
    Server ! Gate,
    ?assertEqual({ok, 2}, ?B:call(s, Server, {reply, 2}, 5000)),
    ?assertEqual({messages, []}, process_info(self(), messages)).

rows_show_the_length_as_it_is() ->
    [Pid, Counted] = [receiver(), receiver()],
    ok = ?B:send(s, Pid, x),
    [ok = ?L:record_enqueue(s, Counted) || _ <- [1, 2]],
    [Pid ! x || _ <- [1, 2]],
    Rows = [maps:with([process, kind, depth, status], Row) || Row <- ?M:queues(s, #{top => 2})],
    ?assertEqual(
        [
            #{process => Pid, kind => mailbox, depth => 3, status => overload},
            #{process => Counted, kind => counted, depth => 2, status => ok}
        ],
        Rows
    ),
    %% But for how long nobody was taken out, which goes on.
    Still = fun(Of) -> lists:sort([maps:remove(stalled_ms, Row) || Row <- Of]) end,
    ?assertEqual(Still(?M:queues(s)), Still(?M:queues(s, #{top => 10}))),
    ?assertMatch([#{process := Pid, depth := 3}], ?M:get_overloaded(s)),
    take(Pid, 3),
    ?assertEqual([], ?M:get_overloaded()),
    ?assertMatch([#{process := Counted}, #{process := Pid, depth := 0}], ?M:queues(s, #{top => 2})).

levels_rise_with_the_send_and_are_left_soon() ->
    ok = ?L:set_limit(s, 10),
    Pid = receiver(),
    [ok = ?B:send(s, Pid, N) || N <- lists:seq(1, 10)],
    ?assertMatch([#{level := overload, process := Pid, depth := 10} | _], ?M:get_alert_history(s)),
    ?assertMatch([#{level := overload}], [Row || #{role := s} = Row <- ?M:summary()]),
    take(Pid, 10),
    eventually(fun() -> [ok] =:= [Level || #{role := s, level := Level} <- ?M:summary()] end),
    eventually(fun() -> erlmcp_native:mailbox_held(own) =:= [] end),
    %% Nobody looks any more, and the next one is seen again.
    [ok = ?B:send(s, Pid, N) || N <- lists:seq(1, 9)],
    ?assertMatch([#{level := critical} | _], ?M:get_alert_history(s)),
    kill(Pid),
    eventually(fun() -> erlmcp_native:mailbox_held(own) =:= [] end).

all_are_looked_at_after_a_check() ->
    ok = ?L:set_limit(s, 10),
    [Emptied, Filled] = [receiver(), receiver()],
    [ok = ?B:send(s, Emptied, N) || N <- lists:seq(1, 7)],
    ok = ?B:send(s, Filled, 1),
    take(Emptied, 7),
    %% Nothing is sent through this any more.
    [Filled ! N || N <- lists:seq(1, 8)],
    ok = ?M:set_check_interval(20),
    eventually(fun() -> [9] =:= [Depth || #{role := s, depth := Depth} <- ?M:summary()] end),
    Alerts = fun() -> [{Level, Of} || #{level := Level, process := Of} <- ?M:get_alert_history(s)] end,
    eventually(fun() -> [{critical, Filled}] =:= Alerts() end).

an_unlimited_role() ->
    ok = ?L:set_limit(s, infinity),
    Pid = receiver(),
    [ok = ?B:send(s, Pid, N) || N <- lists:seq(1, 10_000)],
    ?assertEqual(10_000, ?L:get_queue_depth(s, Pid)).

limits_switched_off() ->
    ok = ?L:set_enabled(false),
    Pid = receiver(),
    ?assertEqual([ok, ok, ok, ok], [?B:send(s, Pid, N) || N <- [1, 2, 3, 4]]),
    ok = ?L:set_enabled(true),
    ?assertMatch({error, _}, ?B:send(s, Pid, 5)).
