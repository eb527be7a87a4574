-module(erlmcp_native_soak_http).
-moduledoc "As little of an HTTP client as is needed.".

-export([open/1, get/1]).

-define(PATIENCE_MS, 5000).

-doc "Asks for a path, and returns the socket that the answer comes from.".
-spec open(iodata()) -> {ok, gen_tcp:socket()} | {error, term()}.
open(Path) ->
    maybe
        Port = erlmcp_native_soak_node:port(),
        {ok, Socket} ?= gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}], ?PATIENCE_MS),
        ok ?= gen_tcp:send(Socket, ["GET ", Path, " HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"]),
        {ok, Socket}
    end.

-doc "Returns the status of the answer, which is read to its end, and its length.".
-spec get(iodata()) -> {ok, Status :: binary(), Bytes :: non_neg_integer()} | {error, term()}.
get(Path) ->
    maybe
        {ok, Socket} ?= open(Path),
        Answer = all(Socket, []),
        ok = gen_tcp:close(Socket),
        {ok, <<"HTTP/1.1 ", Status:3/binary, _/binary>> = Bytes} ?= Answer,
        {ok, Status, byte_size(Bytes)}
    else
        {ok, Other} -> {error, Other};
        {error, _} = Error -> Error
    end.

all(Socket, Parts) ->
    case gen_tcp:recv(Socket, 0, ?PATIENCE_MS) of
        {ok, Part} -> all(Socket, [Part | Parts]);
        {error, closed} -> {ok, iolist_to_binary(lists:reverse(Parts))};
        {error, _} = Error -> Error
    end.
