-module(erlmcp_native_fuzz_plan).
-moduledoc """
Which functions are called. They are taken from the modules themselves: all that the application's modules export, but
for callbacks, and for what is listed here with a reason. So whoever adds a function has it called, or says here why
not.
""".

-export([natives/0, functions/0, left_out/0, callbacks/1, modules/0, is_called/1]).

%% {A module or a function, why it is not called}.
-define(LEFT_OUT, [
    {{erlmcp_native, load, 0}, "is no native: it loads the library"},

    {{erlmcp_native_app, reload, 0}, "is what reload_config/0 calls"},
    {{erlmcp_native_app, change, 0}, "is called by config_change/3; it does what reload_config/0 does"},
    {{erlmcp_native_app, change_exporters, 0}, "is what a process is started with"},
    {erlmcp_native_sup, "is a supervisor"},
    {erlmcp_native_exporters, "is a supervisor"},
    {erlmcp_overload_cluster_sup, "is a supervisor"},
    {erlmcp_overload_cluster_server, "is a process of the application's"},
    {erlmcp_native_http_cluster, "is called by cowboy's handlers, with what was checked"},
    {erlmcp_overload_cluster_own, "is called by erlmcp_overload_cluster_server"},
    {erlmcp_overload_cluster_picture, "is called by erlmcp_overload_cluster_server; it has properties of its own"},
    {erlmcp_overload_cluster_sums, "is called by erlmcp_overload_cluster_picture; it has properties of its own"},
    {erlmcp_overload_cluster_shares, "is called by erlmcp_overload_cluster_server; it has properties of its own"},
    {{erlmcp_overload_cluster_message, make, 1}, "is called by erlmcp_overload_cluster_server"},
    {{erlmcp_overload_cluster, asked, 4}, "is what ask/4 calls in a process of its own"},
    {erlmcp_native_room, "is called by erlmcp_overload_cluster_server, with its own table"},
    {erlmcp_native_keeper, "is a process of the application's"},

    {erlmcp_limits_server, "is called by erlmcp_queue_limits, which checks"},
    {erlmcp_control_call, "is called by erlmcp_control_plane, which checks"},
    {erlmcp_control_failure, "is called by erlmcp_control_handler, with what was raised"},
    {erlmcp_control_fates, "is called by erlmcp_control_far"},
    {erlmcp_control_far, "is called by erlmcp_control_plane, which checks; odd messages are in its tests"},
    {erlmcp_control_gate, "is a process of a cluster's; odd messages are in the tests of erlmcp_control_far"},
    {erlmcp_control_link, "is a process of erlmcp_control_routes'"},
    {erlmcp_control_routes, "is a process of a cluster's"},
    {erlmcp_priority_groups, "is called by erlmcp_priority; odd messages are in its tests"},
    {erlmcp_priority_peers, "is a process of a cluster's; odd messages are in its tests"},
    {erlmcp_control_handler, "is called by erlmcp_control_plane, which checks"},
    {erlmcp_control_lanes, "is called by erlmcp_control_handler"},
    {erlmcp_control_message, "is called by erlmcp_control_plane, which checks"},
    {erlmcp_control_notifier, "is a process of the control plane's"},
    {{erlmcp_control_cancel, tell, 1}, "is called with what a native returns"},
    {erlmcp_control_reaper, "is called by erlmcp_control_server"},
    {erlmcp_control_server, "is called by erlmcp_control_plane, which checks"},
    {erlmcp_overload_server, "is called by erlmcp_overload_monitor, which checks"},
    {erlmcp_overload_options, "is called by erlmcp_overload_monitor, which checks"},
    {erlmcp_overload_handler, "is called by erlmcp_overload_monitor, which checks"},
    {erlmcp_overload_handlers, "is called by erlmcp_overload_server"},
    {erlmcp_overload_looker, "is called by erlmcp_overload_server"},
    {erlmcp_overload_breakers, "is called by erlmcp_overload_server"},
    {erlmcp_overload_guard, "is a process of the overload monitor's"},
    {erlmcp_overload_guard_keeper, "is called by erlmcp_overload_server"},
    {erlmcp_overload_hysteresis, "is called by erlmcp_overload_guard; it has properties of its own"},
    {erlmcp_overload_memory, "is called by erlmcp_overload_guard; files without sense are in its tests"},
    {erlmcp_overload_resident, "is a process of the overload monitor's"},
    {erlmcp_overload_watch, "is called by erlmcp_overload_server, which has one at a time"},
    {erlmcp_overload_default_handler, "is called with alerts"},
    {erlmcp_overload_log, "is called with alerts"},
    {erlmcp_overload_runner, "is called by erlmcp_overload_server"},
    {erlmcp_overload_worker, "is called by erlmcp_overload_runner"},

    {{erlmcp_queue_limits, start_link, 0}, "would leave the supervisor without its child"},
    {{erlmcp_control_plane, start_link, 0}, "would leave the supervisor without its child"},
    {{erlmcp_overload_monitor, start_link, 0}, "would leave the supervisor without its child"},
    {{erlmcp_overload_monitor, start_link, 1}, "would leave the supervisor without its child"},

    {erlmcp_native_service, "is called by the services, with names of their own"},
    {{erlmcp_overload_mailbox, unanswered, 2}, "is called by erlmcp_native_wait with what has come"},
    {{erlmcp_native_pid, is_orphan, 1}, "is called with processes of this node"},
    {{erlmcp_native_pid, named, 1}, "is called with what is_name/1 has found to be one"},
    {erlmcp_native_choice, "is called by those that choose, with functions of ours"},
    {erlmcp_native_limit, "is called by erlmcp_queue_limits and the configuration; the former is called here"},
    {erlmcp_native_caps, "is called by erlmcp_queue_limits, which is called here"},
    {erlmcp_native_refusal, "is called by erlmcp_queue_limits and erlmcp_overload_http, which are called here"},
    {erlmcp_native_reserve, "is called by erlmcp_queue_limits and the configuration; the former is called here"},
    {erlmcp_native_rate, "is called by erlmcp_overload_rate and the configuration; the former is called here"},
    {erlmcp_native_request, "is called by those that have requests, with options of theirs; those call it here"},
    {erlmcp_native_owner, "is called by erlmcp_queue_limits, which raises what it returns"},
    {erlmcp_overload_bounds, "is called by erlmcp_overload, with a row"},
    {erlmcp_overload_pace, "is called by erlmcp_overload, which is called here"},
    {erlmcp_overload_cancels, "is called by erlmcp_overload, with a snapshot"},
    {erlmcp_overload_text, "is called by erlmcp_overload, with what was counted"},
    {erlmcp_overload_answers, "is called by erlmcp_overload_why, with what is counted"},
    {erlmcp_overload_signs, "is called by erlmcp_overload, which checks"},
    {erlmcp_overload_why, "is called by erlmcp_overload and erlmcp_native_scan, with a snapshot"},
    {erlmcp_overload_process, "is called by cowboy's handlers, with processes of this node"},
    {erlmcp_overload_strain, "is called by erlmcp_overload, with what erlmcp_overload_node:pressure/0 returns"},
    {erlmcp_native_config, "is called by the services, with tables of their own"},
    {erlmcp_native_options, "is called by whoever has options, with tables of their own; those call it here"},
    {erlmcp_native_deadline, "is called by the services, with times of their own"},
    {erlmcp_native_process, "is called by our own processes, with functions of ours"},
    {erlmcp_native_process_info, "is called by our own processes, with processes of this node"},
    {erlmcp_native_log, "is called with formats and fields of our own"},
    {erlmcp_native_log_text, "is called by erlmcp_native_log"},
    {erlmcp_native_log_writer, "is called by erlmcp_native_log"},
    {erlmcp_native_wait, "is called by our own processes, with functions of ours"},
    {erlmcp_native_error, "is called by the shell, which a fault here does not reach"},

    {{erlmcp_native_metrics, families, 1}, "works on what snapshot/0 returns"},
    {erlmcp_native_metric, "works on what erlmcp_native_metrics:snapshot/0 returns"},
    {{erlmcp_native_prometheus, format, 2}, "works on what erlmcp_native_metrics:collect/0 returns"},
    {erlmcp_native_role, "works on what erlmcp_native_metrics:snapshot/0 returns"},
    {erlmcp_native_scan, "is a process of the application's"},
    {erlmcp_native_self, "works on what erlmcp_native_metrics:snapshot/0 returns"},

    {erlmcp_native_relay, "is a process of the application's"},
    {erlmcp_native_metrics_server, "is called by erlmcp_native_relay"},
    {erlmcp_native_telemetry, "is called by erlmcp_native_relay"},

    {{erlmcp_native_http, start_link, 1}, "would leave the supervisor without its child"},
    {erlmcp_native_event_log, "is called by erlmcp_native_events"},
    {erlmcp_native_event_sample, "is called by erlmcp_native_events"},
    {erlmcp_native_events, "is a process of the application's"},
    {erlmcp_native_events_handler, "is called with alerts"},
    {erlmcp_native_http_change, "is called by erlmcp_native_event_sample, with snapshots"},
    {erlmcp_native_http_accept, "is called by cowboy's handlers, with headers"},
    {erlmcp_native_http_door, "is called by erlmcp_native_http_guard, with a request"},
    {erlmcp_native_http_drill, "is called by erlmcp_native_http_handler, with parameters that were checked"},
    {erlmcp_native_http_token, "is called by erlmcp_native_http_door, with a header"},
    {erlmcp_native_http_guard, "is called by cowboy"},
    {erlmcp_native_http_handler, "is called by cowboy"},
    {erlmcp_native_http_history, "is called by cowboy"},
    {erlmcp_native_http_json, "is called by cowboy's handlers, with rows and alerts"},
    {erlmcp_native_http_connections, "is a process of the application's"},
    {erlmcp_native_http_listener, "is a supervisor"},
    {erlmcp_native_http_names, "is called by erlmcp_native_http_handler, with texts of a request"},
    {erlmcp_native_http_page, "is called by cowboy"},
    {erlmcp_native_http_query, "is called by cowboy's handlers, with a request"},
    {erlmcp_native_http_reply, "is called by cowboy's handlers, with a request"},
    {erlmcp_native_http_stream, "is called by cowboy"},
    {erlmcp_native_http_watch, "is called by erlmcp_native_http_stream"},

    {{erlmcp_native_otlp, start_link, 1}, "would be linked to its caller"},
    {{erlmcp_native_otlp, start_configured, 1}, "is called by a supervisor"},
    {{erlmcp_native_otlp, help, 4}, "is what a process is started with"},
    {erlmcp_native_otlp_answer, "is called by the pusher, with what a collector sent; it has properties of its own"},
    {erlmcp_native_otlp_buffer, "is called by the pusher"},
    {erlmcp_native_otlp_encode, "is called by the pusher"},
    {erlmcp_native_otlp_log, "is called by the pusher"},
    {erlmcp_native_otlp_options, "is called by erlmcp_native_otlp"},
    {erlmcp_native_otlp_request, "is called by the pusher"},
    {erlmcp_native_otlp_response, "is called by the pusher, with what a collector sent; it has properties of its own"},
    {erlmcp_native_otlp_series, "is called by the pusher"},
    {erlmcp_native_otlp_url, "is called by erlmcp_native_otlp"}
]).

