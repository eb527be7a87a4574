-module(erlmcp_native_integration_handler).
-moduledoc "A handler of cowboy that adds up the `params` of a request, and takes its time. It gives nothing up.".

-behaviour(cowboy_handler).

-export([init/2]).

-doc false.
-spec init(cowboy_req:req(), Milliseconds) -> {ok, cowboy_req:req(), Milliseconds} when
    Milliseconds :: non_neg_integer().
init(Req, Milliseconds) ->
    {ok, Body, Read} = cowboy_req:read_body(Req),
    #{~"params" := Params} = json:decode(Body),
    receive
    after Milliseconds -> ok
    end,
    Answer = json:encode(#{~"result" => lists:sum(Params)}),
    {ok, cowboy_req:reply(200, #{~"content-type" => ~"application/json"}, Answer, Read), Milliseconds}.
