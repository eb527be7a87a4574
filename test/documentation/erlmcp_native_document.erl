%% The documents of this project, and the fenced blocks in them.
-module(erlmcp_native_document).

-export([files/0, modules/0, read/1, blocks/1, calls/1]).

-export_type([document/0, source/0, block/0]).

%% A Markdown file, by its path from the project's root; a module's documentation; or a text, as the harness's own
%% tests have it.
-type source() :: {file, file:filename()} | {module, module()} | {text, binary()}.
%% Where in it (a line, or a function and a line of its documentation), and the text.
-type document() :: {Where :: string(), Text :: binary()}.
-type block() :: #{where := string(), tag := binary(), text := binary()}.

-define(SPACE, "[ \t]").

%% Every Markdown file but those that are neither documentation nor ours.
-spec files() -> [file:filename()].
files() ->
    Root = erlmcp_native_test_lib:root(),
    lists:sort(filelib:wildcard("*.md", Root) ++ filelib:wildcard("docs/**/*.md", Root)).

%% The application's modules, and the examples.
-spec modules() -> [module()].
modules() ->
    Root = erlmcp_native_test_lib:root(),
    lists:sort([
        list_to_atom(filename:basename(File, ".erl"))
     || Folder <- ["erlang", "examples"], File <- filelib:wildcard(Folder ++ "/**/*.erl", Root)
    ]).

-spec read(source()) -> [document()].
read({text, Text}) ->
    [{"text", Text}];
read({file, File}) ->
    {ok, Text} = file:read_file(filename:join(erlmcp_native_test_lib:root(), File)),
    [{File, Text}];
read({module, Module}) ->
    {ok, {docs_v1, _, erlang, ~"text/markdown", Doc, _, Entries}} = code:get_doc(Module),
    Name = atom_to_list(Module),
    [{Name, Text} || #{~"en" := Text} <- [Doc]] ++
        [
            {io_lib:format("~ts, ~ts ~ts/~b", [Name, Kind, Function, Arity]), Text}
         || {{Kind, Function, Arity}, _, _, #{~"en" := Text}, _} <- Entries
        ].

%% The fenced blocks of a document, in order. A block that is not fenced, or has no tag, or no end, is an error: it
%% would escape.
-spec blocks(document()) -> {ok, [block()]} | {error, [string()]}.
blocks({Where, Text}) ->
    Lines = lists:enumerate(binary:split(Text, [~"\r\n", ~"\n"], [global])),
    Found = outside(Lines, blank, Where, []),
    case [Trouble || {error, Trouble} <- Found] of
        [] -> {ok, Found};
        Troubles -> {error, Troubles}
    end.

outside([], _, _, Found) ->
    lists:reverse(Found);
outside([{Number, Line} | Lines], Before, Where, Found) ->
    case re:run(Line, ~B"^( *)(```+|~~~+)\s*(.*?)\s*$", [{capture, all_but_first, binary}]) of
        {match, [Indent, Fence, ~""]} ->
            Trouble = trouble(Where, Number, "the fence has no tag"),
            inside(Lines, Indent, Fence, ~"text", Number, Where, [], [Trouble | Found]);
        {match, [Indent, Fence, Tag]} ->
            inside(Lines, Indent, Fence, Tag, Number, Where, [], Found);
        nomatch ->
            Kind = kind(Line, Before),
            Trouble = [trouble(Where, Number, "an indented block: fence it, with a tag") || Kind =:= code],
            outside(Lines, Kind, Where, Trouble ++ Found)
    end.

%% What four blanks at the beginning mean depends on what came before: the text of a list item, or a block of code.
kind(Line, Before) ->
    case {re:run(Line, "^" ?SPACE "*$"), re:run(Line, "^ *([-*+]|[0-9]+[.)]) "), re:run(Line, "^(    |\t)")} of
        {{match, _}, _, _} -> case Before of item -> item; _ -> blank end;
        {_, {match, _}, nomatch} -> item;
        {_, _, {match, _}} when Before =:= blank -> code;
        {_, _, {match, _}} -> Before;
        {_, _, nomatch} when Before =:= item -> case re:run(Line, "^ ") of {match, _} -> item; nomatch -> text end;
        _ -> text
    end.

inside([], _, _, _, Number, Where, _, Found) ->
    lists:reverse([trouble(Where, Number, "the fence has no end") | Found]);
inside([{_, Line} | Lines], Indent, Fence, Tag, Number, Where, Text, Found) ->
    case string:trim(Line) =:= Fence of
        true ->
            Block = #{
                where => where(Where, Number),
                tag => Tag,
                text => iolist_to_binary([[L, $\n] || L <- lists:reverse(Text)])
            },
            outside(Lines, blank, Where, [Block | Found]);
        false ->
            inside(Lines, Indent, Fence, Tag, Number, Where, [unindented(Line, Indent) | Text], Found)
    end.

unindented(Line, Indent) ->
    case string:prefix(Line, Indent) of
        nomatch -> Line;
        Rest -> Rest
    end.

trouble(Where, Number, Text) ->
    {error, where(Where, Number) ++ ": " ++ Text}.

where(Where, Number) ->
    lists:flatten(io_lib:format("~ts:~b", [Where, Number])).

%% The calls and the names of functions in the running text, between single backticks: `m:f(A)`, `m:f/1`.
-spec calls(document()) -> [{Where :: string(), Code :: binary()}].
calls({Where, Text}) ->
    Plain = re:replace(Text, ~B"(?ms)^ *(```+|~~~+).*?^ *\1\s*$", ~"", [global, {return, binary}]),
    case re:run(Plain, ~B"(?<!`)`([^`]+)`(?!`)", [global, {capture, all_but_first, binary}]) of
        {match, Found} -> [{Where, Code} || [Code] <- Found];
        nomatch -> []
    end.
