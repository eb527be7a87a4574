%% The queue limits against a plain map: step by step, whoever calls; and all at once, at rest.
-module(prop_erlmcp_queue_limits).

-behaviour(proper_statem).

-include_lib("proper/include/proper.hrl").

-export([prop_is_a_map/0, prop_adds_up/0]).
-export([initial_state/0, command/1, precondition/2, next_state/3, postcondition/3]).
-export([call/3, acquire/4, release/3, drop/2, kill/1, kill_within/3, crash/0, restart/0]).

-import(erlmcp_native_test_lib, [eventually/1]).

-define(LIMITS, erlmcp_queue_limits).
-define(WORKERS, [1, 2, 3]).
-define(TIMES, 30).
-define(DEFAULTS, #{
    session => 10000,
    sse_stream => 5000,
    task_worker => 1000,
    tool_executor => 500,
    transport => 2000,
    default => 1000
}).

%% The model. Depths are by role and owner; a worker is known by its number, and dies with its depths. A permit has a
%% number, the worker who holds it, and the role and owner of its place, or `gone` when that is not there any more.
initial_state() ->
    #{
        enabled => true,
        limits => ?DEFAULTS,
        depths => #{},
        permits => #{},
        next => 1,
        counts => maps:map(fun(_, _) -> no_counts() end, ?DEFAULTS)
    }.

no_counts() ->
    #{
        max_depth => 0,
        total_enqueued => 0,
        total_dequeued => 0,
        unmatched_dequeues => 0,
        total_released => 0,
        total_rejected => 0,
        refused_ever => false
    }.

prop_is_a_map() ->
    ?FORALL(
        Commands,
        proper_statem:commands(?MODULE),
        begin
            Level = erlmcp_native_test_lib:start(),
            start_workers(),
            {History, State, Result} = proper_statem:run_commands(?MODULE, Commands),
            stop_workers(),
            erlmcp_native_test_lib:stop(Level),
            ?WHENFAIL(
                io:format("~nhistory ~p~nstate ~p~nresult ~p~n", [History, State, Result]),
                aggregate(names(Commands), Result =:= ok)
            )
        end
    ).

names(Commands) ->
    [
        case Call of
            {call, _, call, [_, Function, _]} -> Function;
            {call, _, Function, _} -> Function
        end
     || {set, _, Call} <- Commands
    ].

