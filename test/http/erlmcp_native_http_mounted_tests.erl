%% Event streams on somebody else's listener, one without any timeout on sending, in HTTP/1.1 and HTTP/2, over TCP and
%% TLS: as long as the client reads, however slowly; and not longer.
-module(erlmcp_native_http_mounted_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [eventually/1, eventually/2]).
-import(erlmcp_native_http2_test_lib, [frame/2]).

-define(H2, erlmcp_native_http2_test_lib).
-define(LOOPBACK, {127, 0, 0, 1}).
-define(MB, 1048576).

mounted_test_() ->
    Up = fun() -> erlmcp_native_http_test_lib:up(#{linger_ms => 5000}) end,
    {foreach, Up, fun erlmcp_native_http_test_lib:down/1, [
        {timeout, 120, {Name, Test}}
     || {Name, Test} <- [
            {"HTTP/2: renewed before the connection is idle", fun renewed_before_it_is_idle/0},
            {"HTTP/2: on and on where sending counts", fun on_and_on_where_sending_counts/0},
            {"HTTP/2 that began as HTTP/1.1", fun upgraded/0},
            {"HTTP/1.1: on and on", fun on_and_on_in_http_1/0},
            {"HTTP/1.1 over TCP: never reads", fun() -> never_reads(http, tcp) end},
            {"HTTP/1.1 over TLS: never reads", fun() -> never_reads(http, tls) end},
            {"HTTP/2 over TCP: never reads", fun() -> never_reads(http2, tcp) end},
            {"HTTP/2 over TLS: never reads", fun() -> never_reads(http2, tls) end},
            {"HTTP/2: reads, and has no room", fun has_no_room/0},
            {"HTTP/1.1 over TCP: reads slowly", fun() -> reads_slowly(tcp) end},
            {"HTTP/1.1 over TLS: reads slowly", fun reads_slowly_over_tls/0},
            {"HTTP/2: reads slowly", fun reads_slowly_in_http_2/0}
        ]
    ]}.

%% Somebody else's listener with our routes, and this patience with clients.
mounted(Transport, Protocol, PatienceMs, Fun) ->
    mounted(Transport, [], Protocol, PatienceMs, Fun).

mounted(Transport, SocketOptions, Protocol, PatienceMs, Fun) ->
    Routes = [
        case Route of
            {Path, erlmcp_native_http_stream = Handler, Given} -> {Path, Handler, Given#{patience_ms := PatienceMs}};
            _ -> Route
        end
     || Route <- erlmcp_native_http:routes()
    ],
    %% Cowboy gives a client five seconds to shake hands, and five to ask: that is not what these tests are of.
    Options = maps:merge(#{request_timeout => 60000}, Protocol#{
        env => #{dispatch => cowboy_router:compile([{'_', Routes}])}
    }),
    Ranch = #{handshake_timeout => 60000},
    Sockets = [{port, 0}, {ip, ?LOOPBACK}, {send_timeout, infinity}, {send_timeout_close, false} | SocketOptions],
    {ok, _} =
        case Transport of
            tcp -> cowboy:start_clear(?MODULE, Ranch#{socket_opts => Sockets}, Options);
            tls -> cowboy:start_tls(?MODULE, Ranch#{socket_opts => Sockets ++ certificate()}, Options)
        end,
    try
        Fun()
    after
        ok = cowboy:stop_listener(?MODULE)
    end.

certificate() ->
    {ok, _} = application:ensure_all_started(ssl),
    Key = [{key, {namedCurve, secp256r1}}, {digest, sha256}],
    Chain = #{root => Key, intermediates => [], peer => Key},
    #{server_config := Server} = public_key:pkix_test_data(#{server_chain => Chain, client_chain => Chain}),
    Server ++ [{log_level, none}].

connect(tcp, _) ->
    {ok, Socket} = gen_tcp:connect(?LOOPBACK, ranch:get_port(?MODULE), [binary, {active, false}, {recbuf, 4096}]),
    {gen_tcp, Socket};
connect(tls, Protocol) ->
    Alpn = case Protocol of http2 -> ~"h2"; http -> ~"http/1.1" end,
    Options = [binary, {active, false}, {recbuf, 4096}, {verify, verify_none}, {alpn_advertised_protocols, [Alpn]}],
    {ok, Socket} = ssl:connect(?LOOPBACK, ranch:get_port(?MODULE), [{log_level, none} | Options]),
    {ssl, Socket}.

streams() ->
    maps:get(http_streams, erlmcp_native_self:read()).

connections() ->
    length(ranch:procs(?MODULE, connections)).

now_ms() ->
    erlang:monotonic_time(millisecond).

%% Snapshots of more than 200 KB, so that what is not read does not fit anywhere for long.
large_snapshots() ->
    [ok = erlmcp_queue_limits:record_enqueue(list_to_atom("r" ++ integer_to_list(N)), a) || N <- lists:seq(1, 300)],
    ok.

%% Cowboy would close the connection after ten seconds. What happens meanwhile is told all the same, in order and once.
renewed_before_it_is_idle() ->
    mounted(tcp, #{idle_timeout => 10000}, 30000, fun() ->
        Client = ?H2:connect(connect(tcp, http2), none),
        ok = ?H2:get(Client, 1, ~"/events"),
        {[~"retry: 2000"], Begun} = ?H2:event(Client, 1, now_ms() + 5000),
        {Id, Later} = id(Begun, 1),
        Told = [list_to_binary(["t", integer_to_list(N)]) || N <- lists:seq(1, 120)],
        Teller = spawn_link(fun() -> [tell(Role) || Role <- Told] end),
        {Heard, Renewals, Last} = hear(Later, 1, Id, length(Told), []),
        ?assertEqual(Told, Heard),
        ?assert(Renewals >= 2),
        unlink(Teller),
        ?H2:close(Last)
    end).

tell(Role) ->
    ok = erlmcp_native_http_test_lib:publish({breaker, binary_to_atom(Role), open}),
    receive
    after 170 -> ok
    end.

%% The number of the next event that has one.
id(Client, Stream) ->
    case ?H2:event(Client, Stream, now_ms() + 5000) of
        {[<<"id: ", Id/binary>> | _], Later} -> {Id, Later};
        {_, Later} -> id(Later, Stream)
    end.

%% The roles of so many events about breakers, and how often the client had to come again.
hear(Client, _, _, 0, Heard) ->
    {lists:reverse(Heard), 0, Client};
hear(Client, Stream, Id, Left, Heard) ->
    case ?H2:event(Client, Stream, now_ms() + 5000) of
        {[<<"id: ", New/binary>>, ~"event: breaker", <<"data: ", Json/binary>>], Later} ->
            hear(Later, Stream, New, Left - 1, [maps:get(~"role", json:decode(Json)) | Heard]);
        {[<<"id: ", New/binary>> | _], Later} ->
            hear(Later, Stream, New, Left, Heard);
        {[<<"retry: ", _/binary>>], Later} ->
            hear(Later, Stream, Id, Left, Heard);
        {[~"fin"], Later} ->
            ok = ?H2:get(Later, Stream + 2, ~"/events", [{~"last-event-id", Id}]),
            {All, Renewals, Last} = hear(Later, Stream + 2, Id, Left, Heard),
            {All, Renewals + 1, Last}
    end.

on_and_on_where_sending_counts() ->
    mounted(tcp, #{idle_timeout => 6000, reset_idle_timeout_on_send => true}, 30000, fun() ->
        Client = ?H2:connect(connect(tcp, http2), none),
        ok = ?H2:get(Client, 1, ~"/events"),
        ?H2:close(snapshots(Client, 1, 13))
    end).

snapshots(Client, _, 0) ->
    Client;
snapshots(Client, Stream, Left) ->
    case ?H2:event(Client, Stream, now_ms() + 5000) of
        {[_, ~"event: snapshot", _], Later} -> snapshots(Later, Stream, Left - 1);
        {[<<"retry: ", _/binary>>], Later} -> snapshots(Later, Stream, Left)
    end.

%% Its request is one of HTTP/1.1, its answer is not.
upgraded() ->
    mounted(tcp, #{idle_timeout => 10000}, 30000, fun() ->
        {gen_tcp, Socket} = connect(tcp, http2),
        ok = gen_tcp:send(Socket, [
            "GET /events HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n",
            "http2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
        ]),
        {101, _, Bytes} = erlmcp_native_http_test_lib:answer(Socket),
        Client = (?H2:connect({gen_tcp, Socket}, none))#{bytes := Bytes},
        {{headers, 1, nofin, head_fin, Block}, Later} = ?H2:next(Client, fun(F) -> element(1, F) =:= headers end),
        {Headers, _} = cow_hpack:decode(Block),
        ?assertNot(lists:keymember(~"connection", 1, Headers)),
        {[~"retry: 100"], Last} = until(~"retry: 100", Later, 1),
        {[~"fin"], _} = ?H2:event(Last, 1, now_ms() + 5000),
        ok = gen_tcp:close(Socket)
    end).

until(Line, Client, Stream) ->
    case ?H2:event(Client, Stream, now_ms() + 5000) of
        {[Line], _} = Found -> Found;
        {_, Later} -> until(Line, Later, Stream)
    end.

on_and_on_in_http_1() ->
    mounted(tcp, #{idle_timeout => 3000}, 30000, fun() ->
        {gen_tcp, Socket} = connect(tcp, http),
        ok = gen_tcp:send(Socket, "GET /events HTTP/1.1\r\nhost: a\r\n\r\n"),
        Begun = erlmcp_native_http_test_lib:opened(Socket, 5000),
        Last = lists:foldl(
            fun(_, Stream) -> element(2, erlmcp_native_http_test_lib:named(~"snapshot", Stream, 5000)) end,
            Begun,
            lists:seq(1, 8)
        ),
        erlmcp_native_http_test_lib:close(Last)
    end).

%% Nothing of it is left, though the client is still there; nothing is logged, and nothing grew meanwhile.
never_reads(Protocol, Transport) ->
    large_snapshots(),
    mounted(Transport, [{sndbuf, 65536} || Protocol =:= http2], #{idle_timeout => infinity}, 1000, fun() ->
        Ports = erlang:ports(),
        {{Socket, Used}, Lines} = erlmcp_native_otlp_test_lib:logged(fun() ->
            erlmcp_native_http_test_lib:memory(fun() ->
                {_, _} = Socket = connect(Transport, Protocol),
                ask(Protocol, Socket),
                eventually(fun() -> streams() =:= 1 end),
                [narrow() || Protocol =:= http],
                eventually(fun() -> streams() =:= 0 end, 60000),
                eventually(fun() -> connections() =:= 0 end, 10000),
                Socket
            end)
        end),
        ?assertEqual([], Lines),
        ?assert(Used < 20 * ?MB),
        %% That of the client.
        eventually(fun() -> length(erlang:ports() -- Ports) =:= 1 end),
        {Module, Handle} = Socket,
        Module:close(Handle)
    end).

%% The kernel keeps no more than it should, and what it counts for itself.
narrow() ->
    Own = fun(Port) ->
        erlang:port_info(Port, name) =:= {name, "tcp_inet"} andalso
            case {inet:sockname(Port), inet:peername(Port)} of
                {{ok, {_, Bound}}, {ok, _}} -> Bound =:= ranch:get_port(?MODULE);
                _ -> false
            end
    end,
    [Port] = lists:filter(Own, erlang:ports()),
    eventually(fun() ->
        {ok, [{sndbuf, Bytes}]} = inet:getopts(Port, [sndbuf]),
        Bytes =< 2 * 65536
    end).

ask(http, {Module, Socket}) ->
    ok = Module:send(Socket, "GET /events HTTP/1.1\r\nhost: a\r\n\r\n");
ask(http2, Connected) ->
    Client = ?H2:connect(Connected, none),
    ok = ?H2:get(Client, 1, ~"/events").

%% A client whose connection is alive and well, but for the stream, which it grants nothing: that is given up, and the
%% connection serves what else it asks.
has_no_room() ->
    large_snapshots(),
    mounted(tcp, #{idle_timeout => infinity}, 1000, fun() ->
        {Last, Used} = erlmcp_native_http_test_lib:memory(fun() ->
            Client = ?H2:connect(connect(tcp, http2), 1000),
            ok = ?H2:get(Client, 1, ~"/events"),
            eventually(fun() -> streams() =:= 1 end),
            reset(Client, 1, now_ms() + 60000)
        end),
        ?assert(Used < 20 * ?MB),
        ok = ?H2:get(Last, 3, ~"/health/live"),
        {Frame, _} = ?H2:next(Last, fun(F) -> element(1, F) =:= data end),
        ?assertEqual({data, 3, fin, ~"{\"status\":\"ok\"}"}, Frame),
        eventually(fun() -> streams() =:= 0 end),
        ?H2:close(Last)
    end).

%% It says something now and then.
reset(Client, Stream, Deadline) ->
    case frame(Client, min(Deadline, now_ms() + 100)) of
        {{rst_stream, Stream, _}, Later} ->
            Later;
        {timeout, Later} ->
            ?assert(now_ms() < Deadline),
            ok = ?H2:ping(Later),
            reset(Later, Stream, Deadline);
        {Frame, Later} when is_tuple(Frame) ->
            ?assertNotEqual(goaway, element(1, Frame)),
            reset(Later, Stream, Deadline)
    end.

%% It takes less than there is to have for more than three times as long as it may take nothing, which is long enough
%% for a machine to be busy with something else.
reads_slowly(Transport) ->
    large_snapshots(),
    mounted(Transport, #{}, 3000, fun() ->
        {Module, Socket} = connect(Transport, http),
        ok = Module:send(Socket, "GET /events HTTP/1.1\r\nhost: a\r\n\r\n"),
        eventually(fun() -> streams() =:= 1 end),
        Bytes = erlmcp_native_http_test_lib:read_slowly(Module, Socket, 10000),
        ?assert(Bytes < 10 * 250_000),
        ?assertEqual(1, streams()),
        ok = Module:close(Socket),
        eventually(fun() -> streams() =:= 0 end)
    end).

%% Erlang's own TLS would read 100 packets at a time, and then none for seconds.
reads_slowly_over_tls() ->
    ok = application:set_env(ssl, internal_active_n, 1),
    try
        reads_slowly(tls)
    after
        ok = application:unset_env(ssl, internal_active_n)
    end.

%% What it is behind is thrown away when there is much, and it has the newest when it comes again.
reads_slowly_in_http_2() ->
    large_snapshots(),
    mounted(tcp, #{}, 1000, fun() ->
        Client = ?H2:connect(connect(tcp, http2), 65535),
        ok = ?H2:get(Client, 1, ~"/events"),
        Streams = slowly(Client, 1, now_ms() + 15000),
        ?assert(Streams >= 2)
    end).

slowly(Client, Stream, Until) ->
    {Frame, Later} = frame(Client, now_ms() + 5000),
    case Frame of
        {data, _, nofin, Data} ->
            receive
            after 100 -> ok
            end,
            ok = ?H2:grant(Later, Stream, byte_size(Data)),
            case now_ms() >= Until of
                true -> ?H2:close(Later), Stream div 2 + 1;
                false -> slowly(Later, Stream, Until)
            end;
        _ when element(1, Frame) =:= rst_stream; Frame =:= {data, Stream, fin, <<>>} ->
            ok = ?H2:get(Later, Stream + 2, ~"/events"),
            slowly(Later, Stream + 2, Until);
        _ when is_tuple(Frame) ->
            slowly(Later, Stream, Until)
    end.
