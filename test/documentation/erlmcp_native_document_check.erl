%% Holds the blocks of a document to what this project does. By tag:
%%
%% | tag | what is done |
%% | --- | --- |
%% | `erlang`, with prompts | run by `ct_doctest`, and the shown results are matched |
%% | `erlang`, a module | compiled, warnings being errors, and loaded for the blocks that follow |
%% | `erlang`, functions | compiled |
%% | `erlang`, expressions | run |
%% | `erlang`, terms of configuration | the application is started with what is for it; of others the key is known |
%% | `output` | compared with what the block before printed, or was answered; see `erlmcp_native_document_shape` |
%% | `sh` | targets of make exist, programs are known, requests to this node are made |
%% | `elixir` | calls of Erlang functions exist; where there is an Elixir, run, compiled or taken as configuration |
%% | `json` | decoded |
%% | `yaml`, `promql` | metrics exist |
%% | `dockerfile` | instructions and programs are known |
%% | `toml` | has tables, and keys with values |
%% | `rust` | is found in a source file, line by line; `…` stands for lines left out |
%% | `text` | nothing: it is prose or a picture |
%%
%% In modules, and in sessions and expressions, every call of a function by its name is looked up too, in branches that
%% are not run as well. And so are the calls of our modules that stand between backticks in the running text.
-module(erlmcp_native_document_check).

-export([check/1]).

-import(erlmcp_native_document_node, [any_port/1, bindings/0, configure/1, printed/0]).

%% What others read from a project's files.
-define(OF_REBAR3, [applications, deps, erl_opts, overrides, profiles, relx]).

%% The blocks that were looked at, by kind, and what is wrong with them, each with its place.
-spec check(erlmcp_native_document:source()) -> {Kinds :: [atom()], Troubles :: [string()]}.
check(Source) ->
    Checked = [check_document(Document) || Document <- erlmcp_native_document:read(Source)],
    {lists:append([Kinds || {Kinds, _} <- Checked]), lists:append([Troubles || {_, Troubles} <- Checked])}.

check_document(Document) ->
    Spans = [
        place(Where, Trouble)
     || {Where, Code} <- erlmcp_native_document:calls(Document),
        {error, Troubles} <- [erlmcp_native_document_code:spans(Code)],
        Trouble <- Troubles
    ],
    case erlmcp_native_document:blocks(Document) of
        {ok, []} ->
            {[], Spans};
        {ok, Blocks} ->
            {Kinds, Troubles} = erlmcp_native_document_node:run(fun() -> check_blocks(Blocks) end),
            {Kinds, Spans ++ Troubles};
        {error, Troubles} ->
            {[], Spans ++ Troubles}
    end.

place(Where, Trouble) -> unicode:characters_to_list([Where, ": ", Trouble]).

check_blocks(Blocks) ->
    {Kinds, Troubles, _, Loaded} = lists:foldl(fun check_block/2, {[], [], ~"", []}, Blocks),
    [code:delete(Module) andalso code:purge(Module) || Module <- Loaded],
    {lists:reverse(Kinds), lists:append(lists:reverse(Troubles))}.

