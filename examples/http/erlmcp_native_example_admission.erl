-module(erlmcp_native_example_admission).
-moduledoc """
A middleware of cowboy that refuses, for all handlers of a listener: whoever comes faster than it may with status 429,
and whoever comes when enough are being handled with 503, both with `retry-after`.

Here the handler is `m:erlmcp_native_example_http`, and each address may come twice a second:

```erlang
1> {ok, _} = application:ensure_all_started([erlmcp_native, cowboy]).
2> {ok, _} = erlmcp_native_example_session:start_link(session_1).
3> Work = fun(#{~"params" := Params}) -> lists:sum(Params) end.
4> Routes = erlmcp_native_example_http:routes(session_1, Work).
5> ok = erlmcp_overload_rate:define(api, #{rate => {2, second}}).
6> Address = fun(Req) -> {Ip, _Port} = cowboy_req:peer(Req), Ip end.
7> Options = erlmcp_native_example_admission:options(Routes, api, Address).
8> {ok, _} = cowboy:start_clear(example, [{port, 8080}], Options).
```

```sh
curl -i -d '{"jsonrpc":"2.0","id":1,"method":"sum","params":[1,2,3]}' http://127.0.0.1:8080/rpc
```

```output
HTTP/1.1 200 OK
...
ratelimit: "api";r=1
ratelimit-policy: "api";q=2;w=1
...
{"id":1,"jsonrpc":"2.0","result":6}
```

A client that is refused tells its user, or waits for as many seconds as `retry-after` says and comes again:
`curl --retry 5` does, and so do urllib3's `Retry`, and with it Python's `requests`.

How many may be handled at once is the limit of the role `http_listener`. The rate is asked first, since it costs
nothing to refuse who comes too fast, and must not take places from others. Whose rate it is, the function says: an API
key, a user, a tenant, or as here an address, behind which there may be many; behind a proxy it is the proxy's.
""".

-behaviour(cowboy_middleware).

-export([options/3]).
-export([execute/2]).

-define(ROLE, http_listener).

-doc """
Returns the options of a listener with these routes, as `cowboy:start_clear/3` takes them. `Rate` is the name of a rate
that is defined, and `Key` says whose it is.
""".
-spec options(
    Routes :: [{string(), module(), term()}],
    Rate :: erlmcp_overload_rate:name(),
    Key :: fun((cowboy_req:req()) -> erlmcp_overload_rate:key())
) -> cowboy:opts().
options(Routes, Rate, Key) ->
    #{
        env => #{dispatch => cowboy_router:compile([{'_', Routes}]), rate => Rate, key => Key},
        middlewares => [cowboy_router, ?MODULE]
    }.

-doc false.
-spec execute(cowboy_req:req(), cowboy_middleware:env()) ->
    {ok, cowboy_req:req(), cowboy_middleware:env()} | {stop, cowboy_req:req()}.
execute(Req, #{rate := Name, key := Key} = Env) ->
    %% What clients are told of the rate, in all answers, as it is now.
    Told = maps:with([rate], erlmcp_overload_rate:info(Name)),
    case erlmcp_overload_rate:take(Name, Key(Req)) of
        {ok, Remaining} ->
            Headers = erlmcp_overload_http:headers(Told#{name => Name, remaining => Remaining}),
            admit(cowboy_req:set_resp_headers(maps:from_list(Headers), Req), Env);
        {error, {rate_limited, Stats}} ->
            {stop, refuse({error, {rate_limited, maps:merge(Stats, Told)}}, Req)}
    end.

%% Stands where cowboy_handler would. The process holds a place for as long as it handles the request, or lives.
admit(Req, Env) ->
    case erlmcp_queue_limits:with_capacity(?ROLE, ?MODULE, fun() -> cowboy_handler:execute(Req, Env) end) of
        {ok, Handled} -> Handled;
        {error, _} = Refused -> {stop, refuse(Refused, Req)}
    end.

refuse(Refused, Req) ->
    {Status, Headers, Body} = erlmcp_overload_http:to_http(Refused),
    cowboy_req:reply(Status, maps:from_list(Headers), json:encode(Body), Req).
