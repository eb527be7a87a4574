-module(erlmcp_native_demo_frame).
-moduledoc "What a frame or a plain line says. Nothing is wider than 79 columns, and a frame has at most 23 lines.".

-export([frame/1, heading/1, plain/1, event/2]).
-export([title/4, begins/1, columns/0]).

-export_type([view/0]).

-import(erlmcp_native_demo_text, [short/1, ms/1, left/2, right/2]).

-define(WIDTH, 79).
-define(BAR, 12).
-define(LINES, 23).
%% Their waits stay on the screen, beside those of the phase that is now.
-define(SHOWN, [calm, surge, fixed, wait]).
%% Before these have been.
-define(SHOWN_FIRST, [calm, tenants, noisy]).

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
    #{at_s := At, seconds := Seconds, page := Page} = View,
    Lines =
        title(Phase, At, Seconds, Page) ++ [[]] ++
            [[{bold, header()}] | [role(Role, View) || Role <- Roles]] ++
            [node_line(View), []] ++
            [[{bold, requests_header()}] | [requests(Class, View) || Class <- [critical, sheddable]]] ++
            [noisy_one(View) || Phase =:= noisy] ++
            [[{bold, waits_header()}] | [waits(P, New) || P <- shown(Phase)]] ++
            [control(New), alerts(New)],
    Room = ?LINES - length(Lines),
    Lines ++ [[{dim, cut(Event)}] || Event <- lists:reverse(lists:sublist(Events, Room))].

-doc "Makes the three lines that say which phase it is, how far it is, what happens, and what to look at.".
-spec title(erlmcp_native_demo_phases:phase(), At, Seconds :: non_neg_integer(), Page :: string()) ->
    [erlmcp_native_demo_text:line()]
when
    At :: non_neg_integer().
title(Phase, At, Seconds, Page) ->
    Clock = io_lib:format("~b of ~b s", [At, Seconds]),
    Name = erlmcp_native_demo_phases:title(Phase),
    [[{bold, left(Name, 25)}, left(Clock, 17), left("erlmcp_native", 14), cut(Page, 23)], now(Phase), look(Phase)].

now(Phase) -> ["now: ", erlmcp_native_demo_phases:now(Phase)].

look(Phase) -> [{yellow, ["see: ", erlmcp_native_demo_phases:look(Phase)]}].

header() ->
    [
        [left("role", 14), left("depth of the fullest", ?BAR + 16), right("admitted/s", 10)],
        [right("refused/s", 10), right("alert", 9), right("breaker", 8)]
    ].

