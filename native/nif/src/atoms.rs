//! The atoms that natives answer with.

rustler::atoms! {
    default,
    ok,
    own,
    undefined,
    refused,

    // Why a call was not carried out.
    bad_limit,
    bad_limits,
    bad_owner,
    bad_permit,
    bad_role,
    bad_switch,
    bad_table,
    not_found,
    not_started,
    too_many_roles,

    // Keys of a role's statistics.
    capacity_exceeded_count,
    current_depth,
    depth,
    last_capacity_exceeded,
    limit,
    max_depth,
    owners,
    process,
    retry_after_ms,
    role,
    total_dequeued,
    total_enqueued,
    total_rejected,
    total_released,
    unmatched_dequeues,
}
