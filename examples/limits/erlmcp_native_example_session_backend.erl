-module(erlmcp_native_example_session_backend).
-moduledoc """
A session store that can be asked whether it lives, and told to drop a session, however much it has queued.

```erlang
1> {ok, _} = application:ensure_all_started(erlmcp_native).
2> {ok, Backend} = erlmcp_native_example_session_backend:start_link().
3> ok = erlmcp_native_example_session_backend:store(Backend, ~"s1", #{user => ~"ann"}).
4> ok = erlmcp_native_example_ping:ping(Backend, 1000).
5> ok = erlmcp_native_example_session_backend:cancel(Backend, ~"s1").
6> erlmcp_native_example_session_backend:fetch(Backend, ~"s1").
{error,not_found}
```

All that it takes is the alias made in `init/1` and clauses of `handle_info/2`; senders use the pid. How much it may
have queued is the limit of the role `session_backend`, and it knows nothing of that.
""".

-behaviour(gen_server).

-export([start_link/0, store/3, fetch/2, cancel/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(ROLE, session_backend).
-define(PATIENCE_MS, 5000).

-type state() :: #{SessionId :: term() => Data :: term()}.

-doc "Starts an empty store of sessions, linked to the caller.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link(?MODULE, [], []).

-doc "Stores a session, when its turn comes.".
-spec store(pid(), SessionId :: term(), Data :: term()) ->
    ok | erlmcp_overload_mailbox:refused() | {error, noproc}.
store(Backend, SessionId, Data) ->
    erlmcp_overload_mailbox:cast(?ROLE, Backend, {store, SessionId, Data}).

-doc "Fetches a session, when its turn comes.".
-spec fetch(pid(), SessionId :: term()) ->
    {ok, Data :: term()} | {error, not_found} | erlmcp_overload_mailbox:refused() | {error, noproc}.
fetch(Backend, SessionId) ->
    case erlmcp_overload_mailbox:call(?ROLE, Backend, {fetch, SessionId}, ?PATIENCE_MS) of
        {ok, Found} -> Found;
        Refused -> Refused
    end.

-doc "Drops a session, before all that is queued.".
-spec cancel(pid(), SessionId :: term()) -> ok.
cancel(Backend, SessionId) ->
    erlmcp_priority:send_priority(Backend, {cancel_session, SessionId}, self()).

-doc false.
-spec init([]) -> {ok, state()}.
init([]) ->
    _ = erlmcp_priority:create_priority_alias(),
    {ok, #{}}.

-doc false.
-spec handle_call({fetch, term()}, gen_server:from(), state()) ->
    {reply, {ok, term()} | {error, not_found}, state()}.
handle_call({fetch, SessionId}, _From, Sessions) ->
    case Sessions of
        #{SessionId := Data} -> {reply, {ok, Data}, Sessions};
        #{} -> {reply, {error, not_found}, Sessions}
    end.

-doc false.
-spec handle_cast({store, term(), term()}, state()) -> {noreply, state()}.
handle_cast({store, SessionId, Data}, Sessions) ->
    {noreply, Sessions#{SessionId => Data}}.

-doc false.
-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({priority, From, {ping, Ref}}, Sessions) ->
    From ! {pong, Ref},
    {noreply, Sessions};
handle_info({priority, _From, {cancel_session, SessionId}}, Sessions) ->
    {noreply, maps:remove(SessionId, Sessions)};
handle_info(_Info, Sessions) ->
    {noreply, Sessions}.
