-module(erlmcp_native_json).
-moduledoc """
Makes JSON of what this library returns: rows, alerts, refusals, statistics, errors. They have pids, tuples and atoms
such as `undefined` in them, which `json:encode/1` refuses or takes for something else.

```erlang
1> Row = #{role => transport, process => list_to_pid("<0.90.0>"), depth => 1, limit => infinity}.
2> erlmcp_native_json:encode(Row).
~'{"depth":1,"limit":null,"process":"<0.90.0>","role":"transport"}'
```

Every term has a JSON, so that nothing fails for a row that is odd:

| term | JSON |
| --- | --- |
| `true`, `false` | the same |
| `undefined`, `null`, `infinity` | `null`: a limit of `null` is none |
| any other atom | its text |
| an atom that is the value of `role`, `process` or `component` | its text, whatever it is |
| a number | the same |
| a binary | its text; what is not UTF-8 in it is U+FFFD |
| a pid, a port, a reference, a fun, a bitstring, an improper list | as the shell prints it, cut after some 200 characters |
| a list, a tuple | an array; a string is a list of numbers |
| a map | an object; a key that is no atom, text or number is printed like a pid |

Lists, tuples and maps that are nested deeper than 64 are left out, and `"..."` stands in their place. Two keys of one
map with the same text, such as `a` and `~"a"`, give one member.
""".

-export([encode/1, plain/1]).

-export_type([plain/0]).

-doc "A term of which every encoder of JSON makes the same.".
-type plain() :: null | boolean() | number() | binary() | [plain()] | #{binary() => plain()}.

-define(MAX_DEPTH, 64).
-define(MAX_CHARS, 200).

-doc "Makes JSON of any term, in one piece and on one line.".
-spec encode(term()) -> binary().
encode(Term) ->
    iolist_to_binary(json:encode(plain(Term))).

-doc "Makes of any term one that other encoders take as well: of numbers, texts, booleans, `null`, lists and maps.".
-spec plain(term()) -> plain().
plain(Term) ->
    plain(Term, 0).

plain(Map, Depth) when is_map(Map), Depth < ?MAX_DEPTH ->
    #{key(Key) => member(Key, Value, Depth + 1) || Key := Value <- Map};
plain(List, Depth) when is_list(List), length(List) >= 0, Depth < ?MAX_DEPTH ->
    [plain(Value, Depth + 1) || Value <- List];
plain(Tuple, Depth) when is_tuple(Tuple) ->
    plain(tuple_to_list(Tuple), Depth);
plain(Nested, _) when is_map(Nested); is_list(Nested), length(Nested) >= 0 ->
    ~"...";
plain(Number, _) when is_number(Number) ->
    Number;
plain(Boolean, _) when is_boolean(Boolean) ->
    Boolean;
plain(None, _) when None =:= undefined; None =:= null; None =:= infinity ->
    null;
plain(Other, _) ->
    text(Other).

%% These are names, and may be any atom.
member(Key, Name, _) when is_atom(Name), (Key =:= role orelse Key =:= process orelse Key =:= component) ->
    atom_to_binary(Name);
member(_, Value, Depth) ->
    plain(Value, Depth).

key(Number) when is_integer(Number) -> integer_to_binary(Number);
key(Number) when is_float(Number) -> float_to_binary(Number, [short]);
key(Key) -> text(Key).

text(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
text(Binary) when is_binary(Binary) -> utf8(Binary);
text(Pid) when is_pid(Pid) -> list_to_binary(pid_to_list(Pid));
text(Other) -> erlmcp_native_log_text:format("~0tp", [Other], ?MAX_CHARS).

utf8(Binary) ->
    case unicode:characters_to_binary(Binary) of
        Text when is_binary(Text) -> Text;
        {_, Text, <<_, Rest/binary>>} -> iolist_to_binary([Text, ~"\x{FFFD}" | rest(Rest)])
    end.

rest(Rest) ->
    case unicode:characters_to_binary(Rest) of
        Text when is_binary(Text) -> [Text];
        {_, Text, <<_, Next/binary>>} -> [Text, ~"\x{FFFD}" | rest(Next)]
    end.
