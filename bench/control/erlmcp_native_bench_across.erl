-module(erlmcp_native_bench_across).
-moduledoc """
Control messages to another node, over the loopback interface: a health check there and back against the bare ping-pong
of two processes over a priority alias, with nothing else on the connection, and with bulk data that goes the same way;
and what is saved by sending several messages as one.
""".

-behaviour(erlmcp_native_bench).

-export([run/1]).
-export([there/0, trips/4, bulk/3, pump/4, sink/1, batches/2, checked/1]).

-import(erlmcp_native_bench_across_nodes, [call/4]).
-import(erlmcp_native_bench_control_times, [head/1, row/2]).

-define(PIECE, 100_000).
-define(PER_SECOND, 1_000).
-define(BATCH, 100).

-doc "Starts two nodes, and times round trips from one to the other one by one.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{quick := Quick}) ->
    [Here, There] = Peers = [erlmcp_native_bench_across_nodes:start(Name) || Name <- [bench_here, bench_there]],
    Node = erlmcp_native_bench_across_nodes:connect(Here, There),
    {Rounds, Each} = case Quick of true -> {5, 100}; false -> {40, 250} end,
    {Alias, Sink} = call(There, ?MODULE, there, []),
    Idle = call(Here, ?MODULE, trips, [Node, Alias, Rounds, Each]),
    Bytes = call(There, ?MODULE, sink, [Sink]),
    Pump = call(Here, ?MODULE, bulk, [Sink, ?PIECE, ?PER_SECOND]),
    {Us, Busy} = timer:tc(fun() -> call(Here, ?MODULE, trips, [Node, Alias, Rounds, Each]) end),
    MegabytesPerSecond = (call(There, ?MODULE, sink, [Sink]) - Bytes) / max(1, Us),
    true = call(Here, erlang, exit, [Pump, kill]),
    Batches = call(Here, ?MODULE, batches, [Alias, case Quick of true -> 20; false -> 500 end]),
    [ok = peer:stop(Peer) || Peer <- Peers],
    result(Idle, Busy, MegabytesPerSecond, Batches).

-doc false.
-spec there() -> {erlmcp_priority:alias(), pid()}.
there() ->
    Caller = self(),
    ok = erlmcp_control_plane:register_component(bench, {?MODULE, checked}),
    _ = spawn(fun() ->
        Caller ! {alias, erlmcp_priority:create_priority_alias()},
        answer()
    end),
    Sink = spawn(fun() -> swallow(0) end),
    receive
        {alias, Alias} -> {Alias, Sink}
    end.

-doc false.
-spec checked(term()) -> ok.
checked(_Message) ->
    ok.

answer() ->
    receive
        {ping, From, Tag} -> From ! Tag;
        {priority, _From, {last, From, Tag}} -> From ! Tag;
        {priority, _From, {batch, Messages}} -> _ = [From ! Tag || {last, From, Tag} <- Messages];
        {priority, _From, _} -> ok
    end,
    answer().

swallow(Bytes) ->
    receive
        Piece when is_binary(Piece) -> swallow(Bytes + byte_size(Piece));
        {bytes, From} -> From ! {bytes, Bytes}, swallow(Bytes)
    end.

-doc false.
-spec sink(pid()) -> non_neg_integer().
sink(Sink) ->
    Sink ! {bytes, self()},
    receive
        {bytes, Bytes} -> Bytes
    end.

-doc false.
-spec trips(node(), erlmcp_priority:alias(), pos_integer(), pos_integer()) -> map().
trips(Node, Alias, Rounds, Each) ->
    Ways = [
        {ping, fun() -> ok = erlmcp_native_bench_control_peer:ping(Alias) end},
        {check, fun() -> {ok, _} = erlmcp_control_plane:send_health_check({bench, Node}, liveness) end}
    ],
    erlmcp_native_bench_control_times:interleaved(Ways, Rounds, Each).

-doc false.
-spec bulk(pid(), pos_integer(), pos_integer()) -> pid().
bulk(Sink, Size, PerSecond) ->
    spawn(?MODULE, pump, [Sink, binary:copy(<<0>>, Size), 1000 div PerSecond, erlang:monotonic_time(millisecond)]).

%% A piece each millisecond; what was missed is made up for.
-doc false.
-spec pump(pid(), binary(), pos_integer(), integer()) -> no_return().
pump(Sink, Piece, EachMs, DueMs) ->
    case DueMs - erlang:monotonic_time(millisecond) of
        Early when Early > 0 -> receive after Early -> ok end;
        _ -> ok
    end,
    Sink ! Piece,
    pump(Sink, Piece, EachMs, DueMs + EachMs).

%% Nanoseconds a message, as many as a batch has, sent by themselves and as one, until the last has come.
-doc false.
-spec batches(erlmcp_priority:alias(), pos_integer()) -> #{single | batch => float()}.
batches(Alias, Times) ->
    Self = self(),
    Single = fun(Messages) -> [erlmcp_priority:send_priority(Alias, Message, Self) || Message <- Messages] end,
    Batch = fun(Messages) -> erlmcp_priority:send_batch(Alias, Messages, Self) end,
    #{
        Name => lists:min([one(Send) || _ <- lists:seq(1, Times)]) / ?BATCH
     || {Name, Send} <- [{single, Single}, {batch, Batch}]
    }.

one(Send) ->
    Tag = make_ref(),
    Messages = [{cancel, N} || N <- lists:seq(2, ?BATCH)] ++ [{last, self(), Tag}],
    erlmcp_native_bench_control_times:time_ns(fun() ->
        _ = Send(Messages),
        receive
            Tag -> ok
        end
    end).

result(Idle, Busy, MegabytesPerSecond, #{single := Single, batch := Batch} = Batches) ->
    Texts = [{ping, "bare ping-pong over a priority alias"}, {check, "health check"}],
    Rows = fun(Times, When) -> [row([Text, When], map_get(Name, Times)) || {Name, Text} <- Texts] end,
    #{
        title => "To another node",
        tables => [
            #{
                head => head("us, there and back"),
                left => 1,
                rows => Rows(Idle, ", nothing else") ++ Rows(Busy, ", bulk the same way")
            }
        ],
        notes => [
            io_lib:format("bulk: ~b MB/s arrived, in pieces of ~b bytes", [round(MegabytesPerSecond), ?PIECE]),
            io_lib:format("~b messages to an alias, until the last has come: ~b ns each, as one batch ~b ns each", [
                ?BATCH, round(Single), round(Batch)
            ])
        ],
        targets => [
            target("health check to a bare ping-pong, p50", Idle),
            target("the same while bulk goes the same way, p50", Busy)
        ],
        data => #{idle => Idle, busy => Busy, megabytes_per_second => MegabytesPerSecond, batches => Batches}
    }.

target(Name, #{ping := #{p50_us := Bare}, check := #{p50_us := Checked}}) ->
    #{name => ["across: ", Name], better => lower, target => 3, measured => Checked / Bare, unit => " x"}.
