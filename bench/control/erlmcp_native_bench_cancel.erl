-module(erlmcp_native_bench_cancel).
-moduledoc """
Cancellation: what a look at a token costs, how soon a cancellation arrives and its place is free, and what very many
tokens leave behind.

Times are of one call after the other, and the machine is busy where the table says so: as many processes that never
wait as keep each scheduler's run queue full.
""".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-import(erlmcp_native_bench_control_times, [head/1, row/2]).

-define(ROLE, session).
-define(CANCEL, erlmcp_control_cancel).
-define(TOOLS, erlmcp_native_example_tool_server).
%% For each scheduler.
-define(BUSY, 8).
-define(PER_SECOND, 100_000).
-define(FLOODERS, 2).
-define(EARLY, 65_536).

-doc "Times one caller, then cancellations one by one, idle and busy; then makes tokens by the million.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{quick := Quick} = Options) ->
    ok = erlmcp_native_probe:load(),
    {ok, _} = erlmcp_queue_limits:start_link(),
    {ok, _} = erlmcp_control_plane:start_link(),
    ok = erlmcp_queue_limits:set_limit(?ROLE, infinity),
    Loops = loops(Options),
    {Count, Times} = case Quick of true -> {100_000, 300}; false -> {10_000_000, 3_000} end,
    Idle = [{Name, times(Fun, Times)} || {Name, Fun} <- ways()],
    Schedulers = lists:seq(1, erlang:system_info(schedulers_online)),
    Crowd = [spawn_opt(fun busy/0, [{scheduler, S}]) || S <- Schedulers, _ <- lists:seq(1, ?BUSY)],
    Busy = [{Name, times(Fun, Times)} || {Name, Fun} <- ways()],
    [true = exit(Pid, kill) || Pid <- Crowd],
    {Tool, Rate} = tool_server(Times),
    Left = left(Count),
    Death = lists:min([death_us(Quick) || _ <- "abc"]),
    #{tokens := 0} = ?CANCEL:get_stats(),
    ok = gen_server:stop(erlmcp_control_plane),
    ok = gen_server:stop(erlmcp_queue_limits),
    result(#{
        loops => Loops, idle => Idle, busy => Busy, tool => Tool, rate => Rate, left => Left, count => Count,
        death => Death
    }).

