%% A stand-in for an OpenTelemetry endpoint, which does what a test tells it to, and pushers that are started to it.
-module(erlmcp_native_otlp_test_lib).

-export([listen/1, listen/2, listen_tls/3, close/1, url/1, free_port/0]).
-export([request/1, answer/3, answer/4, write/2, forever/2, taking/1, answering/1, hang/1]).
-export([start/2, stop/1, with_pusher/3, counted/1, next_request/1, logged/1, logged/2, log/2]).

%% An endpoint on loopback. Each connection gets a process that runs the fun with the socket and the test's process.
listen(Fun) ->
    listen(0, Fun).

listen(Port, Fun) ->
    Options = [binary, {active, false}, {reuseaddr, true}, {ip, {127, 0, 0, 1}}, {backlog, 64}],
    {ok, Listener} = gen_tcp:listen(Port, Options),
    {ok, Bound} = inet:port(Listener),
    serve(Bound, Listener, fun() -> accept(Listener) end, Fun).

listen_tls(Ip, Options, Fun) ->
    {ok, _} = application:ensure_all_started(ssl),
    {ok, Listener} = ssl:listen(0, [binary, {active, false}, {reuseaddr, true}, {ip, Ip}, {log_level, none} | Options]),
    {ok, {_, Bound}} = ssl:sockname(Listener),
    serve(Bound, Listener, fun() -> accept_tls(Listener) end, Fun).

serve(Port, Listener, Accept, Fun) ->
    Test = self(),
    Server = spawn_link(fun() ->
        process_flag(trap_exit, true),
        receive
            serve -> loop(Accept, Fun, Test)
        end
    end),
    ok =
        case is_port(Listener) of
            true -> gen_tcp:controlling_process(Listener, Server);
            false -> ok
        end,
    Server ! serve,
    #{port => Port, server => Server, listener => Listener}.

loop(Accept, Fun, Test) ->
    case Accept() of
        {ok, Socket} ->
            Connection = spawn_link(fun() ->
                receive
                    go -> Fun(Socket, Test)
                end
            end),
            ok = hand_over(Socket, Connection),
            Connection ! go,
            loop(Accept, Fun, Test);
        {error, closed} ->
            ok;
        {error, _} ->
            loop(Accept, Fun, Test)
    end.

accept(Listener) ->
    case gen_tcp:accept(Listener) of
        {ok, Socket} -> {ok, {gen_tcp, Socket}};
        Error -> Error
    end.

accept_tls(Listener) ->
    maybe
        {ok, Socket} ?= ssl:transport_accept(Listener),
        case ssl:handshake(Socket, 5000) of
            {ok, Secure} -> {ok, {ssl, Secure}};
            {error, _} -> {error, handshake}
        end
    end.

hand_over({gen_tcp, Socket}, To) -> gen_tcp:controlling_process(Socket, To);
hand_over({ssl, Socket}, To) -> ssl:controlling_process(Socket, To).

