-module(erlmcp_control_gate).
-moduledoc """
Where control messages of other nodes come in: the process registered as `erlmcp_control_gate`.

A message is routed here as one of this node: its component's rate, its place among those that wait, the four types and
their order are the same. One that is to be answered is waited for in a process of its own, which sends what came of it;
one that is not goes on at once, so that messages of one sender stay in order. Only control messages come here, and so
they need no priority to overtake anything, and may be of any size.

What comes in is `{erlmcp_control, Vsn, From, Map}`, and what goes back `{From, {erlmcp_control, Vsn, Map}}`:

| `ask` in the map | besides | comes back |
| --- | --- | --- |
| `route` | `id` | `timeout_ms` of the component, or `result`, an error |
| `call` | `id`, `message`, `timeout_ms`: how long the sender waits | `result`, `timeout_ms` |
| `cast` | `id`, `message` | nothing |

`Vsn` is 1. A message of another version, and one that asks for something else, is answered with 1 and an empty map;
what is no such message is ignored, and so are keys that are not known. No answer suspends its sender: one that would
wait to be sent is dropped, and whoever waits for it gives up.
""".

-behaviour(gen_server).

-export([start_link/0, at/1, request/2]).
-export([served/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(VERSION, 1).

-doc "This is a message to a gate, with nobody to be answered yet.".
-type request() :: {erlmcp_control, Vsn :: pos_integer(), none | reference(), map()}.

-export_type([request/0]).

-doc "Starts the process, linked to the caller.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    SpawnOptions = [{priority, high}, {message_queue_data, off_heap}],
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], [{spawn_opt, SpawnOptions}]).

-doc "Returns where the gate of a node is sent to.".
-spec at(node()) -> {atom(), node()}.
at(Node) ->
    {?MODULE, Node}.

-doc "Makes a message to a gate.".
-spec request(route | call | cast, map()) -> request().
request(Ask, Map) ->
    {erlmcp_control, ?VERSION, none, Map#{ask => Ask}}.

-doc false.
-spec init([]) -> {ok, []}.
init([]) ->
    {ok, []}.

-doc false.
-spec handle_call(term(), gen_server:from(), []) -> {reply, {error, unknown_call}, []}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), []) -> {noreply, []}.
handle_info({erlmcp_control, ?VERSION, From, #{ask := Ask, id := Id} = Map}, State) when is_atom(Id) ->
    ok = take(Ask, Id, From, Map),
    {noreply, State};
handle_info({erlmcp_control, Vsn, From, Map}, State) when is_integer(Vsn), is_map(Map) ->
    ok = answer(From, #{}),
    {noreply, State};
handle_info(_Info, State) ->
    {noreply, State}.

take(route, Id, From, _Map) ->
    answer(From, timeout_ms(Id, #{result => {error, component_not_registered}}, #{}));
take(call, Id, From, #{message := Message, timeout_ms := TimeoutMs}) when is_integer(TimeoutMs), TimeoutMs >= 0 ->
    case erlmcp_control_message:type(Message) of
        {ok, Type} ->
            help(call_far, [Id, Type, Message, erlang:monotonic_time(nanosecond), TimeoutMs], {From, Id});
        error ->
            answer(From, #{})
    end;
take(cast, Id, _From, #{message := Message}) ->
    case erlmcp_control_message:type(Message) of
        {ok, Type} -> cast(Id, Type, Message);
        error -> ok
    end;
take(_Ask, _Id, From, _Map) ->
    answer(From, #{}).

%% The handler's process may be about to be replaced. That is waited for elsewhere.
cast(Id, Type, Message) ->
    case erlmcp_control_call:cast_far(Id, Type, Message) of
        later -> help(cast_later, [Id, Type, Message], {none, Id});
        _SentOrNot -> ok
    end.

help(Function, Args, {From, _Id} = Asked) ->
    Wait = [{erlmcp_control_call, Function, Args}, {?MODULE, served, Asked}],
    case erlmcp_native_process:helper(erlmcp_native_wait, run, Wait, [{priority, high}]) of
        no_room ->
            answer(From, #{result => {error, {busy, node()}}});
        {_Pid, Monitor} ->
            true = erlang:demonitor(Monitor, [flush]),
            ok
    end.

-doc false.
-spec served(erlmcp_native_wait:outcome(), {From :: term(), atom()}) -> ok.
served({returned, {ok, _LatencyUs}}, {From, Id}) ->
    answer(From, timeout_ms(Id, #{}, #{result => ok}));
served({returned, {error, _} = Error}, {From, Id}) ->
    answer(From, timeout_ms(Id, #{}, #{result => Error}));
served(_CastOrRaised, {From, _Id}) ->
    answer(From, #{result => {error, component_not_registered}}).

timeout_ms(Id, Otherwise, Answer) ->
    case erlmcp_native:control_timeout(Id) of
        TimeoutMs when is_integer(TimeoutMs) -> Answer#{timeout_ms => TimeoutMs};
        _NotFoundOrNotStarted -> maps:merge(Otherwise, Answer)
    end.

answer(From, Answer) when is_reference(From) ->
    _ = erlang:send(From, {From, {erlmcp_control, ?VERSION, Answer}}, [nosuspend, noconnect]),
    ok;
answer(_Nobody, _Answer) ->
    ok.
