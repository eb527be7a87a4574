-module(erlmcp_native).
-moduledoc """
The native functions, and nothing else.

What they mean is said where they are used: `m:erlmcp_queue_limits`, `m:erlmcp_priority`,
`m:erlmcp_control_plane`, `m:erlmcp_control_cancel`. This module has no logic of its own,
so that all that ever changes can be reloaded while it stays: reloading it fails, and the old code goes on.

The first argument of a `limits_` function is a table made by `limits_new/1`, or `own` for the one that
the library holds itself. None of them raises: each returns its answer or an atom that says why there is
none. While the library is not loaded, that atom is `not_started`. An owner by its name is `bad_owner`: names are looked
up in Erlang. Options that are no map, but for `[]`, are `bad_option`: what is wrong in them is found out in Erlang,
where a list is made a map, too.
""".

-export([load/0]).
-export([
    limits_new/1,
    limits_open/4,
    limits_close/1,
    limits_configure/4,
    limits_set_enforcing/2,
    limits_set_limit/3,
    limits_get_limit/2,
    limits_get_limits/1,
    limits_set_reserve/3,
    limits_get_reserve/2,
    limits_set_caps/4,
    limits_get_caps/2
]).
-export([
    limits_nothing/3,
    limits_check/3,
    limits_check/4,
    limits_check_role/2,
    limits_try_enqueue/3,
    limits_try_enqueue/4,
    limits_offer/4,
    limits_enqueue/3,
    limits_dequeue/3,
    limits_dequeue/4,
    limits_discard/3,
    limits_discard/4,
    limits_acquire/2,
    limits_acquire/3,
    limits_acquire/4,
    limits_give_back/1,
    limits_forget/3
]).
-export([
    limits_depth/2,
    limits_depth/3,
    limits_owners/1,
    limits_outlook/3,
    limits_outlook/4,
    limits_owner/3,
    limits_role_stats/2,
    limits_all_stats/1,
    limits_reset_stats/2,
    limits_take_refusals/2,
    limits_sample/1,
    limits_tick/1
]).
-export([
    mailbox_enter/3,
    mailbox_enter/4,
    mailbox_admit/6,
    mailbox_admit/7,
    mailbox_offer/7,
    mailbox_sent/4,
    mailbox_sent/5,
    mailbox_check/5,
    mailbox_looked/4,
    mailbox_row/4,
    mailbox_any_held/1,
    mailbox_held/1,
    mailbox_all/1,
    mailbox_watch/2,
    mailbox_watched/1,
    mailbox_seen/3,
    mailbox_missed/1,
    node_guard/2,
    node_press/4,
    node_pressure/1,
    is_local_pid/1,
    is_living/1
]).
-export([
    overload_open/4,
    overload_close/1,
    overload_configure/4,
    overload_set_enabled/2,
    overload_is_enabled/1,
    overload_set_interval/2,
    overload_check/1,
    overload_reset/1
]).
-export([
    overload_news/2,
    overload_told/1,
    overload_levels/1,
    overload_set_reported/3,
    overload_reported/1,
    overload_history/1,
    overload_rows/3,
    overload_first/4,
    overload_summary/1
]).
-export([
    alias_insert/1,
    alias_delete/1,
    alias_check/1,
    alias_newest/1,
    alias_process/1,
    alias_route/1,
    alias_dropped/1,
    alias_drops/0,
    alias_processes/0
]).
-export([
    control_open/1,
    control_close/0,
    control_configure/1,
    control_set_priority/1,
    control_put/6,
    control_remove/1,
    control_components/0
]).
-export([
    control_haste/1,
    control_route/2,
    control_reroute/2,
    control_at_most/4,
    control_taken/3,
    control_delivered/3,
    control_ended/4,
    control_crashed/1,
    control_failed/3,
    control_errors/1,
    control_ended_far/3,
    control_timeout/1,
    control_stats/0,
    control_reset/0
]).
-export([
    cancel_new/4,
    cancel_new_long/4,
    cancel_check/1,
    cancel_reason/1,
    cancel_reason_long/1,
    cancel_token/2,
    cancel_token_long/2,
    cancel_id/3,
    cancel_id_long/3,
    cancel_done/1,
    cancel_notice/1,
    cancel_notice_long/1,
    cancel_told/1,
    cancel_attach/0,
    cancel_news/0,
    cancel_sweep/0,
    cancel_configure/2,
    cancel_stats/0,
    rate_open/1,
    rate_close/0,
    rate_configure/1,
    rate_define/2,
    rate_undefine/1,
    rate_names/0,
    rate_info/1,
    rate_emptiest/2,
    rate_take/3,
    rate_take/4,
    rate_take_all/1,
    rate_peek/3,
    rate_give_back/4,
    rate_reset/3,
    rate_digest/1,
    rate_tidy/1,
    rate_shared/0,
    rate_set_shares/2
]).
-export([latency_new/0, latency_record/2, latency_summary/1, latency_reset/1]).
-export([metrics_snapshot/1, native_memory/0]).
-export([history_keep/1, history_record/1, history_read/2]).

-on_load(on_load/0).
-nifs([
    limits_new/1,
    limits_open/4,
    limits_close/1,
    limits_configure/4,
    limits_set_enforcing/2,
    limits_set_limit/3,
    limits_get_limit/2,
    limits_get_limits/1,
    limits_set_reserve/3,
    limits_get_reserve/2,
    limits_set_caps/4,
    limits_get_caps/2,
    limits_nothing/3,
    limits_check/3,
    limits_check/4,
    limits_check_role/2,
    limits_try_enqueue/3,
    limits_try_enqueue/4,
    limits_offer/4,
    limits_enqueue/3,
    limits_dequeue/3,
    limits_dequeue/4,
    limits_discard/3,
    limits_discard/4,
    limits_acquire/2,
    limits_acquire/3,
    limits_acquire/4,
    limits_give_back/1,
    limits_forget/3,
    limits_depth/2,
    limits_depth/3,
    limits_owners/1,
    limits_outlook/3,
    limits_outlook/4,
    limits_owner/3,
    limits_role_stats/2,
    limits_all_stats/1,
    limits_reset_stats/2,
    limits_take_refusals/2,
    limits_sample/1,
    limits_tick/1,
    mailbox_enter/3,
    mailbox_enter/4,
    mailbox_admit/6,
    mailbox_admit/7,
    mailbox_offer/7,
    mailbox_sent/4,
    mailbox_sent/5,
    mailbox_check/5,
    mailbox_looked/4,
    mailbox_row/4,
    mailbox_any_held/1,
    mailbox_held/1,
    mailbox_all/1,
    mailbox_watch/2,
    mailbox_watched/1,
    mailbox_seen/3,
    mailbox_missed/1,
    node_guard/2,
    node_press/4,
    node_pressure/1,
    is_local_pid/1,
    is_living/1,
    overload_open/4,
    overload_close/1,
    overload_configure/4,
    overload_set_enabled/2,
    overload_is_enabled/1,
    overload_set_interval/2,
    overload_check/1,
    overload_reset/1,
    overload_news/2,
    overload_told/1,
    overload_levels/1,
    overload_set_reported/3,
    overload_reported/1,
    overload_history/1,
    overload_rows/3,
    overload_first/4,
    overload_summary/1,
    alias_insert/1,
    alias_delete/1,
    alias_check/1,
    alias_newest/1,
    alias_process/1,
    alias_processes/0,
    alias_route/1,
    alias_dropped/1,
    alias_drops/0,
    control_open/1,
    control_close/0,
    control_configure/1,
    control_set_priority/1,
    control_put/6,
    control_remove/1,
    control_components/0,
    control_haste/1,
    control_route/2,
    control_reroute/2,
    control_at_most/4,
    control_taken/3,
    control_delivered/3,
    control_ended/4,
    control_crashed/1,
    control_failed/3,
    control_errors/1,
    control_ended_far/3,
    control_timeout/1,
    control_stats/0,
    control_reset/0,
    cancel_new/4,
    cancel_new_long/4,
    cancel_check/1,
    cancel_reason/1,
    cancel_reason_long/1,
    cancel_token/2,
    cancel_token_long/2,
    cancel_id/3,
    cancel_id_long/3,
    cancel_done/1,
    cancel_notice/1,
    cancel_notice_long/1,
    cancel_told/1,
    cancel_attach/0,
    cancel_news/0,
    cancel_sweep/0,
    cancel_configure/2,
    cancel_stats/0,
    rate_open/1,
    rate_close/0,
    rate_configure/1,
    rate_define/2,
    rate_undefine/1,
    rate_names/0,
    rate_info/1,
    rate_emptiest/2,
    rate_take/3,
    rate_take/4,
    rate_take_all/1,
    rate_peek/3,
    rate_give_back/4,
    rate_reset/3,
    rate_digest/1,
    rate_tidy/1,
    rate_shared/0,
    rate_set_shares/2,
    latency_new/0,
    latency_record/2,
    latency_summary/1,
    latency_reset/1,
    metrics_snapshot/1,
    native_memory/0,
    history_keep/1,
    history_record/1,
    history_read/2
]).

