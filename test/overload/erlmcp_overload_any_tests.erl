%% How often it counts as refused that one of several is asked for, by either function: once, if none has it.
-module(erlmcp_overload_any_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [idle/0, kill/1, dead/0]).

-define(B, erlmcp_overload_mailbox).
-define(L, erlmcp_queue_limits).

any_test_() ->
    {foreach, fun up/0, fun erlmcp_native_test_lib:stop/1, [
        {timeout, 120, {lists:concat([Name, " by ", Function]), fun() -> Test(way(Function)) end}}
     || Test <- [
            fun all_are_full/1,
            fun one_has_room/1,
            fun one_candidate/1,
            fun the_dead_do_not_count/1,
            fun what_refuses_everything/1,
            fun a_fault_behind_full_ones/1,
            fun many_at_once/1,
            fun a_reason_of_its_own/1,
            fun of_very_many/1
        ],
        {name, Name} <- [erlang:fun_info(Test, name)],
        Function <- [send_any, send_any_with, try_enqueue_any, try_enqueue_any_with]
    ]}.

waits_for_nobody_test_() ->
    {setup, fun up/0, fun erlmcp_native_test_lib:stop/1,
        {timeout, 60, fun an_owner_that_is_silent_is_not_waited_for/0}}.

%% It has a message, so that the runtime's own function would wait until it has seen that.
an_owner_that_is_silent_is_not_waited_for() ->
    {Silent, Go} = erlmcp_native_test_lib:silent(5000),
    Go(fun() ->
        Silent ! message,
        ?assertEqual({ok, Silent}, ?L:try_enqueue_any(s, [Silent])),
        ?assertMatch({error, {capacity_exceeded, #{process := Silent}}}, ?L:try_enqueue_any(s, [Silent])),
        ?assertEqual(silent, erlmcp_native_process_info:one(Silent, status, 1))
    end),
    kill(Silent).

up() ->
    Level = erlmcp_native_test_lib:start(),
    ok = ?L:set_limit(s, 1),
    Level.

%% How one of several is asked for, and how one of them is filled.
way(send_any) ->
    {fun(Pids) -> ?B:send_any(s, Pids, x) end, fun sends/1};
way(send_any_with) ->
    {fun(Pids) -> ?B:send_any(s, Pids, x, #{class => sheddable}) end, fun sends/1};
way(try_enqueue_any) ->
    {fun(Pids) -> ?L:try_enqueue_any(s, Pids) end, fun enqueues/1};
%% Of a list of options a map is made first.
way(try_enqueue_any_with) ->
    {fun(Pids) -> ?L:try_enqueue_any(s, Pids, [{class, sheddable}]) end, fun enqueues/1}.

sends(Pid) -> ok = ?B:send(s, Pid, x, #{class => critical_plus}).
enqueues(Pid) -> ok = ?L:try_enqueue(s, Pid, #{class => critical_plus}).

all_are_full({Any, Fill}) ->
    Pids = full(16, Fill),
    [
        begin
            {error, {capacity_exceeded, #{process := Pid, depth := 1, total_rejected := Rejected}}} = Any(Pids),
            ?assertEqual({Times, true}, {Rejected, lists:member(Pid, Pids)}),
            ?assertEqual(Times, rejected())
        end
     || Times <- lists:seq(1, 5)
    ],
    end_all(Pids).

%% Of 17 it is hardly ever among the two that are chosen.
one_has_room({Any, Fill}) ->
    Full = full(16, Fill),
    Last = [idle() || _ <- lists:seq(1, 10)],
    [?assertEqual({ok, Pid}, Any(Full ++ [Pid])) || Pid <- Last],
    ?assertEqual(0, rejected()),
    end_all(Full ++ Last).

one_candidate({Any, Fill}) ->
    [Pid] = full(1, Fill),
    [?assertMatch({error, {capacity_exceeded, #{process := Pid}}}, Any([Pid])) || _ <- "abc"],
    ?assertEqual(3, rejected()),
    [?assertMatch({error, {capacity_exceeded, #{process := Pid}}}, Any([Pid, Pid])) || _ <- "abc"],
    ?assertEqual(6, rejected()),
    end_all([Pid]).

the_dead_do_not_count({Any, Fill}) ->
    Full = full(3, Fill),
    Dead = [dead() || _ <- lists:seq(1, 5)],
    Free = idle(),
    ?assertEqual({error, noproc}, Any(Dead)),
    ?assertEqual({ok, Free}, Any(Dead ++ Full ++ [Free | Dead])),
    ?assertEqual(0, rejected()),
    ?assertMatch({error, {capacity_exceeded, _}}, Any(Dead ++ Full ++ Dead)),
    ?assertEqual(1, rejected()),
    end_all([Free | Full]).

%% Nobody has an account there yet.
what_refuses_everything({Any, _}) ->
    ok = ?L:set_limit(s, 0),
    Pids = [idle() || _ <- lists:seq(1, 5)],
    [?assertMatch({error, {capacity_exceeded, #{depth := 0, limit := 0}}}, Any(Pids)) || _ <- "abc"],
    ?assertEqual(3, rejected()),
    end_all(Pids).

%% Whose mailbox is limited where counts are asked for, or the other way round.
a_fault_behind_full_ones({Any, Fill}) ->
    Full = full(3, Fill),
    Other = idle(),
    ok = of_the_other_kind(Other, erlmcp_native:limits_depth(own, s, hd(Full))),
    ?assertError(badarg, Any(Full ++ [Other])),
    ?assertEqual(0, rejected()),
    end_all([Other | Full]).

of_the_other_kind(Pid, mailbox) -> ?L:record_enqueue(s, Pid);
of_the_other_kind(Pid, 1) -> ?B:send(s, Pid, x).

%% Whoever was told that it is refused, and nobody else, counts.
many_at_once({Any, _}) ->
    Pids = [idle() || _ <- lists:seq(1, 20)],
    Answers = lists:append(
        erlmcp_native_test_lib:parallel(8, fun(_) -> [element(1, Any(Pids)) || _ <- lists:seq(1, 20)] end)
    ),
    Refused = length([error || error <- Answers]),
    ?assertEqual({20, 140, 140}, {length(Answers) - Refused, Refused, rejected()}),
    end_all(Pids).

%% All are below their limit, of which the rest is kept for higher classes.
a_reason_of_its_own({Any, Fill}) ->
    ok = ?L:set_limit(s, 2),
    ok = ?L:set_reserve(s, #{critical => 50, sheddable_plus => 50, sheddable => 50}),
    Pids = full(5, Fill),
    [?assertMatch({error, {capacity_exceeded, #{reason := class, depth := 1}}}, Any(Pids)) || _ <- "abc"],
    ?assertEqual(3, rejected()),
    Others = [Pid || _ <- Pids, {ok, Pid} <- [Any([idle() | Pids])]],
    ?assertEqual({5, 3}, {length(Others), rejected()}),
    end_all(Others ++ Pids).

of_very_many({Any, Fill}) ->
    [Pid] = full(1, Fill),
    ?assertMatch({error, {capacity_exceeded, _}}, Any(lists:duplicate(1_000_000, Pid))),
    ?assertEqual(1, rejected()),
    end_all([Pid]).

full(Many, Fill) ->
    [begin Pid = idle(), Fill(Pid), Pid end || _ <- lists:seq(1, Many)].

end_all(Pids) ->
    [kill(Pid) || Pid <- Pids].

rejected() ->
    #{total_rejected := Rejected, capacity_exceeded_count := Rejected} = ?L:get_role_stats(s),
    Rejected.
