%% What the guides promise, shown with the modules as they stand there: many callers at once, some of them killed, a
%% server that hangs or is killed. That the pages' own examples run is held by erlmcp_native_documentation_tests.
-module(erlmcp_native_guides_tests).

-behaviour(cowboy_handler).

-include_lib("eunit/include/eunit.hrl").

-export([init/2]).

-import(erlmcp_native_test_lib, [eventually/1, kill/1, parallel/2]).

-define(LIMITS, erlmcp_queue_limits).
-define(CONTROL, erlmcp_control_plane).
-define(SENDERS, 64).
-define(EACH, 50).
-define(DEADLINE_MS, 20000).

%% A receive with a deadline.
-define(receiving(Pattern, Value),
    receive
        Pattern -> Value
    after ?DEADLINE_MS -> error({not_received, ??Pattern, process_info(self(), messages)})
    end
).

%% Figures that are said to be of the simulation stand in its page, which is written anew by whoever plays it again.
what_was_simulated_is_quoted_as_it_stands_test() ->
    [{ok, Simulated}, {ok, Guide}] = [
        file:read_file(filename:join([erlmcp_native_test_lib:root(), "docs", File]))
     || File <- ["internals/simulation.md", "guides/choosing-limits.md"]
    ],
    [_ | Tables] = binary:split(Guide, ~"<!-- simulated in ../internals/simulation.md -->\n", [global]),
    ?assertEqual(3, length(Tables)),
    Rows = [Row || Table <- Tables, Row <- binary:split(hd(binary:split(Table, ~"\n\n")), ~"\n", [global])],
    ?assertEqual([], Rows -- binary:split(Simulated, ~"\n", [global])).

guides_test_() ->
    [
        {Title, {timeout, 60, fun() -> with_guide(Guide, Test) end}}
     || {Guide, Title, Test} <- [
            {"bounded-gen-server", "no sender gets past the limit", fun bounded/0},
            {"bounded-gen-server", "callers that are killed free nothing", fun killed_callers/0},
            {"bounded-gen-server", "a successor begins with none", fun successor/0},
            {"bounded-gen-server", "a place lasts as long as what holds it", fun permits/0},
            {"http-429-in-cowboy", "503 to who comes third", fun too_many_requests/0},
            {"http-429-in-cowboy", "a client that leaves frees its place", fun client_leaves/0},
            {"pool", "no worker gets more than its limit", fun full_pool/0},
            {"pool", "every job that is taken is done, once", fun busy_pool/0},
            {"pool", "nobody is lost with the group", fun pool_outlives_its_group/0},
            {"pool", "a worker that dies is replaced by an empty one", fun worker_dies/0},
            {"cancellation", "what was cancelled early never runs", fun cancelled_early/0},
            {"cancellation", "tasks end with their connections", fun connections_close/0},
            {"pid-or-name-as-owner", "names pass on nothing", fun named_successors/0},
            {"pid-or-name-as-owner", "an owner's name keeps its count", fun named_owner/0},
            {"upgrading", "a local fun goes with its module, an external one stays", fun handlers_reloaded/0},
            {"upgrading", "a second load kills nobody", fun loaded_twice/0},
            {"drop-in-for-erlmcp", "whoever holds the name", fun name_is_taken/0},
            {"drop-in-for-erlmcp", "a role's alerts and breaker", fun alerts_and_breaker/0},
            {"elixir", "the plugs and the measurement", fun plug/0}
        ]
    ].

%% Each guide has one, and each shows something that runs.
every_guide_is_here_test() ->
    Guides = [File || "docs/guides/" ++ File <- erlmcp_native_document:files()],
    Expected = [
        "bounded-gen-server", "cancellation", "choosing-limits", "drop-in-for-erlmcp", "elixir",
        "how-often-may-a-client-ask", "http-429-in-cowboy", "installing", "more-than-one-node",
        "pid-or-name-as-owner", "pool", "testing-with-it", "upgrading"
    ],
    ?assertEqual(Expected, [filename:basename(File, ".md") || File <- Guides]),
    [?assertNotEqual({File, []}, {File, [Tag || Tag <- tags(File), Tag =/= ~"text"]}) || File <- Guides].