-export_type([table/0, note/0, permit/0, fault/0, limits/0, outlook/0, reserves/0, histogram/0, rules/0, finding/0]).
-export_type([control_place/0, control_fate/0, control_way/0, control_route/0, rate_fields/0, rates/0, packed/0]).
-export_type([rate_info/0, rate_key/0, history/0, column/0]).
-export_type([cancel_token/0, cancel_telling/0, cancel_label/0]).

%% The library must be of this version too.
-define(VERSION, "0.1.0").
%% How often, and after how long, an old version of this module is tried to be purged: half a minute in all.
-define(PURGES, 300).
-define(PURGE_AGAIN_MS, 100).

-doc """
A table of limits is made by `limits_new/1` and goes when nothing refers to it any more, or is `own`, the library's.
""".
-type table() :: reference() | own.
-doc "A note says how many messages were sent to a mailbox before its length is asked for, and when that was.".
-type note() :: {non_neg_integer(), non_neg_integer()}.
-doc "A permit stands for one admission. It is given back when its holder lets go of it, at the latest by dying.".
-opaque permit() :: reference().
-doc """
A place is what a message to a handler takes among those that wait. It is free when the handler takes the message out,
or when nobody holds the place any more.
""".
-opaque control_place() :: reference().
-doc """
A fate says what became of a control message to another node: it was sent and nobody waited, its sender's wait ended so,
or it was not sent, or not answered, for that reason.
""".
-type control_fate() :: sent | answered | died | timeout | busy | nodedown | not_supported.
-doc "A message to a component goes to its handler, with a place, or to its own alias, with a number.".
-type control_way() :: {handler, control_place()} | {alias, Number :: pos_integer()}.
-doc "A token says whether its task was cancelled. It is forgotten when its holders let go of it.".
-type cancel_token() :: reference().
-doc "A telling is what somebody has to send. If its holder lets go of it untold, another will send it.".
-type cancel_telling() :: reference().
-doc """
A label is an atom, a binary, an integer of 60 bits, or in a tuple any other term in the external format. Labels of
equal terms have to be equal.
""".
-type cancel_label() :: atom() | binary() | integer() | {binary()}.
-doc "A histogram keeps latencies in microseconds, and goes when nothing refers to it any more.".
-opaque histogram() :: reference().
-doc """
The monitor goes by these rules: the clear margin in millionths of the limit, the milliseconds after which a level
that lasts is alerted again, and how many alerts are kept.
""".
-type rules() :: {0..800000, RealertMs :: pos_integer(), 1..10000}.
-doc """
A finding says how hard the node is pressed by something, and how much of it is in use and there. Both numbers are below
2^64.
""".
-type finding() :: {Strain :: 0..2, Amount :: non_neg_integer(), Limit :: non_neg_integer()}.
-doc """
An outlook says what the next request meets. `open`: nothing is refused, since refusals are switched off. `unlimited`:
nothing is, since there is no limit. `closed`: everything is, since the limit is 0. `room`: there are so many places.
`full`: it is refused, and told to come back after so many milliseconds, an estimate. `stuck`: the same, but nothing
drained in the last ten seconds, so when there will be room is not known. `crowded`: as `full`, but for all owners of
the role together.
""".
-type outlook() ::
    open | unlimited | closed | {room, pos_integer()} | {crowded | full | stuck, RetryAfterMs :: 1..60000}.
-doc "A fault is the atom that says why a function did not do what it was asked.".
-type fault() ::
    bad_alias
    | bad_component
    | bad_cost
    | bad_destination
    | bad_fate
    | bad_histogram
    | bad_id
    | bad_items
    | bad_key
    | bad_latency
    | bad_limit
    | bad_limits
    | bad_message
    | bad_name
    | bad_number
    | bad_option
    | bad_owner
    | bad_permit
    | bad_place
    | bad_process
    | bad_rate
    | bad_reason
    | bad_reserve
    | bad_role
    | bad_rules
    | bad_switch
    | bad_table
    | bad_telling
    | bad_timeout
    | bad_token
    | not_started
    | role_in_use
    | role_reserved
    | too_many_components
    | too_many_rates
    | too_many_roles
    | wrong_kind.
-doc "A route is where a message goes, or why it does not.".
-type control_route() ::
    {control_way(), pid(), Alias :: reference(), TimeoutMs :: non_neg_integer(), Ahead :: boolean()}
    | {dead, TimeoutMs :: non_neg_integer()}
    | queue_full
    | {crowded, pid(), Sent :: pos_integer()}
    | not_found.
-doc """
This is a rate: so many in so many nanoseconds, so many at once, of so many keys; what becomes of others; and whether it
is this node's, or all nodes' together.
""".
-type rate_fields() :: {
    Number :: pos_integer(),
    PeriodNs :: pos_integer(),
    Burst :: pos_integer(),
    MaxKeys :: pos_integer(),
    share | refuse,
    node | cluster
}.
-doc """
This is what the library has to say of a rate: how it is defined, which share of it this node has, how many keys have a
bucket, what was taken, costs added up, and how often was refused, in all and a second; since when it refuses, in system
time, without a pause of ten seconds, and when it last did.
""".
-type rate_info() :: #{
    fields := rate_fields(),
    share := float(),
    keys := non_neg_integer(),
    taken := non_neg_integer(),
    taken_per_s := float(),
    refused := non_neg_integer(),
    refused_per_s := float(),
    refusing_since_ms := integer() | undefined,
    last_refused_ms := integer() | undefined
}.
-doc """
This is a key as the library has it: the term, its external form, the digest of that, or none: the bucket of all further
keys.
""".
-type rate_key() :: {term, term()} | {external | digest, binary()} | share.
-doc "This is a value a step, the oldest first, with `null` where none is known.".
-type column() :: [non_neg_integer() | null].
-doc """
This is what the library has of a span: when its last step began, in milliseconds of system time; how many roles in
which something waited, or refused, had no row in the last second; of the node refusals a second, the 99th percentile
of control messages in microseconds, and the level of pressure; and of each role that has a row the depth of its
fullest owner, refusals a second, and for how many milliseconds one that came had to wait at most.
""".
-type history() ::
    {
        ToMs :: non_neg_integer(),
        LeftOut :: non_neg_integer(),
        {column(), column(), column()},
        [{erlmcp_queue_limits:role(), column(), column(), column()}]
    }.
