%% Many at once.
-module(erlmcp_native_http_load_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_test_lib, [with_listener/1, with_listener/2, connect/0, answer/2]).
-import(erlmcp_native_test_lib, [parallel/2, eventually/1]).

load_test_() ->
    with_listener([
        fun a_thousand_connections_at_once/0,
        fun a_thousand_requests_for_the_fullest/0,
        fun counting_goes_on/0,
        fun as_many_roles_and_components_as_there_can_be/0
    ]).

few_test_() ->
    with_listener(#{max_connections => 2}, [
        fun more_than_are_served_at_once_wait_for_their_turn/0
    ]).

%% All are open before the first asks; each asks and is answered.
a_thousand_connections_at_once() ->
    Processes = erlang:system_info(process_count),
    Count = min(1000, (max_files() - 200) div 2),
    ?assert(Count >= 400),
    Sockets = [{connect(), lists:nth(I rem 5 + 1, paths())} || I <- lists:seq(1, Count)],
    [ok = gen_tcp:send(Socket, ["GET ", Path, " HTTP/1.1\r\nhost: localhost\r\n\r\n"]) || {Socket, Path} <- Sockets],
    Answers = [answer(Socket, 30000) || {Socket, _} <- Sockets],
    ?assertEqual([200], lists:uniq([Status || {Status, _, _} <- Answers])),
    ?assertEqual(
        [binary_to_integer(Length) || {_, #{~"content-length" := Length}, _} <- Answers],
        [byte_size(Body) || {_, _, Body} <- Answers]
    ),
    ?assertEqual(Count, length(Answers)),
    [ok = gen_tcp:close(Socket) || {Socket, _} <- Sockets],
    eventually(fun() -> erlang:system_info(process_count) =< Processes end).

paths() ->
    ["/api/summary", "/api/queues", "/metrics", "/health/ready", "/api/alerts"].

%% The most sockets that there can be in this VM.
max_files() ->
    lists:max([Max || Info <- erlang:system_info(check_io), {max_fds, Max} <- Info]).

a_thousand_requests_for_the_fullest() ->
    Owners = erlmcp_overload_test_lib:idles(20000),
    [ok = erlmcp_queue_limits:record_enqueue(r, Owner) || Owner <- Owners],
    Answers = parallel(100, fun(_) ->
        [
            begin
                {200, _, Body} = erlmcp_native_http_test_lib:fetch("/api/queues?top=3"),
                length(maps:get(~"queues", json:decode(Body)))
            end
         || _ <- lists:seq(1, 10)
        ]
    end),
    ?assertEqual([lists:duplicate(10, 3)], lists:uniq(Answers)),
    erlmcp_overload_test_lib:end_all(Owners).

%% What the endpoints say is what was counted, while they are asked all the time.
counting_goes_on() ->
    Results = parallel(8, fun
        (I) when I =< 4 ->
            [ok = erlmcp_queue_limits:record_enqueue(r, self()) || _ <- lists:seq(1, 50000)],
            Depth = erlmcp_queue_limits:get_queue_depth(r, self()),
            [ok = erlmcp_queue_limits:record_dequeue(r, self()) || _ <- lists:seq(1, 50000)],
            Depth;
        (_) ->
            Depths = [depth(erlmcp_native_http_test_lib:json("/api/summary")) || _ <- lists:seq(1, 100)],
            ?assertEqual([], [Depth || Depth <- Depths, Depth < 0 orelse Depth > 200000]),
            asked
    end),
    ?assertEqual([50000, 50000, 50000, 50000, asked, asked, asked, asked], Results),
    #{~"roles" := Roles} = erlmcp_native_http_test_lib:json("/api/summary"),
    ?assertMatch([#{~"enqueued" := 200000, ~"depth" := 0}], [Row || #{~"role" := ~"r"} = Row <- Roles]).

%% Again and again on one connection, which is not killed for what it holds.
as_many_roles_and_components_as_there_can_be() ->
    Name = fun(N) -> list_to_atom(lists:duplicate(50, $x) ++ integer_to_list(N)) end,
    [ok = erlmcp_queue_limits:record_enqueue(Name(N), a) || N <- lists:seq(1, 1024 - 6)],
    [ok = erlmcp_control_plane:register_component(Name(N), fun(_) -> ok end) || N <- lists:seq(1, 1024)],
    Socket = connect(),
    Sizes = [
        begin
            ok = gen_tcp:send(Socket, ["GET ", Path, " HTTP/1.1\r\nhost: localhost\r\n\r\n"]),
            {200, _, Body} = answer(Socket, 30000),
            byte_size(Body)
        end
     || _ <- lists:seq(1, 10), Path <- ["/api/summary", "/metrics", "/api/queues?top=1000", "/api/control"]
    ],
    ?assert(lists:max(Sizes) > 1000000),
    #{~"roles" := Roles, ~"control" := #{~"components" := 1024}} = erlmcp_native_http_test_lib:json("/api/summary"),
    #{~"by_component" := Components} = erlmcp_native_http_test_lib:json("/api/control"),
    ?assertEqual({1024, 1024}, {length(Roles), map_size(Components)}),
    ok = gen_tcp:close(Socket),
    Stream = erlmcp_native_http_test_lib:open(),
    {#{~"data" := #{~"roles" := Streamed}}, _} = erlmcp_native_http_test_lib:named(~"snapshot", Stream, 5000),
    ?assertEqual(1024, length(Streamed)),
    erlmcp_native_http_test_lib:close(Stream).

depth(#{~"roles" := Roles}) ->
    lists:sum([Depth || #{~"role" := ~"r", ~"depth" := Depth} <- Roles]).

more_than_are_served_at_once_wait_for_their_turn() ->
    Held = [connect() || _ <- lists:seq(1, 10)],
    Late = connect(),
    ok = gen_tcp:send(Late, "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    ?assertEqual({error, timeout}, gen_tcp:recv(Late, 0, 300)),
    ?assert(maps:get(active_connections, ranch:info(erlmcp_native_http)) =< 3),
    [gen_tcp:close(Socket) || Socket <- Held],
    ?assertMatch({200, _, _}, answer(Late, 10000)),
    ok = gen_tcp:close(Late).
