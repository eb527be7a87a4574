#!/usr/bin/env escript
%%! -dist_listen false
%% Puts the native library into priv/, before anything is compiled; rebar3 calls this, for mix as well. With the
%% argument probe it builds the one for benchmarks and tests instead, into _build/native/, from where nothing is packed.
%%
%% A package has libraries in prebuilt/ and their SHA-256 in prebuilt/SHA256SUMS. The one of this machine is taken, if
%% its sum is right and a runtime of its own can load it. Where there is none, where it does not load, or where
%% ERLMCP_NATIVE_BUILD says so, cargo builds one. One whose sum is wrong is never loaded, and ends the build.
%%
%% The second line above: where ERL_FLAGS has a name, it is the name of whoever calls this, and taken.
%% Nothing here is newer than what Erlang/OTP 21 can parse, so that an old one is told what it lacks.

-define(MIN_OTP, 28).
-define(HANGS_S, "20").
-define(ENDS_MS, 120000).

main(Args) ->
    try
        check_otp(),
        run(Args, filename:dirname(filename:dirname(filename:absname(escript:script_name()))))
    catch
        throw:{failed, Words} ->
            say("~ts", [Words]),
            halt(1)
    end.

run([], Root) -> native(Root);
%% A copy among the applications of somebody's project is compiled with the profile of its own tests, too.
run(["probe"], Root) -> is_dependency(Root) orelse cargo(Root, "erlmcp-probe", "erlmcp_native_probe", probe(Root)), ok;
run(["load", Library], Root) -> load(Library, Root).

check_otp() ->
    Release = erlang:system_info(otp_release),
    case string:to_integer(Release) of
        {Number, []} when is_integer(Number), Number >= ?MIN_OTP -> ok;
        _ -> fail("Erlang/OTP ~b or newer is needed, and this is ~ts", [?MIN_OTP, Release])
    end.

native(Root) ->
    Place = place(Root, "priv", "erlmcp_native"),
    Sources = sources(Root),
    case is_dependency(Root) andalso is_noted(Root, Place, Sources) of
        true ->
            ok;
        false ->
            case is_cargo_wanted() of
                true -> build(Root, Place, Sources, "");
                false -> prebuilt(Root, Place, Sources)
            end
    end.

is_cargo_wanted() ->
    not lists:member(os:getenv("ERLMCP_NATIVE_BUILD", ""), ["", "0", "false"]).

build(Root, Place, Sources, Because) ->
    check_rust(Root, Because),
    [say("~tsbuilding one with cargo", [Because]) || Because =/= ""],
    cargo(Root, "erlmcp-nif", "erlmcp_native", Place),
    note(Root, Place, Sources).

place(Root, Folder, Library) ->
    Extension = case os:type() of {win32, _} -> ".dll"; _ -> ".so" end,
    filename:join([Root, Folder, Library ++ Extension]).

probe(Root) ->
    place(Root, filename:join("_build", "native"), "erlmcp_native_probe").

%% ---- One that the package has.

prebuilt(Root, Place, Sources) ->
    Folder = filename:join(Root, "prebuilt"),
    case filelib:is_dir(Folder) andalso verified(Folder, target()) of
        false ->
            build(Root, Place, Sources, "");
        {none, Target} ->
            build(Root, Place, Sources, words("prebuilt/ has no library for ~ts: ", [Target]));
        {ok, File, Bytes} ->
            Loads = fun(New) -> loads(New, Root) end,
            case install(Bytes, Place, Loads) of
                ok -> ok;
                {no, Why} -> build(Root, Place, Sources, words("prebuilt/~ts does not load here (~ts): ", [File, Why]))
            end
    end.

target() ->
    target(erlang:system_info(system_architecture), erlang:system_info(wordsize)).

%% What Rust calls the machine that this runtime was made for; its own word where there can be no library for it.
%% A Linux that does not name its C library is taken for one with glibc's: whether that is so, loading tells.
target(Architecture, 8) ->
    [Cpu | System] = string:split(Architecture, "-", all),
    case {cpu(Cpu), system(System)} of
        {Name, Rest} when Name =/= none, Rest =/= none -> {ok, Name ++ Rest};
        _ -> {none, Architecture}
    end;
target(Architecture, _) ->
    {none, Architecture ++ " with words of 32 bits"}.

cpu("x86_64") -> "x86_64";
cpu("amd64") -> "x86_64";
cpu("aarch64") -> "aarch64";
cpu("arm64") -> "aarch64";
cpu(_) -> none.

