-module(erlmcp_native_events_handler).
-moduledoc """
Passes the overload monitor's news on to the event hub, while somebody listens there.

It waits until the hub has taken each, for a second at most, so that they pile up here, where their number is bounded,
and not there.
""".

-behaviour(erlmcp_overload_handler).

-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).

-doc false.
-spec init(term()) -> {ok, term()}.
init(Arg) ->
    {ok, Arg}.

-doc false.
-spec handle_alert(erlmcp_overload_monitor:alert(), State) -> {ok, State}.
handle_alert(Alert, State) ->
    ok = erlmcp_native_events:publish({raised, Alert}),
    {ok, State}.

-doc false.
-spec handle_clear(erlmcp_overload_monitor:alert(), State) -> {ok, State}.
handle_clear(Alert, State) ->
    ok = erlmcp_native_events:publish({cleared, Alert}),
    {ok, State}.

-doc false.
-spec handle_role(erlmcp_queue_limits:role(), open | close, State) -> {ok, State}.
handle_role(Role, Action, State) ->
    ok = erlmcp_native_events:publish({breaker, Role, Action}),
    {ok, State}.
