%% The node is guarded: what presses it is told of, refused for, and over by itself.
-module(erlmcp_overload_node_tests).

-include_lib("eunit/include/eunit.hrl").

-export([spin/0]).

-import(erlmcp_native_test_lib, [kill/1]).
-import(erlmcp_overload_test_lib, [monitor/1, until/2, configure/1, history/1, row/1, end_all/1]).

-define(L, erlmcp_queue_limits).
-define(M, erlmcp_overload_monitor).
-define(N, erlmcp_overload_node).
-define(MB, 1048576).
%% What anything may take on a machine that has other things to do.
-define(MS, 30000).

%% In a node of its own, whose run queues are its own.
node_test_() ->
    erlmcp_overload_watch_test_lib:in_node([
        fun it_is_off_unless_it_is_configured/0,
        fun memory_over_its_mark_is_an_alert_and_over_by_itself/0,
        fun a_run_queue_over_its_mark_is_an_alert_and_over_by_itself/0,
        fun the_worse_of_two_causes_is_named/0,
        fun either_may_be_left_out/0,
        fun the_role_is_nobody_elses/0,
        fun a_role_that_is_used_is_not_taken/0,
        fun other_options_from_now_on/0,
        fun a_crash_leaves_the_level_as_it_was/0,
        fun a_crash_of_the_monitor_leaves_the_level_as_it_was/0,
        fun when_nobody_comes_after_it_the_level_is_over/0,
        fun a_stop_leaves_nothing/0,
        fun a_monitor_that_is_not_to_guard_ends_what_another_has_left/0,
        fun alerts_that_are_forgotten_are_told_anew/0,
        fun alerts_switched_off_refuse_all_the_same/0,
        fun a_stop_of_queue_limits_is_no_end/0,
        fun where_no_limit_is_known_memory_is_not_looked_at/0,
        fun a_limit_is_found_below_the_root/0,
        fun a_limit_that_was_found_stays_known/0,
        fun who_reads_files_is_not_waited_for/0,
        fun wrong_options/0
    ]).

%% Where the runtime cannot say what it has allocated, it is known all the same how much is resident.
without_allocators_test_() ->
    erlmcp_overload_watch_test_lib:in_node(["+Mea", "min"], [fun what_the_runtime_does_not_know/0]).

