-module(erlmcp_native_conflicts).
-moduledoc """
Looks, when the application starts, for other modules that have the names of the four drop-in ones: erlmcp's own, where
nobody has deleted them. Which of two is loaded is a matter of the code path's order, or of who came first; with theirs,
nothing here would work, and nothing would say so.

The whole code path is searched, a release's too, and what is loaded is looked at, wherever it came from. A module that
exports everything that ours does is none of theirs: a copy, another version, one that is compiled for coverage.

```erlang
1> erlmcp_native_conflicts:check().
ok
```
""".

-export([check/0]).

-export_type([problem/0]).

-doc "A problem names each module that there is twice, with its file here and the other one, and what to do.".
-type problem() ::
    {conflicting_modules, #{
        modules := [#{module := module(), ours := file:filename(), other := file:filename()}, ...],
        advice := string()
    }}.

-define(DROP_IN, [erlmcp_queue_limits, erlmcp_overload_monitor, erlmcp_control_plane, erlmcp_priority]).
-define(ADVICE, "delete the other one of each, or take it off the code path: erlmcp_native takes its place").

-doc "Tells whether ours are the only modules of their names.".
-spec check() -> ok | {error, problem()}.
check() ->
    %% Never compiled for coverage, so that it has a file.
    Ebin = filename:dirname(code:which(erlmcp_native)),
    Path = lists:uniq([filename:absname(Folder) || Folder <- code:get_path()]),
    case [Conflict || Module <- ?DROP_IN, Conflict <- conflicts(Module, Ebin, Path)] of
        [] -> ok;
        Conflicts -> {error, {conflicting_modules, #{modules => Conflicts, advice => ?ADVICE}}}
    end.

%% At most one for each module: the one that is loaded, else the first on the path.
conflicts(Module, Ebin, Path) ->
    Ours = file(Module, Ebin),
    case exported(Ours) of
        {ok, Needed} ->
            Others = loaded(Module, Ours, Needed) ++ [
                File
             || Folder <- Path,
                File <- [file(Module, Folder)],
                {ok, Exported} <- [exported(File)],
                Needed -- Exported =/= []
            ],
            [#{module => Module, ours => Ours, other => Other} || Other <- lists:sublist(Others, 1)];
        error ->
            []
    end.

file(Module, Folder) ->
    filename:join(Folder, atom_to_list(Module) ++ code:objfile_extension()).

%% What was loaded from our file lacks what is new in it, if that was replaced since.
loaded(Module, Ours, Needed) ->
    case code:is_loaded(Module) of
        {file, From} when From =/= Ours ->
            Missing = Needed -- Module:module_info(exports),
            [From || Missing =/= [], is_list(From)] ++ ["what is loaded" || Missing =/= [], is_atom(From)];
        _ ->
            []
    end.

%% Through the loader, which also reads from archives.
exported(File) ->
    maybe
        {ok, _} ?= erl_prim_loader:read_file_info(File),
        {ok, Beam, _} ?= erl_prim_loader:get_file(File),
        {ok, {_, [{exports, Exports}]}} ?= beam_lib:chunks(Beam, [exports]),
        {ok, Exports}
    else
        _ -> error
    end.
