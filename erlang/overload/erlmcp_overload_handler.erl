-module(erlmcp_overload_handler).
-moduledoc """
What is done about overload: the behaviour of handlers.

```erlang
-module(pager).
-behaviour(erlmcp_overload_handler).
-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).

init(Number) -> {ok, Number}.
handle_alert(#{level := overload, process := Owner}, Number) ->
    logger:alert("call ~ts: ~tp is full", [Number, Owner]),
    {ok, Number};
handle_alert(_Alert, Number) ->
    {ok, Number}.
handle_clear(_Alert, Number) -> {ok, Number}.
handle_role(_Role, _OpenOrClose, Number) -> {ok, Number}.
```

and `{overload, #{handlers => [{pager, "…"}]}}` in the configuration, or `handlers` among the options of
`erlmcp_overload_monitor:start_link/1`.

Each handler has a process of its own, at process priority `high`, so that busy processes do not delay it: what
takes long is to be handed on. A callback that takes longer than 5 s, crashes or returns anything
else is given up: it is logged, the handler starts anew with `init/1`, and what it was told counts as told.
Time in which the machine stands still, as a virtual machine that is paused, is not counted.
Others do not wait for it. While it is busy up to 10000 messages wait for it; of more the oldest are dropped,
and counted in the log.
""".

-export([start/2, tell/2, stop/1, callbacks/0]).

-export_type([call/0]).

-doc "Makes the handler's state; it is called at the start, and again after a crash.".
-callback init(Arg :: term()) -> {ok, State :: term()}.
-doc "Is told that an owner's alert level has risen, or lasts.".
-callback handle_alert(erlmcp_overload_monitor:alert(), State) -> {ok, State}.
-doc "Is told that an owner has left a level.".
-callback handle_clear(erlmcp_overload_monitor:alert(), State) -> {ok, State}.
-doc "Is told that a role has reached the level at which its breaker opens, or has left it.".
-callback handle_role(erlmcp_queue_limits:role(), open | close, State) -> {ok, State}.

-doc "A call is a callback and its arguments, but for the state.".
-type call() ::
    {handle_alert, [erlmcp_overload_monitor:alert()]}
    | {handle_clear, [erlmcp_overload_monitor:alert()]}
    | {handle_role, [atom()]}.

-doc "Returns the callbacks that a handler must export.".
-spec callbacks() -> [{atom(), arity()}].
callbacks() ->
    [{init, 1}, {handle_alert, 2}, {handle_clear, 2}, {handle_role, 3}].

-doc "Starts the processes of a handler, not linked to the caller, if the node has room for them.".
-spec start(module(), term()) -> pid() | no_room.
start(Module, Arg) ->
    erlmcp_overload_runner:start(Module, Arg).

-doc "Has a callback called, after those that were asked for before.".
-spec tell(pid(), call()) -> ok.
tell(Pid, Call) ->
    gen_server:cast(Pid, {tell, Call}).

-doc "Ends a handler's processes.".
-spec stop(pid()) -> ok.
stop(Pid) ->
    gen_server:cast(Pid, stop).
