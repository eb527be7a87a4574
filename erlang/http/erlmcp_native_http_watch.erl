-module(erlmcp_native_http_watch).
-moduledoc """
A dead man's switch for an event stream: a client that takes nothing for too long is closed, whatever the listener's
own timeouts are, in HTTP/1.1 and in HTTP/2.

The stream says when it hands a piece to its connection (`sending/1`) and when all are handed over (`idle/1`). Where the
client does not read, its connection waits in the socket's `send`, or keeps back that it has taken the piece, so the
stream waits too and cannot watch over itself: this process does. When nothing was taken for as long as the patience
lasts, the stream is ended. In HTTP/2 that frees what its connection still had for it, and its other requests go on. A
connection that is stuck in `send` is ended by resetting its socket: one that is closed otherwise stays, with all that
is queued in it, until the other side has read that.
""".

-behaviour(gen_server).

-export([start_link/3, sending/1, idle/1, ended/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    stream :: pid(),
    connection :: pid(),
    %% The client's address, by which the socket is known.
    peer :: {inet:ip_address(), inet:port_number()} | term(),
    patience_ms :: pos_integer()
}).

-define(SEND_BUFFER, 65536).
%% How long a connection that is not stuck may take to answer.
-define(ANSWER_MS, 2000).

-doc """
Starts to watch over the caller, the stream that answers this request. With a connection of its own, which it is in
HTTP/1, the kernel is told to keep no more than 64 KB for the client: it would keep megabytes, and only when it takes no
more can be seen whether the client does.
""".
-spec start_link(cowboy_req:req(), own | shared, PatienceMs :: pos_integer()) -> gen_server:start_ret().
start_link(#{pid := Connection, peer := Peer}, Use, PatienceMs) ->
    gen_server:start_link(?MODULE, {self(), Connection, Peer, Use, PatienceMs}, []).

-doc "Says that the stream hands a piece to its connection now.".
-spec sending(pid()) -> ok.
sending(Watch) ->
    gen_server:cast(Watch, sending).

-doc "Says that the connection has taken all that the stream had.".
-spec idle(pid()) -> ok.
idle(Watch) ->
    gen_server:cast(Watch, idle).

-doc "Says that the connection has taken the last piece, which the client has to read before patience is over.".
-spec ended(pid()) -> ok.
ended(Watch) ->
    gen_server:cast(Watch, ended).

-doc false.
-spec init({pid(), pid(), term(), own | shared, pos_integer()}) -> {ok, #state{}, hibernate}.
init({Stream, Connection, Peer, Use, PatienceMs}) ->
    _ = erlang:monitor(process, Stream),
    _ = Use =:= own andalso [inet:setopts(Socket, [{sndbuf, ?SEND_BUFFER}]) || Socket <- sockets(Connection, Peer)],
    {ok, #state{stream = Stream, connection = Connection, peer = Peer, patience_ms = PatienceMs}, hibernate}.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}, hibernate}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State, hibernate}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}, hibernate | pos_integer()}.
handle_cast(Said, #state{patience_ms = PatienceMs} = State) when Said =:= sending; Said =:= ended ->
    {noreply, State, PatienceMs};
handle_cast(_Idle, State) ->
    {noreply, State, hibernate}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}, hibernate} | {stop, normal, #state{}}.
handle_info(timeout, State) ->
    ok = close(State),
    {stop, normal, State};
handle_info({'DOWN', _, process, Stream, _}, #state{stream = Stream} = State) ->
    {stop, normal, State};
handle_info(_Stray, State) ->
    {noreply, State, hibernate}.

close(#state{stream = Stream, connection = Connection, peer = Peer}) ->
    true = unlink(Stream),
    true = exit(Stream, {shutdown, not_read}),
    case answers(Connection) of
        true -> ok;
        false -> reset(sockets(Connection, Peer), Connection)
    end.

%% Or is gone.
answers(Connection) ->
    try gen_server:call(Connection, count_children, ?ANSWER_MS) of
        _Children -> true
    catch
        exit:{timeout, _} -> false;
        exit:_ -> true
    end.

reset([], Connection) ->
    true = exit(Connection, kill),
    ok;
reset(Sockets, _Connection) ->
    lists:foreach(fun(Socket) -> exit(Socket, kill) end, Sockets).

%% That of TLS belongs to a process of its own, which watches over the connection.
sockets(Connection, Peer) ->
    Near = [Connection | linked(monitored_by, Connection)],
    [
        Port
     || Process <- lists:uniq(Near), is_pid(Process), Port <- linked(links, Process),
        is_port(Port), inet:peername(Port) =:= {ok, Peer}
    ].

linked(Item, Pid) ->
    try process_info(Pid, Item) of
        {Item, Near} -> Near;
        undefined -> []
    catch
        %% It is on another node.
        error:badarg -> []
    end.
