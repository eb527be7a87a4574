%% Priority messages between nodes, on a node that changes its name, and with references made by hand.
-module(erlmcp_priority_node_tests).

-include_lib("eunit/include/eunit.hrl").

-export([without_the_application/0, distributed_and_back/0, earlier_life/0, made_by_hand/0]).

-import(erlmcp_priority, [
    delete_priority_alias/1,
    is_priority_alias/1,
    send_priority/3,
    send_urgent/2
]).
-import(erlmcp_priority_test_lib, [
    receiver/0, in/2, alias_in/1, arrived/2, mailbox/1, stop/1, words/1, with_words/2, with_creation/2, node_args/1
]).

-define(NAME, erlmcp_priority_node_tests_receiver).

nodes_test_() ->
    [
        {Title, {timeout, 60, fun() -> on_a_node(Name, Test) end}}
     || {Title, Name, Test} <- [
            {"without the application", none, without_the_application},
            {"a node becomes distributed and back", none, distributed_and_back},
            {"an alias of an earlier life, of a node", erlmcp_priority_a, earlier_life},
            {"an alias of an earlier life, of no node", none, earlier_life},
            {"references made by hand", none, made_by_hand}
        ]
    ] ++ [{"to another node", {timeout, 60, fun to_another_node/0}}].

%% A crash of the node is a failure of one test.
on_a_node(Name, Test) ->
    Peer = peer_node(Name),
    ?assertEqual(ok, peer:call(Peer, ?MODULE, Test, [], 50000)),
    ok = peer:stop(Peer).

peer_node(Name) ->
    erlmcp_native_test_lib:peer(erlmcp_native_test_lib:ebins([erlmcp_priority, ?MODULE]), node_args(Name)).

without_the_application() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    overtakes(Pid, Alias),
    overtakes(Pid, Pid),
    ?assert(is_priority_alias(Alias)),
    ok = in(Pid, fun() -> delete_priority_alias(Alias) end),
    ?assertError(badarg, send_urgent(Pid, hello)),
    ?assertNot(lists:keymember(erlmcp_native, 1, application:which_applications())),
    ?assertEqual([undefined, undefined], [whereis(Name) || Name <- [erlmcp_native_sup, erlmcp_control_plane]]),
    ok = stop(Pid).

