%% The machine stands still for longer than every time limit, as a virtual machine that is paused. When it goes on,
%% nobody is given up who only had no time.
-module(erlmcp_native_pause_tests).

-include_lib("eunit/include/eunit.hrl").

-export([prepare/0, go_on/0, results/0]).
-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).

-define(P, erlmcp_control_plane).
-define(L, erlmcp_queue_limits).
-define(M, erlmcp_overload_monitor).
-define(PAUSE_MS, 6500).
-define(ALERTS, 5).

%% Where there are signals to stop a process with.
pause_test_() ->
    case os:find_executable("kill") of
        false -> [];
        _ -> {timeout, 120, fun pause/0}
    end.

pause() ->
    Peer = erlmcp_native_test_lib:peer(erlmcp_native_test_lib:ebins([?L, ?MODULE, erlmcp_control_test_lib]), []),
    try
        ok = peer:call(Peer, ?MODULE, prepare, []),
        Pid = peer:call(Peer, os, getpid, []),
        "" = os:cmd("kill -STOP " ++ Pid),
        ok = erlmcp_overload_test_lib:pass(?PAUSE_MS),
        "" = os:cmd("kill -CONT " ++ Pid),
        ok = peer:call(Peer, ?MODULE, go_on, []),
        Results = peer:call(Peer, ?MODULE, results, [], 60000),
        ?assertEqual(ok, maps:get(interval, Results), Results),
        ?assertMatch({ok, _}, maps:get(scan, Results), Results),
        ?assertEqual(finished, maps:get(retired, Results), Results),
        ?assertMatch({ok, _}, maps:get(sent, Results), Results),
        %% By the same process, with the state that it had.
        ?assertMatch([{_, 1}], maps:get(alerts, Results), Results)
    after
        peer:stop(Peer)
    end.

%% Everything is asked for, and nothing can be answered.
prepare() ->
    ok = application:start(erlmcp_native),
    Self = self(),
    {Pid, _} = spawn_monitor(fun() -> coordinate(Self) end),
    true = register(?MODULE, Pid),
    receive
        prepared -> ok
    after 10000 -> error(not_prepared)
    end.

coordinate(Starter) ->
    Self = self(),
    ok = ?M:add_handler(?MODULE, Self),
    ok = ?L:set_limit(r, 1),
    [ok = ?L:record_enqueue(r, Owner) || Owner <- lists:sublist([a, b, c, d, e], ?ALERTS)],
    Handler = receive {alert, At, 1} -> At end,
    ok = ?P:register_component(retired, #{handler => fun(_) -> wait(Self, retired) end, timeout_ms => 2000}),
    ok = ?P:cast_priority(retired, {control, cancel_task, #{task_id => 1}}),
    Retired = receive {retired, Retiring} -> Retiring end,
    ok = ?P:unregister_component(retired),
    %% The answer goes through some hands, all of which had stopped.
    Answer = fun(_) -> pass_on(5, 1000) end,
    ok = ?P:register_component(sent, #{handler => Answer, timeout_ms => 2000, priority => normal}),
    Sent = erlmcp_control_test_lib:async(fun() -> ?P:send_health_check(sent, full) end),
    [ok = sys:suspend(Name) || Name <- [?M, erlmcp_native_scan]],
    Interval = erlmcp_control_test_lib:async(fun() -> ?M:set_check_interval(60000) end),
    Scan = erlmcp_control_test_lib:async(fun() -> erlmcp_native_scan:fullest(all, 1) end),
    Waits = fun(Name) -> process_info(whereis(Name), message_queue_len) =/= {message_queue_len, 0} end,
    [ok = erlmcp_native_test_lib:eventually(fun() -> Waits(Name) end) || Name <- [?M, erlmcp_native_scan]],
    Starter ! prepared,
    receive
        go_on -> ok
    end,
    [ok = sys:resume(Name) || Name <- [?M, erlmcp_native_scan]],
    Monitor = monitor(process, Retired),
    [Pid ! go || Pid <- [Handler, Retired]],
    Results = #{
        interval => erlmcp_control_test_lib:result(Interval),
        scan => erlmcp_control_test_lib:result(Scan),
        sent => erlmcp_control_test_lib:result(Sent),
        retired => receive
            {'DOWN', Monitor, process, _, {shutdown, _}} -> finished;
            {'DOWN', Monitor, process, _, Reason} -> Reason
        end,
        alerts => alerts(Handler, 2)
    },
    receive
        {results, Asker} -> Asker ! {results, Results}
    end.

wait(Test, Name) ->
    Test ! {Name, self()},
    receive
        go -> ok
    end.

pass_on(0, Ms) ->
    receive
    after Ms -> ok
    end;
pass_on(Hands, Ms) ->
    {_, Monitor} = spawn_monitor(fun() -> pass_on(Hands - 1, Ms) end),
    receive
        {'DOWN', Monitor, process, _, normal} -> ok
    end.

%% Which processes told of the alerts after the first, and from which state on.
alerts(Handler, N) when N =< ?ALERTS ->
    receive
        {alert, Pid, State} when Pid =:= Handler, State =:= N -> Pid ! go, alerts(Handler, N + 1);
        {alert, Pid, State} -> [{Pid, State}]
    after 10000 -> [{not_told, N}]
    end;
alerts(Handler, _) ->
    [{Handler, 1}].

go_on() ->
    ?MODULE ! go_on,
    ok.

results() ->
    ?MODULE ! {results, self()},
    receive
        {results, Results} -> Results
    after 50000 -> error(no_results)
    end.

init(Test) -> {ok, {Test, 1}}.

handle_alert(#{role := r}, {Test, N}) ->
    Test ! {alert, self(), N},
    receive
        go -> {ok, {Test, N + 1}}
    end;
handle_alert(_, State) ->
    {ok, State}.

handle_clear(_, State) -> {ok, State}.

handle_role(_, _, State) -> {ok, State}.
