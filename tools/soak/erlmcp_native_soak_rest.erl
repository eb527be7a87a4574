-module(erlmcp_native_soak_rest).
-moduledoc "What must be true of the whole when all actors are at rest.".

-export([look/0]).

-import(erlmcp_native_soak_actor, [eventually/2]).

-doc "Says what is not true.".
-spec look() -> [iodata()].
look() ->
    Roles = maps:keys(erlmcp_queue_limits:get_all_stats()),
    lists:append([balance(Role) || Role <- Roles]) ++ depths() ++ nothing_waits().

%% What came in is what went out, was given up, or is there.
balance(Role) ->
    #{
        total_enqueued := Enqueued,
        total_dequeued := Dequeued,
        unmatched_dequeues := Unmatched,
        total_released := Released,
        current_depth := Depth
    } = Stats = erlmcp_queue_limits:get_role_stats(Role),
    [
        io_lib:format("~s does not add up: ~0tp", [Role, Stats])
     || Enqueued =/= Dequeued - Unmatched + Released + Depth
    ].

%% A role's depth is the sum of its owners'. Those that have just died are given up within 100 ms, between the two
%% readings too.
depths() ->
    eventually(fun() -> unequal() =:= [] end, fun() -> lists:join("; ", unequal()) end).

unequal() ->
    Rows = erlmcp_overload_monitor:queues(),
    [
        io_lib:format("~s has depth ~b, its owners together ~b", [Role, Depth, Sum])
     || #{role := Role, depth := Depth} <- erlmcp_overload_monitor:summary(),
        Sum <- [lists:sum([Of || #{role := Other, depth := Of} <- Rows, Other =:= Role])],
        Sum =/= Depth
    ].

nothing_waits() ->
    Waiting = fun() -> [Row || {_, Number} = Row <- maps:to_list(maps:get(queued, stats())), Number =/= 0] end,
    eventually(fun() -> Waiting() =:= [] end, fun() -> io_lib:format("control messages wait: ~0tp", [Waiting()]) end).

stats() ->
    erlmcp_control_plane:get_stats().
