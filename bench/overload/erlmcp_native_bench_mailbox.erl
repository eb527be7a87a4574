-module(erlmcp_native_bench_mailbox).
-moduledoc """
Messages to bounded mailboxes beside those to unbounded ones: `send/3` beside a bare `!`, `call/4` beside
`gen_server:call/3`, refusals, and a choice of receivers beside taking turns.

A receiver that *waits* is suspended while it is sent to, so that nothing runs beside the sender; one that *takes*
receives all the while, on the other scheduler if there is one.
""".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(ROLE, session).
-define(CLOSED_ROLE, tool_executor).
%% So many messages are sent before time is looked at; a receiver that waits is then emptied.
-define(BATCH, 1000).
%% Where it matters who gets a request: much less, and hardly anybody waits.
-define(LOAD, 0.95).

-doc "Times each pair in turn, so that whatever else the machine does hits both.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{rounds := Rounds, quick := Quick}) ->
    {ok, _} = erlmcp_queue_limits:start_link(),
    ok = erlmcp_queue_limits:set_limit(?ROLE, 100_000_000),
    ok = erlmcp_queue_limits:set_limit(?CLOSED_ROLE, 0),
    Batches = 20 * Rounds,
    Waits = waits(Batches),
    Takes = [{Senders, Receivers, takes(Senders, Receivers, Batches)} || Senders <- [1, 16], Receivers <- [1, 16]],
    Calls = calls(Batches),
    Requests = case Quick of true -> 4_000; false -> 40_000 end,
    Choices = [{Load, erlmcp_native_bench_choice:run(?ROLE, Requests, Load)} || Load <- [0.8, ?LOAD]],
    ok = gen_server:stop(erlmcp_queue_limits),
    result(Waits, Takes, Calls, Choices).

%% Nanoseconds a message, least of the batches.
waits(Batches) ->
    Receiver = spawn_link(fun receiver/0),
    Kinds = [{bare, ?ROLE}, {send, ?ROLE}, {send, ?CLOSED_ROLE}],
    Rounds = [[batch(Kind, Role, Receiver) || {Kind, Role} <- Kinds] || _ <- lists:seq(1, Batches)],
    [Bare, Send, Refusal] = [lists:min(Column) || Column <- columns(Rounds)],
    stop(Receiver),
    #{bare => Bare, send => Send, refusal => Refusal}.

batch(Kind, Role, Receiver) ->
    true = erlang:suspend_process(Receiver),
    Ns = timed(fun() -> messages(Kind, Role, Receiver, ?BATCH) end),
    true = erlang:resume_process(Receiver),
    ok = emptied(Receiver),
    Ns / ?BATCH.

messages(_, _, _, 0) ->
    ok;
messages(bare, Role, Receiver, N) ->
    Receiver ! message,
    messages(bare, Role, Receiver, N - 1);
messages(send, Role, Receiver, N) ->
    _ = erlmcp_overload_mailbox:send(Role, Receiver, message),
    messages(send, Role, Receiver, N - 1).

%% Nanoseconds of wall time a message, of all senders together, until all are received.
takes(Senders, Receivers, Batches) ->
    Pids = [spawn_link(fun receiver/0) || _ <- lists:seq(1, Receivers)],
    Rounds = [[crowd(Kind, Senders, list_to_tuple(Pids)) || Kind <- [bare, send]] || _ <- lists:seq(1, Batches div 4)],
    [Bare, Send] = [erlmcp_native_bench_run:median(Column) || Column <- columns(Rounds)],
    lists:foreach(fun stop/1, Pids),
    #{bare => Bare, send => Send}.

crowd(Kind, Senders, Receivers) ->
    Each = ?BATCH * 10 div Senders,
    Ns = timed(fun() ->
        Started = [spawn_monitor(fun() -> in_turn(Kind, Receivers, I, Each) end) || I <- lists:seq(1, Senders)],
        lists:foreach(fun({_, Monitor}) -> receive {'DOWN', Monitor, process, _, normal} -> ok end end, Started),
        lists:foreach(fun emptied/1, tuple_to_list(Receivers))
    end),
    Ns / (Each * Senders).

