%% Many components, senders and messages; what is left over afterwards.
-module(erlmcp_control_load_tests).

-include_lib("eunit/include/eunit.hrl").

-define(P, erlmcp_control_plane).
-define(C, erlmcp_control_test_lib).
-define(LIB, erlmcp_native_test_lib).

load_test_() ->
    ?C:with_plane([
        fun many_components_and_senders/0,
        fun senders_in_a_flood/0,
        fun senders_in_a_flood_of_casts/0,
        fun big_closures/0,
        fun big_messages/0
    ]).

leak_test_() ->
    ?C:with_plane([
        fun ten_thousand_registrations/0,
        fun ten_thousand_unregistrations_with_long_timeouts/0,
        fun ten_thousand_crashes/0,
        fun a_thousand_deaths/0,
        fun ten_thousand_timeouts/0,
        fun callers_killed/0,
        fun owners_come_and_go/0,
        fun aliases_come_and_go/0,
        fun the_service_dies_while_others_register/0
    ]).

many_components_and_senders() ->
    Ids = [list_to_atom("component_" ++ integer_to_list(N)) || N <- lists:seq(1, 1000)],
    Table = list_to_tuple(Ids),
    [ok = ?P:register_component(Id, fun(_) -> ok end) || Id <- Ids],
    Handlers = [Pid || Id <- Ids, {{handler, _}, Pid, _, _, _} <- [erlmcp_native:control_route(Id, cancel_task)]],
    %% The modules are loaded by then.
    {ok, _} = ?P:send_cancel_task(hd(Ids), 1),
    ok = ?P:reset_stats(),
    Test = self(),
    Watcher = ?C:async(fun() -> watch(maps:from_keys([Test | Handlers], true), {0, none}) end),
    Sent = ?LIB:parallel(100, fun(I) ->
        length([
            {ok, _} = ?P:send_cancel_task(element((I * 7919 + N * 31) rem 1000 + 1, Table), N)
         || N <- lists:seq(1, 500)
        ])
    end),
    element(1, Watcher) ! stop,
    {Longest, _} = Seen = ?C:result(Watcher),
    ?assertEqual({true, Seen}, {Longest =< 100, Seen}),
    ?assertEqual(50000, lists:sum(Sent)),
    #{total_delivered := 50000, timeouts := 0, slo_violations := 0, by_component := Rows} = ?P:get_stats(),
    ?assertEqual(50000, lists:sum([Delivered || #{delivered := Delivered} <- maps:values(Rows)])),
    [ok = ?P:unregister_component(Id) || Id <- Ids].

%% The longest message queue of any process but the handlers, and whose it is.
watch(Handlers, Longest) ->
    Lengths = [
        {Length, Name}
     || Pid <- processes(), not is_map_key(Pid, Handlers), Pid =/= self(),
        [{message_queue_len, Length}, {current_function, _} = Name]
            <- [process_info(Pid, [message_queue_len, current_function])]
    ],
    receive
        stop -> lists:max([Longest | Lengths])
    after 0 -> watch(Handlers, lists:max([Longest | Lengths]))
    end.

%% Ever so many cancellations, and a breaker goes next.
senders_in_a_flood() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    Call = fun Loop() -> {ok, _} = ?P:send_cancel_task(a, 1), Loop() end,
    Flood = [spawn(Call) || _ <- lists:seq(1, 200)],
    Results = [?P:send_circuit_breaker(a, query) || _ <- lists:seq(1, 200)],
    [?LIB:kill(Pid) || Pid <- Flood],
    ?assertEqual([], [R || R <- Results, element(1, R) =/= ok]),
    ?assert(lists:max([Us || {ok, Us} <- Results]) < 1000000).

%% More casts than may wait: those that were taken are delivered, and no breaker is kept out by them.
senders_in_a_flood_of_casts() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    Flood = [
        ?C:async(fun() ->
            Casts = [?P:cast_priority(a, ?C:type(cancel_task, N)) || N <- lists:seq(1, 30000)],
            [] = lists:usort(Casts) -- [ok, {error, queue_full}],
            length([Cast || Cast <- Casts, Cast =:= ok])
        end)
     || _ <- [1, 2, 3]
    ],
    Results = [?P:send_circuit_breaker(a, query) || _ <- lists:seq(1, 20)],
    ?assertEqual([], [R || R <- Results, element(1, R) =/= ok]),
    Taken = lists:sum([?C:result(Sender, 30000) || Sender <- Flood]),
    ok = ?LIB:eventually(fun() -> ?C:stat(total_delivered) =:= Taken + 20 end, 30000),
    ?assertEqual(?C:queued_all(0), ?C:queued(a)).

big_closures() ->
    Before = native(),
    Binary = binary:copy(<<"x">>, 1 bsl 16),
    Big = lists:seq(1, 20000),
    Ids = [list_to_atom("big_" ++ integer_to_list(N)) || N <- lists:seq(1, 50)],
    [ok = ?P:register_component(Id, fun(_) -> {error, {length(Big), byte_size(Binary)}} end) || Id <- Ids],
    [?assertEqual({error, {20000, 65536}}, ?P:send_cancel_task(Id, 1)) || Id <- Ids],
    ?C:crash(),
    ok = ?C:restart(),
    [?LIB:kill(element(2, erlmcp_native:control_route(Id, cancel_task))) || Id <- Ids],
    [?assertEqual({error, {20000, 65536}}, ?P:send_cancel_task(Id, 1)) || Id <- Ids],
    [ok = ?P:unregister_component(Id) || Id <- Ids],
    ok = ?LIB:eventually(fun() -> grown(native(), Before) < 2000000 end).

big_messages() ->
    Test = self(),
    ok = ?P:register_component(a, fun({control, _, #{task_id := Id}}) -> Test ! erlang:phash2(Id), {error, Id} end),
    Big = {lists:seq(1, 100000), binary:copy(<<"x">>, 1 bsl 20)},
    ?assertEqual({error, Big}, ?P:send_cancel_task(a, Big)),
    receive Hash -> ?assertEqual(erlang:phash2(Big), Hash) end.

native() ->
    case erlmcp_native:native_memory() of
        undefined -> 0;
        Bytes -> Bytes
    end.

grown(Now, Before) ->
    max(0, Now - Before).

counts() ->
    [garbage_collect(Pid) || Pid <- processes()],
    {erlang:system_info(process_count), erlang:memory(total) - erlang:memory(code), native()}.

%% As many processes as before, and as much memory, but for what a warm-up leaves.
leaks_nothing(Rounds) ->
    Rounds(),
    {Processes, Memory, Native} = counts(),
    Rounds(),
    ok = ?LIB:eventually(fun() -> erlang:system_info(process_count) =< Processes end),
    ok = ?LIB:eventually(fun() ->
        {_, MemoryAfter, NativeAfter} = counts(),
        grown(MemoryAfter, Memory) < 1000000 andalso grown(NativeAfter, Native) < 1000000
    end, 10000),
    ok = ?LIB:eventually(fun() -> ?C:stat(queued) =:= ?C:queued_all(0) end).

times(N, Fun) ->
    fun() -> (fun Loop(0) -> ok; Loop(I) -> Fun(I), Loop(I - 1) end)(N) end.

ten_thousand_registrations() ->
    leaks_nothing(times(10000, fun(N) ->
        ok = ?P:register_component(a, #{handler => fun(_) -> {error, N} end, timeout_ms => 100}),
        {error, N} = ?P:send_cancel_task(a, 1),
        N rem 2 =:= 0 andalso ?P:unregister_component(a)
    end)).

%% A component's timeout is no time to remember it for.
ten_thousand_unregistrations_with_long_timeouts() ->
    leaks_nothing(times(10000, fun(_) ->
        ok = ?P:register_component(a, #{handler => fun(_) -> ok end, timeout_ms => 16#ffffffff}),
        ok = ?P:unregister_component(a)
    end)).

ten_thousand_crashes() ->
    ok = ?P:register_component(a, fun(_) -> error(meant) end),
    leaks_nothing(times(10000, fun(_) -> {error, {handler_crashed, meant}} = ?P:send_cancel_task(a, 1) end)).

a_thousand_deaths() ->
    ok = ?P:register_component(a, fun(_) -> exit(self(), kill) end),
    leaks_nothing(times(1000, fun(_) -> {error, {handler_crashed, killed}} = ?P:send_cancel_task(a, 1) end)).

ten_thousand_timeouts() ->
    ok = ?P:register_component(a, #{handler => fun(_) -> ok end, timeout_ms => 0}),
    leaks_nothing(times(10000, fun(_) -> {error, timeout} = ?P:send_cancel_task(a, 1) end)),
    ?assertEqual([], ?C:mailbox(self())).

callers_killed() ->
    ok = ?P:register_component(a, fun(_) -> ok end),
    leaks_nothing(times(2000, fun(N) ->
        Pid = spawn(fun Loop() -> _ = ?P:send_cancel_task(a, N), Loop() end),
        _ = [erlang:yield() || _ <- lists:seq(1, N rem 5)],
        ?LIB:kill(Pid),
        {ok, _} = ?P:send_cancel_task(a, N)
    end)).

owners_come_and_go() ->
    leaks_nothing(times(2000, fun(_) ->
        Owner = ?LIB:idle(),
        ok = ?P:register_component(a, #{handler => fun(_) -> ok end, owner => Owner, timeout_ms => 100}),
        {ok, _} = ?P:send_cancel_task(a, 1),
        ?LIB:kill(Owner),
        ok = ?P:unregister_component(a)
    end)),
    ok = ?P:unregister_component(a).

aliases_come_and_go() ->
    leaks_nothing(times(2000, fun(_) ->
        ok = ?LIB:in_process(fun() ->
            ok = ?P:register_component(a, #{alias => erlmcp_priority:create_priority_alias()}),
            ?P:cast_priority(a, ?C:type(cancel_task, 1))
        end),
        {error, component_not_registered} = ?P:send_cancel_task(a, 1)
    end)).

%% Wherever in a registration it is killed, no handler's process is left that nobody knows.
the_service_dies_while_others_register() ->
    Before = erlang:system_info(process_count),
    Stop = atomics:new(1, []),
    Registrar = fun Loop(Id) ->
        try
            ok = ?P:register_component(Id, #{handler => fun(_) -> ok end, timeout_ms => 10}),
            ok = ?P:unregister_component(Id)
        catch
            exit:_ -> ok
        end,
        atomics:get(Stop, 1) =:= 0 andalso Loop(Id)
    end,
    Registrars = [?C:async(fun() -> Registrar(Id) end) || Id <- [a, b, c]],
    [
        begin
            _ = [erlang:yield() || _ <- lists:seq(1, N rem 11)],
            ?C:crash(),
            ok = ?C:restart()
        end
     || N <- lists:seq(1, 500)
    ],
    ok = atomics:put(Stop, 1, 1),
    [false = ?C:result(R) || R <- Registrars],
    [ok = ?P:unregister_component(Id) || Id <- [a, b, c]],
    ?assertEqual([], ?P:components()),
    ok = ?LIB:eventually(fun() -> erlang:system_info(process_count) =< Before end).

%% All places that wait for an answer skip what was in the mailbox before: the compiler may lose that at any change.
the_sender_looks_at_no_older_message_test() ->
    {beam_file, _, _, _, _, Functions} = beam_disasm:file(code:which(erlmcp_native_wait)),
    Waiting = [Name || {function, Name, _, _, Code} <- Functions, {recv_marker_use, _} <- Code],
    ?assertEqual([ask, ended, last_look, last_look, until, within], lists:sort(Waiting)).
