-module(erlmcp_native_http_accept).
-moduledoc "Which of the two formats of metrics a client prefers.".

-export([metrics/1]).

-doc """
Chooses a format by the value of an Accept header, `undefined` if there is none: OpenMetrics if it is wanted more than
the text format, else that. What cannot be parsed, or wants neither, gets the text format too.
""".
-spec metrics(binary() | undefined) -> text | openmetrics.
metrics(undefined) ->
    text;
metrics(Header) ->
    try cow_http_hd:parse_accept(Header) of
        Ranges ->
            OpenMetrics = quality({~"application", ~"openmetrics-text", ~"1.0.0"}, Ranges),
            Text = quality({~"text", ~"plain", ~"0.0.4"}, Ranges),
            if
                OpenMetrics > Text -> openmetrics;
                true -> text
            end
    catch
        error:_ -> text
    end.

%% That of the range which says most of the offer, in thousandths.
quality(Offer, Ranges) ->
    Matching = [{Said, Quality} || {Range, Quality, _} <- Ranges, {ok, Said} <- [matches(Range, Offer)]],
    {_, Best} = lists:max([{0, 0} | Matching]),
    Best.

matches({~"*", ~"*", _}, _) ->
    {ok, 1};
matches({Type, ~"*", _}, {Type, _, _}) ->
    {ok, 2};
matches({Type, Subtype, Params}, {Type, Subtype, Version}) ->
    case lists:keyfind(~"version", 1, Params) of
        {_, Version} -> {ok, 4};
        false -> {ok, 3};
        _Other -> error
    end;
matches(_, _) ->
    error.
