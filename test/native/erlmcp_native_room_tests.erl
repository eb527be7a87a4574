%% Large rows of an ETS table, as a process sees them whose heap is small.
-module(erlmcp_native_room_tests).

-include_lib("eunit/include/eunit.hrl").

-define(WORDS, 200_000).

row_test_() ->
    {foreach, fun table/0, fun ets:delete/1, [
        {with, [Test]}
     || Test <- [
            fun a_row_is_what_it_is/1,
            fun nothing_large_is_collected/1,
            fun who_reads_again_and_again_has_no_larger_heap/1,
            fun the_least_of_the_heap_is_what_it_was/1,
            fun who_has_a_largest_heap_keeps_to_it/1,
            fun a_table_that_is_gone_is_badarg/1
        ]
    ]}.

table() ->
    Table = ets:new(table, [public]),
    true = ets:insert(Table, [{large, list_to_tuple(lists:seq(1, ?WORDS))}, {small, 1}]),
    Table.

a_row_is_what_it_is(Table) ->
    ?assertEqual(ets:lookup(Table, large), in_a_process([], fun() -> lookup(Table, large) end)),
    ?assertEqual([], in_a_process([], fun() -> lookup(Table, nothing) end)),
    %% Twice in one process: with little, and with all of the first.
    ?assertEqual(2, in_a_process([], fun() -> length(lookup(Table, large) ++ lookup(Table, large)) end)).

%% With `ets:lookup/2` the row is collected right after.
nothing_large_is_collected(Table) ->
    Session = trace:session_create(?MODULE, self(), []),
    _ = in_a_process([], fun() ->
        1 = trace:process(Session, self(), true, [garbage_collection]),
        Row = lookup(Table, large),
        %% It has room for what comes of it, too.
        {lists:seq(1, ?WORDS div 16), Row}
    end),
    Told = trace:delivered(Session, all),
    receive {trace_delivered, all, Told} -> ok end,
    true = trace:session_destroy(Session),
    Sizes = collected(),
    ?assertNotEqual([], Sizes),
    ?assertEqual([], [Size || Size <- Sizes, Size > ?WORDS div 8]).

collected() ->
    receive
        {trace, _, Start, Info} when Start =:= gc_minor_start; Start =:= gc_major_start ->
            [lists:sum([proplists:get_value(Of, Info) || Of <- [heap_size, mbuf_size]]) | collected()];
        {trace, _, _, _} ->
            collected()
    after 0 -> []
    end.

%% Whoever looks once a second does so without end.
who_reads_again_and_again_has_no_larger_heap(Table) ->
    Words = fun() -> element(2, process_info(self(), total_heap_size)) end,
    Read = fun Read(Times) -> [_] = lookup(Table, large), Times =:= 0 orelse Read(Times - 1) end,
    {First, Last} = in_a_process([], fun() -> {begin Read(3), Words() end, begin Read(20), Words() end} end),
    ?assert(Last < 2 * First).

the_least_of_the_heap_is_what_it_was(Table) ->
    Least = fun() ->
        {garbage_collection, Settings} = process_info(self(), garbage_collection),
        proplists:get_value(min_heap_size, Settings)
    end,
    {Before, After} = in_a_process([{min_heap_size, 987}], fun() ->
        {Least(), begin [_] = lookup(Table, large), Least() end}
    end),
    ?assertEqual(Before, After).

%% One that would be ended for room for all of the table.
who_has_a_largest_heap_keeps_to_it(Table) ->
    Most = {max_heap_size, #{size => ?WORDS div 2, kill => true, error_logger => false}},
    ?assertEqual([{small, 1}], in_a_process([Most], fun() -> lookup(Table, small) end)).

a_table_that_is_gone_is_badarg(_Table) ->
    ?assertError(badarg, lookup(make_ref(), large)),
    ?assertError(badarg, lookup(?MODULE, large)).

lookup(Table, Key) ->
    erlmcp_native_room:lookup(Table, Key).

in_a_process(Options, Fun) ->
    {Pid, Monitor} = spawn_opt(fun() -> exit({result, Fun()}) end, [monitor | Options]),
    receive
        {'DOWN', Monitor, process, Pid, {result, Result}} -> Result;
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.
