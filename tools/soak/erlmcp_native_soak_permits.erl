-module(erlmcp_native_soak_permits).
-moduledoc "Callers take permits, and are killed before they give them back: at rest nobody holds one.".
-behaviour(erlmcp_native_soak_actor).

-export([init/0, act/1, rest/1]).

-define(L, erlmcp_queue_limits).
-define(ROLE, soak_permits).
-define(OWNER, soak_pool).
-define(CALLERS, 20).

-doc false.
-spec init() -> none.
init() ->
    ok = ?L:set_limit(?ROLE, ?CALLERS div 2),
    none.

-doc false.
-spec act(none) -> {[atom()], none}.
act(none) ->
    Callers = [spawn_monitor(fun() -> caller(rand:uniform(5)) end) || _ <- lists:seq(1, ?CALLERS)],
    receive after 2 -> ok end,
    Killed = [exit(Pid, kill) || {Pid, _} <- Callers, rand:uniform(2) =:= 1],
    [receive {'DOWN', Monitor, process, Pid, _} -> ok end || {Pid, Monitor} <- Callers],
    receive after 5 -> ok end,
    {[callers || _ <- Callers] ++ [callers_killed || _ <- Killed], none}.

caller(Ms) ->
    _ = ?L:with_capacity(?ROLE, ?OWNER, fun() -> receive after Ms -> ok end end),
    ok.

-doc false.
-spec rest(none) -> {[iodata()], none}.
rest(none) ->
    Depth = fun() -> ?L:get_queue_depth(?ROLE, ?OWNER) end,
    Finding = fun() -> io_lib:format("~b permits are held by nobody", [Depth()]) end,
    {erlmcp_native_soak_actor:eventually(fun() -> Depth() =:= 0 end, Finding), none}.
