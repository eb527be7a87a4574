-module(erlmcp_native_http).
-moduledoc """
The numbers over HTTP: for Prometheus, for probes of health, for programs and for a browser. Needs cowboy 2, which
has to be started before.

| path | answer |
| --- | --- |
| `/` and `/page/...` | the page |
| `/api/summary` | everything at a glance, as JSON |
| `/api/queues?role=R&top=N` | the N fullest owners (1 to 1000, 10 by default), of one role or of all |
| `/api/queues?role=R&top=N&by=B&text=T` | a role's first owners by `utilization`, `depth`, `wait` or `stalled`; with a text, those of the first 1000 in whose names it is |
| `/api/why?role=R&owner=O` | why a role refuses, or an owner in it, or why not, in the words of `erlmcp_overload:why/2` |
| `/api/owner?pid=P&role=R` | what a process is and what it is doing, and its queues; `P` as in `<0.90.0>`, or a name |
| `/api/component?id=C` | a component of the control plane, with its last errors |
| `/api/alerts?role=R` | the last alerts, the newest first |
| `/api/rates` | what each rate allows, takes and refuses, those of control messages too; of keys, how many there are |
| `/api/control` | the control plane, with its components |
| `/api/history?role=R&span=10m` | what it was like: the last ten minutes by second (`10m`, the default), or the last day by minute (`24h`), see `m:erlmcp_native_history` |
| `/api/history?node=N` | the same of another node of the cluster, which is asked for it |
| `/api/cluster`, `/api/cluster?node=N` | all nodes of a cluster, as this one has heard of them (`m:erlmcp_overload_cluster`); or what `/api/summary` says on one |
| `/events` | a stream of server-sent events: `snapshot` once a second, `alert`, `breaker`, `missed` |
| `/events?changes` | the same; after the first `snapshot` a `change` says what is not as it was, see `m:erlmcp_native_http_change` |
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
Dispatch = cowboy_router:compile([{'_', erlmcp_native_http:routes(#{prefix => "/ops"}) ++ MyRoutes}])
```

Then the page is at `/ops/`, and Prometheus is told `metrics_path: /ops/metrics`. Our own listener packs answers and
event streams for clients that accept gzip; with `cowboy_compress_h` among its `stream_handlers`, that one does too.

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
| `hosts` | any, or a list of at most 64 host names without ports | `[]` on a loopback address, else `any` | For which hosts requests are served besides those of the loopback address, and the address itself. |
| `token` | {file, Name} or {env, Name} of what has a token |  | A file or an environment variable with what a client has to know, 16 to 1024 characters. |

A stream holds a connection: with `max_streams` as high as `max_connections`, streams may leave no room for probes.

All is read-only, and says the names of roles, rates and components, process identifiers and numbers; of a
process that is asked for its names, its label and the functions that it is in; of a component why its handler failed.
There is no encryption. On our own listener:

- On a loopback address, who asks for another host than `localhost`, `127.0.0.1`, `[::1]`, the address itself or one of
  `hosts` gets 421: a web page that had its own host name resolve to that address (DNS rebinding) would be such. The
  port does not matter. A proxy on the machine that passes the client's `host` on needs its name in `hosts`. On other
  addresses any host is served, unless `hosts` are given.
- With `token`, who does not send it gets 401. Without, any user of the machine can read, and on another address whoever
  reaches that. See `m:erlmcp_native_http_token`: it is read anew for each request, so that another one counts at once,
  and while it cannot be read nobody is let in. For example `token => {file, "/run/secrets/ops-token"}`.

Where the routes are mounted, that listener checks who asks. Wherever they are, other sites can neither read nor embed
what they answer.

A request line or header beyond 12 KB, more than 64 headers, or a request that takes longer than `idle_timeout_ms` to
come is refused; so is a body. A client that takes nothing of what is sent to it for `send_timeout_ms` is closed; one
that reads slowly is not, as long as it takes some 64 KB in that time, which is what the kernel keeps for it.

Query parameters that are not known are refused below `/api/`, and ignored elsewhere.
""".

-behaviour(erlmcp_native_config).

-export([routes/0, routes/1, child_spec/1, start_link/1, port/0, options/1, table/0, config/0]).

