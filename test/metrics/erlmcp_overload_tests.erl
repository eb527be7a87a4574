%% What a person at the shell is told.
-module(erlmcp_overload_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_overload_test_lib, [fill/3, drain/3]).

-define(L, erlmcp_queue_limits).

shell_test_() ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name), {timeout, 30, Test}}
     || {Name, Test} <- [
            {a_role_with_room, fun a_role_with_room/0},
            {a_role_that_refuses, fun a_role_that_refuses/0},
            {a_role_whose_limit_is_0, fun a_role_whose_limit_is_0/0},
            {a_role_nobody_knows, fun a_role_nobody_knows/0},
            {when_it_will_be_over, fun when_it_will_be_over/0},
            {the_text_is_what_is_printed, fun the_text_is_what_is_printed/0},
            {an_owner, fun an_owner/0},
            {an_owner_by_its_name, fun an_owner_by_its_name/0},
            {an_owner_that_does_not_answer, fun an_owner_that_does_not_answer/0},
            {signs_of_wrong_counts, fun signs_of_wrong_counts/0},
            {no_signs_of_right_ones, fun no_signs_of_right_ones/0},
            {switched_off, fun switched_off/0},
            {what_bounds_a_role, fun what_bounds_a_role/0},
            {a_role_that_is_full_as_a_whole, fun a_role_that_is_full_as_a_whole/0},
            {a_node_that_is_pressed, fun a_node_that_is_pressed/0},
            {the_fullest, fun the_fullest/0},
            {nothing_is_changed, fun nothing_is_changed/0},
            {misuse, fun misuse/0}
        ]
    ]}.

