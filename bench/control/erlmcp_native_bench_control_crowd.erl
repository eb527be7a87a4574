-module(erlmcp_native_bench_control_crowd).
-moduledoc """
Ordinary processes that keep all schedulers full and send each other data at a steady rate.

They stand in a ring. Each encodes and decodes a JSON-RPC request over and over, and in between sends its
neighbour as many of them as are due and takes what has come; it never waits. After a time without a scheduler
it catches up, so that the rate holds.
""".

-export([start/2, stop/1, taken/1, slice_us/0, init/0]).

-export_type([crowd/0]).

-doc "A crowd has its processes, and where they count what they take.".
-type crowd() :: {[pid(), ...], counters:counters_ref()}.

-doc "Starts a crowd of so many processes, with so many messages a second among all of them.".
-spec start(pos_integer(), pos_integer()) -> crowd().
start(Count, PerSecond) ->
    Taken = counters:new(Count, []),
    Members = [spawn_link(?MODULE, init, []) || _ <- lists:seq(1, Count)],
    EachNs = Count * 1_000_000_000 div PerSecond,
    Start = erlang:monotonic_time(nanosecond),
    Ring = lists:zip3(lists:seq(1, Count), Members, tl(Members) ++ [hd(Members)]),
    lists:foreach(fun({I, Member, Next}) -> Member ! {start, Next, Start, EachNs, Taken, I} end, Ring),
    {Members, Taken}.

-doc "Ends the processes of a crowd.".
-spec stop(crowd()) -> ok.
stop({Members, _}) ->
    lists:foreach(fun erlmcp_native_bench_control_peer:stop/1, Members).

-doc "Returns how much data all processes of a crowd have taken out of their queues.".
-spec taken(crowd()) -> non_neg_integer().
taken({Members, Taken}) ->
    lists:sum([counters:get(Taken, I) || I <- lists:seq(1, length(Members))]).

-doc "Returns how many microseconds a time slice of 4000 reductions of this work takes.".
-spec slice_us() -> float().
slice_us() ->
    lists:foreach(fun(_) -> work() end, lists:seq(1, 1000)),
    Before = reductions(),
    Works = fun() -> lists:foreach(fun(_) -> work() end, lists:seq(1, 5000)) end,
    Ns = erlmcp_native_bench_control_times:time_ns(Works),
    Ns / (reductions() - Before) * 4000 / 1000.

reductions() ->
    {reductions, Reductions} = process_info(self(), reductions),
    Reductions.

-doc false.
-spec init() -> no_return().
init() ->
    receive
        {start, Next, Start, EachNs, Taken, I} -> loop(Next, Start, EachNs, Taken, I, 0)
    end.

loop(Next, Start, EachNs, Taken, I, Sent) ->
    Request = work(),
    Due = (erlang:monotonic_time(nanosecond) - Start) div EachNs,
    ok = send(Next, {data, Request}, Due - Sent),
    ok = take(Taken, I),
    loop(Next, Start, EachNs, Taken, I, Due).

send(_, _, 0) ->
    ok;
send(Next, Data, N) ->
    Next ! Data,
    send(Next, Data, N - 1).

take(Taken, I) ->
    receive
        {data, _} ->
            ok = counters:add(Taken, I, 1),
            take(Taken, I)
    after 0 -> ok
    end.

work() ->
    Request = #{
        <<"jsonrpc">> => <<"2.0">>,
        <<"id">> => 1,
        <<"method">> => <<"tools/call">>,
        <<"params">> => #{<<"name">> => <<"echo">>, <<"arguments">> => #{<<"text">> => <<"hello">>}}
    },
    json:decode(iolist_to_binary(json:encode(Request))).
