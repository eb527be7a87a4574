-module(erlmcp_overload_process_tests).

-include_lib("eunit/include/eunit.hrl").

-define(M, erlmcp_overload_process).

look_test_() ->
    [
        {atom_to_list(Name), {timeout, 60, Test}}
     || Test <- [
            fun one_that_works_has_reductions/0,
            fun one_that_was_started_by_proc_lib/0,
            fun dead_ones_are_dead/0,
            fun what_is_large_is_not_copied/0,
            fun messages_without_number_are_not_counted/0,
            fun a_label_without_end_is_not_read/0,
            fun one_that_was_started_with_much_is_not_read/0,
            fun nobody_is_left_behind/0,
            fun nobody_is_left_with_one_that_is_silent/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ].

one_that_works_has_reductions() ->
    Pid = spawn(fun Loop() -> Loop() end),
    #{reductions_per_s := PerS, stack := Stack} = seen(Pid),
    ?assert(PerS > 100000),
    ?assert(length(Stack) =< 8),
    exit(Pid, kill).

one_that_was_started_by_proc_lib() ->
    #{initial_call := Call, registered_name := kernel_sup, parent := <<"<0.", _/binary>>} = seen(whereis(kernel_sup)),
    ?assertEqual(~"supervisor:kernel/1", Call).

dead_ones_are_dead() ->
    {Pid, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, process, _, _} -> ok end,
    ?assertEqual(dead, ?M:look(Pid)).

%% Neither what waits for it nor what it keeps is read, however large that is.
what_is_large_is_not_copied() ->
    Large = lists:seq(1, 5_000_000),
    Pid = spawn(fun() ->
        put(large, Large),
        receive {stop, _} -> ok end
    end),
    Pid ! Large,
    erlmcp_native_test_lib:eventually(fun() -> process_info(Pid, message_queue_len) =:= {message_queue_len, 1} end),
    ?assertMatch(#{message_queue_len := 1, label := undefined}, seen(Pid)),
    exit(Pid, kill).

%% Of a million messages the runtime takes 21 ms to say how much memory they take, in their process.
messages_without_number_are_not_counted() ->
    Pid = erlmcp_native_test_lib:idle(),
    [Pid ! N || N <- lists:seq(1, 10_000)],
    #{message_queue_len := 10_000, memory_bytes := Bytes} = seen(Pid),
    ?assert(Bytes > 10_000),
    Pid ! one_more,
    ?assertMatch(#{message_queue_len := 10_001, memory_bytes := undefined, status := waiting}, seen(Pid)),
    erlmcp_native_test_lib:kill(Pid).

%% It would take 40 MB to read this one: who reads it has no more than 8. All else is said.
a_label_without_end_is_not_read() ->
    Pid = proc_lib:spawn(fun() ->
        proc_lib:set_label(lists:seq(1, 2_500_000)),
        receive stop -> ok end
    end),
    erlmcp_native_test_lib:eventually(fun() -> process_info(Pid, status) =:= {status, waiting} end),
    ?assertMatch(#{label := ~"(larger than 8 MB, and not read)", status := waiting}, seen(Pid)),
    exit(Pid, kill).

one_that_was_started_with_much_is_not_read() ->
    Pid = spawn(fun() ->
        put('$initial_call', {lists, seq, lists:seq(1, 2_500_000)}),
        receive stop -> ok end
    end),
    erlmcp_native_test_lib:eventually(fun() -> process_info(Pid, status) =:= {status, waiting} end),
    erlmcp_native_test_lib:eventually(fun() -> ?M:look(Pid) =:= too_large end),
    exit(Pid, kill).

%% A machine that has no time for it is asked again.
seen(Pid) ->
    erlmcp_native_test_lib:eventually(fun() -> ?M:look(Pid) =/= silent end),
    case ?M:look(Pid) of
        {ok, Seen} -> Seen;
        silent -> seen(Pid)
    end.

nobody_is_left_behind() ->
    Before = processes(),
    #{} = seen(whereis(kernel_sup)),
    {Asker, Monitor} = spawn_monitor(fun() -> ?M:look(whereis(kernel_sup)) end),
    exit(Asker, kill),
    receive {'DOWN', Monitor, process, _, _} -> ok end,
    erlmcp_native_test_lib:eventually(fun() -> helpers(Before) =:= [] end).

%% Its asker is gone long before it says anything.
nobody_is_left_with_one_that_is_silent() ->
    {Silent, Go} = erlmcp_native_test_lib:silent(8000),
    Before = processes(),
    Go(fun() ->
        {Asker, Monitor} = spawn_monitor(fun() -> ?M:look(Silent) end),
        erlmcp_native_test_lib:eventually(fun() -> helpers(Before) =/= [] end, 5000),
        exit(Asker, kill),
        receive {'DOWN', Monitor, process, _, _} -> ok end,
        erlmcp_native_test_lib:eventually(fun() -> helpers(Before) =:= [] end, 5000),
        ?assertEqual(silent, erlmcp_native_process_info:one(Silent, status, 1))
    end),
    erlmcp_native_test_lib:kill(Silent).

helpers(Before) ->
    Infos = [process_info(Pid, initial_call) || Pid <- processes() -- Before, Pid =/= self()],
    [Function || {initial_call, {?M, Function, _}} <- Infos].