%% `Printed` is what an `output` block would show now.
check_block(#{where := Where, tag := Tag, text := Text}, {Kinds, Troubles, Printed, Loaded}) ->
    {Kind, Result} =
        case Tag of
            ~"erlang" -> erlang(erlmcp_native_document_code:kind(Text), any_port(Text));
            ~"output" -> {output, output(Text, Printed)};
            ~"sh" -> {sh, commands(Text)};
            ~"elixir" -> {elixir, elixir(Text)};
            ~"json" -> {json, json(Text)};
            ~"yaml" -> {yaml, erlmcp_native_document_shell:metrics(Text)};
            ~"promql" -> {promql, erlmcp_native_document_shell:metrics(Text)};
            ~"dockerfile" -> {dockerfile, erlmcp_native_document_shell:dockerfile(Text)};
            ~"toml" -> {toml, erlmcp_native_document_shell:toml(Text)};
            ~"rust" -> {rust, rust(Text)};
            ~"text" -> {text, ok};
            _ -> {unknown, {error, ["nobody knows how to check a block of " ++ binary_to_list(Tag)]}}
        end,
    {Now, Remarks} = printed(),
    case Result of
        ok -> {[Kind | Kinds], Troubles, Now, Loaded};
        {ok, Modules} -> {[Kind | Kinds], Troubles, Now, Modules ++ Loaded};
        not_run -> {[not_run | Kinds], Troubles, Now, Loaded};
        {error, Found} -> {[Kind | Kinds], [[place(Where, [F, detail(Remarks)]) || F <- Found] | Troubles], Now, Loaded}
    end.

detail(~"") -> "";
detail(Remarks) -> ["\n", Remarks].

erlang(terms, Text) ->
    {terms, terms(Text)};
erlang(Kind, Text) ->
    case erlmcp_native_document_code:check(Kind, Text) of
        {ok, []} when Kind =:= session; Kind =:= expressions ->
            {Kind, erlmcp_native_document_code:run(Kind, Text, bindings())};
        Result ->
            {Kind, Result}
    end.

elixir(Text) ->
    case erlmcp_native_document_elixir:check(any_port(Text)) of
        {configuration, Applications} -> troubles(configuration(Applications));
        Result -> Result
    end.

terms(Text) ->
    troubles(lists:append([configuration(Term) || Term <- erlmcp_native_document_code:terms(Text)])).

troubles([]) -> ok;
troubles(Troubles) -> {error, Troubles}.

%% A whole sys.config, an application's part of one, or a line of a project's own files.
configuration(Applications) when is_list(Applications) ->
    lists:append([configuration(Application) || Application <- Applications]);
configuration({App, Env}) when App =:= erlmcp_native; App =:= erlmcp_core ->
    case configure([{App, Env}]) of
        ok -> [];
        {error, Reason} -> [io_lib:format("~tp", [Reason])]
    end;
configuration({application, Name, Keys}) when is_atom(Name) ->
    case lists:keyfind(applications, 1, Keys) of
        {applications, _} -> [];
        false -> ["no applications"]
    end;
configuration({Key, Value}) ->
    case lists:member(Key, ?OF_REBAR3) of
        true when is_list(Value) -> [];
        _ -> [io_lib:format("nobody knows how to check ~tp", [Key])]
    end;
configuration(Term) ->
    [io_lib:format("nobody knows how to check ~tp", [Term])].

output(Text, Printed) ->
    case erlmcp_native_document_shape:shows(Text, Printed) of
        true -> ok;
        false -> {error, [io_lib:format("the block before prints otherwise:\n~ts", [Printed])]}
    end.

commands(Text) ->
    case erlmcp_native_document_shell:commands(Text) of
        {ok, Answers} -> io:put_chars(Answers);
        Error -> Error
    end.

json(Text) ->
    try json:decode(Text) of
        _ -> ok
    catch
        error:Reason -> {error, [io_lib:format("no JSON: ~tp", [Reason])]}
    end.

rust(Text) ->
    Root = erlmcp_native_test_lib:root(),
    Shown = rust_lines(Text),
    Found = lists:any(
        fun(File) ->
            {ok, Source} = file:read_file(filename:join(Root, File)),
            is_part(Shown, rust_lines(Source))
        end,
        filelib:wildcard("native/**/*.rs", Root)
    ),
    case Found of
        true -> ok;
        false -> {error, ["there is no source file with these lines"]}
    end.

rust_lines(Text) ->
    [Line || L <- binary:split(Text, ~"\n", [global]), Line <- [string:trim(L)], Line =/= ~""].

is_part(_, []) -> false;
is_part(Shown, Lines) -> follows(Shown, Lines) orelse is_part(Shown, tl(Lines)).

follows([], _) -> true;
follows([~"…" | Shown], Lines) -> is_part(Shown, Lines);
follows([Line | Shown], [Line | Lines]) -> follows(Shown, Lines);
follows(_, _) -> false.
