%% All of it below a path of somebody else's listener.
-module(erlmcp_native_http_prefix_tests).

-include_lib("eunit/include/eunit.hrl").

-define(M, erlmcp_native_http).

prefix_test_() ->
    {foreach, fun() -> erlmcp_native_http_test_lib:up(#{}) end, fun erlmcp_native_http_test_lib:down/1, [
        {atom_to_list(Name), {timeout, 60, Test}}
     || Test <- [
            fun every_path_is_below_it/0,
            fun the_page_and_all_it_links_to/0,
            fun without_its_slash_the_page_is_elsewhere/0,
            fun an_event_stream/0,
            fun options_are_checked/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

mounted(Prefix, Fun) ->
    Mine = {"/[...]", cowboy_static, {file, "/nowhere"}},
    Dispatch = cowboy_router:compile([{'_', ?M:routes(#{prefix => Prefix}) ++ [Mine]}]),
    {ok, _} = cowboy:start_clear(?MODULE, [{port, 0}, {ip, {127, 0, 0, 1}}], #{env => #{dispatch => Dispatch}}),
    try
        Fun()
    after
        ok = cowboy:stop_listener(?MODULE)
    end.

connect() ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, ranch:get_port(?MODULE), [binary, {active, false}]),
    Socket.

%% Whoever has mounted it says which names are his.
ask(Path) ->
    Socket = connect(),
    ok = gen_tcp:send(Socket, ["GET ", Path, " HTTP/1.1\r\nhost: ops.example.org\r\nconnection: close\r\n\r\n"]),
    Answer = erlmcp_native_http_test_lib:answer(Socket),
    ok = gen_tcp:close(Socket),
    Answer.

every_path_is_below_it() ->
    [
        mounted(Prefix, fun() ->
            Paths = [Path || {Path, _, _} <- ?M:routes(), Path =/= "/page/[...]", Path =/= "/events"],
            Below = [unicode:characters_to_list([Prefix, Path]) || Path <- Paths],
            [?assertMatch({Path, {true, _}}, {Path, is_there(ask(Path))}) || Path <- Below],
            [?assertMatch({Path, {404, _, _}}, {Path, ask(Path)}) || Path <- Paths]
        end)
     || Prefix <- ["/ops", ~"/a/b-c_d~1.x"]
    ],
    ?assertEqual(?M:routes(), ?M:routes(#{prefix => ""})).

%% What it has to be asked for is missing in some, and a cluster is not there.
is_there({200, _, _} = Answer) -> {true, Answer};
is_there({400, _, Body} = Answer) -> {string:find(Body, ~"it is missing") =/= nomatch, Answer};
is_there({503, _, Body} = Answer) -> {string:find(Body, ~"erlmcp_overload_cluster") =/= nomatch, Answer};
is_there(Answer) -> {false, Answer}.

%% As a browser resolves them: from index.html, and from each module to those it imports.
the_page_and_all_it_links_to() ->
    mounted("/ops", fun() ->
        {200, _, Index} = ask("/ops/"),
        Links = links(Index, "(?:href|src)=\"([^\"#]+)\""),
        ?assert(length(Links) > 5),
        ?assertEqual([], [Link || Link <- Links, hd(Link) =:= $/ orelse string:find(Link, ":") =/= nomatch]),
        Served = [{Link, ask("/ops/" ++ Link)} || Link <- Links],
        [?assertMatch({_, {200, _, _}}, One) || One <- Served],
        Imports = lists:usort([
            Import
         || {"page/" ++ _, {200, _, Body}} <- Served, Import <- links(Body, "from '(\\./[^']+)'")
        ]),
        ?assert(length(Imports) > 5),
        [?assertMatch({_, {200, _, _}}, {Import, ask("/ops/page/" ++ Import -- "./")}) || Import <- Imports],
        Fetched = lists:append([links(Body, "(?:fetched|Stream)\\('([^'?]+)") || {_, {200, _, Body}} <- Served]),
        ?assert(lists:member("events", Fetched) andalso lists:member("api/summary", Fetched)),
        ?assertEqual([], [Url || Url <- Fetched, hd(Url) =:= $/])
    end).

links(Text, Pattern) ->
    case re:run(Text, Pattern, [global, {capture, all_but_first, list}]) of
        {match, Found} -> lists:usort(lists:append(Found));
        nomatch -> []
    end.

without_its_slash_the_page_is_elsewhere() ->
    mounted("/ops/page-1", fun() ->
        {308, #{~"location" := Location}, _} = ask("/ops/page-1"),
        ?assertEqual(~"page-1/", Location),
        ?assertEqual("/ops/page-1/", uri_string:resolve(binary_to_list(Location), "http://h/ops/page-1") -- "http://h")
    end).

an_event_stream() ->
    mounted("/ops", fun() ->
        Socket = connect(),
        ok = gen_tcp:send(Socket, "GET /ops/events HTTP/1.1\r\nhost: ops\r\n\r\n"),
        Stream = erlmcp_native_http_test_lib:opened(Socket, 10000),
        {#{~"data" := #{~"roles" := [_ | _]}}, Later} = erlmcp_native_http_test_lib:named(~"snapshot", Stream, 10000),
        ok = erlmcp_native_http_test_lib:publish({breaker, session, open}),
        {#{~"data" := #{~"role" := ~"session"}}, Last} = erlmcp_native_http_test_lib:named(~"breaker", Later, 10000),
        erlmcp_native_http_test_lib:close(Last)
    end).

options_are_checked() ->
    Wrong = [
        #{prefix => Prefix}
     || Prefix <- [
            "ops", "/", "/ops/", "//", "/../ops", "/.", "/a b", "/:a", "/[...]", "/%41", "/a?b", "/a#b", "/ops\n", ops,
            1, "/" ++ lists:duplicate(256, $a), [-1], ~"\xff"
        ]
    ],
    [
        ?assertMatch({Given, {error, {badarg, #{1 := _}}}}, {Given, raised(Given)})
     || Given <- [#{max_streams => 0}, #{send_timeout_ms => 1}, #{port => 80}, #{x => 1}, ops, [1] | Wrong]
    ],
    Streams = [Options || {"/x/events", _, Options} <- ?M:routes(#{prefix => "/x", max_streams => 7})],
    ?assertEqual([#{max_streams => 7, patience_ms => 30000}], Streams).

raised(Given) ->
    try
        ?M:routes(Given)
    catch
        error:badarg:Stack -> {error, {badarg, erlmcp_native_error:format_error(badarg, Stack)}}
    end.
