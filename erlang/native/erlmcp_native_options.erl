-module(erlmcp_native_options).
-moduledoc """
Options as data: a table says of each its name, type, default and meaning, and the check, the error and the
documentation come from it.

Options are a map or a keyword list: `#{port => 9464}`, `[{port, 9464}]` and Elixir's `[port: 9464]` are the same. Of a
name that is given twice the first counts, and an atom alone stands for `true`.

```erlang
1> Port = erlmcp_native_options:integer(0, 65535), Secure = erlmcp_native_options:boolean(),
   Table = [
       #{name => port, type => Port, default => required, doc => ~"Where to listen."},
       #{name => secure, type => Secure, default => true, doc => ~"Whether to use TLS."}
   ].
2> erlmcp_native_options:check(erlmcp_native_options:options(Table), [{port, 9464}]).
{ok,#{port => 9464,secure => true}}
3> erlmcp_native_options:check(erlmcp_native_options:options(Table), #{port => -1}).
{error,{[port],-1,"an integer from 0 to 65535"}}
4> erlmcp_native_options:check(erlmcp_native_options:options(Table), #{prot => 9464}).
{error,{[prot],9464,"one of port, secure; did you mean port?"}}
```
""".

-export([integer/2, milliseconds/2, number/2, boolean/0, atom/0, text/0, one_of/1, optional/2]).
-export([map_of/2, list_of/1, at_most/3, options/1, secret/1, named/2, checked/2]).
-export([check/2, given/2, unknown/3, explain/1, markdown/1]).

-export_type([type/0, option/0, table/0, problem/0]).

-doc "A type says what a value may be.".
-opaque type() :: #{
    expected := string(),
    check := fun((term()) -> boolean() | {ok, term()} | {error, problem()}),
    secret := boolean()
}.
-doc """
An option has a name, a type, a sentence and a default: the value as it is after the check, `required` if it must be
given, or `none` if it is left out when it is not given. `shown` is what the documentation says in place of the
default. More keys are the reader's own.
""".
-type option() :: #{
    name := atom(),
    type := type(),
    default := term() | required | none,
    doc := binary(),
    shown => binary(),
    atom() => term()
}.
-doc "A table has all options of one reader.".
-type table() :: [option()].
-doc """
A problem has the path to what is wrong, `[]` for the whole; its value, or `hidden`; and what was expected there.
""".
-type problem() :: {Path :: [term()], Value :: term(), Expected :: string()}.

%% How alike two names must be for one to be taken for the other: 0.0 to 1.0.
-define(ALIKE, 0.8).

-doc "Makes the type of integers within two bounds, both included.".
-spec integer(integer(), integer()) -> type().
integer(Lowest, Highest) ->
    Expected = lists:concat(["an integer from ", bound(Lowest), " to ", bound(Highest)]),
    type(Expected, fun(Value) -> is_integer(Value) andalso Value >= Lowest andalso Value =< Highest end).

-doc "Makes the type of integers that are milliseconds, within two bounds.".
-spec milliseconds(non_neg_integer(), pos_integer()) -> type().
milliseconds(Lowest, Highest) ->
    #{expected := Expected} = Type = integer(Lowest, Highest),
    named("milliseconds, " ++ Expected, Type).

-doc "Makes the type of integers and floats within two bounds, both included.".
-spec number(number(), number()) -> type().
number(Lowest, Highest) ->
    Expected = lists:flatten(io_lib:format("a number from ~p to ~p", [Lowest, Highest])),
    type(Expected, fun(Value) -> is_number(Value) andalso Value >= Lowest andalso Value =< Highest end).

-doc "Makes the type of `true` and `false`.".
-spec boolean() -> type().
boolean() ->
    type("true or false", fun erlang:is_boolean/1).

-doc "Makes the type of atoms.".
-spec atom() -> type().
atom() ->
    type("an atom", fun erlang:is_atom/1).

-doc "Makes the type of texts: strings and binaries in UTF-8. What passes is a binary.".
-spec text() -> type().
text() ->
    type("a string or a binary", fun to_text/1).

-doc "Makes the type of atoms that are one of these.".
-spec one_of([atom(), ...]) -> type().
one_of(Atoms) ->
    {Others, [Last]} = lists:split(length(Atoms) - 1, [atom_to_list(Atom) || Atom <- Atoms]),
    Expected = lists:append(lists:join(", ", Others)) ++ [Char || Others =/= [], Char <- " or "] ++ Last,
    type(Expected, fun(Value) -> lists:member(Value, Atoms) end).

