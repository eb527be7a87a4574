-module(erlmcp_native_event_sample).
-moduledoc """
A snapshot for the event streams, taken and encoded once for all of them, by a process that ends with it; and what has
changed since the one before (`m:erlmcp_native_http_change`), if a stream wants that.

The ten fullest owners are in it. To find them every owner is looked at, so that is done anew at the earliest after
twenty times what it took the last time: it takes a twentieth of one dirty scheduler at most.
""".

-export([none/0, start/2]).
-export([take/2]).

-export_type([fullest/0]).

-doc "These are the fullest owners as they were found last, and when to look again, in monotonic microseconds.".
-opaque fullest() :: {[map()], AgainUs :: integer() | undefined}.

-define(MONITOR, erlmcp_overload_monitor).
-define(ROWS, 10).
-define(REST, 20).

-doc "Returns what is known before anybody has looked for the fullest owners.".
-spec none() -> fullest().
none() ->
    {[], undefined}.

-doc """
Starts the process that takes a snapshot, if there is room. It ends for the reason `{sample, Json, Change, Fullest}`,
with what has changed since a snapshot, if one was given, or `none`.
""".
-spec start(fullest(), Before :: binary() | none) -> {pid(), reference()} | no_room.
start(Fullest, Before) ->
    erlmcp_native_process:helper(?MODULE, take, [Fullest, Before], []).

-doc false.
-spec take(fullest(), binary() | none) -> no_return().
take({Rows, AgainUs}, Before) ->
    Summary = erlmcp_native_http_json:summary(erlmcp_native_metrics:snapshot()),
    NowUs = erlang:monotonic_time(microsecond),
    {Shown, _} =
        Fullest =
        if
            AgainUs =:= undefined; NowUs >= AgainUs -> look(NowUs);
            true -> {Rows, AgainUs}
        end,
    Json = erlmcp_native_http_json:encode(Summary#{fullest => Shown}),
    exit({sample, Json, since(Before, Json), Fullest}).

since(none, _) -> none;
since(Before, Json) -> erlmcp_native_http_change:between(Before, Json).

look(BegunUs) ->
    Rows =
        try
            ?MONITOR:fullest(?ROWS)
        catch
            exit:{noproc, _} -> []
        end,
    DoneUs = erlang:monotonic_time(microsecond),
    {erlmcp_native_http_json:queues(Rows), DoneUs + ?REST * (DoneUs - BegunUs)}.