-doc "These are rates by name.".
-type rates() :: [{erlmcp_overload_rate:name(), rate_fields()}].
-doc "This is what was made of a key by `erlmcp_native_rate:pack/1`, if anything was.".
-type packed() :: binary() | none.
-doc "These are limits by role; a role that is not mentioned follows `default`.".
-type limits() :: [{erlmcp_queue_limits:role(), erlmcp_native_limit:library()}].
-doc "These are reserves by role; of a role that is not mentioned nothing is kept.".
-type reserves() :: [{erlmcp_queue_limits:role(), erlmcp_native_reserve:percents()}].

%% A first load without a usable library leaves the stubs in place: callers then see services that are
%% not started, instead of a search of the code path in every call. Over a working library it fails. After a
%% code:delete/1 the next call comes here, and the library with it.
on_load() ->
    case load() of
        ok ->
            ok;
        {error, _} = Error ->
            case erlang:module_loaded(?MODULE) of
                true -> Error;
                false -> ok
            end
    end.

-doc """
Loads the library, if that has not been done. Starting a service calls this, so that a library that was
missing is found once it is there. A version of this module that was deleted and not purged is purged, since the
library is still with it.
""".
-spec load() -> ok | {error, {Reason :: atom(), Text :: string()}}.
load() ->
    load(?PURGES).

load(Purges) ->
    case erlang:load_nif(library(), <<?VERSION>>) of
        ok -> ok;
        {error, {reload, _}} -> ok;
        {error, {upgrade, _}} = Error ->
            %% The library goes with one version of this module only, and that has been deleted and not purged.
            case Purges > 0 andalso erlang:check_old_code(?MODULE) of
                true -> purge(), load(Purges - 1);
                false -> Error
            end;
        {error, _} = Error -> explained(Error, library_version())
    end.

%% A library of another version need not get as far as to say so: it may have other functions.
explained({error, {_, Text}}, Version) when Version =/= none, Version =/= ?VERSION ->
    {error, {bad_version, lists:concat([
        "the library is of version ", Version, ", and this module of ", ?VERSION, ": ", library(), " (", Text, ")"
    ])}};
explained(Error, _) ->
    Error.

library_version() ->
    Extension = case os:type() of {win32, _} -> ".dll"; _ -> ".so" end,
    maybe
        {ok, Library} ?= file:read_file(library() ++ Extension),
        {match, [Version]} ?= re:run(
            Library, "erlmcp_native library ([0-9][^ ]*) ", [{capture, all_but_first, list}]
        ),
        Version
    else
        _ -> none
    end.

%% Nobody is in it for longer than a native call takes.
purge() ->
    case code:soft_purge(?MODULE) of
        true -> ok;
        false -> receive after ?PURGE_AGAIN_MS -> ok end
    end.

library() ->
    filename:join(priv_dir(), ?MODULE_STRING).

priv_dir() ->
    case code:priv_dir(?MODULE) of
        {error, bad_name} ->
            Ebin = filename:dirname(code:which(?MODULE)),
            filename:join(filename:dirname(Ebin), "priv");
        Dir ->
            Dir
    end.

%% What every function answers without the library. Dialyzer cannot tell, and so believes the specs.
absent() ->
    persistent_term:get({?MODULE, absent}, not_started).

-doc "Makes a table of its own, open from the start, with these limits.".
-spec limits_new(limits()) -> reference() | fault().
limits_new(_Limits) -> absent().

-doc """
Opens the table for the calling process, which from now on gets `{refused, Role}` for a role's first refusal after a
quiet second. What was counted and set by hand stays. Returns the roles, and whether there was room for all that are
configured.
""".
-spec limits_open(table(), limits(), reserves(), Enforcing :: boolean()) ->
    {[erlmcp_queue_limits:role()], boolean()} | fault().
limits_open(_Table, _Limits, _Reserves, _Enforcing) -> absent().

-doc "Closes a table and forgets all that it has counted and that was set.".
-spec limits_close(table()) -> ok | fault().
limits_close(_Table) -> absent().

-doc "Applies limits, reserves and the switch to a table, but for what was set by hand.".
-spec limits_configure(table(), limits(), reserves(), Enforcing :: boolean()) -> ok | fault().
limits_configure(_Table, _Limits, _Reserves, _Enforcing) -> absent().

-doc "Switches a table's refusals on or off by hand.".
-spec limits_set_enforcing(table(), boolean()) -> ok | fault().
limits_set_enforcing(_Table, _Enforcing) -> absent().

-doc "Sets a role's limit by hand, for each of its owners.".
-spec limits_set_limit(table(), erlmcp_queue_limits:role(), erlmcp_native_limit:library()) -> ok | fault().
limits_set_limit(_Table, _Role, _Limit) -> absent().

-doc "Returns a role's limit per owner; that of `default` for an unknown role.".
-spec limits_get_limit(table(), erlmcp_queue_limits:role()) -> erlmcp_native_limit:library() | fault().
limits_get_limit(_Table, _Role) -> absent().

-doc "Returns `ok` for a role that is anybody's to count, limit or send in; otherwise why not, whoever is asked for.".
-spec limits_check_role(table(), erlmcp_queue_limits:role()) -> ok | fault().
limits_check_role(_Table, _Role) -> absent().

-doc "Returns the limits per owner of all roles.".
-spec limits_get_limits(table()) -> #{erlmcp_queue_limits:role() => erlmcp_native_limit:library()} | fault().
limits_get_limits(_Table) -> absent().

-doc "Sets by hand what of a role's limit is kept for the higher classes.".
-spec limits_set_reserve(table(), erlmcp_queue_limits:role(), erlmcp_native_reserve:percents()) -> ok | fault().
limits_set_reserve(_Table, _Role, _Percents) -> absent().

-doc "Returns what of a role's limit is kept for the higher classes; nothing of an unknown one's.".
-spec limits_get_reserve(table(), erlmcp_queue_limits:role()) -> erlmcp_native_reserve:percents() | fault().
limits_get_reserve(_Table, _Role) -> absent().

-doc "Sets what all owners of a role may have together: how many places, and how many bytes.".
-spec limits_set_caps(
    table(), erlmcp_queue_limits:role(), Total :: erlmcp_queue_limits:limit(), Bytes :: erlmcp_queue_limits:limit()
) -> ok | fault().
limits_set_caps(_Table, _Role, _Total, _Bytes) -> absent().

-doc "Returns what all owners of a role may have together.".
-spec limits_get_caps(table(), erlmcp_queue_limits:role()) ->
    {Total :: erlmcp_queue_limits:limit(), Bytes :: erlmcp_queue_limits:limit()} | fault().
limits_get_caps(_Table, _Role) -> absent().

-doc "Decodes its arguments and does nothing: the floor under what the other functions cost.".
-spec limits_nothing(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) -> ok | fault().
limits_nothing(_Table, _Role, _Owner) -> absent().

-doc "Tells whether an owner has room in a role, and takes nothing. A refusal is counted.".
-spec limits_check(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) ->
    ok | {refused, erlmcp_queue_limits:refusal()} | fault().
limits_check(_Table, _Role, _Owner) -> absent().

