-module(erlmcp_overload_hysteresis).
-moduledoc """
Of a number that is looked at again and again: whether it is over one mark, over two, or over none; so that a number
that stays where it is, at a mark too, makes no level come and go.

A level rises when the number has been at its mark or above for `rise_ms`: time above counts, and time below takes half
of itself away from that. It is left when the number was below `clear_at`, which is below the mark, at each look of
`clear_ms`. So two changes of a level are at least the lesser of the two times apart, and one that goes to and fro
between `clear_at` and the mark changes nothing.

Nothing here reads a clock: whoever looks says when. Between two looks pass `most_ms` at the most, however late the
second is, and no time at all if the clock stands still or goes back.

```erlang
1> Rules = #{rise_ms => 500, clear_ms => 2000, clear_at => {3, 6}, most_ms => 1000}.
2> Start = erlmcp_overload_hysteresis:new({4, 8}, Rules, 0).
3> Looks = fun(Values, H) ->
       lists:foldl(fun({At, Value}, Before) -> erlmcp_overload_hysteresis:look(At, Value, Before) end, H, Values)
   end.
4> erlmcp_overload_hysteresis:level(Looks([{0, 5}, {250, 5}], Start)).
0
5> Risen = Looks([{0, 5}, {250, 5}, {500, 5}], Start), erlmcp_overload_hysteresis:level(Risen).
1
6> erlmcp_overload_hysteresis:level(Looks([{At, 3.5} || At <- lists:seq(1000, 9000, 500)], Risen)).
1
7> erlmcp_overload_hysteresis:level(Looks([{At, 2} || At <- lists:seq(1000, 3000, 500)], Risen)).
0
```
""".

-export([new/3, look/3, level/1]).

-export_type([hysteresis/0, marks/0, rules/0, level/0]).

-doc "A hysteresis is two marks, each with the time that the number was on its other side.".
-opaque hysteresis() :: #{
    rules := rules(),
    marks := {mark(), mark()},
    %% When it was looked last.
    at_ms := integer() | undefined
}.
-doc "From these numbers on the level is 1 and 2. The second is not below the first.".
-type marks() :: {number(), number()}.
-doc "These are the times and numbers that a level follows.".
-type rules() :: #{
    rise_ms := non_neg_integer(),
    clear_ms := pos_integer(),
    clear_at := marks(),
    most_ms := pos_integer()
}.
-doc "A level says how many of the marks the number is over.".
-type level() :: 0..2.
-type mark() :: {At :: number(), ClearAt :: number(), over | under, Ms :: number()}.

-doc "Begins at a level.".
-spec new(marks(), rules(), level()) -> hysteresis().
new({First, Second}, #{clear_at := {ClearFirst, ClearSecond}} = Rules, Level) ->
    Marks = {mark(First, ClearFirst, Level >= 1), mark(Second, ClearSecond, Level >= 2)},
    #{rules => Rules, marks => Marks, at_ms => undefined}.

mark(At, ClearAt, true) -> {At, ClearAt, over, 0};
mark(At, ClearAt, false) -> {At, ClearAt, under, 0}.

-doc "Notes that the number is this now, in milliseconds of a clock that does not go back.".
-spec look(NowMs :: integer(), number(), hysteresis()) -> hysteresis().
look(NowMs, Number, #{rules := Rules, marks := {First, Second}, at_ms := AtMs} = Hysteresis) ->
    Ms = passed(AtMs, NowMs, Rules),
    Marks = both(look(Number, Ms, Rules, First), look(Number, Ms, Rules, Second)),
    Hysteresis#{marks := Marks, at_ms := NowMs}.

%% Whatever is over the second is over the first, though the first may have been left a short while ago.
both({At, ClearAt, under, _}, {_, _, over, _} = Second) -> {{At, ClearAt, over, 0}, Second};
both(First, Second) -> {First, Second}.

passed(undefined, _, _) -> 0;
passed(AtMs, NowMs, #{most_ms := MostMs}) -> min(max(NowMs - AtMs, 0), MostMs).

look(Number, Ms, #{rise_ms := RiseMs}, {At, ClearAt, under, AboveMs}) when Number >= At ->
    case AboveMs + Ms >= RiseMs of
        true -> {At, ClearAt, over, 0};
        false -> {At, ClearAt, under, AboveMs + Ms}
    end;
look(_, Ms, _, {At, ClearAt, under, AboveMs}) ->
    {At, ClearAt, under, max(0, AboveMs - Ms / 2)};
look(Number, _, _, {At, ClearAt, over, _}) when Number >= ClearAt ->
    {At, ClearAt, over, 0};
look(_, Ms, #{clear_ms := ClearMs}, {At, ClearAt, over, BelowMs}) ->
    case BelowMs + Ms >= ClearMs of
        true -> {At, ClearAt, under, 0};
        false -> {At, ClearAt, over, BelowMs + Ms}
    end.

-doc "Tells how many marks the number is over.".
-spec level(hysteresis()) -> level().
level(#{marks := {_, {_, _, over, _}}}) -> 2;
level(#{marks := {{_, _, over, _}, _}}) -> 1;
level(#{}) -> 0.
