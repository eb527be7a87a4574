-module(erlmcp_native_demo_meter).
-moduledoc """
What the demo's processes count and time themselves, apart from the library's own counts, so that the two can
be compared; and what they are all told: the phase, the rates and the speed. Without a message.
""".

-export([new/0, set/2, phase/1, rate/2, speed/1, tally/1]).
-export([add/3, counts/1, held/3, most_held/1]).
-export([waited/3, waited/4, waits/3, phases/0, sides/0]).
-export([asked/3, asking_ns/1]).

-export_type([meter/0, counter/0, role/0, what/0, phase/0, side/0, waits/0]).

-define(PHASES, [calm, tenants, noisy, surge, fixed, pause, wait, faults, pressure, recovery]).
-define(WHATS, [control, ordinary, crossing]).
-define(ROLES, [session, transport, tool_executor, sse_stream]).
-define(COUNTERS, [lost, finished, forwarded, streamed, control, unanswered, died]).

-doc "The meter is shared by all processes of the demo.".
-opaque meter() :: #{
    counters := counters:counters_ref(),
    orders := atomics:atomics_ref(),
    held := atomics:atomics_ref(),
    asking := atomics:atomics_ref(),
    tally := erlmcp_native_demo_tally:tally(),
    {what(), side()} := erlmcp_native:histogram()
}.
-doc """
Counters are of requests: `lost` with an executor, `finished` by executors, `forwarded` by transports, `streamed` by
SSE streams. Of control messages they are `control`, answered; `unanswered`; and `died`, health checks whose receiver
was killed. What else becomes of requests is in the tally.
""".
-type counter() :: lost | finished | forwarded | streamed | control | unanswered | died.
-doc "These are the roles of the demo's processes.".
-type role() :: session | transport | tool_executor | sse_stream.
-doc """
This is what is timed: control messages to their answer, ordinary messages to executors until one takes them up, by
what they count for, and alerts from the crossing to the handler.
""".
-type what() :: control | ordinary | crossing.
-doc "The demo has ten phases.".
-type phase() :: calm | tenants | noisy | surge | fixed | pause | wait | faults | pressure | recovery.
-doc "A request counts for the phase in which it was offered, or for the noisy one, who offered it.".
-type side() :: phase() | noisy_one.
-doc "These say how long something took, in microseconds; all are 0 where `count` is.".
-type waits() :: #{count | p50_us | p99_us | max_us => non_neg_integer()}.

-doc "Makes a meter at zero, in the calm phase, with a rate of 0.".
-spec new() -> meter().
new() ->
    Histograms = #{
        {What, Side} => erlmcp_native:latency_new()
     || What <- ?WHATS, Side <- sides()
    },
    Histograms#{
        counters => counters:new(length(?COUNTERS), [write_concurrency]),
        orders => atomics:new(4, [{signed, false}]),
        held => atomics:new(length(?ROLES), [{signed, false}]),
        asking => atomics:new(2, []),
        tally => erlmcp_native_demo_tally:new()
    }.

