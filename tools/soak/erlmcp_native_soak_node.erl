-module(erlmcp_native_soak_node).
-moduledoc "This node: the application started as a user would, and what the node holds.".

-export([start/0, numbers/0, port/0, modules/0, overload/0]).
-export([log/2]).
-export_type([numbers/0]).

-doc "What a node holds, by what it counts; memory is in bytes.".
-type numbers() :: #{atom() => non_neg_integer()}.

-doc "Starts the application with its HTTP listener. What is logged is dropped, after it was made.".
-spec start() -> ok.
start() ->
    ok = logger:remove_handler(default),
    ok = logger:add_handler(?MODULE, ?MODULE, #{}),
    ok = application:load(erlmcp_native),
    ok = application:set_env(erlmcp_native, http, #{port => 0}),
    ok = application:set_env(erlmcp_native, overload, overload()),
    {ok, _} = application:ensure_all_started(cowboy),
    {ok, _} = application:ensure_all_started(erlmcp_native),
    ok.

-doc "Returns options of the overload monitor. An alert is looked for in its history, however many come meanwhile.".
-spec overload() -> #{max_alert_history := pos_integer()}.
overload() ->
    #{max_alert_history => 10_000}.

-doc "Returns the application's modules.".
-spec modules() -> [module()].
modules() ->
    {ok, Modules} = application:get_key(erlmcp_native, modules),
    Modules.

-doc "Returns the listener's port.".
-spec port() -> inet:port_number().
port() ->
    erlmcp_native_http:port().

-doc false.
-spec log(logger:log_event(), logger:handler_config()) -> ok.
log(Event, _) ->
    _ = logger_formatter:format(Event, #{single_line => true, chars_limit => 2000}),
    ok.

-doc "Returns what the node holds now.".
-spec numbers() -> numbers().
numbers() ->
    Memory = maps:from_list(erlang:memory([total, processes, system, atom, binary, code, ets])),
    maps:merge(Memory, #{
        native => defined(erlmcp_native:native_memory()),
        rss => resident(),
        process_count => erlang:system_info(process_count),
        port_count => erlang:system_info(port_count),
        atom_count => erlang:system_info(atom_count),
        ets_tables => length(ets:all()),
        monitors => lists:sum([monitors(Pid) || Pid <- processes()])
    }).

defined(undefined) -> 0;
defined(Bytes) -> Bytes.

monitors(Pid) ->
    case process_info(Pid, [monitors, monitored_by]) of
        undefined -> 0;
        [{monitors, Out}, {monitored_by, In}] -> length(Out) + length(In)
    end.

%% Pages of the process, as the kernel counts them.
resident() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = binary:split(Text, ~" ", [global]),
    binary_to_integer(Pages) * 4096.
