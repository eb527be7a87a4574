%% What a person at the shell is told about a wrong call.
-module(erlmcp_native_error_tests).

-include_lib("eunit/include/eunit.hrl").

-define(LIMITS, erlmcp_queue_limits).

explanations_test_() ->
    NoAtom = "not an atom",
    NoOwner = "neither a pid of this node, nor an atom, nor {name, Atom} where no port is registered so",
    NoLimit = "neither an integer from 0 to 2^59 - 1 nor infinity",
    erlmcp_native_test_lib:with_service([
        {atom_to_list(Function), fun() -> ?assertEqual(Says, explained(Function, Args), {Function, Args}) end}
     || {Function, Args, Says} <- [
            {check_capacity, ["x", a], {1, NoAtom}},
            {check_capacity, [session, 7], {2, NoOwner}},
            {try_enqueue, [1, a], {1, NoAtom}},
            {try_enqueue, [session, <<"a">>], {2, NoOwner}},
            {with_capacity, [1, a, fun() -> ok end], {1, NoAtom}},
            {with_capacity, [session, "a", fun() -> ok end], {2, NoOwner}},
            {with_capacity, [session, a, no_fun], {3, "not a fun without arguments"}},
            {with_capacity, [session, a, fun(X) -> X end], {3, "not a fun without arguments"}},
            {record_enqueue, [1, a], {1, NoAtom}},
            {record_enqueue, [session, erlmcp_native_test_lib:foreign_pid()], {2, NoOwner}},
            {record_dequeue, [1, a], {1, NoAtom}},
            {record_dequeue, [session, 1.0], {2, NoOwner}},
            {forget, [1, a], {1, NoAtom}},
            {forget, [session, {a}], {2, NoOwner}},
            {get_queue_depth, [1, a], {1, NoAtom}},
            {get_queue_depth, [session, [a]], {2, NoOwner}},
            {get_queue_depth, ["a"], {1, NoOwner}},
            {get_role_stats, [self()], {1, NoAtom}},
            {reset_stats, ["x"], {1, NoAtom}},
            {get_limit, [<<"x">>], {1, NoAtom}},
            {set_limit, ["x", 1], {1, NoAtom}},
            {set_limit, [session, -1], {2, NoLimit}},
            {set_limit, [session, 1 bsl 59], {2, NoLimit}},
            {set_limit, [session, 1.0], {2, NoLimit}},
            {set_enabled, [on], {1, "not a boolean"}},
            {to_json_rpc_error, [1, #{}], {2, "not the statistics of a refusal"}},
            {to_json_rpc_error, [1, x, #{}], {2, "not the statistics of a refusal"}},
            {retry_after_seconds, [#{}], {1, "not the statistics of a refusal"}}
        ]
    ]).

%% The number of the argument and the text, as they are printed; and the call must be printed with them.
explained(Function, Args) ->
    {badarg, Printed} = printed(Function, Args),
    ?assertMatch({match, _}, re:run(Printed, ["called as erlmcp_queue_limits:", atom_to_list(Function), "\\("])),
    {match, [Position, Text]} =
        re:run(Printed, "\\*\\*\\* argument (\\d+): (.*)", [{capture, all_but_first, list}]),
    {list_to_integer(Position), Text}.

printed(Function, Args) ->
    try apply(?LIMITS, Function, Args) of
        Result -> error({no_error, Function, Args, Result})
    catch
        error:Reason:Stack ->
            ?assertMatch([{?LIMITS, Function, Args, _}, {?MODULE, printed, 2, _} | _], Stack),
            {Reason, unicode:characters_to_list(erl_error:format_exception(error, Reason, Stack))}
    end.

one_role_too_many_is_explained_test_() ->
    erlmcp_native_test_lib:with_service([
        fun() ->
            Free = 1024 - map_size(?LIMITS:get_all_limits()),
            [ok = ?LIMITS:set_limit(list_to_atom("role_" ++ integer_to_list(N)), 1) || N <- lists:seq(1, Free)],
            {system_limit, Printed} = printed(set_limit, [one_too_many, 1]),
            ?assertMatch({match, _}, re:run(Printed, "there are 1024 roles already"))
        end
    ]).

every_reason_has_a_text_test() ->
    [
        begin
            Info = [{error_info, #{module => erlmcp_native_error, cause => Reason}}],
            [{Where, Text}] = maps:to_list(
                erlmcp_native_error:format_error(badarg, [{?LIMITS, set_limit, [a, b], Info}])
            ),
            ?assert(is_integer(Where) orelse Where =:= general),
            ?assertNotEqual("", unicode:characters_to_list(Text))
        end
     || Reason <- [bad_role, bad_owner, bad_limit, bad_limits, bad_switch, bad_fun, bad_stats, bad_permit] ++
            [bad_table, too_many_roles]
    ].

a_stack_without_arguments_is_no_trouble_test() ->
    ?assertEqual(#{}, erlmcp_native_error:format_error(badarg, [{?LIMITS, set_limit, 2, []}])),
    ?assertEqual(#{}, erlmcp_native_error:format_error(badarg, [])).
