%% The demo's three nodes: for real, and what is said of them.
-module(erlmcp_native_demo_nodes_tests).

-include_lib("eunit/include/eunit.hrl").

-export([run/0]).

-define(EXTREMES, [0, 1, 99_999, 1_000_000_000_000_000_000]).
-define(KEYS, [known, heard, control, rate, left, down]).

%% On a node of its own, so that this one is not distributed.
three_nodes_share_a_rate_and_one_is_killed_test_() ->
    {timeout, 180, fun() ->
        Node = erlmcp_native_demo_node:start(["-epmd_module", "erlmcp_native_demo_epmd"]),
        try
            {ok, {ok, _}} = erlmcp_native_demo_node:call(Node, application, ensure_all_started, [erlmcp_native]),
            {ok, {Shown, Result}} = erlmcp_native_demo_node:call(Node, ?MODULE, run, []),
            ?assertEqual([none | ?KEYS], Shown),
            ?assertMatch(#{known := {_, 200}, heard := {_, all}, left := {_, 100}, down := {_, nodedown}}, Result),
            #{rate := #{asked := Asked, granted := Granted}, control := #{sent := 200, answered := Answered}} = Result,
            ?assert(Answered > 0),
            ?assert(Granted > 0 andalso Granted < Asked),
            ?assert(erlmcp_native_demo_verdict:kept(erlmcp_native_demo_nodes_view:verdicts(Result))),
            %% It is alone again.
            On = fun(Module, Function, Arguments) ->
                {ok, Value} = erlmcp_native_demo_node:call(Node, Module, Function, Arguments),
                Value
            end,
            ?assertEqual(nonode@nohost, On(erlang, node, [])),
            ?assertEqual([], On(erlmcp_overload_rate, names, [])),
            ?assertEqual(undefined, On(erlang, whereis, [erlmcp_overload_cluster]))
        after
            ok = erlmcp_native_demo_node:stop(Node)
        end
    end}.

run() ->
    Caller = self(),
    Show = fun(Newest, _Result) -> Caller ! {shown, Newest}, ok end,
    Peers = erlmcp_native_demo_node:start_all(erlmcp_native_demo_nodes:arguments()),
    Result = erlmcp_native_demo_nodes:run(Show, ?MODULE_STRING, Peers),
    {shown(), Result}.

shown() ->
    receive
        {shown, Newest} -> [Newest | shown()]
    after 0 -> []
    end.

%% This node has not been told that it has no epmd.
where_it_cannot_listen_it_is_left_out_and_says_why_test() ->
    Peers = erlmcp_native_demo_node:start_all([[]]),
    Result = erlmcp_native_demo_nodes:run(fun(_, _) -> ok end, ?MODULE_STRING, Peers),
    ?assertEqual([gone], [erlmcp_native_demo_node:call(Peer, erlang, node, []) || Peer <- Peers]),
    ?assertEqual([skipped], maps:keys(Result)),
    [Line] = erlmcp_native_demo_nodes_view:lines(Result),
    ?assertMatch({match, _}, re:run(unicode:characters_to_list(Line), "No more nodes: .*epmd_module")),
    ?assertEqual([], erlmcp_native_demo_nodes_view:verdicts(Result)).

what_was_left_out_has_neither_table_nor_promise_test() ->
    ?assertEqual([], erlmcp_native_demo_nodes_view:lines(#{})),
    ?assertEqual([], erlmcp_native_demo_nodes_view:verdicts(#{})).

lines_fit_test_() ->
    Skipped = #{skipped => lists:duplicate(200, $x)},
    [
        {integer_to_list(N), ?_assertEqual([], [Line || Line <- Lines, width(Line) > 79])}
     || N <- ?EXTREMES,
        Result <- [Skipped, result(N), (result(N))#{known := not_seen, left := not_seen}],
        Lines <- [
            erlmcp_native_demo_nodes_view:frame(Result, 86_400, lists:duplicate(99, $x)),
            erlmcp_native_demo_frame:begins(nodes),
            erlmcp_native_demo_verdict:lines(erlmcp_native_demo_nodes_view:verdicts(Result))
        ]
    ].

a_frame_fits_24_rows_test() ->
    ?assert(length(erlmcp_native_demo_nodes_view:frame(result(1), 1, "")) =< 23).

promises_test_() ->
    Names = fun(Key, Changes) ->
        Verdicts = erlmcp_native_demo_nodes_view:verdicts(maps:merge(result(1), Changes)),
        [Name || #{name := Name, Key := false} <- Verdicts]
    end,
    Rate = fun(Granted) -> #{rate => #{asked => 9_000, granted => Granted, allowed => 1_000}} end,
    [
        ?_assertEqual([], Names(met, #{})),
        ?_assertEqual([], Names(met, Rate(1_000))),
        ?_assertMatch([_], Names(met, Rate(1_001))),
        ?_assertEqual([], Names(ok, Rate(3_000))),
        ?_assertEqual(["granted by the rate of three nodes"], Names(ok, Rate(3_001))),
        ?_assertEqual(["a killed node is out of all sums in"], Names(met, #{left => {3_000_001, 100}})),
        ?_assertEqual([], Names(ok, #{left => {3_000_001, 100}})),
        ?_assertEqual(["a killed node is out of all sums in"], Names(ok, #{left => not_seen})),
        ?_assertEqual(["control to it answers nodedown in"], Names(ok, #{down => not_seen}))
    ].

result(N) ->
    #{
        known => {N, 200},
        heard => {N, all},
        control => #{sent => 200, answered => 200, p99_us => N},
        rate => #{asked => N, granted => N, allowed => N},
        left => {N, 100},
        down => {N, nodedown}
    }.

width(Line) ->
    lists:sum([erlmcp_native_demo_text:width(Span) || Span <- Line]).
