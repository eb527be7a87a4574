-module(erlmcp_native_demo_pressure).
-moduledoc """
Brings the node under memory pressure, for real: somebody takes as much memory as everything else has, holds it for half
a second, and is gone. What is made up is how much the node may have, since nobody wants a demo to fill the machine.
""".

-export([guard/0, press/1]).

-export_type([pressed/0]).

-define(FIRST, 0.7).
%% What is in use while the memory is taken, of what the node may have.
-define(PRESSED, 0.8).
-define(LEAST, (32 bsl 20)).
-define(MOST, (512 bsl 20)).
%% Of what is freed the runtime keeps some pieces for the next who asks, so a single large one may stay for seconds.
-define(PIECE, (1 bsl 20)).
-define(HOLD_MS, 500).
-define(DEADLINE_MS, 15_000).

-doc """
This says how many bytes were taken, what the node was said to have, and the share of it that was in use then; how long
after they had passed the mark the node refused something, for which cause; and how long after they were given back it
served sheddable work again. Where that was not seen before the deadline, it is `not_seen`.
""".
-type pressed() :: #{
    bytes := pos_integer(),
    memory_limit := pos_integer(),
    share := float(),
    cause := none | memory | run_queue,
    refused_us := non_neg_integer() | not_seen,
    served_us := non_neg_integer() | not_seen
}.

-doc """
Returns how the node is guarded: by its memory alone, since the run queue of a busy demo is long; and level 2, which
would refuse critical work, begins where nothing is left.
""".
-spec guard() -> map().
guard() ->
    #{memory => {?FIRST, 1}, run_queue => off}.

-doc "Takes memory until the node refuses, gives it back, and waits until the node does not refuse any more.".
-spec press(erlmcp_native_demo_meter:meter()) -> pressed().
press(Meter) ->
    #{memory := #{used := Used}} = erlmcp_overload_node:pressure(),
    Bytes = min(?MOST, max(?LEAST, Used div ?PIECE * ?PIECE)),
    Limit = round((Used + Bytes) / ?PRESSED),
    ok = configure((guard())#{memory_limit => Limit}),
    ok = until(fun() -> of_memory(limit) =:= Limit end, now_us()),
    Before = refused(Meter),
    Presser = self(),
    ToMark = ceil((?FIRST * Limit - Used) / ?PIECE),
    Holder = spawn_link(fun() ->
        Pieces = pieces(ToMark),
        Presser ! {over, self(), now_us()},
        hold(pieces(Bytes div ?PIECE - ToMark) ++ Pieces)
    end),
    Over = receive {over, Holder, At} -> At end,
    ok = until(fun() -> refused(Meter) > Before end, Over),
    RefusedUs = seen(refused(Meter) > Before, Over),
    #{cause := Cause} = erlmcp_overload_node:pressure(),
    receive after ?HOLD_MS -> ok end,
    Share = of_memory(share),
    Served = served(Meter),
    Given = now_us(),
    true = unlink(Holder),
    true = exit(Holder, kill),
    IsOver = fun() -> level() =:= 0 andalso served(Meter) > Served end,
    ok = until(IsOver, Given),
    ServedUs = seen(IsOver(), Given),
    ok = configure(guard()),
    #{
        bytes => Bytes,
        memory_limit => Limit,
        share => Share,
        cause => Cause,
        refused_us => RefusedUs,
        served_us => ServedUs
    }.

configure(Guard) ->
    ok = application:set_env(erlmcp_native, node, Guard),
    erlmcp_native_app:reload_config().

pieces(Number) ->
    [binary:copy(<<1>>, ?PIECE) || _ <- lists:seq(1, Number)].

-spec hold([binary()]) -> no_return().
hold(Pieces) ->
    receive
        never -> hold(Pieces)
    end.

level() ->
    #{level := Level} = erlmcp_overload_node:pressure(),
    Level.

of_memory(Key) ->
    #{memory := #{Key := Value}} = erlmcp_overload_node:pressure(),
    Value.

%% As those count it who are refused and answered.
refused(Meter) ->
    tally(node, Meter).

served(Meter) ->
    tally(answered, Meter).

tally(What, Meter) ->
    Counts = erlmcp_native_demo_tally:read(erlmcp_native_demo_meter:tally(Meter)),
    erlmcp_native_demo_tally:total(What, sheddable, Counts).

seen(true, Since) -> now_us() - Since;
seen(false, _Since) -> not_seen.

until(Done, Since) ->
    erlmcp_native_demo_fault:until(Done, Since, ?DEADLINE_MS).

now_us() ->
    erlang:monotonic_time(microsecond).