-doc "Does what `limits_check/3` does, with options.".
-spec limits_check(
    table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner(), erlmcp_queue_limits:options()
) -> ok | {refused, erlmcp_queue_limits:refusal()} | fault().
limits_check(_Table, _Role, _Owner, _Options) -> absent().

-doc "Takes a place for an owner in a role if there is room, in one step. A refusal is counted.".
-spec limits_try_enqueue(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) ->
    ok | {refused, erlmcp_queue_limits:refusal()} | fault().
limits_try_enqueue(_Table, _Role, _Owner) -> absent().

-doc "Does what `limits_try_enqueue/3` does, with options.".
-spec limits_try_enqueue(
    table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner(), erlmcp_queue_limits:options()
) -> ok | {refused, erlmcp_queue_limits:refusal()} | fault().
limits_try_enqueue(_Table, _Role, _Owner, _Options) -> absent().

-doc "Does what `limits_try_enqueue/4` does, but counts no refusal.".
-spec limits_offer(
    table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner(), erlmcp_queue_limits:options()
) -> ok | full | fault().
limits_offer(_Table, _Role, _Owner, _Options) -> absent().

-doc "Adds one to an owner's depth in a role, beyond the limit too.".
-spec limits_enqueue(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) -> ok | fault().
limits_enqueue(_Table, _Role, _Owner) -> absent().

-doc "Takes one from an owner's depth in a role; at 0 an unmatched dequeue is counted instead.".
-spec limits_dequeue(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) -> ok | fault().
limits_dequeue(_Table, _Role, _Owner) -> absent().

-doc "Does what `limits_dequeue/3` does, with the bytes of what leaves.".
-spec limits_dequeue(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner(), Bytes :: pos_integer()) ->
    ok | fault().
limits_dequeue(_Table, _Role, _Owner, _Bytes) -> absent().

-doc "Takes a request from an owner's queue that was not done, which does not count for how fast that drains.".
-spec limits_discard(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) -> ok | fault().
limits_discard(_Table, _Role, _Owner) -> absent().

-doc "Does what `limits_discard/3` does, with the bytes of what leaves.".
-spec limits_discard(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner(), Bytes :: pos_integer()) ->
    ok | fault().
limits_discard(_Table, _Role, _Owner, _Bytes) -> absent().

-doc "Returns a permit that holds no place: that of nobody.".
-spec limits_acquire(table(), erlmcp_queue_limits:role()) -> {ok, permit()} | fault().
limits_acquire(_Table, _Role) -> absent().

-doc "Takes a place as `limits_try_enqueue/3` does, and returns a permit that holds it.".
-spec limits_acquire(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) ->
    {ok, permit()} | {refused, erlmcp_queue_limits:refusal()} | fault().
limits_acquire(_Table, _Role, _Owner) -> absent().

-doc "Does what `limits_acquire/3` does, with options.".
-spec limits_acquire(
    table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner(), erlmcp_queue_limits:options()
) -> {ok, permit()} | {refused, erlmcp_queue_limits:refusal()} | fault().
limits_acquire(_Table, _Role, _Owner, _Options) -> absent().

-doc "Gives the place of a permit back; `released` if there is none any more, or never was, when nothing is done.".
-spec limits_give_back(permit()) -> ok | released | fault().
limits_give_back(_Permit) -> absent().

-doc "Drops an owner's count in a role; what it held counts as released.".
-spec limits_forget(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) -> ok | fault().
limits_forget(_Table, _Role, _Owner) -> absent().

-doc "Returns an owner's depth over all its roles, with `mailbox` if its mailbox is the depth in one as well.".
-spec limits_depth(table(), erlmcp_queue_limits:owner()) ->
    non_neg_integer() | {non_neg_integer(), mailbox} | not_found | fault().
limits_depth(_Table, _Owner) -> absent().

-doc "Returns an owner's depth in a role, 0 if either is unknown; `mailbox` if its mailbox is what is limited.".
-spec limits_depth(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) ->
    non_neg_integer() | mailbox | fault().
limits_depth(_Table, _Role, _Owner) -> absent().

-doc "Returns how many owners are tracked, which is an estimate while some come and go.".
-spec limits_owners(table()) -> non_neg_integer() | fault().
limits_owners(_Table) -> absent().

-doc "Says what the next request meets that comes for an owner at a depth.".
-spec limits_outlook(table(), erlmcp_queue_limits:role(), Depth :: non_neg_integer()) ->
    outlook() | not_found | fault().
limits_outlook(_Table, _Role, _Depth) -> absent().

-doc "Returns what `limits_outlook/3` does, for this owner, whose pace and limit may be its own.".
-spec limits_outlook(
    table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner_key(), Depth :: non_neg_integer()
) ->
    outlook() | not_found | fault().
limits_outlook(_Table, _Role, _Owner, _Depth) -> absent().

-doc """
Returns an owner's limit, how many requests it does in a second while any wait, for how many milliseconds a newcomer
would wait, the last one that was measured has waited, and nobody was taken out while somebody waited.
""".
-spec limits_owner(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner_key()) ->
    {
        erlmcp_queue_limits:limit(),
        DrainPerS :: float() | undefined,
        WaitMs :: non_neg_integer() | undefined,
        SojournMs :: non_neg_integer() | undefined,
        StalledMs :: non_neg_integer() | undefined
    }
    | fault().
limits_owner(_Table, _Role, _Owner) -> absent().

-doc "Returns a role's numbers.".
-spec limits_role_stats(table(), erlmcp_queue_limits:role()) ->
    erlmcp_queue_limits:role_stats() | not_found | fault().
limits_role_stats(_Table, _Role) -> absent().

-doc "Returns the numbers of all roles.".
-spec limits_all_stats(table()) ->
    #{erlmcp_queue_limits:role() => erlmcp_queue_limits:role_stats()} | fault().
limits_all_stats(_Table) -> absent().

-doc "Zeroes a role's counters; depths, owners and the limit stay.".
-spec limits_reset_stats(table(), erlmcp_queue_limits:role()) -> ok | fault().
limits_reset_stats(_Table, _Role) -> absent().

-doc """
Returns how many refusals of a role there were since this was last asked, with the role's limit, owners and depth.
Each refusal is handed out once.
""".
-spec limits_take_refusals(table(), erlmcp_queue_limits:role()) ->
    {pos_integer(), erlmcp_queue_limits:limit(), Owners :: non_neg_integer(), Depth :: non_neg_integer()}
    | not_found
    | fault().
limits_take_refusals(_Table, _Role) -> absent().

-doc "Notes how much every role has drained and refused, and tidies the table. It is to be called once a second.".
-spec limits_sample(table()) -> ok | fault().
limits_sample(_Table) -> absent().

-doc "Says what time it is to those who do not look; to be called ten times a second.".
-spec limits_tick(table()) -> ok | fault().
limits_tick(_Table) -> absent().

-doc """
Admits a message of the calling process at once, if somebody has just asked for the length of the mailbox and there is
much room: the place that is returned is given back by `mailbox_sent/4`, or goes with the process. Otherwise the process
has to ask, and to be admitted by `mailbox_admit/6` with the note that it gets here. `noproc` if the receiver is dead.
""".
-spec mailbox_enter(table(), erlmcp_queue_limits:role(), pid()) ->
    Place :: non_neg_integer() | {ask, note()} | noproc | fault().
mailbox_enter(_Table, _Role, _Pid) -> absent().

-doc "Does what `mailbox_enter/3` does, with options.".
-spec mailbox_enter(table(), erlmcp_queue_limits:role(), pid(), erlmcp_queue_limits:options()) ->
    Place :: non_neg_integer() | {ask, note()} | noproc | fault().
