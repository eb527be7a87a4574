%% One POST to endpoints that do anything but what they should. What matters: the outcome, that it comes by the
%% deadline, that memory stays as it is, and that nothing is left over.
-module(erlmcp_native_otlp_request_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_otlp_test_lib, [listen/1, close/1, url/1, request/1, answer/3, answer/4, write/2, forever/2]).

-define(BODY, ~"{\"resourceMetrics\":[]}").
%% What a machine with much to do may take longer.
-define(SLACK_MS, 3000).

outcomes_test_() ->
    [
        {timeout, 30,
            {Name, fun() ->
                {Outcome, _, Bytes} = post(Endpoint, 5000),
                ?assertEqual(Expected, Outcome),
                ?assert(Bytes < 10_000_000)
            end}}
     || {Name, Expected, Endpoint} <- answered() ++ failed()
    ].

answered() ->
    Ok = {answered, 200, #{body => ~"{}"}},
    Nothing = {answered, 200, #{body => <<>>}},
    [
        {"all is well", Ok, text("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")},
        {"an old server", Ok, text("HTTP/1.0 200 OK\r\n\r\n{}")},
        {"no length", Ok, text("HTTP/1.1 200\r\n\r\n{}")},
        {"an odd length", Ok, text("HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n{}")},
        {"a negative length", Ok, text("HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}")},
        {"a length that is not reached", Ok, text("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{}")},
        {"no body", Nothing, text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")},
        {"no body by its status", {answered, 204, #{body => <<>>}}, text("HTTP/1.1 204 No Content\r\n\r\nXX")},
        {"chunks", Ok, text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")},
        {"chunks that end too soon", Ok,
            text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}")},
        {"chunks of no size", Nothing,
            text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n{}\r\n0\r\n\r\n")},
        {"chunks of a large size", {answered, 200, #{body => ~"{}\r\n0\r\n\r\n"}},
            text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n{}\r\n0\r\n\r\n")},
        {"chunks with extensions and trailers", Ok,
            text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nx: y\r\n\r\n")},
        {"hangs up in a header", Nothing, text("HTTP/1.1 200 OK\r\ncontent-le")},
        {"hangs up before the end of the headers", Nothing, text("HTTP/1.1 200 OK\r\nx: y\r\n")},
        {"a header that is none", Ok, text("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n{}")},
        {"headers without end", Nothing, fun(Connection) ->
            write(Connection, "HTTP/1.1 200 OK\r\n"),
            forever(Connection, lists:duplicate(100, "a: b\r\n"))
        end},
        {"a header without end", Nothing, fun(Connection) ->
            write(Connection, "HTTP/1.1 200 OK\r\nx: "),
            forever(Connection, binary:copy(~"a", 10000))
        end},
        {"an announcement first", Ok,
            text("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}")},
        {"an error with a text", {answered, 503, #{body => ~"no", retry_after => ~"7"}},
            text("HTTP/1.1 503 Busy\r\nretry-after: 7\r\n\r\nno")},
        {"a redirect", {answered, 301, #{body => <<>>}},
            text("HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")},
        {"an answer before the request is read", {answered, 413, #{body => ~"big"}}, fun(Connection) ->
            answer(Connection, 413, ~"big"),
            erlmcp_native_otlp_test_lib:hang(Connection)
        end},
        {"a trailing blank", {answered, 503, #{body => ~"no", retry_after => ~"7"}},
            text("HTTP/1.1 503 Busy\r\nRetry-After: 7 \r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nno")}
    ].

failed() ->
    [
        {"hangs up in the status line", {failed, answer, closed}, text("HTTP/1.1 20")},
        {"another protocol", {failed, answer, no_http}, text("SSH-2.0-OpenSSH_9.2\r\n")},
        {"bytes", {failed, answer, no_http}, text([21, 3, 1, 0, 2, 2, 50, 10, 0, 255, 10])},
        {"a request", {failed, answer, no_http}, text("POST / HTTP/1.1\r\n\r\n")},
        {"no status", {failed, answer, no_http}, text("HTTP/1.1 OK\r\n\r\n")},
        {"too small a status", {failed, answer, no_http}, text("HTTP/1.1 99 OK\r\n\r\n")},
        {"too large a status", {failed, answer, no_http}, text("HTTP/1.1 99999999999999999999 OK\r\n\r\n")},
        {"announcements without end", {failed, answer, too_many_headers}, fun(Connection) ->
            forever(Connection, lists:duplicate(100, "HTTP/1.1 100 Continue\r\n\r\n"))
        end},
        {"a status line without end", {failed, answer, line_too_long}, fun(Connection) ->
            write(Connection, "HTTP/1.1 200 "),
            forever(Connection, binary:copy(~"a", 10000))
        end},
        {"lines without end", {failed, answer, no_http}, fun(Connection) -> forever(Connection, ~"\r\n\r\n") end}
    ].

%% An endpoint that reads the request, writes this and hangs up.
text(Text) ->
    fun(Connection) ->
        request(Connection),
        write(Connection, Text)
    end.

%% The outcome, and how long it took.
post(Endpoint, Ms) ->
    #{port := Port} = Server = listen(fun(Connection, _) -> Endpoint(Connection) end),
    try
        post_to(url(Port), Ms, ?BODY)
    after
        close(Server)
    end.

post_to(Url, Ms, Body) ->
    {ok, Target} = erlmcp_native_otlp_url:parse(Url),
    Before = erlang:memory(binary) + erlang:memory(processes),
    {Helper, Monitor} = spawn_monitor(fun() ->
        Start = erlang:monotonic_time(millisecond),
        Outcome = erlmcp_native_otlp_request:post(Target, [], Body, Start + Ms),
        exit({Outcome, erlang:monotonic_time(millisecond) - Start})
    end),
    {{Outcome, TookMs}, Bytes} = watch(Helper, Monitor, 0),
    {Outcome, TookMs, Bytes - Before}.

%% Until it ends, and how much memory there was at most.
watch(Helper, Monitor, Most) ->
    receive
        {'DOWN', Monitor, process, Helper, Reason} -> {Reason, Most}
    after 5 -> watch(Helper, Monitor, max(Most, erlang:memory(binary) + erlang:memory(processes)))
    end.

%% Whatever it is, it is over in time.
slow_test_() ->
    [
        {timeout, 30,
            {Name, fun() ->
                {Outcome, TookMs, Bytes} = post(Endpoint, 300),
                ?assertEqual(Expected, shortened(Outcome)),
                ?assert(TookMs >= 290),
                ?assert(TookMs < 300 + ?SLACK_MS),
                ?assert(Bytes < 10_000_000)
            end}}
     || {Name, Expected, Endpoint} <- [
            {"never answers", {failed, answer, timeout}, fun erlmcp_native_otlp_test_lib:hang/1},
            {"a byte now and then", {failed, answer, timeout}, fun(Connection) ->
                dribble(Connection, ~"HTTP/1.1 200 OK\r\nx-header: of more bytes than there is time for\r\n")
            end},
            {"an end of headers that does not come", {answered, 200, #{body => <<>>}}, fun(Connection) ->
                write(Connection, "HTTP/1.1 200 OK\r\nx: y\r\n"),
                erlmcp_native_otlp_test_lib:hang(Connection)
            end},
            {"chunks of long lines and few bytes", {answered, 200, #{body => few}}, fun(Connection) ->
                write(Connection, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
                paced(Connection, lists:duplicate(20, [~"1;", binary:copy(~"a", 8000), ~"\r\na\r\n"]))
            end},
            {"a body now and then", {answered, 503, #{body => ~"<"}}, fun(Connection) ->
                write(Connection, "HTTP/1.1 503 Busy\r\n\r\n<"),
                erlmcp_native_otlp_test_lib:hang(Connection)
            end}
        ]
    ].

%% A quick machine would read the whole body in that time.
paced({Transport, Socket} = Connection, Data) ->
    case Transport:send(Socket, Data) of
        ok ->
            receive
            after 1 -> paced(Connection, Data)
            end;
        {error, _} ->
            ok
    end.

shortened({answered, Status, #{body := <<"aa", _/binary>> = Body}}) when byte_size(Body) < 65536 ->
    {answered, Status, #{body => few}};
shortened(Outcome) ->
    Outcome.

dribble(Connection, <<Byte, Rest/binary>>) ->
    write(Connection, <<Byte>>),
    receive
    after 50 -> dribble(Connection, Rest)
    end;
dribble(Connection, <<>>) ->
    erlmcp_native_otlp_test_lib:hang(Connection).

%% A body without end is read up to its bound, and the endpoint is hung up on.
endless_body_test_() ->
    [
        {timeout, 30,
            {Name, fun() ->
                #{port := Port} = Server = listen(fun(Connection, Test) ->
                    request(Connection),
                    write(Connection, ["HTTP/1.1 200 OK\r\n", Header, "\r\n"]),
                    Test ! {hung_up_after, forever(Connection, Data)}
                end),
                {Outcome, TookMs, Bytes} = post_to(url(Port), 20000, ?BODY),
                ?assertMatch({answered, 200, #{body := _}}, Outcome),
                {answered, 200, #{body := Body}} = Outcome,
                ?assertEqual(65536, byte_size(Body)),
                ?assert(TookMs < 10000),
                ?assert(Bytes < 10_000_000),
                receive
                    {hung_up_after, _} -> ok
                after 10000 -> error(not_hung_up_on)
                end,
                close(Server)
            end}}
     || {Name, Header, Data} <- [
            {"no length", "", binary:copy(~"{}", 5000)},
            {"a length", "content-length: 99999999999999999999999\r\n", binary:copy(~"{}", 5000)},
            {"chunks", "transfer-encoding: chunked\r\n", [~"1000\r\n", binary:copy(~"a", 4096), ~"\r\n"]},
            {"a byte a segment", "", ~"x"}
        ]
    ].

%% Too soon for the request, or for the answer.
hangs_up_test() ->
    {{failed, Stage, closed}, _, _} = post(fun({gen_tcp, Socket}) -> gen_tcp:close(Socket) end, 5000),
    ?assert(lists:member(Stage, [send, answer])).

%% It need not be sent at all then.
answers_and_never_reads_test_() ->
    {timeout, 30, fun() ->
        #{port := Port} = Server = listen(fun(Connection, _) ->
            answer(Connection, 413, ~"big"),
            receive
                never -> ok
            end
        end),
        {Outcome, TookMs, _} = post_to(url(Port), 20000, binary:copy(~"a", 32 * 1024 * 1024)),
        ?assertEqual({answered, 413, #{body => ~"big"}}, Outcome),
        ?assert(TookMs < 10000),
        close(Server)
    end}.

%% Who does not read holds nothing up but this, and of what it does not read nothing is left.
never_reads_test_() ->
    {timeout, 30, fun() ->
        #{port := Port} = Server = listen(fun(_, _) ->
            receive
                never -> ok
            end
        end),
        Ports = ports(),
        {Outcome, TookMs, _} = post_to(url(Port), 500, binary:copy(~"a", 32 * 1024 * 1024)),
        %% The socket's driver takes it all.
        ?assertEqual({failed, answer, timeout}, Outcome),
        ?assert(TookMs < 500 + ?SLACK_MS),
        %% But for the other end, and where it listens.
        erlmcp_native_test_lib:eventually(fun() -> length(ports() -- Ports) =:= 1 end),
        close(Server)
    end}.

ports() ->
    [Port || Port <- erlang:ports(), erlang:port_info(Port, name) =:= {name, "tcp_inet"}].

refused_test() ->
    Port = erlmcp_native_otlp_test_lib:free_port(),
    ?assertMatch({{failed, connect, econnrefused}, _, _}, post_to(url(Port), 5000, ?BODY)).

no_such_host_test_() ->
    {timeout, 30, fun() ->
        {Outcome, TookMs, _} = post_to(~"http://does-not-exist.invalid:4318/", 2000, ?BODY),
        ?assertMatch({failed, connect, _}, Outcome),
        ?assert(TookMs < 2000 + ?SLACK_MS)
    end}.

%% Names are tried by IPv6 first, then by IPv4.
by_name_test_() ->
    {timeout, 30, fun() ->
        #{port := Port} = Server = listen(fun(Connection, Test) ->
            Test ! request(Connection),
            answer(Connection, 200, ~"{}")
        end),
        Name = <<"localhost:", (integer_to_binary(Port))/binary>>,
        ?assertMatch({{answered, 200, #{body := ~"{}"}}, _, _}, post_to(<<"http://", Name/binary>>, 5000, ?BODY)),
        receive
            #{path := Path, headers := #{~"host" := Host}} -> ?assertEqual({~"/", Name}, {Path, Host})
        after 5000 -> error(no_request)
        end,
        close(Server)
    end}.

by_ipv6_test_() ->
    {timeout, 30, fun() ->
        case gen_tcp:listen(0, [inet6, {ip, {0, 0, 0, 0, 0, 0, 0, 1}}, binary, {active, false}]) of
            {ok, Listener} ->
                {ok, Port} = inet:port(Listener),
                Host = <<"[::1]:", (integer_to_binary(Port))/binary>>,
                Test = self(),
                spawn_link(fun() ->
                    {ok, Socket} = gen_tcp:accept(Listener),
                    Test ! request({gen_tcp, Socket}),
                    answer({gen_tcp, Socket}, 200, ~"{}")
                end),
                ?assertMatch({{answered, 200, _}, _, _}, post_to(<<"http://", Host/binary, "/a?b=c">>, 5000, ?BODY)),
                receive
                    #{path := Path, headers := #{~"host" := Seen}} -> ?assertEqual({~"/a?b=c", Host}, {Path, Seen})
                after 5000 -> error(no_request)
                end,
                ok = gen_tcp:close(Listener);
            {error, _} ->
                %% This machine has no IPv6: then it must be told, and soon.
                ?assertMatch({{failed, connect, _}, _, _}, post_to(~"http://[::1]:4318/", 5000, ?BODY))
        end
    end}.

%% What is sent, to the byte.
on_the_wire_test() ->
    #{port := Port} = Server = listen(fun({gen_tcp, Socket}, Test) ->
        {ok, Bytes} = gen_tcp:recv(Socket, 0, 5000),
        Test ! {bytes, Bytes},
        answer({gen_tcp, Socket}, 200, "retry-after: 1\r\n", ~"{}")
    end),
    {ok, Target} = erlmcp_native_otlp_url:parse(url(Port)),
    Outcome = erlmcp_native_test_lib:in_process(fun() ->
        Deadline = erlang:monotonic_time(millisecond) + 5000,
        Headers = [{~"content-type", ~"application/json"}, {~"a", ~"b c"}],
        erlmcp_native_otlp_request:post(Target, Headers, ?BODY, Deadline)
    end),
    ?assertEqual({answered, 200, #{body => ~"{}", retry_after => ~"1"}}, Outcome),
    Expected = <<
        "POST /v1/metrics HTTP/1.1\r\n",
        "host: 127.0.0.1:", (integer_to_binary(Port))/binary, "\r\n",
        "connection: close\r\n",
        "content-length: 22\r\n",
        "content-type: application/json\r\n",
        "a: b c\r\n",
        "\r\n",
        ?BODY/binary
    >>,
    receive
        {bytes, Bytes} -> ?assertEqual(Expected, Bytes)
    after 5000 -> error(no_request)
    end,
    close(Server).