tags(File) ->
    [Tag || #{tag := Tag} <- blocks(File)].

blocks(File) ->
    [Document] = erlmcp_native_document:read({file, "docs/guides/" ++ File}),
    {ok, Blocks} = erlmcp_native_document:blocks(Document),
    Blocks.

%% Runs the test on a node that has the modules of the guide.
with_guide(Guide, Test) ->
    Codes = [Text || #{tag := ~"erlang", text := Text} <- blocks(Guide ++ ".md")],
    erlmcp_native_document_node:run(fun() ->
        Loaded = lists:append([loaded(Text) || Text <- Codes, erlmcp_native_document_code:kind(Text) =:= module]),
        try
            Test()
        after
            [code:delete(Module) andalso code:purge(Module) || Module <- Loaded]
        end
    end).

loaded(Text) ->
    {ok, Modules} = erlmcp_native_document_code:check(module, Text),
    Modules.

%% The bounded gen_server.

bounded() ->
    ok = ?LIMITS:set_limit(bounded_worker, 10),
    {ok, Worker} = bounded_worker:start_link(),
    ok = sys:suspend(Worker),
    Answers = submit_all(fun(_) -> bounded_worker:submit(Worker, fun() -> done end) end),
    ?assertEqual(10, length([ok || ok <- Answers])),
    ?assertEqual({message_queue_len, 10}, process_info(Worker, message_queue_len)),
    ok = sys:resume(Worker),
    %% And while it works: what it sees in its own mailbox, system messages aside.
    Test = self(),
    Look = fun() -> Test ! {waiting, element(2, process_info(self(), message_queue_len))} end,
    Taken = [ok || ok <- submit_all(fun(_) -> bounded_worker:submit(Worker, Look) end)],
    ?assertEqual([], [Waiting || Waiting <- waiting(length(Taken)), Waiting > 10]),
    eventually(fun() -> ?LIMITS:get_queue_depth(bounded_worker, Worker) =:= 0 end),
    ?assertEqual({ok, 42}, bounded_worker:request(Worker, fun() -> 42 end)).

submit_all(Submit) ->
    lists:append(parallel(?SENDERS, fun(_) -> [Submit(N) || N <- lists:seq(1, ?EACH)] end)).

waiting(Count) -> [?receiving({waiting, Waiting}, Waiting) || _ <- lists:seq(1, Count)].

killed_callers() ->
    ok = ?LIMITS:set_limit(bounded_worker, 10),
    {ok, Worker} = bounded_worker:start_link(),
    ok = sys:suspend(Worker),
    Callers = [spawn(fun() -> bounded_worker:request(Worker, fun() -> done end) end) || _ <- lists:seq(1, 10)],
    eventually(fun() -> process_info(Worker, message_queue_len) =:= {message_queue_len, 10} end),
    [ok = kill(Caller) || Caller <- Callers],
    Answers = submit_all(fun(_) -> bounded_worker:submit(Worker, fun() -> done end) end),
    ?assertEqual([], [ok || ok <- Answers]),
    ?assertEqual({message_queue_len, 10}, process_info(Worker, message_queue_len)),
    ok = sys:resume(Worker),
    eventually(fun() -> ?LIMITS:get_queue_depth(bounded_worker, Worker) =:= 0 end).

successor() ->
    ok = ?LIMITS:set_limit(bounded_worker, 1),
    {ok, Hung} = bounded_worker:start_link(),
    unlink(Hung),
    ok = sys:suspend(Hung),
    Submit = fun(Worker) -> bounded_worker:submit(Worker, fun() -> done end) end,
    ?assertMatch([ok, {error, {busy, _}}], [Submit(Hung), Submit(Hung)]),
    ok = kill(Hung),
    {ok, Next} = bounded_worker:start_link(),
    ?assertEqual(ok, Submit(Next)),
    eventually(fun() -> maps:get(owners, ?LIMITS:get_role_stats(bounded_worker)) =< 1 end).

%% In mailbox and list together, with senders that are killed wherever they are.
permits() ->
    ok = ?LIMITS:set_limit(collector, 10),
    {ok, Collector} = collector:start_link(),
    Senders = [spawn_monitor(fun() -> collect(Collector) end) || _ <- lists:seq(1, ?SENDERS)],
    [
        begin
            #{current_depth := Depth} = ?LIMITS:get_role_stats(collector),
            ?assert(Depth =< 10),
            ?assert(length(collector:flush(Collector)) =< 10),
            exit(Sender, kill)
        end
     || {Sender, _} <- Senders
    ],
    [?receiving({'DOWN', Monitor, process, Sender, _}, ok) || {Sender, Monitor} <- Senders],
    eventually(fun() ->
        _ = collector:flush(Collector),
        ?LIMITS:get_queue_depth(collector, Collector) =:= 0
    end),
    Answers = [collector:add(Collector, N) || N <- lists:seq(1, 11)],
    ?assertEqual(10, length([ok || ok <- Answers])),
    ?assertEqual(lists:seq(1, 10), collector:flush(Collector)).

collect(Collector) ->
    _ = collector:add(Collector, item),
    collect(Collector).

%% HTTP 429 and 503 in cowboy.

too_many_requests() ->
    Port = listen(),
    [First, Second] = [request(Port), request(Port)],
    [Done, Busy] = [handler(), handler()],
    {503, Headers, Body} = answer(request(Port)),
    ?assert(lists:member(proplists:get_value(~"retry-after", Headers), [~"1", ~"2"])),
    ?assertMatch(#{~"reason" := ~"full", ~"limit" := 2}, json:decode(Body)),
    Done ! finish,
    %% One of the two is answered, and there is room for one.
    eventually(fun() -> ?LIMITS:get_queue_depth(http_request, my_api) =:= 1 end),
    Third = request(Port),
    [Pid ! finish || Pid <- [Busy, handler()]],
    ?assertMatch([{200, _, _}, {200, _, _}, {200, _, _}], [answer(Socket) || Socket <- [First, Second, Third]]),
    ?assertEqual(0, ?LIMITS:get_queue_depth(http_request, my_api)).

client_leaves() ->
    Port = listen(),
    [First, _Second] = [request(Port), request(Port)],
    _ = [handler(), handler()],
    ok = gen_tcp:close(First),
    eventually(fun() -> ?LIMITS:get_queue_depth(http_request, my_api) =:= 1 end),
    Third = request(Port),
    handler() ! finish,
    ?assertMatch({200, _, _}, answer(Third)).

listen() ->
    ok = ?LIMITS:set_limit(http_request, 2),
    Dispatch = cowboy_router:compile([{'_', [{"/", ?MODULE, self()}]}]),
    {ok, _} = cowboy:start_clear(guide, [{port, 0}], #{
        env => #{dispatch => Dispatch}, middlewares => [cowboy_router, admission]
    }),
    ranch:get_port(guide).

%% The handler waits until it is told to finish.
init(Req, Test) ->
    Test ! {handling, self()},
    receive
        finish -> {ok, cowboy_req:reply(200, Req), Test}
    end.

handler() -> ?receiving({handling, Pid}, Pid).

request(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {packet, http_bin}]),
    ok = gen_tcp:send(Socket, ~"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    Socket.

answer(Socket) ->
    {ok, {http_response, _, Status, _}} = gen_tcp:recv(Socket, 0, ?DEADLINE_MS),
    Headers = headers(Socket),
    Body =
        case binary_to_integer(proplists:get_value(~"content-length", Headers)) of
            0 -> ~"";
            Length -> {ok, Bytes} = gen_tcp:recv(Socket, Length, ?DEADLINE_MS), Bytes
        end,
    ok = gen_tcp:close(Socket),
    {Status, Headers, Body}.

headers(Socket) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE_MS) of
        {ok, {http_header, _, _, Name, Value}} -> [{string:lowercase(Name), Value} | headers(Socket)];
        {ok, http_eoh} -> ok = inet:setopts(Socket, [{packet, raw}]), []
    end.

%% The pool.

full_pool() ->
    ok = ?LIMITS:set_limit(pool_worker, 5),
    {ok, _} = pool:start_link(4),
    Workers = pg:get_local_members(pool),
    [ok = sys:suspend(Worker) || Worker <- Workers],
    Answers = submit_all(fun(_) -> pool:submit(fun() -> done end) end),
    ?assertEqual(20, length([ok || ok <- Answers])),
    ?assertEqual(
        [{message_queue_len, 5} || _ <- lists:seq(1, 4)],
        [process_info(Worker, message_queue_len) || Worker <- Workers]
    ).

busy_pool() ->
    ok = ?LIMITS:set_limit(pool_worker, 5),
    {ok, _} = pool:start_link(4),
    Done = counters:new(1, []),
    Answers = submit_all(fun(_) -> pool:submit(fun() -> counters:add(Done, 1, 1) end) end),
    Taken = length([ok || ok <- Answers]),
    eventually(fun() -> counters:get(Done, 1) =:= Taken end),
    #{max_depth := Deepest} = ?LIMITS:get_role_stats(pool_worker),
    ?assert(Deepest =< 5),
    Workers = pg:get_local_members(pool),
    ?assertEqual([0, 0, 0, 0], [?LIMITS:get_queue_depth(pool_worker, Worker) || Worker <- Workers]).

pool_outlives_its_group() ->
    {ok, _} = pool:start_link(2),
    Before = pg:get_local_members(pool),
    ok = kill(whereis(pg)),
    eventually(fun() -> whereis(pg) =/= undefined andalso length(pg:get_local_members(pool) -- Before) =:= 2 end),
    ?assertEqual(ok, pool:submit(fun() -> done end)).

worker_dies() ->
    ok = ?LIMITS:set_limit(pool_worker, 1),
    {ok, Pool} = pool:start_link(1),
    unlink(Pool),
    [Worker] = pg:get_local_members(pool),
    ok = sys:suspend(Worker),
    ?assertMatch([ok, {error, {busy, 1000}}], [pool:submit(fun() -> done end) || _ <- [1, 2]]),
    ok = kill(Worker),
    eventually(fun() -> length(pg:get_local_members(pool) -- [Worker]) =:= 1 end),
    eventually(fun() -> not lists:member(Worker, pg:get_local_members(pool)) end),
    Test = self(),
    ?assertEqual(ok, pool:submit(fun() -> Test ! done end)),
    ?receiving(done, ok).

%% Cancellation.

cancelled_early() ->
    {ok, Server} = task_server:start_link(),
    Test = self(),
    ok = sys:suspend(Server),
    {Cancelled, Others} = lists:partition(fun(Id) -> Id rem 3 =:= 0 end, lists:seq(1, 1000)),
    [ok = task_server:submit(Id, fun(_Token) -> Test ! {ran, Id} end) || Id <- lists:seq(1, 1000)],
    [ok = task_server:cancel(Id) || Id <- Cancelled],
    ok = sys:resume(Server),
    _ = [?receiving({ran, Id}, Id) || Id <- Others],
    eventually(fun() -> map_get(tokens, erlmcp_control_cancel:get_stats()) =:= 0 end),
    %% All has been taken by now.
    ?assertMatch(#{tombstones := 0}, erlmcp_control_cancel:get_stats()),
    ?assertMatch(#{running := Running} when map_size(Running) =:= 0, sys:get_state(Server)),
    ?assertEqual([], [Id || Id <- Cancelled, receive {ran, Id} -> true after 0 -> false end]).

connections_close() ->
    {ok, _} = task_server:start_link(),
    Test = self(),
    Work = fun(_Token) -> Test ! {runs, self()}, receive never -> ok end end,
    Connections = [
        spawn(fun() ->
            [ok = task_server:submit(Id, Work) || Id <- lists:seq(1, 20)],
            receive never -> ok end
        end)
     || _ <- lists:seq(1, 20)
    ],
    Tasks = [?receiving({runs, Pid}, Pid) || _ <- lists:seq(1, 400)],
    [ok = kill(Connection) || Connection <- Connections],
    eventually(fun() -> not lists:any(fun is_process_alive/1, Tasks) end),
    eventually(fun() -> map_get(tokens, erlmcp_control_cancel:get_stats()) =:= 0 end).

%% A pid or a name as owner.

named_successors() ->
    ok = ?LIMITS:set_limit(print, 2),
    [
        begin
            {ok, Printer} = printer:start(laser),
            ok = sys:suspend(Printer),
            ?assertMatch([ok, ok, {error, {busy, _}}], [printer:print(laser, Page) || Page <- [1, 2, 3]]),
            ok = kill(Printer)
        end
     || _ <- lists:seq(1, 50)
    ],
    eventually(fun() -> maps:get(current_depth, ?LIMITS:get_role_stats(print)) =:= 0 end).

named_owner() ->
    ok = ?LIMITS:set_limit(jobs, 1),
    Press = erlmcp_native_test_lib:idle(),
    true = register(press, Press),
    ok = ?LIMITS:try_enqueue(jobs, press),
    ok = kill(Press),
    true = register(press, erlmcp_native_test_lib:idle()),
    ?assertMatch({error, {capacity_exceeded, _}}, ?LIMITS:try_enqueue(jobs, press)),
    ok = ?LIMITS:forget(jobs, press),
    ?assertEqual(ok, ?LIMITS:try_enqueue(jobs, press)).

%% Upgrading.

handlers_reloaded() ->
    Source = ~"""
    -module(guide_handlers).
    -export([start/0, handle/1]).
    start() ->
        ok = erlmcp_control_plane:register_component(local, fun(Message) -> handle(Message) end),
        ok = erlmcp_control_plane:register_component(external, fun ?MODULE:handle/1).
    handle({control, _, _}) -> ok.
    """,
    [guide_handlers] = loaded(Source),
    ok = guide_handlers:start(),
    Sent = fun() -> [?CONTROL:send_health_check(Id, liveness) || Id <- [local, external]] end,
    ?assertMatch([{ok, _}, {ok, _}], Sent()),
    %% Another version: with the same one a fun would be found again.
    Other = binary:replace(Source, ~"fun(Message) -> handle(Message) end", ~"fun(Again) -> [handle(Again)] end"),
    [begin true = code:delete(guide_handlers), code:purge(guide_handlers), loaded(Other) end || _ <- [1, 2]],
    ?assertMatch([{error, {handler_crashed, {badfun, _}}}, {ok, _}], Sent()),
    true = code:delete(guide_handlers),
    code:purge(guide_handlers).

loaded_twice() ->
    Test = self(),
    Busy = fun(_) ->
        Test ! {busy, self()},
        receive go -> ok end
    end,
    ok = ?CONTROL:register_component(busy, Busy),
    {Sender, Monitor} = spawn_monitor(fun() -> exit({answer, ?CONTROL:send_cancel_task(busy, 1)}) end),
    Handler = ?receiving({busy, Pid}, Pid),
    [
        begin
            ?assert(code:soft_purge(Module)),
            ?assertMatch({module, _}, code:load_file(Module))
        end
     || _ <- [1, 2], Module <- [erlmcp_control_handler, erlmcp_control_call, ?CONTROL]
    ],
    Handler ! go,
    Answer = ?receiving({'DOWN', Monitor, process, Sender, {answer, A}}, A),
    ?assertMatch({ok, _}, Answer),
    ?assertEqual({error, on_load_failure}, code:load_file(erlmcp_native_wait)).

%% Drop-in for erlmcp.

name_is_taken() ->
    ok = supervisor:terminate_child(erlmcp_native_sup, ?LIMITS),
    true = register(?LIMITS, self()),
    ?assertEqual({error, {already_started, self()}}, ?LIMITS:start_link()),
    true = unregister(?LIMITS).

alerts_and_breaker() ->
    Test = self(),
    ok = ?CONTROL:register_component(printing, fun({control, circuit_breaker, #{action := A}}) -> Test ! A end),
    ok = ?LIMITS:set_limit(printing, 10),
    [ok = ?LIMITS:record_enqueue(printing, Test) || _ <- lists:seq(1, 10)],
    ?receiving(open, ok),
    ?assertMatch([#{level := overload}, #{level := critical}, #{level := warning}],
        erlmcp_overload_monitor:get_alert_history(printing)),
    %% 90 % is 10 points below.
    ok = ?LIMITS:record_dequeue(printing, Test),
    ?receiving(close, ok).

%% Elixir. Plug, the router and the telemetry library are stood in for.

plug() ->
    case erlmcp_native_document_elixir:is_there() of
        true -> plug_in_elixir();
        false -> io:format(user, "~nNOT RUN: the plugs of docs/guides/elixir.md: no Elixir is installed~n", [])
    end.

plug_in_elixir() ->
    StandIns = ~"""
    defmodule Plug.Conn do
      def merge_resp_headers(conn, headers), do: Map.merge(conn, Map.new(headers))
      def put_resp_header(conn, name, value), do: Map.put(conn, name, value)
      def send_resp(conn, status, body), do: Map.merge(conn, %{status: status, body: IO.iodata_to_binary(body)})
      def halt(conn), do: Map.put(conn, :halted, true)
    end
    defmodule MyAppWeb.Router do
      def init(opts), do: opts
      def call(conn, _opts), do: Map.put(conn, :status, 200)
    end
    """,
    Elixir = [Text || #{tag := ~"elixir", text := <<"defmodule", _/binary>> = Text} <- blocks("elixir.md")],
    Loaded = lists:append([
        begin {ok, Modules} = erlmcp_native_document_elixir:check(Text), Modules end
     || Text <- [StandIns | Elixir]
    ]),
    [telemetry] = loaded(~"""
    -module(telemetry).
    -export([execute/3]).
    execute(Event, Measurements, Metadata) -> self() ! {Event, Measurements, Metadata}.
    """),
    Plug = 'Elixir.MyApp.Admission',
    ?assertEqual(#{status => 200}, Plug:call(#{}, Plug:init([]))),
    ok = ?LIMITS:set_limit(http_request, 0),
    Refused = #{~"retry-after" := RetryAfter} = Plug:call(#{}, Plug:init([])),
    ?assertMatch(#{status := 503, ~"content-type" := ~"application/problem+json"}, Refused),
    ?assert(lists:member(RetryAfter, [~"1", ~"2"])),
    Metrics = 'Elixir.MyApp.Metrics',
    ?assertEqual(#{request_path => ~"/"}, Metrics:call(#{request_path => ~"/"}, Metrics:init([]))),
    ?assertMatch(
        #{
            status := 200, halted := true, body := <<"# HELP erlmcp_", _/binary>>,
            ~"content-type" := <<"text/plain; version=0.0.4", _/binary>>
        },
        Metrics:call(#{request_path => ~"/metrics"}, Metrics:init([]))
    ),
    ok = erlmcp_native_telemetry:emit(),
    ?receiving({[erlmcp_native, queue_limits, role], #{depth := 0, owners := 0}, #{role := session}}, ok),
    [code:delete(Module) andalso code:purge(Module) || Module <- [telemetry | Loaded]].
