-module(erlmcp_control_message).
-moduledoc "What a control message is: how each type is made, and what is none.".

-include("erlmcp_messages.hrl").

-export([health_check/1, health_check/2, drain_session/1, cancel_task/1, circuit_breaker/2]).
-export([type/1]).

-export_type([control_message/0, control_type/0, control_plane_stats/0]).
-export_type([health_check_data/0, drain_session_data/0, cancel_task_data/0, circuit_breaker_data/0]).
-export_type([health_check_type/0, drain_reason/0, circuit_breaker_action/0]).
-export_type([priority_level/0, priority_metadata/0]).

-doc "Makes a health check of a kind. The handler is told that it has 100 ms.".
-spec health_check(health_check_type()) -> control_message().
health_check(Type) ->
    health_check(Type, erlang:monotonic_time(nanosecond)).

-doc "Makes a health check that was requested at this time, in nanoseconds.".
-spec health_check(health_check_type(), integer()) -> control_message().
health_check(Type, RequestedAt) ->
    RequestedAtUs = erlang:convert_time_unit(RequestedAt, nanosecond, microsecond),
    {control, health_check, #{type => Type, timeout_ms => 100, requested_at => RequestedAtUs}}.

-doc "Makes the message that a session is to end gracefully, within 5000 ms.".
-spec drain_session(term()) -> control_message().
drain_session(SessionId) ->
    {control, drain_session, #{session_id => SessionId, reason => shutdown, timeout_ms => 5000}}.

-doc "Makes the message that a task is to be given up, within 1000 ms.".
-spec cancel_task(term()) -> control_message().
cancel_task(TaskId) ->
    {control, cancel_task, #{task_id => TaskId, timeout_ms => 1000}}.

-doc "Makes the message that a component's breaker opens, closes or is half open, or is asked.".
-spec circuit_breaker(atom(), circuit_breaker_action()) -> control_message().
circuit_breaker(Id, Action) ->
    {control, circuit_breaker, #{
        action => Action, component => Id, timestamp => erlang:system_time(millisecond)
    }}.

-doc "Returns the type of a control message, or `error` if the term is none.".
-spec type(term()) -> {ok, control_type()} | error.
type({control, Type, Data}) when is_map(Data) ->
    case is_data(Type, Data) andalso is_timeout(Data) of
        true -> {ok, Type};
        false -> error
    end;
type(_) ->
    error.

is_data(health_check, #{type := Type}) ->
    lists:member(Type, [liveness, readiness, full]);
is_data(drain_session, #{session_id := _}) ->
    true;
is_data(cancel_task, #{task_id := _}) ->
    true;
is_data(circuit_breaker, #{action := Action}) ->
    lists:member(Action, [open, close, half_open, query]);
is_data(_, _) ->
    false.

is_timeout(#{timeout_ms := TimeoutMs}) -> is_integer(TimeoutMs) andalso TimeoutMs >= 0;
is_timeout(#{}) -> true.
