%% An owner with very many tokens that dies where no thread can be had.
-module(erlmcp_control_cancel_threads_tests).

-include_lib("eunit/include/eunit.hrl").

-export([die/1]).

-define(LIB, erlmcp_native_test_lib).
-define(TOKENS, 50_000).

%% Stands before the C library's, and fails once there is such a file.
-define(SOURCE, """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    const char *file = getenv("NO_MORE_THREADS");
    if (file != NULL && access(file, F_OK) == 0)
        return EAGAIN;
    return ((create *) dlsym(RTLD_NEXT, "pthread_create"))(thread, attributes, start, argument);
}
""").

threads_test_() ->
    case {os:type(), os:find_executable("cc")} of
        {{unix, linux}, Compiler} when Compiler =/= false ->
            {setup, fun ?LIB:temp_dir/0, fun ?LIB:remove_dir/1, fun(Dir) ->
                {"all is settled where no thread can be had", {timeout, 120, fun() -> no_thread(Compiler, Dir) end}}
            end};
        _ ->
            []
    end.

no_thread(Compiler, Dir) ->
    [Source, Library, Gate] = [filename:join(Dir, Name) || Name <- ["threads.c", "threads.so", "gate"]],
    ok = file:write_file(Source, ?SOURCE),
    {0, _} = run(Compiler, ["-shared", "-fPIC", "-o", Library, Source, "-ldl"]),
    {ok, Peer, _} = peer:start_link(#{
        connection => standard_io,
        wait_boot => 120000,
        args => lists:append([["-pa", Path] || Path <- ?LIB:ebins([erlmcp_control_cancel, ?MODULE])]),
        env => [{"NO_MORE_THREADS", Gate}, {"LD_PRELOAD", string:trim(os:getenv("LD_PRELOAD", "") ++ " " ++ Library)}]
    }),
    {ok, _} = peer:call(Peer, application, ensure_all_started, [erlmcp_native]),
    %% What went wrong here did so in every second case.
    [
        ?assertEqual(
            #{cancelled => ?TOKENS, told => ?TOKENS, tokens => 0, depth => 0},
            peer:call(Peer, ?MODULE, die, [Gate], 60000)
        )
     || _ <- lists:seq(1, 8)
    ],
    ok = peer:stop(Peer).

run(Program, Args) ->
    Port = open_port({spawn_executable, Program}, [{args, Args}, exit_status, stderr_to_stdout]),
    run(Port).

run(Port) ->
    receive
        {Port, {data, _}} -> run(Port);
        {Port, {exit_status, Status}} -> {Status, Port}
    end.

%% On the other node. There the notifier takes out what there is while more is put in, since others are at work, too.
die(Gate) ->
    ok = erlmcp_queue_limits:set_limit(tool, infinity),
    Alias = erlmcp_priority:create_priority_alias(),
    Owner = ?LIB:idle(),
    Tokens = [
        begin
            {ok, Permit} = erlmcp_queue_limits:acquire(tool, self()),
            erlmcp_control_cancel:new(#{id => Id, owner => Owner, permit => Permit, notify => Alias})
        end
     || Id <- lists:seq(1, ?TOKENS)
    ],
    Busy = [spawn_link(fun busy/0) || _ <- lists:seq(1, erlang:system_info(schedulers_online))],
    ok = file:write_file(Gate, ~""),
    ?LIB:kill(Owner),
    Told = told(0),
    ok = file:delete(Gate),
    [begin unlink(Pid), ?LIB:kill(Pid) end || Pid <- Busy],
    #{
        told => Told,
        cancelled => length([Token || Token <- Tokens, erlmcp_control_cancel:is_cancelled(Token)]),
        tokens => maps:get(tokens, erlmcp_control_cancel:get_stats()),
        depth => erlmcp_queue_limits:get_queue_depth(tool, self())
    }.

busy() ->
    _ = lists:seq(1, 1000),
    busy().

told(?TOKENS) ->
    ?TOKENS;
told(Told) ->
    receive
        {urgent, {cancelled, _, owner_down}} -> told(Told + 1)
    after 20000 -> Told
    end.
