-module(erlmcp_native_example_degraded).
-moduledoc """
A server that also works where the runtime has no priority aliases. The messages are the same and so is their
handling; they only wait for their turn, and the sender is told so.

```erlang
1> {ok, _} = application:ensure_all_started(erlmcp_native).
2> {ok, Server} = erlmcp_native_example_degraded:start_link().
3> erlmcp_native_example_degraded:signal(Server, report).
priority
4> {ok, Older} = erlmcp_native_example_degraded:start_link(fun() -> error(badarg) end).
5> ok = erlmcp_native_example_degraded:add(Older, 42).
6> erlmcp_native_example_degraded:signal(Older, report).
ordinary
7> receive {sum, 42} -> after_what_waited end.
after_what_waited
```

What waits has the limit of the role `summand`. A control message that has to wait counts too, and is never refused.
""".

-behaviour(gen_server).

-export([try_create_priority_alias/1, signal/2]).
-export([start_link/0, start_link/1, add/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(ROLE, summand).

-include_lib("kernel/include/logger.hrl").

-export_type([create/0]).

-doc """
A creator makes a priority alias, or raises `badarg`: `fun erlmcp_priority:create_priority_alias/0`, or a stand-in.
""".
-type create() :: fun(() -> erlmcp_priority:alias()).

-doc "Returns a priority alias of the calling process, or `undefined` where there are none.".
-spec try_create_priority_alias(create()) -> erlmcp_priority:alias() | undefined.
try_create_priority_alias(Create) ->
    try
        Create()
    catch
        error:badarg ->
            ?LOG_NOTICE("no priority aliases (OTP 28 or newer is needed): control messages wait for their turn"),
            undefined
    end.

-doc """
Sends `{priority, self(), Message}`: ahead of ordinary messages if the process has a priority alias, else as
one of them. Returns which.
""".
-spec signal(pid(), Message :: term()) -> priority | ordinary.
signal(Server, Message) ->
    try
        ok = erlmcp_priority:send_priority(Server, Message, self()),
        priority
    catch
        error:badarg ->
            Server ! {priority, self(), Message},
            ordinary
    end.

-doc "Starts a server that adds up numbers.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    start_link(fun erlmcp_priority:create_priority_alias/0).

-doc "Starts a server that adds up numbers, with a stand-in for `create_priority_alias/0`.".
-spec start_link(create()) -> gen_server:start_ret().
start_link(Create) ->
    gen_server:start_link(?MODULE, Create, []).

-doc "Adds a number to the server's sum. The signal `report` is answered with `{sum, Sum}`.".
-spec add(pid(), number()) -> ok | erlmcp_overload_mailbox:refused() | {error, noproc}.
add(Server, Number) ->
    erlmcp_overload_mailbox:cast(?ROLE, Server, {add, Number}).

-doc false.
-spec init(create()) -> {ok, number()}.
init(Create) ->
    _ = try_create_priority_alias(Create),
    {ok, 0}.

-doc false.
-spec handle_call(term(), gen_server:from(), number()) -> {reply, {error, unknown_call}, number()}.
handle_call(_Call, _From, Sum) ->
    {reply, {error, unknown_call}, Sum}.

-doc false.
-spec handle_cast({add, number()}, number()) -> {noreply, number()}.
handle_cast({add, Number}, Sum) ->
    {noreply, Sum + Number}.

-doc false.
-spec handle_info(term(), number()) -> {noreply, number()}.
handle_info({priority, From, report}, Sum) ->
    From ! {sum, Sum},
    {noreply, Sum};
handle_info(_Info, Sum) ->
    {noreply, Sum}.
