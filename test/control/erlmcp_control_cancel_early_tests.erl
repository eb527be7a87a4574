%% Cancellations that come before what they cancel, and calls that are wrong.
-module(erlmcp_control_cancel_early_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_control_cancel, [new/1, is_cancelled/1, reason/1, done/1, cancel/2, cancel/3, get_stats/0]).
-import(erlmcp_native_test_lib, [eventually/1, idle/0, kill/1, parallel/2, foreign_pid/0, earlier_pid/0]).

-define(C, erlmcp_control_test_lib).
-define(LIMITS, erlmcp_queue_limits).
-define(MOST, 65536).

early_test_() ->
    ?C:with_plane([
        fun a_cancel_that_overtakes/0,
        fun it_is_taken_up_once/0,
        fun by_many_at_once/0,
        fun the_first_reason_counts/0,
        fun it_is_of_its_owner/0,
        fun it_goes_with_its_owner/0,
        fun it_grows_old/0,
        fun nothing_is_remembered/0,
        fun the_oldest_go/0,
        fun one_more_than_there_may_be/0,
        fun the_largest_go/0,
        fun a_stop_forgets/0
    ]).

misuse_test_() ->
    ?C:with_plane([
        fun what_is_no_option/0,
        fun what_is_no_token/0,
        fun what_is_no_owner/0,
        fun what_is_too_long/0,
        fun what_is_long_is_for_dirty_schedulers/0,
        fun a_service_that_is_not_started/0
    ]).

%% What is said to be wrong with a call, and that it is said of a sentence and of this function.
badarg(Call, {Module, Function, Arity}) ->
    try Call() of
        Result -> error({returned, Result})
    catch
        error:badarg:Stacktrace ->
            [{Module, Function, Args, Info} | _] = Stacktrace,
            Arity = length(Args),
            #{error_info := #{module := Explains, cause := Cause}} = maps:from_list(Info),
            [{Position, Text}] = maps:to_list(Explains:format_error(badarg, Stacktrace)),
            true = Position =< Arity andalso length(Text) > 10,
            Cause
    end.

configured(Options, Test) ->
    ok = application:set_env(erlmcp_native, cancel, Options),
    try
        ok = erlmcp_control_server:reload_config(),
        Test()
    after
        ok = application:unset_env(erlmcp_native, cancel),
        ok = erlmcp_control_server:reload_config()
    end.

tombstones() ->
    maps:get(tombstones, get_stats()).