loops(#{rounds := Rounds, step_ms := StepMs} = Options) ->
    Token = ?CANCEL:new(#{id => bench}),
    Callers = erlmcp_native_bench_run:start_callers(1),
    ok = persistent_term:put(erlmcp_native_bench_token, Token),
    Steps = [{timed, Name, {as, floor, Share}} || {Name, Share} <- [
        {floor, 1}, {cancelled, 1}, {token, 8}, {token_permit, 8}
    ]],
    Many = Options#{rounds := 8 * Rounds, step_ms := max(1, StepMs div 8)},
    Timings = erlmcp_native_bench_run:rounds(Many, Callers, Steps, {?ROLE, fun(Caller, _, _) -> {one, Caller} end}),
    ok = erlmcp_native_bench_run:stop_callers(Callers),
    true = persistent_term:erase(erlmcp_native_bench_token),
    ok = ?CANCEL:done(Token),
    Timings.

ways() ->
    [
        {asked, fun asked_ns/0},
        {owner, fun owner_ns/0},
        {down, fun down_ns/0}
    ].

%% In a process whose turn comes before those that are busy, so that it is not its own that is waited for.
times(Fun, Times) ->
    {Pid, Monitor} = spawn_opt(fun() -> exit({seen, seen(Fun, Times)}) end, [monitor, {priority, high}]),
    receive {'DOWN', Monitor, process, Pid, {seen, Summary}} -> Summary end.

seen(Fun, Times) ->
    Histogram = erlmcp_native:latency_new(),
    [Fun() || _ <- lists:seq(1, Times div 10)],
    [ok = erlmcp_native:latency_record(Histogram, Fun()) || _ <- lists:seq(1, Times)],
    maps:map(fun(count, N) -> N; (_, Ns) -> Ns / 1000 end, erlmcp_native:latency_summary(Histogram)).

busy() ->
    _ = lists:sum(lists:seq(1, 1000)),
    busy().

now_ns() ->
    erlang:monotonic_time(nanosecond).

%% From the call to the message, in a process that waits for it. By then the place is free.
asked_ns() ->
    {Worker, Token} = worker(self()),
    Start = now_ns(),
    ok = ?CANCEL:cancel(Token, bench),
    told_at(Worker) - Start.

%% The same from the kill of the owner, as the process of a connection ends.
owner_ns() ->
    Owner = idle(),
    {Worker, Token} = worker(Owner),
    Start = now_ns(),
    true = exit(Owner, kill),
    Ns = told_at(Worker) - Start,
    owner_down = ?CANCEL:reason(Token),
    Ns.

%% What the runtime itself takes to tell of an end.
down_ns() ->
    Owner = idle(),
    Monitor = monitor(process, Owner),
    Start = now_ns(),
    true = exit(Owner, kill),
    receive {'DOWN', Monitor, process, Owner, killed} -> now_ns() - Start end.

worker(Owner) ->
    Self = self(),
    {ok, Permit} = erlmcp_queue_limits:acquire(?ROLE, places),
    Worker = spawn_opt(
        fun() ->
            Alias = erlmcp_priority:create_priority_alias(),
            Token = ?CANCEL:new(#{owner => Owner, permit => Permit, notify => Alias}),
            Self ! {self(), Token},
            receive {urgent, {cancelled, _, _}} -> Self ! {self(), told, now_ns(), depth()} end,
            ?CANCEL:done(Token)
        end,
        [{priority, high}]
    ),
    receive {Worker, Token} -> {Worker, Token} end.

depth() -> erlmcp_queue_limits:get_queue_depth(?ROLE, places).

told_at(Worker) ->
    receive {Worker, told, AtNs, 0} -> AtNs end.

idle() ->
    spawn(fun() -> receive never -> ok end end).

%% A running tool of the example is cancelled while data come in: until its caller has the answer, and its place is
%% free.
tool_server(Times) ->
    {ok, Tools} = ?TOOLS:start_link(bench_tools),
    Flooders = [spawn_link(fun() -> flood(Tools, now_ns(), 0) end) || _ <- lists:seq(1, ?FLOODERS)],
    Start = now_ns(),
    Summary = times(fun() -> tool_ns(Tools) end, Times),
    Ns = now_ns() - Start,
    Sent = lists:sum([stop(Flooder) || Flooder <- Flooders]),
    ok = gen_server:stop(Tools),
    {Summary, Sent * 1_000_000_000 / Ns}.

tool_ns(Tools) ->
    Self = self(),
    Id = make_ref(),
    Work = fun() -> Self ! {Id, runs}, receive never -> ok end end,
    Request = gen_server:send_request(Tools, {call_tool, session, Id, Work}),
    receive {Id, runs} -> ok end,
    Start = now_ns(),
    {ok, _} = erlmcp_control_plane:send_cancel_task(bench_tools, Id),
    {reply, #{~"error" := _}} = gen_server:receive_response(Request, 60_000),
    Ns = now_ns() - Start,
    0 = erlmcp_queue_limits:get_queue_depth(tool_executor, Tools),
    Ns.

%% As many as are due, every millisecond or so.
flood(Pid, Start, Sent) ->
    Due = (now_ns() - Start) * ?PER_SECOND div (?FLOODERS * 1_000_000_000),
    [Pid ! {data, N} || N <- lists:seq(Sent + 1, Due)],
    receive
        {stop, From} -> From ! {self(), Due}
    after 1 -> flood(Pid, Start, Due)
    end.

stop(Flooder) ->
    true = unlink(Flooder),
    Flooder ! {stop, self()},
    receive {Flooder, Sent} -> Sent end.

%% A third of them are done, a third cancelled and done, a third let go; and as many cancellations as are remembered
%% come early, to one that dies. A first run makes what stays anyway.
left(Count) ->
    ok = make(1_000),
    Before = erlmcp_native_bench_run:memory([]),
    ok = make(Count),
    After = erlmcp_native_bench_run:memory([]),
    #{native => map_get(native, After) - map_get(native, Before), vm => map_get(vm, After) - map_get(vm, Before)}.

make(Count) ->
    ok = in_process(fun() -> each(Count div 3, fun(N) -> ?CANCEL:done(?CANCEL:new(#{id => N})) end) end),
    ok = in_process(fun() ->
        each(Count div 3, fun(N) ->
            Token = ?CANCEL:new(#{id => {N}}),
            ok = ?CANCEL:cancel({N}, enough),
            ?CANCEL:done(Token)
        end)
    end),
    ok = in_process(fun() -> each(Count div 3, fun(N) -> ?CANCEL:new(#{id => integer_to_binary(N)}) end) end),
    ok = in_process(fun() -> each(?EARLY, fun(N) -> ?CANCEL:cancel(N, early) end) end),
    empty().

each(0, _) ->
    ok;
each(N, Fun) ->
    _ = Fun(N),
    each(N - 1, Fun).

in_process(Fun) ->
    {Pid, Monitor} = spawn_monitor(Fun),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end.

%% What is settled on a thread of its own, and what destructors do after the end of a process.
empty() ->
    case ?CANCEL:get_stats() of
        #{tokens := 0, tombstones := 0} -> ok;
        #{} -> receive after 1 -> empty() end
    end.

%% From the end of an owner with very many tokens until the last is cancelled, its place free.
death_us(Quick) ->
    Many = case Quick of true -> 20_000; false -> 1_000_000 end,
    Owner = idle(),
    Tokens = [
        begin
            {ok, Permit} = erlmcp_queue_limits:acquire(?ROLE, places),
            ?CANCEL:new(#{owner => Owner, permit => Permit})
        end
     || _ <- lists:seq(1, Many)
    ],
    Start = now_ns(),
    true = exit(Owner, kill),
    ok = settled(),
    Us = (now_ns() - Start) div 1000,
    true = ?CANCEL:is_cancelled(hd(Tokens)),
    {Us, Many}.

settled() ->
    case erlmcp_queue_limits:get_queue_depth(?ROLE, places) of
        0 -> ok;
        _ -> receive after 1 -> settled() end
    end.

result(#{loops := Loops, idle := Idle, busy := Busy, tool := Tool, rate := Rate, count := Count} = Seen) ->
    #{left := #{native := Native, vm := Vm}, death := {DeathUs, Many}} = Seen,
    Each = erlmcp_native_bench_report:count(Count),
    Texts = #{
        asked => "cancel/2 to free place and message",
        owner => "owner killed to free place and message",
        down => "process killed to an ordinary 'DOWN'"
    },
    Rows = fun(Summaries, When) -> [row([map_get(Name, Texts), When], Summary) || {Name, Summary} <- Summaries] end,
    #{
        title => "Cancellation",
        tables => [
            #{
                head => ["ns, median / least of the rounds", ""],
                left => 1,
                rows => [
                    [Text, cell(Name, Loops)]
                 || {Name, Text} <- [
                        {floor, "floor: decodes two arguments, one atomic add"},
                        {cancelled, "is_cancelled"},
                        {token, "new + done, with an id"},
                        {token_permit, "acquire + new + done, with id and permit"}
                    ]
                ]
            },
            #{
                head => head("us"),
                left => 1,
                rows => Rows(Idle, ", idle") ++ Rows(Busy, ", schedulers busy") ++
                    [row("tool server, cancel to the answer, under data", Tool)]
            }
        ],
        notes => [
            io_lib:format("busy: ~b processes that never wait; data: ~b a second to the tool server", [
                ?BUSY * erlang:system_info(schedulers_online), round(Rate)
            ]),
            io_lib:format("an owner with ~ts tokens and places dies: the last is free after ~b ms", [
                erlmcp_native_bench_report:count(Many), DeathUs div 1000
            ]),
            io_lib:format("~ts tokens left ~b bytes native and ~b of the VM", [Each, Native, Vm])
        ],
        targets => [
            target("is_cancelled to the floor", 3, least(cancelled, Loops) / least(floor, Loops), " x"),
            target("owner killed to free place and message, schedulers busy, p99", 10_000, p99(owner, Busy), " us"),
            target("a running tool cancelled under 100k data/s, p99", 10_000, map_get(p99_us, Tool), " us"),
            target(["native bytes left, of ", Each, " tokens"], Count div 100, Native, " bytes"),
            target("bytes of the VM left, of those", Count div 100, Vm, " bytes")
        ],
        data => #{
            loops => Loops, idle => maps:from_list(Idle), busy => maps:from_list(Busy), tool => Tool,
            data_per_second => Rate, left => map_get(left, Seen), death_us => DeathUs, death_tokens => Many
        }
    }.

target(Name, Target, Measured, Unit) ->
    #{name => ["cancel: ", Name], better => lower, target => Target, measured => Measured, unit => Unit}.

cell(Operation, Timings) ->
    #{Operation := #{ns := Ns, least_ns := Least}} = Timings,
    [erlmcp_native_bench_report:ns(Ns), " / ", erlmcp_native_bench_report:ns(Least)].

least(Operation, Timings) -> map_get(least_ns, map_get(Operation, Timings)).

p99(Name, Summaries) ->
    {Name, #{p99_us := P99}} = lists:keyfind(Name, 1, Summaries),
    P99.
