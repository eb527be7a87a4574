-module(erlmcp_native_bench_watch).
-moduledoc """
The watch over all mailboxes: how soon a handler hears that one has become long whose senders know nothing of us, and
what the watch costs processes that stay below its lengths.
""".

-behaviour(erlmcp_native_bench).
-behaviour(erlmcp_overload_handler).

-export([run/1]).
-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).

-define(MAILBOX, erlmcp_overload_mailbox).
-define(MONITOR, erlmcp_overload_monitor).
-define(LENGTH, 1000).
-define(LENGTHS, #{warning => ?LENGTH, critical => 5000, overload => 10000}).
-define(BUSY, 16).
-define(SENDERS, 2).
%% To each process in a round.
-define(MESSAGES, 5).

-doc "Measures the watch with as many processes as it is promised for, or fewer in a quick run.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{quick := Quick}) ->
    {Crossings, Processes, Rounds} = case Quick of true -> {50, 2_000, 3}; false -> {2_000, 100_000, 15} end,
    {ok, _} = erlmcp_queue_limits:start_link(),
    {Waiting, Floor} = told(Crossings, fun hang/0),
    {Busy, _} = told(Crossings, fun busy/0),
    {Off, On} = messages(Processes, Rounds),
    ok = gen_server:stop(erlmcp_queue_limits),
    result(Crossings, Processes, #{floor => Floor, waiting => Waiting, busy => Busy, off_per_s => Off, on_per_s => On}).

%% From before the message that makes a mailbox long to the handler's first line, while ordinary processes keep all
%% schedulers full.
told(Crossings, Receiver) ->
    Histogram = erlmcp_native:latency_new(),
    {ok, _} = ?MONITOR:start_link([{handlers, [{?MODULE, {self(), Histogram}}]}]),
    ok = ?MAILBOX:watch_mailboxes(?LENGTHS),
    Busy = [spawn_link(fun busy/0) || _ <- lists:seq(1, ?BUSY)],
    Echo = spawn_opt(fun echo/0, [link, {priority, high}]),
    Floor = erlmcp_native:latency_new(),
    _ = [{echoed(Echo, Floor), cross(spawn(Receiver))} || _ <- lists:seq(1, Crossings)],
    [exit(Pid, kill) || Pid <- [Echo | Busy], unlink(Pid)],
    ok = gen_server:stop(?MONITOR),
    {erlmcp_native:latency_summary(Histogram), erlmcp_native:latency_summary(Floor)}.

%% What an answer takes at the same time that nothing of ours is in the way of.
echoed(Echo, Floor) ->
    Before = erlang:monotonic_time(),
    Echo ! {echo, self()},
    receive
        {Echo, At} -> record(Floor, Before, At)
    end.

echo() ->
    receive
        {echo, From} -> From ! {self(), erlang:monotonic_time()}
    end,
    echo().

record(Histogram, Before, After) ->
    Us = erlang:convert_time_unit(After - Before, native, microsecond),
    ok = erlmcp_native:latency_record(Histogram, Us).

cross(Receiver) ->
    _ = [Receiver ! message || _ <- lists:seq(2, ?LENGTH)],
    Before = erlang:monotonic_time(),
    Receiver ! message,
    receive
        {alerted, Receiver, From} -> From ! {sent, Before}
    after 10_000 -> error({never_told, Receiver})
    end,
    exit(Receiver, kill).

hang() ->
    receive
        never -> ok
    end.

busy() ->
    _ = lists:sum(lists:seq(1, 1000)),
    busy().

-doc false.
-spec init(Arg) -> {ok, Arg}.
init(Arg) ->
    {ok, Arg}.

-doc false.
-spec handle_alert(erlmcp_overload_monitor:alert(), State) -> {ok, State}.
handle_alert(#{process := Process, depth := Depth}, {Test, Histogram} = State) when Depth >= ?LENGTH ->
    Now = erlang:monotonic_time(),
    Test ! {alerted, Process, self()},
    receive
        {sent, Before} -> record(Histogram, Before, Now)
    end,
    {ok, State}.

-doc false.
-spec handle_clear(erlmcp_overload_monitor:alert(), State) -> {ok, State}.
handle_clear(_, State) ->
    {ok, State}.

-doc false.
-spec handle_role(erlmcp_queue_limits:role(), open | close, State) -> {ok, State}.
handle_role(_, _, State) ->
    {ok, State}.

%% Messages a second to very many processes without the watch and with it: in turns, so that both see the same machine.
messages(Processes, Rounds) ->
    {ok, _} = ?MONITOR:start_link([{handlers, []}]),
    Taken = counters:new(1, [write_concurrency]),
    Receivers = [spawn_link(fun() -> take(Taken) end) || _ <- lists:seq(1, Processes)],
    persistent_term:put(?MODULE, Receivers),
    _ = round(Taken, Processes),
    Rates = [
        begin
            ok = ?MAILBOX:watch_mailboxes(off),
            Off = round(Taken, Processes),
            ok = ?MAILBOX:watch_mailboxes(?LENGTHS),
            ok = scanned(),
            {Off, round(Taken, Processes)}
        end
     || _ <- lists:seq(1, Rounds)
    ],
    off = case ?MAILBOX:watched() of #{held := 0, passed_over := 0} -> off; Watched -> Watched end,
    _ = persistent_term:erase(?MODULE),
    _ = [exit(Pid, kill) || Pid <- Receivers, unlink(Pid)],
    ok = gen_server:stop(?MONITOR),
    {Offs, Ons} = lists:unzip(Rates),
    {erlmcp_native_bench_run:median(Offs), erlmcp_native_bench_run:median(Ons)}.

take(Taken) ->
    receive
        message -> counters:add(Taken, 1, 1)
    end,
    take(Taken).

%% The look at all processes with which the watch begins is over when only its watcher is left.
scanned() ->
    {links, Links} = process_info(whereis(?MONITOR), links),
    [Watcher] = [Pid || Pid <- Links, proc_lib:translate_initial_call(Pid) =:= {erlmcp_overload_watch, init, 1}],
    case process_info(Watcher, links) of
        {links, [_Monitor]} -> ok;
        {links, _} -> receive after 1 -> scanned() end
    end.

round(Taken, Processes) ->
    ok = counters:put(Taken, 1, 0),
    {Us, ok} = timer:tc(fun() ->
        Senders = [spawn_monitor(fun() -> send(?MESSAGES) end) || _ <- lists:seq(1, ?SENDERS)],
        _ = [receive {'DOWN', Monitor, process, _, normal} -> ok end || {_, Monitor} <- Senders],
        taken(Taken, Processes * ?MESSAGES * ?SENDERS)
    end),
    Processes * ?MESSAGES * ?SENDERS * 1_000_000 / Us.

send(0) ->
    ok;
send(Times) ->
    lists:foreach(fun(Pid) -> Pid ! message end, persistent_term:get(?MODULE)),
    send(Times - 1).

taken(Taken, All) ->
    case counters:get(Taken, 1) of
        All -> ok;
        _ -> erlang:yield(), taken(Taken, All)
    end.

result(Crossings, Processes, Numbers) ->
    #{floor := Floor, waiting := Waiting, busy := Busy, off_per_s := Off, on_per_s := On} = Numbers,
    #{p50_us := WaitingP50, p99_us := WaitingP99, max_us := WaitingMax} = Waiting,
    #{p50_us := FloorP50, p99_us := FloorP99, max_us := FloorMax} = Floor,
    #{p50_us := BusyP50, p99_us := BusyP99, max_us := BusyMax} = Busy,
    Count = fun erlmcp_native_bench_report:count/1,
    Ms = fun(Us) -> io_lib:format("~.3f ms", [Us / 1000]) end,
    Rate = fun(PerS) -> io_lib:format("~.3f M/s", [PerS / 1.0e6]) end,
    Many = Count(Processes),
    #{
        title => "The watch over all mailboxes",
        tables => [
            #{
                head => ["crossing to handler, of " ++ Count(Crossings), "p50", "p99", "longest"],
                left => 1,
                rows => [
                    ["a message to a process of priority high", Ms(FloorP50), Ms(FloorP99), Ms(FloorMax)],
                    ["of a process that waits for another message", Ms(WaitingP50), Ms(WaitingP99), Ms(WaitingMax)],
                    ["of a process that is busy and receives nothing", Ms(BusyP50), Ms(BusyP99), Ms(BusyMax)]
                ]
            },
            #{
                head => ["messages to " ++ Many ++ " processes", "a second"],
                left => 1,
                rows => [["watched by nobody", Rate(Off)], ["watched, below all lengths", Rate(On)]]
            }
        ],
        notes => [
            io_lib:format("~b ordinary processes keep all schedulers full during the crossings", [?BUSY]),
            io_lib:format("with the watch ~.4f x the messages a second of without", [On / Off])
        ],
        targets => [
            target("crossing to alert, waiting, p99, schedulers busy", lower, 20, WaitingP99 / 1000, " ms"),
            target("crossing to alert, busy, p99, schedulers busy", lower, 20, BusyP99 / 1000, " ms"),
            target("messages to " ++ Many ++ " processes, watched against not", higher, 0.97, On / Off, "x")
        ],
        data => Numbers
    }.

target(Name, Better, Target, Measured, Unit) ->
    #{name => Name, better => Better, target => Target, measured => Measured, unit => Unit}.
