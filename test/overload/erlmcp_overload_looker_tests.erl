%% Who asks how long the mailboxes are that hold a level, and that one who is late keeps nobody else waiting.
-module(erlmcp_overload_looker_tests).

-include_lib("eunit/include/eunit.hrl").

-define(B, erlmcp_overload_mailbox).
-define(LOOKER, erlmcp_overload_looker).
-define(DEADLINE_MS, 10000).

looker_test_() ->
    {foreach, fun up/0, fun erlmcp_overload_test_lib:down/1, [
        {atom_to_list(Name), {timeout, 60, fun() -> erlmcp_overload_test_lib:alone(Test) end}}
     || Test <- [
            fun each_has_a_helper_to_itself/0,
            fun many_share_a_hundred_helpers/0,
            fun what_a_late_helper_has_in_hand_is_left_to_it/0,
            fun nobody_asks_while_a_hundred_are_late/0,
            fun it_is_told_whether_there_is_any/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

up() ->
    Level = erlmcp_overload_test_lib:up(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    ok = erlmcp_queue_limits:set_limit(s, 1),
    %% What others have filled has ended with them.
    erlmcp_native_test_lib:eventually(fun() -> erlmcp_native:mailbox_held(own) =:= [] end),
    Level.

each_has_a_helper_to_itself() ->
    Held = held(100),
    ?assertEqual(lists:sort([[Mailbox] || Mailbox <- Held]), shares(held, [])),
    ?assertEqual(lists:sort([[Mailbox] || Mailbox <- Held]), shares(all, [])).

many_share_a_hundred_helpers() ->
    Held = held(250),
    Shares = shares(held, []),
    ?assert(length(Shares) =< 100),
    ?assertEqual(Held, lists:sort(lists:append(Shares))),
    ?assertEqual(3, lists:max([length(Share) || Share <- Shares])).

what_a_late_helper_has_in_hand_is_left_to_it() ->
    [InHand | Others] = held(3),
    [Late, Dead] = [helper([InHand]), helper(Others)],
    ok = erlmcp_native_test_lib:kill(element(1, Dead)),
    ?assertEqual([[Other] || Other <- Others], shares(held, [Late, Dead])),
    {_, Helpers} = look(held, [Late, Dead]),
    ?assert(lists:member(Late, Helpers)),
    ?assertNot(lists:member(Dead, Helpers)),
    end_all([Late]).

nobody_asks_while_a_hundred_are_late() ->
    [First | _] = Held = held(101),
    Late = [helper([Mailbox]) || Mailbox <- tl(Held)],
    ?assertEqual([], shares(held, Late)),
    end_all([hd(Late)]),
    [Free] = shares(held, Late),
    ?assertEqual([First | element(2, hd(Late))], lists:sort(Free)),
    end_all(tl(Late)).

it_is_told_whether_there_is_any() ->
    ?assertNot(erlmcp_native:mailbox_any_held(own)),
    Held = held(2),
    [
        begin
            ?assert(erlmcp_native:mailbox_any_held(own)),
            erlmcp_native_test_lib:kill(Pid)
        end
     || {s, Pid} <- Held
    ],
    erlmcp_native_test_lib:eventually(fun() -> not erlmcp_native:mailbox_any_held(own) end).

%% So many full mailboxes, of processes that take nothing.
held(Count) ->
    Test = self(),
    Pids = [spawn(fun() -> await(monitor(process, Test)) end) || _ <- lists:seq(1, Count)],
    [ok = ?B:send(s, Pid, x) || Pid <- Pids],
    lists:sort([{s, Pid} || Pid <- Pids]).

helper(Mailboxes) ->
    Test = self(),
    {spawn(fun() -> await(monitor(process, Test)) end), Mailboxes}.

await(Monitor) ->
    receive {'DOWN', Monitor, process, _, _} -> ok end.

end_all(Helpers) ->
    [ok = erlmcp_native_test_lib:kill(Pid) || {Pid, _} <- Helpers].

shares(Which, Helpers) ->
    element(1, look(Which, Helpers)).

%% What each helper of a look was given, and who was late.
look(Which, Helpers) ->
    {Looker, Ref} = spawn_monitor(fun() -> receive go -> ?LOOKER:look(Which, Helpers) end end),
    Session = trace:session_create(?MODULE, self(), []),
    1 = trace:process(Session, Looker, true, [procs]),
    Looker ! go,
    Late =
        receive
            {'DOWN', Ref, process, Looker, {late, Those}} -> Those
        after ?DEADLINE_MS -> error(still_looking)
        end,
    Delivered = trace:delivered(Session, Looker),
    receive
        {trace_delivered, Looker, Delivered} -> ok
    after ?DEADLINE_MS -> error(not_delivered)
    end,
    true = trace:session_destroy(Session),
    {lists:sort(given(Looker)), Late}.

given(Looker) ->
    receive
        {trace, Looker, spawn, _, {?LOOKER, ask, [Share]}} -> [Share | given(Looker)];
        {trace, Looker, _, _} -> given(Looker);
        {trace, Looker, _, _, _} -> given(Looker)
    after 0 -> []
    end.
