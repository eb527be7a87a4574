-module(erlmcp_native_bench_burst).
-moduledoc "A burst from many processes: nothing is lost, nothing piles up.".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(ROLE, session).
-define(CALLERS, 16).
-define(PER_CALLER, 62_500).

-doc "Has 16 processes record 1,000,000 enqueues together, after a first burst that warms everything up.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(_Options) ->
    {ok, Server} = erlmcp_queue_limits:start_link(),
    _WarmUp = burst_of(1_000, Server),
    Data = burst_of(?PER_CALLER, Server),
    ok = gen_server:stop(erlmcp_queue_limits),
    result(Data).

burst_of(PerCaller, Server) ->
    Callers = [spawn_link(fun caller/0) || _ <- lists:seq(1, ?CALLERS)],
    Watched = [Server | Callers],
    Tag = make_ref(),
    ok = erlmcp_queue_limits:reset_stats(?ROLE),
    Before = state(Watched),
    Sampler = spawn_link(fun() -> sample(Watched, 0, 0) end),
    Start = erlang:monotonic_time(microsecond),
    lists:foreach(fun(Caller) -> Caller ! {burst, PerCaller, self(), Tag} end, Callers),
    lists:foreach(fun(_) -> receive Tag -> ok end end, Callers),
    Stats = erlmcp_queue_limits:get_role_stats(?ROLE),
    WallUs = erlang:monotonic_time(microsecond) - Start,
    MailboxAfter = mailbox(Watched),
    Sampler ! {stop, self(), Tag},
    {LongestDuring, Samples} = receive {Tag, Longest, Taken} -> {Longest, Taken} end,
    After = state(Watched),
    Each = [erlmcp_queue_limits:get_queue_depth(?ROLE, Caller) || Caller <- Callers],
    ok = stop(Callers),
    #{total_enqueued := Counted, current_depth := Depth} = Stats,
    All = ?CALLERS * PerCaller,
    {Counted, Depth, Each} = {All, All, [PerCaller || _ <- Callers]},
    #{
        enqueues => All,
        counted => Counted,
        wall_us => WallUs,
        samples => Samples,
        longest_mailbox_before => map_get(mailbox, Before),
        longest_mailbox_during => LongestDuring,
        longest_mailbox_after => MailboxAfter,
        native_bytes => map_get(native, After) - map_get(native, Before),
        vm_bytes => map_get(vm, After) - map_get(vm, Before)
    }.

caller() ->
    receive
        {burst, N, From, Tag} ->
            burst(self(), N),
            From ! Tag,
            caller();
        stop ->
            ok
    end.

burst(_, 0) ->
    ok;
burst(Owner, N) ->
    ok = erlmcp_queue_limits:record_enqueue(?ROLE, Owner),
    burst(Owner, N - 1).

stop(Callers) ->
    Monitors = [erlang:monitor(process, Caller) || Caller <- Callers],
    lists:foreach(fun(Caller) -> Caller ! stop end, Callers),
    lists:foreach(fun(Monitor) -> receive {'DOWN', Monitor, process, _, _} -> ok end end, Monitors).

sample(Watched, Longest, Taken) ->
    receive
        {stop, From, Tag} -> From ! {Tag, Longest, Taken}
    after 1 ->
        sample(Watched, max(Longest, mailbox(Watched)), Taken + 1)
    end.

mailbox(Pids) ->
    lists:max([Length || Pid <- Pids, {_, Length} <- [process_info(Pid, message_queue_len)]]).

state(Pids) ->
    maps:put(mailbox, mailbox(Pids), erlmcp_native_bench_run:memory(Pids)).

result(Data) ->
    #{
        enqueues := All, counted := Counted, wall_us := WallUs, samples := Samples,
        longest_mailbox_before := Before, longest_mailbox_during := During, longest_mailbox_after := After,
        native_bytes := Native, vm_bytes := Vm
    } = Data,
    #{
        title => "Queue limits: a burst of record_enqueue from 16 processes",
        tables => [
            #{
                head => ["enqueues", "counted", "ms", "mailbox before", "during", "after", "native bytes", "VM bytes"],
                left => 0,
                rows => [
                    [integer_to_list(N) || N <- [All, Counted, WallUs div 1000, Before, During, After, Native, Vm]]
                ]
            }
        ],
        notes => [
            "counted: read when the last caller reports. bytes: more than before, while the callers still live",
            io_lib:format("mailbox: the longest of ~b processes; during: looked at ~b times, once a millisecond", [
                ?CALLERS + 1, Samples
            ])
        ],
        targets => [
            target("burst: enqueues that are missing when the last call returns", 0, All - Counted, ""),
            target("burst: longest mailbox more than before", 0, max(During, After) - Before, " messages"),
            target("burst: memory more than before, for 16 entries", ?CALLERS * 512, Native + Vm, " bytes")
        ],
        data => Data
    }.

target(Name, Target, Measured, Unit) ->
    #{name => Name, better => lower, target => Target, measured => Measured, unit => Unit}.