what_the_runtime_does_not_know() ->
    ?assertError(notsup, erlang:memory(total)),
    {Helper, Monitor} = spawn_monitor(erlmcp_overload_guard, find, [total, ""]),
    receive {'DOWN', Monitor, process, Helper, Found} -> ?assertEqual({found, unknown}, Found) end,
    Resident = resident(),
    Tag = guarded(no_run_queue(#{memory_limit => round(Resident / 0.9)})),
    ?assertMatch({alert, {overload, node, memory, _, _}}, next(Tag)).

no_run_queue(Options) ->
    Options#{run_queue => off, sample_ms => 20}.

no_memory(Options) ->
    Options#{memory => off, sample_ms => 20}.

%% A limit of which so large a share is in use now, by which memory does not matter otherwise.
limit(Share) ->
    round(max(erlang:memory(total), resident()) / Share).

resident() ->
    case file:read_file("/proc/self/status") of
        {ok, Status} -> erlmcp_overload_memory:resident(Status);
        {error, _} -> 0
    end.

eventually(Condition) ->
    erlmcp_native_test_lib:eventually(Condition, ?MS).

next(Tag) ->
    erlmcp_overload_test_lib:next(Tag, ?MS).

guarded(Options) ->
    ok = application:set_env(erlmcp_native, node, Options),
    monitor([]).

level() ->
    case ?N:pressure() of
        #{level := Level} -> Level;
        off -> off
    end.

guard() ->
    {links, Links} = process_info(whereis(?M), links),
    IsGuard = fun(Pid) -> proc_lib:translate_initial_call(Pid) =:= {erlmcp_overload_guard, init, 1} end,
    case [Pid || Pid <- Links, is_pid(Pid), IsGuard(Pid)] of
        [Guard] -> Guard;
        [] -> none
    end.

spinning(Count) ->
    [spawn(?MODULE, spin, []) || _ <- lists:seq(1, Count)].

spin() ->
    _ = lists:seq(1, 1000),
    spin().

it_is_off_unless_it_is_configured() ->
    _ = monitor([]),
    ?assertEqual({off, none}, {?N:pressure(), guard()}),
    ?assertEqual(ok, ?L:record_enqueue(node, self())).

memory_over_its_mark_is_an_alert_and_over_by_itself() ->
    Limit = limit(0.5),
    Tag = guarded(no_run_queue(#{memory_limit => Limit})),
    eventually(fun() -> level() =:= 0 end),
    Ballast = binary:copy(<<1>>, Limit),
    eventually(fun() -> level() =:= 2 end),
    %% It may be seen on its way there.
    Alert =
        case next(Tag) of
            {alert, {critical, node, memory, _, Limit}} -> next(Tag);
            First -> First
        end,
    ?assertMatch({alert, {overload, node, memory, Used, Limit}} when Used >= 0.85 * Limit, Alert),
    ?assertMatch(
        #{
            level := 2,
            cause := memory,
            refuses := [critical, sheddable_plus, sheddable],
            memory := #{level := 2, limit := Limit, share := Share, source := configured, marks := {0.7, 0.85}},
            run_queue := off
        } when Share >= 0.85,
        ?N:pressure()
    ),
    ?assertMatch([{overload, node, memory, _, Limit} | _], history(node)),
    ?assertMatch(#{level := overload, owners := 0, depth := 0, limit := infinity}, row(node)),
    ?assertEqual(Limit, byte_size(Ballast)),
    %% From here on nobody has it any more.
    true = garbage_collect(),
    eventually(fun() -> level() =:= 0 end),
    ?assertEqual([], [Event || Event <- until(Tag, {node, close}), element(1, Event) =:= alert]),
    ?assertMatch(#{cause := none, refuses := []}, ?N:pressure()).

a_run_queue_over_its_mark_is_an_alert_and_over_by_itself() ->
    Tag = guarded(no_memory(#{run_queue => {4, 1000}})),
    Schedulers = erlang:system_info(schedulers_online),
    Spinning = spinning(8 * Schedulers),
    ?assertMatch({alert, {critical, node, run_queue, _, _}}, next(Tag)),
    ?assertMatch(
        #{
            level := 1,
            cause := run_queue,
            refuses := [sheddable_plus, sheddable],
            memory := off,
            run_queue := #{level := 1, schedulers := Schedulers, per_scheduler := Length, marks := {4, 1000}}
        } when Length >= 3,
        ?N:pressure()
    ),
    end_all(Spinning),
    eventually(fun() -> level() =:= 0 end),
    ?assertMatch({clear, {critical, node, run_queue, _, _}}, next(Tag)).

the_worse_of_two_causes_is_named() ->
    Tag = guarded(#{memory_limit => limit(0.75), run_queue => {0.1, 0.1}, sample_ms => 20}),
    ?assertMatch({alert, {critical, node, memory, _, _}}, next(Tag)),
    ?assertMatch(#{level := 1, cause := memory}, ?N:pressure()),
    Spinning = spinning(4 * erlang:system_info(schedulers_online)),
    ?assertMatch({alert, {overload, node, run_queue, _, _}}, next(Tag)),
    ?assertMatch(#{level := 2, cause := run_queue, memory := #{level := 1}}, ?N:pressure()),
    end_all(Spinning).

either_may_be_left_out() ->
    _ = guarded(#{memory => off, run_queue => off, sample_ms => 20}),
    eventually(fun() -> level() =:= 0 end),
    ?assertMatch(#{memory := off, run_queue := off, cause := none}, ?N:pressure()).

the_role_is_nobody_elses() ->
    _ = guarded(no_run_queue(#{})),
    Calls = [
        {?L, check_capacity, [node, self()]},
        {?L, try_enqueue, [node, self()]},
        {?L, acquire, [node, self()]},
        {?L, with_capacity, [node, self(), fun() -> ok end]},
        {?L, record_enqueue, [node, self()]},
        {?L, record_dequeue, [node, self()]},
        {?L, forget, [node, self()]},
        {?L, set_limit, [node, 5]},
        {erlmcp_overload_mailbox, send, [node, self(), x]}
    ],
    [?assertEqual({Call, reserved}, {Call, fault(Call)}) || Call <- Calls],
    ?assertEqual({0, infinity}, {?L:get_queue_depth(node, self()), ?L:get_limit(node)}),
    [?assertEqual(ok, ?L:record_enqueue(Role, self())) || Role <- [session, mailbox, memory, run_queue]],
    ok = configure([{node, off}]),
    [?assertEqual({Call, not_reserved}, {Call, fault(Call)}) || Call <- Calls].

fault({Module, Function, Args}) ->
    try apply(Module, Function, Args) of
        _ -> not_reserved
    catch
        error:badarg:Stacktrace ->
            [{Module, Function, Args, Info} | _] = Stacktrace,
            #{module := Formats, cause := Cause} = proplists:get_value(error_info, Info),
            #{} = Texts = Formats:format_error(badarg, Stacktrace),
            case {Cause, Texts} of
                {role_reserved, #{1 := Text}} ->
                    true = string:find(Text, "erlmcp_overload_node") =/= nomatch,
                    reserved;
                {wrong_kind, _} ->
                    not_reserved
            end
    end.

a_role_that_is_used_is_not_taken() ->
    ok = ?L:record_enqueue(node, self()),
    ok = ?L:set_limit(node, 7),
    _ = guarded(no_run_queue(#{})),
    ?assertEqual({off, none, 7}, {?N:pressure(), guard(), ?L:get_limit(node)}),
    ok = ?L:record_enqueue(node, self()),
    ok = ?L:forget(node, self()),
    %% Sooner than by itself.
    ok = configure([]),
    eventually(fun() -> level() =:= 0 end),
    ?assertEqual(infinity, ?L:get_limit(node)),
    ok = configure([{node, off}]),
    ?assertEqual(7, ?L:get_limit(node)).

other_options_from_now_on() ->
    Options = no_run_queue(#{memory_limit => limit(0.75)}),
    Tag = guarded(Options),
    ?assertMatch({alert, {critical, node, memory, _, _}}, next(Tag)),
    Guard = guard(),
    %% What is held stays held until it was below for its time.
    ok = configure([{node, Options#{memory => {0.95, 1}}}]),
    eventually(fun() -> map_get(marks, map_get(memory, ?N:pressure())) =:= {0.95, 1} end),
    ?assertMatch({clear, {critical, node, memory, _, _}}, next(Tag)),
    ok = configure([{node, Options#{memory => {0.2, 0.3}}}]),
    ?assertMatch({alert, {overload, node, memory, _, _}}, next(Tag)),
    ?assertEqual(Guard, guard()),
    ok = configure([{node, Options#{memory => off}}]),
    eventually(fun() -> level() =:= 0 end),
    ok = configure([{node, Options#{memory => {0.2, 0.3}}}]),
    eventually(fun() -> level() =:= 2 end),
    ok = configure([{node, off}]),
    ?assertEqual({off, none}, {?N:pressure(), guard()}),
    ?assertMatch(#{level := ok}, row(node)).

a_crash_leaves_the_level_as_it_was() ->
    _ = guarded(no_run_queue(#{memory_limit => limit(0.75)})),
    eventually(fun() -> level() =:= 1 end),
    Guard = guard(),
    kill(Guard),
    eventually(fun() -> 1 = level(), guard() =/= none end),
    ?assertNotEqual(Guard, guard()),
    ?assertEqual(1, length(history(node))),
    ?assertMatch(#{level := critical}, row(node)).

a_crash_of_the_monitor_leaves_the_level_as_it_was() ->
    Options = no_run_queue(#{memory_limit => limit(0.75)}),
    _ = guarded(Options),
    eventually(fun() -> level() =:= 1 end),
    Guard = guard(),
    Ended = erlang:monitor(process, Guard),
    erlmcp_overload_test_lib:crash(),
    receive {'DOWN', Ended, process, Guard, _} -> ok end,
    ?assertMatch(#{level := 1, cause := memory}, ?N:pressure()),
    _ = guarded(Options),
    ?assertEqual(1, level()),
    ?assertEqual(1, length(history(node))),
    ?assertNotEqual(none, guard()).

when_nobody_comes_after_it_the_level_is_over() ->
    _ = guarded(no_run_queue(#{memory_limit => limit(0.75)})),
    eventually(fun() -> level() =:= 1 end),
    erlmcp_overload_test_lib:crash(),
    eventually(fun() -> level() =:= 0 end),
    ?assertMatch(#{cause := none, refuses := [], memory := #{level := 0}}, ?N:pressure()),
    Metrics = [{Name, Samples} || {#{name := Name}, Samples} <- erlmcp_native_metrics:collect()],
    ?assertEqual({~"erlmcp_node_pressure", [{[~"memory"], 0}]}, lists:keyfind(~"erlmcp_node_pressure", 1, Metrics)),
    ok = application:unset_env(erlmcp_native, node),
    Tag = monitor([]),
    %% The handlers of before are not these.
    ?assertMatch({clear, {critical, node, memory, _, _}}, next(Tag)),
    ?assertMatch(#{level := ok}, row(node)).

a_stop_leaves_nothing() ->
    _ = guarded(no_run_queue(#{memory_limit => limit(0.75)})),
    eventually(fun() -> level() =:= 1 end),
    Guard = guard(),
    ok = erlmcp_overload_test_lib:stop(),
    ?assertEqual({off, false}, {?N:pressure(), is_process_alive(Guard)}),
    ?assertEqual({off, none}, {erlmcp_native:node_pressure(own), erlmcp_overload_guard:told()}),
    ?assertEqual(ok, ?L:record_enqueue(node, self())).

a_monitor_that_is_not_to_guard_ends_what_another_has_left() ->
    _ = guarded(no_run_queue(#{memory_limit => limit(0.75)})),
    eventually(fun() -> level() =:= 1 end),
    erlmcp_overload_test_lib:crash(),
    _ = guarded(off),
    ?assertEqual(off, ?N:pressure()),
    ?assertEqual(ok, ?L:record_enqueue(node, self())).

alerts_that_are_forgotten_are_told_anew() ->
    Tag = guarded(no_run_queue(#{memory_limit => limit(0.75)})),
    ?assertMatch({alert, {critical, node, memory, _, _}}, next(Tag)),
    ok = ?M:reset_alerts(),
    ?assertMatch({alert, {critical, node, memory, _, _}}, next(Tag)),
    ?assertEqual(1, length(history(node))).

alerts_switched_off_refuse_all_the_same() ->
    _ = guarded(no_run_queue(#{memory_limit => limit(0.75)})),
    eventually(fun() -> level() =:= 1 end),
    ok = ?M:set_enabled(false),
    ?assertMatch(#{level := ok}, row(node)),
    #{memory := #{used := Used}} = ?N:pressure(),
    Ballast = binary:copy(<<1>>, ?MB),
    eventually(fun() -> map_get(used, map_get(memory, ?N:pressure())) =/= Used end),
    ?assertEqual({1, ?MB}, {level(), byte_size(Ballast)}),
    ?assertMatch(#{level := ok}, row(node)),
    ok = ?M:set_enabled(true),
    eventually(fun() -> map_get(level, row(node)) =:= critical end).

a_stop_of_queue_limits_is_no_end() ->
    _ = guarded(no_run_queue(#{memory_limit => limit(0.75)})),
    eventually(fun() -> level() =:= 1 end),
    ok = gen_server:stop(?L),
    ?assertEqual(1, level()),
    {ok, Pid} = ?L:start_link(),
    unlink(Pid),
    eventually(fun() -> [critical] =:= [Level || #{role := node, level := Level} <- ?M:summary()] end),
    ?assertError(badarg, ?L:record_enqueue(node, self())).

%% A guard of one's own, which reads files of one's own.
guard_below(Root, Options) ->
    {ok, Checked} = erlmcp_native_options:check(erlmcp_native_options:options(?N:table()), Options),
    {ok, Guard} = erlmcp_overload_guard:start_link(Checked, Root),
    Guard.

stop_guard(Guard) ->
    unlink(Guard),
    kill(Guard),
    erlmcp_overload_guard:close().

where_no_limit_is_known_memory_is_not_looked_at() ->
    _ = monitor([]),
    Guard = guard_below("/there/is/none", no_run_queue(#{})),
    eventually(fun() -> level() =:= 0 andalso map_get(used, map_get(memory, ?N:pressure())) > 0 end),
    ?assertMatch(#{memory := #{limit := unknown, source := unknown, share := +0.0}}, ?N:pressure()),
    stop_guard(Guard).

a_limit_is_found_below_the_root() ->
    Root = erlmcp_native_test_lib:temp_dir(),
    Write = fun(Name, Text) ->
        ok = filelib:ensure_dir(Root ++ Name),
        ok = file:write_file(Root ++ Name, Text)
    end,
    Limit = 1000 * erlang:memory(total),
    Write("/proc/self/cgroup", "0::/a/b\n"),
    Write("/sys/fs/cgroup/a/memory.max", integer_to_list(Limit)),
    Write("/sys/fs/cgroup/a/b/memory.max", "max\n"),
    Resident = fun(Share) ->
        Write("/proc/self/status", io_lib:format("VmRSS:\t ~b kB\n", [round(Limit * Share) div 1024]))
    end,
    Resident(0.5),
    Tag = monitor([]),
    Guard = guard_below(Root, no_run_queue(#{})),
    eventually(fun() -> level() =:= 0 end),
    Resident(0.71),
    ?assertMatch({alert, {critical, node, memory, _, Limit}}, next(Tag)),
    ?assertMatch(#{memory := #{source := {file, "/sys/fs/cgroup/a/memory.max"}, limit := Limit}}, ?N:pressure()),
    Resident(0.86),
    ?assertMatch({alert, {overload, node, memory, _, Limit}}, next(Tag)),
    Resident(0.79),
    ?assertMatch({clear, {overload, node, memory, _, Limit}}, until_clear(Tag)),
    ?assertEqual(1, level()),
    Resident(0.64),
    ?assertMatch({clear, {critical, node, memory, _, Limit}}, until_clear(Tag)),
    %% What the runtime has allocated is there all the same.
    Write("/proc/self/status", "nothing of that kind\n"),
    eventually(fun() -> map_get(used, map_get(memory, ?N:pressure())) < Limit div 100 end),
    stop_guard(Guard),
    erlmcp_native_test_lib:remove_dir(Root).

%% As where there is no file left to be opened.
a_limit_that_was_found_stays_known() ->
    Root = erlmcp_native_test_lib:temp_dir(),
    File = Root ++ "/sys/fs/cgroup/memory.max",
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, "5000000000\n"),
    ok = filelib:ensure_dir(Root ++ "/proc/self/cgroup"),
    ok = file:write_file(Root ++ "/proc/self/cgroup", "0::/\n"),
    _ = monitor([]),
    Guard = guard_below(Root, no_run_queue(#{})),
    eventually(fun() -> limit_of() =:= 5000000000 end),
    erlmcp_native_test_lib:remove_dir(Root),
    {{5000000000, {file, _}}, FoundMs} = looked_up(Guard),
    %% It is looked up again when it was found long ago.
    Aged = fun
        (#{limit := {{_, {file, _}} = Limit, AtMs}} = Found) -> Found#{limit := {Limit, AtMs - 60000}};
        (Other) -> Other
    end,
    _ = sys:replace_state(Guard, fun(State) -> list_to_tuple([Aged(Element) || Element <- tuple_to_list(State)]) end),
    eventually(fun() -> element(2, looked_up(Guard)) >= FoundMs end),
    ?assertMatch({{5000000000, {file, _}}, _}, looked_up(Guard)),
    ?assertEqual(5000000000, limit_of()),
    stop_guard(Guard).

limit_of() ->
    case ?N:pressure() of
        #{memory := #{limit := Limit}} -> Limit;
        off -> off
    end.

looked_up(Guard) ->
    [Found] = [Found || #{limit := {Limit, _} = Found} <- tuple_to_list(sys:get_state(Guard)), not is_reference(Limit)],
    Found.

until_clear(Tag) ->
    case next(Tag) of
        {clear, _} = Clear -> Clear;
        {alert, _} = Alert -> Alert;
        _Breaker -> until_clear(Tag)
    end.

%% Those who read files are the runtime's dirty schedulers, and every one waits for a file that nobody writes.
who_reads_files_is_not_waited_for() ->
    Dir = erlmcp_native_test_lib:temp_dir(),
    Fifo = filename:join(Dir, "fifo"),
    "" = os:cmd("mkfifo " ++ Fifo),
    Limit = limit(0.5),
    Tag = guarded(#{run_queue => {4, 1000}, memory_limit => Limit, sample_ms => 20}),
    eventually(fun() -> level() =:= 0 end),
    Readers = [
        spawn_monitor(fun() ->
            {ok, Device} = file:open(Fifo, [raw, read]),
            ok = file:close(Device)
        end)
     || _ <- lists:seq(1, erlang:system_info(dirty_io_schedulers))
    ],
    try
        Spinning = spinning(8 * erlang:system_info(schedulers_online)),
        ?assertMatch({alert, {critical, node, run_queue, _, _}}, next(Tag)),
        end_all(Spinning),
        %% Memory is known by what needs no file.
        Ballast = binary:copy(<<1>>, Limit),
        ?assertEqual(overload, until_overload(Tag)),
        ?assert(byte_size(Ballast) > 0)
    after
        "" = os:cmd("true > " ++ Fifo)
    end,
    [receive {'DOWN', Monitor, process, Reader, normal} -> ok end || {Reader, Monitor} <- Readers],
    erlmcp_native_test_lib:remove_dir(Dir).

%% What the test itself takes may have come to the first mark before.
until_overload(Tag) ->
    case next(Tag) of
        {alert, {overload, node, memory, _, _}} -> overload;
        _ -> until_overload(Tag)
    end.

wrong_options() ->
    _ = guarded(no_run_queue(#{})),
    [
        ?assertMatch({Options, {error, {bad_config, #{key := _}}}}, {Options, configure([{node, Options}])})
     || Options <- [
            on, true, 7, #{memory => {0.85, 0.7}}, #{memory => 0.7}, #{memory => {0.7, 1.01}}, #{memory => {0, 0.5}},
            #{memory => {-1, 0.5}}, #{memory => {0.7, 0.8, 0.9}}, #{memory => {a, b}}, #{memory => on},
            #{run_queue => {8, 4}}, #{run_queue => {0, 4}}, #{run_queue => {4, 1.0e7}}, #{run_queue => []},
            #{sample_ms => 9}, #{sample_ms => 1001}, #{sample_ms => 100.0}, #{memory_limit => 0},
            #{memory_limit => -1}, #{memory_limit => 1 bsl 63}, #{memory_limit => infinity}, #{limit => 5}
        ]
    ],
    {error, {_, #{expected := Expected}}} = configure([{node, #{memory => {0.85, 0.7}}}]),
    ?assertEqual("{First, Second}, numbers from 0.1 to 1, the second not below the first", Expected),
    %% What was before goes on.
    ?assertMatch(#{memory := #{marks := {0.7, 0.85}}}, ?N:pressure()),
    ok = configure([{node, [{memory, {0.1, 0.1}}, {run_queue, {1000000, 1000000}}]}]).
