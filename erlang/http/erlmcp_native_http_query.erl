-module(erlmcp_native_http_query).
-moduledoc """
Query strings, checked: each parameter known, given once, with a value, and that value as it has to be.

Names and values stay binaries. A role is one of those that there are, so nothing that comes from outside becomes
an atom.
""".

-export([check/2, known/2, printable/1]).

-export_type([name/0, values/0, problem/0]).

-doc "A name is that of a parameter.".
-type name() :: role | top | by | span | text | owner | pid | id | node.
-doc """
These are the values that were given: names in UTF-8, `text`, which is to be in a name, `top`, how many rows, `by`,
what they are ordered by, and `span`.
""".
-type values() :: #{
    role | owner | pid | id | text | node => binary(), top => 1..1000, by => erlmcp_overload_monitor:rank(),
    span => erlmcp_native_history:span()
}.
-doc """
A problem has the parameter as it was given, or `none` if it is the query string that is wrong, and what is wrong, for
people.
""".
-type problem() :: {Parameter :: binary() | none, Reason :: binary()}.

-define(MAX_QUERY, 4096).
%% 255 characters of up to four bytes.
-define(MAX_NAME, 1020).
-define(MAX_SHOWN, 64).
-define(RANKS, [utilization, depth, wait, stalled]).

-doc "Returns the values in a query string, of which only these parameters are allowed.".
-spec check(binary(), [name()]) -> {ok, values()} | {error, problem()}.
check(Query, _) when byte_size(Query) > ?MAX_QUERY ->
    {error, {none, <<"the query string is longer than ", (integer_to_binary(?MAX_QUERY))/binary, " bytes">>}};
check(Query, Allowed) ->
    Pieces = [Piece || Piece <- binary:split(Query, ~"&", [global]), Piece =/= <<>>],
    collect(Pieces, Allowed, #{}).

collect([], _, Values) ->
    {ok, Values};
collect([Piece | Rest], Allowed, Values) ->
    maybe
        {ok, Shown, Text, Value} ?= decode(binary:split(Piece, ~"=")),
        {ok, Name} ?= name(Text, Allowed, Shown),
        ok ?= once(Name, Values, Shown),
        {ok, Checked} ?= value(Name, Value, Shown),
        collect(Rest, Allowed, Values#{Name => Checked})
    end.

decode([Name]) ->
    case text(Name) of
        {ok, Text} -> {ok, printable(Text), Text, none};
        error -> malformed(Name)
    end;
decode([Name, Value]) ->
    case {text(Name), text(Value)} of
        {{ok, Text}, {ok, Decoded}} -> {ok, printable(Text), Text, Decoded};
        _ -> malformed(Name)
    end.

malformed(Name) ->
    {error, {printable(Name), ~"it is not percent-encoded UTF-8"}}.

text(Encoded) ->
    try cow_qs:urldecode(Encoded) of
        Text ->
            case unicode:characters_to_binary(Text) of
                Text -> {ok, Text};
                _ -> error
            end
    catch
        error:_ -> error
    end.

name(Text, Allowed, Shown) ->
    case [Name || Name <- Allowed, atom_to_binary(Name) =:= Text] of
        [Name] -> {ok, Name};
        [] when Allowed =:= [] -> {error, {Shown, ~"there are no parameters here"}};
        [] -> {error, {Shown, iolist_to_binary(["it is none of ", lists:join(", ", names(Allowed))])}}
    end.

names(Allowed) ->
    [atom_to_binary(Name) || Name <- Allowed].

once(Name, Values, Shown) ->
    case Values of
        #{Name := _} -> {error, {Shown, ~"it is given more than once"}};
        #{} -> ok
    end.

value(_, none, Shown) ->
    {error, {Shown, ~"it has no value"}};
value(by, Given, Shown) ->
    case known(Given, ?RANKS) of
        {ok, Rank} -> {ok, Rank};
        error -> {error, {Shown, iolist_to_binary(["it is none of ", lists:join(", ", names(?RANKS))])}}
    end;
value(span, ~"10m", _) ->
    {ok, last_10_minutes};
value(span, ~"24h", _) ->
    {ok, last_day};
value(span, _, Shown) ->
    {error, {Shown, ~"it is neither 10m nor 24h"}};
value(top, Digits, Shown) ->
    case top(Digits, 0) of
        Top when is_integer(Top), Top >= 1, Top =< 1000 -> {ok, Top};
        _ -> {error, {Shown, ~"it is not an integer from 1 to 1000"}}
    end;
value(Name, Value, Shown) when (Name =:= role orelse Name =:= node), byte_size(Value) > ?MAX_NAME ->
    {error, {Shown, <<"it is longer than any ", (atom_to_binary(Name))/binary>>}};
value(_, Name, Shown) when byte_size(Name) > ?MAX_NAME ->
    {error, {Shown, ~"it is longer than any name"}};
value(_, Name, _) ->
    {ok, Name}.

top(<<Digit, Rest/binary>>, Top) when Digit >= $0, Digit =< $9, Top =< 1000 -> top(Rest, 10 * Top + Digit - $0);
top(<<>>, Top) -> Top;
top(_, _) -> error.

-doc "Returns the atom among these that has this name.".
-spec known(binary(), [atom()]) -> {ok, atom()} | error.
known(Name, Atoms) ->
    case [Atom || Atom <- Atoms, atom_to_binary(Atom) =:= Name] of
        [Atom] -> {ok, Atom};
        [] -> error
    end.

-doc "Returns what was given as far as it can be shown: valid UTF-8, and not long.".
-spec printable(binary()) -> binary().
printable(Given) ->
    Start = binary:part(Given, 0, min(byte_size(Given), 4 * ?MAX_SHOWN)),
    case unicode:characters_to_binary(Start) of
        Text when is_binary(Text) -> string:slice(Text, 0, ?MAX_SHOWN);
        {_, Text, _} -> string:slice(Text, 0, ?MAX_SHOWN)
    end.
