-module(erlmcp_native_log_text).
-moduledoc """
The text of a log line: bounded in time and in characters, whatever terms are put in.

`chars_limit` alone does not do that: a list that is nested a hundred thousand times takes the runtime's own printer 11
seconds, and an integer is printed whole. So a term is cut first, to 20 levels and some 500 parts, and printed then.

```erlang
1> erlmcp_native_log_text:format("given up: ~0tp", [[task, 1 bsl 1000000]]).
<<"given up: [task,'...']">>
```
""".

-export([format/2, format/3]).

-define(DEPTH, 20).
-define(PARTS, 500).
-define(MAX_CHARS, 2000).
%% Integers up to 512 bits are shown.
-define(IS_LONG(Integer), (Integer >= 1 bsl 512 orelse Integer =< -(1 bsl 512))).
-define(CUT, '...').

-doc """
Returns what `io_lib:format/2` would, in UTF-8, with at most 2000 characters but for the words of the format itself.
It does not raise: of a format and arguments that do not belong together it shows both.
""".
-spec format(io:format(), [term()]) -> binary().
format(Format, Args) ->
    format(Format, Args, ?MAX_CHARS).

-doc "Does what `format/2` does, with so many characters at most.".
-spec format(io:format(), [term()], MaxChars :: pos_integer()) -> binary().
format(Format, Args, MaxChars) ->
    Bounded = [bound(Arg) || Arg <- Args],
    try
        text(Format, Bounded, MaxChars)
    catch
        error:_ -> text("~0tp", [{Format, Bounded}], MaxChars)
    end.

text(Format, Args, MaxChars) ->
    Chars = io_lib:format(Format, Args, [{chars_limit, MaxChars}]),
    Binary = <<_/binary>> = unicode:characters_to_binary(Chars),
    Binary.

bound(Term) ->
    {Bounded, _} = bound(Term, ?DEPTH, ?PARTS),
    Bounded.

%% The term without what is too deep or too much, and how many parts may still come.
bound(_, Depth, Left) when Depth =:= 0; Left =< 0 ->
    {?CUT, Left};
bound([_ | _] = List, Depth, Left) ->
    list(List, Depth, Left - 1, []);
bound(Tuple, Depth, Left) when is_tuple(Tuple) ->
    {Parts, StillLeft} = list(first(Tuple, Left), Depth, Left - 1, []),
    {list_to_tuple(Parts), StillLeft};
bound(Map, Depth, Left) when is_map(Map) ->
    pairs(maps:next(maps:iterator(Map)), Depth, Left - 1, #{});
bound(Integer, _, Left) when is_integer(Integer), ?IS_LONG(Integer) ->
    {?CUT, Left - 1};
bound(Term, _, Left) ->
    {Term, Left - 1}.

first(Tuple, Most) when tuple_size(Tuple) =< Most -> tuple_to_list(Tuple);
first(Tuple, Most) -> [element(Place, Tuple) || Place <- lists:seq(1, Most)].

list([], _, Left, Seen) ->
    {lists:reverse(Seen), Left};
list([_ | _], _, Left, [Last | _] = Seen) when Left =< 0 ->
    %% So that what was a string is still shown as one.
    {lists:reverse(Seen, if is_integer(Last) -> "..."; true -> [?CUT] end), Left};
list([First | Rest], Depth, Left, Seen) ->
    {Bounded, StillLeft} = bound(First, Depth - 1, Left),
    list(Rest, Depth, StillLeft, [Bounded | Seen]);
list(ImproperTail, Depth, Left, Seen) ->
    {Bounded, StillLeft} = bound(ImproperTail, Depth - 1, Left),
    {lists:reverse(Seen, Bounded), StillLeft}.

pairs(none, _, Left, Seen) ->
    {Seen, Left};
pairs(_, _, Left, Seen) when Left =< 0 ->
    {Seen#{?CUT => ?CUT}, Left};
pairs({Key, Value, Rest}, Depth, Left, Seen) ->
    {BoundKey, LeftOfKey} = bound(Key, Depth - 1, Left),
    {BoundValue, StillLeft} = bound(Value, Depth - 1, LeftOfKey),
    pairs(maps:next(Rest), Depth, StillLeft, Seen#{BoundKey => BoundValue}).
