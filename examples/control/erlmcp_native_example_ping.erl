-module(erlmcp_native_example_ping).
-moduledoc """
Asks a process whether it still takes messages, ahead of whatever it has queued: `{priority, From, {ping, Ref}}`
is answered with `{pong, Ref}`.

The process that waits is one of its own, so that a pong that comes too late goes with it and is not left in
the caller's mailbox.
""".

-export([ping/2]).

-doc """
Pings a process and waits for the pong, at most so many milliseconds. `{error, Reason}` is a timeout, or the reason
that the process died of. Raises `badarg` as `erlmcp_priority:send_priority/3` does.
""".
-spec ping(pid(), TimeoutMs :: timeout()) -> ok | {error, timeout | term()}.
ping(Server, TimeoutMs) ->
    Ref = make_ref(),
    {Waiting, Monitor} = spawn_monitor(fun() -> exit(wait(Server, Ref, TimeoutMs)) end),
    try
        ok = erlmcp_priority:send_priority(Server, {ping, Ref}, Waiting)
    catch
        error:badarg:Stacktrace ->
            exit(Waiting, kill),
            demonitor(Monitor, [flush]),
            erlang:raise(error, badarg, Stacktrace)
    end,
    receive
        {'DOWN', Monitor, process, Waiting, Result} -> Result
    end.

wait(Server, Ref, TimeoutMs) ->
    Monitor = monitor(process, Server),
    receive
        {pong, Ref} -> ok;
        {'DOWN', Monitor, process, Server, Reason} -> {error, Reason}
    after TimeoutMs -> {error, timeout}
    end.
