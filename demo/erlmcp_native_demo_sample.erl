-module(erlmcp_native_demo_sample).
-moduledoc "All that is known at one moment, from the library and from the demo's own meter.".

-export([take/1, per_s/3]).

-export_type([world/0, sample/0, role/0]).

-doc "The world says where to look.".
-type world() :: #{
    meter := erlmcp_native_demo_meter:meter(),
    book := erlmcp_native_demo_handler:book(),
    crew := erlmcp_native_demo_crew:crew(),
    share := erlmcp_native_demo_share:share()
}.
-doc "This is a role: the library's numbers, the depth of its fullest owner now, its level and its breaker.".
-type role() :: #{
    role := erlmcp_native_demo_meter:role(),
    limit := non_neg_integer(),
    owners := non_neg_integer(),
    fullest := non_neg_integer(),
    level := erlmcp_overload_monitor:status(),
    breaker := open | close,
    held := non_neg_integer(),
    stats := erlmcp_queue_limits:role_stats()
}.
-doc """
A sample is one moment; `at_us` is monotonic time in microseconds. Mailboxes are the longest of any owner and of any
service.
""".
-type sample() :: #{
    at_us := integer(),
    phase := erlmcp_native_demo_meter:phase(),
    counts := #{erlmcp_native_demo_meter:counter() => non_neg_integer()},
    roles := [role()],
    waits := #{
        {erlmcp_native_demo_meter:what(), erlmcp_native_demo_meter:phase()} => erlmcp_native_demo_meter:waits()
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
    #{
        at_us => erlang:monotonic_time(microsecond),
        phase => erlmcp_native_demo_meter:phase(Meter),
        counts => erlmcp_native_demo_meter:counts(Meter),
        roles => [role(Role, Levels, Breakers, Held) || Role <- [session, transport, tool_executor, sse_stream]],
        waits => #{
            {What, Phase} => erlmcp_native_demo_meter:waits(Meter, What, Phase)
         || What <- [control, ordinary, crossing], Phase <- [calm, surge, overload, recovery]
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
    #{
        role => Role,
        limit => Limit,
        owners => Owners,
        fullest => lists:max([0 | [Depth || #{depth := Depth} <- erlmcp_overload_monitor:queues(Role, #{top => 1})]]),
        level => maps:get(Role, Levels, ok),
        breaker => maps:get(Role, Breakers, close),
        held => maps:get(Role, Held),
        stats => Stats
    }.

control(#{total_delivered := Delivered, slo_violations := Violations, by_type := #{health_check := Checks}}) ->
    #{delivered => Delivered, slo_violations => Violations, health_checks => Checks}.

longest(Pids) ->
    lists:max([0 | [Length || Pid <- Pids, {_, Length} <- [process_info(Pid, message_queue_len)]]]).

-doc "Returns how much a number has grown between two samples, per second.".
-spec per_s(fun((sample()) -> integer()), sample(), sample()) -> integer().
per_s(Number, #{at_us := From} = Old, #{at_us := To} = New) ->
    round((Number(New) - Number(Old)) * 1_000_000 / max(1, To - From)).
