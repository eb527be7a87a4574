-module(erlmcp_control_reaper).
-moduledoc """
Ends a handler's process that was told to end and does not, when its senders would have given up.

A process of its own, since the service may crash meanwhile.
""".

-behaviour(gen_server).

-export([start/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-type state() :: {pid(), Monitor :: reference(), erlmcp_native_deadline:deadline()}.

-doc "Gives a process so much time to end, not counting what the machine stands still. Is linked to nobody.".
-spec start(pid(), TimeoutMs :: non_neg_integer()) -> ok.
start(Pid, TimeoutMs) ->
    {ok, _} = gen_server:start(?MODULE, {Pid, TimeoutMs}, []),
    ok.

-doc false.
-spec init({pid(), non_neg_integer()}) -> {ok, state(), hibernate}.
init({Pid, TimeoutMs}) ->
    {ok, {Pid, erlang:monitor(process, Pid), erlmcp_native_deadline:start(TimeoutMs)}, hibernate}.

-doc false.
-spec handle_call(term(), gen_server:from(), state()) -> {reply, {error, unknown_call}, state()}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), state()) -> {noreply, state()} | {stop, normal, state()}.
handle_info({'DOWN', Monitor, process, _, _}, {_, Monitor, _} = State) ->
    {stop, normal, State};
handle_info({timeout, Timer, beat}, {Pid, Monitor, Deadline} = State) ->
    case erlmcp_native_deadline:beat(Timer, Deadline) of
        {running, Longer} -> {noreply, {Pid, Monitor, Longer}};
        passed -> true = exit(Pid, kill), {noreply, State};
        stray -> {noreply, State}
    end;
handle_info(_Info, State) ->
    {noreply, State}.
