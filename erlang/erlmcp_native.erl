-module(erlmcp_native).
-moduledoc """
The native functions, and nothing else.

What they mean is said where they are used: `m:erlmcp_queue_limits`. This module has no logic of its own,
so that all that ever changes can be reloaded while it stays: reloading it fails, and the old code goes on.

The first argument of a `limits_` function is a table made by `limits_new/1`, or `own` for the one that
the library holds itself. None of them raises: each returns its answer or an atom that says why there is
none. While the library is not loaded, that atom is `not_started`.
""".

-export([load/0]).
-export([
    limits_new/1,
    limits_open/3,
    limits_close/1,
    limits_configure/3,
    limits_set_enforcing/2,
    limits_set_limit/3,
    limits_get_limit/2,
    limits_get_limits/1
]).
-export([
    limits_nothing/3,
    limits_check/3,
    limits_try_enqueue/3,
    limits_enqueue/3,
    limits_dequeue/3,
    limits_acquire/3,
    limits_give_back/1,
    limits_forget/3
]).
-export([
    limits_depth/2,
    limits_depth/3,
    limits_owners/1,
    limits_role_stats/2,
    limits_all_stats/1,
    limits_reset_stats/2,
    limits_take_refusals/2,
    limits_sample/1
]).
-export([native_memory/0]).

-on_load(on_load/0).
-nifs([
    limits_new/1,
    limits_open/3,
    limits_close/1,
    limits_configure/3,
    limits_set_enforcing/2,
    limits_set_limit/3,
    limits_get_limit/2,
    limits_get_limits/1,
    limits_nothing/3,
    limits_check/3,
    limits_try_enqueue/3,
    limits_enqueue/3,
    limits_dequeue/3,
    limits_acquire/3,
    limits_give_back/1,
    limits_forget/3,
    limits_depth/2,
    limits_depth/3,
    limits_owners/1,
    limits_role_stats/2,
    limits_all_stats/1,
    limits_reset_stats/2,
    limits_take_refusals/2,
    limits_sample/1,
    native_memory/0
]).

-export_type([table/0, permit/0, fault/0, limits/0]).

%% The library must be of this version too.
-define(VERSION, "0.1.0").

-doc "A table of limits; it goes when nothing refers to it any more.".
-type table() :: reference() | own.
-doc "One admission. It is given back when its holder lets go of it, at the latest by dying.".
-opaque permit() :: reference().
-doc "Why a function did not do what it was asked.".
-type fault() ::
    bad_limit
    | bad_limits
    | bad_owner
    | bad_permit
    | bad_role
    | bad_switch
    | bad_table
    | not_started
    | too_many_roles.
-doc "Limits by role; a role that is not mentioned follows `default`.".
-type limits() :: [{erlmcp_queue_limits:role(), erlmcp_queue_limits:limit()}].

