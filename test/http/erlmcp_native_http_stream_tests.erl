%% Event streams over sockets: what they say, how many there are, and clients that are slow or do not read at all.
-module(erlmcp_native_http_stream_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_test_lib, [with_listener/2, open/0, open/1, open/2, event/2, named/3, close/1, fetch/1]).
-import(erlmcp_native_test_lib, [eventually/1, eventually/2]).
-import(erlmcp_overload_test_lib, [fill/3]).

-define(MS, 5000).
-define(HUB, erlmcp_native_events).

stream_test_() ->
    with_listener(#{max_streams => 3, linger_ms => 5000}, [
        fun it_begins_with_a_snapshot/0,
        fun it_goes_on/0,
        fun its_alerts_are_those_of_the_history/0,
        fun breakers_are_told/0,
        fun a_client_comes_again/0,
        fun a_client_was_too_slow/0,
        fun streams_are_counted_and_limited/0,
        fun services_come_and_go/0,
        fun the_hub_dies/0,
        fun a_stream_in_http_1_0/0,
        fun a_client_that_takes_gzip_reads_a_tenth/0,
        fun changes_make_the_snapshot_that_others_get/0,
        fun a_stream_of_changes_that_begins_anew_has_a_snapshot_first/0,
        fun the_listener_stops/0,
        fun what_a_client_sends_on_is_not_kept/0
    ]).

many_test_() ->
    with_listener(#{max_streams => 200, send_timeout_ms => 10000}, [
        fun two_hundred_streams_and_one_that_does_not_read/0
    ]).

slow_test_() ->
    with_listener(#{send_timeout_ms => 3000}, [
        fun a_client_that_reads_slowly_is_not_closed/0
    ]).

streams() ->
    maps:get(http_streams, erlmcp_native_self:read()).

