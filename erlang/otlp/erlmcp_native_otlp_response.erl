-module(erlmcp_native_otlp_response).
-moduledoc """
An answer in HTTP/1, read piece by piece as it comes: bytes go in, an outcome comes out. It knows no sockets and no
clock, holds at most 8 KB of a line and 64 KB of a body, and never fails, whatever the bytes are.

What counts is the status. Once its line is there, whole, the request is answered, whatever follows or does not: a push
that was taken and is pushed again is counted twice. So

- a header line that is none is passed over; after more than 64 lines, or one of more than 8 KB, the answer ends there;
- a body that is cut short is as long as it is;
- statuses below 200 announce another answer, and count for nothing.

Of the headers three matter. `Retry-After` is given on without the blanks around it. `Transfer-Encoding`, if its last
coding is `chunked`, says where the body ends; extensions of chunks are passed over, and trailers not waited for. Else
`Content-Length` does, if it is a number and always the same. Else, and where either is odd, the body ends with the
connection. A line that is continued on the next, as in old times, is one line, and a line may end without a carriage
return.

```erlang
1> New = erlmcp_native_otlp_response:new(),
   {more, Half} = erlmcp_native_otlp_response:feed(~"HTTP/1.1 200 OK\r\nContent-Le", New).
2> erlmcp_native_otlp_response:feed(~"ngth: 2\r\n\r\n{}", Half).
{done,{answered,200,#{body => <<"{}">>}}}
3> erlmcp_native_otlp_response:ended(closed, Half).
{answered,200,#{body => <<>>}}
```
""".

-export([new/0, feed/2, ended/2]).

-export_type([response/0, outcome/0]).

