-module(erlmcp_overload_strain).
-moduledoc "Says in words what presses the node, for a person at a shell.".

-export([verdict/1, lines/1, of_role/0]).

-doc "Says whether the node refuses, and for what.".
-spec verdict(erlmcp_overload_node:pressure()) -> string().
verdict(#{level := 0}) ->
    "node refuses nothing: it is not pressed";
verdict(#{cause := Cause, refuses := Refused}) ->
    words("node refuses ~ts in every role, for its ~ts", [list(Refused), name(Cause)]).

-doc "Returns a line for each cause that is looked at, and since when it is so.".
-spec lines(erlmcp_overload_node:pressure()) -> [{Name :: string(), string()}].
lines(#{memory := Memory, run_queue := RunQueue}) ->
    [{"memory", memory(Memory)}, {"run queue", run_queue(RunQueue)}].

-doc "Returns a sentence for whoever asks of a role, while the node refuses in all of them.".
-spec of_role() -> [string()].
of_role() ->
    case erlmcp_overload_node:pressure() of
        #{level := Level, cause := Cause, refuses := Refused} = Pressure when Level > 0 ->
            #{Cause := Found} = Pressure,
            [words("refuses ~ts, whatever the role: ~ts ~ts", [list(Refused), name(Cause), found(Cause, Found)])];
        _OffOrCalm ->
            []
    end.

found(memory, Memory) -> memory(Memory);
found(run_queue, RunQueue) -> run_queue(RunQueue).

memory(off) ->
    "is not looked at";
memory(#{limit := unknown, used := Used}) ->
    words("~ts in use, and of how much is not known: the option memory_limit says it", [bytes(Used)]);
memory(#{used := Used, limit := Limit, share := Share, marks := {First, Second}, source := Source}) ->
    words("~ts of ~ts in use, ~b %; marks at ~b % and ~b %; the limit is ~ts", [
        bytes(Used), bytes(Limit), percent(Share), percent(First), percent(Second), source(Source)
    ]).

source(configured) -> "that of the options";
source({file, File}) -> ["that of ", File];
source(unknown) -> "not known".

run_queue(off) ->
    "is not looked at";
run_queue(#{length := Length, schedulers := Schedulers, per_scheduler := Each, marks := {First, Second}}) ->
    words("~b waiting for ~b schedulers, ~.1f for each; marks at ~p and ~p", [
        Length, Schedulers, float(Each), First, Second
    ]).

name(run_queue) -> "run queue";
name(memory) -> "memory".

list([One]) -> atom_to_list(One);
list(Names) -> [lists:join(", ", [atom_to_list(Name) || Name <- lists:droplast(Names)]), " and ", last(Names)].

last(Names) -> atom_to_list(lists:last(Names)).

bytes(Bytes) when Bytes < 1 bsl 30 -> words("~.1f MB", [Bytes / (1 bsl 20)]);
bytes(Bytes) -> words("~.1f GB", [Bytes / (1 bsl 30)]).

percent(Share) -> round(Share * 100).

words(Format, Args) ->
    lists:flatten(io_lib:format(Format, Args)).
