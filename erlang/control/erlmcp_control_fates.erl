-module(erlmcp_control_fates).
-moduledoc """
To which nodes control messages came to nothing, and how often: what `far_by_node` in
`erlmcp_control_plane:get_stats/0` says.

It is counted by the sender, in a table of the process that knows the routes (`m:erlmcp_control_routes`): that one's end
is the end of what was counted. There are at most 64 nodes, and of more the one goes whose last failure is the oldest;
one to which nothing has come to nothing for an hour is not told of.
""".

-export([new/0, count/2, read/0, reset/0]).

-export_type([row/0]).

-doc "A row is what came to nothing of messages to a node: how many, by why, and when the last did.".
-type row() :: #{
    busy := non_neg_integer(),
    nodedown := non_neg_integer(),
    not_supported := non_neg_integer(),
    timeout := non_neg_integer(),
    %% System time.
    last_ms := integer()
}.

-define(TABLE, ?MODULE).
-define(MOST, 64).
-define(HOUR_MS, 3600000).
%% Where the time of the last is in a row, and where the numbers are.
-define(LAST, 2).
-define(NONE(Node), {Node, 0, 0, 0, 0, 0}).

-doc "Makes the table, which the calling process owns.".
-spec new() -> ok.
new() ->
    ?TABLE = ets:new(?TABLE, [named_table, public, {write_concurrency, true}]),
    ok.

-doc "Counts what became of a message to a node, if it came to nothing there.".
-spec count(erlmcp_native:control_fate(), node()) -> ok.
count(busy, Node) -> failed(Node, 3);
count(nodedown, Node) -> failed(Node, 4);
count(not_supported, Node) -> failed(Node, 5);
count(timeout, Node) -> failed(Node, 6);
count(_AnsweredOrNotWaitedFor, _Node) -> ok.

failed(Node, Place) ->
    try
        _ = ets:member(?TABLE, Node) orelse make_room(ets:info(?TABLE, size)),
        _ = ets:update_counter(?TABLE, Node, {Place, 1}, ?NONE(Node)),
        _ = ets:update_element(?TABLE, Node, {?LAST, erlang:system_time(millisecond)}),
        ok
    catch
        %% Whose table it is has just ended.
        error:badarg -> ok
    end.

make_room(Size) when Size >= ?MOST ->
    case lists:sort([{element(?LAST, Row), element(1, Row)} || Row <- ets:tab2list(?TABLE)]) of
        [{_, Oldest} | _] -> ets:delete(?TABLE, Oldest);
        [] -> true
    end;
make_room(_) ->
    true.

-doc "Returns what came to nothing, by node, as far as it was within the last hour.".
-spec read() -> #{node() => row()}.
read() ->
    SinceMs = erlang:system_time(millisecond) - ?HOUR_MS,
    #{
        Node => #{busy => Busy, nodedown => Down, not_supported => NotSupported, timeout => Timeout, last_ms => LastMs}
     || {Node, LastMs, Busy, Down, NotSupported, Timeout} <- rows(), LastMs > SinceMs
    }.

rows() ->
    try
        ets:tab2list(?TABLE)
    catch
        error:badarg -> []
    end.

-doc "Forgets what was counted.".
-spec reset() -> ok.
reset() ->
    try
        true = ets:delete_all_objects(?TABLE),
        ok
    catch
        error:badarg -> ok
    end.
