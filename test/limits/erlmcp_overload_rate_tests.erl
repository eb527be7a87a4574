-module(erlmcp_overload_rate_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_overload_rate, [define/2, undefine/1, names/0, info/1, take/2, take/3, take_all/1, peek/2]).
-import(erlmcp_overload_rate, [give_back/3, reset/2]).

%% Nothing comes back while a test runs.
-define(SLOW, {1, hour}).
-define(SLOW(Burst), #{rate => ?SLOW, burst => Burst}).

rate_test_() ->
    erlmcp_native_test_lib:with_service([
        fun a_burst_is_taken_and_then_refused/0,
        fun what_is_refused_says_when_to_come_back/0,
        fun who_comes_back_when_told_is_granted/0,
        fun a_cost_above_the_burst_is_never_granted/0,
        fun all_or_nothing_is_taken/0,
        fun what_is_asked_for_twice_is_asked_for_in_sum/0,
        fun peeking_changes_nothing/0,
        fun giving_back_ends_at_full/0,
        fun a_reset_fills/0,
        fun keys_are_told_apart_as_terms_are/0,
        fun large_keys_are_told_apart/0,
        fun a_key_of_a_megabyte_takes_no_room/0,
        fun the_emptiest_are_found_with_their_keys/0,
        fun a_change_keeps_the_proportion/0,
        fun the_same_definition_changes_nothing/0,
        fun the_burst_is_that_of_one_period_unless_given/0,
        fun names_come_and_go/0,
        fun further_keys_share_or_are_refused/0,
        fun full_keys_are_forgotten/0,
        fun a_million_keys_of_one_client_stay_within_bounds/0,
        fun many_callers_are_granted_no_more_than_there_is/0,
        fun rates_survive_a_crash_and_end_with_a_stop/0
    ]).

a_burst_is_taken_and_then_refused() ->
    ok = define(api, ?SLOW(3)),
    ?assertEqual([{ok, 2}, {ok, 1}, {ok, 0}], [take(api, tenant) || _ <- [1, 2, 3]]),
    ?assertMatch({error, {rate_limited, _}}, take(api, tenant)),
    ?assertEqual({ok, 2}, take(api, another)),
    ?assertMatch(#{rate := ?SLOW, burst := 3, keys := 2, taken := 4, refused := 1}, info(api)).

what_is_refused_says_when_to_come_back() ->
    ok = define(api, #{rate => {60, minute}, burst => 5}),
    {ok, 1} = take(api, ~"t", 4),
    {error, {rate_limited, Refused}} = take(api, ~"t", 3),
    #{retry_after_ms := RetryMs, reset_ms := ResetMs} = Refused,
    ?assertEqual(
        #{name => api, key => ~"t", limit => 60, remaining => 1}, maps:without([retry_after_ms, reset_ms], Refused)
    ),
    ?assert(RetryMs > 1000 andalso RetryMs =< 2000),
    ?assert(ResetMs > 3000 andalso ResetMs =< 4000).

who_comes_back_when_told_is_granted() ->
    ok = define(api, #{rate => {20, second}, burst => 1}),
    {ok, 0} = take(api, t),
    {error, {rate_limited, #{retry_after_ms := Ms}}} = take(api, t),
    receive after Ms -> ok end,
    ?assertEqual({ok, 0}, take(api, t)).

a_cost_above_the_burst_is_never_granted() ->
    ok = define(api, ?SLOW(3)),
    Exceeds = {error, {cost_exceeds_burst, #{name => api, burst => 3}}},
    %% Of a key that is new, and of one that is not.
    ?assertEqual(Exceeds, take(api, t, 4)),
    {ok, 2} = take(api, t),
    ?assertEqual(Exceeds, take(api, t, 4)),
    ?assertEqual(Exceeds, take(api, t, 16#ffffffffffffffff)),
    ?assertEqual(Exceeds, take_all([{api, t, 1}, {api, other, 4}])),
    ?assertEqual(Exceeds, take_all([{api, other, 2}, {api, other, 2}])),
    ?assertEqual({ok, 1}, take(api, t)).

all_or_nothing_is_taken() ->
    ok = define(tenant, ?SLOW(2)),
    ok = define(user, ?SLOW(1)),
    ok = take_all([{tenant, 1, 1}, {user, u, 1}]),
    ?assertMatch({error, {rate_limited, #{name := user, key := u}}}, take_all([{tenant, 1, 1}, {user, u, 1}])),
    ?assertEqual({ok, 0}, peek(tenant, 1)),
    ok = take_all([{user, v, 1}, {tenant, 1, 1}]),
    ?assertMatch({error, {rate_limited, #{name := tenant}}}, take_all([{tenant, 1, 1}, {user, u, 1}])),
    ?assertEqual(ok, take_all([])),
    ?assertMatch(#{taken := 2, refused := 1}, info(tenant)),
    ?assertMatch(#{taken := 2, refused := 1}, info(user)).

what_is_asked_for_twice_is_asked_for_in_sum() ->
    ok = define(api, ?SLOW(3)),
    ok = take_all([{api, t, 1}, {api, t, 1}]),
    %% What is told is what is there, and not what would be left of it by then.
    {error, {rate_limited, #{remaining := 1, reset_ms := ResetMs}}} = take_all([{api, t, 1}, {api, t, 1}]),
    ?assert(ResetMs =< 2 * 3_600_000),
    ?assertEqual({ok, 0}, take(api, t)).

peeking_changes_nothing() ->
    ok = define(api, ?SLOW(2)),
    ?assertEqual([{ok, 1}, {ok, 1}], [peek(api, t), peek(api, t)]),
    ?assertMatch(#{keys := 0, taken := 0}, info(api)),
    {ok, 0} = take(api, t, 2),
    {error, {rate_limited, Peeked}} = peek(api, t),
    {error, {rate_limited, Taken}} = take(api, t),
    ?assertEqual(maps:remove(retry_after_ms, Peeked), maps:remove(retry_after_ms, Taken#{
        reset_ms := maps:get(reset_ms, Peeked)
    })).

giving_back_ends_at_full() ->
    ok = define(api, ?SLOW(3)),
    {ok, 0} = take(api, t, 3),
    ok = give_back(api, t, 1),
    ?assertEqual({ok, 0}, peek(api, t)),
    ok = give_back(api, t, 16#ffffffffffffffff),
    ?assertEqual({ok, 2}, peek(api, t)),
    ok = give_back(api, never_seen, 9),
    ?assertEqual({ok, 2}, peek(api, never_seen)).

a_reset_fills() ->
    ok = define(api, ?SLOW(3)),
    {ok, 0} = take(api, t, 3),
    ok = reset(api, t),
    ok = reset(api, never_seen),
    ?assertEqual({ok, 2}, take(api, t)).

keys_are_told_apart_as_terms_are() ->
    ok = define(api, ?SLOW(1)),
    Text = "a text, and so a list of integers",
    Keys = [
        1, 1.0, -1, 0.0, -0.0, 1 bsl 58, 1 bsl 62, 1 bsl 63, 1 bsl 64, -(1 bsl 63), -(1 bsl 64), a, 'A', [], {}, #{},
        ~"", ~"a", <<1:1>>, <<0:9>>, "a", [a], [[a]], [a | b], [[], a], {a}, {{a}}, {a, a}, {[a], a}, {a, [a]},
        {127, 0, 0, 1}, ~"127.0.0.1", self(), spawn(fun() -> ok end), make_ref(), fun erlang:abs/1, #{a => 1},
        #{a => 2}, {1, ~"a"}, {1, ~"b"}, Text, list_to_binary(Text), list_to_tuple(Text), {api, t}, [{api, t}],
        list_to_tuple(lists:duplicate(255, a)), list_to_tuple(lists:duplicate(256, a)), {<<1:8000>>}, {<<2:8000>>},
        hd(erlang:ports())
    ],
    [?assertEqual({Key, {ok, 0}}, {Key, take(api, Key)}) || Key <- Keys],
    %% Made anew, so that none is the same in memory.
    Again = [binary_to_term(term_to_binary(Key)) || Key <- Keys],
    [?assertMatch({error, {rate_limited, #{key := Key}}}, take(api, Key)) || Key <- Again],
    ?assertEqual(length(Keys), maps:get(keys, info(api))).

%% By how long they are, and by what is in the last byte.
large_keys_are_told_apart() ->
    ok = define(api, ?SLOW(1)),
    Keys = [
        <<0:Bytes/unit:8, Last>>
     || Bytes <- [34, 35, 36, 37, 38, 39, 250, 251, 252, 253, 254, 255, 256, 70000], Last <- [0, 1]
    ],
    [?assertEqual({ok, 0}, take(api, Key)) || Key <- Keys],
    [?assertMatch({error, _}, take(api, Key)) || Key <- Keys].

a_key_of_a_megabyte_takes_no_room() ->
    ok = define(api, ?SLOW(1)),
    Before = erlmcp_native:native_memory(),
    Keys = [{Number, binary:copy(~"x", 1 bsl 20)} || Number <- lists:seq(1, 20)],
    [{ok, 0} = take(api, Key) || Key <- Keys],
    [?assertMatch({error, {rate_limited, #{key := Key}}}, take(api, Key)) || Key <- Keys],
    ?assertMatch({error, _}, take_all([{api, small, 1}, {api, hd(Keys), 1}])),
    ?assertEqual({ok, 0}, peek(api, small)),
    ok = give_back(api, hd(Keys), 1),
    ok = reset(api, lists:last(Keys)),
    ?assertEqual([{ok, 0}, {ok, 0}], [take(api, hd(Keys)), take(api, lists:last(Keys))]),
    [?assert(erlmcp_native:native_memory() - Before < 1 bsl 20) || is_integer(Before)].

the_emptiest_are_found_with_their_keys() ->
    ok = define(api, ?SLOW(100)),
    Keys = [
        a, self(), 1, -(1 bsl 40), 1 bsl 80, 1.5, ~"", ~"tenant", <<1:3>>, [], [a, [~"x" | [1]], {}], {},
        {~"t", [1, 2], 2.5}, [a | b], #{a => 1}, make_ref(), fun lists:map/2, lists:seq(1, 60),
        {deep, {deep, [[[[x]]]]}}
    ],
    Costs = lists:enumerate(Keys),
    [{ok, _} = take(api, Key, Cost) || {Cost, Key} <- Costs],
    {0, Rows} = erlmcp_native:rate_emptiest(api, 64),
    ?assertEqual(
        lists:reverse([{{ok, Key}, 100 - Cost} || {Cost, Key} <- Costs]),
        [{erlmcp_native_rate:unpack(Key), Left} || {Key, Left, 0, _} <- Rows]
    ),
    {ok, 0} = take(api, binary:copy(~"long", 100), 100),
    {1, [{{digest, <<_:256>>}, 0, RetryNs, ResetNs}]} = erlmcp_native:rate_emptiest(api, 1),
    ?assert(RetryNs > 0 andalso RetryNs < ResetNs),
    ok = define(small, #{rate => ?SLOW, burst => 1, max_keys => 1}),
    _ = [take(small, Key) || Key <- [one, further, another]],
    {2, Small} = erlmcp_native:rate_emptiest(small, 5),
    ?assertEqual([share, {ok, one}], lists:sort([erlmcp_native_rate:unpack(Key) || {Key, 0, _, _} <- Small])),
    ?assertEqual(bad_name, erlmcp_native:rate_emptiest(nobody, 1)).

a_change_keeps_the_proportion() ->
    ok = define(api, ?SLOW(10)),
    {ok, 4} = take(api, t, 6),
    {ok, 0} = take(api, empty, 10),
    ok = define(api, #{rate => {1000, hour}, burst => 1000}),
    ?assertEqual({ok, 399}, take(api, t)),
    ?assertMatch({error, _}, take(api, empty, 10)),
    ?assertEqual({ok, 999}, take(api, full)),
    ok = define(api, ?SLOW(10)),
    ?assertEqual({ok, 2}, take(api, t)),
    ?assertMatch(#{keys := 3, burst := 10, taken := 19, refused := 1}, info(api)).

the_same_definition_changes_nothing() ->
    ok = define(api, ?SLOW(2)),
    {ok, 1} = take(api, t),
    ok = define(api, [{rate, ?SLOW}, {burst, 2}]),
    ?assertEqual({ok, 0}, take(api, t)).

the_burst_is_that_of_one_period_unless_given() ->
    ok = define(api, #{rate => {7, hour}}),
    ?assertMatch(#{burst := 7, max_keys := 1000000, overflow := share}, info(api)),
    ?assertEqual({ok, 0}, take(api, t, 7)).

names_come_and_go() ->
    ?assertEqual([], names()),
    ok = define(b, ?SLOW(1)),
    ok = define(a, ?SLOW(1)),
    ?assertEqual([a, b], names()),
    {ok, 0} = take(a, t),
    ok = undefine(a),
    ?assertEqual([b], names()),
    ?assertError(badarg, take(a, t)),
    ok = define(a, ?SLOW(1)),
    ?assertEqual({ok, 0}, take(a, t)),
    ?assertMatch(#{keys := 1}, info(a)).

further_keys_share_or_are_refused() ->
    ok = define(sharing, #{rate => ?SLOW, burst => 2, max_keys => 10}),
    ok = define(refusing, #{rate => ?SLOW, burst => 2, max_keys => 10, overflow => refuse}),
    [{ok, 1} = take(Name, Key) || Name <- [sharing, refusing], Key <- lists:seq(1, 10)],
    ?assertEqual([{ok, 1}, {ok, 0}], [take(sharing, Key) || Key <- [11, 12]]),
    ?assertMatch({error, {rate_limited, #{key := 13}}}, take(sharing, 13)),
    ?assertMatch({error, {rate_limited, #{key := 13}}}, peek(sharing, 13)),
    ok = give_back(sharing, 14, 1),
    ?assertEqual(ok, take_all([{sharing, 1, 1}, {sharing, 15, 1}])),
    ?assertMatch({error, _}, take_all([{sharing, 2, 1}, {sharing, 16, 1}])),
    ?assertEqual({ok, 0}, take(sharing, 2)),
    Refused = #{name => refusing, key => 11, limit => 1, remaining => 0, retry_after_ms => 1000, reset_ms => 1000},
    ?assertEqual({error, {rate_limited, Refused}}, take(refusing, 11)),
    ?assertEqual({error, {rate_limited, Refused}}, peek(refusing, 11)),
    ?assertEqual({error, {rate_limited, Refused}}, take_all([{refusing, 1, 1}, {refusing, 11, 1}])),
    ?assertEqual({ok, 0}, take(refusing, 1)),
    ?assertMatch(#{keys := 10}, info(sharing)),
    ?assertMatch(#{keys := 10}, info(refusing)).

full_keys_are_forgotten() ->
    ok = define(quick, #{rate => {1000000000, second}, burst => 1, max_keys => 100}),
    ok = define(slow, ?SLOW(1)),
    [{ok, 0} = take(Name, Key) || Name <- [quick, slow], Key <- lists:seq(1, 100)],
    erlmcp_native_test_lib:eventually(fun() ->
        none = erlmcp_native:rate_tidy(0),
        maps:get(keys, info(quick)) =:= 0
    end),
    ?assertMatch(#{keys := 100}, info(slow)),
    ?assertMatch({error, _}, take(slow, 1)),
    ?assertEqual({ok, 0}, take(quick, 1)).

a_million_keys_of_one_client_stay_within_bounds() ->
    ok = define(api, #{rate => ?SLOW, burst => 1, max_keys => 1000}),
    [_ = take(api, {client, Number}) || Number <- lists:seq(1, 1000000)],
    ?assertMatch(#{keys := 1000, taken := 1001, refused := 998999}, info(api)).

many_callers_are_granted_no_more_than_there_is() ->
    ok = define(api, #{rate => ?SLOW, burst => 10000}),
    Take = fun() -> exit({taken, length([ok || _ <- lists:seq(1, 1000), {ok, _} <- [take(api, t)]])}) end,
    Callers = [spawn_monitor(Take) || _ <- lists:seq(1, 64)],
    Taken = [receive {'DOWN', Monitor, process, _, {taken, Count}} -> Count end || {_, Monitor} <- Callers],
    ?assertEqual(10000, lists:sum(Taken)).

rates_survive_a_crash_and_end_with_a_stop() ->
    ok = define(api, ?SLOW(2)),
    {ok, 1} = take(api, t),
    erlmcp_native_test_lib:crash(),
    ?assertEqual({ok, 0}, take(api, t)),
    {ok, Pid} = erlmcp_queue_limits:start_link(),
    ?assertMatch({error, _}, take(api, t)),
    ok = gen_server:stop(Pid),
    ?assertExit({noproc, {erlmcp_overload_rate, take, [api, t]}}, take(api, t)),
    {ok, Next} = erlmcp_queue_limits:start_link(),
    unlink(Next),
    ?assertEqual([], names()).
