%% A name of nobody is judged as a dead pid is, by every function that takes an owner or a destination.
-module(erlmcp_overload_nobody_tests).

-include_lib("eunit/include/eunit.hrl").

-define(B, erlmcp_overload_mailbox).
-define(L, erlmcp_queue_limits).

nobody_test_() ->
    erlmcp_overload_watch_test_lib:in_node([
        fun in_a_role_that_is_known/0,
        fun in_a_role_that_refuses_everything/0,
        fun in_a_role_that_is_the_librarys/0,
        fun in_a_role_too_many/0,
        fun in_what_is_no_role/0,
        fun while_the_service_is_not_started/0
    ]).

in_a_role_that_is_known() ->
    ?assertEqual([answered], lists:usort([kind(Answer) || {_, Answer} <- judged(session, [])])),
    ?assertMatch(#{total_enqueued := 0, owners := 0}, ?L:get_role_stats(session)).

in_a_role_that_refuses_everything() ->
    ok = ?L:set_limit(session, 0),
    ?assertEqual([answered], lists:usort([kind(Answer) || {_, Answer} <- judged(session, [])])),
    ?assertMatch(#{total_rejected := 0}, ?L:get_role_stats(session)).

%% Whatever counts, limits or sends is refused; what only reads is not.
in_a_role_that_is_the_librarys() ->
    _ = erlmcp_overload_watch_test_lib:watched(),
    [
        ?assertEqual({Call, error, badarg, role_reserved}, {Call, Class, Reason, Cause})
     || {Call, {Class, Reason, Cause}} <- judged(mailbox, [get_queue_depth])
    ].

in_a_role_too_many() ->
    Roles = 1024 - map_size(?L:get_all_limits()),
    [ok = ?L:set_limit(list_to_atom("role_" ++ integer_to_list(N)), 1) || N <- lists:seq(1, Roles)],
    ?assertError(system_limit, ?L:record_enqueue(one_more, a)),
    ?assertEqual([answered], lists:usort([kind(Answer) || {_, Answer} <- judged(one_more, [])])),
    ?assertEqual({error, not_found}, ?L:get_role_stats(one_more)).

in_what_is_no_role() ->
    [?assertEqual({Call, {error, badarg, bad_role}}, {Call, Answer}) || {Call, Answer} <- judged("role", [])].

while_the_service_is_not_started() ->
    ok = gen_server:stop(?L),
    Forgiving = [record_enqueue, record_dequeue],
    [?assertMatch({Call, {exit, noproc, _}}, {Call, Answer}) || {Call, Answer} <- judged(session, Forgiving)],
    {ok, Pid} = ?L:start_link(),
    unlink(Pid).

%% What each function answers, the same for all of nobody; but for these functions.
judged(Role, But) ->
    [
        begin
            Answers = [answer(Module, Function, Call(Nobody)) || Nobody <- Nobodies],
            ?assertMatch({_, [_]}, {{Module, Function, Call(a)}, lists:usort(Answers)}),
            {{Module, Function, length(Call(a))}, hd(Answers)}
        end
     || {Module, Nobodies, Calls} <- [{?L, owners(), counts(Role)}, {?B, destinations(), sends(Role)}],
        {Function, Call} <- Calls,
        not lists:member(Function, But)
    ].

owners() ->
    [erlmcp_native_test_lib:dead(), {name, nobody_is_called_so}].

destinations() ->
    [
        erlmcp_native_test_lib:dead(),
        nobody_is_called_so,
        {nobody_is_called_so, node()},
        {global, nobody_is_called_so},
        {via, global, nobody_is_called_so}
    ].

counts(Role) ->
    [
        {check_capacity, fun(Owner) -> [Role, Owner] end},
        {check_capacity, fun(Owner) -> [Role, Owner, #{class => sheddable}] end},
        {try_enqueue, fun(Owner) -> [Role, Owner] end},
        {try_enqueue, fun(Owner) -> [Role, Owner, [{bytes, 1}]] end},
        {with_capacity, fun(Owner) -> [Role, Owner, fun() -> ran end] end},
        {acquire, fun(Owner) -> [Role, Owner] end},
        {acquire, fun(Owner) -> [Role, Owner, #{deadline_ms => 100}] end},
        {try_enqueue_any, fun(Owner) -> [Role, [Owner]] end},
        {try_enqueue_any, fun(Owner) -> [Role, [Owner, Owner, Owner], [{bytes, 1}]] end},
        {record_enqueue, fun(Owner) -> [Role, Owner] end},
        {record_dequeue, fun(Owner) -> [Role, Owner] end},
        {record_dequeue, fun(Owner) -> [Role, Owner, dropped] end},
        {record_dequeue, fun(Owner) -> [Role, Owner, #{bytes => 1}] end},
        {forget, fun(Owner) -> [Role, Owner] end},
        {get_queue_depth, fun(Owner) -> [Role, Owner] end}
    ].

sends(Role) ->
    [
        {send, fun(To) -> [Role, To, x] end},
        {send, fun(To) -> [Role, To, x, [{class, sheddable}]] end},
        {cast, fun(To) -> [Role, To, x] end},
        {cast, fun(To) -> [Role, To, x, #{bytes => 1}] end},
        {call, fun(To) -> [Role, To, x, 100] end},
        {call, fun(To) -> [Role, To, x, 100, #{class => critical_plus}] end},
        {send_any, fun(To) -> [Role, [To], x] end},
        {send_any, fun(To) -> [Role, [To, To, To], x, [{class, sheddable}]] end}
    ].

answer(Module, Function, Args) ->
    try apply(Module, Function, Args) of
        {ok, Permit} when Function =:= acquire -> {answered, {ok, ?L:release(Permit)}};
        Answer -> {answered, Answer}
    catch
        exit:{noproc, {Module, Function, Args}} ->
            {exit, noproc, not_started};
        error:Reason:Stacktrace ->
            [{Module, Function, Args, Info} | _] = Stacktrace,
            #{cause := Cause} = proplists:get_value(error_info, Info),
            {error, Reason, Cause}
    end.

kind({answered, _}) -> answered;
kind(Raised) -> Raised.
