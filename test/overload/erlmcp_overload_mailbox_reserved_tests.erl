%% What the watch over all mailboxes has for itself, what it leaves to others, and how it is asked for.
-module(erlmcp_overload_mailbox_reserved_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_overload_test_lib, [monitor/1, next/1, end_all/1]).
-import(erlmcp_overload_watch_test_lib, [lengths/0, receiver/0, drown/2, take/2]).
-import(erlmcp_overload_watch_test_lib, [watched/0, held/0, watcher/0, sessions/0]).

-define(B, erlmcp_overload_mailbox).
-define(L, erlmcp_queue_limits).

reserved_test_() ->
    erlmcp_overload_watch_test_lib:in_node([
        fun the_role_is_nobody_elses/0,
        fun a_role_that_is_used_is_not_taken/0,
        fun others_that_trace_are_left_alone/0,
        fun it_may_be_configured/0,
        fun wrong_arguments/0
    ]).

the_role_is_nobody_elses() ->
    Tag = watched(),
    Pid = drown(receiver(), 120),
    ?assertMatch({alert, _}, next(Tag)),
    Calls = fun(Owner) ->
        [
            {?L, check_capacity, [mailbox, Owner]},
            {?L, try_enqueue, [mailbox, Owner]},
            {?L, with_capacity, [mailbox, Owner, fun() -> ok end]},
            {?L, record_enqueue, [mailbox, Owner]},
            {?L, record_dequeue, [mailbox, Owner]},
            {?L, forget, [mailbox, Owner]},
            {?L, set_limit, [mailbox, 5]}
        ]
    end,
    Sends = fun(Owner) ->
        [
            {?B, send, [mailbox, Owner, x]},
            {?B, send, [mailbox, Owner, x, []]},
            {?B, cast, [mailbox, Owner, x]},
            {?B, call, [mailbox, Owner, x, 1]},
            {?B, send_any, [mailbox, [Owner], x]}
        ]
    end,
    All = lists:append([Calls(Owner) || Owner <- [Pid, self(), a_name]] ++ [Sends(Owner) || Owner <- [Pid, self()]]),
    [?assertEqual({Call, reserved}, {Call, fault(Call)}) || Call <- All],
    %% Often, so that whoever is used is near.
    [?assertEqual(reserved, fault(Call)) || Call <- Calls(Pid), _ <- lists:seq(1, 10)],
    ?assertEqual(120, ?B:depth(Pid)),
    ?assertEqual(ok, ?L:record_enqueue(another, Pid)),
    ?assertEqual([Pid], held()),
    ok = ?B:watch_mailboxes(off),
    ?assertEqual([not_reserved], lists:usort([fault(Call) || Call <- Calls(another)])),
    end_all([Pid]).

fault({Module, Function, Args}) ->
    try apply(Module, Function, Args) of
        _ -> not_reserved
    catch
        error:badarg:Stacktrace ->
            [{Module, Function, Args, Info} | _] = Stacktrace,
            #{module := Formats, cause := role_reserved} = proplists:get_value(error_info, Info),
            #{1 := Text} = Formats:format_error(badarg, Stacktrace),
            true = string:find(Text, "erlmcp_overload_mailbox:watch_mailboxes/1") =/= nomatch,
            reserved
    end.

a_role_that_is_used_is_not_taken() ->
    _ = monitor([]),
    ok = ?L:set_limit(mailbox, 7),
    Pid = receiver(),
    ok = ?B:send(mailbox, Pid, junk),
    ?assertError(badarg, ?B:watch_mailboxes(lengths())),
    ?assertEqual({off, [], 7}, {?B:watched(), sessions(), ?L:get_limit(mailbox)}),
    ?assertEqual(ok, ?B:send(mailbox, Pid, junk)),
    ok = ?L:forget(mailbox, Pid),
    %% Its limit comes back with the end of the watch.
    ok = ?B:watch_mailboxes(lengths()),
    ?assertEqual(300, ?L:get_limit(mailbox)),
    ok = ?B:watch_mailboxes(off),
    ?assertEqual(7, ?L:get_limit(mailbox)),
    end_all([Pid]).

