-module(erlmcp_native_bench_server).
-moduledoc """
The rival that everybody writes first: one process with the counts in maps, asked by call, told by cast,
with one monitor an owner.
""".

-behaviour(gen_server).

-export([start_link/1, check/2, enqueue/2, dequeue/2, drain/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    limit :: non_neg_integer(),
    depths = #{} :: #{{erlmcp_queue_limits:role(), pid()} => non_neg_integer()},
    stats = #{} :: #{erlmcp_queue_limits:role() => map()},
    owners = #{} :: #{pid() => [erlmcp_queue_limits:role()]}
}).

-doc "Starts the gen_server, with one limit for every role.".
-spec start_link(erlmcp_queue_limits:limit()) -> gen_server:start_ret().
start_link(Limit) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Limit, []).

-doc "Asks the gen_server whether an owner has room.".
-spec check(erlmcp_queue_limits:role(), pid()) -> ok | {error, capacity_exceeded}.
check(Role, Owner) ->
    gen_server:call(?MODULE, {check, Role, Owner}, infinity).

-doc "Tells the gen_server that one has come for an owner.".
-spec enqueue(erlmcp_queue_limits:role(), pid()) -> ok.
enqueue(Role, Owner) ->
    gen_server:cast(?MODULE, {enqueue, Role, Owner}).

-doc "Tells the gen_server that an owner has taken one.".
-spec dequeue(erlmcp_queue_limits:role(), pid()) -> ok.
dequeue(Role, Owner) ->
    gen_server:cast(?MODULE, {dequeue, Role, Owner}).

-doc "Waits until the gen_server has counted all that the caller sent before.".
-spec drain() -> ok.
drain() ->
    gen_server:call(?MODULE, drain, infinity).

-doc false.
-spec init(erlmcp_queue_limits:limit()) -> {ok, #state{}}.
init(Limit) ->
    {ok, #state{limit = Limit}}.

-doc false.
-spec handle_call(drain | {check, atom(), pid()}, gen_server:from(), #state{}) ->
    {reply, ok | {error, capacity_exceeded}, #state{}}.
handle_call(drain, _From, State) ->
    {reply, ok, State};
handle_call({check, Role, Owner}, _From, #state{limit = Limit, depths = Depths} = State) ->
    case Depths of
        #{{Role, Owner} := Depth} when Depth >= Limit ->
            #{total_rejected := Rejected} = Stats = stats(Role, State),
            {reply, {error, capacity_exceeded}, put_stats(Role, Stats#{total_rejected := Rejected + 1}, State)};
        #{} ->
            {reply, ok, State}
    end.

-doc false.
-spec handle_cast({enqueue | dequeue, atom(), pid()}, #state{}) -> {noreply, #state{}}.
handle_cast({enqueue, Role, Owner}, #state{depths = Depths} = State) ->
    #{total_enqueued := Enqueued, current_depth := Current, max_depth := Max} = Stats = stats(Role, State),
    Depth = maps:get({Role, Owner}, Depths, 0) + 1,
    Counted = Stats#{total_enqueued := Enqueued + 1, current_depth := Current + 1, max_depth := max(Max, Depth)},
    Next = put_stats(Role, Counted, State#state{depths = Depths#{{Role, Owner} => Depth}}),
    case Depths of
        #{{Role, Owner} := _} -> {noreply, Next};
        #{} -> {noreply, watch(Role, Owner, Next)}
    end;
handle_cast({dequeue, Role, Owner}, #state{depths = Depths} = State) ->
    case Depths of
        #{{Role, Owner} := Depth} when Depth > 0 ->
            #{total_dequeued := Dequeued, current_depth := Current} = Stats = stats(Role, State),
            Counted = Stats#{total_dequeued := Dequeued + 1, current_depth := Current - 1},
            {noreply, put_stats(Role, Counted, State#state{depths = Depths#{{Role, Owner} := Depth - 1}})};
        #{} ->
            {noreply, State}
    end.

-doc false.
-spec handle_info({'DOWN', reference(), process, pid(), term()}, #state{}) -> {noreply, #state{}}.
handle_info({'DOWN', _, process, Owner, _}, #state{owners = Owners} = State) ->
    {Roles, Rest} = maps:take(Owner, Owners),
    {noreply, lists:foldl(fun(Role, Next) -> release(Role, Owner, Next) end, State#state{owners = Rest}, Roles)}.

release(Role, Owner, #state{depths = Depths} = State) ->
    {Depth, Rest} = maps:take({Role, Owner}, Depths),
    #{current_depth := Current} = Stats = stats(Role, State),
    put_stats(Role, Stats#{current_depth := Current - Depth}, State#state{depths = Rest}).

watch(Role, Owner, #state{owners = Owners} = State) ->
    case Owners of
        #{Owner := Roles} ->
            State#state{owners = Owners#{Owner := [Role | Roles]}};
        #{} ->
            _ = erlang:monitor(process, Owner),
            State#state{owners = Owners#{Owner => [Role]}}
    end.

stats(Role, #state{stats = AllStats}) ->
    case AllStats of
        #{Role := Stats} ->
            Stats;
        #{} ->
            #{total_enqueued => 0, total_dequeued => 0, total_rejected => 0, current_depth => 0, max_depth => 0}
    end.

put_stats(Role, Stats, #state{stats = AllStats} = State) ->
    State#state{stats = AllStats#{Role => Stats}}.
