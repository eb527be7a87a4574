-module(erlmcp_native_reserve).
-moduledoc """
What of a role's limit is kept for the higher classes of requests: the map that `erlmcp_queue_limits:set_reserve/2` and
the key `reserve` of the configuration take. Each class is given the percentage that it may not use.

| option | value | default | meaning |
| --- | --- | --- | --- |
| `critical` | an integer from 0 to 100 | `0` | What requests that name no class may not use. |
| `sheddable_plus` | an integer from 0 to 100 | that of `critical` | What these may not use. |
| `sheddable` | an integer from 0 to 100 | that of `sheddable_plus` | What the least important may not use. |

It may not be less for a class than for the one above it, and `critical_plus` always has all.
""".

-export([table/0, type/0, classes/1]).

-export_type([percents/0]).

-doc "These are the percentages that `critical`, `sheddable_plus` and `sheddable` may not use.".
-type percents() :: {0..100, 0..100, 0..100}.

-doc "Returns the options as data.".
-spec table() -> erlmcp_native_options:table().
table() ->
    Percent = erlmcp_native_options:integer(0, 100),
    [
        #{name => Class, type => Percent, default => none, shown => Shown, doc => Doc}
     || {Class, Shown, Doc} <- [
            {critical, ~"`0`", ~"What requests that name no class may not use."},
            {sheddable_plus, ~"that of `critical`", ~"What these may not use."},
            {sheddable, ~"that of `sheddable_plus`", ~"What the least important may not use."}
        ]
    ].

-doc "Returns the type of a reserve; what passes has all three percentages.".
-spec type() -> erlmcp_native_options:type().
type() ->
    Options = erlmcp_native_options:options(table()),
    Check = fun(Given) ->
        maybe
            {ok, Named} ?= erlmcp_native_options:check(Options, Given),
            Critical = maps:get(critical, Named, 0),
            SheddablePlus = maps:get(sheddable_plus, Named, Critical),
            Sheddable = maps:get(sheddable, Named, SheddablePlus),
            true ?= Critical =< SheddablePlus andalso SheddablePlus =< Sheddable,
            {ok, {Critical, SheddablePlus, Sheddable}}
        end
    end,
    erlmcp_native_options:checked(
        "a map of percentages that fall from no class to the one below it: critical, sheddable_plus, sheddable", Check
    ).

-doc "Returns percentages by class.".
-spec classes(percents()) -> erlmcp_queue_limits:reserve().
classes({Critical, SheddablePlus, Sheddable}) ->
    #{critical => Critical, sheddable_plus => SheddablePlus, sheddable => Sheddable}.
