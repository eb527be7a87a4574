%% A node that has no room for one more process: whoever looks after it goes on with what there is.
-module(erlmcp_overload_crowded_tests).

-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

-import(erlmcp_native_crowd_test_lib, [crowd/0, leave/1]).
-import(erlmcp_native_test_lib, [kill/1]).
-import(erlmcp_overload_test_lib, [monitor/1, fill/3, end_all/1]).

-define(L, erlmcp_queue_limits).
-define(M, erlmcp_overload_monitor).
-define(N, erlmcp_overload_node).
-define(MS, 30000).

crowded_test_() ->
    erlmcp_overload_watch_test_lib:in_node(erlmcp_native_crowd_test_lib:args(), [
        fun a_guard_goes_on/0,
        fun a_guard_that_is_lost_comes_back/0,
        fun a_handler_that_is_lost_comes_back/0,
        fun mailboxes_are_looked_at_when_there_is_room/0,
        fun a_watch_that_is_lost_comes_back/0,
        fun lines_are_written_when_there_is_room/0
    ]).

eventually(Condition) ->
    erlmcp_native_test_lib:eventually(Condition, ?MS).

%% The places of these are taken before the monitor hears that they are gone.
lose(Pids) ->
    true = erlang:suspend_process(whereis(?M)),
    end_all(Pids),
    eventually(fun() -> erlang:system_info(process_count) >= erlang:system_info(process_limit) end),
    true = erlang:resume_process(whereis(?M)).

