-module(erlmcp_native_demo_text).
-moduledoc "Numbers, columns and bars as text. A bar is left to the display, which knows what it can draw.".

-export([number/1, short/1, ms/1, left/2, right/2, width/1]).

-export_type([line/0, span/0, style/0]).

-doc "A style says how a span looks where colours are possible.".
-type style() :: bold | dim | green | yellow | red.
-doc "A span is text, text in a style, or a bar of so many columns filled to a share from 0 to 1.".
-type span() :: unicode:chardata() | {style(), unicode:chardata()} | {bar, float(), pos_integer()}.
-doc "A line is made of spans.".
-type line() :: [span()].

-doc "Writes a number with commas between the thousands.".
-spec number(integer()) -> string().
number(N) when N < 0 -> [$- | number(-N)];
number(N) when N < 1000 -> integer_to_list(N);
number(N) -> number(N div 1000) ++ io_lib:format(",~3..0b", [N rem 1000]).

-doc """
Writes a number in at most seven characters, if it is below 10^19: from a million on in units of millions and more.
""".
-spec short(non_neg_integer()) -> string().
short(N) when N < 1_000_000 -> number(N);
short(N) -> short(N / 1.0e6, "MGTP").

short(Value, [Unit | Larger]) when Value < 999.95, Larger =/= [] ->
    lists:flatten(io_lib:format("~.1f~c", [Value, Unit]));
short(Value, [Unit]) -> lists:flatten(io_lib:format("~.1f~c", [Value, Unit]));
short(Value, [_ | Larger]) -> short(Value / 1000, Larger).

-doc "Writes microseconds as milliseconds.".
-spec ms(non_neg_integer()) -> string().
ms(Us) when Us < 1_000_000 -> lists:flatten(io_lib:format("~.1f ms", [Us / 1000]));
ms(Us) -> short(Us div 1000) ++ " ms".

-doc "Pads a text on the right, up to a width.".
-spec left(unicode:chardata(), non_neg_integer()) -> unicode:chardata().
left(Text, Width) ->
    string:pad(Text, Width, trailing).

-doc "Pads a text on the left, up to a width.".
-spec right(unicode:chardata(), non_neg_integer()) -> unicode:chardata().
right(Text, Width) ->
    string:pad(Text, Width, leading).

-doc "Returns how many columns a span takes.".
-spec width(span()) -> non_neg_integer().
width({bar, _Share, Width}) -> Width;
width({_Style, Text}) -> string:length(Text);
width(Text) -> string:length(Text).
