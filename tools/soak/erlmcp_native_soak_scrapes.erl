-module(erlmcp_native_soak_scrapes).
-moduledoc "Metrics, JSON and the page are asked for, and are always answered.".
-behaviour(erlmcp_native_soak_actor).

-export([init/0, act/1, rest/1]).

-define(PATHS, [
    "/metrics", "/metrics", "/api/summary", "/api/queues?top=20", "/api/alerts", "/api/control", "/health/live",
    "/health/ready", "/"
]).

-doc false.
-spec init() -> [iodata()].
init() ->
    [].

-doc false.
-spec act([iodata()]) -> {[atom()], [iodata()]}.
act(Findings) ->
    receive after 20 -> ok end,
    Path = lists:nth(rand:uniform(length(?PATHS)), ?PATHS),
    case erlmcp_native_soak_http:get(Path) of
        {ok, ~"200", _} -> {[scrapes], Findings};
        %% While a service is being started again.
        {ok, ~"503", _} -> {[scrapes_not_started], Findings};
        Other -> {[], [io_lib:format("~s: ~0tP", [Path, Other, 30]) | Findings]}
    end.

-doc false.
-spec rest([iodata()]) -> {[iodata()], [iodata()]}.
rest(Findings) ->
    {Findings, []}.
