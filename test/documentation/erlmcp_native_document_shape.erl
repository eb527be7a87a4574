%% What is printed, but for what differs from run to run. A document shows what somebody saw: process identifiers,
%% times of the day, lengths of time, rates and free ports are compared as such, and all else as it stands.
-module(erlmcp_native_document_shape).

-export([shows/2, mask/1]).

%% A line of the document that stands for any number of lines, none included.
-define(ANY, ~"...").

%% Whether the shown lines come one after the other among the printed ones. The keys of JSON have no order.
-spec shows(Shown :: unicode:chardata(), Printed :: unicode:chardata()) -> boolean().
shows(Shown, Printed) ->
    within(lines(ordered(Shown)), lines(ordered(Printed))).

ordered(Text) ->
    try json:decode(unicode:characters_to_binary(Text)) of
        Term -> json:encode(Term, fun order/2)
    catch
        error:_ -> Text
    end.

order(Map, Encode) when is_map(Map) -> json:encode_key_value_list(lists:sort(maps:to_list(Map)), Encode);
order(Term, Encode) -> json:encode_value(Term, Encode).

within(Shown, Printed) ->
    begins(Shown, Printed) orelse (Printed =/= [] andalso within(Shown, tl(Printed))).

begins([], _) -> true;
begins([?ANY | Shown], Printed) -> within(Shown, Printed);
begins([Line | Shown], [Line | Printed]) -> begins(Shown, Printed);
begins(_, _) -> false.

lines(Text) ->
    Lines = binary:split(mask(Text), ~"\n", [global]),
    [string:trim(Line, trailing) || Line <- Lines, string:trim(Line) =/= ~""].

-spec mask(unicode:chardata()) -> binary().
mask(Text) ->
    lists:foldl(
        fun({Pattern, Mask}, Masked) -> re:replace(Masked, Pattern, Mask, [global, unicode, {return, binary}]) end,
        unicode:characters_to_binary(Text),
        masks()
    ).

masks() ->
    [
        {~B"<\d+\.\d+\.\d+>", ~"<a process>"},
        {~B"#Ref<[\d.]+>", ~"<a reference>"},
        {~B"\b\d\d:\d\d:\d\d\b", ~"<a time>"},
        {~B"retry-after: \d+", ~"retry-after: <a while>"},
        {~B"\b\d{13}\b", ~"<a timestamp>"},
        {~B"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4}", ~"<a date>"},
        {~B"\b\d[\d,.]*( ?)(µs|us|ms|s|min|h)\b", ~"<a while>"},
        {~B"\b\d[\d,.]* a second\b", ~"<a rate>"},
        {~B"(127\.0\.0\.1|localhost):\d+", ~"<an address>"}
    ].
