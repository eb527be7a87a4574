-module(erlmcp_native_demo_sample).
-moduledoc "All that is known at one moment, from the library and from the demo's own meter.".

-export([take/1, role/2, per_s/3]).

-export_type([world/0, sample/0, role_sample/0, control/0]).

-doc """
What runs: the owners of each role, in the order they are shown, who probes, the components of the control
plane, and what was asked of all.
""".
-type world() :: #{
    meter := erlmcp_native_demo_meter:meter(),
    owners := [{erlmcp_queue_limits:role(), [pid()]}],
    probers := [pid()],
    handler := erlmcp_control_plane:component_id(),
    executors := [erlmcp_control_plane:component_id()],
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
-doc """
The control plane: what was delivered, and what senders waited, in all, for the component with a handler
process, and for the slowest of the executors; and what those waited who sent an executor an ordinary message.
""".
-type control() :: #{
    delivered := non_neg_integer(),
    by_type := [{erlmcp_control_message:control_type(), non_neg_integer()}],
    in_all := erlmcp_native_demo_meter:waits(),
    handler := erlmcp_native_demo_meter:waits(),
    executor := erlmcp_native_demo_meter:waits(),
    ordinary := erlmcp_native_demo_meter:waits(),
    slo_violations := non_neg_integer(),
    unanswered := non_neg_integer()
}.
-doc "One moment; `at_us` is monotonic time.".
-type sample() :: #{
    at_us := integer(),
    offered := non_neg_integer(),
    finished := non_neg_integer(),
    admitted := non_neg_integer(),
    refused := non_neg_integer(),
    roles := [role_sample()],
    control := control()
}.

-doc "Looks at everything.".
-spec take(world()) -> sample().
take(#{meter := Meter, owners := Owners} = World) ->
    #{offered := Offered, finished := Finished} = erlmcp_native_demo_meter:read(Meter),
    Roles = [role_sample(Meter, Role, Pids) || {Role, Pids} <- Owners],
    #{stats := #{total_enqueued := Admitted}} = find(tool_executor, Roles),
    #{
        at_us => erlang:monotonic_time(microsecond),
        offered => Offered,
        finished => Finished,
        admitted => Admitted,
        refused => lists:sum([Refused || #{stats := #{total_rejected := Refused}} <- Roles]),
        roles => Roles,
        control => control(World)
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

control(#{meter := Meter, handler := Handler, executors := Executors}) ->
    Stats = erlmcp_control_plane:get_stats(),
    #{total_delivered := Delivered, by_type := ByType, by_component := ByComponent} = Stats,
    #{slo_violations := Violations, timeouts := Unanswered} = Stats,
    #{Handler := HandlerStats} = ByComponent,
    #{
        delivered => Delivered,
        by_type => [
            {Type, maps:get(Type, ByType)}
         || Type <- [circuit_breaker, health_check, drain_session, cancel_task]
        ],
        in_all => waits(Delivered, Stats),
        handler => component_waits(HandlerStats),
        executor => slowest([component_waits(maps:get(Id, ByComponent)) || Id <- Executors]),
        ordinary => erlmcp_native_demo_meter:waits(Meter),
        slo_violations => Violations,
        unanswered => Unanswered
    }.

component_waits(#{delivered := Delivered} = Stats) ->
    waits(Delivered, Stats).

waits(0, _Stats) ->
    #{p50_us => undefined, p99_us => undefined, max_us => undefined};
waits(_, #{latency_p50_us := P50, latency_p99_us := P99, max_latency_us := Max}) ->
    #{p50_us => P50, p99_us => P99, max_us => Max}.

slowest(All) ->
    maps:from_list([{Key, highest([maps:get(Key, Waits) || Waits <- All])} || Key <- [p50_us, p99_us, max_us]]).

highest(Values) ->
    case [Us || Us <- Values, Us =/= undefined] of
        [] -> undefined;
        Known -> lists:max(Known)
    end.

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
