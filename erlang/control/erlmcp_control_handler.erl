-module(erlmcp_control_handler).
-moduledoc """
The process that runs a component's handler.

The runtime has one priority; the control plane has four. Whatever waits is drained into four lanes before
each choice, and the most urgent lane goes first, first in first out. This mailbox gets control messages
only, so draining it is short.

The handler runs in this process. If it raises, that is the answer. If it is killed or takes a linked
process's crash, this process goes with it, its senders see that at once, and a new one is started.

It is called from `m:erlmcp_native_wait`, and messages are waited for there, so that this module can be replaced
meanwhile. A special process in the sense of `sys`: `sys:get_state/1` and its like come before what waits.
""".

-export([start/3, entered/1, replace/3, stop/1, kill/1, retired/0, stopped/0]).
-export([enter/4, got/2, ran/2]).
-export([system_continue/3, system_terminate/4, system_code_change/4]).

-include_lib("kernel/include/logger.hrl").
-include("erlmcp_control_request.hrl").

-doc """
Starts a handler's process, not linked to the caller. Returns its pid and its priority alias. It ends with the
caller until `entered/1` says that others know of it.
""".
-spec start(atom(), erlmcp_control_plane:handler(), high | normal) -> {pid(), reference()}.
start(Id, Handler, Priority) ->
    Args = [self(), Id, Handler, Priority],
    proc_lib:start(?MODULE, enter, Args, infinity, [{message_queue_data, off_heap}]).

-doc "Tells a handler's process that it is registered, and so outlives the one that started it.".
-spec entered(pid()) -> ok.
entered(Pid) ->
    Pid ! entered,
    ok.

-doc "Replaces the handler of a process; what waits is run by the new one.".
-spec replace(reference(), erlmcp_control_plane:handler(), high | normal) -> ok.
replace(Alias, Handler, Priority) ->
    send(Alias, {replace, Handler, Priority}).

-doc "Ends a handler's process after the message that it is at; what waits is answered as not registered.".
-spec stop(reference()) -> ok.
stop(Alias) ->
    send(Alias, stop).

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

send(Alias, Message) ->
    _ = erlang:send(Alias, Message, [priority]),
    ok.

%% While there is something to do. There are many components, and while one has nothing to do no more is kept of it than
%% its name and its handler.
-record(state, {
    id :: atom(),
    handler :: erlmcp_control_plane:handler(),
    lanes = erlmcp_control_lanes:new() :: erlmcp_control_lanes:lanes(),
    %% What sys has asked.
    system = [] :: [{From :: term(), Request :: term()}],
    stopping = false :: boolean()
}).

-doc false.
-spec enter(pid(), atom(), erlmcp_control_plane:handler(), high | normal) -> no_return().
enter(Starter, Id, Handler, Priority) ->
    process_flag(priority, Priority),
    Monitor = erlang:monitor(process, Starter),
    Alias = erlmcp_priority:create_priority_alias(),
    proc_lib:init_ack({self(), Alias}),
    receive
        entered -> true = erlang:demonitor(Monitor, [flush]);
        {'DOWN', Monitor, process, _, _} -> exit(retired())
    end,
    erlmcp_native_wait:sleep(?MODULE, Id, Handler).

