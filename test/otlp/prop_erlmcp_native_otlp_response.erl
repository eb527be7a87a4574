%% Answers of HTTP/1, built and then spoiled, in pieces of any size.
%%
%% What is right, whatever the bytes:
%% - the pieces make no difference;
%% - it is answered if, and only if, there is a whole status line of 200 or more, at the beginning or after
%%   announcements that are whole; this is found here by regular expressions on lines, there by reading bytes once;
%% - the body is of 64 KB at most, and Retry-After without blanks around it.
%% For an answer that was built, also the body is known; of one that was cut off, it is the beginning of that.
-module(prop_erlmcp_native_otlp_response).

-include_lib("proper/include/proper.hrl").

-export([prop_what_was_built_is_read/0, prop_what_was_cut_off_is_read_so_far/0]).
-export([prop_spoiled_answers_have_their_status/0]).
-export([read/2]).

-define(M, erlmcp_native_otlp_response).
-define(MAX_BODY, 65536).
-define(MAX_LINE, 8192).
-define(MAX_HEADERS, 64).

prop_what_was_built_is_read() ->
    ?FORALL(
        {{Bytes, _, Outcome}, Sizes},
        {answer(), sizes()},
        ?WHENFAIL(io:format(user, "~p~n", [Bytes]), read(Bytes, Sizes) =:= Outcome)
    ).

