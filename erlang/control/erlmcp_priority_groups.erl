-module(erlmcp_priority_groups).
-moduledoc """
Who is in which group, of the processes of this node: the process registered as `erlmcp_priority_groups`.

A message to a group comes here once, ahead of all joins that wait, and goes to each member's newest priority alias. To
join or to leave takes the same however many there are. A member is in a group once, and until it dies.

Members are in a table of the application's supervisor, so that a crash of this process loses none.
""".

-behaviour(gen_server).

-export([remember/0, start_link/0, join/2, leave/2, send/2, count/1, counts/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([group/0]).

-doc "A group is known by its name, which is any term.".
-type group() :: term().

%% {{Group, Pid}}, and {Group, Count}.
-define(MEMBERS, erlmcp_priority_members).
-define(COUNTS, ?MODULE).
%% The process that tells the other nodes, if there is one: not the module.
-define(PEERS, erlmcp_priority_peers).

-record(state, {
    groups = #{} :: #{group() => #{pid() => member}},
    members = #{} :: #{pid() => {Monitor :: reference(), #{group() => joined}}}
}).

-doc "Makes the tables, which the calling process owns.".
-spec remember() -> ok.
remember() ->
    Options = [named_table, public, {read_concurrency, true}],
    _ = [Table = ets:new(Table, Options) || Table <- [?MEMBERS, ?COUNTS], ets:whereis(Table) =:= undefined],
    ok.

-doc "Starts the process, linked to the caller.".
-spec start_link() -> gen_server:start_ret().
start_link() ->
    SpawnOptions = [{priority, high}, {message_queue_data, off_heap}],
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], [{spawn_opt, SpawnOptions}]).

-doc "Has the calling process join a group. `Call` is named in what this exits with: see `erlmcp_native_wait:serve/3`.".
-spec join(group(), Call :: {module(), atom(), [term()]}) -> ok.
join(Group, Call) ->
    erlmcp_native_wait:serve(?MODULE, {join, Group, self()}, Call).

-doc "Has the calling process leave a group, and returns in how many it is still. `Call` as above.".
-spec leave(group(), Call :: {module(), atom(), [term()]}) -> non_neg_integer().
leave(Group, Call) ->
    erlmcp_native_wait:serve(?MODULE, {leave, Group, self()}, Call).

-doc "Sends a message to all members of this node, as a priority message, and returns how many there are.".
-spec send(group(), Message :: term()) -> non_neg_integer().
send(Group, Message) ->
    maybe
        Count = count(Group),
        true ?= Count > 0,
        Pid = whereis(?MODULE),
        true ?= is_pid(Pid),
        {ok, Alias} ?= erlmcp_native:alias_newest(Pid),
        _ = erlang:send(Alias, {send, Group, Message}, [priority]),
        Count
    else
        _NobodyOrNotStarted -> 0
    end.

-doc "Returns how many members of this node a group has.".
-spec count(group()) -> non_neg_integer().
count(Group) ->
    try
        ets:lookup_element(?COUNTS, Group, 2, 0)
    catch
        error:badarg -> 0
    end.

-doc "Returns how many members of this node each group has.".
-spec counts() -> [{group(), pos_integer()}].
counts() ->
    try
        ets:tab2list(?COUNTS)
    catch
        error:badarg -> []
    end.

-doc false.
-spec init([]) -> {ok, #state{}}.
init([]) ->
    maybe
        ok ?= erlmcp_native_error:library(),
        ok = remember(),
        ok ?= erlmcp_native:alias_insert(erlang:alias([priority])),
        true = ets:delete_all_objects(?COUNTS),
        {ok, ets:foldl(fun({{Group, Pid}}, State) -> enter(Group, Pid, State) end, #state{}, ?MEMBERS)}
    else
        Fault -> {stop, Fault}
    end.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({join, Group, Pid}, _From, State) when is_pid(Pid), node(Pid) =:= node() ->
    {reply, ok, enter(Group, Pid, State)};
handle_call({leave, Group, Pid}, _From, #state{members = Members} = State) ->
    case Members of
        #{Pid := {Monitor, #{Group := joined} = Joined}} ->
            Left = maps:remove(Group, Joined),
            New = take_out(Group, Pid, State),
            {reply, map_size(Left), New#state{members = remain(Pid, Monitor, Left, Members)}};
        #{Pid := {_Monitor, Joined}} ->
            {reply, map_size(Joined), State};
        #{} ->
            {reply, 0, State}
    end;
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({send, Group, Message}, #state{groups = Groups} = State) ->
    _ = [send_one(Pid, Message) || Pid := member <- maps:get(Group, Groups, #{})],
    {noreply, State};
handle_info({'DOWN', Monitor, process, Pid, _Reason}, #state{members = Members} = State) ->
    case Members of
        #{Pid := {Monitor, Joined}} ->
            Left = lists:foldl(fun(Group, S) -> take_out(Group, Pid, S) end, State, maps:keys(Joined)),
            {noreply, Left#state{members = maps:remove(Pid, Members)}};
        #{} ->
            {noreply, State}
    end;
handle_info(_Info, State) ->
    {noreply, State}.

send_one(Pid, Message) ->
    case erlmcp_native:alias_newest(Pid) of
        {ok, Alias} -> erlang:send(Alias, Message, [priority]);
        _GivenUpOrDead -> dropped
    end.

enter(Group, Pid, #state{groups = Groups, members = Members} = State) ->
    case Members of
        #{Pid := {_Monitor, #{Group := joined}}} ->
            State;
        #{} ->
            {Monitor, Joined} =
                case Members of
                    #{Pid := Member} -> Member;
                    #{} -> {erlang:monitor(process, Pid), #{}}
                end,
            true = ets:insert(?MEMBERS, {{Group, Pid}}),
            _ = ets:update_counter(?COUNTS, Group, 1, {Group, 0}),
            ok = changed(Group),
            State#state{
                groups = maps:update_with(Group, fun(Pids) -> Pids#{Pid => member} end, #{Pid => member}, Groups),
                members = Members#{Pid => {Monitor, Joined#{Group => joined}}}
            }
    end.

take_out(Group, Pid, #state{groups = Groups} = State) ->
    true = ets:delete(?MEMBERS, {Group, Pid}),
    Left = maps:remove(Pid, map_get(Group, Groups)),
    ok = changed(Group),
    case map_size(Left) of
        0 ->
            true = ets:delete(?COUNTS, Group),
            State#state{groups = maps:remove(Group, Groups)};
        Count ->
            true = ets:insert(?COUNTS, {Group, Count}),
            State#state{groups = Groups#{Group := Left}}
    end.

remain(Pid, Monitor, Left, Members) when map_size(Left) =:= 0 ->
    true = erlang:demonitor(Monitor, [flush]),
    maps:remove(Pid, Members);
remain(Pid, Monitor, Left, Members) ->
    Members#{Pid := {Monitor, Left}}.

changed(Group) ->
    _ = [Pid ! {changed, Group} || Pid <- [whereis(?PEERS)], is_pid(Pid)],
    ok.
