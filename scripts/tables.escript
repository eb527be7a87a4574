%% Usage: escript scripts/tables.escript EBIN
%%
%% Writes the tables of options into the documentation of the modules that have them: each module that exports table/0
%% says what its options are, and the first table in its source with the head below is made of that. `make tables`.

-define(HEAD, ~"| option | value | default | meaning |\n").

main([Ebin]) ->
    true = code:add_patha(Ebin),
    Root = filename:dirname(filename:dirname(filename:absname(escript:script_name()))),
    Sources = filelib:wildcard("**/*.erl", filename:join(Root, "erlang")),
    lists:foreach(fun(Source) -> table(filename:join([Root, "erlang", Source])) end, Sources).

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