distributed_and_back() ->
    [Pid, Other] = [receiver(), receiver()],
    Before = alias_in(Pid),
    ?assertNot(is_alive()),
    {ok, _} = net_kernel:start('erlmcp_priority_late@localhost', #{name_domain => shortnames}),
    ?assert(is_alive()),
    Meanwhile = alias_in(Other),
    known([{Pid, Before}, {Other, Meanwhile}]),
    ok = net_kernel:stop(),
    ok = erlmcp_native_test_lib:eventually(fun() -> not is_alive() end, 5000),
    known([{Pid, Before}, {Other, Meanwhile}]),
    ok = in(Pid, fun() -> delete_priority_alias(Before) end),
    ?assertError(badarg, send_urgent(Before, hello)),
    [ok = stop(Receiver) || Receiver <- [Pid, Other]],
    ok = erlmcp_native_test_lib:eventually(fun() -> erlmcp_native:alias_processes() =:= 0 end),
    ?assertNot(is_priority_alias(Meanwhile)),
    ?assertEqual(ok, send_urgent(Meanwhile, dropped)).

known(Receivers) ->
    [
        begin
            ?assert(is_priority_alias(Alias)),
            overtakes(Pid, Alias),
            overtakes(Pid, Pid)
        end
     || {Pid, Alias} <- Receivers
    ].

%% The same name and words, but of a node that has been restarted since.
earlier_life() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    Earlier = with_creation(Alias, fun(Creation) -> Creation + 1 end),
    ?assertEqual({node(Alias), words(Alias)}, {node(Earlier), words(Earlier)}),
    ?assertNotEqual(Alias, Earlier),
    ?assertNot(is_priority_alias(Earlier)),
    ?assertEqual(ok, send_priority(Earlier, dropped, self())),
    ?assertEqual(ok, send_urgent(Earlier, dropped)),
    in(Pid, fun() -> ?assertError(badarg, delete_priority_alias(Earlier)) end),
    ?assert(is_priority_alias(Alias)),
    overtakes(Pid, Alias),
    ok = stop(Pid).

%% Whatever words a reference has, it is no priority alias, unless they are the words of one.
made_by_hand() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    [A, B, C, Low, High] = words(Alias),
    _ = rand:seed(exsss, {1, 2, 3}),
    Word = fun() -> rand:uniform(16#100000000) - 1 end,
    Words =
        [[A, B, C, L, H] || L <- odd_words(Low), H <- odd_words(High), {L, H} =/= {Low, High}] ++
            [[A, B, C, Low bxor (1 bsl Bit), High] || Bit <- lists:seq(0, 31)] ++
            [[A, B, C, Low, High bxor (1 bsl Bit)] || Bit <- lists:seq(0, 31)] ++
            [[A bxor 1, B, C, Low, High], [A, B, C bxor 1, Low, High], [A, B bxor 1024, C, Low, High]] ++
            [[Word() band 16#3ffff, B, Word(), tagged(Word()), Word() bsr 8] || _ <- lists:seq(1, 2000)] ++
            [lists:sublist([A, B, C, Low, High], Number) || Number <- [1, 2, 3, 4]],
    Made = lists:append([made(List, Alias) || List <- Words]),
    ?assert(length(Made) > 1000),
    [
        begin
            ?assertNot(is_priority_alias(Ref)),
            in(Pid, fun() -> ?assertError(badarg, delete_priority_alias(Ref)) end),
            ?assert(lists:member(refused_or_dropped(Ref), [ok, badarg]))
        end
     || Ref <- Made
    ],
    overtakes(Pid, Alias),
    ok = stop(Pid).

odd_words(Word) -> [Word, 0, 1, 2, 3, 16#b, 16#f, 16#3f, 16#7fffffff, 16#80000000, 16#ffffffff].

%% As the runtime wants the lower word of a pid: others it takes for no reference.
tagged(Word) -> (Word band 16#ffffff80) bor 3.

made(Words, Alias) ->
    try
        [with_words(Alias, Words)]
    catch
        error:badarg -> []
    end.

refused_or_dropped(Ref) ->
    try
        send_urgent(Ref, hello)
    catch
        error:badarg -> badarg
    end.

to_another_node() ->
    [Near, Far] = [peer_node(Name) || Name <- [erlmcp_priority_a, erlmcp_priority_b]],
    Node = erlmcp_priority_test_lib:connect(Near, Far),
    Pid = peer:call(Far, erlmcp_priority_test_lib, receiver, []),
    true = peer:call(Far, erlang, register, [?NAME, Pid]),
    Alias = peer:call(Far, erlmcp_priority_test_lib, alias_in, [Pid]),
    ?assertEqual([Node, Node], [node(Term) || Term <- [Pid, Alias]]),

    %% The alias is sent to as it is, and priority crosses over.
    From = peer:call(Near, erlang, whereis, [init]),
    [{ordinary, N} = peer:call(Near, erlang, send, [Pid, {ordinary, N}]) || N <- [1, 2]],
    ok = peer:call(Near, erlmcp_priority, send_priority, [Alias, first, From]),
    ok = peer:call(Near, erlmcp_priority, send_urgent, [Alias, second]),
    ok = peer:call(Far, erlmcp_priority_test_lib, arrived, [Pid, 4]),
    ?assertEqual(
        [{priority, From, first}, {urgent, second}, {ordinary, 1}, {ordinary, 2}],
        peer:call(Far, erlmcp_priority_test_lib, mailbox, [Pid])
    ),

    %% Its own node alone knows what it is; and nobody else finds it by its process.
    ?assertEqual(
        {true, false},
        {peer:call(Far, erlmcp_priority, is_priority_alias, [Alias]),
            peer:call(Near, erlmcp_priority, is_priority_alias, [Alias])}
    ),
    ?assertError(badarg, peer:call(Near, erlmcp_priority, delete_priority_alias, [Alias])),
    [
        ?assertError(badarg, peer:call(Near, erlmcp_priority, Function, [Destination, hello | Args]))
     || Destination <- [Pid, {?NAME, Node}, ?NAME],
        {Function, Args} <- [{send_urgent, []}, {send_priority, [From]}]
    ],

    %% A dead one's message is dropped there, and so is everything once the node is gone.
    ok = peer:call(Far, erlmcp_priority_test_lib, stop, [Pid]),
    ?assertEqual(ok, peer:call(Near, erlmcp_priority, send_urgent, [Alias, dropped])),
    ok = peer:stop(Far),
    ok = erlmcp_native_test_lib:eventually(fun() -> peer:call(Near, erlang, nodes, []) =:= [] end),
    ?assertEqual(ok, peer:call(Near, erlmcp_priority, send_urgent, [Alias, dropped])),
    ok = peer:stop(Near).

overtakes(Pid, Destination) ->
    [Pid ! {ordinary, N} || N <- [1, 2]],
    ok = send_priority(Destination, first, self()),
    ok = send_urgent(Destination, second),
    ok = arrived(Pid, 4),
    ?assertEqual([{priority, self(), first}, {urgent, second}, {ordinary, 1}, {ordinary, 2}], mailbox(Pid)).