-doc """
Sets the phase, how many requests a second each client offers, how many the noisy one, and how many each executor
finishes at most (0: as many as it can).
""".
-spec set(meter(), erlmcp_native_demo_phases:orders()) -> ok.
set(#{orders := Orders}, {Phase, Rate, Noisy, Speed}) ->
    ok = atomics:put(Orders, 1, place(Phase, ?PHASES) - 1),
    ok = atomics:put(Orders, 2, Rate),
    ok = atomics:put(Orders, 3, Noisy),
    atomics:put(Orders, 4, Speed).

-doc "Returns the phase that is now.".
-spec phase(meter()) -> phase().
phase(#{orders := Orders}) -> lists:nth(atomics:get(Orders, 1) + 1, ?PHASES).

-doc "Returns how many requests a second each client offers, or the noisy one.".
-spec rate(meter(), client | noisy_one) -> non_neg_integer().
rate(#{orders := Orders}, client) -> atomics:get(Orders, 2);
rate(#{orders := Orders}, noisy_one) -> atomics:get(Orders, 3).

-doc "Returns how many requests a second an executor finishes at most; 0 for no bound.".
-spec speed(meter()) -> non_neg_integer().
speed(#{orders := Orders}) -> atomics:get(Orders, 4).

-doc "Returns the tally of requests.".
-spec tally(meter()) -> erlmcp_native_demo_tally:tally().
tally(#{tally := Tally}) -> Tally.

-doc "Counts so many more of something.".
-spec add(meter(), counter(), non_neg_integer()) -> ok.
add(#{counters := Counters}, Counter, N) ->
    counters:add(Counters, place(Counter, ?COUNTERS), N).

-doc "Returns the values of all counters.".
-spec counts(meter()) -> #{counter() => non_neg_integer()}.
counts(#{counters := Counters}) ->
    #{Counter => counters:get(Counters, Index) || {Index, Counter} <- lists:enumerate(?COUNTERS)}.

-doc "Notes that an owner found so many waiting for itself.".
-spec held(meter(), role(), non_neg_integer()) -> ok.
held(#{held := Held}, Role, N) ->
    Index = place(Role, ?ROLES),
    raise_to(Held, Index, N, atomics:get(Held, Index)).

raise_to(_Held, _Index, N, Seen) when N =< Seen ->
    ok;
raise_to(Held, Index, N, Seen) ->
    case atomics:compare_exchange(Held, Index, Seen, N) of
        ok -> ok;
        Other -> raise_to(Held, Index, N, Other)
    end.

-doc "Returns the most that an owner of each role ever found waiting for itself.".
-spec most_held(meter()) -> #{role() => non_neg_integer()}.
most_held(#{held := Held}) ->
    #{Role => atomics:get(Held, Index) || {Index, Role} <- lists:enumerate(?ROLES)}.

-doc "Notes that something took so many microseconds, in the phase that is now.".
-spec waited(meter(), what(), integer()) -> ok.
waited(Meter, What, Us) ->
    waited(Meter, What, phase(Meter), Us).

-doc "Notes that something took so many microseconds, and what that counts for.".
-spec waited(meter(), what(), side(), integer()) -> ok.
waited(Meter, What, Side, Us) ->
    Key = {What, Side},
    #{Key := Histogram} = Meter,
    ok = erlmcp_native:latency_record(Histogram, max(0, Us)).

-doc "Returns all phases in their order.".
-spec phases() -> [phase(), ...].
phases() ->
    ?PHASES.

-doc "Returns what requests may count for: all phases, and the noisy one.".
-spec sides() -> [side(), ...].
sides() ->
    ?PHASES ++ [noisy_one].

-doc "Notes that the noisy one has asked from one time to another, by the operating system's clock in nanoseconds.".
-spec asked(meter(), FromNs :: integer(), ToNs :: integer()) -> ok.
asked(#{asking := Asking}, FromNs, ToNs) ->
    %% One process asks. The beginning is written once, and it is not at 0 of the clock.
    _ = atomics:compare_exchange(Asking, 1, 0, FromNs),
    atomics:put(Asking, 2, ToNs).

-doc "Returns how long the noisy one has asked, from before its first request until after its last.".
-spec asking_ns(meter()) -> non_neg_integer().
asking_ns(#{asking := Asking}) ->
    atomics:get(Asking, 2) - atomics:get(Asking, 1).

-doc "Returns how long something took, of what counts for this.".
-spec waits(meter(), what(), side()) -> waits().
waits(Meter, What, Side) ->
    Key = {What, Side},
    #{Key := Histogram} = Meter,
    #{count := _} = Summary = erlmcp_native:latency_summary(Histogram),
    maps:with([count, p50_us, p99_us, max_us], Summary).

place(Name, Names) -> place(Name, Names, 1).

place(Name, [Name | _], Index) -> Index;
place(Name, [_ | Names], Index) -> place(Name, Names, Index + 1).
