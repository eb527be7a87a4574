%% A doc is read alone, in a shell or an editor, so it is a sentence that needs no neighbour. Of that a machine can see
%% a little: how it begins and ends, and that it is not too short to say anything.
-module(erlmcp_native_sentences_tests).

-include_lib("eunit/include/eunit.hrl").

-define(LEAST_WORDS, 4).

sentences_test_() ->
    [
        {atom_to_list(Module), ?_assertEqual([], [Doc || Doc <- docs(Module), not is_sentence(Doc)])}
     || Module <- modules()
    ].

a_fragment_is_seen_test() ->
    ?assert(is_sentence({function, ~"Returns the numbers of all roles."})),
    ?assert(is_sentence({type, ~"A role is the kind of work that waits."})),
    ?assertNot(is_sentence({function, ~"Sends."})),
    ?assertNot(is_sentence({function, ~"Those of a role."})),
    ?assertNot(is_sentence({function, ~"The numbers of all roles."})),
    ?assertNot(is_sentence({type, ~"All settings."})),
    ?assertNot(is_sentence({type, ~"a role is the kind of work that waits"})).

modules() ->
    Root = erlmcp_native_test_lib:root(),
    [
        list_to_atom(filename:basename(File, ".erl"))
     || Folder <- ["erlang", "demo", "examples"], File <- filelib:wildcard(Folder ++ "/**/*.erl", Root)
    ].

docs(Module) ->
    {ok, {docs_v1, _, _, _, _, _, Entries}} = code:get_doc(Module),
    [{Kind, Name, Arity, Text} || {{Kind, Name, Arity}, _, _, #{~"en" := Text}, _} <- Entries].

is_sentence({Kind, _Name, _Arity, Text}) ->
    is_sentence({Kind, Text});
is_sentence({Kind, Text}) ->
    [First | _] = Words = string:lexemes(Text, " \n"),
    length(Words) >= ?LEAST_WORDS andalso
        re:run(string:trim(Text), ~B"[.|]$") =/= nomatch andalso
        has_verb(Kind, First, Text).

%% What a function or a callback does: it returns, makes, tells. Of a type it is said what one is or has; whoever misses
%% a verb here enters it.
has_verb(type, _, Text) ->
    Verbs = ~B"\b(are|asks|counts|gets|goes|has|have|is|keeps|knows|makes|names|remembers|says?|shows|stands|tells)\b",
    re:run(Text, ~"^[A-Z]") =/= nomatch andalso re:run(Text, Verbs) =/= nomatch;
has_verb(_, First, _) ->
    re:run(First, ~B"^[A-Z][a-z]*s,?$") =/= nomatch.
