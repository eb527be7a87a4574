-module(erlmcp_priority_peers).
-moduledoc """
Which other nodes have members of which group, and the messages to groups that come from there: the process registered
as `erlmcp_priority_peers`, which is started where a cluster is configured.

Those processes find each other by `m:pg`. Each tells the others how many members its node has of what groups, once when
it is asked and then what has changed, every 20 ms at most. So members that come and go cost the cluster nothing but
that, and whoever sends to a group knows which nodes to send to.

What goes from one to another is `{erlmcp_priority_peers, Vsn, From, Map}`, with 1 as `Vsn` and a map with one of these
keys; what is unknown is ignored, and so is what comes from whom `pg` does not name:

| key | value |
| --- | --- |
| `ask` | `counts`: what comes back has all groups |
| `counts` | groups with the number of their members, 0 where the last has gone; besides, `alias` to send to, and `first`: whether what was told before is void |
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

-record(state, {
    alias :: reference(),
    scope :: reference(),
    pg :: reference(),
    %% Groups of which each peer has told.
    peers = #{} :: #{pid() => #{term() => told}},
    %% Those that have to be asked, and those that have to be told everything.
    ask = #{} :: #{pid() => again},
    tell = #{} :: #{pid() => again},
    changed = #{} :: #{term() => changed},
    timer = none :: none | reference()
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
    {noreply, later(?GATHER_MS, State#state{changed = Changed#{Group => changed}})};
handle_info({timeout, Timer, tell}, #state{timer = Timer} = State) ->
    {noreply, again(told(State#state{timer = none}))};
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

met(Pids, #state{peers = Peers, ask = Ask} = State) ->
    New = [Pid || Pid <- Pids, node(Pid) =/= node()],
    again(State#state{
        peers = maps:merge(maps:from_keys(New, #{}), Peers), ask = maps:merge(Ask, maps:from_keys(New, again))
    }).

parted(Pid, #state{peers = Peers, ask = Ask, tell = Tell} = State) ->
    ok = forget(maps:keys(maps:get(Pid, Peers, #{})), Pid),
    State#state{peers = maps:remove(Pid, Peers), ask = maps:remove(Pid, Ask), tell = maps:remove(Pid, Tell)}.

heard(#{ask := counts}, Peer, #state{tell = Tell} = State) ->
    again(State#state{tell = Tell#{Peer => again}});
%% One that tells what has changed, and not what was before, may not have known who asked: it is asked again.
heard(#{counts := Counts, alias := Alias} = Map, Peer, #state{peers = Peers, ask = Ask} = State) when
    is_map(Counts), is_reference(Alias), node(Alias) =:= node(Peer)
->
    Before = map_get(Peer, Peers),
    {Known, Left} =
        case Map of
            #{first := true} -> ok = forget(maps:keys(Before), Peer), {#{}, maps:remove(Peer, Ask)};
            #{} -> {Before, Ask}
        end,
    Told = maps:fold(fun(Group, Count, Groups) -> learn(Group, Count, {Peer, Alias}, Groups) end, Known, Counts),
    State#state{peers = Peers#{Peer := Told}, ask = Left};
heard(_Unknown, _Peer, State) ->
    State.

learn(Group, Count, {Peer, Alias}, Groups) when is_integer(Count), Count > 0 ->
    Peers = ets:lookup_element(?TABLE, Group, 2, #{}),
    true = ets:insert(?TABLE, {Group, Peers#{Peer => {Alias, Count}}}),
    Groups#{Group => told};
learn(Group, 0, {Peer, _Alias}, Groups) ->
    ok = forget([Group], Peer),
    maps:remove(Group, Groups);
learn(_Group, _NoCount, _Peer, Groups) ->
    Groups.

forget(Groups, Peer) ->
    lists:foreach(fun(Group) -> forget_one(Group, Peer) end, Groups).

forget_one(Group, Peer) ->
    Left = maps:remove(Peer, ets:lookup_element(?TABLE, Group, 2, #{})),
    case map_size(Left) of
        0 -> ets:delete(?TABLE, Group);
        _ -> ets:insert(?TABLE, {Group, Left})
    end.

%% What has changed, to all that know the rest.
told(#state{peers = Peers, changed = Changed, tell = Tell} = State) ->
    Counts = [{Group, erlmcp_priority_groups:count(Group)} || Group := changed <- Changed],
    Missed = [Peer || Peer := _ <- Peers, not is_map_key(Peer, Tell), tell(Counts, false, Peer, State) =/= ok],
    State#state{changed = #{}, tell = maps:merge(Tell, maps:from_keys(Missed, again))}.

%% Asks and tells those that are to be.
again(#state{ask = Ask, tell = Tell} = State) ->
    _ = [post(Peer, #{ask => counts}) || Peer := again <- Ask],
    Missed = [Peer || Peer := again <- Tell, tell(erlmcp_priority_groups:counts(), true, Peer, State) =/= ok],
    New = State#state{tell = maps:from_keys(Missed, again)},
    case map_size(Ask) + length(Missed) of
        0 -> New;
        _ -> later(?AGAIN_MS, New)
    end.

tell([], false, _Peer, _State) ->
    ok;
tell(Counts, First, Peer, #state{alias = Alias} = State) ->
    {Some, Rest} = lists:split(min(?AT_ONCE, length(Counts)), Counts),
    case {post(Peer, #{counts => maps:from_list(Some), alias => Alias, first => First}), Rest} of
        {ok, []} -> ok;
        {ok, _} -> tell(Rest, false, Peer, State);
        {NotSent, _} -> NotSent
    end.

post(Peer, Map) ->
    erlang:send(Peer, {?MODULE, ?VERSION, self(), Map}, [nosuspend, noconnect]).

later(Ms, #state{timer = none} = State) ->
    State#state{timer = erlang:start_timer(Ms, self(), tell)};
later(_Ms, State) ->
    State.
