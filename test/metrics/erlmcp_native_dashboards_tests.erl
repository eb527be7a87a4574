%% The dashboard, the alert rules with their tests, and the operator's guide name metrics, alerts and functions that
%% there are: whoever renames one has to do it here as well.
-module(erlmcp_native_dashboards_tests).

-include_lib("eunit/include/eunit.hrl").

-define(DASHBOARD, "priv/grafana/erlmcp_native.json").
-define(RULES, "priv/prometheus/erlmcp_native.rules.yml").
-define(RULES_TEST, "integration/rules_test.yml").
-define(DOCS, "docs/operating.md").

-define(NAME, "(?<![A-Za-z0-9_])erlmcp_[a-z0-9_]*[a-z0-9]").
%% That of a rate in a panel: of each point, or of all the time shown.
-define(WINDOW, "\\[\\$__(?:rate_interval\\]|range\\] @ end\\(\\))").
%% Erlmcp's own, which are not here.
-define(THEIRS, [~"erlmcp_core", ~"erlmcp_metrics_server"]).

every_name_is_known_test_() ->
    [
        {File, ?_assertEqual([], lists:usort(names(File)) -- known())}
     || File <- [?DASHBOARD, ?RULES, ?RULES_TEST, ?DOCS]
    ].

%% Those that are read, which a histogram's own name is not.
every_name_that_is_read_has_values_test_() ->
    Values = lists:append([samples(Field) || Field <- erlmcp_native_metrics:fields()]),
    OfRules = {?RULES, lists:append(found("(" ?NAME ")[{[]", text(?RULES)))},
    Read = [OfRules | [{Expr, scan(Expr)} || Expr <- expressions()]],
    [{unicode:characters_to_list(Where), ?_assertEqual([], lists:usort(Names) -- Values)} || {Where, Names} <- Read].

every_metric_is_documented_test_() ->
    Documented = lists:append(found("`(" ?NAME ")`", text(?DOCS))),
    [?_assertEqual([], samples(Field) -- Documented) || Field <- erlmcp_native_metrics:fields()].

every_metric_is_shown_test_() ->
    Shown = lists:usort([Name || Expr <- expressions(), Name <- scan(Expr)]),
    [
        {binary_to_list(Name), ?_assertNotEqual([], [Sample || Sample <- samples(Field), lists:member(Sample, Shown)])}
     || #{name := Name} = Field <- erlmcp_native_metrics:fields()
    ].

%% In the guide, the right type beside the name.
types_are_documented_test_() ->
    Rows = [Line || <<"| `", _/binary>> = Line <- lines(?DOCS)],
    [
        {binary_to_list(Name), fun() ->
            [Row] = [Row || Row <- Rows, lists:member(hd(samples(Field)), scan(hd(cells(Row))))],
            ?assertEqual(atom_to_binary(Kind), lists:nth(2, cells(Row)))
        end}
     || #{name := Name, kind := Kind} = Field <- erlmcp_native_metrics:fields()
    ].

every_alert_is_a_heading_test() ->
    ?assertNotEqual([], alerts()),
    Headings = lists:append(found(~B"(?m)^### (Erlmcp\w+)$", text(?DOCS))),
    ?assertEqual(lists:sort(alerts()), lists:sort(Headings)).

%% By a link that leads there: relative, so that an address can be put in front.
every_alert_refers_to_its_section_test() ->
    Urls = lists:append(found(~B"(?m)^ +runbook_url: '([^']*)'$", text(?RULES))),
    ?assertEqual([<<?DOCS, "#", (anchor(Alert))/binary>> || Alert <- alerts()], Urls),
    Targets = [<<?DOCS, "#", (anchor(Heading))/binary>> || Heading <- headings()],
    ?assertEqual([], Urls -- Targets).

%% What the guide says to put in front is put in front of each of them.
links_are_made_absolute_as_the_guide_says_test() ->
    [[From, To]] = found(~B"sed 's\|([^|]*)\|(https://[^|]*)\|'", text(?DOCS)),
    Made = binary:replace(text(?RULES), From, To, [global]),
    ?assertEqual(
        [<<To/binary, (anchor(Alert))/binary>> || Alert <- alerts()],
        lists:append(found(~B"runbook_url: '([^']*)'", Made))
    ).

%% Over what a young series has, a function over a window says the same as over all of it, so a rule that asks one for a
%% time that has passed must ask whether the series was there at its beginning.
a_time_that_has_passed_is_asked_for_by_offset_test_() ->
    Windows = "(?:min|max|avg|sum|count|quantile|stddev|present)_over_time\\([^\\[]*\\[(\\w+)\\]",
    Still = "increase\\([^\\[]*\\[(\\w+)\\]\\) *(?:==|<)",
    Rules = [Rule || Rule <- tl(binary:split(text(?RULES), [~"- alert: ", ~"- record: "], [global]))],
    ?assertEqual(length(alerts()) + length(recorded()), length(Rules)),
    [
        {binary_to_list(hd(binary:split(Rule, ~"\n"))),
            ?_assertNotEqual(nomatch, binary:match(Rule, <<" offset ", Window/binary>>))}
     || Rule <- Rules, Window <- lists:usort(lists:append(found(Windows, Rule) ++ found(Still, Rule)))
    ].

