%% native/build.escript with a cargo that only says what a real one does: what is put where, and what is said when not.
-module(erlmcp_native_build_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("kernel/include/file.hrl").

-import(erlmcp_native_build_test_lib, [build/1, build/2, built/2, cargo/2, library/1, program/3, said/2]).
-import(erlmcp_native_build_test_lib, [with_programs/1, without_cargo/0]).

build_test_() ->
    {foreach, fun erlmcp_native_build_test_lib:project/0, fun erlmcp_native_test_lib:remove_dir/1, [
        fun(Dir) -> {Title, {timeout, 60, fun() -> Test(Dir) end}} end
     || {Title, Test} <- [
            {"the library is put into priv", fun installed/1},
            {"the same library is left alone", fun left_alone/1},
            {"a folder that cannot be written to", fun no_folder/1},
            {"a library that is not there", fun no_library/1},
            {"cargo fails", fun failing/1},
            {"cargo reports nothing", fun reports_nothing/1},
            {"no cargo", fun no_cargo/1},
            {"a Rust that is too old, or none behind its name", fun old_rust/1},
            {"a dependency is not built again where nothing changed", fun not_again/1},
            {"two builds and more at once", fun at_once/1}
        ]
    ]}.

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
    [{"PATH", Path}] = without_cargo(),
    case os:find_executable("cargo", Path) of
        false -> said("cargo is not on PATH: install Rust 1.95 or newer", build(Dir, without_cargo()));
        _ -> {skipped, "cargo lies beside what escript needs"}
    end.

old_rust(Dir) ->
    program(Dir, "rustc", "echo 'rustc 1.94.1 (0123456 2026-01-01)'"),
    said("rustc is 1.94.1: install Rust 1.95 or newer", build(Dir)),
    program(Dir, "cargo", "echo 'cargo 1.65.0'"),
    said("cargo is 1.65.0: install Rust 1.95 or newer", build(Dir)),
    program(Dir, "cargo", "echo 'error: rustup could not choose a version of cargo to run\nhelp: …' >&2; exit 1"),
    said("bin/cargo does not run .error: rustup could not choose a version of cargo to run.: install", build(Dir)),
    ?assertNot(filelib:is_file(library(Dir))).

%% As rebar3 and mix call it for a dependency: nothing is run where nothing changed, and everything where anything did.
not_again(Dir) ->
    Env = [{"REBAR_ROOT_DIR", "/elsewhere"} | with_programs(Dir)],
    Source = filename:join([Dir, "native", "core.rs"]),
    Again = fun(More) -> {0, <<>>} = build(Dir, More ++ Env), builds(Dir) end,
    ?assertEqual(1, Again([])),
    ?assertEqual(1, Again([])),
    ok = file:write_file(Source, ~"fn a() {}"),
    ?assertEqual(2, Again([])),
    ?assertEqual(2, Again([{"ERLMCP_NATIVE_BUILD", "1"}])),
    ok = file:write_file(Source, ~"fn b() {}"),
    ?assertEqual(3, Again([])),
    ?assertEqual(4, Again([{"RUSTFLAGS", "-g"}])),
    ?assertEqual(5, Again([])),
    ok = file:write_file(library(Dir), ~"another"),
    ?assertEqual(6, Again([])),
    ?assertEqual({ok, ~"one"}, file:read_file(library(Dir))),
    ok = file:delete(library(Dir)),
    ?assertEqual(7, Again([])),
    %% By itself, it is what is worked on.
    {0, <<>>} = build(Dir, [{"REBAR_ROOT_DIR", Dir ++ "/."} | with_programs(Dir)]),
    ?assertEqual(8, builds(Dir)).

builds(Dir) ->
    {ok, Builds} = file:read_file(filename:join(Dir, "builds")),
    length(binary:matches(Builds, ~"build")).

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

%% What the compiler warns of is an error for whoever works on this, and for nobody who uses it.
warnings_test() ->
    Root = erlmcp_native_test_lib:root(),
    {ok, Config} = file:consult(filename:join(Root, "rebar.config")),
    Strict = fun(Bindings) ->
        {ok, Scripted} = file:script(filename:join(Root, "rebar.config.script"), [{'CONFIG', Config} | Bindings]),
        lists:member(warnings_as_errors, proplists:get_value(erl_opts, Scripted))
    end,
    ?assert(Strict([{'SCRIPT', "rebar.config.script"}])),
    ?assertNot(Strict([{'SCRIPT', "/home/user/project/_build/default/lib/erlmcp_native/rebar.config.script"}])).
