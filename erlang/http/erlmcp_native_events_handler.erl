-module(erlmcp_native_events_handler).
-moduledoc """
Passes the overload monitor's news on to the process that is registered under the handler's argument: the event hub,
while somebody listens there.

It waits until the hub has taken each, for a second at most, so that they pile up here, where their number is bounded,
and not there.
""".

-behaviour(erlmcp_overload_handler).

-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).
-export([published/2]).

-define(PATIENCE_MS, 1000).

-doc false.
-spec init(Hub) -> {ok, Hub} when Hub :: atom().
init(Hub) ->
    {ok, Hub}.

-doc false.
-spec handle_alert(erlmcp_overload_monitor:alert(), Hub) -> {ok, Hub} when Hub :: atom().
handle_alert(Alert, Hub) ->
    publish({raised, Alert}, Hub).

-doc false.
-spec handle_clear(erlmcp_overload_monitor:alert(), Hub) -> {ok, Hub} when Hub :: atom().
handle_clear(Alert, Hub) ->
    publish({cleared, Alert}, Hub).

-doc false.
-spec handle_role(erlmcp_queue_limits:role(), open | close, Hub) -> {ok, Hub} when Hub :: atom().
handle_role(Role, Action, Hub) ->
    publish({breaker, Role, Action}, Hub).

publish(Event, Hub) ->
    erlmcp_native_wait:request(Hub, {publish, Event}, ?PATIENCE_MS, {?MODULE, published, Hub}).

%% What the hub has not taken in time it takes later.
-doc false.
-spec published(term(), Hub) -> {ok, Hub} when Hub :: atom().
published(_Outcome, Hub) ->
    {ok, Hub}.
