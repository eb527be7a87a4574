-module(erlmcp_native_rate).
-moduledoc """
A rate as it is defined: the map that `erlmcp_overload_rate:define/2` and the key `rates` of the configuration take.

| option | value | default | meaning |
| --- | --- | --- | --- |
| `rate` | {Number, Period}, an integer from 1 to one a nanosecond and second, minute or hour | must be given | How many may come in a period. |
| `burst` | an integer from 1 to 2^58 | the Number of `rate` | How many of them may come at once. |
| `max_keys` | an integer from 1 to 2^32 - 1 | `1000000` | So many keys are told apart at most. |
| `overflow` | share or refuse | `share` | What becomes of further keys. |
| `scope` | node or cluster | `node` | Whether it is this node's alone, or that of all nodes together. |

A bucket that is empty has to be full again within 2^58 ns, which is nine years: 79,000 at one an hour.
""".

-export([table/0, type/0, check/1, fields/1, info/1, period/0, period_ns/1, pack/1, unpack/1]).

-export_type([definition/0, period/0]).

-doc "A period is what a rate is said in.".
-type period() :: second | minute | hour.
-doc "A definition has all options.".
-type definition() :: #{
    rate := {pos_integer(), period()},
    burst := pos_integer(),
    max_keys := pos_integer(),
    overflow := share | refuse,
    scope := node | cluster
}.

-define(LONGEST_NS, (1 bsl 58)).
%% Longer forms of keys are kept as their digest.
-define(MOST, 255).
-define(EXTERNAL, 7).
-define(UNFIT, "a rate and a burst of which an empty bucket is full again within nine years").

-doc "Returns the options as data.".
-spec table() -> erlmcp_native_options:table().
table() ->
    [
        #{name => rate, type => period(), default => required, doc => ~"How many may come in a period."},
        #{
            name => burst,
            type => erlmcp_native_options:named(
                "an integer from 1 to 2^58", erlmcp_native_options:integer(1, ?LONGEST_NS)
            ),
            default => none,
            shown => ~"the Number of `rate`",
            doc => ~"How many of them may come at once."
        },
        #{
            name => max_keys,
            type => erlmcp_native_options:integer(1, 16#ffffffff),
            default => 1000000,
            doc => ~"So many keys are told apart at most."
        },
        #{
            name => overflow,
            type => erlmcp_native_options:one_of([share, refuse]),
            default => share,
            doc => ~"What becomes of further keys."
        },
        #{
            name => scope,
            type => erlmcp_native_options:one_of([node, cluster]),
            default => node,
            doc => ~"Whether it is this node's alone, or that of all nodes together."
        }
    ].

-doc "Returns the type of so many in a period.".
-spec period() -> erlmcp_native_options:type().
period() ->
    erlmcp_native_options:checked(
        "{Number, Period}, an integer from 1 to one a nanosecond and second, minute or hour", fun is_rate/1
    ).

is_rate({Number, Period}) when is_integer(Number), Number >= 1 ->
    lists:member(Period, [second, minute, hour]) andalso Number =< period_ns(Period);
is_rate(_) ->
    false.

-doc "Returns how many nanoseconds a period has.".
-spec period_ns(period()) -> pos_integer().
period_ns(second) -> 1_000_000_000;
period_ns(minute) -> 60 * period_ns(second);
period_ns(hour) -> 60 * period_ns(minute).

-doc "Returns the type of a definition; what passes has all options.".
-spec type() -> erlmcp_native_options:type().
type() ->
    Options = erlmcp_native_options:options(table()),
    Check = fun(Given) ->
        maybe
            {ok, #{rate := {Number, _}} = Named} ?= erlmcp_native_options:check(Options, Given),
            fitting(maps:merge(#{burst => Number}, Named))
        end
    end,
    erlmcp_native_options:checked("a map of options, rate among them", Check).

fitting(#{rate := {Number, Period}, burst := Burst} = Definition) ->
    case Burst * period_ns(Period) =< ?LONGEST_NS * Number of
        true -> {ok, Definition};
        false -> {error, {[burst], Burst, ?UNFIT}}
    end.

-doc "Checks a definition, and returns it with all options.".
-spec check(term()) -> {ok, definition()} | {error, erlmcp_native_options:problem()}.
check(Given) ->
    erlmcp_native_options:check(type(), Given).

-doc "Returns a definition as the library has it.".
-spec fields(definition()) -> erlmcp_native:rate_fields().
fields(#{rate := {Number, Period}, burst := Burst, max_keys := MaxKeys, overflow := Overflow, scope := Scope}) ->
    {Number, period_ns(Period), Burst, MaxKeys, Overflow, Scope}.

-doc "Returns what there is to say of a rate, of what the library says.".
-spec info(erlmcp_native:rate_info()) -> erlmcp_overload_rate:info().
info(#{fields := {Number, PeriodNs, Burst, MaxKeys, Overflow, Scope}} = Info) ->
    [Period] = [Period || Period <- [second, minute, hour], period_ns(Period) =:= PeriodNs],
    Definition = #{
        rate => {Number, Period}, burst => Burst, max_keys => MaxKeys, overflow => Overflow, scope => Scope
    },
    maps:merge(maps:remove(fields, Info), Definition).

-doc """
Makes of a key what the library compares in its place, where it does not read the key itself: the external form, which
is the same for the same term, or if that is long its SHA-256. Neither holds up the scheduler, however large the key is.
""".
-spec pack(Key :: term()) -> binary() | erlmcp_native:fault().
pack(Key) ->
    case term_to_binary(Key, [deterministic, {minor_version, 2}]) of
        External when byte_size(External) =< ?MOST -> <<?EXTERNAL, External/binary>>;
        External -> erlmcp_native:rate_digest(External)
    end.

-doc "Returns the key that the library has, unless it is none, or too long for it to have kept more than a digest.".
-spec unpack(erlmcp_native:rate_key()) -> {ok, Key :: term()} | {digest, binary()} | share.
unpack({term, Key}) -> {ok, Key};
unpack({external, External}) -> {ok, binary_to_term(External)};
unpack(NoKey) -> NoKey.
