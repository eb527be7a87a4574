%% The examples of control messages keep what they promise.
-module(erlmcp_examples_tests).

-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

-import(erlmcp_native_test_lib, [eventually/1, kill/1, stats/2]).
-import(erlmcp_examples_test_lib, [with_services/1, result/2, failure/2, started/1, response/1, asking/1, asked/1]).
-import(erlmcp_native_example_ping, [ping/2]).

-define(BACKEND, erlmcp_native_example_session_backend).
-define(SERVER, erlmcp_native_example_server).
-define(TOOLS, erlmcp_native_example_tool_server).
-define(DEGRADED, erlmcp_native_example_degraded).
-define(CONTROL, erlmcp_control_plane).
-define(LIMITS, erlmcp_queue_limits).

-define(QUEUED, 10000).
-define(DEADLINE_MS, 10000).

%% A receive with a deadline.
-define(receiving(Pattern, Value),
    receive
        Pattern -> Value
    after ?DEADLINE_MS -> error({not_received, ??Pattern, process_info(self(), messages)})
    end
).

priority_test_() ->
    with_services([
        fun pings/0,
        fun a_session_is_cancelled_before_all_that_is_queued/0,
        fun operations/0,
        fun an_operation_is_cancelled_before_all_that_is_queued/0,
        fun the_end_of_an_operation_is_seen_before_all_that_is_queued/0,
        fun a_cancelled_id_may_be_used_again/0,
        fun a_server_is_shut_down_before_all_that_is_queued/0,
        fun garbage_is_collected_before_all_that_is_queued/0,
        fun control_messages_wait_where_there_is_no_priority/0
    ]).

tool_server_test_() ->
    with_services([
        fun tool_calls/0,
        fun too_many_tool_calls/0,
        fun a_tool_call_is_cancelled_before_all_that_is_queued/0,
        fun a_running_tool_is_cancelled_under_data/0,
        fun a_cancel_overtakes_its_tool_call/0,
        fun a_tool_that_looks_ends_by_itself/0,
        fun an_id_is_in_use/0,
        fun a_drain_lets_tool_calls_finish/0,
        fun a_breaker_refuses_tool_calls/0,
        fun a_tool_server_dies/0
    ]).

pings() ->
    {ok, Backend} = ?BACKEND:start_link(),
    {ok, Server} = ?SERVER:start_link(),
    [
        begin
            ?assertEqual(ok, ping(Pid, ?DEADLINE_MS)),
            ok = held(Pid, fun() ->
                [Pid ! {stray, N} || N <- lists:seq(1, ?QUEUED)],
                ?assertEqual({error, timeout}, ping(Pid, 0))
            end),
            ?assertEqual(ok, ping(Pid, ?DEADLINE_MS)),
            unlink(Pid),
            ok = kill(Pid),
            ?assertEqual({error, noproc}, ping(Pid, ?DEADLINE_MS))
        end
     || Pid <- [Backend, Server]
    ],
    ?assertError(badarg, ping(self(), ?DEADLINE_MS)),
    ?assertEqual({messages, []}, process_info(self(), messages)).

a_session_is_cancelled_before_all_that_is_queued() ->
    {ok, Backend} = ?BACKEND:start_link(),
    ok = ?BACKEND:store(Backend, s1, data),
    ?assertEqual({ok, data}, ?BACKEND:fetch(Backend, s1)),
    Pong = make_ref(),
    {First, Last} = held(Backend, fun() ->
        First = gen_server:send_request(Backend, {fetch, s1}),
        [ok = ?BACKEND:store(Backend, N, data) || N <- lists:seq(1, ?QUEUED)],
        ok = ?BACKEND:store(Backend, s2, data),
        Last = gen_server:send_request(Backend, {fetch, s2}),
        ok = ?BACKEND:cancel(Backend, s1),
        ok = ?BACKEND:cancel(Backend, s2),
        ok = erlmcp_priority:send_priority(Backend, {ping, Pong}, self()),
        {First, Last}
    end),
    ?assertEqual({pong, Pong}, ?receiving(Message, Message)),
    ?assertEqual({reply, {error, not_found}}, response(First)),
    ?assertEqual({reply, {ok, data}}, response(Last)),
    ok = gen_server:stop(Backend).