%% What the monitor waits for in place of a guard that it could not start.
timers() ->
    [Timer || #{pause := Timer} <- tuple_to_list(sys:get_state(?M))].

guarded() ->
    Limit = round(erlang:memory(total) / 0.75),
    ok = application:set_env(erlmcp_native, node, #{memory_limit => Limit, run_queue => off, sample_ms => 20}),
    Tag = monitor([{check_interval, 20}]),
    eventually(fun() -> is_pressed() end),
    {Tag, whereis(?M)}.

is_pressed() ->
    case ?N:pressure() of
        #{level := Level} -> Level > 0;
        off -> false
    end.

linked(Module) ->
    [Pid || Pid <- links(whereis(?M)), is_pid(Pid), proc_lib:translate_initial_call(Pid) =:= {Module, init, 1}].

%% So many looks that each helper was wanted more than once.
looks() ->
    #{memory := #{used := _}} = ?N:pressure(),
    [Guard] = linked(erlmcp_overload_guard),
    Total = fun() ->
        [At || #{total := {no_room, At}} <- tuple_to_list(sys:get_state(Guard))]
    end,
    eventually(fun() -> Total() =/= [] end),
    First = Total(),
    eventually(fun() -> Total() =/= First end),
    Guard.

a_guard_goes_on() ->
    {_, Monitor} = guarded(),
    [Guard] = linked(erlmcp_overload_guard),
    Crowd = crowd(),
    ?assertEqual(Guard, looks()),
    ?assertEqual({true, Monitor}, {is_pressed(), whereis(?M)}),
    leave(Crowd),
    eventually(fun() -> [is_integer(N) || #{total := {N, _}} <- tuple_to_list(sys:get_state(Guard))] =:= [true] end).

a_guard_that_is_lost_comes_back() ->
    {_, Monitor} = guarded(),
    [Guard] = linked(erlmcp_overload_guard),
    Crowd = crowd(),
    kill(Guard),
    eventually(fun() -> is_reference(hd(timers())) end),
    [First] = timers(),
    %% It was tried again.
    eventually(fun() -> timers() =/= [First] end),
    ?assertEqual({Monitor, []}, {whereis(?M), linked(erlmcp_overload_guard)}),
    leave(Crowd),
    eventually(fun() -> linked(erlmcp_overload_guard) =/= [] andalso is_pressed() end),
    ?assertEqual(Monitor, whereis(?M)).

a_handler_that_is_lost_comes_back() ->
    {Tag, Monitor} = guarded(),
    {Runners, _} = erlmcp_overload_handlers:kept(),
    Crowd = crowd(),
    %% With their workers.
    lose(lists:append([[Runner | links(Runner)] || {_, Runner} <- Runners])),
    eventually(fun() -> {Kept, _} = erlmcp_overload_handlers:kept(), length(Kept) < length(Runners) end),
    leave(Crowd),
    eventually(fun() -> {Kept, _} = erlmcp_overload_handlers:kept(), length(Kept) =:= length(Runners) end),
    ok = ?L:set_limit(r, 5),
    fill(r, a, 4),
    ?assertMatch([_ | _], told_of(r, Tag)),
    ?assertEqual(Monitor, whereis(?M)).

links(Pid) ->
    {links, Links} = process_info(Pid, links),
    Links.

told_of(Role, Tag) ->
    case erlmcp_overload_test_lib:next(Tag, ?MS) of
        {alert, {_, Role, _, _, _}} = Alert -> [Alert];
        _ -> told_of(Role, Tag)
    end.

mailboxes_are_looked_at_when_there_is_room() ->
    _ = monitor([{check_interval, 20}]),
    Monitor = whereis(?M),
    Pid = erlmcp_overload_watch_test_lib:receiver(),
    ok = ?L:set_limit(mail, 5),
    [ok = erlmcp_overload_mailbox:send(mail, Pid, junk) || _ <- "12345"],
    ?assertMatch(#{level := overload}, erlmcp_overload_test_lib:row(mail)),
    Crowd = crowd(),
    ok = erlmcp_overload_watch_test_lib:take(Pid, 5),
    [a_check() || _ <- "123"],
    ?assertMatch({Monitor, #{level := overload}}, {whereis(?M), erlmcp_overload_test_lib:row(mail)}),
    leave(Crowd),
    eventually(fun() -> #{level := Level} = erlmcp_overload_test_lib:row(mail), Level =:= ok end).

%% By the timer of the next.
a_check() ->
    Timer = element(5, sys:get_state(?M)),
    eventually(fun() -> element(5, sys:get_state(?M)) =/= Timer end).

a_watch_that_is_lost_comes_back() ->
    _ = monitor([{check_interval, 20}]),
    Monitor = whereis(?M),
    ok = erlmcp_overload_mailbox:watch_mailboxes(erlmcp_overload_watch_test_lib:lengths()),
    [Watch] = linked(erlmcp_overload_watch),
    Pid = erlmcp_overload_watch_test_lib:receiver(),
    Crowd = crowd(),
    _ = erlmcp_overload_watch_test_lib:drown(Pid, 300),
    eventually(fun() -> [P || #{process := P} <- ?M:get_alert_history(mailbox), P =:= Pid] =/= [] end),
    ?assertEqual([Watch], linked(erlmcp_overload_watch)),
    lose([Watch]),
    a_check(),
    ?assertEqual({Monitor, []}, {whereis(?M), linked(erlmcp_overload_watch)}),
    leave(Crowd),
    eventually(fun() -> linked(erlmcp_overload_watch) =/= [] end),
    ?assertEqual(Monitor, whereis(?M)),
    ok = erlmcp_overload_mailbox:watch_mailboxes(off).

lines_are_written_when_there_is_room() ->
    ok = logger:set_primary_config(level, error),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()}}),
    try
        leave(crowded_with_a_line()),
        written(~"crowded")
    after
        ok = logger:remove_handler(?MODULE),
        ok = logger:set_primary_config(level, none)
    end.

%% Who has the lines written ends after a second without any, and nobody can be started then: on a busy machine that may
%% be before the node is crowded.
crowded_with_a_line() ->
    write("before"),
    written(~"before"),
    Crowd = crowd(),
    write("crowded"),
    case erlmcp_native_log:flush(10) of
        false -> Crowd;
        true -> leave(Crowd), crowded_with_a_line()
    end.

write(Text) ->
    erlmcp_native_log:write(error, Text, [], #{}, #{}).

written(Text) ->
    receive
        {?MODULE, Text} -> ok
    after ?MS -> error({not_written, Text})
    end.

%% As a handler of the logger.
log(#{msg := {report, #{text := Text}}}, #{config := #{to := Test}}) ->
    Test ! {?MODULE, Text};
log(_, _) ->
    ok.
