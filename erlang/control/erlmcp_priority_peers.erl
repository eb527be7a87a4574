-module(erlmcp_priority_peers).
-moduledoc """
Which other nodes have members of which group, and the messages to groups that come from there: the process registered
as `erlmcp_priority_peers`, which is started where a cluster is configured.

Those processes find each other by `m:pg`. Each tells the others how many members its node has of what groups, once when
it is asked and then what has changed, every 20 ms at most. So members that come and go cost the cluster nothing but
that, and whoever sends to a group knows which nodes to send to. Who has not answered is asked again after 500 ms, and
who asks several times before it can be answered is answered once.

What goes from one to another is `{erlmcp_priority_peers, Vsn, From, Map}`, with 1 as `Vsn` and a map with one of these
keys; what is unknown is ignored, and so is what comes from whom `pg` does not name:

| key | value |
| --- | --- |
| `ask` | `counts`: what comes back has all groups |
| `counts` | groups with the number of their members, 0 where the last has gone; besides, `alias` to send to, `first`: whether what was told before is void unless it is told again, and `more`: whether this is told in several messages and not the last of them |
| `group` | a group; besides, `message` to be given to its members |
""".

-behaviour(gen_server).

-export([start_link/1, send/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(VERSION, 1).
-define(TABLE, ?MODULE).
-define(PG, ?MODULE).
%% How long changes are gathered, and when a peer is tried again that could not be sent to or has not answered.
-define(GATHER_MS, 20).
-define(AGAIN_MS, 500).
%% Groups in one message.
-define(AT_ONCE, 256).

-record(peer, {
    %% Groups of which it has told, and those of them that are void if it does not tell of them again.
    told = #{} :: #{term() => told},
    void = #{} :: #{term() => told}
}).

-record(state, {
    alias :: reference(),
    scope :: reference(),
    pg :: reference(),
    peers = #{} :: #{pid() => #peer{}},
    %% Those that have not answered, and those that have to be told everything.
    ask = #{} :: #{pid() => again},
    tell = #{} :: #{pid() => again},
    changed = #{} :: #{term() => changed},
    timers = #{} :: #{gather | answer | retry => reference()}
}).

-doc "Starts the process, linked to the caller, with the scope of `pg` in which the others are.".
-spec start_link(Scope :: atom()) -> gen_server:start_ret().
start_link(Scope) ->
    SpawnOptions = [{priority, high}, {message_queue_data, off_heap}],
    gen_server:start_link({local, ?MODULE}, ?MODULE, Scope, [{spawn_opt, SpawnOptions}]).

-doc """
Sends a message to the members of a group on all other nodes that have some, without waiting for any. Returns the nodes
with how many members each last said it has, and what became of the message.
""".
-spec send(erlmcp_priority_groups:group(), Message :: term()) ->
    [{node(), Members :: pos_integer(), ok | {error, busy | nodedown}}].
send(Group, Message) ->
    Sent = {?MODULE, ?VERSION, none, #{group => Group, message => Message}},
    try ets:lookup(?TABLE, Group) of
        [{_, Peers}] -> [{node(Pid), Count, send_one(Alias, Sent)} || Pid := {Alias, Count} <- Peers];
        [] -> []
    catch
        error:badarg -> []
    end.

send_one(Alias, Sent) ->
    case erlang:send(Alias, Sent, [priority, nosuspend, noconnect]) of
        ok -> ok;
        nosuspend -> {error, busy};
        noconnect -> {error, nodedown}
    end.

-doc false.
-spec init(atom()) -> {ok, #state{}}.
init(Name) ->
    ?TABLE = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    Scope = erlang:monitor(process, Name),
    ok = pg:join(Name, ?PG, self()),
    {Pg, Pids} = pg:monitor(Name, ?PG),
    {ok, met(Pids, #state{alias = erlang:alias([priority]), scope = Scope, pg = Pg})}.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, {shutdown, lost_scope}, #state{}}.
handle_info({changed, Group}, #state{changed = Changed} = State) ->
    {noreply, later(gather, ?GATHER_MS, State#state{changed = Changed#{Group => changed}})};
handle_info({timeout, Timer, What}, #state{timers = Timers} = State) when map_get(What, Timers) =:= Timer ->
    {noreply, due(What, State#state{timers = maps:remove(What, Timers)})};
handle_info({?MODULE, ?VERSION, _, #{group := Group, message := {priority, From, _} = Message}}, State) when
    is_pid(From)
->
    _ = erlmcp_priority_groups:send(Group, Message),
    {noreply, State};
handle_info({?MODULE, ?VERSION, Peer, Map}, #state{peers = Peers} = State) when is_map_key(Peer, Peers) ->
    {noreply, heard(Map, Peer, State)};
handle_info({Pg, join, ?PG, Pids}, #state{pg = Pg} = State) ->
    {noreply, met(Pids, State)};
handle_info({Pg, leave, ?PG, Pids}, #state{pg = Pg} = State) ->
    {noreply, lists:foldl(fun parted/2, State, Pids)};
handle_info({'DOWN', Scope, process, _, _}, #state{scope = Scope} = State) ->
    {stop, {shutdown, lost_scope}, State};
handle_info(_Info, State) ->
    {noreply, State}.

due(gather, State) -> told(State);
due(answer, State) -> told_all(State);
due(retry, #state{ask = Ask} = State) -> told_all(asked(maps:keys(Ask), State)).

met(Pids, #state{peers = Peers} = State) ->
    New = [Pid || Pid <- Pids, node(Pid) =/= node(), not is_map_key(Pid, Peers)],
    asked(New, State#state{peers = maps:merge(Peers, maps:from_keys(New, #peer{}))}).

parted(Pid, #state{peers = Peers, ask = Ask, tell = Tell} = State) ->
    #peer{told = Told} = maps:get(Pid, Peers, #peer{}),
    ok = forget(maps:keys(Told), Pid),
    State#state{peers = maps:remove(Pid, Peers), ask = maps:remove(Pid, Ask), tell = maps:remove(Pid, Tell)}.

%% It may have asked more than once: all that waits is heard before it is answered.
heard(#{ask := counts}, Peer, #state{tell = Tell} = State) ->
    later(answer, 0, State#state{tell = Tell#{Peer => again}});
%% One that tells what has changed, and not what was before, may not have known who asked: it is asked again.
heard(#{counts := Counts, alias := Alias} = Map, Peer, #state{peers = Peers, ask = Ask} = State) when
    is_map(Counts), is_reference(Alias), node(Alias) =:= node(Peer)
->
    #peer{told = Before} = Known = map_get(Peer, Peers),
    {Begun, Left} =
        case Map of
            #{first := true} -> {Known#peer{void = Before}, maps:remove(Peer, Ask)};
            #{} -> {Known, Ask}
        end,
    Learn = fun(Group, Count, Learning) -> learn(Group, Count, {Peer, Alias}, Learning) end,
    Learnt = maps:fold(Learn, Begun, Counts),
    Told = case Map of #{more := true} -> Learnt; #{} -> without_void(Peer, Learnt) end,
    State#state{peers = Peers#{Peer := Told}, ask = Left};
heard(_Unknown, _Peer, State) ->
    State.

without_void(Peer, #peer{told = Told, void = Void} = Known) ->
    Groups = maps:keys(Void),
    ok = forget(Groups, Peer),
    Known#peer{told = maps:without(Groups, Told), void = #{}}.

learn(Group, Count, {Peer, Alias}, #peer{told = Told, void = Void}) when is_integer(Count), Count > 0 ->
    Peers = ets:lookup_element(?TABLE, Group, 2, #{}),
    true = ets:insert(?TABLE, {Group, Peers#{Peer => {Alias, Count}}}),
    #peer{told = Told#{Group => told}, void = maps:remove(Group, Void)};
learn(Group, 0, {Peer, _Alias}, #peer{told = Told, void = Void}) ->
    ok = forget([Group], Peer),
    #peer{told = maps:remove(Group, Told), void = maps:remove(Group, Void)};
learn(_Group, _NoCount, _Peer, Known) ->
    Known.

forget(Groups, Peer) ->
    lists:foreach(fun(Group) -> forget_one(Group, Peer) end, Groups).

forget_one(Group, Peer) ->
    Left = maps:remove(Peer, ets:lookup_element(?TABLE, Group, 2, #{})),
    case map_size(Left) of
        0 -> ets:delete(?TABLE, Group);
        _ -> ets:insert(?TABLE, {Group, Left})
    end.

asked([], State) ->
    State;
asked(Peers, #state{ask = Ask} = State) ->
    _ = [post(Peer, #{ask => counts}) || Peer <- Peers],
    later(retry, ?AGAIN_MS, State#state{ask = maps:merge(Ask, maps:from_keys(Peers, again))}).

%% What has changed, to all that know the rest.
told(#state{peers = Peers, changed = Changed, tell = Tell} = State) ->
    Counts = [{Group, erlmcp_priority_groups:count(Group)} || Group := changed <- Changed],
    Missed = [Peer || Peer := _ <- Peers, not is_map_key(Peer, Tell), tell(Counts, false, Peer, State) =/= ok],
    missed(Missed, State#state{changed = #{}}).

%% Everything, to those that are to be told.
told_all(#state{tell = Tell} = State) when map_size(Tell) =:= 0 ->
    State;
told_all(#state{tell = Tell} = State) ->
    Counts = erlmcp_priority_groups:counts(),
    Missed = [Peer || Peer := again <- Tell, tell(Counts, true, Peer, State) =/= ok],
    missed(Missed, State#state{tell = #{}}).

missed([], State) ->
    State;
missed(Peers, #state{tell = Tell} = State) ->
    later(retry, ?AGAIN_MS, State#state{tell = maps:merge(Tell, maps:from_keys(Peers, again))}).

tell([], false, _Peer, _State) ->
    ok;
tell(Counts, First, Peer, #state{alias = Alias} = State) ->
    {Some, Rest} = lists:split(min(?AT_ONCE, length(Counts)), Counts),
    Map = #{counts => maps:from_list(Some), alias => Alias, first => First, more => Rest =/= []},
    case {post(Peer, Map), Rest} of
        {ok, []} -> ok;
        {ok, _} -> tell(Rest, false, Peer, State);
        {NotSent, _} -> NotSent
    end.

post(Peer, Map) ->
    erlang:send(Peer, {?MODULE, ?VERSION, self(), Map}, [nosuspend, noconnect]).

later(Of, _Ms, #state{timers = Timers} = State) when is_map_key(Of, Timers) ->
    State;
later(Of, Ms, #state{timers = Timers} = State) ->
    State#state{timers = Timers#{Of => erlang:start_timer(Ms, self(), Of)}}.
