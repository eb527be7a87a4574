-module(erlmcp_native_pid).
-moduledoc """
Tells pids of this node from those of others, and processes that were left behind. A pid of an earlier node of the same
name is one of another: for it, `node(Pid) =:= node()` is true too, and the runtime takes it for the pid of a process
that is dead.
""".

-export([is_local/1, is_orphan/1, is_name/1, named/1]).

-doc "Tells whether a term is a pid of this node, alive or dead.".
-spec is_local(term()) -> boolean().
is_local(Term) ->
    case erlmcp_native:is_local_pid(Term) of
        IsLocal when is_boolean(IsLocal) -> IsLocal;
        _NoLibrary -> is_pid(Term) andalso node(Term) =:= node() andalso creation(Term) =:= creation(self())
    end.

%% Which life of its node a pid is of: the last word of its external format (NEW_PID_EXT).
creation(Pid) ->
    External = term_to_binary(Pid),
    binary:part(External, byte_size(External), -4).

-doc "Tells whether a term is `{name, Atom}`, with an atom that a process may be registered under.".
-spec is_name(term()) -> boolean().
is_name({name, Name}) -> is_atom(Name) andalso Name =/= undefined;
is_name(_) -> false.

-doc "Returns the process that is registered now under such a name, `nobody` if there is none, `port` if it is a port.".
-spec named({name, atom()}) -> pid() | nobody | port.
named({name, Name}) ->
    case whereis(Name) of
        undefined -> nobody;
        Pid when is_pid(Pid) -> Pid;
        Port when is_port(Port) -> port
    end.

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
