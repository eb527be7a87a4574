-module(erlmcp_native_demo_crew).
-moduledoc """
The node's processes: clients and a noisy one, sessions, transports, tool executors, SSE streams, and those who send
control messages. The crew starts a new executor, as the same component, for each one that dies, and tells the clients.
Any other death is a fault of the demo, and ends it.

Transports take a request on to its executor if that has room, SSE streams frame a result; each counts itself one down
for what it has taken from its mailbox.
""".

-export([start/1, sessions/1, executors/1, components/1, owners/1]).

-export_type([crew/0]).

-define(CLIENTS, 8).
-define(SESSIONS, 8).
-define(TRANSPORTS, 2).
-define(EXECUTORS, 8).
-define(STREAMS, 4).
-define(PROBERS, 2).
-define(HANDLER, server).
-define(NOTED, 64).

-doc "The crew has everybody who works.".
-type crew() :: #{crew := pid(), sessions := [pid()], relays := [pid()]}.

-doc "Starts the whole crew, linked to the caller, and returns when all executors are ready.".
-spec start(erlmcp_native_demo_meter:meter()) -> crew().
start(Meter) ->
    Transports = [spawn_link(fun() -> relay(transport, Meter, ?NOTED) end) || _ <- lists:seq(1, ?TRANSPORTS)],
    Streams = [spawn_link(fun() -> relay(sse_stream, Meter, ?NOTED) end) || _ <- lists:seq(1, ?STREAMS)],
    Sessions = [
        spawn_link(fun() -> erlmcp_native_demo_session:run(Meter, Transports) end)
     || _ <- lists:seq(1, ?SESSIONS)
    ],
    Clients = [
        spawn_link(fun() -> erlmcp_native_demo_client:run(Meter, Tenant, Sessions) end)
     || Tenant <- lists:map(fun erlmcp_native_demo_tenants:tenant/1, lists:seq(1, ?CLIENTS) ++ [noisy_one])
    ],
    ok = erlmcp_control_plane:register_component(?HANDLER, fun({control, _Type, _Data}) -> ok end),
    Ids = [list_to_atom("tool_executor_" ++ integer_to_list(N)) || N <- lists:seq(1, ?EXECUTORS)],
    Run = fun(Id) ->
        Crew = self(),
        {Pid, _} = spawn_monitor(fun() -> erlmcp_native_demo_executor:run(Crew, Id, Meter, Streams) end),
        Pid
    end,
    Crew = spawn_link(fun() -> keep(#{Run(Id) => Id || Id <- Ids}, Run, Clients) end),
    await(Crew, length(Ids)),
    lists:foreach(
        fun(_) -> spawn_link(fun() -> erlmcp_native_demo_control:run(Meter, ?HANDLER, Ids) end) end,
        lists:seq(1, ?PROBERS)
    ),
    #{crew => Crew, sessions => Sessions, relays => Transports ++ Streams}.

await(Crew, Number) ->
    case length(ready(Crew)) of
        Number -> ok;
        _ -> receive after 5 -> await(Crew, Number) end
    end.

-doc "Returns all sessions, each of which has its mailbox limited.".
-spec sessions(crew()) -> [pid()].
sessions(#{sessions := Sessions}) ->
    Sessions.

-doc "Returns the executors that are ready now.".
-spec executors(crew()) -> [pid()].
executors(Crew) ->
    [Pid || {Pid, _Id} <- components(Crew)].

-doc "Returns the executors that are ready now, with what they are called in the control plane.".
-spec components(crew()) -> [{pid(), erlmcp_control_plane:component_id()}].
components(#{crew := Crew}) ->
    ready(Crew).

-doc "Returns all processes that own a queue.".
-spec owners(crew()) -> [pid()].
owners(#{sessions := Sessions, relays := Relays} = Crew) ->
    Sessions ++ Relays ++ executors(Crew).

ready(Crew) ->
    Reference = make_ref(),
    Crew ! {executors, self(), Reference},
    receive
        {Reference, Ready} -> Ready
    end.

%% An executor is its component's name until it is ready.
keep(Executors, Run, Clients) ->
    receive
        {ready, Pid} ->
            #{Pid := Id} = Executors,
            lists:foreach(fun(Client) -> Client ! {executor, Pid} end, Clients),
            keep(Executors#{Pid := {ready, Id}}, Run, Clients);
        {executors, From, Reference} ->
            From ! {Reference, [{Pid, Id} || Pid := {ready, Id} <- Executors]},
            keep(Executors, Run, Clients);
        {'DOWN', _, process, Pid, killed} ->
            {Was, Left} = maps:take(Pid, Executors),
            Id =
                case Was of
                    {ready, Name} -> Name;
                    Name -> Name
                end,
            keep(Left#{Run(Id) => Id}, Run, Clients)
    end.

relay(Role, Meter, 0) ->
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    ok = erlmcp_native_demo_meter:held(Meter, Role, Length),
    relay(Role, Meter, ?NOTED);
relay(Role, Meter, Left) ->
    receive
        Message ->
            pass(Message, Meter),
            ok = erlmcp_queue_limits:record_dequeue(Role, self()),
            relay(Role, Meter, Left - 1)
    end.

pass({forward, Executor, {work, Client, Tag, _, _, _} = Work}, Meter) ->
    ok = erlmcp_native_demo_meter:add(Meter, forwarded, 1),
    case erlmcp_queue_limits:try_enqueue(tool_executor, Executor, erlmcp_native_demo_tally:options(Tag)) of
        ok ->
            Executor ! Work;
        {error, {capacity_exceeded, Refusal}} ->
            ok = erlmcp_native_demo_tally:refused(erlmcp_native_demo_meter:tally(Meter), Tag, Refusal),
            Client ! {refused, Executor, Tag}
    end;
pass({event, Sum}, Meter) ->
    _ = iolist_size([~"event: result\ndata: ", integer_to_binary(Sum), ~"\n\n"]),
    erlmcp_native_demo_meter:add(Meter, streamed, 1).
