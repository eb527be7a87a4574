-module(erlmcp_control_link).
-moduledoc """
The process that stands for another node on this one, for whoever waits for an answer from there.

Senders monitor it instead of a process there: to monitor that one is to send, and who sends to a node that stands still
is suspended. It monitors the gate of that node (`m:erlmcp_control_gate`), and ends with `{shutdown, nodedown}` when the
connection does. Where a node has no gate it ends with `{shutdown, {not_supported, 0}}`: that node is of a version that
knows of no control messages from others, or is not to have any.

A gate that was lost is soon back. What it had handed on is answered all the same.
""".

-behaviour(gen_server).

-export([start_link/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2]).

%% After a gate was lost.
-define(AGAIN_MS, 200).

-record(state, {
    node :: node(),
    monitor = none :: reference() | none
}).

-doc "Starts the process for a node, linked to the caller.".
-spec start_link(node()) -> gen_server:start_ret().
start_link(Node) ->
    gen_server:start_link(?MODULE, Node, [{spawn_opt, [{priority, high}]}]).

-doc false.
-spec init(node()) -> {ok, #state{}, {continue, monitor}}.
init(Node) ->
    {ok, #state{node = Node}, {continue, monitor}}.

%% This process may be suspended here, and whoever has started it is not. To monitor would make a connection.
-doc false.
-spec handle_continue(monitor, #state{}) -> {noreply, #state{}} | {stop, {shutdown, nodedown}, #state{}}.
handle_continue(monitor, #state{node = Node} = State) ->
    case lists:member(Node, nodes(connected)) of
        true -> {noreply, State#state{monitor = erlang:monitor(process, erlmcp_control_gate:at(Node))}};
        false -> {stop, {shutdown, nodedown}, State}
    end.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) ->
    {noreply, #state{}} | {noreply, #state{}, {continue, monitor}} | {stop, {shutdown, term()}, #state{}}.
handle_info({'DOWN', Monitor, process, _, Reason}, #state{monitor = Monitor} = State) ->
    case Reason of
        noconnection ->
            {stop, {shutdown, nodedown}, State};
        noproc ->
            {stop, {shutdown, {not_supported, 0}}, State};
        _ ->
            _ = erlang:start_timer(?AGAIN_MS, self(), again),
            {noreply, State#state{monitor = none}}
    end;
handle_info({timeout, _, again}, #state{monitor = none} = State) ->
    {noreply, State, {continue, monitor}};
handle_info(_Info, State) ->
    {noreply, State}.
