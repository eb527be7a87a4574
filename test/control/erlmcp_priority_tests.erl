%% Priority messages: who gets them, and every way to ask for one that would not be one.
-module(erlmcp_priority_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_priority, [
    create_priority_alias/0,
    register_priority_alias/1,
    delete_priority_alias/1,
    is_priority_alias/1,
    send_priority/3,
    send_urgent/2
]).
-import(erlmcp_native_test_lib, [eventually/1, kill/1, dead/0, foreign_pid/0, in_process/1]).
-import(erlmcp_priority_test_lib, [
    receiver/0, receiver/1, in/2, alias_in/1, arrived/2, mailbox/1, stop/1, words/1
]).

-define(PRIORITY, erlmcp_priority).
-define(NAME, erlmcp_priority_tests_receiver).
%% Less than the smallest thing that could be kept of a process.
-define(BYTES_KEPT, 8).

%% Each kind of destination gets its message ahead of those that wait, in both forms.
every_destination_test() ->
    Pid = receiver(),
    true = register(?NAME, Pid),
    Alias = alias_in(Pid),
    [
        begin
            [Pid ! {ordinary, N} || N <- [1, 2]],
            ?assertEqual(ok, send_priority(Destination, first, self())),
            ?assertEqual(ok, send_urgent(Destination, second)),
            Pid ! {ordinary, 3},
            ok = arrived(Pid, 5),
            ?assertEqual(
                [{priority, self(), first}, {urgent, second}, {ordinary, 1}, {ordinary, 2}, {ordinary, 3}],
                mailbox(Pid)
            )
        end
     || Destination <- [Alias, Pid, ?NAME]
    ],
    ok = stop(Pid).

to_oneself_test() ->
    in_process(fun() ->
        Alias = create_priority_alias(),
        self() ! ordinary,
        [ok = send_urgent(Destination, Destination) || Destination <- [Alias, self()]],
        ?assertEqual([{urgent, Alias}, {urgent, self()}, ordinary], flush())
    end).

