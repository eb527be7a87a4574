-module(erlmcp_overload_node).
-moduledoc """
What the node can bear: it refuses the least important work before memory or schedulers are gone, although each owner is
below its limit.

It is off unless it is configured:

```erlang
{erlmcp_native, [{node, #{memory => {0.70, 0.85}, run_queue => {4, 8}, sample_ms => 100}}]}
```

| option | value | default | meaning |
| --- | --- | --- | --- |
| `memory` | off, or {First, Second}, numbers from 0.1 to 1 | `{0.7,0.85}` | The shares of the memory limit at which the levels begin. |
| `run_queue` | off, or {First, Second}, numbers from 0.1 to 1000000 | `{4,8}` | The lengths of the run queue of a scheduler at which the levels begin. |
| `sample_ms` | milliseconds, an integer from 10 to 1000 | `100` | The time between two looks. |
| `memory_limit` | auto, or an integer from 1 to 2^63 - 1 | `auto` | The memory limit in bytes; `auto` looks it up. |

There are two *levels*. At level 1 requests of the classes `sheddable_plus` and `sheddable` are refused, at level 2 all
but those of `critical_plus`, with reason `node`, in every role. Requests that name no class are `critical`.

*Memory* in use is what the node has resident, or `erlang:memory(total)` if that is more. Its limit is the least of what
the control group of the node's operating system process allows, what each group around it does (version 1 and 2), and
what the machine has; it is looked up every ten seconds, and stays what it was where that cannot be done. Where none was
ever known, on other systems than Linux, memory is not looked at unless `memory_limit` says it. A level rises at the
first look at which the share is reached, and is left when it was 5 points lower for 2 s. What was freed is in use until
the runtime gives it back, which for a single large binary may take seconds.

The *run queue* is the number of processes and ports that are ready to run and have to wait, per scheduler that is
online: the mean of five moments between two looks, since it changes from one to the next. A level rises when that was
at its mark or above for 500 ms, and is left when it was below three quarters of the mark for 2 s; see
`m:erlmcp_overload_hysteresis`. What runs on dirty schedulers does not count.

The worse of the two is the node's level, and is told with its cause by `pressure/0`:

```erlang
1> #{level := Level, cause := Cause} = erlmcp_overload_node:pressure(), {Level, Cause}.
{Level,Cause}
```

All of it, under some pressure:

```text
#{level => 1, cause => memory, refuses => [sheddable_plus,sheddable], since_ms => 1795721838000,
  memory => #{level => 1, used => 3221225472, limit => 4294967296, share => 0.75, marks => {0.7,0.85},
              source => {file,"/sys/fs/cgroup/memory.max"}},
  run_queue => #{level => 0, length => 1, schedulers => 2, per_scheduler => 0.5, marks => {4,8}}}
```

A level is an alert of the role `node` like any other, of the level `critical` for 1 and `overload` for 2: in the
history, for handlers, for a breaker of that name, in metrics. Its owner is the cause, `memory` or `run_queue`. Of
`memory` depth and limit are bytes, of `run_queue` what waits in all and what that is where level 2 begins. While the
guard is on, the role is nobody else's: what counts, limits, forgets or sends in it raises `badarg`. Where the role
has owners, the guard does not begin; that is logged, and tried again.

Whoever looks is a process of the overload monitor's, with priority `high`, which waits for no file and no other
process: what has to be waited for is done by others, and a number that is older than five seconds does not count any
more. What a level refuses it refuses for five seconds, or five times `sample_ms`, unless it is said anew. So if that
process is lost, the next, which the monitor starts at once, goes on from its level; and if none comes, requests are
admitted again after that time, and the alert is over at the monitor's next check. While queue limits are switched off
nothing is refused. `erlmcp_native_app:reload_config/0` changes the options while it is on: what is held stays held,
and is left as the new ones say.
""".

-export([pressure/0, config/0, table/0]).

-export_type([pressure/0, memory/0, run_queue/0, options/0]).

-doc "Pressure is how hard the node is pressed, by what, and what it refuses for that.".
-type pressure() :: #{
    level := erlmcp_overload_hysteresis:level(),
    cause := none | memory | run_queue,
    refuses := [critical | sheddable_plus | sheddable],
    %% The level is the same since then, in milliseconds of system time.
    since_ms := integer(),
    memory := memory() | off,
    run_queue := run_queue() | off
}.
-doc "This says how much memory is in use, in bytes. A limit that is not known is `unknown`.".
-type memory() :: #{
    level := erlmcp_overload_hysteresis:level(),
    used := non_neg_integer(),
    limit := pos_integer() | unknown,
    share := float(),
    marks := erlmcp_overload_hysteresis:marks(),
    source := erlmcp_overload_memory:source() | unknown
}.
-doc "This says how many processes and ports wait for a scheduler.".
-type run_queue() :: #{
    level := erlmcp_overload_hysteresis:level(),
    length := non_neg_integer(),
    schedulers := pos_integer(),
    per_scheduler := float(),
    marks := erlmcp_overload_hysteresis:marks()
}.
-doc "This map has every option with its value.".
-type options() :: #{
    memory := erlmcp_overload_hysteresis:marks() | off,
    run_queue := erlmcp_overload_hysteresis:marks() | off,
    sample_ms := 10..1000,
    memory_limit := pos_integer() | auto
}.

