%% What is counted of nodes that control messages did not reach.
-module(erlmcp_control_fates_tests).

-include_lib("eunit/include/eunit.hrl").

-define(F, erlmcp_control_fates).

fates_test_() ->
    {foreach,
        fun() -> ok = ?F:new() end,
        fun(ok) -> true = ets:delete(?F) end,
        [
            fun by_node_and_why/0,
            fun the_oldest_makes_room/0,
            fun an_hour_is_long_ago/0
        ]}.

by_node_and_why() ->
    [ok = ?F:count(Fate, a@b) || Fate <- [busy, nodedown, nodedown, not_supported, timeout, sent, answered, died]],
    ok = ?F:count(timeout, c@d),
    #{a@b := A, c@d := C} = ?F:read(),
    ?assertMatch(#{busy := 1, nodedown := 2, not_supported := 1, timeout := 1}, A),
    ?assertMatch(#{busy := 0, nodedown := 0, not_supported := 0, timeout := 1}, C),
    ?assert(abs(erlang:system_time(millisecond) - maps:get(last_ms, A)) < 60000),
    ok = ?F:reset(),
    ?assertEqual(#{}, ?F:read()).

the_oldest_makes_room() ->
    Nodes = [list_to_atom("n" ++ integer_to_list(N) ++ "@b") || N <- lists:seq(1, 64)],
    [ok = ?F:count(busy, Node) || Node <- Nodes],
    true = ets:update_element(?F, 'n7@b', {2, erlang:system_time(millisecond) - 1000}),
    ok = ?F:count(busy, one_more@b),
    ok = ?F:count(busy, 'n1@b'),
    ?assertEqual(lists:sort([one_more@b | Nodes -- ['n7@b']]), lists:sort(maps:keys(?F:read()))).

an_hour_is_long_ago() ->
    ok = ?F:count(busy, a@b),
    true = ets:update_element(?F, a@b, {2, erlang:system_time(millisecond) - 3600001}),
    ?assertEqual(#{}, ?F:read()),
    ok = ?F:count(busy, a@b),
    ?assertMatch(#{a@b := #{busy := 2}}, ?F:read()).

nobody_counts_while_there_is_no_table_test() ->
    ?assertEqual([ok, #{}, ok], [?F:count(busy, a@b), ?F:read(), ?F:reset()]).
