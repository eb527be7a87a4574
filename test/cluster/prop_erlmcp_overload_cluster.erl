%% Properties of what is decided about many nodes: who is fresh, what is added up, and how a rate is shared.
-module(prop_erlmcp_overload_cluster).

-include_lib("proper/include/proper.hrl").

-export([prop_sums_are_over_those_that_are_fresh/0, prop_kept_sums_are_those_made_anew/0]).
-export([prop_shares_are_what_is_heard_of_all/0]).
-export([prop_whatever_is_sent_is_read/0, prop_a_demand_follows_what_is_asked/0]).

-define(PICTURE, erlmcp_overload_cluster_picture).
-define(SHARES, erlmcp_overload_cluster_shares).
-define(MESSAGE, erlmcp_overload_cluster_message).

%% Against a list of what happened, looked through anew each time.
prop_sums_are_over_those_that_are_fresh() ->
    ?FORALL(
        {Events, ReadMs},
        {list({range(0, 4000), node_name(), oneof([lost, role_rows()])}), range(0, 20000)},
        begin
            {ViewMs, Picture, Known} = lists:foldl(fun play/2, {0, ?PICTURE:new(), #{}}, Events),
            NowMs = ViewMs + ReadMs,
            View = ?PICTURE:view(ViewMs, Picture),
            #{nodes := Nodes, roles := Roles, counted := Counted} = ?PICTURE:read(NowMs, View),
            States = #{Node => state(NowMs, Heard) || Node := Heard <- Known},
            Fresh = [Rows || Node := {_, _, Rows} <- Known, maps:get(Node, States) =:= fresh],
            Depth = lists:sum([D || Rows <- Fresh, {_, D, _, _, _, _} <- Rows]),
            conjunction([
                {states, equals(States, #{Node => State || Node := #{state := State} <- Nodes})},
                {counted, equals(map_size(Known), lists:sum(maps:values(Counted)))},
                {counted_by_moments, equals(Counted, ?PICTURE:counted(NowMs, ?PICTURE:moments(Picture)))},
                {depth, equals(Depth, lists:sum([D || _ := #{depth := D} <- Roles]))},
                {nodes, equals(length([x || Rows <- Fresh, _ <- Rows]), lists:sum([N || _ := #{nodes := N} <- Roles]))}
            ])
        end
    ).

play({WaitMs, Node, lost}, {AtMs, Picture, Known}) ->
    NowKnown = case Known of #{Node := {HeardMs, _, Rows}} -> Known#{Node := {HeardMs, true, Rows}}; #{} -> Known end,
    {AtMs + WaitMs, ?PICTURE:lost(Node, Picture), NowKnown};
play({WaitMs, Node, Rows}, {AtMs, Picture, Known}) ->
    NowMs = AtMs + WaitMs,
    Told = ?MESSAGE:read(#{roles => Rows}),
    {NowMs, ?PICTURE:heard(Node, NowMs, Told, Picture), Known#{Node => {NowMs, false, Rows}}}.

state(NowMs, {AtMs, _, _}) when NowMs >= AtMs + 15000 -> gone;
state(NowMs, {AtMs, Lost, _}) when Lost; NowMs >= AtMs + 3000 -> stale;
state(_, _) -> fresh.

%% Whatever was heard, lost, dropped and forgotten, and whenever: after each event the roles are what one adds up from
%% the nodes that are shown as fresh, now and at a later moment.
prop_kept_sums_are_those_made_anew() ->
    ?FORALL(
        {Events, LaterMs},
        {list({wait_ms(), node_name(), oneof([lost, drop, age, told(), told(), told()])}), range(0, 20000)},
        begin
            Pictures = lists:foldl(fun happen/2, [{0, ?PICTURE:new()}], Events),
            lists:all(
                fun({AtMs, Picture}) ->
                    View = ?PICTURE:view(AtMs, Picture),
                    lists:all(fun(Ms) -> is_sum(?PICTURE:read(Ms, View)) end, [AtMs, AtMs + LaterMs])
                end,
                Pictures
            )
        end
    ).

happen({WaitMs, Node, Event}, [{BeforeMs, Picture} | _] = So) ->
    AtMs = BeforeMs + WaitMs,
    Next =
        case Event of
            lost -> ?PICTURE:lost(Node, Picture);
            drop -> ?PICTURE:drop(Node, Picture);
            age -> ?PICTURE:age(AtMs, Picture);
            Rows -> ?PICTURE:heard(Node, AtMs, ?MESSAGE:read(#{roles => Rows}), Picture)
        end,
    [{AtMs, Next} | So].

is_sum(#{nodes := Nodes, roles := Roles}) ->
    Told = [{Role, Row} || _ := #{state := fresh, roles := Of} <- Nodes, Role := Row <- Of],
    Expected = #{Role => anew([Row || {Of, Row} <- Told, Of =:= Role]) || {Role, _} <- Told},
    Expected =:= Roles.

anew(Rows) ->
    Sum = fun(Key) -> lists:sum([maps:get(Key, Row) || Row <- Rows]) end,
    Worst = [Level || Level <- [overload, critical, warning, ok], #{level := Of} <- Rows, Of =:= Level],
    #{
        depth => Sum(depth),
        owners => Sum(owners),
        refused => Sum(refused),
        limit => lists:min([Limit || #{limit := Limit} <- Rows]),
        level => hd(Worst),
        nodes => length(Rows)
    }.

%% Around the moments at which something becomes of a node.
wait_ms() ->
    oneof([range(0, 1500), oneof([2999, 3000, 3001, 14999, 15000]), oneof([3_599_999, 3_600_000])]).

told() ->
    list({
        oneof([r, s, t]),
        oneof([range(0, 100), 1 bsl 60]),
        oneof([1, 10, infinity]),
        range(0, 3),
        range(0, 9),
        oneof([ok, warning, critical, overload])
    }).

node_name() -> oneof([a@host, b@host, c@host, d@host]).

%% Of each role one at most.
role_rows() ->
    ?LET(
        Depths,
        list(range(0, 100)),
        [
            {Role, Depth, 10, 1, 0, ok}
         || {Role, Depth} <- lists:zip(lists:sublist([r, s, t], min(3, length(Depths))), lists:sublist(Depths, 3))
        ]
    ).

%% Of those that hear each other, the shares are K / N of the rate together, and nobody has less than its even tenth.
prop_shares_are_what_is_heard_of_all() ->
    ?FORALL(
        {Demands, Missing},
        {non_empty(list(oneof([0.0, float(0.0, 1.0e15)]))), range(0, 50)},
        begin
            Heard = length(Demands),
            Nodes = Heard + Missing,
            Sum = lists:sum(Demands),
            Shares = [?SHARES:share(Demand, Sum, Heard, Nodes) || Demand <- Demands],
            Whole = 1_000_000_000,
            Expected = Whole * Heard / Nodes,
            conjunction([
                {together, abs(lists:sum(Shares) - Expected) =< Heard + 1.0e-6 * Whole},
                {least, lists:min(Shares) >= trunc(0.1 * Whole / Nodes) - 1},
                {most, lists:max(Shares) =< Whole},
                {fewer_configured, within(lists:sum([?SHARES:share(D, Sum, Heard, 1) || D <- Demands]), Whole, Heard)}
            ])
        end
    ).

within(Sum, Whole, Heard) ->
    abs(Sum - Whole) =< Heard + 1.0e-6 * Whole.

%% Whatever somebody sends, what is read of it can be added up and shared.
prop_whatever_is_sent_is_read() ->
    ?FORALL(
        Map,
        oneof([term(), #{roles => odd_rows(), rates => odd_rows(), vsn => term(), pressure => term()}]),
        begin
            Told = ?MESSAGE:read(Map),
            View = ?PICTURE:view(0, ?PICTURE:heard(a@host, 0, Told, ?PICTURE:new())),
            #{counted := #{fresh := 1}, roles := Roles} = ?PICTURE:read(0, View),
            #{rates := Rates} = Told,
            Asked = fun(Count) -> [{Name, Count} || Name := _ <- Rates] end,
            Meter = ?SHARES:asked(1000, Asked(1), ?SHARES:asked(0, Asked(0), ?SHARES:new())),
            Shares = ?SHARES:shares(Rates, [Told, Told], {3, Meter}),
            IsShare = fun({_, Parts}) -> Parts > 0 andalso Parts < 700_000_000 end,
            map_size(Roles) =< 64 andalso lists:all(IsShare, Shares)
        end
    ).

odd_rows() ->
    oneof([
        term(),
        list(oneof([term(), {oneof([a, b]), odd(), odd(), odd(), odd(), oneof([ok, term()])}, {a, odd()}])),
        [{a, 1, 1, 1, 1, ok} | term()]
    ]).

odd() ->
    oneof([integer(), float(), 1 bsl 59, 1 bsl 3000, infinity]).

%% What is asked steadily is the demand after some looks, over a count that wraps, whatever came before.
prop_a_demand_follows_what_is_asked() ->
    ?FORALL(
        {Begin, Before, PerS, StepMs},
        {range(0, (1 bsl 64) - 1), range(0, 100000), range(0, 100000), range(50, 1500)},
        begin
            Count = fun(Asked) -> Asked rem (1 bsl 64) end,
            First = ?SHARES:asked(0, [{api, Count(Begin)}], ?SHARES:new()),
            Second = ?SHARES:asked(1000, [{api, Count(Begin + Before)}], First),
            Steps = lists:seq(1, 12),
            Meter = lists:foldl(
                fun(Step, Meter) ->
                    Asked = Begin + Before + Step * StepMs * PerS div 1000,
                    ?SHARES:asked(1000 + Step * StepMs, [{api, Count(Asked)}], Meter)
                end,
                Second,
                Steps
            ),
            [{api, Demand}] = ?SHARES:demands(Meter),
            [] = ?SHARES:demands(First),
            abs(Demand - PerS) =< 100000 / 1000 + 1000 / StepMs
        end
    ).
