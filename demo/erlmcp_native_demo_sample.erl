-module(erlmcp_native_demo_sample).
-moduledoc "All that is known at one moment, from the library and from the demo's own meter.".

-export([take/1, per_s/3, library_refused/0]).

-export_type([world/0, sample/0, role/0, node_now/0]).

-define(MOST_OWNERS, 16).

-doc "The world says where to look.".
-type world() :: #{
    meter := erlmcp_native_demo_meter:meter(),
    book := erlmcp_native_demo_handler:book(),
    crew := erlmcp_native_demo_crew:crew(),
    share := erlmcp_native_demo_share:share()
}.
-doc """
This is a role: the library's numbers, the depth and the own limit of its fullest owner now, the least and the most that
any owner's own limit is, its level and its breaker. `limit` is the most that an owner's may be.
""".
-type role() :: #{
    role := erlmcp_native_demo_meter:role(),
    limit := non_neg_integer(),
    owners := non_neg_integer(),
    fullest := non_neg_integer(),
    fullest_limit := erlmcp_queue_limits:limit(),
    own_limits := {erlmcp_queue_limits:limit(), erlmcp_queue_limits:limit()},
    level := erlmcp_overload_monitor:status(),
    breaker := open | close,
    held := non_neg_integer(),
    stats := erlmcp_queue_limits:role_stats()
}.
-doc "This is what presses the node: the level, the share of the memory it may have, and its breaker.".
-type node_now() :: #{level := 0..2, share := float(), limit := pos_integer() | unknown, breaker := open | close}.
-doc """
A sample is one moment; `at_us` is monotonic time in microseconds. `rate` is what the library says of the tenants' rate,
and `asking_ns` how long the noisy one has asked. Mailboxes are the longest of any owner and of any
service.
""".
-type sample() :: #{
    at_us := integer(),
    phase := erlmcp_native_demo_meter:phase(),
    counts := #{erlmcp_native_demo_meter:counter() | limited | offered | answered | refused => non_neg_integer()},
    tally := erlmcp_native_demo_tally:counts(),
    roles := [role()],
    node := node_now(),
    rate := #{taken | refused => non_neg_integer()},
    asking_ns := non_neg_integer(),
    waits := #{
        {erlmcp_native_demo_meter:what(), erlmcp_native_demo_meter:side()} => erlmcp_native_demo_meter:waits()
    },
    control := #{delivered | slo_violations | health_checks => non_neg_integer()},
    alerts := #{raised | cleared | opened => non_neg_integer()},
    owner_mailbox := non_neg_integer(),
    service_mailbox := non_neg_integer(),
    share := float()
}.

-doc "Takes a sample of everything.".
-spec take(world()) -> sample().
take(#{meter := Meter, book := Book, crew := Crew, share := Share}) ->
    Levels = #{Role => Level || #{role := Role, level := Level} <- erlmcp_overload_monitor:summary()},
    Breakers = erlmcp_native_demo_handler:breakers(Book),
    Held = erlmcp_native_demo_meter:most_held(Meter),
    #{share := Own} = erlmcp_native_demo_share:read(Share),
    Tally = erlmcp_native_demo_tally:read(erlmcp_native_demo_meter:tally(Meter)),
    Totals = #{What => erlmcp_native_demo_tally:total(What, Tally) || What <- [limited, offered, answered, refused]},
    #{
        at_us => erlang:monotonic_time(microsecond),
        phase => erlmcp_native_demo_meter:phase(Meter),
        counts => maps:merge(erlmcp_native_demo_meter:counts(Meter), Totals),
        tally => Tally,
        node => node(erlmcp_overload_node:pressure(), maps:get(node, Breakers, close)),
        rate => maps:with([taken, refused], erlmcp_native_demo_tenants:info()),
        asking_ns => erlmcp_native_demo_meter:asking_ns(Meter),
        roles => [role(Role, Levels, Breakers, Held) || Role <- [session, transport, tool_executor, sse_stream]],
        waits => #{
            {What, Side} => erlmcp_native_demo_meter:waits(Meter, What, Side)
         || What <- [control, ordinary, crossing], Side <- erlmcp_native_demo_meter:sides()
        },
        control => control(erlmcp_control_plane:get_stats()),
        alerts => erlmcp_native_demo_handler:counts(Book),
        owner_mailbox => longest(erlmcp_native_demo_crew:owners(Crew)),
        service_mailbox => longest([
            Pid
         || Name <- [erlmcp_queue_limits, erlmcp_overload_monitor, erlmcp_control_plane],
            Pid <- [whereis(Name)],
            is_pid(Pid)
        ]),
        share => Own
    }.

role(Role, Levels, Breakers, Held) ->
    #{limit := Limit, owners := Owners} = Stats = erlmcp_queue_limits:get_role_stats(Role),
    {Fullest, OwnLimit, OwnLimits} = owners(Limit, erlmcp_overload_monitor:queues(Role, #{top => ?MOST_OWNERS})),
    #{
        role => Role,
        limit => Limit,
        owners => Owners,
        fullest => Fullest,
        fullest_limit => OwnLimit,
        own_limits => OwnLimits,
        level => maps:get(Role, Levels, ok),
        breaker => maps:get(Role, Breakers, close),
        held => maps:get(Role, Held),
        stats => Stats
    }.

%% The one that finds a node killed is meant to come to nothing.
control(#{total_delivered := Delivered, slo_violations := Violations, by_type := ByType, far := Far}) ->
    #{health_check := Checks} = ByType,
    #{nodedown := Down} = Far,
    #{delivered => Delivered, slo_violations => max(0, Violations - Down), health_checks => Checks}.

longest(Pids) ->
    lists:max([0 | [Length || Pid <- Pids, {_, Length} <- [process_info(Pid, message_queue_len)]]]).

owners(Limit, []) ->
    {0, Limit, {Limit, Limit}};
owners(_, Rows) ->
    {_, Fullest, OwnLimit} = lists:max([{U, D, L} || #{utilization := U, depth := D, limit := L} <- Rows]),
    OwnLimits = [L || #{limit := L} <- Rows],
    {Fullest, OwnLimit, {lists:min(OwnLimits), lists:max(OwnLimits)}}.

%% The guard may not have begun.
node(#{level := Level, memory := #{share := Share, limit := Limit}}, Breaker) ->
    #{level => Level, share => Share, limit => Limit, breaker => Breaker};
node(off, Breaker) ->
    #{level => 0, share => 0.0, limit => unknown, breaker => Breaker}.

-doc "Returns how much a number has grown between two samples, per second.".
-spec per_s(fun((sample()) -> integer()), sample(), sample()) -> integer().
per_s(Number, #{at_us := From} = Old, #{at_us := To} = New) ->
    round((Number(New) - Number(Old)) * 1_000_000 / max(1, To - From)).

-doc "Returns how many requests the library says it has refused, by class and reason, but for those to SSE streams.".
-spec library_refused() -> #{{erlmcp_queue_limits:class(), erlmcp_queue_limits:reason()} => pos_integer()}.
library_refused() ->
    #{roles := Roles} = erlmcp_native_metrics:snapshot(),
    All = [
        {{Class, Reason}, N}
     || #{role := Role, refused_by := By} <- Roles, Role =/= sse_stream, {Class, Reason, N} <- By, N > 0
    ],
    #{
        Key => lists:sum(Numbers)
     || Key := Numbers <- maps:groups_from_list(fun({Key, _}) -> Key end, fun({_, N}) -> N end, All)
    }.
