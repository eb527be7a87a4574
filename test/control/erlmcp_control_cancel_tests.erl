%% Tokens: who cancels them, who hears of it, and what is left over.
-module(erlmcp_control_cancel_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_control_cancel, [new/1, is_cancelled/1, reason/1, done/1, cancel/2, cancel/3, get_stats/0]).
-import(erlmcp_native_test_lib, [eventually/1, idle/0, kill/1, dead/0, in_process/1, parallel/2]).

-define(C, erlmcp_control_test_lib).
-define(LIMITS, erlmcp_queue_limits).
-define(LIB, erlmcp_native_test_lib).
-define(DEADLINE_MS, 10000).

cancel_test_() ->
    with_both([
        fun a_token_is_cancelled/0,
        fun by_its_id/0,
        fun ids_are_of_an_owner/0,
        fun an_id_is_any_term/0,
        fun equal_ids_are_one/0,
        fun like_ids_are_two/0,
        fun an_id_that_is_known/0,
        fun without_an_id/0,
        fun the_first_wins/0,
        fun many_at_once/0,
        fun done_is_done/0,
        fun from_another_process/0,
        fun a_token_that_nobody_has/0,
        fun a_token_in_a_message/0
    ]).

owners_test_() ->
    with_both([
        fun an_owner_dies/0,
        fun an_owner_that_is_dead/0,
        fun a_token_after_its_owner/0,
        fun an_owner_with_very_many/0,
        fun the_caller_is_the_owner/0
    ]).

permits_test_() ->
    with_both([
        fun a_cancel_frees_the_place/0,
        fun an_end_frees_the_place/0,
        fun a_place_that_was_given_back/0,
        fun a_death_frees_the_place/0,
        fun what_is_cancelled_is_no_drain/0,
        fun a_permit_is_kept/0,
        fun a_permit_that_was_not_taken/0,
        fun a_permit_of_a_table_of_its_own/0
    ]).

messages_test_() ->
    with_both([
        fun ahead_of_what_waits/0,
        fun an_alias_that_is_gone/0,
        fun a_canceller_that_is_killed_before_it_has_sent/0,
        fun a_telling_that_was_told/0,
        fun nobody_tells_twice/0,
        fun a_notifier_that_is_away/0,
        fun a_service_that_is_away/0
    ]).

%% Places are the queue limits'.
with_both(Tests) ->
    {foreach,
        fun() ->
            Level = ?LIB:start(),
            ok = ?C:restart(),
            Level
        end,
        fun(Level) ->
            _ = ?C:stop(Level),
            ?LIB:stop(Level)
        end,
        [{timeout, 60, Test} || Test <- Tests]}.

made_alias() ->
    erlmcp_priority:create_priority_alias().

told() ->
    receive
        {urgent, {cancelled, Id, Reason}} -> {Id, Reason}
    after ?DEADLINE_MS -> error({not_told, process_info(self(), messages)})
    end.

not_told() ->
    receive
        {urgent, Message} -> error({told, Message})
    after 0 -> ok
    end.

count(Key) ->
    maps:get(Key, get_stats()).

counted(Way) ->
    maps:get(Way, count(cancelled)).

