%% Usage: escript package_check.escript PACKAGE FOLDER
%%
%% Fails unless the package is what hex's specification says, with what a user's build needs and nothing else, in 4 MB.
%% Unpacks it into FOLDER. hex_core made it, so nothing of hex_core is used here.

main([Package, Folder]) ->
    {ok, Tarball} = file:read_file(Package),
    {ok, Outer} = erl_tar:extract({binary, Tarball}, [memory]),
    ["CHECKSUM", "VERSION", "contents.tar.gz", "metadata.config"] = lists:sort([Name || {Name, _} <- Outer]),
    [Version, Metadata, Contents] = [
        element(2, lists:keyfind(Name, 1, Outer))
     || Name <- ["VERSION", "metadata.config", "contents.tar.gz"]
    ],
    <<"3">> = Version,
    Sum = binary:encode_hex(crypto:hash(sha256, [Version, Metadata, Contents]), uppercase),
    {"CHECKSUM", Sum} = lists:keyfind("CHECKSUM", 1, Outer),
    true = byte_size(Tarball) =< 4_000_000,
    ok = file:write_file(filename:join(Folder, "metadata"), Metadata),
    {ok, Terms} = file:consult(filename:join(Folder, "metadata")),
    ok = file:delete(filename:join(Folder, "metadata")),
    {ok, Entries} = erl_tar:table({binary, Contents}, [compressed, verbose]),
    metadata(Terms, [list_to_binary(element(1, Entry)) || Entry <- Entries]),
    [plain(Entry) || Entry <- Entries],
    names([element(1, Entry) || Entry <- Entries]),
    ok = erl_tar:extract({binary, Contents}, [compressed, {cwd, Folder}]),
    libraries(filename:join(Folder, "prebuilt")),
    io:format("package: ~b files, ~b bytes, checksum ~ts~n", [length(Entries), byte_size(Tarball), Sum]).

metadata(Terms, Names) ->
    {ok, [{application, erlmcp_native, Keys}]} = file:consult("erlang/erlmcp_native.app.src"),
    Value = fun(Key) -> proplists:get_value(Key, Terms) end,
    <<"erlmcp_native">> = Value(<<"name">>),
    <<"erlmcp_native">> = Value(<<"app">>),
    true = Value(<<"version">>) =:= list_to_binary(proplists:get_value(vsn, Keys)),
    true = byte_size(Value(<<"description">>)) > 0,
    [<<"Apache-2.0">>] = Value(<<"licenses">>),
    [<<"rebar3">>] = Value(<<"build_tools">>),
    [] = Value(<<"requirements">>),
    true = lists:sort(Value(<<"files">>)) =:= lists:sort(Names).

%% A file that all may read, of no owner and of no time: the same on every machine.
plain({_, regular, Size, 946_684_800, Mode, 0, 0}) when Size > 0, Mode band 8#777 =:= 8#644 -> ok.

names(Names) ->
    Folders = lists:usort([hd(filename:split(Name)) || Name <- Names]),
    [".cargo", "CHANGELOG.md", "Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "SECURITY.md", "docs", "ebin",
        "erlang", "include", "native", "prebuilt", "priv", "rebar.config", "rebar.config.script", "rebar.lock"] =
        Folders,
    [] = [Name || "priv/" ++ _ = Name <- Names, lists:member(filename:extension(Name), [".so", ".dll"])],
    [] = [Name || Name <- Names, filename:dirname(Name) =:= "native/core/tests"],
    [] = ["docs/operating.md", "ebin/erlmcp_native.appup", "erlang/erlmcp_native.app.src",
        "include/erlmcp_messages.hrl", "native/build.escript", "native/nif/Cargo.toml",
        "priv/page/index.html"] -- Names.

libraries(Folder) ->
    {ok, Sums} = file:read_file(filename:join(Folder, "SHA256SUMS")),
    Lines = [binary:split(Line, <<"  ">>) || Line <- binary:split(Sums, <<"\n">>, [global, trim])],
    {ok, Files} = file:list_dir(Folder),
    true = lists:sort(Files -- ["SHA256SUMS"]) =:= [binary_to_list(Name) || [_, Name] <- Lines],
    [
        begin
            {ok, Bytes} = file:read_file(filename:join(Folder, Name)),
            Sum = binary:encode_hex(crypto:hash(sha256, Bytes), lowercase)
        end
     || [Sum, Name] <- Lines
    ],
    [<<"aarch64-apple-darwin.so">>, <<"aarch64-unknown-linux-gnu.so">>, <<"aarch64-unknown-linux-musl.so">>,
        <<"x86_64-apple-darwin.so">>, <<"x86_64-unknown-linux-gnu.so">>, <<"x86_64-unknown-linux-musl.so">>] =
        [Name || [_, Name] <- Lines].
