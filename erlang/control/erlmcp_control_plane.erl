-module(erlmcp_control_plane).
-moduledoc """
Circuit breaker trips, health checks, drains and cancellations, ahead of all data.

A component registers a handler, which gets a process of its own; a sender sends straight to that process's
priority alias. No process sits in between, and none of the component's data goes there. Among the messages
that wait, the most urgent type goes first, and within a type the first in goes first out:
`circuit_breaker`, `health_check`, `drain_session`, `cancel_task`.

```erlang
1> erlmcp_control_plane:register_component(server, fun({control, _Type, _Data}) -> ok end).
ok
2> erlmcp_control_plane:send_health_check(server, liveness).
{ok, LatencyUs}
```

A handler that returns `{error, Reason}` has the sender get that; any other value is `{ok, LatencyUs}`, where
the latency is what the sender waited, in microseconds. One that raises, is killed or takes a linked
process's crash gives `{error, {handler_crashed, Reason}}`, is logged, and leaves the component registered and
usable. A sender waits for the component's `timeout_ms`, and gets `{error, timeout}`; a late answer is dropped,
and a message is not run if its sender gave up before its turn. A sender that dies cancels nothing.
`timeout_ms` *in a message* tells the handler how long it has, and is not enforced.

A handler that is a fun written in a module goes with that version of it: loaded twice since the registration, the
module's old code is gone, and each message gives `{error, {handler_crashed, {badfun, Fun}}}`. A handler
that is to survive that is an external fun, `fun server:control/1`, or `{server, control}`, or `{server, control, Args}`
to have arguments of one's own after the message.

Handlers run at process priority `high`, so that busy ordinary processes do not delay them. A handler that
computes for long at `high` keeps ordinary processes of its scheduler from running: register it with
`priority => normal`, or have it hand the work on. A sender waits at `high`, too, and goes on at its own priority, so
that the answer is not delayed by busy ones either.

The options of `register_component/2`, of which one of the first two must be given:

| option | value | default | meaning |
| --- | --- | --- | --- |
| `handler` | undefined, or a fun of one argument, {Module, Function} or {Module, Function, ExtraArgs} |  | Runs the messages, in a process of its own. |
| `alias` | undefined, or a priority alias |  | Where messages go instead of to a handler. |
| `owner` | undefined, or a pid of this node |  | The component is unregistered when this process dies; the process of an `alias` is one. |
| `timeout_ms` | milliseconds, an integer from 0 to 2^32 - 1 | `5000` | How long a sender waits for the answer. |
| `priority` | high or normal | `high` | The process priority of the handler. |
| `rate` | a map of types to {Number, second, minute or hour} | `#{}` | How often messages of a type may be sent, `#{cancel_task => {1000, second}}` say. |

With a `rate`, more messages of a type than that are refused before they are sent: `{error, {rate_limited, Map}}`, as
`m:erlmcp_overload_rate` says it, whose `name` is the component and whose `key` the type. As many as come in one period
may come at once. Registered again, a component has used as much of its new rates, in proportion, as of those before.

A component that wants the messages in its own process registers a priority alias instead of a handler, and
answers with `reply/2`. There they come before everything in that mailbox, first in first out. Nobody sees when they are
taken out: of what it was sent of a type, all before the newest that was answered is known to be gone, and no more waits
than there are messages of all sorts in the mailbox. Senders get `queue_full` when 65536 may wait by both.

Registrations, switches and numbers survive a crash of the service's process; senders and handlers go on
meanwhile. Functions exit with `{noproc, {Module, Function, Args}}` while the service is not started, and
raise `badarg` for an id that is no atom and for a message that is none.

`{Id, Node}` instead of an id is a component of another node. The message has the same lanes and rates there, and its
sender waits as here, for the `timeout_ms` of that component. Both nodes have to be configured as parts of a cluster
(`m:erlmcp_overload_cluster`); while this one is not, `noproc` is what these calls exit with. Nobody is suspended by a
connection that is slow, and none is made:

| `{error, _}` | what it means |
| --- | --- |
| `{nodedown, Node}` | There is no connection to that node, or it ended while the sender waited. What was sent may have been run. |
| `{busy, Node}` | So much waits to be sent to that node that this was not, or one of the two has no room for a process more. |
| `{not_supported, Vsn}` | That node has no part in this: it speaks another version, or none, which is 0. |
| `timeout` | There was no answer, because that node stands still, say. A message that comes after that is not run. |

Registering and unregistering ask the service's process, which has 5 s for the answer: then they exit with
`{timeout, {Module, Function, Args}}`, and what was asked for may still be done later. A sender asks it only when the
handler's process has died, and for no longer than `timeout_ms` in all. A sender that was woken more than 100 ms after
that, because the machine had stood still, gives the handler 100 ms more.
""".

-include("erlmcp_messages.hrl").

