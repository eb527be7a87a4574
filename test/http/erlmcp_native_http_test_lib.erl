%% What the suites of the HTTP endpoints share: a listener with all services, and clients on bare sockets.
-module(erlmcp_native_http_test_lib).

-export([with_listener/1, with_listener/2, up/1, down/1, serve/2, start_hub/1, stop_hub/0, restart/1]).
-export([fetch/1, fetch/2, head/1, json/1, request/2, raw/1, raw/2]).
-export([connect/0, connect/1, send/2, answer/1, answer/2, closed/1, trickle/2]).
-export([open/0, open/1, open/2, opened/2, event/2, named/3, close/1, read_slowly/3]).
-export([publish/1, memory/1, settled_atoms/1]).

-define(PATIENCE_MS, 10000).

%% Tells all streams, as the overload monitor's handler does.
publish({breaker, Role, Action}) ->
    {ok, _} = erlmcp_native_events_handler:handle_role(Role, Action, erlmcp_native_events),
    ok.

with_listener(Tests) ->
    with_listener(#{}, Tests).

with_listener(Options, Tests) ->
    {foreach, fun() -> up(Options) end, fun down/1, [
        {atom_to_list(Name), {timeout, 60, Test}}
     || Test <- Tests, {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

%% All services, the hub and a listener on a port that is free. No check runs by itself.
up(Options) ->
    {ok, _} = application:ensure_all_started(cowboy),
    _ = application:load(erlmcp_native),
    Level = erlmcp_overload_test_lib:up(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    {ok, Plane} = erlmcp_control_plane:start_link(),
    erlmcp_native_self:start(),
    {ok, Scan} = erlmcp_native_scan:start_link(),
    {ok, Listener} = erlmcp_native_http:start_link(maps:merge(#{port => 0}, maps:remove(linger_ms, Options))),
    [unlink(Pid) || Pid <- [Plane, Scan, Listener]],
    start_hub(maps:get(linger_ms, Options, 0)),
    {Level, Listener}.

down({Level, Listener}) ->
    is_process_alive(Listener) andalso gen_server:stop(Listener, shutdown, ?PATIENCE_MS),
    stop_hub(),
    [gen_server:stop(Name) || Name <- [erlmcp_native_scan, erlmcp_control_plane], whereis(Name) =/= undefined],
    erlmcp_overload_test_lib:down(Level).

start_hub(LingerMs) ->
    {ok, Hub} = erlmcp_native_events:start_link(LingerMs),
    unlink(Hub),
    Hub.

stop_hub() ->
    case whereis(erlmcp_native_events) of
        undefined -> ok;
        Hub -> gen_server:stop(Hub)
    end.

restart(erlmcp_overload_monitor) ->
    erlmcp_overload_test_lib:stop(),
    erlmcp_overload_test_lib:start([{handlers, []}]).

%% While Fun runs, these routes are served as erlmcp_native_http serves its own.
serve(Routes, Fun) ->
    Protocol = (ranch:get_protocol_options(erlmcp_native_http))#{
        env => #{dispatch => cowboy_router:compile([{'_', Routes}])}
    },
    Before = ranch:get_protocol_options(erlmcp_native_http),
    ok = ranch:set_protocol_options(erlmcp_native_http, Protocol),
    try
        Fun()
    after
        ok = ranch:set_protocol_options(erlmcp_native_http, Before)
    end.

fetch(Path) ->
    fetch(Path, []).

fetch(Path, Headers) ->
    request("GET " ++ Path, Headers).

head(Path) ->
    request("HEAD " ++ Path, []).

json(Path) ->
    {200, #{~"content-type" := ~"application/json"}, Body} = fetch(Path),
    json:decode(Body).

request(MethodAndPath, Headers) ->
    Lines = [[H, "\r\n"] || H <- Headers],
    raw([MethodAndPath, " HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n", Lines, "\r\n"]).

%% A connection of its own for these bytes; the answer, or `closed`.
raw(Bytes) ->
    raw(Bytes, ?PATIENCE_MS).

raw(Bytes, Ms) ->
    Socket = connect(),
    _ = gen_tcp:send(Socket, Bytes),
    Answer = answer(Socket, Ms),
    ok = gen_tcp:close(Socket),
    Answer.

connect() ->
    connect([]).

connect(Options) ->
    Port = erlmcp_native_http:port(),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false} | Options], ?PATIENCE_MS),
    Socket.

send(Socket, Bytes) ->
    gen_tcp:send(Socket, Bytes).

%% Sends piece after piece until the other side does not want any more.
trickle(Socket, Pieces) ->
    lists:foldl(
        fun
            (Piece, ok) -> gen_tcp:send(Socket, Piece);
            (_, Error) -> Error
        end,
        ok,
        Pieces
    ).

answer(Socket) ->
    answer(Socket, ?PATIENCE_MS).

answer(Socket, Ms) ->
    case head(Socket, <<>>, now_ms() + Ms) of
        closed ->
            closed;
        {Status, #{~"content-length" := Length} = Headers, Start} ->
            {Status, Headers, body(Socket, Start, binary_to_integer(Length))};
        {Status, Headers, Start} ->
            {Status, Headers, Start}
    end.

head(Socket, Seen, Deadline) ->
    case binary:split(Seen, ~"\r\n\r\n") of
        [Head, Start] ->
            [<<"HTTP/1.1 ", Status:3/binary, _/binary>> | Lines] = binary:split(Head, ~"\r\n", [global]),
            Headers = #{string:lowercase(Name) => Value || Line <- Lines, [Name, Value] <- [binary:split(Line, ~": ")]},
            {binary_to_integer(Status), Headers, Start};
        [_] ->
            case gen_tcp:recv(Socket, 0, max(1, Deadline - now_ms())) of
                {ok, More} -> head(Socket, <<Seen/binary, More/binary>>, Deadline);
                {error, Reason} when Reason =:= closed; Reason =:= econnreset -> closed;
                {error, timeout} -> error({no_answer, Seen})
            end
    end.

%% To a HEAD there is none.
body(_, Start, Length) when byte_size(Start) >= Length ->
    Start;
body(Socket, Start, Length) ->
    case gen_tcp:recv(Socket, 0, ?PATIENCE_MS) of
        {ok, More} -> body(Socket, <<Start/binary, More/binary>>, Length);
        {error, closed} -> Start
    end.

%% The other side closes; what it sends before does not matter.
closed(Socket) ->
    case gen_tcp:recv(Socket, 0, 30000) of
        {ok, _} -> closed(Socket);
        {error, Reason} when Reason =:= closed; Reason =:= econnreset -> ok;
        {error, Reason} -> Reason
    end.

%% An event stream, without the `retry` that it begins with: {Socket, bytes that were not read as chunks, text that
%% was not read as events}.
open() ->
    open([]).

open(Headers) ->
    open("/events", Headers).

open(Path, Headers) ->
    Socket = connect(),
    Lines = [[H, "\r\n"] || H <- Headers],
    ok = gen_tcp:send(Socket, ["GET ", Path, " HTTP/1.1\r\nhost: localhost\r\n", Lines, "\r\n"]),
    opened(Socket, ?PATIENCE_MS).

opened(Socket, Ms) ->
    {200, #{~"content-type" := ~"text/event-stream"}, Start} = answer(Socket, Ms),
    {#{~"retry" := ~"2000"}, Stream} = event({Socket, Start, <<>>}, Ms),
    Stream.

%% The next event as a map of its lines, with its data decoded.
event(Stream, Ms) ->
    event_by(Stream, now_ms() + Ms).

event_by({Socket, Bytes, Text}, Deadline) ->
    case binary:split(Text, ~"\n\n") of
        [Event, Rest] ->
            {fields(Event), {Socket, Bytes, Rest}};
        [_] ->
            case chunk(Bytes) of
                {Chunk, More} ->
                    event_by({Socket, More, <<Text/binary, Chunk/binary>>}, Deadline);
                more ->
                    case gen_tcp:recv(Socket, 0, max(1, Deadline - now_ms())) of
                        {ok, More} -> event_by({Socket, <<Bytes/binary, More/binary>>, Text}, Deadline);
                        {error, Reason} -> Reason
                    end
            end
    end.

chunk(Bytes) ->
    maybe
        [Hex, Rest] ?= binary:split(Bytes, ~"\r\n"),
        Size = binary_to_integer(Hex, 16),
        true ?= byte_size(Rest) >= Size + 2,
        <<Chunk:Size/binary, "\r\n", More/binary>> = Rest,
        {Chunk, More}
    else
        _ -> more
    end.

fields(Event) ->
    Lines = binary:split(Event, ~"\n", [global]),
    Fields = #{Name => Value || Line <- Lines, [Name, Value] <- [binary:split(Line, ~": ")]},
    case Fields of
        #{~"data" := Data, ~"id" := Id} -> Fields#{~"data" := json:decode(Data), ~"id" := binary_to_integer(Id)};
        #{} -> Fields
    end.

%% The next event of this name; others are passed over.
named(Name, Stream, Ms) ->
    named_by(Name, Stream, now_ms() + Ms).

named_by(Name, Stream, Deadline) ->
    case event_by(Stream, Deadline) of
        {#{~"event" := Name} = Event, Rest} -> {Event, Rest};
        {_, Rest} -> named_by(Name, Rest, Deadline);
        Reason -> error({Name, Reason})
    end.

close({Socket, _, _}) ->
    gen_tcp:close(Socket).

%% Takes 80 KB a second for so long, and says how many bytes that were.
read_slowly(Transport, Socket, Ms) ->
    read_slowly(Transport, Socket, now_ms() + Ms, 0).

read_slowly(Transport, Socket, Until, Bytes) ->
    {ok, Some} = Transport:recv(Socket, 8192, 5000),
    receive
    after 100 -> ok
    end,
    case now_ms() >= Until of
        true -> Bytes + byte_size(Some);
        false -> read_slowly(Transport, Socket, Until, Bytes + byte_size(Some))
    end.

%% The most that processes and binaries took while Fun ran, above what they took before. Sampled every few milliseconds.
memory(Fun) ->
    [erlang:garbage_collect(Pid) || Pid <- processes()],
    Before = used(),
    Self = self(),
    {Watcher, Monitor} = spawn_monitor(fun() -> watch(Self, Before) end),
    Result = Fun(),
    Watcher ! {stop, Self},
    receive
        {'DOWN', Monitor, process, _, {most, Most}} -> {Result, Most - Before}
    end.

watch(Pid, Most) ->
    receive
        {stop, Pid} -> exit({most, max(Most, used())})
    after 5 -> watch(Pid, max(Most, used()))
    end.

used() ->
    lists:sum([Bytes || {_, Bytes} <- erlang:memory([processes, binary])]).

%% The number of atoms that Fun adds when it is run again, with all that it needs loaded.
settled_atoms(Fun) ->
    Fun(),
    Before = erlang:system_info(atom_count),
    Fun(),
    erlang:system_info(atom_count) - Before.

now_ms() ->
    erlang:monotonic_time(millisecond).
