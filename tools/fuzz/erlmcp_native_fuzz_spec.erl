-module(erlmcp_native_fuzz_spec).
-moduledoc """
The specifications of functions, as types that values can be made of and compared with.

They are read from the modules themselves, and their named types are looked up where they are defined, in this
application. A type of another application is taken for any term.
""".

-export([load/1, functions/1, specs/2, expand/2]).
-export_type([type/0, specs/0]).

-doc "A type is as the abstract format has it, with the module of its names and what its variables stand for.".
-type type() :: {module(), #{atom() => type()}, AbstractType :: tuple()}.
-doc "What was read of modules: the clauses of functions, with types of arguments and result; and named types.".
-opaque specs() :: #{
    {spec, mfa()} => [{[type()], type()}],
    {type, module(), atom(), arity()} => {[atom()], AbstractType :: tuple()}
}.

-doc "Reads modules.".
-spec load([module()]) -> specs().
load(Modules) ->
    maps:from_list([Entry || Module <- Modules, Form <- forms(Module), Entry <- entry(Module, Form)]).

-doc "Returns the functions of a module that others may call.".
-spec functions(module()) -> [mfa()].
functions(Module) ->
    [{Module, Name, Arity} || {Name, Arity} <- Module:module_info(exports), Name =/= module_info].

-doc "Returns the clauses of a function's specification.".
-spec specs(mfa(), specs()) -> [{[type()], type()}].
specs(Function, Specs) ->
    maps:get({spec, Function}, Specs).

-doc "Replaces a named type by what it stands for. `any` is what is not known.".
-spec expand(type(), specs()) -> type() | any.
expand({Module, Bound, {user_type, _, Name, Args}}, Specs) ->
    named(Module, Name, [{Module, Bound, Arg} || Arg <- Args], Specs);
expand({Module, Bound, {remote_type, _, [{atom, _, Of}, {atom, _, Name}, Args]}}, Specs) ->
    named(Of, Name, [{Module, Bound, Arg} || Arg <- Args], Specs);
expand({Module, Bound, {ann_type, _, [_, Type]}}, _) ->
    {Module, Bound, Type};
expand({_, Bound, {var, _, Name}}, _) ->
    maps:get(Name, Bound, any);
expand(Type, _) ->
    Type.

named(Module, Name, Args, Specs) ->
    case Specs of
        #{{type, Module, Name, length(Args)} := {Names, Type}} ->
            {Module, maps:from_list(lists:zip(Names, Args)), Type};
        #{} ->
            any
    end.

forms(Module) ->
    {ok, {Module, [{abstract_code, {raw_abstract_v1, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
    Forms.

entry(Module, {attribute, _, spec, {{Name, Arity}, Clauses}}) ->
    [{{spec, {Module, Name, Arity}}, [clause(Module, Clause) || Clause <- Clauses]}];
entry(Module, {attribute, _, Kind, {Name, Type, Params}}) when Kind =:= type; Kind =:= opaque; Kind =:= nominal ->
    [{{type, Module, Name, length(Params)}, {[Param || {var, _, Param} <- Params], Type}}];
entry(_, _) ->
    [].

clause(Module, {type, _, bounded_fun, [Fun, Constraints]}) ->
    Bound = #{
        Name => {Module, #{}, Type}
     || {type, _, constraint, [{atom, _, is_subtype}, [{var, _, Name}, Type]]} <- Constraints
    },
    clause(Module, Bound, Fun);
clause(Module, Fun) ->
    clause(Module, #{}, Fun).

clause(Module, Bound, {type, _, 'fun', [{type, _, product, Args}, Result]}) ->
    {[{Module, Bound, Arg} || Arg <- Args], {Module, Bound, Result}}.
