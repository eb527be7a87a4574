%% Every example of the documentation is run, compared or looked up: see erlmcp_native_document_check.
-module(erlmcp_native_documentation_tests).

-include_lib("eunit/include/eunit.hrl").

documents_test_() ->
    [
        {title(Source), {timeout, 120, fun() -> ?assertEqual([], troubles(Source)) end}}
     || Source <- sources()
    ].

%% Nothing is left out without a word.
missing_test() ->
    [
        io:format(user, "~nNOT RUN: ~ts~n", [What])
     || {false, What} <- [
            {code:which(ct_doctest) =/= non_existing, "shell sessions: they need ct_doctest, of common_test in OTP 29"},
            {erlmcp_native_document_elixir:is_there(), "Elixir: none is installed; what it calls is looked up"}
        ]
    ].

sources() ->
    [{file, File} || File <- erlmcp_native_document:files()] ++
        [{module, Module} || Module <- erlmcp_native_document:modules()].

title({_, File}) when is_list(File) -> File;
title({_, Module}) -> atom_to_list(Module).

troubles(Source) ->
    {_, Troubles} = erlmcp_native_document_check:check(Source),
    Troubles.
