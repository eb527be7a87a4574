%% A client of HTTP/2 that does what a test tells it to: with windows as small as it likes, granted or not.
-module(erlmcp_native_http2_test_lib).

-export([connect/2, get/3, get/4, event/3, frame/2, next/2, grant/3, ping/1, close/1]).

-define(PATIENCE_MS, 10000).

%% A connection over {gen_tcp | ssl, socket}, on which each stream may get so many bytes until more are granted. With
%% `none` all is granted at once, and the client has no more to say.
connect({Transport, Socket}, Window) ->
    Client = #{transport => Transport, socket => Socket, bytes => <<>>, texts => #{}, window => Window},
    Preface = ~"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ok =
        case Window of
            none ->
                All = 16#7fffffff,
                Settings = cow_http2:settings(#{initial_window_size => All}),
                send(Client, [Preface, Settings, cow_http2:window_update(All - 65535)]);
            _ ->
                send(Client, [Preface, cow_http2:settings(#{initial_window_size => Window})])
        end,
    Client.

get(Client, Id, Path) ->
    get(Client, Id, Path, []).

%% The streams of a client have odd numbers, which grow.
get(Client, Id, Path, Headers) ->
    Pseudo = [{~":method", ~"GET"}, {~":scheme", ~"http"}, {~":authority", ~"localhost"}, {~":path", Path}],
    {Block, _} = cow_hpack:encode(Pseudo ++ Headers),
    send(Client, cow_http2:headers(Id, fin, Block)).

ping(Client) ->
    send(Client, cow_http2:ping(0)).

%% So many bytes more for a stream, and for all of them together.
grant(#{window := none}, _, _) ->
    ok;
grant(Client, Id, Bytes) ->
    send(Client, [cow_http2:window_update(Bytes), cow_http2:window_update(Id, Bytes)]).

close(#{transport := Transport, socket := Socket}) ->
    Transport:close(Socket).

%% The next event of a stream, as a list of its lines; `fin` when that has ended. Whatever comes is granted again.
event(Client, Id, Deadline) ->
    #{texts := Texts} = Client,
    case binary:split(maps:get(Id, Texts, <<>>), ~"\n\n") of
        [Event, Rest] ->
            {binary:split(Event, ~"\n", [global]), Client#{texts := Texts#{Id => Rest}}};
        [Text] ->
            case frame(Client, Deadline) of
                {{data, Id, IsFin, Data}, Later} ->
                    _ = byte_size(Data) > 0 andalso grant(Later, Id, byte_size(Data)),
                    Ended = case IsFin of fin -> ~"fin\n\n"; nofin -> <<>> end,
                    event(Later#{texts := Texts#{Id => <<Text/binary, Data/binary, Ended/binary>>}}, Id, Deadline);
                {Frame, Later} when is_tuple(Frame) ->
                    event(Later, Id, Deadline);
                {Other, _} ->
                    error({Other, Text})
            end
    end.

%% The next frame of those that pass.
next(Client, Passes) ->
    Deadline = erlang:monotonic_time(millisecond) + ?PATIENCE_MS,
    next_by(Client, Passes, Deadline).

next_by(Client, Passes, Deadline) ->
    {Frame, Later} = frame(Client, Deadline),
    case Passes(Frame) of
        true -> {Frame, Later};
        false when is_tuple(Frame) -> next_by(Later, Passes, Deadline)
    end.

%% The next frame, or `closed`, or `timeout`. Settings are acknowledged.
frame(#{transport := Transport, socket := Socket, bytes := Bytes} = Client, Deadline) ->
    case cow_http2:parse(Bytes) of
        {ok, {settings, _}, Rest} ->
            _ = send(Client, cow_http2:settings_ack()),
            frame(Client#{bytes := Rest}, Deadline);
        {ok, settings_ack, Rest} ->
            frame(Client#{bytes := Rest}, Deadline);
        {ok, Frame, Rest} ->
            {Frame, Client#{bytes := Rest}};
        more ->
            case Transport:recv(Socket, 0, max(0, Deadline - erlang:monotonic_time(millisecond))) of
                {ok, More} -> frame(Client#{bytes := <<Bytes/binary, More/binary>>}, Deadline);
                {error, timeout} -> {timeout, Client};
                {error, _} -> {closed, Client}
            end
    end.

send(#{transport := Transport, socket := Socket}, Data) ->
    Transport:send(Socket, Data).
