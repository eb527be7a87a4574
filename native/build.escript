%% Builds the native library and puts it into priv/. Called by rebar3 before it compiles. With the argument probe it
%% builds the one for benchmarks and tests instead, and puts it into _build/native/, from where nothing is packed.
%% The library's place is taken from cargo's own report, so CARGO_TARGET_DIR and the like are heeded.

main([]) -> main("erlmcp-nif", "erlmcp_native", ["priv"]);
main(["probe"]) -> main("erlmcp-probe", "erlmcp_native_probe", ["_build", "native"]).

main(Crate, Library, Folder) ->
    try
        build(Crate, Library, Folder)
    catch
        throw:{failed, Words} ->
            io:format(standard_error, "erlmcp_native: ~ts~n", [Words]),
            halt(1)
    end.

build(Crate, Library, Folder) ->
    Root = filename:dirname(filename:dirname(filename:absname(escript:script_name()))),
    Cargo = cargo(),
    Args = ["build", "--release", "--locked", "-p", Crate, "--message-format=json-render-diagnostics"],
    Port = open_port({spawn_executable, Cargo}, [
        {args, Args}, {cd, Root}, {line, 1 bsl 16}, binary, exit_status, use_stdio
    ]),
    install(library(Port, <<>>, {none, list_to_binary(Library)}), filename:join([Root | Folder] ++ [Library])).

cargo() ->
    case os:find_executable("cargo") of
        false -> fail("cargo is not on PATH: install Rust, https://rustup.rs", []);
        Cargo -> Cargo
    end.

library(Port, Begun, {Found, Name}) ->
    receive
        {Port, {data, {noeol, Part}}} ->
            library(Port, <<Begun/binary, Part/binary>>, {Found, Name});
        {Port, {data, {eol, Part}}} ->
            library(Port, <<>>, {artifact(json:decode(<<Begun/binary, Part/binary>>), Name, Found), Name});
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

%% A running VM may have the old file mapped: it is not overwritten, but a new one is put in its place whole, so that
%% whoever loads it meanwhile, and another build at the same time, finds one or the other. Left alone if it is the same,
%% so that nothing downstream is built again.
install(Built, Place) ->
    Extension = case os:type() of {win32, _} -> ".dll"; _ -> ".so" end,
    Target = Place ++ Extension,
    Bytes = done(file:read_file(Built), "read", Built),
    case file:read_file(Target) of
        {ok, Bytes} -> ok;
        _ -> replace(Target, Bytes)
    end.

replace(Target, Bytes) ->
    New = lists:concat([Target, ".", os:getpid()]),
    done(filelib:ensure_dir(Target), "make the folder of", Target),
    try
        done(file:write_file(New, Bytes), "write", New),
        done(file:change_mode(New, 8#755), "change the mode of", New),
        done(rename(New, Target), "put the library into its place,", Target)
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

done(ok, _, _) -> ok;
done({ok, Value}, _, _) -> Value;
done({error, Reason}, What, File) -> fail("cannot ~ts ~ts: ~ts", [What, File, file:format_error(Reason)]).

-spec fail(string(), [term()]) -> no_return().
fail(Format, Args) ->
    throw({failed, io_lib:format(Format, Args)}).
