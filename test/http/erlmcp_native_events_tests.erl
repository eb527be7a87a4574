%% The hub, with processes that stand in for streams.
-module(erlmcp_native_events_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_test_lib, [start_hub/1, stop_hub/0, publish/1]).
-import(erlmcp_native_test_lib, [eventually/1]).

-define(M, erlmcp_native_events).
-define(HANDLER, {erlmcp_native_events_handler, erlmcp_native_events}).
-define(PATIENCE_MS, 5000).

hub_test_() ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name), {timeout, 60, Test}}
     || Test <- [
            fun nobody_costs_nothing/0,
            fun a_stream_gets_a_snapshot_at_once_and_each_second/0,
            fun all_get_the_same_snapshot/0,
            fun alerts_come_at_once/0,
            fun breakers_come_too/0,
            fun a_stream_of_changes_begins_with_all/0,
            fun nothing_waits_for_a_busy_stream/0,
            fun what_came_meanwhile_is_merged/0,
            fun a_slow_stream_is_told_what_it_missed/0,
            fun whoever_comes_again_goes_on/0,
            fun a_number_that_has_not_been/0,
            fun so_many_and_no_more/0,
            fun the_dead_leave/0,
            fun it_listens_while_somebody_does/0,
            fun it_listens_a_while_longer/0,
            fun a_monitor_that_comes_later/0,
            fun a_monitor_that_is_restarted/0,
            fun a_monitor_that_crashes/0,
            fun a_monitor_that_crashes_as_the_last_leaves/0,
            fun a_hub_that_was_killed_is_cleaned_up_after/0,
            fun a_hub_that_stops_listens_no_more/0,
            fun numbers_grow_over_restarts/0,
            fun services_that_are_not_there/0,
            fun a_storm_is_taken_one_by_one/0,
            fun the_fullest_are_not_looked_for_all_the_time/0,
            fun without_a_hub/0,
            fun strays_do_no_harm/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

up() ->
    erlmcp_native_self:start(),
    Level = erlmcp_overload_test_lib:up(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    start_hub(0),
    Level.

down(Level) ->
    stop_hub(),
    erlmcp_overload_test_lib:down(Level).

fill(Role, Owner, Times) ->
    erlmcp_overload_test_lib:fill(Role, Owner, Times).

%% A process that joins and tells the caller what it gets; it asks for more when it is told to.
stream() ->
    stream(none).

stream(LastId) ->
    stream(LastId, whole).

stream(LastId, Wish) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        {ok, Position} = ?M:join(1000, LastId, Wish),
        Self ! {self(), joined},
        stream_loop(Self, Position)
    end),
    receive
        {Pid, joined} -> Pid
    end.

stream_loop(Owner, Position) ->
    receive
        more ->
            ok = ?M:next(Position),
            stream_loop(Owner, Position);
        {?M, Next, Events} ->
            Owner ! {self(), Events},
            stream_loop(Owner, Next)
    end.

more(Pid) ->
    Pid ! more,
    Pid.

got(Pid) ->
    receive
        {Pid, Events} -> [read(Event) || Event <- Events]
    after ?PATIENCE_MS -> error(nothing_came)
    end.

read(Event) ->
    [<<"id: ", Id/binary>>, <<"event: ", Name/binary>>, <<"data: ", Json/binary>>, <<>>, <<>>] =
        binary:split(iolist_to_binary(Event), ~"\n", [global]),
    {binary_to_integer(Id), Name, json:decode(Json)}.

names(Events) ->
    [Name || {_, Name, _} <- Events].

%% What comes until something other than snapshots.
news(Pid) ->
    case [Event || {_, Name, _} = Event <- got(more(Pid)), Name =/= ~"snapshot"] of
        [] -> news(Pid);
        Events -> Events
    end.

leave(Pid) ->
    unlink(Pid),
    erlmcp_native_test_lib:kill(Pid).

%% Sets a level of a role of its own.
cross(Role) ->
    ok = erlmcp_queue_limits:set_limit(Role, 1),
    fill(Role, Role, 1).

handlers() ->
    {_, Added} = persistent_term:get({erlmcp_overload_handlers, kept}),
    Added.

%% Also where an event comes first, and a snapshot is on the way that was begun for others.
a_stream_of_changes_begins_with_all() ->
    [Sampler, Snapshots] = [7, 5],
    Monitor = make_ref(),
    _ = sys:replace_state(?M, fun(Hub) -> setelement(Sampler, setelement(Snapshots, Hub, 9), Monitor) end),
    Pid = stream(none, changes),
    ok = publish({breaker, r, open}),
    ?assertMatch([{_, ~"breaker", _}], got(more(Pid))),
    Sample = fun(Json, Change) -> {sample, Json, Change, erlmcp_native_event_sample:none()} end,
    ?M ! {'DOWN', Monitor, process, self(), Sample(~'{"at":2}', ~'{"at":2}')},
    ?assertMatch([{_, ~"snapshot", #{~"at" := 2}}], got(more(Pid))),
    leave(Pid).

nobody_costs_nothing() ->
    ?assertEqual([], handlers()),
    Pid = stream(),
    [{_, ~"snapshot", _}] = got(more(Pid)),
    leave(Pid),
    eventually(fun() -> handlers() =:= [] end),
    _ = sys:get_state(?M),
    ?assertMatch(#{http_streams := 0}, erlmcp_native_self:read()),
    %% It has answered, and on a busy machine not yet gone to wait.
    eventually(fun() -> process_info(whereis(?M), status) =:= {status, waiting} end),
    Session = trace:session_create(?MODULE, self(), []),
    1 = trace:process(Session, whereis(?M), true, [running, 'receive']),
    %% Longer than the time between two snapshots.
    receive
        {trace, _, _, _} = Busy -> error(Busy)
    after 1500 -> ok
    end,
    true = trace:session_destroy(Session).

a_stream_gets_a_snapshot_at_once_and_each_second() ->
    Begun = erlang:monotonic_time(millisecond),
    Pid = stream(),
    fill(r, a, 3),
    [{Id, ~"snapshot", _}] = got(more(Pid)),
    ?assert(erlang:monotonic_time(millisecond) - Begun < 1000),
    [{Id, ~"snapshot", #{~"roles" := Roles, ~"fullest" := Fullest}}] = got(more(Pid)),
    Took = erlang:monotonic_time(millisecond) - Begun,
    ?assert(Took >= 900),
    ?assertMatch([#{~"depth" := 3}], [Row || #{~"role" := ~"r"} = Row <- Roles]),
    ?assertMatch([#{~"role" := ~"r", ~"process" := ~"a", ~"depth" := 3}], Fullest),
    [{Id, ~"snapshot", _}] = got(more(Pid)).

all_get_the_same_snapshot() ->
    Pids = [stream() || _ <- lists:seq(1, 50)],
    First = [got(more(Pid)) || Pid <- Pids],
    ?assertMatch([[{_, ~"snapshot", _}]], lists:uniq(First)),
    [more(Pid) || Pid <- Pids],
    ?assertEqual(1, length(lists:uniq([got(Pid) || Pid <- Pids]))),
    %% Whoever comes later gets the last one, at once.
    Late = stream(),
    ?assertMatch([{_, ~"snapshot", _}], got(more(Late))).

alerts_come_at_once() ->
    Pid = stream(),
    [{Id, ~"snapshot", _}] = got(more(Pid)),
    ok = erlmcp_queue_limits:set_limit(r, 10),
    fill(r, self(), 8),
    Me = list_to_binary(pid_to_list(self())),
    [{First, ~"alert", Alert}] = news(Pid),
    ?assertEqual(Id + 1, First),
    ?assertMatch(
        #{
            ~"what" := ~"raised",
            ~"level" := ~"warning",
            ~"role" := ~"r",
            ~"process" := Me,
            ~"depth" := 8,
            ~"limit" := 10,
            ~"utilization" := 0.8,
            ~"timestamp" := _
        },
        Alert
    ),
    erlmcp_overload_test_lib:drain(r, self(), 8),
    [{Second, ~"alert", #{~"what" := ~"cleared", ~"level" := ~"warning", ~"role" := ~"r"}}] = news(Pid),
    ?assertEqual(Id + 2, Second).

breakers_come_too() ->
    Pid = stream(),
    [_] = got(more(Pid)),
    cross(r),
    Events = until(Pid, ~"breaker", []),
    ?assertMatch([{_, _, #{~"role" := ~"r", ~"action" := ~"open"}}], [E || {_, ~"breaker", _} = E <- Events]),
    ok = erlmcp_queue_limits:forget(r, r),
    Later = until(Pid, ~"breaker", []),
    ?assertMatch([{_, _, #{~"role" := ~"r", ~"action" := ~"close"}}], [E || {_, ~"breaker", _} = E <- Later]).

until(Pid, Name, Seen) ->
    All = Seen ++ news(Pid),
    case lists:member(Name, names(All)) of
        true -> All;
        false -> until(Pid, Name, All)
    end.

nothing_waits_for_a_busy_stream() ->
    Pid = stream(),
    [_] = got(more(Pid)),
    Other = stream(),
    [_] = got(more(Other)),
    [ok = publish({breaker, r, open}) || _ <- lists:seq(1, 1000)],
    ?assertMatch([{_, ~"missed", _} | _], news(Other)),
    receive
        {Pid, _} -> error(not_asked_for)
    after 0 -> ok
    end,
    ?assertEqual({message_queue_len, 0}, process_info(Pid, message_queue_len)).

what_came_meanwhile_is_merged() ->
    Pid = stream(),
    [{Id, _, _}] = got(more(Pid)),
    [ok = publish({breaker, Role, open}) || Role <- [a, b, c]],
    Events = [Event || {_, Name, _} = Event <- got(more(Pid)), Name =/= ~"snapshot"],
    ?assertMatch([{_, _, #{~"role" := ~"a"}}, {_, _, #{~"role" := ~"b"}}, {_, _, #{~"role" := ~"c"}}], Events),
    ?assertEqual([Id + 1, Id + 2, Id + 3], [I || {I, _, _} <- Events]),
    %% With a snapshot where it belongs: numbers never fall.
    [ok = publish({breaker, Role, close}) || Role <- [a, b]],
    Before = last_snapshot(),
    eventually(fun() -> last_snapshot() =/= Before end),
    ok = publish({breaker, c, close}),
    ?assertEqual(
        [{Id + 4, ~"breaker"}, {Id + 5, ~"breaker"}, {Id + 5, ~"snapshot"}, {Id + 6, ~"breaker"}],
        [{I, Name} || {I, Name, _} <- got(more(Pid))]
    ).

%% When the last snapshot was taken, as a stream sees it that comes now.
last_snapshot() ->
    Other = stream(),
    [{_, ~"snapshot", #{~"at_ms" := AtMs}}] = got(more(Other)),
    leave(Other),
    AtMs.

a_slow_stream_is_told_what_it_missed() ->
    Pid = stream(),
    [{Id, _, _}] = got(more(Pid)),
    [ok = publish({breaker, r, open}) || _ <- lists:seq(1, 300)],
    [{At, ~"missed", #{~"events" := 44}} | Events] = [E || {_, Name, _} = E <- got(more(Pid)), Name =/= ~"snapshot"],
    ?assertEqual(Id + 44, At),
    ?assertEqual(lists:seq(Id + 45, Id + 300), [I || {I, _, _} <- Events]),
    ok = publish({breaker, r, open}),
    ?assertMatch([{_, ~"breaker", _}], news(Pid)).

whoever_comes_again_goes_on() ->
    Stay = stream(),
    [{Id, _, _}] = got(more(Stay)),
    [ok = publish({breaker, Role, open}) || Role <- [a, b, c]],
    Again = stream(Id + 1),
    ?assertMatch([{_, _, #{~"role" := ~"b"}}, {_, _, #{~"role" := ~"c"}}], news(Again)),
    Last = stream(Id + 3),
    ?assertMatch([~"snapshot"], names(got(more(Last)))),
    New = stream(),
    ?assertMatch([~"snapshot"], names(got(more(New)))).

a_number_that_has_not_been() ->
    [Event] = got(more(stream())),
    {Id, ~"snapshot", _} = Event,
    ok = publish({breaker, a, open}),
    Odd = [stream(Number) || Number <- [Id + 2, 1 bsl 70]],
    [?assertMatch([{Last, ~"snapshot", _}] when Last =:= Id + 1, got(more(Pid))) || Pid <- Odd],
    ok = publish({breaker, b, open}),
    [?assertMatch([{_, ~"breaker", #{~"role" := ~"b"}}], news(Pid)) || Pid <- Odd],
    %% One of a hub before this: all that is kept.
    ?assertMatch([{_, ~"breaker", #{~"role" := ~"a"}}, {_, ~"breaker", #{~"role" := ~"b"}}], news(stream(1))).

so_many_and_no_more() ->
    Pids = [stream() || _ <- lists:seq(1, 5)],
    ?assertEqual({error, full}, ?M:join(5, none, whole)),
    ?assertMatch(#{http_streams := 5}, erlmcp_native_self:read()),
    leave(hd(Pids)),
    eventually(fun() -> maps:get(http_streams, erlmcp_native_self:read()) =:= 4 end),
    ?assertMatch({ok, _}, ?M:join(5, none, whole)).

the_dead_leave() ->
    Pids = [stream() || _ <- lists:seq(1, 100)],
    [more(Pid) || Pid <- Pids],
    [got(Pid) || Pid <- Pids],
    [leave(Pid) || Pid <- Pids],
    eventually(fun() -> maps:get(http_streams, erlmcp_native_self:read()) =:= 0 end),
    {monitors, Monitors} = process_info(whereis(?M), monitors),
    ?assertEqual([], [Pid || {process, Pid} <- Monitors, lists:member(Pid, Pids)]).

it_listens_while_somebody_does() ->
    One = stream(),
    Two = stream(),
    eventually(fun() -> handlers() =:= [?HANDLER] end),
    leave(One),
    ok = publish({breaker, r, open}),
    eventually(fun() -> handlers() =:= [?HANDLER] end),
    leave(Two),
    eventually(fun() -> handlers() =:= [] end).

it_listens_a_while_longer() ->
    stop_hub(),
    start_hub(400),
    One = stream(),
    [{Id, _, _}] = got(more(One)),
    leave(One),
    cross(r),
    Again = stream(Id),
    ?assertMatch([{_, ~"alert", #{~"role" := ~"r"}} | _], until(Again, ~"alert", [])),
    leave(Again),
    eventually(fun() -> handlers() =:= [?HANDLER] end),
    eventually(fun() -> handlers() =:= [] end).

a_monitor_that_comes_later() ->
    ok = erlmcp_overload_test_lib:stop(),
    Pid = stream(),
    [{_, ~"snapshot", #{~"services" := #{~"erlmcp_overload_monitor" := false}, ~"fullest" := []}}] = got(more(Pid)),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    eventually(fun() -> handlers() =:= [?HANDLER] end),
    cross(r),
    ?assertMatch([{_, ~"alert", _} | _], until(Pid, ~"alert", [])).

a_monitor_that_is_restarted() ->
    Pid = stream(),
    eventually(fun() -> handlers() =:= [?HANDLER] end),
    ok = erlmcp_native_http_test_lib:restart(erlmcp_overload_monitor),
    eventually(fun() -> handlers() =:= [?HANDLER] end),
    cross(r),
    ?assertMatch([{_, ~"alert", _} | _], until(Pid, ~"alert", [])).

a_monitor_that_crashes() ->
    Pid = stream(),
    eventually(fun() -> handlers() =:= [?HANDLER] end),
    ok = erlmcp_overload_test_lib:crash(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    eventually(fun() -> handlers() =:= [?HANDLER] end),
    cross(r),
    ?assertMatch([{_, ~"alert", _} | _], until(Pid, ~"alert", [])),
    leave(Pid),
    eventually(fun() -> handlers() =:= [] end).

timer_of({state, _, _, _, _, _, _, _, Timer, _, _}) -> Timer.

a_monitor_that_crashes_as_the_last_leaves() ->
    Pid = stream(),
    eventually(fun() -> handlers() =:= [?HANDLER] end),
    ok = erlmcp_overload_test_lib:crash(),
    leave(Pid),
    eventually(fun() -> maps:get(http_streams, erlmcp_native_self:read()) =:= 0 end),
    %% Until it has tried to delete its handler: its timer has fired.
    eventually(fun() -> timer_of(sys:get_state(?M)) =:= undefined end),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    eventually(fun() -> handlers() =:= [?HANDLER] end),
    cross(r),
    eventually(fun() -> handlers() =:= [] end).

a_hub_that_was_killed_is_cleaned_up_after() ->
    Pid = stream(),
    eventually(fun() -> handlers() =:= [?HANDLER] end),
    erlmcp_native_test_lib:kill(whereis(?M)),
    leave(Pid),
    start_hub(0),
    eventually(fun() -> handlers() =:= [] end),
    ?assertMatch(#{http_streams := 0}, erlmcp_native_self:read()).

a_hub_that_stops_listens_no_more() ->
    Pid = stream(),
    stop_hub(),
    leave(Pid),
    eventually(fun() -> handlers() =:= [] end),
    ?assertMatch(#{http_streams := 0}, erlmcp_native_self:read()).

numbers_grow_over_restarts() ->
    [{Id, _, _}] = got(more(stream())),
    [ok = publish({breaker, r, open}) || _ <- lists:seq(1, 100)],
    stop_hub(),
    start_hub(0),
    [{Later, _, _}] = got(more(stream())),
    ?assert(Later > Id + 100).

services_that_are_not_there() ->
    Pid = stream(),
    [_] = got(more(Pid)),
    [ok = gen_server:stop(Service) || Service <- [erlmcp_overload_monitor, erlmcp_queue_limits]],
    eventually(fun() -> [{_, ~"snapshot", #{~"roles" := Roles}}] = got(more(Pid)), Roles =:= [] end),
    {ok, Limits} = erlmcp_queue_limits:start_link(),
    unlink(Limits),
    fill(r, a, 1),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    eventually(fun() ->
        [{_, ~"snapshot", #{~"fullest" := Fullest}}] = got(more(Pid)),
        [Process || #{~"process" := Process} <- Fullest] =:= [~"a"]
    end).

%% Many roles cross at once, with streams that take everything and one that takes nothing. The hub's mailbox stays
%% short, all are told, and its memory is back afterwards.
a_storm_is_taken_one_by_one() ->
    Pid = stream(),
    Stuck = stream(),
    [_] = got(more(Pid)),
    [_] = got(more(Stuck)),
    Owners = erlmcp_overload_test_lib:idles(3000),
    ok = erlmcp_queue_limits:set_limit(r, 1),
    Hub = whereis(?M),
    Self = self(),
    Watcher = spawn_link(fun() -> longest(Self, Hub, 0) end),
    [fill(r, Owner, 1) || Owner <- Owners],
    %% Each owner, and the role's breaker.
    ?assertEqual(3001, told(Pid, 0)),
    Watcher ! done,
    receive
        {longest, Longest} -> ?assert(Longest =< 10)
    end,
    {memory, Memory} = begin erlang:garbage_collect(Hub), process_info(Hub, memory) end,
    ?assert(Memory < 500000),
    [{_, ~"missed", #{~"events" := Missed}} | Rest] = [E || {_, Name, _} = E <- got(more(Stuck)), Name =/= ~"snapshot"],
    ?assertEqual(3001, Missed + length(Rest)),
    erlmcp_overload_test_lib:end_all(Owners).

longest(Owner, Hub, Most) ->
    receive
        done -> Owner ! {longest, Most}
    after 0 ->
        {message_queue_len, Length} = process_info(Hub, message_queue_len),
        longest(Owner, Hub, max(Most, Length))
    end.

%% Events told, or told to have been missed.
told(_, Count) when Count >= 3001 ->
    Count;
told(Pid, Count) ->
    told(Pid, Count + lists:sum([lost(Event) || Event <- news(Pid)])).

lost({_, ~"missed", #{~"events" := Lost}}) -> Lost;
lost(_) -> 1.

%% A look that takes 200 ms is not repeated for 4 s.
the_fullest_are_not_looked_for_all_the_time() ->
    stop_hub(),
    true = register(?MODULE, self()),
    ok = erlmcp_overload_test_lib:stand_in(erlmcp_overload_monitor, [
        "add_handler(_, _) -> ok.",
        "delete_handler(_, _) -> ok.",
        "fullest(10) -> " ++ atom_to_list(?MODULE) ++ " ! looked, receive after 200 -> [row()] end.",
        "row() -> #{role => r, process => a, depth => 1, limit => 1, utilization => 1.0, status => overload}."
    ]),
    try
        start_hub(0),
        Pid = stream(),
        [
            ?assertMatch([{_, ~"snapshot", #{~"fullest" := [#{~"process" := ~"a"}]}}], got(more(Pid)))
         || _ <- lists:seq(1, 4)
        ],
        ?assertEqual(1, looks(0)),
        leave(Pid)
    after
        stop_hub(),
        erlmcp_overload_test_lib:without(erlmcp_overload_monitor),
        {module, _} = code:ensure_loaded(erlmcp_overload_monitor),
        true = unregister(?MODULE)
    end.

looks(Count) ->
    receive
        looked -> looks(Count + 1)
    after 0 -> Count
    end.

without_a_hub() ->
    stop_hub(),
    ?assertEqual({error, not_started}, ?M:join(1, none, whole)),
    ?assertEqual(ok, publish({breaker, r, open})).

strays_do_no_harm() ->
    Pid = stream(),
    ok = gen_server:cast(?M, stray),
    ok = gen_server:cast(?M, {next, self(), {0, 0}}),
    whereis(?M) ! stray,
    whereis(?M) ! {'DOWN', make_ref(), process, self(), normal},
    ?assertEqual({error, unknown_call}, gen_server:call(?M, stray)),
    ?assertMatch([{_, ~"snapshot", _}], got(more(Pid))).
