%% The four guarantees of priority messages, over random traffic of several senders.
-module(prop_erlmcp_priority).

-include_lib("proper/include/proper.hrl").

-export([prop_all_at_once/0, prop_in_stages/0, prop_unused/0]).

-import(erlmcp_priority_test_lib, [
    receiver/0, receiver/1, in/2, alias_in/1, arrived/2, mailbox/1, taken/2, stop/1
]).

-define(NAME, prop_erlmcp_priority_receiver).
-define(SENDERS, 4).

%% Senders at the same time, to a receiver that looks when all is there.
prop_all_at_once() ->
    ?FORALL(
        Scripts,
        vector(?SENDERS, list(message())),
        begin
            {Pid, Aliases} = destination(),
            _ = erlmcp_native_test_lib:parallel(?SENDERS, fun(Sender) ->
                Numbered = lists:enumerate(lists:nth(Sender, Scripts)),
                [send(Message, {Sender, N}, Pid, Aliases) || {N, Message} <- Numbered]
            end),
            ok = arrived(Pid, length(lists:append(Scripts))),
            Received = mailbox(Pid),
            ok = stop(Pid),
            Waiting = length([Lane || {Lane, _} <- lists:append(Scripts), Lane =/= ordinary]),
            ?WHENFAIL(
                io:format("~nreceived ~p~n", [Received]),
                priority_first(Received, Waiting) andalso in_order(Received) andalso
                    length(Received) =:= length(lists:append(Scripts))
            )
        end
    ).

%% A receiver that takes some of what waits, and then more comes.
prop_in_stages() ->
    ?FORALL(
        Steps,
        list(frequency([{4, {range(1, ?SENDERS), message()}}, {1, {take, range(1, 8)}}])),
        begin
            {Pid, Aliases} = destination(),
            Senders = [receiver() || _ <- lists:seq(1, ?SENDERS)],
            Numbered = lists:enumerate(Steps ++ [{take, length(Steps)}]),
            {_, Stages} = lists:foldl(
                fun(Step, State) -> step(Step, State, Pid, Aliases, Senders) end, {{0, 0}, []}, Numbered
            ),
            [ok = stop(Process) || Process <- [Pid | Senders]],
            Received = lists:append([Taken || {Taken, _} <- lists:reverse(Stages)]),
            ?WHENFAIL(
                io:format("~nstages ~p~n", [lists:reverse(Stages)]),
                lists:all(fun({Taken, Waiting}) -> priority_first(Taken, Waiting) end, Stages) andalso
                    in_order(Received) andalso
                    length(Received) =:= length([sent || {Sender, _} <- Steps, Sender =/= take])
            )
        end
    ).

%% The state: how many wait in each lane, and for each stage what was taken, and how much of it must be
%% priority messages.
step({_, {take, Number}}, {{Priority, Ordinary}, Stages}, Pid, _, _) ->
    ok = arrived(Pid, Priority + Ordinary),
    First = min(Number, Priority),
    Left = {Priority - First, Ordinary - min(Number - First, Ordinary)},
    {Left, [{taken(Pid, Number), First} | Stages]};
step({N, {Sender, {Lane, _} = Message}}, {{Priority, Ordinary}, Stages}, Pid, Aliases, Senders) ->
    in(lists:nth(Sender, Senders), fun() -> send(Message, {Sender, N}, Pid, Aliases) end),
    case Lane of
        ordinary -> {{Priority, Ordinary + 1}, Stages};
        _ -> {{Priority + 1, Ordinary}, Stages}
    end.

%% A process that has an alias and gets no priority messages is no different from one that has none.
prop_unused() ->
    ?FORALL(
        Messages,
        list({range(1, ?SENDERS), oneof([integer(), binary(), list(integer()), {float(), boolean()}])}),
        begin
            [With, _] = Both = [receiver([{message_queue_data, off_heap}]) || _ <- [1, 2]],
            _ = alias_in(With),
            Senders = [receiver() || _ <- lists:seq(1, ?SENDERS)],
            [in(Pid, fun() -> erlang:garbage_collect() end) || Pid <- Both],
            Processes = {erlang:system_info(process_count), erlmcp_native:alias_processes()},
            Before = [usage(Pid) || Pid <- Both],
            [
                in(lists:nth(Sender, Senders), fun() -> [Pid ! {ordinary, Message} || Pid <- Both] end)
             || {Sender, Message} <- Messages
            ],
            [ok = arrived(Pid, length(Messages)) || Pid <- Both],
            After = [usage(Pid) || Pid <- Both],
            Grown = [lists:zipwith(fun erlang:'-'/2, New, Old) || {New, Old} <- lists:zip(After, Before)],
            ok = erlmcp_native_test_lib:eventually(fun() ->
                {erlang:system_info(process_count), erlmcp_native:alias_processes()} =< Processes
            end),
            Mailboxes = [mailbox(Pid) || Pid <- Both],
            [ok = stop(Pid) || Pid <- Both ++ Senders],
            ?WHENFAIL(
                io:format("~ngrown ~p~nmailboxes ~p~n", [Grown, Mailboxes]),
                Mailboxes =:= [[{ordinary, Message} || {_, Message} <- Messages] || _ <- Both] andalso
                    hd(Grown) =:= lists:last(Grown)
            )
        end
    ).

usage(Pid) ->
    ok = erlmcp_native_test_lib:eventually(fun() -> process_info(Pid, status) =:= {status, waiting} end),
    Keys = [message_queue_len, memory, total_heap_size],
    [Value || {_, Value} <- process_info(Pid, Keys)].

message() ->
    {oneof([ordinary, ordinary, priority, urgent]), oneof([pid, name, old_alias, new_alias])}.

destination() ->
    Pid = receiver(),
    true = register(?NAME, Pid),
    {Pid, [alias_in(Pid), alias_in(Pid)]}.

send({Lane, By}, Message, Pid, [Old, New]) ->
    To = maps:get(By, #{pid => Pid, name => ?NAME, old_alias => Old, new_alias => New}),
    case Lane of
        ordinary -> To ! {ordinary, Message};
        priority -> ok = erlmcp_priority:send_priority(To, Message, self());
        urgent -> ok = erlmcp_priority:send_urgent(To, Message)
    end.

%% So many priority messages, and then ordinary ones only.
priority_first(Received, Number) ->
    [lane(Message) || Message <- Received] =:=
        lists:duplicate(Number, priority) ++ lists:duplicate(length(Received) - Number, ordinary).

%% In each lane, what one sender sent is received in that order.
in_order(Received) ->
    lists:all(
        fun(Key) ->
            Numbers = [number(Message) || Message <- Received, {lane(Message), sender(Message)} =:= Key],
            Numbers =:= lists:usort(Numbers)
        end,
        [{Lane, Sender} || Lane <- [priority, ordinary], Sender <- lists:seq(1, ?SENDERS)]
    ).

lane({ordinary, _}) -> ordinary;
lane({urgent, _}) -> priority;
lane({priority, _, _}) -> priority.

sender(Message) -> element(1, sent(Message)).
number(Message) -> element(2, sent(Message)).
sent(Message) -> element(tuple_size(Message), Message).
