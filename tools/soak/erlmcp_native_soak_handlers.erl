-module(erlmcp_native_soak_handlers).
-moduledoc """
Owners cross their limit, which is in the history at once, and a handler is told of it, at least once; handlers come and
go.
""".
-behaviour(erlmcp_native_soak_actor).
-behaviour(erlmcp_overload_handler).

-export([init/0, act/1, rest/1]).
-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).

-define(L, erlmcp_queue_limits).
-define(M, erlmcp_overload_monitor).
-define(ROLE, soak_alerts).
-define(LIMIT, 5).
-define(PATIENCE_MS, 10_000).

-record(state, {
    handler = 0 :: non_neg_integer(),
    findings = [] :: [iodata()]
}).

-doc false.
-spec init() -> #state{}.
init() ->
    true = register(?MODULE, self()),
    ok = ?L:set_limit(?ROLE, ?LIMIT),
    State = #state{},
    ok = add(State#state.handler),
    State.

-doc false.
-spec act(#state{}) -> {[atom()], #state{}}.
act(State) ->
    receive after 10 -> ok end,
    case rand:uniform(20) of
        1 -> {[handlers], another(State)};
        _ -> crossing(State)
    end.

another(#state{handler = Handler} = State) ->
    ok = again(fun() -> ?M:delete_handler(?MODULE, Handler) end),
    Next = (Handler + 1) rem 4,
    ok = add(Next),
    State#state{handler = Next}.

add(Handler) ->
    again(fun() -> ?M:add_handler(?MODULE, Handler) end).

crossing(#state{findings = Findings} = State) ->
    Owner = spawn(fun() -> receive after infinity -> ok end end),
    [ok = ?L:record_enqueue(?ROLE, Owner) || _ <- lists:seq(1, ?LIMIT)],
    History = ?M:get_alert_history(?ROLE),
    Written = [
        io_lib:format("the overload of ~p is not in the history", [Owner])
     || not lists:any(fun(#{process := Of, level := Level}) -> {Of, Level} =:= {Owner, overload} end, History)
    ],
    Told =
        receive
            {told, Owner, overload} -> []
        after ?PATIENCE_MS -> [io_lib:format("no handler was told of the overload of ~p", [Owner])]
        end,
    exit(Owner, kill),
    {[crossings], forget_told(State#state{findings = Written ++ Told ++ Findings})}.

forget_told(State) ->
    receive
        {told, _, _} -> forget_told(State)
    after 0 -> State
    end.

-doc false.
-spec rest(#state{}) -> {[iodata()], #state{}}.
rest(#state{findings = Findings} = State) ->
    {Findings, State#state{findings = []}}.

again(Call) ->
    try
        Call()
    catch
        exit:_ ->
            receive after 5 -> again(Call) end
    end.

-doc false.
-spec init(term()) -> {ok, none}.
init(_Handler) ->
    {ok, none}.

-doc false.
-spec handle_alert(erlmcp_overload_monitor:alert(), none) -> {ok, none}.
handle_alert(#{role := ?ROLE, process := Owner, level := Level}, State) ->
    ?MODULE ! {told, Owner, Level},
    {ok, State};
handle_alert(_, State) ->
    {ok, State}.

-doc false.
-spec handle_clear(erlmcp_overload_monitor:alert(), none) -> {ok, none}.
handle_clear(_, State) ->
    {ok, State}.

-doc false.
-spec handle_role(atom(), open | close, none) -> {ok, none}.
handle_role(_, _, State) ->
    {ok, State}.
