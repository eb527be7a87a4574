-module(erlmcp_native_http_stream).
-moduledoc """
`/events`: snapshots and alerts as server-sent events, as long as the client reads them.

With `/events?changes` the first snapshot is whole, and events `change` say what is not as it was in the one before, see
`m:erlmcp_native_http_change`; where one was left out, the next is a whole `snapshot` again.

The process asks the hub (`m:erlmcp_native_events`) for what comes next when the connection has taken what was before;
a client that reads slowly gets fewer snapshots, and holds nobody up. One that takes nothing for too long is closed
(`m:erlmcp_native_http_watch`). Should the hub die, the stream ends, and the client comes again.

In HTTP/1.1 a stream goes on until its client goes. In HTTP/2 it is renewed now and then: it ends, the client comes
again a tenth of a second later on the same connection with the number of the last event that it had, and misses
nothing. There are two reasons. Cowboy closes a connection with all its requests when the client has said nothing for
the listener's `idle_timeout`, which a handler can change for HTTP/1.1 only; it is renewed before that, unless the
listener has `reset_idle_timeout_on_send`. And there a connection takes whatever the client has no room for, and says
nothing of it to the handler before it has 8 MB; it is renewed after one, and what the client has not read when its
time is over is thrown away.
""".

-compile(nowarn_undefined_behaviour).
-behaviour(cowboy_loop).

-export([init/2, info/3]).

-export_type([options/0]).

-doc "How many streams are open at once on this node, and how long a client may take nothing.".
-type options() :: #{max_streams := pos_integer(), patience_ms := pos_integer()}.

%% What HTTP/2 puts into one frame, and TLS into one record.
-define(PIECE_BYTES, 16384).
%% In HTTP/2 the connection takes what the client has no window for, and says nothing of it before there are 8 MB.
-define(MAX_BYTES, 1048576).
%% That of cowboy.
-define(IDLE_TIMEOUT_MS, 60000).

-record(state, {
    %% The monitor of the hub, until the stream has left it.
    hub :: reference() | left,
    watch :: pid(),
    left :: integer() | infinity,
    renewal :: reference() | none
}).

