%% native/build.escript in a package: which of the libraries in prebuilt/ is put into priv, and what is said when none.
-module(erlmcp_native_prebuilt_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("kernel/include/file.hrl").

-import(erlmcp_native_build_test_lib, [build/1, build/2, build/3, library/1, program/3, said/2, script/0]).
-import(erlmcp_native_build_test_lib, [with_programs/1, without_cargo/0]).

%% The sum that a package has of a library, and where it is.
-define(SUMS, "prebuilt/SHA256SUMS").

package_test_() ->
    {foreach, fun package/0, fun erlmcp_native_test_lib:remove_dir/1, [
        fun(Dir) -> {Title, {timeout, 120, fun() -> Test(Dir) end}} end
     || {Title, Test} <- [
            {"the library of this machine is put into priv, and left alone there", fun taken/1},
            {"the library of another version is replaced", fun replaced/1},
            {"ERLMCP_NATIVE_BUILD", fun cargo_wanted/1},
            {"no library for this machine", fun no_library/1},
            {"a library that is not the package's", fun changed/1},
            {"a package without its sums", fun no_sums/1},
            {"sums with the line ends of Windows", fun windows_sums/1},
            {"a library of another version than the sources", fun another_version/1},
            {"a library that does not come back", fun hangs/1},
            {"a library that ends its runtime", fun ends/1},
            {"a Rust that is too old", fun old_rust/1},
            {"a package that cannot be written to", fun read_only/1},
            {"blanks, quotes and umlauts in its path", fun odd_path/1},
            {"flags for a runtime that are meant for others", fun flags/1},
            {"two builds and more at once", fun at_once/1},
            {"an Erlang that is too old", fun old_erlang/1}
        ]
    ]}.

package() ->
    Dir = erlmcp_native_build_test_lib:project(),
    packed(Dir, real()),
    Dir.

packed(Dir, Library) ->
    ok = filelib:ensure_path(filename:join(Dir, "prebuilt")),
    ok = file:write_file(prebuilt(Dir), Library),
    Sum = string:lowercase(binary:encode_hex(crypto:hash(sha256, Library))),
    ok = file:write_file(filename:join(Dir, ?SUMS), [Sum, "  ", filename:basename(prebuilt(Dir)), "\n"]).

prebuilt(Dir) ->
    filename:join([Dir, "prebuilt", target() ++ ".so"]).

target() ->
    {ok, Target} = (script()):target(),
    Target.

real() ->
    {ok, Library} = file:read_file(filename:join(code:priv_dir(erlmcp_native), "erlmcp_native.so")),
    Library.

taken(Dir) ->
    ?assertNot(filelib:is_dir(filename:dirname(library(Dir)))),
    ?assertEqual({0, <<>>}, build(Dir)),
    ?assertEqual({ok, real()}, file:read_file(library(Dir))),
    {ok, Before} = file:read_file_info(library(Dir)),
    ?assertEqual({0, <<>>}, build(Dir)),
    {ok, After} = file:read_file_info(library(Dir)),
    ?assertEqual(Before#file_info{atime = undefined}, After#file_info{atime = undefined}),
    ?assertEqual({ok, ["erlmcp_native.so"]}, file:list_dir(filename:dirname(library(Dir)))),
    ?assertNot(is_built(Dir)).

replaced(Dir) ->
    put_there(Dir, ~"of the version before"),
    ?assertEqual({0, <<>>}, build(Dir, without_cargo())),
    ?assertEqual({ok, real()}, file:read_file(library(Dir))).

cargo_wanted(Dir) ->
    ?assertEqual({0, <<>>}, build(Dir, [{"ERLMCP_NATIVE_BUILD", "0"} | with_programs(Dir)])),
    ?assertNot(is_built(Dir)),
    ?assertEqual({0, <<>>}, build(Dir, [{"ERLMCP_NATIVE_BUILD", "1"} | with_programs(Dir)])),
    ?assertEqual({ok, ~"one"}, file:read_file(library(Dir))).

no_library(Dir) ->
    ok = file:delete(prebuilt(Dir)),
    Words = ["^erlmcp_native: prebuilt/ has no library for ", target(), ": "],
    told(0, [Words, "building one with cargo\n$"], build(Dir)),
    ?assertEqual({ok, ~"one"}, file:read_file(library(Dir))),
    told(1, [Words, "cargo is not on PATH: install Rust 1.95 or newer .*\n$"], build(Dir, without_cargo())).

%% Even where cargo is: whoever changed the library may have changed the sources too.
changed(Dir) ->
    put_there(Dir, ~"before"),
    Library = real(),
    Half = byte_size(Library) div 2,
    <<Begin:Half/binary, Byte, End/binary>> = Library,
    [
        begin
            ok = file:write_file(prebuilt(Dir), Wrong),
            said(["prebuilt/", target(), ".so is not what the package .*ERLMCP_NATIVE_BUILD=1"], build(Dir))
        end
     || Wrong <- [<<Begin/binary, (Byte bxor 1), End/binary>>, Begin, <<>>]
    ],
    ?assertEqual({ok, ~"before"}, file:read_file(library(Dir))),
    ?assertNot(is_built(Dir)),
    ?assertEqual({0, <<>>}, build(Dir, [{"ERLMCP_NATIVE_BUILD", "1"} | with_programs(Dir)])).

no_sums(Dir) ->
    Sums = filename:join(Dir, ?SUMS),
    [
        begin
            ok = file:write_file(Sums, Lines),
            said(["prebuilt/SHA256SUMS does not know prebuilt/", target()], build(Dir))
        end
     || Lines <- [<<>>, ~"\n", ~"0123  another.so\n", <<0, 255, "\n\n \n">>, binary:copy(~"x ", 1 bsl 16)]
    ],
    ok = file:delete(Sums),
    said("cannot read .*SHA256SUMS: no such file", build(Dir)).

%% As git may bring them into a work tree there.
windows_sums(Dir) ->
    Sums = filename:join(Dir, ?SUMS),
    {ok, Lines} = file:read_file(Sums),
    ok = file:write_file(Sums, ["0123  another.so\r\n", string:replace(Lines, "\n", "\r\n", all)]),
    ?assertEqual({0, <<>>}, build(Dir, without_cargo())),
    ?assertEqual({ok, real()}, file:read_file(library(Dir))).

another_version(Dir) ->
    App = filename:join([Dir, "erlang", "erlmcp_native.app.src"]),
    {ok, Text} = file:read_file(App),
    ok = file:write_file(App, re:replace(Text, "{vsn, \".*\"}", "{vsn, \"98.7.6\"}")),
    said("does not load here \\(.*98\\.7\\.6.*\\): cargo is not on PATH", build(Dir, without_cargo())),
    ?assertEqual({ok, []}, file:list_dir(filename:dirname(library(Dir)))),
    told(0, "does not load here .*: building one with cargo\n$", build(Dir)),
    ?assertEqual({ok, ~"one"}, file:read_file(library(Dir))).

hangs(Dir) ->
    packed(Dir, library_that(Dir, "for (;;) pause();")),
    said("does not load here \\(it did not come back in 20 s\\): cargo is not on PATH", build(Dir, without_cargo())),
    %% Nor is there a runtime left that waits for it.
    ?assert(lists:any(fun(Command) -> hd(string:lexemes(Command, " ")) =:= os:getpid() end, runtimes())),
    ?assertEqual({ok, []}, file:list_dir(filename:dirname(library(Dir)))),
    erlmcp_native_test_lib:eventually(fun() -> [] =:= [Command || Command <- runtimes(), in_path(Dir, Command)] end).

ends(Dir) ->
    packed(Dir, library_that(Dir, "_exit(9);")),
    said("does not load here \\(.* status 9\\): cargo is not on PATH", build(Dir, without_cargo())),
    packed(Dir, ~"no library at all"),
    said("does not load here \\(.+\\): cargo is not on PATH", build(Dir, without_cargo())).

%% The linker that Rust needs makes this one too.
library_that(Dir, Does) ->
    Source = filename:join(Dir, "odd.c"),
    ok = file:write_file(Source, [
        "#include <unistd.h>\n__attribute__((constructor)) void load(void) { ", Does, " }\n"
    ]),
    "" = os:cmd("cc -shared -fPIC -o '" ++ Dir ++ "/odd.so' '" ++ Source ++ "'"),
    {ok, Library} = file:read_file(filename:join(Dir, "odd.so")),
    Library.

runtimes() ->
    string:lexemes(os:cmd("ps -A -o pid,args"), "\n").

in_path(Dir, Command) ->
    string:find(Command, Dir) =/= nomatch.

old_rust(Dir) ->
    program(Dir, "cargo", "echo 'cargo 1.65.0'"),
    ?assertEqual({0, <<>>}, build(Dir)),
    ok = file:delete(library(Dir)),
    ok = file:delete(prebuilt(Dir)),
    said("prebuilt/ has no library for .*: cargo is 1.65.0: install Rust 1.95 or newer", build(Dir)).

read_only(Dir) ->
    Priv = filename:dirname(library(Dir)),
    ok = filelib:ensure_path(Priv),
    ok = file:change_mode(Priv, 8#555),
    said("cannot write .*/priv/erlmcp_native\\..*so: permission denied", build(Dir, without_cargo(), not_root())),
    ok = file:change_mode(Priv, 8#755),
    put_there(Dir, real()),
    ok = file:change_mode(Priv, 8#555),
    ?assertEqual({0, <<>>}, build(Dir, without_cargo(), not_root())),
    ok = file:change_mode(Priv, 8#755).

%% root can write everywhere, unless that is taken from it.
not_root() ->
    case os:cmd("id -u") of
        "0\n" -> ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"];
        _ -> []
    end.

odd_path(Dir) ->
    Odd = filename:join(Dir, <<"it's \"a\" $(path) [of] übel größe *"/utf8>>),
    ok = file:make_dir(Odd),
    [ok = file:rename(filename:join(Dir, File), filename:join(Odd, File)) || File <- ["native", "erlang", "prebuilt"]],
    [
        begin
            ?assertEqual({0, <<>>}, build(Odd, [{"LC_ALL", Locale} | without_cargo()])),
            {ok, Library} = file:read_file(filename:join([Odd, "priv", "erlmcp_native.so"])),
            ?assertEqual(real(), Library),
            ok = file:delete(filename:join([Odd, "priv", "erlmcp_native.so"]))
        end
     || Locale <- ["C", "C.UTF-8"]
    ].

%% A name that another node has, which is whoever calls this; and what a machine that is another's emulation needs.
flags(Dir) ->
    Name = peer:random_name(),
    {ok, Peer, _} = peer:start(#{name => Name, connection => standard_io}),
    Env = fun(Variable) -> [{Variable, "-sname " ++ Name ++ " +JMsingle true"} | without_cargo()] end,
    [
        begin
            _ = file:delete(library(Dir)),
            ?assertEqual({0, <<>>}, build(Dir, Env(Variable)))
        end
     || Variable <- ["ERL_FLAGS", "ERL_AFLAGS", "ERL_ZFLAGS"]
    ],
    ok = peer:stop(Peer).

%% Whoever looks finds the library, whole, at any time.
at_once(Dir) ->
    put_there(Dir, ~"before"),
    Builders = [spawn_monitor(fun() -> {0, <<>>} = build(Dir, without_cargo()) end) || _ <- lists:seq(1, 3)],
    watch(library(Dir), [~"before", real()], [Monitor || {_, Monitor} <- Builders]),
    ?assertEqual({ok, real()}, file:read_file(library(Dir))),
    ?assertEqual({ok, ["erlmcp_native.so"]}, file:list_dir(filename:dirname(library(Dir)))).

watch(_, _, []) ->
    ok;
watch(File, Libraries, Builders) ->
    {ok, Library} = file:read_file(File),
    ?assert(lists:member(Library, Libraries)),
    receive
        {'DOWN', Monitor, process, _, Reason} ->
            ?assertEqual(normal, Reason),
            watch(File, Libraries, lists:delete(Monitor, Builders))
    after 0 -> watch(File, Libraries, Builders)
    end.

%% This one, where a newer is asked for.
old_erlang(Dir) ->
    File = filename:join([Dir, "native", "build.escript"]),
    {ok, Script} = file:read_file(File),
    ok = file:write_file(File, re:replace(Script, "MIN_OTP, 28", "MIN_OTP, 98")),
    said(["Erlang/OTP 98 or newer is needed, and this is ", erlang:system_info(otp_release)], build(Dir)).

%% rebar3 asks the first, mix does not.
erlang_versions_agree_test() ->
    Root = erlmcp_native_test_lib:root(),
    {ok, Config} = file:consult(filename:join(Root, "rebar.config")),
    {ok, Script} = file:read_file(filename:join([Root, "native", "build.escript"])),
    Minimum = proplists:get_value(minimum_otp_vsn, Config),
    ?assertMatch({match, _}, re:run(Script, ["define\\(MIN_OTP, ", Minimum, "\\)"])).

targets_test_() ->
    Script = script(),
    [
        {Architecture, ?_assertEqual(Target, Script:target(Architecture, 8))}
     || {Architecture, Target} <- [
            {"x86_64-pc-linux-gnu", {ok, "x86_64-unknown-linux-gnu"}},
            {"x86_64-redhat-linux-gnu", {ok, "x86_64-unknown-linux-gnu"}},
            {"x86_64-linux-gnu", {ok, "x86_64-unknown-linux-gnu"}},
            {"x86_64-poky-linux", {ok, "x86_64-unknown-linux-gnu"}},
            {"x86_64-alpine-linux-musl", {ok, "x86_64-unknown-linux-musl"}},
            {"x86_64-pc-linux-musl", {ok, "x86_64-unknown-linux-musl"}},
            {"aarch64-unknown-linux-gnu", {ok, "aarch64-unknown-linux-gnu"}},
            {"aarch64-alpine-linux-musl", {ok, "aarch64-unknown-linux-musl"}},
            {"x86_64-apple-darwin23.1.0", {ok, "x86_64-apple-darwin"}},
            {"aarch64-apple-darwin24.0.0", {ok, "aarch64-apple-darwin"}},
            {"arm64-apple-darwin24.0.0", {ok, "aarch64-apple-darwin"}}
        ]
    ] ++ [
        {Architecture, ?_assertEqual({none, Architecture}, Script:target(Architecture, 8))}
     || Architecture <- [
            "aarch64_be-unknown-linux-gnu", "armv7l-unknown-linux-gnueabihf", "x86_64-pc-linux-gnux32",
            "x86_64-unknown-linux-uclibc", "riscv64-unknown-linux-gnu", "amd64-portbld-freebsd14.1", "win32",
            "powerpc64le-unknown-linux-gnu", "linux", "x86_64", ""
        ]
    ] ++ [
        ?_assertMatch({none, _}, Script:target("x86_64-pc-linux-gnu", 4))
    ].

put_there(Dir, Library) ->
    ok = filelib:ensure_dir(library(Dir)),
    ok = file:write_file(library(Dir), Library).

is_built(Dir) ->
    filelib:is_file(filename:join(Dir, "builds")).

%% One line, however it ends.
told(Status, Words, {Status, Said}) ->
    ?assertMatch({match, _}, re:run(Said, Words, [unicode])),
    ?assertMatch([_, <<>>], binary:split(Said, ~"\n", [global])).
