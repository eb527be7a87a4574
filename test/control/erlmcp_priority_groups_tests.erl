%% Groups of processes of one node: who gets what, how often, and for how long.
-module(erlmcp_priority_groups_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_priority, [join/1, leave/1, broadcast/3, send_batch/3]).
-import(erlmcp_priority_test_lib, [receiver/0, in/2, alias_in/1, arrived/2, mailbox/1, stop/1]).
-import(erlmcp_native_test_lib, [eventually/1, kill/1]).

-define(GROUPS, erlmcp_priority_groups).

%% The tables are the maker's, as they are the supervisor's.
groups_test_() ->
    {foreach, fun start/0, fun finish/1, [
        {timeout, 60, Test}
     || Test <- [
            fun members_get_it_first/0,
            fun a_member_is_one_until_it_leaves_or_dies/0,
            fun an_alias_is_made_and_given_up/0,
            fun an_alias_of_ones_own_stays/0,
            fun names_are_told_apart/0,
            fun a_crash_loses_nobody/0,
            fun many_join_and_go/0,
            fun what_is_forged_is_ignored/0,
            fun misuse/0
        ]
    ]}.

start() ->
    Caller = self(),
    Keeper = spawn(fun() ->
        ok = ?GROUPS:remember(),
        {ok, _} = ?GROUPS:start_link(),
        Caller ! {self(), started},
        keep()
    end),
    receive
        {Keeper, started} -> Keeper
    end.

keep() ->
    process_flag(trap_exit, true),
    receive
        {'EXIT', _, killed} -> {ok, _} = ?GROUPS:start_link(), keep();
        stop -> ok = gen_server:stop(?GROUPS)
    end.

finish(Keeper) ->
    Monitor = monitor(process, Keeper),
    Keeper ! stop,
    receive
        {'DOWN', Monitor, process, Keeper, normal} -> ok
    end.

