-module(erlmcp_native_http).
-moduledoc """
The numbers over HTTP: for Prometheus, for probes of health, for programs and for a browser. Needs cowboy 2, which
has to be started before.

| path | answer |
| --- | --- |
| `/` and `/page/...` | the page |
| `/api/summary` | everything at a glance, as JSON |
| `/api/queues?role=R&top=N` | the N fullest owners (1 to 1000, 10 by default), of one role or of all |
| `/api/alerts?role=R` | the last alerts, the newest first |
| `/api/control` | the control plane, with its components |
| `/events` | a stream of server-sent events: `snapshot` once a second, `alert`, `breaker`, `missed` |
| `/metrics` | Prometheus text, or OpenMetrics if the client prefers that |
| `/health/live`, `/health/ready` | 200; the second 503 while a service is missing |

Either on a listener of its own, by the key `http` of the configuration or with `child_spec/1` in one's own supervisor:

```
1> {ok, _} = application:ensure_all_started(cowboy), {ok, _} = erlmcp_native_http:start_link(#{port => 0}).
{ok,<0.321.0>}
2> erlmcp_native_http:port().
40123
```

or mounted into a listener that is there already. Limits and the answers to malformed requests are that listener's
then, and so is the socket option `send_timeout`, by which a client is closed that does not read its event stream:

```
Dispatch = cowboy_router:compile([{'_', erlmcp_native_http:routes() ++ MyRoutes}])
```

| option | value | default |
| --- | --- | --- |
| `port` | 0 to 65535; 0 for any that is free | none, it must be given |
| `ip` | the address to listen on, a tuple | `{127,0,0,1}` |
| `max_connections` | how many connections are served at once, give or take one, 1 to 65535; others wait | 1024 |
| `max_streams` | event streams open at once on this node, 1 to 10000 | 256 |

A stream holds a connection: with `max_streams` as high as `max_connections`, streams may leave no room for probes.

There is no authentication and no encryption. All is read-only, and says the names of roles and components, process
identifiers and numbers. On the loopback address any user of the machine can read it, and a web page that had its own
host name resolved to that address (DNS rebinding) could have a browser on the machine read it too. Where that is too
much, mount the routes into a listener that checks who asks. Listening on another address shows it to whoever reaches
that.

A request line or header beyond 12 KB, more than 64 headers, or a request that takes longer than 5 s to come is
refused; so is a body. A client that does not take what is sent to it within 10 s is closed.
""".

-export([routes/0, child_spec/1, start_link/1, port/0, options/1]).

-export_type([options/0, problem/0]).

-doc "Every option with its value.".
-type options() :: #{
    port := inet:port_number(), ip := inet:ip_address(), max_connections := 1..65535, max_streams := 1..10000
}.
-doc "The path to a wrong value in the options, `[]` for the whole; the value; what was expected there.".
-type problem() :: {Path :: [term()], BadValue :: term(), Expected :: string()}.

-define(REF, ?MODULE).
-define(MAX_STREAMS, 256).
-define(MAX_LINE, 8192).
%% In the kernel, for each connection; otherwise it grows to megabytes for a client that does not read.
-define(SEND_BUFFER, 65536).
-define(RECEIVE_BUFFER, 4096).

-doc "The paths, for `cowboy_router:compile/1`. At most 256 event streams are open at once.".
-spec routes() -> [{Path :: string(), Handler :: module(), InitialState :: term()}].
routes() ->
    routes(?MAX_STREAMS).

routes(MaxStreams) ->
    Resources = [
        {"/api/summary", summary},
        {"/api/queues", queues},
        {"/api/alerts", alerts},
        {"/api/control", control},
        {"/health/live", live},
        {"/health/ready", ready},
        {"/metrics", metrics}
    ],
    [{Path, erlmcp_native_http_handler, Resource} || {Path, Resource} <- Resources] ++
        [
            {"/events", erlmcp_native_http_stream, MaxStreams},
            {"/", erlmcp_native_http_page, {index, priv}},
            {"/page/[...]", erlmcp_native_http_page, {file, priv}}
        ].

-doc "A listener of its own, for a supervisor. Takes what `options/1` takes.".
-spec child_spec(map()) -> supervisor:child_spec().
child_spec(Options) ->
    #{id => ?MODULE, start => {?MODULE, start_link, [Options]}, type => supervisor}.

-doc "Starts the listener. There is at most one.".
-spec start_link(map()) ->
    {ok, pid()}
    | {error, {already_started, pid()} | {bad_option, problem()} | {listen, inet:port_number(), term()} | term()}.