mailbox_enter(_Table, _Role, _Pid, _Options) -> absent().

-doc """
Admits a message of the calling process, which has this note and was told this length, if there is room. The place that
is returned is given back by `mailbox_sent/5`, or goes with the process. `again` if the length is to be asked for once
more: where this is not the last time, and where the receiver is dead or was forgotten. A refusal is counted.
""".
-spec mailbox_admit(
    table(), erlmcp_queue_limits:role(), pid(), note(), Length :: non_neg_integer(), IsLast :: boolean()
) -> Place :: non_neg_integer() | again | {refused, erlmcp_queue_limits:refusal()} | fault().
mailbox_admit(_Table, _Role, _Pid, _Note, _Length, _IsLast) -> absent().

-doc "Does what `mailbox_admit/6` does, with options.".
-spec mailbox_admit(
    table(),
    erlmcp_queue_limits:role(),
    pid(),
    note(),
    Length :: non_neg_integer(),
    IsLast :: boolean(),
    erlmcp_queue_limits:options()
) -> Place :: non_neg_integer() | again | {refused, erlmcp_queue_limits:refusal()} | fault().
mailbox_admit(_Table, _Role, _Pid, _Note, _Length, _IsLast, _Options) -> absent().

-doc "Does what `mailbox_admit/7` does, but counts no refusal.".
-spec mailbox_offer(
    table(),
    erlmcp_queue_limits:role(),
    pid(),
    note(),
    Length :: non_neg_integer(),
    IsLast :: boolean(),
    erlmcp_queue_limits:options()
) -> Place :: non_neg_integer() | again | full | fault().
mailbox_offer(_Table, _Role, _Pid, _Note, _Length, _IsLast, _Options) -> absent().

-doc "Gives a place of `mailbox_enter/3` back: the message is in the mailbox.".
-spec mailbox_sent(table(), erlmcp_queue_limits:role(), pid(), Place :: non_neg_integer()) -> ok | fault().
mailbox_sent(_Table, _Role, _Pid, _Place) -> absent().

-doc "Gives a place of `mailbox_admit/6` back: the message is in the mailbox, which had this length before.".
-spec mailbox_sent(
    table(), erlmcp_queue_limits:role(), pid(), Place :: non_neg_integer(), Length :: non_neg_integer()
) ->
    ok | fault().
mailbox_sent(_Table, _Role, _Pid, _Place, _Length) -> absent().

-doc "Tells whether a mailbox of this length has room, and takes nothing. A refusal is counted.".
-spec mailbox_check(
    table(), erlmcp_queue_limits:role(), pid(), Length :: non_neg_integer(), erlmcp_queue_limits:options()
) -> ok | {refused, erlmcp_queue_limits:refusal()} | fault().
mailbox_check(_Table, _Role, _Pid, _Length, _Options) -> absent().

-doc "Notes the length of a mailbox, and tells whether it is to be looked at again, since it amounts to a level.".
-spec mailbox_looked(table(), erlmcp_queue_limits:role(), pid(), Length :: non_neg_integer()) -> boolean() | fault().
mailbox_looked(_Table, _Role, _Pid, _Length) -> absent().

-doc "Does what `mailbox_looked/4` does, and returns the row of the mailbox.".
-spec mailbox_row(table(), erlmcp_queue_limits:role(), pid(), Length :: non_neg_integer()) ->
    erlmcp_overload_monitor:queue_info() | fault().
mailbox_row(_Table, _Role, _Pid, _Length) -> absent().

-doc "Tells whether there is any mailbox that is to be looked at.".
-spec mailbox_any_held(table()) -> boolean() | fault().
mailbox_any_held(_Table) -> absent().

-doc "Returns the mailboxes that amount to a level, and are to be looked at.".
-spec mailbox_held(table()) -> [{erlmcp_queue_limits:role(), pid()}] | fault().
mailbox_held(_Table) -> absent().

-doc "Returns all mailboxes that are limited.".
-spec mailbox_all(table()) -> [{erlmcp_queue_limits:role(), pid()}] | fault().
mailbox_all(_Table) -> absent().

-doc """
Watches the mailboxes of all processes under the role `mailbox` from now on, by the lengths at which `warning`,
`critical` and `overload` begin, or ends that. Others' operations on the role are `role_reserved` meanwhile;
`role_in_use` if it has owners.
""".
-spec mailbox_watch(
    table(), {Warning :: pos_integer(), Critical :: pos_integer(), Overload :: pos_integer()} | off
) -> ok | fault().
mailbox_watch(_Table, _Lengths) -> absent().

-doc """
Returns by which lengths mailboxes are watched, how many processes are held, and how often one was not since 100 were.
""".
-spec mailbox_watched(table()) ->
    {{pos_integer(), pos_integer(), pos_integer()}, Held :: non_neg_integer(), PassedOver :: non_neg_integer()}
    | off
    | fault().
mailbox_watched(_Table) -> absent().

-doc "Notes that a mailbox is at least so long. If that is watched and long, its process is held, if there is room.".
-spec mailbox_seen(table(), pid(), Length :: non_neg_integer()) -> ok | fault().
mailbox_seen(_Table, _Pid, _Length) -> absent().

-doc "Tells whether somebody with a long mailbox is not held who could be. It is told once.".
-spec mailbox_missed(table()) -> boolean() | fault().
mailbox_missed(_Table) -> absent().

-doc """
Guards the node under the role `node` from now on, or ends that. Others' operations on the role are `role_reserved`
meanwhile; `role_in_use` if it has owners.
""".
-spec node_guard(table(), boolean()) -> ok | fault().
node_guard(_Table, _On) -> absent().

-doc """
Notes how much of the memory and of the run queue is in use and how hard that presses the node. What can be shed is
refused at 1, all but the highest class at 2, for so many milliseconds unless this is called again. While the node is
not guarded, nothing happens.
""".
-spec node_press(table(), Memory :: finding(), RunQueue :: finding(), ForMs :: non_neg_integer()) -> ok | fault().
node_press(_Table, _Memory, _RunQueue, _ForMs) -> absent().

-doc "Returns how hard the node is pressed now, the system time since when, and what was noted last of it.".
-spec node_pressure(table()) ->
    {0..2, SinceMs :: non_neg_integer(), {Memory :: finding(), RunQueue :: finding()} | undefined} | off | fault().
node_pressure(_Table) -> absent().

-doc "Tells whether a term is a pid of this node as it is now, and of no earlier one of its name.".
-spec is_local_pid(term()) -> boolean() | fault().
is_local_pid(_Term) -> absent().

-doc """
Tells whether a term is a pid of this node whose process has not begun to end. It waits for nobody, as
`is_process_alive/1` does for a process that has not seen all that was sent to it, and so may not have seen that the
process has been killed.
""".
-spec is_living(term()) -> boolean() | fault().
is_living(_Term) -> absent().

-doc """
Starts judging by these rules, unless that is switched off, and has the calling process get `news` when handlers have
to be told something. What was set by hand before a crash wins. Returns the check interval that holds, in
milliseconds.
""".
-spec overload_open(table(), rules(), Enabled :: boolean(), IntervalMs :: pos_integer()) -> pos_integer() | fault().
overload_open(_Table, _Rules, _Enabled, _IntervalMs) -> absent().

-doc "Ends judging, and forgets all alerts and levels.".
-spec overload_close(table()) -> ok | fault().
overload_close(_Table) -> absent().

