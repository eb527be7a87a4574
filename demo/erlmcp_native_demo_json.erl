-module(erlmcp_native_demo_json).
-moduledoc """
The run as lines of JSON: `compare` and `nodes` unless left out; `second`, `alert`, `breaker` and `fault` while it
runs; `contest` if asked for, and `promises` last.
""".

-export([open/1, write/2, second/2, event/1, fault/2, compared/1, nodes/1, contested/1, promises/2]).

-doc "Opens the file of JSON lines anew, making its folder.".
-spec open(file:filename()) -> {ok, file:io_device()} | {error, file:posix() | badarg | system_limit}.
open(Name) ->
    case filelib:ensure_dir(Name) of
        ok -> file:open(Name, [raw, write, binary]);
        {error, _} = Error -> Error
    end.

-doc "Adds a line to the file.".
-spec write(file:io_device(), iodata()) -> ok.
write(File, Line) ->
    ok = file:write(File, Line).

-doc "Makes the line of the node a second after the other sample.".
-spec second(erlmcp_native_demo_sample:sample(), erlmcp_native_demo_sample:sample()) -> iodata().
second(New, Old) ->
    #{phase := Phase, counts := Counts, roles := Roles, waits := Waits, control := Control} = New,
    #{alerts := Alerts, owner_mailbox := Owners, service_mailbox := Services, share := Share} = New,
    line(#{
        type => second,
        at_ms => erlang:system_time(millisecond),
        phase => Phase,
        counts => Counts,
        per_s => #{
            Counter => erlmcp_native_demo_sample:per_s(fun(#{counts := All}) -> maps:get(Counter, All) end, Old, New)
         || Counter := _ <- Counts
        },
        roles => [role(Role) || Role <- Roles],
        node => maps:get(node, New),
        requests => maps:get(tally, New),
        rate => maps:get(rate, New),
        latencies => #{What => maps:get({What, Phase}, Waits) || What <- [control, ordinary, crossing]},
        control => Control,
        alerts => Alerts,
        longest_mailbox => #{owner => Owners, service => Services},
        cpu_share => Share
    }).

role(#{stats := Stats} = Role) ->
    #{total_enqueued := Enqueued, total_rejected := Refused, current_depth := Depth, max_depth := Max} = Stats,
    #{own_limits := {Least, Most}} = Role,
    maps:merge(maps:without([stats, own_limits], Role), #{
        least_limit => Least, most_limit => Most,
        depth => Depth, max_depth => Max, enqueued => Enqueued, refused => Refused
    }).

-doc "Makes the line of an alert or of what a breaker did.".
-spec event(erlmcp_native_demo_handler:event()) -> iodata().
event(#{what := breaker} = Event) -> line(Event#{type => breaker});
event(Event) -> line(text_of_process(Event#{type => alert})).

-doc "Makes the line of something that was broken on purpose, and what came of it.".
-spec fault(erlmcp_native_demo_fault:kind() | memory | cancel, map()) -> iodata().
fault(Kind, Fault) ->
    line(text_of_process(Fault#{type => fault, kind => Kind, at_ms => erlang:system_time(millisecond)})).

text_of_process(#{process := Process} = Map) when is_pid(Process) ->
    Map#{process := list_to_binary(pid_to_list(Process))};
text_of_process(Map) ->
    Map.

-doc "Makes the line of what a node that is not protected, and one that is, came to.".
-spec compared([erlmcp_native_demo_compare:result()]) -> iodata().
compared(Results) ->
    line(#{type => compare, results => Results}).

-doc "Makes the line of what was seen of three nodes: of what was waited for, how long it took, in microseconds.".
-spec nodes(erlmcp_native_demo_nodes:result()) -> iodata().
nodes(Result) ->
    line(#{type => nodes, results => maps:map(fun(_, Value) -> us(Value) end, Result)}).

us({Us, _What}) -> Us;
us(Value) -> text(Value).

-doc "Makes the line of what the library and the gen_server came to.".
-spec contested([erlmcp_native_demo_contest:result()]) -> iodata().
contested(Results) ->
    line(#{type => contest, results => Results}).

-doc "Makes the last line, of the promises and what was measured.".
-spec promises([erlmcp_native_demo_verdict:verdict()], Status :: 0..1) -> iodata().
promises(Verdicts, Status) ->
    Texts = [maps:map(fun(_, Value) -> text(Value) end, Verdict) || Verdict <- Verdicts],
    line(#{type => promises, status => Status, promises => Texts}).

text(Text) when is_list(Text) -> unicode:characters_to_binary(Text);
text(Value) -> Value.

line(Map) ->
    [json:encode(Map), $\n].
