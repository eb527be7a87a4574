%% The picture of all nodes and the shares of rates, on one node: what is decided, without other nodes, and what the
%% process does with what it is sent, true or not.
-module(erlmcp_overload_cluster_tests).

-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

-import(erlmcp_native_test_lib, [eventually/1, kill/1]).

-define(CLUSTER, erlmcp_overload_cluster).
-define(MESSAGE, erlmcp_overload_cluster_message).
-define(PICTURE, erlmcp_overload_cluster_picture).
-define(SHARES, erlmcp_overload_cluster_shares).

%% --- messages ---

the_fullest_that_fit_travel_test() ->
    Role = fun(N) -> list_to_atom(lists:flatten(io_lib:format("role_~3..0b_~ts", [N, lists:duplicate(200, $x)]))) end,
    Rows = [{Role(N), N, 10, 1, 0, ok} || N <- lists:seq(1, 100)],
    Rates = [{list_to_atom("rate_" ++ integer_to_list(N)), N / 7} || N <- lists:seq(1, 100)],
    Own = #{vsn => ~"0.1.0", roles => Rows, pressure => {1, memory}, rates => Rates},
    {?CLUSTER, 1, Node, Map} = Message = ?MESSAGE:make(Own),
    ?assertEqual(node(), Node),
    ?assert(erlang:external_size(Message) =< 4096),
    #{roles := Told, rates := ToldRates} = Read = ?MESSAGE:read(Map),
    ?assertEqual(64, map_size(ToldRates)),
    ?assertEqual(maps:from_list(lists:sublist(Rates, 64)), ToldRates),
    Count = map_size(Told),
    ?assert(Count >= 8 andalso Count < 64),
    ?assertEqual([N || N <- lists:seq(1, Count)], lists:sort([Depth || _ := #{depth := Depth} <- Told])),
    ?assertMatch(#{vsn := ~"0.1.0", pressure := #{level := 1, cause := memory}}, Read).

short_names_fit_all_test() ->
    Role = fun(N) -> list_to_atom("role_" ++ integer_to_list(N)) end,
    Rows = [{Role(N), N, infinity, 1000000, 1 bsl 40, overload} || N <- lists:seq(1, 99)],
    {_, _, _, Map} = ?MESSAGE:make(#{vsn => undefined, roles => Rows, pressure => off, rates => []}),
    ?assertEqual(64, map_size(maps:get(roles, ?MESSAGE:read(Map)))).

%% Another version has more keys, longer rows, or lacks some.
other_versions_are_read_test() ->
    Row = {session, 3, 10, 1, 0, ok},
    Longer = {transport, 1, infinity, 1, 7, critical, more, "still more"},
    Read = ?MESSAGE:read(#{roles => [Row, Longer], rates => [{api, 1, more}], weather => fine}),
    ?assertMatch(#{session := #{depth := 3}, transport := #{limit := infinity, refused := 7}}, maps:get(roles, Read)),
    ?assertMatch(#{vsn := undefined, pressure := off, rates := #{api := 1.0}}, Read),
    ?assertEqual(#{vsn => undefined, pressure => off, roles => #{}, rates => #{}}, ?MESSAGE:read(#{})).

lies_are_left_out_and_the_rest_counts_test() ->
    Good = {session, 3, 10, 1, 0, ok},
    Odd = [
        {"session", 3, 10, 1, 0, ok}, {a, -1, 10, 1, 0, ok}, {a, 1.5, 10, 1, 0, ok}, {a, 1, none, 1, 0, ok},
        {a, 1, 10, 1 bsl 70, 0, ok}, {a, 1, 10, 1, 0, fine}, {a, 1}, a, [], #{}, self()
    ],
    ?assertEqual([session], maps:keys(maps:get(roles, ?MESSAGE:read(#{roles => Odd ++ [Good | improper]})))),
    Rates = [{api, 1 bsl 4000}, {b, -1}, {c, a}, {"d", 1}, {e}, f, {g, 2}],
    ?assertEqual(#{api => 1.0e15, g => 2.0}, maps:get(rates, ?MESSAGE:read(#{rates => Rates}))),
    [
        ?assertEqual(?MESSAGE:read(#{}), ?MESSAGE:read(Map))
     || Map <- [
            #{vsn => binary:copy(~"v", 33), roles => a, pressure => {3, memory}, rates => 7},
            #{vsn => 1, roles => #{}, pressure => {1, weather}, rates => {}},
            #{pressure => {a, none}}, none, [], {1, 2}
        ]
    ],
    %% However many there are.
    Many = [{list_to_atom("many_" ++ integer_to_list(N)), 1, 1, 1, 1, ok} || N <- lists:seq(1, 1000)],
    ?assertEqual(64, map_size(maps:get(roles, ?MESSAGE:read(#{roles => Many})))).

%% --- sums ---

%% Of 2048 the one that was heard first makes room, with what it told, once it is stale; while it is fresh nobody does.
one_more_than_may_be_takes_the_place_of_a_stale_one_test() ->
    Name = fun(N) -> list_to_atom("many_" ++ integer_to_list(N) ++ "@host") end,
    Told = fun(Depth) -> ?MESSAGE:read(#{roles => [{session, Depth, 10, 1, 0, ok}]}) end,
    Hear = fun(N, Picture) -> ?PICTURE:heard(Name(N), N, Told(N), Picture) end,
    Full = lists:foldl(Hear, ?PICTURE:new(), lists:seq(1, 2048)),
    Depth = fun(NowMs, Picture) ->
        #{roles := #{session := #{depth := D}}} = ?PICTURE:read(NowMs, ?PICTURE:view(NowMs, Picture)),
        D
    end,
    All = 2048 * 2049 div 2,
    ?assertEqual(All, Depth(3000, Full)),
    ?assertEqual(Full, ?PICTURE:heard(one_more@host, 3000, Told(7), Full)),
    [
        begin
            #{nodes := Nodes} = Summary = ?PICTURE:read(3001, ?PICTURE:view(3001, Picture)),
            ?assertEqual({2048, false}, {map_size(Nodes), is_map_key(Name(1), Nodes)}),
            ?assertMatch(#{counted := #{fresh := 2048}, roles := #{session := #{nodes := 2048}}}, Summary),
            ?assertEqual(All - 1 + 7, Depth(3001, Picture))
        end
     || Before <- [Full, ?PICTURE:age(3001, Full)], Picture <- [?PICTURE:heard(one_more@host, 3001, Told(7), Before)]
    ].

%% --- demands ---

%% The library's count goes on after 2^64 - 1; one that has gone back is of a rate that was defined anew.
a_count_that_goes_back_says_nothing_test() ->
    Seen = fun(Counts) ->
        Look = fun({AtMs, Count}, Meter) -> ?SHARES:asked(AtMs, [{api, Count}], Meter) end,
        ?SHARES:demands(lists:foldl(Look, ?SHARES:new(), Counts))
    end,
    ?assertEqual([{api, 40.0}], Seen([{0, 10}, {1000, 50}])),
    ?assertEqual([], Seen([{0, 10}, {1000, 50}, {2000, 3}])),
    ?assertEqual([{api, 10.0}], Seen([{0, 10}, {1000, 50}, {2000, 3}, {3000, 13}])),
    ?assertEqual([{api, 10.0}], Seen([{0, (1 bsl 64) - 4}, {1000, 6}])).

%% A node looks for the first time when it starts, and for the second any time within an interval.
what_is_asked_in_a_moment_is_no_demand_test() ->
    First = ?SHARES:asked(0, [{api, 0}], ?SHARES:new()),
    Soon = ?SHARES:asked(1, [{api, 1}], First),
    ?assertEqual([], ?SHARES:demands(Soon)),
    ?assertEqual([{api, 10.0}], ?SHARES:demands(?SHARES:asked(1000, [{api, 10}], Soon))).

%% Its Nth is not divided among the others. A count that is not there is of a rate that is not defined there.
a_node_that_does_not_know_its_demand_keeps_its_share_test() ->
    Meter = ?SHARES:asked(1000, [{api, 10}], ?SHARES:asked(0, [{api, 0}], ?SHARES:new())),
    Unknown = ?SHARES:unknown(?SHARES:asked(0, [{api, 0}], ?SHARES:new())),
    {_, _, _, Map} = ?MESSAGE:make(#{vsn => undefined, roles => [], pressure => off, rates => Unknown}),
    [Own, Other] = [?MESSAGE:read(Of) || Of <- [#{rates => ?SHARES:demands(Meter)}, Map]],
    Parts = fun(Others) -> ?SHARES:shares(maps:get(rates, Own), [Own | Others], {3, Meter}) end,
    ?assertEqual([{api, 333_333_333}], Parts([Other, Other])),
    ?assertEqual([{api, 633_333_333}], Parts([Other, ?MESSAGE:read(#{})])),
    ?assertEqual([], ?SHARES:unknown(Meter)).

%% --- the process ---

process_test_() ->
    {foreach, fun setup/0, fun cleanup/1, [
        {timeout, 60, Test}
     || Test <- [
            fun nothing_is_there_without_the_option/0,
            fun this_node_is_in_its_own_picture/0,
            fun nodes_are_counted_by_the_metrics/0,
            fun options_are_changed_while_it_runs/0,
            fun forged_messages_end_nothing/0,
            fun strangers_are_not_heard/0,
            fun a_crash_is_no_end/0,
            fun the_scope_may_crash/0,
            fun a_share_is_set_and_given_back/0,
            fun a_cost_above_the_share_has_the_share_grow/0,
            fun a_cost_above_the_whole_burst_takes_from_nobody/0,
            fun rates_that_do_not_fit_are_said_once/0,
            fun only_this_node_can_be_asked/0
        ]
    ]}.

setup() ->
    Level = erlmcp_native_test_lib:quiet(),
    ok = application:start(erlmcp_native),
    Level.

cleanup(Level) ->
    ok = application:stop(erlmcp_native),
    _ = application:unset_env(erlmcp_native, cluster),
    _ = application:unset_env(erlmcp_native, rates),
    erlmcp_native_test_lib:loud(Level).

configure(Options) ->
    ok = application:set_env(erlmcp_native, cluster, Options),
    ok = erlmcp_native_app:reload_config().

nothing_is_there_without_the_option() ->
    ?assertExit({noproc, {?CLUSTER, summary, []}}, ?CLUSTER:summary()),
    ?assertExit({noproc, {?CLUSTER, ask, [_, erlang, node, []]}}, ?CLUSTER:ask(node(), erlang, node, [])),
    ?assertEqual([undefined, undefined], [whereis(?CLUSTER), whereis(erlmcp_overload)]).

this_node_is_in_its_own_picture() ->
    ok = erlmcp_queue_limits:record_enqueue(transport, self()),
    configure(#{nodes => 3, interval_ms => 100}),
    Node = node(),
    #{nodes := Nodes, roles := Roles, counted := Counted, expected := 3, unsent := 0} = ?CLUSTER:summary(),
    ?assertMatch(#{Node := #{state := fresh, vsn := ~"0.1.0", pressure := off, rates := #{}}}, Nodes),
    ?assertMatch(#{transport := #{depth := 1, limit := 2000, owners := 1, level := ok, nodes := 1}}, Roles),
    ?assertEqual(#{fresh => 1, stale => 0, gone => 0}, Counted),
    ok = erlmcp_queue_limits:record_enqueue(transport, self()),
    eventually(fun() -> depth(transport) =:= 2 end).

nodes_are_counted_by_the_metrics() ->
    ?assertEqual([], counted()),
    configure(#{nodes => 3, interval_ms => 100}),
    Nodes = {~"erlmcp_cluster_nodes", [{[~"fresh"], 1}, {[~"stale"], 0}, {[~"gone"], 0}]},
    ?assertEqual([Nodes, {~"erlmcp_cluster_nodes_expected", [{[], 3}]}], counted()),
    %% One that tells of itself no more is not fresh for ever.
    ok = sys:suspend(?CLUSTER),
    Later = {~"erlmcp_cluster_nodes", [{[~"fresh"], 0}, {[~"stale"], 1}, {[~"gone"], 0}]},
    eventually(fun() -> hd(counted()) =:= Later end),
    ok = sys:resume(?CLUSTER),
    eventually(fun() -> hd(counted()) =:= Nodes end),
    configure(off),
    ?assertEqual([], counted()).

counted() ->
    Families = erlmcp_native_metrics:collect(),
    [{Name, Samples} || {#{name := <<"erlmcp_cluster_", _/binary>> = Name}, Samples} <- Families].

depth(Role) ->
    case ?CLUSTER:summary() of
        #{roles := #{Role := #{depth := Depth}}} -> Depth;
        _ -> none
    end.

options_are_changed_while_it_runs() ->
    configure(#{nodes => 3}),
    Pid = whereis(?CLUSTER),
    configure(#{nodes => 4}),
    eventually(fun() -> maps:get(expected, ?CLUSTER:summary()) =:= 4 end),
    ?assertEqual(Pid, whereis(?CLUSTER)),
    configure(off),
    ?assertExit({noproc, _}, ?CLUSTER:summary()).

forged_messages_end_nothing() ->
    configure(#{interval_ms => 100}),
    Pid = whereis(?CLUSTER),
    Odd = [
        {?CLUSTER, 1, node(), #{roles => [{forged, 7, 7, 7, 7, ok}]}}, {?CLUSTER, a, nobody@nowhere, #{}},
        {?CLUSTER, 1, "node", #{}}, {?CLUSTER, 1, nobody@nowhere, none}, {?CLUSTER, 1}, ?CLUSTER, []
    ],
    [gen_server:cast(?CLUSTER, Message) || Message <- Odd],
    More = [{nodeup, "a"}, {nodeup, a, b}, {nodedown, 7}, {timeout, make_ref(), view}],
    [?CLUSTER ! Message || Message <- Odd ++ More],
    ?assertEqual({error, unknown_call}, gen_server:call(?CLUSTER, Odd)),
    ?assertEqual(Pid, whereis(?CLUSTER)),
    #{nodes := Nodes, roles := Roles} = ?CLUSTER:summary(),
    ?assertEqual([node()], maps:keys(Nodes)),
    ?assertNot(is_map_key(forged, Roles)).

strangers_are_not_heard() ->
    configure(#{interval_ms => 100}),
    Strangers = [list_to_atom("stranger_" ++ integer_to_list(N)) || N <- lists:seq(1, 99)],
    [gen_server:cast(?CLUSTER, {?CLUSTER, 1, Stranger, #{}}) || Stranger <- Strangers],
    _ = sys:get_state(?CLUSTER),
    eventually(fun() -> maps:get(age_ms, maps:get(node(), maps:get(nodes, ?CLUSTER:summary()))) < 100 end),
    ?assertEqual([node()], maps:keys(maps:get(nodes, ?CLUSTER:summary()))).

a_crash_is_no_end() ->
    configure(#{interval_ms => 100}),
    Pid = whereis(?CLUSTER),
    kill(Pid),
    eventually(fun() -> is_pid(whereis(?CLUSTER)) andalso whereis(?CLUSTER) =/= Pid andalso is_read() end),
    ?assertEqual([whereis(?CLUSTER)], pg:get_members(erlmcp_overload, ?CLUSTER)).

is_read() ->
    try ?CLUSTER:summary() of
        #{counted := #{fresh := 1}} -> true
    catch
        exit:{noproc, _} -> false
    end.

the_scope_may_crash() ->
    configure(#{interval_ms => 100}),
    kill(whereis(erlmcp_overload)),
    eventually(fun() ->
        is_pid(whereis(erlmcp_overload)) andalso is_pid(whereis(?CLUSTER)) andalso is_read() andalso
            pg:get_members(erlmcp_overload, ?CLUSTER) =:= [whereis(?CLUSTER)]
    end).

%% Alone of four, a node has a quarter; of one, all.
a_share_is_set_and_given_back() ->
    ok = erlmcp_overload_rate:define(before, #{rate => {100, hour}, scope => cluster}),
    configure(#{nodes => 4, interval_ms => 100}),
    ?assertEqual({ok, 24}, erlmcp_overload_rate:take(before, key)),
    ok = erlmcp_overload_rate:define(later, #{rate => {100, hour}, scope => cluster}),
    ?assertMatch(#{share := 0.25}, erlmcp_overload_rate:info(later)),
    eventually(fun() -> is_map_key(later, rates()) end),
    ?assertMatch(#{share := 0.25}, erlmcp_overload_rate:info(before)),
    configure(#{nodes => 1, interval_ms => 100}),
    eventually(fun() -> maps:get(share, erlmcp_overload_rate:info(before)) =:= 1.0 end),
    configure(#{nodes => 10, interval_ms => 100}),
    eventually(fun() -> maps:get(share, erlmcp_overload_rate:info(before)) =:= 0.1 end),
    configure(off),
    [?assertMatch(#{share := 1.0}, erlmcp_overload_rate:info(Name)) || Name <- [before, later]].

a_cost_above_the_share_has_the_share_grow() ->
    begin_beside_another(60.0),
    ?assertMatch({error, {cost_exceeds_burst, #{burst := _}}}, erlmcp_overload_rate:take(api, key, 60)),
    eventually(fun() ->
        another_asks(60.0),
        element(1, erlmcp_overload_rate:take(api, key, 60)) =:= ok
    end).

a_cost_above_the_whole_burst_takes_from_nobody() ->
    begin_beside_another(1.0),
    eventually(fun() ->
        another_asks(1.0),
        {error, {cost_exceeds_burst, _}} = erlmcp_overload_rate:take(api, key, 101),
        maps:get(share, erlmcp_overload_rate:info(api)) =:= 0.05
    end).

%% Of two nodes the other one is played, and asks for so many a second.
begin_beside_another(PerS) ->
    ok = erlmcp_overload_rate:define(api, #{rate => {1, hour}, burst => 100, scope => cluster}),
    configure(#{nodes => 2, interval_ms => 100}),
    ?CLUSTER ! {nodeup, another@host},
    another_asks(PerS).

another_asks(PerS) ->
    gen_server:cast(?CLUSTER, {?CLUSTER, 1, another@host, #{rates => [{api, PerS}]}}).

rates() ->
    #{nodes := Nodes} = ?CLUSTER:summary(),
    maps:get(rates, maps:get(node(), Nodes)).

%% 34 names of 100 characters fit.
rates_that_do_not_fit_are_said_once() ->
    Names = [list_to_atom(lists:flatten(io_lib:format("~100..0b", [N]))) || N <- lists:seq(1, 40)],
    Handlers = [{Id, Level} || #{id := Id, level := Level} <- logger:get_handler_config()],
    _ = [ok = logger:set_handler_config(Id, level, none) || {Id, _} <- Handlers],
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()}}),
    ok = logger:set_primary_config(level, warning),
    try
        [ok = erlmcp_overload_rate:define(Name, #{rate => {10, hour}, scope => cluster}) || Name <- Names],
        configure(#{interval_ms => 100}),
        Text = line(),
        ?assertMatch({match, _}, re:run(Text, "asked here of 6 of 40 rates")),
        Node = node(),
        Told = fun() -> #{nodes := #{Node := #{rates := Rates}}} = ?CLUSTER:summary(), map_size(Rates) end,
        ok = eventually(fun() -> Told() =:= 34 end),
        %% Not at each interval. Once they fit it is over.
        [ok = erlmcp_overload_rate:undefine(Name) || Name <- lists:nthtail(30, Names)],
        ok = eventually(fun() -> Told() =:= 30 end),
        _ = erlmcp_native_log:flush(20000),
        ?assertEqual([], lines())
    after
        ok = logger:set_primary_config(level, none),
        ok = logger:remove_handler(?MODULE),
        [ok = logger:set_handler_config(Id, level, Level) || {Id, Level} <- Handlers]
    end.

log(#{level := warning} = Event, #{config := #{to := Pid}}) ->
    Text = logger_formatter:format(Event, #{single_line => true, template => [msg]}),
    Pid ! {?MODULE, unicode:characters_to_list(Text)};
log(_Event, _Handler) ->
    ok.

line() ->
    receive
        {?MODULE, Text} -> Text
    after 20000 -> error(nothing_said)
    end.

lines() ->
    receive
        {?MODULE, Text} -> [Text | lines()]
    after 0 -> []
    end.

only_this_node_can_be_asked() ->
    configure(#{}),
    ?assertEqual({ok, node()}, ?CLUSTER:ask(node(), erlang, node, [])),
    ?assertEqual({error, unknown}, ?CLUSTER:ask(nobody@nowhere, erlang, node, [])),
    ?assertMatch({error, {failed, _}}, ?CLUSTER:ask(node(), erlang, error, [odd])),
    ?assertEqual({error, timeout}, ?CLUSTER:ask(node(), timer, sleep, [infinity])),
    [
        ?assertError(badarg, apply(?CLUSTER, ask, Args))
     || Args <- [["a", erlang, node, []], [node(), erlang, "f", []], [node(), erlang, node, [a | b]], [a, b, c, d]]
    ],
    ok = flush().

flush() ->
    receive
        Left -> error({left, Left})
    after 0 -> ok
    end.
