%% What a document's blocks find: the application with its services, as a reader's node has it, and somebody who
%% writes down what is printed. Each document has its own, and leaves nothing behind.
-module(erlmcp_native_document_node).

-export([run/1, configure/1, settle/0, bindings/0, listener/1, any_port/1, printed/0]).
-export([device/2]).

-define(APP, erlmcp_native).
-define(PATIENCE_MS, 60000).

%% Runs the fun in a process that has the application and a group leader of its own.
-spec run(fun(() -> Result)) -> Result.
run(Fun) ->
    Level = erlmcp_native_test_lib:quiet(),
    {ok, _} = application:ensure_all_started(cowboy),
    Before = #{names => registered(), listeners => listeners(), env => environment()},
    {ok, _} = application:ensure_all_started(?APP),
    Device = spawn(?MODULE, device, [self(), []]),
    {Pid, Monitor} = spawn_monitor(fun() ->
        group_leader(Device, self()),
        heard(),
        %% What it was linked to goes with it.
        exit({shutdown, {result, Fun()}})
    end),
    try
        receive
            {'DOWN', Monitor, process, Pid, {shutdown, {result, Result}}} -> Result;
            {'DOWN', Monitor, process, Pid, Reason} -> error({the_document_ended_with, Reason})
        after ?PATIENCE_MS -> error({not_within_ms, ?PATIENCE_MS, process_info(Pid, current_stacktrace)})
        end
    after
        exit(Pid, kill),
        leave(Device, Before),
        erlmcp_native_test_lib:loud(Level)
    end.

%% What handlers print is written down as well: they have their group leader from the service.
heard() ->
    [group_leader(group_leader(), whereis(Service)) || Service <- services()].

services() ->
    Services = [erlmcp_queue_limits, erlmcp_overload_monitor, erlmcp_control_plane],
    [Service || Service <- Services, whereis(Service) =/= undefined].

%% Whoever the document has started has its group leader.
leave(Device, #{names := Names, listeners := Listeners, env := Environment}) ->
    _ = application:stop(?APP),
    ok = erlmcp_native_document_elixir:stop(),
    erlmcp_native_test_lib:eventually(fun() -> not lists:member(erlmcp_native_http, listeners()) end),
    [ranch:stop_listener(Listener) || Listener <- listeners() -- Listeners],
    [exit(P, kill) || P <- processes(), process_info(P, group_leader) =:= {group_leader, Device}],
    exit(Device, kill),
    reset(Environment),
    erlmcp_native_test_lib:eventually(fun() -> registered() -- Names =:= [] end).

environment() ->
    [{App, application:get_all_env(App)} || App <- [?APP, erlmcp_core]].

reset(Environment) ->
    [
        begin
            [application:unset_env(App, Key) || {Key, _} <- application:get_all_env(App)],
            application:set_env([{App, Values}])
        end
     || {App, Values} <- Environment
    ].

%% The node as it is after a start with this configuration.
-spec configure([{atom(), [{atom(), term()}]}]) -> ok | {error, term()}.
configure(Configuration) ->
    _ = application:stop(?APP),
    ok = application:set_env(Configuration),
    case application:ensure_all_started(?APP) of
        {ok, _} -> heard(), ok;
        {error, Reason} -> {error, Reason}
    end.

%% A reader types more slowly than this: by the next line, the services have done what they were told.
-spec settle() -> ok.
settle() ->
    _ = [sys:get_state(Service) || Service <- services()],
    ok.

%% What expressions may take for granted.
-spec bindings() -> erl_eval:binding_struct().
bindings() ->
    #{
        'Pid' => erlmcp_native_test_lib:idle(),
        'Server' => spawn_link(fun answering/0),
        'Id' => 7,
        'Request' => request,
        'MyRoutes' => []
    }.

answering() ->
    receive
        {'$gen_call', From, Request} -> gen_server:reply(From, Request)
    end,
    answering().

%% Documents name the port of a listener. Here it is any that is free.
-spec any_port(binary()) -> binary().
any_port(Text) ->
    Port = ~B"(start_(?:clear|tls)\(\w+, \[\{port,|http, #\{port =>|http: \[port:) *\d+\b",
    re:replace(Text, Port, ~B"\1 0", [global, {return, binary}]).

%% Who listens where the document says that somebody does: this application's own port is 9464 by convention, and any
%% other is that of the one listener that the document has started.
-spec listener(Port :: string()) -> {ok, inet:port_number()} | {error, string()}.
listener("9464") ->
    case erlmcp_native_http:port() of
        undefined ->
            ok = application:set_env(?APP, http, #{port => 0}),
            ok = erlmcp_native_app:reload_config(),
            {ok, erlmcp_native_http:port()};
        Port ->
            {ok, Port}
    end;
listener(_) ->
    case listeners() -- [erlmcp_native_http] of
        [Ref] -> {ok, ranch:get_port(Ref)};
        Refs -> {error, lists:flatten(io_lib:format("nobody, or more than one, listens: ~tp", [Refs]))}
    end.

%% Not by ranch:info/0, which asks them: one may be on its way out.
listeners() ->
    [Ref || [Ref] <- ets:match(ranch_server, {{listener_sup, '$1'}, '_'})].

%% What was printed since this was last asked, and what `ct_doctest` had to say meanwhile.
-spec printed() -> {Printed :: binary(), Remarks :: binary()}.
printed() ->
    Device = group_leader(),
    Device ! {printed, self()},
    receive
        {printed, Device, Texts} ->
            {Remarks, Printed} = lists:partition(fun is_remark/1, Texts),
            {iolist_to_binary(Printed), iolist_to_binary([Remark || Remark <- Remarks, is_failure(Remark)])}
    after ?PATIENCE_MS -> error(the_device_is_gone)
    end.

%% Of its option `verbose`; each is one request.
is_remark(Text) -> string:prefix(Text, "ct_doctest(verbose): ") =/= nomatch.

is_failure(Remark) -> string:prefix(Remark, "ct_doctest(verbose): failed") =/= nomatch.

%% The I/O protocol, as far as printing goes. It ends with its maker.
device(Maker, Printed) when is_pid(Maker) ->
    device(monitor(process, Maker), Printed);
device(Monitor, Printed) ->
    receive
        {io_request, From, Ref, Request} ->
            {Answer, Text} = asked(Request),
            From ! {io_reply, Ref, Answer},
            device(Monitor, [iolist_to_binary(Text) | Printed]);
        {printed, From} ->
            From ! {printed, self(), lists:reverse(Printed)},
            device(Monitor, []);
        {'DOWN', Monitor, process, _, _} ->
            ok
    end.

asked({put_chars, Encoding, Chars}) -> {ok, unicode:characters_to_binary(Chars, Encoding)};
asked({put_chars, Encoding, M, F, A}) -> asked({put_chars, Encoding, apply(M, F, A)});
asked({requests, Requests}) ->
    lists:foldl(
        fun(Request, {_, Text}) ->
            {Answer, More} = asked(Request),
            {Answer, [Text, More]}
        end,
        {ok, []},
        Requests
    );
asked(getopts) -> {[{encoding, unicode}], []};
asked({setopts, _}) -> {ok, []};
asked({get_geometry, _}) -> {{error, enotsup}, []};
asked(_) -> {{error, request}, []}.
