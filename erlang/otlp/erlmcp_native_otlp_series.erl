-module(erlmcp_native_otlp_series).
-moduledoc """
Since when each series of a counter or histogram has been counting: OTLP wants to be told, and what is wrong there
is counted twice by whoever reads it.

Nothing says when a number was last zero, so a start is the latest moment for which that is known:

- what is in the first snapshot began with the runtime, since the native counters cannot be older;
- what was not there in the snapshot before (a new role, a component that registered again, a service that was started)
  began at that snapshot, and so did what is lower than it was there: its service was stopped or its numbers were
  reset in between;
- else it began when it did before.

Each series is looked at by itself. One that was reset and has grown beyond its old value by the next snapshot cannot
be told from one that went on; it shows too small an increase, once. A start never lies before the last point of
what it replaces, and never behind its own point.

Points have the time of the system's clock, and where the runtime follows that (`+C multi_time_warp`), they go back
with it when it is set back: it was wrong before, and whoever reads them has the right one. A series keeps its start as
far as it can, since a new one is taken for a new count from zero. A start that would lie behind its own point is moved
with the clock, and so is the last point of the snapshot before; how far, the monotonic clock tells.
""".

-export([new/1, update/3, at_ms/1, start_ms/3]).

-export_type([series/0, moment/0]).

-doc "A moment has milliseconds of system time, and of monotonic time.".
-type moment() :: {SystemMs :: integer(), MonotonicMs :: integer()}.

-doc "These are the series that were seen in the last snapshot.".
-opaque series() :: #{
    at := moment(),
    seen := #{Name :: binary() => #{Labels :: [binary()] => {StartMs :: integer(), seen()}}}
}.
-type seen() :: number() | {Count :: non_neg_integer(), Sum :: float(), [Cumulative :: non_neg_integer()]}.

-doc """
Returns the series before the first snapshot. `Since` is when everything was zero.
""".
-spec new(Since :: moment()) -> series().
new(Since) ->
    #{at => Since, seen => #{}}.

-doc "Returns the series with the snapshot of this moment.".
-spec update([erlmcp_native_metrics:family()], At :: moment(), series()) -> series().
update(Families, {AtMs, _} = At, #{at := LastAt, seen := Before}) ->
    BackMs = back_ms(LastAt, At),
    {LastMs, _} = LastAt,
    Moved = fun(StartMs) -> if StartMs > AtMs -> StartMs - BackMs; true -> StartMs end end,
    Seen = #{
        Name => samples(Samples, maps:get(Name, Before, #{}), Moved, LastMs)
     || {#{name := Name, kind := Kind}, Samples} <- Families, Kind =/= gauge
    },
    #{at => At, seen => Seen}.

%% How far the clock was set back in between, if that is to be seen.
back_ms({LastMs, LastMonotonicMs}, {AtMs, MonotonicMs}) when AtMs < LastMs ->
    LastMs - AtMs + max(0, MonotonicMs - LastMonotonicMs);
back_ms(_, _) ->
    0.

-doc "Returns the time of the last snapshot, in milliseconds of system time.".
-spec at_ms(series()) -> integer().
at_ms(#{at := {AtMs, _}}) ->
    AtMs.

-doc "Returns since when a series in the last snapshot has been counting, in milliseconds of system time.".
-spec start_ms(Name :: binary(), Labels :: [binary()], series()) -> integer().
start_ms(Name, Labels, #{seen := Seen}) ->
    #{Name := #{Labels := {StartMs, _}}} = Seen,
    StartMs.

samples(Samples, Before, Moved, LastMs) ->
    #{Labels => {Moved(start(seen(Value), Before, Labels, LastMs)), seen(Value)} || {Labels, Value} <- Samples}.

start(Now, Before, Labels, LastMs) ->
    case Before of
        #{Labels := {StartMs, Then}} ->
            case went_back(Then, Now) of
                true -> LastMs;
                false -> StartMs
            end;
        #{} ->
            LastMs
    end.

seen(#{count := Count, sum := Sum, buckets := Buckets}) ->
    {Count, Sum, [Cumulative || {_, Cumulative} <- Buckets]};
seen(Number) ->
    Number.

went_back({CountThen, SumThen, Then}, {CountNow, SumNow, Now}) ->
    CountNow < CountThen orelse SumNow < SumThen orelse length(Now) =/= length(Then) orelse
        lists:any(fun({A, B}) -> B < A end, lists:zip(Then, Now));
went_back(Then, Now) ->
    Now < Then.