operations() ->
    {ok, Server} = ?SERVER:start_link(),
    ?assertEqual({ok, 42}, ?SERVER:run(Server, 1, fun() -> 42 end)),
    ?assertEqual({error, {crashed, killed}}, ?SERVER:run(Server, 1, fun() -> exit(self(), kill) end)),
    {Request, _} = endless(Server, 1),
    ?assertEqual({error, duplicate}, ?SERVER:run(Server, 1, fun() -> ok end)),
    ok = ?SERVER:cancel(Server, unknown),
    ok = ?SERVER:cancel(Server, 1),
    ?assertEqual({reply, {error, cancelled}}, response(Request)),
    ok = gen_server:stop(Server).

an_operation_is_cancelled_before_all_that_is_queued() ->
    {ok, Server} = ?SERVER:start_link(),
    {Request, Operation} = endless(Server, 0),
    Requests = held(Server, fun() ->
        Requests = queued(Server),
        ok = ?SERVER:cancel(Server, 0),
        Requests
    end),
    %% One sender's messages come in its order.
    ?assertEqual({reply, {error, cancelled}}, ?receiving(Message, gen_server:check_response(Message, Request))),
    eventually(fun() -> not is_process_alive(Operation) end),
    [?assertEqual({reply, {ok, N}}, response(R)) || {N, R} <- Requests],
    ok = gen_server:stop(Server).

the_end_of_an_operation_is_seen_before_all_that_is_queued() ->
    {ok, Server} = ?SERVER:start_link(),
    {Request, Operation} = endless(Server, 0),
    Requests = held(Server, fun() ->
        Requests = queued(Server),
        Operation ! finish,
        eventually(fun() -> not is_process_alive(Operation) end),
        Requests
    end),
    ?assertEqual({reply, {ok, finished}}, ?receiving(Message, gen_server:check_response(Message, Request))),
    [?assertEqual({reply, {ok, N}}, response(R)) || {N, R} <- Requests],
    ok = gen_server:stop(Server).

a_cancelled_id_may_be_used_again() ->
    {ok, Server} = ?SERVER:start_link(),
    {First, _} = endless(Server, 1),
    Second = held(Server, fun() ->
        ok = ?SERVER:cancel(Server, 1),
        gen_server:send_request(Server, {run, 1, fun() -> second end})
    end),
    ?assertEqual({reply, {error, cancelled}}, response(First)),
    ?assertEqual({reply, {ok, second}}, response(Second)),
    ok = gen_server:stop(Server).

a_server_is_shut_down_before_all_that_is_queued() ->
    {ok, Server} = ?SERVER:start_link(),
    unlink(Server),
    Monitor = monitor(process, Server),
    {_, Operation} = endless(Server, 0),
    Requests = held(Server, fun() ->
        Requests = queued(Server),
        ok = erlmcp_priority:send_urgent(Server, shutdown),
        Requests
    end),
    ?assertEqual({shutdown, urgent}, ?receiving({'DOWN', Monitor, process, Server, Reason}, Reason)),
    eventually(fun() -> not is_process_alive(Operation) end),
    [
        ?assertEqual({error, {{shutdown, urgent}, Server}}, response(R))
     || {_, R} <- Requests
    ].

garbage_is_collected_before_all_that_is_queued() ->
    {ok, Server} = ?SERVER:start_link(),
    {Request, Operation} = endless(Server, 0),
    Heap = fun() -> element(2, process_info(Operation, total_heap_size)) end,
    Before = Heap(),
    erlmcp_native_test_lib:logged(fun() ->
        ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self(), from => Server}}),
        try
            held(Server, fun() ->
                _ = queued(Server),
                ok = erlmcp_priority:send_urgent(Server, {emergency_gc})
            end),
            %% Sent by the server, and so in order with its answers.
            ?assertMatch({logged, _}, ?receiving(Message, Message))
        after
            ok = logger:remove_handler(?MODULE)
        end
    end),
    ?assert(Heap() < Before),
    ok = ?SERVER:cancel(Server, 0),
    ?assertEqual({reply, {error, cancelled}}, response(Request)),
    ok = gen_server:stop(Server).

