-module(erlmcp_overload_cluster_options).
-moduledoc """
The options of `m:erlmcp_overload_cluster`, the key `cluster` of the environment.

| option | value | default | meaning |
| --- | --- | --- | --- |
| `nodes` | an integer from 1 to 2048 | `1` | How many nodes there are when all are there. |
| `interval_ms` | milliseconds, an integer from 100 to 1000 | `1000` | The time after which a node tells the others of itself again. |
""".

-behaviour(erlmcp_native_config).

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