a_token_is_cancelled() ->
    Token = new(#{}),
    ?assertEqual([false, undefined], [is_cancelled(Token), reason(Token)]),
    ?assertEqual(1, count(tokens)),
    ?assertEqual(ok, cancel(Token, ~"enough")),
    ?assertEqual([true, ~"enough"], [is_cancelled(Token), reason(Token)]),
    ?assertEqual(ok, done(Token)),
    ?assertEqual([true, ~"enough"], [is_cancelled(Token), reason(Token)]),
    ?assertEqual([0, 0], [count(tokens), count(tombstones)]).

by_its_id() ->
    Token = new([{id, 17}, {notify, made_alias()}]),
    ?assertEqual(ok, cancel(17, {because, "this"})),
    ?assertEqual({17, {because, "this"}}, told()),
    ?assertEqual([true, {because, "this"}], [is_cancelled(Token), reason(Token)]).

ids_are_of_an_owner() ->
    [A, B] = [idle(), idle()],
    [OfA, OfB, Mine] = [new(#{id => 1, owner => Owner}) || Owner <- [A, B, self()]],
    ok = cancel(A, 1, x),
    ?assertEqual([true, false, false], [is_cancelled(Token) || Token <- [OfA, OfB, Mine]]),
    ok = cancel(1, y),
    ?assertEqual([x, undefined, y], [reason(Token) || Token <- [OfA, OfB, Mine]]),
    [kill(Pid) || Pid <- [A, B]].

ids() ->
    [
        0, -1, 1 bsl 59, (1 bsl 59) - 1, -(1 bsl 59), 1 bsl 64, -(1 bsl 70), 1.0, 0.0, -0.0, '', a, undefined_, true,
        ~"", ~"1", <<1:1>>, binary:copy(~"x", 100_000), "", "1", [a | b], {}, {~"1"}, {~""}, {a, 1}, #{}, #{a => 1},
        #{N => N || N <- lists:seq(1, 100)}, self(), make_ref(), fun erlang:self/0, fun() -> ok end,
        lists:seq(1, 300_000)
    ].

an_id_is_any_term() ->
    Alias = made_alias(),
    [
        begin
            Token = new(#{id => Id, notify => Alias}),
            ok = cancel(Id, Id),
            ?assertEqual({true, Id, {Id, Id}}, {is_cancelled(Token), reason(Token), told()})
        end
     || Id <- ids()
    ],
    ?assertEqual(0, count(tombstones)).

%% Built in different ways, and from parts of others.
equal_ids_are_one() ->
    <<_, Part:10/binary, _/binary>> = binary:copy(~"0123456789", 20),
    Forth = maps:from_list([{N, N} || N <- lists:seq(1, 100)]),
    Back = lists:foldr(fun(N, Map) -> Map#{N => N} end, #{}, lists:seq(1, 100)),
    [
        begin
            Token = new(#{id => One}),
            ok = cancel(Other, x),
            ?assert(is_cancelled(Token))
        end
     || {One, Other} <- [{Part, ~"1234567890"}, {{Part}, {~"1234567890"}}, {Forth, Back}, {[Forth], [Back]}]
    ].

like_ids_are_two() ->
    Ids = [1, 1.0, ~"1", "1", '1', {~"1"}, {1}, [1], 0.0, -0.0, [], {}, '', ~"", {~""}, term_to_binary(1)],
    Tokens = [new(#{id => Id}) || Id <- Ids],
    ?assertEqual([], [T || T <- Tokens, not is_reference(T)]),
    [cancel(Id, {Id}) || Id <- Ids],
    ?assertEqual([{Id} || Id <- Ids], [reason(Token) || Token <- Tokens]).

an_id_that_is_known() ->
    {ok, Permit} = ?LIMITS:acquire(session, a),
    Token = new(#{id => 1}),
    ?assertEqual({error, already_known}, new(#{id => 1, permit => Permit, notify => made_alias()})),
    ok = cancel(Token, x),
    %% Cancelled, but not done.
    ?assertEqual({error, already_known}, new(#{id => 1})),
    ok = not_told(),
    ?assertEqual(1, ?LIMITS:get_queue_depth(session, a)),
    ok = done(Token),
    ?assert(is_reference(new(#{id => 1, permit => Permit}))).

without_an_id() ->
    Alias = made_alias(),
    [One, Other] = [new(#{notify => Alias}) || _ <- "ab"],
    ok = cancel(One, x),
    ?assertEqual([{undefined, x}, true, false], [told(), is_cancelled(One), is_cancelled(Other)]),
    ?assertEqual(2, count(tokens)),
    [ok, ok] = [done(Token) || Token <- [One, Other]],
    ?assertEqual(0, count(tokens)).

the_first_wins() ->
    Token = new(#{id => 1, notify => made_alias()}),
    Before = counted(asked),
    [ok, ok, ok] = [cancel(What, Why) || {What, Why} <- [{1, first}, {Token, second}, {1, third}]],
    ?assertEqual([first, {1, first}], [reason(Token), told()]),
    ok = not_told(),
    ?assertEqual(1, counted(asked) - Before).

many_at_once() ->
    Alias = made_alias(),
    Owner = self(),
    [
        begin
            {ok, Permit} = ?LIMITS:acquire(session, a),
            Token = new(#{id => N, notify => Alias, permit => Permit}),
            parallel(8, fun
                (Nth) when Nth rem 2 =:= 0 -> cancel(Token, Nth);
                (Nth) -> cancel(Owner, N, Nth)
            end),
            ?assertEqual({N, reason(Token)}, told()),
            ok = not_told(),
            ok = done(Token)
        end
     || N <- lists:seq(1, 50)
    ],
    ?assertEqual([0, 0, 0], [?LIMITS:get_queue_depth(session, a), count(tokens), count(tombstones)]).

done_is_done() ->
    Token = new(#{id => 1, notify => made_alias()}),
    ?assertEqual([ok, ok], [done(Token), done(Token)]),
    ?assertEqual(ok, cancel(Token, x)),
    ?assertEqual([false, undefined], [is_cancelled(Token), reason(Token)]),
    ok = not_told().

from_another_process() ->
    Token = new(#{id => 1, notify => made_alias()}),
    ok = in_process(fun() -> false = is_cancelled(Token), ok = cancel(Token, there), there = reason(Token), ok end),
    ?assertEqual({1, there}, told()),
    ok = in_process(fun() -> done(Token) end),
    ?assertEqual(0, count(tokens)).

a_token_that_nobody_has() ->
    {ok, Permit} = ?LIMITS:acquire(session, a),
    Owner = self(),
    in_process(fun() -> new(#{id => 1, owner => Owner, permit => Permit}), ok end),
    eventually(fun() -> count(tokens) =:= 0 end),
    ?assertEqual([0, {error, released}], [?LIMITS:get_queue_depth(session, a), ?LIMITS:release(Permit)]),
    ?assert(is_reference(new(#{id => 1}))).

a_token_in_a_message() ->
    Owner = self(),
    Holder = idle(),
    in_process(fun() -> Holder ! new(#{id => 1, owner => Owner}), ok end),
    ?assertEqual([1, {error, already_known}], [count(tokens), new(#{id => 1})]),
    kill(Holder),
    eventually(fun() -> count(tokens) =:= 0 end).

an_owner_dies() ->
    Owner = idle(),
    Alias = made_alias(),
    Before = counted(owner_down),
    Tokens = [new(#{id => Id, owner => Owner, notify => Alias}) || Id <- [1, 2, ~"3"]],
    Mine = new(#{id => 1}),
    kill(Owner),
    ?assertEqual([{Id, owner_down} || Id <- [1, 2, ~"3"]], lists:sort([told() || _ <- Tokens])),
    ?assertEqual([owner_down, owner_down, owner_down], [reason(Token) || Token <- Tokens]),
    ok = not_told(),
    ?assertEqual([false, 1, 3], [is_cancelled(Mine), count(tokens), counted(owner_down) - Before]).

an_owner_that_is_dead() ->
    {ok, Permit} = ?LIMITS:acquire(session, a),
    Token = new(#{id => 1, owner => dead(), permit => Permit, notify => made_alias()}),
    ?assertEqual([true, owner_down, {1, owner_down}], [is_cancelled(Token), reason(Token), told()]),
    ?assertEqual([0, 0], [?LIMITS:get_queue_depth(session, a), count(tokens)]),
    ?assertEqual(ok, cancel(dead(), 1, x)),
    ?assertEqual(0, count(tombstones)).

a_token_after_its_owner() ->
    Owner = idle(),
    Token = new(#{id => 1, owner => Owner}),
    kill(Owner),
    eventually(fun() -> is_cancelled(Token) end),
    ?assertEqual([ok, ok], [cancel(Token, x), cancel(Owner, 1, x)]),
    ?assertEqual([owner_down, ok, ok, true], [reason(Token), done(Token), done(Token), is_cancelled(Token)]).

%% More than are settled where the death is heard of.
an_owner_with_very_many() ->
    Many = 20_000,
    Owner = idle(),
    Alias = made_alias(),
    Tokens = [
        begin
            {ok, Permit} = ?LIMITS:acquire(many, a),
            new(#{id => Id, owner => Owner, permit => Permit, notify => Alias})
        end
     || Id <- lists:seq(1, Many), ok =:= ?LIMITS:set_limit(many, infinity)
    ],
    [ok = cancel(Owner, {early, Id}, x) || Id <- lists:seq(1, 2000)],
    ?assertEqual([Many, 2000], [count(tokens), count(tombstones)]),
    kill(Owner),
    Ids = [Id || {Id, owner_down} <- [told() || _ <- Tokens]],
    ?assertEqual(lists:seq(1, Many), lists:sort(Ids)),
    ok = not_told(),
    ?assert(lists:all(fun erlmcp_control_cancel:is_cancelled/1, Tokens)),
    eventually(fun() -> {count(tokens), count(tombstones)} =:= {0, 0} end),
    ?assertEqual(0, ?LIMITS:get_queue_depth(many, a)).

the_caller_is_the_owner() ->
    Test = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> Test ! new(#{id => 1}), receive go -> ok end end),
    Token = receive Made -> Made end,
    ok = cancel(1, not_mine),
    ?assertEqual(false, is_cancelled(Token)),
    Pid ! go,
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
    eventually(fun() -> reason(Token) =:= owner_down end).

a_cancel_frees_the_place() ->
    {ok, Permit} = ?LIMITS:acquire(session, a),
    Token = new(#{permit => Permit}),
    ?assertEqual(1, ?LIMITS:get_queue_depth(session, a)),
    ok = cancel(Token, x),
    ?assertEqual(0, ?LIMITS:get_queue_depth(session, a)),
    ?assertEqual([{error, released}, ok], [?LIMITS:release(Permit), done(Token)]).

an_end_frees_the_place() ->
    {ok, Permit} = ?LIMITS:acquire(session, a),
    Token = new(#{permit => Permit}),
    [ok, ok] = [done(Token), done(Token)],
    ?assertEqual([0, {error, released}], [?LIMITS:get_queue_depth(session, a), ?LIMITS:release(Permit)]).

a_place_that_was_given_back() ->
    {ok, Permit} = ?LIMITS:acquire(session, a),
    Token = new(#{permit => Permit}),
    {ok, _Other} = Acquired = ?LIMITS:acquire(session, a),
    ok = ?LIMITS:release(Permit),
    ok = cancel(Token, x),
    ?assertEqual(1, ?LIMITS:get_queue_depth(session, a)),
    _ = is_tuple(Acquired).

a_death_frees_the_place() ->
    Owner = idle(),
    {ok, Permit} = ?LIMITS:acquire(session, a),
    Token = new(#{owner => Owner, permit => Permit}),
    kill(Owner),
    eventually(fun() -> ?LIMITS:get_queue_depth(session, a) =:= 0 end),
    ?assertEqual([{error, released}, true], [?LIMITS:release(Permit), is_cancelled(Token)]).

%% Only what was done says how fast the owner of the places is.
what_is_cancelled_is_no_drain() ->
    Drain = fun(Role) -> element(2, erlmcp_native:limits_owner(own, Role, a)) end,
    [
        begin
            Tokens = [new(#{permit => element(2, ?LIMITS:acquire(Role, a))}) || _ <- "ab"],
            UntilNs = erlang:monotonic_time(nanosecond) + 5_000_000,
            eventually(fun() -> erlang:monotonic_time(nanosecond) >= UntilNs end),
            [ok = End(Token) || Token <- Tokens],
            ?assertEqual(0, ?LIMITS:get_queue_depth(Role, a)),
            ?assertEqual(IsDrain, is_float(Drain(Role)))
        end
     || {Role, IsDrain, End} <- [
            {cancelled, false, fun(Token) -> cancel(Token, x) end}, {worked, true, fun erlmcp_control_cancel:done/1}
        ]
    ].

%% By the token, although no term refers to it.
a_permit_is_kept() ->
    Token = new(#{permit => element(2, ?LIMITS:acquire(session, a))}),
    [true = erlang:garbage_collect() || _ <- "ab"],
    ?assertEqual(1, ?LIMITS:get_queue_depth(session, a)),
    ok = done(Token),
    ?assertEqual(0, ?LIMITS:get_queue_depth(session, a)).

a_permit_that_was_not_taken() ->
    {ok, Permit} = ?LIMITS:acquire(session, dead()),
    Token = new(#{permit => Permit}),
    ?assertEqual([ok, ok], [cancel(Token, x), done(Token)]).

a_permit_of_a_table_of_its_own() ->
    Table = erlmcp_native:limits_new([{default, 10}]),
    {ok, Permit} = erlmcp_native:limits_acquire(Table, session, a),
    Token = new(#{permit => Permit}),
    ok = cancel(Token, x),
    ?assertEqual(0, erlmcp_native:limits_depth(Table, session, a)).

ahead_of_what_waits() ->
    Token = new(#{id => 1, notify => made_alias()}),
    [self() ! {data, N} || N <- lists:seq(1, 1000)],
    ok = cancel(Token, x),
    %% A receive alone looks at what was taken in before.
    ?assertEqual({message_queue_len, 1001}, process_info(self(), message_queue_len)),
    ?assertEqual({urgent, {cancelled, 1, x}}, receive First -> First end),
    [receive {data, N} -> ok end || N <- lists:seq(1, 1000)].

an_alias_that_is_gone() ->
    Dead = in_process(fun() -> made_alias() end),
    Token = new(#{notify => Dead}),
    ?assertEqual([ok, true], [cancel(Token, x), is_cancelled(Token)]),
    Mine = made_alias(),
    Other = new([{notify, Mine}]),
    ok = erlmcp_priority:delete_priority_alias(Mine),
    ?assertEqual(ok, cancel(Other, x)),
    ok = not_told().

%% As far as native code is concerned, it has cancelled.
a_canceller_that_is_killed_before_it_has_sent() ->
    Token = new(#{id => 1, notify => made_alias()}),
    in_process(fun() -> {tell, _} = erlmcp_native:cancel_token(Token, why), ok end),
    ?assertEqual({1, why}, told()),
    ok = not_told().

a_telling_that_was_told() ->
    Token = new(#{id => 1, notify => made_alias()}),
    in_process(fun() ->
        {tell, Telling} = erlmcp_native:cancel_token(Token, why),
        {_, 1, why} = erlmcp_native:cancel_notice(Telling),
        erlmcp_native:cancel_told(Telling)
    end),
    _ = new(#{id => 2, owner => dead(), notify => made_alias()}),
    ?assertEqual({2, owner_down}, told()),
    ?assertEqual(0, count(notices)),
    ok = not_told().

nobody_tells_twice() ->
    Alias = made_alias(),
    Owner = idle(),
    Tokens = [new(#{id => Id, owner => Owner, notify => Alias}) || Id <- lists:seq(1, 300)],
    Cancelling = [spawn_monitor(fun() -> cancel(Owner, Id, asked) end) || Id <- lists:seq(1, 300)],
    kill(Owner),
    [receive {'DOWN', Monitor, process, Pid, _} -> ok end || {Pid, Monitor} <- Cancelling],
    ?assertEqual(lists:seq(1, 300), lists:sort([Id || {Id, _} <- [told() || _ <- Tokens]])),
    ok = not_told().

notifier() ->
    Initial = {erlmcp_control_notifier, init, ['Argument__1']},
    [Pid] = [Pid || Pid <- processes(), proc_lib:initial_call(Pid) =:= Initial],
    Pid.

%% The flag does not wait for it.
a_notifier_that_is_away() ->
    ok = sys:suspend(notifier()),
    Owner = idle(),
    Token = new(#{id => 1, owner => Owner, notify => made_alias()}),
    kill(Owner),
    eventually(fun() -> is_cancelled(Token) end),
    ?assertEqual(1, count(notices)),
    ok = not_told(),
    kill(notifier()),
    ?assertEqual({1, owner_down}, told()).

a_service_that_is_away() ->
    Alias = made_alias(),
    Owner = idle(),
    Token = new(#{id => 1, owner => Owner, notify => Alias}),
    ok = ?C:crash(),
    ?assertEqual(false, is_cancelled(Token)),
    ok = cancel(self(), early, x),
    kill(Owner),
    eventually(fun() -> is_cancelled(Token) end),
    Other = new(#{id => 2, notify => Alias}),
    ok = cancel(Other, y),
    ?assertEqual({2, y}, told()),
    ok = ?C:restart(),
    ?assertEqual({1, owner_down}, told()),
    ?assertEqual(true, is_cancelled(new(#{id => early}))).