%% Ends it and all its connections.
close(#{server := Server, listener := Listener}) ->
    case is_port(Listener) of
        true -> ok = gen_tcp:close(Listener);
        false -> ok = ssl:close(Listener)
    end,
    Monitor = monitor(process, Server),
    unlink(Server),
    exit(Server, kill),
    receive
        {'DOWN', Monitor, process, Server, _} -> ok
    end.

url(#{port := Port}) ->
    <<"http://127.0.0.1:", (integer_to_binary(Port))/binary, "/v1/metrics">>;
url(Port) ->
    url(#{port => Port}).

%% A port that nobody listens on.
free_port() ->
    #{port := Port} = Endpoint = listen(fun(_, _) -> ok end),
    close(Endpoint),
    Port.

%% Reads a request, whole, and unpacks it.
request({Transport, Socket} = Connection) ->
    ok = setopts(Connection, [{packet, http_bin}]),
    {ok, {http_request, Method, {abs_path, Path}, {1, 1}}} = Transport:recv(Socket, 0, 10000),
    Headers = headers(Connection),
    ok = setopts(Connection, [{packet, raw}]),
    {ok, Body} = Transport:recv(Socket, binary_to_integer(maps:get(~"content-length", Headers)), 10000),
    Json =
        case Headers of
            #{~"content-encoding" := ~"gzip"} -> zlib:gunzip(Body);
            #{} -> Body
        end,
    #{method => Method, path => Path, headers => Headers, body => Body, json => Json}.

headers({Transport, Socket} = Connection) ->
    case Transport:recv(Socket, 0, 10000) of
        {ok, {http_header, _, _, Name, Value}} -> (headers(Connection))#{string:lowercase(Name) => Value};
        {ok, http_eoh} -> #{}
    end.

setopts({gen_tcp, Socket}, Options) -> inet:setopts(Socket, Options);
setopts({ssl, Socket}, Options) -> ssl:setopts(Socket, Options).

answer(Connection, Status, Body) ->
    answer(Connection, Status, "", Body).

answer(Connection, Status, Headers, Body) ->
    write(Connection, [
        io_lib:format("HTTP/1.1 ~b Reason\r\n~tscontent-length: ~b\r\n\r\n", [Status, Headers, iolist_size(Body)]), Body
    ]).

write({Transport, Socket}, Data) ->
    _ = Transport:send(Socket, Data),
    ok.

%% Until the other side hangs up; the test is told how many bytes went.
forever(Connection, Data) ->
    forever(Connection, Data, 0).

forever({Transport, Socket} = Connection, Data, Bytes) ->
    case Transport:send(Socket, Data) of
        ok -> forever(Connection, Data, Bytes + iolist_size(Data));
        {error, _} -> Bytes
    end.

%% Takes everything, and shows it to the test.
taking(_) ->
    answering([{200, "", ~"{\"partialSuccess\":{}}"}]).

%% One answer for each request in turn; the last one again and again.
answering(Answers) ->
    Left = counters:new(1, []),
    fun(Connection, Test) ->
        Request = request(Connection),
        Nth = counters:get(Left, 1) + 1,
        counters:put(Left, 1, Nth),
        {Status, Headers, Body} = lists:nth(min(Nth, length(Answers)), Answers),
        Seen = #{
            status => Status,
            at_ms => erlang:monotonic_time(millisecond),
            system_ms => erlang:system_time(millisecond)
        },
        Test ! {request, self(), maps:merge(Request, Seen)},
        answer(Connection, Status, Headers, Body)
    end.

%% Until the other side hangs up.
hang({gen_tcp, Socket}) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    case gen_tcp:recv(Socket, 0) of
        {ok, _} -> hang({gen_tcp, Socket});
        {error, _} -> ok
    end;
hang({ssl, Socket}) ->
    case ssl:recv(Socket, 0) of
        {ok, _} -> hang({ssl, Socket});
        {error, _} -> ok
    end.

%% A pusher as often as it may be, to this URL.
start(Url, Options) ->
    ok = erlmcp_native_self:start(),
    {ok, Pid} = erlmcp_native_otlp:start_link(maps:merge(#{endpoint => Url, interval_ms => 100}, Options)),
    unlink(Pid),
    Pid.

stop(Pid) ->
    ok = gen_server:stop(Pid).

with_pusher(Url, Options, Fun) ->
    Pid = start(Url, Options),
    try
        Fun(Pid)
    after
        is_process_alive(Pid) andalso stop(Pid)
    end.

counted(Name) ->
    maps:get(Name, erlmcp_native_self:read(), 0).

next_request(Ms) ->
    receive
        {request, _, Request} -> Request
    after Ms -> error({no_request_within_ms, Ms, erlmcp_native_self:read()})
    end.

logged(Fun) ->
    logged(notice, Fun).

%% What the fun returns, and what was logged meanwhile, in order, as {Level, Text}; nothing is shown.
logged(From, Fun) ->
    Handlers = [{Id, Level} || #{id := Id, level := Level} <- logger:get_handler_config()],
    [ok = logger:set_handler_config(Id, level, none) || {Id, _} <- Handlers],
    #{level := Before} = logger:get_primary_config(),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()}}),
    ok = logger:set_primary_config(level, From),
    try Fun() of
        Result ->
            true = erlmcp_native_log:flush(5000),
            {Result, lines()}
    after
        ok = logger:set_primary_config(level, Before),
        ok = logger:remove_handler(?MODULE),
        [ok = logger:set_handler_config(Id, level, Level) || {Id, Level} <- Handlers]
    end.

lines() ->
    receive
        {?MODULE, Level, Text} -> [{Level, Text} | lines()]
    after 0 -> []
    end.

log(#{level := Level} = Event, #{config := #{to := Test}}) ->
    Text = unicode:characters_to_list(logger_formatter:format(Event, #{single_line => true, template => [msg]})),
    Test ! {?MODULE, Level, Text},
    ok.
