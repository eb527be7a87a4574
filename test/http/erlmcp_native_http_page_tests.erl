-module(erlmcp_native_http_page_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_test_lib, [fetch/1, fetch/2, request/2, serve/2]).

page_test_() ->
    erlmcp_native_http_test_lib:with_listener([
        fun files_are_there/0,
        fun their_types/0,
        fun what_a_browser_is_told/0,
        fun what_is_the_same_is_not_sent_again/0,
        fun nothing_else_is_there/0,
        fun no_path_leads_out/0,
        fun files_are_read_only/0,
        fun the_own_folder/0
    ]).

in_folder(Test) ->
    Root = erlmcp_native_test_lib:temp_dir(),
    Dir = filename:join(Root, "page"),
    ok = filelib:ensure_path(filename:join(Dir, "sub")),
    Files = [
        {"index.html", "<p>index"},
        {"a.js", "1"},
        {"b.css", "2"},
        {"sub/c.svg", "3"},
        {"d", "4"},
        {"e-1_x.min.js", ""},
        {".hidden", "hidden"},
        {"../secret", "secret"}
    ],
    [ok = file:write_file(filename:join(Dir, Name), Text) || {Name, Text} <- Files],
    try
        Page = [{"/", erlmcp_native_http_page, {index, Dir}}, {"/page/[...]", erlmcp_native_http_page, {file, Dir}}],
        serve(Page, fun() -> Test(Dir) end)
    after
        erlmcp_native_test_lib:remove_dir(Root)
    end.

files_are_there() ->
    in_folder(fun(Dir) ->
        ?assertMatch({200, _, ~"<p>index"}, fetch("/")),
        ?assertMatch({200, _, ~"<p>index"}, fetch("/page/index.html")),
        ?assertMatch({200, _, ~"1"}, fetch("/page/a.js?v=2")),
        ?assertMatch({200, _, ~"3"}, fetch("/page/sub/c.svg")),
        ?assertMatch({200, _, ~""}, fetch("/page/e-1_x.min.js")),
        ?assertMatch({200, _, ~"1"}, fetch("/page/%61.js")),
        ok = file:write_file(filename:join(Dir, "a.js"), "changed"),
        ?assertMatch({200, _, ~"changed"}, fetch("/page/a.js"))
    end).

their_types() ->
    in_folder(fun(Dir) ->
        [
            begin
                ok = file:write_file(filename:join(Dir, Name), Name),
                ?assertMatch({200, #{~"content-type" := Type}, _}, fetch("/page/" ++ Name))
            end
         || {Name, Type} <- [
                {"x.html", ~"text/html; charset=utf-8"},
                {"x.js", ~"text/javascript; charset=utf-8"},
                {"x.css", ~"text/css; charset=utf-8"},
                {"x.svg", ~"image/svg+xml"},
                {"x.png", ~"image/png"},
                {"x.ico", ~"image/vnd.microsoft.icon"},
                {"x.json", ~"application/json"},
                {"x.woff2", ~"font/woff2"},
                {"x.txt", ~"text/plain; charset=utf-8"},
                {"x.exe", ~"application/octet-stream"},
                {"x", ~"application/octet-stream"}
            ]
        ]
    end).

what_a_browser_is_told() ->
    in_folder(fun(_) ->
        {200, Headers, _} = fetch("/"),
        Told = #{
            ~"cache-control" => ~"no-cache",
            ~"x-content-type-options" => ~"nosniff",
            ~"referrer-policy" => ~"no-referrer",
            ~"content-security-policy" => <<
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            >>
        },
        ?assertEqual(Told, maps:with(maps:keys(Told), Headers))
    end).

what_is_the_same_is_not_sent_again() ->
    in_folder(fun(Dir) ->
        {200, #{~"etag" := <<$", _/binary>> = Tag}, _} = fetch("/page/a.js"),
        Same = ["if-none-match: ", Tag],
        [
            ?assertMatch({304, #{~"etag" := Tag, ~"content-security-policy" := _}, <<>>}, fetch("/page/a.js", [Header]))
         || Header <- [Same, ["if-none-match: \"x\", W/", Tag], "if-none-match: *"]
        ],
        [
            ?assertMatch({200, _, ~"1"}, fetch("/page/a.js", [["if-none-match: ", Other]]))
         || Other <- ["\"x\"", "x", ""]
        ],
        ok = file:write_file(filename:join(Dir, "a.js"), "2"),
        ?assertMatch({200, _, ~"2"}, fetch("/page/a.js", [Same]))
    end).

nothing_else_is_there() ->
    in_folder(fun(_) ->
        [
            ?assertMatch(
                {404, #{~"content-type" := ~"application/json"}, <<"{\"error\":\"not_found\"", _/binary>>},
                fetch(Path)
            )
         || Path <- [
                "/page", "/page/", "/page/no.js", "/page/sub", "/page/sub/", "/page/sub/no", "/page/a.js/b",
                "/page/index"
            ]
        ]
    end).

no_path_leads_out() ->
    in_folder(fun(Dir) ->
        ok = file:make_symlink("../secret", filename:join(Dir, "link")),
        [
            begin
                {Status, _, Body} = fetch(Path),
                ?assertEqual({Path, nomatch}, {Path, binary:match(Body, [~"secret", ~"hidden", ~"root:"])}),
                ?assert(lists:member(Status, [400, 404]))
            end
         || Path <- [
                "/page/../secret",
                "/page/../../secret",
                "/page/sub/../../secret",
                "/page/%2e%2e/secret",
                "/page/..%2fsecret",
                "/page/%2e%2e%2fsecret",
                "/page/sub/..%2f..%2fsecret",
                "/page/..%5csecret",
                "/page/..%00/secret",
                "/page/a.js%00",
                "/page//secret",
                "/page/%2fetc%2fpasswd",
                "/page//etc/passwd",
                "/page/.hidden",
                "/page/%2ehidden",
                "/page/%c0%ae%c0%ae/secret",
                "/page/....//secret",
                "/page/~root",
                "/page/a.js%20",
                "/page/%zz",
                "/page/" ++ lists:duplicate(2000, $a),
                lists:append(["/page" | lists:duplicate(500, "/a")])
            ]
        ]
    end).

files_are_read_only() ->
    in_folder(fun(Dir) ->
        [
            ?assertMatch({405, #{~"allow" := ~"GET, HEAD"}, _}, request(Method ++ " /page/a.js", []))
         || Method <- ["POST", "PUT", "DELETE", "OPTIONS"]
        ],
        ?assertMatch({200, #{~"content-length" := ~"1"}, <<>>}, request("HEAD /page/a.js", [])),
        ?assertEqual({ok, ~"1"}, file:read_file(filename:join(Dir, "a.js")))
    end).

%% With or without a page in it.
the_own_folder() ->
    Index = filename:join([code:priv_dir(erlmcp_native), "page", "index.html"]),
    {Status, _, Body} = fetch("/"),
    case file:read_file(Index) of
        {ok, Bytes} -> ?assertEqual({200, Bytes}, {Status, Body});
        {error, enoent} -> ?assertEqual(404, Status)
    end.
