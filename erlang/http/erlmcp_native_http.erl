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
| `/api/rates` | what each rate allows, takes and refuses, those of control messages too; of keys, how many there are |
| `/api/control` | the control plane, with its components |
| `/events` | a stream of server-sent events: `snapshot` once a second, `alert`, `breaker`, `missed` |
| `/metrics` | Prometheus text, or OpenMetrics if the client prefers that |
| `/health/live`, `/health/ready` | 200; the second 503 while a service is missing |

Either on a listener of its own, by the key `http` of the configuration or with `child_spec/1` in one's own supervisor:

```erlang
1> {ok, _} = application:ensure_all_started(cowboy).
2> {ok, Listener} = erlmcp_native_http:start_link(#{port => 0}).
3> Port = erlmcp_native_http:port().
```

or mounted into a listener that is there already. Limits and the answers to malformed requests are that listener's
then. An event stream is closed after 30 s of a client that does not read it, whatever the listener's own timeouts are:

```erlang
Dispatch = cowboy_router:compile([{'_', erlmcp_native_http:routes() ++ MyRoutes}])
```

In HTTP/2 cowboy closes a connection whose client has said nothing for the listener's `idle_timeout`, which event
streams get ahead of by ending now and then; clients come again, and miss nothing. With
`reset_idle_timeout_on_send => true` in the listener's options they need not. See `m:erlmcp_native_http_stream`.

| option | value | default | meaning |
| --- | --- | --- | --- |
| `port` | an integer from 0 to 65535 | must be given | The port to listen on; 0 for any that is free. |
| `ip` | an IP address as a tuple, such as {127,0,0,1} | `{127,0,0,1}` | The address to listen on. |
| `max_connections` | an integer from 1 to 65535 | `1024` | How many connections are served at once, give or take one; others wait. |
| `max_streams` | an integer from 1 to 10000 | `256` | How many event streams are open at once on this node. |
| `idle_timeout_ms` | milliseconds, an integer from 1000 to 3600000 | `5000` | How long a connection stays open without a request; within that time the next has to come, whole. |
| `send_timeout_ms` | milliseconds, an integer from 1000 to 600000 | `30000` | How long a client may take nothing of what is sent to it before it is closed. |

A stream holds a connection: with `max_streams` as high as `max_connections`, streams may leave no room for probes.

There is no authentication and no encryption. All is read-only, and says the names of roles, rates and components,
process identifiers and numbers. On the loopback address any user of the machine can read it, and a web page that had
its own host name resolved to that address (DNS rebinding) could have a browser on the machine read it too. Where that
is too much, mount the routes into a listener that checks who asks. Listening on another address shows it to whoever
reaches that.

A request line or header beyond 12 KB, more than 64 headers, or a request that takes longer than `idle_timeout_ms` to
come is refused; so is a body. A client that takes nothing of what is sent to it for `send_timeout_ms` is closed; one
that reads slowly is not, as long as it takes some 64 KB in that time, which is what the kernel keeps for it.

