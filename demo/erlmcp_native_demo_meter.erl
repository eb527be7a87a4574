-module(erlmcp_native_demo_meter).
-moduledoc """
What the demo's processes measure themselves, apart from the library's own counts, so that the two can be
compared. Written by many processes at once, without a message.
""".

-export([new/0, offered/2, finished/2, held/3, retry_after/3, cost/5, read/1, read/2]).

-export_type([meter/0, verdict/0, flow/0, role_reading/0]).

-define(OFFERED, 1).
-define(FINISHED, 2).

-define(HELD, 1).
-define(RETRY_AFTER, 2).

%% A histogram has a counter for all calls, and one for each nanosecond; the last is for that and beyond.
-define(MAX_NS, 9_999).
-define(ALL, ?MAX_NS + 1).

-doc "The meter.".
-opaque meter() :: #{
    flow := counters:counters_ref(),
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

-doc "A meter at zero.".
-spec new() -> meter().
new() ->
    #{flow => counters:new(2, [write_concurrency]), tool_executor => new_role(), session => new_role()}.

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
    Each = max(1, min(?MAX_NS, (Ns + Calls div 2) div Calls)),
    counters:add(Histogram, Each, Calls),
    counters:add(Histogram, ?ALL, Calls).

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
        admitted_ns => median(Admitted),
        refused_ns => median(Refused)
    }.

positive(0) -> undefined;
positive(N) -> N.

median(Histogram) ->
    case counters:get(Histogram, ?ALL) of
        0 -> undefined;
        All -> median(Histogram, 1, (All + 1) div 2)
    end.

median(Histogram, Ns, Left) when Ns < ?MAX_NS ->
    case counters:get(Histogram, Ns) of
        N when N >= Left -> Ns;
        N -> median(Histogram, Ns + 1, Left - N)
    end;
median(_Histogram, Ns, _Left) ->
    Ns.