it_begins_with_a_snapshot() ->
    ok = erlmcp_queue_limits:set_limit(r, 10),
    fill(r, a, 9),
    fill(session, self(), 20),
    Stream = open(),
    {#{~"event" := ~"snapshot", ~"id" := Id, ~"data" := Data}, _} = event(Stream, ?MS),
    ?assert(is_integer(Id)),
    Summary = erlmcp_native_http_test_lib:json("/api/summary"),
    ?assertEqual(lists:sort([~"fullest" | maps:keys(Summary)]), lists:sort(maps:keys(Data))),
    Rows = fun(Key, Of) -> [maps:remove(~"stalled_ms", Row) || Row <- maps:get(Key, Of)] end,
    ?assertEqual(Rows(~"queues", erlmcp_native_http_test_lib:json("/api/queues")), Rows(~"fullest", Data)),
    ?assertMatch(
        [#{~"depth" := 9, ~"level" := ~"critical"}], [Row || #{~"role" := ~"r"} = Row <- maps:get(~"roles", Data)]
    ),
    close(Stream).

it_goes_on() ->
    Stream = open(),
    Times = times(Stream, 4),
    close(Stream),
    Gaps = [B - A || {A, B} <- lists:zip(lists:droplast(Times), tl(Times))],
    ?assertEqual([], [Gap || Gap <- Gaps, Gap < 500]).

times(_, 0) ->
    [];
times(Stream, N) ->
    {#{~"data" := #{~"at_ms" := AtMs}}, Rest} = named(~"snapshot", Stream, ?MS),
    [AtMs | times(Rest, N - 1)].

%% Of 50 roles that are all in use. In HTTP/1.0 there are no chunks in what is compressed.
a_client_that_takes_gzip_reads_a_tenth() ->
    [fill(list_to_atom("role_" ++ integer_to_list(N)), list_to_atom("owner_" ++ integer_to_list(N)), N)
     || N <- lists:seq(1, 50)],
    Socket = erlmcp_native_http_test_lib:connect(),
    Head = "host: localhost\r\naccept-encoding: gzip\r\n\r\n",
    ok = gen_tcp:send(Socket, ["GET /events HTTP/1.0\r\n" | Head]),
    {200, #{~"content-encoding" := ~"gzip"}, Start} = erlmcp_native_http_test_lib:answer(Socket),
    Z = zlib:open(),
    ok = zlib:inflateInit(Z, 31),
    {Read, Text} = inflated(Socket, Z, Start, {0, <<>>}),
    ok = gen_tcp:close(Socket),
    %% The third is there as soon as it was sent, and all that came before it.
    [~"retry: 2000", First | _] = binary:split(Text, ~"\n\n", [global]),
    [_, _, <<"data: ", Data/binary>>] = binary:split(First, ~"\n", [global]),
    ?assert(length(maps:get(~"roles", json:decode(Data))) >= 50),
    ?assert(byte_size(Text) > 100000),
    ?assert(Read < byte_size(Text) div 10),
    %% Answers as well, if they are not small.
    Summary = erlmcp_native_http_test_lib:raw(["GET /api/summary HTTP/1.1\r\nconnection: close\r\n" | Head]),
    {200, #{~"content-encoding" := ~"gzip"}, Packed} = Summary,
    ?assertMatch(#{~"roles" := [_ | _]}, json:decode(zlib:gunzip(Packed))),
    Live = erlmcp_native_http_test_lib:raw(["GET /health/live HTTP/1.1\r\nconnection: close\r\n" | Head]),
    ?assertMatch({200, _, ~'{"status":"ok"}'}, Live).

changes_make_the_snapshot_that_others_get() ->
    Whole = open(),
    Changing = open("/events?changes", []),
    {#{~"event" := ~"snapshot", ~"data" := Begun}, Next} = event(Changing, ?MS),
    fill(r, a, 7),
    Snapshots = #{map_get(~"at_ms", Data) => Data || Data <- datas(Whole, ~"snapshot", 5)},
    Changes = datas(Next, ~"change", 3),
    Made = tl(lists:reverse(lists:foldl(
        fun(Change, [Was | _] = All) -> [erlmcp_native_http_change_tests:changed(Was, Change) | All] end,
        [Begun],
        Changes
    ))),
    Both = [{Is, map_get(AtMs, Snapshots)} || #{~"at_ms" := AtMs} = Is <- Made, is_map_key(AtMs, Snapshots)],
    ?assert(length(Both) >= 2),
    [?assertEqual(Got, Is) || {Is, Got} <- Both],
    ?assertMatch([#{~"depth" := 7}], [Row || #{~"role" := ~"r"} = Row <- maps:get(~"roles", lists:last(Made))]),
    Sizes = [byte_size(iolist_to_binary(json:encode(Map))) || Map <- [lists:last(Changes), Begun]],
    ?assert(hd(Sizes) < lists:last(Sizes) div 2),
    close(Whole),
    close(Changing).

datas(_, _, 0) ->
    [];
datas(Stream, Name, N) ->
    {#{~"data" := Data}, Rest} = named(Name, Stream, ?MS),
    [Data | datas(Rest, Name, N - 1)].

a_stream_of_changes_that_begins_anew_has_a_snapshot_first() ->
    Other = open(),
    {#{~"id" := Id}, Stream} = event(open("/events?x=%ff&changes", []), ?MS),
    {#{}, _} = named(~"change", Stream, ?MS),
    close(Stream),
    Again = open("/events?changes", [["last-event-id: ", integer_to_binary(Id)]]),
    ?assertMatch({#{~"event" := ~"snapshot"}, _}, event(Again, ?MS)),
    close(Again),
    close(Other).

inflated(Socket, Z, Bytes, {Read, Text}) ->
    Now = <<Text/binary, (iolist_to_binary(zlib:inflate(Z, Bytes)))/binary>>,
    case binary:matches(Now, ~"event: snapshot") of
        [_, _, _ | _] ->
            {Read + byte_size(Bytes), Now};
        _ ->
            {ok, More} = gen_tcp:recv(Socket, 0, ?MS),
            inflated(Socket, Z, More, {Read + byte_size(Bytes), Now})
    end.

its_alerts_are_those_of_the_history() ->
    ok = erlmcp_queue_limits:set_limit(r, 10),
    {First, Begun} = event(open(), ?MS),
    fill(r, self(), 8),
    fill(r, a, 10),
    {Alerts, Rest} = alerts(Begun, 4),
    ?assertEqual(
        lists:reverse(maps:get(~"alerts", erlmcp_native_http_test_lib:json("/api/alerts"))),
        [maps:remove(~"what", Data) || #{~"data" := #{~"what" := ~"raised"} = Data} <- Alerts]
    ),
    Ids = [Id || #{~"id" := Id} <- [First | Alerts]],
    ?assertEqual(lists:usort(Ids), Ids),
    erlmcp_overload_test_lib:drain(r, self(), 8),
    {[#{~"data" := #{~"what" := ~"cleared", ~"level" := ~"warning", ~"depth" := 7}}], _} = alerts(Rest, 1),
    close(Begun).

alerts(Stream, 0) ->
    {[], Stream};
alerts(Stream, N) ->
    {Alert, Rest} = named(~"alert", Stream, ?MS),
    {Others, Last} = alerts(Rest, N - 1),
    {[Alert | Others], Last}.

breakers_are_told() ->
    ok = erlmcp_queue_limits:set_limit(r, 1),
    {_, Begun} = event(open(), ?MS),
    fill(r, a, 1),
    {#{~"data" := Opened}, Open} = named(~"breaker", Begun, ?MS),
    ?assertEqual(#{~"role" => ~"r", ~"action" => ~"open"}, Opened),
    ok = erlmcp_queue_limits:forget(r, a),
    {#{~"data" := Closed}, _} = named(~"breaker", Open, ?MS),
    ?assertEqual(#{~"role" => ~"r", ~"action" => ~"close"}, Closed),
    close(Begun).

a_client_comes_again() ->
    {#{~"id" := Id}, Stream} = event(open(), ?MS),
    close(Stream),
    eventually(fun() -> streams() =:= 0 end),
    [ok = erlmcp_native_http_test_lib:publish({breaker, Role, open}) || Role <- [a, b, c]],
    Again = open([["last-event-id: ", integer_to_binary(Id + 1)]]),
    {#{~"data" := #{~"role" := ~"b"}, ~"id" := Second}, More} = named(~"breaker", Again, ?MS),
    {#{~"data" := #{~"role" := ~"c"}}, _} = named(~"breaker", More, ?MS),
    ?assertEqual(Id + 2, Second),
    close(Again),
    %% From now on, and from before all.
    New = open(),
    ?assertMatch({#{~"event" := ~"snapshot"}, _}, event(New, ?MS)),
    close(New),
    All = open(["last-event-id: 0"]),
    ?assertMatch({#{~"data" := #{~"role" := ~"a"}}, _}, named(~"breaker", All, ?MS)),
    close(All).

a_client_was_too_slow() ->
    {#{~"id" := Id}, Stream} = event(open(), ?MS),
    close(Stream),
    [ok = erlmcp_native_http_test_lib:publish({breaker, r, open}) || _ <- lists:seq(1, 1000)],
    Again = open([["last-event-id: ", integer_to_binary(Id)]]),
    {#{~"data" := #{~"events" := 744}, ~"id" := At}, More} = named(~"missed", Again, ?MS),
    ?assertEqual(Id + 744, At),
    ?assertEqual(lists:seq(Id + 745, Id + 1000), ids(More, 256)),
    close(Again).

ids(_, 0) ->
    [];
ids(Stream, N) ->
    {#{~"id" := Id}, Rest} = named(~"breaker", Stream, ?MS),
    [Id | ids(Rest, N - 1)].

streams_are_counted_and_limited() ->
    Streams = [open() || _ <- lists:seq(1, 3)],
    ?assertEqual(3, streams()),
    ?assertMatch(#{~"self" := #{~"streams" := 3}}, erlmcp_native_http_test_lib:json("/api/summary")),
    {503, #{~"retry-after" := _, ~"content-type" := ~"application/json"}, Body} = fetch("/events"),
    ?assertMatch(#{~"error" := ~"unavailable", ~"reason" := ~"there are 3 event streams already"}, json:decode(Body)),
    %% Those that are open take no notice.
    [?assertMatch({#{~"event" := ~"snapshot"}, _}, event(Stream, ?MS)) || Stream <- Streams],
    close(hd(Streams)),
    eventually(fun() -> streams() =:= 2 end),
    Another = open(),
    ?assertMatch({#{~"event" := ~"snapshot"}, _}, event(Another, ?MS)),
    [close(Stream) || Stream <- [Another | tl(Streams)]],
    eventually(fun() -> streams() =:= 0 end).

services_come_and_go() ->
    {#{~"data" := #{~"services" := #{~"erlmcp_overload_monitor" := true}}}, Begun} = event(open(), ?MS),
    [ok = gen_server:stop(Service) || Service <- [erlmcp_control_plane, erlmcp_overload_monitor, erlmcp_queue_limits]],
    Without = snapshot(Begun, fun(#{~"services" := Services}) -> maps:values(Services) =:= [false, false, false] end),
    {ok, Limits} = erlmcp_queue_limits:start_link(),
    unlink(Limits),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    ok = erlmcp_queue_limits:set_limit(r, 1),
    %% The hub has found the monitor by the time of the next snapshot but one.
    Back = snapshot(Without, fun(#{~"services" := #{~"erlmcp_overload_monitor" := Up}}) -> Up end),
    {_, Later} = named(~"snapshot", Back, ?MS),
    fill(r, a, 1),
    ?assertMatch({#{~"data" := #{~"role" := ~"r"}}, _}, named(~"alert", Later, ?MS)),
    close(Begun),
    {ok, Plane} = erlmcp_control_plane:start_link(),
    unlink(Plane).

snapshot(Stream, Fits) ->
    {#{~"data" := Data}, Rest} = named(~"snapshot", Stream, ?MS),
    case Fits(Data) of
        true -> Rest;
        false -> snapshot(Rest, Fits)
    end.

the_hub_dies() ->
    {#{~"id" := Id}, Begun} = event(open(), ?MS),
    erlmcp_native_test_lib:kill(whereis(?HUB)),
    {Socket, _, _} = Begun,
    ?assertEqual(ok, erlmcp_native_http_test_lib:closed(Socket)),
    {503, _, _} = fetch("/events"),
    erlmcp_native_http_test_lib:start_hub(0),
    Again = open([["last-event-id: ", integer_to_binary(Id)]]),
    ?assertMatch({#{~"event" := ~"snapshot", ~"id" := Later}, _} when Later > Id, event(Again, ?MS)),
    close(Again).

a_stream_in_http_1_0() ->
    Socket = erlmcp_native_http_test_lib:connect(),
    ok = gen_tcp:send(Socket, "GET /events HTTP/1.0\r\n\r\n"),
    {200, Headers, _} = erlmcp_native_http_test_lib:answer(Socket),
    ?assertNot(is_map_key(~"transfer-encoding", Headers)),
    ok = until(Socket, ~"event: snapshot", <<>>),
    ok = gen_tcp:close(Socket).

until(Socket, Text, Seen) ->
    case binary:match(Seen, Text) of
        nomatch ->
            {ok, More} = gen_tcp:recv(Socket, 0, ?MS),
            until(Socket, Text, <<Seen/binary, More/binary>>);
        _ ->
            ok
    end.

the_listener_stops() ->
    {Socket, _, _} = open(),
    Listener = element(2, hd(process_info(ranch_server:get_listener_sup(erlmcp_native_http), [parent]))),
    Begun = erlang:monotonic_time(millisecond),
    ok = gen_server:stop(Listener, shutdown, 10000),
    ?assert(erlang:monotonic_time(millisecond) - Begun < 4000),
    ?assertEqual(ok, erlmcp_native_http_test_lib:closed(Socket)),
    eventually(fun() -> streams() =:= 0 end).

%% As much as a socket takes in five seconds, at most.
what_a_client_sends_on_is_not_kept() ->
    {Socket, _, _} = Stream = open(),
    {ok, Used} = erlmcp_native_http_test_lib:memory(fun() ->
        erlmcp_native_http_test_lib:trickle(Socket, lists:duplicate(500, binary:copy(~"x", 1048576)))
    end),
    ?assert(Used < 20 * 1048576),
    ?assertMatch({#{~"event" := ~"snapshot"}, _}, named(~"snapshot", Stream, ?MS)),
    close(Stream).

%% Snapshots of more than 200 KB, of which it takes 80 a second. Nothing for three seconds would be the end of it, and
%% it goes on for more than three times that.
a_client_that_reads_slowly_is_not_closed() ->
    [fill(list_to_atom("r" ++ integer_to_list(N)), a, 1) || N <- lists:seq(1, 300)],
    Socket = erlmcp_native_http_test_lib:connect([{recbuf, 4096}]),
    ok = gen_tcp:send(Socket, "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    ?assert(erlmcp_native_http_test_lib:read_slowly(gen_tcp, Socket, 10000) < 10 * 200_000),
    ?assertEqual(1, streams()),
    ok = gen_tcp:close(Socket),
    eventually(fun() -> streams() =:= 0 end).

%% Snapshots of some 100 KB: they fill what the kernel holds for a client that does not read.
two_hundred_streams_and_one_that_does_not_read() ->
    [fill(list_to_atom("r" ++ integer_to_list(N)), a, 1) || N <- lists:seq(1, 100)],
    Processes = erlang:system_info(process_count),
    Ports = erlang:system_info(port_count),
    Stuck = erlmcp_native_http_test_lib:connect([{recbuf, 4096}]),
    ok = gen_tcp:send(Stuck, "GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    eventually(fun() -> streams() =:= 1 end),
    Self = self(),
    Readers = [spawn_monitor(fun() -> read(Self) end) || _ <- lists:seq(1, 199)],
    [receive {Pid, open} -> ok after 30000 -> error(not_open) end || {Pid, _} <- Readers],
    Begun = erlang:monotonic_time(millisecond),
    Most = watch(Readers, Begun + 6000, #{}),
    Counts = [
        begin
            Pid ! {how_many, Self},
            receive {Pid, Count} -> Count end
        end
     || {Pid, _} <- Readers
    ],
    ?assertEqual([], [Count || Count <- Counts, Count < 3]),
    ?assert(maps:get(streams, Most) =:= 200),
    ?assertMatch(#{stream_waiting := At, connection_waiting := More} when At =< 1 andalso More =< 20, Most),
    ?assert(maps:get(hub_waiting, Most) =< 2 * 200),
    ?assert(maps:get(hub, Most) < 1000000),
    ?assert(maps:get(stream, Most) < 100000),
    %% The one that does not read is closed, and nothing of it is left.
    eventually(fun() -> streams() =:= 199 end, 30000),
    [exit(Pid, kill) || {Pid, _} <- Readers],
    ok = gen_tcp:close(Stuck),
    eventually(fun() -> streams() =:= 0 end),
    AsBefore = fun() ->
        erlang:system_info(process_count) =< Processes andalso erlang:system_info(port_count) =< Ports
    end,
    eventually(AsBefore, 10000).

%% Counts snapshots.
read(Owner) ->
    {Socket, Bytes, Text} = open(),
    Owner ! {self(), open},
    ok = inet:setopts(Socket, [{active, true}]),
    count(Socket, <<Text/binary, Bytes/binary>>, 0).

count(Socket, Tail, Count) ->
    receive
        {tcp, Socket, More} ->
            Seen = <<Tail/binary, More/binary>>,
            Mark = ~"\nevent: snapshot\n",
            Kept = min(byte_size(Seen), byte_size(Mark) - 1),
            Rest = binary:copy(binary:part(Seen, byte_size(Seen), -Kept)),
            count(Socket, Rest, Count + length(binary:matches(Seen, Mark)));
        {how_many, Owner} ->
            Owner ! {self(), Count},
            count(Socket, Tail, Count)
    end.

%% The most that the hub, the streams and their connections held or had waiting until then.
watch(Readers, Until, Most) ->
    case erlang:monotonic_time(millisecond) >= Until of
        true ->
            Most;
        false ->
            Hub = whereis(?HUB),
            {monitors, Monitors} = process_info(Hub, monitors),
            %% Others that the hub watches have no links.
            Linked = [
                {Pid, Links}
             || {process, Pid} <- Monitors, is_pid(Pid), {links, [_ | _] = Links} <- [process_info(Pid, links)]
            ],
            Streams = [Pid || {Pid, _} <- Linked],
            Connections = lists:usort(lists:append([Links || {_, Links} <- Linked])),
            Now = #{
                hub => most(memory, [Hub]),
                streams => length(Streams),
                hub_waiting => most(message_queue_len, [Hub]),
                stream => most(memory, Streams),
                stream_waiting => most(message_queue_len, Streams),
                connection_waiting => most(message_queue_len, Connections)
            },
            receive
                {'DOWN', _, process, _, _} = Lost -> error(Lost)
            after 20 -> ok
            end,
            watch(Readers, Until, maps:merge_with(fun(_, A, B) -> max(A, B) end, Most, Now))
    end.

most(Item, Pids) ->
    lists:max([0 | [Value || Pid <- Pids, {_, Value} <- [process_info(Pid, Item)]]]).
