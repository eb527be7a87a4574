-module(erlmcp_native_bench_peers).
-moduledoc """
A request that is let in and has ended, as this library counts it and as others do: words in ETS and in `atomics`, a
gen_server, and what sidejob and jobs document of themselves, rebuilt. They do not do the same; what each does not do is
in the notes.
""".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(ROLE, session).
-define(LIMIT, ((1 bsl 59) - 1)).
-define(TABLE, erlmcp_native_bench_ets).
-define(PEERS, [
    {admit, "try_enqueue, record_dequeue"},
    {all, "check_capacity, record_enqueue, record_dequeue"},
    {atomics_request, "atomics: one word, up and down"},
    {ets_request, "ets: two rows, up and down"},
    {sidejob, "as sidejob documents it"},
    {jobs, "as jobs documents it"},
    {server, "gen_server: call, cast, cast"}
]).

-doc "Times a request by 1, 2 and 16 callers.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{rounds := Rounds} = Options) ->
    {ok, _} = erlmcp_queue_limits:start_link(),
    ok = erlmcp_queue_limits:set_limit(?ROLE, ?LIMIT),
    {ok, Server} = erlmcp_native_bench_server:start_link(?LIMIT),
    {ok, Jobs} = erlmcp_native_bench_jobs:start_link(?LIMIT),
    ok = erlmcp_native_bench_sidejob:start(?LIMIT),
    ?TABLE = ets:new(?TABLE, [named_table, public, {write_concurrency, auto}]),
    true = ets:insert(?TABLE, {?ROLE, 0}),
    Cases = [{Callers, time(Callers, Options#{rounds := 2 * Rounds})} || Callers <- [1, 2, 16]],
    [{?ROLE, 0}] = ets:lookup(?TABLE, ?ROLE),
    true = ets:delete(?TABLE),
    ok = erlmcp_native_bench_sidejob:stop(),
    ok = gen_server:stop(Jobs, normal, infinity),
    ok = gen_server:stop(Server, normal, infinity),
    ok = gen_server:stop(erlmcp_queue_limits),
    result(Cases).

time(Count, Options) ->
    Callers = erlmcp_native_bench_run:start_callers(Count),
    lists:foreach(fun(Pid) -> true = ets:insert(?TABLE, {Pid, 0}) end, Callers),
    Steps = [{timed, Peer, {as, Peer, 1}} || {Peer, _} <- ?PEERS, Peer =/= atomics_request],
    Own = fun(Caller, _, _) -> {one, Caller} end,
    Timings = erlmcp_native_bench_run:rounds(Options, Callers, Steps, {?ROLE, Own}),
    %% All of them on one word, as all owners of a role are in sidejob's.
    Word = atomics:new(1, []),
    Atomics = [{timed, atomics_request, {as, atomics_request, 1}}],
    Counted = erlmcp_native_bench_run:rounds(Options, Callers, Atomics, {?ROLE, fun(_, _, _) -> {one, Word} end}),
    ok = erlmcp_native_bench_run:stop_callers(Callers),
    lists:foreach(fun(Pid) -> [{Pid, 0}] = ets:take(?TABLE, Pid) end, Callers),
    #{current_depth := 0, unmatched_dequeues := 0, total_rejected := 0} = erlmcp_queue_limits:get_role_stats(?ROLE),
    0 = atomics:get(Word, 1),
    maps:merge(Timings, Counted).

result(Cases) ->
    #{
        title => "Queue limits beside others: ns a request that is let in and has ended, median / least of the rounds",
        tables => [
            #{
                head => ["" | [[integer_to_list(Callers), " by"] || {Callers, _} <- Cases] ++ ["16 by, to the first"]],
                left => 1,
                rows => [[Name | [cell(Peer, T) || {_, T} <- Cases] ++ [times(Peer, Cases)]] || {Peer, Name} <- ?PEERS]
            }
        ],
        notes => [
            "so many callers at once, each for its own owner; ns: wall time x min(callers, schedulers) / requests",
            "atomics, ets  count, and know no limit, no death, no alert",
            "sidejob       one limit for a resource, none for an owner, no death; its worker and message left out",
            "jobs          one limit for a queue, deaths seen; its rates, waiting and samplers left out",
            "gen_server    limits, deaths and numbers; counted when it has drained what it was told",
            "Both are rebuilt by us from what they document, and are none of their code."
        ],
        targets => [
            #{
                name => ["a request, 16 callers, to try_enqueue and dequeue: ", Name],
                better => higher,
                target => Target,
                measured => ratio(Peer, Cases),
                unit => " x"
            }
         || {Peer, Target} <- [{ets_request, 2}, {sidejob, 2}, {jobs, 25}, {server, 25}],
            {P, Name} <- ?PEERS,
            P =:= Peer
        ],
        data => #{
            cases => [#{callers => Callers, timings => Timings} || {Callers, Timings} <- Cases]
        }
    }.

cell(Peer, Timings) ->
    #{Peer := #{ns := Ns, least_ns := Least}} = Timings,
    [erlmcp_native_bench_report:ns(Ns), " / ", erlmcp_native_bench_report:ns(Least)].

times(Peer, Cases) ->
    [float_to_list(ratio(Peer, Cases), [{decimals, 1}]), " x"].

ratio(Peer, Cases) ->
    {16, #{Peer := #{ns := Ns}, admit := #{ns := Ours}}} = lists:keyfind(16, 1, Cases),
    Ns / Ours.
