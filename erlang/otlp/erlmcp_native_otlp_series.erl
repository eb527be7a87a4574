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
what it replaces, and never behind its own point, even if the system's clock is set back: then points keep the
latest time that there was.
""".

-export([new/1, update/3, at_ms/1, start_ms/3]).

-export_type([series/0]).

-doc "These are the series that were seen in the last snapshot.".
-opaque series() :: #{
    at_ms := integer(),
    seen := #{Name :: binary() => #{Labels :: [binary()] => {StartMs :: integer(), seen()}}}
}.
-type seen() :: number() | {Count :: non_neg_integer(), Sum :: float(), [Cumulative :: non_neg_integer()]}.

-doc """
Returns the series before the first snapshot. `SinceMs` is when everything was zero, in milliseconds of system time.
""".
-spec new(SinceMs :: integer()) -> series().
new(SinceMs) ->
    #{at_ms => SinceMs, seen => #{}}.

-doc "Returns the series with the snapshot of this moment, in milliseconds of system time.".
-spec update([erlmcp_native_metrics:family()], AtMs :: integer(), series()) -> series().
update(Families, AtMs, #{at_ms := BeforeMs, seen := Before}) ->
    Seen = #{
        Name => samples(Samples, maps:get(Name, Before, #{}), BeforeMs)
     || {#{name := Name, kind := Kind}, Samples} <- Families, Kind =/= gauge
    },
    #{at_ms => max(AtMs, BeforeMs), seen => Seen}.

-doc "Returns the time of the last snapshot, in milliseconds of system time.".
-spec at_ms(series()) -> integer().
at_ms(#{at_ms := AtMs}) ->
    AtMs.

-doc "Returns since when a series in the last snapshot has been counting, in milliseconds of system time.".
-spec start_ms(Name :: binary(), Labels :: [binary()], series()) -> integer().
start_ms(Name, Labels, #{seen := Seen}) ->
    #{Name := #{Labels := {StartMs, _}}} = Seen,
    StartMs.

samples(Samples, Before, BeforeMs) ->
    #{Labels => {start(seen(Value), Before, Labels, BeforeMs), seen(Value)} || {Labels, Value} <- Samples}.

start(Now, Before, Labels, BeforeMs) ->
    case Before of
        #{Labels := {StartMs, Then}} ->
            case went_back(Then, Now) of
                true -> BeforeMs;
                false -> StartMs
            end;
        #{} ->
            BeforeMs
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
