-module(erlmcp_native_demo_node).
-moduledoc """
Nodes that the demo starts beside itself, each a runtime of its own, so that none can harm it. One that the demo does
not stop ends with it: the operating system closes what the two talk by.
""".

-export([start/1, start_all/1, call/4, stop/1]).

-export_type([peer/0]).

%% A machine may have other things to do.
-define(BOOT_MS, 120_000).
%% Schedulers that wait by sleeping leave the cores to others, see scripts/run.sh.
-define(QUIET, ["-kernel", "logger_level", "none", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"]).
-define(CALL_MS, 60_000).

-doc "A peer is a node, and the operating system's number of it.".
-type peer() :: #{peer := pid(), os_pid := string()}.

-doc "Starts a node with the modules of this one, which has these arguments as well and writes nothing.".
-spec start([string()]) -> peer().
start(Arguments) ->
    [Peer] = start_all([Arguments]),
    Peer.

-doc "Starts a node for each of these lists of arguments, all at the same time, as `start/1` starts one.".
-spec start_all([[string()]]) -> [peer()].
start_all(Lists) ->
    Starters = [spawn_monitor(fun() -> exit({started, started(Arguments)}) end) || Arguments <- Lists],
    [
        receive
            {'DOWN', Monitor, process, Starter, {started, #{peer := Peer} = Started}} ->
                true = link(Peer),
                Started;
            {'DOWN', Monitor, process, Starter, Reason} ->
                error({no_node, Reason})
        end
     || {Starter, Monitor} <- Starters
    ].

started(Arguments) ->
    Paths = [Path || Path <- code:get_path(), string:prefix(Path, code:lib_dir()) =:= nomatch],
    {ok, Peer, _Node} = peer:start(#{
        connection => standard_io,
        wait_boot => ?BOOT_MS,
        args => lists:append([["-pa", Path] || Path <- lists:reverse(Paths)]) ++ ?QUIET ++ Arguments
    }),
    #{peer => Peer, os_pid => peer:call(Peer, os, getpid, [], ?CALL_MS)}.

-doc "Calls a function there. A node that has ended is `gone`.".
-spec call(peer(), module(), atom(), [term()]) -> {ok, term()} | gone.
call(#{peer := Peer}, Module, Function, Arguments) ->
    Monitor = monitor(process, Peer),
    try
        {ok, peer:call(Peer, Module, Function, Arguments, ?CALL_MS)}
    catch
        Class:Reason:Stack ->
            receive
                {'DOWN', Monitor, process, _, _} -> gone
            after 1_000 -> erlang:raise(Class, Reason, Stack)
            end
    after
        demonitor(Monitor, [flush])
    end.

-doc "Kills a node, if it is there.".
-spec stop(peer()) -> ok.
stop(#{peer := Peer, os_pid := OsPid}) ->
    Monitor = monitor(process, Peer),
    _ = is_process_alive(Peer) andalso os:cmd("kill -KILL " ++ OsPid),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    end.
