-module(erlmcp_native_soak_slope).
-moduledoc """
Whether a number grows.

The samples are cut into twelve blocks of equal length, and a line is laid through the blocks' medians by least squares:
what goes up and down within a block, as memory between two garbage collections, is gone then, and the medians are
nearly independent of each other. A number grows if its slope is more than 4.6 times its standard error (with ten
degrees of freedom, one in two thousand does so by chance), and by more over the time measured than three where things
are counted, or else than half a per cent and what comes at most once, such as a table that becomes larger for good:
five per cent divided by the minutes. What has grown at once, or ever less, does not grow: in the second half its slope
has to be half of that of the whole at least.
""".

-export([report/1, line/1]).

-define(BLOCKS, 12).
-define(T, 4.6).
-define(LEAST_SHARE, 0.005).
%% At most so much may come once in the time that is measured, however long that is.
-define(ONCE_PER_MINUTE, 0.05).
-define(LEAST_COUNT, 3).
%% Above, numbers are of bytes.
-define(MOST_COUNTED, 100_000).

-doc "Prints a row for each number, and returns those that grow.".
-spec report([{AtMs :: integer(), erlmcp_native_soak_node:numbers()}]) -> [atom()].
report(Samples) when length(Samples) < 3 * ?BLOCKS ->
    io:format("~nslopes: ~b samples are too few~n", [length(Samples)]),
    [];
report([{FirstMs, First} | _] = Samples) ->
    {LastMs, _} = lists:last(Samples),
    Minutes = (LastMs - FirstMs) / 60_000,
    io:format("~nslopes over ~.1f minutes after warm-up, ~b samples:~n", [Minutes, length(Samples)]),
    io:format("  ~-14s ~16s ~16s ~16s  ~s~n", ["", "mean", "per minute", "+- noise", ""]),
    [
        Kind
     || Kind <- lists:sort(maps:keys(First)),
        grows(Kind, [{(At - FirstMs) / 60_000, map_get(Kind, Numbers)} || {At, Numbers} <- Samples], Minutes)
    ].

grows(Kind, Points, Minutes) ->
    {Slope, Error} = line(Points),
    Mean = lists:sum([Value || {_, Value} <- Points]) / length(Points),
    Noise = ?T * Error,
    {Late, _} = line(lists:nthtail(length(Points) div 2, Points)),
    Grows = Slope > Noise andalso Slope * Minutes > least(Mean, Minutes) andalso Late > Slope / 2,
    io:format("  ~-14s ~16b ~16.1f ~16.1f  ~s~n", [Kind, round(Mean), Slope, Noise, verdict(Slope, Noise, Grows)]),
    Grows.

least(Mean, _) when Mean < ?MOST_COUNTED -> ?LEAST_COUNT;
least(Mean, Minutes) -> (?LEAST_SHARE + ?ONCE_PER_MINUTE / Minutes) * Mean.

verdict(_, _, true) -> "grows";
verdict(Slope, Noise, false) when abs(Slope) =< Noise -> "0 within the noise";
verdict(Slope, _, false) when Slope < 0 -> "shrinks";
verdict(_, _, false) -> "hardly".

-doc "Returns the slope of the line through the blocks' medians, and its standard error.".
-spec line([{X :: float(), Y :: number()}]) -> {float(), float()}.
line(Points) ->
    Medians = [median(Block) || Block <- blocks(Points, length(Points) div ?BLOCKS, ?BLOCKS)],
    N = length(Medians),
    MeanX = lists:sum([X || {X, _} <- Medians]) / N,
    MeanY = lists:sum([Y || {_, Y} <- Medians]) / N,
    Sxx = lists:sum([(X - MeanX) * (X - MeanX) || {X, _} <- Medians]),
    Slope = lists:sum([(X - MeanX) * (Y - MeanY) || {X, Y} <- Medians]) / Sxx,
    Rest = lists:sum([math:pow(Y - MeanY - Slope * (X - MeanX), 2) || {X, Y} <- Medians]),
    {Slope, math:sqrt(Rest / (N - 2) / Sxx)}.

%% The last block has what is left over.
blocks(Points, _, 1) ->
    [Points];
blocks(Points, Size, Blocks) ->
    {Block, Others} = lists:split(Size, Points),
    [Block | blocks(Others, Size, Blocks - 1)].

median(Block) ->
    Middle = length(Block) div 2 + 1,
    {Xs, Ys} = lists:unzip(Block),
    {lists:nth(Middle, Xs), lists:nth(Middle, lists:sort(Ys))}.
