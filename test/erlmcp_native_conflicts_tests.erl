%% Modules of erlmcp with the names of ours: wherever they lie and whoever is first, the application does not start, and
%% says where both are.
-module(erlmcp_native_conflicts_tests).

-include_lib("eunit/include/eunit.hrl").

-define(DROP_IN, [erlmcp_queue_limits, erlmcp_overload_monitor, erlmcp_control_plane, erlmcp_priority]).

conflicts_test_() ->
    {setup, fun setup/0, fun cleanup/1, fun(Dirs) ->
        [
            {What, {timeout, 60, fun() -> Test(Dirs) end}}
         || {What, Test} <- [
                {"none", fun none/1},
                {"theirs are found first", fun theirs_first/1},
                {"ours are found first", fun ours_first/1},
                {"one that was left", fun one_that_was_left/1},
                {"theirs are loaded, and their files are gone", fun theirs_are_loaded/1},
                {"in a release, where nothing is loaded by itself", fun embedded/1},
                {"by a path relative to the working folder", fun relative/1},
                {"a copy of ours is none", fun a_copy_is_none/1},
                {"what is compiled for coverage is none", fun coverage_is_none/1},
                {"what is no module is none", fun no_module_is_none/1}
            ]
        ]
    end}.

%% Folders: with ours, with theirs, and one that is empty.
setup() ->
    Dir = erlmcp_native_test_lib:temp_dir(),
    Ours = erlmcp_native_test_lib:install(Dir, library()),
    Theirs = filename:join([Dir, "erlmcp_core-2.1.0", "ebin"]),
    Empty = filename:join([Dir, "empty", "ebin"]),
    [ok = filelib:ensure_path(Folder) || Folder <- [Theirs, Empty]],
    [stand_in(Module, Theirs) || Module <- ?DROP_IN],
    #{dir => Dir, ours => Ours, theirs => Theirs, empty => Empty}.

cleanup(#{dir := Dir}) ->
    erlmcp_native_test_lib:remove_dir(Dir).

library() ->
    File = filename:join(code:priv_dir(erlmcp_native), "erlmcp_native.so"),
    {ok, Bytes} = file:read_file(File),
    [{"erlmcp_native.so", Bytes}].

%% What erlmcp's have in common with ours, as far as it matters here.
stand_in(Module, Folder) ->
    Forms = [
        {attribute, 1, module, Module},
        {attribute, 1, export, [{start_link, 0}]},
        {function, 1, start_link, 0, [{clause, 1, [], [], [{atom, 1, ignore}]}]}
    ],
    {ok, Module, Beam} = compile:forms(Forms),
    ok = file:write_file(beam(Module, Folder), Beam).

beam(Module, Folder) ->
    filename:join(Folder, atom_to_list(Module) ++ ".beam").

%% Starts the application on a node with these folders on its path, the first of which comes first.
start(Folders, Args, Prepare) ->
    Peer = erlmcp_native_test_lib:peer(lists:reverse(Folders), Args),
    try
        ok = Prepare(fun(Module, Function, Arguments) -> peer:call(Peer, Module, Function, Arguments) end),
        peer:call(Peer, application, ensure_all_started, [erlmcp_native])
    after
        peer:stop(Peer)
    end.

start(Folders) ->
    start(Folders, [], fun(_) -> ok end).

refused(Result, Modules, Ours, Theirs) ->
    {error, {erlmcp_native, {{conflicting_modules, #{modules := Conflicts, advice := _}}, _}}} = Result,
    ?assertEqual(
        [#{module => Module, ours => beam(Module, Ours), other => beam(Module, Theirs)} || Module <- Modules], Conflicts
    ),
    %% As an operator sees it.
    Shown = lists:flatten(io_lib:format("~tp", [Result])),
    [?assertNotEqual(nomatch, string:find(Shown, beam(Module, Folder))) || Module <- Modules, Folder <- [Ours, Theirs]].

none(#{ours := Ours, empty := Empty}) ->
    ?assertMatch({ok, _}, start([Empty, Ours])).

theirs_first(#{ours := Ours, theirs := Theirs}) ->
    refused(start([Theirs, Ours]), ?DROP_IN, Ours, Theirs).

ours_first(#{ours := Ours, theirs := Theirs}) ->
    refused(start([Ours, Theirs]), ?DROP_IN, Ours, Theirs).

one_that_was_left(#{ours := Ours, empty := Left}) ->
    [
        begin
            stand_in(Module, Left),
            [refused(start(Folders), [Module], Ours, Left) || Folders <- [[Ours, Left], [Left, Ours]]],
            ok = file:delete(beam(Module, Left))
        end
     || Module <- ?DROP_IN
    ].

theirs_are_loaded(#{ours := Ours, empty := Gone}) ->
    stand_in(erlmcp_priority, Gone),
    Result = start([Ours], [], fun(Call) ->
        {module, erlmcp_priority} = Call(code, load_abs, [filename:join(Gone, "erlmcp_priority")]),
        file:delete(beam(erlmcp_priority, Gone))
    end),
    refused(Result, [erlmcp_priority], Ours, Gone).

embedded(#{ours := Ours, theirs := Theirs}) ->
    [
        refused(
            start(Folders, ["-mode", "embedded"], fun(Call) ->
                {ok, Files} = file:list_dir(Ours),
                [
                    {module, _} = Call(code, load_file, [list_to_atom(filename:basename(File, ".beam"))])
                 || File <- Files, filename:extension(File) =:= ".beam"
                ],
                ok
            end),
            ?DROP_IN,
            Ours,
            Theirs
        )
     || Folders <- [[Ours, Theirs], [Theirs, Ours]]
    ].

relative(#{dir := Dir, ours := Ours, theirs := Theirs}) ->
    Result = start([Ours], [], fun(Call) ->
        ok = Call(file, set_cwd, [Dir]),
        true = Call(code, add_pathz, ["erlmcp_core-2.1.0/ebin"]),
        ok
    end),
    refused(Result, ?DROP_IN, Ours, Theirs).

a_copy_is_none(#{ours := Ours, empty := Copy}) ->
    [{ok, _} = file:copy(beam(Module, Ours), beam(Module, Copy)) || Module <- ?DROP_IN],
    [?assertMatch({ok, _}, start(Folders)) || Folders <- [[Ours, Copy], [Copy, Ours], [Ours, Ours]]],
    [ok = file:delete(beam(Module, Copy)) || Module <- ?DROP_IN].

coverage_is_none(#{ours := Ours}) ->
    Result = start([Ours], [], fun(Call) ->
        Compiled = Call(cover, compile_beam, [?DROP_IN]),
        ?assertEqual(lists:sort([{ok, Module} || Module <- ?DROP_IN]), lists:sort(Compiled)),
        ok
    end),
    ?assertMatch({ok, _}, Result).

no_module_is_none(#{ours := Ours, empty := Folder}) ->
    ok = file:write_file(beam(erlmcp_priority, Folder), ~"no code"),
    ?assertMatch({ok, _}, start([Ours, Folder])),
    ok = file:delete(beam(erlmcp_priority, Folder)),
    ok = file:make_dir(beam(erlmcp_priority, Folder)),
    ?assertMatch({ok, _}, start([Ours, Folder])),
    ok = file:del_dir(beam(erlmcp_priority, Folder)).