-doc """
Changes the rules of judging, and switches it as configured; what was set by hand stays. Returns the check interval
that holds, in milliseconds.
""".
-spec overload_configure(table(), rules(), Enabled :: boolean(), IntervalMs :: pos_integer()) ->
    pos_integer() | fault().
overload_configure(_Table, _Rules, _Enabled, _IntervalMs) -> absent().

-doc "Switches judging on or off by hand.".
-spec overload_set_enabled(table(), boolean()) -> ok | fault().
overload_set_enabled(_Table, _Enabled) -> absent().

-doc "Tells whether anything is judged.".
-spec overload_is_enabled(table()) -> boolean() | fault().
overload_is_enabled(_Table) -> absent().

-doc "Sets the check interval by hand, in milliseconds, for the process after a crash too.".
-spec overload_set_interval(table(), pos_integer()) -> ok | fault().
overload_set_interval(_Table, _IntervalMs) -> absent().

-doc "Looks at every owner: finds what a changed limit means, and raises alerts that are due again.".
-spec overload_check(table()) -> ok | fault().
overload_check(_Table) -> absent().

-doc "Forgets the history of alerts and every owner's level.".
-spec overload_reset(table()) -> ok | fault().
overload_reset(_Table) -> absent().

-doc """
Returns what handlers have to be told, at most 100, and how many news were lost since the last time. It returns the
same again until `overload_told/1` is called.
""".
-spec overload_news(table(), Most :: pos_integer()) ->
    {[{raised | cleared, erlmcp_overload_monitor:alert()}], Lost :: non_neg_integer()} | fault().
overload_news(_Table, _Most) -> absent().

-doc "Says that handlers were told what `overload_news/2` returned.".
-spec overload_told(table()) -> ok | fault().
overload_told(_Table) -> absent().

-doc "Returns the alert level of each role.".
-spec overload_levels(table()) ->
    [{erlmcp_queue_limits:role(), erlmcp_overload_monitor:status()}] | fault().
overload_levels(_Table) -> absent().

-doc "Returns the roles whose breaker was reported open, those included that are gone.".
-spec overload_reported(table()) -> [erlmcp_queue_limits:role()] | fault().
overload_reported(_Table) -> absent().

-doc "Notes, for the process after a crash, whether a role's breaker was reported open.".
-spec overload_set_reported(table(), erlmcp_queue_limits:role(), boolean()) -> ok | fault().
overload_set_reported(_Table, _Role, _Open) -> absent().

-doc "Returns the alerts that are kept, the newest first.".
-spec overload_history(table()) -> [erlmcp_overload_monitor:alert()] | fault().
overload_history(_Table) -> absent().

-doc """
Returns a row for each owner of a role, or with `{}` of all roles; only those at critical or overload if asked for.
""".
-spec overload_rows(table(), erlmcp_queue_limits:role() | {}, Crowded :: boolean()) ->
    [erlmcp_overload_monitor:queue_info()] | fault().
overload_rows(_Table, _Role, _Crowded) -> absent().

-doc "Returns the rows of the first owners of a role, or with `{}` of all roles, by a rank, the highest first.".
-spec overload_first(
    table(), erlmcp_queue_limits:role() | {}, erlmcp_overload_monitor:rank(), Most :: non_neg_integer()
) -> [erlmcp_overload_monitor:queue_info()] | fault().
overload_first(_Table, _Role, _By, _Most) -> absent().

-doc "Returns a row for each role: its level, its owners by level, and its time at each level.".
-spec overload_summary(table()) -> [erlmcp_overload_monitor:role_summary()] | fault().
overload_summary(_Table) -> absent().

-doc "Enters an alias of the calling process into the registry.".
-spec alias_insert(reference()) -> ok | fault().
alias_insert(_Alias) -> absent().

-doc "Takes an alias of the calling process out of the registry.".
-spec alias_delete(term()) -> ok | fault().
alias_delete(_Alias) -> absent().

-doc "Tells whether an alias can be sent to: `ok`, `dead` if its process is, or `foreign` if it is another node's.".
-spec alias_check(term()) -> ok | dead | foreign | fault().
alias_check(_Alias) -> absent().

-doc "Tells the same to whoever sends: `ok` also for one whose process has just died.".
-spec alias_route(term()) -> ok | dead | foreign | fault().
alias_route(_Alias) -> absent().

-doc "Returns the newest alias of a process.".
-spec alias_newest(pid()) -> {ok, reference()} | dead | fault().
alias_newest(_Pid) -> absent().

-doc "Returns the process that an alias of this node belongs to, whether it is alive or not.".
-spec alias_process(term()) -> {ok, pid()} | fault().
alias_process(_Alias) -> absent().

-doc "Counts a message to an alias of another node that was not sent.".
-spec alias_dropped(busy | nodedown) -> ok | fault().
alias_dropped(_Why) -> absent().

-doc "Returns how many messages to aliases of other nodes were not sent, since the library was loaded, by why.".
-spec alias_drops() -> #{busy | nodedown => non_neg_integer()} | fault().
alias_drops() -> absent().

-doc "Returns how many processes have aliases, which is an estimate while some come and go.".
-spec alias_processes() -> non_neg_integer() | fault().
alias_processes() -> absent().

-doc "Opens the control plane, and returns what was registered before a crash.".
-spec control_open(Priority :: boolean()) ->
    [{atom(), Alias :: reference(), erlmcp_control_server:registration()}] | fault().
control_open(_Priority) -> absent().

-doc "Closes the control plane and forgets everything.".
-spec control_close() -> ok | fault().
control_close() -> absent().

-doc "Switches the priority lane as configured, unless it was switched by hand.".
-spec control_configure(boolean()) -> ok | fault().
control_configure(_Priority) -> absent().

-doc "Switches the priority lane on or off by hand.".
-spec control_set_priority(boolean()) -> ok | fault().
control_set_priority(_Priority) -> absent().

-doc """
Registers a component, or replaces its route; there can be 1024. The registration is kept for the next `control_open/1`;
one of more than 512 bytes is kept by itself.
""".
-spec control_put(
    atom(),
    handler | alias,
    Alias :: reference(),
    {TimeoutMs :: non_neg_integer(), Rates :: [{erlmcp_control_message:control_type(), pos_integer(), pos_integer()}]},
    erlmcp_control_server:registration(),
    Bytes :: non_neg_integer()
) -> ok | fault().
control_put(_Id, _Kind, _Alias, _Sending, _Registration, _Bytes) -> absent().

-doc "Takes a component out of the registry.".
-spec control_remove(atom()) -> ok | not_found | fault().
control_remove(_Id) -> absent().

-doc "Returns the ids of the components, in no order.".
-spec control_components() -> [atom()] | fault().
control_components() -> absent().

-doc """
Returns where a message to a component goes. `Ahead` tells whether it goes ahead of ordinary messages. It is `dead`
while the process is being replaced, and how long a sender waits is told then, too.

A message to a handler has a place, and counts as waiting until `control_taken/3` or until nobody holds the place any
more; with 65536 places of that type taken it is `queue_full`. A message to an alias has a number; with 65536 of which
none is known to be gone it is `crowded`: `control_at_most/4` tells the native what is in the mailbox of `pid()`.

Where the type has a rate the message is counted in it, unless it is full or crowded; one that goes beyond is
`rate_limited`, and has no place. `control_reroute/2` is for one that has been counted.
""".
-spec control_route(term(), erlmcp_control_message:control_type()) ->
    control_route() | {rate_limited, erlmcp_overload_rate:limited()} | fault().
control_route(_Id, _Type) -> absent().