members_get_it_first() ->
    Members = [receiver() || _ <- [1, 2, 3]],
    [ok = in(Pid, fun() -> join(g) end) || Pid <- Members],
    [Pid ! {ordinary, 1} || Pid <- Members],
    Self = self(),
    ?assertEqual(#{reached => 3, nodes => #{node() => ok}}, broadcast(g, hello, Self)),
    ?assertEqual(#{reached => 0, nodes => #{}}, broadcast(other, hello, Self)),
    [
        begin
            ok = arrived(Pid, 2),
            ?assertEqual([{priority, Self, hello}, {ordinary, 1}], mailbox(Pid)),
            ok = stop(Pid)
        end
     || Pid <- Members
    ].

a_member_is_one_until_it_leaves_or_dies() ->
    [Leaves, Dies] = Members = [receiver(), receiver()],
    [ok = in(Pid, fun() -> join(g) end) || Pid <- Members ++ Members],
    ?assertEqual(2, reached(g)),
    [ok = arrived(Pid, 1) || Pid <- Members],
    ok = in(Leaves, fun() -> leave(g) end),
    ok = in(Leaves, fun() -> leave(g) end),
    ?assertEqual(1, reached(g)),
    true = unlink(Dies),
    ok = kill(Dies),
    ok = eventually(fun() -> reached(g) =:= 0 end),
    ?assertEqual([], ?GROUPS:counts()),
    ?assertEqual([], ets:tab2list(erlmcp_priority_members)),
    ok = stop(Leaves).

an_alias_is_made_and_given_up() ->
    Pid = receiver(),
    Newest = fun() -> erlmcp_native:alias_newest(Pid) end,
    ?assertEqual(bad_destination, Newest()),
    [ok = in(Pid, fun() -> join(Group) end) || Group <- [g, h]],
    ?assertMatch({ok, _}, Newest()),
    ok = in(Pid, fun() -> leave(g) end),
    ?assertMatch({ok, _}, Newest()),
    ok = in(Pid, fun() -> leave(h) end),
    ?assertEqual(bad_destination, Newest()),
    ok = stop(Pid).

an_alias_of_ones_own_stays() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    ok = in(Pid, fun() -> join(g), leave(g) end),
    ?assertEqual({ok, Alias}, erlmcp_native:alias_newest(Pid)),
    ok = stop(Pid).

names_are_told_apart() ->
    Pid = receiver(),
    ok = in(Pid, fun() -> join(1) end),
    ?assertEqual([1, 0, 0], [reached(Group) || Group <- [1, 1.0, <<1>>]]),
    ok = stop(Pid).

a_crash_loses_nobody() ->
    Pid = receiver(),
    ok = in(Pid, fun() -> join(g) end),
    Dies = receiver(),
    ok = in(Dies, fun() -> join(g) end),
    Before = whereis(?GROUPS),
    ok = sys:suspend(Before),
    true = unlink(Dies),
    ok = kill(Dies),
    ok = kill(Before),
    ok = eventually(fun() -> is_pid(whereis(?GROUPS)) end),
    ok = eventually(fun() -> ?GROUPS:count(g) =:= 1 end),
    ok = eventually(fun() -> reached(g) =:= 1 end),
    ok = stop(Pid).

many_join_and_go() ->
    Number = 20000,
    Caller = self(),
    Pids = [
        spawn_link(fun() ->
            ok = join(crowd),
            Caller ! joined,
            receive
                {priority, _, go} -> ok = leave(crowd), Caller ! left
            end
        end)
     || _ <- lists:seq(1, Number)
    ],
    ok = all(joined, Number),
    ?assertEqual(Number, length(Pids)),
    ?assertMatch(#{reached := Number}, broadcast(crowd, go, self())),
    ok = all(left, Number),
    ?assertEqual(0, ?GROUPS:count(crowd)).

all(_What, 0) ->
    ok;
all(What, Number) ->
    receive
        What -> all(What, Number - 1)
    after 50000 -> error({missing, Number, What})
    end.

what_is_forged_is_ignored() ->
    Pid = whereis(?GROUPS),
    Server = monitor(process, Pid),
    [Pid ! Forged || Forged <- [hello, {send, none, x}, {'DOWN', make_ref(), process, self(), x}, {'$gen_cast', x}]],
    [
        ?assertEqual({error, unknown_call}, gen_server:call(?GROUPS, Forged))
     || Forged <- [hello, {join, g, no_pid}, {join, g, erlmcp_native_test_lib:foreign_pid()}]
    ],
    ?assertEqual(0, gen_server:call(?GROUPS, {leave, g, no_pid})),
    ?assertEqual(Pid, whereis(?GROUPS)),
    true = demonitor(Server, [flush]).

misuse() ->
    ?assertError(badarg, broadcast(g, hello, no_pid)),
    ?assertError(badarg, broadcast(g, binary:copy(<<0>>, 32768), self())),
    ?assertMatch(#{reached := 0}, broadcast(g, binary:copy(<<0>>, 32000), self())),
    %% Each other node would be told it whenever somebody joins or leaves.
    ?assertError(badarg, join(binary:copy(<<0>>, 32768))),
    ?assertEqual([], erlmcp_priority_groups:counts()).

not_started_test() ->
    ?assertExit({noproc, {erlmcp_priority, join, [g]}}, join(g)),
    ?assertExit({noproc, {erlmcp_priority, leave, [g]}}, leave(g)),
    ?assertEqual(#{reached => 0, nodes => #{}}, broadcast(g, hello, self())).

batches_test() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    Pid ! {ordinary, 1},
    Self = self(),
    ok = send_batch(Alias, [1, 2], Self),
    ok = send_batch(Pid, [3], Self),
    ok = send_batch(Pid, [], Self),
    ok = arrived(Pid, 3),
    ?assertEqual([{priority, Self, {batch, [1, 2]}}, {priority, Self, {batch, [3]}}, {ordinary, 1}], mailbox(Pid)),
    [
        ?assertError(badarg, send_batch(Destination, Messages, From))
     || {Destination, Messages, From} <- [
            {make_ref(), [1], Self}, {make_ref(), [], Self}, {Pid, [1 | 2], Self}, {Pid, none, Self}, {Pid, [1], none}
        ]
    ],
    ok = stop(Pid).

reached(Group) ->
    maps:get(reached, broadcast(Group, hello, self())).
