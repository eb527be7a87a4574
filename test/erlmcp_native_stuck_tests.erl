%% Services that do not answer, and a logger that does not return: who waits, for how long, and what they are told.
-module(erlmcp_native_stuck_tests).

-include_lib("eunit/include/eunit.hrl").

-behaviour(erlmcp_overload_handler).

-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).
-export([log/2]).

-import(erlmcp_native_test_lib, [eventually/1, kill/1]).
-import(erlmcp_control_test_lib, [async/1, result/2]).

-define(P, erlmcp_control_plane).
-define(L, erlmcp_queue_limits).
-define(M, erlmcp_overload_monitor).
-define(SERVICES, [?L, ?P, ?M]).
%% What a service has for an answer, and what a busy machine may add.
-define(LIMIT_MS, 5000).
-define(SLACK_MS, 3000).

stuck_test_() ->
    {foreach, fun start/0, fun stop/1, [
        {atom_to_list(Name), {timeout, 120, Test}}
     || Test <- [
            fun suspended_services_are_not_waited_for_for_ever/0,
            fun what_was_asked_for_is_done_later/0,
            fun senders_wait_no_longer_than_they_would_anyway/0,
            fun what_needs_no_service_goes_on/0,
            fun the_hub_does_not_wait_for_the_monitor/0,
            fun a_scan_that_is_stuck_is_busy/0,
            fun suspended_services_can_be_stopped/0,
            fun a_service_that_stops_is_not_there/0,
            fun that_a_service_dies_meanwhile_is_told/0,
            fun a_logger_that_does_not_return_holds_up_nobody/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

start() ->
    Level = erlmcp_native_test_lib:quiet(),
    ok = application:start(erlmcp_native),
    Level.

stop(Level) ->
    [sys:resume(Name) || Name <- [erlmcp_native_scan, erlmcp_native_events | ?SERVICES], whereis(Name) =/= undefined],
    _ = application:stop(erlmcp_native),
    erlmcp_native_test_lib:loud(Level).

suspend() ->
    [ok = sys:suspend(Name) || Name <- ?SERVICES].

resume() ->
    [ok = sys:resume(Name) || Name <- ?SERVICES].

%% What each call came to, and after how many milliseconds, all at once.
timed(Calls) ->
    Asked = [
        async(fun() ->
            Begun = now_ms(),
            Outcome =
                try apply(Module, Function, Args) of
                    Value -> Value
                catch
                    exit:Reason -> {exit, Reason}
                end,
            {Outcome, now_ms() - Begun}
        end)
     || {Module, Function, Args} <- Calls
    ],
    [result(Call, 30000) || Call <- Asked].

now_ms() -> erlang:monotonic_time(millisecond).

calls() ->
    [
        {?P, register_component, [later, {?MODULE, init}]},
        {?P, unregister_component, [never]},
        {?M, add_handler, [?MODULE, self()]},
        {?M, delete_handler, [erlmcp_overload_log, never]},
        {?M, set_check_interval, [123456]},
        {erlmcp_native_app, reload_config, []}
    ].

suspended_services_are_not_waited_for_for_ever() ->
    suspend(),
    [
        begin
            ?assertEqual({exit, {timeout, Call}}, Outcome),
            ?assert(Ms >= ?LIMIT_MS andalso Ms < ?LIMIT_MS + ?SLACK_MS, {Call, Ms})
        end
     || {Call, {Outcome, Ms}} <- lists:zip(calls(), timed(calls()))
    ].

what_was_asked_for_is_done_later() ->
    suspend(),
    _ = timed(calls()),
    resume(),
    eventually(fun() -> lists:member(later, ?P:components()) end),
    eventually(fun() -> element(4, sys:get_state(?M)) =:= 123456 end),
    ok = ?L:set_limit(r, 1),
    ok = ?L:record_enqueue(r, a),
    receive
        {alert, r} -> ok
    after 5000 -> error(not_told)
    end.

init(Test) -> {ok, Test}.

handle_alert(#{role := Role}, Test) ->
    _ = is_pid(Test) andalso (Test ! {alert, Role}),
    {ok, Test}.

handle_clear(_, Test) -> {ok, Test}.

handle_role(_, _, Test) -> {ok, Test}.

%% The process of the handler has died, and the service that would replace it does not.
senders_wait_no_longer_than_they_would_anyway() ->
    ok = ?P:register_component(c, #{handler => fun(_) -> ok end, timeout_ms => 300}),
    {{handler, _}, Pid, _, 300, _} = erlmcp_native:control_route(c, health_check),
    suspend(),
    kill(Pid),
    Sends = [
        {?P, send_health_check, [c, full]},
        {?P, send_cancel_task, [c, 1]},
        {?P, cast_priority, [c, {control, drain_session, #{session_id => 1}}]}
    ],
    [
        begin
            ?assertEqual({error, timeout}, Outcome),
            ?assert(Ms >= 300 andalso Ms < 300 + ?SLACK_MS, {Send, Ms})
        end
     || {Send, {Outcome, Ms}} <- lists:zip(Sends, timed(Sends))
    ],
    ?assertMatch(#{slo_violations := 1}, ?P:get_stats()),
    resume(),
    ?assertMatch({ok, _}, ?P:send_health_check(c, full)).

what_needs_no_service_goes_on() ->
    ok = ?P:register_component(c, fun(_) -> ok end),
    suspend(),
    Calls = [
        {?P, send_health_check, [c, full]}, {?P, get_stats, []}, {?P, components, []},
        {?L, try_enqueue, [r, a]}, {?L, record_dequeue, [r, a]}, {?L, set_limit, [r, 5]}, {?L, get_all_stats, []},
        {?M, force_check, []}, {?M, summary, []}, {?M, queues, []}, {?M, reset_alerts, []}
    ],
    [?assert(Ms < ?SLACK_MS, {Call, Ms}) || {Call, {_, Ms}} <- lists:zip(Calls, timed(Calls))].

%% Streams wait for the hub.
the_hub_does_not_wait_for_the_monitor() ->
    ok = sys:suspend(?M),
    [{{ok, _}, Ms}, {{ok, _}, Ms2}] = timed([{erlmcp_native_events, join, [10, none, whole]} || _ <- [1, 2]]),
    ?assert(Ms < ?SLACK_MS andalso Ms2 < ?SLACK_MS, {Ms, Ms2}),
    {ok, Position} = erlmcp_native_events:join(10, none, whole),
    ok = erlmcp_native_events:next(Position),
    receive
        {erlmcp_native_events, _, [_ | _]} -> ok
    after 5000 -> error(no_snapshot)
    end,
    %% It has its handler when the monitor goes on.
    ok = sys:resume(?M),
    eventually(fun() -> lists:keymember({erlmcp_native_events_handler, erlmcp_native_events}, 1, handlers()) end).

handlers() ->
    {Handlers, _} = persistent_term:get({erlmcp_overload_handlers, kept}),
    Handlers.

a_scan_that_is_stuck_is_busy() ->
    ok = sys:suspend(erlmcp_native_scan),
    ok = sys:suspend(erlmcp_native_events),
    [{Scan, ScanMs}, {Join, JoinMs}] =
        timed([{erlmcp_native_scan, fullest, [all, 10]}, {erlmcp_native_events, join, [10, none, whole]}]),
    ?assertEqual({{error, busy}, {error, not_started}}, {Scan, Join}),
    ?assert(ScanMs < 2000 + ?SLACK_MS andalso JoinMs < ?LIMIT_MS + ?SLACK_MS, {ScanMs, JoinMs}).

suspended_services_can_be_stopped() ->
    suspend(),
    [{ok, Ms}] = timed([{application, stop, [erlmcp_native]}]),
    ?assert(Ms < ?LIMIT_MS, Ms).

%% As if it had not been started, however far it has come.
a_service_that_stops_is_not_there() ->
    suspend(),
    Asked = [async(fun() -> apply(Module, Function, Args) end) || {Module, Function, Args} <- calls()],
    eventually(fun() -> [2, 4] =:= [calls_waiting(Name) || Name <- [?P, ?M]] end),
    ok = application:stop(erlmcp_native),
    [?assertEqual({died, {noproc, Call}}, result(Asker, 10000)) || {Call, Asker} <- lists:zip(calls(), Asked)].

calls_waiting(Name) ->
    length([Call || {'$gen_call', _, _} = Call <- erlmcp_control_test_lib:mailbox(whereis(Name))]).

that_a_service_dies_meanwhile_is_told() ->
    suspend(),
    Asker = async(fun erlmcp_native_app:reload_config/0),
    eventually(fun() -> calls_waiting(?M) =:= 1 end),
    kill(whereis(?M)),
    ?assertEqual({died, {killed, {erlmcp_native_app, reload_config, []}}}, result(Asker, 10000)).

a_logger_that_does_not_return_holds_up_nobody() ->
    Handlers = [{Id, Level} || #{id := Id, level := Level} <- logger:get_handler_config()],
    [ok = logger:set_handler_config(Id, level, none) || {Id, _} <- Handlers],
    Gate = erlmcp_native_test_lib:idle(),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{gate => Gate, to => self()}}),
    ok = erlmcp_native_test_lib:loud(notice),
    try
        blocked()
    after
        ok = erlmcp_native_test_lib:loud(none),
        kill(Gate),
        ok = logger:remove_handler(?MODULE),
        [ok = logger:set_handler_config(Id, level, Level) || {Id, Level} <- Handlers]
    end.

%% Does not return from a line of ours before the gate is gone.
log(#{meta := #{mfa := {Module, _, _}}}, #{config := #{gate := Gate, to := Test}}) ->
    case atom_to_list(Module) of
        "erlmcp" ++ _ ->
            Ref = monitor(process, Gate),
            Test ! blocked,
            receive
                {'DOWN', Ref, process, Gate, _} -> ok
            end;
        _ ->
            ok
    end;
log(_, _) ->
    ok.

blocked() ->
    Raises = fun
        ({control, cancel_task, _}) -> error(boom);
        (_) -> ok
    end,
    ok = ?P:register_component(c, #{handler => Raises, timeout_ms => 2000}),
    ok = ?P:register_component(d, #{handler => fun(_) -> ok end, timeout_ms => 2000}),
    ?assertEqual({error, {handler_crashed, boom}}, ?P:send_cancel_task(c, 1)),
    receive
        blocked -> ok
    after 5000 -> error(nothing_logged)
    end,
    ?assertMatch({ok, _}, ?P:send_health_check(c, full)),
    {{handler, _}, Pid, _, _, _} = erlmcp_native:control_route(d, health_check),
    kill(Pid),
    ok = ?L:set_limit(s, 0),
    {error, _} = ?L:try_enqueue(s, a),
    ok = ?L:record_enqueue(s, a),
    Calls = [
        {?P, send_health_check, [d, full]},
        {?P, register_component, [e, {?MODULE, init}]},
        {?P, unregister_component, [c]},
        {?M, set_check_interval, [60000]},
        {?M, add_handler, [?MODULE, x]},
        {sys, get_status, [?L]},
        {erlmcp_native_app, reload_config, []}
    ],
    [?assert(Ms < 2000, {Call, Ms, Outcome}) || {Call, {Outcome, Ms}} <- lists:zip(Calls, timed(Calls))],
    [{ok, Ms}] = timed([{application, stop, [erlmcp_native]}]),
    ?assert(Ms < ?LIMIT_MS, Ms).
