%% Whatever is asked for, below /api/, is answered with what there is, or a sentence that says what is wrong.
-module(erlmcp_native_http_odd_tests).

-include_lib("eunit/include/eunit.hrl").

%% What each is asked with, and the parameters that are odd.
-define(ASKED, [
    {"/api/queues?role=r&", ["top", "by", "text"]},
    {"/api/queues?", ["role", "top", "by", "text"]},
    {"/api/why?role=r&", ["owner"]},
    {"/api/why?", ["role"]},
    {"/api/owner?role=r&", ["pid"]},
    {"/api/owner?pid=a&", ["role"]},
    {"/api/component?", ["id"]},
    {"/api/alerts?", ["role"]},
    {"/api/history?", ["role", "span"]},
    {"/api/cluster?", ["node"]},
    {"/api/summary?", ["from", "to"]}
]).

odd_test_() ->
    erlmcp_native_http_test_lib:with_listener([fun whatever_is_asked_is_answered/0]).

whatever_is_asked_is_answered() ->
    Roles = [r, '', null, true, undefined, '<0.1.0>', 'a b&c=d'],
    [erlmcp_overload_test_lib:fill(Role, a, 1) || Role <- Roles],
    Paths = [
        Path ++ Parameter ++ "=" ++ Value
     || {Path, Parameters} <- ?ASKED, Parameter <- Parameters, Value <- values()
    ],
    Parts = erlmcp_native_test_lib:parallel(8, fun(N) ->
        [judged(Path) || {Place, Path} <- lists:enumerate(Paths), Place rem 8 =:= N - 1]
    end),
    Judged = lists:append(Parts),
    ?assertEqual([], [Odd || {other, _, _} = Odd <- Judged]),
    ?assertEqual([failed, found], lists:usort(Judged)).

judged(Path) ->
    case erlmcp_native_http_test_lib:fetch(Path) of
        {200, #{~"content-type" := ~"application/json"}, Body} ->
            #{} = json:decode(Body),
            found;
        %% No cluster is configured.
        {Status, #{~"content-type" := ~"application/json"}, Body} when Status =:= 400; Status =:= 503 ->
            #{~"error" := _, ~"reason" := Reason} = json:decode(Body),
            ?assert(byte_size(Reason) >= 10 andalso byte_size(Reason) < 1000),
            failed;
        Other ->
            {other, Path, Other}
    end.

values() ->
    plain() ++ encoded() ++ pids() ++ long().

plain() ->
    [
        "", "+", "a", "r", "null", "true", "undefined", "session", "Elixir.Foo", "kernel_sup", "init", "a=b", "=",
        "-1", "0", "1", "1000", "1001", "1e3", "1.0", "0x1", "99999999999999999999", "infinity", "NaN",
        "utilization", "wait", "10m", "24h", "10M", "48h",
        "a&role=r", "a&owner=b", "a&a", "a&&&", "a&=", "a;b", "a#b", "a?b=c"
    ].

encoded() ->
    [
        "%", "%2", "%zz", "%00", "%20", "%2B1", "%0d%0a", "%ff", "%ed%a0%80", "%f4%90%80%80", "%c3%a4", "%cc%81",
        "%f0%9f%92%a9", "a%20b%26c%3Dd", "nonode%40nohost", "..%2f..%2fetc%2fpasswd", "%3Cscript%3E"
    ].

pids() ->
    [
        "%3C" ++ Pid ++ "%3E"
     || Pid <- [
            "0.0.0", "0.1.0", "0.1.1", "0.268435455.8191", "0.4294967295.4294967295", "0.9999999999.0", "1.1.0",
            "00.1.0", "0.-1.0", "0.1", "0.1.0.0", "0.1.0%0a"
        ]
    ] ++ ["%3C0.1.0", "%23Port%3C0.1%3E", "%23Ref%3C0.1.2.3%3E", "%7Bname,a%7D"].

long() ->
    [lists:append(lists:duplicate(Times, Text)) || {Times, Text} <- [
        {255, "a"}, {256, "a"}, {1020, "a"}, {1021, "a"}, {4000, "a"}, {4097, "a"}, {255, "%C3%A4"}, {340, "%cc%81"}
    ]].
