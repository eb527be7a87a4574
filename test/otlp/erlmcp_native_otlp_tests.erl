%% Pushing: what arrives at an endpoint and when, and what happens if it does not.
-module(erlmcp_native_otlp_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_otlp_test_lib, [
    listen/1, listen/2, close/1, url/1, free_port/0, request/1, answer/4, write/2, forever/2, answering/1,
    with_pusher/3, counted/1, next_request/1, logged/1
]).
-import(erlmcp_native_test_lib, [eventually/1, eventually/2]).

-define(WAIT_MS, 20000).
-define(OK, {200, "", ~"{}"}).

pushing_test_() ->
    {foreach, fun setup/0, fun teardown/1, [
        {timeout, 120, {atom_to_list(Name), fun() -> Test() end}}
     || {Name, Test} <- [
            {a_push, fun a_push/0},
            {without_compression, fun without_compression/0},
            {at_an_interval, fun at_an_interval/0},
            {without_services, fun without_services/0},
            {down_and_up_again, fun down_and_up_again/0},
            {nobody_answers, fun nobody_answers/0},
            {retried_as_it_was, fun retried_as_it_was/0},
            {given_up, fun given_up/0},
            {redirects, fun redirects/0},
            {asked_to_wait, fun asked_to_wait/0},
            {nonsense, fun nonsense/0},
            {streams_forever, fun streams_forever/0},
            {bounded, fun bounded/0},
            {too_slow, fun too_slow/0},
            {rejected_points, fun rejected_points/0},
            {secrets, fun secrets/0},
            {stopped_while_hanging, fun stopped_while_hanging/0},
            {killed_while_hanging, fun killed_while_hanging/0},
            {odd_messages, fun odd_messages/0},
            {wrong_options, fun wrong_options/0}
        ]
    ]}.

setup() ->
    _ = application:load(erlmcp_native),
    erlmcp_native_test_lib:start().

teardown(Level) ->
    erlmcp_native_test_lib:stop(Level),
    flush().

flush() ->
    receive
        _ -> flush()
    after 0 -> ok
    end.

%% An endpoint, and a pusher to it.
pushing(Endpoint, Options, Fun) ->
    Server = listen(Endpoint),
    try
        with_pusher(url(Server), Options, Fun)
    after
        close(Server)
    end.

