%% Builds the native library and puts it into priv/. Called by rebar3 before it compiles.
%% The library's place is taken from cargo's own report, so CARGO_TARGET_DIR and the like are heeded.

-define(CRATE, "erlmcp-nif").
-define(LIBRARY, "erlmcp_native").

main([]) ->
    Root = filename:dirname(filename:dirname(filename:absname(escript:script_name()))),
    Cargo = cargo(),
    Args = ["build", "--release", "--locked", "-p", ?CRATE, "--message-format=json-render-diagnostics"],
    Port = open_port({spawn_executable, Cargo}, [
        {args, Args}, {cd, Root}, {line, 1 bsl 16}, binary, exit_status, use_stdio
    ]),
    install(library(Port, <<>>, none), filename:join(Root, "priv")).

cargo() ->
    case os:find_executable("cargo") of
        false -> fail("cargo is not on PATH: install Rust, https://rustup.rs", []);
        Cargo -> Cargo
    end.

library(Port, Begun, Found) ->
    receive
        {Port, {data, {noeol, Part}}} ->
            library(Port, <<Begun/binary, Part/binary>>, Found);
        {Port, {data, {eol, Part}}} ->
            library(Port, <<>>, artifact(json:decode(<<Begun/binary, Part/binary>>), Found));
        {Port, {exit_status, 0}} when Found =/= none ->
            Found;
        {Port, {exit_status, 0}} ->
            fail("cargo reported no library", []);
        {Port, {exit_status, Status}} ->
            fail("cargo build failed with status ~b", [Status])
    end.

artifact(#{<<"reason">> := <<"compiler-artifact">>, <<"target">> := #{<<"name">> := <<?LIBRARY>>}} = Message, _) ->
    #{<<"filenames">> := [File | _]} = Message,
    File;
artifact(_, Found) ->
    Found.

%% A running VM may have the old file mapped: it is removed and not overwritten, and a new one put in its
%% place whole. Left alone if it is the same, so that nothing downstream is built again.
install(Built, Priv) ->
    Extension = case os:type() of {win32, _} -> ".dll"; _ -> ".so" end,
    Target = filename:join(Priv, ?LIBRARY ++ Extension),
    {ok, Bytes} = file:read_file(Built),
    case file:read_file(Target) of
        {ok, Bytes} ->
            ok;
        _ ->
            New = Target ++ "." ++ os:getpid(),
            ok = filelib:ensure_dir(Target),
            ok = file:write_file(New, Bytes),
            ok = file:change_mode(New, 8#755),
            _ = file:delete(Target),
            ok = file:rename(New, Target)
    end.

fail(Format, Args) ->
    io:format(standard_error, "erlmcp_native: " ++ Format ++ "~n", Args),
    halt(1).
