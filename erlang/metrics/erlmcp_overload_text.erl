-module(erlmcp_overload_text).
-moduledoc "Numbers, times and lists as a person at a shell is told them.".

-export([words/2, line/2, list/1, rate/1, clock/1, ago/1, duration/1]).

-doc "Formats as `io:format/2` does.".
-spec words(io:format(), [term()]) -> string().
words(Format, Args) ->
    lists:flatten(io_lib:format(Format, Args)).

-doc "Returns a line of what is said below a verdict.".
-spec line(Name :: string(), io_lib:chars()) -> string().
line(Name, Words) ->
    words("  ~-11s ~ts", [Name, Words]).

-doc "Joins the parts of a list.".
-spec list([io_lib:chars()]) -> string().
list([]) -> "none";
list(Parts) -> lists:flatten(lists:join(", ", Parts)).

-doc "Says how much something is a second, without the unit.".
-spec rate(number()) -> string().
rate(PerS) when PerS < 10 -> words("~.1f", [float(PerS)]);
rate(PerS) -> words("~b", [round(PerS)]).

-doc "Says which time of the day a system time is.".
-spec clock(AtMs :: integer()) -> string().
clock(AtMs) ->
    {_, {H, M, S}} = calendar:system_time_to_local_time(AtMs, millisecond),
    words("~2..0b:~2..0b:~2..0b", [H, M, S]).

-doc "Says how long ago a system time was.".
-spec ago(AtMs :: integer()) -> string().
ago(AtMs) ->
    duration(max(0, erlang:system_time(millisecond) - AtMs)).

-doc "Says how long something lasts.".
-spec duration(Ms :: non_neg_integer()) -> string().
duration(Ms) when Ms < 1000 -> words("~b ms", [Ms]);
duration(Ms) when Ms < 10000 -> words("~.1f s", [Ms / 1000]);
duration(Ms) when Ms < 60000 -> words("~b s", [Ms div 1000]);
duration(Ms) when Ms < 3600000 -> words("~b min ~b s", [Ms div 60000, Ms div 1000 rem 60]);
duration(Ms) when Ms < 172800000 -> words("~b h ~b min", [Ms div 3600000, Ms div 60000 rem 60]);
duration(Ms) -> words("~b d ~b h", [Ms div 86400000, Ms div 3600000 rem 24]).