%% At each byte.
prop_what_was_cut_off_is_read_so_far() ->
    ?FORALL(
        {Bytes, HasStatusAt, {answered, Status, #{body := Body}}},
        answer(),
        lists:all(
            fun(Size) ->
                case read(binary:part(Bytes, 0, Size), [Size]) of
                    {failed, answer, closed} ->
                        Size < HasStatusAt;
                    {answered, Status, #{body := Begun}} ->
                        Size >= HasStatusAt andalso binary:longest_common_prefix([Body, Begun]) =:= byte_size(Begun);
                    _ ->
                        false
                end
            end,
            lists:seq(0, byte_size(Bytes))
        )
    ).

prop_spoiled_answers_have_their_status() ->
    ?FORALL(
        {Spoiled, Sizes},
        {spoiled(), sizes()},
        begin
            Outcome = read(Spoiled, [byte_size(Spoiled)]),
            conjunction([
                {pieces, read(Spoiled, Sizes) =:= Outcome},
                {status, status(Outcome) =:= status_of(Spoiled, ?MAX_HEADERS)},
                {bounds, is_bounded(Outcome)}
            ])
        end
    ).

%% The outcome of these bytes, in pieces of these sizes in turn, with the connection closed after them.
read(Bytes, Sizes) ->
    read(Bytes, Sizes, Sizes, ?M:new()).

read(<<>>, _, _, Response) ->
    ?M:ended(closed, Response);
read(Bytes, [], Sizes, Response) ->
    read(Bytes, Sizes, Sizes, Response);
read(Bytes, [Size | Others], Sizes, Response) ->
    <<Piece:(min(max(1, Size), byte_size(Bytes)))/binary, Rest/binary>> = Bytes,
    case ?M:feed(Piece, Response) of
        {more, Longer} -> read(Rest, Others, Sizes, Longer);
        {done, Outcome} -> Outcome
    end.

sizes() ->
    oneof([[1], non_empty(list(range(1, 40))), [range(1, 5000)]]).

status({answered, Status, _}) -> Status;
status({failed, answer, _}) -> none.

is_bounded({answered, _, #{body := Body} = Answer}) ->
    RetryAfter = maps:get(retry_after, Answer, <<>>),
    byte_size(Body) =< ?MAX_BODY andalso re:run(RetryAfter, ~"^[ \\t]|[ \\t]\\z", [{capture, none}]) =:= nomatch;
is_bounded({failed, answer, _}) ->
    true.

%% By lines.
status_of(Bytes, Left) ->
    maybe
        [Line, Rest] ?= binary:split(Bytes, ~"\n"),
        true ?= byte_size(Line) =< ?MAX_LINE,
        {match, [Digits]} ?=
            re:run(Line, ~"\\AHTTP/1\\.[0-9] ([1-5][0-9][0-9])( .*)?\\r?\\z", [dotall, {capture, [1], binary}]),
        case binary_to_integer(Digits) of
            Status when Status >= 200 -> Status;
            _ -> after_headers(Rest, Left)
        end
    else
        _ -> none
    end.

after_headers(Bytes, Left) ->
    case binary:split(Bytes, ~"\n") of
        [Line, Rest] when Left > 0, Line =:= ~"\r" orelse Line =:= <<>> -> status_of(Rest, Left - 1);
        [Line, Rest] when Left > 0, byte_size(Line) =< ?MAX_LINE -> after_headers(Rest, Left - 1);
        _ -> none
    end.

%% {Bytes, how many of them it takes to know the status, Outcome}.
answer() ->
    ?LET(
        {End, Announced, Status, Reason, Others, RetryAfter, Framing},
        {
            oneof([~"\r\n", ~"\n"]), short_list(announcement()), status(), reason(), short_list(other()), retry_after(),
            framing()
        },
        built(End, Announced, Status, Reason, Others, RetryAfter, Framing)
    ).

short_list(Generator) ->
    ?LET(N, range(0, 4), vector(N, Generator)).

built(End, Announced, Status, Reason, Others, {RetryLines, RetryAfter}, {Kind, Lines, Written, Body}) ->
    First = [[[Line, End] || Line <- Announcement ++ [<<>>]] || Announcement <- Announced],
    StatusLine = [~"HTTP/1.1 ", integer_to_binary(Status), Reason, End],
    %% Where the body ends with the connection, nothing may come after it; a status may say that there is none.
    {Sent, Read} = if Status =:= 204; Status =:= 304 -> {<<>>, <<>>}; true -> {Written, Body} end,
    Headers = [[Line, End] || Line <- Others ++ RetryLines ++ Lines],
    Bytes = iolist_to_binary([First, StatusLine, Headers, End, with_end(Kind, Sent, End)]),
    Whole = #{body => Read},
    {Bytes, iolist_size([First, StatusLine]), {answered, Status, case RetryAfter of
        none -> Whole;
        _ -> Whole#{retry_after => RetryAfter}
    end}}.

%% Chunks are written with their own ends of lines.
with_end(chunked, Written, End) -> binary:replace(Written, ~"<end>", End, [global]);
with_end(_, Written, _) -> Written.

announcement() ->
    ?LET({Status, Headers}, {range(100, 199), short_list(oneof([other(), ~"Retry-After: 1", ~"Content-Length: 1"]))}, [
        [~"HTTP/1.1 ", integer_to_binary(Status), ~" Wait"] | Headers
    ]).

status() ->
    oneof([200, 202, 204, 301, 304, 400, 404, 413, 429, 500, 502, 503, 504, range(200, 599)]).

reason() ->
    oneof([~"", ~" ", ~" OK", ~" Not Found", ~" \xe4 200 HTTP/1.1 500"]).

%% Lines that do not matter, or are none.
other() ->
    oneof([
        ~"Server: x", ~"x:", ~":", ~": x", ~"nonsense", ~"no colon: but: two", <<"bytes: ", 255, 0, 1>>, ~"\t",
        <<255, 254>>,
        ~"Retry-Afterwards: 9", ~"X-Content-Length: 3", ~"Trailer: x", <<"long: ", (binary:copy(~"a", 5000))/binary>>
    ]).

retry_after() ->
    oneof([
        {[], none},
        ?LET({Name, Before, After, Value}, {cased(~"Retry-After"), blanks(), blanks(), value()}, {
            [[Name, ~":", Before, Value, After]], Value
        }),
        %% Continued in another line.
        {[~"retry-after: Sun, 06 Nov", ~"  1994 08:49:37 GMT "], ~"Sun, 06 Nov 1994 08:49:37 GMT"},
        {[~"Retry-After:", ~"\t7"], ~"7"},
        {[~"Retry-After: 7", ~"Retry-After: 9"], ~"7"}
    ]).

value() ->
    oneof([~"7", ~"Sun, 06 Nov 1994 08:49:37 GMT", ~"", ~"soon"]).

blanks() ->
    ?LET(List, short_list(oneof([~" ", ~"\t"])), iolist_to_binary(List)).

cased(Name) ->
    oneof([Name, string:uppercase(Name), string:lowercase(Name), <<Name/binary, " ">>]).

%% {Kind, header lines, what is written, the body that is to be read}.
framing() ->
    oneof([chunked(), with_length(), to_the_end()]).

bytes() ->
    oneof([~"", ~"{}", ~"{\"partialSuccess\":{}}", binary(), ~"0\r\n\r\n", ~"HTTP/1.1 500 No\r\n\r\n"]).

with_length() ->
    ?LET(
        {Name, Body, More},
        {cased(~"Content-Length"), bytes(), oneof([~"", ~"more"])},
        begin
            Length = integer_to_binary(byte_size(Body)),
            ?LET(
                Lines,
                oneof([
                    [[Name, ~": ", Length]],
                    [[Name, ~":", Length, ~" \t"], [~"content-length: ", Length]],
                    [[Name, ~": ", Length, ~", ", Length]],
                    [[Name, ~":"], [~" ", Length]]
                ]),
                {length, Lines, <<Body/binary, More/binary>>, Body}
            )
        end
    ).

to_the_end() ->
    ?LET(
        {Lines, Body},
        {
            oneof([
                [],
                [~"Content-Length: two"],
                [~"Content-Length: -1"],
                [~"Content-Length: +1"],
                [~"Content-Length: 1", ~"Content-Length: 2"],
                [~"Content-Length: 99999999999999999999999999"],
                [~"Transfer-Encoding: gzip"],
                [~"Transfer-Encoding: chunked, identity", ~"Content-Length: 1"]
            ]),
            bytes()
        },
        {rest, Lines, Body, Body}
    ).

chunked() ->
    ?LET(
        {Name, Coding, Chunks, Extension, Trailers, Length},
        {
            cased(~"Transfer-Encoding"),
            oneof([~"chunked", ~"Chunked ", ~"gzip, chunked"]),
            short_list(?SUCHTHAT(Bytes, bytes(), Bytes =/= <<>>)),
            oneof([~"", ~";x", ~" ; x=y", ~";x=\"0\"", <<";", (binary:copy(~"a", 1000))/binary>>]),
            short_list(oneof([~"x: y", ~"nonsense", ~"Content-Length: 7"])),
            oneof([[], [~"Content-Length: 1"]])
        },
        begin
            Written = [
                [hex(byte_size(Chunk)), Extension, ~"<end>", Chunk, ~"<end>"]
             || Chunk <- Chunks, binary:match(Chunk, ~"<end>") =:= nomatch
            ],
            Last = [~"000", Extension, ~"<end>", [[Trailer, ~"<end>"] || Trailer <- Trailers], ~"<end>"],
            {chunked, Length ++ [[Name, ~": ", Coding]], iolist_to_binary([Written, Last]), iolist_to_binary(Chunks)}
        end
    ).

hex(Size) ->
    string:lowercase(integer_to_binary(Size, 16)).

%% Recorded or built, and then some bytes changed, left out, put in or doubled.
spoiled() ->
    Recorded = [Bytes || {_, Bytes, _, _, _} <- erlmcp_native_otlp_recorded:answers()],
    ?LET(
        {Bytes, Faults},
        {oneof([oneof(Recorded), ?LET({Bytes, _, _}, answer(), Bytes)]), non_empty(short_list(fault()))},
        lists:foldl(fun spoil/2, Bytes, Faults)
    ).

fault() ->
    {float(0.0, 1.0), oneof([{change, byte()}, {cut, range(1, 40)}, {double, range(1, 200)}, {insert, inserted()}])}.

inserted() ->
    oneof([
        ~"\r\n", ~"\n", ~"\r", ~":", ~" ", ~";x=y", ~"\r\n folded\r\n", ~"\r\nContent-Length: 5\r\n", ~"\r\n\r\n",
        ~"\r\nTransfer-Encoding: chunked\r\n", ~"\r\nnonsense\r\n", ~"HTTP/1.1 100 Continue\r\n\r\n", ~"ffffffff\r\n",
        ~"ffffffffffffffffffff", ~"-", ~"\0", <<255>>, binary:copy(~"a", 9000), binary:copy(~"x: y\r\n", 70),
        binary:copy(~"\r\n1\r\na", 100), binary:copy(~"HTTP/1.1 102 Wait\r\nx: y\r\n\r\n", 33), binary(),
        binary:copy(~"HTTP/1.1 102 Wait\r\n\r\n", 65)
    ]).

spoil({Where, Fault}, Bytes) ->
    At = round(Where * byte_size(Bytes)),
    <<Before:At/binary, After/binary>> = Bytes,
    case Fault of
        {change, Byte} -> <<Before/binary, Byte, (from(1, After))/binary>>;
        {cut, Size} -> <<Before/binary, (from(Size, After))/binary>>;
        {double, Size} -> <<Before/binary, (binary:part(After, 0, min(Size, byte_size(After))))/binary, After/binary>>;
        {insert, Inserted} -> <<Before/binary, Inserted/binary, After/binary>>
    end.

from(Size, Bytes) ->
    Skipped = min(Size, byte_size(Bytes)),
    binary:part(Bytes, Skipped, byte_size(Bytes) - Skipped).
