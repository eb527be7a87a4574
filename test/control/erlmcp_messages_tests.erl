%% The header: included from this application, from elsewhere, and beside erlmcp's own copy.
-module(erlmcp_messages_tests).

-include_lib("eunit/include/eunit.hrl").

-define(LIB, erlmcp_native_test_lib).

header_test_() ->
    {setup, fun ?LIB:temp_dir/0, fun ?LIB:remove_dir/1, fun(Dir) ->
        [
            {"include", ?_test(include(Dir))},
            {"include_lib", ?_test(include_lib(Dir))},
            {"twice", ?_test(twice(Dir))},
            {"beside a copy", ?_test(beside_a_copy(Dir))},
            {"beside exported types", ?_test(beside_a_module_that_exports_them(Dir))}
        ]
    end}.

include_folder() ->
    filename:join(?LIB:root(), "include").

%% Every type of the header, in use.
body() ->
    [
        "-export([f/4, g/1]).\n",
        "-export_type([mine/0, words/0]).\n",
        "-type mine() :: {priority_level(), priority_metadata(), control_type(), control_plane_stats()}.\n",
        "-type words() :: health_check_type() | drain_reason() | circuit_breaker_action().\n",
        "-spec f(health_check_data(), drain_session_data(), cancel_task_data(), circuit_breaker_data()) ->\n",
        "    [control_message()].\n",
        "f(H, D, C, B) ->\n",
        "    [{control, health_check, H}, {control, drain_session, D},\n",
        "     {control, cancel_task, C}, {control, circuit_breaker, B}].\n",
        "-spec g(control_message()) -> control_type().\n",
        "g({control, Type, _}) -> Type.\n"
    ].

compiles(Dir, Name, Includes, Options) ->
    File = filename:join(Dir, Name ++ ".erl"),
    ok = file:write_file(File, [["-module(", Name, ").\n"], Includes, body()]),
    Compiled = compile:file(File, [binary, return, warnings_as_errors, {feature, maybe_expr, enable} | Options]),
    {ok, Module, Binary, []} = Compiled,
    {module, Module} = code:load_binary(Module, File, Binary),
    try
        ?assertEqual(cancel_task, Module:g({control, cancel_task, #{task_id => 1}})),
        ?assertMatch([{control, health_check, h} | _], Module:f(h, d, c, b))
    after
        code:purge(Module),
        code:delete(Module),
        code:purge(Module)
    end.

include(Dir) ->
    compiles(Dir, "messages_included", "-include(\"erlmcp_messages.hrl\").\n", [{i, include_folder()}]).

include_lib(Dir) ->
    Ebin = ?LIB:install(Dir, []),
    ok = filelib:ensure_path(filename:join([Dir, "erlmcp_native", "include"])),
    {ok, _} = file:copy(
        filename:join(include_folder(), "erlmcp_messages.hrl"),
        filename:join([Dir, "erlmcp_native", "include", "erlmcp_messages.hrl"])
    ),
    Path = code:get_path(),
    try
        true = code:add_patha(Ebin),
        compiles(
            Dir, "messages_lib_included", "-include_lib(\"erlmcp_native/include/erlmcp_messages.hrl\").\n", []
        )
    after
        code:set_path(Path)
    end.

twice(Dir) ->
    Include = "-include(\"erlmcp_messages.hrl\").\n",
    compiles(Dir, "messages_twice", [Include, Include], [{i, include_folder()}]).

%% erlmcp's own copy has the same guard, as the header says.
beside_a_copy(Dir) ->
    Copy = filename:join(Dir, "copy"),
    ok = filelib:ensure_path(Copy),
    {ok, Text} = file:read_file(filename:join(include_folder(), "erlmcp_messages.hrl")),
    ok = file:write_file(filename:join(Copy, "their_messages.hrl"), Text),
    compiles(
        Dir, "messages_beside",
        "-include(\"their_messages.hrl\").\n-include(\"erlmcp_messages.hrl\").\n",
        [{i, include_folder()}, {i, Copy}]
    ).

%% What specs of erlmcp's callers name.
erlmcp_types_are_exported_test_() ->
    [
        {atom_to_list(Module), ?_assertEqual([], [{Type, 0} || Type <- Types] -- exported_types(Module))}
     || Module := Types <- #{
            erlmcp_priority => [priority_alias, priority_message, urgent_message],
            erlmcp_queue_limits => [limit_config, process_role, role_stats],
            erlmcp_overload_monitor => [alert_level, queue_info, alert],
            erlmcp_control_plane => [
                control_message, control_type, control_plane_stats, health_check_data, drain_session_data,
                cancel_task_data, circuit_breaker_data, health_check_type, drain_reason, circuit_breaker_action
            ]
        }
    ].

exported_types(Module) ->
    {ok, {Module, [{abstract_code, {raw_abstract_v1, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
    lists:append([Types || {attribute, _, export_type, Types} <- Forms]).

%% A module with types of those names exports them; this one's are others.
beside_a_module_that_exports_them(Dir) ->
    compiles(
        Dir, "messages_remote",
        ["-include(\"erlmcp_messages.hrl\").\n", "-type theirs() :: erlmcp_control_message:control_message().\n",
            "-export_type([theirs/0]).\n"],
        [{i, include_folder()}]
    ).
