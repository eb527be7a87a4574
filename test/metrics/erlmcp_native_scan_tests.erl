-module(erlmcp_native_scan_tests).

-include_lib("eunit/include/eunit.hrl").

-define(M, erlmcp_native_scan).

scan_test_() ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name), {timeout, 60, Test}}
     || Test <- [
            fun it_finds_the_fullest/0,
            fun whoever_asks_meanwhile_shares_a_look/0,
            fun what_was_just_seen_is_not_looked_for/0,
            fun what_is_older_is_looked_for_again/0,
            fun one_look_at_a_time/0,
            fun it_does_not_keep_what_it_saw/0,
            fun without_a_monitor/0,
            fun without_the_process/0,
            fun it_is_not_waited_for_forever/0,
            fun a_look_that_hangs_is_given_up/0,
            fun what_nobody_waits_for_is_not_looked_for/0,
            fun an_owner_that_does_not_answer_holds_up_nobody/0,
            fun strays_do_no_harm/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

up() ->
    Level = erlmcp_overload_test_lib:up(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    {ok, Pid} = ?M:start_link(),
    unlink(Pid),
    Level.

down(Level) ->
    whereis(?M) =:= undefined orelse gen_server:stop(?M),
    erlmcp_overload_test_lib:down(Level).

fill(Role, Owner, Times) ->
    erlmcp_overload_test_lib:fill(Role, Owner, Times).

it_finds_the_fullest() ->
    [fill(r, list_to_atom("o" ++ integer_to_list(N)), N) || N <- lists:seq(1, 5)],
    fill(s, a, 6),
    {ok, [#{role := s, depth := 6}, #{role := r, depth := 5}]} = ?M:fullest(all, 2),
    {ok, Rows} = ?M:fullest({role, r}, 1000),
    ?assertEqual([5, 4, 3, 2, 1], [Depth || #{depth := Depth} <- Rows]),
    ?assertEqual({ok, []}, ?M:fullest({role, r}, 0)),
    ?assertMatch({ok, [#{depth := 5}]}, ?M:fullest({role, r}, 1)).

%% Looks are the processes that the scanner starts.
looks(Fun) ->
    Session = trace:session_create(?MODULE, self(), []),
    1 = trace:process(Session, whereis(?M), true, [procs]),
    Result = Fun(),
    _ = sys:get_state(?M),
    Delivered = trace:delivered(Session, whereis(?M)),
    receive
        {trace_delivered, _, Delivered} -> ok
    end,
    true = trace:session_destroy(Session),
    {count_looks(0), Result}.

count_looks(N) ->
    receive
        {trace, _, spawn, _, _} -> count_looks(N + 1);
        {trace, _, _, _} -> count_looks(N);
        {trace, _, _, _, _} -> count_looks(N)
    after 0 -> N
    end.

whoever_asks_meanwhile_shares_a_look() ->
    fill(r, a, 1),
    ok = sys:suspend(?M),
    {Looks, Answers} = looks(fun() ->
        spawn(fun() ->
            erlmcp_native_test_lib:eventually(fun() -> waiting() =:= 200 end),
            ok = sys:resume(?M)
        end),
        erlmcp_native_test_lib:parallel(200, fun(I) -> ?M:fullest(lists:nth(I rem 2 + 1, [all, {role, r}]), I) end)
    end),
    Rows = [maps:remove(stalled_ms, Row) || {ok, [Row]} <- Answers],
    ?assertEqual(200, length(Rows)),
    ?assertMatch([#{role := r, process := a, depth := 1}], lists:uniq(Rows)),
    ?assertEqual(2, Looks).

waiting() ->
    {message_queue_len, Length} = process_info(whereis(?M), message_queue_len),
    Length.

what_was_just_seen_is_not_looked_for() ->
    fill(r, a, 1),
    {Looks, Us} = looks(fun() ->
        element(1, timer:tc(fun() -> [{ok, [_]} = ?M:fullest(all, N) || N <- lists:seq(1, 100)] end))
    end),
    ?assert(Looks =< 1 + Us div 100000).

what_is_older_is_looked_for_again() ->
    fill(r, a, 1),
    {ok, [#{depth := 1}]} = ?M:fullest(all, 1),
    fill(r, a, 1),
    erlmcp_native_test_lib:eventually(fun() -> ?M:fullest(all, 1) =/= {ok, []} andalso depth() =:= 2 end).

depth() ->
    {ok, [#{depth := Depth}]} = ?M:fullest(all, 1),
    Depth.

one_look_at_a_time() ->
    Roles = [list_to_atom("r" ++ integer_to_list(N)) || N <- lists:seq(1, 50)],
    [fill(Role, a, 1) || Role <- Roles],
    Session = trace:session_create(?MODULE, self(), []),
    1 = trace:process(Session, whereis(?M), true, [procs, set_on_spawn]),
    Answers = erlmcp_native_test_lib:parallel(50, fun(I) -> ?M:fullest({role, lists:nth(I, Roles)}, 10) end),
    ?assertEqual([[{ok, R}] || R <- Roles], [[{ok, R} || {ok, [#{role := R}]} <- [A]] || A <- Answers]),
    Delivered = trace:delivered(Session, all),
    receive
        {trace_delivered, all, Delivered} -> ok
    end,
    true = trace:session_destroy(Session),
    ?assertEqual({1, 50}, at_once(0, 0, 0)).

%% The most lookers that lived at once, and how many there were.
at_once(Now, Most, All) ->
    receive
        {trace, _, spawn, _, _} -> at_once(Now + 1, max(Most, Now + 1), All + 1);
        {trace, _, exit, _} -> at_once(Now - 1, Most, All);
        {trace, _, _, _} -> at_once(Now, Most, All);
        {trace, _, _, _, _} -> at_once(Now, Most, All)
    after 0 -> {Most, All}
    end.

it_does_not_keep_what_it_saw() ->
    [fill(r, N, 1) || N <- erlmcp_overload_test_lib:idles(1000)],
    {ok, Rows} = ?M:fullest(all, 1000),
    ?assertEqual(1000, length(Rows)),
    erlmcp_native_test_lib:eventually(fun() -> process_info(whereis(?M), memory) < {memory, 10000} end).

without_a_monitor() ->
    ok = gen_server:stop(erlmcp_overload_monitor),
    ?assertEqual({error, {not_started, erlmcp_overload_monitor}}, ?M:fullest(all, 1)),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    ?assertEqual({ok, []}, ?M:fullest(all, 1)).

without_the_process() ->
    ok = gen_server:stop(?M),
    ?assertEqual({error, {not_started, ?M}}, ?M:fullest(all, 1)).

it_is_not_waited_for_forever() ->
    ok = sys:suspend(?M),
    ?assertEqual({error, busy}, ?M:fullest(all, 1)),
    ok = sys:resume(?M),
    ?assertEqual({ok, []}, ?M:fullest(all, 1)).

%% Of a mailbox that is limited the length is asked for, and a process that is in a native for long does not say it. In
%% its place stands one that looks for ever.
a_look_that_hangs_is_given_up() ->
    fill(r, a, 1),
    {Looker, Timer} = hang(),
    {Asker, Monitor} = spawn_monitor(fun() -> exit(?M:fullest(all, 1)) end),
    erlmcp_native_test_lib:eventually(fun() -> askers() =:= 2 end),
    whereis(?M) ! {timeout, Timer, late},
    receive {'DOWN', Monitor, process, Asker, Told} -> ?assertEqual({error, busy}, Told) end,
    ?assertNot(is_process_alive(Looker)),
    ?assertMatch({ok, [#{depth := 1}]}, ?M:fullest(all, 1)).

%% A look at all for ever, which somebody has asked for, and its timer.
hang() ->
    [Timer, Tag] = [make_ref(), make_ref()],
    Asker = {{self(), Tag}, 1, erlang:monotonic_time(millisecond)},
    Hangs = fun(State) ->
        {Pid, Monitor} = spawn_monitor(fun() -> receive stop -> ok end end),
        Running = {running, Monitor, Pid, all, Timer, false},
        setelement(2, setelement(3, setelement(5, State, 1), #{all => [Asker]}), Running)
    end,
    {running, _, Looker, _, _, _} = element(2, sys:replace_state(?M, Hangs)),
    {Looker, Timer}.

askers() ->
    element(5, sys:get_state(?M)).

what_nobody_waits_for_is_not_looked_for() ->
    [fill(Role, a, 1) || Role <- [r, s]],
    {Looks, Found} = looks(fun() ->
        {Looker, _} = hang(),
        Asked = [{role, r}, {role, s}],
        Busy = erlmcp_native_test_lib:parallel(2, fun(N) -> ?M:fullest(lists:nth(N, Asked), 1) end),
        ?assertEqual(lists:duplicate(2, {error, busy}), Busy),
        GivenUpMs = erlang:monotonic_time(millisecond) + 200,
        erlmcp_native_test_lib:eventually(fun() -> erlang:monotonic_time(millisecond) > GivenUpMs end),
        {Asker, Monitor} = spawn_monitor(fun() -> exit(?M:why({role, r})) end),
        erlmcp_native_test_lib:eventually(fun() -> askers() =:= 4 end),
        Looker ! stop,
        receive {'DOWN', Monitor, process, Asker, Why} -> Why end
    end),
    ?assertMatch({ok, {_, _}}, Found),
    %% The one that hangs was started by it, too.
    ?assertEqual(2, Looks),
    ?assertEqual(0, askers()).

an_owner_that_does_not_answer_holds_up_nobody() ->
    {Pid, Go} = erlmcp_native_test_lib:silent(8000),
    [ok = erlmcp_overload_mailbox:send(r, Pid, wait) || _ <- lists:seq(1, 3)],
    Go(fun() ->
        ?assertMatch({ok, [#{process := Pid, silent := true}]}, ?M:fullest(all, 10)),
        [{ok, {_, [_ | _]}} = ?M:why(Subject) || Subject <- [{role, r}, {owner, r, Pid}]],
        ?assertEqual(silent, erlmcp_native_process_info:one(Pid, status, 1))
    end),
    erlmcp_native_test_lib:kill(Pid).

strays_do_no_harm() ->
    ok = gen_server:cast(?M, stray),
    whereis(?M) ! stray,
    ?assertEqual({error, unknown_call}, gen_server:call(?M, stray)),
    ?assertEqual({ok, []}, ?M:fullest(all, 1)).
