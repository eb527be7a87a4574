-module(erlmcp_native_telemetry).
-moduledoc """
Events for the `telemetry` library, where it is loaded.

| event | measurements | metadata |
| --- | --- | --- |
| `[erlmcp_native, overload, alert]` | `depth`, `limit`, `utilization` | `level`, `role`, `process`, `timestamp` (ms) |
| `[erlmcp_native, overload, clear]` | the same: a level was left | the same |
| `[erlmcp_native, overload, breaker]` | `count` (1) | `role`, `action`: `open` or `close` |
| `[erlmcp_native, queue_limits, refused]` | `count`: refusals of the last second | `role`, `class`, `reason` |
| `[erlmcp_native, queue_limits, role]` | `depth`, `owners`, `limit`, `utilization`, `level`, `wait_ms`, `stalled_ms`, `refused_per_s` | `role` |

Measurements are numbers: `limit` is left out where it is `infinity`, and the `level` of a role is 0 for `ok`, 1 for
`warning`, 2 for `critical` and 3 for `overload`.

The last event comes when `emit/0` is called, once for each role. It is for `telemetry_poller`, of which it is a
measurement: `{erlmcp_native_telemetry, emit, []}`.

Alerts come as they are raised, from a handler's process of the overload monitor; refusals once a second for
each role, class and reason that had any.
Neither is in the way of an admission, whatever the attached functions do: see `m:erlmcp_overload_handler` and
`m:erlmcp_native_relay` for what happens if they hang.
""".

-behaviour(erlmcp_native_relay).
-behaviour(erlmcp_overload_handler).

-export([emit/0]).
-export([is_there/0, refused/1, tick/0]).
-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).
-export([told/2]).

-define(LIBRARY, telemetry).
-define(MONITOR, erlmcp_overload_monitor).

-doc """
Executes the event `[erlmcp_native, queue_limits, role]` for each role, in the caller, with what is so now: `depth` over
all `owners`, `limit` for each, the `level`, how many refusals there are in a second; and of the last check, at most of
all owners, `utilization`, for how many milliseconds one that comes would wait (an estimate), and for how many nobody
was taken out.

```erlang
1> erlmcp_native_telemetry:emit().
ok
```

Without the library, or while the limits are not started, it does nothing.
""".
-spec emit() -> ok.
emit() ->
    #{roles := Rows} = erlmcp_native_metrics:snapshot(),
    lists:foreach(
        fun(#{role := Role} = Row) -> execute(event([queue_limits, role], measured(Row), #{role => Role})) end,
        Rows
    ).

measured(#{max_utilization := Utilization, max_wait_ms := WaitMs, max_stalled_ms := StalledMs, level := Level} = Row) ->
    Plain = maps:with([depth, owners, limit, refused_per_s], Row),
    Numbers = #{Name => Number || Name := Number <- Plain, is_number(Number)},
    Numbers#{
        utilization => Utilization,
        wait_ms => WaitMs,
        stalled_ms => StalledMs,
        level => erlmcp_native_role:severity(Level)
    }.

-doc false.
-spec is_there() -> boolean().
is_there() ->
    erlang:function_exported(?LIBRARY, execute, 3).

-doc false.
-spec refused([{erlmcp_native_relay:refused_as(), pos_integer()}]) -> ok.
refused(Refused) ->
    lists:foreach(
        fun({{Role, Class, Reason}, Count}) ->
            Metadata = #{role => Role, class => Class, reason => Reason},
            execute(event([queue_limits, refused], #{count => Count}, Metadata))
        end,
        Refused
    ).

%% One that was stopped has forgotten its handlers.
-doc false.
-spec tick() -> ok.
tick() ->
    Monitor = whereis(?MONITOR),
    case get(?MONITOR) of
        Monitor -> ok;
        _ when Monitor =:= undefined -> ok;
        _ -> attach(Monitor)
    end.

attach(Monitor) ->
    ok = erlmcp_overload_server:attach({?MODULE, []}),
    _ = put(?MONITOR, Monitor),
    ok.

-doc false.
-spec init(term()) -> {ok, []}.
init(_) ->
    {ok, []}.

-doc false.
-spec handle_alert(erlmcp_overload_monitor:alert(), []) -> {ok, []}.
handle_alert(Alert, State) ->
    level(alert, Alert, State).

-doc false.
-spec handle_clear(erlmcp_overload_monitor:alert(), []) -> {ok, []}.
handle_clear(Alert, State) ->
    level(clear, Alert, State).

-doc false.
-spec handle_role(erlmcp_queue_limits:role(), open | close, []) -> {ok, []}.
handle_role(Role, Action, State) ->
    tell(event([overload, breaker], #{count => 1}, #{role => Role, action => Action}), State).

level(Event, Alert, State) ->
    Measured = [depth, limit, utilization],
    Numbers = #{Name => Number || Name := Number <- maps:with(Measured, Alert), is_number(Number)},
    tell(event([overload, Event], Numbers, maps:without(Measured, Alert)), State).

execute({Module, Function, Args}) ->
    _ = is_there() andalso apply(Module, Function, Args),
    ok.

event(Event, Measurements, Metadata) ->
    %% Not there where this is built.
    {?LIBRARY, execute, [[erlmcp_native | Event], Measurements, Metadata]}.

%% Waited for where this module can be replaced meanwhile.
tell(Call, State) ->
    case is_there() of
        true -> erlmcp_native_wait:run(Call, {?MODULE, told, State});
        false -> {ok, State}
    end.

-doc false.
-spec told(erlmcp_native_wait:outcome(), []) -> {ok, []}.
told({returned, _}, State) -> {ok, State};
told({raised, Class, Reason, Stacktrace}, _) -> erlang:raise(Class, Reason, Stacktrace).
