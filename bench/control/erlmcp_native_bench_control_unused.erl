-module(erlmcp_native_bench_control_unused).
-moduledoc "What a priority alias costs a process that only ever gets ordinary messages.".

-export([run/1]).

-doc "Measures the throughput to a process with an alias and to one without, in turn.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{rounds := Rounds, quick := Quick}) ->
    N = case Quick of true -> 100_000; false -> 1_000_000 end,
    [_WarmUp | Timed] = [{rate(N, with), rate(N, without)} || _ <- lists:seq(0, Rounds)],
    {With, Without} = lists:unzip(Timed),
    result(erlmcp_native_bench_run:median(With), erlmcp_native_bench_run:median(Without)).

rate(N, Alias) ->
    Parent = self(),
    Pid = spawn_opt(
        fun() ->
            _ = case Alias of with -> erlmcp_priority:create_priority_alias(); without -> none end,
            Parent ! {self(), ready},
            take(N),
            Parent ! {self(), erlang:monotonic_time(nanosecond)}
        end,
        [link, {message_queue_data, off_heap}]
    ),
    receive {Pid, ready} -> ok end,
    Start = erlang:monotonic_time(nanosecond),
    Data = erlmcp_native_bench_control_peer:data(),
    lists:foreach(fun(_) -> Pid ! Data end, lists:seq(1, N)),
    receive {Pid, End} -> N * 1_000_000_000 / (End - Start) end.

take(0) -> ok;
take(N) -> receive {data, _} -> take(N - 1) end.

result(With, Without) ->
    Million = fun(Rate) -> float_to_list(Rate / 1_000_000, [{decimals, 2}]) end,
    #{
        title => "",
        tables => [
            #{
                head => ["ordinary messages to a process, M/s", "without alias", "with one", "with to without"],
                left => 1,
                rows => [["", Million(Without), Million(With), float_to_list(With / Without, [{decimals, 2}])]]
            }
        ],
        notes => [],
        targets => [],
        data => #{unused => #{with_per_second => With, without_per_second => Without}}
    }.
