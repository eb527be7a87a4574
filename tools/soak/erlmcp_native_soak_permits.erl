-module(erlmcp_native_soak_permits).
-moduledoc """
Callers take permits, for a pool and for owners that come and go, and are killed before they give them back, or leave
them to the garbage, or send them to somebody who is killed: at rest nobody holds one.
""".
-behaviour(erlmcp_native_soak_actor).

-export([init/0, act/1, rest/1]).

-define(L, erlmcp_queue_limits).
-define(ROLE, soak_permits).
-define(OWNER, soak_pool).
%% Has a second role, so that it is there while it is forgotten in this one.
-define(FORGOTTEN, soak_forgotten).
-define(OTHER_ROLE, soak_permits_too).
-define(CALLERS, 20).

-doc false.
-spec init() -> none.
init() ->
    ok = ?L:set_limit(?ROLE, ?CALLERS div 2),
    ok = ?L:record_enqueue(?OTHER_ROLE, ?FORGOTTEN),
    none.

-doc false.
-spec act(none) -> {[atom()], none}.
act(none) ->
    Owner = spawn(fun() -> receive stop -> ok end end),
    Callers = [spawn_monitor(fun() -> caller(N rem 4, Owner, rand:uniform(5)) end) || N <- lists:seq(1, ?CALLERS)],
    receive after 2 -> ok end,
    ok = ?L:forget(?ROLE, ?FORGOTTEN),
    true = exit(Owner, kill),
    Killed = [exit(Pid, kill) || {Pid, _} <- Callers, rand:uniform(2) =:= 1],
    [receive {'DOWN', Monitor, process, Pid, _} -> ok end || {Pid, Monitor} <- Callers],
    receive after 5 -> ok end,
    {[callers || _ <- Callers] ++ [callers_killed || _ <- Killed], none}.

caller(0, _, Ms) ->
    _ = ?L:with_capacity(?ROLE, ?OWNER, fun() -> receive after Ms -> ok end end),
    ok;
caller(1, Owner, Ms) ->
    [hold(Of, Ms, fun(Permit) -> _ = ?L:release(Permit) end) || Of <- [?OWNER, ?FORGOTTEN, Owner]],
    ok;
caller(2, Owner, Ms) ->
    [hold(Of, Ms, fun(_) -> erlang:garbage_collect() end) || Of <- [?OWNER, ?FORGOTTEN, Owner]],
    ok;
caller(3, Owner, Ms) ->
    [hold(Of, Ms, fun(Permit) -> Owner ! {permit, Permit} end) || Of <- [?OWNER, ?FORGOTTEN, Owner]],
    ok.

hold(Owner, Ms, Then) ->
    case ?L:acquire(?ROLE, Owner) of
        {ok, Permit} -> receive after Ms -> Then(Permit) end;
        {error, {capacity_exceeded, _}} -> refused
    end.

-doc false.
-spec rest(none) -> {[iodata()], none}.
rest(none) ->
    Depth = fun() -> lists:sum([?L:get_queue_depth(?ROLE, Owner) || Owner <- [?OWNER, ?FORGOTTEN]]) end,
    Finding = fun() -> io_lib:format("~b permits are held by nobody", [Depth()]) end,
    {erlmcp_native_soak_actor:eventually(fun() -> Depth() =:= 0 end, Finding), none}.
