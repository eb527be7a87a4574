%% Makes the package for hex, _build/package/erlmcp_native-VERSION.tar, of the files that erlmcp_native.app.src names
%% and the libraries that package.sh has built. rebar3 carries hex's own library for that, hex_core; files in the
%% package have no time and no owner, so that the same files give the same bytes.

main([]) ->
    Root = filename:dirname(filename:dirname(filename:absname(escript:script_name()))),
    ok = file:set_cwd(Root),
    {ok, [{application, App, Keys}]} = file:consult("erlang/erlmcp_native.app.src"),
    Files = tracked(proplists:get_value(files, Keys)) ++ libraries(),
    load_hex_core(),
    case r3_hex_tarball:create(metadata(App, Keys, Files), Files) of
        {ok, #{tarball := Tarball}} ->
            Name = lists:concat(["_build/package/", App, "-", proplists:get_value(vsn, Keys), ".tar"]),
            ok = file:write_file(Name, Tarball),
            io:format("package: ~ts, ~b bytes~n", [Name, byte_size(Tarball)]);
        {error, Reason} ->
            fail("cannot make the package: ~ts", [r3_hex_tarball:format_error(Reason)])
    end.

%% What git has of these files and folders, as it is in the work tree: nothing that is built, left over or ignored.
tracked(Paths) ->
    Port = open_port({spawn_executable, program("git")}, [
        {args, ["ls-files", "-z", "--error-unmatch", "--" | Paths]}, binary, exit_status, use_stdio
    ]),
    Names = binary:split(output(Port, []), <<0>>, [global, trim_all]),
    [file(Name, Name) || Name <- lists:sort([unicode:characters_to_list(Name) || Name <- Names])].

output(Port, Parts) ->
    receive
        {Port, {data, Part}} -> output(Port, [Parts, Part]);
        {Port, {exit_status, 0}} -> iolist_to_binary(Parts);
        {Port, {exit_status, Status}} -> fail("git ls-files failed with status ~b", [Status])
    end.

libraries() ->
    Built = "_build/package/prebuilt",
    case file:list_dir(Built) of
        {ok, Names} -> [file("prebuilt/" ++ Name, filename:join(Built, Name)) || Name <- lists:sort(Names)];
        {error, _} -> fail("there are no libraries in ~ts: run scripts/package.sh first", [Built])
    end.

%% Given as bytes, a file is readable by all and not executable, whatever it is here: what runs in the package is run
%% by escript.
file(Place, Name) ->
    case file:read_file(Name) of
        {ok, Bytes} -> {Place, Bytes};
        {error, Reason} -> fail("cannot read ~ts: ~ts", [Name, file:format_error(Reason)])
    end.

metadata(App, Keys, Files) ->
    Text = fun(Key) -> unicode:characters_to_binary(proplists:get_value(Key, Keys)) end,
    #{
        <<"name">> => atom_to_binary(App),
        <<"app">> => atom_to_binary(App),
        <<"version">> => Text(vsn),
        <<"description">> => Text(description),
        <<"licenses">> => [unicode:characters_to_binary(Name) || Name <- proplists:get_value(licenses, Keys)],
        <<"links">> => #{
            unicode:characters_to_binary(Name) => unicode:characters_to_binary(Link)
         || {Name, Link} <- proplists:get_value(links, Keys)
        },
        <<"build_tools">> => [<<"rebar3">>],
        <<"requirements">> => #{},
        <<"files">> => [unicode:characters_to_binary(Place) || {Place, _} <- Files]
    }.

%% In rebar3's archive its modules have a prefix.
load_hex_core() ->
    {ok, Sections} = escript:extract(program("rebar3"), []),
    {archive, Archive} = lists:keyfind(archive, 1, Sections),
    Ours = fun
        ({zip_file, Name, _, _, _, _}) -> string:prefix(filename:basename(Name), "r3_") =/= nomatch;
        (_) -> false
    end,
    {ok, Files} = zip:unzip(Archive, [memory, {file_filter, Ours}]),
    [
        {module, _} = code:load_binary(list_to_atom(filename:basename(Name, ".beam")), Name, Beam)
     || {Name, Beam} <- Files
    ],
    erlang:function_exported(r3_hex_tarball, create, 2) orelse
        fail("the rebar3 on PATH has no r3_hex_tarball: 3.20 or newer is needed", []).

program(Name) ->
    case os:find_executable(Name) of
        false -> fail("no ~ts on PATH", [Name]);
        Program -> Program
    end.

-spec fail(string(), [term()]) -> no_return().
fail(Format, Args) ->
    io:format(standard_error, "package: " ++ Format ++ "~n", Args),
    halt(1).
