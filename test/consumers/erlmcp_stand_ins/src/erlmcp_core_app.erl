%% erlmcp's application.
-module(erlmcp_core_app).

-behaviour(application).

-export([start/2, stop/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    case erlmcp_core_sup:start_link() of
        {ok, Pid} -> {ok, Pid};
        ignore -> {error, ignored};
        {error, _} = Error -> Error
    end.

-spec stop(term()) -> ok.
stop(_State) ->
    ok.
