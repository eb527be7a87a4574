%% Uses the library as a project would, and checks where it was loaded from.
-module(consumer).

-behaviour(application).
-behaviour(supervisor).

-export([main/0]).
-export([start/2, stop/1, init/1]).

main() ->
    {ok, _} = application:ensure_all_started(consumer),
    ok = erlmcp_queue_limits:set_limit(custom_role, 2),
    check_and_halt().

%% In the release the limit comes from its sys.config.
start(_Type, _Args) ->
    case application:get_env(check_and_halt) of
        {ok, true} -> spawn(fun check_and_halt/0);
        {ok, false} -> ok
    end,
    supervisor:start_link(?MODULE, []).

stop(_State) ->
    ok.

init([]) ->
    {ok, {#{}, []}}.

check_and_halt() ->
    try
        2 = erlmcp_queue_limits:get_limit(custom_role),
        ok = erlmcp_queue_limits:try_enqueue(custom_role, self()),
        ok = erlmcp_queue_limits:try_enqueue(custom_role, self()),
        {error, {capacity_exceeded, #{depth := 2, retry_after_ms := _}}} =
            erlmcp_queue_limits:try_enqueue(custom_role, self()),
        ok = erlmcp_queue_limits:record_dequeue(custom_role, self()),
        1 = erlmcp_queue_limits:get_queue_depth(custom_role, self()),
        io:format("consumer: refused at the limit; library loaded from ~ts~n", [loaded_from()]),
        halt(0)
    catch
        Class:Reason:Stack ->
            io:format("consumer: ~tp~n", [{Class, Reason, Stack}]),
            halt(1)
    end.

%% The library must be the one beside this very application: the dependency's, or the release's own.
loaded_from() ->
    Priv = code:priv_dir(erlmcp_native),
    Lib = filename:dirname(filename:dirname(code:lib_dir(consumer))),
    Library = filename:join(Priv, "erlmcp_native.so"),
    true = lists:prefix(filename:absname(Lib), filename:absname(Library)),
    case file:read_file("/proc/self/maps") of
        {ok, Maps} ->
            {ok, Real} = real_path(Library),
            {_, _} = binary:match(Maps, unicode:characters_to_binary(Real));
        {error, enoent} ->
            ok
    end,
    Library.

real_path(File) ->
    Priv = filename:dirname(filename:absname(File)),
    Dir = case file:read_link_all(Priv) of
        {ok, Link} -> filename:absname(Link, filename:dirname(Priv));
        {error, einval} -> Priv
    end,
    {ok, filename:join(Dir, filename:basename(File))}.