-export([start_link/0]).
-export([register_component/2, unregister_component/1, components/0]).
-export([send_priority/2, cast_priority/2, reply/2]).
-export([send_health_check/2, send_drain_session/2, send_cancel_task/2, send_circuit_breaker/2]).
-export([get_stats/0, reset_stats/0, set_enabled/1]).
-export([table/0]).

-export_type([component_id/0, destination/0, handler/0, options/0, from/0, result/0]).
-export_type([control_message/0, control_type/0, control_plane_stats/0]).
-export_type([health_check_data/0, drain_session_data/0, cancel_task_data/0, circuit_breaker_data/0]).
-export_type([health_check_type/0, drain_reason/0, circuit_breaker_action/0]).

-doc "A component is known by its name, an atom.".
-type component_id() :: atom().
-doc "A destination is a component of this node, or of another one.".
-type destination() :: component_id() | {component_id(), node()}.
-doc """
A handler runs a message, and its value is the answer. One that is given by name is called with the message before the
extra arguments.
""".
-type handler() ::
    fun((control_message()) -> {error, Reason :: term()} | term())
    | {module(), Function :: atom()}
    | {module(), Function :: atom(), ExtraArgs :: [term()]}.
-doc "How a component is registered, as a map or a keyword list: with a `handler`, or else with an `alias`.".
-type options() :: #{
    handler => handler(),
    alias => erlmcp_priority:alias(),
    owner => pid(),
    timeout_ms => non_neg_integer(),
    priority => high | normal,
    rate => #{control_type() => erlmcp_overload_rate:rate()}
}.
-doc "This is whom to answer, or `none` if nobody waits.".
-type from() :: reference() | none.
-doc "A sender gets what it waited, in microseconds, or why there was no answer.".
-type result() ::
    {ok, LatencyUs :: non_neg_integer()}
    | {error,
        component_not_registered
        | timeout
        | queue_full
        | {rate_limited, erlmcp_overload_rate:limited()}
        | {handler_crashed, term()}
        | {nodedown | busy, node()}
        | {not_supported, Vsn :: non_neg_integer()}
        | term()}.

-import(erlmcp_native_error, [raise/2]).

%% The longest time that a receive can wait.
-define(MAX_TIMEOUT_MS, 16#ffffffff).
-define(HANDLER, "a fun of one argument, {Module, Function} or {Module, Function, ExtraArgs}").

-doc """
Starts the service of the control plane, registered as `erlmcp_control_plane`.

A service that the application has started is taken over: it is the caller's from then on, with all its components, and
the application's again only when that is started anew. Whoever comes next gets `already_started`.
""".
-spec start_link() -> {ok, pid()} | {error, {already_started, pid()} | term()}.
start_link() ->
    erlmcp_control_server:start_link().

-doc """
Registers a component with a handler, or with options. Registering again replaces what was there; what waits is run by
the new handler. There can be 1024 components; a new one is `{error, too_many_components}` then, and
`{error, system_limit}` where the node has no room for its handler's process. Raises `badarg` for what is neither, with
the option that is wrong; exits as the module's description says while the service is not started or does not answer.
""".
-spec register_component(component_id(), handler() | options()) ->
    ok | {error, too_many_components | system_limit | term()}.
register_component(Id, Handler) when
    is_atom(Id), is_function(Handler, 1); is_atom(Id), tuple_size(Handler) =:= 2; is_atom(Id), tuple_size(Handler) =:= 3
->
    register_checked(Id, #{handler => Handler}, Handler);
register_component(Id, Options) when is_atom(Id), (is_map(Options) orelse is_list(Options)) ->
    register_checked(Id, Options, Options);
register_component(Id, Handler) when is_atom(Id) ->
    raise(bad_handler, {?MODULE, ?FUNCTION_NAME, [Id, Handler]});
register_component(Id, Handler) ->
    raise(bad_component, {?MODULE, ?FUNCTION_NAME, [Id, Handler]}).

register_checked(Id, Options, Given) ->
    Call = {?MODULE, register_component, [Id, Given]},
    maybe
        {ok, Registration} ?= erlmcp_native_options:check(erlmcp_native_options:options(table()), Options),
        ok ?= one_target(Registration),
        erlmcp_control_server:register_component(Id, Registration, Call)
    else
        {error, Problem} -> raise({bad_option, Problem}, Call)
    end.

-doc false.
-spec table() -> erlmcp_native_options:table().
table() ->
    [
        #{
            name => handler,
            type => unless_undefined(?HANDLER, fun is_handler/1),
            default => undefined,
            shown => ~"",
            doc => ~"Runs the messages, in a process of its own."
        },
        #{
            name => alias,
            type => unless_undefined("a priority alias", fun erlmcp_priority:is_priority_alias/1),
            default => undefined,
            shown => ~"",
            doc => ~"Where messages go instead of to a handler."
        },
        #{
            name => owner,
            type => unless_undefined("a pid of this node", fun erlmcp_native_pid:is_local/1),
            default => undefined,
            shown => ~"",
            doc => ~"The component is unregistered when this process dies; the process of an `alias` is one."
        },
        #{
            name => timeout_ms,
            type => erlmcp_native_options:milliseconds(0, ?MAX_TIMEOUT_MS),
            default => 5000,
            doc => ~"How long a sender waits for the answer."
        },
        #{
            name => priority,
            type => erlmcp_native_options:one_of([high, normal]),
            default => high,
            doc => ~"The process priority of the handler."
        },
        #{
            name => rate,
            type => rates(),
            default => #{},
            doc => ~"How often messages of a type may be sent, `#{cancel_task => {1000, second}}` say."
        }
    ].

