%% The server with erlmcp's header.
-module(erlmcp_server_their_header).

-include("erlmcp_messages.hrl").

-include("erlmcp_server.hrl").