system(["linux"]) -> "-unknown-linux-gnu";
system(["linux", "gnu"]) -> "-unknown-linux-gnu";
system(["linux", "musl"]) -> "-unknown-linux-musl";
system(["linux", _]) -> none;
system(["apple", "darwin" ++ _]) -> "-apple-darwin";
system([_Vendor | ["linux" | _] = System]) -> system(System);
system(_) -> none.

verified(_, {none, Architecture}) ->
    {none, Architecture};
verified(Folder, {ok, Target}) ->
    File = Target ++ ".so",
    case file:read_file(filename:join(Folder, File)) of
        {ok, Bytes} -> verify(File, sha256(Bytes), sums(filename:join(Folder, "SHA256SUMS"))), {ok, File, Bytes};
        {error, enoent} -> {none, Target};
        {error, _} = Error -> done(Error, "read", filename:join(Folder, File))
    end.

verify(File, Sum, Sums) ->
    Remedy = "get the package anew, or build with cargo: ERLMCP_NATIVE_BUILD=1",
    case lists:keyfind(File, 2, Sums) of
        {Sum, _} -> ok;
        {_, _} -> fail("prebuilt/~ts is not what the package was made with (SHA-256): ~ts", [File, Remedy]);
        false -> fail("prebuilt/SHA256SUMS does not know prebuilt/~ts: ~ts", [File, Remedy])
    end.

%% The lines of sha256sum.
sums(File) ->
    Lines = lines(binary_to_list(done(file:read_file(File), "read", File))),
    [{string:lowercase(Sum), Name} || Line <- Lines, [Sum, Name] <- [string:lexemes(Line, " *")]].

%% rebar3 and mix do not run without crypto; who calls this by hand may.
sha256(Bytes) ->
    try crypto:hash(sha256, Bytes) of
        Sum -> lists:flatten([io_lib:format("~2.16.0b", [Byte]) || <<Byte>> <= Sum])
    catch
        error:undef -> fail("this Erlang has no crypto to check prebuilt/ with: install it, or build with cargo: "
            "ERLMCP_NATIVE_BUILD=1", [])
    end.

%% In another runtime: a library may do anything when it is loaded. Where it does not come back, the only scheduler is
%% lost, and heart, a program beside the runtime, kills the runtime, even when nobody waits for it any more. It does so
%% only where it has a command to run afterwards.
loads(Library, Root) ->
    {ok, [[Bindir]]} = init:get_argument(bindir),
    Args = jit_flags() ++ [
        "+S", "1", "-heart", "-dist_listen", "false", "-boot", "no_dot_erlang", "-noinput",
        "-run", "escript", "start", "-extra", escript:script_name(), "load", Library
    ],
    Env = [
        {"BINDIR", Bindir}, {"ROOTDIR", code:root_dir()}, {"HEART_BEAT_TIMEOUT", ?HANGS_S}, {"HEART_COMMAND", "true"},
        {"ERL_CRASH_DUMP_SECONDS", "0"}
        | [{Name, false} || Name <- [
            "ERL_AFLAGS", "ERL_FLAGS", "ERL_ZFLAGS", "ERL_LIBS", "HEART_KILL_SIGNAL", "HEART_NO_KILL"
        ]]
    ],
    case execute(filename:join(Bindir, "erlexec"), Args, [{cd, Root}, {env, Env}]) of
        {0, _} -> ok;
        {Status, Said} -> {no, why(Status, lists:reverse(lines(Said)))}
    end.

%% Without these a runtime may not be able to start at all, in an emulator of another machine, say.
jit_flags() ->
    Flags = [os:getenv(Name, "") || Name <- ["ERL_AFLAGS", "ERL_FLAGS", "ERL_ZFLAGS"]],
    jit_flags(string:lexemes(lists:join($\s, Flags), " ")).

jit_flags(["+J" ++ _ = Flag, Value | Flags]) -> [Flag, Value | jit_flags(Flags)];
jit_flags([_ | Flags]) -> jit_flags(Flags);
jit_flags([]) -> [].

why(_, ["erlmcp_native: " ++ Why | _]) -> Why;
why(Status, ["heart" ++ _ = Line | Lines]) ->
    case string:find(Line, "no activity") of
        nomatch -> why(Status, Lines);
        _ -> "it did not come back in " ?HANGS_S " s"
    end;
why(_, [Line | _]) -> Line;
why(none, []) -> "it does not come back";
why(Status, []) -> words("the runtime that loads it ends with status ~b", [Status]).

