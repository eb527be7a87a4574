-module(erlmcp_native_bench_http_client).
-moduledoc "A client that asks one thing after the other on one connection.".

-export([open/1, get/2]).

-doc "Connects to a port of this machine.".
-spec open(inet:port_number()) -> gen_tcp:socket().
open(Port) ->
    Options = [binary, {active, false}, {packet, http_bin}, {nodelay, true}],
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, Options),
    Socket.

-doc "Asks for a path, and returns the body of the answer, which must be good.".
-spec get(gen_tcp:socket(), binary()) -> binary().
get(Socket, Path) ->
    ok = gen_tcp:send(Socket, ["GET ", Path, " HTTP/1.1\r\nhost: localhost\r\n\r\n"]),
    {ok, {http_response, _, 200, _}} = gen_tcp:recv(Socket, 0),
    Length = length_of_body(Socket, undefined),
    ok = inet:setopts(Socket, [{packet, raw}]),
    {ok, Body} = gen_tcp:recv(Socket, Length),
    ok = inet:setopts(Socket, [{packet, http_bin}]),
    Body.

length_of_body(Socket, Length) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, {http_header, _, 'Content-Length', _, Value}} -> length_of_body(Socket, binary_to_integer(Value));
        {ok, {http_header, _, _, _, _}} -> length_of_body(Socket, Length);
        {ok, http_eoh} -> Length
    end.
