%% A node that has no room for one more process, for tests in a node of their own.
-module(erlmcp_native_crowd_test_lib).

-export([args/0, crowd/0, leave/1]).

%% The least that a runtime takes.
-define(MOST, "1024").
-define(MS, 30000).

%% What such a node is started with.
args() ->
    ["+P", ?MOST].

%% There is no room, until that ends: who is gone is followed by another.
crowd() ->
    Test = self(),
    {Crowd, _} = spawn_opt(
        fun() ->
            crowd_in(),
            Test ! {self(), crowded},
            stay_crowded()
        end,
        [link, monitor, {priority, high}]
    ),
    receive {Crowd, crowded} -> Crowd after ?MS -> error(not_crowded) end.

%% They end with their maker.
crowd_in() ->
    try erlmcp_native_test_lib:idle() of
        _ -> crowd_in()
    catch
        error:system_limit -> ok
    end.

stay_crowded() ->
    receive
    after 1 -> crowd_in(), stay_crowded()
    end.

%% Until there is room again.
leave(Crowd) ->
    true = unlink(Crowd),
    ok = erlmcp_native_test_lib:kill(Crowd),
    Most = list_to_integer(?MOST),
    erlmcp_native_test_lib:eventually(fun() -> erlang:system_info(process_count) < Most div 2 end, ?MS).