log(#{meta := #{pid := Pid}, msg := Text}, #{config := #{to := To, from := Pid}}) ->
    To ! {logged, Text};
log(_, _) ->
    ok.

control_messages_wait_where_there_is_no_priority() ->
    [
        begin
            {ok, Server} = Start(),
            Seen = held(Server, fun() ->
                [ok = ?DEGRADED:add(Server, 1) || _ <- lists:seq(1, ?QUEUED)],
                Sent = ?DEGRADED:signal(Server, report),
                [ok = ?DEGRADED:add(Server, 1) || _ <- lists:seq(1, ?QUEUED)],
                Sent
            end),
            ?assertEqual({Lane, Sum}, {Seen, ?receiving({sum, Reported}, Reported)}),
            ok = gen_server:stop(Server)
        end
     || {Start, Lane, Sum} <- [
            {fun ?DEGRADED:start_link/0, priority, 0},
            {fun() -> ?DEGRADED:start_link(fun() -> error(badarg) end) end, ordinary, ?QUEUED}
        ]
    ],
    Alias = ?DEGRADED:try_create_priority_alias(fun erlmcp_priority:create_priority_alias/0),
    ?assert(erlmcp_priority:is_priority_alias(Alias)),
    ?assertEqual(undefined, ?DEGRADED:try_create_priority_alias(fun() -> error(badarg) end)).

tool_calls() ->
    {ok, Tools} = ?TOOLS:start_link(tools),
    ?assertEqual(result(1, 42), ?TOOLS:call_tool(Tools, s1, 1, fun() -> 42 end)),
    ?assertEqual(failure(2, ~"Tool crashed"), ?TOOLS:call_tool(Tools, s1, 2, fun() -> exit(oops) end)),
    ?assertMatch({ok, _}, ?CONTROL:send_health_check(tools, full)),
    ?assertEqual(0, ?LIMITS:get_queue_depth(tool_executor, Tools)),
    ok = gen_server:stop(Tools),
    eventually(fun() -> ?CONTROL:components() =:= [] end).

too_many_tool_calls() ->
    ok = ?LIMITS:set_limit(tool_executor, 2),
    {ok, Tools} = ?TOOLS:start_link(tools),
    Calls = [endless_call(Tools, s1, N) || N <- [1, 2]],
    Refusal = ?TOOLS:call_tool(Tools, s1, 3, fun() -> 42 end),
    ?assertMatch(
        #{~"id" := 3, ~"error" := #{~"code" := -32010, ~"data" := #{~"limit" := 2, ~"depth" := 2}}},
        Refusal
    ),
    ?assertMatch({ok, _}, ?CONTROL:send_health_check(tools, readiness)),
    [Call ! finish || {_, Call} <- Calls],
    [?assertEqual({reply, result(N, finished)}, response(R)) || {N, {R, _}} <- lists:enumerate(Calls)],
    ?assertEqual(result(3, 42), ?TOOLS:call_tool(Tools, s1, 3, fun() -> 42 end)),
    ?assertEqual([0, 1], stats([current_depth, total_rejected], tool_executor)),
    ok = gen_server:stop(Tools).

a_tool_call_is_cancelled_before_all_that_is_queued() ->
    ok = ?LIMITS:set_limit(tool_executor, ?QUEUED + 1),
    {ok, Tools} = ?TOOLS:start_link(tools),
    {Request, Call} = endless_call(Tools, s1, 0),
    {Requests, Cancelling} = held(Tools, fun() ->
        Requests = [
            {N, gen_server:send_request(Tools, {call_tool, s1, N, fun() -> N end})}
         || N <- lists:seq(1, ?QUEUED)
        ],
        Asking = asking(fun() -> ?CONTROL:send_cancel_task(tools, 0) end),
        eventually(fun() -> process_info(Tools, message_queue_len) =:= {message_queue_len, ?QUEUED + 1} end),
        {Requests, Asking}
    end),
    ?assertEqual({reply, failure(0, ~"Cancelled")}, ?receiving(M, gen_server:check_response(M, Request))),
    ?assertMatch({ok, _}, asked(Cancelling)),
    eventually(fun() -> not is_process_alive(Call) end),
    [?assertEqual({reply, result(N, N)}, response(R)) || {N, R} <- Requests],
    ?assertEqual(0, ?LIMITS:get_queue_depth(tool_executor, Tools)),
    ok = gen_server:stop(Tools).

%% Data keep coming meanwhile; how long it takes is measured by the benchmark `cancel`.
a_running_tool_is_cancelled_under_data() ->
    {ok, Tools} = ?TOOLS:start_link(tools),
    {Request, Call} = endless_call(Tools, s1, 1),
    Flood = spawn_link(fun() -> flood(Tools, 0) end),
    eventually(fun() -> process_info(Tools, message_queue_len) =/= {message_queue_len, 0} end),
    ?assertMatch({ok, _}, ?CONTROL:send_cancel_task(tools, 1)),
    ?assertEqual({reply, failure(1, ~"Cancelled")}, response(Request)),
    eventually(fun() -> not is_process_alive(Call) end),
    unlink(Flood),
    ok = kill(Flood),
    eventually(fun() -> ?LIMITS:get_queue_depth(tool_executor, Tools) =:= 0 end),
    ok = gen_server:stop(Tools).

flood(Tools, N) ->
    Tools ! {stray, N},
    flood(Tools, N + 1).

a_cancel_overtakes_its_tool_call() ->
    {ok, Tools} = ?TOOLS:start_link(tools),
    Test = self(),
    Request = held(Tools, fun() ->
        Sent = gen_server:send_request(Tools, {call_tool, s1, 1, fun() -> Test ! ran end}),
        ok = ?CONTROL:cast_priority(tools, {control, cancel_task, #{task_id => 1}}),
        Sent
    end),
    ?assertEqual({reply, failure(1, ~"Cancelled")}, response(Request)),
    ?assertMatch({ok, _}, ?CONTROL:send_cancel_task(tools, 2)),
    ?assertEqual(failure(2, ~"Cancelled"), ?TOOLS:call_tool(Tools, s1, 2, fun() -> Test ! ran end)),
    ?assertEqual(nothing, receive ran -> ran after 0 -> nothing end),
    ?assertEqual(result(2, 42), ?TOOLS:call_tool(Tools, s1, 2, fun() -> 42 end)),
    ?assertEqual(0, ?LIMITS:get_queue_depth(tool_executor, Tools)),
    ok = gen_server:stop(Tools).

a_tool_that_looks_ends_by_itself() ->
    {ok, Tools} = ?TOOLS:start_link(tools),
    Test = self(),
    Tool = fun(Token) ->
        Test ! {runs, self(), Token},
        eventually(fun() -> erlmcp_control_cancel:is_cancelled(Token) end),
        Test ! {tidied, erlmcp_control_cancel:reason(Token)}
    end,
    Request = gen_server:send_request(Tools, {call_tool, s1, 1, Tool}),
    {Pid, _} = ?receiving({runs, Looking, Token}, {Looking, Token}),
    Monitor = monitor(process, Pid),
    ?assertMatch({ok, _}, ?CONTROL:send_cancel_task(tools, 1)),
    ?assertEqual({reply, failure(1, ~"Cancelled")}, response(Request)),
    ?assertEqual(cancelled, ?receiving({tidied, Reason}, Reason)),
    ?assertMatch({done, _}, ?receiving({'DOWN', Monitor, process, Pid, Reason}, Reason)),
    ok = gen_server:stop(Tools).

an_id_is_in_use() ->
    {ok, Tools} = ?TOOLS:start_link(tools),
    {Request, Call} = endless_call(Tools, s1, 1),
    ?assertEqual(failure(1, ~"Id is in use"), ?TOOLS:call_tool(Tools, s1, 1, fun() -> 42 end)),
    Call ! finish,
    ?assertEqual({reply, result(1, finished)}, response(Request)),
    eventually(fun() -> ?LIMITS:get_queue_depth(tool_executor, Tools) =:= 0 end),
    ok = gen_server:stop(Tools).

a_drain_lets_tool_calls_finish() ->
    {ok, Tools} = ?TOOLS:start_link(tools),
    Calls = [{s1, 1}, {s1, 2}, {s2, 3}],
    [{Ended, One}, {Going, Two}, {Other, Three}] = [endless_call(Tools, S, N) || {S, N} <- Calls],
    Drains = [asking(fun() -> ?CONTROL:send_drain_session(tools, s1) end) || _ <- [1, 2]],
    ok = refuses(Tools, s1),
    ?assertEqual(result(5, 42), ?TOOLS:call_tool(Tools, s2, 5, fun() -> 42 end)),
    ?assertMatch({ok, _}, ?CONTROL:send_health_check(tools, liveness)),
    One ! finish,
    ?assertEqual({reply, result(1, finished)}, response(Ended)),
    ?assert(lists:all(fun is_process_alive/1, [Asking || {Asking, _} <- Drains])),
    Two ! finish,
    ?assertEqual({reply, result(2, finished)}, response(Going)),
    [?assertMatch({ok, _}, asked(Drain)) || Drain <- Drains],
    ?assertMatch({ok, _}, ?CONTROL:send_drain_session(tools, s1)),
    ?assertEqual(failure(6, ~"Session is draining"), ?TOOLS:call_tool(Tools, s1, 6, fun() -> 42 end)),
    Three ! finish,
    ?assertEqual({reply, result(3, finished)}, response(Other)),
    ok = gen_server:stop(Tools).

a_breaker_refuses_tool_calls() ->
    {ok, Tools} = ?TOOLS:start_link(tools),
    {Accepted, Call} = endless_call(Tools, s1, 1),
    ?assertMatch({ok, _}, ?CONTROL:send_circuit_breaker(tools, query)),
    ?assertMatch({ok, _}, ?CONTROL:send_circuit_breaker(tools, open)),
    ?assertEqual(failure(2, ~"Circuit breaker is open"), ?TOOLS:call_tool(Tools, s1, 2, fun() -> 42 end)),
    ?assertEqual({error, circuit_open}, ?CONTROL:send_circuit_breaker(tools, query)),
    ?assertEqual({error, circuit_open}, ?CONTROL:send_health_check(tools, readiness)),
    Call ! finish,
    ?assertEqual({reply, result(1, finished)}, response(Accepted)),
    [
        begin
            ?assertMatch({ok, _}, ?CONTROL:send_circuit_breaker(tools, Action)),
            ?assertEqual(result(3, 42), ?TOOLS:call_tool(Tools, s1, 3, fun() -> 42 end)),
            ?assertMatch({ok, _}, ?CONTROL:send_health_check(tools, readiness))
        end
     || Action <- [half_open, close]
    ],
    ?assertEqual([0], stats([total_rejected], tool_executor)),
    ok = gen_server:stop(Tools).

a_tool_server_dies() ->
    {ok, Tools} = ?TOOLS:start_link(tools),
    unlink(Tools),
    {_, Call} = endless_call(Tools, s1, 1),
    Drain = asking(fun() -> ?CONTROL:send_drain_session(tools, s1) end),
    ok = refuses(Tools, s1),
    ok = kill(Tools),
    ?assertMatch({error, {handler_crashed, killed}}, asked(Drain)),
    eventually(fun() -> not is_process_alive(Call) end),
    eventually(fun() -> ?CONTROL:components() =:= [] end),
    eventually(fun() -> stats([current_depth], tool_executor) =:= [0] end),
    {ok, Next} = ?TOOLS:start_link(tools),
    ?assertMatch({ok, _}, ?CONTROL:send_drain_session(tools, s1)),
    ok = gen_server:stop(Next).

endless(Server, Id) ->
    started(fun(Work) -> gen_server:send_request(Server, {run, Id, Work}) end).

endless_call(Tools, SessionId, Id) ->
    started(fun(Work) -> gen_server:send_request(Tools, {call_tool, SessionId, Id, Work}) end).

queued(Server) ->
    [{N, gen_server:send_request(Server, {run, N, fun() -> N end})} || N <- lists:seq(1, ?QUEUED)].

%% Waits until a drain has come.
refuses(Tools, SessionId) ->
    eventually(fun() ->
        ?TOOLS:call_tool(Tools, SessionId, 0, fun() -> 42 end) =:= failure(0, ~"Session is draining")
    end).

%% Runs Fun while the process does nothing, so that all it does to its mailbox is there before.
held(Pid, Fun) ->
    true = erlang:suspend_process(Pid),
    try
        Fun()
    after
        true = erlang:resume_process(Pid)
    end.
