%% A sender waits at priority high, and goes on at its own.
-module(erlmcp_control_haste_tests).

-export([an_end_to_haste/0]).

-include_lib("eunit/include/eunit.hrl").

-define(P, erlmcp_control_plane).
-define(C, erlmcp_control_test_lib).
-define(LIB, erlmcp_native_test_lib).

haste_test_() ->
    ?C:with_plane([
        fun whoever_waits_for_a_handler/0,
        fun whoever_waits_for_a_process/0,
        fun however_it_ends/0,
        fun not_with_the_lane_off/0,
        fun not_for_a_cast/0
    ]).

whoever_waits_for_a_handler() ->
    [
        begin
            ok = ?P:register_component(a, #{handler => seen(self()), priority => Handlers}),
            ?assertEqual({Waiting, Own}, at(Own, fun() -> ?P:send_health_check(a, full) end))
        end
     || {Own, Waiting} <- [{low, high}, {normal, high}, {high, high}, {max, max}], Handlers <- [high, normal]
    ].

whoever_waits_for_a_process() ->
    Test = self(),
    Peer = spawn_link(fun() ->
        Test ! {alias, erlmcp_priority:create_priority_alias()},
        (fun Loop() ->
            receive
                {priority, From, Message} ->
                    ok = ?P:reply(From, (seen(Test))(Message)),
                    Loop();
                stop ->
                    ok
            end
        end)()
    end),
    receive {alias, Alias} -> ok = ?P:register_component(a, #{alias => Alias}) end,
    ?assertEqual({high, normal}, at(normal, fun() -> send(a) end)),
    ?assertEqual({max, max}, at(max, fun() -> send(a) end)),
    Peer ! stop.

however_it_ends() ->
    Seen = seen(self()),
    Ways = [
        {ok, fun(_) -> ok end},
        {{error, no}, fun(_) -> {error, no} end},
        {{error, {handler_crashed, oops}}, fun(_) -> error(oops) end},
        {{error, {handler_crashed, killed}}, fun(_) -> exit(self(), kill), receive never -> ok end end},
        {{error, timeout}, fun(_) -> receive never -> ok end end}
    ],
    [
        begin
            Handler = fun(Message) -> ok = Seen(Message), Way(Message) end,
            ok = ?P:register_component(a, #{handler => Handler, timeout_ms => 300}),
            Send = fun() -> Wanted = ended(send(a)) end,
            ?assertEqual({high, normal}, at(normal, Send))
        end
     || {Wanted, Way} <- Ways
    ],
    %% Dead before it is sent to: the service is asked, which nobody is in haste for.
    ok = ?P:unregister_component(a),
    ?assertEqual({none, normal}, at(normal, fun() -> {error, component_not_registered} = send(a) end)).

not_with_the_lane_off() ->
    ok = ?P:register_component(a, seen(self())),
    ok = ?P:set_enabled(false),
    ?assertEqual({normal, normal}, at(normal, fun() -> send(a) end)),
    ok = ?P:set_enabled(true),
    ?assertEqual({high, normal}, at(normal, fun() -> send(a) end)).

not_for_a_cast() ->
    ok = ?P:register_component(a, seen(self())),
    Cast = fun() ->
        ok = ?P:cast_priority(a, {control, cancel_task, #{task_id => self()}}),
        receive stop -> ok end
    end,
    {Pid, Monitor} = spawn_monitor(Cast),
    receive {seen, Priority} -> ?assertEqual(normal, Priority) end,
    Pid ! stop,
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end.

ended({ok, _}) -> ok;
ended(Error) -> Error.

%% On a node with one scheduler, since each has its own account.
there_is_an_end_to_haste_test_() ->
    {timeout, 60, fun() ->
        Peer = ?LIB:peer(?LIB:ebins([?P, ?MODULE]), ["+S", "1"]),
        ok = peer:call(Peer, ?MODULE, an_end_to_haste, [], 30_000),
        ok = peer:stop(Peer)
    end}.

an_end_to_haste() ->
    {ok, _} = ?P:start_link(),
    Haste = fun(Ns, Times) -> [erlmcp_native:control_haste(Ns) || _ <- lists:seq(1, Times)] end,
    ?assertEqual(lists:duplicate(64, true) ++ [false, false], Haste(-1, 66)),
    ?assertEqual([true], Haste(0, 1)),
    ?assertEqual([true], Haste(1_000_000, 1)),
    ok = ?P:register_component(a, seen(self())),
    InVain = fun() ->
        _ = Haste(erlang:monotonic_time(nanosecond), 65),
        send(a)
    end,
    %% A new millisecond may have begun since.
    ?LIB:eventually(fun() -> at(normal, InVain) =:= {normal, normal} end).

send(Id) ->
    ?P:send_cancel_task(Id, self()).

%% A handler that tells the test at which priority the sender waits: its pid is the task, or it is the only one.
seen(Test) ->
    fun
        ({control, cancel_task, #{task_id := Sender}}) ->
            Test ! {seen, element(2, process_info(Sender, priority))},
            ok;
        (_) ->
            Test ! {seen, element(2, process_info(whereis(erlmcp_control_haste_sender), priority))},
            ok
    end.

%% The priority that a process of this priority was seen with while it sent, and the one afterwards.
at(Priority, Send) ->
    Sender = fun() ->
        true = register(erlmcp_control_haste_sender, self()),
        process_flag(priority, Priority),
        _ = Send(),
        exit({after_it, element(2, process_info(self(), priority))})
    end,
    {Pid, Monitor} = spawn_monitor(Sender),
    receive
        {'DOWN', Monitor, process, Pid, Reason} ->
            {after_it, After} = Reason,
            {receive {seen, Waiting} -> Waiting after 0 -> none end, After}
    end.
