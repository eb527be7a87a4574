%% The messages of the control plane. May be included beside erlmcp's own copy.
-ifndef(ERLMCP_MESSAGES_HRL).
-define(ERLMCP_MESSAGES_HRL, true).

-doc "Level 1 is the most urgent: circuit_breaker, health_check, drain_session, cancel_task.".
-type priority_level() :: 1..4.

-doc "This is what may travel with a priority message.".
-type priority_metadata() :: #{
    level := priority_level(),
    %% System time in milliseconds.
    queued_at := integer(),
    delivered_at => integer(),
    %% Microseconds.
    latency_us => non_neg_integer()
}.

%% Of the maps below a handler can count on the key that must be there. The others are those that the control plane
%% itself sends, and those that senders of erlmcp add; more may come along.

-doc "This says how thorough a health check is.".
-type health_check_type() :: liveness | readiness | full.

-doc "A health check says what it asks, and how long the handler has.".
-type health_check_data() :: #{
    type := health_check_type(),
    %% How long the handler has, in milliseconds. It is told, and not stopped.
    timeout_ms => non_neg_integer(),
    %% Monotonic time of this node in microseconds: what has passed since is
    %% erlang:monotonic_time(microsecond) - RequestedAt.
    requested_at => integer(),
    from => term(),
    atom() => term()
}.

-doc "This is why a session is to end: `shutdown` if the control plane makes the message, else whatever a sender says.".
-type drain_reason() :: shutdown | term().

-doc "This says which session is to end gracefully, why, and how long that may take.".
-type drain_session_data() :: #{
    session_id := term(),
    reason => drain_reason(),
    timeout_ms => non_neg_integer(),
    force => boolean(),
    from => term(),
    atom() => term()
}.

-doc "This says which task is to be given up, and how long that may take.".
-type cancel_task_data() :: #{
    task_id := term(),
    timeout_ms => non_neg_integer(),
    reason => term(),
    force => boolean(),
    from => term(),
    atom() => term()
}.

-doc "This is what a circuit breaker does; `query` asks for that.".
-type circuit_breaker_action() :: open | close | half_open | query.

-doc "This says what a component's breaker does, or asks for that.".
-type circuit_breaker_data() :: #{
    action := circuit_breaker_action(),
    component => atom(),
    %% System time in milliseconds.
    timestamp => integer(),
    reason => term(),
    from => term(),
    atom() => term()
}.

-doc "A control message is of one of four types, and has the data that belong to it.".
-type control_message() ::
    {control, circuit_breaker, circuit_breaker_data()}
    | {control, health_check, health_check_data()}
    | {control, drain_session, drain_session_data()}
    | {control, cancel_task, cancel_task_data()}.

-doc "These are the types of control messages, the most urgent first.".
-type control_type() :: circuit_breaker | health_check | drain_session | cancel_task.

%% What erlmcp's has not is optional here, so that a function that is specified by erlmcp's type may return this; it is
%% always there.
-doc "These are the numbers that the control plane counts and measures.".
-type control_plane_stats() :: #{
    %% Messages whose handler was run.
    total_delivered := non_neg_integer(),
    by_type := #{control_type() => non_neg_integer()},
    %% What senders waited, in microseconds.
    latency_p50_us := non_neg_integer(),
    latency_p95_us := non_neg_integer(),
    latency_p99_us := non_neg_integer(),
    latency_p999_us => non_neg_integer(),
    max_latency_us := non_neg_integer(),
    %% From the sending to the start of the handler, in microseconds.
    delivery_p50_us => non_neg_integer(),
    delivery_p99_us => non_neg_integer(),
    %% Health checks over 100 ms, or never answered.
    slo_violations := non_neg_integer(),
    %% Senders that gave up.
    timeouts => non_neg_integer(),
    handler_crashes => non_neg_integer(),
    %% What became of messages to other nodes.
    far => #{sent | answered | died | timeout | busy | nodedown | not_supported => non_neg_integer()},
    %% To which of them messages came to nothing within the last hour.
    far_by_node => #{node() => #{busy | nodedown | not_supported | timeout | last_ms => non_neg_integer()}},
    %% Waiting for a handler process now.
    queued => #{control_type() => non_neg_integer()},
    by_component => #{atom() => #{
        delivered := non_neg_integer(),
        queued := #{control_type() => non_neg_integer()},
        latency_p50_us := non_neg_integer(),
        latency_p95_us := non_neg_integer(),
        latency_p99_us := non_neg_integer(),
        latency_p999_us := non_neg_integer(),
        max_latency_us := non_neg_integer()
    }}
}.

-endif.
