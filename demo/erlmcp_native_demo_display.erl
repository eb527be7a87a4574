-module(erlmcp_native_demo_display).
-moduledoc """
Puts sections on the screen: on a terminal in place, several times a second; elsewhere, or with `TERM=dumb`,
as plain blocks every few seconds. `NO_COLOR` takes the colours away, and an output that is not Unicode gets
ASCII.

A terminal is left as it was found whenever the program ends: the cursor stays visible, below the frame.
""".

-export([new/0, mode/1, interval_us/1, frame/2, print/2]).

-export_type([display/0, mode/0, section/0]).

-doc "Where frames go.".
-type mode() :: terminal | plain.
-doc "What the output can show.".
-opaque display() :: #{mode := mode(), colours := boolean(), unicode := boolean()}.
-doc "Lines that belong together.".
-type section() :: [erlmcp_native_demo_text:line()].

-doc "Looks at what standard output is.".
-spec new() -> display().
new() ->
    Options = io:getopts(),
    Mode =
        case proplists:get_value(stdout, Options, false) andalso os:getenv("TERM", "dumb") =/= "dumb" of
            true -> terminal;
            false -> plain
        end,
    #{
        mode => Mode,
        colours => Mode =:= terminal andalso os:getenv("NO_COLOR", "") =:= "",
        unicode => proplists:get_value(encoding, Options) =:= unicode
    }.

-doc "Do frames replace each other?".
-spec mode(display()) -> mode().
mode(#{mode := Mode}) ->
    Mode.

-doc "Microseconds from one frame to the next.".
-spec interval_us(display()) -> pos_integer().
interval_us(#{mode := terminal}) -> 125_000;
interval_us(#{mode := plain}) -> 3_000_000.

-doc """
Shows the sections, with an empty line between two. On a terminal that is too low the last section loses its
first lines but the heading, and then the frame its last ones. Throws `output_closed` when nobody reads.
""".
-spec frame(display(), [section()]) -> ok.
frame(#{mode := plain} = Display, Sections) ->
    print(Display, Sections);
frame(#{mode := terminal} = Display, Sections) ->
    {Columns, Rows} = size(),
    Lines = fit(Sections, Rows - 1),
    %% A single write, each line blanked only behind its text: nothing flickers, nothing scrolls.
    put([
        "\e[H",
        [[render(Display, clip(Display, Line, Columns)), "\e[K\n"] || Line <- Lines],
        "\e[J"
    ]).

size() ->
    case {io:columns(), io:rows()} of
        {{ok, Columns}, {ok, Rows}} when Columns > 0, Rows > 1 -> {Columns, Rows};
        _ -> {80, 24}
    end.

fit(Sections, Rows) ->
    {Fixed, [[Heading | Tail]]} = lists:split(length(Sections) - 1, Sections),
    Top = lists:append([Section ++ [[]] || Section <- Fixed]) ++ [Heading],
    Room = max(0, Rows - length(Top)),
    lists:sublist(Top, Rows) ++ lists:nthtail(max(0, length(Tail) - Room), Tail).

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

-doc "Writes the sections where the cursor is, with an empty line before each. Throws as `frame/2` does.".
-spec print(display(), [section()]) -> ok.
print(Display, Sections) ->
    put([["\n", [[render(Display, Line), "\n"] || Line <- Section]] || Section <- Sections]).

put(Text) ->
    try
        io:put_chars(Text)
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

styled(#{colours := false}, _Style, Text) -> Text;
styled(#{colours := true}, Style, Text) -> ["\e[", code(Style), "m", Text, "\e[0m"].

code(bold) -> "1";
code(dim) -> "2";
code(red) -> "31";
code(green) -> "32";
code(yellow) -> "33".
