-module(erlmcp_native_demo_compare_view).
-moduledoc """
What is shown of the two nodes of `m:erlmcp_native_demo_compare`: a frame, a line a second, the table, and what was
promised of the second.
""".

-export([frame/1, heading/1, plain/2, lines/1, verdicts/1]).

-export_type([view/0]).

-import(erlmcp_native_demo_text, [short/1, ms/1, left/2, right/2]).
-import(erlmcp_native_demo_verdict, [verdict/6, most/3, least/4, timed/4]).

%% Beside the requests there may be a health check.
-define(CHECKS, 1).

-doc "A view has the results so far, how long each node runs, and the address of the page.".
-type view() :: #{results := [erlmcp_native_demo_compare:result(), ...], ms := pos_integer(), page := string()}.

-doc "Makes the lines of the whole screen.".
-spec frame(view()) -> [erlmcp_native_demo_text:line()].
frame(#{results := Results, ms := Ms, page := Page}) ->
    #{how := How, ms := At} = lists:last(Results),
    Phase = phase(How),
    erlmcp_native_demo_frame:title(Phase, At div 1000, Ms div 1000, Page) ++ [[] | lines(Results)].

-doc "Makes the lines that begin a node's run where there are only lines.".
-spec heading(erlmcp_native_demo_program:how()) -> [erlmcp_native_demo_text:line()].
heading(How) ->
    erlmcp_native_demo_frame:begins(phase(How)) ++
        [
            [
                [right("s", 5), right("offered/s", 10), right("refused/s", 10), right("in time/s", 10)],
                [right("late/s", 8), right("longest", 9), right("memory", 9), right("how are you?", 16)]
            ]
        ].

phase(bare) -> naive;
phase(limited) -> bounded.

-doc "Makes the line of a second, or of what came after another result.".
-spec plain(Result, Before :: Result) -> erlmcp_native_demo_text:line() when
    Result :: erlmcp_native_demo_compare:result().
plain(#{ms := Ms, ended := killed}, _Old) ->
    All = memory(erlmcp_native_demo_compare:memory()),
    [io_lib:format("~5.1f s  KILLED: it has taken all of ~s", [Ms / 1000, All])];
plain(#{ms := ToMs, sample := New}, #{ms := FromMs, sample := Old}) ->
    PerS = fun(Key) -> short(max(0, maps:get(Key, New) - maps:get(Key, Old)) * 1000 div max(1, ToMs - FromMs)) end,
    #{longest := Longest, memory := Memory, check_us := CheckUs} = New,
    [
        [right(integer_to_list(ToMs div 1000), 5), right(PerS(offered), 10), right(PerS(refused), 10)],
        [right(PerS(in_time), 10), right(PerS(late), 8), right(short(Longest), 9)],
        [right(memory(Memory), 9), right(ms(CheckUs), 16)]
    ].

-doc "Makes the table, of one node or both.".
-spec lines([erlmcp_native_demo_compare:result()]) -> [erlmcp_native_demo_text:line()].
lines([]) ->
    [];
lines(Results) ->
    Row = fun(Name, Value) -> row(Name, lists:map(Value, Results)) end,
    Count = fun(Key) -> fun(#{sample := Sample}) -> short(maps:get(Key, Sample)) end end,
    Patience = ms(erlmcp_native_demo_program:patience_us()),
    [
        [{bold, Row("one program, two nodes", fun(#{how := How}) -> title(How) end)}],
        Row("offered", Count(offered)),
        Row("refused at once", Count(refused)),
        [{green, Row(["answered within ", Patience], Count(in_time))}],
        Row("answered when nobody waits any more", Count(late)),
        Row("left waiting", fun waiting/1),
        Row("waited, p99", fun(#{sample := #{waits := #{p99_us := Us}}}) -> ms(Us) end),
        Row("longest mailbox", Count(longest)),
        Row("slowest health check", fun(#{sample := #{check_us := Us}}) -> ms(Us) end),
        Row(["memory, of ", memory(erlmcp_native_demo_compare:memory())], fun used/1),
        [{bold, Row("in the end", fun ended/1)}]
    ].

-doc "Returns the promises of the node that is protected, none where nothing was compared.".
-spec verdicts([erlmcp_native_demo_compare:result()]) -> [erlmcp_native_demo_verdict:verdict()].
verdicts([]) ->
    [];
verdicts(Results) ->
    [#{sample := Naive}] = [Result || #{how := bare} = Result <- Results],
    [#{sample := Bounded, ended := Ended}] = [Result || #{how := limited} = Result <- Results],
    #{in_time := InTime, late := Late, longest := Longest, refused := Refused, check_us := CheckUs} = Bounded,
    #{in_time := NaiveInTime} = Naive,
    Share = InTime / max(1, InTime + Late),
    [
        most("a bounded node: longest mailbox", Longest, erlmcp_native_demo_program:limit() + ?CHECKS),
        verdict("and it lives", "alive", atom_to_list(Ended), Ended =:= alive, exact, Ended =:= alive),
        least("it refused what it could not do", Refused, short(Refused), 1),
        verdict("its answers are in time", ">= 99 %", percent(Share), Share >= 0.99, none, true),
        least("answers in time: with/without limit", InTime, [short(InTime), $/, short(NaiveInTime)], NaiveInTime),
        timed("its slowest health check", #{count => 1, p99_us => CheckUs}, 100_000, 5_000)
    ].

percent(Share) ->
    io_lib:format("~.2f %", [Share * 100]).

row(Name, Values) ->
    [left(Name, 37) | [right(Value, 20) || Value <- Values]].

title(bare) -> "Pid ! Request";
title(limited) -> ["send/3, limit ", short(erlmcp_native_demo_program:limit())].

waiting(#{sample := #{offered := Offered, refused := Refused, in_time := InTime, late := Late}}) ->
    short(max(0, Offered - Refused - InTime - Late)).

used(#{ended := killed}) -> "all";
used(#{sample := #{memory := Bytes}}) -> memory(Bytes).

memory(Bytes) ->
    short(Bytes bsr 20) ++ " MB".

ended(#{ended := alive}) ->
    "alive";
ended(#{ended := killed, ms := Ms}) ->
    io_lib:format("killed at ~.1f s", [Ms / 1000]).
