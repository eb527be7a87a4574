-module(erlmcp_native_event_log_tests).

-include_lib("eunit/include/eunit.hrl").

-define(M, erlmcp_native_event_log).

empty_test() ->
    Log = ?M:new(100),
    ?assertEqual(100, ?M:last(Log)),
    [?assertMatch({[], _}, ?M:since(Id, Log)) || Id <- [0, 99, 100]].

frames_test() ->
    Alert = #{
        level => warning,
        role => null,
        process => self(),
        depth => 8,
        limit => 10,
        utilization => 0.8,
        timestamp => 17
    },
    Log = lists:foldl(fun ?M:append/2, ?M:new(5), [
        {raised, Alert}, {cleared, Alert#{process := 'a\n"'}}, {breaker, true, open}
    ]),
    {[{6, Raised}, {7, Cleared}, {8, Breaker}], Same} = ?M:since(5, Log),
    ?assertEqual(
        {~"alert", #{
            ~"what" => ~"raised",
            ~"level" => ~"warning",
            ~"role" => ~"null",
            ~"process" => list_to_binary(pid_to_list(self())),
            ~"depth" => 8,
            ~"limit" => 10,
            ~"utilization" => 0.8,
            ~"timestamp" => 17
        }},
        read(6, Raised)
    ),
    ?assertMatch({~"alert", #{~"what" := ~"cleared", ~"process" := ~"a\n\""}}, read(7, Cleared)),
    ?assertEqual({~"breaker", #{~"role" => ~"true", ~"action" => ~"open"}}, read(8, Breaker)),
    ?assertMatch({[{8, Breaker}], _}, ?M:since(7, Same)),
    ?assertEqual(8, ?M:last(Same)).

%% An event is four lines.
read(Id, Frame) ->
    Prefix = ["id: ", integer_to_binary(Id)],
    [First, <<"event: ", Name/binary>>, <<"data: ", Json/binary>>, <<>>, <<>>] = binary:split(Frame, ~"\n", [global]),
    ?assertEqual(iolist_to_binary(Prefix), First),
    {Name, json:decode(Json)}.

snapshot_test() ->
    ?assertEqual(~"id: 7\nevent: snapshot\ndata: {}\n\n", iolist_to_binary(?M:snapshot(7, ~"{}"))).

filled(Start, Count) ->
    Events = [{breaker, list_to_atom("r" ++ integer_to_list(N)), open} || N <- lists:seq(1, Count)],
    lists:foldl(fun ?M:append/2, ?M:new(Start), Events).

%% Whatever was appended and wherever one begins: what is told, and what is said to be missed, adds up.
all_are_told_or_missed_test() ->
    [
        begin
            {Events, _} = ?M:since(1000 + From, filled(1000, Count)),
            Expected = max(0, Count - 256 - max(0, From)),
            case Expected of
                0 -> ok;
                _ ->
                    {Id, Frame} = hd(Events),
                    ?assertEqual({~"missed", #{~"events" => Expected}}, read(Id, Frame))
            end,
            Told = case Expected of 0 -> Events; _ -> tl(Events) end,
            ?assertEqual(lists:seq(1001 + max(0, From) + Expected, 1000 + Count), [Id || {Id, _} <- Told]),
            Names = [maps:get(~"role", Map) || {Id, Frame} <- Told, {~"breaker", Map} <- [read(Id, Frame)]],
            ?assertEqual([<<"r", (integer_to_binary(Id - 1000))/binary>> || {Id, _} <- Told], Names)
        end
     || Count <- [1, 255, 256, 257, 300, 511, 512, 513, 514, 800, 1300],
        From <- [-1000, -1, 0, 1, 200, 256, 300, 700],
        From =< Count
    ].

what_is_kept_is_bounded_test() ->
    Log = filled(0, 5000),
    ?assert(erts_debug:flat_size(Log) < 10000),
    {Events, Read} = ?M:since(0, Log),
    ?assertEqual(257, length(Events)),
    ?assert(erts_debug:flat_size(Read) < 20000).
