-module(erlmcp_native_request).
-moduledoc """
What a request says of itself: the options of `erlmcp_queue_limits:try_enqueue/3` and its siblings, and of the functions
of `m:erlmcp_overload_mailbox`.

| option | value | default | meaning |
| --- | --- | --- | --- |
| `class` | critical_plus, critical, sheddable_plus or sheddable | `critical` | How much it matters, the most first. |
| `bytes` | an integer from 1 to 2^48 - 1 |  | How large it is: counted in the role until the place is given back. |
| `deadline_ms` | milliseconds, an integer from -2^59 to 2^59 - 1 |  | After so long it makes no sense: who would not be done by then in 19 of 20 cases is refused. |

Of a mailbox nobody says when something is taken out, so how soon one would be done there is not known: a deadline
refuses only whoever's is over. Its bytes are not counted.

The library reads a map by itself, in the call that it is for; what is here makes a map of a list, and says what is
wrong in what the library would not have.
""".

-export([table/0, map/1, judged/2, leaving/1]).

-export_type([bad/0]).

-define(MOST, (1 bsl 59 - 1)).
%% So that an owner's fit into one word with what tells one use of it from the next.
-define(MOST_BYTES, (1 bsl 48 - 1)).

-doc "This is what is wrong in options.".
-type bad() :: bad_option | {bad_option, erlmcp_native_options:problem()}.

-doc "Returns the options as data.".
-spec table() -> erlmcp_native_options:table().
table() ->
    Milliseconds = erlmcp_native_options:named(
        "milliseconds, an integer from -2^59 to 2^59 - 1", erlmcp_native_options:integer(-?MOST - 1, ?MOST)
    ),
    [
        #{
            name => class,
            type => erlmcp_native_options:one_of([critical_plus, critical, sheddable_plus, sheddable]),
            default => none,
            shown => ~"`critical`",
            doc => ~"How much it matters, the most first."
        },
        #{
            name => bytes,
            type => erlmcp_native_options:integer(1, ?MOST_BYTES),
            default => none,
            doc => ~"How large it is: counted in the role until the place is given back."
        },
        #{
            name => deadline_ms,
            type => Milliseconds,
            default => none,
            doc => ~"After so long it makes no sense: who would not be done by then in 19 of 20 cases is refused."
        }
    ].

-doc "Makes a map of a list of options, which the library would not read, or says what is wrong in them.".
-spec map(term()) -> {ok, map()} | bad().
map(Options) when is_list(Options) ->
    case check(Options) of
        {ok, _} = Read -> Read;
        {error, Problem} -> {bad_option, Problem}
    end;
map(Options) ->
    judged(Options, bad_option).

-doc "Returns what is wrong in options, or this answer if nothing is.".
-spec judged(term(), Answer) -> Answer | bad().
judged(Options, Answer) ->
    case check(Options) of
        {ok, _} -> Answer;
        {error, Problem} -> {bad_option, Problem}
    end.

-doc "Returns the options of one that leaves: whether it has bytes, and was dropped, or it says nothing.".
-spec leaving(term()) -> {ok, #{bytes => pos_integer(), dropped => boolean()}} | bad().
leaving(Options) ->
    Dropped = #{
        name => dropped,
        type => erlmcp_native_options:boolean(),
        default => none,
        doc => ~"Whether it was not done."
    },
    Table = [Option || #{name := bytes} = Option <- table()] ++ [Dropped],
    case erlmcp_native_options:check(erlmcp_native_options:options(Table), Options) of
        {ok, _} = Read -> Read;
        {error, Problem} -> {bad_option, Problem}
    end.

check(Options) ->
    erlmcp_native_options:check(erlmcp_native_options:options(table()), Options).
