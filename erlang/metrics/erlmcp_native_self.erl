-module(erlmcp_native_self).
-moduledoc """
What the exporters count of themselves, for whoever watches the watchers.

Counters live in shared memory: any process adds, nobody waits. They start with the application and outlive each
exporter's process. While the application is not started nothing is counted.
""".

-export([start/0, started_ms/0, add/2, set/2, read/0]).

-export_type([name/0]).

-doc """
These numbers are counted: `otlp_sent`, `otlp_failed`, pushes by result; `otlp_dropped`, snapshots given up;
`otlp_buffered_bytes`, waiting to be pushed, now; `http_streams`, event streams open now; `relay_skipped`, latencies
and refusals that were too many to be passed on to `erlmcp_metrics_server`.
""".
-type name() :: otlp_sent | otlp_failed | otlp_dropped | otlp_buffered_bytes | http_streams | relay_skipped.

-define(NAMES, [otlp_sent, otlp_failed, otlp_dropped, otlp_buffered_bytes, http_streams, relay_skipped]).

-define(STARTED_MS, {?MODULE, started_ms}).

-doc "Makes the counters of the exporters, and remembers when that was, unless they are there.".
-spec start() -> ok.
start() ->
    _ = started_ms() =:= undefined andalso persistent_term:put(?STARTED_MS, erlang:system_time(millisecond)),
    case persistent_term:get(?MODULE, undefined) of
        undefined -> persistent_term:put(?MODULE, counters:new(length(?NAMES), [write_concurrency]));
        _ -> ok
    end.

-doc """
Returns when the application was first started in this runtime, in system time, as the clock was then: the same for as
long as the runtime lives, and another one after.
""".
-spec started_ms() -> integer() | undefined.
started_ms() ->
    persistent_term:get(?STARTED_MS, undefined).

-doc "Adds to one of the exporters' numbers; what is added may be negative.".
-spec add(name(), integer()) -> ok.
add(Name, N) ->
    with(fun(Counters) -> counters:add(Counters, place(Name), N) end).

-doc "Sets one of the exporters' numbers.".
-spec set(name(), integer()) -> ok.
set(Name, N) ->
    with(fun(Counters) -> counters:put(Counters, place(Name), N) end).

-doc "Returns all of the exporters' numbers; none while the application has not been started.".
-spec read() -> #{name() => integer()}.
read() ->
    case persistent_term:get(?MODULE, undefined) of
        undefined -> #{};
        Counters -> #{Name => counters:get(Counters, place(Name)) || Name <- ?NAMES}
    end.

with(Operation) ->
    case persistent_term:get(?MODULE, undefined) of
        undefined -> ok;
        Counters -> Operation(Counters)
    end.

place(otlp_sent) -> 1;
place(otlp_failed) -> 2;
place(otlp_dropped) -> 3;
place(otlp_buffered_bytes) -> 4;
place(http_streams) -> 5;
place(relay_skipped) -> 6.
