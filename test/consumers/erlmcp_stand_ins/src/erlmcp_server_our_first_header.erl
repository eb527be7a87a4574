%% The server with both headers, erlmcp_native's first.
-module(erlmcp_server_our_first_header).

-include_lib("erlmcp_native/include/erlmcp_messages.hrl").
-include("erlmcp_messages.hrl").

-include("erlmcp_server.hrl").
