%% Erlang in documents: sessions, modules, expressions, functions and configuration.
-module(erlmcp_native_document_code).

-export([kind/1, check/2, run/3, terms/1, spans/1]).

-export_type([kind/0, trouble/0]).

%% `session`: as typed into a shell, with prompts. `module`: a whole one. `functions`: some. `terms`: configuration.
%% `expressions`: all else.
-type kind() :: session | module | functions | terms | expressions.
-type trouble() :: string().

%% Modules of erlmcp's own, which are not here.
-define(THEIRS, [
    erlmcp_circuit_breaker,
    erlmcp_core,
    erlmcp_health_monitor,
    erlmcp_metrics_server
]).
-define(SNIPPET, erlmcp_native_document_snippet).
-define(HEADER, "-module(" ++ atom_to_list(?SNIPPET) ++ ").\n-compile([export_all, nowarn_export_all]).\n").

-spec kind(binary()) -> kind().
kind(Text) ->
    Matches = fun(Pattern) -> re:run(Text, Pattern, [multiline, unicode]) =/= nomatch end,
    case Matches(~B"^\s*\d+> ") of
        true ->
            session;
        false ->
            case Matches(~B"^-module\(") of
                true -> module;
                false -> kind_of_forms(scanned(Text))
            end
    end.

kind_of_forms({error, _}) ->
    expressions;
kind_of_forms({ok, [First | _] = Forms}) ->
    Terms = lists:all(fun(Form) -> element(1, erl_parse:parse_term(Form)) =:= ok end, Forms),
    Form = element(1, erl_parse:parse_form(First)) =:= ok andalso element(1, erl_parse:parse_exprs(First)) =/= ok,
    case {Terms, Form} of
        {true, _} -> terms;
        {_, true} -> functions;
        _ -> expressions
    end.

%% What can be said without running it: it can be parsed, and what it calls exists. Modules and functions are
%% compiled, and a warning is an error; a module is loaded as well, for the blocks that follow.
-spec check(kind(), binary()) -> {ok, Loaded :: [module()]} | {error, [trouble()]}.
check(module, Text) ->
    case compiled(Text) of
        {ok, Module, Binary} ->
            case code:is_loaded(Module) of
                false ->
                    {module, Module} = code:load_binary(Module, "nofile", Binary),
                    case unknown_calls(abstract(Binary)) of
                        [] -> {ok, [Module]};
                        Troubles -> unload(Module), {error, Troubles}
                    end;
                _ ->
                    {error, [format("there is a module ~p already", [Module])]}
            end;
        Error ->
            Error
    end;
check(functions, Text) ->
    case compiled([?HEADER, Text]) of
        {ok, _, Binary} -> none(unknown_calls(abstract(Binary)));
        Error -> Error
    end;
check(session, Text) ->
    check_forms(scanned(typed(Text)));
check(expressions, Text) ->
    check_forms(scanned(Text));
check(terms, _) ->
    {ok, []}.

check_forms({error, Trouble}) ->
    {error, [Trouble]};
check_forms({ok, Forms}) ->
    none(lists:append([
        case erl_eval:extended_parse_exprs(Tokens) of
            {ok, Exprs} -> unknown_calls(Exprs);
            {error, {_, Module, Reason}} -> [Module:format_error(Reason)]
        end
     || Tokens <- Forms
    ])).

none([]) -> {ok, []};
none(Troubles) -> {error, [unicode:characters_to_list(Trouble) || Trouble <- Troubles]}.

unload(Module) ->
    _ = code:purge(Module),
    true = code:delete(Module),
    code:purge(Module).

%% The terms of a block of that kind.
-spec terms(binary()) -> [term()].
terms(Text) ->
    {ok, Forms} = scanned(Text),
    [Term || {ok, Term} <- [erl_parse:parse_term(Form) || Form <- Forms]].

