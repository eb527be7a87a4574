-module(erlmcp_native_soak_tokens).
-moduledoc """
Connections make tokens with permits, and cancel what they have not made yet; tasks are cancelled, done, killed, or let
go of, and connections die in between. At rest there are no tokens and no tombstones, no place is taken, and nothing
waits to be told.
""".
-behaviour(erlmcp_native_soak_actor).

-export([init/0, act/1, rest/1]).

-define(C, erlmcp_control_cancel).
-define(L, erlmcp_queue_limits).
-define(ROLE, soak_tokens).
-define(OWNER, soak_tasks).
-define(CONNECTIONS, 10).
-define(TASKS, 10).

-doc false.
-spec init() -> none.
init() ->
    ok = ?L:set_limit(?ROLE, infinity),
    none.

-doc false.
-spec act(none) -> {[atom()], none}.
act(none) ->
    Connections = [spawn_monitor(fun() -> connection(rand:uniform(5)) end) || _ <- lists:seq(1, ?CONNECTIONS)],
    receive after 2 -> ok end,
    Killed = [exit(Pid, kill) || {Pid, _} <- Connections, rand:uniform(2) =:= 1],
    [receive {'DOWN', Monitor, process, Pid, _} -> ok end || {Pid, Monitor} <- Connections],
    {[connections || _ <- Connections] ++ [connections_killed || _ <- Killed], none}.

connection(Ms) ->
    Self = self(),
    [ok = quietly(fun() -> ?C:cancel({task, N}, early) end) || N <- lists:seq(1, ?TASKS, 3)],
    Tasks = [spawn_monitor(fun() -> task(Self, N, rand:uniform(5)) end) || N <- lists:seq(1, ?TASKS)],
    receive after Ms -> ok end,
    [ok = quietly(fun() -> ?C:cancel({task, N}, late) end) || N <- lists:seq(2, ?TASKS, 3)],
    [exit(Pid, kill) || {Pid, _} <- Tasks, rand:uniform(3) =:= 1],
    [receive {'DOWN', Monitor, process, Pid, _} -> ok end || {Pid, Monitor} <- Tasks],
    ok.

task(Connection, N, Ms) ->
    quietly(fun() ->
        {ok, Permit} = ?L:acquire(?ROLE, ?OWNER),
        Alias = erlmcp_priority:create_priority_alias(),
        Token = ?C:new(#{id => {task, N}, owner => Connection, permit => Permit, notify => Alias}),
        receive
            {urgent, {cancelled, {task, N}, _}} -> true = ?C:is_cancelled(Token)
        after Ms -> ok
        end,
        _ = N rem 2 =:= 0 andalso ?C:done(Token),
        ok
    end).

%% A service may be away: chaos has killed it.
quietly(Fun) ->
    try
        Fun()
    catch
        exit:{noproc, _} -> ok
    end.

-doc false.
-spec rest(none) -> {[iodata()], none}.
rest(none) ->
    Left = fun() ->
        #{tokens := Tokens, tombstones := Tombstones, notices := Notices} = ?C:get_stats(),
        [Tokens, Tombstones, Notices, ?L:get_queue_depth(?ROLE, ?OWNER)]
    end,
    Finding = fun() -> io_lib:format("tokens, tombstones, notices and places that are left: ~0p", [Left()]) end,
    {erlmcp_native_soak_actor:eventually(fun() -> Left() =:= [0, 0, 0, 0] end, Finding), none}.
