%% The server with both headers, erlmcp's first.
-module(erlmcp_server_their_first_header).

-include("erlmcp_messages.hrl").
-include_lib("erlmcp_native/include/erlmcp_messages.hrl").

-include("erlmcp_server.hrl").