others_that_trace_are_left_alone() ->
    Before = erlang:system_monitor(),
    Session = trace:session_create(?MODULE, self(), []),
    ok = trace:system(Session, long_message_queue, {10, 50}),
    _ = erlang:system_monitor(self(), [{long_message_queue, {20, 60}}]),
    Mine = erlang:system_monitor(),
    Tag = watched(),
    Pid = drown(receiver(), 150),
    ?assertMatch({alert, _}, next(Tag)),
    erlmcp_native_test_lib:kill(watcher()),
    ok = ?B:watch_mailboxes(off),
    ?assertEqual(Mine, erlang:system_monitor()),
    ?assertEqual([?MODULE], [Name || {Name, _} <- trace:session_info(all), Name =:= ?MODULE]),
    ?assertEqual([true, true], [told(Pid), told(Pid)]),
    take(Pid, 150),
    ?assertEqual([false, false], [told(Pid), told(Pid)]),
    true = trace:session_destroy(Session),
    _ = erlang:system_monitor(Before),
    end_all([Pid]).

told(Pid) ->
    receive
        {monitor, Pid, long_message_queue, Long} -> Long
    after 5000 -> error(not_told)
    end.

it_may_be_configured() ->
    Tag = monitor([]),
    Configure = fun(Watch) -> erlmcp_overload_test_lib:configure([{overload, #{watch_mailboxes => Watch}}]) end,
    ?assertEqual(ok, Configure([{warning, 100}, {overload, 6000}])),
    ?assertMatch(#{warning := 100, critical := 5000, overload := 6000}, ?B:watched()),
    Pid = drown(receiver(), 120),
    ?assertMatch({alert, {warning, mailbox, Pid, 120, 6000}}, next(Tag)),
    ?assertMatch({error, {bad_config, #{key := [overload, watch_mailboxes, critical]}}}, Configure(#{critical => 0})),
    ?assertMatch(#{warning := 100}, ?B:watched()),
    %% What was said by hand wins.
    ok = ?B:watch_mailboxes(off),
    ?assertEqual(ok, Configure(#{warning => 50})),
    ?assertEqual(off, ?B:watched()),
    end_all([Pid]).

wrong_arguments() ->
    _ = monitor([]),
    [
        ?assertEqual({Lengths, Expected}, {Lengths, explained(Lengths)})
     || {Lengths, Expected} <- [
            {#{warning => 0}, "warning: 0 is not an integer from 1 to 2^32 - 1"},
            {#{critical => 1.5}, "critical: 1.5 is not an integer from 1 to 2^32 - 1"},
            {#{overload => 1 bsl 32}, "overload: 4294967296 is not an integer from 1 to 2^32 - 1"},
            {#{warning => infinity}, "warning: infinity is not an integer from 1 to 2^32 - 1"},
            {#{warning => 10, critical => 9}, "critical: 9 is not an integer from 10, where warning begins"},
            {#{overload => 4000}, "overload: 4000 is not an integer from 5000, where critical begins"},
            {#{level => 1}, "level: 1 is not one of warning, critical, overload"},
            {on, "on is not a map of options"},
            {[1 | 2], "[1|2] is not a map of options"}
        ]
    ],
    ?assertEqual({off, []}, {?B:watched(), sessions()}),
    ?assertEqual(ok, ?B:watch_mailboxes(#{})),
    ?assertMatch(#{warning := 1000, critical := 5000, overload := 10000}, ?B:watched()).

explained(Lengths) ->
    try ?B:watch_mailboxes(Lengths) of
        ok -> ok
    catch
        error:badarg:Stacktrace ->
            [{?B, watch_mailboxes, [Lengths], Info} | _] = Stacktrace,
            #{module := Formats} = proplists:get_value(error_info, Info),
            #{1 := Text} = Formats:format_error(badarg, Stacktrace),
            lists:flatten(Text)
    end.
