-module(erlmcp_native_process_info_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [eventually/2, idle/0, dead/0, kill/1, silent/1]).

-define(M, erlmcp_native_process_info).
%% How long one is silent. What is asked meanwhile is answered long before.
-define(SILENT_MS, 10000).
%% How long a process has that does answer.
-define(LONG_MS, 5000).

ask_test_() ->
    [
        {atom_to_list(Name), {timeout, 60, Test}}
     || Test <- [
            fun answers_come_in_order/0,
            fun nobody_is_asked_of_none/0,
            fun the_asker_is_asked_too/0,
            fun one_that_is_silent/0,
            fun a_full_mailbox_is_left_alone/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ].

answers_come_in_order() ->
    Pids = [idle() || _ <- lists:seq(1, 40)],
    [Pid ! N || {N, Pid} <- lists:enumerate(Pids), _ <- lists:seq(1, N)],
    Asked = [{Pid, message_queue_len} || Pid <- Pids],
    ?assertEqual([{message_queue_len, N} || N <- lists:seq(1, 40)], ?M:each(Asked, ?LONG_MS)),
    Mixed = [{hd(Pids), [message_queue_len, status]}, {dead(), status}, {lists:last(Pids), message_queue_len}],
    ?assertEqual(
        [[{message_queue_len, 1}, {status, waiting}], undefined, {message_queue_len, 40}], ?M:each(Mixed, ?LONG_MS)
    ),
    lists:foreach(fun erlmcp_native_test_lib:kill/1, Pids).

nobody_is_asked_of_none() ->
    ?assertEqual([], ?M:each([], ?LONG_MS)).

the_asker_is_asked_too() ->
    ?assertEqual({status, waiting}, ?M:one(self(), status, ?LONG_MS)).

one_that_is_silent() ->
    {Silent, Go} = silent(?SILENT_MS),
    Other = idle(),
    Before = processes(),
    Go(fun() ->
        delays_nobody(Silent, Other),
        is_waited_for_five_times(Silent, Other),
        keeps_nobody(Silent, Before),
        ?assertEqual(silent, ?M:one(Silent, status, 1))
    end),
    kill(Silent),
    kill(Other).

delays_nobody(Silent, Other) ->
    {message_queue_len, 0} = Length = ?M:one(Other, message_queue_len, ?LONG_MS),
    ?assertEqual([Length, silent, Length], ?M:each([{Pid, message_queue_len} || Pid <- [Other, Silent, Other]], 1000)).

is_waited_for_five_times(Silent, Other) ->
    Asked = fun(Count) -> [{Pid, status} || Pid <- lists:duplicate(Count, Silent) ++ [Other]] end,
    ?assertEqual(lists:duplicate(4, silent) ++ [{status, waiting}], ?M:each(Asked(4), 200)),
    ?assertEqual(lists:duplicate(6, silent), ?M:each(Asked(5), 50)).

%% Neither when all has been said, nor when the asker is gone long before.
keeps_nobody(Silent, Before) ->
    eventually(fun() -> helpers(Before) =:= [] end, 5000),
    {Asker, Monitor} = spawn_monitor(fun() -> ?M:one(Silent, status, 60000) end),
    eventually(fun() -> helpers(Before) =:= [attend, tell] end, 5000),
    exit(Asker, kill),
    receive {'DOWN', Monitor, process, _, _} -> ok end,
    eventually(fun() -> helpers(Before) =:= [] end, 5000).

%% What is started for it, by its function. The silent one is asked by nobody here.
helpers(Before) ->
    Infos = [process_info(Pid, initial_call) || Pid <- processes() -- Before, Pid =/= self()],
    lists:sort([Function || {initial_call, {?M, Function, _}} <- Infos]).

a_full_mailbox_is_left_alone() ->
    Other = idle(),
    [self() ! {mine, N} || N <- lists:seq(1, 1000)],
    ?assertEqual({status, waiting}, ?M:one(Other, status, ?LONG_MS)),
    ?assertEqual({messages, [{mine, N} || N <- lists:seq(1, 1000)]}, process_info(self(), messages)),
    [receive {mine, N} -> ok end || N <- lists:seq(1, 1000)],
    kill(Other).
