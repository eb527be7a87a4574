-module(erlmcp_native_demo_epmd).
-moduledoc """
Is in the place of epmd for the nodes of the demo, so that none is started that would stay behind: each node is told the
ports of the others. Its functions are those that `m:net_kernel` calls.
""".

-export([port/0, know/1]).
-export([start_link/0, listen_port_please/2, register_node/3, address_please/3]).

-define(OWN, {?MODULE, own}).
-define(OTHERS, {?MODULE, others}).
%% Of the distribution's protocol.
-define(VERSION, 6).

-doc "Returns the port at which this node listens.".
-spec port() -> inet:port_number().
port() ->
    persistent_term:get(?OWN).

-doc "Has this node know at which ports others listen.".
-spec know(#{node() => inet:port_number()}) -> ok.
know(Ports) ->
    persistent_term:put(?OTHERS, Ports).

-doc "Answers that there is nothing to be started.".
-spec start_link() -> ignore.
start_link() ->
    ignore.

-doc "Says that a node may listen at any port.".
-spec listen_port_please(Name :: term(), Host :: term()) -> {ok, 0}.
listen_port_please(_Name, _Host) ->
    {ok, 0}.

-doc "Remembers where this node listens.".
-spec register_node(Name :: term(), inet:port_number(), Family :: term()) -> {ok, Creation :: pos_integer()}.
register_node(_Name, Port, _Family) ->
    ok = persistent_term:put(?OWN, Port),
    {ok, rand:uniform(16#fffffffe)}.

-doc "Returns where another node listens, if this one was told.".
-spec address_please(Name :: term(), Host :: term(), Family :: term()) ->
    {ok, inet:ip_address(), inet:port_number(), Version :: pos_integer()} | {error, nxdomain}.
address_please(Name, Host, _Family) ->
    Node = list_to_atom(lists:concat([Name, "@", Host])),
    case persistent_term:get(?OTHERS, #{}) of
        #{Node := Port} -> {ok, {127, 0, 0, 1}, Port, ?VERSION};
        #{} -> {error, nxdomain}
    end.