metrics(#{json := Json}) ->
    #{~"resourceMetrics" := [#{~"scopeMetrics" := [#{~"metrics" := Metrics}]}]} = json:decode(Json),
    Metrics.

%% The value of a metric for these labels.
value(Name, Labels, Request) ->
    [Metric] = [Metric || #{~"name" := N} = Metric <- metrics(Request), N =:= Name],
    [Data] = [Data || Key := Data <- Metric, lists:member(Key, [~"gauge", ~"sum", ~"histogram"])],
    Points = maps:get(~"dataPoints", Data),
    [Point] = [Point || #{~"attributes" := Attributes} = Point <- Points, labels(Attributes) =:= Labels],
    case Point of
        #{~"asInt" := Text} -> binary_to_integer(Text);
        #{~"asDouble" := Float} -> Float
    end.

labels(Attributes) ->
    [{Key, Value} || #{~"key" := Key, ~"value" := #{~"stringValue" := Value}} <- Attributes].

enqueued(Request) ->
    value(~"erlmcp.queue.enqueued", [{~"role", ~"session"}], Request).

time_ms(#{json := Json}) ->
    {match, [Nanoseconds]} = re:run(Json, ~"\"timeUnixNano\":\"([0-9]+)\"", [{capture, all_but_first, binary}]),
    binary_to_integer(Nanoseconds) div 1000000.

a_push() ->
    [ok = erlmcp_queue_limits:record_enqueue(session, Owner) || Owner <- [a, a, b]],
    Sent = counted(otlp_sent),
    Options = #{headers => [{"Authorization", "Bearer secret"}], resource => #{~"service.name" => "server"}},
    pushing(answering([?OK]), Options, fun(_) ->
        Request = #{headers := Headers, json := Json} = next_request(?WAIT_MS),
        ?assertMatch(#{method := 'POST', path := ~"/v1/metrics"}, Request),
        ?assertMatch(
            #{
                ~"content-type" := ~"application/json",
                ~"content-encoding" := ~"gzip",
                ~"authorization" := ~"Bearer secret",
                ~"user-agent" := ~"erlmcp_native/0.1.0",
                ~"connection" := ~"close"
            },
            Headers
        ),
        #{~"resourceMetrics" := [#{~"resource" := #{~"attributes" := Resource}}]} = json:decode(Json),
        ?assertEqual(
            [{~"service.instance.id", true}, {~"service.name", true}],
            lists:sort([{Key, byte_size(Value) > 0} || {Key, Value} <- labels(Resource)])
        ),
        ?assertEqual(~"server", proplists:get_value(~"service.name", labels(Resource))),
        ?assertEqual(3, enqueued(Request)),
        ?assertEqual(2, value(~"erlmcp.queue.depth_max", [{~"role", ~"session"}], Request)),
        Names = [erlmcp_native_otlp_encode:name(Field) || {Field, _} <- erlmcp_native_metrics:collect()],
        ?assertEqual(Names, [Name || #{~"name" := Name} <- metrics(Request)]),
        eventually(fun() -> counted(otlp_sent) > Sent end)
    end).

without_compression() ->
    pushing(answering([?OK]), #{compression => none}, fun(_) ->
        #{headers := Headers, json := Json, body := Body} = next_request(?WAIT_MS),
        ?assertNot(is_map_key(~"content-encoding", Headers)),
        ?assertEqual(Body, Json)
    end).

at_an_interval() ->
    pushing(answering([?OK]), #{interval_ms => 200}, fun(_) ->
        Times = [time_ms(next_request(?WAIT_MS)) || _ <- lists:seq(1, 6)],
        ?assertEqual(Times, lists:sort(Times)),
        %% Five intervals, of which the first may have begun late, and some time that the machine was busy.
        Took = lists:last(Times) - hd(Times),
        ?assert(Took >= 200 * 4),
        ?assert(Took < 200 * 5 + 10000)
    end).

without_services() ->
    ok = gen_server:stop(erlmcp_queue_limits),
    pushing(answering([?OK]), #{}, fun(_) ->
        Request = next_request(?WAIT_MS),
        ?assertEqual(0, value(~"erlmcp.service.up", [{~"service", ~"erlmcp_queue_limits"}], Request)),
        ?assertNot(lists:member(~"erlmcp.queue.depth", [Name || #{~"name" := Name} <- metrics(Request)]))
    end).

%% The snapshots of the time in between come too, in order, and say what was true then.
down_and_up_again() ->
    Port = free_port(),
    Failed = counted(otlp_failed),
    {_, Lines} = logged(fun() ->
        with_pusher(url(Port), #{}, fun(_) ->
            eventually(fun() -> counted(otlp_failed) > Failed end, ?WAIT_MS),
            ok = erlmcp_queue_limits:record_enqueue(session, a),
            eventually(fun() -> counted(otlp_buffered_bytes) > 0 end),
            Server = listen(Port, answering([?OK])),
            UpMs = erlang:system_time(millisecond),
            Requests = until(fun(Request) -> time_ms(Request) > UpMs andalso enqueued(Request) =:= 1 end),
            Times = [time_ms(Request) || Request <- Requests],
            ?assertEqual(lists:usort(Times), Times),
            ?assert(hd(Times) < UpMs),
            Counts = [enqueued(Request) || Request <- Requests],
            ?assertEqual(lists:sort(Counts), Counts),
            ?assertEqual(0, hd(Counts)),
            eventually(fun() -> counted(otlp_buffered_bytes) =:= 0 end),
            close(Server)
        end)
    end),
    ?assertMatch([{warning, _}, {notice, _} | _], Lines),
    [{warning, Begin}, {notice, End} | _] = Lines,
    ?assertEqual("erlmcp_native_otlp: metrics cannot be pushed to http://127.0.0.1:" ++ integer_to_list(Port) ++
        ": no connection: econnrefused", Begin),
    Expected = "pushed to http://127.0.0.1:[0-9]+ again after [0-9]+ s; [1-9][0-9]* pushes failed, 0 snapshots",
    ?assertMatch({match, _}, re:run(End, Expected)).

until(Condition) ->
    Request = next_request(?WAIT_MS),
    case Condition(Request) of
        true -> [Request];
        false -> [Request | until(Condition)]
    end.

%% An endpoint that takes the connection and says nothing; meanwhile everybody else goes on as if it were not there.
nobody_answers() ->
    Failed = counted(otlp_failed),
    Hang = fun(Connection, Test) ->
        Test ! {request, self(), request(Connection)},
        erlmcp_native_otlp_test_lib:hang(Connection)
    end,
    pushing(Hang, #{timeout_ms => 400}, fun(_) ->
        _ = next_request(?WAIT_MS),
        Owner = self(),
        Took = [
            begin
                {Us, ok} = timer:tc(fun() -> erlmcp_queue_limits:try_enqueue(session, Owner) end),
                Us
            end
         || _ <- lists:seq(1, 1000)
        ],
        %% The median: no other process of this machine counts.
        ?assert(lists:nth(500, lists:sort(Took)) < 1000),
        eventually(fun() -> counted(otlp_failed) > Failed end, ?WAIT_MS),
        %% Again, and not the next one before this.
        ?assertEqual(0, enqueued(next_request(?WAIT_MS))),
        ?assert(counted(otlp_buffered_bytes) > 0)
    end).

retried_as_it_was() ->
    [Sent, Failed, Dropped] = [counted(Name) || Name <- [otlp_sent, otlp_failed, otlp_dropped]],
    Answers = [{503, "", ~"busy"}, {429, "", ~""}, ?OK],
    pushing(answering(Answers), #{interval_ms => 3600000}, fun(Pid) ->
        push_now(Pid),
        Requests = [#{body := Body} | _] = [next_request(?WAIT_MS) || _ <- Answers],
        ?assertEqual([503, 429, 200], [Status || #{status := Status} <- Requests]),
        [?assertEqual(Body, maps:get(body, Request)) || Request <- Requests],
        [FirstMs, SecondMs, ThirdMs] = [Ms || #{at_ms := Ms} <- Requests],
        ?assert(SecondMs - FirstMs >= 1000),
        ?assert(ThirdMs - SecondMs >= 2000),
        eventually(fun() -> counted(otlp_sent) =:= Sent + 1 end),
        ?assertEqual([Failed + 2, Dropped], [counted(Name) || Name <- [otlp_failed, otlp_dropped]])
    end).

%% What the timer does in the end.
push_now(Pid) ->
    Pid ! {timeout, make_ref(), snapshot}.

given_up() ->
    [Failed, Dropped] = [counted(Name) || Name <- [otlp_failed, otlp_dropped]],
    Statuses = [400, 401, 404, 408, 413, 415, 500, 501, 505, 599],
    pushing(answering([{Status, "", ~"{\"code\":3,\"message\":\"no\"}"} || Status <- Statuses] ++ [?OK]), #{}, fun(_) ->
        Requests = [next_request(?WAIT_MS) || _ <- [ok | Statuses]],
        ?assertEqual(Statuses ++ [200], [Status || #{status := Status} <- Requests]),
        Times = [time_ms(Request) || Request <- Requests],
        ?assertEqual(lists:usort(Times), Times),
        eventually(fun() -> counted(otlp_failed) =:= Failed + length(Statuses) end),
        ?assertEqual(Dropped + length(Statuses), counted(otlp_dropped))
    end).

redirects() ->
    Elsewhere = listen(answering([?OK])),
    {_, Lines} = logged(fun() ->
        Redirects = [{Status, ["location: ", url(Elsewhere), "\r\n"], ~""} || Status <- [301, 302, 307, 308]],
        pushing(answering(Redirects ++ [{200, "", ~"last"}]), #{}, fun(_) ->
            Requests = [next_request(?WAIT_MS) || _ <- lists:seq(1, 5)],
            ?assertEqual([301, 302, 307, 308, 200], [Status || #{status := Status} <- Requests])
        end)
    end),
    close(Elsewhere),
    {warning, Line} = hd(Lines),
    ?assertMatch({match, _}, re:run(Line, "status 301, and redirects are not followed")).

asked_to_wait() ->
    pushing(answering([{429, "Retry-After: 3\r\n", ~""}, ?OK]), #{}, fun(_) ->
        #{at_ms := FirstMs, body := Body} = next_request(?WAIT_MS),
        #{at_ms := SecondMs, body := Again} = next_request(?WAIT_MS),
        ?assertEqual(Body, Again),
        ?assert(SecondMs - FirstMs >= 3000)
    end).

%% Once nonsense, then nothing, then half an answer, and then all is well.
nonsense() ->
    Nth = counters:new(1, []),
    Endpoint = fun(Connection, Test) ->
        Request = request(Connection),
        counters:add(Nth, 1, 1),
        case counters:get(Nth, 1) of
            1 -> write(Connection, "220 mail.example.org ESMTP\r\n");
            2 -> ok;
            _ -> answer(Connection, 200, "", ~"not { json"), Test ! {request, self(), Request}
        end
    end,
    {_, Lines} = logged(fun() ->
        pushing(Endpoint, #{}, fun(_) ->
            _ = next_request(?WAIT_MS),
            _ = next_request(?WAIT_MS)
        end)
    end),
    ?assertMatch([{warning, _} | _], Lines),
    ?assertMatch({match, _}, re:run(element(2, hd(Lines)), "no answer: no_http")).

%% An endpoint that never ends its answer: memory stays as it is, and pushes go on.
streams_forever() ->
    Endpoint = fun(Connection, Test) ->
        Test ! {request, self(), request(Connection)},
        write(Connection, "HTTP/1.1 200 OK\r\n\r\n"),
        forever(Connection, binary:copy(~"{}", 10000))
    end,
    Before = erlang:memory(total),
    pushing(Endpoint, #{}, fun(_) ->
        _ = [next_request(?WAIT_MS) || _ <- lists:seq(1, 10)],
        ?assert(erlang:memory(total) - Before < 20_000_000)
    end).

%% Whatever is given up, the oldest go first.
bounded() ->
    Port = free_port(),
    Dropped = counted(otlp_dropped),
    Bounds = fun() ->
        counted(otlp_buffered_bytes) =< 8 * 1024 * 1024 orelse error({too_much, counted(otlp_buffered_bytes)}),
        counted(otlp_dropped) >= Dropped + 5
    end,
    {_, Lines} = logged(fun() ->
        with_pusher(url(Port), #{}, fun(_) ->
            eventually(Bounds, ?WAIT_MS),
            Server = listen(Port, answering([?OK])),
            First = #{system_ms := SeenMs} = next_request(?WAIT_MS),
            Old = length([First | lists:droplast(until(fun(Request) -> time_ms(Request) > SeenMs end))]),
            %% What waits, and the first one that is on its way.
            ?assert(Old =< 33),
            %% But for those that went for others meanwhile.
            ?assert(Old >= 25),
            eventually(fun() -> counted(otlp_buffered_bytes) =:= 0 end),
            close(Server)
        end)
    end),
    [{warning, _}, {notice, End} | _] = Lines,
    ?assertMatch({match, _}, re:run(End, "[1-9][0-9]* pushes failed, [1-9][0-9]* snapshots were given up")).

%% Each push is taken, but there is not time for all.
too_slow() ->
    Dropped = counted(otlp_dropped),
    Endpoint = fun(Connection, _) ->
        _ = request(Connection),
        receive
        after 500 -> answer(Connection, 200, "", ~"{}")
        end
    end,
    {_, Lines} = logged(fun() ->
        pushing(Endpoint, #{}, fun(_) -> eventually(fun() -> counted(otlp_dropped) >= Dropped + 3 end, ?WAIT_MS) end)
    end),
    ?assertMatch([{warning, _}], Lines),
    ?assertMatch({match, _}, re:run(element(2, hd(Lines)), "take longer than the interval")).

%% It is said once, and once that it is over; what was taken is not pushed again.
rejected_points() ->
    Partial = {200, "", ~"{\"partialSuccess\":{\"rejectedDataPoints\":\"7\",\"errorMessage\":\"古\\nold\"}}"},
    [Sent, Failed] = [counted(Name) || Name <- [otlp_sent, otlp_failed]],
    {_, Lines} = logged(fun() ->
        pushing(answering([Partial, Partial, ?OK]), #{}, fun(_) ->
            Times = [time_ms(next_request(?WAIT_MS)) || _ <- lists:seq(1, 4)],
            ?assertEqual(lists:usort(Times), Times),
            eventually(fun() -> counted(otlp_sent) >= Sent + 3 end),
            ?assertEqual(Failed, counted(otlp_failed))
        end)
    end),
    ?assertMatch([{warning, _}, {notice, _}], Lines),
    [{warning, Begin}, {notice, End}] = Lines,
    ?assertMatch({match, _}, re:run(Begin, "rejects 7 points of a push, and says \"古\\\\nold\"", [unicode])),
    ?assertMatch({match, _}, re:run(End, "it rejected 14")).

%% Neither in what is logged, of a crash either, nor in what the process shows of itself.
secrets() ->
    Secret = "hush-hush",
    Port = free_port(),
    Url = <<(url(Port))/binary, "?key=", (list_to_binary(Secret))/binary>>,
    Failed = counted(otlp_failed),
    {Status, Lines} = erlmcp_native_otlp_test_lib:logged(all, fun() ->
        with_pusher(Url, #{headers => [{"authorization", Secret}]}, fun(Pid) ->
            eventually(fun() -> counted(otlp_failed) > Failed end, ?WAIT_MS),
            Shown = [sys:get_status(Pid), process_info(Pid, [links, dictionary, messages, current_stacktrace])],
            sys:replace_state(Pid, fun(State) -> setelement(5, State, broken) end),
            Monitor = monitor(process, Pid),
            push_now(Pid),
            Reason =
                receive
                    {'DOWN', Monitor, process, Pid, Why} -> Why
                after ?WAIT_MS -> error(still_alive)
                end,
            [Shown, Reason]
        end)
    end),
    ?assert(length(Lines) >= 2),
    [?assertEqual(nomatch, string:find(Text, Secret)) || {_, Text} <- Lines],
    [Shown, _] = Status,
    ?assertEqual(nomatch, string:find(io_lib:format("~0p", [Shown]), Secret)).

stopped_while_hanging() ->
    Hang = fun(Connection, Test) ->
        Test ! {request, self(), request(Connection)},
        erlmcp_native_otlp_test_lib:hang(Connection),
        Test ! hung_up
    end,
    pushing(Hang, #{timeout_ms => 60000}, fun(Pid) ->
        _ = next_request(?WAIT_MS),
        [Helper] = helpers(Pid),
        {Us, ok} = timer:tc(fun() -> gen_server:stop(Pid) end),
        ?assert(Us < 3_000_000),
        hung_up(Helper),
        ?assertEqual(0, counted(otlp_buffered_bytes))
    end).

killed_while_hanging() ->
    Hang = fun(Connection, Test) ->
        Test ! {request, self(), request(Connection)},
        erlmcp_native_otlp_test_lib:hang(Connection),
        Test ! hung_up
    end,
    pushing(Hang, #{timeout_ms => 60000}, fun(Pid) ->
        _ = next_request(?WAIT_MS),
        [Helper] = helpers(Pid),
        ok = erlmcp_native_test_lib:kill(Pid),
        hung_up(Helper)
    end).

helpers(Pid) ->
    {links, Links} = process_info(Pid, links),
    [Helper || Helper <- Links, is_pid(Helper), Helper =/= self()].

hung_up(Helper) ->
    receive
        hung_up -> ok
    after ?WAIT_MS -> error(not_hung_up_on)
    end,
    eventually(fun() -> not is_process_alive(Helper) end).

odd_messages() ->
    pushing(answering([?OK]), #{}, fun(Pid) ->
        Odd = [
            odd,
            {timeout, make_ref(), again},
            {timeout, make_ref(), too_late},
            {'DOWN', make_ref(), process, self(), normal},
            {'EXIT', erlmcp_native_test_lib:dead(), kill}
        ],
        [Pid ! Message || Message <- Odd],
        ok = gen_server:cast(Pid, odd),
        ?assertEqual({error, unknown_call}, gen_server:call(Pid, odd)),
        _ = next_request(?WAIT_MS)
    end).

wrong_options() ->
    ?assertEqual(
        {error,
            {bad_config, #{
                application => erlmcp_native,
                key => [otlp, interval_ms],
                value => 99,
                expected => "milliseconds, an integer from 100 to 3600000"
            }}},
        erlmcp_native_otlp:start_link(#{endpoint => ~"http://localhost", interval_ms => 99})
    ).