command(#{permits := Permits, next := Next}) ->
    Held = [{Holder, Number} || Number := {Holder, _} <- Permits],
    OfHeld = [
        {6, ?LET({Holder, Number}, oneof(Held), {call, ?MODULE, release, [worker(), Holder, Number]})},
        {4, ?LET({Holder, Number}, oneof(Held), {call, ?MODULE, drop, [Holder, Number]})}
    ],
    frequency([Choice || Choice <- OfHeld, Held =/= []] ++ [
        {10, {call, ?MODULE, acquire, [worker(), Next, role(), owner()]}},
        {60, ?LET({Function, Args}, operation(), {call, ?MODULE, call, [worker(), Function, Args]})},
        {3, {call, ?MODULE, kill, [worker()]}},
        {2, {call, ?MODULE, kill_within, [worker(), role(), oneof([a, b])]}},
        {1, {call, ?MODULE, crash, []}},
        {1, {call, ?MODULE, restart, []}}
    ]).

%% Which comes first is not to be said of a place that goes with its owner and one that goes with its holder, if the two
%% are one.
precondition(#{permits := Permits}, {call, _, acquire, [Worker, Number, _, Owner]}) ->
    Owner =/= {worker, Worker} andalso not is_map_key(Number, Permits);
precondition(#{permits := Permits}, {call, _, release, [_, Holder, Number]}) ->
    is_held(Holder, Number, Permits);
precondition(#{permits := Permits}, {call, _, drop, [Holder, Number]}) ->
    is_held(Holder, Number, Permits);
precondition(_, _) ->
    true.

is_held(Holder, Number, Permits) ->
    case Permits of
        #{Number := {Holder, _}} -> true;
        #{} -> false
    end.

worker() ->
    oneof(?WORKERS).

role() ->
    oneof([session, default, one, two]).

owner() ->
    frequency([{2, a}, {1, b}, {3, {worker, worker()}}, {1, dead}]).

limit() ->
    frequency([{9, range(0, 3)}, {1, 1 bsl 59 - 1}]).

operation() ->
    frequency([
        {8, {record_enqueue, [role(), owner()]}},
        {8, {try_enqueue, [role(), owner()]}},
        {8, {record_dequeue, [role(), owner()]}},
        {4, {check_capacity, [role(), owner()]}},
        {4, {with_capacity, [role(), owner(), oneof([return, throw, error, exit, forget, dequeue])]}},
        {3, {forget, [role(), owner()]}},
        {3, {get_queue_depth, [role(), owner()]}},
        {3, {get_queue_depth, [owner()]}},
        {5, {set_limit, [role(), limit()]}},
        {2, {get_limit, [role()]}},
        {2, {get_all_limits, []}},
        {3, {get_role_stats, [role()]}},
        {2, {get_all_stats, []}},
        {2, {reset_stats, [role()]}},
        {2, {set_enabled, [weighted_boolean()]}}
    ]).

weighted_boolean() ->
    frequency([{2, true}, {1, false}]).

next_state(State, _, {call, _, Command, Args}) ->
    {_, Next} = step(Command, Args, State),
    Next.

postcondition(State, {call, _, Command, Args}, Result) ->
    {Expected, Next} = step(Command, Args, State),
    same(Expected, Result, {Command, Args}) andalso
        (not lists:member(Command, [kill, kill_within]) orelse settles(Next)).

same(Same, Same, _) ->
    true;
same(Expected, Result, Call) ->
    io:format("~n~p~nexpected ~p~n     got ~p~n", [Call, Expected, Result]),
    false.

%% What the dead held goes a moment after they are known to be dead.
settles(State) ->
    {Expected, _} = answer(get_all_stats, [], State),
    Stats = fun() -> simplified(?LIMITS:get_all_stats()) end,
    try
        eventually(fun() -> Stats() =:= Expected end) =:= ok
    catch
        error:{not_within_ms, _, _} -> same(Expected, Stats(), settles)
    end.

%% What a command answers, and what is then.
step(call, [_, Function, Args], State) ->
    answer(Function, Args, State);
step(acquire, [Worker, Number, Role, Owner], State) ->
    case Owner =/= dead andalso refuses(Role, Owner, State) of
        true -> refuse(Role, Owner, State);
        false when Owner =:= dead -> {ok, hold(Number, Worker, gone, State)};
        false -> {ok, hold(Number, Worker, {Role, Owner}, enqueue(Role, Owner, State))}
    end;
step(release, [_, Holder, Number], #{permits := Permits} = State) ->
    case Permits of
        #{Number := {Holder, gone}} ->
            {{error, released}, State};
        #{Number := {Holder, {Role, Owner}}} ->
            {ok, dequeue(Role, Owner, State#{permits := Permits#{Number := {Holder, gone}}})}
    end;
step(drop, [_, Number], State) ->
    {ok, let_go(Number, State)};
step(kill, [Worker], State) ->
    {ok, die(Worker, State)};
step(kill_within, [Worker, Role, Owner], State) ->
    {_, Next} = answer(with_capacity, [Role, Owner, return], State),
    {ok, die(Worker, Next)};
step(crash, [], State) ->
    {ok, State};
step(restart, [], #{permits := Permits, next := Next}) ->
    Gone = maps:map(fun(_, {Holder, _}) -> {Holder, gone} end, Permits),
    {ok, (initial_state())#{permits := Gone, next := Next}}.

hold(Number, Worker, Place, #{permits := Permits} = State) ->
    State#{permits := Permits#{Number => {Worker, Place}}, next := Number + 1}.

let_go(Number, #{permits := Permits} = State) ->
    {{_, Place}, Rest} = maps:take(Number, Permits),
    Next = State#{permits := Rest},
    case Place of
        gone -> Next;
        {Role, Owner} -> dequeue(Role, Owner, Next)
    end.

die(Worker, #{permits := Permits} = State) ->
    Held = [Number || Number := {Holder, _} <- Permits, Holder =:= Worker],
    forget_all({worker, Worker}, lists:foldl(fun let_go/2, State, Held)).

answer(Function, [_, dead | _], State) when Function =/= get_queue_depth, Function =/= with_capacity ->
    {ok, State};
answer(with_capacity, [_, dead, Outcome], State) ->
    {outcome(Outcome), State};
answer(check_capacity, [Role, Owner], State) ->
    case refuses(Role, Owner, State) of
        false -> {ok, State};
        true -> refuse(Role, Owner, State)
    end;
answer(try_enqueue, [Role, Owner], State) ->
    case refuses(Role, Owner, State) of
        false -> {ok, enqueue(Role, Owner, State)};
        true -> refuse(Role, Owner, State)
    end;
answer(with_capacity, [Role, Owner, Outcome], State) ->
    case refuses(Role, Owner, State) of
        true ->
            refuse(Role, Owner, State);
        false ->
            Within = enqueue(Role, Owner, State),
            Left =
                case Outcome of
                    forget -> forget(Role, Owner, Within);
                    dequeue -> dequeue(Role, Owner, dequeue(Role, Owner, Within));
                    _ -> dequeue(Role, Owner, Within)
                end,
            {outcome(Outcome), Left}
    end;
answer(record_enqueue, [Role, Owner], State) ->
    {ok, enqueue(Role, Owner, State)};
answer(record_dequeue, [Role, Owner], State) ->
    {ok, dequeue(Role, Owner, State)};
answer(forget, [Role, Owner], State) ->
    {ok, forget(Role, Owner, State)};
answer(get_queue_depth, [Role, Owner], State) ->
    {depth(Role, Owner, State), State};
answer(get_queue_depth, [Owner], #{depths := Depths} = State) ->
    case [Depth || {_, Of} := Depth <- Depths, Of =:= Owner] of
        [] -> {{error, not_found}, State};
        Found -> {lists:sum(Found), State}
    end;
answer(set_limit, [Role, Limit], State) ->
    #{limits := Limits} = Known = role_or_new(Role, State),
    {ok, Known#{limits := Limits#{Role => Limit}}};
answer(get_limit, [Role], State) ->
    {limit(Role, State), State};
answer(get_all_limits, [], #{counts := Counts} = State) ->
    {#{Role => limit(Role, State) || Role := _ <- Counts}, State};
answer(get_role_stats, [Role], #{counts := Counts} = State) when is_map_key(Role, Counts) ->
    {stats(Role, State), State};
answer(get_role_stats, [_], State) ->
    {{error, not_found}, State};
answer(get_all_stats, [], #{counts := Counts} = State) ->
    {#{Role => stats(Role, State) || Role := _ <- Counts}, State};
answer(reset_stats, [Role], #{counts := Counts} = State) when is_map_key(Role, Counts) ->
    {ok, State#{counts := Counts#{Role := no_counts()}}};
answer(reset_stats, [_], State) ->
    {ok, State};
answer(set_enabled, [Enabled], State) ->
    {ok, State#{enabled := Enabled}}.

outcome(Outcome) when Outcome =:= throw; Outcome =:= error; Outcome =:= exit ->
    {raised, Outcome, on_purpose};
outcome(_) ->
    {ok, inside}.

role_or_new(Role, #{counts := Counts} = State) ->
    State#{counts := maps:merge(#{Role => no_counts()}, Counts)}.

count(Role, Changes, State) ->
    #{counts := Counts} = Known = role_or_new(Role, State),
    Known#{counts := maps:update_with(Role, fun(Old) -> maps:merge_with(fun plus/3, Old, Changes) end, Counts)}.

plus(max_depth, Old, New) -> max(Old, New);
plus(refused_ever, _, New) -> New;
plus(_, Old, New) -> Old + New.

depth(Role, Owner, #{depths := Depths}) ->
    maps:get({Role, Owner}, Depths, 0).

limit(Role, #{limits := #{default := Default} = Limits}) ->
    maps:get(Role, Limits, Default).

refuses(Role, Owner, #{enabled := Enabled} = State) ->
    Enabled andalso depth(Role, Owner, State) >= limit(Role, State).

refuse(Role, Owner, State) ->
    Next = count(Role, #{total_rejected => 1, refused_ever => true}, State),
    Stats = stats(Role, Next),
    {{refused, Stats#{process => Owner, depth => depth(Role, Owner, State)}}, Next}.

enqueue(Role, Owner, #{depths := Depths} = State) ->
    Depth = depth(Role, Owner, State) + 1,
    count(Role, #{total_enqueued => 1, max_depth => Depth}, State#{depths := Depths#{{Role, Owner} => Depth}}).

dequeue(Role, Owner, #{depths := Depths} = State) ->
    case depth(Role, Owner, State) of
        0 -> count(Role, #{total_dequeued => 1, unmatched_dequeues => 1}, State);
        Depth -> count(Role, #{total_dequeued => 1}, State#{depths := Depths#{{Role, Owner} := Depth - 1}})
    end.

forget(Role, Owner, #{depths := Depths, permits := Permits} = State) ->
    case maps:take({Role, Owner}, Depths) of
        error ->
            State;
        {Depth, Rest} ->
            Left = maps:map(
                fun
                    (_, {Holder, Place}) when Place =:= {Role, Owner} -> {Holder, gone};
                    (_, Permit) -> Permit
                end,
                Permits
            ),
            count(Role, #{total_released => Depth}, State#{depths := Rest, permits := Left})
    end.

forget_all(Owner, #{counts := Counts} = State) ->
    lists:foldl(fun(Role, Acc) -> forget(Role, Owner, Acc) end, State, maps:keys(Counts)).

stats(Role, #{counts := Counts, depths := Depths} = State) ->
    #{Role := #{total_rejected := Rejected, refused_ever := Refused} = Of} = Counts,
    InRole = [Depth || {R, _} := Depth <- Depths, R =:= Role],
    (maps:remove(refused_ever, Of))#{
        role => Role,
        current_depth => lists:sum(InRole),
        owners => length(InRole),
        limit => limit(Role, State),
        capacity_exceeded_count => Rejected,
        last_capacity_exceeded => Refused
    }.

%% The real thing. Workers are processes that call; {?MODULE, N} names the current one of a number.
start_workers() ->
    [start_worker(Worker) || Worker <- ?WORKERS],
    ok.

start_worker(Worker) ->
    register(name(Worker), spawn(fun work/0)).

name(Worker) ->
    list_to_atom("prop_worker_" ++ integer_to_list(Worker)).

stop_workers() ->
    [erlmcp_native_test_lib:kill(whereis(name(Worker))) || Worker <- ?WORKERS].

work() ->
    receive
        {From, Fun} ->
            From ! {self(), Fun()},
            work()
    end.

call(Worker, Function, Args) ->
    Pid = whereis(name(Worker)),
    Pid ! {self(), fun() -> simplified(attempt(Function, [real(Arg) || Arg <- Args])) end},
    receive
        {Pid, Result} -> Result
    after 5000 -> error({no_answer, Function, Args})
    end.

%% A worker keeps its permits under their numbers.
acquire(Worker, Number, Role, Owner) ->
    in_worker(Worker, fun() ->
        case ?LIMITS:acquire(Role, real(Owner)) of
            {ok, Permit} -> _ = put({permit, Number}, Permit), ok;
            Refused -> simplified(Refused)
        end
    end).

release(Worker, Worker, Number) ->
    in_worker(Worker, fun() -> ?LIMITS:release(get({permit, Number})) end);
release(Worker, Holder, Number) ->
    in_worker(Worker, fun() ->
        Pid = whereis(name(Holder)),
        Pid ! {self(), fun() -> get({permit, Number}) end},
        receive {Pid, Permit} -> ?LIMITS:release(Permit) end
    end).

drop(Holder, Number) ->
    in_worker(Holder, fun() ->
        _ = erase({permit, Number}),
        true = erlang:garbage_collect(),
        ok
    end).

in_worker(Worker, Fun) ->
    Pid = whereis(name(Worker)),
    Pid ! {self(), Fun},
    receive
        {Pid, Result} -> Result
    after 5000 -> error({no_answer, Worker})
    end.

real({worker, Worker}) -> whereis(name(Worker));
real(dead) -> erlmcp_native_test_lib:dead();
real(Arg) -> Arg.

attempt(with_capacity, [Role, Owner, Outcome]) ->
    try
        ?LIMITS:with_capacity(Role, Owner, fun() -> within(Outcome, Role, Owner) end)
    catch
        Class:Reason -> {raised, Class, Reason}
    end;
attempt(acquire, [Role, Owner, Then]) ->
    case ?LIMITS:acquire(Role, Owner) of
        {ok, Permit} when Then =:= release -> ?LIMITS:release(Permit);
        {ok, _} -> ok;
        Refused -> Refused
    end;
attempt(Function, Args) ->
    apply(?LIMITS, Function, Args).

within(return, _, _) ->
    inside;
within(forget, Role, Owner) ->
    ok = ?LIMITS:forget(Role, Owner),
    inside;
within(dequeue, Role, Owner) ->
    ok = ?LIMITS:record_dequeue(Role, Owner),
    inside;
within(Class, _, _) ->
    erlang:raise(Class, on_purpose, []).

simplified({error, {capacity_exceeded, #{process := Owner, retry_after_ms := Ms} = Stats}}) when
    is_integer(Ms), Ms >= 1, Ms =< 60000
->
    {refused, simplified((maps:without([class, reason, retry_after_ms], Stats))#{process := model_of(Owner)})};
simplified(#{last_capacity_exceeded := undefined} = Stats) ->
    Stats#{last_capacity_exceeded := false};
simplified(#{last_capacity_exceeded := At} = Stats) ->
    Stats#{last_capacity_exceeded := abs(erlang:system_time(millisecond) - At) < 60000};
simplified(#{session := #{}} = All) ->
    maps:map(fun(_, Stats) -> simplified(Stats) end, All);
simplified(Result) ->
    Result.

model_of(Owner) when is_atom(Owner) -> Owner;
model_of(Owner) -> hd([{worker, Worker} || Worker <- ?WORKERS, whereis(name(Worker)) =:= Owner]).

kill(Worker) ->
    Pid = whereis(name(Worker)),
    erlmcp_native_test_lib:kill(Pid),
    eventually(fun() -> ?LIMITS:get_queue_depth(Pid) =:= {error, not_found} end),
    start_worker(Worker),
    ok.

kill_within(Worker, Role, Owner) ->
    Self = self(),
    Pid = whereis(name(Worker)),
    Pid ! {self(), fun() ->
        ?LIMITS:with_capacity(Role, Owner, fun() ->
            Self ! {self(), inside},
            receive
                never -> ok
            end
        end)
    end},
    receive
        {Pid, _InsideOrRefused} -> kill(Worker)
    after 5000 -> error(no_answer)
    end.

crash() ->
    erlmcp_native_test_lib:crash(),
    start_service().

restart() ->
    ok = gen_server:stop(?LIMITS),
    start_service().

start_service() ->
    {ok, Pid} = ?LIMITS:start_link(),
    unlink(Pid),
    ok.

%% Everybody at once. Each plan is one process's, who carries it out many times; whoever is to die does so
%% in the middle of one, or is killed from outside at any time. In role `bounded` everybody asks first.
prop_adds_up() ->
    ?FORALL(
        {Limit, Plans, Victims},
        {range(1, 5), vector(6, plan()), list({range(1, 6), range(0, 200)})},
        begin
            Level = erlmcp_native_test_lib:start(),
            ok = ?LIMITS:set_limit(bounded, Limit),
            Workers = [spawn_monitor(fun() -> carry_out(Plan) end) || Plan <- Plans],
            [Pid ! go || {Pid, _} <- Workers],
            [kill_after(Yields, element(1, lists:nth(Victim, Workers))) || {Victim, Yields} <- Victims],
            Ends = [
                receive
                    {'DOWN', Ref, process, Pid, Reason} -> Reason
                end
             || {Pid, Ref} <- Workers
            ],
            Failed = wait_for_none(fun() -> failed(Limit) end),
            Seen = {Failed, Ends, ?LIMITS:get_all_stats()},
            erlmcp_native_test_lib:stop(Level),
            ?WHENFAIL(
                io:format("~n~p~n", [Seen]),
                Failed =:= [] andalso lists:all(fun(End) -> End =:= normal orelse End =:= killed end, Ends)
            )
        end
    ).

kill_after(Yields, Pid) ->
    [erlang:yield() || _ <- lists:seq(1, Yields)],
    exit(Pid, kill).

wait_for_none(Failed) ->
    try
        eventually(fun() -> Failed() =:= [] end),
        []
    catch
        error:{not_within_ms, _, _} -> Failed()
    end.

failed(Limit) ->
    [Role || Role := _ <- ?LIMITS:get_all_stats(), not adds_up(Role)] ++
        [too_deep || [Max] <- [erlmcp_native_test_lib:stats([max_depth], bounded)], Max > Limit].

%% Nobody is left but the two that are no processes.
adds_up(Role) ->
    #{owners := Owners, current_depth := Depth} = ?LIMITS:get_role_stats(Role),
    erlmcp_native_test_lib:at_rest(Role) andalso
        Owners =< 2 andalso
        Depth =:= ?LIMITS:get_queue_depth(Role, a) + ?LIMITS:get_queue_depth(Role, b).

plan() ->
    list(
        frequency([
            {9, {record_enqueue, [free, any_owner()]}},
            {9, {record_dequeue, [role_of_two(), any_owner()]}},
            {9, {try_enqueue, [role_of_two(), any_owner()]}},
            {5, {with_capacity, [role_of_two(), any_owner(), oneof([return, forget, dequeue])]}},
            {3, {acquire, [role_of_two(), any_owner(), release]}},
            {3, {acquire, [role_of_two(), oneof([a, b]), drop]}},
            {2, {forget, [role_of_two(), any_owner()]}},
            {1, {crash, range(1, 2 * ?TIMES)}}
        ])
    ).

role_of_two() ->
    oneof([bounded, free]).

any_owner() ->
    oneof([a, b, self]).

carry_out(Plan) ->
    receive
        go -> ok
    end,
    _ = lists:foldl(
        fun(Time, Mine) -> lists:foldl(fun(Step, Acc) -> take(Step, Time, Acc) end, Mine, Plan) end,
        #{},
        lists:seq(1, ?TIMES)
    ),
    ok.

%% Nobody else counts for a process itself: that depth it can tell at every step.
take({crash, Time}, Time, _) ->
    exit(self(), kill);
take({crash, _}, _, Mine) ->
    Mine;
take({Function, [Role, self | More]}, _, Mine) ->
    Result = attempt(Function, [Role, self() | More]),
    Next = mine(Function, Role, More, Result, Mine),
    Depth = maps:get(Role, Next, 0),
    Depth = ?LIMITS:get_queue_depth(Role, self()),
    Next;
take({Function, Args}, _, Mine) ->
    _ = attempt(Function, Args),
    Mine.

mine(_, _, _, {error, {capacity_exceeded, _}}, Mine) -> Mine;
mine(record_dequeue, Role, _, ok, Mine) -> Mine#{Role => max(0, maps:get(Role, Mine, 0) - 1)};
mine(forget, Role, _, ok, Mine) -> maps:remove(Role, Mine);
mine(with_capacity, Role, [forget], _, Mine) -> maps:remove(Role, Mine);
mine(with_capacity, Role, [dequeue], _, Mine) -> Mine#{Role => max(0, maps:get(Role, Mine, 0) - 1)};
mine(with_capacity, _, _, _, Mine) -> Mine;
mine(acquire, _, _, _, Mine) -> Mine;
mine(_, Role, _, ok, Mine) -> Mine#{Role => maps:get(Role, Mine, 0) + 1}.