Query parameters that are not known are refused below `/api/`, and ignored elsewhere.
""".

-behaviour(erlmcp_native_config).

-export([routes/0, child_spec/1, start_link/1, port/0, options/1, table/0, config/0]).

-export_type([options/0, problem/0]).

-doc "This map has every option of the listener with its value.".
-type options() :: #{
    port := inet:port_number(),
    ip := inet:ip_address(),
    max_connections := 1..65535,
    max_streams := 1..10000,
    idle_timeout_ms := 1000..3600000,
    send_timeout_ms := 1000..600000
}.
-doc "A problem says what is wrong with the options.".
-type problem() :: erlmcp_native_options:problem().

-define(MAX_STREAMS, 256).
-define(SEND_TIMEOUT_MS, 30000).

-doc "Returns the paths, for `cowboy_router:compile/1`. At most 256 event streams are open at once.".
-spec routes() -> [{Path :: string(), Handler :: module(), InitialState :: term()}].
routes() ->
    routes(#{max_streams => ?MAX_STREAMS, send_timeout_ms => ?SEND_TIMEOUT_MS}).

routes(#{max_streams := MaxStreams, send_timeout_ms := PatienceMs}) ->
    Resources = [
        {"/api/summary", summary},
        {"/api/queues", queues},
        {"/api/alerts", alerts},
        {"/api/rates", rates},
        {"/api/control", control},
        {"/health/live", live},
        {"/health/ready", ready},
        {"/metrics", metrics}
    ],
    [{Path, erlmcp_native_http_handler, Resource} || {Path, Resource} <- Resources] ++
        [
            {"/events", erlmcp_native_http_stream, #{max_streams => MaxStreams, patience_ms => PatienceMs}},
            {"/", erlmcp_native_http_page, {index, priv}},
            {"/page/[...]", erlmcp_native_http_page, {file, priv}}
        ].

-doc "Returns a listener of its own as a child of a supervisor. It takes what `options/1` takes.".
-spec child_spec(map()) -> supervisor:child_spec().
child_spec(Options) ->
    #{id => ?MODULE, start => {?MODULE, start_link, [Options]}, type => supervisor}.

-doc "Starts the listener. There is at most one.".
-spec start_link(map()) ->
    {ok, pid()}
    | {error, {already_started, pid()} | {bad_option, problem()} | {listen, inet:port_number(), term()} | term()}.
start_link(Given) ->
    case options(Given) of
        {ok, Options} -> erlmcp_native_http_listener:start_link(Options, routes(Options));
        {error, Problem} -> {error, {bad_option, Problem}}
    end.

-doc "Returns the port that the listener has, once it listens.".
-spec port() -> inet:port_number() | undefined.
port() ->
    erlmcp_native_http_listener:port().

-doc """
Checks the listener's options, and whether cowboy is there and started. Returns them with the defaults of those left
out.
""".
-spec options(term()) -> {ok, options()} | {error, problem()}.
options(Given) ->
    maybe
        {ok, Options} ?= erlmcp_native_options:check(erlmcp_native_options:options(table()), Given),
        [] ?= missing(),
        {ok, Options}
    else
        [Expected | _] -> {error, {[], Given, Expected}};
        Error -> Error
    end.

-doc "Returns the table of options.".
-spec table() -> erlmcp_native_options:table().
table() ->
    [
        #{
            name => port,
            type => erlmcp_native_options:integer(0, 65535),
            default => required,
            doc => ~"The port to listen on; 0 for any that is free."
        },
        #{
            name => ip,
            type => erlmcp_native_options:checked(
                "an IP address as a tuple, such as {127,0,0,1}", fun inet:is_ip_address/1
            ),
            default => {127, 0, 0, 1},
            doc => ~"The address to listen on."
        },
        #{
            name => max_connections,
            type => erlmcp_native_options:integer(1, 65535),
            default => 1024,
            doc => ~"How many connections are served at once, give or take one; others wait."
        },
        #{
            name => max_streams,
            type => erlmcp_native_options:integer(1, 10000),
            default => ?MAX_STREAMS,
            doc => ~"How many event streams are open at once on this node."
        },
        #{
            name => idle_timeout_ms,
            type => erlmcp_native_options:milliseconds(1000, 3600000),
            default => 5000,
            doc => ~"How long a connection stays open without a request; within that time the next has to come, whole."
        },
        #{
            name => send_timeout_ms,
            type => erlmcp_native_options:milliseconds(1000, 600000),
            default => ?SEND_TIMEOUT_MS,
            doc => ~"How long a client may take nothing of what is sent to it before it is closed."
        }
    ].

-doc false.
-spec config() -> erlmcp_native_options:table().
config() ->
    Options = erlmcp_native_options:checked("a map of options", fun options/1),
    [
        #{
            name => http,
            type => erlmcp_native_options:optional(off, Options),
            default => off,
            from => [erlmcp_native],
            doc => ~"The options of the HTTP listener, see `m:erlmcp_native_http`."
        }
    ].

missing() ->
    Absent = [
        lists:concat(["the application ", Module, " to be there: add cowboy 2 to the dependencies"])
     || Module <- [cowboy, ranch], code:ensure_loaded(Module) =/= {module, Module}
    ],
    Stopped = [
        lists:concat(["the application ", App, " to be started before erlmcp_native"])
     || {App, Process} <- [{ranch, ranch_server}, {cowboy, cowboy_clock}], whereis(Process) =:= undefined
    ],
    Absent ++ Stopped.
