%% Whatever term it is: JSON, which says what plain/1 says.
-module(prop_erlmcp_native_json).

-include_lib("proper/include/proper.hrl").

-export([prop_any_term/0, a_term/0]).

prop_any_term() ->
    ?FORALL(Term, a_term(), begin
        Json = erlmcp_native_json:encode(Term),
        Plain = erlmcp_native_json:plain(Term),
        json:decode(Json) =:= Plain andalso erlmcp_native_json:plain(Plain) =:= Plain andalso
            binary:match(Json, ~"\n") =:= nomatch
    end).

a_term() ->
    ?SIZED(Size, a_term(Size)).

a_term(0) ->
    %% No atoms at random: they would stay, and soon be too many.
    oneof([oneof([a, 'b c', '', ok]), binary(), bitstring(), float(), integer(), largeint(), oneof(odd())]);
a_term(Size) ->
    Smaller = a_term(Size div 4),
    oneof([
        a_term(0),
        few(Smaller),
        ?LET(Elements, few(Smaller), list_to_tuple(Elements)),
        ?LET(Pairs, few({Smaller, Smaller}), maps:from_list(Pairs)),
        ?LET(Pairs, few({oneof([role, process, component, limit]), Smaller}), maps:from_list(Pairs))
    ]).

few(Type) ->
    ?LET(Number, range(0, 4), vector(Number, Type)).

odd() ->
    [[a | b], [[] | []], 1 bsl 100, -0.0, self(), make_ref(), hd(erlang:ports()), fun() -> ok end, fun lists:map/2]
        ++ [<<1:3>>, <<255>>, <<"\n", 0, 127>>, [16#110000], 'ü', undefined, infinity, null, true]
        ++ [#{{a, 1} => b}, #{<<255>> => 1, <<254>> => 2}].