%% Loads the library into a module that has all that the real one has of natives, which is not compiled yet.
load(Library, Root) ->
    Source = filename:join([Root, "erlang", "native", "erlmcp_native.erl"]),
    {ok, [{application, _, App}]} = file:consult(filename:join([Root, "erlang", "erlmcp_native.app.src"])),
    {ok, Forms} = epp:parse_file(Source, []),
    Natives = lists:append([Names || {attribute, _, nifs, Names} <- Forms]),
    {ok, Module, Beam} = compile:forms(stub(Natives)),
    {module, Module} = code:load_binary(Module, Source, Beam),
    Version = proplists:get_value(vsn, App),
    case Module:load_library(filename:rootname(Library), list_to_binary(Version)) of
        ok -> ok;
        {error, {load, _}} -> fail("it is not of version ~ts", [Version]);
        {error, {_, Text}} -> fail("~ts", [Text])
    end.

stub(Natives) ->
    Any = fun(Arity) -> lists:duplicate(Arity, {var, 1, '_'}) end,
    Arguments = [{var, 1, 'Library'}, {var, 1, 'Version'}],
    Call = {call, 1, {remote, 1, {atom, 1, erlang}, {atom, 1, load_nif}}, Arguments},
    [
        {attribute, 1, module, erlmcp_native},
        {attribute, 1, export, [{load_library, 2} | Natives]},
        {attribute, 1, nifs, Natives},
        {function, 1, load_library, 2, [{clause, 1, Arguments, [], [Call]}]}
        | [{function, 1, Name, Arity, [{clause, 1, Any(Arity), [], [{nil, 1}]}]} || {Name, Arity} <- Natives]
    ].

%% ---- One that cargo builds.

%% Debian's own cargo is too old to say that it is.
check_rust(Root, Because) ->
    Manifest = done(file:read_file(filename:join(Root, "Cargo.toml")), "read", filename:join(Root, "Cargo.toml")),
    {match, [Needed]} = re:run(Manifest, "^rust-version *= *\"(.*)\"", [multiline, {capture, all_but_first, list}]),
    [
        fail("~ts~ts: install Rust ~ts or newer (https://rustup.rs)", [Because, Trouble, Needed])
     || Tool <- ["cargo", "rustc"], Trouble <- trouble(Tool, os:find_executable(Tool), Needed, Root)
    ].

trouble(Tool, false, _, _) ->
    [Tool ++ " is not on PATH"];
trouble(Tool, Path, Needed, Root) ->
    case execute(Path, ["--version"], [{cd, Root}]) of
        {0, Said} ->
            case re:run(Said, "[0-9]+(\\.[0-9]+)+", [{capture, first, list}]) of
                {match, [Version]} -> [words("~ts is ~ts", [Tool, Version]) || numbers(Version) < numbers(Needed)];
                nomatch -> [words("~ts tells no version", [Path])]
            end;
        {Status, Said} ->
            [First | _] = lines(Said) ++ [words("status ~b", [Status])],
            [words("~ts does not run (~ts)", [Path, First])]
    end.

numbers(Version) ->
    [list_to_integer(Number) || Number <- string:lexemes(Version, ".")].

%% The library's place is taken from cargo's own report, so CARGO_TARGET_DIR and the like are heeded.
cargo(Root, Crate, Library, Place) ->
    Args = ["build", "--release", "--locked", "-p", Crate, "--message-format=json-render-diagnostics"],
    Port = open_port({spawn_executable, os:find_executable("cargo")}, [
        {args, Args}, {cd, Root}, {line, 1 bsl 16}, binary, exit_status, use_stdio
    ]),
    Built = built(Port, <<>>, {none, list_to_binary(Library)}),
    ok = install(done(file:read_file(Built), "read", Built), Place, fun(_) -> ok end).

built(Port, Begun, {Found, Name}) ->
    receive
        {Port, {data, {noeol, Part}}} ->
            built(Port, <<Begun/binary, Part/binary>>, {Found, Name});
        {Port, {data, {eol, Part}}} ->
            built(Port, <<>>, {artifact(json:decode(<<Begun/binary, Part/binary>>), Name, Found), Name});
        {Port, {exit_status, 0}} when Found =/= none ->
            Found;
        {Port, {exit_status, 0}} ->
            fail("cargo reported no library", []);
        {Port, {exit_status, Status}} ->
            fail("cargo build failed with status ~b", [Status])
    end.

