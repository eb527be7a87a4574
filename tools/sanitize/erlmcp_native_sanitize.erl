-module(erlmcp_native_sanitize).
-moduledoc """
Runs tests of the native library in this runtime, which has the sanitizer loaded (`make sanitize`).

The library has to be the one that was built for it: whoever runs this puts that application's folder in front of the
code path. A fault ends the runtime with its own status; a test that fails is a failure too.
""".

-export([main/0]).

%% The folders of tests whose suites call natives.
-define(FOLDERS, ["native", "limits", "control", "overload", "metrics"]).

%% Suites that are left out, and why.
-define(LEFT_OUT, [
    {erlmcp_native_metrics_tests, "compares with malloc's own numbers, and malloc is the sanitizer's here"},
    {erlmcp_native_tests, "looks at malloc's own numbers and at how the library as such is loaded"},
    {erlmcp_native_build_tests, "calls no native"},
    {erlmcp_native_prebuilt_tests, "loads the library into runtimes of their own"},
    {erlmcp_native_scan_tests, "looks at times"},
    {erlmcp_queue_limits_load_tests, "looks at times, with a million owners"},
    {erlmcp_overload_load_tests, "looks at times"},
    {erlmcp_control_load_tests, "looks at times"},
    {erlmcp_control_far_tests, "starts other runtimes, without the sanitizer"},
    {erlmcp_control_far_fates_tests, "starts other runtimes, without the sanitizer"},
    {erlmcp_priority_peers_tests, "starts other runtimes, without the sanitizer"},
    {erlmcp_priority_peers_ask_tests, "starts other runtimes, without the sanitizer"},
    {erlmcp_native_dashboards_tests, "looks at files"},
    {erlmcp_native_options_tests, "calls no native"}
]).

-doc "Runs the tests and exits: 0 when each of them passes.".
-spec main() -> no_return().
main() ->
    io:format("library: ~s~n", [code:priv_dir(erlmcp_native)]),
    [io:format("left out: ~s, which ~s~n", [Suite, Why]) || {Suite, Why} <- ?LEFT_OUT],
    Suites = suites() -- [Suite || {Suite, _} <- ?LEFT_OUT],
    case [Suite || Suite <- Suites, not passes(Suite)] of
        [] when Suites =/= [] -> halt(0);
        Failed -> io:format("failed: ~p~n", [Failed]), halt(1)
    end.

passes(Suite) ->
    io:format("~s~n", [Suite]),
    eunit:test(Suite) =:= ok.

suites() ->
    Tests = filename:join([filename:dirname(filename:dirname(code:which(?MODULE))), "..", "test"]),
    [
        list_to_atom(filename:basename(Beam, ".beam"))
     || Folder <- ?FOLDERS,
        Beam <- filelib:wildcard(filename:join([Tests, Folder, "*_tests.beam"]))
    ].
