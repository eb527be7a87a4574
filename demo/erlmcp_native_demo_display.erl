-module(erlmcp_native_demo_display).
-moduledoc """
Puts lines on the screen: on a terminal a whole frame in place; elsewhere, or with `TERM=dumb` or `NO_COLOR`, or if
asked for, as plain text below each other. An output that is not Unicode gets ASCII.

A terminal is left as it was found whenever the program ends: the cursor is never hidden, and stays below the frame.
""".

-export([new/1, mode/1, frame/2, print/2]).

-export_type([display/0, mode/0]).

-doc "A mode says where lines go.".
-type mode() :: terminal | plain.
-doc "A display knows what the output can show.".
-opaque display() :: #{mode := mode(), unicode := boolean()}.

-doc "Looks at what standard output is, and makes a display for it; `true` asks for plain lines.".
-spec new(Plain :: boolean()) -> display().
new(Plain) ->
    Options = io:getopts(),
    IsTerminal =
        proplists:get_value(stdout, Options, false) andalso os:getenv("TERM", "dumb") =/= "dumb" andalso
            os:getenv("NO_COLOR", "") =:= "",
    Mode =
        case IsTerminal andalso not Plain of
            true -> terminal;
            false -> plain
        end,
    #{mode => Mode, unicode => proplists:get_value(encoding, Options) =:= unicode}.

-doc "Tells whether frames replace each other, or lines follow each other.".
-spec mode(display()) -> mode().
mode(#{mode := Mode}) ->
    Mode.

-doc """
Shows the lines in place of those before. A terminal that is too small loses the last ones, and the ends of those that
are too long. Throws `output_closed` when nobody reads.
""".
-spec frame(display(), [erlmcp_native_demo_text:line()]) -> ok.
frame(Display, Lines) ->
    {Columns, Rows} = size(),
    %% A single write, each line blanked only behind its text: nothing flickers, nothing scrolls. The last column stays
    %% free, for blanking from there would take the last character away.
    put([
        "\e[H",
        [[render(Display, clip(Display, Line, Columns - 1)), "\e[K\n"] || Line <- lists:sublist(Lines, Rows - 1)],
        "\e[J"
    ]).

size() ->
    case {io:columns(), io:rows()} of
        {{ok, Columns}, {ok, Rows}} when Columns > 1, Rows > 1 -> {Columns, Rows};
        _ -> {80, 24}
    end.

clip(Display, Line, Columns) ->
    case lists:sum([erlmcp_native_demo_text:width(Span) || Span <- Line]) of
        Width when Width =< Columns -> Line;
        _ -> cut(Line, Columns - 1) ++ [ellipsis(Display)]
    end.

cut([Span | Line], Columns) ->
    case erlmcp_native_demo_text:width(Span) of
        Width when Width =< Columns -> [Span | cut(Line, Columns - Width)];
        _ -> [cut_span(Span, Columns)]
    end.

cut_span({bar, Share, _Width}, Columns) -> {bar, Share, Columns};
cut_span({Style, Text}, Columns) -> {Style, string:slice(Text, 0, Columns)};
cut_span(Text, Columns) -> string:slice(Text, 0, Columns).

ellipsis(#{unicode := true}) -> "…";
ellipsis(#{unicode := false}) -> ">".

-doc "Writes the lines where the cursor is. Throws as `frame/2` does.".
-spec print(display(), [erlmcp_native_demo_text:line()]) -> ok.
print(Display, Lines) ->
    put([[render(Display, Line), "\n"] || Line <- Lines]).

put(Text) ->
    try
        io:put_chars(unicode:characters_to_binary(Text))
    catch
        error:terminated -> throw(output_closed)
    end.

render(Display, Line) ->
    [span(Display, Span) || Span <- Line].

span(Display, {bar, Share, Width}) ->
    {Full, Rest} = bar(Display, Share, Width),
    [styled(Display, level(Share), Full), styled(Display, dim, Rest)];
span(Display, {Style, Text}) ->
    styled(Display, Style, text(Display, Text));
span(Display, Text) ->
    text(Display, Text).

text(#{unicode := true}, Text) -> Text;
text(#{unicode := false}, Text) -> string:replace(Text, "µ", "u", all).

%% An owner that has anything waiting shows it.
bar(#{unicode := true}, Share, Width) ->
    Eighths = min(Width * 8, ceil(Share * Width * 8)),
    Part = lists:nth(Eighths rem 8 + 1, ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]),
    Full = [lists:duplicate(Eighths div 8, "█"), Part],
    {Full, lists:duplicate(Width - string:length(Full), "·")};
bar(#{unicode := false}, Share, Width) ->
    Full = min(Width, ceil(Share * Width)),
    {lists:duplicate(Full, "#"), lists:duplicate(Width - Full, ".")}.

level(Share) when Share >= 0.9 -> red;
level(Share) when Share >= 0.8 -> yellow;
level(_Share) -> green.

styled(#{mode := plain}, _Style, Text) -> Text;
styled(#{mode := terminal}, Style, Text) -> ["\e[", code(Style), "m", Text, "\e[0m"].

code(bold) -> "1";
code(dim) -> "2";
code(red) -> "31";
code(green) -> "32";
code(yellow) -> "33".
