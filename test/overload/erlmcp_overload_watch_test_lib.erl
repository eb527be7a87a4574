%% What the suites of the watch over all mailboxes share.
-module(erlmcp_overload_watch_test_lib).

-export([lengths/0, receiver/0, drown/2, take/2, watched/0, watched/1, held/0, row/1]).
-export([watcher/0, is_watched_by_another/1, sessions/0]).

-define(B, erlmcp_overload_mailbox).
-define(M, erlmcp_overload_monitor).

lengths() ->
    #{warning => 100, critical => 200, overload => 300}.

%% It knows nothing of us, and takes nothing but what it is told to. It ends with the test.
receiver() ->
    Test = self(),
    spawn(fun() ->
        _ = monitor(process, Test),
        receiver_loop()
    end).

receiver_loop() ->
    receive
        {'DOWN', _, process, _, _} ->
            ok;
        {take, From, Count} ->
            [receive junk -> ok end || _ <- lists:seq(1, Count)],
            From ! {self(), taken},
            receiver_loop()
    end.

drown(Pid, Count) ->
    _ = [Pid ! junk || _ <- lists:seq(1, Count)],
    Pid.

take(Pid, Count) ->
    Pid ! {take, self(), Count},
    receive
        {Pid, taken} -> ok
    after 5000 -> error(nothing_taken)
    end.

watched() ->
    watched([]).

watched(Options) ->
    Tag = erlmcp_overload_test_lib:monitor(Options),
    ok = ?B:watch_mailboxes(lengths()),
    Tag.

held() ->
    lists:sort([Pid || #{process := Pid, kind := mailbox} <- ?M:queues(mailbox)]).

row(Pid) ->
    [Row] = [Row || #{process := Of} = Row <- ?M:queues(mailbox), Of =:= Pid],
    Row.

watcher() ->
    {links, Links} = process_info(whereis(?M), links),
    [Watcher] = [Pid || Pid <- Links, proc_lib:translate_initial_call(Pid) =:= {erlmcp_overload_watch, init, 1}],
    Watcher.

is_watched_by_another(Watcher) ->
    try watcher() of
        Another -> Another =/= Watcher
    catch
        error:{badmatch, []} -> false
    end.

sessions() ->
    [Name || {Name, _} <- trace:session_info(all), Name =:= erlmcp_overload_watch].
