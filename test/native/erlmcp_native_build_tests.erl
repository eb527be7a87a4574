%% native/build.escript with a cargo that only says what a real one does: what is put where, and what is said when not.
-module(erlmcp_native_build_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("kernel/include/file.hrl").

build_test_() ->
    {foreach, fun project/0, fun erlmcp_native_test_lib:remove_dir/1, [
        fun(Dir) -> {Title, {timeout, 60, fun() -> Test(Dir) end}} end
     || {Title, Test} <- [
            {"the library is put into priv", fun installed/1},
            {"the same library is left alone", fun left_alone/1},
            {"a folder that cannot be written to", fun no_folder/1},
            {"a library that is not there", fun no_library/1},
            {"cargo fails", fun failing/1},
            {"cargo reports nothing", fun reports_nothing/1},
            {"no cargo", fun no_cargo/1},
            {"two builds and more at once", fun at_once/1}
        ]
    ]}.

%% A folder as build.escript expects one, and in it what cargo has built.
project() ->
    Dir = erlmcp_native_test_lib:temp_dir(),
    Script = filename:join([erlmcp_native_test_lib:root(), "native", "build.escript"]),
    ok = filelib:ensure_path(filename:join(Dir, "native")),
    ok = filelib:ensure_path(filename:join(Dir, "bin")),
    {ok, _} = file:copy(Script, filename:join([Dir, "native", "build.escript"])),
    built(Dir, ~"one"),
    cargo(Dir, ["echo '", json:encode(artifact(Dir)), "'"]),
    Dir.

%% At once, as cargo does.
built(Dir, Bytes) ->
    New = filename:join(Dir, "new" ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = file:write_file(New, Bytes),
    ok = file:rename(New, filename:join(Dir, "built.so")).

artifact(Dir) ->
    #{
        reason => ~"compiler-artifact",
        target => #{name => ~"erlmcp_native"},
        filenames => [list_to_binary(filename:join(Dir, "built.so"))]
    }.

cargo(Dir, Commands) ->
    File = filename:join([Dir, "bin", "cargo"]),
    ok = file:write_file(File, ["#!/bin/sh\n", Commands, "\n"]),
    ok = file:change_mode(File, 8#755).

library(Dir) ->
    filename:join([Dir, "priv", "erlmcp_native.so"]).

%% Runs it; the exit status and what it said.
build(Dir) ->
    build(Dir, filename:join(Dir, "bin") ++ ":" ++ os:getenv("PATH")).

build(Dir, Path) ->
    Port = open_port({spawn_executable, os:find_executable("escript")}, [
        {args, [filename:join([Dir, "native", "build.escript"])]},
        {env, [{"PATH", Path}, {"ERL_CRASH_DUMP", "/dev/null"}]},
        exit_status, stderr_to_stdout, binary
    ]),
    outcome(Port, <<>>).

outcome(Port, Said) ->
    receive
        {Port, {data, More}} -> outcome(Port, <<Said/binary, More/binary>>);
        {Port, {exit_status, Status}} -> {Status, Said}
    after 30000 -> error({no_end, Said})
    end.

%% One line of words for whoever builds, and no stack trace.
said(Words, {Status, Said}) ->
    ?assertEqual(1, Status),
    ?assertMatch({match, _}, re:run(Said, ["^erlmcp_native: .*", Words])),
    ?assertMatch([_, <<>>], binary:split(Said, ~"\n", [global])).

installed(Dir) ->
    ?assertEqual({0, <<>>}, build(Dir)),
    ?assertEqual({ok, ~"one"}, file:read_file(library(Dir))),
    built(Dir, ~"two"),
    ?assertEqual({0, <<>>}, build(Dir)),
    ?assertEqual({ok, ~"two"}, file:read_file(library(Dir))),
    ?assertEqual({ok, ["erlmcp_native.so"]}, file:list_dir(filename:join(Dir, "priv"))).

left_alone(Dir) ->
    {0, <<>>} = build(Dir),
    {ok, Before} = file:read_file_info(library(Dir)),
    {0, <<>>} = build(Dir),
    {ok, After} = file:read_file_info(library(Dir)),
    ?assertEqual(Before#file_info{atime = undefined}, After#file_info{atime = undefined}).

no_folder(Dir) ->
    ok = file:write_file(filename:join(Dir, "priv"), <<>>),
    said("cannot .* .*priv/erlmcp_native.so.*: [a-z]", build(Dir)),
    ok = file:delete(filename:join(Dir, "priv")),
    %% One that cannot be replaced.
    ok = filelib:ensure_path(filename:join(library(Dir), "full")),
    said("cannot put the library into its place, .*priv/erlmcp_native.so: ", build(Dir)),
    ?assertEqual({ok, ["erlmcp_native.so"]}, file:list_dir(filename:join(Dir, "priv"))).

no_library(Dir) ->
    ok = file:delete(filename:join(Dir, "built.so")),
    said("cannot read .*built.so: no such file", build(Dir)).

failing(Dir) ->
    cargo(Dir, "exit 101"),
    said("cargo build failed with status 101", build(Dir)).

reports_nothing(Dir) ->
    cargo(Dir, "echo '{}'"),
    said("cargo reported no library", build(Dir)).

no_cargo(Dir) ->
    Erl = filename:dirname(os:find_executable("escript")),
    case os:find_executable("cargo", Erl ++ ":/usr/bin:/bin") of
        false -> said("cargo is not on PATH", build(Dir, Erl ++ ":/usr/bin:/bin"));
        _ -> {skipped, "cargo lies beside what escript needs"}
    end.

%% Whoever looks finds a library, whole, at any time.
at_once(Dir) ->
    {0, <<>>} = build(Dir),
    Builders = [
        spawn_monitor(fun() ->
            built(Dir, binary:copy(<<N>>, 1 bsl 20)),
            {0, <<>>} = build(Dir)
        end)
     || N <- lists:seq(1, 4)
    ],
    watch(library(Dir), [Monitor || {_, Monitor} <- Builders]),
    ?assertEqual({ok, ["erlmcp_native.so"]}, file:list_dir(filename:join(Dir, "priv"))).

watch(_, []) ->
    ok;
watch(Library, Builders) ->
    {ok, Bytes} = file:read_file(Library),
    ?assert(byte_size(Bytes) > 0),
    receive
        {'DOWN', Monitor, process, _, Reason} ->
            ?assertEqual(normal, Reason),
            watch(Library, lists:delete(Monitor, Builders))
    after 0 -> watch(Library, Builders)
    end.
