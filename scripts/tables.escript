%% Usage: escript scripts/tables.escript EBIN
%%
%% Writes the tables of options into the documentation: each module that exports table/0 says what its options are, and
%% the first table in its source with the head below is made of that, as is, in a page of docs/, the table below a line
%% `<!-- options: module -->`. `make tables`.

-define(MARK, ~"<!-- options: ").
-define(HEAD, ~"| option | value | default | meaning |\n").

main([Ebin]) ->
    true = code:add_patha(Ebin),
    Root = filename:dirname(filename:dirname(filename:absname(escript:script_name()))),
    Sources = filelib:wildcard("**/*.erl", filename:join(Root, "erlang")),
    lists:foreach(fun(Source) -> table(filename:join([Root, "erlang", Source])) end, Sources),
    Pages = filelib:wildcard("docs/**/*.md", Root),
    lists:foreach(fun(Page) -> tables(filename:join(Root, Page)) end, Pages).

tables(File) ->
    {ok, Text} = file:read_file(File),
    [Before | Marked] = binary:split(Text, ?MARK, [global]),
    New = [Before | [[?MARK | marked(Part)] || Part <- Marked]],
    ok = file:write_file(File, New).

marked(Text) ->
    [Module, Rest] = binary:split(Text, ~" -->\n"),
    [~"", After] = binary:split(Rest, ?HEAD),
    [Module, ~" -->\n", erlmcp_native_options:markdown((binary_to_atom(Module)):table()), after_table(After)].

table(File) ->
    Module = list_to_atom(filename:basename(File, ".erl")),
    {module, Module} = code:ensure_loaded(Module),
    case erlang:function_exported(Module, table, 0) of
        true -> write(File, Module:table());
        false -> ok
    end.

write(File, Table) ->
    {ok, Text} = file:read_file(File),
    case binary:split(Text, ?HEAD) of
        [Before, After] ->
            New = [Before, erlmcp_native_options:markdown(Table), after_table(After)],
            ok = file:write_file(File, New);
        [_] ->
            io:format(standard_error, "~ts: no line ~ts", [File, ?HEAD]),
            halt(1)
    end.

after_table(<<"|", Rest/binary>>) ->
    [_, Below] = binary:split(Rest, ~"\n"),
    after_table(Below);
after_table(Text) ->
    Text.
