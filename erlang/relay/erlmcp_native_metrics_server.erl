-module(erlmcp_native_metrics_server).
-moduledoc """
Passes refusals and latencies on to erlmcp's own metrics, as far as the key `metrics_server` of the configuration says,
when a process is registered as `erlmcp_metrics_server` and the module of that name has its functions.

| part | what is called |
| --- | --- |
| `refusals` | `record_error/0` for each refusal, at most 10000 a second |
| `latencies` | `record_latency/1` once a second for each type of control messages that there were, with the mean of the milliseconds that their senders waited |

Nothing is called while 10000 messages wait in that process's mailbox. What was too much is counted in the metric
`erlmcp_relay_skipped`.

Nothing is passed on unless it is switched on: erlmcp's metrics are of requests. Its server keeps each latency and takes
its percentiles of all of them, where a few thousand health checks of microseconds would hide every request. That is why
latencies are passed on as means.

```erlang
1> application:set_env(erlmcp_native, metrics_server, [refusals]).
ok
2> erlmcp_native_app:reload_config().
ok
3> application:unset_env(erlmcp_native, metrics_server), erlmcp_native_app:reload_config().
ok
```
""".

-behaviour(erlmcp_native_config).
-behaviour(erlmcp_native_relay).

-export([config/0, child_spec/1]).
-export([is_there/0, refused/1, waited/1]).

-define(TARGET, erlmcp_metrics_server).
-define(MOST, 10000).

-doc false.
-spec config() -> erlmcp_native_options:table().
config() ->
    [
        #{
            name => metrics_server,
            type => erlmcp_native_options:named(
                "a list of latencies, refusals",
                erlmcp_native_options:list_of(erlmcp_native_options:one_of([latencies, refusals]))
            ),
            default => [],
            from => [erlmcp_native],
            doc => ~"What is passed on to erlmcp's metrics server, see `m:erlmcp_native_metrics_server`."
        }
    ].

-doc "Makes the relay of these parts a child; `off` if there are none.".
-spec child_spec([latencies | refusals]) -> supervisor:child_spec() | off.
child_spec([]) ->
    off;
child_spec(Parts) ->
    Callbacks = lists:usort([callback(Part) || Part <- Parts]),
    #{id => metrics_server, start => {erlmcp_native_relay, start_link, [?MODULE, Callbacks]}}.

callback(latencies) -> waited;
callback(refusals) -> refused.

-doc false.
-spec is_there() -> boolean().
is_there() ->
    whereis(?TARGET) =/= undefined andalso
        erlang:function_exported(?TARGET, record_error, 0) andalso
        erlang:function_exported(?TARGET, record_latency, 1).

-doc false.
-spec refused([{erlmcp_native_relay:refused_as(), pos_integer()}]) -> ok.
refused(Refused) ->
    Count = lists:sum([N || {_, N} <- Refused]),
    Most = min(Count, room()),
    repeat(Most),
    erlmcp_native_self:add(relay_skipped, Count - Most).

-doc false.
-spec waited([{erlmcp_control_message:control_type(), pos_integer(), Us :: non_neg_integer()}]) -> ok.
waited(ByType) ->
    Told = [Row || room() > 0, Row <- ByType],
    lists:foreach(fun({_Type, Waits, Us}) -> call(record_latency, [Us / Waits / 1000]) end, Told),
    erlmcp_native_self:add(relay_skipped, length(ByType) - length(Told)).

room() ->
    maybe
        Pid = whereis(?TARGET),
        true ?= is_pid(Pid),
        {message_queue_len, Waiting} ?= process_info(Pid, message_queue_len),
        max(0, ?MOST - Waiting)
    else
        _Gone -> 0
    end.

repeat(0) ->
    ok;
repeat(Times) ->
    call(record_error, []),
    repeat(Times - 1).

%% erlmcp's; not there where this is built.
call(Function, Args) ->
    apply(?TARGET, Function, Args).
