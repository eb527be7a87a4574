-module(erlmcp_overload_log).
-moduledoc """
The handler that writes the log: warnings, errors and critical messages for the three levels, a notice when
one is left. At most one line a second for each role and level, with the number since. It runs beside the
configured handlers, in a process of its own, so that a slow logger delays nobody.
""".

-behaviour(erlmcp_overload_handler).

-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).

-include_lib("kernel/include/logger.hrl").

-define(LINE_MS, 1000).

%% When a line was last written for a role, level and direction, and how many are left out since.
-type state() :: #{{atom(), atom(), raised | cleared | open | close} => {integer(), non_neg_integer()}}.

-doc false.
-spec init(term()) -> {ok, state()}.
init(_) ->
    {ok, #{}}.

-doc false.
-spec handle_alert(erlmcp_overload_monitor:alert(), state()) -> {ok, state()}.
handle_alert(Alert, State) ->
    {ok, line(raised, Alert, State)}.

-doc false.
-spec handle_clear(erlmcp_overload_monitor:alert(), state()) -> {ok, state()}.
handle_clear(Alert, State) ->
    {ok, line(cleared, Alert, State)}.

-doc false.
-spec handle_role(erlmcp_queue_limits:role(), open | close, state()) -> {ok, state()}.
handle_role(Role, Action, State) ->
    {ok, limited({Role, breaker, Action}, fun(Count) -> log_breaker(Role, Action, Count) end, State)}.

line(What, #{role := Role, level := Level} = Alert, State) ->
    limited({Role, Level, What}, fun(Count) -> log(What, Alert, Count) end, State).

limited(Key, Log, State) ->
    Now = erlang:monotonic_time(millisecond),
    case State of
        #{Key := {At, LeftOut}} when Now - At < ?LINE_MS ->
            State#{Key := {At, LeftOut + 1}};
        #{Key := {_, LeftOut}} ->
            Log(LeftOut + 1),
            State#{Key := {Now, 0}};
        #{} ->
            Log(1),
            State#{Key => {Now, 0}}
    end.

log_breaker(Role, Action, Count) ->
    Verb = case Action of open -> "opens"; close -> "closes" end,
    erlmcp_native_log:write(
        notice,
        "erlmcp_overload_monitor: breaker of ~tp ~ts: ~b",
        [Role, Verb, Count],
        ?LOCATION,
        #{role => Role, action => Action, alerts => Count}
    ).

log(What, #{role := Role, level := Level, process := Process, depth := Depth, limit := Limit}, Count) ->
    erlmcp_native_log:write(
        severity(What, Level),
        "erlmcp_overload_monitor: ~tp ~ts ~ts: ~b, the last ~tp at ~b of ~tp",
        [Role, verb(What), Level, Count, Process, Depth, Limit],
        ?LOCATION,
        #{role => Role, level => Level, alerts => Count}
    ).

verb(raised) -> "reached";
verb(cleared) -> "left".

severity(cleared, _) -> notice;
severity(raised, warning) -> warning;
severity(raised, critical) -> error;
severity(raised, overload) -> critical.