-export_type([options/0, problem/0]).

-doc "This map has every option of the listener with its value.".
-type options() :: #{
    port := inet:port_number(),
    ip := inet:ip_address(),
    max_connections := 1..65535,
    max_streams := 1..10000,
    idle_timeout_ms := 1000..3600000,
    send_timeout_ms := 1000..600000,
    hosts => any | [binary()],
    token => erlmcp_native_http_token:source()
}.
-doc "A problem says what is wrong with the options.".
-type problem() :: erlmcp_native_options:problem().

-define(MAX_STREAMS, 256).
-define(SEND_TIMEOUT_MS, 30000).
-define(MAX_PREFIX, 256).

-doc "Returns the paths, for `cowboy_router:compile/1`. At most 256 event streams are open at once.".
-spec routes() -> [{Path :: string(), Handler :: module(), InitialState :: term()}].
routes() ->
    routes(#{}).

-doc """
Returns the paths, for `cowboy_router:compile/1`. All are below `prefix`, if that is given, such as `"/ops"`;
`max_streams` and `send_timeout_ms` are those of the listener. Anything else raises `badarg`.
""".
-spec routes(#{prefix => unicode:chardata(), max_streams => 1..10000, send_timeout_ms => 1000..600000}) ->
    [{Path :: string(), Handler :: module(), InitialState :: term()}].
routes(Given) ->
    case erlmcp_native_options:check(erlmcp_native_options:options(mounting()), Given) of
        {ok, Options} -> mounted(Options);
        {error, Problem} -> erlmcp_native_error:raise({bad_option, Problem}, {?MODULE, ?FUNCTION_NAME, [Given]})
    end.

mounting() ->
    Prefix = #{
        name => prefix,
        type => erlmcp_native_options:checked("a path such as \"/ops\"", fun prefix/1),
        default => ~"",
        doc => ~"What all paths begin with."
    },
    [Prefix | [Option || #{name := Name} = Option <- table(), lists:member(Name, [max_streams, send_timeout_ms])]].

%% Of what means nothing else to the router, or in a URL.
prefix(Given) ->
    maybe
        {ok, Text} ?= erlmcp_native_options:check(erlmcp_native_options:text(), Given),
        true ?= byte_size(Text) =< ?MAX_PREFIX,
        match ?= re:run(Text, ~"\\A(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*\\z", [{capture, none}]),
        {ok, Text}
    else
        _ -> false
    end.

mounted(#{prefix := Prefix, max_streams := MaxStreams, send_timeout_ms := PatienceMs}) ->
    Resources = [
        {"/api/summary", summary},
        {"/api/queues", queues},
        {"/api/alerts", alerts},
        {"/api/rates", rates},
        {"/api/control", control},
        {"/api/why", why},
        {"/api/owner", owner},
        {"/api/component", component},
        {"/api/cluster", cluster},
        {"/health/live", live},
        {"/health/ready", ready},
        {"/metrics", metrics}
    ],
    Routes =
        [{Path, erlmcp_native_http_handler, Resource} || {Path, Resource} <- Resources] ++
            [
                {"/api/history", erlmcp_native_http_history, none},
                {"/events", erlmcp_native_http_stream, #{max_streams => MaxStreams, patience_ms => PatienceMs}},
                {"/", erlmcp_native_http_page, {index, priv}},
                {"/page/[...]", erlmcp_native_http_page, {file, priv}}
            ],
    [{binary_to_list(Prefix) ++ Path, Handler, State} || {Path, Handler, State} <- Routes].

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
        {ok, Options} -> erlmcp_native_http_listener:start_link(Options, own_routes(Options));
        {error, Problem} -> {error, {bad_option, Problem}}
    end.

own_routes(Options) ->
    routes(maps:with([max_streams, send_timeout_ms], Options)).

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
        },
        #{
            name => hosts,
            type => erlmcp_native_http_door:hosts(),
            default => none,
            shown => ~"`[]` on a loopback address, else `any`",
            doc => ~"For which hosts requests are served besides those of the loopback address, and the address itself."
        },
        #{
            name => token,
            type => erlmcp_native_http_token:type(),
            default => none,
            doc => ~"A file or an environment variable with what a client has to know, 16 to 1024 characters."
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
