-module(erlmcp_native_http_connections).
-moduledoc """
Ends when ranch's supervisor of the connections has ended, so that the listener is started anew.

ranch starts that supervisor again by itself, but its acceptors go on handing connections to the one that is dead, and
close each.
""".

-behaviour(gen_server).

-export([start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-doc "Starts the process that watches over the connections of a listener, by ranch's name for that.".
-spec start_link(ranch:ref()) -> gen_server:start_ret().
start_link(Ref) ->
    gen_server:start_link(?MODULE, Ref, []).

-doc false.
-spec init(ranch:ref()) -> {ok, [reference()], hibernate}.
init(Ref) ->
    Monitors = [erlang:monitor(process, Pid) || {_, Pid} <- ranch_server:get_connections_sups(Ref)],
    {ok, Monitors, hibernate}.

-doc false.
-spec handle_call(term(), gen_server:from(), State) -> {reply, {error, unknown_call}, State}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), State) -> {noreply, State}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), State) -> {noreply, State} | {stop, {connections_ended, term()}, State}.
handle_info({'DOWN', Monitor, process, _, Reason}, Monitors) ->
    case lists:member(Monitor, Monitors) of
        true -> {stop, {connections_ended, Reason}, Monitors};
        false -> {noreply, Monitors}
    end;
handle_info(_Info, State) ->
    {noreply, State}.