up() ->
    Level = erlmcp_native_test_lib:start(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    Level.

down(Level) ->
    ok = application:unset_env(erlmcp_native, node),
    erlmcp_overload_test_lib:stop(),
    erlmcp_native_test_lib:stop(Level).

a_role_with_room() ->
    fill(session, a, 17),
    Told = told(fun() -> erlmcp_overload:why(session) end),
    says("session has room: the fullest owner has 17 of 10000", Told),
    says("owners      1: 1 ok", Told),
    says("refusals    none", Told),
    says("free        now", Told),
    says("alerts      none", Told).

a_role_that_refuses() ->
    ok = ?L:set_limit(r, 10),
    fill(r, a, 10),
    [{error, _} = ?L:try_enqueue(r, a) || _ <- [1, 2, 3]],
    Told = told(fun() -> erlmcp_overload:why(r) end),
    says("r refuses what comes for a full owner: the fullest has 10 of 10", Told),
    says("owners      1: 1 overload", Told),
    says(", 3 in all; since \\d\\d:\\d\\d:\\d\\d \\([\\d.]+ m?s ago\\), the last [\\d.]+ m?s ago", Told),
    says("drains      nothing was taken out in the last ten seconds", Told),
    says("free        unknown: nothing drains; refused callers are told 1 s", Told),
    says("level       overload; in the last hour [\\d.]+ m?s at overload", Told),
    says("fullest     a 10 of 10", Told),
    says("alerts      \\S+ overload a 10 of 10, \\S+ critical a 9 of 10, \\S+ warning a 8 of 10", Told).

%% Beside the number, and for what it refused.
what_bounds_a_role() ->
    ok = ?L:set_limit(r, {wait, 500, #{min => 5, max => 10}}),
    fill(r, a, 4),
    Bare = told(fun() -> erlmcp_overload:why(r) end),
    says("wait        nobody for longer than 500 ms: a limit from 5 to 10, of each owner its own\n", Bare),
    [?assertEqual(nomatch, re:run(Bare, Word)) || Word <- ["reserve", "caps", "reasons"]],
    ok = ?L:set_reserve(r, #{sheddable_plus => 10, sheddable => 60}),
    ok = ?L:set_caps(r, #{total => 9, bytes => 100}),
    ok = ?L:try_enqueue(r, a, #{bytes => 70}),
    {error, _} = ?L:try_enqueue(r, b, #{bytes => 31}),
    [{error, _} = ?L:try_enqueue(r, a, #{class => sheddable}) || _ <- [1, 2]],
    [
        begin
            says("reserve     sheddable_plus may not use 10 %, sheddable may not use 60 %\n", Told),
            says("caps        5 of 9 places, 70 of 100 bytes\n", Told),
            says("reasons     2 sheddable \\(class\\), 1 critical \\(bytes\\)\n", Told)
        end
     || Told <- [told(fun() -> erlmcp_overload:why(r) end), why(r, a)]
    ].

a_role_that_is_full_as_a_whole() ->
    fill(r, a, 2),
    fill(r, b, 1),
    Receiver = erlmcp_native_test_lib:idle(),
    ok = erlmcp_overload_mailbox:send(r, Receiver, one),
    ok = ?L:set_caps(r, #{total => 3}),
    {error, {capacity_exceeded, #{reason := role}}} = ?L:try_enqueue(r, c),
    Told = told(fun() -> erlmcp_overload:why(r) end),
    says("r refuses all that is counted: all owners together have as many as they may\n", Told),
    says("caps        3 of 3 places\n", Told),
    says("free        when enough have left, of whichever owners: in about 1.0 s; an estimate\n", Told),
    says("c in r is refused, as all owners together have as many as they may: it has 0 of 1000\n", why(r, c)),
    %% Which a cap leaves out.
    says([pid_to_list(Receiver), " in r has room for 999"], why(r, Receiver)),
    drain(r, a, 1),
    says("r has room", told(fun() -> erlmcp_overload:why(r) end)),
    says("c in r has room for 1000", why(r, c)),
    ok = ?L:set_caps(r, #{total => 0}),
    ok = ?L:set_enabled(false),
    says("r refuses nothing: limits are switched off", told(fun() -> erlmcp_overload:why(r) end)).

a_role_whose_limit_is_0() ->
    ok = ?L:set_limit(r, 0),
    Told = told(fun() -> erlmcp_overload:why(r) end),
    says("r refuses everything: its limit is 0", Told),
    says("free        when the limit is raised", Told).

a_role_nobody_knows() ->
    says("nothing was ever counted for nobody; it would have the limit of default, 1000", told(fun() ->
        erlmcp_overload:why(nobody)
    end)).

%% What is said is what the refused are told.
when_it_will_be_over() ->
    ok = ?L:set_limit(r, 2),
    erlmcp_native_test_lib:eventually(fun() ->
        fill(r, a, 100),
        drain(r, a, 100),
        fill(r, a, 2),
        {error, {capacity_exceeded, #{retry_after_ms := Ms}}} = ?L:check_capacity(r, a),
        Told = told(fun() -> erlmcp_overload:why(r, a) end),
        drain(r, a, 2),
        string:find(Told, io_lib:format("in about ~b ms, as refused callers are told", [Ms])) =/= nomatch
    end).

%% The same words, but for the numbers that go on while they are asked for.
the_text_is_what_is_printed() ->
    ok = ?L:set_limit(r, 0),
    [
        ?assertEqual(iolist_to_binary(told(Printed)), Returned())
     || {Printed, Returned} <- [
            {fun() -> erlmcp_overload:why(r) end, fun() -> erlmcp_overload:why_text(r) end},
            {fun() -> erlmcp_overload:why(r, a) end, fun() -> erlmcp_overload:why_text(r, a) end},
            {fun() -> erlmcp_overload:top() end, fun() -> erlmcp_overload:top_text() end},
            {fun() -> erlmcp_overload:top(0) end, fun() -> erlmcp_overload:top_text(0) end}
        ]
    ],
    [
        ?assertError(badarg, apply(erlmcp_overload, Function, Args))
     || {Function, Args} <- [{why_text, [1]}, {why_text, [r, 1]}, {why_text, [1, a]}, {top_text, [-1]}]
    ].

an_owner() ->
    ok = ?L:set_limit(r, 10),
    Pid = erlmcp_native_test_lib:idle(),
    fill(r, Pid, 10),
    fill(r, b, 4),
    Name = pid_to_list(Pid),
    Full = told(fun() -> erlmcp_overload:why(r, Pid) end),
    says([Name, " in r is refused: it has 10 of 10"], Full),
    says(["alerts      \\S+ overload ", Name], Full),
    says("b in r has room for 6: it has 4 of 10", told(fun() -> erlmcp_overload:why(r, b) end)),
    erlmcp_native_test_lib:kill(Pid),
    erlmcp_native_test_lib:eventually(fun() -> ?L:get_queue_depth(r, Pid) =:= 0 end),
    says("it has 0 of 10; it is dead, and holds nothing", told(fun() -> erlmcp_overload:why(r, Pid) end)).

%% It is in a native for 8 s; by then everything has been said.
an_owner_that_does_not_answer() ->
    ok = ?L:set_limit(r, 10),
    ok = ?L:set_limit(m, 10),
    {Pid, Go} = erlmcp_native_test_lib:silent(8000),
    fill(r, Pid, 10),
    [ok = erlmcp_overload_mailbox:send(m, Pid, wait) || _ <- lists:seq(1, 7)],
    Go(fun() -> what_is_said_of_one_that_does_not_answer(Pid) end),
    erlmcp_native_test_lib:kill(Pid).

what_is_said_of_one_that_does_not_answer(Pid) ->
    Silent = [pid_to_list(Pid), " does not answer: it is in a native"],
    Told = erlmcp_overload:why_text(r, Pid),
    says([pid_to_list(Pid), " in r is refused: it has 10 of 10\n"], Told),
    says(["silent +", Silent], Told),
    says(["silent +", Silent], erlmcp_overload:why_text(r)),
    OfMailbox = erlmcp_overload:why_text(m, Pid),
    says([pid_to_list(Pid), " in m .*: it has [1-9] of 10\n"], OfMailbox),
    says(["silent +", Silent, ".*; how much waits for it is what was known last\n"], OfMailbox),
    says(["silent +", Silent], erlmcp_overload:why_text(m)),
    says(["m +", pid_to_list(Pid), ".*\n  does not answer"], erlmcp_overload:top_text()),
    [#{process := Pid, depth := Depth, silent := true}] = erlmcp_overload_monitor:queues(m),
    ?assert(Depth > 0),
    ?assertEqual(silent, erlmcp_native_process_info:one(Pid, status, 1)).

an_owner_by_its_name() ->
    Pid = named(),
    fill(r, Pid, 4),
    says([pid_to_list(Pid), " in r has room for 996: it has 4 of 1000"], why(r, {name, a_server_of_this_name})),
    erlmcp_native_test_lib:kill(Pid),
    says("{name,a_server_of_this_name} in r is not refused: nobody is reg", why(r, {name, a_server_of_this_name})),
    [?assertError(badarg, erlmcp_overload:why(r, Wrong)) || Wrong <- [{name, "a"}, {name, undefined}, {a, node()}]].

named() ->
    Pid = erlmcp_native_test_lib:idle(),
    true = register(a_server_of_this_name, Pid),
    Pid.

why(Role, Owner) ->
    told(fun() -> erlmcp_overload:why(Role, Owner) end).

signs_of_wrong_counts() ->
    ok = ?L:set_limit(r, 3),
    Pid = named(),
    fill(r, Pid, 3),
    Full = [pid_to_list(Pid), " is full, and its mailbox is empty"],
    Remedy = "remedy      a permit .*acquire/2; erlmcp_overload_mailbox",
    [says(Words, Told) || Words <- [Full, Remedy], Told <- [why(r, Pid), told(fun() -> erlmcp_overload:why(r) end)]],
    %% One that is suspended is asked as any other.
    true = erlang:suspend_process(Pid),
    says(Full, why(r, {name, a_server_of_this_name})),
    fill(s, a_server_of_this_name, 1),
    Atom = ["a_server_of_this_name is counted as an atom, and ", pid_to_list(Pid), " of that name by itself"],
    [
        says(Words, Told)
     || Words <- [Atom, "{name, a_server_of_this_name} is that process", Remedy],
        Told <- [why(s, a_server_of_this_name), told(fun() -> erlmcp_overload:why(s) end)]
    ],
    [ok = ?L:record_dequeue(t, b) || _ <- "ab"],
    fill(t, c, 1),
    Unmatched = "sign        2 dequeues in this role found nothing to take",
    [says(Unmatched, Told) || Told <- [why(t, c), why(t, b), told(fun() -> erlmcp_overload:why(t) end)]],
    erlmcp_native_test_lib:kill(Pid).

no_signs_of_right_ones() ->
    ok = ?L:set_limit(r, 3),
    Pid = named(),
    fill(r, Pid, 2),
    fill(r, a, 3),
    fill(s, Pid, 3),
    Busy = erlmcp_native_test_lib:idle(),
    fill(r, Busy, 3),
    Busy ! waits,
    ok = ?L:set_limit(m, 1),
    ok = erlmcp_overload_mailbox:send(m, Pid, x),
    Owners = [{r, Pid}, {r, a}, {r, Busy}, {s, Pid}, {m, Pid}],
    Silent = [told(fun() -> erlmcp_overload:why(r) end) | [why(Role, Owner) || {Role, Owner} <- Owners]],
    [?assertEqual(nomatch, re:run(Told, "sign|remedy")) || Told <- Silent],
    [erlmcp_native_test_lib:kill(Process) || Process <- [Pid, Busy]].

switched_off() ->
    ok = ?L:set_limit(r, 1),
    fill(r, a, 3),
    ok = ?L:set_enabled(false),
    ok = erlmcp_overload_monitor:set_enabled(false),
    Told = told(fun() -> erlmcp_overload:why(r) end),
    says("r refuses nothing: limits are switched off", Told),
    says("alerts are switched off", Told),
    says("a in r is not refused: limits are switched off: it has 3 of 1", told(fun() -> erlmcp_overload:why(r, a) end)).

a_node_that_is_pressed() ->
    says("nothing was ever counted for node", told(fun() -> erlmcp_overload:why(node) end)),
    Options = #{memory_limit => 1048576, run_queue => {1000, 1000.5}, sample_ms => 10},
    ok = erlmcp_overload_test_lib:configure([{node, Options}]),
    erlmcp_native_test_lib:eventually(fun() -> maps:get(level, pressure(), 0) =:= 2 end),
    Told = told(fun() -> erlmcp_overload:why(node) end),
    says("node refuses critical, sheddable_plus and sheddable in every role, for its memory", Told),
    Memory = "\\d+\\.\\d [MG]B of 1\\.0 MB in use, \\d+ %; marks at 70 % and 85 %; the limit is that of the options",
    says("  memory      " ++ Memory, Told),
    says("  run queue   \\d+ waiting for \\d+ schedulers, \\d+\\.\\d for each; marks at 1000 and 1000\\.5", Told),
    says("  since       \\d\\d:\\d\\d:\\d\\d \\([\\d.]+ m?s ago\\)", Told),
    says("  level       overload; in the last hour [\\d.]+ m?s at overload", Told),
    says("  alerts      \\d\\d:\\d\\d:\\d\\d overload memory \\d+ of 1048576", Told),
    fill(session, a, 1),
    Line = "node        refuses critical, sheddable_plus and sheddable, whatever the role: memory " ++ Memory,
    says(Line, told(fun() -> erlmcp_overload:why(session) end)),
    says(Line, told(fun() -> erlmcp_overload:why(session, a) end)),
    ok = erlmcp_overload_test_lib:configure([{node, Options#{memory_limit := 1 bsl 50, memory => {0.9, 0.9}}}]),
    erlmcp_native_test_lib:eventually(fun() -> map_get(level, pressure()) =:= 0 end, 15000),
    says("node refuses nothing: it is not pressed", told(fun() -> erlmcp_overload:why(node) end)),
    ok = erlmcp_overload_test_lib:configure([{node, Options#{memory => off}}]),
    erlmcp_native_test_lib:eventually(fun() -> map_get(memory, pressure()) =:= off end),
    says("memory      is not looked at", told(fun() -> erlmcp_overload:why(node) end)).

pressure() ->
    case erlmcp_overload_node:pressure() of
        off -> #{};
        Pressure -> Pressure
    end.

the_fullest() ->
    ok = ?L:set_limit('r \x{e9}', 4),
    fill('r \x{e9}', a, 3),
    fill(session, b, 100),
    Idle = erlmcp_native_test_lib:idle(),
    [ok = erlmcp_overload_mailbox:send(session, Idle, N) || N <- lists:seq(1, 90)],
    [Heading | Rows] = lines(told(fun() -> erlmcp_overload:top() end)),
    says("role +owner +depth +limit +full +status +kind", Heading),
    [First, Second, Third] = Rows,
    says("'r \x{e9}' +a +3 +4 +75%  ok +counted", First),
    says("session +b +100 +10000 +1%  ok +counted", Second),
    says("session +<.*> +90 +10000 +1%  ok +mailbox", Third),
    ?assertEqual([Heading, First], lines(told(fun() -> erlmcp_overload:top(1) end))),
    [?assert(length(Line) =< 80) || Line <- [Heading | Rows]].

nothing_is_changed() ->
    ok = ?L:set_limit(r, 1),
    fill(r, a, 1),
    Before = {?L:get_all_stats(), erlmcp_overload_monitor:get_alert_history()},
    [
        told(Look)
     || Look <- [fun() -> erlmcp_overload:why(r) end, fun() -> erlmcp_overload:why(x, y) end, fun erlmcp_overload:top/0]
    ],
    ?assertEqual(Before, {?L:get_all_stats(), erlmcp_overload_monitor:get_alert_history()}).

misuse() ->
    [?assertError(badarg, erlmcp_overload:top(Most)) || Most <- [-1, all, 1.0]],
    [?assertError(badarg, erlmcp_overload:why(Role)) || Role <- ["r", 1, self()]],
    [?assertError(badarg, erlmcp_overload:why(Role, a)) || Role <- ["r", 1, self()]],
    Owners = ["a", 1, erlmcp_native_test_lib:foreign_pid(), erlmcp_native_test_lib:earlier_pid()],
    ok = erlmcp_queue_limits:set_limit(r, 1),
    [why_is_blamed(Owner) || Owner <- Owners].

%% And none of those that it asks.
why_is_blamed(Owner) ->
    try erlmcp_overload:why(r, Owner) of
        ok -> error({nothing_wrong_with, Owner})
    catch
        error:badarg:Stack -> ?assertMatch([{erlmcp_overload, why, [r, Owner], _} | _], Stack)
    end.

not_started_test() ->
    [
        says("^not started: erlmcp_(queue_limits|overload_monitor)", told(Look))
     || Look <- [
            fun erlmcp_overload:top/0,
            fun() -> erlmcp_overload:why(session) end,
            fun() -> erlmcp_overload:why(session, a) end
        ]
    ].

says(Expected, Told) ->
    case re:run(Told, unicode:characters_to_binary(Expected), [unicode]) of
        {match, _} -> ok;
        nomatch -> error({not_told, Expected, Told})
    end.

lines(Text) ->
    string:lexemes(Text, "\n").

%% What Fun prints.
told(Fun) ->
    Printer = spawn_link(fun() -> printer([]) end),
    Before = group_leader(),
    group_leader(Printer, self()),
    try
        ok = Fun()
    after
        group_leader(Before, self())
    end,
    Printer ! {done, self()},
    receive
        {printed, Text} -> Text
    end.

printer(Printed) ->
    receive
        {io_request, From, Ref, {put_chars, unicode, Text}} ->
            From ! {io_reply, Ref, ok},
            printer([Printed, Text]);
        {done, Pid} ->
            Pid ! {printed, unicode:characters_to_list(Printed)}
    end.
