-module(erlmcp_control_failure).
-moduledoc """
Keeps in words of what a component's handler failed, for whoever asks over HTTP (`/api/component`) or looks at the page.

The last five of each component are kept in the library, 300 characters of each, and so they survive the service's
process. They go with the component, and with `erlmcp_control_plane:reset_stats/0`.
""".

-export([keep/3]).

-define(MAX_CHARS, 300).

-doc "Keeps a failure of a component, said so. It is bounded in time and in characters.".
-spec keep(erlmcp_control_plane:component_id(), io:format(), [term()]) -> ok.
keep(Id, Format, Args) ->
    Words = erlmcp_native_log_text:format(Format, Args, ?MAX_CHARS),
    _ = erlmcp_native:control_failed(Id, erlang:system_time(millisecond), Words),
    ok.