any_term_is_a_message_test() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    Large = [<<0:10000/unit:8>>, lists:seq(1, 10000)],
    Messages = [a, #{}, make_ref(), fun() -> ok end, {priority, self(), x} | Large],
    [ok = send_priority(Alias, Message, self()) || Message <- Messages],
    ?assertEqual([{priority, self(), Message} || Message <- Messages], mailbox(Pid)),
    ok = stop(Pid).

the_sender_may_be_any_pid_test() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    Froms = [Pid, dead(), foreign_pid()],
    [ok = send_priority(Alias, hello, From) || From <- Froms],
    ?assertEqual([{priority, From, hello} || From <- Froms], mailbox(Pid)),
    ok = stop(Pid).

%% A bare unalias/1 is invisible, and so tells by which alias a pid is sent to.
the_newest_alias_counts_test() ->
    Pid = receiver(),
    [Old, New] = [alias_in(Pid), alias_in(Pid)],
    true = in(Pid, fun() -> erlang:unalias(Old) end),
    ok = send_urgent(Pid, by_the_newest),
    ?assertEqual([{urgent, by_the_newest}], mailbox(Pid)),
    [Newer, Newest] = [alias_in(Pid), alias_in(Pid)],
    true = in(Pid, fun() -> erlang:unalias(Newest) end),
    ok = send_urgent(Pid, dropped),
    ok = in(Pid, fun() -> delete_priority_alias(Newest) end),
    ok = send_urgent(Pid, by_the_newest_left),
    ok = in(Pid, fun() -> delete_priority_alias(New) end),
    ok = send_urgent(Pid, by_the_same),
    ?assertEqual([{urgent, by_the_newest_left}, {urgent, by_the_same}], mailbox(Pid)),
    ?assert(is_priority_alias(Newer)),
    ok = stop(Pid).

older_aliases_stay_good_test() ->
    Pid = receiver(),
    Aliases = [alias_in(Pid) || _ <- lists:seq(1, 100)],
    [ok = send_urgent(Alias, Alias) || Alias <- Aliases],
    ?assertEqual([{urgent, Alias} || Alias <- Aliases], mailbox(Pid)),
    ok = stop(Pid).

an_alias_given_up_test() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    ?assertEqual(ok, in(Pid, fun() -> delete_priority_alias(Alias) end)),
    ?assertNot(is_priority_alias(Alias)),
    refused(Alias),
    refused(Pid),
    in(Pid, fun() -> ?assertError(badarg, delete_priority_alias(Alias)) end),
    erlang:send(Alias, unaliased_too, [priority]),
    ?assertEqual([], mailbox(Pid)),
    ok = stop(Pid).

only_its_process_gives_an_alias_up_test() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    ?assertError(badarg, delete_priority_alias(Alias)),
    ?assert(is_priority_alias(Alias)),
    ok = send_urgent(Alias, still_there),
    ?assertEqual([{urgent, still_there}], mailbox(Pid)),
    ok = kill_receiver(Pid),
    ?assertError(badarg, delete_priority_alias(Alias)).

what_cannot_be_given_up_test() ->
    Pid = receiver(),
    in(Pid, fun() ->
        Ordinary = erlang:alias(),
        Bare = erlang:alias([priority]),
        References = [Ordinary, Bare, make_ref(), foreign_alias()],
        Others = [self(), foreign_pid(), ?NAME, undefined, "alias", 1],
        [?assertError(badarg, delete_priority_alias(Other)) || Other <- References ++ Others],
        Ordinary ! still_there,
        ?assertEqual([still_there], flush())
    end),
    ok = stop(Pid).

%% Made by erlang:alias([priority]), as erlmcp's processes make theirs, and sent to as if made here.
an_alias_is_made_known_test_() ->
    [
        {lists:concat([Waiting, " wait ", Heap]), fun() -> made_known(Waiting, [{message_queue_data, Heap}]) end}
     || Waiting <- [0, 10, 10000],
        Heap <- [on_heap, off_heap]
    ].

made_known(Waiting, Options) ->
    Pid = receiver(Options),
    _ = [Pid ! {ordinary, N} || N <- lists:seq(1, Waiting)],
    _ = alias_in(Pid),
    Alias = in(Pid, fun() -> erlang:alias([priority]) end),
    ?assertNot(is_priority_alias(Alias)),
    ?assertEqual([ok, ok], in(Pid, fun() -> [register_priority_alias(Alias) || _ <- [1, 2]] end)),
    ?assert(is_priority_alias(Alias)),
    ?assertEqual({ok, Alias}, erlmcp_native:alias_newest(Pid)),
    [ok = send_urgent(Destination, Destination) || Destination <- [Alias, Pid]],
    ?assertEqual(
        [{urgent, Alias}, {urgent, Pid} | [{ordinary, N} || N <- lists:seq(1, Waiting)]],
        mailbox(Pid)
    ),
    ok = in(Pid, fun() -> delete_priority_alias(Alias) end),
    refused(Alias),
    in(Pid, fun() -> ?assertError(badarg, register_priority_alias(Alias)) end),
    ok = stop(Pid).

%% While others flood the process.
an_alias_is_made_known_under_load_test_() ->
    {timeout, 60, fun() ->
        Pid = receiver([{message_queue_data, off_heap}]),
        Flood = fun Flood() -> Pid ! flood, Flood() end,
        Floods = [spawn_link(Flood) || _ <- [1, 2]],
        ?assertEqual(
            [],
            in(Pid, fun() ->
                [
                    Wrong
                 || _ <- lists:seq(1, 300),
                    Wrong <- [outcome(erlang:alias([priority])), outcome(erlang:alias())],
                    not lists:member(Wrong, [{[priority], ok}, {[], badarg}])
                ]
            end)
        ),
        [unlink(F) || F <- Floods],
        [kill(F) || F <- Floods],
        ok = stop(Pid)
    end}.

outcome(Alias) ->
    Result = try register_priority_alias(Alias) catch error:badarg -> badarg end,
    {case is_priority_alias(Alias) of true -> [priority]; false -> [] end, Result}.

%% The runtime would say `ok` to a priority send to any of these.
what_cannot_be_made_known_test() ->
    Pid = receiver(),
    Others = erlang:alias([priority]),
    in(Pid, fun() ->
        GivenUp = erlang:alias([priority]),
        true = erlang:unalias(GivenUp),
        Monitored = receiver(),
        Mine = [
            GivenUp,
            erlang:alias(),
            erlang:alias([reply]),
            erlang:alias([priority, reply]),
            monitor(process, Monitored),
            monitor(process, Monitored, [{alias, explicit_unalias}]),
            monitor(process, Monitored, [{alias, explicit_unalias}, priority]),
            monitor(process, Monitored, [{alias, reply_demonitor}])
        ],
        NotMine = [Others, foreign_alias(), make_ref(), self(), Pid, ?NAME, undefined, "alias", 1, [], {}],
        [
            ?assertEqual({Nth, {[], badarg}}, {Nth, outcome(Wrong)})
         || {Nth, Wrong} <- lists:enumerate(Mine ++ NotMine)
        ],
        ?assertError(badarg, send_urgent(self(), hello)),
        ok = stop(Monitored)
    end),
    ?assertEqual([], [Message || Message <- mailbox(Pid), element(1, Message) =/= 'DOWN']),
    ?assertNot(is_priority_alias(Others)),
    true = unalias(Others),
    ok = stop(Pid).

a_bare_unalias_drops_test() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    true = in(Pid, fun() -> erlang:unalias(Alias) end),
    [?assertEqual(ok, send_urgent(Destination, dropped)) || Destination <- [Alias, Pid]],
    [?assertEqual(ok, send_priority(Destination, dropped, self())) || Destination <- [Alias, Pid]],
    ?assertEqual([], mailbox(Pid)),
    ok = stop(Pid).

%% The runtime says `ok` to most of these, and sends something else than a priority message.
what_would_not_overtake_is_refused_test() ->
    Pid = receiver(),
    true = register(?NAME, Pid),
    Own = in(Pid, fun() ->
        [
            erlang:alias(),
            erlang:alias([reply]),
            erlang:alias([priority]),
            monitor(process, self()),
            monitor(process, self(), [{alias, explicit_unalias}]),
            make_ref()
        ]
    end),
    [refused(Destination) || Destination <- [Pid, ?NAME | Own]],
    ?assertEqual([], [Message || Message <- mailbox(Pid), element(1, Message) =/= 'DOWN']),
    ok = stop(Pid),
    Port = open_port({spawn_executable, os:find_executable("cat")}, []),
    true = register(?NAME, Port),
    [refused(Destination) || Destination <- [Port, ?NAME, undefined, no_such_name, foreign_pid()]],
    [refused(Destination) || Destination <- ["string", <<"binary">>, 1, 1.5, [], {}, #{}, fun() -> ok end]],
    [refused({Name, Node}) || Name <- [?NAME, no_such_name], Node <- [node(), other@nohost]],
    true = port_close(Port).

the_dead_get_nothing_test() ->
    Pid = receiver(),
    [Alias, Ordinary] = [alias_in(Pid), in(Pid, fun() -> erlang:alias() end)],
    ok = kill_receiver(Pid),
    [
        begin
            ?assertEqual(ok, send_priority(Destination, dropped, self())),
            ?assertEqual(ok, send_urgent(Destination, dropped))
        end
     || Destination <- [Pid, Alias, Ordinary, dead()]
    ],
    ?assertNot(is_priority_alias(Alias)),
    refused(?NAME).

a_sender_is_a_pid_test() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    [
        ?assertError(badarg, send_priority(Destination, hello, From))
     || Destination <- [Alias, Pid, dead(), nobody],
        From <- [undefined, ?NAME, Alias, make_ref(), {?NAME, node()}, "pid", {self(), make_ref()}]
    ],
    ?assertEqual([], mailbox(Pid)),
    ok = stop(Pid).

what_is_a_priority_alias_test() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    ?assert(is_priority_alias(Alias)),
    ?assert(in(Pid, fun() -> is_priority_alias(Alias) end)),
    Ordinary = in(Pid, fun() -> [erlang:alias(), erlang:alias([]), erlang:alias([priority])] end),
    Others = [
        make_ref(), monitor(process, Pid), Pid, self(), foreign_pid(), foreign_alias(), ?NAME, undefined,
        hd(erlang:ports()), "alias", 1, 1.5, {}, #{}, [Alias], term_to_binary(Alias), fun() -> ok end
    ],
    [?assertNot(is_priority_alias(Other)) || Other <- Ordinary ++ Others],
    ok = stop(Pid).

errors_are_explained_test_() ->
    Destination = "argument 1: not a priority alias, nor a local process that has made one",
    [
        {lists:concat([Function, $/, length(Args)]), fun() -> explained(Function, Args, Text) end}
     || {Function, Args, Text} <- [
            {send_priority, [no_such_name, hello, self()], Destination},
            {send_urgent, [make_ref(), hello], Destination},
            {delete_priority_alias, [make_ref()], Destination},
            {register_priority_alias, [make_ref()], "argument 1: not a live priority alias of the calling process"},
            {send_priority, [no_such_name, hello, nobody], "argument 3: not a pid"}
        ]
    ].

explained(Function, Args, Text) ->
    try apply(?PRIORITY, Function, Args) of
        Result -> error({unexpected, Result})
    catch
        error:badarg:Stacktrace ->
            [{Module, Name, Called, _} | _] = Stacktrace,
            ?assertEqual({?PRIORITY, Function, Args}, {Module, Name, Called}),
            Shown = unicode:characters_to_list(erl_error:format_exception(error, badarg, Stacktrace)),
            ?assertNotEqual(nomatch, string:find(Shown, Text))
    end.

%% 10,000 messages wait, and the next one that is handled is the cancellation.
a_cancellation_is_handled_next_test() ->
    Pid = receiver(),
    _ = alias_in(Pid),
    [Pid ! {work, N} || N <- lists:seq(1, 10000)],
    ok = send_priority(Pid, {cancel_operation, 7}, self()),
    ok = arrived(Pid, 10001),
    [Next | Rest] = mailbox(Pid),
    ?assertEqual({priority, self(), {cancel_operation, 7}}, Next),
    ?assertEqual([{work, N} || N <- lists:seq(1, 10000)], Rest),
    ok = stop(Pid).

aliases_are_forgotten_test_() ->
    [
        {"at death, whatever its reason", fun forgotten_at_death/0},
        {"with the last one given up", fun forgotten_when_given_up/0},
        {timeout, 60, {"with 10,000 processes that come and go", fun ten_thousand_processes/0}},
        {"though they come and go in a process that lives", fun a_hundred_thousand_aliases/0}
    ].

forgotten_at_death() ->
    Before = erlmcp_native:alias_processes(),
    Pids = [receiver() || _ <- lists:seq(1, 100)],
    [alias_in(Pid) || Pid <- Pids, _ <- [1, 2, 3]],
    ?assert(erlmcp_native:alias_processes() >= 100),
    {Killed, Stopped} = lists:split(50, Pids),
    [ok = kill_receiver(Pid) || Pid <- Killed],
    [ok = stop(Pid) || Pid <- Stopped],
    forgotten(Before).

forgotten_when_given_up() ->
    Before = erlmcp_native:alias_processes(),
    Pid = receiver(),
    Aliases = [alias_in(Pid) || _ <- [1, 2, 3]],
    [ok = in(Pid, fun() -> delete_priority_alias(Alias) end) || Alias <- Aliases],
    forgotten(Before),
    Alias = alias_in(Pid),
    ok = send_urgent(Pid, once_more),
    ?assertEqual({[{urgent, once_more}], true}, {mailbox(Pid), is_priority_alias(Alias)}),
    ok = stop(Pid).

ten_thousand_processes() ->
    Before = erlmcp_native:alias_processes(),
    come_and_go(10000),
    forgotten(Before),
    Memory = erlmcp_native:native_memory(),
    come_and_go(10000),
    forgotten(Before),
    no_more_memory_than(Memory, 10000).

come_and_go(Number) ->
    Monitors = [
        element(2, spawn_monitor(fun() ->
            Alias = create_priority_alias(),
            ok = send_urgent(self(), Alias),
            receive
                {urgent, Alias} -> ok
            end
        end))
     || _ <- lists:seq(1, Number)
    ],
    [
        receive
            {'DOWN', Monitor, process, _, Reason} -> ?assertEqual(normal, Reason)
        end
     || Monitor <- Monitors
    ],
    ok.

a_hundred_thousand_aliases() ->
    Pid = receiver(),
    _ = alias_in(Pid),
    Turn = fun() -> [ok = delete_priority_alias(create_priority_alias()) || _ <- lists:seq(1, 50000)] end,
    _ = in(Pid, Turn),
    Memory = erlmcp_native:native_memory(),
    _ = in(Pid, Turn),
    no_more_memory_than(Memory, 50000),
    ok = stop(Pid).

no_more_memory_than(undefined, _) ->
    ok;
no_more_memory_than(Memory, Number) ->
    ?assert(erlmcp_native:native_memory() - Memory < ?BYTES_KEPT * Number).

forgotten(Before) ->
    eventually(fun() -> erlmcp_native:alias_processes() =< Before end).

%% A send that races with an alias's end is delivered, dropped or refused, and nothing else.
sending_while_aliases_change_test_() ->
    {timeout, 60, fun() ->
        Pid = receiver(),
        Senders = 4,
        Sends = 2000,
        _ = alias_in(Pid),
        Answers = erlmcp_native_test_lib:parallel(Senders + 1, fun
            (1) ->
                in(Pid, fun() -> [delete_priority_alias(create_priority_alias()) || _ <- lists:seq(1, Sends)] end);
            (Sender) ->
                [sent(Pid, {Sender, N}) || N <- lists:seq(1, Sends)]
        end),
        Sent = [Message || {ok, Message} <- lists:append(tl(Answers))],
        ?assertEqual([], [Other || Other <- lists:append(tl(Answers)), element(1, Other) =/= ok]),
        Received = [Message || {urgent, Message} <- mailbox(Pid)],
        ?assertEqual([], Received -- Sent),
        [?assert(ascending([N || {S, N} <- Received, S =:= Sender])) || Sender <- lists:seq(2, Senders + 1)],
        ok = stop(Pid)
    end}.

sent(Pid, Message) ->
    try
        {send_urgent(Pid, Message), Message}
    catch
        error:Reason -> {Reason, Message}
    end.

ascending(Numbers) -> Numbers =:= lists:usort(Numbers).

sending_to_the_dying_test() ->
    [
        begin
            Pid = idle_with_alias(),
            Killer = spawn(fun() -> exit(Pid, kill) end),
            Answers = [sent(Pid, N) || N <- lists:seq(1, 20)],
            ?assertEqual([], [Other || {Answer, _} = Other <- Answers, Answer =/= ok]),
            eventually(fun() -> not is_process_alive(Killer) andalso not is_process_alive(Pid) end)
        end
     || _ <- lists:seq(1, 200)
    ].

idle_with_alias() ->
    Pid = receiver(),
    unlink(Pid),
    _ = alias_in(Pid),
    Pid.

nothing_makes_an_atom_test() ->
    Pid = receiver(),
    Alias = alias_in(Pid),
    Texts = ["no_atom_of_this_name", <<"nor_this">>],
    Terms = [Alias, Pid, ?NAME, make_ref(), foreign_pid(), foreign_alias() | Texts],
    Calls = fun() ->
        [
            try
                apply(?PRIORITY, Function, Args)
            catch
                error:badarg -> refused
            end
         || Term <- Terms,
            {Function, Args} <- [
                {is_priority_alias, [Term]},
                {delete_priority_alias, [Term]},
                {register_priority_alias, [Term]},
                {send_urgent, [Term, Term]},
                {send_priority, [Term, Term, Pid]},
                {send_priority, [Pid, Term, Term]}
            ]
        ]
    end,
    _ = Calls(),
    Atoms = erlang:system_info(atom_count),
    _ = [Calls() || _ <- lists:seq(1, 100)],
    ?assertEqual(Atoms, erlang:system_info(atom_count)),
    ok = stop(Pid).

%% What the library takes for granted of references, on the runtime that runs this: five words, of which
%% the last two are the term that the process's pid is.
references_are_laid_out_as_assumed_test() ->
    Pids = [receiver() || _ <- [1, 2, 3]],
    [
        begin
            Monitored = hd(Pids -- [Pid]),
            Others = in(Pid, fun() ->
                [
                    erlang:alias(),
                    erlang:alias([reply]),
                    erlang:alias([priority]),
                    monitor(process, Monitored, [{alias, demonitor}])
                ]
            end),
            Aliases = [alias_in(Pid) | Others],
            ?assertEqual([{ok, Pid}], lists:usort([erlmcp_native:alias_process(Alias) || Alias <- Aliases])),
            ?assertEqual({ok, hd(Aliases)}, erlmcp_native:alias_newest(Pid)),
            Words = [words(Alias) || Alias <- Aliases],
            ?assertEqual([5], lists:usort([length(List) || List <- Words])),
            [[Low, _High]] = lists:usort([lists:nthtail(3, List) || List <- Words]),
            ?assertEqual(3, Low band 16#f),
            ?assertEqual(length(Aliases), length(lists:usort([lists:sublist(List, 3) || List <- Words])))
        end
     || Pid <- Pids
    ],
    Plain = [make_ref(), monitor(process, hd(Pids)), erlang:start_timer(0, hd(Pids), timeout)],
    ?assertEqual([3], lists:usort([length(words(Ref)) || Ref <- Plain])),
    [ok = stop(Pid) || Pid <- Pids].

%% An alias, as another node would have made it.
foreign_alias() ->
    erlmcp_priority_test_lib:with_node(erlang:alias(), other@nohost).

refused(Destination) ->
    ?assertError(badarg, send_priority(Destination, refused, self())),
    ?assertError(badarg, send_urgent(Destination, refused)).

kill_receiver(Pid) ->
    unlink(Pid),
    kill(Pid).

flush() ->
    receive
        Message -> [Message | flush()]
    after 0 -> []
    end.
