-module(erlmcp_native_demo_share).
-moduledoc """
The demo's own share of the CPU: how long the processes that take the numbers, draw them and write them were on a
scheduler, as the runtime's trace of scheduling says, by the CPU time of the whole runtime system in that time. What
the operating system does in between counts as theirs, so this is rather too much.
""".

-export([start/1, read/1]).

-export_type([share/0]).

-doc "A share remembers what is measured since when.".
-opaque share() :: #{tracer := pid(), session := trace:session(), cpu_ms := non_neg_integer()}.

-doc "Starts to measure these processes, and those that write to standard output.".
-spec start([pid()]) -> share().
start(Pids) ->
    Tracer = spawn_link(fun() -> count(#{}, 0) end),
    Session = trace:session_create(?MODULE, Tracer, []),
    Writers = [Pid || Name <- [user, user_drv, user_drv_writer], Pid <- [whereis(Name)], is_pid(Pid)],
    lists:foreach(
        fun(Pid) -> _ = trace:process(Session, Pid, true, [running, monotonic_timestamp]) end,
        Pids ++ Writers
    ),
    {CpuMs, _} = erlang:statistics(runtime),
    #{tracer => Tracer, session => Session, cpu_ms => CpuMs}.

-doc "Returns the milliseconds of the measured processes, the milliseconds of all, and the one by the other.".
-spec read(share()) -> #{own_ms := float(), cpu_ms := non_neg_integer(), share := float()}.
read(#{tracer := Tracer, cpu_ms := Since}) ->
    Reference = make_ref(),
    Tracer ! {read, self(), Reference},
    receive
        {Reference, Ns} ->
            {CpuMs, _} = erlang:statistics(runtime),
            All = CpuMs - Since,
            #{own_ms => Ns / 1.0e6, cpu_ms => All, share => Ns / 1.0e6 / max(1, All)}
    end.

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