%% Runs a session or expressions. What is printed goes to the group leader.
-spec run(session | expressions, binary(), erl_eval:binding_struct()) -> ok | not_run | {error, [trouble()]}.
run(session, Text, _) ->
    case code:ensure_loaded(ct_doctest) of
        {module, _} -> session(Text);
        {error, _} -> not_run
    end;
run(expressions, Text, Bindings) ->
    {ok, Forms} = scanned(Text),
    try
        lists:foldl(
            fun(Tokens, Bound) ->
                {ok, Exprs} = erl_parse:parse_exprs(Tokens),
                {value, _, NowBound} = erl_eval:exprs(Exprs, Bound),
                erlmcp_native_document_node:settle(),
                NowBound
            end,
            Bindings,
            Forms
        ),
        ok
    catch
        Class:Reason:Stack -> {error, [erl_error:format_exception(Class, Reason, lists:sublist(Stack, 3))]}
    end.

%% The document's own file matters to nobody: the parser hands over the block.
session(Text) ->
    Block = {parser, fun(_) -> [string:trim(Text)] end},
    try ct_doctest:file(code:which(?MODULE), [], [Block, {skipped_blocks, 0}, {verbose, true}]) of
        ok -> ok;
        Other -> {error, [format("~tp", [Other])]}
    catch
        %% What is wrong is among its remarks.
        error:{_, errors} -> {error, ["the session goes otherwise"]};
        error:Reason -> {error, [format("~tp", [Reason])]}
    end.

%% What was typed in a session.
typed(Text) ->
    {_, Lines} = lists:foldl(fun typed/2, {answer, []}, binary:split(Text, ~"\n", [global])),
    iolist_to_binary(lists:reverse(Lines)).

typed(Line, {Mode, Lines}) ->
    case {re:run(Line, ~B"^\s*\d+> (.*)$", [{capture, all_but_first, binary}]), Line} of
        {{match, [Typed]}, _} -> {typing, [[Typed, $\n] | Lines]};
        {nomatch, <<$\s, _/binary>>} when Mode =:= typing -> {typing, [[Line, $\n] | Lines]};
        _ -> {answer, Lines}
    end.

%% Code between backticks in running text: is what it calls there?
-spec spans(binary()) -> ok | {error, [trouble()]}.
spans(Code) ->
    Named = re:run(Code, ~B"^(?:[ct]:|m:)?(erlmcp_\w+)(?::(\w+)/(\d+))?$", [{capture, all_but_first, list}]),
    case {Named, scanned(Code)} of
        {{match, [Module, Name, Arity]}, _} ->
            named(list_to_atom(Module), list_to_atom(Name), list_to_integer(Arity));
        {{match, [Module]}, _} when binary_part(Code, 0, 2) =:= ~"m:" ->
            exists(list_to_atom(Module));
        {nomatch, {ok, [Tokens]}} ->
            case erl_parse:parse_exprs(Tokens) of
                {ok, Exprs} -> called(Exprs);
                _ -> ok
            end;
        _ ->
            ok
    end.

called(Exprs) ->
    Unknown = [
        Trouble
     || {Module, Name, Arity} <- calls(Exprs), is_ours(Module), {error, Trouble} <- [named(Module, Name, Arity)]
    ],
    case Unknown of
        [] -> ok;
        _ -> {error, lists:append(Unknown)}
    end.

is_ours(Module) -> lists:prefix("erlmcp_", atom_to_list(Module)).

named(Module, Name, Arity) ->
    case exists(Module) of
        ok -> exported(Module, Name, Arity);
        Error -> Error
    end.

exists(Module) ->
    case lists:member(Module, ?THEIRS) orelse code:ensure_loaded(Module) of
        true -> ok;
        {module, _} -> ok;
        {error, _} -> {error, [format("there is no module ~p", [Module])]}
    end.

exported(Module, Name, Arity) ->
    Known =
        lists:member(Module, ?THEIRS) orelse erlang:function_exported(Module, Name, Arity) orelse
            is_documented(Module, Name, Arity),
    case Known of
        true -> ok;
        false -> {error, [format("there is no ~p:~p/~b", [Module, Name, Arity])]}
    end.

