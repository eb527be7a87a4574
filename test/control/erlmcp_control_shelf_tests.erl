%% Components share what keeps their registrations, and neither lose them nor keep each other's.
-module(erlmcp_control_shelf_tests).

-include_lib("eunit/include/eunit.hrl").

-define(P, erlmcp_control_plane).
-define(C, erlmcp_control_test_lib).
-define(LIB, erlmcp_native_test_lib).
-define(STEPS, 600).
-define(IDS, 60).

shelf_test_() ->
    ?C:with_plane([
        {timeout, 60, fun each_keeps_its_own/0},
        fun what_is_gone_is_not_kept_for_its_neighbours/0,
        fun one_that_is_refused_moves_nobody/0
    ]).

%% Whoever comes and goes, large or small: each has its own registration after a crash of the service and its handler.
each_keeps_its_own() ->
    _ = rand:seed(exsss, 12),
    Steps = [{rand:uniform(?IDS), rand:uniform(4)} || _ <- lists:seq(1, ?STEPS)],
    Left = lists:foldl(fun step/2, #{}, lists:enumerate(Steps)),
    lists:foreach(fun(I) -> ok = ?P:unregister_component(id(I)) end, maps:keys(Left)),
    ?assertEqual([], ?P:components()).

step({N, {I, What}}, Registered) ->
    Now =
        case What of
            1 ->
                ok = ?P:unregister_component(id(I)),
                maps:remove(I, Registered);
            _ ->
                ok = ?P:register_component(id(I), handler(N, What)),
                Registered#{I => N}
        end,
    N rem 100 =:= 0 andalso all_answer(Now),
    Now.

%% The fourth kind has a large registration.
handler(N, 4) ->
    Ballast = lists:seq(1, 500),
    fun(Message) -> handle(Message, {N, length(Ballast) - 500}) end;
handler(N, _) ->
    fun(Message) -> handle(Message, {N, 0}) end.

handle({control, drain_session, _}, _) ->
    exit(self(), kill),
    receive never -> ok end;
handle(_, Answer) ->
    {error, Answer}.

all_answer(Registered) ->
    ok = ?C:crash(),
    ok = ?C:restart(),
    ?assertEqual(lists:sort([id(I) || I <- maps:keys(Registered)]), lists:sort(?P:components())),
    maps:foreach(
        fun(I, N) ->
            ?assertEqual({error, {handler_crashed, killed}}, ?P:send_drain_session(id(I), none)),
            ?assertEqual({error, {N, 0}}, ?P:send_health_check(id(I), full))
        end,
        Registered
    ).

what_is_gone_is_not_kept_for_its_neighbours() ->
    Words = 1_000_000,
    lists:foreach(fun(I) -> ok = ?P:register_component(id(I), handler(I, 2)) end, lists:seq(1, 10)),
    Before = erlang:memory(total),
    ok = ?P:register_component(heavy, heavy(Words)),
    ?assert(erlang:memory(total) > Before + 4 * Words),
    lists:foreach(fun(I) -> ok = ?P:register_component(id(I), handler(I, 2)) end, lists:seq(11, 20)),
    ok = ?P:unregister_component(heavy),
    true = erlang:garbage_collect(),
    true = erlang:garbage_collect(whereis(?P)),
    %% What is taken out of the registry is freed when more is.
    ok = ?LIB:eventually(fun() ->
        ok = ?P:register_component(passing, handler(0, 2)),
        ok = ?P:unregister_component(passing),
        erlang:memory(total) < Before + 4 * Words
    end).

%% A handler that is small, and has a large thing.
heavy(Words) ->
    Atomics = atomics:new(Words, []),
    fun(_) -> {error, atomics:get(Atomics, 1)} end.

one_that_is_refused_moves_nobody() ->
    Ids = [id(I) || I <- lists:seq(1, 1024)],
    lists:foreach(fun(Id) -> ok = ?P:register_component(Id, fun(_) -> {error, Id} end) end, Ids),
    ok = ?P:unregister_component(id(500)),
    ok = ?P:register_component(id(500), fun(_) -> {error, id(500)} end),
    More = fun(_) -> ?P:register_component(more, fun(_) -> ok end) end,
    [?assertEqual({error, too_many_components}, More(I)) || I <- lists:seq(1, 20)],
    ok = ?C:crash(),
    ok = ?C:restart(),
    ?assertEqual(1024, length(?P:components())),
    [?assertEqual({error, Id}, ?P:send_health_check(Id, full)) || Id <- Ids].

id(I) -> list_to_atom("erlmcp_control_shelf_" ++ integer_to_list(I)).