rates() ->
    Types = erlmcp_native_options:one_of([circuit_breaker, health_check, drain_session, cancel_task]),
    ByType = erlmcp_native_options:map_of(Types, erlmcp_native_rate:period()),
    erlmcp_native_options:named("a map of types to {Number, second, minute or hour}", ByType).

is_handler({Module, Function}) ->
    is_handler({Module, Function, []});
is_handler({Module, Function, Args} = Handler) when is_atom(Module), is_atom(Function), length(Args) >= 0 ->
    Arity = 1 + length(Args),
    _ = code:ensure_loaded(Module),
    erlang:function_exported(Module, Function, Arity) orelse
        {error, {[], Handler, lists:flatten(io_lib:format("exported: ~tp:~tp/~b", [Module, Function, Arity]))}};
is_handler(Handler) ->
    is_function(Handler, 1).

unless_undefined(Expected, Check) ->
    erlmcp_native_options:optional(undefined, erlmcp_native_options:checked(Expected, Check)).

one_target(#{handler := undefined, alias := undefined}) ->
    {error, {[handler], undefined, ?HANDLER ++ ", or else an alias"}};
one_target(#{handler := Handler, alias := Alias}) when Handler =/= undefined, Alias =/= undefined ->
    {error, {[alias], Alias, "left out beside a handler"}};
one_target(_) ->
    ok.

-doc """
Unregisters a component, registered or not. A handler may finish the message that it is at; the senders of
those that wait get `{error, component_not_registered}`.
""".
-spec unregister_component(component_id()) -> ok.
unregister_component(Id) when is_atom(Id) ->
    erlmcp_control_server:unregister_component(Id, {?MODULE, ?FUNCTION_NAME, [Id]});
unregister_component(Id) ->
    raise(bad_component, {?MODULE, ?FUNCTION_NAME, [Id]}).

-doc "Returns the registered ids, in no order.".
-spec components() -> [component_id()].
components() ->
    case erlmcp_native:control_components() of
        Ids when is_list(Ids) -> Ids;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, []})
    end.

-doc "Sends a control message to a component and waits for its answer, for at most the component's `timeout_ms`.".
-spec send_priority(destination(), control_message()) -> result().
send_priority(Id, Message) ->
    call(Id, Message, {?MODULE, ?FUNCTION_NAME, [Id, Message]}).

-doc """
Sends a control message to a component without waiting. With 65536 of its type waiting for the handler, or in the
mailbox of the process of an alias, it returns `{error, queue_full}`; so do functions that wait. It waits only for a
handler whose process has just died to be replaced, for the component's `timeout_ms` at most.

To another node, `ok` says that it was sent; a refusal there is not seen. The first one to a component of another node
asks for it, and waits as `send_priority/2` does until that is answered.
""".
-spec cast_priority(destination(), control_message()) ->
    ok
    | {error,
        component_not_registered
        | queue_full
        | timeout
        | {rate_limited, erlmcp_overload_rate:limited()}
        | {handler_crashed, noproc}
        | {nodedown | busy, node()}
        | {not_supported, Vsn :: non_neg_integer()}}.
cast_priority(Id, Message) ->
    Call = {?MODULE, ?FUNCTION_NAME, [Id, Message]},
    case erlmcp_control_message:type(Message) of
        {ok, Type} ->
            cast(Id, Type, Message, Call);
        error ->
            raise(bad_message, Call)
    end.

cast({Id, Node}, Type, Message, Call) when is_atom(Id), is_atom(Node), Node =/= node() ->
    erlmcp_control_far:cast(Id, Node, Type, Message, Call);
cast({Id, Node}, Type, Message, Call) when Node =:= node() ->
    erlmcp_control_call:cast(Id, Type, Message, Call);
cast(Id, Type, Message, Call) ->
    erlmcp_control_call:cast(Id, Type, Message, Call).

