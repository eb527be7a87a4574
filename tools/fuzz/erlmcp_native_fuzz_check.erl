-module(erlmcp_native_fuzz_check).
-moduledoc "Tells whether a value is of a type: what a call returns has to be what its specification says.".

-export([is/3]).

-doc "Tells whether a value is of a type.".
-spec is(term(), erlmcp_native_fuzz_spec:type() | any, erlmcp_native_fuzz_spec:specs()) -> boolean().
is(_, any, _) ->
    true;
is(Value, {_, _, {Kind, _, _, _}} = Type, Specs) when Kind =:= user_type ->
    is(Value, erlmcp_native_fuzz_spec:expand(Type, Specs), Specs);
is(Value, {_, _, {Kind, _, _}} = Type, Specs) when Kind =:= remote_type; Kind =:= ann_type; Kind =:= var ->
    is(Value, erlmcp_native_fuzz_spec:expand(Type, Specs), Specs);
is(Value, {_, _, {Kind, _, Literal}}, _) when Kind =:= atom; Kind =:= integer; Kind =:= char ->
    Value =:= Literal;
is(Value, {_, _, {op, _, '-', {integer, _, Literal}}}, _) ->
    Value =:= -Literal;
is(Value, {Module, Bound, {type, _, Name, Parts}}, Specs) ->
    built(Name, Value, Parts, fun(Of, Part) -> is(Of, {Module, Bound, Part}, Specs) end).

built(union, Value, Parts, Is) -> lists:any(fun(Part) -> Is(Value, Part) end, Parts);
built(range, Value, [From, To], _) -> is_integer(Value) andalso Value >= bound(From) andalso Value =< bound(To);
built(tuple, Value, any, _) -> is_tuple(Value);
built(tuple, Value, Parts, Is) -> is_tuple(Value) andalso tuple_size(Value) =:= length(Parts) andalso
    lists:all(fun({Of, Part}) -> Is(Of, Part) end, lists:zip(tuple_to_list(Value), Parts));
built(map, Value, any, _) -> is_map(Value);
built(map, Value, Fields, Is) -> is_map(Value) andalso map(Value, Fields, Is);
built(list, Value, [], _) -> is_proper(Value);
built(list, Value, [Part], Is) -> is_proper(Value) andalso lists:all(fun(Of) -> Is(Of, Part) end, Value);
built(nonempty_list, Value, Parts, Is) -> Value =/= [] andalso built(list, Value, Parts, Is);
built('fun', Value, _, _) -> is_function(Value);
built(record, Value, [{atom, _, Name} | _], _) -> is_record(Value, Name);
built(Name, Value, _, _) -> builtin(Name, Value).

is_proper(Value) ->
    is_list(Value) andalso
        try
            length(Value) >= 0
        catch
            error:badarg -> false
        end.

%% Every field is one that the type has, and none that it needs is missing.
map(Value, Fields, Is) ->
    IsOne = fun({Key, Of}) -> lists:any(fun(Field) -> is_field(Key, Of, Field, Is) end, Fields) end,
    IsThere = fun(Field) -> is_there(maps:keys(Value), Field, Is) end,
    lists:all(IsOne, maps:to_list(Value)) andalso lists:all(IsThere, Fields).

is_field(Key, Of, {type, _, _, [KeyType, Type]}, Is) ->
    Is(Key, KeyType) andalso Is(Of, Type).

is_there(Keys, {type, _, map_field_exact, [Type, _]}, Is) -> lists:any(fun(Key) -> Is(Key, Type) end, Keys);
is_there(_, _, _) -> true.

bound({integer, _, Value}) -> Value;
bound({op, _, '-', {integer, _, Value}}) -> -Value.

builtin(Name, _) when Name =:= term; Name =:= any -> true;
builtin(Name, Value) when Name =:= atom; Name =:= module; Name =:= node -> is_atom(Value);
builtin(boolean, Value) -> is_boolean(Value);
builtin(pid, Value) -> is_pid(Value);
builtin(port, Value) -> is_port(Value);
builtin(reference, Value) -> is_reference(Value);
builtin(integer, Value) -> is_integer(Value);
builtin(non_neg_integer, Value) -> is_integer(Value) andalso Value >= 0;
builtin(pos_integer, Value) -> is_integer(Value) andalso Value > 0;
builtin(byte, Value) -> is_integer(Value) andalso Value >= 0 andalso Value < 256;
builtin(float, Value) -> is_float(Value);
builtin(number, Value) -> is_number(Value);
builtin(timeout, Value) -> Value =:= infinity orelse builtin(non_neg_integer, Value);
builtin(mfa, {Module, Function, Arity}) -> is_atom(Module) andalso is_atom(Function) andalso builtin(byte, Arity);
builtin(mfa, _) -> false;
builtin(binary, Value) -> is_binary(Value);
builtin(bitstring, Value) -> is_bitstring(Value);
builtin(Name, Value) when Name =:= iodata; Name =:= iolist -> is_binary(Value) orelse is_list(Value);
builtin(string, Value) -> is_proper(Value);
builtin(nil, Value) -> Value =:= [];
builtin(Name, _) when Name =:= no_return; Name =:= none -> false.
