%% The process behind the name: what it logs of refusals, and that nothing it is sent harms it.
-module(erlmcp_limits_server_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_queue_limits, [try_enqueue/2, check_capacity/2, with_capacity/3, record_enqueue/2, set_limit/2]).
-import(erlmcp_native_test_lib, [crash/0, eventually/2, parallel/2]).

-define(LIMITS, erlmcp_queue_limits).
%% A line comes at once, or with the next, a second later; and later still on a machine that is busy with much else.
-define(MS, 10000).

log_test_() ->
    erlmcp_native_test_lib:with_service([
        {atom_to_list(Name), fun() -> erlmcp_native_test_lib:logged(Test) end}
     || Test <- [
            fun the_first_refusal_is_logged_at_once/0,
            fun the_rest_is_flushed/0,
            fun a_line_a_second/0,
            fun a_role_in_a_storm_hides_no_other/0,
            fun a_quiet_second_ends_it/0,
            fun refused_while_away_is_logged_afterwards/0,
            fun refused_just_after_a_restart_is_logged/0,
            fun every_way_to_be_refused_is_logged/0,
            fun nothing_refused_nothing_logged/0,
            fun a_million_refusals_are_a_handful_of_lines/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]).

refuse(Role) ->
    {error, {capacity_exceeded, _}} = try_enqueue(Role, a),
    ok.

refuse(Role, Times) ->
    [refuse(Role) || _ <- lists:seq(1, Times)].

line(Role, Ms) ->
    receive
        {logged, Role, Refusals, _} -> Refusals
    after Ms -> none
    end.

%% All lines about a role until they add up to Total, with the time of each.
lines(_, 0) ->
    [];
lines(Role, Total) ->
    receive
        {logged, Role, Refusals, #{time_ms := At}} -> [{At, Refusals} | lines(Role, Total - Refusals)]
    after 5000 -> error({missing, Total})
    end.

now_ms() ->
    erlang:monotonic_time(millisecond).

pass(Ms) ->
    Begun = now_ms(),
    eventually(fun() -> now_ms() - Begun >= Ms end, 2 * Ms).

the_first_refusal_is_logged_at_once() ->
    ok = set_limit(full, 0),
    refuse(full),
    receive
        {logged, full, Refusals, #{level := Level, text := Text}} ->
            ?assertEqual({1, warning}, {Refusals, Level}),
            ?assertMatch({match, _}, re:run(Text, "full")),
            ?assertMatch({match, _}, re:run(Text, "refused 1"))
    after ?MS -> error(not_logged)
    end.

the_rest_is_flushed() ->
    ok = set_limit(full, 0),
    refuse(full),
    ?assertEqual(1, line(full, ?MS)),
    refuse(full, 9),
    ?assertEqual(9, line(full, ?MS)),
    refuse(full, 3),
    ?assertEqual(3, line(full, ?MS)),
    ?assertEqual(none, line(full, 1200)).

a_line_a_second() ->
    ok = set_limit(full, 0),
    Begun = now_ms(),
    Refused = refuse_until(full, Begun + 2500, 0),
    Lines = lines(full, Refused),
    ?assert(length(Lines) =< 5, Lines),
    Times = [At || {At, _} <- Lines],
    Gaps = lists:zipwith(fun(Next, At) -> Next - At end, tl(Times), lists:droplast(Times)),
    ?assert(lists:all(fun(Gap) -> Gap >= 999 end, Gaps), Gaps),
    ?assertEqual(none, line(full, 0)).

refuse_until(Role, Deadline, Count) ->
    case now_ms() < Deadline of
        true ->
            refuse(Role),
            refuse_until(Role, Deadline, Count + 1);
        false ->
            Count
    end.

a_role_in_a_storm_hides_no_other() ->
    [ok = set_limit(Role, 0) || Role <- [storm, full]],
    Storm = spawn_link(fun() -> refuse_until(storm, now_ms() + 60000, 0) end),
    [?assert(is_integer(line(storm, ?MS))) || _ <- [first, second]],
    refuse(full),
    ?assertEqual(1, line(full, ?MS)),
    unlink(Storm),
    erlmcp_native_test_lib:kill(Storm).

a_quiet_second_ends_it() ->
    ok = set_limit(full, 0),
    [
        begin
            refuse(full),
            ?assertEqual({Time, 1}, {Time, line(full, ?MS)}),
            pass(1100)
        end
     || Time <- [first, second]
    ].

restart() ->
    {ok, Pid} = ?LIMITS:start_link(),
    unlink(Pid),
    ok.

refused_while_away_is_logged_afterwards() ->
    ok = set_limit(full, 0),
    refuse(full),
    ?assertEqual(1, line(full, ?MS)),
    crash(),
    refuse(full, 5),
    ok = set_limit(other, 0),
    refuse(other, 2),
    restart(),
    ?assertEqual([5, 2], [line(Role, ?MS) || Role <- [full, other]]),
    refuse(full, 4),
    ?assertEqual(4, line(full, ?MS)).

%% Less than a second after a refusal that was logged before the crash.
refused_just_after_a_restart_is_logged() ->
    ok = set_limit(full, 0),
    refuse(full),
    ?assertEqual(1, line(full, ?MS)),
    crash(),
    restart(),
    refuse(full),
    ?assertEqual(1, line(full, ?MS)).

every_way_to_be_refused_is_logged() ->
    [ok = set_limit(Role, 0) || Role <- [checked, tried, within]],
    {error, _} = check_capacity(checked, a),
    {error, _} = try_enqueue(tried, self()),
    {error, _} = with_capacity(within, a, fun() -> ok end),
    ?assertEqual([1, 1, 1], [line(Role, ?MS) || Role <- [checked, tried, within]]).

nothing_refused_nothing_logged() ->
    ok = set_limit(full, 0),
    [ok = record_enqueue(full, a) || _ <- lists:seq(1, 10)],
    ok = ?LIMITS:set_enabled(false),
    [ok = try_enqueue(full, a) || _ <- lists:seq(1, 10)],
    ok = check_capacity(other, a),
    ?assertEqual(none, line(full, 1500)),
    ?assertEqual([], [Line || Line <- element(2, process_info(self(), messages)), element(1, Line) =:= logged]).

a_million_refusals_are_a_handful_of_lines() ->
    {Owners, Each} = {100000, 10},
    ok = set_limit(full, 1),
    Results = parallel(Owners, fun(_) ->
        ok = record_enqueue(full, self()),
        Begun = now_ms(),
        [{error, _} = try_enqueue(full, self()) || _ <- lists:seq(1, Each)],
        {Begun, now_ms()}
    end),
    {Begun, Ended} = {lists:min([B || {B, _} <- Results]), lists:max([E || {_, E} <- Results])},
    Lines = lines(full, Owners * Each),
    ?assert(length(Lines) =< 3 + (Ended - Begun) div 1000, {Begun, Ended, Lines}),
    ?assertEqual([Owners * Each], erlmcp_native_test_lib:stats([total_rejected], full)).

odd_messages_test_() ->
    erlmcp_native_test_lib:with_service([
        fun() ->
            Service = whereis(?LIMITS),
            ok = record_enqueue(session, a),
            ?assertEqual({error, unknown_call}, gen_server:call(?LIMITS, make_ref())),
            ok = gen_server:cast(?LIMITS, make_ref()),
            [
                ?LIMITS ! Odd
             || Odd <- [hello, {refused, unknown}, {refused, session}, {log_again, unknown}] ++
                    [sample, {'EXIT', self(), crash}, {refused, 1}, {log_again, "1"}]
            ],
            ?assertEqual({error, unknown_call}, gen_server:call(?LIMITS, last)),
            ?assertEqual(Service, whereis(?LIMITS)),
            ?assertEqual(1, ?LIMITS:get_queue_depth(session, a))
        end
    ]).

%% What is configured is defined at the start and by a reload; what a hand has defined stays.
rates_test_() ->
    {setup, fun erlmcp_native_test_lib:quiet/0, fun erlmcp_native_test_lib:loud/1, [
        fun configured_rates_come_and_go/0,
        fun wrong_rates_change_nothing/0,
        {timeout, 60, fun who_asks_while_it_starts_and_stops_is_told_that_it_is_not_started/0}
    ]}.

configured_rates_come_and_go() ->
    with_rates(#{a => #{rate => {1, hour}, burst => 4}, b => [{rate, {2, minute}}]}, fun() ->
        ?assertEqual([a, b], erlmcp_overload_rate:names()),
        ?assertMatch(#{rate := {2, minute}, burst := 2}, erlmcp_overload_rate:info(b)),
        {ok, 2} = erlmcp_overload_rate:take(a, t, 2),
        ok = erlmcp_overload_rate:define(b, #{rate => {3, second}}),
        ok = erlmcp_overload_rate:define(c, #{rate => {4, second}}),
        Reload = fun(Rates) ->
            ok = application:set_env(erlmcp_native, rates, Rates),
            ok = erlmcp_limits_server:reload_config()
        end,
        Reload(#{a => #{rate => {1, hour}, burst => 8}, b => #{rate => {2, hour}}, d => #{rate => {5, second}}}),
        ?assertEqual([a, b, c, d], erlmcp_overload_rate:names()),
        ?assertMatch({ok, 3}, erlmcp_overload_rate:take(a, t)),
        ?assertMatch(#{rate := {3, second}}, erlmcp_overload_rate:info(b)),
        Reload(#{}),
        ?assertEqual([b, c], erlmcp_overload_rate:names())
    end).

wrong_rates_change_nothing() ->
    with_rates(#{a => #{rate => {1, hour}}}, fun() ->
        [
            begin
                ok = application:set_env(erlmcp_native, rates, Rates),
                ?assertMatch(
                    {error, {bad_config, #{key := [rates | _]}}}, erlmcp_limits_server:reload_config()
                )
            end
         || Rates <- [#{a => #{}}, #{a => #{rate => {0, second}}}, #{~"a" => #{rate => {1, second}}}]
        ],
        ?assertMatch(#{rate := {1, hour}}, erlmcp_overload_rate:info(a))
    end).

%% And never that a rate is not defined that is configured.
who_asks_while_it_starts_and_stops_is_told_that_it_is_not_started() ->
    Ask = fun Ask(Answers) ->
        receive
            {stop, Whom} -> Whom ! {answers, self(), Answers}
        after 0 ->
            Ask(maps:merge(Answers, #{asked() => true}))
        end
    end,
    Asking = [spawn_link(fun() -> Ask(#{}) end) || _ <- "abc"],
    [with_rates(#{a => #{rate => {1000000, second}}}, fun() -> ok end) || _ <- lists:seq(1, 50)],
    [Pid ! {stop, self()} || Pid <- Asking],
    Answers = [receive {answers, Pid, Answers} -> maps:keys(Answers) end || Pid <- Asking],
    ?assertEqual([noproc, ok], lists:usort(lists:append(Answers))).

asked() ->
    try erlmcp_overload_rate:take(a, t) of
        {ok, _} -> ok;
        {error, {rate_limited, _}} -> ok
    catch
        exit:{noproc, _} -> noproc;
        error:Reason -> Reason
    end.

with_rates(Rates, Test) ->
    ok = application:set_env(erlmcp_native, rates, Rates),
    {ok, Pid} = erlmcp_queue_limits:start_link(),
    try
        Test()
    after
        ok = gen_server:stop(Pid),
        ok = application:unset_env(erlmcp_native, rates)
    end.