-doc "Returns the natives.".
-spec natives() -> [mfa()].
natives() ->
    wanted([erlmcp_native]).

-doc "Returns the functions of all other modules.".
-spec functions() -> [mfa()].
functions() ->
    wanted(modules() -- [erlmcp_native]).

-doc "Returns what is not called, and why; an entry for what is not there any more is an error.".
-spec left_out() -> [{module() | mfa(), Why :: string()}].
left_out() ->
    case [What || {What, _} <- ?LEFT_OUT, not is_there(What)] of
        [] -> ?LEFT_OUT;
        Gone -> error({not_there_any_more, Gone})
    end.

-doc "Returns the application's modules.".
-spec modules() -> [module()].
modules() ->
    _ = application:load(erlmcp_native),
    {ok, Modules} = application:get_key(erlmcp_native, modules),
    Modules.

-doc "Tells whether a function is one of an application's module that is called here.".
-spec is_called(mfa()) -> boolean().
is_called({Module, _, _} = Function) ->
    not lists:keymember(Function, 1, ?LEFT_OUT) andalso not lists:keymember(Module, 1, ?LEFT_OUT) andalso
        lists:member(Module, modules()) andalso not lists:member(Function, callbacks(Module)).

wanted(Modules) ->
    Out = [What || {What, _} <- left_out()],
    [
        Function
     || Module <- Modules,
        not lists:member(Module, Out),
        Function <- erlmcp_native_fuzz_spec:functions(Module) -- callbacks(Module),
        not lists:member(Function, Out)
    ].

-doc "Returns the functions of a module that are called by whoever defined its behaviours.".
-spec callbacks(module()) -> [mfa()].
callbacks(Module) ->
    [
        {Module, Name, Arity}
     || {behaviour, Behaviours} <- Module:module_info(attributes),
        Behaviour <- Behaviours,
        {Name, Arity} <- Behaviour:behaviour_info(callbacks)
    ].

is_there({Module, Function, Arity}) ->
    lists:member(Module, modules()) andalso lists:member({Function, Arity}, Module:module_info(exports));
is_there(Module) ->
    lists:member(Module, modules()).
