%% What has changed, put together again, is what it is.
-module(prop_erlmcp_native_http_change).

-include_lib("proper/include/proper.hrl").

-export([prop_all_is_there/0]).

prop_all_is_there() ->
    ?FORALL({Was, Is}, ?LET(Was, object(2), {Was, near(Was)}), begin
        case erlmcp_native_http_change:between(encoded(Was), encoded(Is)) of
            none ->
                true;
            Change ->
                Made = erlmcp_native_http_change_tests:changed(json:decode(encoded(Was)), json:decode(Change)),
                json:decode(encoded(Is)) =:= Made
        end
    end).

encoded(Term) ->
    iolist_to_binary(json:encode(Term)).

%% Another, or the same with some of it changed.
near(Was) ->
    frequency([{1, object(2)}, {4, ?LAZY(touched(Was))}]).

touched(Was) when is_map(Was) ->
    ?LET(Pairs, [{Key, oneof([Value, ?LAZY(touched(Value))])} || Key := Value <- Was], maps:from_list(Pairs));
touched(Was) when is_list(Was) ->
    [oneof([Value, ?LAZY(touched(Value))]) || Value <- Was];
touched(_) ->
    value(1).

object(Depth) ->
    ?LET(Pairs, list({oneof([~"a", ~"b", ~"c", ~"0"]), value(Depth)}), maps:from_list(Pairs)).

value(0) ->
    oneof([null, true, integer(), ~"text", 1.5]);
value(Depth) ->
    frequency([{3, value(0)}, {1, ?LAZY(object(Depth - 1))}, {1, ?LAZY(list(value(Depth - 1)))}]).
