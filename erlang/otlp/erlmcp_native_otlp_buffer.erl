-module(erlmcp_native_otlp_buffer).
-moduledoc """
Snapshots that wait to be pushed, oldest first: at most 32, and at most 8 MB. For a new one the oldest go.

The one that is being pushed counts until it is done with, and does not go.
""".

-export([new/0, new/2, in/2, take/1, back/1, done/1, size/1, bytes/1]).

-export_type([buffer/0, item/0]).

-doc "An item is the body of a push, and its content-encoding.".
-type item() :: {gzip | identity, binary()}.
-doc "A buffer has what waits, what is being pushed, and the bounds.".
-opaque buffer() :: #{
    waiting := queue:queue(item()),
    taken := none | item(),
    size := non_neg_integer(),
    bytes := non_neg_integer(),
    max_size := pos_integer(),
    max_bytes := pos_integer()
}.

-define(MAX_SIZE, 32).
-define(MAX_BYTES, 8 * 1024 * 1024).

-doc "Makes an empty buffer with the usual bounds.".
-spec new() -> buffer().
new() ->
    new(?MAX_SIZE, ?MAX_BYTES).

-doc "Makes an empty buffer with other bounds: how many items, and how many bytes.".
-spec new(pos_integer(), pos_integer()) -> buffer().
new(MaxSize, MaxBytes) ->
    #{waiting => queue:new(), taken => none, size => 0, bytes => 0, max_size => MaxSize, max_bytes => MaxBytes}.

-doc "Adds an item to a buffer. Says how many had to go for it, or that it does not fit itself, which is one.".
-spec in(item(), buffer()) -> {Dropped :: non_neg_integer(), buffer()}.
in(Item, Buffer) ->
    in(Item, 0, Buffer).

in(Item, Dropped, #{waiting := Waiting, size := Size, bytes := Bytes} = Buffer) ->
    #{max_size := MaxSize, max_bytes := MaxBytes} = Buffer,
    case {Size < MaxSize andalso Bytes + weight(Item) =< MaxBytes, queue:out(Waiting)} of
        {true, _} ->
            {Dropped, add(Item, 1, Buffer#{waiting := queue:in(Item, Waiting)})};
        {false, {{value, Oldest}, Rest}} ->
            in(Item, Dropped + 1, add(Oldest, -1, Buffer#{waiting := Rest}));
        {false, {empty, _}} ->
            {Dropped + 1, Buffer}
    end.

-doc "Takes the oldest item out of a buffer to push it, unless one is being pushed.".
-spec take(buffer()) -> {item(), buffer()} | empty.
take(#{taken := none, waiting := Waiting} = Buffer) ->
    case queue:out(Waiting) of
        {{value, Item}, Rest} -> {Item, Buffer#{waiting := Rest, taken := Item}};
        {empty, _} -> empty
    end.

-doc "Puts the item that was taken back as the oldest, since it was not pushed.".
-spec back(buffer()) -> buffer().
back(#{taken := {_, _} = Item, waiting := Waiting} = Buffer) ->
    Buffer#{taken := none, waiting := queue:in_r(Item, Waiting)}.

-doc "Says that the item that was taken is done with.".
-spec done(buffer()) -> buffer().
done(#{taken := {_, _} = Item} = Buffer) ->
    add(Item, -1, Buffer#{taken := none}).

-doc "Returns how many items a buffer has, with the one that is being pushed.".
-spec size(buffer()) -> non_neg_integer().
size(#{size := Size}) ->
    Size.

-doc "Returns how many bytes the items of a buffer have in all.".
-spec bytes(buffer()) -> non_neg_integer().
bytes(#{bytes := Bytes}) ->
    Bytes.

add(Item, Sign, #{size := Size, bytes := Bytes} = Buffer) ->
    Buffer#{size := Size + Sign, bytes := Bytes + Sign * weight(Item)}.

weight({_, Body}) ->
    byte_size(Body).
