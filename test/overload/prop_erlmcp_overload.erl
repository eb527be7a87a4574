%% The alerts, and what handlers are told, against a model in exact fractions.
-module(prop_erlmcp_overload).

-include_lib("proper/include/proper.hrl").

-export([prop_alerts_are_the_models/0]).

-define(M, erlmcp_overload_monitor).
-define(LEVELS, [ok, warning, critical, overload]).

prop_alerts_are_the_models() ->
    ?FORALL(
        {Steps, Margin},
        {list(step()), oneof([0, 1, 2, 5, 8])},
        begin
            Level = erlmcp_overload_test_lib:up(),
            try
                Tag = erlmcp_overload_test_lib:monitor([
                    {clear_margin, Margin / 10}, {max_alert_history, 10000}, {open_breaker_at, never}
                ]),
                ok = erlmcp_queue_limits:set_limit(r, 10),
                [ok = run(Step) || Step <- Steps],
                Run = fun(Step, State) -> model(Step, Margin, State) end,
                {_, _, Expected} = lists:foldl(Run, {10, #{}, []}, Steps),
                Alerts = [Alert || {alert, Alert} <- Expected],
                ok = erlmcp_queue_limits:set_limit(marker, 1),
                History = erlmcp_overload_test_lib:history(),
                erlmcp_overload_test_lib:fill(marker, a, 1),
                Told = erlmcp_overload_test_lib:until(Tag, {alert, {overload, marker, a, 1, 1}}),
                ?WHENFAIL(
                    io:format(user, "~nexpected ~p~nhistory ~p~ntold ~p~n", [lists:reverse(Expected), History, Told]),
                    conjunction([
                        {history, by_owner(History) =:= by_owner(Alerts)},
                        {told, kinds(Told) =:= kinds(lists:reverse(Expected))}
                    ])
                )
            after
                erlmcp_overload_test_lib:down(Level)
            end
        end
    ).

%% A check looks at the owners in no particular order.
by_owner(Events) ->
    [[Event || {_, _, Owner, _, _} = Event <- Events, Owner =:= Of] || Of <- [a, b]].

kinds(Events) ->
    [by_owner([{{Kind, Level}, Role, Owner, Depth, Limit} || {Kind, {Level, Role, Owner, Depth, Limit}} <- Events])].

step() ->
    frequency([
        {6, {fill, owner(), range(1, 6)}},
        {6, {drain, owner(), range(1, 6)}},
        {2, {limit, range(0, 25)}},
        {1, {forget, owner()}}
    ]).

owner() ->
    oneof([a, b]).

run({fill, Owner, Times}) ->
    erlmcp_overload_test_lib:fill(r, Owner, Times);
run({drain, Owner, Times}) ->
    erlmcp_overload_test_lib:drain(r, Owner, Times);
run({limit, Limit}) ->
    ok = erlmcp_queue_limits:set_limit(r, Limit),
    ?M:force_check();
run({forget, Owner}) ->
    erlmcp_queue_limits:forget(r, Owner).

%% {limit, owner => {depth, level}, events newest first}.
model({fill, Owner, Times}, Margin, State) ->
    repeat(Times, fun(S) -> change(Owner, 1, Margin, S) end, State);
model({drain, Owner, Times}, Margin, State) ->
    repeat(Times, fun(S) -> change(Owner, -1, Margin, S) end, State);
model({limit, Limit}, Margin, {_, Owners, Events}) ->
    Change = fun(Owner, S) -> change(Owner, 0, Margin, S) end,
    lists:foldl(Change, {Limit, Owners, Events}, lists:sort(maps:keys(Owners)));
model({forget, Owner}, _, {Limit, Owners, Events}) ->
    case Owners of
        #{Owner := {_, Level}} -> {Limit, maps:remove(Owner, Owners), left(Level, ok, Owner, 0, Limit) ++ Events};
        #{} -> {Limit, Owners, Events}
    end.

repeat(0, _, State) -> State;
repeat(Times, Fun, State) -> repeat(Times - 1, Fun, Fun(State)).

change(Owner, By, _, {_, Owners, _} = State) when not is_map_key(Owner, Owners), By =< 0 ->
    State;
change(Owner, By, Margin, {Limit, Owners, Events}) ->
    {Before, Held} = maps:get(Owner, Owners, {0, ok}),
    Depth = max(0, Before + By),
    Level = level_after(Depth, Limit, Held, Margin),
    New =
        case rank(Level) > rank(Held) of
            true -> [{alert, {Level, r, Owner, Depth, Limit}}];
            false -> left(Held, Level, Owner, Depth, Limit)
        end,
    {Limit, Owners#{Owner => {Depth, Level}}, New ++ Events}.

left(Held, Level, Owner, Depth, Limit) ->
    [{clear, {L, r, Owner, Depth, Limit}} || L <- ?LEVELS, rank(L) > rank(Level), rank(L) =< rank(Held)].

level_after(Depth, Limit, Held, Margin) ->
    Reached = lists:last([L || L <- ?LEVELS, L =:= ok orelse (Depth > 0 andalso Depth * 10 >= Limit * tenths(L))]),
    case rank(Reached) >= rank(Held) of
        true ->
            Reached;
        false ->
            Kept = [L || L <- ?LEVELS, rank(L) =< rank(Held), L =:= ok orelse not is_left(L, Depth, Limit, Margin)],
            lists:last(Kept)
    end.

%% Without a margin, and where the limit leaves no room for one, the depth below the threshold will do.
is_left(Level, Depth, Limit, Margin) ->
    Depth =:= 0 orelse
        (Depth * 10 < Limit * tenths(Level) andalso Depth =< Limit * (tenths(Level) - Margin) div 10).

tenths(warning) -> 8;
tenths(critical) -> 9;
tenths(overload) -> 10.

rank(ok) -> 0;
rank(warning) -> 1;
rank(critical) -> 2;
rank(overload) -> 3.
