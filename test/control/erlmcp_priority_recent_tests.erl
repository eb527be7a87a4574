%% Aliases that a scheduler has just checked, and remembers: what it says of them is what is so.
-module(erlmcp_priority_recent_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_priority, [create_priority_alias/0, delete_priority_alias/1, is_priority_alias/1, send_urgent/2]).
-import(erlmcp_native_test_lib, [kill/1, in_process/1, parallel/2]).
-import(erlmcp_priority_test_lib, [receiver/0, in/2, alias_in/1, stop/1, words/1, with_words/2]).

%% Often enough to be remembered, in one time slice.
remembered(Alias) ->
    lists:duplicate(5, true) =:= [is_priority_alias(Alias) || _ <- lists:seq(1, 5)].

one_that_is_given_up_test() ->
    in_process(fun() ->
        [Alias, Other] = [create_priority_alias() || _ <- [1, 2]],
        ?assert(remembered(Alias)),
        ok = delete_priority_alias(Alias),
        ?assertNot(is_priority_alias(Alias)),
        ?assertError(badarg, send_urgent(Alias, late)),
        ?assert(remembered(Other))
    end).

%% Another process gives it up, on whatever scheduler.
one_that_another_gives_up_test() ->
    [
        begin
            Pid = receiver(),
            Alias = alias_in(Pid),
            ?assert(remembered(Alias)),
            ok = in(Pid, fun() -> delete_priority_alias(Alias) end),
            ?assertNot(is_priority_alias(Alias)),
            ok = stop(Pid)
        end
     || _ <- lists:seq(1, 200)
    ].

one_of_the_dead_test() ->
    [
        begin
            Pid = receiver(),
            unlink(Pid),
            Alias = alias_in(Pid),
            ?assert(remembered(Alias)),
            ok = kill(Pid),
            ?assertNot(is_priority_alias(Alias)),
            ?assertEqual(ok, send_urgent(Alias, late))
        end
     || _ <- lists:seq(1, 200)
    ].

%% More than are remembered, more often than copies are kept, by two at once.
very_many_test_() ->
    {timeout, 60, fun() ->
        in_process(fun() ->
            Aliases = [create_priority_alias() || _ <- lists:seq(1, 3_000)],
            Look = fun(Expected) ->
                Once = fun(_) -> [is_priority_alias(Alias) || Alias <- Aliases, _ <- lists:seq(1, 3)] end,
                Wanted = lists:append([lists:duplicate(3, Is) || Is <- Expected]),
                ?assertEqual([Wanted, Wanted], parallel(2, Once))
            end,
            Look([true || _ <- Aliases]),
            {Gone, _} = lists:partition(fun(Alias) -> erlang:phash2(Alias) rem 2 =:= 0 end, Aliases),
            lists:foreach(fun(Alias) -> ok = delete_priority_alias(Alias) end, Gone),
            Look([erlang:phash2(Alias) rem 2 =/= 0 || Alias <- Aliases])
        end)
    end}.

%% Its like, a number apart, is none.
what_is_like_one_is_none_test() ->
    in_process(fun() ->
        Alias = create_priority_alias(),
        ?assert(remembered(Alias)),
        [First | Rest] = words(Alias),
        Likes = [with_words(Alias, [First bxor (1 bsl Bit) | Rest]) || Bit <- lists:seq(0, 17)],
        ?assertEqual([], [Like || Like <- Likes, Like =/= Alias, _ <- [1, 2, 3], is_priority_alias(Like)]),
        %% The same, made anew, is it.
        ?assert(is_priority_alias(binary_to_term(term_to_binary(Alias))))
    end).

what_is_no_reference_is_none_test() ->
    [
        ?assertEqual(bad_destination, erlmcp_native:alias_check(Term))
     || Term <- [self(), 1, [], {}, #{}, <<>>, make_ref(), alias(), lists:seq(1, 10)]
    ].
