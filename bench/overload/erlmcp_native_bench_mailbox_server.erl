-module(erlmcp_native_bench_mailbox_server).
-moduledoc "A server that answers and does nothing else.".

-behaviour(gen_server).

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2]).

-doc "Starts it.".
-spec start_link() -> gen_server:start_ret().
start_link() -> gen_server:start_link(?MODULE, [], []).

-doc false.
-spec init([]) -> {ok, []}.
init([]) -> {ok, []}.

-doc false.
-spec handle_call(ping, gen_server:from(), []) -> {reply, pong, []}.
handle_call(ping, _, State) -> {reply, pong, State}.

-doc false.
-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_, State) -> {noreply, State}.
