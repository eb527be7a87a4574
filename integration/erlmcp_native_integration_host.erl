-module(erlmcp_native_integration_host).
-moduledoc """
The node of the integration tests: evaluates what it reads, and ends with its input.

A line of standard input is a sequence of Erlang expressions, without the full stop. The answer is one line of standard
output: `ok` and the value of the last one in JSON, or `error` and a JSON string that tells what went wrong. All else
that is printed on this node, by the logger too, goes to standard error.

```
$ scripts/run.sh --input integration erlmcp_native_integration_host
{erlmcp_native, length([a, b])}
ok ["erlmcp_native",2]
```

In JSON tuples are arrays, atoms and binaries are strings (but `true`, `false` and `null` are themselves); a string
of Erlang is the array of integers that it is. What JSON has no word for, such as a process, is a string with its
text.
""".

-export([main/0]).

-doc "Answers what it reads until standard input ends, then halts with status 0.".
-spec main() -> no_return().
main() ->
    Terminal = group_leader(),
    ok = io:setopts(Terminal, [{encoding, unicode}, binary]),
    true = group_leader(whereis(standard_error), self()),
    ok = log_to_standard_error(),
    answer(Terminal).

log_to_standard_error() ->
    {ok, Handler} = logger:get_handler_config(default),
    ok = logger:remove_handler(default),
    logger:add_handler(default, logger_std_h, (maps:with([filters, filter_default, formatter], Handler))#{
        config => #{type => standard_error}
    }).

answer(Terminal) ->
    case io:get_line(Terminal, "") of
        Line when is_binary(Line) ->
            ok = io:put_chars(Terminal, [evaluate(unicode:characters_to_list(Line)), $\n]),
            answer(Terminal);
        _EofOrError ->
            halt(0)
    end.

evaluate(Text) ->
    try
        {value, Value, _Bindings} = erl_eval:exprs(parse(Text), erl_eval:new_bindings()),
        ["ok ", json:encode(Value, fun encode/2)]
    catch
        throw:{syntax_error, Problem} ->
            failed(Problem);
        Class:Reason:Stack ->
            failed(erl_error:format_exception(Class, Reason, Stack))
    end.

failed(Text) ->
    ["error ", json:encode(unicode:characters_to_binary(Text))].

parse(Text) ->
    maybe
        {ok, Tokens, _} ?= erl_scan:string(Text ++ "."),
        {ok, Expressions} ?= erl_parse:parse_exprs(Tokens),
        Expressions
    else
        {error, {_, Module, Description}, _} -> throw({syntax_error, Module:format_error(Description)});
        {error, {_, Module, Description}} -> throw({syntax_error, Module:format_error(Description)})
    end.

encode(Tuple, Encode) when is_tuple(Tuple) ->
    json:encode_list(tuple_to_list(Tuple), Encode);
encode(Map, Encode) when is_map(Map) ->
    json:encode_map(#{key(Key) => Value || Key := Value <- Map}, Encode);
encode(Binary, _) when is_binary(Binary) ->
    case unicode:characters_to_binary(Binary) of
        Binary -> json:encode_binary(Binary);
        _ -> text(Binary)
    end;
encode(Term, Encode) when is_list(Term), length(Term) >= 0; is_atom(Term); is_number(Term) ->
    json:encode_value(Term, Encode);
encode(Term, _) ->
    text(Term).

key(Key) when is_atom(Key); is_number(Key); is_binary(Key) -> Key;
key(Key) -> unicode:characters_to_binary(io_lib:format("~0tp", [Key])).

text(Term) ->
    json:encode_binary(unicode:characters_to_binary(io_lib:format("~0tp", [Term]))).
