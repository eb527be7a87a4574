-module(erlmcp_native_pid).
-moduledoc """
Tells pids of this node from those of others. A pid of an earlier node of the same name is one of another: for it,
`node(Pid) =:= node()` is true too, and the runtime takes it for the pid of a process that is dead.
""".

-export([is_local/1]).

-doc "Tells whether a term is a pid of this node, alive or dead.".
-spec is_local(term()) -> boolean().
is_local(Pid) ->
    is_pid(Pid) andalso node(Pid) =:= node() andalso creation(Pid) =:= creation(self()).

%% Which life of its node a pid is of: the last word of its external format (NEW_PID_EXT).
creation(Pid) ->
    External = term_to_binary(Pid),
    binary:part(External, byte_size(External), -4).
