-module(erlmcp_native_demo_share).
-moduledoc """
The demo's own share of the CPU: how long the processes that take the numbers, draw them and write them were on a
scheduler, as the runtime's trace of scheduling says, by how long all schedulers were busy in that time. Either counts
on while the operating system runs something else.
""".

-export([start/1, read/1, busy_ns/3]).

-export_type([share/0, walls/0]).

-doc "A share remembers what is measured since when.".
-opaque share() :: #{tracer := pid(), session := trace:session(), since_ns := integer(), walls := walls()}.
-doc "These are the numbers of `erlang:statistics(scheduler_wall_time)`, of which only ratios mean something.".
-type walls() :: [{Scheduler :: pos_integer(), Active :: non_neg_integer(), Total :: non_neg_integer()}].

-doc """
Starts to measure these processes, and those that write to standard output, as long as the caller lives.
""".
-spec start([pid()]) -> share().
start(Pids) ->
    Tracer = spawn_link(fun() -> count(#{}, 0) end),
    Session = trace:session_create(?MODULE, Tracer, []),
    Writers = [Pid || Name <- [user, user_drv, user_drv_writer], Pid <- [whereis(Name)], is_pid(Pid)],
    lists:foreach(
        fun(Pid) -> _ = trace:process(Session, Pid, true, [running, monotonic_timestamp]) end,
        Pids ++ Writers
    ),
    _ = erlang:system_flag(scheduler_wall_time, true),
    #{tracer => Tracer, session => Session, since_ns => now_ns(), walls => walls()}.

-doc "Returns the milliseconds of the measured processes, those of all, and the one by the other.".
-spec read(share()) -> #{own_ms := float(), busy_ms := float(), share := float()}.
read(#{tracer := Tracer, since_ns := Since, walls := Walls}) ->
    Reference = make_ref(),
    Tracer ! {read, self(), Reference},
    receive
        {Reference, Ns} ->
            Busy = busy_ns(now_ns() - Since, Walls, walls()),
            #{own_ms => Ns / 1.0e6, busy_ms => Busy / 1.0e6, share => Ns / max(1.0e6, Busy)}
    end.

-doc "Returns how long all schedulers together were busy, in a time and between two readings of their numbers.".
-spec busy_ns(Ns :: non_neg_integer(), walls(), walls()) -> float().
busy_ns(Ns, Before, After) ->
    Shares = [(B - A) / max(1, Q - P) || {{Id, A, P}, {Id, B, Q}} <- lists:zip(lists:sort(Before), lists:sort(After))],
    Ns * lists:sum([0.0 | Shares]).

walls() ->
    erlang:statistics(scheduler_wall_time).

now_ns() ->
    erlang:monotonic_time(nanosecond).

count(Since, Ns) ->
    receive
        {trace_ts, Pid, in, _, At} ->
            count(Since#{Pid => At}, Ns);
        {trace_ts, Pid, out, _, At} when is_map_key(Pid, Since) ->
            {From, Others} = maps:take(Pid, Since),
            count(Others, Ns + At - From);
        {trace_ts, _, _, _, _} ->
            count(Since, Ns);
        {read, From, Reference} ->
            From ! {Reference, Ns},
            count(Since, Ns)
    end.
