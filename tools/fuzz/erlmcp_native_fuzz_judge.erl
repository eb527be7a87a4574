-module(erlmcp_native_fuzz_judge).
-moduledoc """
Calls a function and judges what comes of it by the contract.

A native raises nothing. Any other function raises `badarg`, or `system_limit`, or exits with `noproc` and the call, or
with `timeout` or `killed` and the call if a service had no time or was killed meanwhile; a fun that was handed over may
raise what it likes. What a function returns is of the type in its specification.
""".

-export([call/3, kinds/0]).
-export_type([kind/0]).

-doc "How a call ended, where it ended as it may.".
-type kind() :: returned | badarg | system_limit | noproc | unserved | fun_raised.

%% {A function, why its result is not compared with its specification}.
-define(NOT_COMPARED, [
    {{erlmcp_native, control_open, 1}, "hands back what control_put/6 was given, which is anything here"}
]).

-doc "Returns the ways in which a call may end.".
-spec kinds() -> [kind(), ...].
kinds() ->
    [returned, badarg, system_limit, noproc, unserved, fun_raised].

-doc "Calls a function. A finding says what is wrong, in a form that is the same for the same fault.".
-spec call(mfa(), [term()], erlmcp_native_fuzz_spec:specs()) -> {kind(), Value :: term()} | {finding, term()}.
call({Module, _, _} = Function, Args, Specs) ->
    case harms_nobody(Module, Args) of
        true -> judged(Function, Args, Specs);
        false -> {returned, left_alone}
    end.

%% What a process of an application does that is sent something odd is no question here: a supervisor ends.
harms_nobody(erlmcp_overload_mailbox, [_, Destinations, _ | _]) when is_list(Destinations) ->
    not lists:any(fun serves/1, safe_list(Destinations));
harms_nobody(erlmcp_overload_mailbox, [_, Destination, _ | _]) ->
    not serves(Destination);
harms_nobody(_, _) ->
    true.

safe_list([First | Rest]) -> [First | safe_list(Rest)];
safe_list(_) -> [].

serves({Name, Node}) when Node =:= node() -> serves(Name);
serves(undefined) -> false;
serves(Name) when is_atom(Name) -> serves(whereis(Name));
serves(Pid) when is_pid(Pid) -> erlmcp_native_pid:is_local(Pid) andalso application:get_application(Pid) =/= undefined;
serves(_) -> false.

judged({Module, Name, _} = Function, Args, Specs) ->
    try
        apply(Module, Name, Args)
    of
        Value -> returned(Function, Value, Specs)
    catch
        Class:Reason:Stack -> raised(Function, Class, Reason, Stack)
    end.

returned(Function, Value, Specs) ->
    Results = [Result || {_, Result} <- erlmcp_native_fuzz_spec:specs(Function, Specs)],
    IsOf = fun(Result) -> erlmcp_native_fuzz_check:is(Value, Result, Specs) end,
    case lists:keymember(Function, 1, ?NOT_COMPARED) orelse lists:any(IsOf, Results) of
        true -> {returned, Value};
        false -> {finding, {returned, shape(Value)}}
    end.

raised({erlmcp_native, _, _}, Class, Reason, _) ->
    {finding, {Class, shape(Reason)}};
raised(_, _, fuzz, _) ->
    {fun_raised, fuzz};
%% The funs that are nowhere.
raised(_, error, undef, [{Module, _, _, _} | _]) when Module =:= erlmcp_no_such_module; Module =:= lists ->
    {fun_raised, undef};
raised(Function, error, Reason, Stack) when Reason =:= badarg; Reason =:= system_limit ->
    explained(Function, Reason, Stack);
%% It ends as gen_server:call/3 does, with whatever its server has died of.
raised({erlmcp_overload_mailbox, call, _}, exit, {_, {gen_server, call, [_, _, _]}}, _) ->
    {unserved, called};
%% One function may have called another.
raised(_, exit, {Reason, {Module, Name, Args}}, Stack) when is_atom(Reason), is_list(Args) ->
    case erlmcp_native_fuzz_plan:is_called({Module, Name, length(Args)}) of
        true when Reason =:= noproc -> {noproc, Reason};
        true when Reason =:= timeout; Reason =:= killed -> {unserved, Reason};
        _ -> {finding, {exit, {Reason, {Module, Name, length(Args)}}, where(Stack)}}
    end;
raised(_, Class, Reason, Stack) ->
    {finding, {Class, shape(Reason), where(Stack)}}.

%% The shell has to be able to say what was wrong. That is long for some terms, so not every time.
explained({Module, Name, Arity}, Reason, [{Module, Name, Args, Info} | _] = Stack) when length(Args) =:= Arity ->
    case proplists:get_value(error_info, Info) of
        undefined -> {finding, {Reason, 'without an explanation'}};
        _ -> explanation(Reason, Stack, rand:uniform(20))
    end;
explained(_, Reason, Stack) ->
    {finding, {Reason, where(Stack)}}.

explanation(Reason, [{_, _, _, Info} = Top | _] = Stack, 1) ->
    #{module := Formatter} = proplists:get_value(error_info, Info),
    try Formatter:format_error(Reason, Stack) of
        #{} = Words when Words =/= #{} -> {Reason, Reason};
        _ -> {finding, {Reason, 'without words', where([Top])}}
    catch
        Class:Other -> {finding, {Reason, 'formatting it', Class, shape(Other)}}
    end;
explanation(Reason, _, _) ->
    {Reason, Reason}.

where([{Module, Name, Args, _} | _]) when is_list(Args) -> {Module, Name, length(Args)};
where([{Module, Name, Arity, _} | _]) -> {Module, Name, Arity};
where([]) -> nowhere.

%% Atoms and the outer structure tell faults apart; what is in there is of the one call.
shape(Term) when is_atom(Term) -> Term;
shape(Term) when is_tuple(Term), tuple_size(Term) < 5 -> list_to_tuple([inner(Part) || Part <- tuple_to_list(Term)]);
shape(Term) -> inner(Term).

inner(Term) when is_atom(Term) -> Term;
inner(Term) when is_integer(Term) -> integer;
inner(Term) when is_map(Term) -> map;
inner(Term) when is_list(Term) -> list;
inner({First, _}) when is_atom(First) -> {First, '_'};
inner(Term) when is_tuple(Term) -> {tuple, tuple_size(Term)};
inner(Term) when is_binary(Term) -> binary;
inner(_) -> '_'.
