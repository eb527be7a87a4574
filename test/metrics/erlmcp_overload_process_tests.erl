-module(erlmcp_overload_process_tests).

-include_lib("eunit/include/eunit.hrl").

-define(M, erlmcp_overload_process).

one_that_works_has_reductions_test() ->
    Pid = spawn(fun Loop() -> Loop() end),
    {ok, #{reductions_per_s := PerS, stack := Stack}} = ?M:look(Pid),
    ?assert(PerS > 100000),
    ?assert(length(Stack) =< 8),
    exit(Pid, kill).

one_that_was_started_by_proc_lib_test() ->
    {ok, #{initial_call := Call, registered_name := kernel_sup, parent := <<"<0.", _/binary>>}} =
        ?M:look(whereis(kernel_sup)),
    ?assertEqual(~"supervisor:kernel/1", Call).

dead_ones_are_dead_test() ->
    {Pid, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, process, _, _} -> ok end,
    ?assertEqual(dead, ?M:look(Pid)).

%% Neither what waits for it nor what it keeps is read, however large that is.
what_is_large_is_not_copied_test() ->
    Large = lists:seq(1, 5_000_000),
    Pid = spawn(fun() ->
        put(large, Large),
        receive {stop, _} -> ok end
    end),
    Pid ! Large,
    erlmcp_native_test_lib:eventually(fun() -> process_info(Pid, message_queue_len) =:= {message_queue_len, 1} end),
    {ok, #{message_queue_len := 1, label := undefined}} = ?M:look(Pid),
    exit(Pid, kill).

%% It would take 40 MB to read this one: who reads it has no more than 8.
a_label_without_end_is_not_read_test() ->
    Pid = proc_lib:spawn(fun() ->
        proc_lib:set_label(lists:seq(1, 2_500_000)),
        receive stop -> ok end
    end),
    erlmcp_native_test_lib:eventually(fun() -> process_info(Pid, status) =:= {status, waiting} end),
    ?assertEqual(silent, ?M:look(Pid)),
    exit(Pid, kill).

nobody_is_left_behind_test() ->
    Before = processes(),
    {ok, _} = ?M:look(whereis(kernel_sup)),
    {Asker, Monitor} = spawn_monitor(fun() -> ?M:look(whereis(kernel_sup)) end),
    exit(Asker, kill),
    receive {'DOWN', Monitor, process, _, _} -> ok end,
    erlmcp_native_test_lib:eventually(fun() ->
        [Pid || Pid <- processes() -- Before, process_info(Pid, initial_call) =:= {initial_call, {?M, tell, 2}}] =:= []
    end).
