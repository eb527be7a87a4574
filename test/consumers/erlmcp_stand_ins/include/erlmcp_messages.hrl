%% erlmcp's own header, as its documents describe it.
-ifndef(ERLMCP_MESSAGES_HRL).
-define(ERLMCP_MESSAGES_HRL, 1).

-type priority_level() :: 1..4.
-type health_check_type() :: liveness | readiness | full.
-type drain_reason() :: shutdown | migration | overload.
-type circuit_breaker_action() :: open | close | half_open | query.

-type health_check_data() :: #{
    type := health_check_type(),
    timeout_ms := pos_integer(),
    %% Monotonic, in microseconds.
    requested_at := integer()
}.
-type drain_session_data() :: #{
    session_id := binary(),
    reason := drain_reason(),
    timeout_ms := pos_integer(),
    force => boolean()
}.
-type cancel_task_data() :: #{
    task_id := binary() | reference(),
    timeout_ms := pos_integer(),
    reason => atom(),
    from => pid()
}.
-type circuit_breaker_data() :: #{
    action := circuit_breaker_action(),
    component := atom(),
    timestamp := integer(),
    reason => term()
}.

-type control_message() ::
    {control, health_check, health_check_data()}
    | {control, drain_session, drain_session_data()}
    | {control, cancel_task, cancel_task_data()}
    | {control, circuit_breaker, circuit_breaker_data()}.

-type control_plane_stats() :: #{
    total_delivered := non_neg_integer(),
    by_type := #{atom() => non_neg_integer()},
    latency_p50_us := non_neg_integer(),
    latency_p95_us := non_neg_integer(),
    latency_p99_us := non_neg_integer(),
    max_latency_us := non_neg_integer(),
    slo_violations := non_neg_integer()
}.

-endif.
