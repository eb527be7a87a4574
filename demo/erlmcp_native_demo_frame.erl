-module(erlmcp_native_demo_frame).
-moduledoc "What a frame or a plain line says. Nothing is wider than 79 columns, and a frame has at most 23 lines.".

-export([frame/1, heading/1, plain/1, event/2]).

-export_type([view/0]).

-import(erlmcp_native_demo_text, [short/1, ms/1, left/2, right/2]).

-define(WIDTH, 79).
-define(BAR, 12).
-define(EVENTS, 4).

-doc """
A view has what is to be shown: two samples about a second apart, the time, the page, and the last events, newest
first.
""".
-type view() :: #{
    new := erlmcp_native_demo_sample:sample(),
    old := erlmcp_native_demo_sample:sample(),
    at_s := non_neg_integer(),
    seconds := pos_integer(),
    page := string(),
    events := [string()]
}.

-doc "Makes the lines of the whole screen.".
-spec frame(view()) -> [erlmcp_native_demo_text:line()].
frame(#{new := #{phase := Phase, roles := Roles} = New, events := Events} = View) ->
    [title(View), now(Phase), look(Phase), []] ++
        [[{bold, header()}] | [role(Role, View) || Role <- Roles]] ++
        [requests(View), []] ++
        [[{bold, waits_header()}] | [waits(P, New) || P <- [calm, surge, overload, recovery]]] ++
        [[], control(New), alerts(New)] ++
        [[{dim, cut(Event)}] || Event <- lists:reverse(lists:sublist(Events, ?EVENTS))].

title(#{new := #{phase := Phase}, at_s := At, seconds := Seconds, page := Page}) ->
    Clock = io_lib:format("~b of ~b s", [At, Seconds]),
    Name = erlmcp_native_demo_phases:title(Phase),
    [{bold, left(Name, 19)}, left(Clock, 19), left("erlmcp_native", 16), cut(Page, 25)].

now(Phase) -> ["now: ", erlmcp_native_demo_phases:now(Phase)].

look(Phase) -> [{yellow, ["see: ", erlmcp_native_demo_phases:look(Phase)]}].

header() ->
    [
        [left("role", 14), left("depth of the fullest", ?BAR + 16), right("admitted/s", 10)],
        [right("refused/s", 10), right("alert", 9), right("breaker", 8)]
    ].

role(#{role := Role, fullest := Fullest, limit := Limit, level := Level, breaker := Breaker}, View) ->
    Depth = [" ", short(Fullest), "/", short(Limit)],
    [
        left(atom_to_list(Role), 14),
        {bar, Fullest / max(1, Limit), ?BAR},
        left(Depth, 16),
        right(short(rate(stat(Role, total_enqueued), View)), 10),
        right(short(rate(stat(Role, total_rejected), View)), 10),
        {level(Level), right(atom_to_list(Level), 9)},
        {breaker(Breaker), right(state(Breaker), 8)}
    ].

level(ok) -> green;
level(warning) -> yellow;
level(_) -> red.

state(open) -> "open";
state(close) -> "closed".

breaker(open) -> red;
breaker(close) -> green.

stat(Role, Key) ->
    fun(#{roles := Roles}) ->
        [Value] = [Value || #{role := R, stats := #{Key := Value}} <- Roles, R =:= Role],
        Value
    end.

requests(View) ->
    [
        left("requests/s", 14)
        | [
            [right(short(rate(count(Counter), View)), 10), " ", left(atom_to_list(Counter), 9)]
         || Counter <- [offered, answered, refused]
        ]
    ].

count(Counter) ->
    fun(#{counts := #{Counter := N}}) -> N end.

rate(Number, #{old := Old, new := New}) ->
    max(0, erlmcp_native_demo_sample:per_s(Number, Old, New)).

waits_header() ->
    [left("waited, µs", 11), right("control p50", 12), right("p99", 9), right("max", 9)] ++
        [right("ordinary p50", 14), right("p99", 9), right("max", 9), right("x", 6)].

waits(Phase, #{phase := Now, waits := Waits}) ->
    #{{control, Phase} := Control, {ordinary, Phase} := Ordinary} = Waits,
    Line = [left(atom_to_list(Phase), 11), three(Control, 12), three(Ordinary, 14), right(times(Ordinary, Control), 6)],
    case Phase of
        Now -> Line;
        _ -> [{dim, Line}]
    end.

three(#{count := 0}, Width) ->
    [right("-", Width), right("-", 9), right("-", 9)];
three(#{p50_us := P50, p99_us := P99, max_us := Max}, Width) ->
    [right(short(P50), Width), right(short(P99), 9), right(short(Max), 9)].

times(#{count := Ordinary}, #{count := Control}) when Ordinary =:= 0; Control =:= 0 -> "";
times(#{p50_us := Ordinary}, #{p50_us := Control}) -> short_times(Ordinary div max(1, Control)).

short_times(N) when N < 100_000 -> integer_to_list(N);
short_times(_) -> ">99999".

control(#{counts := Counts, control := Control, share := Share}) ->
    #{control := Answered, unanswered := Unanswered, died := Died} = Counts,
    #{slo_violations := Violations} = Control,
    [
        cut(io_lib:format("control: ~s answered, ~s not; ~s over 100 ms (SLO); own CPU ~.1f %", [
            short(Answered), short(Unanswered), short(max(0, Violations - Died)), Share * 100
        ]))
    ].

alerts(#{alerts := #{raised := Raised, cleared := Cleared, opened := Opened}, waits := Waits}) ->
    #{{crossing, overload} := #{p99_us := P99}} = Waits,
    [
        cut(io_lib:format("alerts: ~s raised, ~s cleared; breaker opened ~s times; to handler p99 ~s", [
            short(Raised), short(Cleared), short(Opened), ms(P99)
        ]))
    ].

-doc "Makes the lines that begin a phase where there are only lines.".
-spec heading(erlmcp_native_demo_meter:phase()) -> [erlmcp_native_demo_text:line()].
heading(Phase) ->
    [
        [],
        [{bold, erlmcp_native_demo_phases:title(Phase)}],
        now(Phase),
        look(Phase),
        [
            [right("s", 5), right("offered/s", 10), right("answered/s", 11), right("refused/s", 10)],
            [right("fullest", 9), right("breaker", 9), right("alerts", 8), right("ctl p99", 8), right("ord p99", 9)]
        ]
    ].

-doc """
Makes the line of a second. The waits are p99 of the phase in microseconds, of control and of ordinary messages.
""".
-spec plain(view()) -> erlmcp_native_demo_text:line().
plain(#{new := #{phase := Phase, roles := Roles, waits := Waits, alerts := #{raised := Raised}}, at_s := At} = View) ->
    [#{fullest := Fullest, limit := Limit, breaker := Breaker}] = [Role || #{role := tool_executor} = Role <- Roles],
    #{{control, Phase} := Control, {ordinary, Phase} := Ordinary} = Waits,
    [
        right(integer_to_list(At), 5),
        right(short(rate(count(offered), View)), 10),
        right(short(rate(count(answered), View)), 11),
        right(short(rate(count(refused), View)), 10),
        right([integer_to_list(min(9999, Fullest * 100 div max(1, Limit))), " %"], 9),
        right(state(Breaker), 9),
        right(short(Raised), 8),
        right(p99(Control), 8),
        right(p99(Ordinary), 9)
    ].

p99(#{count := 0}) -> "-";
p99(#{p99_us := Us}) -> short(Us).

-doc "Puts an event or a fault into words.".
-spec event(float(), map()) -> string().
event(AtS, Event) ->
    cut(io_lib:format("~6.1f s  ~ts", [AtS, words(Event)])).

words(#{what := breaker, role := Role, action := Action}) ->
    io_lib:format("breaker of ~s: ~s", [Role, Action]);
words(#{what := What, role := Role, level := Level, process := Process, depth := Depth}) ->
    io_lib:format("~s ~s: ~s, ~p at ~s", [Level, What, Role, Process, short(Depth)]);
words(#{process := Pid, depth := Depth, left := Left, us := Us}) ->
    io_lib:format("KILLED executor ~p at ~s; ~s left in ~s", [Pid, short(Depth), short(Left), ms(Us)]);
words(#{process := Pid, depth := Depth, limit := Limit, us := Us}) ->
    io_lib:format("HUNG session ~p for ~s: ~s of ~s wait", [Pid, ms(Us), short(Depth), short(Limit)]);
words(#{process := Pid, depth := Depth, told := true, us := Us}) ->
    io_lib:format("watch: ~p at ~s by a bare !, told in ~s", [Pid, short(Depth), ms(Us)]);
words(#{process := Pid, depth := Depth, told := false}) ->
    io_lib:format("watch: told nothing of ~p at ~s by a bare !", [Pid, short(Depth)]);
words(#{away_us := Us, counts_lost := Lost}) ->
    io_lib:format("KILLED erlmcp_queue_limits: back after ~s, counts lost: ~s", [ms(Us), short(Lost)]).

cut(Text) -> cut(Text, ?WIDTH).

cut(Text, Width) -> lists:flatten(string:slice(lists:flatten(Text), 0, Width)).
