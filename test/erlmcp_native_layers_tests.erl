%% The floors: who may know whom. Arrows are calls, behaviours, and modules named as data: in child specifications,
%% routes, tables, defaults. What is only the name of a process is none, and stands in the list below.
-module(erlmcp_native_layers_tests).

-include_lib("eunit/include/eunit.hrl").

%% From the ground up. A floor knows those before it, and itself.
-define(FLOORS, [
    ["native"], ["limits", "control"], ["overload"], ["cluster"], ["metrics"], ["relay", "otlp", "http"], [""]
]).

%% Names of processes and of ranch's listener, which the module of that name does not have to exist for. {Who says it,
%% the name}.
-define(PROCESSES, [
    {erlmcp_control_server, erlmcp_control_plane},
    {erlmcp_limits_server, erlmcp_queue_limits},
    {erlmcp_native_exporters, erlmcp_native_sup},
    {erlmcp_native_http_listener, erlmcp_native_http},
    {erlmcp_native_service, erlmcp_native_sup},
    {erlmcp_overload_cluster_message, erlmcp_overload_cluster},
    {erlmcp_overload_cluster_server, erlmcp_overload},
    {erlmcp_overload_cluster_server, erlmcp_overload_cluster},
    {erlmcp_overload_cluster_sup, erlmcp_overload},
    {erlmcp_overload_cluster_sup, erlmcp_overload_cluster},
    {erlmcp_overload_server, erlmcp_overload_monitor},
    {erlmcp_priority_groups, erlmcp_priority_peers}
]).

layers_test_() ->
    Edges = edges(),
    Floors = maps:from_list(floors()),
    [
        {"no module is on a circle", ?_assertEqual([], circles(Edges))},
        {"arrows point down", ?_assertEqual([], [Edge || {From, To} = Edge <- Edges, goes_up(From, To, Floors)])},
        {"every folder has its floor", ?_assertEqual([], modules() -- maps:keys(Floors))},
        {"no exception is left over", ?_assertEqual([], ?PROCESSES -- named())}
    ].

a_circle_is_seen_test() ->
    ?assertEqual([[a, b, c]], circles([{a, b}, {b, c}, {c, a}, {c, d}, {e, a}])),
    ?assertEqual([[a]], circles([{a, a}])),
    ?assertEqual([], circles([{a, b}, {a, c}, {b, c}])).

%% Ours by folder.
floors() ->
    Root = filename:join(erlmcp_native_test_lib:root(), "erlang"),
    [
        {list_to_atom(filename:basename(File, ".erl")), Place}
     || {Floor, Folders} <- lists:enumerate(?FLOORS),
        Folder <- Folders,
        Place <- [{Floor, Folder}],
        File <- filelib:wildcard("*.erl", filename:join(Root, Folder))
    ].

goes_up(From, To, Floors) ->
    #{From := {FromFloor, FromFolder}, To := {ToFloor, ToFolder}} = Floors,
    ToFloor > FromFloor orelse (ToFloor =:= FromFloor andalso ToFolder =/= FromFolder).

modules() ->
    erlmcp_native_test_lib:ours().

edges() ->
    Ours = modules(),
    Behaviours = [
        {Module, Behaviour}
     || Module <- Ours,
        {Key, Names} <- Module:module_info(attributes),
        Key =:= behaviour orelse Key =:= behavior,
        Behaviour <- Names,
        lists:member(Behaviour, Ours)
    ],
    lists:usort(calls(Ours) ++ Behaviours ++ (named() -- ?PROCESSES)).

calls(Ours) ->
    {ok, _} = xref:start(?MODULE),
    try
        [{ok, _} = xref:add_module(?MODULE, code:which(Module), [{warnings, false}]) || Module <- Ours],
        {ok, Edges} = xref:q(?MODULE, "ME"),
        [{From, To} || {From, To} <- Edges, From =/= To, lists:member(To, Ours)]
    after
        xref:stop(?MODULE)
    end.

%% Modules of ours that stand as atoms in functions and in the defaults of records.
named() ->
    Ours = modules(),
    lists:usort([
        {Module, Name}
     || Module <- Ours,
        Form <- forms(Module),
        is_code(Form),
        Name <- atoms(Form),
        Name =/= Module,
        lists:member(Name, Ours)
    ]).

forms(Module) ->
    {ok, {Module, [{abstract_code, {raw_abstract_v1, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
    Forms.

is_code({function, _, _, _, _}) -> true;
is_code({attribute, _, record, _}) -> true;
is_code(_) -> false.

atoms({type, _, _, _}) -> [];
atoms({user_type, _, _, _}) -> [];
atoms({remote_type, _, _}) -> [];
atoms({atom, _, Name}) -> [Name];
atoms(Tuple) when is_tuple(Tuple) -> atoms(tuple_to_list(Tuple));
atoms([First | Rest]) -> atoms(First) ++ atoms(Rest);
atoms(_) -> [].

circles(Edges) ->
    Graph = digraph:new(),
    try
        [digraph:add_vertex(Graph, Name) || {From, To} <- Edges, Name <- [From, To]],
        [digraph:add_edge(Graph, From, To) || {From, To} <- Edges],
        lists:sort([lists:sort(Circle) || Circle <- digraph_utils:cyclic_strong_components(Graph)])
    after
        digraph:delete(Graph)
    end.
