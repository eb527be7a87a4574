-module(erlmcp_native_demo_rival).
-moduledoc """
The gen_server that everybody writes first, as erlmcp did: one process with the counts in a map, asked by call whether
there is room, told by cast what came and went. What is urgent is a call as well, and waits its turn.
""".

-behaviour(gen_server).

-export([start_link/1, check/2, enqueue/2, dequeue/2, urgent/1]).
-export([init/1, handle_call/3, handle_cast/2]).

-export_type([state/0]).

-doc "The state has the limit, and the depths.".
-type state() :: {pos_integer(), #{{erlmcp_queue_limits:role(), pid()} => non_neg_integer()}}.

-doc "Starts the rival, with one limit for every owner.".
-spec start_link(pos_integer()) -> gen_server:start_ret().
start_link(Limit) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Limit, []).

-doc "Asks the rival whether an owner has room.".
-spec check(erlmcp_queue_limits:role(), pid()) -> ok | full.
check(Role, Owner) ->
    gen_server:call(?MODULE, {check, {Role, Owner}}, infinity).

-doc "Tells the rival that one has come for an owner.".
-spec enqueue(erlmcp_queue_limits:role(), pid()) -> ok.
enqueue(Role, Owner) ->
    gen_server:cast(?MODULE, {enqueue, {Role, Owner}}).

-doc "Tells the rival that an owner has taken one.".
-spec dequeue(erlmcp_queue_limits:role(), pid()) -> ok.
dequeue(Role, Owner) ->
    gen_server:cast(?MODULE, {dequeue, {Role, Owner}}).

-doc "Sends the rival a control message, as a call: it runs `Fun`.".
-spec urgent(fun(() -> ok)) -> ok.
urgent(Fun) ->
    gen_server:call(?MODULE, {urgent, Fun}, infinity).

-doc false.
-spec init(pos_integer()) -> {ok, state()}.
init(Limit) ->
    {ok, {Limit, #{}}}.

-doc false.
-spec handle_call({urgent, fun(() -> ok)} | {check, {atom(), pid()}}, gen_server:from(), state()) ->
    {reply, ok | full, state()}.
handle_call({urgent, Fun}, _From, State) ->
    {reply, Fun(), State};
handle_call({check, Key}, _From, {Limit, Depths} = State) ->
    case Depths of
        #{Key := Depth} when Depth >= Limit -> {reply, full, State};
        #{} -> {reply, ok, State}
    end.

-doc false.
-spec handle_cast({enqueue | dequeue, {atom(), pid()}}, state()) -> {noreply, state()}.
handle_cast({enqueue, Key}, {Limit, Depths}) ->
    {noreply, {Limit, maps:update_with(Key, fun(N) -> N + 1 end, 1, Depths)}};
handle_cast({dequeue, Key}, {Limit, Depths}) ->
    {noreply, {Limit, maps:update_with(Key, fun(N) -> max(0, N - 1) end, 0, Depths)}}.