role(#{role := Role, fullest := Fullest, fullest_limit := Limit, level := Level, breaker := Breaker}, View) ->
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

%% The level of the node stands for what it does with sheddable work.
node_line(#{new := #{node := #{level := Level, share := Share, breaker := Breaker}}} = View) ->
    Memory = io_lib:format(" ~b % of memory", [min(999, round(Share * 100))]),
    {Style, Does} =
        case Level of
            0 -> {green, "ok"};
            _ -> {red, "refuses"}
        end,
    [
        left("node", 14),
        {bar, min(1.0, Share), ?BAR},
        left(Memory, 16),
        right("", 10),
        right(short(rate(of_classes(node), View)), 10),
        {Style, right(Does, 9)},
        {breaker(Breaker), right(state(Breaker), 8)}
    ].

of_classes(What) ->
    fun(#{tally := Tally}) -> erlmcp_native_demo_tally:total(What, Tally) end.

of_class(Class, What) ->
    fun(#{tally := Tally}) -> erlmcp_native_demo_tally:total(What, Class, Tally) end.

requests_header() ->
    [left("requests/s", 11), right("offered", 9), right("served", 9), right("refused", 9)] ++
        [right("in this phase: class", 22), right("full", 9), right("node", 9)].

requests(Class, #{new := #{phase := Phase, tally := Tally}} = View) ->
    #{Phase := #{Class := #{class := ByClass, full := Full, node := Node}}} = Tally,
    [left(atom_to_list(Class), 11)] ++
        [right(short(rate(of_class(Class, What), View)), 9) || What <- [offered, answered, refused]] ++
        [right(short(ByClass), 22), right(short(Full), 9), right(short(Node), 9)].

%% What it was granted counts above, too.
noisy_one(View) ->
    Asked = rate(of_noisy_one(offered), View) + rate(of_noisy_one(limited), View),
    [left("noisy one", 11), right(short(Asked), 9)] ++
        [right(short(rate(of_noisy_one(What), View)), 9) || What <- [answered, limited]] ++
        [right(["may ask ", erlmcp_native_demo_tenants:limit()], 22)].

of_noisy_one(What) ->
    fun(#{tally := Tally}) -> erlmcp_native_demo_tally:total(What, maps:with([noisy_one], Tally)) end.

count(Counter) ->
    fun(#{counts := #{Counter := N}}) -> N end.

rate(Number, #{old := Old, new := New}) ->
    max(0, erlmcp_native_demo_sample:per_s(Number, Old, New)).

shown(Phase) ->
    case lists:member(Phase, ?SHOWN_FIRST) of
        true -> ?SHOWN_FIRST;
        false -> ?SHOWN ++ ([Phase] -- ?SHOWN)
    end.

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
    P99 = lists:max([Us || {crossing, _} := #{p99_us := Us} <- Waits]),
    [
        cut(io_lib:format("alerts: ~s raised, ~s cleared; breaker opened ~s times; to handler p99 ~s", [
            short(Raised), short(Cleared), short(Opened), ms(P99)
        ]))
    ].

-doc "Makes the lines that say what the columns of plain lines are.".
-spec columns() -> [erlmcp_native_demo_text:line()].
columns() ->
    [
        [],
        ["critical, sheddable: served a second; fullest, limit: of the fullest executor;"],
        ["ctl, ord p99: what control messages and requests to executors waited in the"],
        ["phase, in µs"]
    ].

-doc "Makes the lines that begin a phase where there are only lines.".
-spec heading(erlmcp_native_demo_meter:phase()) -> [erlmcp_native_demo_text:line()].
heading(Phase) ->
    begins(Phase) ++
        [
            [
                [right("s", 5), right("offered/s", 10), right("critical", 9), right("sheddable", 10)],
                [right("refused/s", 10), right("fullest", 8), right("limit", 8)],
                [right("ctl p99", 9), right("ord p99", 9)]
            ]
        ].

-doc "Makes the lines that begin any phase where there are only lines.".
-spec begins(erlmcp_native_demo_phases:phase()) -> [erlmcp_native_demo_text:line()].
begins(Phase) ->
    [[], [{bold, erlmcp_native_demo_phases:title(Phase)}], now(Phase), look(Phase)].

-doc """
Makes the line of a second. The waits are p99 of the phase in microseconds, of control and of ordinary messages.
""".
-spec plain(view()) -> erlmcp_native_demo_text:line().
plain(#{new := #{phase := Phase, roles := Roles, waits := Waits}, at_s := At} = View) ->
    [#{fullest := Fullest, fullest_limit := Limit}] = [Role || #{role := tool_executor} = Role <- Roles],
    #{{control, Phase} := Control, {ordinary, Phase} := Ordinary} = Waits,
    [
        right(integer_to_list(At), 5),
        right(short(rate(count(offered), View)), 10),
        right(short(rate(of_class(critical, answered), View)), 9),
        right(short(rate(of_class(sheddable, answered), View)), 10),
        right(short(rate(count(refused), View)), 10),
        right(short(Fullest), 8),
        right(short(Limit), 8),
        right(p99(Control), 9),
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
words(#{bytes := Bytes, share := Share, refused_us := Refused, served_us := Served}) when
    is_integer(Refused), is_integer(Served)
->
    io_lib:format("PRESSED by ~s MB to ~b %: refused in ~s; served in ~s", [
        short(Bytes bsr 20), round(Share * 100), ms(Refused), ms(Served)
    ]);
words(#{bytes := Bytes, share := Share, refused_us := Refused}) ->
    Missed =
        case Refused of
            not_seen -> "nothing refused";
            _ -> "nothing served afterwards"
        end,
    io_lib:format("PRESSED by ~s MB to ~b %: ~s", [short(Bytes bsr 20), round(Share * 100), Missed]);
words(#{past := Past, ended_us := Ended, overtaken := Overtaken}) ->
    io_lib:format("CANCELLED a tool past ~s: ~s; the next ~s", [
        short(Past),
        case Ended of not_seen -> "goes on"; _ -> ["ended in ", ms(Ended)] end,
        case Overtaken of never_began -> "never began"; ended -> "ended, too"; not_seen -> "goes on" end
    ]);
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