-doc "Returns the same for a message that was counted in the rate of its type before.".
-spec control_reroute(term(), erlmcp_control_message:control_type()) -> control_route() | fault().
control_reroute(_Id, _Type) -> absent().

-doc """
Tells whether a sender who began at this time, in nanoseconds, may wait at priority `high`: of each scheduler 64 a
millisecond may.
""".
-spec control_haste(SentAt :: integer()) -> boolean().
control_haste(_SentAt) -> absent().

-doc """
Says how many messages there were in the mailbox of an alias's process after so many messages of a type had been sent
there: of those no more wait. Returns whether there is room for another.
""".
-spec control_at_most(
    atom(), erlmcp_control_message:control_type(), Sent :: pos_integer(), Length :: non_neg_integer()
) -> ok | queue_full | not_found | fault().
control_at_most(_Id, _Type, _Sent, _Length) -> absent().

-doc """
Says that a component's handler takes the message of this place out: to start it, this many microseconds after the
sending, or to drop it.
""".
-spec control_taken(atom(), control_place(), DeliveryUs :: integer() | skipped) -> ok | fault().
control_taken(_Id, _Place, _DeliveryUs) -> absent().

-doc "Counts the message of this number to a component's own alias as delivered.".
-spec control_delivered(atom(), erlmcp_control_message:control_type(), Number :: pos_integer()) -> ok | fault().
control_delivered(_Id, _Type, _Number) -> absent().

-doc "Records how many microseconds a sender waited, and how its wait ended.".
-spec control_ended(
    atom(), erlmcp_control_message:control_type(), LatencyUs :: non_neg_integer(), answered | died | timeout
) -> ok | fault().
control_ended(_Id, _Type, _LatencyUs, _Outcome) -> absent().

-doc "Counts a component's handler that raised or died.".
-spec control_crashed(erlmcp_control_plane:component_id()) -> ok | fault().
control_crashed(_Id) -> absent().

-doc "Keeps of what a component's handler failed: of the words the first 1024 bytes, and so five times.".
-spec control_failed(erlmcp_control_plane:component_id(), AtMs :: integer(), Words :: binary()) -> ok | fault().
control_failed(_Id, _AtMs, _Words) -> absent().

-doc "Returns how often a component's handler raised or died, and of what the last few times, the newest first.".
-spec control_errors(erlmcp_control_plane:component_id()) ->
    {non_neg_integer(), [{AtMs :: integer(), Words :: binary()}]} | not_found | fault().
control_errors(_Id) -> absent().

-doc """
Records what became of a control message to another node, and how many microseconds its sender waited for the answer, if
it did.
""".
-spec control_ended_far(erlmcp_control_message:control_type(), LatencyUs :: non_neg_integer(), control_fate()) ->
    ok | fault().
control_ended_far(_Type, _LatencyUs, _Fate) -> absent().

-doc "Returns how long senders wait for the answer of a component, in milliseconds.".
-spec control_timeout(term()) -> non_neg_integer() | not_found | fault().
control_timeout(_Id) -> absent().

-doc "Returns the control plane's numbers.".
-spec control_stats() -> erlmcp_control_message:control_plane_stats() | fault().
control_stats() -> absent().

-doc "Zeroes the control plane's numbers; components, and what waits, stay.".
-spec control_reset() -> ok | fault().
control_reset() -> absent().

-doc "Opens rates, and defines those that are configured. What was defined by hand, and what was taken, stays.".
-spec rate_open(rates()) -> ok | fault().
rate_open(_Configured) -> absent().

-doc "Closes rates and forgets all of them.".
-spec rate_close() -> ok | fault().
rate_close() -> absent().

-doc "Defines rates as configured and undefines what was and is not any more, but for what was defined by hand.".
-spec rate_configure(rates()) -> ok | fault().
rate_configure(_Configured) -> absent().

-doc "Defines a rate by hand, or changes it.".
-spec rate_define(erlmcp_overload_rate:name(), rate_fields()) -> ok | fault().
rate_define(_Name, _Fields) -> absent().

-doc "Undefines a rate, and forgets what was taken of it.".
-spec rate_undefine(erlmcp_overload_rate:name()) -> ok | fault().
rate_undefine(_Name) -> absent().

-doc "Returns the names of the rates that are defined, in no order.".
-spec rate_names() -> [erlmcp_overload_rate:name()] | fault().
rate_names() -> absent().

-doc "Returns how a rate is defined, how many keys have a bucket, what was taken, and how often was refused.".
-spec rate_info(erlmcp_overload_rate:name()) -> rate_info() | fault().
rate_info(_Name) -> absent().

-doc """
Returns how many keys of a rate have less than one left, and of those that most was taken of, at most 64, what is left,
and in how many nanoseconds there is one, and all.
""".
-spec rate_emptiest(erlmcp_overload_rate:name(), non_neg_integer()) ->
    {
        Empty :: non_neg_integer(),
        [{rate_key(), Remaining :: non_neg_integer(), RetryNs :: non_neg_integer(), ResetNs :: non_neg_integer()}]
    }
    | fault().
rate_emptiest(_Name, _Most) -> absent().

-doc """
Takes of a key's bucket, and returns what is left. `packed` asks for the same with what is to be made of the key.
""".
-spec rate_take(erlmcp_overload_rate:name(), term(), erlmcp_overload_rate:cost()) ->
    Remaining :: non_neg_integer() | {error, erlmcp_overload_rate:refusal()} | packed | fault().
rate_take(_Name, _Key, _Cost) -> absent().

-doc "Does what `rate_take/3` does, with what was made of the key, which is used where the key is not read itself.".
-spec rate_take(erlmcp_overload_rate:name(), term(), binary() | fault(), erlmcp_overload_rate:cost()) ->
    Remaining :: non_neg_integer() | {error, erlmcp_overload_rate:refusal()} | fault().
rate_take(_Name, _Key, _Packed, _Cost) -> absent().

-doc "Takes of all of these, or of none.".
-spec rate_take_all([{erlmcp_overload_rate:name(), term(), packed() | fault(), erlmcp_overload_rate:cost()}]) ->
    ok | {error, erlmcp_overload_rate:refusal()} | packed | fault().
rate_take_all(_Items) -> absent().

-doc "Returns what `rate_take/3` of 1 would.".
-spec rate_peek(erlmcp_overload_rate:name(), term(), packed() | fault()) ->
    {ok, Remaining :: non_neg_integer()} | {error, {rate_limited, erlmcp_overload_rate:limited()}} | packed | fault().
rate_peek(_Name, _Key, _Packed) -> absent().

-doc "Gives back to a key's bucket, at most to full.".
-spec rate_give_back(erlmcp_overload_rate:name(), term(), packed() | fault(), erlmcp_overload_rate:cost()) ->
    ok | packed | fault().
rate_give_back(_Name, _Key, _Packed, _Cost) -> absent().

-doc "Fills a key's bucket.".
-spec rate_reset(erlmcp_overload_rate:name(), term(), packed() | fault()) -> ok | packed | fault().
rate_reset(_Name, _Key, _Packed) -> absent().

-doc "Makes what stands for a key of its external form: the SHA-256, behind a byte that says so.".
-spec rate_digest(binary()) -> binary() | fault().
rate_digest(_External) -> absent().

-doc """
Notes what was counted by now, and forgets keys whose bucket is full: each time where there are many, and each tenth
otherwise. It begins with 0, and looks at some thousand at once; it returns where to go on, or `none`.
""".
-spec rate_tidy(From :: non_neg_integer()) -> (Next :: pos_integer()) | none | fault().
rate_tidy(_From) -> absent().

