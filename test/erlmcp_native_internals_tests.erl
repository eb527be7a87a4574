%% What docs/internals and CONTRIBUTING.md say is there, is there; and what is there has its place in them. That the
%% sentences between are true, nobody but a reader can tell.
-module(erlmcp_native_internals_tests).

-include_lib("eunit/include/eunit.hrl").

%% A path may be given from any of these.
-define(FOLDERS, ["", "native", "native/core/src", "native/nif/src", "docs/internals"]).

every_file_is_there_test_() ->
    [{Page, ?_assertEqual([], [File || File <- files(Page), not is_there(File)])} || Page <- pages()].

every_page_is_in_the_index_test() ->
    Index = found(~B"\]\(([a-z-]+\.md)\)", "docs/internals/overview.md"),
    Pages = [filename:basename(Page) || Page <- pages(), filename:basename(Page) =/= "overview.md"],
    ?assertEqual([], [Page || Page <- Pages, not lists:member(list_to_binary(Page), Index)]).

every_folder_is_on_the_map_test() ->
    Root = erlmcp_native_test_lib:root(),
    Folders = [
        filename:basename(Place)
     || Place <- filelib:wildcard("erlang/*", Root), filelib:is_dir(filename:join(Root, Place))
    ],
    ?assertNotEqual([], Folders),
    ?assertEqual([], missing([[Folder, "/`"] || Folder <- Folders], "docs/internals/overview.md")).

every_file_of_the_core_is_on_the_map_test() ->
    Files = filelib:wildcard("native/core/src/*.rs", erlmcp_native_test_lib:root()),
    Names = [filename:basename(File, ".rs") || File <- Files] -- ["lib", "models"],
    ?assertNotEqual([], Names),
    ?assertEqual([], missing([[Name, "\\b"] || Name <- Names], "docs/internals/overview.md")).

every_registered_process_is_described_test() ->
    _ = application:load(erlmcp_native),
    {ok, Names} = application:get_key(erlmcp_native, registered),
    ?assertEqual([], missing([["`", atom_to_list(Name), "`"] || Name <- Names], "docs/internals/processes.md")).

every_static_outlives_its_processes_in_the_table_test() ->
    Statics = [
        Static
     || File <- filelib:wildcard("native/nif/src/*.rs", erlmcp_native_test_lib:root()),
        Static <- found(~B"\bstatic ([A-Z_]+):", File)
    ],
    ?assertNotEqual([], Statics),
    ?assertEqual([], missing([["`static ", Static, "`"] || Static <- Statics], "docs/internals/processes.md")).

models_are_named_test() ->
    Files = filelib:wildcard("native/core/src/models/*.rs", erlmcp_native_test_lib:root()),
    Models = [Model || File <- Files, Model <- found(~B"#\[test\]\s*fn (\w+)\(", File)],
    ?assertNotEqual([], Models),
    [Table] = found(~B"\n\| model \| protocol \|\n((?:\|.*\n)+)", "docs/internals/concurrency.md"),
    Named = matches(~B"(?m)^\| `(\w+)` \|", Table),
    ?assertEqual(lists:sort(Models), lists:sort(Named)).

%% All of the core is in loom's build, so that anything can be modelled.
nothing_is_left_out_of_the_models_test() ->
    ?assertEqual([], found(~B"#\[cfg\(not\(loom\)\)\]\s*(?:pub )?mod (\w+);", "native/core/src/lib.rs")).

every_target_of_make_is_listed_test() ->
    Phony = found(~B"(?m)^\.PHONY: (.*)$", "Makefile"),
    Targets = lists:append([binary:split(Line, ~" ", [global]) || Line <- Phony]),
    ?assertEqual([], missing([["`make ", Target, "`"] || Target <- Targets], "CONTRIBUTING.md")).

pages() ->
    filelib:wildcard("docs/internals/*.md", erlmcp_native_test_lib:root()).

%% Names of files between backticks; of `native/nif/src/table.rs`, say, and of `table.rs`.
files(Page) ->
    Named = found(~B"`((?:[\w-]+/)*[\w-]+\.(?:erl|rs|sh|md|js|yml|json|escript|config|script))`", Page),
    lists:usort(Named).

is_there(File) ->
    Root = erlmcp_native_test_lib:root(),
    lists:any(
        fun(Folder) -> filelib:is_regular(filename:join([Root, Folder, File])) end, ?FOLDERS
    ) orelse filelib:wildcard("native/*/*/" ++ binary_to_list(File), Root) =/= [].

missing(Patterns, File) ->
    [Pattern || Pattern <- [iolist_to_binary(P) || P <- Patterns], re:run(text(File), Pattern, [unicode]) =:= nomatch].

found(Pattern, File) ->
    matches(Pattern, text(File)).

matches(Pattern, Text) ->
    case re:run(Text, Pattern, [global, unicode, {capture, all_but_first, binary}]) of
        {match, Found} -> [Name || [Name] <- Found];
        nomatch -> []
    end.

text(File) ->
    {ok, Text} = file:read_file(filename:join(erlmcp_native_test_lib:root(), File)),
    Text.
