-module(erlmcp_native_caps).
-moduledoc """
What all owners of a role may have together: the map that `erlmcp_queue_limits:set_caps/2` takes.

| option | value | default | meaning |
| --- | --- | --- | --- |
| `total` | an integer from 0 to 2^59 - 1, or infinity | `infinity` | How many may wait. |
| `bytes` | an integer from 0 to 2^59 - 1, or infinity | `infinity` | How many bytes these may have, as requests say. |

What is not given has no cap.
""".

-export([table/0, check/1]).

-define(MOST, (1 bsl 59 - 1)).

-doc "Returns the options as data.".
-spec table() -> erlmcp_native_options:table().
table() ->
    Cap = erlmcp_native_options:checked("an integer from 0 to 2^59 - 1, or infinity", fun is_cap/1),
    [
        #{name => total, type => Cap, default => infinity, doc => ~"How many may wait."},
        #{name => bytes, type => Cap, default => infinity, doc => ~"How many bytes these may have, as requests say."}
    ].

is_cap(infinity) -> true;
is_cap(Cap) -> is_integer(Cap) andalso Cap >= 0 andalso Cap =< ?MOST.

-doc "Checks caps, and returns them with what is not given as `infinity`.".
-spec check(term()) ->
    {ok, #{total := erlmcp_queue_limits:limit(), bytes := erlmcp_queue_limits:limit()}}
    | {error, erlmcp_native_options:problem()}.
check(Caps) ->
    erlmcp_native_options:check(erlmcp_native_options:options(table()), Caps).
