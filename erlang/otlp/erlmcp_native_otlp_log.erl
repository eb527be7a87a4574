-module(erlmcp_native_otlp_log).
-moduledoc """
Says once that pushes fail, and once that they are through again, however often they fail in between.

Nothing that may be a secret is said: of the endpoint neither path nor query, and no header.
""".

-export([new/1, failed/2, dropped/2, taken/1, taken_partly/3, caught_up/1]).

-export_type([log/0]).

-include_lib("kernel/include/logger.hrl").

-doc "A log remembers what has been said, and what has happened since.".
-opaque log() :: #{
    endpoint := binary(),
    trouble := none | #{since_ms := integer(), failures := non_neg_integer(), dropped := non_neg_integer()},
    %% Points that were rejected since that was said.
    rejected := none | non_neg_integer()
}.

-doc "Makes a log in which nothing has been said. It will name this endpoint.".
-spec new(binary()) -> log().
new(Endpoint) ->
    #{endpoint => Endpoint, trouble => none, rejected => none}.

-doc "Notes that a push failed, and says so if it is the first.".
-spec failed(Problem :: binary(), log()) -> log().
failed(Problem, #{endpoint := Endpoint, trouble := none} = Log) ->
    write(warning, Endpoint, "erlmcp_native_otlp: metrics cannot be pushed to ~ts: ~ts", [Endpoint, Problem]),
    Log#{trouble := #{since_ms => now_ms(), failures => 1, dropped => 0}};
failed(_, #{trouble := #{failures := Failures} = Trouble} = Log) ->
    Log#{trouble := Trouble#{failures := Failures + 1}}.

-doc "Notes that so many snapshots were given up, and says so if nothing was said before.".
-spec dropped(non_neg_integer(), log()) -> log().
dropped(N, #{trouble := #{dropped := Dropped} = Trouble} = Log) ->
    Log#{trouble := Trouble#{dropped := Dropped + N}};
dropped(0, Log) ->
    Log;
dropped(N, #{endpoint := Endpoint} = Log) ->
    write(
        warning,
        Endpoint,
        "erlmcp_native_otlp: pushes to ~ts take longer than the interval, snapshots are given up",
        [Endpoint]
    ),
    Log#{trouble := #{since_ms => now_ms(), failures => 0, dropped => N}}.

-doc "Notes that a push was taken, all of it.".
-spec taken(log()) -> log().
taken(#{rejected := none} = Log) ->
    Log;
taken(#{endpoint := Endpoint, rejected := Rejected} = Log) ->
    write(notice, Endpoint, "erlmcp_native_otlp: ~ts takes all points again; it rejected ~b", [Endpoint, Rejected]),
    Log#{rejected := none}.

-doc "Notes that a push was taken but for some of its points, and says so if it is the first.".
-spec taken_partly(Rejected :: non_neg_integer(), Message :: binary(), log()) -> log().
taken_partly(Rejected, Message, #{endpoint := Endpoint, rejected := none} = Log) ->
    write(warning, Endpoint, "erlmcp_native_otlp: ~ts rejects ~b points of a push, and says ~ts", [
        Endpoint, Rejected, erlmcp_native_otlp_answer:quoted(Message)
    ]),
    Log#{rejected := Rejected};
taken_partly(Rejected, _, #{rejected := Before} = Log) ->
    Log#{rejected := Before + Rejected}.

-doc "Notes that all that waited has been pushed, and says so if there was trouble.".
-spec caught_up(log()) -> log().
caught_up(#{trouble := none} = Log) ->
    Log;
caught_up(#{endpoint := Endpoint, trouble := #{since_ms := SinceMs, failures := Failures, dropped := Dropped}} = Log) ->
    write(
        notice,
        Endpoint,
        "erlmcp_native_otlp: metrics are pushed to ~ts again after ~b s; ~b pushes failed, ~b snapshots were given up",
        [Endpoint, (now_ms() - SinceMs) div 1000, Failures, Dropped]
    ),
    Log#{trouble := none}.

write(Level, Endpoint, Format, Args) ->
    erlmcp_native_log:write(Level, Format, Args, ?LOCATION, #{endpoint => Endpoint}).

now_ms() ->
    erlang:monotonic_time(millisecond).