artifact(#{<<"reason">> := <<"compiler-artifact">>, <<"target">> := #{<<"name">> := Name}} = Message, Name, _) ->
    #{<<"filenames">> := [File | _]} = Message,
    File;
artifact(_, _, Found) ->
    Found.

%% A dependency seldom changes, so cargo is not asked again where nothing did. Where this project is the one that is
%% worked on, cargo is always asked: it knows of more than can be seen from here.
is_dependency(Root) ->
    os:getenv("REBAR_BARE_COMPILER_OUTPUT_DIR") =/= false orelse
        steps(os:getenv("REBAR_ROOT_DIR", Root)) =/= steps(Root).

%% rebar3 says /home/me/project/. of its own.
steps(Folder) ->
    [Step || Step <- filename:split(Folder), Step =/= "."].

%% What a library is made of: each file, what cargo and rustc read from the environment, and the machine.
sources(Root) ->
    Files = lists:append([
        filelib:wildcard(Pattern, Root) || Pattern <- ["native/**/*", "Cargo.*", "rust-toolchain*", ".cargo/*"]
    ]),
    Read = [{File, file:read_file(filename:join(Root, File))} || File <- Files],
    Env = [Entry || Entry <- lists:sort(os:getenv()), lists:prefix("CARGO", Entry) orelse lists:prefix("RUST", Entry)],
    erlang:md5(term_to_binary({erlang:system_info(system_architecture), Env, Read})).

is_noted(Root, Place, Sources) ->
    file:read_file(note_file(Root)) =:= {ok, noted(Place, Sources)}.

note(Root, Place, Sources) ->
    File = note_file(Root),
    %% Where that cannot be, cargo is asked each time.
    _ = filelib:ensure_dir(File),
    _ = file:write_file(File, noted(Place, Sources)),
    ok.

note_file(Root) ->
    filename:join([Root, "_build", "native", "erlmcp_native.built"]).

noted(Place, Sources) ->
    case file:read_file(Place) of
        {ok, Library} -> <<Sources/binary, (erlang:md5(Library))/binary>>;
        {error, _} -> none
    end.

%% ---- Into its place.

%% A running VM may have the old file mapped: it is not overwritten, but a new one is put in its place whole, so that
%% whoever loads it meanwhile, and another build at the same time, finds one or the other. Left alone if it is the same,
%% so that nothing downstream is built again, and what could be put there need not be tried again.
install(Bytes, Target, Check) ->
    case file:read_file(Target) of
        {ok, Bytes} -> ok;
        _ -> replace(Target, Bytes, Check)
    end.

replace(Target, Bytes, Check) ->
    New = lists:concat([filename:rootname(Target), ".", os:getpid(), filename:extension(Target)]),
    done(filelib:ensure_dir(Target), "make the folder of", Target),
    try
        done(file:write_file(New, Bytes), "write", New),
        done(file:change_mode(New, 8#755), "change the mode of", New),
        case Check(New) of
            ok -> done(rename(New, Target), "put the library into its place,", Target);
            {no, Why} -> {no, Why}
        end
    after
        file:delete(New)
    end.

%% Windows renames over no file that is there.
rename(New, Target) ->
    case file:rename(New, Target) of
        ok ->
            ok;
        {error, _} ->
            _ = file:delete(Target),
            file:rename(New, Target)
    end.

%% ---- Helpers.

%% Runs a program to its end: its status, and what it said.
execute(Program, Args, Options) ->
    Port = open_port({spawn_executable, Program}, [{args, Args}, exit_status, stderr_to_stdout, use_stdio | Options]),
    executed(Port, []).

executed(Port, Said) ->
    receive
        {Port, {data, More}} -> executed(Port, [Said, More]);
        {Port, {exit_status, Status}} -> {Status, lists:flatten(Said)}
    after ?ENDS_MS -> {none, ""}
    end.

done(ok, _, _) -> ok;
done({ok, Value}, _, _) -> Value;
done({error, Reason}, What, File) -> fail("cannot ~ts ~ts: ~ts", [What, File, file:format_error(Reason)]).

%% Those that are not empty. Both ends of a line together are one character to string.
lines(Text) ->
    string:lexemes(Text, [$\r, $\n, "\r\n"]).

-spec fail(string(), [term()]) -> no_return().
fail(Format, Args) ->
    throw({failed, words(Format, Args)}).

words(Format, Args) ->
    lists:flatten(io_lib:format(Format, Args)).

say(Format, Args) ->
    io:format(standard_error, "erlmcp_native: " ++ Format ++ "~n", Args).
