-module(erlmcp_native_soak_mailboxes).
-moduledoc """
Senders fill a mailbox through its limit, and are killed wherever they are: it is never longer than that.

The receiver looks at each message that it takes. It has its messages on its heap, or off it, where senders that are in
each other's way have queues of their own.
""".
-behaviour(erlmcp_native_soak_actor).

-export([init/0, act/1, rest/1]).

-define(B, erlmcp_overload_mailbox).
%% Of the small one the length is asked for at each message; of the large one what others were told is used.
-define(LIMITS, [{soak_mailbox, 20}, {soak_large_mailbox, 1000}]).
-define(SENDERS, 64).
-define(MS, 10).
-define(SILENT_MS, 20).

-doc false.
-spec init() -> [iodata()].
init() ->
    [ok = erlmcp_queue_limits:set_limit(Role, Limit) || {Role, Limit} <- ?LIMITS],
    [].

-doc false.
-spec act([iodata()]) -> {[atom()], [iodata()]}.
act(Found) ->
    {Role, Limit} = lists:nth(rand:uniform(2), ?LIMITS),
    Where = lists:nth(rand:uniform(2), [on_heap, off_heap]),
    {Receiver, Monitor} = spawn_opt(fun() -> receiver(0, 0) end, [monitor, {message_queue_data, Where}]),
    Senders = [spawn_monitor(fun() -> sender(Role, Receiver) end) || _ <- lists:seq(1, ?SENDERS)],
    receive after ?MS -> ok end,
    lists:foreach(fun({Pid, _}) -> true = exit(Pid, kill) end, Senders),
    lists:foreach(fun({Pid, Of}) -> receive {'DOWN', Of, process, Pid, _} -> ok end end, Senders),
    receive
        {'DOWN', Monitor, process, Receiver, {received, Received, Longest}} ->
            Killed = [mailbox_senders_killed || _ <- Senders],
            Hundreds = [hundreds_received || _ <- lists:seq(1, Received div 100)],
            {[mailboxes | Killed ++ Hundreds], [finding(Role, Where, Longest, Limit) || Longest > Limit] ++ Found}
    end.

finding(Role, Where, Longest, Limit) ->
    io_lib:format("a mailbox in ~s, ~s, had ~b messages, ~b at most", [Role, Where, Longest, Limit]).

receiver(Received, Longest) ->
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    receive
        message -> receiver(Received + 1, max(Longest, Length))
    after ?SILENT_MS -> exit({received, Received, Longest})
    end.

sender(Role, Receiver) ->
    _ = ?B:send(Role, Receiver, message),
    sender(Role, Receiver).

-doc false.
-spec rest([iodata()]) -> {[iodata()], [iodata()]}.
rest(Found) ->
    {Found, []}.
