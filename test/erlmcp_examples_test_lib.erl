%% What the suites of the examples share: services, work that lasts until it is told to finish, those who ask and wait.
-module(erlmcp_examples_test_lib).

-export([with_services/1, result/2, failure/2, started/1, response/1, asking/1, asked/1]).

-import(erlmcp_native_test_lib, [quiet/0, loud/1]).

-define(CONTROL, erlmcp_control_plane).
-define(LIMITS, erlmcp_queue_limits).
-define(DEADLINE_MS, 10000).

%% A receive with a deadline.
-define(receiving(Pattern, Value),
    receive
        Pattern -> Value
    after ?DEADLINE_MS -> error({not_received, ??Pattern, process_info(self(), messages)})
    end
).

%% Each test has services of its own, and nothing is logged.
with_services(Tests) ->
    {foreach,
        fun() ->
            Level = quiet(),
            [{ok, _}, {ok, _}] = [Service:start_link() || Service <- [?LIMITS, ?CONTROL]],
            [unlink(whereis(Service)) || Service <- [?LIMITS, ?CONTROL]],
            [ok = ?LIMITS:set_limit(Role, infinity) || Role <- [session_backend, operation, summand]],
            Level
        end,
        fun(Level) ->
            [ok = gen_server:stop(Service) || Service <- [?CONTROL, ?LIMITS]],
            loud(Level)
        end,
        [{timeout, 60, Test} || Test <- Tests]}.

result(Id, Result) ->
    #{~"jsonrpc" => ~"2.0", ~"id" => Id, ~"result" => Result}.

failure(Id, Text) ->
    #{~"jsonrpc" => ~"2.0", ~"id" => Id, ~"error" => #{~"code" => -32000, ~"message" => Text}}.

%% Work that leaves garbage and lasts until it is told to finish, and its process.
started(Start) ->
    {Test, Ref} = {self(), make_ref()},
    Started = Start(fun() ->
        _ = lists:sum(lists:seq(1, 100000)),
        Test ! {Ref, self()},
        receive
            finish -> finished
        end
    end),
    {Started, ?receiving({Ref, Pid}, Pid)}.

response(Request) ->
    gen_server:receive_response(Request, ?DEADLINE_MS).

asking(Ask) ->
    spawn_monitor(fun() -> exit({answer, Ask()}) end).

asked({Pid, Monitor}) ->
    ?receiving({'DOWN', Monitor, process, Pid, {answer, Answer}}, Answer).