start_link(Given) ->
    case {options(Given), running()} of
        {{error, Problem}, _} -> {error, {bad_option, Problem}};
        {_, {ok, Pid}} -> {error, {already_started, Pid}};
        {{ok, Options}, undefined} -> listen(Options)
    end.

running() ->
    try ranch_server:get_listener_sup(?REF) of
        Pid -> case is_process_alive(Pid) of true -> {ok, Pid}; false -> undefined end
    catch
        error:badarg -> undefined
    end.

listen(#{port := Port, ip := Ip, max_connections := MaxConnections, max_streams := MaxStreams}) ->
    Transport = #{
        %% Connections are counted by each of these supervisors, and each acceptor hands over one more.
        num_conns_sups => 1,
        num_acceptors => 2,
        max_connections => MaxConnections,
        connection_type => supervisor,
        %% Streams do not end by themselves.
        shutdown => 1000,
        socket_opts => [
            {ip, Ip},
            {port, Port},
            {backlog, 1024},
            {send_timeout, 10000},
            {send_timeout_close, true},
            {sndbuf, ?SEND_BUFFER},
            {buffer, ?RECEIVE_BUFFER}
        ]
    },
    Everywhere = [{'_', routes(MaxStreams) ++ [{'_', erlmcp_native_http_handler, not_found}]}],
    Protocol = #{
        env => #{dispatch => cowboy_router:compile(Everywhere)},
        stream_handlers => [erlmcp_native_http_guard, cowboy_stream_h],
        protocols => [http],
        connection_type => supervisor,
        dynamic_buffer => false,
        max_request_line_length => ?MAX_LINE,
        max_header_value_length => ?MAX_LINE,
        max_headers => 64,
        max_skip_body_length => ?MAX_LINE,
        max_keepalive => 1000,
        request_timeout => 5000,
        idle_timeout => 15000
    },
    #{start := {Module, Function, Args}} = ranch:child_spec(?REF, ranch_tcp, Transport, cowboy_clear, Protocol),
    %% What a listener with other options may have left behind when it was killed.
    ok = ranch_server:cleanup_listener_opts(?REF),
    case apply(Module, Function, Args) of
        {ok, Pid} -> {ok, Pid};
        {error, Reason} -> {error, why(Reason, Port)}
    end.

why({shutdown, {failed_to_start_child, _, Reason}}, Port) -> why(Reason, Port);
why({listen_error, _, Reason}, Port) -> {listen, Port, Reason};
why(Reason, _) -> Reason.

-doc "The port that the listener has, if it is started.".
-spec port() -> inet:port_number() | undefined.
port() ->
    case running() of
        {ok, _} -> ranch:get_port(?REF);
        undefined -> undefined
    end.

-doc "Checks options, and whether cowboy is there and started; the options with the defaults of those left out.".
-spec options(term()) -> {ok, options()} | {error, problem()}.
options(Given) when is_map(Given) ->
    Named = lists:sort(maps:to_list(Given)),
    Problems = [{[Name], Value, Expected} || {Name, Value} <- Named, Expected <- wrong(Name, Value)],
    case Problems ++ [{[port], undefined, port_range()} || not is_map_key(port, Given)] ++ missing(Given) of
        [] -> {ok, maps:merge(#{ip => {127, 0, 0, 1}, max_connections => 1024, max_streams => ?MAX_STREAMS}, Given)};
        [Problem | _] -> {error, Problem}
    end;
options(Given) ->
    {error, {[], Given, "off, or a map of options"}}.

wrong(port, Value) -> [port_range() || not is_between(0, Value, 65535)];
wrong(ip, Value) -> ["an IP address as a tuple, such as {127,0,0,1}" || not inet:is_ip_address(Value)];
wrong(max_connections, Value) -> ["an integer from 1 to 65535" || not is_between(1, Value, 65535)];
wrong(max_streams, Value) -> ["an integer from 1 to 10000" || not is_between(1, Value, 10000)];
wrong(_, _) -> ["one of port, ip, max_connections, max_streams"].

port_range() ->
    "an integer from 0 to 65535".

is_between(Lowest, Value, Highest) ->
    is_integer(Value) andalso Value >= Lowest andalso Value =< Highest.

missing(Given) ->
    Absent = [
        lists:concat(["the application ", Module, " to be there: add cowboy 2 to the dependencies"])
     || Module <- [cowboy, ranch], code:ensure_loaded(Module) =/= {module, Module}
    ],
    Stopped = [
        lists:concat(["the application ", App, " to be started before erlmcp_native"])
     || {App, Process} <- [{ranch, ranch_server}, {cowboy, cowboy_clock}], whereis(Process) =:= undefined
    ],
    [{[], Given, Expected} || Expected <- Absent ++ Stopped].
