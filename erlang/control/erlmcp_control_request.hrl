%% A control message on its way to a component's handler: what the sender builds once and the handler runs.
-record(control_request, {
    %% Gets `{From, ok | {error, Reason}}`, or nobody does if it is `none`.
    from :: reference() | none,
    type :: erlmcp_control_message:control_type(),
    message :: erlmcp_control_message:control_message(),
    %% Its place among those that wait for the handler, which it holds until it is taken out.
    place :: erlmcp_native:control_place() | undefined,
    %% When the sender began, and when it gives up, in nanoseconds: after that the message is dropped.
    sent_at :: integer(),
    deadline = infinity :: integer() | infinity
}).
