-module(erlmcp_native_example_http).
-moduledoc """
A handler of cowboy that passes JSON-RPC requests on to a session, with a limit where requests are handled and another
where they wait.

```erlang
1> {ok, _} = application:ensure_all_started([erlmcp_native, cowboy]).
2> {ok, _} = erlmcp_native_example_session:start_link(session_1).
3> Work = fun(#{~"params" := Params}) -> lists:sum(Params) end.
4> Dispatch = cowboy_router:compile([{'_', erlmcp_native_example_http:routes(session_1, Work)}]).
5> {ok, _} = cowboy:start_clear(example, [{port, 8080}], #{env => #{dispatch => Dispatch}}).
```

```sh
curl -i -d '{"jsonrpc":"2.0","id":1,"method":"sum","params":[1,2,3]}' http://127.0.0.1:8080/rpc
```

```output
HTTP/1.1 200 OK
...
{"id":1,"jsonrpc":"2.0","result":6}
```

Requests that are being handled hold a place each in the role `http_request`, under the name of this module: the
handler's process does the work, and when cowboy kills it, because the client left, the place is free at once. What it
has asked the session for is then still in the session's mailbox. That is limited too, by
`m:erlmcp_native_example_session`, so clients that come and leave fill neither.

Whoever is refused by either gets status 503 and `retry-after`, with a JSON-RPC error. Nobody's rate is limited here:
see `m:erlmcp_native_example_admission`, which stands before this.
""".

-behaviour(cowboy_handler).

-export([routes/2]).
-export([init/2]).

-export_type([work/0]).

-define(ROLE, http_request).
-define(LONGEST_BODY, 65536).
%% Of JSON-RPC.
-define(INVALID_REQUEST, -32600).

-doc "Work makes a result of a request, both as `m:json` has them.".
-type work() :: fun((Request :: map()) -> json:encode_value()).

-doc "Returns the routes of a session's requests, for `cowboy_router:compile/1`.".
-spec routes(Session :: atom(), work()) -> [{Path :: string(), Handler :: module(), InitialState :: term()}].
routes(Session, Work) ->
    [{"/rpc", ?MODULE, {Session, Work}}].

-doc false.
-spec init(cowboy_req:req(), {atom(), work()}) -> {ok, cowboy_req:req(), {atom(), work()}}.
init(Req, State) ->
    Handle = fun() -> handle(Req, State) end,
    case erlmcp_queue_limits:with_capacity(?ROLE, ?MODULE, Handle) of
        {ok, Replied} -> {ok, Replied, State};
        {error, _} = Refused -> {ok, refuse(null, Refused, Req), State}
    end.

handle(Req, {Session, Work}) ->
    case cowboy_req:read_body(Req, #{length => ?LONGEST_BODY}) of
        {ok, Body, Read} -> respond(request(Body), Session, Work, Read);
        {more, _, Read} -> cowboy_req:reply(413, Read)
    end.

request(Body) ->
    try json:decode(Body) of
        #{~"id" := _} = Request -> Request;
        _ -> invalid
    catch
        error:_ -> invalid
    end.

respond(invalid, _Session, _Work, Req) ->
    Error = #{~"code" => ?INVALID_REQUEST, ~"message" => ~"Invalid request"},
    answer(200, #{}, #{~"jsonrpc" => ~"2.0", ~"id" => null, ~"error" => Error}, Req);
respond(#{~"id" := Id} = Request, Session, Work, Req) ->
    case erlmcp_native_example_session:try_request(Session, Id, fun() -> Work(Request) end) of
        {ok, Response} -> answer(200, #{}, Response, Req);
        {error, _} = Refused -> refuse(Id, Refused, Req)
    end.

%% Status and fields as they are for any client, and what a client of JSON-RPC reads.
refuse(Id, {error, {_, Stats}} = Refused, Req) ->
    {Status, Headers, _Problem} = erlmcp_overload_http:to_http(Refused),
    answer(Status, maps:from_list(Headers), erlmcp_queue_limits:to_json_rpc_error(Id, Stats), Req).

answer(Status, Headers, Response, Req) ->
    cowboy_req:reply(Status, Headers#{~"content-type" => ~"application/json"}, json:encode(Response), Req).
