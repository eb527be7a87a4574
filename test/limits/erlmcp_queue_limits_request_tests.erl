%% What a request says of itself: the options of each function that admits, good and bad.
-module(erlmcp_queue_limits_request_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [dead/0, idle/0]).

-define(LIMITS, erlmcp_queue_limits).
-define(MAILBOX, erlmcp_overload_mailbox).
-define(END, (1 bsl 59)).

request_test_() ->
    erlmcp_native_test_lib:with_service([
        fun every_function_takes_options/0,
        fun a_list_is_as_good_as_a_map/0,
        fun no_function_takes_bad_ones/0,
        fun bad_ones_are_told_where_nobody_is/0,
        fun what_is_wrong_is_said/0,
        fun a_role_comes_first/0,
        fun the_library_reads_what_is_read_here/0,
        fun what_is_over_is_refused/0,
        fun a_refusal_has_a_reason/0,
        fun a_refusal_has_the_class_that_was_said/0
    ]).

%% Each function that admits, for an owner that is a process.
calls(Pid) ->
    [
        {?LIMITS, check_capacity, [session, Pid]},
        {?LIMITS, try_enqueue, [session, Pid]},
        {?LIMITS, acquire, [session, Pid]},
        {?LIMITS, try_enqueue_any, [session, [Pid]]},
        {?MAILBOX, send, [mail, Pid, hello]},
        {?MAILBOX, cast, [mail, Pid, hello]},
        {?MAILBOX, send_any, [mail, [Pid], hello]},
        {?LIMITS, check_capacity, [mail, Pid]}
    ].

good() ->
    [
        #{},
        #{class => critical_plus},
        #{class => critical},
        #{class => sheddable_plus},
        #{class => sheddable},
        #{bytes => 1},
        #{bytes => 1 bsl 48 - 1},
        #{deadline_ms => 60000},
        #{deadline_ms => ?END - 1},
        #{class => sheddable, bytes => 5, deadline_ms => 60000}
    ].

