%% A node that has no room for one more process: whoever serves others there goes on, and starts when there is room what
%% it could not.
-module(erlmcp_native_crowded_tests).

-include_lib("eunit/include/eunit.hrl").

-export([run/1, handle/1]).

-import(erlmcp_native_crowd_test_lib, [crowd/0, leave/1]).

-define(P, erlmcp_control_plane).
-define(MS, 30000).
-define(GO_ON, [
    erlmcp_native_sup, ?P, erlmcp_native_keeper, erlmcp_native_exporters, erlmcp_native_scan, erlmcp_native_events,
    erlmcp_native_otlp
]).

crowded_test_() ->
    {setup,
        fun() ->
            Paths = [Path || Path <- code:get_path(), filelib:is_dir(Path)],
            erlmcp_native_test_lib:peer(Paths, erlmcp_native_crowd_test_lib:args())
        end,
        fun peer:stop/1,
        fun(Node) ->
            [
                {atom_to_list(Name), {timeout, 120, fun() -> ok = peer:call(Node, ?MODULE, run, [Test], infinity) end}}
             || {Name, Test} <- [
                    {exporters_go_on, fun exporters_go_on/0},
                    {exporters_that_are_lost_come_back, fun exporters_that_are_lost_come_back/0},
                    {a_component_is_refused, fun a_component_is_refused/0},
                    {a_handler_that_is_lost_is_waited_for, fun a_handler_that_is_lost_is_waited_for/0},
                    {a_handler_that_does_not_end_is_ended_later, fun a_handler_that_does_not_end_is_ended_later/0},
                    {who_tells_of_cancellations_comes_back, fun who_tells_of_cancellations_comes_back/0}
                ]
            ]
        end}.

%% On that node.
run(Test) ->
    ok = logger:set_primary_config(level, none),
    Otlp = #{endpoint => "http://127.0.0.1:1", interval_ms => 100},
    ok = application:set_env(erlmcp_native, otlp, Otlp),
    {ok, _} = application:ensure_all_started(erlmcp_native),
    %% To load a module may take a process, and without the one that loads them there is no node.
    {ok, Modules} = application:get_key(erlmcp_native, modules),
    ok = code:ensure_modules_loaded(Modules),
    try
        Before = pids(?GO_ON),
        Test(),
        ?assertEqual(lists:sublist(Before, 3), lists:sublist(pids(?GO_ON), 3)),
        ok
    after
        ok = application:stop(erlmcp_native)
    end.

pids(Names) ->
    [{Name, whereis(Name)} || Name <- Names].

eventually(Condition) ->
    erlmcp_native_test_lib:eventually(Condition, ?MS).

%% The places of these are taken before those hear of it that look after them.
lose(Pid, Keeper) ->
    true = erlang:suspend_process(Keeper),
    ok = erlmcp_native_test_lib:kill(Pid),
    eventually(fun() -> erlang:system_info(process_count) >= erlang:system_info(process_limit) end),
    true = erlang:resume_process(Keeper).

exporters_go_on() ->
    Before = pids(?GO_ON),
    {ok, Position} = erlmcp_native_events:join(10, none, whole),
    Crowd = crowd(),
    [?assertEqual({error, busy}, erlmcp_native_scan:fullest(Scope, 10)) || Scope <- [all, {role, session}]],
    #{otlp_failed := Failed} = erlmcp_native_self:read(),
    Timer = fun() -> element(9, sys:get_state(erlmcp_native_events)) end,
    First = Timer(),
    ?assert(is_reference(First)),
    %% A second is over, and a push has come to nothing.
    eventually(fun() -> Timer() =/= First end),
    eventually(fun() -> maps:get(otlp_failed, erlmcp_native_self:read()) > Failed end),
    leave(Crowd),
    ?assertEqual(Before, pids(?GO_ON)),
    eventually(fun() -> erlmcp_native_scan:fullest(all, 10) =:= {ok, []} end),
    ok = erlmcp_native_events:next(Position),
    receive
        {erlmcp_native_events, _, [_ | _]} -> erlmcp_native_events:leave()
    after ?MS -> error(no_snapshot)
    end.

exporters_that_are_lost_come_back() ->
    Keeper = whereis(erlmcp_native_keeper),
    Crowd = crowd(),
    lose(whereis(erlmcp_native_exporters), Keeper),
    %% It is tried again and again.
    eventually(fun() -> element(tuple_size(sys:get_state(Keeper)), sys:get_state(Keeper)) > 2 end),
    leave(Crowd),
    eventually(fun() -> [Name || {Name, undefined} <- pids(?GO_ON)] =:= [] end).

a_component_is_refused() ->
    Crowd = crowd(),
    ?assertEqual({error, system_limit}, ?P:register_component(crowded, {?MODULE, handle})),
    leave(Crowd),
    ?assertEqual(ok, ?P:register_component(crowded, {?MODULE, handle})),
    ?assertMatch({ok, _}, ?P:send_cancel_task(crowded, t)).

handle({control, cancel_task, #{task_id := {sleep, Name}}}) ->
    true = register(Name, self()),
    receive
        never -> ok
    end;
handle(_) ->
    ok.

a_handler_that_is_lost_is_waited_for() ->
    ok = ?P:register_component(lost, #{handler => {?MODULE, handle}, timeout_ms => 500}),
    ok = ?P:cast_priority(lost, {control, cancel_task, #{task_id => {sleep, lost_sleeps}}}),
    eventually(fun() -> is_pid(whereis(lost_sleeps)) end),
    Crowd = crowd(),
    lose(whereis(lost_sleeps), whereis(?P)),
    ?assertEqual({error, timeout}, ?P:send_health_check(lost, full)),
    ?assert(lists:member(lost, ?P:components())),
    leave(Crowd),
    eventually(fun() -> element(1, ?P:send_health_check(lost, full)) =:= ok end).

a_handler_that_does_not_end_is_ended_later() ->
    ok = ?P:register_component(retires, #{handler => {?MODULE, handle}, timeout_ms => 100}),
    ok = ?P:cast_priority(retires, {control, cancel_task, #{task_id => {sleep, retires_sleeps}}}),
    eventually(fun() -> is_pid(whereis(retires_sleeps)) end),
    Crowd = crowd(),
    ok = ?P:unregister_component(retires),
    ?assert(is_pid(whereis(retires_sleeps))),
    leave(Crowd),
    eventually(fun() -> whereis(retires_sleeps) =:= undefined end).

who_tells_of_cancellations_comes_back() ->
    [Notifier] = notifiers(),
    Crowd = crowd(),
    lose(Notifier, whereis(?P)),
    %% It has heard of it.
    eventually(fun() -> lists:member(none, tuple_to_list(sys:get_state(?P))) end),
    ?assertEqual([], notifiers()),
    leave(Crowd),
    eventually(fun() -> length(notifiers()) =:= 1 end).

notifiers() ->
    {links, Links} = process_info(whereis(?P), links),
    [Pid || Pid <- Links, is_pid(Pid), proc_lib:translate_initial_call(Pid) =:= {erlmcp_control_notifier, init, 1}].
