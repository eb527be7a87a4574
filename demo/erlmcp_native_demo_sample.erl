-module(erlmcp_native_demo_sample).
-moduledoc "All that is known at one moment, from the library and from the demo's own meter.".

-export([take/1, role/2, per_s/3]).

-export_type([world/0, sample/0, role_sample/0]).

-doc "What runs: the owners of each role, in the order they are shown, and what was asked of them.".
-type world() :: #{
    meter := erlmcp_native_demo_meter:meter(),
    owners := [{erlmcp_queue_limits:role(), [pid()]}],
    offered_per_s := pos_integer(),
    finished_per_s := pos_integer()
}.
-doc "One role: the library's numbers, the depth of its fullest owner, and what the meter says.".
-type role_sample() :: #{
    role := erlmcp_queue_limits:role(),
    owners := pos_integer(),
    fullest := non_neg_integer(),
    stats := erlmcp_queue_limits:role_stats(),
    own := erlmcp_native_demo_meter:role_reading()
}.
-doc "One moment; `at_us` is monotonic time.".
-type sample() :: #{
    at_us := integer(),
    offered := non_neg_integer(),
    finished := non_neg_integer(),
    admitted := non_neg_integer(),
    refused := non_neg_integer(),
    roles := [role_sample()]
}.

-doc "Looks at everything.".
-spec take(world()) -> sample().
take(#{meter := Meter, owners := Owners}) ->
    #{offered := Offered, finished := Finished} = erlmcp_native_demo_meter:read(Meter),
    Roles = [role_sample(Meter, Role, Pids) || {Role, Pids} <- Owners],
    #{stats := #{total_enqueued := Admitted}} = find(tool_executor, Roles),
    #{
        at_us => erlang:monotonic_time(microsecond),
        offered => Offered,
        finished => Finished,
        admitted => Admitted,
        refused => lists:sum([Refused || #{stats := #{total_rejected := Refused}} <- Roles]),
        roles => Roles
    }.

role_sample(Meter, Role, Pids) ->
    #{
        role => Role,
        owners => length(Pids),
        fullest => lists:max([erlmcp_queue_limits:get_queue_depth(Role, Pid) || Pid <- Pids]),
        stats => stats(Role),
        own => erlmcp_native_demo_meter:read(Meter, Role)
    }.

stats(Role) ->
    #{} = erlmcp_queue_limits:get_role_stats(Role).

-doc "The role in the sample.".
-spec role(erlmcp_queue_limits:role(), sample()) -> role_sample().
role(Role, #{roles := Roles}) ->
    find(Role, Roles).

find(Role, Roles) ->
    [Found] = [Sample || #{role := R} = Sample <- Roles, R =:= Role],
    Found.

-doc "How much a number has grown between two samples, per second.".
-spec per_s(fun((sample()) -> integer()), sample(), sample()) -> integer().
per_s(Number, #{at_us := From} = Old, #{at_us := To} = New) ->
    round((Number(New) - Number(Old)) * 1_000_000 / max(1, To - From)).
