-module(erlmcp_native_history).
-moduledoc """
What it was like before anybody looked: a value a second for the last ten minutes, and a value a minute for the last
day, in native memory.

The process of `erlmcp_queue_limits` has each second recorded. It may crash meanwhile: what was recorded stays, and
seconds in which nobody recorded are gaps. All is forgotten when that service is stopped, or when the key `history` of
the configuration is set to `false`.

| of | value | is |
| --- | --- | --- |
| the node | `refused_per_s` | requests refused a second, all roles together |
| | `control_p99_us` | of 100 control messages answered in that second 99 took at most so long, to a factor of two |
| | `pressure` | the level of `m:erlmcp_overload_node`, 0 to 2 |
| a role | `fullest` | the depth of its fullest owner: of now if it has one owner, else as of the last check, and no less than the mean of now |
| | `refused_per_s` | requests refused a second, to within 25 %, 32768 at most |
| | `max_wait_ms` | how long one that came had to wait at most, as of the last check, to within 25 %, 131072 at most |

What is not known is `null`, and never 0: a second that nobody recorded, a percentile without messages, a waiting time
that was not measured, what a check long ago may have said. Values below 32, and 4 of the last two, are exact;
otherwise they are rounded, to within 3 % if nothing else is said. A minute has the highest of its seconds.

At most 50 roles are kept. A role comes in when something waits in it, or it refuses. If there are 50, it takes the
place of the one that has been quiet for longest, of ten minutes at least; else it is left out, and `left_out` says
how many are. With 50 roles it takes 250 KB (`erlmcp_native_memory_bytes` has it), never more.

```erlang
1> #{step_ms := 1000, points := 600, roles := Roles} = erlmcp_native_history:read(last_10_minutes, all).
2> #{step_ms := 60000, points := 1440} = erlmcp_native_history:read(last_day, {role, session}).
```
""".

-export([read/2]).

-export_type([span/0, history/0]).

-doc "A span is one of the two that are kept.".
-type span() :: last_10_minutes | last_day.
-doc """
A history has lists of `points` values, the oldest first, `step_ms` apart. The last is of the step that began at
`to_ms`, in system time, and is not over yet.
""".
-type history() :: #{
    to_ms := non_neg_integer(),
    step_ms := pos_integer(),
    points := pos_integer(),
    left_out := non_neg_integer(),
    node := #{refused_per_s | control_p99_us | pressure => erlmcp_native:column()},
    roles := [
        #{
            role := erlmcp_queue_limits:role(),
            fullest := erlmcp_native:column(),
            refused_per_s := erlmcp_native:column(),
            max_wait_ms := erlmcp_native:column()
        }
    ]
}.

-doc "Returns a span, of the node and of one role or all; `off` if nothing is kept. Anything else raises `badarg`.".
-spec read(span(), all | {role, erlmcp_queue_limits:role()}) -> history() | off.
read(Span, Scope) ->
    maybe
        {ok, StepS, Points} ?= steps(Span),
        {ok, Role} ?= scope(Scope),
        {ToMs, LeftOut, {Refused, P99, Pressure}, Roles} ?= erlmcp_native:history_read(StepS, Role),
        #{
            to_ms => ToMs,
            step_ms => 1000 * StepS,
            points => Points,
            left_out => LeftOut,
            node => #{refused_per_s => Refused, control_p99_us => P99, pressure => Pressure},
            roles => [role(Row) || Row <- lists:keysort(1, Roles)]
        }
    else
        off -> off;
        not_started -> off;
        Fault -> erlmcp_native_error:raise(Fault, {?MODULE, ?FUNCTION_NAME, [Span, Scope]})
    end.

steps(last_10_minutes) -> {ok, 1, 600};
steps(last_day) -> {ok, 60, 1440};
steps(_) -> bad_span.

scope(all) -> {ok, {}};
scope({role, Role}) when is_atom(Role) -> {ok, Role};
scope(_) -> bad_scope.

role({Role, Fullest, Refused, Waits}) ->
    #{role => Role, fullest => Fullest, refused_per_s => Refused, max_wait_ms => Waits}.
