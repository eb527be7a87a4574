-module(erlmcp_native_otp28_plan).
-moduledoc """
Decides which tests can run on a runtime that has no more than kernel, stdlib and crypto.

This runs on the newer runtime, which has all applications and can follow calls (`make test-otp28`). A test is left
out when something that it calls, directly or through other modules of ours, lies in an application that the other
runtime has not. What is called by names that are data, such as children of supervisors, cannot be seen: there the
application has to get by without, and tests that cannot are listed here. The plan is written beside this module,
for `m:erlmcp_native_otp28` to carry out.
""".

-export([main/0, read/0]).
-export_type([plan/0]).

-doc "A plan has for each suite its tests, each with the applications that it misses. A test that misses none is run.".
-type plan() :: [{Suite :: module(), [{Test :: atom(), Missing :: [atom()]}]}].

%% What the other runtime has; `scripts/otp28.sh` makes it so. erts is what is in every runtime.
-define(THERE, [erts, kernel, stdlib, crypto, eunit, erlmcp_native]).

%% {Module, an application it calls, why that does not matter}.
-define(NOT_TAKEN, [
    {erlmcp_native_otlp_options, public_key, "taken only for https"},
    {erlmcp_native_otlp_request, public_key, "taken only for https"},
    {erlmcp_native_otlp_request, ssl, "taken only for https"},
    {erlmcp_native_otlp_test_lib, ssl, "taken only where a test's collector speaks TLS"}
]).

%% {Function, an application it uses by name}. What escript runs, it compiles.
-define(BY_NAME, [
    {{erlmcp_native_build_test_lib, build, 3}, compiler},
    {{erlmcp_native_http_test_lib, up, 1}, cowboy}
]).

-doc "Writes the plan and exits.".
-spec main() -> no_return().
main() ->
    Beams = beams(),
    Calls = calls(Beams),
    Modules = [list_to_atom(filename:basename(Beam, ".beam")) || Beam <- Beams],
    Plan = [
        {Suite, [{Test, missing({Suite, Test, 0}, Calls)} || Test <- tests(Suite)]}
     || Suite <- lists:sort(Modules), lists:suffix("_tests", atom_to_list(Suite))
    ],
    ok = file:write_file(plan_file(), io_lib:format("~tp.~n", [Plan])),
    halt(0).

-doc "Returns the plan that `main/0` has written.".
-spec read() -> plan().
read() ->
    {ok, [Plan]} = file:consult(plan_file()),
    Plan.

plan_file() ->
    filename:join(filename:dirname(code:which(?MODULE)), "otp28.plan").

%% The application's, and all that was compiled as tests or for them. This one is in <the application>/tools/otp28.
beams() ->
    Root = lists:foldl(fun(_, Dir) -> filename:dirname(Dir) end, code:which(?MODULE), [module, otp28, tools]),
    lists:append([
        filelib:wildcard(filename:join([Root, Dir, "**", "*.beam"]))
     || Dir <- ["ebin", "test", "examples", "demo"]
    ]).

%% Which functions each function calls.
calls(Beams) ->
    {ok, _} = xref:start(?MODULE),
    lists:foreach(fun(Beam) -> {ok, _} = xref:add_module(?MODULE, Beam, [{warnings, false}]) end, Beams),
    {ok, Edges} = xref:q(?MODULE, "E"),
    maps:groups_from_list(fun({From, _}) -> From end, fun({_, To}) -> To end, Edges).

tests(Suite) ->
    [Name || {Name, 0} <- Suite:module_info(exports), is_test(atom_to_list(Name))].

is_test(Name) ->
    lists:suffix("_test", Name) orelse lists:suffix("_test_", Name).

missing(Test, Calls) ->
    Reached = maps:keys(reached([Test], Calls, #{})),
    ByCall = [
        Application
     || {From, _, _} = Function <- Reached,
        {To, _, _} <- maps:get(Function, Calls, []),
        Application <- application_of(To),
        not lists:member(Application, ?THERE),
        not is_not_taken(From, Application)
    ],
    lists:usort(ByCall ++ [Application || {Function, Application} <- ?BY_NAME, lists:member(Function, Reached)]).

reached([], _, Reached) ->
    Reached;
reached([Function | More], Calls, Reached) when is_map_key(Function, Reached) ->
    reached(More, Calls, Reached);
reached([Function | More], Calls, Reached) ->
    reached(maps:get(Function, Calls, []) ++ More, Calls, Reached#{Function => reached}).

%% One application, or none for a module that is nowhere: tests call such ones too.
application_of(Module) ->
    case code:which(Module) of
        preloaded -> [erts];
        non_existing -> [];
        File -> [application_at(filename:basename(filename:dirname(filename:dirname(File))))]
    end.

%% In this project's folder of builds, what has no version is the project's.
application_at(Folder) ->
    case string:lexemes(Folder, "-") of
        [Name, _Version] -> list_to_atom(Name);
        _ -> erlmcp_native
    end.

is_not_taken(Module, Application) ->
    lists:any(fun({M, A, _Why}) -> {M, A} =:= {Module, Application} end, ?NOT_TAKEN).
