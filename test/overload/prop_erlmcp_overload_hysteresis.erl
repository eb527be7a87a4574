%% Whatever number is looked at, and whatever the clock says: levels change no sooner than they may.
-module(prop_erlmcp_overload_hysteresis).

-include_lib("proper/include/proper.hrl").

-export([prop_changes_have_their_reasons/0, prop_steady_numbers_change_nothing/0]).

-define(H, erlmcp_overload_hysteresis).

%% Each change of a level is looked at backwards, with the looks that led to it.
prop_changes_have_their_reasons() ->
    ?FORALL({Rules, Looks}, {rules(), looks()}, begin
        {Trace, _} = lists:mapfoldl(fun look/2, {?H:new({4, 8}, Rules, 0), 0}, Looks),
        changes([], [{start, 0} | Trace], Rules)
    end).

look({Ms, Number}, {H, AtMs}) ->
    New = ?H:look(AtMs + Ms, Number, H),
    {{{Ms, Number}, ?H:level(New)}, {New, AtMs + Ms}}.

changes(Before, [{_, Level}, {Look, Level} | Rest], Rules) ->
    changes([Look | Before], [{Look, Level} | Rest], Rules);
changes(Before, [{_, From}, {Look, To} | Rest], Rules) when To > From ->
    Mark = lists:nth(To, [4, 8]),
    #{rise_ms := RiseMs} = Rules,
    {_, Number} = Look,
    Number >= Mark andalso above(Mark, [Look | Before], Rules) >= RiseMs andalso
        changes([Look | Before], [{Look, To} | Rest], Rules);
changes(Before, [{_, From}, {Look, To} | Rest], Rules) ->
    #{clear_ms := ClearMs, clear_at := {First, Second}} = Rules,
    lists:all(
        fun(Level) ->
            ClearAt = lists:nth(Level, [First, Second]),
            below(ClearAt, [Look | Before], Rules) >= ClearMs
        end,
        lists:seq(To + 1, From)
    ) andalso changes([Look | Before], [{Look, To} | Rest], Rules);
changes(_, [_], _) ->
    true.

%% The time above the mark in all, and that since the number was at the lower one.
above(Mark, Looks, Rules) ->
    lists:sum([counted(Ms, Rules) || {Ms, Number} <- not_first(Looks), Number >= Mark]).

below(ClearAt, Looks, Rules) ->
    Since = lists:takewhile(fun({_, Number}) -> Number < ClearAt end, Looks),
    lists:sum([counted(Ms, Rules) || {Ms, _} <- not_first(Since, Looks)]).

%% Before the first look no time has passed.
not_first(Looks) -> lists:droplast(Looks).

not_first(Looks, Looks) -> lists:droplast(Looks);
not_first(Since, _) -> Since.

counted(Ms, #{most_ms := MostMs}) -> min(max(Ms, 0), MostMs).

prop_steady_numbers_change_nothing() ->
    ?FORALL({Rules, Ms, Numbers}, {rules(), pos_integer(), list(between(3, 7))}, begin
        #{clear_at := {First, _}} = Rules,
        Looks = fun(H, Of) ->
            {_, Last} = lists:foldl(
                fun(Number, {AtMs, Before}) -> {AtMs + Ms, ?H:look(AtMs + Ms, Number, Before)} end, {0, H}, Of
            ),
            ?H:level(Last)
        end,
        At = [max(Number, First) || Number <- Numbers],
        Under = [min(Number, 3.99) || Number <- Numbers],
        {1, 0} =:= {Looks(?H:new({4, 8}, Rules, 1), At), Looks(?H:new({4, 8}, Rules, 0), Under)}
    end).

between(Low, High) ->
    ?LET(N, integer(0, 1000), Low + (High - Low) * N / 1000).

rules() ->
    ?LET(
        {RiseMs, ClearMs, MostMs},
        {oneof([0, 1, 500]), oneof([1, 200, 2000]), oneof([1, 300, 100000])},
        #{rise_ms => RiseMs, clear_ms => ClearMs, clear_at => {3, 6}, most_ms => MostMs}
    ).

%% A clock that goes on, stands still, goes back and jumps.
looks() ->
    list({frequency([{8, oneof([100, 97, 250])}, {1, 0}, {1, oneof([-50, -100000])}, {1, 3600000}]), seen()}).

%% Often the same again.
seen() ->
    oneof([0, 2.99, 3, 3.5, 3.99, 4, 4.01, 5.99, 6, 7.99, 8, 50]).
