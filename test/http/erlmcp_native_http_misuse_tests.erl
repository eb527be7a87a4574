%% What clients should not do: each is answered, or closed, in bounded memory and time.
-module(erlmcp_native_http_misuse_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_test_lib, [fetch/1, request/2, raw/1, connect/0, answer/1, closed/1, trickle/2, memory/1]).

-define(MB, 1048576).
-define(JSON, #{~"content-type" := ~"application/json"}).

misuse_test_() ->
    erlmcp_native_http_test_lib:with_listener([
        fun wrong_parameters/0,
        fun unknown_parameters/0,
        fun parameters_of_others/0,
        fun unknown_roles/0,
        fun unknown_paths/0,
        fun other_methods/0,
        fun bodies/0,
        fun a_body_without_end/0,
        fun a_request_line_of_a_megabyte/0,
        fun a_header_of_a_megabyte/0,
        fun a_header_name_of_a_megabyte/0,
        fun ten_thousand_headers/0,
        fun large_headers_in_one_piece/0,
        fun what_is_no_http/0,
        fun a_request_that_never_ends/0,
        fun a_connection_that_says_nothing/0,
        fun odd_last_event_ids/0,
        fun crashes_are_answered_and_say_nothing/0,
        fun no_atom_is_made/0,
        fun sending_on_while_a_request_is_served/0,
        fun clients_that_go_away/0
    ]).

%% {Status, Json} of an answer that must be JSON.
said({Status, ?JSON, Body}) ->
    {Status, json:decode(Body)}.

refused(Path) ->
    {400, #{~"error" := ~"bad_parameter", ~"parameter" := Parameter, ~"reason" := Reason}} = said(fetch(Path)),
    ?assert(byte_size(Reason) > 10),
    Parameter.

wrong_parameters() ->
    [
        ?assertEqual({Query, Parameter}, {Query, refused("/api/queues?" ++ Query)})
     || {Query, Parameter} <- [
            {"top", ~"top"},
            {"top=", ~"top"},
            {"top=0", ~"top"},
            {"top=1001", ~"top"},
            {"top=-1", ~"top"},
            {"top=1.5", ~"top"},
            {"top=ten", ~"top"},
            {"top=%31%30%3", ~"top"},
            {"top=1&top=2", ~"top"},
            {"top=10&role=session&top=10", ~"top"},
            {"top=" ++ lists:duplicate(4000, $1), ~"top"},
            {"role", ~"role"},
            {"role&top=1", ~"role"},
            {"role=session&role=session", ~"role"},
            {"role=session&%72ole=session", ~"role"},
            {"role=%zz", ~"role"},
            {"role=%", ~"role"},
            {"role=%c3%28", ~"role"},
            {"role=" ++ [255], ~"role"},
            {"role=" ++ lists:duplicate(1021, $a), ~"role"}
        ]
    ],
    ?assertEqual(~"role", refused("/api/alerts?role=session&role=session")),
    ?assertEqual(~"top", refused("/api/alerts?top=1")),
    Long = lists:duplicate(5000, $a),
    {400, #{~"error" := ~"bad_request", ~"reason" := _}} = said(fetch("/api/queues?role=" ++ Long)).

%% Of what has parameters, and what a program asks that should know them.
unknown_parameters() ->
    [
        ?assertEqual(~"x", refused(Path ++ "?x=1"))
     || Path <- ["/api/summary", "/api/queues", "/api/alerts", "/api/rates", "/api/control"]
    ].

%% Caches are led past, probes add what they like, and polyfills of EventSource say where they were.
parameters_of_others() ->
    Queries = [
        "_=17", "verbose", "lastEventId=12&r=0.5", "top=0", "role=nobody", "=", "&&", "%zz", "a=%ff", "x=1&x=1",
        lists:duplicate(5000, $a)
    ],
    Paths = ["/health/live", "/health/ready", "/metrics", "/", "/page/page.js"],
    [
        ?assertMatch({Path, Query, {200, _, _}}, {Path, Query, fetch(Path ++ "?" ++ Query)})
     || Path <- Paths, Query <- Queries
    ],
    [
        begin
            Socket = connect(),
            ok = gen_tcp:send(Socket, ["GET /events?", Query, " HTTP/1.1\r\nhost: localhost\r\n\r\n"]),
            erlmcp_native_http_test_lib:close(erlmcp_native_http_test_lib:opened(Socket, 5000))
        end
     || Query <- Queries
    ].

unknown_roles() ->
    [
        ?assertEqual(~"role", refused(Path ++ Role))
     || Path <- ["/api/queues?role=", "/api/alerts?role="],
        Role <- ["", "nobody", "Session", "%00", "session%20", "%F0%9F%98%80", lists:duplicate(1020, $a)]
    ].

unknown_paths() ->
    [
        ?assertMatch({Path, {404, #{~"error" := ~"not_found", ~"reason" := _}}}, {Path, said(fetch(Path))})
     || Path <- [
            "/nothing",
            "/api",
            "/api/nothing",
            "/api/summary/more",
            "//api/summary",
            "/API/summary",
            "/page",
            "/metrics.txt",
            "/%2e%2e/x",
            "/health"
        ]
    ],
    [
        ?assertMatch({400, #{~"error" := ~"bad_request"}}, said(fetch(Path)))
     || Path <- ["/%zz", "/api/%", "/api/summary%f"]
    ],
    ?assertMatch({404, _}, said(fetch("/" ++ lists:duplicate(8000, $a)))).

other_methods() ->
    [
        begin
            {405, #{~"allow" := ~"GET, HEAD"} = Headers, Body} = request(Method ++ " " ++ Path, []),
            ?assertMatch({405, #{~"error" := ~"method_not_allowed"}}, said({405, Headers, Body}))
        end
     || Method <- ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW", lists:duplicate(100, $X)],
        Path <- ["/api/summary", "/api/queues", "/events", "/metrics", "/health/live", "/", "/page/a.js"]
    ],
    ?assertMatch({405, _}, said(raw("CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n"))),
    ?assertMatch({404, _}, said(raw("OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n"))),
    ?assertMatch({404, _}, said(request("POST /nothing", []))).

bodies() ->
    [
        ?assertMatch(
            {400, #{~"error" := ~"bad_request"}},
            said(raw(["GET ", Path, " HTTP/1.1\r\nhost: localhost\r\n", Body]))
        )
     || Path <- ["/api/summary", "/events", "/metrics", "/", "/health/live"],
        Body <- [
            "content-length: 3\r\n\r\nabc",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "content-length: 3\r\n\r\n",
            "content-length: 1000000000000\r\n\r\nabc",
            "content-length: -1\r\n\r\n",
            "content-length: x\r\n\r\n",
            "content-length: 3\r\ncontent-length: 4\r\n\r\nabc",
            "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "expect: 100-continue\r\ncontent-length: 3\r\n\r\n"
        ]
    ],
    ?assertMatch({200, _, _}, raw("GET /health/live HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")).

%% As much of it as the other side takes.
a_body_without_end() ->
    {{Answer, Sent}, Used} = memory(fun() ->
        Socket = connect(),
        Head = "POST /api/summary HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n",
        ok = gen_tcp:send(Socket, Head),
        Answer = answer(Socket),
        Chunk = ["100000\r\n", binary:copy(~"x", ?MB), "\r\n"],
        Sent = trickle(Socket, lists:duplicate(100000, Chunk)),
        ok = closed(Socket),
        {Answer, Sent}
    end),
    ?assertMatch({405, _}, said(Answer)),
    ?assertMatch({error, _}, Sent),
    ?assert(Used < 20 * ?MB).

%% The bytes are all sent, or as many as the other side takes; the answer is there before the connection is reset.
large(Start, End) ->
    Socket = connect(),
    ok = gen_tcp:send(Socket, Start),
    _ = trickle(Socket, lists:duplicate(256, binary:copy(~"a", 4096))),
    _ = gen_tcp:send(Socket, End),
    Answer = answer(Socket),
    ok = closed(Socket),
    said(Answer).

a_request_line_of_a_megabyte() ->
    {Answer, Used} = memory(fun() -> large("GET /api/queues?role=", " HTTP/1.1\r\nhost: localhost\r\n\r\n") end),
    ?assertMatch({414, #{~"error" := ~"bad_request", ~"reason" := _}}, Answer),
    ?assert(Used < 5 * ?MB),
    %% A method of that length.
    ?assertMatch({414, _}, large("", " / HTTP/1.1\r\n\r\n")).

a_header_of_a_megabyte() ->
    [
        begin
            Head = ["GET /api/summary HTTP/1.1\r\nhost: localhost\r\n", Name, ": "],
            {Answer, Used} = memory(fun() -> large(Head, "\r\n\r\n") end),
            ?assertMatch({431, #{~"error" := ~"bad_request", ~"reason" := _}}, Answer),
            ?assert(Used < 5 * ?MB)
        end
     || Name <- ["x", "cookie", "accept", "last-event-id", "authorization"]
    ],
    ?assertMatch({431, _}, large("GET / HTTP/1.1\r\nhost: ", "\r\n\r\n")).

a_header_name_of_a_megabyte() ->
    ?assertMatch({431, _}, large("GET / HTTP/1.1\r\nhost: localhost\r\n", ": 1\r\n\r\n")).

ten_thousand_headers() ->
    Headers = [["x-", integer_to_list(N), ": 1\r\n"] || N <- lists:seq(1, 10000)],
    {Answer, Used} = memory(fun() -> raw(["GET /api/summary HTTP/1.1\r\nhost: localhost\r\n", Headers, "\r\n"]) end),
    ?assertMatch({431, _}, said(Answer)),
    ?assert(Used < 5 * ?MB).

%% Cowboy looks at the length of what has no end yet.
large_headers_in_one_piece() ->
    [
        ?assertMatch({Status, _, _}, request("GET /health/live", ["x: " ++ lists:duplicate(Length, $a)]))
     || {Length, Status} <- [{1000, 200}, {8000, 200}, {12500, 431}, {60000, 431}]
    ],
    [
        ?assertMatch({Length, {Status, _}}, {Length, said(fetch("/api/queues?role=" ++ lists:duplicate(Length, $a)))})
     || {Length, Status} <- [{4000, 400}, {8000, 400}, {12500, 414}, {60000, 414}]
    ].

what_is_no_http() ->
    [
        begin
            {Status, Body} = said(raw(Bytes)),
            ?assert(lists:member(Status, [400, 405, 414, 501, 505])),
            ?assert(is_map_key(~"reason", Body))
        end
     || Bytes <- [
            "\n",
            "hello\r\n\r\n",
            "GET\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/0.9\r\n\r\n",
            "GET / HTTP/3.0\r\nhost: localhost\r\n\r\n",
            "GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: localhost\r\nhost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: localhost\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: localhost\r\n folded: 1\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "GET nothing HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: \xff,\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            [16#16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3 | lists:duplicate(500, 10)]
        ]
    ],
    %% A prior knowledge of HTTP/2 or an upgrade leads nowhere.
    ?assertMatch(
        {200, _, _},
        request("GET /health/live", [
            "connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQCAAAAAAIAAAAA"
        ])
    ),
    ?assertMatch({200, _, _}, raw("GET /health/live HTTP/1.0\r\n\r\n")).

a_request_that_never_ends() ->
    Socket = connect(),
    ok = gen_tcp:send(Socket, "GET / HTTP/1.1\r\n"),
    Self = self(),
    Dripper = spawn_link(fun() -> drip(Socket, Self) end),
    Begun = erlang:monotonic_time(millisecond),
    ?assertMatch({408, #{~"error" := ~"bad_request"}}, said(answer(Socket))),
    ?assert(erlang:monotonic_time(millisecond) - Begun < 8000),
    unlink(Dripper),
    exit(Dripper, kill),
    ok = closed(Socket).

%% A byte now and then.
drip(Socket, Owner) ->
    receive
    after 200 ->
        case gen_tcp:send(Socket, "x") of
            ok -> drip(Socket, Owner);
            {error, _} -> ok
        end
    end.

a_connection_that_says_nothing() ->
    Socket = connect(),
    Begun = erlang:monotonic_time(millisecond),
    ?assertEqual(closed, answer(Socket)),
    ?assert(erlang:monotonic_time(millisecond) - Begun < 8000),
    ok = gen_tcp:close(Socket).

odd_last_event_ids() ->
    [
        erlmcp_native_http_test_lib:close(erlmcp_native_http_test_lib:open(["last-event-id: " ++ Id]))
     || Id <- [
            "", "x", "-1", "1.0", "99999999999999999999", "999999999999999999999999999", [255, 254],
            lists:duplicate(8000, $1), "1\t"
        ]
    ].

crashes_are_answered_and_say_nothing() ->
    erlmcp_native_http_test_lib:serve([{"/crash", erlmcp_native_http_handler, no_such_resource}], fun() ->
        {500, #{~"error" := ~"internal_error", ~"reason" := Reason} = Body} = said(fetch("/crash")),
        ?assertEqual(nomatch, re:run(Reason, "function_clause|no_such|erl")),
        ?assertEqual(2, map_size(Body)),
        Socket = connect(),
        %% The connection goes on.
        [
            begin
                ok = gen_tcp:send(Socket, "GET /crash HTTP/1.1\r\nhost: localhost\r\n\r\n"),
                ?assertMatch({500, _}, said(answer(Socket)))
            end
         || _ <- [1, 2]
        ],
        ok = gen_tcp:close(Socket)
    end),
    %% What crashes outside our handlers.
    erlmcp_native_http_test_lib:serve([{"/crash", no_such_module, []}], fun() ->
        ?assertMatch({500, #{~"error" := ~"internal_error"}}, said(fetch("/crash"))),
        ?assertMatch({404, #{~"error" := ~"not_found"}}, said(fetch("/nothing")))
    end).

no_atom_is_made() ->
    Requests = fun() ->
        [
            begin
                Word = binary_to_list(binary:encode_hex(rand:bytes(8))),
                Method = lists:nth(rand:uniform(5), ["GET", "HEAD", "POST", "X" ++ Word, Word]),
                _ = request(Method ++ " " ++ path(Word), [
                    Word ++ ": " ++ Word, "accept: " ++ Word ++ "/" ++ Word, "last-event-id: " ++ Word
                ])
            end
         || _ <- lists:seq(1, 3000)
        ]
    end,
    ?assertEqual(0, erlmcp_native_http_test_lib:settled_atoms(Requests)).

path(Word) ->
    Paths = [
        "/api/queues?role=" ++ Word,
        "/api/queues?" ++ Word ++ "=1",
        "/api/alerts?role=" ++ Word,
        "/api/queues?top=" ++ Word,
        "/" ++ Word,
        "/page/" ++ Word,
        "/page/" ++ Word ++ "/" ++ Word ++ "." ++ Word,
        "/api/%" ++ Word,
        "/events?" ++ Word,
        "/metrics",
        "/api/summary"
    ],
    lists:nth(rand:uniform(length(Paths)), Paths).

%% While the first request waits, cowboy keeps what comes after it: up to a bound.
sending_on_while_a_request_is_served() ->
    ok = sys:suspend(erlmcp_native_scan),
    {Sent, Used} = memory(fun() ->
        Socket = connect(),
        ok = gen_tcp:send(Socket, "GET /api/queues HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        trickle(Socket, lists:duplicate(1000, binary:copy(~"x", ?MB)))
    end),
    ?assertMatch({error, _}, Sent),
    ?assert(Used < 300 * ?MB),
    ok = sys:resume(erlmcp_native_scan),
    ?assertMatch({200, _, _}, fetch("/api/queues")).

clients_that_go_away() ->
    Processes = erlang:system_info(process_count),
    [
        begin
            Socket = connect(),
            ok = gen_tcp:send(Socket, Start),
            ok = inet:setopts(Socket, [{linger, {true, 0}}]),
            ok = gen_tcp:close(Socket)
        end
     || Start <- [
            "", "GET", "GET /api/summary HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n"
        ],
        _ <- lists:seq(1, 100)
    ],
    erlmcp_native_test_lib:eventually(fun() -> erlang:system_info(process_count) =< Processes end),
    ?assertMatch(#{http_streams := 0}, erlmcp_native_self:read()).
