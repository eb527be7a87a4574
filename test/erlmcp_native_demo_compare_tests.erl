%% The two nodes with which the demo begins: for real, and what is said of them.
-module(erlmcp_native_demo_compare_tests).

-include_lib("eunit/include/eunit.hrl").

-define(EXTREMES, [0, 1, 99_999, 1_000_000_000_000_000_000]).

%% It is not there any more after a moment, and neither are its requests.
a_naive_node_ends_by_itself_when_it_has_too_much_test_() ->
    {timeout, 120, fun() ->
        Node = #{peer := Peer} = erlmcp_native_demo_node:start([]),
        Monitor = monitor(process, Peer),
        _ = erlmcp_native_demo_node:call(Node, erlmcp_native_demo_program, start, [{bare, 1}]),
        receive
            {'DOWN', Monitor, process, _, _} -> ok
        after 60_000 -> error(lives)
        end,
        ?assertEqual(gone, erlmcp_native_demo_node:call(Node, erlmcp_native_demo_program, sample, [])),
        ok = erlmcp_native_demo_node:stop(Node)
    end}.

a_bounded_node_lives_and_refuses_test_() ->
    {timeout, 120, fun() ->
        Node = #{os_pid := OsPid} = erlmcp_native_demo_node:start([]),
        try
            Memory = erlmcp_native_demo_compare:memory(),
            {ok, ok} = erlmcp_native_demo_node:call(Node, erlmcp_native_demo_program, start, [{limited, Memory}]),
            Sample = fun() ->
                {ok, Sample} = erlmcp_native_demo_node:call(Node, erlmcp_native_demo_program, sample, []),
                Sample
            end,
            erlmcp_native_test_lib:eventually(fun() ->
                #{offered := Offered, refused := Refused, in_time := InTime, late := Late} = Sample(),
                InTime + Late > 0 andalso Refused > 0 andalso Offered > Refused
            end),
            #{longest := Longest} = Sample(),
            ?assert(Longest =< erlmcp_native_demo_program:limit() + 1)
        after
            ok = erlmcp_native_demo_node:stop(Node)
        end,
        ?assertNotEqual("", os:cmd("kill -0 " ++ OsPid ++ " 2>&1"))
    end}.

lines_fit_test_() ->
    [
        {lists:concat([N, " ", Ended]), ?_assertEqual([], [Line || Line <- Lines, width(Line) > 79])}
     || N <- ?EXTREMES,
        Ended <- [alive, killed],
        Results <- [[result(bare, N, Ended)], [result(bare, N, Ended), result(limited, N, Ended)]],
        Lines <- [
            erlmcp_native_demo_compare_view:frame(#{
                results => Results, ms => 28_800_000, page => lists:duplicate(99, $x)
            }),
            erlmcp_native_demo_compare_view:lines(Results),
            erlmcp_native_demo_compare_view:heading(bare),
            erlmcp_native_demo_compare_view:heading(limited),
            [erlmcp_native_demo_compare_view:plain(lists:last(Results), result(limited, 0, alive))],
            erlmcp_native_demo_verdict:lines(erlmcp_native_demo_compare_view:verdicts(both(N, Ended)))
        ]
    ].

a_frame_fits_24_rows_test() ->
    View = #{results => both(1, alive), ms => 5000, page => ""},
    ?assert(length(erlmcp_native_demo_compare_view:frame(View)) =< 23).

a_line_says_what_a_second_came_to_test() ->
    Old = result(limited, 100, alive),
    New = (result(limited, 1_100, alive))#{ms := 2_100},
    Line = unicode:characters_to_list(erlmcp_native_demo_compare_view:plain(New, Old#{ms := 100})),
    ?assertMatch({match, _}, re:run(Line, "^ +2 +1,500 +500 +500 +0 +1,100 ")).

what_was_not_compared_has_neither_table_nor_promise_test() ->
    ?assertEqual([], erlmcp_native_demo_compare_view:lines([])),
    ?assertEqual([], erlmcp_native_demo_compare_view:verdicts([])).

promises_test_() ->
    Verdicts = fun(Sample, Ended) ->
        [Bare, #{sample := Before} = Limited] = both(1, alive),
        erlmcp_native_demo_compare_view:verdicts([Bare, Limited#{sample := maps:merge(Before, Sample), ended := Ended}])
    end,
    Late = #{check_us => 100_001, late => 1, in_time => 0, refused => 0},
    Names = fun(Key, List) -> [Name || #{name := Name, Key := false} <- List] end,
    [
        ?_assertEqual([], Names(met, Verdicts(#{}, alive))),
        ?_assertEqual(["a bounded node: longest mailbox"], Names(ok, Verdicts(#{longest => 502}, alive))),
        ?_assertEqual(["and it lives"], Names(ok, Verdicts(#{}, killed))),
        ?_assertEqual(["its slowest health check"], Names(ok, Verdicts(#{check_us => 5_001_000}, alive))),
        %% A machine that has other things to do is to be told, and decides nothing.
        ?_assertEqual([], Names(ok, Verdicts(Late, alive))),
        ?_assertEqual(4, length(Names(met, Verdicts(Late, alive))))
    ].

both(N, Ended) ->
    [result(bare, N, Ended), result(limited, N, Ended)].

result(How, N, Ended) ->
    #{
        how => How,
        ms => max(1, min(N, 28_800_000)),
        ended => Ended,
        sample => #{
            offered => 3 * N, refused => N, in_time => N, late => 0, longest => min(N, 2_000_000),
            check_us => N, memory => N, waits => #{count => N, p50_us => N, p99_us => N, max_us => N}
        }
    }.

width(Line) ->
    lists:sum([erlmcp_native_demo_text:width(Span) || Span <- Line]).
