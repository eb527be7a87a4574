%% Answers that servers gave, and the edges of what an answer may be.
-module(erlmcp_native_otlp_response_tests).

-include_lib("eunit/include/eunit.hrl").

-import(prop_erlmcp_native_otlp_response, [read/2]).

-define(M, erlmcp_native_otlp_response).

recorded_test_() ->
    [
        {Who, fun() ->
            Whole = #{body => Body},
            Answer = case RetryAfter of none -> Whole; _ -> Whole#{retry_after => RetryAfter} end,
            [?assertEqual({answered, Status, Answer}, read(Bytes, [Size])) || Size <- [1, 7, byte_size(Bytes)]],
            %% All of them say where they end.
            ?assertMatch({done, {answered, Status, Answer}}, ?M:feed(Bytes, ?M:new()))
        end}
     || {Who, Bytes, Status, RetryAfter, Body} <- erlmcp_native_otlp_recorded:answers()
    ].

%% After a status there is an answer, whatever comes.
answered_test_() ->
    [
        {Name, ?_assertEqual({answered, 200, Answer}, read(<<"HTTP/1.1 200 OK\r\n", Rest/binary>>, [11]))}
     || {Name, Rest, Answer} <- [
            {"nothing more", ~"", #{body => ~""}},
            {"half a header", ~"Content-Le", #{body => ~""}},
            {"a header that is not ended", ~"Retry-After: 7\r\n", #{body => ~"", retry_after => ~"7"}},
            {"a line without a colon", ~"nonsense\r\n\r\n{}", #{body => ~"{}"}},
            {"a line of blanks", ~" \t \r\nContent-Length: 2\r\n\r\n{}{}", #{body => ~"{}"}},
            {"bytes", <<255, 0, 13, "x\r\n\r\n{}">>, #{body => ~"{}"}},
            {"a line that goes on with no header", ~"Retry-After: 7\nnonsense\n 9\n\n", #{
                body => ~"", retry_after => ~"7"
            }},
            {"64 lines", <<(binary:copy(~"a: b\n", 64))/binary, "\n{}">>, #{body => ~"{}"}},
            {"65 lines", <<(binary:copy(~"a: b\n", 65))/binary, "\n{}">>, #{body => ~""}},
            {"a line of 8 KB", <<(binary:copy(~"a", 8191))/binary, "\r\n\r\n{}">>, #{body => ~"{}"}},
            {"a longer line", <<(binary:copy(~"a", 8192))/binary, "\r\n\r\n{}">>, #{body => ~""}},
            {"a longer line after what matters", <<"Retry-After: 7\n", (binary:copy(~"a", 9000))/binary>>, #{
                body => ~"", retry_after => ~"7"
            }},
            {"a body without end", <<"\r\n", (binary:copy(~"a", 70000))/binary>>, #{body => binary:copy(~"a", 65536)}},
            {"a long body", <<"Content-Length: 70000\r\n\r\n", (binary:copy(~"a", 70000))/binary>>, #{
                body => binary:copy(~"a", 65536)
            }},
            {"a long chunk", <<"Transfer-Encoding: chunked\r\n\r\n11170\r\n", (binary:copy(~"a", 70000))/binary>>, #{
                body => binary:copy(~"a", 65536)
            }}
        ] ++
            [
                {"chunks: " ++ Name, <<"Transfer-Encoding: chunked\r\n\r\n", Chunks/binary>>, #{body => Body}}
             || {Name, Chunks, Body} <- [
                    {"an extension", ~"2;a=b\r\n{}\r\n0;c\r\n\r\n", ~"{}"},
                    {"trailers", ~"2\r\n{}\r\n0\r\nx: y\r\n\r\n", ~"{}"},
                    {"a size of 15 digits", ~"000000000000002\r\n{}\r\n0\r\n\r\n", ~"{}"},
                    {"a size of 16 digits", ~"0000000000000002\r\n{}\r\n0\r\n\r\n", ~""},
                    {"a size without end", ~"ffffffff\r\n{}", ~"{}"},
                    {"no size", ~"\r\n{}\r\n0\r\n\r\n", ~""},
                    {"a negative size", ~"-2\r\n{}\r\n0\r\n\r\n", ~""},
                    {"an odd size", ~"2 2\r\n{}\r\n0\r\n\r\n", ~""},
                    {"more than there should be", ~"2\r\n{}x\r\n2\r\n{}\r\n0\r\n\r\n", ~"{}"},
                    {"an extension without end", <<"2\r\n{}\r\n2;", (binary:copy(~"a", 9000))/binary, "\r\n{}">>, ~"{}"}
                ]
            ]
    ].

what_was_announced_counts_for_nothing_test() ->
    Bytes = ~"HTTP/1.1 103 Early Hints\r\nRetry-After: 7\r\nContent-Length: 1\r\n\r\nHTTP/1.1 503 Busy\r\n\r\nno",
    ?assertEqual({answered, 503, #{body => ~"no"}}, read(Bytes, [9])).

%% None, and why.
failed_test_() ->
    Status = ~"HTTP/1.1 200 OK",
    [
        {Name, ?_assertEqual({failed, answer, Reason}, read(Bytes, [5]))}
     || {Name, Bytes, Reason} <- [
            {"half a status line", Status, closed},
            {"an empty line first", <<"\r\n", Status/binary, "\r\n\r\n">>, no_http},
            {"an announcement only", ~"HTTP/1.1 100 Continue\r\n\r\n", closed},
            {"an announcement that does not end", ~"HTTP/1.1 100 Continue\r\nx: y\r\n", closed},
            {"nonsense after an announcement", ~"HTTP/1.1 100 Continue\r\n\r\n{}\r\n", no_http},
            {"33 announcements of a line", binary:copy(~"HTTP/1.1 102 Wait\r\nx: y\r\n\r\n", 33), too_many_headers},
            {"65 announcements", binary:copy(~"HTTP/1.1 102 Wait\r\n\r\n", 65), too_many_headers},
            {"64 announcements", binary:copy(~"HTTP/1.1 102 Wait\r\n\r\n", 64), closed},
            {"a line without end", <<Status/binary, (binary:copy(~" ", 9000))/binary>>, line_too_long},
            {"another version", ~"HTTP/2.0 200 OK\r\n", no_http},
            {"no status", ~"HTTP/1.1 OK\r\n", no_http},
            {"a status of four digits", ~"HTTP/1.1 2000 OK\r\n", no_http},
            {"too large a status", ~"HTTP/1.1 600 OK\r\n", no_http},
            {"too small a status", ~"HTTP/1.1 099 OK\r\n", no_http},
            {"another protocol", ~"SSH-2.0-OpenSSH_9.2\r\n", no_http}
        ]
    ].

%% It says so when there is no more to read, and takes no more.
done_test() ->
    ?assertMatch({more, _}, ?M:feed(~"HTTP/1.1 200 OK\r\n\r\n{}", ?M:new())),
    [
        ?assertMatch({done, {answered, _, _}}, ?M:feed(Bytes, ?M:new()))
     || Bytes <- [
            ~"HTTP/1.1 204 No Content\r\n\r\n",
            ~"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            ~"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            ~"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            ~"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        ]
    ].

%% What there is of a line and a body, not what has gone by.
memory_is_bounded_test() ->
    Chunk = <<"1;", (binary:copy(~"a", 8000))/binary, "\r\na\r\n">>,
    {more, Begun} = ?M:feed(~"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ?M:new()),
    Read = lists:foldl(
        fun(_, Response) ->
            {more, Longer} = ?M:feed(Chunk, Response),
            ?assert(erlang:external_size(Longer) < 10000),
            Longer
        end,
        Begun,
        lists:seq(1, 1000)
    ),
    ?assertEqual({answered, 200, #{body => binary:copy(~"a", 1000)}}, ?M:ended(closed, Read)).

properties_test_() ->
    [
        {timeout, 120, {atom_to_list(Name), fun() ->
            ?assert(proper:quickcheck(prop_erlmcp_native_otlp_response:Name(), [{numtests, N}, quiet, {to_file, user}]))
        end}}
     || {Name, N} <- [
            {prop_what_was_built_is_read, 3000},
            {prop_what_was_cut_off_is_read_so_far, 200},
            {prop_spoiled_answers_have_their_status, 5000}
        ]
    ].