-define(MAX_BYTES, 16#7fffffffffffffff).
-define(MAX_LENGTH, 1000000).

-doc "Returns how hard the node is pressed now, and by what; `off` while nobody looks.".
-spec pressure() -> pressure() | off.
pressure() ->
    case {erlmcp_native:node_pressure(own), erlmcp_overload_guard:told()} of
        {{Level, SinceMs, {LastMemory, LastRunQueue}}, #{} = Told} ->
            %% What was said too long ago is refused for no more.
            [Memory, RunQueue] = [
                {min(Found, Level), Amount, Limit}
             || {Found, Amount, Limit} <- [LastMemory, LastRunQueue]
            ],
            #{
                level => Level,
                cause => cause(Level, Memory, RunQueue),
                refuses => refuses(Level),
                since_ms => SinceMs,
                memory => memory(Memory, Told),
                run_queue => run_queue(RunQueue, Told)
            };
        _OffOrNothingFoundYet ->
            off
    end.

cause(0, _, _) -> none;
cause(_, {Memory, _, _}, {RunQueue, _, _}) when Memory >= RunQueue -> memory;
cause(_, _, _) -> run_queue.

refuses(0) -> [];
refuses(1) -> [sheddable_plus, sheddable];
refuses(2) -> [critical, sheddable_plus, sheddable].

memory(_, #{options := #{memory := off}}) ->
    off;
memory({Level, Used, 0}, #{options := #{memory := Marks}}) ->
    #{level => Level, used => Used, limit => unknown, share => 0.0, marks => Marks, source => unknown};
memory({Level, Used, Limit}, #{options := #{memory := Marks}, source := Source}) ->
    #{level => Level, used => Used, limit => Limit, share => Used / Limit, marks => Marks, source => Source}.

run_queue(_, #{options := #{run_queue := off}}) ->
    off;
run_queue({Level, Length, _}, #{options := #{run_queue := Marks}}) ->
    Schedulers = erlang:system_info(schedulers_online),
    #{
        level => Level,
        length => Length,
        schedulers => Schedulers,
        per_scheduler => Length / Schedulers,
        marks => Marks
    }.

-doc false.
-spec config() -> erlmcp_native_options:table().
config() ->
    [
        #{
            name => node,
            from => [erlmcp_native],
            type => erlmcp_native_options:optional(off, erlmcp_native_options:options(table())),
            default => off,
            doc => ~"What the node can bear, see `m:erlmcp_overload_node`."
        }
    ].

-doc "Returns the table of options.".
-spec table() -> erlmcp_native_options:table().
table() ->
    [
        #{
            name => memory,
            type => marks(1),
            default => {0.70, 0.85},
            doc => ~"The shares of the memory limit at which the levels begin."
        },
        #{
            name => run_queue,
            type => marks(?MAX_LENGTH),
            default => {4, 8},
            doc => ~"The lengths of the run queue of a scheduler at which the levels begin."
        },
        #{
            name => sample_ms,
            type => erlmcp_native_options:milliseconds(10, 1000),
            default => 100,
            doc => ~"The time between two looks."
        },
        #{
            name => memory_limit,
            type => erlmcp_native_options:optional(auto, erlmcp_native_options:integer(1, ?MAX_BYTES)),
            default => auto,
            doc => ~"The memory limit in bytes; `auto` looks it up."
        }
    ].

marks(Most) ->
    Expected = lists:flatten(io_lib:format("{First, Second}, numbers from 0.1 to ~b", [Most])),
    Mark = fun(Number) -> is_number(Number) andalso Number >= 0.1 andalso Number =< Most end,
    Check = fun
        ({First, Second} = Marks) ->
            case Mark(First) andalso Mark(Second) of
                true when Second < First -> {error, {[], Marks, Expected ++ ", the second not below the first"}};
                Fit -> Fit
            end;
        (_) ->
            false
    end,
    erlmcp_native_options:optional(off, erlmcp_native_options:checked(Expected, Check)).