-doc """
Answers a message `{priority, From, {control, Type, Data}}` that was delivered to an alias. Answering too late does no
harm.
""".
-spec reply(from(), ok | {error, term()}) -> ok.
reply(none, Answer) when Answer =:= ok; tuple_size(Answer) =:= 2, element(1, Answer) =:= error ->
    ok;
reply(From, Answer) when
    is_reference(From), (Answer =:= ok orelse (tuple_size(Answer) =:= 2 andalso element(1, Answer) =:= error))
->
    From ! {From, Answer},
    ok;
reply(From, Answer) ->
    raise(bad_answer, {?MODULE, ?FUNCTION_NAME, [From, Answer]}).

-doc "Asks a component whether it is well. Taking over 100 ms, or no answer, is one SLO violation.".
-spec send_health_check(destination(), health_check_type()) -> result().
send_health_check(Id, Check) when Check =:= liveness; Check =:= readiness; Check =:= full ->
    SentAt = erlang:monotonic_time(nanosecond),
    Message = erlmcp_control_message:health_check(Check, SentAt),
    call(Id, health_check, Message, SentAt, {?MODULE, ?FUNCTION_NAME, [Id, Check]});
send_health_check(Id, Check) ->
    raise(bad_check, {?MODULE, ?FUNCTION_NAME, [Id, Check]}).

-doc "Asks a component to end a session gracefully.".
-spec send_drain_session(destination(), SessionId :: term()) -> result().
send_drain_session(Id, SessionId) ->
    call(Id, erlmcp_control_message:drain_session(SessionId), {?MODULE, ?FUNCTION_NAME, [Id, SessionId]}).

-doc "Asks a component to give a task up.".
-spec send_cancel_task(destination(), TaskId :: term()) -> result().
send_cancel_task(Id, TaskId) ->
    call(Id, erlmcp_control_message:cancel_task(TaskId), {?MODULE, ?FUNCTION_NAME, [Id, TaskId]}).

-doc "Tells a component what its circuit breaker does, or asks for that.".
-spec send_circuit_breaker(destination(), circuit_breaker_action()) -> result().
send_circuit_breaker(Id, Action) when
    Action =:= open; Action =:= close; Action =:= half_open; Action =:= query
->
    call(Id, erlmcp_control_message:circuit_breaker(name(Id), Action), {?MODULE, ?FUNCTION_NAME, [Id, Action]});
send_circuit_breaker(Id, Action) ->
    raise(bad_action, {?MODULE, ?FUNCTION_NAME, [Id, Action]}).

call(Id, Message, Call) ->
    SentAt = erlang:monotonic_time(nanosecond),
    case erlmcp_control_message:type(Message) of
        {ok, Type} ->
            call(Id, Type, Message, SentAt, Call);
        error ->
            raise(bad_message, Call)
    end.

call({Id, Node}, Type, Message, SentAt, Call) when is_atom(Id), is_atom(Node), Node =/= node() ->
    erlmcp_control_far:call(Id, Node, Type, Message, SentAt, Call);
call({Id, Node}, Type, Message, SentAt, Call) when Node =:= node() ->
    erlmcp_control_call:call(Id, Type, Message, SentAt, Call);
call(Id, Type, Message, SentAt, Call) ->
    erlmcp_control_call:call(Id, Type, Message, SentAt, Call).

name({Id, _Node}) -> Id;
name(Id) -> Id.

-doc """
Returns what was delivered, by type and component, how long it took in microseconds (percentiles to three significant
digits, those of a component to two), and what waits. Numbers start with the service and go on over a crash of its
process.

`far` says what became of messages to components of other nodes, and `far_by_node`, which is only there if some came to
nothing, to which nodes, and when that was last, of the last hour and of 64 nodes at most.
""".
-spec get_stats() -> control_plane_stats().
get_stats() ->
    case erlmcp_native:control_stats() of
        Stats when is_map(Stats) -> with_nodes(erlmcp_control_fates:read(), Stats);
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, []})
    end.

%% Not there if it says nothing: erlmcp's own type does not know it, and its callers' types are of that.
with_nodes(Nodes, Stats) when map_size(Nodes) =:= 0 -> Stats;
with_nodes(Nodes, Stats) -> Stats#{far_by_node => Nodes}.

-doc "Zeroes the control plane's numbers; components, and what waits, stay.".
-spec reset_stats() -> ok.
reset_stats() ->
    case erlmcp_native:control_reset() of
        ok -> erlmcp_control_fates:reset();
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, []})
    end.

-doc """
Switches the priority lane on or off: `false` means that messages travel in the ordinary lane, where they still
arrive.
""".
-spec set_enabled(boolean()) -> ok.
set_enabled(Enabled) ->
    case erlmcp_native:control_set_priority(Enabled) of
        ok -> ok;
        Fault -> raise(Fault, {?MODULE, ?FUNCTION_NAME, [Enabled]})
    end.