-doc false.
-spec init(cowboy_req:req(), options()) ->
    {ok, cowboy_req:req(), options()} | {cowboy_loop, cowboy_req:req(), #state{}, hibernate}.
init(Req, #{max_streams := MaxStreams} = Options) ->
    maybe
        ok ?= erlmcp_native_http_reply:admit(Req),
        {ok, Position} ?= join(Req, MaxStreams),
        begin_stream(Position, Req, Options)
    else
        {error, Answer} -> {ok, erlmcp_native_http_reply:send(Answer, Req), Options}
    end.

join(#{method := ~"HEAD"}, _) ->
    {ok, nowhere};
join(Req, MaxStreams) ->
    case erlmcp_native_events:join(MaxStreams, last_event_id(Req), wish(Req)) of
        {ok, Position} ->
            {ok, Position};
        {error, full} ->
            Reason = <<"there are ", (integer_to_binary(MaxStreams))/binary, " event streams already">>,
            {error, erlmcp_native_http_reply:failure(503, Reason)};
        {error, not_started} ->
            {error, erlmcp_native_http_reply:failure(503, ~"the hub of the event streams is not started")}
    end.

begin_stream(nowhere, Req, Options) ->
    {ok, begin_reply(Req), Options};
begin_stream(Position, Req, #{patience_ms := PatienceMs}) ->
    Hub = erlang:monitor(process, erlmcp_native_events),
    Use = case is_http1(Req) of true -> own; false -> shared end,
    {ok, Watch} = erlmcp_native_http_watch:start_link(Req, Use, PatienceMs),
    %% Without effect in HTTP/2.
    cowboy_req:cast({set_options, #{idle_timeout => infinity}}, Req),
    Begun = begin_reply(Req),
    State = send(~"retry: 2000\n\n", Begun, #state{hub = Hub, watch = Watch, left = left(Req), renewal = renewal(Req)}),
    ok = erlmcp_native_events:next(Position),
    {cowboy_loop, Begun, State, hibernate}.

%% In HTTP/1 the connection is told to close, so that what else the client sends is not kept for after the stream.
begin_reply(Req) ->
    Headers = erlmcp_native_http_reply:guarded(#{
        ~"content-type" => ~"text/event-stream",
        ~"cache-control" => ~"no-store",
        ~"x-accel-buffering" => ~"no"
    }),
    Closing =
        case is_http1(Req) of
            true -> Headers#{~"connection" => ~"close"};
            false -> Headers
        end,
    cowboy_req:stream_reply(200, Closing, Req).

%% Other parameters are ignored.
wish(Req) ->
    case lists:member(~"changes", binary:split(cowboy_req:qs(Req), ~"&", [global])) of
        true -> changes;
        false -> whole
    end.

%% One that is none is as good as none: a browser that has it would not come again after an error.
last_event_id(Req) ->
    Given = cowboy_req:header(~"last-event-id", Req, <<>>),
    case byte_size(Given) =< 20 andalso re:run(Given, ~"^[0-9]+\\z", [{capture, none}]) of
        match -> binary_to_integer(Given);
        _ -> none
    end.

%% What a stream may send before it is renewed.
left(Req) ->
    case is_http1(Req) of
        true -> infinity;
        false -> ?MAX_BYTES
    end.

%% The timer that renews it before the connection is idle for too long. By chance, so that not all streams of a
%% connection end at once.
renewal(#{ref := Ref} = Req) ->
    case is_http1(Req) orelse listener(Ref) of
        true -> none;
        #{reset_idle_timeout_on_send := true} -> none;
        #{idle_timeout := infinity} -> none;
        Options -> timer(maps:get(idle_timeout, Options, ?IDLE_TIMEOUT_MS))
    end.

timer(IdleMs) ->
    erlang:start_timer(IdleMs div 2 + rand:uniform(3 * IdleMs div 10 + 1), self(), renew).

%% A request that had its connection turned into one of HTTP/2 is one of HTTP/1.1 itself.
is_http1(#{version := Version, headers := #{~"upgrade" := _, ~"http2-settings" := _}, ref := Ref}) ->
    Version =:= 'HTTP/1.1' andalso not lists:member(http2, maps:get(protocols, listener(Ref), [http2, http]));
is_http1(#{version := Version}) ->
    Version =:= 'HTTP/1.1' orelse Version =:= 'HTTP/1.0'.

%% Its options for the protocol.
listener(Ref) ->
    try
        #{} = ranch:get_protocol_options(Ref)
    catch
        error:_ -> #{}
    end.

-doc false.
-spec info(term(), cowboy_req:req(), #state{}) ->
    {ok, cowboy_req:req(), #state{}, hibernate} | {stop, cowboy_req:req(), #state{}}.
info({erlmcp_native_events, Position, Events}, Req, #state{hub = Hub} = State) when Hub =/= left ->
    case send(Events, Req, State) of
        #state{left = Left} = Sent when Left < 0 ->
            {ok, Req, renewed(Req, Sent), hibernate};
        Sent ->
            ok = erlmcp_native_events:next(Position),
            {ok, Req, Sent, hibernate}
    end;
info({timeout, Timer, renew}, Req, #state{renewal = Timer} = State) ->
    {ok, Req, renewed(Req, State), hibernate};
info({'DOWN', Hub, process, _, _}, Req, #state{hub = Hub} = State) ->
    {stop, Req, State};
info(_Stray, Req, State) ->
    {ok, Req, State, hibernate}.

%% In pieces, each of which the client has to take in time: one that reads slowly is told from one that does not.
send(Data, Req, #state{watch = Watch, left = Left} = State) ->
    Bytes = lists:sum([piece(Piece, nofin, Req, Watch) || Piece <- pieces(erlang:iolist_to_iovec(Data), [], 0)]),
    ok = erlmcp_native_http_watch:idle(Watch),
    case Left of
        infinity -> State;
        _ -> State#state{left = Left - Bytes}
    end.

piece(Piece, IsFin, Req, Watch) ->
    ok = erlmcp_native_http_watch:sending(Watch),
    ok = cowboy_req:stream_body(Piece, IsFin, Req),
    iolist_size(Piece).

%% Nothing is copied.
pieces([], [], 0) ->
    [];
pieces([], Piece, _) ->
    [lists:reverse(Piece)];
pieces([Binary | Rest], Piece, Size) when Size + byte_size(Binary) < ?PIECE_BYTES ->
    pieces(Rest, [Binary | Piece], Size + byte_size(Binary));
pieces([Binary | Rest], Piece, Size) ->
    <<Fits:(?PIECE_BYTES - Size)/binary, More/binary>> = Binary,
    [lists:reverse([Fits | Piece]) | pieces([More | Rest], [], 0)].

%% The client comes again at once, on the same connection, and says where it was. This process stays until it must have
%% read the last of this one.
renewed(Req, #state{hub = Hub, watch = Watch, renewal = Timer} = State) ->
    true = erlang:demonitor(Hub, [flush]),
    ok = erlmcp_native_events:leave(),
    _ = Timer =/= none andalso erlang:cancel_timer(Timer),
    _ = piece(~"retry: 100\n\n", fin, Req, Watch),
    ok = erlmcp_native_http_watch:ended(Watch),
    State#state{hub = left, renewal = none}.
