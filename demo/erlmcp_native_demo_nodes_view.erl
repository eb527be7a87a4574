-module(erlmcp_native_demo_nodes_view).
-moduledoc """
What is shown of the three nodes of `m:erlmcp_native_demo_nodes`: frames or lines, the table, and what was promised.
""".

-export([run/4, frame/3, line/2, lines/1, verdicts/1]).

-import(erlmcp_native_demo_text, [short/1, ms/1, left/2]).
-import(erlmcp_native_demo_verdict, [verdict/6, timed/4, at_most/1]).

-define(KEYS, [known, heard, control, rate, left, down]).

-doc "Has the three nodes do what they do, and shows it meanwhile.".
-spec run(erlmcp_native_demo_display:display(), file:io_device(), Page :: string(), [Peer]) ->
    erlmcp_native_demo_nodes:result()
when
    Peer :: erlmcp_native_demo_node:peer().
run(Display, File, Page, Peers) ->
    Start = now_s(),
    Show =
        case erlmcp_native_demo_display:mode(Display) of
            terminal ->
                fun(_Newest, Result) ->
                    erlmcp_native_demo_display:frame(Display, frame(Result, now_s() - Start, Page))
                end;
            plain ->
                fun
                    (none, _) ->
                        erlmcp_native_demo_display:print(Display, erlmcp_native_demo_frame:begins(nodes));
                    (Newest, Result) ->
                        erlmcp_native_demo_display:print(Display, [line(Newest, Result)])
                end
        end,
    Result = erlmcp_native_demo_nodes:run(Show, "erlmcp_native_demo", Peers),
    ok = erlmcp_native_demo_json:write(File, erlmcp_native_demo_json:nodes(Result)),
    Result.

now_s() ->
    erlang:monotonic_time(second).

-doc "Makes the lines of the whole screen.".
-spec frame(erlmcp_native_demo_nodes:result(), AtS :: non_neg_integer(), Page :: string()) ->
    [erlmcp_native_demo_text:line()].
frame(Result, AtS, Page) ->
    Seconds = erlmcp_native_demo_budget:nodes_ms() div 1000,
    erlmcp_native_demo_frame:title(nodes, AtS, Seconds, Page) ++ [[] | lines(Result)].

-doc "Makes the table of what is known so far.".
-spec lines(erlmcp_native_demo_nodes:result()) -> [erlmcp_native_demo_text:line()].
lines(Result) when map_size(Result) =:= 0 ->
    [];
lines(#{skipped := _} = Result) ->
    [line(skipped, Result)];
lines(Result) ->
    [[{bold, "three nodes, of which one is killed"}] | [line(Key, Result) || Key <- ?KEYS, is_map_key(Key, Result)]].

-doc "Makes the line of one result.".
-spec line(atom(), erlmcp_native_demo_nodes:result()) -> erlmcp_native_demo_text:line().
line(skipped, #{skipped := Why}) ->
    [string:slice(["No more nodes: this one cannot be distributed on loopback: ", Why], 0, 79)];
line(Key, Result) ->
    [left(name(Key), 37), value(Key, maps:get(Key, Result))].

name(known) -> "all three know of each other";
name(heard) -> "a broadcast reached the two";
name(control) -> "control messages to the two";
name(rate) -> "granted by the rate of all three";
name(left) -> "one killed: it is in no sum";
name(down) -> "and who asks it is told nodedown".

value(_, not_seen) ->
    "not seen";
value(heard, {Us, _}) ->
    ["and was answered in ", ms(Us)];
value(control, #{sent := Sent, answered := Answered, p99_us := Us}) ->
    [short(Answered), " of ", short(Sent), " answered, p99 ", ms(Us)];
value(rate, #{asked := Asked, granted := Granted, allowed := Allowed}) ->
    [short(Granted), " of ", short(Asked), ", ", short(Allowed), " at most"];
value(down, {Us, _}) ->
    ["after ", ms(Us)];
value(_, {Us, Held}) ->
    ["after ", ms(Us), "; ", short(Held), " requests held in all"].

-doc "Returns the promises, none where there were no more nodes.".
-spec verdicts(erlmcp_native_demo_nodes:result()) -> [erlmcp_native_demo_verdict:verdict()].
verdicts(#{known := Known, heard := Heard, control := Control, rate := Rate, left := Left, down := Down}) ->
    #{sent := Sent, p99_us := Us} = Control,
    #{granted := Granted, allowed := Allowed} = Rate,
    Waits = #{count => Sent, p50_us => Us, p99_us => Us, max_us => Us},
    [
        seen("three nodes know of each other in", Known, 3_000_000),
        seen("a broadcast is answered by both in", Heard, 100_000),
        timed("control to another node, p99", Waits, 10_000, 5_000),
        %% Shares follow what is asked, and each node looks at that by itself; none has more than all of the rate.
        verdict("granted by the rate of three nodes", at_most(Allowed), short(Granted), Granted =< Allowed, "<= 3 x",
            Granted =< 3 * Allowed),
        seen("a killed node is out of all sums in", Left, 3_000_000),
        seen("control to it answers nodedown in", Down, 3_000_000)
    ];
verdicts(#{}) ->
    [].

seen(Name, not_seen, TargetUs) ->
    verdict(Name, ms(TargetUs), "not seen", false, "<= 30 s", false);
seen(Name, {Us, _}, TargetUs) ->
    verdict(Name, ms(TargetUs), ms(Us), Us =< TargetUs, "<= 30 s", true).
