-module(erlmcp_native_event_sample_tests).

-include_lib("eunit/include/eunit.hrl").

-define(M, erlmcp_native_event_sample).

sample_test_() ->
    {foreach, fun up/0, fun erlmcp_overload_test_lib:down/1, [
        {atom_to_list(Name), {timeout, 60, Test}}
     || Test <- [fun an_owner_that_does_not_answer_stops_no_stream/0],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

up() ->
    Level = erlmcp_overload_test_lib:up(),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    Level.

an_owner_that_does_not_answer_stops_no_stream() ->
    {Pid, Go} = erlmcp_native_test_lib:silent(8000),
    [ok = erlmcp_overload_mailbox:send(r, Pid, wait) || _ <- lists:seq(1, 3)],
    Go(fun() ->
        {_, Monitor} = ?M:start(?M:none(), none),
        receive
            {'DOWN', Monitor, process, _, {sample, Json, none, _}} -> ?assertMatch([_], rows(Json, pid_to_list(Pid)))
        end,
        ?assertEqual(silent, erlmcp_native_process_info:one(Pid, status, 1))
    end),
    erlmcp_native_test_lib:kill(Pid).

rows(Json, Process) ->
    #{~"fullest" := Rows} = json:decode(Json),
    [Row || #{~"process" := Of, ~"silent" := true} = Row <- Rows, Of =:= list_to_binary(Process)].
