-module(erlmcp_native_room).
-moduledoc """
Reading what is large out of an ETS table. A row is copied to where the caller has room for it. Without room it is
copied beside the heap, and the caller's garbage is collected at once, which copies the row a second time; and once
more when what comes of the row has no room beside it. Of a megabyte that is most of the time that reading takes.

Therefore a caller that would have its garbage collected in any case has it collected before, while there is little to
copy.
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
    [Block, Heap, Stack] = [proplists:get_value(Of, Info) || Of <- [heap_block_size, heap_size, stack_size]],
    case proplists:get_value(max_heap_size, Settings) of
        #{size := 0} when Block - Heap - Stack < Words -> grow(Heap + Stack + Words);
        %% It has room, or may not have as much.
        _ -> ok
    end.

grow(Words) ->
    Least = process_flag(min_heap_size, Words),
    true = erlang:garbage_collect(self(), [{type, minor}]),
    _ = process_flag(min_heap_size, Least),
    ok.
