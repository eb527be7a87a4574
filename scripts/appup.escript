%% Usage: escript scripts/appup.escript OLD_EBIN NEW_EBIN
%%
%% Prints the .appup that brings one version of this application into a node where the other runs, and back. The
%% native module and its library stay those of the node's start: where the new modules could call a native that the
%% old library does not have, or the ground under all modules has changed, there is none, and it says so.
%%
%% What no comparison of modules shows is for whoever releases: RELEASE.md.
-mode(compile).

%% They cannot be replaced while they are in use.
-define(NATIVE, erlmcp_native).
-define(GROUND, erlmcp_native_wait).

main([Old, New]) ->
    {OldVersion, NewVersion} = {version(Old), version(New)},
    {OldModules, NewModules} = {modules(Old), modules(New)},
    lacking(natives(New) -- natives(Old), "natives that are not in the old library"),
    lacking(natives(Old) -- natives(New), "natives that are not in the new library"),
    lacking([?GROUND || maps:get(?GROUND, OldModules) =/= maps:get(?GROUND, NewModules)], "what all others stand on"),
    Appup = {
        NewVersion,
        [{OldVersion, instructions(OldModules, NewModules)}],
        [{OldVersion, instructions(NewModules, OldModules)}]
    },
    io:format("%% ~ts~n~tp.~n", ["Written by scripts/appup.escript.", Appup]).

lacking([], _) ->
    ok;
lacking(Found, Why) ->
    io:format(standard_error, "appup: a node has to be restarted for this version: ~ts: ~0tp~n", [Why, Found]),
    halt(1).

version(Ebin) ->
    {ok, [{application, _, Keys}]} = file:consult(filename:join(Ebin, "erlmcp_native.app")),
    proplists:get_value(vsn, Keys).

modules(Ebin) ->
    maps:from_list([
        begin {ok, {Module, Md5}} = beam_lib:md5(File), {Module, Md5} end
     || File <- filelib:wildcard(filename:join(Ebin, "*.beam"))
    ]).

natives(Ebin) ->
    {ok, {_, [{exports, Exports}]}} = beam_lib:chunks(filename:join(Ebin, atom_to_list(?NATIVE) ++ ".beam"), [exports]),
    Exports.

%% Soft: nobody who is still in an old version is killed; the upgrade is refused instead.
instructions(From, To) ->
    Names = lists:usort(maps:keys(From) ++ maps:keys(To)) -- [?NATIVE, ?GROUND],
    lists:append([instruction(Name, maps:find(Name, From), maps:find(Name, To)) || Name <- Names]).

instruction(_, Same, Same) -> [];
instruction(Name, error, _) -> [{add_module, Name}];
instruction(Name, _, error) -> [{delete_module, Name}];
instruction(Name, _, _) -> [{load_module, Name, soft_purge, soft_purge, []}].
