-module(erlmcp_native_fuzz_node).
-moduledoc """
A runtime of its own for each part of the run, which may end without taking this one with it.

What it says on standard error is kept: a panic in native code prints there. When it ends, the calls that were under
way are read from the files that its processes wrote.
""".

-export([run/3]).
-export([caught/2]).

%% How much longer than it was told it may take: the calls that wait, the comparison at the end.
-define(GRACE_MS, 90_000).

-doc "Runs a part. `ended` when the runtime did not survive, or did not answer.".
-spec run(natives | functions, pos_integer(), integer()) ->
    {ok, erlmcp_native_fuzz_run:result(), Errors :: binary()}
    | {ended, Why :: binary(), Calls :: [binary()], Errors :: binary()}.
run(Part, Ms, Seed) ->
    Folder = filename:join([folder(), atom_to_list(Part)]),
    _ = file:del_dir_r(Folder),
    ok = filelib:ensure_path(Folder),
    Errors = filename:join(Folder, "stderr"),
    {ok, Peer, _} = peer:start(#{
        connection => standard_io,
        shutdown => halt,
        exec => {os:find_executable("sh"), ["-c", "exec erl \"$@\" 2>'" ++ Errors ++ "'", "erl"]},
        env => [{"ERL_CRASH_DUMP", filename:join(Folder, "erl_crash.dump")}],
        args => ["+P", "262144", "-kernel", "logger_level", "notice" | code_path()]
    }),
    Monitor = monitor(process, Peer),
    Result =
        try
            peer:call(Peer, ?MODULE, caught, [Part, [Ms, Seed, Folder]], Ms + ?GRACE_MS)
        catch
            Class:Reason -> {ended, text({Class, Reason})}
        end,
    _ = is_process_alive(Peer) andalso peer:stop(Peer),
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    {ok, Said} = file:read_file(Errors),
    case Result of
        {ok, Value} -> {ok, Value, Said};
        {ended, Why} -> {ended, Why, calls(Folder), Said}
    end.

%% In the runtime that is watched. What is raised there comes as a value: a stack may have terms in it that cannot be
%% raised once more here.
-doc false.
-spec caught(natives | functions, [term()]) -> {ok, erlmcp_native_fuzz_run:result()} | {ended, binary()}.
caught(Part, Args) ->
    try
        {ok, apply(erlmcp_native_fuzz_run, Part, Args)}
    catch
        Class:Reason:Stack -> {ended, text({Class, Reason, Stack})}
    end.

text(Raised) ->
    unicode:characters_to_binary(io_lib:format("~0tP", [Raised, 200])).

%% <the project>/_build/fuzz
folder() ->
    Lib = filename:dirname(filename:dirname(filename:dirname(code:which(erlmcp_native)))),
    filename:join(filename:dirname(Lib), "run").

code_path() ->
    Ours = [filename:dirname(code:which(Module)) || Module <- [?MODULE, erlmcp_native]],
    lists:append([["-pa", Path] || Path <- Ours]).

calls(Folder) ->
    [
        Call
     || File <- lists:sort(filelib:wildcard(filename:join(Folder, "call.*"))),
        {ok, <<Size:32, Call:Size/binary, _/binary>>} <- [file:read_file(File)]
    ].
