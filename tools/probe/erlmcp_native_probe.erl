-module(erlmcp_native_probe).
-moduledoc """
Natives for benchmarks and tests, in a library of their own. They are registered by the same code as the hot natives of
`erlmcp_native`, so that what is seen of them is true of those. `native/build.escript probe` builds it.
""".

-export([load/0, floor/2, panics/1, thread_cpu_ns/0, spin_ns/1, memory_latency_ns/1]).

-doc "Loads the library, unless it is.".
-spec load() -> ok.
load() ->
    Source = proplists:get_value(source, ?MODULE:module_info(compile)),
    Root = filename:dirname(filename:dirname(filename:dirname(Source))),
    case erlang:load_nif(filename:join([Root, "_build", "native", ?MODULE_STRING]), 0) of
        ok -> ok;
        {error, {reload, _}} -> ok
    end.

-doc "Decodes a role and a pid, adds one to a word, and returns the role: what no count can do without.".
-spec floor(atom(), pid()) -> atom().
floor(_Role, _Owner) -> erlang:nif_error(not_loaded).

-doc "Panics in the library; with `twice` what it panics with panics too, when it is dropped.".
-spec panics(once | twice) -> no_return().
panics(_How) -> erlang:nif_error(not_loaded).

-doc "Returns how long the calling scheduler's thread has run, in nanoseconds. On Windows there is no such native.".
-spec thread_cpu_ns() -> non_neg_integer().
thread_cpu_ns() -> erlang:nif_error(not_loaded).

-doc "Keeps the scheduler's thread busy for so many nanoseconds, with nothing.".
-spec spin_ns(Ns :: non_neg_integer()) -> ok.
spin_ns(_Ns) -> erlang:nif_error(not_loaded).

-doc "Returns how long a load takes that has to wait for the one before, in nanoseconds, along so many records.".
-spec memory_latency_ns(Records :: pos_integer()) -> float().
memory_latency_ns(_Records) -> erlang:nif_error(not_loaded).