%% Types and callbacks.
is_documented(Module, Name, Arity) ->
    case code:get_doc(Module) of
        {ok, {docs_v1, _, _, _, _, _, Entries}} ->
            [] =/= [found || {{_, N, A}, _, _, _, _} <- Entries, {N, A} =:= {Name, Arity}];
        _ ->
            false
    end.

unknown_calls(Tree) ->
    lists:usort([
        format("~p:~p/~b is called and does not exist", [Module, Name, Arity])
     || {Module, Name, Arity} <- calls(Tree), not callable(Module, Name, Arity)
    ]).

callable(Module, Name, Arity) ->
    _ = code:ensure_loaded(Module),
    erlang:function_exported(Module, Name, Arity) orelse erlang:is_builtin(Module, Name, Arity) orelse
        lists:member(Module, ?THEIRS) orelse {Name, Arity} =:= {module_info, 0}.

%% All calls and funs of functions of other modules that are given by name.
calls({call, _, {remote, _, {atom, _, Module}, {atom, _, Name}}, Args}) ->
    [{Module, Name, length(Args)} | calls(Args)];
calls({'fun', _, {function, {atom, _, Module}, {atom, _, Name}, {integer, _, Arity}}}) ->
    [{Module, Name, Arity}];
calls(Tree) when is_tuple(Tree) ->
    calls(tuple_to_list(Tree));
calls(Tree) when is_list(Tree) ->
    case length_or_improper(Tree) of
        improper -> [];
        _ -> lists:append([calls(Node) || Node <- Tree])
    end;
calls(_) ->
    [].

length_or_improper(List) ->
    try
        length(List)
    catch
        error:badarg -> improper
    end.

%% Text as tokens, form by form. The last may do without its full stop.
scanned(Text) ->
    case erl_scan:string(unicode:characters_to_list(Text), {1, 1}, [text]) of
        {ok, [], _} -> {error, "there is nothing in it"};
        {ok, Tokens, End} -> {ok, split(Tokens, End)};
        {error, {_, Module, Reason}, _} -> {error, lists:flatten(Module:format_error(Reason))}
    end.

split(Tokens, End) ->
    case lists:splitwith(fun(Token) -> element(1, Token) =/= dot end, Tokens) of
        {Form, [Dot]} -> [Form ++ [Dot]];
        {Form, [Dot | Rest]} -> [Form ++ [Dot] | split(Rest, End)];
        {Form, []} -> [Form ++ [{dot, End}]]
    end.

compiled(Text) ->
    Dir = erlmcp_native_test_lib:temp_dir(),
    try
        Pattern = ~B"^-module\((\w+)\)",
        {match, [Name]} = re:run(iolist_to_binary(Text), Pattern, [multiline, {capture, all_but_first, list}]),
        File = filename:join(Dir, Name ++ ".erl"),
        ok = file:write_file(File, Text),
        Include = filename:join(erlmcp_native_test_lib:root(), "include"),
        case compile:file(File, [binary, return, debug_info, {i, Include}]) of
            {ok, Module, Binary, []} -> {ok, Module, Binary};
            {ok, _, _, Warnings} -> {error, told(Warnings)};
            {error, Errors, Warnings} -> {error, told(Errors ++ Warnings)}
        end
    after
        erlmcp_native_test_lib:remove_dir(Dir)
    end.

told(Complaints) ->
    [
        format("line ~p: ~ts", [line(Place), Module:format_error(Reason)])
     || {_, OfFile} <- Complaints, {Place, Module, Reason} <- OfFile
    ].

line({Line, _}) -> Line;
line(Line) -> Line.

abstract(Binary) ->
    {ok, {_, [{abstract_code, {raw_abstract_v1, Forms}}]}} = beam_lib:chunks(Binary, [abstract_code]),
    Forms.

format(Format, Args) ->
    unicode:characters_to_list(io_lib:format(Format, Args)).
