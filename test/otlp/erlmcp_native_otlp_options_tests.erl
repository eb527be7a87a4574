%% Options: what is taken, what it becomes, and what is said of what is wrong.
-module(erlmcp_native_otlp_options_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_otlp, [options/1]).

-define(URL, ~"http://127.0.0.1:4318/v1/metrics").
-define(EXPECTED_URL, "a URL such as http://127.0.0.1:4318/v1/metrics, with http or https").

defaults_test() ->
    Options = #{
        endpoint => ?URL,
        interval_ms => 10000,
        timeout_ms => 5000,
        compression => gzip,
        headers => [],
        resource => #{}
    },
    ?assertEqual({ok, Options}, options(#{endpoint => ?URL})),
    ?assertEqual({ok, Options}, options(#{endpoint => binary_to_list(?URL)})),
    ?assertEqual({ok, Options}, options(Options)).

all_test() ->
    {ok, Options} = options(#{
        endpoint => "HTTP://collector.example:80/a/b?c=d",
        interval_ms => 100,
        timeout_ms => 60000,
        compression => none,
        headers => [{"Authorization", ~"Bearer x"}, {~"x-y", "a\tb"}],
        resource => #{'service.name' => "svr-ü", ~"n" => 1, "f" => 1.5, ~"b" => true, ~"e" => ""}
    }),
    ?assertEqual(
        #{
            endpoint => ~"HTTP://collector.example:80/a/b?c=d",
            interval_ms => 100,
            timeout_ms => 60000,
            compression => none,
            headers => [{~"Authorization", ~"Bearer x"}, {~"x-y", ~"a\tb"}],
            resource => #{~"service.name" => ~"svr-ü", ~"n" => 1, ~"f" => 1.5, ~"b" => true, ~"e" => ~""}
        },
        Options
    ),
    ?assertEqual({ok, Options}, options(Options)).

not_a_map_test() ->
    [?assertEqual({error, {[], hidden, "a map of options"}}, options(Value)) || Value <- [undefined, [?URL], ?URL]],
    ?assertEqual(options(#{endpoint => ?URL}), options([{endpoint, ?URL}])).

wrong(Path, Value, Expected, Options) ->
    ?assertEqual({error, {Path, Value, Expected}}, options(maps:merge(#{endpoint => ?URL}, Options))).

endpoints_test() ->
    ?assertEqual({error, {[endpoint], undefined, ?EXPECTED_URL}}, options(#{})),
    [
        wrong([endpoint], shown(Url), ?EXPECTED_URL, #{endpoint => Url})
     || Url <- [
            ~"127.0.0.1:4318", ~"localhost:4318", ~"localhost", ~"/v1/metrics", ~"//localhost/v1/metrics", ~"",
            ~"ftp://localhost/", ~"file:///etc/passwd", ~"http:", ~"http://", ~"http:///v1/metrics",
            ~"http://local host/", ~"http://localhost/a b", ~"http://localhost/a\r\nb: c", ~"http://localhost:0/",
            ~"http://localhost:65536/", ~"http://localhost:-1/", ~"http://localhost:port/", ~"http://localhost/#part",
            ~"http://%6c/", ~"http://[::1/", ~"http://[::g]/", ~"http://a,b/", ~"http://localhost/\x{0}",
            ~"http://localh\x{f6}st/", <<"http://", (binary:copy(~"a", 256))/binary>>, <<"http://h\n">>, undefined, 4318
        ]
    ],
    [
        wrong([endpoint], hidden, ?EXPECTED_URL, #{endpoint => Url})
     || Url <- [[$a | b], [ok], [16#110000], <<"http://h/", 255>>, {127, 0, 0, 1}, ["http://h/" | hush]]
    ].

%% Path and query may be secrets.
shown(Url) when is_binary(Url) -> hidden;
shown(Value) -> Value.

credentials_test() ->
    wrong([endpoint], hidden, "a URL without user and password, which are given in headers", #{
        endpoint => "http://me:hush@localhost/"
    }),
    wrong([endpoint], hidden, ?EXPECTED_URL, #{endpoint => "http://me:hu sh@localhost/"}),
    wrong([endpoint], hidden, ?EXPECTED_URL, #{endpoint => ~"me:hush@localhost"}),
    ?assertMatch({ok, _}, options(#{endpoint => ~"http://localhost/a@b"})).

url_test() ->
    [
        ?assertEqual({ok, Target}, erlmcp_native_otlp_url:parse(Url))
     || {Url, Target} <- [
            {?URL, #{
                scheme => http,
                host => {127, 0, 0, 1},
                port => 4318,
                authority => ~"127.0.0.1:4318",
                path => ~"/v1/metrics"
            }},
            {~"https://otlp.example", #{
                scheme => https, host => "otlp.example", port => 443, authority => ~"otlp.example", path => ~"/"
            }},
            {~"https://otlp.example:80?a=b", #{
                scheme => https, host => "otlp.example", port => 80, authority => ~"otlp.example:80", path => ~"/?a=b"
            }},
            {~"http://[::1]/x", #{
                scheme => http, host => {0, 0, 0, 0, 0, 0, 0, 1}, port => 80, authority => ~"[::1]", path => ~"/x"
            }},
            {~"http://h:", #{scheme => http, host => "h", port => 80, authority => ~"h", path => ~"/"}}
        ]
    ],
    {ok, Target} = erlmcp_native_otlp_url:parse(~"https://otlp.example:4318/key/of/mine?key=mine"),
    ?assertEqual(~"https://otlp.example:4318", erlmcp_native_otlp_url:name(Target)).

numbers_test() ->
    [
        begin
            [?assertMatch({ok, #{Name := Ms}}, options(#{endpoint => ?URL, Name => Ms})) || Ms <- [Least, Most]],
            [
                wrong([Name], Ms, Expected, #{Name => Ms})
             || Ms <- [Least - 1, Most + 1, 0, -1, 1 bsl 70, 1000.0, "1000", infinity, undefined]
            ]
        end
     || {Name, Least, Most, Expected} <- [
            {interval_ms, 100, 3600000, "milliseconds, an integer from 100 to 3600000"},
            {timeout_ms, 100, 60000, "milliseconds, an integer from 100 to 60000"}
        ]
    ].

compression_test() ->
    [wrong([compression], Value, "gzip or none", #{compression => Value}) || Value <- [true, "gzip", zstd, undefined]].

%% A value is never shown.
headers_test() ->
    [
        wrong([headers | Path], hidden, Expected, #{headers => Headers})
     || {Path, Expected, Headers} <- [
            {[], "a list of at most 64 {Name, Value}", #{"a" => "b"}},
            {[], "a list of at most 64 {Name, Value}", [{"a", "b"} | c]},
            {[], "a list of at most 64 {Name, Value}", lists:duplicate(65, {"a", "b"})},
            {[], "a list of {Name, Value}", [{"a", "b"}, "c: d"]},
            {[], "a name and a value as strings or binaries", [{authorization, "b"}]},
            {[], "a name and a value as strings or binaries", [{"a", 7}]},
            {[""], "the name of a header", [{"", "b"}]},
            {["a:"], "the name of a header", [{"a:", "b"}]},
            {["a b"], "the name of a header", [{"a b", "b"}]},
            {[~"a\n"], "the name of a header", [{~"a\n", "b"}]},
            {[[$\s, 16#e9]], "the name of a header", [{[$\s, 16#e9], "b"}]},
            {[[16#e9]], "the name of a header", [{[16#e9], "b"}]},
            {["a"], "visible ASCII characters and blanks, at most 8192", [{"a", "b\r\nc: d"}]},
            {["a"], "visible ASCII characters and blanks, at most 8192", [{"a", "b\n"}]},
            {["a"], "visible ASCII characters and blanks, at most 8192", [{"a", [0]}]},
            {["a"], "visible ASCII characters and blanks, at most 8192", [{"a", [16#e9]}]},
            {["a"], "visible ASCII characters and blanks, at most 8192", [{"a", [127]}]},
            {["a"], "visible ASCII characters and blanks, at most 8192", [{"a", binary:copy(~"b", 8193)}]},
            {["Host"], "no header that a push sets itself", [{"Host", "b"}]},
            {["content-LENGTH"], "no header that a push sets itself", [{"content-LENGTH", "0"}]},
            {["transfer-encoding"], "no header that a push sets itself", [{"transfer-encoding", "chunked"}]}
        ]
    ],
    ?assertMatch({ok, _}, options(#{endpoint => ?URL, headers => lists:duplicate(64, {"a", ""})})).

resources_test() ->
    wrong([resource], [a], "a map of attributes", #{resource => [a]}),
    [
        wrong([resource, Name], 1, "a name of an attribute as atom, string or binary", #{resource => #{Name => 1}})
     || Name <- ["", ~"", 7, {a}, <<255>>]
    ],
    [
        wrong([resource, a], Value, "a text, a number of 64 bits or a boolean", #{resource => #{a => Value}})
     || Value <- [atom, undefined, <<255>>, {a}, #{}, 1 bsl 63, -(1 bsl 63) - 1, [a], [$a | $b]]
    ],
    [
        ?assertMatch({ok, _}, options(#{endpoint => ?URL, resource => #{a => V}}))
     || V <- [1 bsl 63 - 1, -(1 bsl 63), 0.0, false]
    ].

%% What was meant to be another option may be a secret.
unknown_test() ->
    Expected = "one of endpoint, interval_ms, timeout_ms, compression, headers, resource",
    [
        wrong([Name], hidden, Expected ++ Hint, #{Name => "hush"})
     || {Name, Hint} <- [
            {header, "; did you mean headers?"},
            {"headers", "; did you mean headers?"},
            {~"interval", "; did you mean interval_ms?"},
            {1, ""}
        ]
    ].

resource_test() ->
    _ = application:load(erlmcp_native),
    {ok, Version} = application:get_key(erlmcp_native, vsn),
    {ok, Options} = options(#{endpoint => ?URL}),
    Resource = erlmcp_native_otlp_options:resource(Options),
    ?assertMatch(#{~"service.name" := ~"erlmcp_native", ~"service.instance.id" := _}, Resource),
    ?assertEqual(list_to_binary(Version), maps:get(~"service.version", Resource)),
    Instance = maps:get(~"service.instance.id", Resource),
    case is_alive() of
        true -> ?assertEqual(atom_to_binary(node()), Instance);
        false -> ?assertMatch({match, _}, re:run(Instance, [$:, os:getpid(), $$]))
    end,
    {ok, Named} = options(#{
        endpoint => ?URL, resource => #{"service.name" => "a", "service.instance.id" => "b", "c" => 1}
    }),
    ?assertEqual(
        #{~"service.name" => ~"a", ~"service.instance.id" => ~"b", ~"c" => 1},
        erlmcp_native_otlp_options:resource(Named)
    ).

%% Where there are no CA certificates, https is refused at the door.
https_test_() ->
    {timeout, 60, fun() ->
        Ebin = filename:dirname(code:which(erlmcp_native_otlp)),
        Peer = erlmcp_native_test_lib:peer([Ebin], ["-public_key", "cacerts_path", "\"/nonexistent\""]),
        Url = ~"https://localhost:4318/v1/metrics",
        ?assertEqual(
            {error, {
                [endpoint], ~"https://localhost:4318",
                "http, or ssl, public_key and the system's CA certificates for https"
            }},
            peer:call(Peer, erlmcp_native_otlp, options, [#{endpoint => Url}])
        ),
        ?assertMatch({ok, _}, peer:call(Peer, erlmcp_native_otlp, options, [#{endpoint => ?URL}])),
        peer:stop(Peer)
    end}.
