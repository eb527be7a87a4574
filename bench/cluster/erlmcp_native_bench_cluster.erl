-module(erlmcp_native_bench_cluster).
-moduledoc """
A cluster of 100 and of 1,000 nodes, all but this one simulated by their messages: what it takes this node to hear one,
to make ready what is read, and to read the whole, and how long it takes until shares are right after a split heals.

Messages are in the external form when they come and when they go, as between nodes; what the runtime does to take them
from a socket is not in it.
""".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(MESSAGE, erlmcp_overload_cluster_message).
-define(PICTURE, erlmcp_overload_cluster_picture).
-define(SHARES, erlmcp_overload_cluster_shares).
-define(INTERVAL_MS, 1000).
-define(NEAR, 0.02).

-doc "Plays the clusters.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{rounds := Rounds}) ->
    Cases = [cost(Nodes, Roles, Rounds) || {Nodes, Roles} <- [{100, 10}, {100, 64}, {1000, 10}, {1000, 64}]],
    HealMs = [{Nodes, healed_ms(Nodes)} || Nodes <- [10, 100]],
    #{
        title => "Many nodes, by their messages",
        tables => [
            #{
                head => ["nodes", "roles", "bytes", "to hear one", "to tell one", "to ready", "to read", "frozen"],
                left => 0,
                rows => [row(Case) || Case <- Cases]
            },
            #{
                head => ["nodes", "until shares are right after a split of halves"],
                left => 0,
                rows => [[integer_to_list(Nodes), ms(Ms)] || {Nodes, Ms} <- HealMs]
            }
        ],
        notes => [
            "least of the rounds, µs. to hear one: with other numbers than before; to ready: what is read;",
            "frozen: read when one node has become stale since"
        ],
        targets => [target(Case, What) || Case <- Cases, What <- [read, frozen, core]] ++
            [
                #{
                    name => io_lib:format("shares of ~b nodes after a split heals", [Nodes]),
                    better => lower,
                    target => 3000,
                    measured => Ms,
                    unit => " ms"
                }
             || {Nodes, Ms} <- HealMs
            ],
        data => #{costs => Cases, healed_ms => maps:from_list(HealMs)}
    }.