%% A first load without a usable library leaves the stubs in place: callers then see services that are
%% not started, instead of a search of the code path in every call. Over a working library it fails.
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
missing is found once it is there.
""".
-spec load() -> ok | {error, {Reason :: atom(), Text :: string()}}.
load() ->
    case erlang:load_nif(library(), <<?VERSION>>) of
        ok -> ok;
        {error, {reload, _}} -> ok;
        {error, {load, _}} -> {error, {bad_version, "not of version " ++ ?VERSION ++ ": " ++ library()}};
        {error, _} = Error -> Error
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

-doc "A table of its own, open.".
-spec limits_new(limits()) -> reference() | fault().
limits_new(_Limits) -> absent().

-doc """
Opens the table for the calling process, which from now on gets `{refused, Role}` for a role's first
refusal after a quiet second. What was counted and set by hand stays. Returns the roles.
""".
-spec limits_open(table(), limits(), Enforcing :: boolean()) -> [erlmcp_queue_limits:role()] | fault().
limits_open(_Table, _Limits, _Enforcing) -> absent().

-doc "Closes the table and forgets everything.".
-spec limits_close(table()) -> ok | fault().
limits_close(_Table) -> absent().

-doc "Applies limits and the switch, but for what was set by hand.".
-spec limits_configure(table(), limits(), Enforcing :: boolean()) -> ok | fault().
limits_configure(_Table, _Limits, _Enforcing) -> absent().

-doc "Switches refusals on or off by hand.".
-spec limits_set_enforcing(table(), boolean()) -> ok | fault().
limits_set_enforcing(_Table, _Enforcing) -> absent().

-doc "Sets a role's limit by hand.".
-spec limits_set_limit(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:limit()) -> ok | fault().
limits_set_limit(_Table, _Role, _Limit) -> absent().

-doc "A role's limit.".
-spec limits_get_limit(table(), erlmcp_queue_limits:role()) -> erlmcp_queue_limits:limit() | fault().
limits_get_limit(_Table, _Role) -> absent().

-doc "All limits.".
-spec limits_get_limits(table()) -> #{erlmcp_queue_limits:role() => erlmcp_queue_limits:limit()} | fault().
limits_get_limits(_Table) -> absent().

-doc "Decodes the arguments and does nothing: the floor under what the others cost.".
-spec limits_nothing(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) -> ok | fault().
limits_nothing(_Table, _Role, _Owner) -> absent().

-doc "Is there room?".
-spec limits_check(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) ->
    ok | {refused, erlmcp_queue_limits:refusal()} | fault().
limits_check(_Table, _Role, _Owner) -> absent().

-doc "Is there room? If so, takes it.".
-spec limits_try_enqueue(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) ->
    ok | {refused, erlmcp_queue_limits:refusal()} | fault().
limits_try_enqueue(_Table, _Role, _Owner) -> absent().

-doc "Adds one.".
-spec limits_enqueue(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) -> ok | fault().
limits_enqueue(_Table, _Role, _Owner) -> absent().

-doc "Takes one away.".
-spec limits_dequeue(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) -> ok | fault().
limits_dequeue(_Table, _Role, _Owner) -> absent().

-doc "As `limits_try_enqueue/3`, with a permit.".
-spec limits_acquire(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) ->
    {ok, permit()} | {refused, erlmcp_queue_limits:refusal()} | fault().
limits_acquire(_Table, _Role, _Owner) -> absent().

-doc "Gives a permit back. Once more does nothing.".
-spec limits_give_back(permit()) -> ok | fault().
limits_give_back(_Permit) -> absent().

-doc "Drops an owner's count in a role.".
-spec limits_forget(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) -> ok | fault().
limits_forget(_Table, _Role, _Owner) -> absent().

-doc "An owner's depth over all its roles.".
-spec limits_depth(table(), erlmcp_queue_limits:owner()) -> non_neg_integer() | not_found | fault().
limits_depth(_Table, _Owner) -> absent().

-doc "An owner's depth in a role.".
-spec limits_depth(table(), erlmcp_queue_limits:role(), erlmcp_queue_limits:owner()) ->
    non_neg_integer() | fault().
limits_depth(_Table, _Role, _Owner) -> absent().

-doc "How many owners are tracked; an estimate while some come and go.".
-spec limits_owners(table()) -> non_neg_integer() | fault().
limits_owners(_Table) -> absent().

-doc "A role's numbers.".
-spec limits_role_stats(table(), erlmcp_queue_limits:role()) ->
    erlmcp_queue_limits:role_stats() | not_found | fault().
limits_role_stats(_Table, _Role) -> absent().

-doc "Every role's numbers.".
-spec limits_all_stats(table()) ->
    #{erlmcp_queue_limits:role() => erlmcp_queue_limits:role_stats()} | fault().
limits_all_stats(_Table) -> absent().

-doc "Zeroes a role's counters.".
-spec limits_reset_stats(table(), erlmcp_queue_limits:role()) -> ok | fault().
limits_reset_stats(_Table, _Role) -> absent().

-doc "The role's refusals since this was last asked, and its numbers. Each refusal is handed out once.".
-spec limits_take_refusals(table(), erlmcp_queue_limits:role()) ->
    {pos_integer(), erlmcp_queue_limits:role_stats()} | not_found | fault().
limits_take_refusals(_Table, _Role) -> absent().

-doc "Notes how much every role has drained; to be called once a second.".
-spec limits_sample(table()) -> ok | fault().
limits_sample(_Table) -> absent().

-doc """
Bytes that the C allocator has handed out in this operating-system process, nearly all of them to this
library; `undefined` where the C library does not say. `erlang:memory/0` does not see them.
""".
-spec native_memory() -> non_neg_integer() | undefined | not_started.
native_memory() -> absent().
