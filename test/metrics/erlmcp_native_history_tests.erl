%% What is kept of the last day: as it was, as far as it is known, over crashes of whoever records it.
-module(erlmcp_native_history_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [eventually/2]).

-define(M, erlmcp_native_history).
-define(LIMITS, erlmcp_queue_limits).
-define(PATIENCE_MS, 30000).

history_test_() ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name), {timeout, 120, Test}}
     || Test <- [
            fun seconds_are_recorded/0,
            fun refusals_a_second/0,
            fun what_is_not_known_is_null/0,
            fun the_node_too/0,
            fun it_survives_who_records_it/0,
            fun a_stop_forgets_it/0,
            fun it_can_be_switched_off/0,
            fun it_counts_in_the_memory/0,
            fun fifty_roles_are_kept/0,
            fun wrong_arguments/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

up() ->
    _ = application:load(erlmcp_native),
    Level = erlmcp_overload_test_lib:up(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    Level.

down(Level) ->
    ok = application:unset_env(erlmcp_native, history),
    erlmcp_overload_test_lib:down(Level).

read(Role) ->
    #{roles := Rows} = ?M:read(last_10_minutes, {role, Role}),
    case Rows of
        [Row] -> Row;
        [] -> none
    end.

known(Role, Field) ->
    case read(Role) of
        none -> [];
        #{Field := Values} -> [Value || Value <- Values, Value =/= null]
    end.

%% As if a second had passed, for those who need not wait for it.
record() ->
    Next = erlmcp_native:history_record(own),
    ?assert(is_integer(Next) andalso Next >= 1 andalso Next =< 1000).

fill(Role, Owner, Times) ->
    [ok = ?LIMITS:record_enqueue(Role, Owner) || _ <- lists:seq(1, Times)],
    ok.

seconds_are_recorded() ->
    ok = fill(r, a, 7),
    eventually(fun() -> length(known(r, fullest)) >= 3 end, ?PATIENCE_MS),
    ?assertEqual([7], lists:usort(known(r, fullest))),
    #{to_ms := ToMs, step_ms := 1000, points := 600} = ?M:read(last_10_minutes, all),
    NowMs = erlang:system_time(millisecond),
    ?assert(ToMs =< NowMs andalso ToMs > NowMs - ?PATIENCE_MS),
    #{step_ms := 60000, points := 1440, roles := [#{role := r, fullest := Minutes}]} = ?M:read(last_day, {role, r}),
    ?assertEqual([7], lists:usort([Value || Value <- Minutes, Value =/= null])),
    [?assertEqual(1440, length(Values)) || Values <- [Minutes]],
    #{fullest := F, refused_per_s := R, max_wait_ms := W} = read(r),
    ?assertEqual([600, 600, 600], [length(Values) || Values <- [F, R, W]]).

refusals_a_second() ->
    ok = ?LIMITS:set_limit(r, 3),
    ok = fill(r, a, 3),
    eventually(fun() -> known(r, refused_per_s) =/= [] end, ?PATIENCE_MS),
    [{error, _} = ?LIMITS:try_enqueue(r, a) || _ <- lists:seq(1, 3)],
    %% All in one second, or in two.
    eventually(fun() -> lists:sum(known(r, refused_per_s)) >= 1 end, ?PATIENCE_MS),
    eventually(fun() -> lists:last(known(r, refused_per_s)) =:= 0 end, ?PATIENCE_MS),
    ?assert(lists:sum(known(r, refused_per_s)) =< 3),
    #{node := #{refused_per_s := OfAll}} = ?M:read(last_10_minutes, all),
    ?assert(lists:max([Value || Value <- OfAll, Value =/= null]) >= 1).

%% Of two owners only a check knows the fullest: before, it has no less than the mean. Nobody has waited.
what_is_not_known_is_null() ->
    ok = fill(r, a, 2),
    ok = fill(r, b, 5),
    eventually(fun() -> known(r, refused_per_s) =/= [] end, ?PATIENCE_MS),
    ?assertEqual([4], lists:usort(known(r, fullest))),
    ?assertEqual([], known(r, max_wait_ms)),
    ok = erlmcp_overload_monitor:force_check(),
    eventually(fun() -> lists:last(known(r, fullest)) =:= 5 end, ?PATIENCE_MS),
    ?assertEqual(none, read(nobody)).

the_node_too() ->
    {ok, Plane} = erlmcp_control_plane:start_link(),
    unlink(Plane),
    ok = erlmcp_control_plane:register_component(c, fun(_) -> ok end),
    Known = fun(Field) ->
        #{node := #{Field := Values}} = ?M:read(last_10_minutes, all),
        [Value || Value <- Values, Value =/= null]
    end,
    ?assertEqual([], Known(pressure)),
    eventually(
        fun() ->
            {ok, _} = erlmcp_control_plane:send_health_check(c, full),
            Known(control_p99_us) =/= []
        end,
        ?PATIENCE_MS
    ),
    ?assert(lists:all(fun(Us) -> Us > 0 andalso Us < 60000000 end, Known(control_p99_us))),
    ok = gen_server:stop(erlmcp_control_plane).

it_survives_who_records_it() ->
    ok = fill(r, a, 9),
    eventually(fun() -> known(r, fullest) =/= [] end, ?PATIENCE_MS),
    Before = whereis(?LIMITS),
    erlmcp_native_test_lib:kill(Before),
    ?assertEqual([9], lists:usort(known(r, fullest))),
    {ok, Pid} = ?LIMITS:start_link(),
    unlink(Pid),
    Had = length(known(r, fullest)),
    eventually(fun() -> length(known(r, fullest)) > Had end, ?PATIENCE_MS),
    ?assertEqual([9], lists:usort(known(r, fullest))).

a_stop_forgets_it() ->
    ok = fill(r, a, 9),
    eventually(fun() -> known(r, fullest) =/= [] end, ?PATIENCE_MS),
    ok = gen_server:stop(?LIMITS),
    ?assertEqual(off, ?M:read(last_10_minutes, all)),
    {ok, Pid} = ?LIMITS:start_link(),
    unlink(Pid),
    ?assertMatch(#{roles := []}, ?M:read(last_day, all)).

it_can_be_switched_off() ->
    ok = fill(r, a, 9),
    eventually(fun() -> known(r, fullest) =/= [] end, ?PATIENCE_MS),
    ok = application:set_env(erlmcp_native, history, false),
    ok = erlmcp_limits_server:reload_config(),
    ?assertEqual(off, ?M:read(last_10_minutes, all)),
    record(),
    ?assertEqual(off, ?M:read(last_day, all)),
    ok = application:set_env(erlmcp_native, history, true),
    ok = erlmcp_limits_server:reload_config(),
    eventually(fun() -> known(r, fullest) =/= [] end, ?PATIENCE_MS),
    ok = application:set_env(erlmcp_native, history, yes),
    ?assertMatch({error, {bad_config, #{key := history, value := yes}}}, erlmcp_limits_server:reload_config()).

memory() ->
    #{self := #{memory_bytes := Bytes}} = erlmcp_native:metrics_snapshot(own),
    Bytes.

%% Fifty roles take a quarter of a megabyte at most; more take no more.
it_counts_in_the_memory() ->
    Roles = [binary_to_atom(<<"role", (integer_to_binary(N))/binary>>) || N <- lists:seq(1, 200)],
    [ok = fill(Role, a, 1) || Role <- Roles],
    eventually(fun() -> #{roles := Rows} = ?M:read(last_10_minutes, all), length(Rows) =:= 50 end, ?PATIENCE_MS),
    With = memory(),
    ok = erlmcp_native:history_keep(false),
    Kept = With - memory(),
    ?assert(Kept =< 256 * 1024),
    ?assert(Kept > 240 * 1024).

fifty_roles_are_kept() ->
    Roles = [binary_to_atom(<<"role", (integer_to_binary(N))/binary>>) || N <- lists:seq(1, 60)],
    [ok = fill(Role, a, 1) || Role <- Roles],
    eventually(fun() -> #{left_out := Out} = ?M:read(last_10_minutes, all), Out =:= 10 end, ?PATIENCE_MS),
    #{roles := Rows} = ?M:read(last_day, all),
    Kept = [Role || #{role := Role} <- Rows],
    ?assertEqual(50, length(Kept)),
    ?assertEqual(Kept, lists:sort(Kept)),
    [] = Kept -- Roles.

wrong_arguments() ->
    [
        ?assertError(badarg, ?M:read(Span, Scope))
     || {Span, Scope} <- [{day, all}, {60, all}, {last_day, r}, {last_day, {role, "r"}}, {last_day, {}}, {<<>>, <<>>}]
    ],
    [
        ?assert(is_atom(erlmcp_native:history_read(Step, Role)))
     || {Step, Role} <- [{0, {}}, {2, {}}, {-1, {}}, {1.0, {}}, {1, "r"}, {60, 1}, {1 bsl 70, {}}, {r, {}}]
    ],
    ?assertEqual(bad_switch, erlmcp_native:history_keep(maybe_so)),
    ?assertEqual(bad_table, erlmcp_native:history_record(make_ref())).
