-module(erlmcp_native_demo_summary).
-moduledoc """
What the run comes to, and whether it kept what is promised.

That no owner passed its limit is seen twice: by the library, in each role's highest depth, and by the owners
themselves, in their mailboxes and their own counts. That the counts add up makes both worth believing.
""".

-export([sections/4]).

-import(erlmcp_native_demo_text, [number/1, or_dash/2, left/2, right/2]).

-doc """
The summary, and `held` if no owner passed its limit and the counts add up. Rates are taken between `Start`
and `Stopped`, when the last request was made; totals are those of `AtRest`, when all were answered.
""".
-spec sections(erlmcp_native_demo_sample:world(), Sample, Sample, Sample) ->
    {held | failed, [erlmcp_native_demo_display:section()]}
when
    Sample :: erlmcp_native_demo_sample:sample().
sections(#{offered_per_s := Offered, finished_per_s := Finished}, Start, Stopped, AtRest) ->
    #{roles := Roles, control := Control} = AtRest,
    Passed = lists:append([passed(Role) || Role <- Roles]),
    Wrong = wrong_counts(AtRest),
    {Verdict, Lines} = verdict(Passed, Wrong),
    {Verdict, [
        flow(Offered, Finished, Start, Stopped, AtRest),
        roles(Roles),
        at_rest(Roles),
        [without_limits(Stopped)],
        control(Control),
        Lines
    ]}.

flow(Offered, Finished, #{at_us := From} = Start, #{at_us := To} = Stopped, AtRest) ->
    Heading = io_lib:format("after ~.1f s", [(To - From) / 1_000_000]),
    [
        [{bold, [left(Heading, 14), right("planned/s", 12), right("measured/s", 12), right("in all", 16)]}]
        | [
            [
                left(atom_to_list(Name), 14),
                right(Planned, 12),
                right(number(erlmcp_native_demo_sample:per_s(count(Name), Start, Stopped)), 12),
                right(number((count(Name))(AtRest)), 16)
            ]
         || {Name, Planned} <- [
                {offered, number(Offered)}, {refused, ""}, {admitted, ""}, {finished, number(Finished)}
            ]
        ]
    ].

count(Name) ->
    fun(Sample) -> maps:get(Name, Sample) end.

roles(Roles) ->
    [
        [
            {bold, [
                left("role", 14),
                right("owners", 8),
                right("limit", 9),
                right("highest depth", 15),
                right("owner's own", 13),
                right("admit p50", 11),
                right("refuse", 10)
            ]}
        ]
        | [role_line(Role) || Role <- Roles]
    ].

role_line(#{role := Role, owners := Owners, stats := #{limit := Limit, max_depth := Max}, own := Own}) ->
    #{held := Held, admitted_ns := AdmittedNs, refused_ns := RefusedNs} = Own,
    [
        left(atom_to_list(Role), 14),
        right(number(Owners), 8),
        right(number(Limit), 9),
        right(number(Max), 15),
        right(number(Held), 13),
        right(or_dash(AdmittedNs, " ns"), 11),
        right(or_dash(RefusedNs, " ns"), 10)
    ].

at_rest(Roles) ->
    [
        [
            {bold, [
                left("at rest", 14),
                right("enqueued =", 14),
                right("dequeued -", 14),
                right("unmatched +", 13),
                right("released +", 12),
                right("depth", 8)
            ]}
        ]
        | [at_rest_line(Role) || Role <- Roles]
    ].

at_rest_line(#{role := Role, stats := Stats}) ->
    #{
        total_enqueued := Enqueued,
        total_dequeued := Dequeued,
        unmatched_dequeues := Unmatched,
        total_released := Released,
        current_depth := Current
    } = Stats,
    [
        left(atom_to_list(Role), 14),
        right([number(Enqueued), "  "], 14),
        right([number(Dequeued), "  "], 14),
        right([number(Unmatched), "  "], 13),
        right([number(Released), "  "], 12),
        right(number(Current), 8)
    ].

without_limits(#{offered := Offered, finished := Finished}) ->
    [
        io_lib:format("without limits ~s requests would have been waiting at the end", [
            number(max(0, Offered - Finished))
        ])
    ].

%% Shown, and no part of the verdict: how fast answers are depends on what else the machine does.
control(#{delivered := Delivered, in_all := InAll, ordinary := Ordinary, slo_violations := Violations}) ->
    [
        [
            {bold, [
                left("sender waits, µs", 35),
                right("p50", 10),
                right("p99", 10),
                right("max", 10),
                right("SLO violations", 15)
            ]}
        ],
        waits([number(Delivered), " control messages"], InAll) ++ [right(number(Violations), 15)],
        waits("ordinary, to the same executors", Ordinary)
    ].

waits(Name, #{p50_us := P50, p99_us := P99, max_us := Max}) ->
    [left(Name, 35) | [right(or_dash(Us, ""), 10) || Us <- [P50, P99, Max]]].

passed(#{role := Role, stats := #{limit := Limit, max_depth := Max}, own := #{held := Held}}) ->
    [
        io_lib:format("~s passed its limit of ~s: ~s ~s", [Role, number(Limit), What, number(Depth)])
     || {What, Depth} <- [{"the library counted", Max}, {"an owner itself found", Held}], Depth > Limit
    ].

wrong_counts(#{roles := Roles} = AtRest) ->
    #{offered := Offered, admitted := Admitted, refused := Refused, finished := Finished} = AtRest,
    [
        io_lib:format("~s does not add up", [Role])
     || #{role := Role, stats := Stats} <- Roles, not adds_up(Stats)
    ] ++
        [
            io_lib:format("offered ~s, but admitted ~s and refused ~s", [
                number(Offered), number(Admitted), number(Refused)
            ])
         || Offered =/= Admitted + Refused
        ] ++
        [
            io_lib:format("admitted ~s, but finished ~s", [number(Admitted), number(Finished)])
         || Admitted =/= Finished
        ].

adds_up(#{
    total_enqueued := Enqueued,
    total_dequeued := Dequeued,
    unmatched_dequeues := Unmatched,
    total_released := Released,
    current_depth := Current
}) ->
    Enqueued =:= Dequeued - Unmatched + Released + Current.

verdict([], []) ->
    {held, [[{green, "No owner ever passed its limit, and the counts add up."}]]};
verdict(Passed, Wrong) ->
    {failed, [[{red, ["FAILED: ", Problem]}] || Problem <- Passed ++ Wrong]}.
