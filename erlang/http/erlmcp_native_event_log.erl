-module(erlmcp_native_event_log).
-moduledoc """
The last 256 alerts and moves of breakers, numbered, as server-sent events.

An event is encoded when it is first read: of a burst, most never are.
""".

-export([new/1, append/2, last/1, since/2, snapshot/2, change/2]).

-export_type([id/0, log/0]).

-doc "Each event has a number, which is one more than that of the event before.".
-type id() :: non_neg_integer().

-define(KEPT, 256).

-record(log, {
    %% The number before the first.
    start :: id(),
    last :: id(),
    %% The newest first, some more than are kept.
    entries = [] :: [{id(), erlmcp_native_http_json:event() | binary()}],
    length = 0 :: non_neg_integer()
}).

-doc "A log has the last events and their numbers.".
-opaque log() :: #log{}.

-doc "Makes an empty log, whose first event will have the number after this one.".
-spec new(id()) -> log().
new(Start) ->
    #log{start = Start, last = Start}.

-doc "Adds an event to a log.".
-spec append(erlmcp_native_http_json:event(), log()) -> log().
append(Event, #log{entries = Entries, length = Length} = Log) when Length >= 2 * ?KEPT ->
    append(Event, Log#log{entries = lists:sublist(Entries, ?KEPT), length = ?KEPT});
append(Event, #log{last = Last, entries = Entries, length = Length} = Log) ->
    Log#log{last = Last + 1, entries = [{Last + 1, Event} | Entries], length = Length + 1}.

-doc "Returns the number of the last event of a log.".
-spec last(log()) -> id().
last(#log{last = Last}) ->
    Last.

-doc """
Returns the events after the one with this number, the oldest first, each as it is sent. If there were more than are
kept, an event `missed` comes first, which says how many.
""".
-spec since(id(), log()) -> {[{id(), binary()}], log()}.
since(Id, #log{start = Start, last = Last, entries = Entries} = Log) ->
    Known = max(Id, Start),
    Lost = max(0, Last - ?KEPT - Known),
    {Newer, Older} = lists:splitwith(fun({At, _}) -> At > Known + Lost end, Entries),
    Encoded = [{At, encoded(At, Event)} || {At, Event} <- Newer],
    Missed = [{Known + Lost, sent(Known + Lost, ~"missed", #{events => Lost})} || Lost > 0],
    {Missed ++ lists:reverse(Encoded), Log#log{entries = Encoded ++ Older}}.

encoded(_, Frame) when is_binary(Frame) ->
    Frame;
encoded(Id, Event) ->
    {Name, Map} = erlmcp_native_http_json:event(Event),
    sent(Id, Name, Map).

sent(Id, Name, Map) ->
    iolist_to_binary(frame(Id, Name, erlmcp_native_http_json:encode(Map))).

-doc "Returns a snapshot as it is sent, with the number of the event before it. The JSON is not copied.".
-spec snapshot(id(), Json :: binary()) -> iolist().
snapshot(Id, Json) ->
    frame(Id, ~"snapshot", Json).

-doc "Returns what has changed since the last snapshot as it is sent, with the number of the event before it.".
-spec change(id(), Json :: binary()) -> iolist().
change(Id, Json) ->
    frame(Id, ~"change", Json).

frame(Id, Name, Json) ->
    [~"id: ", integer_to_binary(Id), ~"\nevent: ", Name, ~"\ndata: ", Json, ~"\n\n"].