-doc """
Returns of each rate of all nodes together what was asked for on this one, costs added up, granted or not, in a count
that wraps at 2^64, and this node's share.
""".
-spec rate_shared() -> [{erlmcp_overload_rate:name(), Asked :: non_neg_integer(), Share :: float()}] | fault().
rate_shared() -> absent().

-doc """
Sets this node's shares of at most 64 such rates, in parts of 10^9, and the share that it has of one that is defined
from now on, also while rates are closed. Names of other rates, or of none, are passed over.
""".
-spec rate_set_shares([{erlmcp_overload_rate:name(), Parts :: 1..1000000000}], Base :: 1..1000000000) -> ok | fault().
rate_set_shares(_Shares, _Base) -> absent().

-doc """
Makes a token of an owner's, with `undefined` for what there is not of an id, a permit and a priority alias. With
`{tell, Token, Telling}` it was cancelled before, and somebody is to be told; of an alias that is no live process's
nobody is.
""".
-spec cancel_new(
    cancel_label() | undefined, pid(), permit() | undefined, erlmcp_priority:alias() | undefined
) -> cancel_token() | {tell, cancel_token(), cancel_telling()} | already_known | fault().
cancel_new(_Id, _Owner, _Permit, _Alias) -> absent().

-doc "Does what `cancel_new/4` does, on a dirty scheduler: for long ids.".
-spec cancel_new_long(
    cancel_label() | undefined, pid(), permit() | undefined, erlmcp_priority:alias() | undefined
) -> cancel_token() | {tell, cancel_token(), cancel_telling()} | already_known | fault().
cancel_new_long(_Id, _Owner, _Permit, _Alias) -> absent().

-doc "Tells whether the task of a token was cancelled.".
-spec cancel_check(cancel_token()) -> boolean() | fault().
cancel_check(_Token) -> absent().

-doc "Returns why the task of a token was cancelled, `undefined` if it was not; `long` if the reason is.".
-spec cancel_reason(cancel_token()) -> cancel_label() | undefined | long | fault().
cancel_reason(_Token) -> absent().

-doc "Does what `cancel_reason/1` does, on a dirty scheduler: for long reasons.".
-spec cancel_reason_long(cancel_token()) -> cancel_label() | undefined | fault().
cancel_reason_long(_Token) -> absent().

-doc "Cancels the task of a token. With `{tell, Telling}` somebody is to be told.".
-spec cancel_token(cancel_token(), cancel_label()) -> ok | {tell, cancel_telling()} | fault().
cancel_token(_Token, _Reason) -> absent().

-doc "Does what `cancel_token/2` does, on a dirty scheduler: for long reasons.".
-spec cancel_token_long(cancel_token(), cancel_label()) -> ok | {tell, cancel_telling()} | fault().
cancel_token_long(_Token, _Reason) -> absent().

-doc "Cancels the task that an owner has, or will have, under an id. With `{tell, Telling}` somebody is to be told.".
-spec cancel_id(pid(), cancel_label(), cancel_label()) -> ok | {tell, cancel_telling()} | fault().
cancel_id(_Owner, _Id, _Reason) -> absent().

-doc "Does what `cancel_id/3` does, on a dirty scheduler: for long ids and reasons.".
-spec cancel_id_long(pid(), cancel_label(), cancel_label()) -> ok | {tell, cancel_telling()} | fault().
cancel_id_long(_Owner, _Id, _Reason) -> absent().

-doc "Forgets a token, and frees its permit. Once more it does nothing.".
-spec cancel_done(cancel_token()) -> ok | fault().
cancel_done(_Token) -> absent().

-doc "Returns what is to be sent, and where: the alias, the id and the reason; `long` if one of these is long.".
-spec cancel_notice(cancel_telling()) ->
    {erlmcp_priority:alias() | undefined, cancel_label() | undefined, cancel_label()} | long | fault().
cancel_notice(_Telling) -> absent().

-doc "Does what `cancel_notice/1` does, on a dirty scheduler: for long ids and reasons.".
-spec cancel_notice_long(cancel_telling()) ->
    {erlmcp_priority:alias() | undefined, cancel_label() | undefined, cancel_label()} | fault().
cancel_notice_long(_Telling) -> absent().

-doc "Says that it was sent.".
-spec cancel_told(cancel_telling()) -> ok | fault().
cancel_told(_Telling) -> absent().

-doc "Has the calling process get `news` when there is something to send that nobody else will, or to sweep.".
-spec cancel_attach() -> ok | fault().
cancel_attach() -> absent().

-doc "Takes out what is to be sent, 128 at most. With `[]` there is nothing, and there will be `news`.".
-spec cancel_news() -> [cancel_telling()] | fault().
cancel_news() -> absent().

-doc "Forgets some tombstones that are too old. Returns in how many milliseconds there is the next.".
-spec cancel_sweep() -> non_neg_integer() | none | fault().
cancel_sweep() -> absent().

-doc "Says for how many milliseconds tombstones are kept, and how many.".
-spec cancel_configure(TombstoneMs :: non_neg_integer(), Most :: non_neg_integer()) -> ok | fault().
cancel_configure(_TombstoneMs, _Most) -> absent().

-doc "Returns how many tokens and tombstones there are, and how many tasks were cancelled.".
-spec cancel_stats() -> erlmcp_control_cancel:stats() | fault().
cancel_stats() -> absent().

-doc """
Makes a histogram of latencies from 0 to 60 s, to three significant digits. Any process may record into it at any
time.
""".
-spec latency_new() -> histogram() | fault().
latency_new() -> absent().

-doc "Records a latency in microseconds in a histogram; longer than 60 s counts as 60 s.".
-spec latency_record(histogram(), LatencyUs :: non_neg_integer()) -> ok | fault().
latency_record(_Histogram, _LatencyUs) -> absent().

-doc """
Returns count and percentiles, in microseconds, of what a histogram has recorded since its last reset. Nothing that
was recorded before this begins is missing.
""".
-spec latency_summary(histogram()) ->
    #{count | p50_us | p95_us | p99_us | p999_us | max_us => non_neg_integer()} | fault().
latency_summary(_Histogram) -> absent().

-doc "Forgets what a histogram has recorded.".
-spec latency_reset(histogram()) -> ok | fault().
latency_reset(_Histogram) -> absent().

-doc "Returns everything of `t:erlmcp_native_metrics:snapshot/0` but the pressure, whatever is started.".
-spec metrics_snapshot(table()) -> 
    #{at_ms | services | switches | roles | rates | control | self => term()} | fault().
metrics_snapshot(_Table) -> absent().

-doc "Keeps a history from now on, or goes on; or with `false` forgets all of it.".
-spec history_keep(boolean()) -> ok | fault().
history_keep(_Keep) -> absent().

-doc """
Records in the history, if one is kept, how it is in the second of now. Returns for how many milliseconds the middle of
the next is away.
""".
-spec history_record(table()) -> 1..1000 | fault().
history_record(_Table) -> absent().

-doc "Returns the last 600 seconds, or 1440 minutes, of a role and of the node, or with `{}` of all roles.".
-spec history_read(StepS :: 1 | 60, erlmcp_queue_limits:role() | {}) -> history() | off | fault().
history_read(_StepS, _Role) -> absent().

-doc """
Returns how many bytes the C allocator has handed out in this operating-system process, nearly all of them to this
library, or `undefined` where the C library does not say. `erlang:memory/0` does not see them.
""".
-spec native_memory() -> non_neg_integer() | undefined | not_started.
native_memory() -> absent().