%% These are options, and refused.
over() ->
    [#{deadline_ms => 0}, #{deadline_ms => -1}, #{deadline_ms => -?END, bytes => 1}].

bad() ->
    [
        #{clas => critical},
        #{class => warning},
        #{class => "critical"},
        #{class => 1},
        #{bytes => 0},
        #{bytes => -1},
        #{bytes => 1 bsl 48},
        #{bytes => ?END},
        #{bytes => 1 bsl 70},
        #{bytes => 1.0},
        #{deadline_ms => ?END},
        #{deadline_ms => -?END - 1},
        #{deadline_ms => 1 bsl 70},
        #{deadline_ms => infinity},
        #{class => critical, bytes => 1, deadline_ms => 1, more => 1},
        #{class => critical, "bytes" => 1},
        [{class, warning}],
        [class],
        [{class, critical}, {bytes, 0}],
        [{class, critical} | x],
        [#{}],
        a,
        1,
        {},
        <<"class">>,
        self()
    ].

every_function_takes_options() ->
    Pid = idle(),
    %% Nothing was measured of it yet.
    ?assertEqual(ok, ?LIMITS:check_capacity(session, Pid, #{deadline_ms => 1})),
    Answers = [
        {Function, apply(Module, Function, Args ++ [Options])}
     || {Module, Function, Args} <- calls(Pid), Options <- good()
    ],
    ?assertEqual([3 * length(good()) || _ <- "ab"], [?LIMITS:get_queue_depth(Role, Pid) || Role <- [session, mail]]),
    ?assertEqual([], [Answer || {_, {error, _}} = Answer <- Answers]),
    [?assertEqual(ok, ?LIMITS:release(Permit)) || {acquire, {ok, Permit}} <- Answers].

a_list_is_as_good_as_a_map() ->
    Pid = idle(),
    [
        ?assertNotMatch({error, _}, apply(Module, Function, Args ++ [maps:to_list(Options)]))
     || {Module, Function, Args} <- calls(Pid), Options <- good()
    ],
    %% Of a name that is given twice the first counts.
    ?assertEqual(ok, ?LIMITS:try_enqueue(session, a, [{class, sheddable}, {class, critical}])).

no_function_takes_bad_ones() ->
    Pid = idle(),
    ok = ?MAILBOX:send(mail, Pid, first),
    [
        ?assertEqual([length(Args) + 1], wrong(Module, Function, Args ++ [Options]), {Function, Options})
     || {Module, Function, Args} <- calls(Pid), Options <- bad()
    ],
    ?assertEqual([0, 1], [?LIMITS:get_queue_depth(Role, Pid) || Role <- [session, mail]]).

bad_ones_are_told_where_nobody_is() ->
    [
        ?assertEqual([length(Args) + 1], wrong(Module, Function, Args ++ [Options]), {Function, Owner})
     || Owner <- [dead(), {name, nobody_is_registered_so}],
        {Module, Function, Args} <- calls(Owner),
        Module =:= ?LIMITS orelse is_pid(Owner),
        Options <- [#{class => warning}, [{bytes, 0}], x]
    ],
    [
        ?assertEqual([4], wrong(?MAILBOX, send, [mail, nobody_is_registered_so, hello, Options]))
     || Options <- [#{class => warning}, [{bytes, 0}], x]
    ],
    [
        ?assertNotMatch({error, {_, _}}, apply(Module, Function, Args ++ [[{class, sheddable}]]))
     || {Module, Function, Args} <- calls(dead())
    ].

what_is_wrong_is_said() ->
    Said = fun(Options) ->
        try ?LIMITS:try_enqueue(session, a, Options)
        catch
            error:badarg:Stack ->
                #{3 := Text} = erlmcp_native_error:format_error(badarg, Stack),
                unicode:characters_to_list(Text)
        end
    end,
    ?assertEqual(
        [
            "clas: x is not one of class, bytes, deadline_ms; did you mean class?",
            "class: high is not critical_plus, critical, sheddable_plus or sheddable",
            "bytes: 0 is not an integer from 1 to 2^48 - 1",
            "x is not a map of options"
        ],
        [Said(Options) || Options <- [#{clas => x}, [{class, high}], #{bytes => 0}, x]]
    ).

a_role_comes_first() ->
    Pid = idle(),
    [
        ?assertEqual([1], wrong(Module, Function, ["session" | Args] ++ [#{class => warning}]))
     || {Module, Function, [_ | Args]} <- calls(Pid) ++ calls(dead())
    ].

%% Of maps each of the two says the same; lists are made maps before the library hears of them.
the_library_reads_what_is_read_here() ->
    [
        ?assertEqual(
            {Options, erlmcp_native_request:judged(Options, good) =:= good},
            {Options, is_good(erlmcp_native:limits_check(own, session, a, Options))}
        )
     || Options <- good() ++ over() ++ [Map || Map <- bad(), is_map(Map)]
    ].

is_good(ok) -> true;
is_good({refused, #{reason := deadline}}) -> true;
is_good(bad_option) -> false.

what_is_over_is_refused() ->
    Pid = idle(),
    [
        ?assertMatch(
            {error, {capacity_exceeded, #{reason := deadline, retry_after_ms := _}}},
            apply(Module, Function, Args ++ [Options])
        )
     || {Module, Function, Args} <- calls(Pid), Options <- over() ++ [[{deadline_ms, 0}]]
    ].

a_refusal_has_a_reason() ->
    Pid = idle(),
    ok = ?LIMITS:set_limit(session, 0),
    ok = ?LIMITS:set_limit(mail, 0),
    [
        ?assertMatch({error, {capacity_exceeded, #{reason := full}}}, apply(Module, Function, Args ++ Options))
     || {Module, Function, Args} <- calls(Pid), Options <- [[], [#{class => critical_plus}]]
    ].

a_refusal_has_the_class_that_was_said() ->
    Pid = idle(),
    [ok = ?LIMITS:set_limit(Role, 0) || Role <- [session, mail]],
    [
        begin
            {error, {capacity_exceeded, Stats}} = apply(Module, Function, Args ++ Options),
            ?assertMatch({Function, Class, #{class := Class}}, {Function, Class, Stats}),
            #{~"error" := #{~"data" := #{~"class" := Text}}} = ?LIMITS:to_json_rpc_error(1, Stats),
            ?assertEqual(atom_to_binary(Class), Text)
        end
     || {Module, Function, Args} <- calls(Pid),
        {Class, Options} <- [
            {critical, []}
            | [{Class, [#{class => Class}]} || Class <- [critical_plus, critical, sheddable_plus, sheddable]]
        ]
    ].

%% Which arguments of a call are said to be wrong.
wrong(Module, Function, Args) ->
    try apply(Module, Function, Args) of
        Answer -> Answer
    catch
        error:badarg:Stack -> maps:keys(erlmcp_native_error:format_error(badarg, Stack))
    end.