a_cancel_that_overtakes() ->
    Alias = erlmcp_priority:create_priority_alias(),
    {ok, Limits} = ?LIMITS:start_link(),
    try
        {ok, Permit} = ?LIMITS:acquire(session, a),
        ok = cancel(17, too_late),
        ?assertEqual(1, tombstones()),
        Token = new(#{id => 17, permit => Permit, notify => Alias}),
        ?assertEqual([true, too_late], [is_cancelled(Token), reason(Token)]),
        ?assertEqual({urgent, {cancelled, 17, too_late}}, receive Message -> Message after 5000 -> none end),
        ?assertEqual([0, 0], [?LIMITS:get_queue_depth(session, a), tombstones()])
    after
        unlink(Limits),
        ok = gen_server:stop(Limits)
    end.

it_is_taken_up_once() ->
    ok = cancel(1, x),
    First = new(#{id => 1}),
    ok = done(First),
    Second = new(#{id => 1}),
    ?assertEqual([true, false], [is_cancelled(Token) || Token <- [First, Second]]).

by_many_at_once() ->
    Owner = self(),
    [
        begin
            ok = cancel(N, x),
            Made = parallel(4, fun(_) -> new(#{id => N, owner => Owner}) end),
            [Token] = [Token || Token <- Made, is_reference(Token)],
            ?assertEqual({true, 0}, {is_cancelled(Token), tombstones()}),
            ok = done(Token)
        end
     || N <- lists:seq(1, 100)
    ].

the_first_reason_counts() ->
    [ok = cancel(1, Reason) || Reason <- [first, second]],
    ?assertEqual(1, tombstones()),
    ?assertEqual(first, reason(new(#{id => 1}))).

it_is_of_its_owner() ->
    Owner = idle(),
    ok = cancel(Owner, 1, x),
    ?assertEqual([false, true], [is_cancelled(new(Options)) || Options <- [#{id => 1}, #{id => 1, owner => Owner}]]),
    kill(Owner).

it_goes_with_its_owner() ->
    Owner = idle(),
    [ok = cancel(Owner, N, x) || N <- lists:seq(1, 100)],
    ?assertEqual(100, tombstones()),
    kill(Owner),
    eventually(fun() -> tombstones() =:= 0 end).

it_grows_old() ->
    configured(#{tombstone_ms => 50}, fun() ->
        ok = cancel(1, x),
        %% Without anybody who asks for it.
        eventually(fun() -> tombstones() =:= 0 end),
        ?assertEqual(false, is_cancelled(new(#{id => 1})))
    end).

nothing_is_remembered() ->
    [
        configured(Options, fun() ->
            ok = cancel(1, x),
            Token = new(#{id => 1}),
            ?assertEqual({false, 0}, {is_cancelled(Token), tombstones()}),
            ok = done(Token)
        end)
     || Options <- [#{tombstone_ms => 0}, #{max_tombstones => 0}, [{max_tombstones, 0}]]
    ].

the_oldest_go() ->
    #{displaced := Before} = get_stats(),
    configured(#{max_tombstones => 10}, fun() ->
        [ok = cancel(N, x) || N <- lists:seq(1, 15)],
        #{displaced := After} = get_stats(),
        ?assertEqual([10, 5], [tombstones(), After - Before]),
        Cancelled = [N || N <- lists:seq(1, 15), is_cancelled(new(#{id => N}))],
        ?assertEqual(lists:seq(6, 15), Cancelled)
    end),
    %% It holds for those that are there, too.
    [ok = cancel({later, N}, x) || N <- lists:seq(1, 15)],
    configured(#{max_tombstones => 3}, fun() -> ?assertEqual(3, tombstones()) end).

one_more_than_there_may_be() ->
    configured(#{tombstone_ms => 3_600_000}, fun() ->
        [ok = cancel(N, x) || N <- lists:seq(1, ?MOST + 1)],
        ?assertEqual(?MOST, tombstones()),
        Cancelled = [is_cancelled(new(#{id => N})) || N <- [1, 2, ?MOST + 1]],
        ?assertEqual([false, true, true], Cancelled)
    end).

%% 64 MiB of them.
the_largest_go() ->
    Id = binary:copy(~"i", 1 bsl 20),
    Long = fun(N) -> <<N:32, Id/binary>> end,
    [ok = cancel(Long(N), x) || N <- lists:seq(1, 70)],
    ?assertEqual(63, tombstones()),
    ?assertEqual([false, true], [is_cancelled(new(#{id => Long(N)})) || N <- [7, 8]]).

a_stop_forgets() ->
    Token = new(#{id => 1}),
    ok = cancel(2, x),
    ok = gen_server:stop(erlmcp_control_plane),
    ok = cancel(Token, x),
    ?assertEqual([true, ok], [is_cancelled(Token), done(Token)]),
    ok = ?C:restart(),
    ?assertEqual([false, 0], [is_cancelled(new(#{id => 2})), tombstones()]).

what_is_no_option() ->
    Given = erlmcp_priority:create_priority_alias(),
    ok = erlmcp_priority:delete_priority_alias(Given),
    [
        ?assertMatch({bad_option, {[Name], _, _}}, badarg(fun() -> new(Options) end, {erlmcp_control_cancel, new, 1}))
     || {Name, Options} <- [
            {owner, #{owner => foreign_pid()}},
            {owner, #{owner => earlier_pid()}},
            {owner, #{owner => undefined}},
            {owner, #{owner => a}},
            {permit, #{permit => a}},
            {notify, #{notify => a}},
            {notify, #{notify => make_ref()}},
            {notify, #{notify => self()}},
            {notify, #{notify => Given}},
            {ids, #{ids => 1}},
            {ids, #{ids => 1, id => 2}},
            {ids, [{ids, 1}]},
            {permit, [{permit, {}}, {id, 1}]}
        ]
    ],
    [
        ?assertMatch({bad_option, {[], _, _}}, badarg(fun() -> new(Options) end, {erlmcp_control_cancel, new, 1}))
     || Options <- [a, 1, [1], [{id, 1} | x], self()]
    ],
    ?assertEqual(bad_permit, badarg(fun() -> new(#{permit => make_ref()}) end, {erlmcp_control_cancel, new, 1})).

what_is_no_token() ->
    [
        ?assertEqual(bad_token, badarg(fun() -> Call(Term) end, {erlmcp_control_cancel, Function, 1}))
     || {Function, Call} <- [
            {is_cancelled, fun erlmcp_control_cancel:is_cancelled/1},
            {reason, fun erlmcp_control_cancel:reason/1},
            {done, fun erlmcp_control_cancel:done/1}
        ],
        Term <- [a, 1, make_ref(), self(), erlmcp_native:limits_new([])]
    ],
    %% What is no token is an id.
    Ref = make_ref(),
    ok = cancel(Ref, x),
    ?assert(is_cancelled(new(#{id => Ref}))).

what_is_no_owner() ->
    [
        ?assertEqual(bad_pid, badarg(fun() -> cancel(Owner, 1, x) end, {erlmcp_control_cancel, cancel, 3}))
     || Owner <- [a, 1, foreign_pid(), earlier_pid(), make_ref()]
    ].

what_is_too_long() ->
    Longest = binary:copy(~"x", 2 bsl 20),
    [Token] = [new(#{id => Longest}) || true],
    ok = cancel(Longest, Longest),
    ?assertEqual(Longest, reason(Token)),
    Cancel = {erlmcp_control_cancel, cancel, 2},
    [
        begin
            ?assertEqual(bad_id, badarg(fun() -> new(#{id => Long}) end, {erlmcp_control_cancel, new, 1})),
            ?assertEqual(bad_id, badarg(fun() -> cancel(Long, x) end, Cancel)),
            ?assertEqual(bad_reason, badarg(fun() -> cancel(Token, Long) end, Cancel)),
            ?assertEqual(bad_reason, badarg(fun() -> cancel(id, Long) end, Cancel))
        end
     || Long <- [<<Longest/binary, 0>>, {Longest}]
    ].

%% To copy 2 MiB takes about a millisecond.
what_is_long_is_for_dirty_schedulers() ->
    [Short, Long] = [binary:copy(~"x", Length) || Length <- [65_536, 65_537]],
    Owner = self(),
    ByWhat = fun(Id, Reason) ->
        Token = new(#{id => Id, notify => erlmcp_priority:create_priority_alias()}),
        [
            {cancelled, natives(fun() -> cancel(Token, Reason) end)},
            {again, natives(fun() -> cancel(Owner, Id, Reason) end)},
            {read, natives(fun() -> Reason = reason(Token) end)}
        ]
    end,
    ?assertEqual(
        [
            {cancelled, [cancel_token, cancel_notice, cancel_told]},
            {again, [cancel_id]},
            {read, [cancel_check, cancel_reason]}
        ],
        ByWhat(1, Short)
    ),
    ?assertEqual(
        [
            {cancelled, [cancel_token_long, cancel_notice, cancel_notice_long, cancel_told]},
            {again, [cancel_id_long]},
            {read, [cancel_check, cancel_reason, cancel_reason_long]}
        ],
        ByWhat(2, Long)
    ),
    ?assertEqual(
        [
            {cancelled, [cancel_token, cancel_notice, cancel_notice_long, cancel_told]},
            {again, [cancel_id_long]},
            {read, [cancel_check, cancel_reason]}
        ],
        ByWhat(Long, x)
    ),
    %% In the same way as all others, for who gets it.
    [receive {urgent, {cancelled, Id, Reason}} -> ok end || {Id, Reason} <- [{1, Short}, {2, Long}, {Long, x}]].

%% Those that another process calls, in order.
natives(Call) ->
    {Pid, Monitor} = spawn_monitor(fun() -> receive go -> Call() end end),
    Session = trace:session_create(natives, self(), []),
    _ = trace:function(Session, {erlmcp_native, '_', '_'}, true, [local]),
    1 = trace:process(Session, Pid, true, [call]),
    Pid ! go,
    receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end,
    Delivered = trace:delivered(Session, Pid),
    receive {trace_delivered, Pid, Delivered} -> ok end,
    true = trace:session_destroy(Session),
    called(Pid).

called(Pid) ->
    receive
        {trace, Pid, call, {erlmcp_native, Name, _}} -> [Name | called(Pid)]
    after 0 -> []
    end.

a_service_that_is_not_started() ->
    Token = new(#{}),
    ok = gen_server:stop(erlmcp_control_plane),
    Options = #{id => 1},
    ?assertExit({noproc, {erlmcp_control_cancel, new, [Options]}}, new(Options)),
    ?assertExit({noproc, {erlmcp_control_cancel, cancel, [1, x]}}, cancel(1, x)),
    ?assertExit({noproc, {erlmcp_control_cancel, cancel, [_, 1, x]}}, cancel(self(), 1, x)),
    ?assertExit({noproc, {erlmcp_control_cancel, get_stats, []}}, get_stats()),
    ?assertEqual([false, undefined, ok], [is_cancelled(Token), reason(Token), done(Token)]).
