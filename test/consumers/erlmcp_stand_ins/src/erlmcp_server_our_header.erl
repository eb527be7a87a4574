%% The server with erlmcp_native's header.
-module(erlmcp_server_our_header).

-include_lib("erlmcp_native/include/erlmcp_messages.hrl").

-include("erlmcp_server.hrl").
