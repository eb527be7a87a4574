%% What waits for a handler, by itself.
-module(erlmcp_control_lanes_tests).

-include_lib("eunit/include/eunit.hrl").
-include("../../erlang/control/erlmcp_control_request.hrl").

-define(LANES, erlmcp_control_lanes).
-define(TYPES, [circuit_breaker, health_check, drain_session, cancel_task]).

request(Type, N) ->
    #control_request{from = none, type = Type, message = {control, Type, #{n => N}}, sent_at = N}.

all(Lanes) ->
    case ?LANES:out(Lanes) of
        {Request, Rest} -> [Request | all(Rest)];
        none -> []
    end.

in_order_test() ->
    Mixed = [request(Type, N) || N <- lists:seq(1, 20), Type <- lists:reverse(?TYPES)],
    Sorted = [request(Type, N) || Type <- ?TYPES, N <- lists:seq(1, 20)],
    ?assertEqual(Sorted, all(lists:foldl(fun ?LANES:in/2, ?LANES:new(), Mixed))).

%% In and out at random, against a sorted list.
as_a_list_test() ->
    Place = fun(#control_request{type = Type, sent_at = N}) ->
        {length(lists:takewhile(fun(T) -> T =/= Type end, ?TYPES)), N}
    end,
    Step = fun(N, {Lanes, List}) ->
        case rand:uniform(2) of
            1 ->
                Request = request(lists:nth(rand:uniform(4), ?TYPES), N),
                {?LANES:in(Request, Lanes), lists:sort([{Place(Request), Request} | List])};
            2 ->
                case {?LANES:out(Lanes), List} of
                    {none, []} -> {Lanes, []};
                    {{First, Rest}, [{_, First} | Others]} -> {Rest, Others}
                end
        end
    end,
    {Lanes, Left} = lists:foldl(Step, {?LANES:new(), []}, lists:seq(1, 10000)),
    ?assertEqual([Request || {_, Request} <- Left], all(Lanes)).

%% There are many components, and little waits.
empty_is_nothing_test() ->
    {_, Empty} = ?LANES:out(?LANES:in(request(cancel_task, 1), ?LANES:new())),
    ?assertEqual(0, erts_debug:flat_size(Empty)).
