%% A folder as native/build.escript expects one, with programs that say what cargo and rustc do; and running it.
-module(erlmcp_native_build_test_lib).

-export([project/0, program/3, cargo/2, built/2, library/1]).
-export([build/1, build/2, build/3, script/0, with_programs/1, without_cargo/0, said/2]).

-include_lib("eunit/include/eunit.hrl").

project() ->
    Dir = erlmcp_native_test_lib:temp_dir(),
    Root = erlmcp_native_test_lib:root(),
    [ok = filelib:ensure_path(filename:join(Dir, Folder)) || Folder <- ["native", "bin", "erlang/native"]],
    [
        {ok, _} = file:copy(filename:join(Root, File), filename:join(Dir, File))
     || File <- [
            "Cargo.toml", "native/build.escript", "erlang/erlmcp_native.app.src", "erlang/native/erlmcp_native.erl"
        ]
    ],
    built(Dir, ~"one"),
    program(Dir, "rustc", "echo rustc 1.95.0"),
    cargo(Dir, ["echo '", json:encode(artifact(Dir)), "'"]),
    Dir.

%% Put there at once, as cargo does.
built(Dir, Bytes) ->
    New = filename:join(Dir, "new" ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = file:write_file(New, Bytes),
    ok = file:rename(New, filename:join(Dir, "built.so")).

artifact(Dir) ->
    #{
        reason => ~"compiler-artifact",
        target => #{name => ~"erlmcp_native"},
        filenames => [unicode:characters_to_binary(filename:join(Dir, "built.so"))]
    }.

%% Notes each build, and does what is said of it.
cargo(Dir, Commands) ->
    Count = ["echo build >>'", filename:join(Dir, "builds"), "'\n"],
    program(Dir, "cargo", ["[ \"$1\" != --version ] || { echo 'cargo 1.95.0 (0123456)'; exit; }\n", Count, Commands]).

program(Dir, Name, Commands) ->
    File = filename:join([Dir, "bin", Name]),
    ok = file:write_file(File, unicode:characters_to_binary(["#!/bin/sh\n", Commands, "\n"])),
    ok = file:change_mode(File, 8#755).

library(Dir) ->
    filename:join([Dir, "priv", "erlmcp_native.so"]).

%% Runs it; the exit status and what it said.
build(Dir) ->
    build(Dir, with_programs(Dir)).

build(Dir, Env) ->
    build(Dir, Env, []).

%% Under is a program that runs it, with its arguments.
build(Dir, Env, Under) ->
    [Program | Args] = Under ++ [os:find_executable("escript"), filename:join([Dir, "native", "build.escript"])],
    Clean = [
        {Name, false}
     || Name <- ["ERLMCP_NATIVE_BUILD", "REBAR_ROOT_DIR", "REBAR_BARE_COMPILER_OUTPUT_DIR", "ERL_FLAGS"],
        not lists:keymember(Name, 1, Env)
    ],
    Port = open_port({spawn_executable, os:find_executable(Program)}, [
        {args, Args}, {env, [{"ERL_CRASH_DUMP", "/dev/null"} | Clean ++ Env]},
        exit_status, stderr_to_stdout, binary
    ]),
    outcome(Port, <<>>).

%% Its functions, to be called.
script() ->
    {ok, Text} = file:read_file(filename:join([erlmcp_native_test_lib:root(), "native", "build.escript"])),
    [_, Source] = binary:split(Text, ~"\n"),
    File = filename:join(erlmcp_native_test_lib:temp_dir(), "erlmcp_native_build_script.erl"),
    ok = file:write_file(File, ["-module(erlmcp_native_build_script).\n", Source]),
    {ok, Module, Beam} = compile:file(File, [binary, export_all, nowarn_export_all]),
    {module, Module} = code:load_binary(Module, File, Beam),
    erlmcp_native_test_lib:remove_dir(filename:dirname(File)),
    Module.

with_programs(Dir) ->
    [{"PATH", filename:join(Dir, "bin") ++ ":" ++ os:getenv("PATH")}].

%% A PATH that has what escript needs, and no more.
without_cargo() ->
    [{"PATH", filename:dirname(os:find_executable("escript")) ++ ":/usr/bin:/bin"}].

outcome(Port, Said) ->
    receive
        {Port, {data, More}} -> outcome(Port, <<Said/binary, More/binary>>);
        {Port, {exit_status, Status}} -> {Status, Said}
    after 100000 -> error({no_end, Said})
    end.

%% One line of words for whoever builds, and no stack trace.
said(Words, {Status, Said}) ->
    ?assertEqual(1, Status),
    ?assertMatch({match, _}, re:run(Said, ["^erlmcp_native: .*", Words])),
    ?assertMatch([_, <<>>], binary:split(Said, ~"\n", [global])).
