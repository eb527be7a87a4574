-module(erlmcp_overload_cluster_own).
-moduledoc "What a node has to tell of itself: its roles, the fullest first, and how hard it is pressed.".

-export([roles/0, pressure/0]).

-doc """
Returns a row for each role, the fullest first: those whose fullest owner has most of its limit, as of the monitor's
last check. While the monitor is not started that is not known, and those come first that have most.
""".
-spec roles() -> [erlmcp_overload_cluster_message:row()].
roles() ->
    case erlmcp_native:limits_all_stats(own) of
        Stats when is_map(Stats) ->
            Levels = levels(),
            Ranked = [ranked(Role, Row, maps:get(Role, Levels, {ok, 0.0})) || Role := Row <- Stats],
            [Row || {_, Row} <- lists:reverse(lists:sort(Ranked))];
        _NotStarted ->
            []
    end.

levels() ->
    case erlmcp_native:overload_summary(own) of
        Rows when is_list(Rows) ->
            #{Role => {Level, Full} || #{role := Role, level := Level, max_utilization := Full} <- Rows};
        _NotStarted ->
            #{}
    end.

ranked(Role, #{current_depth := Depth, limit := Limit, owners := Owners, total_rejected := Refused}, {Level, Full}) ->
    {{Full, Depth}, {Role, Depth, Limit, Owners, Refused, Level}}.

-doc "Returns how hard the node is pressed, and by what.".
-spec pressure() -> {0..2, none | memory | run_queue} | off.
pressure() ->
    case erlmcp_overload_node:pressure() of
        #{level := Level, cause := Cause} -> {Level, Cause};
        off -> off
    end.
