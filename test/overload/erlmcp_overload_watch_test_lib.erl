%% What the suites of the watch over all mailboxes share.
-module(erlmcp_overload_watch_test_lib).

-export([in_node/1, in_node/2, run/1]).
-export([lengths/0, receiver/0, drown/2, take/2, watched/0, watched/1, held/0, row/1]).
-export([watcher/0, is_watched_by_another/1, sessions/0]).

-define(B, erlmcp_overload_mailbox).
-define(M, erlmcp_overload_monitor).

%% Each test in a process of its own, all in a node of their own: whoever else has a long mailbox would be told of too.
in_node(Tests) ->
    in_node([], Tests).

%% The runtime is started with these arguments.
in_node(Args, Tests) ->
    {setup, fun() -> start_node(Args) end, fun peer:stop/1, fun(Node) ->
        [
            {atom_to_list(Name), {timeout, 120, fun() -> ok = peer:call(Node, ?MODULE, run, [Test], infinity) end}}
         || Test <- Tests, {name, Name} <- [erlang:fun_info(Test, name)]
        ]
    end}.

start_node(Args) ->
    erlmcp_native_test_lib:peer([Path || Path <- code:get_path(), filelib:is_dir(Path)], Args).

run(Test) ->
    Level = erlmcp_overload_test_lib:up(),
    try
        erlmcp_overload_test_lib:alone(Test)
    after
        erlmcp_overload_test_lib:down(Level)
    end.

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
