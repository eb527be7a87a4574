-module(erlmcp_native_http_listener).
-moduledoc """
The listener of `m:erlmcp_native_http`: ranch's, in a supervisor of ours, with `m:erlmcp_native_http_connections`, so
that it comes back whichever of its processes is killed.

What was killed leaves others behind that end in a moment: connections that are told, an acceptor that has the port.
Whoever starts it again waits for them.
""".

-behaviour(supervisor).

-export([start_link/2, port/0]).
-export([init/1, listen/2]).

%% The name that ranch has for it.
-define(REF, erlmcp_native_http).
-define(MAX_LINE, 8192).
%% In the kernel, for each connection; otherwise it grows to megabytes for a client that does not read.
-define(SEND_BUFFER, 65536).
-define(RECEIVE_BUFFER, 4096).
%% How long a listener that was killed may take to be gone, and how often its port is tried.
-define(ENDING_MS, 2000).
-define(AGAIN_MS, 20).
%% From ranch's supervisor of the listener up to this one.
-define(LEVELS, 3).

-doc "Starts the listener with all its options, for these routes. There is at most one.".
-spec start_link(erlmcp_native_http:options(), [{string(), module(), term()}]) ->
    {ok, pid()} | {error, {already_started, pid()} | {listen, inet:port_number(), term()} | term()}.
start_link(#{port := Port} = Options, Routes) ->
    case still_running() of
        {ok, Pid} ->
            {error, {already_started, Pid}};
        undefined ->
            case supervisor:start_link(?MODULE, {Options, Routes}) of
                {ok, Pid} -> {ok, Pid};
                {error, Reason} -> {error, why(Reason, Port)}
            end
    end.

-doc "Returns the port that the listener has, once it listens.".
-spec port() -> inet:port_number() | undefined.
port() ->
    case running() of
        {ok, _} -> bound();
        undefined -> undefined
    end.

%% While a listener starts, it has no address yet.
bound() ->
    try
        ranch:get_port(?REF)
    catch
        error:badarg -> undefined
    end.

running() ->
    try ranch_server:get_listener_sup(?REF) of
        Pid -> case is_process_alive(Pid) of true -> {ok, Pid}; false -> undefined end
    catch
        error:badarg -> undefined
    end.

%% One that has lost a supervisor ends as soon as its connections have.
still_running() ->
    maybe
        {ok, Pid} ?= running(),
        true ?= is_left(Pid, ?LEVELS),
        Monitor = erlang:monitor(process, Pid),
        receive
            {'DOWN', Monitor, process, _, _} -> undefined
        after ?ENDING_MS ->
            true = erlang:demonitor(Monitor, [flush]),
            running()
        end
    else
        undefined -> undefined;
        false -> running()
    end.

is_left(Pid, 1) ->
    erlmcp_native_pid:is_orphan(Pid);
is_left(Pid, Levels) ->
    erlmcp_native_pid:is_orphan(Pid) orelse
        case process_info(Pid, parent) of
            {parent, Parent} when is_pid(Parent) -> is_left(Parent, Levels - 1);
            _ -> true
        end.

-doc false.
-spec init({erlmcp_native_http:options(), [{string(), module(), term()}]}) ->
    {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init({Options, Routes}) ->
    Listener = #{id => listener, start => {?MODULE, listen, [Options, Routes]}, type => supervisor},
    Connections = #{id => connections, start => {erlmcp_native_http_connections, start_link, [?REF]}},
    {ok, {#{strategy => one_for_all}, [Listener, Connections]}}.

-doc false.
-spec listen(erlmcp_native_http:options(), [{string(), module(), term()}]) -> {ok, pid()} | {error, term()}.
listen(Options, Routes) ->
    Everywhere = [{'_', Routes ++ [{'_', erlmcp_native_http_handler, not_found}]}],
    listen(Options, cowboy_router:compile(Everywhere), deadline()).

%% Until when a port that is taken is tried again: not at all, unless a listener of ours was killed.
deadline() ->
    try ranch_server:get_transport_options(?REF) of
        _ -> erlang:monotonic_time(millisecond) + ?ENDING_MS
    catch
        error:badarg -> erlang:monotonic_time(millisecond)
    end.

listen(#{port := Port, ip := Ip, max_connections := MaxConnections} = Options, Dispatch, Deadline) ->
    #{idle_timeout_ms := IdleTimeoutMs, send_timeout_ms := SendTimeoutMs} = Options,
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
            {send_timeout, SendTimeoutMs},
            {send_timeout_close, true},
            {sndbuf, ?SEND_BUFFER},
            {buffer, ?RECEIVE_BUFFER}
        ]
    },
    Protocol = #{
        env => #{dispatch => Dispatch},
        erlmcp_native_http_door => erlmcp_native_http_door:new(Options),
        stream_handlers => [erlmcp_native_http_guard, cowboy_compress_h, cowboy_stream_h],
        protocols => [http],
        connection_type => supervisor,
        dynamic_buffer => false,
        max_request_line_length => ?MAX_LINE,
        max_header_value_length => ?MAX_LINE,
        max_headers => 64,
        max_skip_body_length => ?MAX_LINE,
        max_keepalive => 1000,
        %% From one request to the end of the next.
        request_timeout => IdleTimeoutMs,
        idle_timeout => 15000
    },
    #{start := {Module, Function, Args}} = ranch:child_spec(?REF, ranch_tcp, Transport, cowboy_clear, Protocol),
    %% What a listener with other options may have left behind when it was killed.
    ok = ranch_server:cleanup_listener_opts(?REF),
    case apply(Module, Function, Args) of
        {ok, Pid} -> {ok, Pid};
        {error, Reason} -> again(why(Reason, Port), Options, Dispatch, Deadline)
    end.

again({listen, _, eaddrinuse} = Reason, Options, Dispatch, Deadline) ->
    case erlang:monotonic_time(millisecond) < Deadline of
        true -> receive after ?AGAIN_MS -> listen(Options, Dispatch, Deadline) end;
        false -> {error, Reason}
    end;
again(Reason, _, _, _) ->
    {error, Reason}.

why({shutdown, {failed_to_start_child, _, Reason}}, Port) -> why(Reason, Port);
why({listen_error, _, Reason}, Port) -> {listen, Port, Reason};
why(Reason, _) -> Reason.
