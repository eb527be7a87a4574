-module(erlmcp_native_room).
-moduledoc """
Reading what is large out of an ETS table. A row is copied to where the caller has room for it. Without room it is
copied beside the heap, and the caller's garbage is collected at once, which copies the row a second time; and once
more when what comes of the row has no room beside it. Of a megabyte that is most of the time that reading takes.

Therefore a caller has its garbage collected before, while there is little to copy. How much of its heap is free nobody
can tell a process of itself: what the runtime says to one that asks is that all of it is used. So room is made each
time, of the same size whatever the heap has been by then.
""".

-export([lookup/2]).

%% Below, it is a matter of microseconds.
-define(LARGE_WORDS, 8192).

-doc """
Does what `ets:lookup/2` does, in a table that has little but what is looked up. It makes room for the row and a quarter
more.
""".
-spec lookup(ets:table(), Key :: term()) -> [tuple()].
lookup(Table, Key) ->
    case ets:info(Table, memory) of
        Words when is_integer(Words), Words >= ?LARGE_WORDS -> make(Words + Words div 4);
        _ -> ok
    end,
    ets:lookup(Table, Key).

make(Words) ->
    [{_, Info}, {_, Settings}] = process_info(self(), [garbage_collection_info, garbage_collection]),
    [Lives, Stack] = [proplists:get_value(Of, Info) || Of <- [recent_size, stack_size]],
    case proplists:get_value(max_heap_size, Settings) of
        #{size := 0} -> collect(Lives + Stack + Words);
        %% It may not have as much.
        _ -> ok
    end.

collect(Words) ->
    Least = process_flag(min_heap_size, Words),
    true = erlang:garbage_collect(self(), [{type, minor}]),
    _ = process_flag(min_heap_size, Least),
    ok.
