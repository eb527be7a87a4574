%% erlmcp's dashboard: what is read becomes JSON. Specified by erlmcp's types, where there are such.
-module(erlmcp_dashboard_routes).

-export([handle/1, too_full/0, worst/1, limits/0, counts/1]).

-type path() :: queues | overloaded | alerts | limits | stats | control | refusal.

-spec handle(path()) -> {200, binary()}.
handle(Path) ->
    {200, erlmcp_native_json:encode(read(Path))}.

-spec read(path()) -> term().
read(queues) -> erlmcp_overload_monitor:queues();
read(overloaded) -> too_full();
read(alerts) -> erlmcp_overload_monitor:get_alert_history();
read(limits) -> limits();
read(stats) -> erlmcp_queue_limits:get_all_stats();
read(control) -> erlmcp_control_plane:get_stats();
read(refusal) -> erlmcp_queue_limits:check_capacity(closed_role, self()).

-spec too_full() -> [erlmcp_overload_monitor:queue_info()].
too_full() ->
    erlmcp_overload_monitor:get_overloaded().

-spec worst([erlmcp_overload_monitor:alert()]) -> erlmcp_overload_monitor:alert_level().
worst(Alerts) ->
    Levels = [Level || #{level := Level} <- Alerts],
    case [Level || Level <- [overload, critical, warning], lists:member(Level, Levels)] of
        [Worst | _] -> Worst;
        [] -> ok
    end.

-spec limits() -> erlmcp_queue_limits:limit_config().
limits() ->
    erlmcp_queue_limits:get_all_limits().

%% A map as erlmcp's documents have it, with nothing that is ours.
-spec counts(erlmcp_queue_limits:process_role()) ->
    #{
        role := atom(),
        current_depth := non_neg_integer(),
        max_depth := non_neg_integer(),
        total_enqueued := non_neg_integer(),
        total_dequeued := non_neg_integer(),
        total_rejected := non_neg_integer(),
        capacity_exceeded_count := non_neg_integer(),
        last_capacity_exceeded := integer() | undefined
    }
    | {error, not_found}.
counts(Role) ->
    erlmcp_queue_limits:get_role_stats(Role).
