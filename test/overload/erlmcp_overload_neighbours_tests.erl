%% The default handler against erlmcp's modules: as they are, absent, crashing and hanging.
-module(erlmcp_overload_neighbours_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_queue_limits, [set_limit/2, forget/2]).
-import(erlmcp_overload_test_lib, [start/1, fill/3, drain/3, handler/1, next/1, until/2, stand_in/2, without/1]).

-define(M, erlmcp_overload_monitor).
-define(HEALTH, erlmcp_health_monitor).
-define(BREAKER, erlmcp_circuit_breaker).
-define(DEFAULT, {erlmcp_overload_default_handler, []}).

neighbours_test_() ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name),
            {timeout, 60, fun() ->
                erlmcp_overload_test_lib:start([{handlers, [?DEFAULT]}]),
                Test()
            end}}
     || Test <- [
            fun all_are_told/0,
            fun the_milder_levels/0,
            fun a_role_is_reported_once_and_again_when_it_comes_back/0,
            fun it_is_reported_again_after_the_switch/0,
            fun it_is_reported_again_after_a_reset/0,
            fun nobody_is_there/0,
            fun modules_without_processes/0,
            fun a_health_monitor_without_breakers/0,
            fun a_crashing_breaker_hurts_nobody/0,
            fun a_hanging_breaker_hurts_nobody/0,
            fun a_crashing_component_hurts_nobody/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

up() ->
    Level = erlmcp_overload_test_lib:up(),
    {ok, Plane} = erlmcp_control_plane:start_link(),
    unlink(Plane),
    ok = stand_in(?HEALTH, [
        "report_degradation(Id) -> gen_server:cast(erlmcp_health_monitor, {degraded, Id}).",
        "report_circuit_breaker(Id, State) -> gen_server:cast(erlmcp_health_monitor, {breaker, Id, State})."
    ]),
    ok = stand_in(?BREAKER, [
        "force_open(Name) -> gen_statem:call(Name, force_open).",
        "force_close(Name) -> gen_statem:call(Name, force_close)."
    ]),
    Level.

down(Level) ->
    ok = gen_server:stop(erlmcp_control_plane),
    [without(Module) || Module <- [?HEALTH, ?BREAKER]],
    erlmcp_overload_test_lib:down(Level).

%% While Fun runs a process of this name tells the caller what it is sent, answers calls, and does this.
with(Name, Act, Fun) ->
    Self = self(),
    Pid = spawn(fun() -> serve(Self, Name, Act) end),
    true = register(Name, Pid),
    try
        Fun()
    after
        whereis(Name) =:= Pid andalso unregister(Name),
        erlmcp_overload_test_lib:end_all([Pid])
    end.

serve(Self, Name, Act) ->
    receive
        {'$gen_cast', What} ->
            Self ! {Name, What};
        {'$gen_call', From, What} ->
            Self ! {Name, What},
            Act(What),
            gen:reply(From, ok)
    end,
    serve(Self, Name, Act).

answer(_) ->
    ok.

component(Name) ->
    Self = self(),
    ok = erlmcp_control_plane:register_component(Name, fun({control, circuit_breaker, #{action := Action}}) ->
        Self ! {component, Action},
        ok
    end).

told(Tag) ->
    next(Tag).

all_are_told() ->
    component(r),
    ok = set_limit(r, 10),
    with(?HEALTH, fun answer/1, fun() ->
        with(r, fun answer/1, fun() ->
            fill(r, a, 10),
            Told = lists:sort([told(?HEALTH) || _ <- [1, 2, 3]]),
            ?assertEqual([{degraded, r}, {degraded, r}, {breaker, r, open}], Told),
            ?assertEqual([force_open, open], [told(r), told(component)]),
            drain(r, a, 10),
            ?assertEqual([{breaker, r, closed}, force_close, close], [told(?HEALTH), told(r), told(component)])
        end)
    end).

%% What was told, the markers left out. A barrier: what was told before this alert has been dealt with by the default
%% handler.
settle(Marker) ->
    _ = [sys:get_state(?M) || _ <- [1, 2]],
    ok = set_limit(Marker, 1),
    fill(Marker, a, 1),
    lists:sort(settled(Marker)).

settled(Marker) ->
    case told(?HEALTH) of
        {breaker, Marker, open} -> [];
        Event when element(2, Event) =:= r -> [Event | settled(Marker)];
        _ -> settled(Marker)
    end.

the_milder_levels() ->
    ok = set_limit(r, 10),
    with(?HEALTH, fun answer/1, fun() ->
        fill(r, a, 8),
        ?assertEqual([], settle(m1)),
        fill(r, a, 1),
        ?assertEqual([{degraded, r}], settle(m2)),
        fill(r, b, 9),
        ?assertEqual([], settle(m3))
    end).

a_role_is_reported_once_and_again_when_it_comes_back() ->
    ok = set_limit(r, 1),
    with(?HEALTH, fun answer/1, fun() ->
        [fill(r, Owner, 1) || Owner <- [a, b, c]],
        ?assertEqual([{degraded, r}, {breaker, r, open}], settle(m1)),
        [ok = forget(r, Owner) || Owner <- [a, b, c]],
        ?assertEqual([{breaker, r, closed}], settle(m2)),
        fill(r, a, 1),
        ?assertEqual([{degraded, r}, {breaker, r, open}], settle(m3))
    end).

it_is_reported_again_after_the_switch() ->
    later_episode(fun() ->
        ok = ?M:set_enabled(false),
        ok = forget(r, a),
        ok = ?M:set_enabled(true)
    end).

it_is_reported_again_after_a_reset() ->
    later_episode(fun() ->
        ok = ?M:reset_alerts(),
        ok = forget(r, a)
    end).

%% A role that is well in between is degraded anew.
later_episode(Between) ->
    ok = set_limit(r, 1),
    with(?HEALTH, fun answer/1, fun() ->
        fill(r, a, 1),
        ?assertEqual([{degraded, r}, {breaker, r, open}], settle(m1)),
        Between(),
        ?assertEqual([{breaker, r, closed}], [E || M <- [m2, m4], E <- settle(M), element(2, E) =:= r]),
        fill(r, a, 1),
        ?assertEqual([{degraded, r}, {breaker, r, open}], [E || E <- settle(m3), element(2, E) =:= r])
    end).

nobody_is_there() ->
    [without(Module) || Module <- [?HEALTH, ?BREAKER]],
    ok = gen_server:stop(erlmcp_control_plane),
    unharmed(),
    {ok, Plane} = erlmcp_control_plane:start_link(),
    unlink(Plane).

modules_without_processes() ->
    unharmed().

%% The default handler is the one it was, and told of everything: the component hears last.
unharmed() ->
    Pid = worker(),
    ok = set_limit(u, 10),
    fill(u, a, 10),
    drain(u, a, 10),
    ok = stand_in(?HEALTH, [
        "report_degradation(Id) -> gen_server:cast(erlmcp_health_monitor, {degraded, Id}).",
        "report_circuit_breaker(Id, State) -> gen_server:cast(erlmcp_health_monitor, {breaker, Id, State})."
    ]),
    with(?HEALTH, fun answer/1, fun() -> settle(marker) end),
    ?assertEqual(Pid, worker()).

%% The process that runs the default handler.
worker() ->
    [Pid] = [
        P
     || P <- processes(),
        {dictionary, D} <- [process_info(P, dictionary)],
        {'$initial_call', {erlmcp_overload_worker, enter, 2}} <- D,
        is_default(P)
    ],
    Pid.

is_default(Pid) ->
    {links, Links} = process_info(Pid, links),
    {Handlers, _Added} = persistent_term:get({erlmcp_overload_handlers, kept}),
    lists:any(fun(Link) -> lists:member({?DEFAULT, Link}, Handlers) end, Links).

a_health_monitor_without_breakers() ->
    without(?HEALTH),
    ok = stand_in(?HEALTH, ["report_degradation(Id) -> gen_server:cast(erlmcp_health_monitor, {degraded, Id})."]),
    component(r),
    Pid = worker(),
    ok = set_limit(r, 1),
    with(?HEALTH, fun answer/1, fun() ->
        fill(r, a, 1),
        ?assertEqual([{degraded, r}, open], [told(?HEALTH), told(component)]),
        ok = forget(r, a),
        ?assertEqual(close, told(component))
    end),
    ?assertEqual(Pid, worker()).

%% Others are told all the same, and admission goes on.
hurts_nobody(Act) ->
    erlmcp_overload_test_lib:stop(),
    Good = make_ref(),
    ok = start([{handlers, [?DEFAULT, handler(Good)]}]),
    Monitor = whereis(?M),
    component(r),
    ok = set_limit(r, 1),
    with(?HEALTH, fun answer/1, fun() ->
        with(r, Act, fun() ->
            fill(r, a, 1),
            ?assertEqual([{alert, {overload, r, a, 1, 1}}], until(Good, {r, open})),
            ?assertEqual(force_open, told(r)),
            ok = forget(r, a),
            _ = until(Good, {r, close})
        end),
        ok = set_limit(s, 1),
        fill(s, a, 1),
        ?assertEqual([{alert, {overload, s, a, 1, 1}}], until(Good, {s, open})),
        eventually_told({degraded, s})
    end),
    ?assertEqual(Monitor, whereis(?M)).

eventually_told(Event) ->
    receive
        {?HEALTH, Event} -> ok
    after 8000 -> error({not_told, Event})
    end.

a_crashing_breaker_hurts_nobody() ->
    hurts_nobody(fun(_) -> exit(stand_in_crashes) end).

%% Until it is killed.
a_hanging_breaker_hurts_nobody() ->
    hurts_nobody(fun(_) ->
        receive
            never -> ok
        end
    end).

a_crashing_component_hurts_nobody() ->
    ok = erlmcp_control_plane:register_component(r, fun(_) -> exit(stand_in_crashes) end),
    ok = set_limit(r, 1),
    with(?HEALTH, fun answer/1, fun() ->
        fill(r, a, 1),
        ?assertEqual([{degraded, r}, {breaker, r, open}], settle(m1))
    end).
