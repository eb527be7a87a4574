-module(erlmcp_native_config).
-moduledoc """
What can be configured, and the checks on it.

A key is looked up in this application's environment, else in `erlmcp_core`'s, else it has its default.
For the map `queue_limits` the three are merged.

| key | value | default |
| --- | --- | --- |
| `queue_limits` | map of roles (atoms) to limits (integers from 0 to 2^59 - 1), at most 1024 | see `m:erlmcp_queue_limits` |
| `queue_limits_enabled` | boolean: does a full queue refuse? | `true` |
| `control_plane_enabled` | boolean: do control messages use the priority lane? | `true` |
| `overload_monitor_enabled` | boolean: are there alerts? | `true` |
| `overload` | map of options, see `m:erlmcp_overload_options` | `#{}` |
| `supervise` | boolean: does the application start the services itself? | `true` |
| `http` | `off`, or map of options, see `erlmcp_native_http:options/1` | `off` |
| `otlp` | `off`, or map of options, see `erlmcp_native_otlp:options/1` | `off` |

The last two are looked up in this application's environment only.

```
1> application:set_env(erlmcp_native, queue_limits, #{session => 20000}).
ok
2> erlmcp_native_config:lookup(queue_limits).
{ok,#{default => 1000,session => 20000,sse_stream => 5000,
      task_worker => 1000,tool_executor => 500,transport => 2000}}
```
""".

-export([check/0, lookup/1]).

-export_type([key/0, problem/0]).

-doc "What can be configured.".
-type key() ::
    queue_limits
    | queue_limits_enabled
    | control_plane_enabled
    | overload_monitor_enabled
    | overload
    | supervise
    | http
    | otlp.
-doc "What is wrong: the key, or the path to one in a map, its value, and what was expected there.".
-type problem() ::
    {bad_config, #{
        application := atom(), key := key() | [key() | term()], value := term(), expected := string()
    }}.

-define(KEYS, [
    queue_limits,
    queue_limits_enabled,
    control_plane_enabled,
    overload_monitor_enabled,
    overload,
    supervise,
    http,
    otlp
]).
-define(MAX_ROLES, 1024).
-define(LIMIT_END, (1 bsl 59)).

-doc "Checks everything.".
-spec check() -> ok | {error, problem()}.
check() ->
    Problems = [Problem || Key <- ?KEYS, {error, Problem} <- [lookup(Key)]],
    case Problems of
        [] -> ok;
        [Problem | _] -> {error, Problem}
    end.

-doc "The value in force of a key.".
-spec lookup(key()) -> {ok, term()} | {error, problem()}.
lookup(Key) ->
    try
        {ok, value(Key)}
    catch
        throw:{bad_config, _} = Problem -> {error, Problem}
    end.

value(queue_limits) ->
    [Theirs, Ours] = [
        limits(App, application:get_env(App, queue_limits, #{}))
     || App <- [erlmcp_core, erlmcp_native]
    ],
    Merged = maps:merge(maps:merge(default_limits(), Theirs), Ours),
    map_size(Merged) =< ?MAX_ROLES orelse
        bad(erlmcp_native, queue_limits, Merged, "at most 1024 roles"),
    Merged;
value(overload) ->
    {App, Options} =
        case application:get_env(erlmcp_native, overload) of
            {ok, Ours} -> {erlmcp_native, Ours};
            undefined -> {erlmcp_core, application:get_env(erlmcp_core, overload, #{})}
        end,
    case erlmcp_overload_options:check(App, Options) of
        {ok, _} -> Options;
        {error, Problem} -> throw(Problem)
    end;
value(http) ->
    exporter(http, fun erlmcp_native_http:options/1);
value(otlp) ->
    exporter(otlp, fun erlmcp_native_otlp:options/1);
value(Key) ->
    case application:get_env(erlmcp_native, Key) of
        {ok, Value} -> boolean(erlmcp_native, Key, Value);
        undefined -> boolean(erlmcp_core, Key, application:get_env(erlmcp_core, Key, true))
    end.

exporter(Key, Check) ->
    case application:get_env(erlmcp_native, Key, off) of
        off ->
            off;
        Given ->
            case Check(Given) of
                {ok, Options} -> Options;
                {error, {[], Value, Expected}} -> bad(erlmcp_native, Key, Value, Expected);
                {error, {Path, Value, Expected}} -> bad(erlmcp_native, [Key | Path], Value, Expected)
            end
    end.

boolean(_, _, Value) when is_boolean(Value) -> Value;
boolean(App, Key, Value) -> bad(App, Key, Value, "true or false").

limits(App, Limits) when is_map(Limits) ->
    maps:foreach(
        fun(Role, Limit) ->
            is_atom(Role) orelse
                bad(App, [queue_limits, Role], Limit, "an atom for the role"),
            (is_integer(Limit) andalso Limit >= 0 andalso Limit < ?LIMIT_END) orelse
                bad(App, [queue_limits, Role], Limit, "an integer from 0 to 2^59 - 1")
        end,
        Limits
    ),
    Limits;
limits(App, Value) ->
    bad(App, queue_limits, Value, "a map of roles to limits").

default_limits() ->
    #{
        session => 10000,
        sse_stream => 5000,
        task_worker => 1000,
        tool_executor => 500,
        transport => 2000,
        default => 1000
    }.

-spec bad(atom(), key() | [term()], term(), string()) -> no_return().
bad(App, Key, Value, Expected) ->
    throw({bad_config, #{application => App, key => Key, value => Value, expected => Expected}}).
