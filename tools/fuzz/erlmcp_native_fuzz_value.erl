-module(erlmcp_native_fuzz_value).
-moduledoc """
Values of a type, as a caller would give them who has read the specification: so that calls get behind the checks of
their arguments. Some parts of a value may be odd nevertheless (`m:erlmcp_native_fuzz_odd`).
""".

-export([argument/2]).

-define(ODD, erlmcp_native_fuzz_odd).
%% A refusal in its tuples in a union is that deep, each name that is looked up counted.
-define(DEEP, 12).

%% No sender waits longer for a component that does not answer: a call that takes longer hangs.
-define(LONGEST_WAIT_MS, 200).

-doc "Makes a value for an argument of this type; in one of three cases one that is odd as a whole.".
-spec argument(erlmcp_native_fuzz_spec:type(), erlmcp_native_fuzz_spec:specs()) -> {Name :: term(), Value :: term()}.
argument(Type, Specs) ->
    case rand:uniform(3) of
        1 ->
            ?ODD:pick();
        _ ->
            Value = value(Type, Specs, 0),
            {Value, Value}
    end.

%% A part of a value.
value({_, _, {Kind, _, Value}}, _, _) when Kind =:= atom; Kind =:= integer; Kind =:= char ->
    Value;
value({_, _, {op, _, '-', {integer, _, Value}}}, _, _) ->
    -Value;
value(_, _, Depth) when Depth > ?DEEP ->
    [];
value(any, Specs, Depth) ->
    value({?MODULE, #{}, {type, 0, term, []}}, Specs, Depth);
value({Module, _, {Kind, _, Name, _}} = Type, Specs, Depth) when Kind =:= user_type; Kind =:= remote_type ->
    case rand:uniform(40) of
        1 when Depth > 0 -> element(2, ?ODD:small());
        _ -> known(Module, Name, Type, Specs, Depth)
    end;
value({_, _, {remote_type, _, [_, {atom, _, Name}, _]}} = Type, Specs, Depth) ->
    known(none, Name, Type, Specs, Depth);
value({_, _, {Kind, _, _}} = Type, Specs, Depth) when Kind =:= ann_type; Kind =:= var ->
    value(erlmcp_native_fuzz_spec:expand(Type, Specs), Specs, Depth);
value({Module, Bound, {type, _, Name, Parts}}, Specs, Depth) ->
    built(Name, fun(Part) -> value({Module, Bound, Part}, Specs, Depth + 1) end, Parts).

%% Types with a meaning that their structure does not tell.
known(_, table, _, _, _) ->
    case rand:uniform(3) of
        1 -> erlmcp_native_fuzz_pool:reference();
        _ -> own
    end;
known(_, Name, _, _, _) when
    Name =:= permit; Name =:= histogram; Name =:= alias; Name =:= from; Name =:= cancel_token; Name =:= cancel_telling
->
    erlmcp_native_fuzz_pool:reference();
known(_, owner_key, _, _, _) ->
    case rand:uniform(3) of
        1 -> ?ODD:name();
        2 -> self();
        3 -> ?ODD:idle(rand:uniform(4))
    end;
known(_, _, Type, Specs, Depth) ->
    value(erlmcp_native_fuzz_spec:expand(Type, Specs), Specs, Depth + 1).

built(union, Value, Parts) ->
    Value(lists:nth(rand:uniform(length(Parts)), Parts));
built(range, Value, [From, To]) ->
    between(Value(From), Value(To));
built(tuple, _, any) ->
    element(2, ?ODD:small());
built(tuple, Value, Parts) ->
    list_to_tuple([Value(Part) || Part <- Parts]);
built(map, _, any) ->
    #{};
built(map, Value, Fields) ->
    #{Key => Of || Field <- Fields, {Key, Of} <- field(Value, Field)};
built(Name, _, []) when Name =:= list; Name =:= nonempty_list ->
    [x];
built(list, Value, [Part]) ->
    [Value(Part) || _ <- lists:seq(1, rand:uniform(4) - 1)];
built(nonempty_list, Value, [Part]) ->
    [Value(Part) || _ <- lists:seq(1, rand:uniform(3))];
built('fun', _, Parts) ->
    function(arity(Parts));
built(Name, _, _) ->
    builtin(Name).

%% A field that may be left out is, now and then.
field(Value, {type, _, map_field_assoc, [Key, Of]}) ->
    case rand:uniform(3) of
        1 -> forced(Value(Key));
        _ -> [one_field(Value(Key), Of, Value)]
    end;
field(Value, {type, _, map_field_exact, [Key, Of]}) ->
    [one_field(Value(Key), Of, Value)].

one_field(timeout_ms, _, _) -> {timeout_ms, rand:uniform(?LONGEST_WAIT_MS) - 1};
one_field(Key, Of, Value) -> {Key, Value(Of)}.

forced(timeout_ms) -> [{timeout_ms, ?LONGEST_WAIT_MS}];
forced(_) -> [].

arity([{type, _, product, Args}, _]) -> length(Args);
arity(_) -> rand:uniform(3) - 1.

between(From, To) ->
    case rand:uniform(4) of
        1 -> From;
        2 -> To;
        3 -> min(To, From + rand:uniform(10));
        4 -> From + rand:uniform(To - From + 1) - 1
    end.

builtin(Name) when Name =:= atom; Name =:= node -> ?ODD:name();
%% Each handler that is added has a process until the application stops: not many.
builtin(module) -> case rand:uniform(8) of 1 -> erlmcp_native_fuzz_handler; _ -> ?ODD:name() end;
builtin(boolean) -> rand:uniform(2) =:= 1;
builtin(pid) -> ?ODD:idle(rand:uniform(4));
builtin(reference) -> erlmcp_native_fuzz_pool:reference();
builtin(non_neg_integer) -> number(0);
builtin(pos_integer) -> number(1);
builtin(Name) when Name =:= integer; Name =:= number -> number(-3);
builtin(timeout) -> number(0);
builtin(byte) -> rand:uniform(256) - 1;
builtin(float) -> rand:uniform();
builtin(string) -> "text";
builtin(Name) when Name =:= binary; Name =:= bitstring; Name =:= iodata -> <<"text">>;
builtin(iolist) -> [<<"text">>];
builtin(nil) -> [];
builtin(Name) when Name =:= term; Name =:= any -> element(2, ?ODD:pick());
builtin(_) -> element(2, ?ODD:small()).

%% Small ones most of all, so that limits are reached.
number(Least) ->
    case rand:uniform(8) of
        N when N < 5 -> Least + rand:uniform(6) - 1;
        N when N < 8 -> Least + rand:uniform(100_000);
        8 -> Least + (1 bsl (16 + rand:uniform(60)))
    end.

%% What a caller's fun may do, but wait.
function(Arity) ->
    Does = rand:uniform(12),
    case Arity of
        0 -> fun() -> done(Does, none) end;
        1 -> fun(A) -> done(Does, A) end;
        2 -> fun(A, _) -> done(Does, A) end;
        _ -> element(2, ?ODD:small())
    end.

done(1, _) -> error(fuzz);
done(2, _) -> exit(fuzz);
done(3, _) -> throw(fuzz);
done(4, _) -> {error, fuzz};
done(5, Given) -> {error, Given};
done(6, _) -> exit(self(), kill);
done(7, _) -> spawn_link(fun() -> exit(fuzz) end);
done(8, _) -> receive after 2 -> ok end;
done(9, _) -> element(2, ?ODD:pick());
done(_, Given) -> Given.