-doc """
An outcome says what came of a request: it was answered, with what there was of the body; or what there was is no
answer.
""".
-type outcome() ::
    {answered, 200..599, #{body := binary(), retry_after => binary()}}
    | {failed, answer, no_http | too_many_headers | line_too_long | Ended :: term()}.

-record(response, {
    %% What is expected next. `skip` is the line's end after a chunk.
    next = status :: status | headers | size | {chunk, pos_integer()} | skip | {bytes, pos_integer()} | rest,
    status = none :: none | 100..599,
    %% What there is of a line that has not ended.
    line = <<>> :: binary(),
    %% How many header lines and announcements there may still be.
    left = 64 :: non_neg_integer(),
    %% The one that may go on in the next line, and those before it that matter, the last first.
    header = none :: none | {Name :: binary(), Value :: binary()},
    headers = [] :: [{Name :: binary(), Value :: binary()}],
    body = <<>> :: binary()
}).

-doc "A response is what was read of an answer so far.".
-opaque response() :: #response{}.

-define(MAX_LINE, 8192).
-define(MAX_BODY, 65536).
%% 15 hexadecimal digits are a small integer.
-define(MAX_SIZE, 15).

-doc "Makes a response of which nothing was read.".
-spec new() -> response().
new() ->
    #response{}.

-doc "Reads more bytes. After `done` there is no more to read.".
-spec feed(binary(), response()) -> {more, response()} | {done, outcome()}.
feed(Bytes, #response{next = rest} = Response) ->
    body(Bytes, byte_size(Bytes), Response);
feed(Bytes, #response{next = {bytes, Left}} = Response) ->
    Taken = min(Left, byte_size(Bytes)),
    case body(Bytes, Taken, Response#response{next = {bytes, max(1, Left - Taken)}}) of
        {more, Read} when Taken =:= Left -> done(Read);
        Result -> Result
    end;
feed(Bytes, #response{next = {chunk, Left}} = Response) ->
    Taken = min(Left, byte_size(Bytes)),
    <<_:Taken/binary, More/binary>> = Bytes,
    Next = if Taken =:= Left -> skip; true -> {chunk, Left - Taken} end,
    case body(Bytes, Taken, Response#response{next = Next}) of
        {more, Read} when Taken =:= Left -> feed(More, Read);
        Result -> Result
    end;
feed(Bytes, #response{line = Begun} = Response) ->
    case binary:split(Bytes, ~"\n") of
        [End, More] when byte_size(Begun) + byte_size(End) =< ?MAX_LINE ->
            Line = without_return(<<Begun/binary, End/binary>>),
            case line(Line, Response#response{line = <<>>}) of
                {more, Read} -> feed(More, Read);
                Done -> Done
            end;
        [_] when byte_size(Begun) + byte_size(Bytes) =< ?MAX_LINE ->
            {more, Response#response{line = <<Begun/binary, Bytes/binary>>}};
        _ ->
            {done, ended(line_too_long, Response)}
    end.

-doc "Returns the outcome when no more will come, for this reason.".
-spec ended(Reason :: term(), response()) -> outcome().
ended(Reason, #response{status = Status}) when Status =:= none; Status < 200 ->
    {failed, answer, Reason};
ended(_, #response{status = Status, body = Body} = Response) ->
    Whole = #{body => Body},
    case values(~"retry-after", header(none, Response)) of
        [] -> {answered, Status, Whole};
        [First | _] -> {answered, Status, Whole#{retry_after => First}}
    end.

done(Response) ->
    {done, ended(done, Response)}.

without_return(Line) ->
    Size = byte_size(Line) - 1,
    case Line of
        <<Text:Size/binary, $\r>> -> Text;
        _ -> Line
    end.

line(Line, #response{next = status} = Response) ->
    case Line of
        <<"HTTP/1.", Minor, $\s, A, B, C, Reason/binary>> when
            Minor >= $0, Minor =< $9, A >= $1, A =< $5, B >= $0, B =< $9, C >= $0, C =< $9
        ->
            case Reason of
                <<Byte, _/binary>> when Byte =/= $\s -> no_http(Response);
                _ -> {more, Response#response{next = headers, status = (A - $0) * 100 + (B - $0) * 10 + C - $0}}
            end;
        _ ->
            no_http(Response)
    end;
line(<<>>, #response{next = headers} = Response) ->
    head(header(none, Response));
line(_, #response{next = headers, left = 0} = Response) ->
    {done, ended(too_many_headers, Response)};
line(<<Blank, _/binary>> = Line, #response{next = headers} = Response) when Blank =:= $\s; Blank =:= $\t ->
    {more, continued(trimmed(Line), one_less(Response))};
line(Line, #response{next = headers} = Response) ->
    case binary:split(Line, ~":") of
        [Name, Value] -> {more, header({lowered(trimmed(Name)), trimmed(Value)}, one_less(Response))};
        [_] -> {more, header(none, one_less(Response))}
    end;
line(<<>>, #response{next = skip} = Response) ->
    {more, Response#response{next = size}};
line(Line, #response{next = size} = Response) ->
    case chunk_size(Line) of
        {ok, Size} when Size > 0 -> {more, Response#response{next = {chunk, Size}}};
        _ -> done(Response)
    end;
line(_, Response) ->
    done(Response).

no_http(Response) ->
    {done, ended(no_http, Response#response{status = none})}.

one_less(#response{left = Left} = Response) ->
    Response#response{left = Left - 1}.

%% The next header; the one before it is complete.
header(New, #response{header = {Name, _} = Before, headers = Headers} = Response) ->
    case lists:member(Name, [~"retry-after", ~"transfer-encoding", ~"content-length"]) of
        true -> Response#response{header = New, headers = [Before | Headers]};
        false -> Response#response{header = New}
    end;
header(New, Response) ->
    Response#response{header = New}.

continued(More, #response{header = {Name, Value}} = Response) ->
    Response#response{header = {Name, trimmed(<<Value/binary, $\s, More/binary>>)}};
continued(_, Response) ->
    Response.

values(Name, #response{headers = Headers}) ->
    lists:reverse([Value || {Of, Value} <- Headers, Of =:= Name]).

%% The end of the headers.
head(#response{status = Status, left = 0} = Response) when Status < 200 ->
    {done, ended(too_many_headers, Response)};
head(#response{status = Status} = Response) when Status < 200 ->
    {more, (one_less(Response))#response{next = status, headers = []}};
head(#response{status = Status} = Response) when Status =:= 204; Status =:= 304 ->
    done(Response);
head(Response) ->
    case {items(~"transfer-encoding", Response), lists:uniq(items(~"content-length", Response))} of
        {[_ | _] = Codings, _} ->
            case lowered(lists:last(Codings)) of
                ~"chunked" -> {more, Response#response{next = size}};
                _ -> {more, Response#response{next = rest}}
            end;
        {[], [Length]} ->
            case length_of(Length) of
                0 -> done(Response);
                N when is_integer(N) -> {more, Response#response{next = {bytes, N}}};
                odd -> {more, Response#response{next = rest}}
            end;
        {[], _} ->
            {more, Response#response{next = rest}}
    end.

%% The values of a header, which may be lists, as one list.
items(Name, Response) ->
    [
        Item
     || Value <- values(Name, Response), Part <- binary:split(Value, ~",", [global]), Item <- [trimmed(Part)],
        Item =/= <<>>
    ].

%% More than is read is as good as no end.
length_of(Digits) when byte_size(Digits) > 18 -> odd;
length_of(Digits) -> number(Digits, 10).

chunk_size(Line) ->
    [Digits | _] = binary:split(Line, ~";"),
    case trimmed(Digits) of
        Hex when byte_size(Hex) > ?MAX_SIZE -> odd;
        Hex ->
            case number(Hex, 16) of
                odd -> odd;
                Size -> {ok, Size}
            end
    end.

%% Without a sign.
number(<<First, _/binary>> = Digits, Base) when First =/= $+, First =/= $- ->
    try
        binary_to_integer(Digits, Base)
    catch
        error:badarg -> odd
    end;
number(_, _) ->
    odd.

%% Bytes, which need not be text.
lowered(Name) ->
    << <<(if Byte >= $A, Byte =< $Z -> Byte + 32; true -> Byte end)>> || <<Byte>> <= Name >>.

trimmed(<<Blank, Rest/binary>>) when Blank =:= $\s; Blank =:= $\t -> trimmed(Rest);
trimmed(Text) -> trimmed(Text, byte_size(Text)).

trimmed(Text, Size) when Size > 0, binary_part(Text, Size - 1, 1) =:= ~" " -> trimmed(Text, Size - 1);
trimmed(Text, Size) when Size > 0, binary_part(Text, Size - 1, 1) =:= ~"\t" -> trimmed(Text, Size - 1);
trimmed(Text, Size) -> binary_part(Text, 0, Size).

%% The first bytes of these are the body's.
body(Bytes, Size, #response{body = Body} = Response) ->
    Fits = min(Size, ?MAX_BODY - byte_size(Body)),
    <<More:Fits/binary, _/binary>> = Bytes,
    Longer = Response#response{body = <<Body/binary, More/binary>>},
    case byte_size(Body) + Fits of
        ?MAX_BODY -> done(Longer);
        _ -> {more, Longer}
    end.
