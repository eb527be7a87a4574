%% Our own listener serves those who ask for it by a name of its own, and tells no other site anything.
-module(erlmcp_native_http_door_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_test_lib, [fetch/2, raw/1, with_listener/1, with_listener/2]).

-define(M, erlmcp_native_http).
-define(PATHS, ["/", "/page/page.js", "/api/summary", "/events", "/metrics", "/health/live", "/nothing"]).

door_test_() ->
    [
        with_listener([
            fun names_of_the_loopback_address_are_served/0,
            fun other_names_are_misdirected/0,
            fun who_names_no_host_is_no_browser/0,
            fun nothing_comes_after_a_refusal/0,
            fun a_refusal_to_head_has_no_body/0,
            fun other_sites_are_told_nothing/0
        ]),
        with_listener(#{hosts => ["Ops.Example.org.", ~"[FD00:0::1]"]}, [fun hosts_that_are_given_are_served_too/0]),
        with_listener(#{hosts => any}, [fun any_host_is_served_if_so_wished/0]),
        with_listener(#{ip => {0, 0, 0, 0}}, [fun any_host_is_served_elsewhere/0]),
        with_listener(#{ip => {0, 0, 0, 0}, hosts => ["ops"]}, [fun elsewhere_hosts_can_be_given/0]),
        with_listener(#{ip => {127, 0, 0, 1}, hosts => []}, [fun other_names_are_misdirected/0]),
        {setup, fun() -> {ok, _} = application:ensure_all_started(cowboy) end, fun hosts_are_checked/0}
    ].

status(Host) ->
    status("/health/live", Host).

status(Path, Host) ->
    {Status, _, _} = raw(["GET ", Path, " HTTP/1.1\r\nconnection: close\r\nhost: ", Host, "\r\n\r\n"]),
    Status.

names_of_the_loopback_address_are_served() ->
    Hosts = ["localhost", "LocalHost", "localhost.", "127.0.0.1", "[::1]"],
    [
        ?assertEqual({Host, Port, 200}, {Host, Port, status(Host ++ Port)})
     || Host <- Hosts, Port <- ["", ":1", ":9464", ":65535"]
    ].

other_names_are_misdirected() ->
    Hosts = [
        "evil.example.org", "evil.example.org:9464", "localhost.evil.example.org", "evil-localhost", "xlocalhost",
        "127.0.0.1.evil.example.org", "127.0.0.2", "10.0.0.1", "[::2]", "0.0.0.0", "ops", "localhost..", "127.1"
    ],
    [?assertEqual({Host, Path, 421}, {Host, Path, status(Path, Host)}) || Host <- Hosts, Path <- ?PATHS],
    {421, #{~"content-type" := ~"application/json"}, Body} = raw("GET / HTTP/1.1\r\nhost: evil\r\n\r\n"),
    ?assertMatch(#{~"error" := ~"misdirected", ~"reason" := _}, json:decode(Body)).

%% HAProxy's probes, say. One that is needed and not there is an error, as ever.
who_names_no_host_is_no_browser() ->
    ?assertMatch({200, _, _}, raw("GET /health/live HTTP/1.0\r\n\r\n")),
    ?assertMatch({421, _, _}, raw("GET /health/live HTTP/1.0\r\nhost: evil\r\n\r\n")),
    ?assertMatch({400, _, _}, raw("GET /health/live HTTP/1.1\r\n\r\n")),
    ?assertMatch({400, _, _}, raw("GET /health/live HTTP/1.1\r\nhost: localhost\r\nhost: evil\r\n\r\n")).

%% What else the client sends is not read: neither a body nor a second request.
nothing_comes_after_a_refusal() ->
    Socket = erlmcp_native_http_test_lib:connect(),
    ok = gen_tcp:send(Socket, [
        "POST / HTTP/1.1\r\nhost: evil\r\ncontent-length: 1000000\r\n\r\nabc",
        "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"
    ]),
    {421, #{~"connection" := ~"close"}, _} = erlmcp_native_http_test_lib:answer(Socket),
    ?assertEqual(ok, erlmcp_native_http_test_lib:closed(Socket)),
    ok = gen_tcp:close(Socket).

a_refusal_to_head_has_no_body() ->
    {421, #{~"content-length" := Length}, Body} = raw("HEAD / HTTP/1.1\r\nhost: evil\r\n\r\n"),
    ?assert(binary_to_integer(Length) > 0),
    ?assertEqual(<<>>, Body).

%% No script of another site may read an answer, and none may be embedded there: also not a refusal.
other_sites_are_told_nothing() ->
    Asked = [
        {"GET", ["origin: http://evil.example.org"]},
        {"GET", ["origin: null"]},
        {"HEAD", ["origin: http://evil.example.org"]},
        {"OPTIONS", ["origin: http://evil.example.org", "access-control-request-method: GET"]}
    ],
    Answers = [
        {Path, erlmcp_native_http_test_lib:request(Method ++ " " ++ Path, Headers)}
     || Path <- ?PATHS, {Method, Headers} <- Asked
    ],
    Refusals = [{"evil", raw("GET / HTTP/1.1\r\nhost: evil\r\n\r\n")}, {"odd", raw("GET / HTTP/1.1\r\n\r\n")}],
    [
        begin
            Told = [Name || Name := _ <- Headers, string:prefix(Name, "access-control") =/= nomatch],
            ?assertEqual({Path, []}, {Path, Told}),
            ?assertMatch(
                {_, #{~"cross-origin-resource-policy" := ~"same-origin", ~"referrer-policy" := ~"no-referrer"}},
                {Path, Headers}
            ),
            ?assertMatch({_, #{~"x-content-type-options" := ~"nosniff"}}, {Path, Headers})
        end
     || {Path, {_, Headers, _}} <- Answers ++ Refusals
    ],
    {200, #{~"etag" := Tag}, _} = fetch("/page/page.js", []),
    ?assertMatch(
        {304, #{~"cross-origin-resource-policy" := ~"same-origin"}, _},
        fetch("/page/page.js", [["if-none-match: ", Tag]])
    ).

hosts_that_are_given_are_served_too() ->
    Names = ["ops.example.org", "OPS.example.org:443", "ops.example.org.", "localhost", "127.0.0.1"],
    Hosts = Names ++ ["[fd00::1]:80", "[fd00:0:0:0:0:0:0:1]", "[0::1]"],
    [?assertEqual({Host, 200}, {Host, status(Host)}) || Host <- Hosts],
    Others = ["example.org", "evil.ops.example.org", "[fd00::2]", "[fd00]"],
    [?assertEqual({Host, 421}, {Host, status(Host)}) || Host <- Others].

any_host_is_served_if_so_wished() ->
    ?assertEqual([200, 200], [status(Host) || Host <- ["evil.example.org", "localhost"]]).

any_host_is_served_elsewhere() ->
    ?assertEqual([200, 200], [status(Host) || Host <- ["node7.internal", "10.1.2.3:9464"]]).

elsewhere_hosts_can_be_given() ->
    Hosts = ["ops", "localhost", "0.0.0.0", "node7.internal"],
    ?assertEqual([200, 200, 200, 421], [status(Host) || Host <- Hosts]).

hosts_are_checked() ->
    {ok, #{hosts := [~"ops.example.org", ~"[fd00::1]"]} = Options} =
        ?M:options(#{port => 0, hosts => [~"OPS.example.org", "[fd00::1]"]}),
    ?assertEqual({ok, Options}, ?M:options(Options)),
    {ok, #{hosts := [~"ops", ~"ops", ~"[::1]", ~"10.0.0.1"]}} =
        ?M:options(#{port => 0, hosts => ["ops.", "OPS", "[0:0::1]", ~"10.0.0.1"]}),
    [
        ?assertMatch({Hosts, {error, {[hosts | _], _, [_ | _]}}}, {Hosts, ?M:options(#{port => 0, hosts => Hosts})})
     || Hosts <- [
            none, "ops", [ops], [""], ["."], ["ops.."], ["a..b"], [".ops"], ["ops:80"], ["ops.:80"], ["[::1]:80"],
            ["::1"], ["[::1"], ["[]"], ["[1.2]"], ["[:::]"], ["[fe80::1%lo]"], ["http://ops"], ["a b"],
            ["*.example.org"], ["a\r\n"], [~"\xff"],
            [lists:duplicate(256, $a)], lists:duplicate(65, "ops"), ["ops" | "ops"], #{}
        ]
    ].
