-module(erlmcp_native_demo_fault).
-moduledoc """
What goes wrong on purpose, and what it does: executors are killed with their queues full, and so is the process
`erlmcp_queue_limits`; a session stands still while all its clients go on; and somebody who asks nobody sends to a
process that hangs.
""".

-export([kill_executor/1, kill_limits/0, hang_session/1, send_naively/1, until/3]).

-export_type([kind/0, freed/0, survived/0, hung/0, drowned/0]).

-define(DEADLINE_MS, 5_000).
-define(ROLE, task_worker).
-define(OWNER, erlmcp_native_demo_witness).
-define(WITNESSES, 7).
-define(HUNG_MS, 500).
-define(BURST, 50).

-doc "A kind says what goes wrong.".
-type kind() :: executor | limits | session | naive.
-doc """
This says of a dead executor its last depth, what was left of it at the deadline, and how long it took to be 0.
""".
-type freed() :: #{process := pid(), depth := non_neg_integer(), left := non_neg_integer(), us := non_neg_integer()}.
-doc """
This says of a crash of the service how long it was away, and how many counts were not there any more afterwards.
""".
-type survived() :: #{away_us := non_neg_integer(), counts_lost := non_neg_integer()}.

-doc "This says of a session that stood still how many came to wait in its mailbox, its limit, and for how long.".
-type hung() :: #{process := pid(), depth := non_neg_integer(), limit := pos_integer(), us := non_neg_integer()}.
-doc """
This says of a process that a bare `!` drowned how long its mailbox was when the watch told of it, if it did before the
deadline, and how long after the message that crossed.
""".
-type drowned() :: #{process := pid(), depth := non_neg_integer(), told := boolean(), us := non_neg_integer()}.

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

-doc "Has a session stand still until its mailbox is full, and for half a second at least.".
-spec hang_session([pid(), ...]) -> hung().
hang_session([Session | _]) ->
    Limit = erlmcp_queue_limits:get_limit(session),
    Start = erlang:monotonic_time(microsecond),
    true = erlang:suspend_process(Session),
    IsLong = fun() -> erlang:monotonic_time(microsecond) - Start >= ?HUNG_MS * 1000 end,
    ok = until(fun() -> mailbox(Session) >= Limit andalso IsLong() end, Start),
    Depth = mailbox(Session),
    true = erlang:resume_process(Session),
    #{process => Session, depth => Depth, limit => Limit, us => erlang:monotonic_time(microsecond) - Start}.

-doc "Sends to a process that takes nothing, 50 messages at a time by a bare `!`, until the watch tells of it.".
-spec send_naively(erlmcp_native_demo_handler:book()) -> drowned().
send_naively(Book) ->
    #{overload := Length} = erlmcp_overload_mailbox:watched(),
    Victim = spawn(fun() -> receive stop -> ok end end),
    CrossedAt = drown(Victim, Length),
    Told = fun() -> erlmcp_native_demo_handler:told(Book, Victim) end,
    ok = until(fun() -> burst(Victim) =:= ok andalso Told() =/= not_yet end, CrossedAt),
    Drowned =
        case Told() of
            {Depth, At} -> #{told => true, depth => Depth, us => At - CrossedAt};
            not_yet -> #{told => false, depth => mailbox(Victim), us => ?DEADLINE_MS * 1000}
        end,
    true = exit(Victim, kill),
    Drowned#{process => Victim}.

%% When it began to send what crossed.
drown(Victim, Left) ->
    Now = erlang:monotonic_time(microsecond),
    ok = burst(Victim),
    case Left =< ?BURST of
        true -> Now;
        false -> receive after 1 -> drown(Victim, Left - ?BURST) end
    end.

burst(Victim) ->
    lists:foreach(fun(N) -> Victim ! {request, N} end, lists:seq(1, ?BURST)).

mailbox(Pid) ->
    erlmcp_overload_mailbox:depth(Pid).

until(Done, Start) ->
    until(Done, Start, ?DEADLINE_MS).

-doc "Waits until something holds, or so many milliseconds have passed since `Start`, in microseconds.".
-spec until(fun(() -> boolean()), Start :: integer(), DeadlineMs :: pos_integer()) -> ok.
until(Done, Start, DeadlineMs) ->
    Late = erlang:monotonic_time(microsecond) - Start > DeadlineMs * 1000,
    case Late orelse Done() of
        true -> ok;
        false -> receive after 1 -> until(Done, Start, DeadlineMs) end
    end.
