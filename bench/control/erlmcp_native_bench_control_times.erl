-module(erlmcp_native_bench_control_times).
-moduledoc """
Times round trips one by one, into histograms: a list of so many times would have the collector join in.

What the histograms are given here are nanoseconds, for the fast ones; over 60 ms count as 60 ms.
""".

-export([interleaved/3, interleaved/4, time_ns/1, head/1, row/2, us/1, target/5]).

-export_type([summary/0]).

-doc "A summary is in microseconds, with three significant digits.".
-type summary() :: #{count | p50_us | p95_us | p99_us | p999_us | max_us => number()}.

-doc "Times each of the funs, `Each` times in a row, in turn, after a warm-up of a round.".
-spec interleaved([{Name, fun(() -> term())}], Rounds :: pos_integer(), Each :: pos_integer()) ->
    #{Name => summary()}.
interleaved(Funs, Rounds, Each) ->
    interleaved(Funs, Rounds, Each, fun() -> ok end).

-doc "Times each of the funs, `Each` times in a row, in turn, with a pause before each call.".
-spec interleaved([{Name, fun(() -> term())}], pos_integer(), pos_integer(), Pause :: fun(() -> term())) ->
    #{Name => summary()}.
interleaved(Funs, Rounds, Each, Pause) ->
    Histograms = [{Name, Fun, erlmcp_native:latency_new()} || {Name, Fun} <- Funs],
    round(Histograms, Each, Pause),
    lists:foreach(fun({_, _, Histogram}) -> ok = erlmcp_native:latency_reset(Histogram) end, Histograms),
    lists:foreach(fun(_) -> round(Histograms, Each, Pause) end, lists:seq(1, Rounds)),
    #{Name => from_ns(erlmcp_native:latency_summary(Histogram)) || {Name, _, Histogram} <- Histograms}.

round(Histograms, Each, Pause) ->
    lists:foreach(fun({_, Fun, Histogram}) -> record(Fun, Histogram, Each, Pause) end, Histograms).

record(_, _, 0, _) ->
    ok;
record(Fun, Histogram, N, Pause) ->
    _ = Pause(),
    ok = erlmcp_native:latency_record(Histogram, time_ns(Fun)),
    record(Fun, Histogram, N - 1, Pause).

-doc "Returns how many nanoseconds one call takes.".
-spec time_ns(fun(() -> term())) -> non_neg_integer().
time_ns(Fun) ->
    Start = erlang:monotonic_time(nanosecond),
    _ = Fun(),
    erlang:monotonic_time(nanosecond) - Start.

from_ns(Summary) ->
    maps:map(fun(count, N) -> N; (_, Ns) -> Ns / 1000 end, Summary).

-doc "Returns the head of a table of summaries.".
-spec head(iodata()) -> [iodata()].
head(What) ->
    [What, "count", "p50", "p95", "p99", "p99.9", "max"].

-doc "Makes a row of a table of summaries.".
-spec row(iodata(), summary()) -> [iodata()].
row(Name, #{count := N, p50_us := P50, p95_us := P95, p99_us := P99, p999_us := P999, max_us := Max}) ->
    [Name, integer_to_list(N) | [us(Us) || Us <- [P50, P95, P99, P999, Max]]].

-doc "Writes microseconds, with decimals where there are any.".
-spec us(number()) -> string().
us(Us) when is_integer(Us) -> integer_to_list(Us);
us(Us) when Us < 100 -> float_to_list(Us, [{decimals, 2}]);
us(Us) -> integer_to_list(round(Us)).

-doc "Makes a target of a name, a bound and what was measured.".
-spec target(iodata(), lower | higher, number(), number(), iodata()) -> erlmcp_native_bench:target().
target(Name, Better, Target, Measured, Unit) ->
    #{name => ["control: ", Name], better => Better, target => Target, measured => Measured, unit => Unit}.
