-module(erlmcp_native_otlp_request).
-moduledoc """
One POST to an endpoint that may do anything, with a deadline, over TCP or TLS.

Why not `httpc`: it collects an answer of any length in memory, and asks for no deadline on the whole. Here the
runtime's own parser reads at most 64 headers of 8 KB each, then at most 64 KB of the body, and nothing takes longer
than the deadline. There is no proxy, no redirect is followed, and a connection is used once.

To be called in a process of its own that ends soon after: its end closes the connection, without waiting for whoever
is on the other side.
""".

-export([post/4]).

-export_type([outcome/0, reason/0]).

-doc """
An outcome says what came of a push. With a status the request was answered; the body is what there was of it by the
deadline, within its bounds.
""".
-type outcome() ::
    {answered, 200..599, #{body := binary(), retry_after => binary()}}
    | {failed, connect | tls | send | answer, reason()}.
-doc "A reason says why there was no answer; `no_http` is an answer that is none.".
-type reason() :: timeout | no_http | too_many_headers | term().

-define(MAX_HEADERS, 64).
-define(MAX_LINE_BYTES, 8192).
-define(MAX_BODY_BYTES, 65536).

-doc """
Posts a body to an endpoint. The deadline is in monotonic milliseconds; the headers are those of this request only.
""".
-spec post(erlmcp_native_otlp_url:target(), [{binary(), binary()}], binary(), DeadlineMs :: integer()) -> outcome().
post(Target, Headers, Body, Deadline) ->
    maybe
        {ok, Socket} ?= connect(Target, Deadline),
        {ok, Connection} ?= secure(Target, Socket, Deadline),
        Length = {~"content-length", integer_to_binary(byte_size(Body))},
        Sent = send(Connection, [head(Target, [Length | Headers]), Body]),
        %% Who does not want the request may have said why.
        case {answer(Connection, Deadline), Sent} of
            {{failed, answer, _}, {failed, send, _}} -> Sent;
            {Answer, _} -> Answer
        end
    end.

connect(#{host := Address} = Target, Deadline) when tuple_size(Address) =:= 4 ->
    connect([inet], Target, Deadline);
connect(#{host := Address} = Target, Deadline) when tuple_size(Address) =:= 8 ->
    connect([inet6], Target, Deadline);
connect(Target, Deadline) ->
    connect([inet6, inet], Target, Deadline).

%% The second way gets half of the time even if the first leads nowhere.
connect([Family | Others], #{host := Host, port := Port} = Target, Deadline) ->
    Ms = left(Deadline) div (1 + length(Others)),
    Options = [
        Family,
        binary,
        {active, false},
        {buffer, 16384},
        {nodelay, true},
        {send_timeout, max(1, left(Deadline))},
        {send_timeout_close, true}
    ],
    case {gen_tcp:connect(Host, Port, Options, Ms), Others} of
        {{ok, Socket}, _} -> {ok, Socket};
        {{error, Reason}, []} -> {failed, connect, Reason};
        {{error, _}, _} -> connect(Others, Target, Deadline)
    end.

secure(#{scheme := http}, Socket, _Deadline) ->
    {ok, {gen_tcp, Socket}};
secure(#{scheme := https, host := Host}, Socket, Deadline) ->
    %% An address is checked against the one that is connected to, a name must be told.
    Name = [{server_name_indication, Host} || is_list(Host)],
    Options = [
        {verify, verify_peer},
        {cacerts, public_key:cacerts_get()},
        {customize_hostname_check, [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}]},
        {log_level, none}
        | Name
    ],
    case ssl:connect(Socket, Options, left(Deadline)) of
        {ok, Secure} -> {ok, {ssl, Secure}};
        {error, Reason} -> {failed, tls, Reason}
    end.

head(#{authority := Authority, path := Path}, Headers) ->
    [
        [~"POST ", Path, ~" HTTP/1.1\r\nhost: ", Authority, ~"\r\nconnection: close\r\n"],
        [[Name, ~": ", Value, ~"\r\n"] || {Name, Value} <- Headers],
        ~"\r\n"
    ].

send(Connection, Data) ->
    case transmit(Connection, Data) of
        ok -> ok;
        {error, Reason} -> {failed, send, Reason}
    end.

answer(Connection, Deadline) ->
    maybe
        ok ?= parse(Connection, [{packet, http_bin}, {packet_size, ?MAX_LINE_BYTES}]),
        {ok, Status, Headers} ?= head(Connection, ?MAX_HEADERS, Deadline),
        ok ?= parse(Connection, [{packet, raw}]),
        Body = body(Connection, until(Status, Headers), Deadline, <<>>),
        {answered, Status, (maps:with([retry_after], Headers))#{body => Body}}
    end.

%% Answers below 200 announce another one.
head(Connection, Left, Deadline) ->
    case next(Connection, Deadline) of
        {ok, {http_response, {1, _}, Status, _}} when Status >= 100, Status < 600 ->
            case headers(Connection, #{}, Left, Deadline) of
                {ok, _, StillLeft} when Status < 200 -> head(Connection, StillLeft, Deadline);
                {ok, Headers, _} -> {ok, Status, Headers};
                Failed -> Failed
            end;
        Other ->
            failed(Other)
    end.

headers(_Connection, _Headers, 0, _Deadline) ->
    {failed, answer, too_many_headers};
headers(Connection, Headers, Left, Deadline) ->
    case next(Connection, Deadline) of
        {ok, {http_header, _, Name, _, Value}} ->
            headers(Connection, header(Name, Value, Headers), Left - 1, Deadline);
        {ok, http_eoh} ->
            {ok, Headers, Left - 1};
        Other ->
            failed(Other)
    end.

header('Retry-After', Value, Headers) ->
    Headers#{retry_after => Value};
header('Transfer-Encoding', _, Headers) ->
    Headers#{chunked => true};
header('Content-Length', Value, Headers) ->
    case string:to_integer(Value) of
        {Length, <<>>} when is_integer(Length), Length >= 0 -> Headers#{length => Length};
        _ -> Headers
    end;
header(_, _, Headers) ->
    Headers.

failed({ok, _}) -> {failed, answer, no_http};
failed({error, Reason}) -> {failed, answer, Reason}.

until(204, _) -> {length, 0};
until(304, _) -> {length, 0};
until(_, #{chunked := true}) -> last_chunk;
until(_, #{length := Length}) -> {length, Length};
until(_, #{}) -> closed.

body(Connection, Until, Deadline, Body) ->
    case byte_size(Body) >= ?MAX_BODY_BYTES orelse is_whole(Until, Body) of
        true ->
            whole(Until, Body);
        false ->
            case next(Connection, Deadline) of
                {ok, More} -> body(Connection, Until, Deadline, <<Body/binary, More/binary>>);
                {error, _} -> whole(Until, Body)
            end
    end.

is_whole({length, Length}, Body) ->
    byte_size(Body) >= Length;
is_whole(last_chunk, Body) ->
    End = ~"0\r\n\r\n",
    binary:longest_common_suffix([Body, End]) =:= byte_size(End);
is_whole(closed, _) ->
    false.

whole(last_chunk, Body) -> dechunked(Body);
whole(_, Body) -> Body.

dechunked(Body) ->
    maybe
        [Line, Rest] ?= binary:split(Body, ~"\r\n"),
        true ?= byte_size(Line) =< 8,
        {ok, [Size], []} ?= io_lib:fread("~16u", binary_to_list(Line)),
        <<Chunk:Size/binary, "\r\n", More/binary>> ?= Rest,
        <<Chunk/binary, (dechunked(More))/binary>>
    else
        _ -> <<>>
    end.

left(Deadline) ->
    max(0, Deadline - erlang:monotonic_time(millisecond)).

parse(Connection, Options) ->
    case setopts(Connection, Options) of
        ok -> ok;
        {error, Reason} -> {failed, answer, Reason}
    end.

setopts({gen_tcp, Socket}, Options) -> inet:setopts(Socket, Options);
setopts({ssl, Socket}, Options) -> ssl:setopts(Socket, Options).

transmit({gen_tcp, Socket}, Data) -> gen_tcp:send(Socket, Data);
transmit({ssl, Socket}, Data) -> ssl:send(Socket, Data).

next({gen_tcp, Socket}, Deadline) -> gen_tcp:recv(Socket, 0, left(Deadline));
next({ssl, Socket}, Deadline) -> ssl:recv(Socket, 0, left(Deadline)).