-doc "Makes the type of an atom such as `off`, or a value of another type.".
-spec optional(atom(), type()) -> type().
optional(Atom, #{expected := Expected} = Type) ->
    Either = fun
        (Value) when Value =:= Atom -> {ok, Atom};
        (Value) -> check(Type, Value)
    end,
    Type#{expected := lists:concat([Atom, ", or ", Expected]), check := Either}.

-doc "Makes the type of maps, and keyword lists, with keys and values of these types.".
-spec map_of(type(), type()) -> type().
map_of(#{expected := KeyExpected} = Keys, #{expected := ValueExpected} = Values) ->
    Entry = fun(Key, Value) ->
        maybe
            {ok, NewKey} ?= under(Key, Value, check(Keys, Key)),
            {ok, NewValue} ?= under(Key, check(Values, Value)),
            {ok, {NewKey, NewValue}}
        end
    end,
    Check = fun(Given) ->
        maybe
            {ok, Pairs} ?= pairs(Given),
            {ok, Checked} ?= all([fun() -> Entry(Key, Value) end || {Key, Value} <- Pairs]),
            {ok, maps:from_list(Checked)}
        else
            error -> false;
            {error, _} = Error -> Error
        end
    end,
    type(lists:concat(["a map of ", KeyExpected, " to ", ValueExpected]), Check).

-doc "Makes the type of proper lists of a type.".
-spec list_of(type()) -> type().
list_of(#{expected := Expected} = Type) ->
    Check = fun
        (Given) when is_list(Given), length(Given) >= 0 -> all([fun() -> check(Type, Value) end || Value <- Given]);
        (_) -> false
    end,
    type("a list of " ++ Expected, Check).

-doc "Bounds how many there may be in a map or list; what is said of too many is `Expected`.".
-spec at_most(pos_integer(), Expected :: string(), type()) -> type().
at_most(Most, Expected, Type) ->
    Check = fun(Given) ->
        case check(Type, Given) of
            {ok, Checked} when is_map(Checked), map_size(Checked) > Most; is_list(Checked), length(Checked) > Most ->
                {error, {[], Given, Expected}};
            Result ->
                Result
        end
    end,
    Type#{check := Check}.

-doc "Makes the type of options by a table. What passes is a map with the defaults of those that are not given.".
-spec options(table()) -> type().
options(Table) ->
    Defaults = #{
        Name => Default
     || #{name := Name, default := Default} <- Table, Default =/= none, Default =/= required
    },
    Check = fun(Given) ->
        case given(Table, Given) of
            {ok, Checked} -> required(Table, maps:merge(Defaults, Checked));
            Error -> Error
        end
    end,
    (type("a map of options", Check))#{secret := is_secret(Table)}.

-doc "Has a value of a type never be shown, nor what is wrong in it.".
-spec secret(type()) -> type().
secret(Type) ->
    Check = fun(Given) ->
        case check(Type, Given) of
            {error, {Path, _, Expected}} -> {error, {Path, hidden, Expected}};
            Result -> Result
        end
    end,
    Type#{check := Check, secret := true}.

-doc "Changes the words for what a type expects.".
-spec named(string(), type()) -> type().
named(Expected, Type) ->
    Type#{expected := Expected}.

-doc "Makes a type of a test: it says whether a value passes, what the value becomes, or what is wrong in it.".
-spec checked(string(), fun((term()) -> boolean() | {ok, term()} | {error, problem()})) -> type().
checked(Expected, Check) ->
    type(Expected, Check).

-doc "Checks a value against a type, and returns what it becomes or what is wrong.".
-spec check(type(), term()) -> {ok, term()} | {error, problem()}.
check(#{check := Check, expected := Expected, secret := Secret}, Value) ->
    case Check(Value) of
        true -> {ok, Value};
        false when Secret -> {error, {[], hidden, Expected}};
        false -> {error, {[], Value, Expected}};
        {_, _} = Result -> Result
    end.

-doc "Checks options by a table, and adds no defaults: what passes is a map of those that are given.".
-spec given(table(), term()) -> {ok, #{atom() => term()}} | {error, problem()}.
given(Table, Given) ->
    Types = #{Name => Type || #{name := Name, type := Type} <- Table},
    maybe
        {ok, Pairs} ?= keywords(Given),
        {ok, Checked} ?= all([fun() -> option(Name, Value, Types, Table) end || {Name, Value} <- Pairs]),
        {ok, maps:from_list(Checked)}
    else
        error -> {error, {[], shown(Given, Table), "a map of options"}};
        {error, _} = Error -> Error
    end.

-doc "Says that there is no such name among those of a table.".
-spec unknown(Name :: term(), Value :: term(), table()) -> {error, problem()}.
unknown(Name, Value, Table) ->
    Known = [Known || #{name := Known} <- Table],
    {error, {[Name], Value, lists:append(["one of ", joined(Known), meant(Name, Known)])}}.

-doc "Puts a problem into one line of words.".
-spec explain(problem()) -> string().
explain({[], Value, Expected}) ->
    words("~0tp is not ~ts", [Value, Expected]);
explain({Path, Value, Expected}) ->
    words("~ts: ~0tp is not ~ts", [lists:join(".", [words("~0tp", [Step]) || Step <- Path]), Value, Expected]).

-doc "Makes a table in Markdown of a table of options, for documentation.".
-spec markdown(table()) -> binary().
markdown(Table) ->
    Rows = [
        [~"| `", atom_to_binary(Name), ~"` | ", Expected, ~" | ", default(Option), ~" | ", Doc, ~" |\n"]
     || #{name := Name, type := #{expected := Expected}, doc := Doc} = Option <- Table
    ],
    unicode:characters_to_binary([~"| option | value | default | meaning |\n| --- | --- | --- | --- |\n" | Rows]).

default(#{shown := Shown}) -> Shown;
default(#{default := required}) -> ~"must be given";
default(#{default := none}) -> ~"";
default(#{default := Default}) -> words("`~0tp`", [Default]).

type(Expected, Check) ->
    #{expected => Expected, check => Check, secret => false}.

%% In order, up to the first problem.
all([]) ->
    {ok, []};
all([Check | Rest]) ->
    maybe
        {ok, First} ?= Check(),
        {ok, Others} ?= all(Rest),
        {ok, [First | Others]}
    end.

option(Name, Value, Types, Table) ->
    case Types of
        #{Name := Type} ->
            maybe
                {ok, Checked} ?= under(Name, check(Type, Value)),
                {ok, {Name, Checked}}
            end;
        #{} ->
            unknown(Name, shown(Value, Table), Table)
    end.

required(Table, Options) ->
    case [{Name, Type} || #{name := Name, type := Type, default := required} <- Table, not is_map_key(Name, Options)] of
        [] -> {ok, Options};
        [{Name, #{expected := Expected}} | _] -> {error, {[Name], undefined, Expected}}
    end.

under(Key, {error, {Path, Value, Expected}}) -> {error, {[Key | Path], Value, Expected}};
under(_, Result) -> Result.

%% A wrong key is told with the value beside it.
under(Key, Value, {error, {_, _, Expected}}) -> {error, {[Key], Value, Expected}};
under(_, _, Result) -> Result.

%% What was meant to be another option may be a secret.
shown(Value, Table) ->
    case is_secret(Table) of
        true -> hidden;
        false -> Value
    end.

is_secret(Table) ->
    lists:any(fun(#{type := #{secret := Secret}}) -> Secret end, Table).

keywords(Given) when is_list(Given), length(Given) >= 0 -> pairs(proplists:unfold(Given));
keywords(Given) -> pairs(Given).

%% By name, so that it does not depend on chance what is told first.
pairs(Given) when is_map(Given) ->
    {ok, lists:sort(maps:to_list(Given))};
pairs(Given) when is_list(Given), length(Given) >= 0 ->
    case lists:all(fun(Pair) -> is_tuple(Pair) andalso tuple_size(Pair) =:= 2 end, Given) of
        true -> pairs(maps:from_list(lists:reverse(Given)));
        false -> error
    end;
pairs(_) ->
    error.

joined(Names) ->
    lists:append(lists:join(", ", [atom_to_list(Name) || Name <- Names])).

meant(Name, Known) ->
    case to_name(Name) of
        {ok, Text} ->
            Likely = [{string:jaro_similarity(Text, atom_to_list(Other)), Other} || Other <- Known],
            case lists:max([{0.0, none} | Likely]) of
                {Alike, Nearest} when Alike >= ?ALIKE -> lists:concat(["; did you mean ", Nearest, "?"]);
                _ -> ""
            end;
        error ->
            ""
    end.

to_name(Name) when is_atom(Name) -> {ok, atom_to_list(Name)};
to_name(Name) ->
    case to_text(Name) of
        {ok, Text} -> {ok, unicode:characters_to_list(Text)};
        false -> error
    end.

to_text(Text) when is_binary(Text); is_list(Text) ->
    try unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> {ok, Binary};
        _ -> false
    catch
        error:badarg -> false
    end;
to_text(_) ->
    false.

bound(Number) when Number >= 16#ffffffff ->
    Bits = length(integer_to_list(Number, 2)),
    case Number =:= 1 bsl Bits - 1 of
        true -> lists:concat(["2^", Bits, " - 1"]);
        false -> integer_to_list(Number)
    end;
bound(Number) ->
    integer_to_list(Number).

words(Format, Args) ->
    lists:flatten(io_lib:format(Format, Args)).
