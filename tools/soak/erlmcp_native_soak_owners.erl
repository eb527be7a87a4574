-module(erlmcp_native_soak_owners).
-moduledoc """
Owners come, count, and go. Each knows what it has counted, and nobody else counts for it: at rest its depths have to be
just that. Of those that are killed nothing is left.
""".
-behaviour(erlmcp_native_soak_actor).

-export([init/0, act/1, rest/1, roles/0]).

-define(L, erlmcp_queue_limits).
%% Always as many, so that what they hold, all together, has no reason to grow.
-define(OWNERS, 100).
-define(PATIENCE_MS, 10_000).

-doc "Returns the roles that they count in. There is no end of a role, so there are not many.".
-spec roles() -> [atom(), ...].
roles() ->
    [session, tool_executor, soak_1, soak_2, soak_3, soak_4, soak_5, soak_6, soak_7, soak_8].

-doc false.
-spec init() -> {[pid()], Killed :: [pid()]}.
init() ->
    {[new() || _ <- lists:seq(1, ?OWNERS)], []}.

-doc false.
-spec act({[pid()], [pid()]}) -> {[atom()], {[pid()], [pid()]}}.
act({Owners, Killed}) ->
    receive after 1 -> ok end,
    case rand:uniform(10) of
        1 ->
            [Owner | Others] = shuffled(Owners),
            exit(Owner, kill),
            {[owners_killed], {[new() | Others], [Owner | Killed]}};
        _ ->
            lists:foreach(fun(Owner) -> Owner ! {count, rand:uniform(50)} end, lists:sublist(shuffled(Owners), 3)),
            {[bursts], {Owners, Killed}}
    end.

-doc false.
-spec rest({[pid()], [pid()]}) -> {[iodata()], {[pid()], [pid()]}}.
rest({Owners, Killed}) ->
    Asked = [ask(Owner) || Owner <- Owners],
    Findings = lists:append([answer(Monitor) || Monitor <- Asked]),
    Left = [
        erlmcp_native_soak_actor:eventually(
            fun() -> ?L:get_queue_depth(Owner) =:= {error, not_found} end,
            io_lib:format("~p was killed, and is still there", [Owner])
        )
     || Owner <- Killed
    ],
    {Findings ++ lists:append(Left), {Owners, []}}.

ask(Owner) ->
    Alias = monitor(process, Owner, [{alias, reply_demonitor}]),
    Owner ! {check, Alias},
    Alias.

answer(Alias) ->
    receive
        {Alias, Findings} -> Findings;
        {'DOWN', Alias, process, Owner, Reason} -> [io_lib:format("~p died: ~0tP", [Owner, Reason, 30])]
    after ?PATIENCE_MS -> ["an owner hangs"]
    end.

shuffled(List) ->
    [Item || {_, Item} <- lists:sort([{rand:uniform(), Item} || Item <- List])].

new() ->
    Seed = rand:uniform(1 bsl 50),
    Maker = self(),
    spawn(fun() ->
        _ = rand:seed(exsss, Seed),
        owner(monitor(process, Maker), #{})
    end).

%% Depths by role.
owner(Maker, Depths) ->
    receive
        {count, Times} ->
            Counted = lists:foldl(fun(_, So) -> count(one_of(roles()), So) end, Depths, lists:seq(1, Times)),
            owner(Maker, Counted);
        {check, Alias} ->
            Alias ! {Alias, check(Depths)},
            owner(Maker, Depths);
        {'DOWN', Maker, process, _, _} ->
            ok
    end.

one_of(List) ->
    lists:nth(rand:uniform(length(List)), List).

count(Role, Depths) ->
    Depth = maps:get(Role, Depths, 0),
    case rand:uniform(100) of
        N when N =< 20 -> Depths#{Role => Depth + enqueued(?L:record_enqueue(Role, self()))};
        N when N =< 50 -> Depths#{Role => Depth + enqueued(?L:try_enqueue(Role, self()))};
        N when N =< 97 -> ok = ?L:record_dequeue(Role, self()), Depths#{Role => max(0, Depth - 1)};
        98 -> _ = ?L:check_capacity(Role, self()), Depths;
        _ -> ok = ?L:forget(Role, self()), Depths#{Role => 0}
    end.

enqueued(ok) -> 1;
enqueued({error, {capacity_exceeded, _}}) -> 0.

check(Depths) ->
    [
        io_lib:format("~p has ~b in ~s, and counted ~b", [self(), Is, Role, Depth])
     || {Role, Depth} <- maps:to_list(Depths),
        Is <- [?L:get_queue_depth(Role, self())],
        Is =/= Depth
    ].
