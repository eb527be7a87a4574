-module(erlmcp_native_demo_meter).
-moduledoc """
What the demo's processes measure themselves, apart from the library's own counts, so that the two can be
compared. Written by many processes at once, without a message.
""".

-export([new/0, offered/2, finished/2, held/3, retry_after/3, cost/5, waited/2, read/1, read/2, waits/1]).

-export_type([meter/0, verdict/0, flow/0, role_reading/0, waits/0]).

-define(OFFERED, 1).
-define(FINISHED, 2).

-define(HELD, 1).
-define(RETRY_AFTER, 2).

%% A histogram has a counter for all values, and one for each value; the last is for that and beyond.
-define(MAX, 9_999).
-define(ALL, ?MAX + 1).

-define(LONGEST_WAIT, 1).
-define(WAIT_STEP_US, 100).

-doc "The meter.".
-opaque meter() :: #{
    flow := counters:counters_ref(),
    waits := counters:counters_ref(),
    longest := atomics:atomics_ref(),
    tool_executor | session := #{
        marks := atomics:atomics_ref(), admitted := counters:counters_ref(), refused := counters:counters_ref()
    }
}.
-doc "How the library answered.".
-type verdict() :: admitted | refused.
-doc "Requests since the start.".
-type flow() :: #{offered := non_neg_integer(), finished := non_neg_integer()}.
-doc """
`held` is the highest number that an owner of the role found waiting for itself, `retry_after_ms` what the
last refusal said. The costs are medians, `undefined` without a call.
""".
-type role_reading() :: #{
    held := non_neg_integer(),
    retry_after_ms := pos_integer() | undefined,
    admitted_ns := pos_integer() | undefined,
    refused_ns := pos_integer() | undefined
}.
-doc "How long something took, in microseconds; `undefined` where nothing was measured.".
-type waits() :: #{
    p50_us := non_neg_integer() | undefined,
    p99_us := non_neg_integer() | undefined,
    max_us := non_neg_integer() | undefined
}.

-doc "A meter at zero.".
-spec new() -> meter().
new() ->
    #{
        flow => counters:new(2, [write_concurrency]),
        waits => counters:new(?ALL, []),
        longest => atomics:new(1, [{signed, false}]),
        tool_executor => new_role(),
        session => new_role()
    }.

new_role() ->
    #{
        marks => atomics:new(2, [{signed, false}]),
        admitted => counters:new(?ALL, [write_concurrency]),
        refused => counters:new(?ALL, [write_concurrency])
    }.

-doc "So many requests more were offered.".
-spec offered(meter(), non_neg_integer()) -> ok.
offered(#{flow := Flow}, N) ->
    counters:add(Flow, ?OFFERED, N).

-doc "So many requests more were finished.".
-spec finished(meter(), non_neg_integer()) -> ok.
finished(#{flow := Flow}, N) ->
    counters:add(Flow, ?FINISHED, N).

-doc "An owner found so many waiting for itself.".
-spec held(meter(), erlmcp_queue_limits:role(), non_neg_integer()) -> ok.
held(Meter, Role, N) ->
    #{Role := #{marks := Marks}} = Meter,
    raise_to(Marks, ?HELD, N, atomics:get(Marks, ?HELD)).

raise_to(_Marks, _Index, N, Seen) when N =< Seen ->
    ok;
raise_to(Marks, Index, N, Seen) ->
    case atomics:compare_exchange(Marks, Index, Seen, N) of
        ok -> ok;
        Other -> raise_to(Marks, Index, N, Other)
    end.

-doc "A refusal said so.".
-spec retry_after(meter(), erlmcp_queue_limits:role(), Ms :: pos_integer()) -> ok.
retry_after(Meter, Role, Ms) ->
    #{Role := #{marks := Marks}} = Meter,
    atomics:put(Marks, ?RETRY_AFTER, Ms).

-doc "So many calls with the same verdict took so long together.".
-spec cost(meter(), erlmcp_queue_limits:role(), verdict(), Calls, Ns) -> ok when
    Calls :: pos_integer(), Ns :: non_neg_integer().
cost(Meter, Role, Verdict, Calls, Ns) ->
    #{Role := #{Verdict := Histogram}} = Meter,
    Each = max(1, min(?MAX, (Ns + Calls div 2) div Calls)),
    counters:add(Histogram, Each, Calls),
    counters:add(Histogram, ?ALL, Calls).

-doc "A timed request was answered after so long.".
-spec waited(meter(), Us :: non_neg_integer()) -> ok.
waited(#{waits := Histogram, longest := Longest}, Us) ->
    counters:add(Histogram, max(1, min(?MAX, (Us + ?WAIT_STEP_US - 1) div ?WAIT_STEP_US)), 1),
    counters:add(Histogram, ?ALL, 1),
    raise_to(Longest, ?LONGEST_WAIT, Us, atomics:get(Longest, ?LONGEST_WAIT)).

-doc "The requests so far.".
-spec read(meter()) -> flow().
read(#{flow := Flow}) ->
    #{offered => counters:get(Flow, ?OFFERED), finished => counters:get(Flow, ?FINISHED)}.

-doc "A role's measurements so far.".
-spec read(meter(), erlmcp_queue_limits:role()) -> role_reading().
read(Meter, Role) ->
    #{Role := #{marks := Marks, admitted := Admitted, refused := Refused}} = Meter,
    #{
        held => atomics:get(Marks, ?HELD),
        retry_after_ms => positive(atomics:get(Marks, ?RETRY_AFTER)),
        admitted_ns => percentile(50, Admitted),
        refused_ns => percentile(50, Refused)
    }.

-doc "How long timed requests took so far; the percentiles are rounded up to tenths of a millisecond.".
-spec waits(meter()) -> waits().
waits(#{waits := Histogram, longest := Longest}) ->
    case percentile(50, Histogram) of
        undefined ->
            #{p50_us => undefined, p99_us => undefined, max_us => undefined};
        P50 ->
            Max = atomics:get(Longest, ?LONGEST_WAIT),
            #{
                p50_us => min(Max, P50 * ?WAIT_STEP_US),
                p99_us => min(Max, percentile(99, Histogram) * ?WAIT_STEP_US),
                max_us => Max
            }
    end.

positive(0) -> undefined;
positive(N) -> N.

percentile(Percent, Histogram) ->
    case counters:get(Histogram, ?ALL) of
        0 -> undefined;
        All -> walk(Histogram, 1, (All * Percent + 99) div 100)
    end.

walk(Histogram, Value, Left) when Value < ?MAX ->
    case counters:get(Histogram, Value) of
        N when N >= Left -> Value;
        N -> walk(Histogram, Value + 1, Left - N)
    end;
walk(_Histogram, Value, _Left) ->
    Value.