-doc false.
-spec got(Message :: term(), {atom(), erlmcp_control_plane:handler()}) -> no_return().
got(#control_request{} = Request, {Id, Handler}) ->
    State = #state{id = Id, handler = Handler},
    receive
        Message -> more(accept(Message, accept(Request, State)))
    after 0 -> run(Request, State)
    end;
got(Message, {Id, Handler}) ->
    more(accept(Message, #state{id = Id, handler = Handler})).

waiting() ->
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    Length.

%% What has come so far: under a flood there is always more.
more(#state{id = Id, handler = Handler, lanes = Lanes, system = [], stopping = false} = State) ->
    case erlmcp_control_lanes:is_empty(Lanes) of
        true -> erlmcp_native_wait:next(?MODULE, {Id, Handler});
        false -> more(waiting(), State)
    end;
more(State) ->
    more(waiting(), State).

more(0, State) ->
    work(State);
more(Length, State) ->
    receive
        Message -> more(Length - 1, accept(Message, State))
    after 0 -> work(State)
    end.

work(#state{system = [{From, Request} | Later]} = State) ->
    sys:handle_system_msg(Request, From, self(), ?MODULE, [], State#state{system = Later});
work(#state{stopping = true} = State) ->
    refuse(State);
work(#state{id = Id, handler = Handler, lanes = Lanes} = State) ->
    case erlmcp_control_lanes:out(Lanes) of
        {Request, Rest} -> run(Request, State#state{lanes = Rest});
        none -> erlmcp_native_wait:next(?MODULE, {Id, Handler})
    end.

accept(#control_request{} = Request, #state{lanes = Lanes} = State) ->
    State#state{lanes = erlmcp_control_lanes:in(Request, Lanes)};
accept({replace, Handler, Priority}, State) ->
    process_flag(priority, Priority),
    State#state{handler = Handler};
accept(stop, State) ->
    State#state{stopping = true};
accept({system, From, Request}, #state{system = Asked} = State) ->
    State#state{system = Asked ++ [{From, Request}]};
accept(_Stray, State) ->
    State.

%% The sender gives up at the deadline, not before: what is started here still has somebody waiting.
run(Request, #state{id = Id, handler = Handler} = State) ->
    #control_request{from = From, place = Place, message = Message} = Request,
    #control_request{sent_at = SentAt, deadline = Deadline} = Request,
    Now = erlang:monotonic_time(nanosecond),
    case Now < Deadline of
        true ->
            _ = erlmcp_native:control_taken(Id, Place, (Now - SentAt) div 1000),
            erlmcp_native_wait:run(call(Handler, Message), {?MODULE, ran, {From, Message, State}});
        false ->
            _ = erlmcp_native:control_taken(Id, Place, skipped),
            more(State)
    end.

call({Module, Function}, Message) -> {Module, Function, [Message]};
call({Module, Function, Args}, Message) -> {Module, Function, [Message | Args]};
call(Fun, Message) -> {Fun, Message}.

-doc false.
-spec ran(
    erlmcp_native_wait:outcome(), {reference() | none, erlmcp_control_message:control_message(), #state{}}
) -> no_return().
ran({returned, {error, _} = Answer}, {From, _, State}) ->
    answer(From, Answer),
    more(State);
ran({returned, _}, {From, _, State}) ->
    answer(From, ok),
    more(State);
ran({raised, Class, Reason, Stacktrace}, {From, Message, #state{id = Id} = State}) ->
    _ = erlmcp_native:control_crashed(Id),
    answer(From, {error, {handler_crashed, reason(Class, Reason)}}),
    ok = erlmcp_control_failure:keep(Id, "raised ~0tp in ~0tp", [{Class, Reason}, lists:sublist(Stacktrace, 3)]),
    erlmcp_native_log:write(
        error,
        "erlmcp_control_plane: handler of ~tp crashed on ~0tp: ~0tp",
        [Id, Message, {Class, Reason, Stacktrace}],
        ?LOCATION,
        #{source => {handler_crashed, Id}, component => Id}
    ),
    more(State).

reason(throw, Value) -> {nocatch, Value};
reason(_, Reason) -> Reason.

answer(none, _) ->
    ok;
answer(From, Answer) ->
    From ! {From, Answer},
    ok.

%% Whoever sends from now on sees this process gone, and asks anew where to send.
refuse(#state{lanes = Lanes} = State) ->
    case erlmcp_control_lanes:out(Lanes) of
        {#control_request{from = From}, Rest} ->
            answer(From, {error, component_not_registered}),
            refuse(State#state{lanes = Rest});
        none ->
            exit(retired())
    end.

-doc false.
-spec system_continue(pid(), [sys:dbg_opt()], #state{}) -> no_return().
system_continue(_Parent, _Debug, State) ->
    more(State).

-doc false.
-spec system_terminate(term(), pid(), [sys:dbg_opt()], #state{}) -> no_return().
system_terminate(Reason, _Parent, _Debug, _State) ->
    exit(Reason).

-doc false.
-spec system_code_change(#state{}, module(), term(), term()) -> {ok, #state{}}.
system_code_change(State, _Module, _OldVersion, _Extra) ->
    {ok, State}.
