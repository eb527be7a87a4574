-module(erlmcp_overload_cluster).
-moduledoc """
Many nodes that know of each other. It is off unless it is configured:

```erlang
{erlmcp_native, [{cluster, #{nodes => 12}}]}
```

| option | value | default | meaning |
| --- | --- | --- | --- |
| `nodes` | an integer from 1 to 2048 | `1` | How many nodes there are when all are there. |
| `interval_ms` | milliseconds, an integer from 100 to 1000 | `1000` | The time after which a node tells the others of itself again. |

Without the option nothing is started for it, and no node is contacted. With it the application has a scope of `m:pg`,
`erlmcp_overload`, that finds the same one on each node this one is connected to.
""".

-export([config/0, table/0]).

-export_type([options/0]).

-doc "This map has every option with its value.".
-type options() :: #{nodes := 1..2048, interval_ms := 100..1000}.

-doc false.
-spec config() -> erlmcp_native_options:table().
config() ->
    [
        #{
            name => cluster,
            from => [erlmcp_native],
            type => erlmcp_native_options:optional(off, erlmcp_native_options:options(table())),
            default => off,
            doc => ~"Many nodes that know of each other, see `m:erlmcp_overload_cluster`."
        }
    ].

-doc "Returns the table of options.".
-spec table() -> erlmcp_native_options:table().
table() ->
    [
        #{
            name => nodes,
            type => erlmcp_native_options:integer(1, 2048),
            default => 1,
            doc => ~"How many nodes there are when all are there."
        },
        #{
            name => interval_ms,
            type => erlmcp_native_options:milliseconds(100, 1000),
            default => 1000,
            doc => ~"The time after which a node tells the others of itself again."
        }
    ].
