-module(erlmcp_native_demo_sections).
-moduledoc "The parts of a frame, each made from samples alone.".

-export([title/3, flow/2, roles/1, control/1, events/1]).

-import(erlmcp_native_demo_text, [number/1, or_dash/2, left/2, right/2]).

-doc "A window of samples, newest first; rates are taken between its ends.".
-type window() :: [erlmcp_native_demo_sample:sample(), ...].

-export_type([window/0]).

-define(BAR, 14).

-doc "What runs, and for how long.".
-spec title(
    erlmcp_native_demo_sample:sample(),
    erlmcp_native_demo_sample:sample(),
    Seconds :: pos_integer()
) -> erlmcp_native_demo_display:section().
title(#{at_us := Start}, #{at_us := Now} = Sample, Seconds) ->
    #{owners := Sessions} = erlmcp_native_demo_sample:role(session, Sample),
    #{owners := Executors} = erlmcp_native_demo_sample:role(tool_executor, Sample),
    Clock = io_lib:format("~.1f s of ~b s", [(Now - Start) / 1_000_000, Seconds]),
    Title = io_lib:format("erlmcp_native: ~b sessions overload ~b tool executors", [Sessions, Executors]),
    [[{bold, left(Title, 58)}, right(Clock, 22)]].

-doc "Requests a second, as asked for and as measured, and since the start.".
-spec flow(erlmcp_native_demo_sample:world(), window()) -> erlmcp_native_demo_display:section().
flow(#{offered_per_s := Offered, finished_per_s := Finished}, Window) ->
    [
        [{bold, [left("requests", 14), right("planned/s", 12), right("measured/s", 12), right("in all", 16)]}],
        flow_line(offered, number(Offered), Window),
        flow_line(refused, "", Window),
        flow_line(admitted, "", Window),
        flow_line(finished, number(Finished), Window)
    ].

flow_line(Name, Planned, [New | _] = Window) ->
    Count = fun(Sample) -> maps:get(Name, Sample) end,
    [
        left(atom_to_list(Name), 14),
        right(Planned, 12),
        right(number(rate(Count, Window)), 12),
        right(number(Count(New)), 16)
    ].

-doc """
A line a role: its fullest owner against the limit, and what was decided. Then how long mailboxes became, and
would have become.
""".
-spec roles(window()) -> erlmcp_native_demo_display:section().
roles([#{roles := Roles} | _] = Window) ->
    [
        [
            {bold, [
                left("role", 14),
                left("depth, fullest owner", ?BAR + 15),
                right("admitted/s", 10),
                right("refused/s", 10),
                right("retry in", 10),
                right("admit", 7)
            ]}
        ]
        | [role_line(Role, Window) || Role <- Roles] ++ [backlog(hd(Window))]
    ].

role_line(#{role := Role, fullest := Fullest, stats := #{limit := Limit}, own := Own}, Window) ->
    #{retry_after_ms := RetryAfter, admitted_ns := AdmittedNs} = Own,
    [
        left(atom_to_list(Role), 14),
        {bar, share(Fullest, Limit), ?BAR},
        " ",
        left([number(Fullest), "/", number(Limit)], 14),
        right(number(rate(stat(Role, total_enqueued), Window)), 10),
        right(number(rate(stat(Role, total_rejected), Window)), 10),
        right(or_dash(RetryAfter, " ms"), 10),
        right(or_dash(AdmittedNs, " ns"), 7)
    ].

share(_Depth, 0) -> 1.0;
share(Depth, Limit) -> Depth / Limit.

stat(Role, Key) ->
    fun(Sample) ->
        #{stats := #{Key := Value}} = erlmcp_native_demo_sample:role(Role, Sample),
        Value
    end.

rate(Count, Window) ->
    erlmcp_native_demo_sample:per_s(Count, lists:last(Window), hd(Window)).

backlog(#{offered := Offered, finished := Finished} = Sample) ->
    #{stats := #{limit := Limit}, own := #{held := Held, refused_ns := RefusedNs}} =
        erlmcp_native_demo_sample:role(tool_executor, Sample),
    [
        io_lib:format("longest mailbox ~s of ~s; a refusal ~s; without limits ~s would wait", [
            number(Held), number(Limit), or_dash(RefusedNs, " ns"), number(max(0, Offered - Finished))
        ])
    ].

-doc "Control messages by type, what their senders waited, and what they would have in the ordinary lane.".
-spec control(erlmcp_native_demo_sample:sample()) -> erlmcp_native_demo_display:section().
control(#{control := #{by_type := ByType, ordinary := Ordinary, executor := Executor} = Control}) ->
    #{in_all := InAll, handler := Handler} = Control,
    Waits = [
        {plain, "all control messages", InAll},
        {plain, "- to handler process", Handler},
        {green, "- to slowest executor", Executor},
        {yellow, "ordinary, to executors", Ordinary}
    ],
    [
        [
            {bold, [
                left("control plane", 15),
                right("delivered", 10),
                left("  | sender waits, µs", 26),
                right("p50", 9),
                right("p99", 10),
                right("max", 10)
            ]}
        ]
        | lists:zipwith(fun control_line/2, ByType, Waits)
    ] ++ [slo(Control) ++ times(Ordinary, Executor)].

control_line({Type, Delivered}, {Style, Name, #{p50_us := P50, p99_us := P99, max_us := Max}}) ->
    Text = [
        left(Name, 22), right(or_dash(P50, ""), 9), right(or_dash(P99, ""), 10), right(or_dash(Max, ""), 10)
    ],
    [
        left(atom_to_list(Type), 15),
        right(number(Delivered), 10),
        "  | ",
        case Style of
            plain -> Text;
            _ -> {Style, Text}
        end
    ].

slo(#{slo_violations := Violations, unanswered := Unanswered}) ->
    [counted("SLO violations: ", Violations), "; ", counted("unanswered: ", Unanswered)].

counted(Name, 0) -> [Name, "0"];
counted(Name, N) -> {red, [Name, number(N)]}.

times(#{p50_us := Ordinary}, #{p50_us := Control}) when Ordinary =/= undefined, Control =/= undefined ->
    [["; an ordinary message waits ", number(Ordinary div max(1, Control)), " times as long"]];
times(_, _) ->
    [].

-doc "What was logged, oldest first.".
-spec events([erlmcp_native_demo_log:event()]) -> erlmcp_native_demo_display:section().
events(Events) ->
    [[{bold, "log"}] | [event(Event) || Event <- Events]].

event({_Number, SystemUs, Level, Text}) ->
    {_, {H, M, S}} = calendar:system_time_to_local_time(SystemUs, microsecond),
    [{dim, io_lib:format("~2..0b:~2..0b:~2..0b ", [H, M, S])}, {style(Level), Text}].

style(Level) ->
    case logger:compare_levels(Level, warning) of
        lt -> dim;
        eq -> yellow;
        gt -> red
    end.
