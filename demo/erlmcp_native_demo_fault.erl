-module(erlmcp_native_demo_fault).
-moduledoc """
What goes wrong on purpose, and what it does: executors are killed with their queues full, and so is the process
`erlmcp_queue_limits`.
""".

-export([kill_executor/1, kill_limits/0]).

-export_type([freed/0, survived/0]).

-define(DEADLINE_MS, 5_000).
-define(ROLE, task_worker).
-define(OWNER, erlmcp_native_demo_witness).
-define(WITNESSES, 7).

-doc """
This says of a dead executor its last depth, what was left of it at the deadline, and how long it took to be 0.
""".
-type freed() :: #{process := pid(), depth := non_neg_integer(), left := non_neg_integer(), us := non_neg_integer()}.
-doc """
This says of a crash of the service how long it was away, and how many counts were not there any more afterwards.
""".
-type survived() :: #{away_us := non_neg_integer(), counts_lost := non_neg_integer()}.

-doc "Kills the fullest of the executors, and waits until its count is gone.".
-spec kill_executor([pid(), ...]) -> freed().
kill_executor(Executors) ->
    {Depth, Pid} = lists:max([{depth(Pid), Pid} || Pid <- Executors]),
    Start = erlang:monotonic_time(microsecond),
    true = exit(Pid, kill),
    _ = until(fun() -> depth(Pid) =:= 0 end, Start),
    #{process => Pid, depth => Depth, left => depth(Pid), us => erlang:monotonic_time(microsecond) - Start}.

depth(Pid) ->
    erlmcp_queue_limits:get_queue_depth(tool_executor, Pid).

-doc """
Kills the service, and waits for its successor. What must be there afterwards: the depth of an owner that nothing else
counts for, and at least the totals of before, for they only grow.
""".
-spec kill_limits() -> survived().
kill_limits() ->
    lists:foreach(fun(_) -> ok = erlmcp_queue_limits:record_enqueue(?ROLE, ?OWNER) end, lists:seq(1, ?WITNESSES)),
    Before = totals(),
    Pid = whereis(erlmcp_queue_limits),
    Start = erlang:monotonic_time(microsecond),
    true = exit(Pid, kill),
    _ = until(fun() -> is_pid(whereis(erlmcp_queue_limits)) andalso whereis(erlmcp_queue_limits) =/= Pid end, Start),
    Away = erlang:monotonic_time(microsecond) - Start,
    After = totals(),
    Witnesses = erlmcp_queue_limits:get_queue_depth(?ROLE, ?OWNER),
    ok = erlmcp_queue_limits:forget(?ROLE, ?OWNER),
    Lost = lists:sum([max(0, Total - maps:get(Key, After, 0)) || {Key, Total} <- maps:to_list(Before)]),
    #{away_us => Away, counts_lost => abs(?WITNESSES - Witnesses) + Lost}.

totals() ->
    Roles = erlmcp_queue_limits:get_all_stats(),
    #{
        {Role, Key} => maps:get(Key, Stats)
     || Role := Stats <- Roles, Key <- [total_enqueued, total_dequeued, total_rejected, total_released]
    }.

until(Done, Start) ->
    Late = erlang:monotonic_time(microsecond) - Start > ?DEADLINE_MS * 1000,
    case Late orelse Done() of
        true -> ok;
        false -> receive after 1 -> until(Done, Start) end
    end.
