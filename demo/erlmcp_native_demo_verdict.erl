-module(erlmcp_native_demo_verdict).
-moduledoc """
Verdicts on promises: what was promised, what was measured, whether that keeps it, and what decides.

Exit statuses must not depend on what else a machine does. So what is correct or not decides as it is, and what is a
matter of time decides by a bound far beyond its target.
""".

-export([verdict/6, most/3, bounded/4, least/4, timed/4, at_most/1]).
-export([kept/1, lines/1]).

-export_type([verdict/0]).

-import(erlmcp_native_demo_text, [short/1, ms/1, left/2, right/2]).

-doc """
A verdict is a promise and what was measured. `bound` is what decides: `exact` the target itself, `none` nothing, else
a text; `ok` whether that holds.
""".
-type verdict() :: #{
    name := string(),
    target := string(),
    measured := string(),
    met := boolean(),
    bound := exact | none | string(),
    ok := boolean()
}.

-doc "Makes a verdict on a promise; `Met` is of its target, and `Ok` of what decides.".
-spec verdict(Name, Target, Measured, Met, Bound, Ok) -> verdict() when
    Name :: iolist(), Target :: iolist(), Measured :: iolist(), Met :: boolean(), Bound :: exact | none | iolist(),
    Ok :: boolean().
verdict(Name, Target, Measured, Met, Bound, Ok) ->
    #{
        name => lists:flatten(Name),
        target => lists:flatten(Target),
        measured => lists:flatten(Measured),
        met => Met,
        bound => bound(Bound),
        ok => Ok
    }.

-doc "Makes the verdict on a number that is to be so much at most; that decides.".
-spec most(iolist(), non_neg_integer(), non_neg_integer()) -> verdict().
most(Name, Measured, Target) ->
    verdict(Name, at_most(Target), short(Measured), Measured =< Target, exact, Measured =< Target).

-doc "Makes the verdict on a number that is to be so much at most, where another bound decides.".
-spec bounded(iolist(), Measured, Target, Bound) -> verdict() when
    Measured :: non_neg_integer(), Target :: non_neg_integer(), Bound :: non_neg_integer().
bounded(Name, Measured, Target, Bound) ->
    verdict(Name, at_most(Target), short(Measured), Measured =< Target, at_most(Bound), Measured =< Bound).

-doc "Makes the verdict on a value that is to be so much at least, and how it is shown; that decides nothing.".
-spec least(iolist(), Value :: non_neg_integer(), Measured :: iolist(), Target :: non_neg_integer()) -> verdict().
least(Name, Value, Measured, Target) ->
    verdict(Name, [">= ", short(Target)], Measured, Value >= Target, none, true).

-doc "Makes the verdict on the 99th percentile of what something took.".
-spec timed(iolist(), erlmcp_native_demo_meter:waits(), TargetUs, BoundMs) -> verdict() when
    TargetUs :: pos_integer(), BoundMs :: pos_integer().
timed(Name, #{count := 0}, TargetUs, _BoundMs) ->
    verdict(Name, ms(TargetUs), "none", false, none, true);
timed(Name, #{p99_us := Us}, TargetUs, BoundMs) ->
    Bound = ["<= ", integer_to_list(BoundMs div 1000), " s"],
    verdict(Name, ms(TargetUs), ms(Us), Us =< TargetUs, Bound, Us =< BoundMs * 1000).

-doc "Says that something is to be so much at most.".
-spec at_most(non_neg_integer()) -> iolist().
at_most(0) -> "0";
at_most(N) -> ["<= ", short(N)].

-doc "Tells whether everything holds that decides.".
-spec kept([verdict()]) -> boolean().
kept(Verdicts) ->
    lists:all(fun(#{ok := Ok}) -> Ok end, Verdicts).

-doc "Makes a table of the promises, and a line of the verdict on all.".
-spec lines([verdict()]) -> [erlmcp_native_demo_text:line()].
lines(Verdicts) ->
    Missed = length([Missed || #{met := false} = Missed <- Verdicts]),
    [
        ["Depths: by the library/by the owners themselves; a session's mailbox: while one"],
        ["hung/at each receive. The CPU share: how long the processes that sample, draw"],
        ["and write were on a scheduler (traced), by how long all schedulers were busy."],
        ["Decides on the exit status: the target, a bound, or not."],
        []
    ] ++
        [[{bold, row("promise", "target", "measured", "", "decides")}]] ++
        [line(Verdict) || Verdict <- Verdicts] ++
        [
            case kept(Verdicts) of
                true when Missed =:= 0 -> [{green, "All promises are met."}];
                true -> [{yellow, io_lib:format("~b not met; none of what decides the exit status.", [Missed])}];
                false -> [{red, io_lib:format("FAILED: ~b not met.", [Missed])}]
            end
        ].

line(#{name := Name, target := Target, measured := Measured, met := Met, bound := Bound, ok := Ok}) ->
    Decides =
        case Bound of
            exact -> "yes";
            none -> "no";
            Text -> Text
        end,
    Verdict =
        case Met of
            true -> "met";
            false -> "NOT MET"
        end,
    Style =
        case {Met, Ok} of
            {true, true} -> green;
            {false, true} -> yellow;
            {_, false} -> red
        end,
    [row(Name, Target, Measured), {Style, right(Verdict, 8)}, right(Decides, 10)].

row(Name, Target, Measured) ->
    [left(Name, 36), right(Target, 10), right(Measured, 15)].

row(Name, Target, Measured, Verdict, Decides) ->
    [row(Name, Target, Measured), right(Verdict, 8), right(Decides, 10)].

bound(Bound) when is_atom(Bound) -> Bound;
bound(Bound) -> lists:flatten(Bound).
