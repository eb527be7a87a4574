-module(erlmcp_native_bench_control_queues).
-moduledoc "Whether messages pile up anywhere but at handlers: many components, many senders.".

-export([run/1]).

-import(erlmcp_native_bench_control_times, [head/1, row/2, target/5]).

-define(COMPONENTS, 1_000).
-define(SENDERS, 100).
-define(PER_SENDER, 2_000).
-define(LONGEST, 10).

-doc "Sends 200,000 messages of all types. The runtime itself reports each queue that gets longer than 10.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(_Options) ->
    Ids = [list_to_atom("erlmcp_native_bench_queues_" ++ integer_to_list(I)) || I <- lists:seq(1, ?COMPONENTS)],
    Others = processes(),
    lists:foreach(fun(Id) -> ok = erlmcp_control_plane:register_component(Id, fun(_) -> ok end) end, Ids),
    Handlers = #{Pid => handler || Pid <- processes() -- Others},
    ?COMPONENTS = map_size(Handlers),
    {Watcher, Watching} = start_watcher(),
    Seen = send_all(list_to_tuple(Ids)),
    Long = stop_watcher(Watcher, Watching),
    #{total_delivered := Delivered, queued := Queued} = erlmcp_control_plane:get_stats(),
    Delivered = ?SENDERS * ?PER_SENDER,
    [0, 0, 0, 0] = maps:values(Queued),
    lists:foreach(fun(Id) -> ok = erlmcp_control_plane:unregister_component(Id) end, Ids),
    {AtHandlers, Elsewhere} = lists:partition(fun(Pid) -> is_map_key(Pid, Handlers) end, Long),
    result(Seen, length(AtHandlers), length(Elsewhere)).

start_watcher() ->
    Watcher = spawn_link(fun() -> watch(#{}) end),
    _ = erlang:system_monitor(Watcher, [{long_message_queue, {0, ?LONGEST + 1}}]),
    %% That the runtime tells what it is asked for.
    Piled = spawn_link(fun() -> receive done -> ok end end),
    lists:foreach(fun(_) -> Piled ! data end, lists:seq(1, ?LONGEST + 1)),
    {Watcher, Piled}.

stop_watcher(Watcher, Piled) ->
    _ = erlang:system_monitor(undefined),
    Watcher ! {long, self()},
    Long = receive {Watcher, Pids} -> Pids end,
    Piled ! done,
    true = lists:member(Piled, Long),
    Long -- [Piled, Watcher].

watch(Long) ->
    receive
        {monitor, Pid, long_message_queue, true} -> watch(Long#{Pid => long});
        {monitor, _, long_message_queue, false} -> watch(Long);
        {long, From} -> From ! {self(), maps:keys(Long)}
    end.

send_all(Ids) ->
    Histogram = erlmcp_native:latency_new(),
    Parent = self(),
    Start = erlang:monotonic_time(nanosecond),
    Senders = [
        spawn_link(fun() ->
            send(Ids, I * 7919, Histogram, ?PER_SENDER),
            receive finished -> Parent ! {self(), finished} end
        end)
     || I <- lists:seq(1, ?SENDERS)
    ],
    %% One after the other, or their answers would be a long queue.
    lists:foreach(fun(Sender) -> Sender ! finished, receive {Sender, finished} -> ok end end, Senders),
    Ns = erlang:monotonic_time(nanosecond) - Start,
    {erlmcp_native:latency_summary(Histogram), ?SENDERS * ?PER_SENDER * 1_000_000_000 / Ns}.

send(_, _, _, 0) ->
    ok;
send(Ids, At, Histogram, N) ->
    Id = element(1 + At rem tuple_size(Ids), Ids),
    {ok, Us} = send(N rem 4, Id),
    ok = erlmcp_native:latency_record(Histogram, Us),
    send(Ids, At * 31 rem 1_000_003, Histogram, N - 1).

send(0, Id) -> erlmcp_control_plane:send_circuit_breaker(Id, query);
send(1, Id) -> erlmcp_control_plane:send_health_check(Id, full);
send(2, Id) -> erlmcp_control_plane:send_drain_session(Id, session);
send(3, Id) -> erlmcp_control_plane:send_cancel_task(Id, task).

result({Summary, PerSecond}, AtHandlers, Elsewhere) ->
    #{
        title => "",
        tables => [
            #{
                head => head("1k components, 100 senders") ++ ["messages/s", "queues over 10"],
                left => 1,
                rows => [
                    row("what senders wait", Summary) ++
                        [integer_to_list(round(PerSecond)), integer_to_list(Elsewhere)]
                ]
            }
        ],
        notes => [
            "queues    by the runtime's own account (system_monitor), of all processes but handlers",
            io_lib:format("          and its watcher; ~b handlers had one", [AtHandlers])
        ],
        targets => [target("processes, but handlers, with ever more than 10 waiting", lower, 0, Elsewhere, "")],
        data => #{
            queues => #{
                sender => Summary,
                messages_per_second => PerSecond,
                long_at_handlers => AtHandlers,
                long_elsewhere => Elsewhere
            }
        }
    }.
