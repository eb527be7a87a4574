-module(erlmcp_native_http_stream).
-moduledoc """
`/events`: snapshots and alerts as server-sent events, as long as the client reads them.

The process asks the hub (`m:erlmcp_native_events`) for what comes next when the connection has taken what was before;
a client that reads slowly gets fewer snapshots, and holds nobody up. One that does not read at all is closed when the
listener's `send_timeout` has passed with nothing sent: ten seconds on `m:erlmcp_native_http`'s own listener. Should the
hub die, the stream ends, and the client comes again.
""".

-compile(nowarn_undefined_behaviour).
-behaviour(cowboy_loop).

-export([init/2, info/3]).

-doc false.
-spec init(cowboy_req:req(), MaxStreams :: pos_integer()) ->
    {ok, cowboy_req:req(), term()} | {cowboy_loop, cowboy_req:req(), reference(), hibernate}.
init(Req, MaxStreams) ->
    maybe
        ok ?= erlmcp_native_http_reply:admit(Req),
        {ok, _} ?= check(cowboy_req:qs(Req)),
        {ok, Position} ?= join(Req, MaxStreams),
        begin_stream(Position, Req, MaxStreams)
    else
        {error, Answer} -> {ok, erlmcp_native_http_reply:send(Answer, Req), MaxStreams}
    end.

check(Query) ->
    case erlmcp_native_http_query:check(Query, []) of
        {ok, _} = Ok -> Ok;
        {error, Problem} -> {error, erlmcp_native_http_reply:problem(Problem)}
    end.

join(#{method := ~"HEAD"}, _) ->
    {ok, nowhere};
join(Req, MaxStreams) ->
    case erlmcp_native_events:join(MaxStreams, last_event_id(Req)) of
        {ok, Position} ->
            {ok, Position};
        {error, full} ->
            Reason = <<"there are ", (integer_to_binary(MaxStreams))/binary, " event streams already">>,
            {error, erlmcp_native_http_reply:failure(503, Reason)};
        {error, not_started} ->
            {error, erlmcp_native_http_reply:failure(503, ~"the hub of the event streams is not started")}
    end.

begin_stream(nowhere, Req, MaxStreams) ->
    {ok, begin_reply(Req), MaxStreams};
begin_stream(Position, Req, _) ->
    Hub = erlang:monitor(process, erlmcp_native_events),
    cowboy_req:cast({set_options, #{idle_timeout => infinity}}, Req),
    Begun = begin_reply(Req),
    ok = cowboy_req:stream_body(~"retry: 2000\n\n", nofin, Begun),
    ok = erlmcp_native_events:next(Position),
    {cowboy_loop, Begun, Hub, hibernate}.

%% In HTTP/1 the connection is told to close, so that what else the client sends is not kept for after the stream.
begin_reply(#{version := Version} = Req) ->
    Headers = #{
        ~"content-type" => ~"text/event-stream",
        ~"cache-control" => ~"no-store",
        ~"x-accel-buffering" => ~"no",
        ~"x-content-type-options" => ~"nosniff"
    },
    Closing =
        if
            Version =:= 'HTTP/1.1'; Version =:= 'HTTP/1.0' -> Headers#{~"connection" => ~"close"};
            true -> Headers
        end,
    cowboy_req:stream_reply(200, Closing, Req).

%% One that is none is as good as none: a browser that has it would not come again after an error.
last_event_id(Req) ->
    Given = cowboy_req:header(~"last-event-id", Req, <<>>),
    case byte_size(Given) =< 20 andalso re:run(Given, ~"^[0-9]+\\z", [{capture, none}]) of
        match -> binary_to_integer(Given);
        _ -> none
    end.

-doc false.
-spec info(term(), cowboy_req:req(), reference()) ->
    {ok, cowboy_req:req(), reference(), hibernate} | {stop, cowboy_req:req(), reference()}.
info({erlmcp_native_events, Position, Events}, Req, Hub) ->
    ok = cowboy_req:stream_body(Events, nofin, Req),
    ok = erlmcp_native_events:next(Position),
    {ok, Req, Hub, hibernate};
info({'DOWN', Hub, process, _, _}, Req, Hub) ->
    {stop, Req, Hub};
info(_Stray, Req, Hub) ->
    {ok, Req, Hub, hibernate}.
