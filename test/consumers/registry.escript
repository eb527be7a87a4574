%% Usage: escript registry.escript TARBALL FOLDER COMMAND...
%%
%% Serves a registry of hex that has this one package, on loopback, while a command runs that finds its configuration in
%% FOLDER/rebar.config; ends with its status. rebar3 carries hex's own library for what a registry says.
-mode(compile).

main([Tarball, Folder, Program | Args]) ->
    load_hex_core(),
    {ok, Bytes} = file:read_file(Tarball),
    {ok, #{inner_checksum := Inner, outer_checksum := Outer, metadata := Metadata}} =
        r3_hex_tarball:unpack(Bytes, memory),
    #{<<"name">> := Name, <<"version">> := Version, <<"build_tools">> := [<<"rebar3">>]} = Metadata,
    {ok, _} = application:ensure_all_started([inets, public_key]),
    Key = public_key:generate_key({rsa, 2048, 65537}),
    Release = #{version => Version, inner_checksum => Inner, outer_checksum => Outer, dependencies => []},
    Package = r3_hex_registry:encode_package(#{name => Name, repository => <<"local">>, releases => [Release]}),
    Signed = r3_hex_registry:sign_protobuf(Package, pem(Key)),
    write(filename:join([Folder, "packages", Name]), zlib:gzip(Signed)),
    write(filename:join([Folder, "tarballs", filename:basename(Tarball)]), Bytes),
    {ok, Server} = inets:start(httpd, [
        {port, 0}, {bind_address, {127, 0, 0, 1}}, {server_name, "registry"}, {server_root, Folder},
        {document_root, Folder}
    ]),
    {_, Port} = lists:keyfind(port, 1, httpd:info(Server)),
    Repository = #{
        name => <<"local">>,
        repo_url => unicode:characters_to_binary(lists:concat(["http://127.0.0.1:", Port])),
        repo_public_key => public(Key)
    },
    write(filename:join(Folder, "rebar.config"), io_lib:format("~p.~n", [{hex, [{repos, replace, [Repository]}]}])),
    halt(run(os:find_executable(Program), Args)).

pem(Key) ->
    public_key:pem_encode([public_key:pem_entry_encode('RSAPrivateKey', Key)]).

public({'RSAPrivateKey', _, Modulus, Exponent, _, _, _, _, _, _, _}) ->
    Entry = public_key:pem_entry_encode('SubjectPublicKeyInfo', {'RSAPublicKey', Modulus, Exponent}),
    public_key:pem_encode([Entry]).

write(File, Text) ->
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, Text).

run(Program, Args) ->
    Port = open_port({spawn_executable, Program}, [{args, Args}, exit_status, nouse_stdio]),
    receive {Port, {exit_status, Status}} -> Status end.

%% In rebar3's archive its modules have a prefix.
load_hex_core() ->
    {ok, Sections} = escript:extract(os:find_executable("rebar3"), []),
    {archive, Archive} = lists:keyfind(archive, 1, Sections),
    Ours = fun
        ({zip_file, Name, _, _, _, _}) -> string:prefix(filename:basename(Name), "r3_") =/= nomatch;
        (_) -> false
    end,
    {ok, Files} = zip:unzip(Archive, [memory, {file_filter, Ours}]),
    [
        {module, _} = code:load_binary(list_to_atom(filename:basename(Name, ".beam")), Name, Beam)
     || {Name, Beam} <- Files, filename:extension(Name) =:= ".beam"
    ].
