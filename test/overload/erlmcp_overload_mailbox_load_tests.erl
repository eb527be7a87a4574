%% Many senders to one mailbox, some of which are killed wherever they are: it never grows past its limit.
-module(erlmcp_overload_mailbox_load_tests).

-include_lib("eunit/include/eunit.hrl").

-define(B, erlmcp_overload_mailbox).
-define(L, erlmcp_queue_limits).
%% Fewer than there are senders, each of which waits for the receiver to tell its length; and so many that what one was
%% told holds for others.
-define(LIMITS, [20, 1000]).
-define(SENDERS, 64).
-define(RECEIVED, 100_000).
-define(FILLED_EVERY, 5000).
%% A message that is in a buffer of the runtime when it matters is no everyday event.
-define(ROUNDS, 8).

no_overshoot_test_() ->
    {setup, fun erlmcp_native_test_lib:start/0, fun erlmcp_native_test_lib:stop/1, [
        {lists:concat([Kind, " ", Limit]), {timeout, 120, fun() -> no_overshoot(Kind, Limit, Rounds) end}}
     || {Kind, Rounds} <- [{on_heap, 1}, {off_heap, ?ROUNDS}], Limit <- ?LIMITS
    ]}.

no_overshoot(Kind, Limit, Rounds) ->
    Busy = [spawn_link(fun Spin() -> Spin() end) || _ <- lists:seq(1, Rounds)],
    [no_overshoot(Kind, Limit) || _ <- lists:seq(1, Rounds)],
    [begin unlink(Pid), exit(Pid, kill) end || Pid <- Busy].

no_overshoot(Kind, Limit) ->
    ok = ?L:set_limit(s, Limit),
    {Receiver, Monitor} = spawn_opt(fun() -> exit({highest, received(?RECEIVED, Limit, 0)}) end, [
        monitor, {message_queue_data, Kind}
    ]),
    Senders = [spawn_monitor(fun() -> sender(Receiver) end) || _ <- lists:seq(1, ?SENDERS)],
    {Killer, Killing} = spawn_opt(fun() -> killer(Receiver, maps:from_list(Senders)) end, [link, monitor]),
    receive
        {'DOWN', Monitor, process, Receiver, {highest, Highest}} ->
            ?assertEqual(Limit, Highest)
    end,
    [receive {'DOWN', Of, process, Pid, _} -> ok end || {Pid, Of} <- Senders],
    %% It ends by itself, as they do.
    receive {'DOWN', Killing, process, Killer, _} -> ok end.

%% What the receiver finds in its own mailbox is what is there. Now and then it lets them fill it.
received(0, _, Highest) ->
    Highest;
received(Left, Limit, Highest) when Left rem ?FILLED_EVERY =:= 0 ->
    received(Left, Limit, max(Highest, filled(Limit)), take);
received(Left, Limit, Highest) ->
    received(Left, Limit, max(Highest, length_now()), take).

received(Left, Limit, Highest, take) ->
    receive
        _ -> received(Left - 1, Limit, Highest)
    end.

filled(Limit) ->
    case length_now() of
        Length when Length >= Limit ->
            Length;
        _ ->
            erlang:yield(),
            filled(Limit)
    end.

length_now() ->
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    Length.

sender(Receiver) ->
    case ?B:send(s, Receiver, message) of
        {error, noproc} -> ok;
        _ -> sender(Receiver)
    end.

%% Each that is killed has a successor, until the receiver has had enough.
killer(Receiver, Senders) ->
    case is_process_alive(Receiver) of
        true ->
            [Victim | _] = maps:keys(Senders),
            exit(Victim, kill),
            {Next, Monitor} = spawn_monitor(fun() -> sender(Receiver) end),
            receive after 1 -> ok end,
            killer(Receiver, maps:put(Next, Monitor, maps:remove(Victim, Senders)));
        false ->
            ok
    end.