in_turn(_, _, _, 0) ->
    ok;
in_turn(Kind, Receivers, I, N) ->
    messages(Kind, ?ROLE, element(I rem tuple_size(Receivers) + 1, Receivers), 1),
    in_turn(Kind, Receivers, I + 1, N - 1).

%% Nanoseconds a call, median of the batches.
calls(Batches) ->
    {ok, Server} = erlmcp_native_bench_mailbox_server:start_link(),
    Ways = [
        fun() -> gen_server:call(Server, ping, 5000) end,
        fun() -> {ok, pong} = erlmcp_overload_mailbox:call(?ROLE, Server, ping, 5000) end
    ],
    Rounds = [[timed(fun() -> repeat(Way, ?BATCH) end) / ?BATCH || Way <- Ways] || _ <- lists:seq(1, Batches)],
    [Bare, Call] = [erlmcp_native_bench_run:median(Column) || Column <- columns(Rounds)],
    ok = gen_server:stop(Server),
    #{bare => Bare, call => Call}.

repeat(_, 0) -> ok;
repeat(Way, N) -> _ = Way(), repeat(Way, N - 1).

receiver() ->
    receive
        message -> receiver();
        {emptied, From, Tag} -> From ! Tag, receiver();
        stop -> ok
    end.

emptied(Receiver) ->
    Tag = make_ref(),
    Receiver ! {emptied, self(), Tag},
    receive Tag -> ok end.

stop(Receiver) ->
    Monitor = erlang:monitor(process, Receiver),
    Receiver ! stop,
    receive {'DOWN', Monitor, process, _, normal} -> ok end.

timed(Fun) ->
    Start = erlang:monotonic_time(nanosecond),
    _ = Fun(),
    erlang:monotonic_time(nanosecond) - Start.

columns([[] | _]) -> [];
columns(Rows) -> [[hd(Row) || Row <- Rows] | columns([tl(Row) || Row <- Rows])].

result(#{bare := Bare, send := Send, refusal := Refusal}, Takes, #{bare := BareCall, call := Call}, Choices) ->
    {?LOAD, #{choice := #{p99_ms := Choice}, turns := #{p99_ms := Turns}}} = lists:keyfind(?LOAD, 1, Choices),
    #{
        title => "Mailboxes: messages to bounded ones and to others, ns a message",
        tables => [
            #{
                head => ["", "bare", "bounded", "more"],
                left => 1,
                rows => [
                    row("1 sender, a receiver that waits (least)", Bare, Send),
                    row("the same, refused (least)", Bare, Refusal)
                    | [
                        row(io_lib:format("~b senders, ~b that take (median)", [Senders, Receivers]), B, S)
                     || {Senders, Receivers, #{bare := B, send := S}} <- Takes
                    ]
                ] ++ [row("1 caller, a gen_server that is idle (median)", BareCall, Call)]
            },
            erlmcp_native_bench_choice:table(Choices)
        ],
        notes => ["several senders: wall time / messages, until all of them are received"],
        targets => [
            target("send/3, more than a bare !, to a receiver that waits", 150, Send - Bare, " ns"),
            target("a refusal by send/3", 300, Refusal, " ns"),
            target("call/4 to gen_server:call/3, idle", 1.15, Call / BareCall, " x"),
            target("p99 of the wait at a load of 0.95, send_any/3 to turns", 1 / 3, Choice / Turns, " x")
        ],
        data => #{
            send => Send, bare => Bare, refusal => Refusal, bare_call => BareCall, call => Call,
            choices => [Both#{load => Load} || {Load, Both} <- Choices],
            crowds => [Takes1#{senders => Senders, receivers => Receivers} || {Senders, Receivers, Takes1} <- Takes]
        }
    }.

row(Name, Bare, Bounded) ->
    [Name | [erlmcp_native_bench_report:ns(Ns) || Ns <- [Bare, Bounded, Bounded - Bare]]].

target(Name, Target, Measured, Unit) ->
    #{name => Name, better => lower, target => Target, measured => Measured, unit => Unit}.