every_section_says_what_to_do_test_() ->
    [_ | Sections] = binary:split(text(?DOCS), ~"\n### Erlmcp", [global]),
    [
        {binary_to_list(hd(binary:split(Section, ~"\n"))),
            ?_assertEqual([], [Part || Part <- parts(), binary:match(Section, Part) =:= nomatch])}
     || Section <- Sections
    ].

parts() ->
    [~"\n**Means:** ", ~"\n**Check first:** ", ~"\n**Do:** ", ~"\n**Do not:** "].

every_alert_is_tested_test() ->
    Fires = lists:append(found(~B|ALERTS\{alertname="(\w+)", alertstate="firing", severity=|, text(?RULES_TEST))),
    ?assertEqual(lists:sort(alerts()), lists:usort(Fires)).

recorded_names_are_known_test_() ->
    [
        {File, ?_assertEqual([], lists:usort(Names) -- recorded())}
     || File <- [?DASHBOARD, ?RULES, ?RULES_TEST, ?DOCS],
        Names <- [lists:append(found(~B"((?:role|instance):erlmcp_\w+:\w+)", text(File)))]
    ].

links_lead_to_headings_test() ->
    Anchors = [anchor(Heading) || Heading <- headings()],
    ?assertEqual([], lists:usort(lists:append(found(~B"\]\(#([^)]*)\)", text(?DOCS)))) -- Anchors).

headings() ->
    lists:append(found(~B"(?m)^##+ (.*)$", text(?DOCS))).

anchor(Heading) ->
    Lower = string:lowercase(Heading),
    Plain = re:replace(Lower, ~B"[^a-z0-9 _-]", ~"", [global, {return, binary}]),
    binary:replace(Plain, ~" ", ~"-", [global]).

%% Module:function/arity as well as calls of ours that the guide shows.
functions_are_there_test_() ->
    Calls = lists:usort(found("(" ?NAME "):([a-z_]+)[(/]", text(?DOCS))),
    ?assertNotEqual([], Calls),
    [
        {binary_to_list(<<Module/binary, ":", Function/binary>>), fun() ->
            Exports = (binary_to_existing_atom(Module)):module_info(exports),
            ?assert(lists:member(Function, [atom_to_binary(Name) || {Name, _} <- Exports]))
        end}
     || [Module, Function] <- Calls
    ].

%% What a selector compares and a sum keeps are labels of the metric, or of each target.
selectors_have_labels_of_the_metric_test_() ->
    Texts = [text(?RULES), text(?DOCS) | expressions()],
    Selectors = lists:append([found("(" ?NAME ")\\{([^}]*)\\}", Text) || Text <- Texts]),
    ?assertNotEqual([], Selectors),
    [
        {binary_to_list(<<Name/binary, "{", Selector/binary, "}">>),
            ?_assertEqual([], lists:append(found(~B"([a-z_]+) *(?:=|!)", Selector)) -- labels(Name))}
     || [Name, Selector] <- lists:usort(Selectors)
    ].

%% A counter is of use only by its rate, and a gauge has none.
counters_are_shown_by_their_rates_test_() ->
    Counters = lists:append([
        samples(Field)
     || #{kind := Kind} = Field <- erlmcp_native_metrics:fields(), Kind =/= gauge
    ]),
    [
        {binary_to_list(Expr),
            ?_assertEqual(
                [Name || Name <- scan(Expr), lists:member(Name, Counters)],
                lists:append(found("(?:rate|increase)\\((" ?NAME ")\\{[^}]*\\}" ?WINDOW "\\)", Expr))
            )}
     || Expr <- expressions()
    ].

panels_are_complete_test_() ->
    #{~"panels" := Panels} = dashboard(),
    Shown = [Panel || #{~"type" := Type} = Panel <- Panels, Type =/= ~"row"],
    [
        ?_assertEqual(length(Panels), length(lists:uniq([Id || #{~"id" := Id} <- Panels]))),
        ?_assertEqual(
            [
                ~"Overview", ~"Queues", ~"Overload", ~"Rates", ~"Control plane", ~"The node", ~"The extension itself",
                ~"Other nodes"
            ],
            [Title || #{~"type" := ~"row", ~"title" := Title} <- Panels]
        ),
        [
            {binary_to_list(Title), fun() ->
                #{
                    ~"description" := <<_, _/binary>>,
                    ~"datasource" := #{~"uid" := ~"${datasource}"},
                    ~"fieldConfig" := #{~"defaults" := #{~"unit" := <<_, _/binary>>}},
                    ~"targets" := [_ | _]
                } = Panel
            end}
         || #{~"title" := Title} = Panel <- Shown
        ]
    ].

panels_do_not_overlap_test() ->
    #{~"panels" := Panels} = dashboard(),
    Cells = [
        {X, Y}
     || #{~"gridPos" := #{~"x" := Left, ~"y" := Top, ~"w" := Width, ~"h" := Height}} <- Panels,
        X <- lists:seq(Left, Left + Width - 1),
        Y <- lists:seq(Top, Top + Height - 1)
    ],
    ?assertEqual([], Cells -- lists:uniq(Cells)),
    ?assertEqual([], [X || {X, _} <- Cells, X < 0 orelse X > 23]).

%% There may be 1024 of each. The foremost are those of all the time shown: of each point they would be others.
lines_for_each_role_rate_or_component_are_bounded_test_() ->
    Many = [Expr || Expr <- expressions(), found(~B"by \([^)]*\b(role|component|rate)\b[^)]*\)", Expr) =/= []],
    ?assert(length(Many) > 10),
    [
        {binary_to_list(Expr), fun() ->
            [_, Foremost] = binary:split(Expr, ~" and topk(20, "),
            ?assertEqual(nomatch, binary:match(Foremost, ~"$__rate_interval")),
            ?assertNotEqual(nomatch, binary:match(Foremost, ~"[$__range] @ end()"))
        end}
     || Expr <- Many
    ].

%% Two jobs may scrape one node.
each_selector_chooses_job_and_instance_test_() ->
    Without = ?NAME "\\{(?!job=~\"\\$job\", instance=~\"\\$instance\")([^}]*)",
    [{binary_to_list(Expr), ?_assertEqual([], found(Without, Expr))} || Expr <- expressions()].

%% Those that expressions use, and no others.
variables_test() ->
    #{~"templating" := #{~"list" := Variables}} = dashboard(),
    ?assertEqual(
        [{~"datasource", ~"datasource"} | [{Name, ~"query"} || Name <- [~"job", ~"instance", ~"role"]]],
        [{Name, Type} || #{~"name" := Name, ~"type" := Type} <- Variables]
    ),
    Used = lists:usort(lists:append([lists:append(found(~B"\$(\w+)", Expr)) || Expr <- expressions()])),
    ?assertEqual([~"__range", ~"__rate_interval", ~"instance", ~"job", ~"role"], Used).

dashboard() ->
    json:decode(text(?DASHBOARD)).

expressions() ->
    #{~"panels" := Panels} = dashboard(),
    [Expr || #{~"targets" := Targets} <- Panels, #{~"expr" := Expr} <- Targets].

alerts() ->
    lists:append(found(~B"(?m)^ +- alert: (\w+)$", text(?RULES))).

recorded() ->
    lists:append(found(~B"(?m)^ +- record: (\S+)$", text(?RULES))).

%% But for recorded ones and the names of groups, which are nobody's.
names(File) ->
    Bare = lists:foldl(fun(Name, Text) -> binary:replace(Text, Name, ~"", [global]) end, text(File), recorded()),
    scan(re:replace(Bare, ~B"(?m)^ +- name: .*$", ~"", [global, {return, binary}])).

scan(Text) ->
    lists:append(found("(" ?NAME ")", Text)).

%% What a name may be: a metric, a module, the application, something of erlmcp's.
known() ->
    Modules = filelib:wildcard(filename:join([erlmcp_native_test_lib:root(), "erlang", "**", "*.erl"])),
    ?THEIRS ++
        [list_to_binary(filename:basename(Module, ".erl")) || Module <- Modules] ++
        [Name || #{kind := histogram, name := Name} <- erlmcp_native_metrics:fields()] ++
        lists:append([samples(Field) || Field <- erlmcp_native_metrics:fields()]).

%% What its values are called on /metrics.
samples(#{kind := gauge, name := Name}) -> [Name];
samples(#{kind := counter, name := Name}) -> [<<Name/binary, "_total">>];
samples(#{kind := histogram, name := Name}) -> [<<Name/binary, Of/binary>> || Of <- [~"_bucket", ~"_sum", ~"_count"]].

labels(Name) ->
    [Labels] = [
        case Kind of
            histogram -> [~"le" | Own];
            _ -> Own
        end
     || #{kind := Kind, labels := Own} = Field <- erlmcp_native_metrics:fields(), lists:member(Name, samples(Field))
    ],
    [~"instance", ~"job" | Labels].

cells(Row) ->
    [string:trim(Cell) || Cell <- tl(binary:split(Row, ~"|", [global]))].

lines(File) ->
    binary:split(text(File), ~"\n", [global]).

text(File) ->
    {ok, Text} = file:read_file(filename:join(erlmcp_native_test_lib:root(), File)),
    Text.

found(Pattern, Text) ->
    case re:run(Text, Pattern, [global, unicode, {capture, all_but_first, binary}]) of
        {match, Found} -> Found;
        nomatch -> []
    end.
