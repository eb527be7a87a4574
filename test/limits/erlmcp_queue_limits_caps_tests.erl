%% Caps over all owners of a role: how many, how many bytes, how they come back, and what is no cap.
-module(erlmcp_queue_limits_caps_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [crash/0, eventually/1, idle/0, kill/1, parallel/2, stats/2]).
-import(erlmcp_queue_limits, [
    set_caps/2, get_caps/1, try_enqueue/2, try_enqueue/3, record_enqueue/2, record_dequeue/2, record_dequeue/3
]).

-define(LIMITS, erlmcp_queue_limits).
-define(MAILBOX, erlmcp_overload_mailbox).
-define(REFUSED(Reason), {error, {capacity_exceeded, #{reason := Reason}}}).

caps_test_() ->
    erlmcp_native_test_lib:with_service([
        fun all_owners_count_together/0,
        fun each_way_in_goes_by_it/0,
        fun a_place_comes_back_with_its_owner/0,
        fun bytes_come_back/0,
        fun bytes_that_are_not_given_back_go_with_the_owner/0,
        fun what_is_dropped_gives_its_bytes_back/0,
        fun a_permit_has_its_bytes/0,
        fun mailboxes_are_left_out/0,
        fun a_cap_below_what_is_there/0,
        fun what_is_given_back_is_checked/0,
        fun what_is_no_cap_is_said/0,
        fun they_survive_a_crash/0,
        fun refusals_are_counted/0,
        fun what_is_in_use_of_a_cap_is_shown/0,
        fun the_outlook_knows_caps/0,
        fun no_more_than_the_cap_whoever_calls/0
    ]).

bytes(Role) ->
    #{roles := Rows} = erlmcp_native_metrics:snapshot(),
    hd([Bytes || #{role := Of, bytes := Bytes} <- Rows, Of =:= Role]).

all_owners_count_together() ->
    ok = record_enqueue(session, a),
    ok = set_caps(session, #{total => 3}),
    ?assertEqual(#{total => 3, bytes => infinity}, get_caps(session)),
    ?assertEqual([ok, ok], [try_enqueue(session, Owner) || Owner <- [b, c]]),
    [?assertMatch(?REFUSED(role), try_enqueue(session, Owner)) || Owner <- [a, b, new]],
    ?assertEqual(0, ?LIMITS:get_queue_depth(session, new)),
    ok = record_dequeue(session, a),
    ?assertEqual(ok, try_enqueue(session, new)),
    ?assertMatch(?REFUSED(role), try_enqueue(session, a)),
    %% Another role has its own.
    ?assertEqual(ok, try_enqueue(transport, a)),
    ok = set_caps(session, []),
    ?assertEqual({#{total => infinity, bytes => infinity}, ok}, {get_caps(session), try_enqueue(session, a)}).

each_way_in_goes_by_it() ->
    Pid = idle(),
    ok = set_caps(session, #{total => 1, bytes => 10}),
    Ways = [
        fun(Options) -> ?LIMITS:check_capacity(session, Pid, Options) end,
        fun(Options) -> try_enqueue(session, Pid, Options) end,
        fun(Options) -> ?LIMITS:acquire(session, Pid, Options) end,
        fun(Options) -> ?LIMITS:try_enqueue_any(session, [Pid, a], Options) end
    ],
    [?assertMatch(?REFUSED(bytes), Way(#{bytes => 11})) || Way <- Ways],
    ok = record_enqueue(session, b),
    [?assertMatch(?REFUSED(role), Way(Options)) || Way <- Ways, Options <- [#{}, [{class, critical_plus}]]],
    ?assertMatch(?REFUSED(role), ?LIMITS:check_capacity(session, Pid)),
    ?assertMatch(?REFUSED(role), ?LIMITS:acquire(session, Pid)),
    ?assertMatch(?REFUSED(role), ?LIMITS:with_capacity(session, Pid, fun() -> not_reached end)),
    %% What is recorded is not refused.
    ok = record_enqueue(session, Pid),
    ?assertEqual(1, ?LIMITS:get_queue_depth(session, Pid)),
    ok = ?LIMITS:set_enabled(false),
    ?assertEqual(ok, try_enqueue(session, Pid, #{bytes => 11})).

a_place_comes_back_with_its_owner() ->
    Pid = idle(),
    ok = set_caps(session, #{total => 2}),
    ?assertEqual([ok, ok], [try_enqueue(session, Pid) || _ <- "ab"]),
    ?assertMatch(?REFUSED(role), try_enqueue(session, a)),
    ok = kill(Pid),
    eventually(fun() -> stats([current_depth], session) =:= [0] end),
    ?assertEqual([ok, ok], [try_enqueue(session, a) || _ <- "ab"]),
    ok = ?LIMITS:forget(session, a),
    ?assertEqual(ok, try_enqueue(session, b)).

bytes_come_back() ->
    %% Counted from the first, cap or not.
    ok = try_enqueue(session, a, #{bytes => 70}),
    ok = set_caps(session, #{bytes => 100}),
    ?assertMatch(?REFUSED(bytes), try_enqueue(session, b, #{bytes => 31})),
    ok = try_enqueue(session, b, #{bytes => 30}),
    %% Whoever says nothing has none.
    ok = try_enqueue(session, b),
    ?assertEqual(100, bytes(session)),
    ok = record_dequeue(session, a, [{bytes, 70}]),
    ?assertEqual(30, bytes(session)),
    %% No more than the owner has.
    ok = record_dequeue(session, b, #{bytes => 1 bsl 47}),
    ok = record_dequeue(session, a, #{bytes => 5}),
    ?assertEqual([0, 1], [bytes(session), hd(stats([unmatched_dequeues], session))]),
    ok = record_dequeue(session, b, #{}),
    ?assertEqual(0, ?LIMITS:get_queue_depth(session, b)),
    %% By its name, and of one that is not there.
    true = register(caps_name, self()),
    ok = try_enqueue(session, {name, caps_name}, #{bytes => 9}),
    ok = record_dequeue(session, {name, caps_name}, #{bytes => 9}),
    true = unregister(caps_name),
    ?assertEqual([ok, 0], [record_dequeue(session, {name, caps_name}, #{bytes => 9}), bytes(session)]).

bytes_that_are_not_given_back_go_with_the_owner() ->
    Pid = idle(),
    ok = set_caps(session, #{bytes => 100}),
    ok = try_enqueue(session, Pid, #{bytes => 100}),
    ok = record_dequeue(session, Pid),
    ?assertMatch(?REFUSED(bytes), try_enqueue(session, a, #{bytes => 1})),
    ok = kill(Pid),
    eventually(fun() -> bytes(session) =:= 0 end),
    ok = try_enqueue(session, a, #{bytes => 100}),
    ok = ?LIMITS:forget(session, a),
    ?assertEqual(0, bytes(session)).

%% And is not what the owner does: two that are done wait for each other, and would be measured.
what_is_dropped_gives_its_bytes_back() ->
    ok = set_caps(session, #{bytes => 20}),
    Both = fun(How) ->
        [ok, ok] = [try_enqueue(session, a, #{bytes => 10}) || _ <- [1, 2]],
        [ok, ok] = [record_dequeue(session, a, How) || _ <- [1, 2]],
        {_, DrainPerS, _, _, _} = erlmcp_native:limits_owner(own, session, a),
        {DrainPerS, bytes(session), ?LIMITS:get_queue_depth(session, a)}
    end,
    [?assertEqual({undefined, 0, 0}, Both(How)) || How <- [#{dropped => true, bytes => 10}, [dropped, {bytes, 10}]]],
    ok = try_enqueue(session, a),
    ok = record_dequeue(session, a, #{dropped => true}),
    %% Not each that could be is marked.
    eventually(fun() ->
        {DrainPerS, 0, 0} = Both(#{dropped => false, bytes => 10}),
        is_float(DrainPerS)
    end),
    ?assertEqual(ok, record_dequeue(session, {name, nobody}, #{dropped => true, bytes => 10})).

a_permit_has_its_bytes() ->
    Pid = idle(),
    ok = set_caps(session, #{bytes => 100}),
    {ok, First} = ?LIMITS:acquire(session, Pid, #{bytes => 60}),
    {ok, Second} = ?LIMITS:acquire(session, Pid, #{bytes => 40}),
    ?assertMatch(?REFUSED(bytes), ?LIMITS:acquire(session, Pid, #{bytes => 1})),
    ?assertEqual([ok, 40], [?LIMITS:release(First), bytes(session)]),
    ?assertEqual([{error, released}, 40], [?LIMITS:release(First), bytes(session)]),
    ok = ?LIMITS:forget(session, Pid),
    ?assertEqual([{error, released}, 0], [?LIMITS:release(Second), bytes(session)]),
    %% Of a later use of the same owner, often enough for it to be near.
    [
        begin
            {ok, Permit} = ?LIMITS:acquire(session, Pid, #{bytes => 100}),
            ?assertEqual([ok, 0], [?LIMITS:release(Permit), bytes(session)])
        end
     || _ <- lists:seq(1, 10)
    ],
    %% Its holder has let go of it.
    Maker = self(),
    Holder = spawn(fun() ->
        {ok, _} = ?LIMITS:acquire(session, Pid, #{bytes => 100}),
        Maker ! acquired
    end),
    receive acquired -> ok after 5000 -> error({no_answer, Holder}) end,
    eventually(fun() -> bytes(session) =:= 0 end).

mailboxes_are_left_out() ->
    Pid = idle(),
    ok = set_caps(session, #{total => 1, bytes => 1}),
    [ok = ?MAILBOX:send(session, Pid, hello, #{bytes => 1000}) || _ <- lists:seq(1, 10)],
    ?assertEqual([ok, 0], [?LIMITS:check_capacity(session, Pid, #{bytes => 5}), bytes(session)]),
    ?assertEqual(ok, try_enqueue(session, a)),
    ?assertMatch(?REFUSED(role), try_enqueue(session, a)).

a_cap_below_what_is_there() ->
    [ok = try_enqueue(session, a, #{bytes => 10}) || _ <- lists:seq(1, 5)],
    ok = set_caps(session, #{total => 3, bytes => 35}),
    [
        begin
            ?assertMatch(?REFUSED(Reason), try_enqueue(session, b, #{bytes => 10})),
            ok = record_dequeue(session, a, #{bytes => 10})
        end
     || Reason <- [role, role, role]
    ],
    ?assertEqual(ok, try_enqueue(session, b, #{bytes => 10})),
    ok = set_caps(session, #{bytes => 0}),
    ?assertMatch(?REFUSED(bytes), try_enqueue(session, b, #{bytes => 1})),
    ok = set_caps(session, #{total => 0}),
    ?assertMatch(?REFUSED(role), try_enqueue(session, b)).

what_is_given_back_is_checked() ->
    ok = try_enqueue(session, a, #{bytes => 10}),
    [
        ?assertError(badarg, record_dequeue(session, a, How), How)
     || How <- [
            #{bytes => 0}, #{bytes => -1}, #{bytes => 1 bsl 48}, #{bytes => 1 bsl 70}, #{bytes => 1.0}, #{bytes => ten},
            #{byte => 1}, #{bytes => 1, class => critical}, #{dropped => 1}, #{dropped => true, bytes => 0},
            [{bytes, 0}], [bytes], [{bytes, 1} | x], 1, done, {}, "x"
        ]
    ],
    ?assertError(badarg, record_dequeue("session", a, #{bytes => 10})),
    ?assertError(badarg, record_dequeue(session, "a", #{bytes => 10})),
    ?assertEqual([1, 10], [?LIMITS:get_queue_depth(session, a), bytes(session)]),
    Said = fun(How) ->
        try record_dequeue(session, a, How)
        catch
            error:badarg:Stack ->
                #{3 := Text} = erlmcp_native_error:format_error(badarg, Stack),
                unicode:characters_to_list(Text)
        end
    end,
    ?assertEqual("bytes: 0 is not an integer from 1 to 2^48 - 1", Said(#{bytes => 0})),
    ?assertEqual("byte: 1 is not one of bytes, dropped; did you mean bytes?", Said(#{byte => 1})),
    ?assertEqual("neither dropped nor a map of options", Said(done)).

what_is_no_cap_is_said() ->
    Said = fun(Caps) ->
        try set_caps(session, Caps)
        catch
            error:badarg:Stack ->
                #{2 := Text} = erlmcp_native_error:format_error(badarg, Stack),
                unicode:characters_to_list(Text)
        end
    end,
    Number = " is not an integer from 0 to 2^59 - 1, or infinity",
    [
        ?assertEqual(Text, Said(Caps))
     || {Caps, Text} <- [
            {#{total => -1}, "total: -1" ++ Number},
            {#{total => 1.0}, "total: 1.0" ++ Number},
            {[{bytes, 1 bsl 59}], "bytes: 576460752303423488" ++ Number},
            {#{bytes => unlimited}, "bytes: unlimited" ++ Number},
            {#{totl => 1}, "totl: 1 is not one of total, bytes; did you mean total?"},
            {1, "1 is not a map of options"}
        ]
    ],
    ?assertEqual(#{total => infinity, bytes => infinity}, get_caps(session)),
    ?assertError(badarg, set_caps("session", #{total => -1})),
    ?assertError(badarg, get_caps("session")),
    ?assertEqual(#{total => infinity, bytes => infinity}, get_caps(nobody_knows)).

they_survive_a_crash() ->
    ok = set_caps(session, #{total => 1}),
    ok = try_enqueue(session, a),
    crash(),
    ?assertMatch(?REFUSED(role), try_enqueue(session, b)),
    {ok, Pid} = ?LIMITS:start_link(),
    ?assertEqual(#{total => 1, bytes => infinity}, get_caps(session)),
    ?assertMatch(?REFUSED(role), try_enqueue(session, b)),
    ok = gen_server:stop(Pid),
    {ok, Again} = ?LIMITS:start_link(),
    unlink(Again),
    ?assertEqual(#{total => infinity, bytes => infinity}, get_caps(session)).

refusals_are_counted() ->
    ok = set_caps(session, #{total => 0}),
    ?assertMatch(?REFUSED(role), try_enqueue(session, a)),
    #{roles := Rows} = erlmcp_native_metrics:snapshot(),
    [By] = [By || #{role := session, refused_by := By} <- Rows],
    ?assert(lists:member({critical, role, 1}, By)).

what_is_in_use_of_a_cap_is_shown() ->
    Metrics = fun(Name) ->
        [Sample || {#{name := Of}, Samples} <- erlmcp_native_metrics:collect(), Of =:= Name,
            {[~"session" | _], _} = Sample <- Samples]
    end,
    Caps = fun() ->
        #{roles := Rows} = erlmcp_native_http_json:summary(erlmcp_native_metrics:snapshot()),
        [Of] = [Of || #{role := ~"session", caps := Of} <- Rows],
        Of
    end,
    %% Of a role in which nobody ever said any there are no bytes.
    ?assertEqual([[], undefined], [Metrics(~"erlmcp_queue_waiting_bytes"), bytes(session)]),
    ok = try_enqueue(session, a, #{bytes => 300}),
    ?assertEqual(#{total => #{used => 1, most => null}, bytes => #{used => 300, most => null}}, Caps()),
    ?assertEqual([], Metrics(~"erlmcp_queue_cap_utilization_ratio")),
    ?assertEqual([{[~"session"], 300}], Metrics(~"erlmcp_queue_waiting_bytes")),
    ok = set_caps(session, #{total => 4, bytes => 1000}),
    %% Mailboxes are left out.
    Receiver = spawn_link(fun() -> receive stop -> ok end end),
    ok = erlmcp_overload_mailbox:send(session, Receiver, one),
    ?assertEqual(#{total => #{used => 1, most => 4}, bytes => #{used => 300, most => 1000}}, Caps()),
    ?assertEqual(
        [{[~"session", ~"total"], 0.25}, {[~"session", ~"bytes"], 0.3}],
        Metrics(~"erlmcp_queue_cap_utilization_ratio")
    ),
    %% Nobody is let in: all of nothing is in use.
    ok = set_caps(session, #{total => 0}),
    ?assertEqual([{[~"session", ~"total"], 1.0}], Metrics(~"erlmcp_queue_cap_utilization_ratio")),
    Receiver ! stop.

%% An owner that has room is refused all the same; one that has none is refused for that.
the_outlook_knows_caps() ->
    ok = ?LIMITS:set_limit(session, 2),
    [ok, ok, ok] = [record_enqueue(session, Owner) || Owner <- [a, a, b]],
    Outlooks = fun() ->
        Is = fun(Owner, Depth) -> element(1, erlmcp_native:limits_outlook(own, session, Owner, Depth)) end,
        [Is(a, 2), Is(b, 1), Is(c, 0)]
    end,
    ok = set_caps(session, #{total => 4}),
    ?assertEqual([stuck, room, room], Outlooks()),
    ok = set_caps(session, #{total => 3}),
    ?assertEqual([stuck, crowded, crowded], Outlooks()),
    ?assertMatch({crowded, _}, erlmcp_native:limits_outlook(own, session, 1)),
    ok = ?LIMITS:set_limit(session, infinity),
    ?assertEqual([crowded, crowded, crowded], Outlooks()),
    ok = ?LIMITS:set_enabled(false),
    ?assertEqual(open, erlmcp_native:limits_outlook(own, session, b, 1)).

no_more_than_the_cap_whoever_calls() ->
    [
        begin
            Role = list_to_atom("caps" ++ integer_to_list(Total)),
            ok = ?LIMITS:set_limit(Role, infinity),
            ok = set_caps(Role, #{total => Total}),
            Worker = fun(N) ->
                Owner = lists:nth(1 + N rem 3, [a, b, c]),
                length([ok || _ <- lists:seq(1, Total), try_enqueue(Role, Owner) =:= ok])
            end,
            ?assertEqual(Total, lists:sum(parallel(4, Worker))),
            ?assertEqual([Total], stats([current_depth], Role))
        end
     || Total <- [1, 100, 6399, 6400, 20000]
    ].
