%% Rates that all nodes of a cluster have together, as one node sees them: its share, what is told of it, and what
%% becomes of buckets when it changes. Who works shares out is in the tests of the cluster.
-module(erlmcp_overload_rate_share_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_overload_rate, [define/2, info/1, take/2, take/3, take_all/1, peek/2, undefine/1]).

-define(WHOLE, 1_000_000_000).
-define(SHARED, #{rate => {100, hour}, scope => cluster}).

share_test_() ->
    {foreach, fun erlmcp_native_test_lib:start/0, fun stop/1, [
        {timeout, 60, Test}
     || Test <- [
            fun it_is_all_of_it_until_somebody_says_otherwise/0,
            fun a_share_is_of_rate_and_burst/0,
            fun only_shared_rates_have_one/0,
            fun what_is_defined_later_has_the_base/0,
            fun what_was_used_stays_in_proportion/0,
            fun a_small_share_is_one_in_a_longer_time/0,
            fun what_is_asked_for_is_counted/0,
            fun there_are_64_at_most/0,
            fun shares_survive_a_crash/0,
            fun why_says_the_share/0,
            fun odd_shares_are_told/0
        ]
    ]}.

stop(Level) ->
    ok = erlmcp_native:rate_set_shares([], ?WHOLE),
    erlmcp_native_test_lib:stop(Level).

share(Name, Share) ->
    ok = erlmcp_native:rate_set_shares([{Name, round(Share * ?WHOLE)}], ?WHOLE).

it_is_all_of_it_until_somebody_says_otherwise() ->
    ok = define(api, ?SHARED),
    ?assertMatch(#{scope := cluster, share := 1.0}, info(api)),
    ?assertEqual({ok, 99}, take(api, key)).

a_share_is_of_rate_and_burst() ->
    ok = define(api, ?SHARED),
    share(api, 0.25),
    ?assertMatch(#{rate := {100, hour}, burst := 100, share := 0.25}, info(api)),
    ?assertEqual({ok, 0}, take(api, key, 25)),
    {error, {rate_limited, Refused}} = take(api, key),
    #{limit := 100, retry_after_ms := RetryMs, reset_ms := ResetMs} = Refused,
    %% 25 an hour: one each 144 s, and all of it in an hour.
    ?assert(RetryMs > 100000 andalso RetryMs =< 144000),
    ?assert(ResetMs > 3500000 andalso ResetMs =< 3600000),
    ?assertEqual({error, {cost_exceeds_burst, #{name => api, burst => 25}}}, take(api, key, 26)).

only_shared_rates_have_one() ->
    ok = define(mine, #{rate => {100, hour}}),
    ok = erlmcp_native:rate_set_shares([{mine, 1}, {nobody, 1}], 1),
    ?assertMatch(#{scope := node, share := 1.0}, info(mine)),
    ?assertEqual({ok, 99}, take(mine, key)),
    ?assertEqual([], erlmcp_native:rate_shared()).

what_is_defined_later_has_the_base() ->
    ok = erlmcp_native:rate_set_shares([], ?WHOLE div 10),
    ok = define(api, ?SHARED),
    ?assertEqual({ok, 9}, take(api, key)),
    %% Changed, it keeps what it has.
    share(api, 0.5),
    ok = define(api, #{rate => {100, hour}, burst => 200, scope => cluster}),
    ?assertMatch(#{share := 0.5}, info(api)),
    %% Its own, it has all of it.
    ok = define(api, #{rate => {100, hour}}),
    ?assertMatch(#{scope := node, share := 1.0}, info(api)).

what_was_used_stays_in_proportion() ->
    ok = define(api, ?SHARED),
    {ok, 40} = take(api, key, 60),
    [share(api, Share) || Share <- [0.5, 0.2, 0.8, 0.1]],
    ?assertEqual({ok, 3}, peek(api, key)),
    share(api, 1.0),
    ?assertEqual({ok, 39}, peek(api, key)),
    ok = take_all([{api, key, 40}, {api, other, 100}]),
    ?assertMatch({error, {rate_limited, _}}, take(api, key)).

a_small_share_is_one_in_a_longer_time() ->
    ok = define(api, ?SHARED),
    share(api, 0.0001),
    ?assertEqual({ok, 0}, take(api, key)),
    {error, {rate_limited, #{retry_after_ms := Ms}}} = take(api, key),
    %% One in a hundred hours.
    ?assert(Ms > 359_000_000 andalso Ms =< 360_000_000).

what_is_asked_for_is_counted() ->
    ok = define(api, ?SHARED),
    ok = define(mine, #{rate => {100, hour}}),
    share(api, 0.5),
    {ok, _} = take(api, a, 50),
    {error, _} = take(api, a, 7),
    {error, _} = take_all([{mine, a, 1}, {api, a, 3}]),
    ?assertEqual([{api, 60, 0.5}], erlmcp_native:rate_shared()),
    ok = undefine(api),
    ?assertEqual([], erlmcp_native:rate_shared()).

there_are_64_at_most() ->
    Names = [list_to_atom("rate_" ++ integer_to_list(N)) || N <- lists:seq(1, 64)],
    [ok = define(Name, ?SHARED) || Name <- Names],
    ?assertError(system_limit, define(one_more, ?SHARED)),
    ok = define(one_more, #{rate => {1, second}}),
    ok = application:set_env(erlmcp_native, rates, #{configured => ?SHARED}),
    try
        ?assertMatch({error, {bad_config, #{key := rates}}}, erlmcp_native_app:reload_config()),
        ok = undefine(hd(Names)),
        ?assertEqual(ok, erlmcp_native_app:reload_config()),
        ?assertMatch(#{scope := cluster}, info(configured))
    after
        application:unset_env(erlmcp_native, rates)
    end.

shares_survive_a_crash() ->
    ok = define(api, ?SHARED),
    share(api, 0.25),
    erlmcp_native_test_lib:crash(),
    ?assertMatch(#{share := 0.25}, info(api)),
    {ok, Pid} = erlmcp_queue_limits:start_link(),
    unlink(Pid),
    ?assertMatch(#{share := 0.25}, info(api)).

why_says_the_share() ->
    {ok, Monitor} = erlmcp_overload_monitor:start_link(),
    ok = define(api, ?SHARED),
    share(api, 0.29),
    {ok, 28} = take(api, key),
    Text = erlmcp_overload:why_text(api),
    ?assertMatch({match, _}, re:run(Text, "100 an hour to each key, of all nodes together: 29 % here\n")),
    ?assertMatch({match, _}, re:run(Text, "key: 28 of 29 left")),
    share(api, 0.00012),
    Little = erlmcp_overload:why_text(api, other),
    ?assertMatch({match, _}, re:run(Little, "it has 1 of 1 left")),
    ?assertMatch({match, _}, re:run(Little, "together: 0.01 % here")),
    ok = gen_server:stop(Monitor).

odd_shares_are_told() ->
    Odd = [{[{api, -1}], 1}, {[{api, 0.5}], 1}, {[{"api", 1}], 1}, {[api], 1}, {[{api, 1} | odd], 1}, {none, 1}],
    [?assert(is_atom(erlmcp_native:rate_set_shares(Shares, Base))) || {Shares, Base} <- Odd ++ [{[], a}, {[], -1}]],
    ?assertEqual(bad_rate, erlmcp_native:rate_set_shares([{api, 1} || _ <- lists:seq(1, 65)], 1)),
    ?assertError(badarg, define(api, #{rate => {1, second}, scope => world})).