row(#{nodes := Nodes, roles := Roles, bytes := Bytes} = Case) ->
    [integer_to_list(N) || N <- [Nodes, Roles, Bytes]] ++
        [us(maps:get(What, Case)) || What <- [hear_us, tell_us, view_us, read_us, frozen_us]].

us(Us) -> float_to_list(Us * 1.0, [{decimals, 1}]).
ms(Ms) -> integer_to_list(Ms) ++ " ms".

target(#{nodes := Nodes, roles := Roles} = Case, What) ->
    {Words, Target, Measured, Unit} =
        case What of
            read -> {"a read", 1.0, maps:get(read_us, Case) / 1000, " ms"};
            frozen -> {"a read with one node frozen", 1.0, maps:get(frozen_us, Case) / 1000, " ms"};
            core -> {"of a core, for each node", 0.1, core_percent(Case), " %"}
        end,
    #{
        name => io_lib:format("~ts: ~b nodes of ~b roles", [Words, Nodes, Roles]),
        better => lower,
        target => Target,
        measured => Measured,
        unit => Unit
    }.

%% In each interval each of the others is heard and told, and all is made ready once.
core_percent(#{nodes := Nodes, hear_us := HearUs, tell_us := TellUs, view_us := ViewUs}) ->
    100 * (HearUs + TellUs + ViewUs / Nodes) / (1000 * ?INTERVAL_MS).

cost(Nodes, Roles, Rounds) ->
    [Before, Message] = [message(Roles, Depth) || Depth <- [1000, 2000]],
    Names = [list_to_atom(lists:concat(["node_", N, "@host"])) || N <- lists:seq(1, Nodes)],
    Known = hear(Names, term_to_binary(Before), ?PICTURE:new()),
    External = term_to_binary(Message),
    {HearUs, Picture} = least(Rounds, fun() -> hear(Names, External, Known) end),
    {TellUs, _} = least(Rounds, fun() -> [term_to_binary(Message) || _ <- Names] end),
    Table = ets:new(view, [public, {read_concurrency, true}]),
    {ViewUs, true} = least(Rounds, fun() -> ets:insert(Table, {view, ?PICTURE:view(1, Picture)}) end),
    %% One that was heard before the others, and is the first to be stale.
    [First | _] = Names,
    #{roles := Sums} = read(Table, 1),
    true = lists:all(fun(#{nodes := Told}) -> Told =:= Nodes end, maps:values(Sums)),
    {ReadUs, _} = least(Rounds, fun() -> read(Table, 2) end),
    Frozen = ?PICTURE:heard(First, -2000, ?MESSAGE:read(element(4, Message)), Picture),
    true = ets:insert(Table, {view, ?PICTURE:view(1, Frozen)}),
    {FrozenUs, #{counted := #{fresh := Fresh, stale := 1}}} = least(Rounds, fun() -> read(Table, 1500) end),
    Fresh = Nodes - 1,
    true = ets:delete(Table),
    #{
        nodes => Nodes,
        roles => Roles,
        bytes => byte_size(External),
        hear_us => HearUs / Nodes,
        tell_us => TellUs / Nodes,
        view_us => ViewUs,
        read_us => ReadUs,
        frozen_us => FrozenUs
    }.

read(Table, NowMs) ->
    [{view, View}] = erlmcp_native_room:lookup(Table, view),
    ?PICTURE:read(NowMs, View).

hear(Names, External, Picture) ->
    Hear = fun(Name, Heard) ->
        {_, _, _, Map} = binary_to_term(External),
        ?PICTURE:heard(Name, 0, ?MESSAGE:read(Map), Heard)
    end,
    lists:foldl(Hear, Picture, Names).

%% All that may change in a second is another in one of another depth.
message(Roles, Depth) ->
    Role = fun(N) -> list_to_atom("a_role_of_many_" ++ integer_to_list(N)) end,
    Level = case Depth > 1000 of true -> warning; false -> ok end,
    Rows = [{Role(N), Depth + N, 9000 + Depth, 250, 123456 + Depth, Level} || N <- lists:seq(1, Roles)],
    ?MESSAGE:make(#{vsn => ~"0.1.0", roles => Rows, pressure => {1, memory}, rates => [{api, 123.4}]}).

%% Each time in a process of its own, as whoever asks may be.
least(Rounds, Fun) ->
    Times = [timed(Fun) || _ <- lists:seq(1, Rounds)],
    lists:min(Times).

timed(Fun) ->
    {Pid, Monitor} = spawn_opt(fun() -> exit({timed, timer:tc(Fun)}) end, [monitor, {min_heap_size, 233}]),
    receive
        {'DOWN', Monitor, process, Pid, {timed, {Us, Result}}} -> {Us, Result};
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.

%% --- a split that heals, in simulated time ---

%% Each node tells at its own moment of the interval. Of each one is asked as many as its number says. The two halves
%% hear each other from 60 s on. How long until the last share is near what it stays at.
healed_ms(Nodes) ->
    Sum = Nodes * (Nodes + 1) / 2,
    Whole = [{N, ?SHARES:share(N * 1.0, Sum, Nodes, Nodes)} || N <- lists:seq(1, Nodes)],
    Begin = #{N => {?PICTURE:new(), ?SHARES:new(), 0} || N <- lists:seq(1, Nodes)},
    Ticks = lists:sort([
        {Second * ?INTERVAL_MS + phase_ms(N, Nodes), N}
     || Second <- lists:seq(0, 75), N <- lists:seq(1, Nodes)
    ]),
    {_, LastMs} = lists:foldl(fun(Tick, So) -> tick(Tick, Nodes, Whole, So) end, {Begin, 0}, Ticks),
    LastMs - 60_000.

phase_ms(N, Nodes) ->
    (N * 617) rem Nodes * ?INTERVAL_MS div Nodes.

tick({AtMs, N}, Nodes, Whole, {All, LastMs}) ->
    #{N := {Picture, Meter, _}} = All,
    NewMeter = ?SHARES:asked(AtMs, [{api, N * AtMs div 1000}], Meter),
    {_, _, _, Map} = ?MESSAGE:make(
        #{vsn => undefined, roles => [], pressure => off, rates => ?SHARES:demands(NewMeter)}
    ),
    #{rates := Own} = Told = ?MESSAGE:read(Map),
    NewPicture = ?PICTURE:heard(name(N), AtMs, Told, Picture),
    Shares = ?SHARES:shares(Own, ?PICTURE:fresh(AtMs, NewPicture), {Nodes, NewMeter}),
    Share = case Shares of [{api, Parts}] -> Parts; [] -> 0 end,
    Heard = fun
        (Other, {P, M, S}) when Other =/= N, AtMs >= 60_000 orelse Other rem 2 =:= N rem 2 ->
            {?PICTURE:heard(name(N), AtMs, Told, P), M, S};
        (_, State) ->
            State
    end,
    Next = (maps:map(Heard, All))#{N := {NewPicture, NewMeter, Share}},
    {N, Right} = lists:keyfind(N, 1, Whole),
    case AtMs >= 60_000 andalso abs(Share - Right) > ?NEAR * Right of
        %% It is wrong until its next look at the earliest.
        true -> {Next, AtMs + ?INTERVAL_MS};
        false -> {Next, max(LastMs, 60_000)}
    end.

name(N) ->
    list_to_atom("node_" ++ integer_to_list(N)).
