%% What an outcome means, and how long to wait.
-module(erlmcp_native_otlp_answer_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_otlp_answer, [verdict/2]).

%% Sun, 06 Nov 1994 08:49:37 GMT
-define(NOW_S, 784111777).

answered(Status, Body) ->
    verdict({answered, Status, #{body => Body}}, ?NOW_S).

taken_test() ->
    [
        ?assertEqual(taken, answered(Status, Body))
     || Status <- [200, 202, 204, 299],
        Body <- [
            ~"", ~"{}", ~"<html>", ~"[1]", ~"{\"partialSuccess\":", ~"{\"partialSuccess\":{}}",
            ~"{\"partialSuccess\":null}", ~"{\"partialSuccess\":{\"rejectedDataPoints\":\"0\"}}",
            ~"{\"partialSuccess\":{\"rejectedDataPoints\":-1,\"errorMessage\":\"\"}}",
            <<255, 0>>, binary:copy(~"[", 65536), binary:copy(~"{\"a\":", 10000),
            ~"{\"partialSuccess\":{\"rejectedDataPoints\":\"x\",\"errorMessage\":7}}"
        ]
    ].

taken_partly_test() ->
    [
        ?assertEqual({taken_partly, Rejected, Message}, answered(200, Body))
     || {Rejected, Message, Body} <- [
            {7, ~"too old", ~"{\"partialSuccess\":{\"rejectedDataPoints\":\"7\",\"errorMessage\":\"too old\"}}"},
            {7, ~"", ~" {\"partialSuccess\": {\"rejectedDataPoints\": 7}, \"more\": 1.5e9} and more"},
            {0, ~"beware", ~"{\"partialSuccess\":{\"errorMessage\":\"beware\"}}"}
        ]
    ].

%% However long the numbers are that somebody sends.
long_numbers_test() ->
    Digits = binary:copy(~"9", 60000),
    [
        begin
            {Us, Verdict} = timer:tc(fun() -> answered(200, Body) end),
            ?assertEqual(taken, Verdict),
            ?assert(Us < 1_000_000)
        end
     || Body <- [
            <<"{\"partialSuccess\":{\"rejectedDataPoints\":", Digits/binary, "}}">>,
            <<"{\"partialSuccess\":{\"rejectedDataPoints\":\"", Digits/binary, "\"}}">>,
            <<"{\"partialSuccess\":{\"rejectedDataPoints\":", Digits/binary, ".5e", Digits/binary, "}}">>
        ]
    ].

statuses_test() ->
    [
        ?assertEqual(lists:member(Status, [429, 502, 503, 504]), retries(answered(Status, ~"")), Status)
     || Status <- lists:seq(300, 599)
    ].

retries({retry, 0, _}) -> true;
retries({give_up, _}) -> false.

problems_test() ->
    ?assertEqual({give_up, ~"status 400"}, answered(400, ~"<html>")),
    ?assertEqual({give_up, ~"status 400: \"no\\nway\""}, answered(400, ~"{\"code\":3,\"message\":\"no\\nway\"}")),
    ?assertEqual({give_up, ~"status 308, and redirects are not followed"}, answered(308, ~"")),
    ?assertEqual({retry, 0, ~"no connection: econnrefused"}, verdict({failed, connect, econnrefused}, ?NOW_S)),
    ?assertEqual({retry, 0, ~"no answer: timeout"}, verdict({failed, answer, timeout}, ?NOW_S)),
    ?assertEqual(
        {give_up, ~"status 400: \"日本語 — Ελλάδα \x{1F600}\""}, answered(400, ~"{\"message\":\"日本語 — Ελλάδα 😀\"}")
    ),
    [
        ?assert(length(unicode:characters_to_list(Text)) =< 200)
     || Long <- [~"a", ~"\\n", ~"日", ~"\x{301}", ~"\\u202e", ~"\\\""],
        {_, Text} <- [answered(400, <<"{\"message\":\"", (binary:copy(Long, 10000))/binary, "\"}">>)]
    ],
    {retry, 0, Alert} = verdict({failed, tls, {tls_alert, {unknown_ca, lists:duplicate(10000, $a)}}}, ?NOW_S),
    ?assert(string:length(Alert) =< 200).

quoted_test() ->
    [
        ?assertEqual(<<"\"", Expected/binary, "\"">>, erlmcp_native_otlp_answer:quoted(Message))
     || {Message, Expected} <- [
            {~"", ~""},
            {~"a \"b\" \\", ~"a \\\"b\\\" \\\\"},
            {~"日\n本\r\t", ~"日\\n本\\r\\t"},
            {<<0, 27, 127, 16#85/utf8>>, ~"\\x{0}\\x{1b}\\x{7f}\\x{85}"},
            {~"\x{202e}\x{2028}\x{200b}\x{2066}\x{feff}", ~"\\x{202e}\\x{2028}\\x{200b}\\x{2066}\\x{feff}"},
            {binary:copy(~"日", 150), binary:copy(~"日", 150)},
            {binary:copy(~"日", 151), <<(binary:copy(~"日", 150))/binary, "...">>}
        ]
    ].

retry_after_test() ->
    [
        ?assertEqual({Text, Ms}, {Text, asked(Text)})
     || {Text, Ms} <- [
            {~"0", 0}, {~"1", 1000}, {~"300", 300000}, {~"301", 300000}, {~"-7", 0}, {~"99999999999999999999", 300000},
            {~"1.5", 0}, {~"7 s", 0}, {~"", 0}, {~"soon", 0}, {<<255>>, 0},
            {~"Sun, 06 Nov 1994 08:49:38 GMT", 1000},
            {~"Sun, 06 Nov 1994 08:49:37 GMT", 0},
            {~"Sun, 06 Nov 1994 08:49:07 GMT", 0},
            {~"Sun, 06 Nov 1994 08:50:37 GMT", 60000},
            {~"Mon, 07 Nov 2094 08:49:37 GMT", 300000},
            {~"Sun, 31 Feb 1994 08:49:37 GMT", 0},
            {~"Sun, 06 Foo 1994 08:49:37 GMT", 0},
            {~"Sun, 06 anF 2094 08:49:37 GMT", 0},
            {~"Sun, 06 Nov 1994 99:-1:37 GMT", 300000},
            {~"Sunday, 06-Nov-94 08:49:37 GMT", 0}
        ]
    ],
    ?assertMatch({retry, 0, _}, verdict({answered, 503, #{body => ~""}}, ?NOW_S)).

asked(RetryAfter) ->
    {retry, Ms, ~"status 503"} = verdict({answered, 503, #{body => ~"", retry_after => RetryAfter}}, ?NOW_S),
    Ms.

delays_test() ->
    ?assertEqual(
        [
            {1000, 1500}, {2000, 3000}, {4000, 6000}, {8000, 12000}, {16000, 24000}, {32000, 48000}, {40000, 60000},
            {40000, 60000}
        ],
        [
            {erlmcp_native_otlp_answer:delay_ms(N, 0, 0.0), erlmcp_native_otlp_answer:delay_ms(N, 0, 1.0)}
         || N <- lists:seq(1, 8)
        ]
    ),
    ?assertEqual(60000, erlmcp_native_otlp_answer:delay_ms(1 bsl 100, 0, 1.0)),
    ?assertEqual(300000, erlmcp_native_otlp_answer:delay_ms(1, 300000, 0.5)).

properties_test_() ->
    [
        {timeout, 120, {atom_to_list(Name), fun() ->
            ?assert(proper:quickcheck(Property, [{numtests, 1000}, quiet, {to_file, user}]))
        end}}
     || {Name, Property} <- [
            {delays, prop_erlmcp_native_otlp:prop_delays_are_bounded_and_grow()},
            {answers, prop_erlmcp_native_otlp:prop_any_answer_has_a_meaning()},
            {buffer, prop_erlmcp_native_otlp:prop_the_buffer_is_the_models()},
            {series, prop_erlmcp_native_otlp:prop_starts_are_true()}
        ]
    ].
