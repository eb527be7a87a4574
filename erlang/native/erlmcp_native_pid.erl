-module(erlmcp_native_pid).
-moduledoc """
Tells pids of this node from those of others, and processes that were left behind. A pid of an earlier node of the same
name is one of another: for it, `node(Pid) =:= node()` is true too, and the runtime takes it for the pid of a process
that is dead.
""".

-export([is_local/1, is_orphan/1]).

-doc "Tells whether a term is a pid of this node, alive or dead.".
-spec is_local(term()) -> boolean().
is_local(Term) -> erlmcp_native:is_local_pid(Term).

-doc """
Tells whether the process that started this one is dead, or this one is. A child of a supervisor that was killed lives
on until it has seen that.
""".
-spec is_orphan(pid()) -> boolean().
is_orphan(Pid) ->
    case process_info(Pid, parent) of
        {parent, Parent} when is_pid(Parent), node(Parent) =:= node() -> not is_process_alive(Parent);
        {parent, _} -> false;
        undefined -> true
    end.
