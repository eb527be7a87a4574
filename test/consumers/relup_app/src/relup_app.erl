%% Upgrades the release in which it runs to the one that is named in the environment, and goes back; work waits and goes
%% on meanwhile. Nothing that was counted or set may be lost, and nobody who waits may be killed.
-module(relup_app).

-behaviour(application).
-behaviour(supervisor).

-export([start/2, stop/1, init/1]).
-export([handle/1]).

-define(DEADLINE_MS, 30000).
-define(WAITING, 5).

start(_Type, _Args) ->
    {ok, Pid} = supervisor:start_link(?MODULE, []),
    spawn(fun check_and_halt/0),
    {ok, Pid}.

stop(_State) ->
    ok.

init([]) ->
    {ok, {#{}, []}}.

check_and_halt() ->
    try
        check(os:getenv("CONSUMER_RELUP")),
        halt(0)
    catch
        Class:Reason:Stack ->
            io:format("relup_app: ~tp~n", [{Class, Reason, Stack}]),
            halt(1)
    end.

%% The release that was made permanent, started anew: all of it is of the new version, the library too.
check(Unset) when Unset =:= false; Unset =:= "" ->
    {Release, Version} = {release(), version()},
    Version = os:getenv("CONSUMER_EXPECTED"),
    ok = ours(erlmcp_native, Version),
    ok = erlmcp_queue_limits:try_enqueue(relup_role, self()),
    io:format("relup_app: release ~ts started, with erlmcp_native ~ts~n", [Release, Version]);
check(Next) ->
    {Release, Version} = {release(), version()},
    Busy = begin_work(),
    {ok, Next} = release_handler:unpack_release(filename:join(Next, "relup_app")),
    change(Next),
    NextVersion = version(),
    true = NextVersion =/= Version,
    %% The native module is that of the node's start; all others are the new ones.
    ok = ours(erlmcp_native, Version),
    ok = ours(erlmcp_queue_limits, NextVersion),
    ok = go_on(Busy),
    change(Release),
    Version = version(),
    ok = ours(erlmcp_queue_limits, Version),
    ok = kept(),
    {ok, _} = erlmcp_control_plane:send_health_check(slow, liveness),
    change(Next),
    ok = kept(),
    ok = release_handler:make_permanent(Next),
    io:format("relup_app: ~ts to ~ts, back, and again: kept what was counted, what waited went on~n", [
        Version, NextVersion
    ]).

change(Release) ->
    {Us, Result} = timer:tc(fun() -> release_handler:install_release(Release) end),
    {ok, _, _} = Result,
    io:format("relup_app: release ~ts is installed, in ~b ms~n", [Release, Us div 1000]).

release() ->
    [Release] = [Vsn || {_, Vsn, _, Status} <- release_handler:which_releases(), Status =:= permanent],
    Release.

version() ->
    {_, _, Version} = lists:keyfind(erlmcp_native, 1, application:which_applications()),
    Version.

ours(Module, Version) ->
    true = string:find(code:which(Module), "erlmcp_native-" ++ Version ++ "/") =/= nomatch,
    ok.

%% --- what goes on meanwhile ---

%% A handler is at its first message, more wait for it, and so do their senders; a place is held, and some are counted.
begin_work() ->
    [ok = erlmcp_queue_limits:record_enqueue(relup_role, kept) || _ <- lists:seq(1, 3)],
    ok = erlmcp_queue_limits:set_limit(by_hand, 11),
    Self = self(),
    Hold = fun() -> Self ! {held, self()}, receive go_on -> held end end,
    Holder = async(fun() -> erlmcp_queue_limits:with_capacity(by_hand, self(), Hold) end),
    At = receive {held, Pid} -> Pid after ?DEADLINE_MS -> error(not_held) end,
    true = register(relup_driver, self()),
    ok = erlmcp_control_plane:register_component(slow, #{handler => {?MODULE, handle}, timeout_ms => 300000}),
    First = async(fun() -> erlmcp_control_plane:send_cancel_task(slow, 0) end),
    Handler = receive {handling, 0, Process} -> Process after ?DEADLINE_MS -> error(not_handling) end,
    Others = [async(fun() -> erlmcp_control_plane:send_cancel_task(slow, N) end) || N <- lists:seq(1, ?WAITING)],
    ok = kept(),
    {At, Handler, [Holder, First | Others], [{Service, whereis(Service)} || Service <- services()]}.

handle({control, cancel_task, #{task_id := 0}}) ->
    relup_driver ! {handling, 0, self()},
    receive go_on -> ok end;
handle({control, cancel_task, #{task_id := N}}) ->
    relup_driver ! {handling, N, self()},
    ok;
handle(_) ->
    ok.

go_on({At, Handler, Callers, Services}) ->
    ok = kept(),
    Services = [{Service, whereis(Service)} || Service <- services()],
    1 = maps:get(current_depth, erlmcp_queue_limits:get_role_stats(by_hand)),
    [Pid ! go_on || Pid <- [At, Handler]],
    [ok = answered(Caller) || Caller <- Callers],
    [receive {handling, N, _} -> ok after 0 -> error({never_handled, N}) end || N <- lists:seq(1, ?WAITING)],
    ok.

services() ->
    [erlmcp_native_sup, erlmcp_queue_limits, erlmcp_overload_monitor, erlmcp_control_plane, erlmcp_native_scan].

kept() ->
    3 = erlmcp_queue_limits:get_queue_depth(relup_role, kept),
    7 = erlmcp_queue_limits:get_limit(relup_role),
    11 = erlmcp_queue_limits:get_limit(by_hand),
    ok.

async(Fun) ->
    spawn_monitor(fun() -> exit({answer, Fun()}) end).

answered({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, {answer, {ok, _}}} -> ok;
        {'DOWN', Monitor, process, Pid, Other} -> error({no_answer, Other})
    after ?DEADLINE_MS -> error(no_answer)
    end.
