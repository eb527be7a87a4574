%% The parts of the pusher that need no process, against models.
-module(prop_erlmcp_native_otlp).

-include_lib("proper/include/proper.hrl").

-export([prop_delays_are_bounded_and_grow/0, prop_any_answer_has_a_meaning/0]).
-export([prop_the_buffer_is_the_models/0, prop_starts_are_true/0]).

-define(A, erlmcp_native_otlp_answer).
-define(B, erlmcp_native_otlp_buffer).
-define(S, erlmcp_native_otlp_series).

prop_delays_are_bounded_and_grow() ->
    ?FORALL(
        {Failures, Asked, Chance},
        {pos_integer(), range(0, 300000), float(0.0, 1.0)},
        begin
            Ms = ?A:delay_ms(Failures, Asked, Chance),
            Ms >= 1000 andalso Ms =< 300000 andalso Ms >= Asked andalso (Asked > 60000 orelse Ms =< 60000) andalso
                ?A:delay_ms(Failures + 1, Asked, Chance) >= Ms andalso ?A:delay_ms(Failures, Asked, 1.0) >= Ms
        end
    ).

%% Whatever bytes there are where.
prop_any_answer_has_a_meaning() ->
    ?FORALL(
        {Status, Body, RetryAfter},
        {range(200, 599), body(), binary()},
        case ?A:verdict({answered, Status, #{body => Body, retry_after => RetryAfter}}, 784111777) of
            taken -> Status < 300;
            {taken_partly, Rejected, Message} -> Status < 300 andalso Rejected >= 0 andalso is_binary(Message);
            {retry, Ms, Text} -> Status >= 300 andalso Ms >= 0 andalso Ms =< 300000 andalso is_binary(Text);
            {give_up, Text} -> Status >= 300 andalso is_binary(Text)
        end
    ).

body() ->
    oneof([
        binary(),
        ?LET(Term, json_term(), iolist_to_binary(json:encode(Term))),
        ?LET(Term, json_term(), iolist_to_binary(json:encode(#{partialSuccess => Term}))),
        ?LET(
            {A, B},
            {json_term(), json_term()},
            iolist_to_binary(json:encode(#{partialSuccess => #{rejectedDataPoints => A, errorMessage => B}}))
        )
    ]).

json_term() ->
    oneof([integer(), largeint(), float(), boolean(), null, ~"", ~"7", ~"日", [], [1], #{}, #{~"message" => ~"x"}]).

%% A list of bodies, oldest first, of which the first may be taken.
prop_the_buffer_is_the_models() ->
    ?FORALL(
        {MaxSize, MaxBytes, Steps},
        {range(1, 5), range(1, 40), list(oneof([{in, range(0, 45)}, take, back, done]))},
        begin
            {_, _, Right} = lists:foldl(
                fun(Step, {Buffer, Model, Right}) ->
                    {NewBuffer, NewModel, Same} = step(Step, Buffer, Model, MaxSize, MaxBytes),
                    {NewBuffer, NewModel, Right andalso Same andalso is_as(NewBuffer, NewModel, MaxSize, MaxBytes)}
                end,
                {?B:new(MaxSize, MaxBytes), {none, []}, true},
                Steps
            ),
            Right
        end
    ).

is_as(Buffer, {Taken, Waiting}, MaxSize, MaxBytes) ->
    All = [Taken || Taken =/= none] ++ Waiting,
    ?B:size(Buffer) =:= length(All) andalso ?B:bytes(Buffer) =:= total(All) andalso
        length(All) =< MaxSize andalso total(All) =< MaxBytes.

total(Items) ->
    lists:sum([byte_size(Body) || {_, Body} <- Items]).

step({in, Bytes}, Buffer, {Taken, Waiting}, MaxSize, MaxBytes) ->
    Item = {identity, <<(erlang:unique_integer([positive])):(8 * Bytes)>>},
    {Dropped, NewBuffer} = ?B:in(Item, Buffer),
    Left = trimmed(Taken, Waiting, Item, MaxSize, MaxBytes),
    {NewBuffer, {Taken, Left}, Dropped =:= length(Waiting) + 1 - length(Left)};
step(take, Buffer, {none, [Item | Rest]}, _, _) ->
    {Item, NewBuffer} = ?B:take(Buffer),
    {NewBuffer, {Item, Rest}, true};
step(take, Buffer, {none, []} = Model, _, _) ->
    {Buffer, Model, ?B:take(Buffer) =:= empty};
step(back, Buffer, {{_, _} = Item, Rest}, _, _) ->
    {?B:back(Buffer), {none, [Item | Rest]}, true};
step(done, Buffer, {{_, _}, Rest}, _, _) ->
    {?B:done(Buffer), {none, Rest}, true};
step(_, Buffer, Model, _, _) ->
    {Buffer, Model, true}.

%% As few as need be go, from the oldest on; the new one if nothing else is left.
trimmed(Taken, Waiting, Item, MaxSize, MaxBytes) ->
    All = [Taken || Taken =/= none] ++ Waiting ++ [Item],
    case {length(All) =< MaxSize andalso total(All) =< MaxBytes, Waiting} of
        {true, _} -> Waiting ++ [Item];
        {false, [_ | Rest]} -> trimmed(Taken, Rest, Item, MaxSize, MaxBytes);
        {false, []} -> []
    end.

%% A counter that goes up, is reset, goes away and comes back, by a clock that is set back and forth at times. The model
%% remembers by the monotonic clock when it was last seen at zero or not at all, and what that moment was called.
prop_starts_are_true() ->
    ?FORALL(
        Steps,
        non_empty(list({range(0, 50), oneof([0, 0, 0, range(-200, 200)]), oneof([{up, range(0, 9)}, reset, gone])})),
        begin
            Start = {?S:new({1000, 0}), {1000, 0}, #{value => gone, since => 1000}, true},
            {_, _, _, Right} = lists:foldl(fun snapshot/2, Start, Steps),
            Right
        end
    ).

snapshot({Ms, Set, Step}, {Series, {Before, BeforeMonotonic}, #{value := Value, since := Since} = Model, Right}) ->
    {At, Monotonic} = {Before + Ms + Set, BeforeMonotonic + Ms},
    %% The moment of the snapshot before, by the clock as it is now if that was set back.
    Last = if At < Before -> Before + Set; true -> Before end,
    Kept = if Since > At -> Since + Set; true -> Since end,
    NewModel = #{value := Now} =
        case {Step, Value} of
            {gone, _} -> Model#{value := gone};
            {{up, N}, gone} -> #{value => N, since => Last};
            {{up, N}, _} -> #{value => Value + N, since => Kept};
            {reset, gone} -> #{value => 0, since => Last};
            {reset, 0} -> Model#{since := Kept};
            {reset, _} -> #{value => 0, since => Last}
        end,
    Counters = [{#{name => ~"n", kind => counter}, [{[~"a"], Now}]} || Now =/= gone],
    Families = Counters ++ [{#{name => ~"g", kind => gauge}, [{[], 1}]}],
    NewSeries = ?S:update(Families, {At, Monotonic}, Series),
    Start = [?S:start_ms(~"n", [~"a"], NewSeries) || Now =/= gone],
    Fine = ?S:at_ms(NewSeries) =:= At andalso Start =:= [maps:get(since, NewModel) || Now =/= gone] andalso
        lists:all(fun(StartMs) -> StartMs =< At end, Start),
    {NewSeries, {At, Monotonic}, NewModel, Right andalso Fine}.
