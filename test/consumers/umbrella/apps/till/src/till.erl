-module(till).

-include_lib("erlmcp_native/include/erlmcp_messages.hrl").

-export([take/1, open/0]).

-spec take(erlmcp_queue_limits:owner()) -> ok | {error, {capacity_exceeded, map()}}.
take(Owner) ->
    erlmcp_queue_limits:try_enqueue(till, Owner).

-spec open() -> health_check_type().
open() ->
    liveness.
