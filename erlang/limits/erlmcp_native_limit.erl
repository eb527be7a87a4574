-module(erlmcp_native_limit).
-moduledoc """
A role's limit as it is set and shown, and as the library has it: a number, `infinity`, or a wait,
`{wait, TargetMs, Options}`, which is a number for each owner that follows how fast it drains.

| option | value | default | meaning |
| --- | --- | --- | --- |
| `min` | an integer from 1 to 1048575 | `10`, or `max` if that is less | The least that the limit of an owner is. |
| `max` | an integer from 1 to 4194303 | see `erlmcp_queue_limits:set_limit/2` | The most that the limit of an owner is. |
""".

-export([table/0, is_limit/1, to_library/2, from_library/1, most/1]).

-export_type([library/0]).

-doc "This is a limit as the library has it: a wait with target, `min` and `max`.".
-type library() ::
    erlmcp_queue_limits:limit() | {wait, TargetMs :: pos_integer(), Min :: pos_integer(), Max :: pos_integer()}.

-define(MAX_LIMIT, (1 bsl 59 - 1)).
-define(MAX_TARGET_MS, 1_000_000).
-define(MAX_MIN, (1 bsl 20 - 1)).
-define(MAX_MAX, (1 bsl 22 - 1)).
-define(MIN, 10).

-doc "Returns the options of a wait as data.".
-spec table() -> erlmcp_native_options:table().
table() ->
    [
        #{
            name => min,
            type => erlmcp_native_options:integer(1, ?MAX_MIN),
            default => none,
            shown => ~"`10`, or `max` if that is less",
            doc => ~"The least that the limit of an owner is."
        },
        #{
            name => max,
            type => erlmcp_native_options:integer(1, ?MAX_MAX),
            default => none,
            shown => ~"see `erlmcp_queue_limits:set_limit/2`",
            doc => ~"The most that the limit of an owner is."
        }
    ].

-doc "Tells whether a term is a limit, whatever was set before.".
-spec is_limit(term()) -> boolean().
is_limit(Limit) ->
    to_library(Limit, ?MAX_MAX) =/= bad_limit.

-doc """
Returns a limit as the library has it. A wait without `max` has as much as there was before, a number or `infinity`.
""".
-spec to_library(term(), Before :: erlmcp_queue_limits:limit()) -> library() | bad_limit.
to_library(infinity, _) ->
    infinity;
to_library(Limit, _) when is_integer(Limit), Limit >= 0, Limit =< ?MAX_LIMIT ->
    Limit;
to_library({wait, TargetMs, Given}, Before) when is_integer(TargetMs), TargetMs >= 1, TargetMs =< ?MAX_TARGET_MS ->
    case erlmcp_native_options:check(erlmcp_native_options:options(table()), Given) of
        {ok, Options} ->
            %% An atom is more than any number.
            Max = maps:get(max, Options, min(Before, ?MAX_MAX)),
            Min = maps:get(min, Options, min(?MIN, Max)),
            wait(TargetMs, Min, Max);
        {error, _} ->
            bad_limit
    end;
to_library(_, _) ->
    bad_limit.

wait(TargetMs, Min, Max) when 1 =< Min, Min =< Max -> {wait, TargetMs, Min, Max};
wait(_, _, _) -> bad_limit.

-doc "Returns a limit as it is shown: a wait with both its options.".
-spec from_library(library()) -> erlmcp_queue_limits:limit_setting().
from_library({wait, TargetMs, Min, Max}) -> {wait, TargetMs, #{min => Min, max => Max}};
from_library(Limit) -> Limit.

-doc "Returns the limit of an owner of whom nothing was measured.".
-spec most(library()) -> erlmcp_queue_limits:limit().
most({wait, _, _, Max}) -> Max;
most(Limit) -> Limit.
