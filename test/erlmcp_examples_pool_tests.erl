%% What the examples of a pool and of a cowboy handler answer, beside what erlmcp_examples_drowned_tests shows of them.
-module(erlmcp_examples_pool_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_test_lib, [eventually/1, kill/1, with_service/1]).

-define(POOL, erlmcp_native_example_pool).
-define(HTTP, erlmcp_native_example_http).
-define(LIMITS, erlmcp_queue_limits).
-define(DEADLINE_MS, 10000).

pool_test_() ->
    with_service([
        fun jobs/0,
        fun an_answer_that_comes_late_is_dropped/0,
        fun who_waits_for_a_worker_that_dies_is_told/0,
        fun a_worker_that_dies_takes_no_other_along/0,
        fun a_pool_outlives_its_group/0
    ]).

http_test_() ->
    with_service([fun requests/0, fun admission/0]).

jobs() ->
    ok = started(2),
    ?assertEqual({ok, 42}, ?POOL:run(fun() -> 42 end, ?DEADLINE_MS)),
    Workers = erlmcp_native_example_pool_worker:members(),
    ?assertEqual({error, {crashed, {throw, oops}}}, ?POOL:run(fun() -> throw(oops) end, ?DEADLINE_MS)),
    ok = ?POOL:submit(fun() -> exit(oops) end),
    Test = self(),
    ok = ?POOL:submit(fun() -> Test ! {done, self()} end),
    receive
        {done, Worker} -> ?assert(lists:member(Worker, Workers))
    after ?DEADLINE_MS -> error(not_done)
    end,
    [_ = sys:get_state(Worker) || Worker <- Workers],
    ?assertEqual(lists:sort(Workers), lists:sort(erlmcp_native_example_pool_worker:members())),
    ok = ?LIMITS:set_limit(example_pool, 0),
    ?assertMatch({error, {busy, _}}, ?POOL:run(fun() -> 42 end, ?DEADLINE_MS)),
    ok = stopped(),
    ?assertEqual({error, no_worker}, ?POOL:submit(fun() -> 42 end)).

an_answer_that_comes_late_is_dropped() ->
    ok = started(1),
    [Worker] = erlmcp_native_example_pool_worker:members(),
    ok = sys:suspend(Worker),
    ?assertEqual({error, timeout}, ?POOL:run(fun() -> 42 end, 1)),
    ok = sys:resume(Worker),
    ?assertEqual({ok, 43}, ?POOL:run(fun() -> 43 end, ?DEADLINE_MS)),
    ?assertEqual({messages, []}, process_info(self(), messages)),
    ok = stopped().

who_waits_for_a_worker_that_dies_is_told() ->
    ok = started(1),
    [Worker] = erlmcp_native_example_pool_worker:members(),
    ok = sys:suspend(Worker),
    {Pid, Ref} = spawn_monitor(fun() -> exit(?POOL:run(fun() -> 42 end, infinity)) end),
    eventually(fun() -> process_info(Worker, message_queue_len) =:= {message_queue_len, 1} end),
    ok = kill(Worker),
    receive
        {'DOWN', Ref, process, Pid, Answer} -> ?assertEqual({error, {worker_died, killed}}, Answer)
    after ?DEADLINE_MS -> error(not_told)
    end,
    eventually(fun() -> ?POOL:run(fun() -> 42 end, ?DEADLINE_MS) =:= {ok, 42} end),
    ok = stopped().

a_worker_that_dies_takes_no_other_along() ->
    ok = started(4),
    Workers = erlmcp_native_example_pool_worker:members(),
    [
        begin
            Others = erlmcp_native_example_pool_worker:members() -- [Worker],
            ok = kill(Worker),
            eventually(fun() ->
                Members = erlmcp_native_example_pool_worker:members(),
                length(Members) =:= length(Workers) andalso not lists:member(Worker, Members)
            end),
            ?assertEqual([], Others -- erlmcp_native_example_pool_worker:members())
        end
     || Worker <- Workers
    ],
    ok = stopped().

a_pool_outlives_its_group() ->
    ok = started(2),
    Workers = erlmcp_native_example_pool_worker:members(),
    ok = kill(whereis(erlmcp_native_example_pool_worker)),
    eventually(fun() -> length(erlmcp_native_example_pool_worker:members() -- Workers) =:= 2 end),
    ?assertEqual({ok, 42}, ?POOL:run(fun() -> 42 end, ?DEADLINE_MS)),
    ok = stopped().

started(Workers) ->
    {ok, Pool} = ?POOL:start_link(Workers),
    true = unlink(Pool),
    ok.

stopped() -> gen_server:stop(?POOL).

admission() ->
    {ok, _} = application:ensure_all_started(cowboy),
    ok = erlmcp_overload_rate:define(?MODULE, #{rate => {3, hour}}),
    Routes = ?HTTP:routes(nobody, fun(_) -> not_reached end),
    Address = fun(Req) -> element(1, cowboy_req:peer(Req)) end,
    Options = erlmcp_native_example_admission:options(Routes, ?MODULE, Address),
    {ok, _} = cowboy:start_clear(?MODULE, [{port, 0}], Options),
    Port = ranch:get_port(?MODULE),
    Post = fun() -> erlmcp_examples_drowned:post(Port, ~B'{"id":1,"params":[1]}', ?DEADLINE_MS) end,
    try
        ?assertMatch({200, none, #{~"error" := _}}, Post()),
        ok = ?LIMITS:set_limit(http_listener, 0),
        {503, <<_, _/binary>>, Full} = Post(),
        ?assertMatch(#{~"status" := 503, ~"role" := ~"http_listener", ~"reason" := ~"full"}, Full),
        {503, _, _} = Post(),
        {429, RetryAfter, TooFast} = Post(),
        ?assert(lists:member(binary_to_integer(RetryAfter), lists:seq(1199, 1440))),
        ?assertMatch(#{~"status" := 429, ~"reason" := ~"rate", ~"limit" := 3}, TooFast),
        ?assertEqual(0, ?LIMITS:get_queue_depth(http_listener, erlmcp_native_example_admission))
    after
        cowboy:stop_listener(?MODULE)
    end.

requests() ->
    {ok, _} = application:ensure_all_started(cowboy),
    Work = fun(#{~"params" := Params}) -> lists:sum(Params) end,
    Dispatch = cowboy_router:compile([{'_', ?HTTP:routes(nobody, Work)}]),
    {ok, _} = cowboy:start_clear(?MODULE, [{port, 0}], #{env => #{dispatch => Dispatch}}),
    Port = ranch:get_port(?MODULE),
    Post = fun(Body) -> erlmcp_examples_drowned:post(Port, Body, ?DEADLINE_MS) end,
    try
        Ended = Post(~B'{"id":1,"params":[1]}'),
        ?assertMatch({200, none, #{~"error" := #{~"message" := ~"Session has ended"}}}, Ended),
        [
            ?assertMatch({200, none, #{~"id" := null, ~"error" := #{~"code" := -32600}}}, Post(Body))
         || Body <- [~"no JSON", ~"[]", ~"{}"]
        ],
        ?assertMatch({413, none, none}, Post(binary:copy(~" ", 100_000))),
        ok = ?LIMITS:set_limit(http_request, 0),
        {503, RetryAfter, #{~"error" := #{~"code" := -32010}}} = Post(~B'{"id":1,"params":[1]}'),
        ?assert(lists:member(RetryAfter, [~"1", ~"2"])),
        ?assertEqual(0, ?LIMITS:get_queue_depth(http_request, ?HTTP))
    after
        cowboy:stop_listener(?MODULE)
    end.
