-module(erlmcp_control_handler).
-moduledoc """
The process that runs a component's handler.

The runtime has one priority; the control plane has four. Whatever waits is drained into four lanes before
each choice, and the most urgent lane goes first, first in first out. This mailbox gets control messages
only, so draining it is short.

The handler runs in this process. If it raises, that is the answer. If it is killed or takes a linked
process's crash, this process goes with it, its senders see that at once, and a new one is started.
""".

-export([start/3, entered/1, request/3, replace/3, stop/1, kill/1, retired/0, stopped/0]).
-export([init/4]).

-include_lib("kernel/include/logger.hrl").
-include("erlmcp_control_request.hrl").

-doc """
Starts a handler's process, not linked to the caller. Returns its pid and its priority alias. It ends with the
caller until `entered/1` says that others know of it.
""".
-spec start(atom(), erlmcp_control_plane:handler(), high | normal) -> {pid(), reference()}.
start(Id, Fun, Priority) ->
    Args = [self(), Id, Fun, Priority],
    proc_lib:start(?MODULE, init, Args, infinity, [{message_queue_data, off_heap}]).

-doc "Tells a handler's process that it is registered, and so outlives the one that started it.".
-spec entered(pid()) -> ok.
entered(Pid) ->
    Pid ! entered,
    ok.

-doc """
Sends a message to the handler behind an alias. `Ahead` says whether it goes ahead of ordinary messages.
""".
-spec request(reference(), #control_request{}, Ahead :: boolean()) -> ok.
request(Alias, Request, Ahead) ->
    send(Alias, Request, Ahead).

-doc "Replaces the handler of a process; what waits is run by the new one.".
-spec replace(reference(), erlmcp_control_plane:handler(), high | normal) -> ok.
replace(Alias, Fun, Priority) ->
    send(Alias, {replace, Fun, Priority}, true).

-doc "Ends a handler's process after the message that it is at; what waits is answered as not registered.".
-spec stop(reference()) -> ok.
stop(Alias) ->
    send(Alias, stop, true).

-doc "Ends a handler's process at once, whatever its handler made of that.".
-spec kill(pid()) -> true.
kill(Pid) ->
    exit(Pid, stopped()),
    exit(Pid, kill).

-doc "Returns the exit reason of a handler's process whose component was unregistered or moved.".
-spec retired() -> term().
retired() -> {shutdown, erlmcp_control_retired}.

-doc "Returns the exit reason of a handler's process whose service was stopped.".
-spec stopped() -> term().
stopped() -> {shutdown, erlmcp_control_stopped}.

send(Alias, Message, true) ->
    _ = erlang:send(Alias, Message, [priority]),
    ok;
send(Alias, Message, false) ->
    _ = erlang:send(Alias, Message),
    ok.

-record(state, {
    id :: atom(),
    handler :: erlmcp_control_plane:handler(),
    stopping = false :: boolean(),
    circuit_breaker = queue:new() :: queue:queue(),
    health_check = queue:new() :: queue:queue(),
    drain_session = queue:new() :: queue:queue(),
    cancel_task = queue:new() :: queue:queue()
}).

-doc false.
-spec init(pid(), atom(), erlmcp_control_plane:handler(), high | normal) -> no_return().
init(Starter, Id, Fun, Priority) ->
    process_flag(priority, Priority),
    Monitor = erlang:monitor(process, Starter),
    Alias = erlmcp_priority:create_priority_alias(),
    proc_lib:init_ack({self(), Alias}),
    receive
        entered -> true = erlang:demonitor(Monitor, [flush]);
        {'DOWN', Monitor, process, _, _} -> exit(retired())
    end,
    erlang:hibernate(),
    loop(#state{id = Id, handler = Fun}).

loop(State) ->
    receive
        Message -> work(drain(accept(Message, State)))
    end.

%% What has come so far: under a flood there is always more.
drain(State) ->
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    drain(Length, State).

drain(0, State) ->
    State;
drain(Length, State) ->
    receive
        Message -> drain(Length - 1, accept(Message, State))
    after 0 -> State
    end.

work(#state{stopping = true} = State) ->
    refuse(State);
work(State) ->
    case next(State) of
        {Request, Rest} ->
            run(Request, Rest),
            work(drain(Rest));
        none ->
            loop(State)
    end.

accept(#control_request{type = circuit_breaker} = Request, #state{circuit_breaker = Lane} = State) ->
    State#state{circuit_breaker = queue:in(Request, Lane)};
accept(#control_request{type = health_check} = Request, #state{health_check = Lane} = State) ->
    State#state{health_check = queue:in(Request, Lane)};
accept(#control_request{type = drain_session} = Request, #state{drain_session = Lane} = State) ->
    State#state{drain_session = queue:in(Request, Lane)};
accept(#control_request{type = cancel_task} = Request, #state{cancel_task = Lane} = State) ->
    State#state{cancel_task = queue:in(Request, Lane)};
accept({replace, Fun, Priority}, State) ->
    process_flag(priority, Priority),
    State#state{handler = Fun};
accept(stop, State) ->
    State#state{stopping = true};
accept(_Stray, State) ->
    State.

next(#state{circuit_breaker = B, health_check = H, drain_session = D, cancel_task = C} = State) ->
    maybe
        {empty, _} ?= queue:out(B),
        {empty, _} ?= queue:out(H),
        {empty, _} ?= queue:out(D),
        {empty, _} ?= queue:out(C),
        none
    else
        {{value, #control_request{type = Type} = Request}, Rest} ->
            {Request, put_lane(Type, Rest, State)}
    end.

put_lane(circuit_breaker, Lane, State) -> State#state{circuit_breaker = Lane};
put_lane(health_check, Lane, State) -> State#state{health_check = Lane};
put_lane(drain_session, Lane, State) -> State#state{drain_session = Lane};
put_lane(cancel_task, Lane, State) -> State#state{cancel_task = Lane}.

%% The sender gives up at the deadline, not before: what is started here still has somebody waiting.
run(Request, #state{id = Id, handler = Fun}) ->
    #control_request{from = From, place = Place, message = Message} = Request,
    #control_request{sent_at = SentAt, deadline = Deadline} = Request,
    Now = erlang:monotonic_time(),
    case Now < Deadline of
        true ->
            DeliveryUs = erlang:convert_time_unit(Now - SentAt, native, microsecond),
            _ = erlmcp_native:control_taken(Id, Place, DeliveryUs),
            answer(From, call(Fun, Message, Id));
        false ->
            _ = erlmcp_native:control_taken(Id, Place, skipped),
            ok
    end.

call(Fun, Message, Id) ->
    try Fun(Message) of
        {error, Reason} -> {error, Reason};
        _ -> ok
    catch
        Class:Reason:Stacktrace ->
            _ = erlmcp_native:control_crashed(),
            erlmcp_native_log:write(
                error,
                "erlmcp_control_plane: handler of ~tp crashed on ~0tp: ~0tp",
                [Id, Message, {Class, Reason, Stacktrace}],
                ?LOCATION,
                #{source => {handler_crashed, Id}, component => Id}
            ),
            {error, {handler_crashed, reason(Class, Reason)}}
    end.

reason(throw, Value) -> {nocatch, Value};
reason(_, Reason) -> Reason.

answer(none, _) ->
    ok;
answer(From, Answer) ->
    From ! {From, Answer},
    ok.

%% Whoever sends from now on sees this process gone, and asks anew where to send.
refuse(State) ->
    case next(State) of
        {#control_request{from = From}, Rest} ->
            answer(From, {error, component_not_registered}),
            refuse(Rest);
        none ->
            exit(retired())
    end.
