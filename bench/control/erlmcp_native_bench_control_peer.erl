-module(erlmcp_native_bench_control_peer).
-moduledoc """
A process with a priority alias, that answers whatever it gets and counts data: the bare ping-pong, and a
component that wants control messages in its own process.
""".

-export([start/1, start/2, stop/1, ping/1, call/1, data/0, taken/1, init/3]).

-export_type([work/0]).

-doc "This is what a peer does with data, besides counting it: nothing, or decode the JSON.".
-type work() :: drop | decode.

-doc "Starts a peer at a process priority that drops data.".
-spec start(normal | high) -> {pid(), erlmcp_priority:alias()}.
start(Priority) ->
    start(Priority, drop).

-doc "Starts a peer at a process priority that does this with data, its message queue off-heap.".
-spec start(normal | high, work()) -> {pid(), erlmcp_priority:alias()}.
start(Priority, Work) ->
    Pid = spawn_opt(?MODULE, init, [self(), Priority, Work], [link, {message_queue_data, off_heap}]),
    receive
        {Pid, Alias} -> {Pid, Alias}
    end.

-doc "Ends the process of a peer.".
-spec stop(pid()) -> ok.
stop(Pid) ->
    true = unlink(Pid),
    Monitor = erlang:monitor(process, Pid),
    exit(Pid, kill),
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    end.

-doc "Sends a message to a peer and back through the alias, and nothing besides: no monitor, no deadline.".
-spec ping(erlmcp_priority:alias()) -> ok.
ping(Alias) ->
    Tag = make_ref(),
    _ = erlang:send(Alias, {ping, self(), Tag}, [priority]),
    receive
        Tag -> ok
    end.

-doc "Sends an ordinary message to a peer and waits for its answer.".
-spec call(pid()) -> ok.
call(Pid) ->
    Tag = make_ref(),
    Pid ! {ping, self(), Tag},
    receive
        Tag -> ok
    end.

-doc "Makes a message that a peer counts.".
-spec data() -> term().
data() ->
    {data, <<"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}">>}.

-doc "Returns how much data a peer has taken out of its queue, when it has taken this request.".
-spec taken(pid()) -> non_neg_integer().
taken(Pid) ->
    Tag = make_ref(),
    Pid ! {taken, self(), Tag},
    receive
        {Tag, Taken} -> Taken
    end.

-doc false.
-spec init(pid(), normal | high, work()) -> no_return().
init(Starter, Priority, Work) ->
    process_flag(priority, Priority),
    Starter ! {self(), erlmcp_priority:create_priority_alias()},
    loop(Work, 0).

loop(Work, Taken) ->
    receive
        {data, Text} ->
            _ = case Work of decode -> json:decode(Text); drop -> Text end,
            loop(Work, Taken + 1);
        {priority, From, {control, _, _}} ->
            ok = erlmcp_control_plane:reply(From, ok),
            loop(Work, Taken);
        {ping, From, Tag} ->
            From ! Tag,
            loop(Work, Taken);
        {taken, From, Tag} ->
            From ! {Tag, Taken},
            loop(Work, Taken)
    end.
