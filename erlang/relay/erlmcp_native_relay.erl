-module(erlmcp_native_relay).
-moduledoc """
Once a second passes on what is new to something that may or may not be there: erlmcp's metrics server
(`m:erlmcp_native_metrics_server`) or the `telemetry` library (`m:erlmcp_native_telemetry`).

What is counted natively is compared with what it was a second ago, so that neither an admission nor a control
message costs anything more, and a target that is slow, hangs or crashes delays nobody but its own relay. What
was counted before the target was there is not passed on.
""".

-behaviour(gen_server).

-export([start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-doc "Tells whether there is anybody to tell.".
-callback is_there() -> boolean().
-doc "Passes on the refusals of the last second by role.".
-callback refused([{erlmcp_queue_limits:role(), pos_integer()}]) -> ok.
-doc """
Passes on how long senders of control messages waited in the last second, in microseconds, and how many waited so
long.
""".
-callback waited([{Us :: non_neg_integer(), pos_integer()}]) -> ok.
-doc "Is called once a second while the target is there.".
-callback tick() -> ok.
-optional_callbacks([waited/1, tick/0]).

-define(INTERVAL_MS, 1000).

-record(state, {
    target :: module(),
    %% Refusals by role, up to when they were passed on; undefined while the target is not there.
    refused :: #{erlmcp_queue_limits:role() => non_neg_integer()} | undefined
}).

-doc "Starts a relay to a target: the name of a module with these callbacks.".
-spec start_link(module()) -> gen_server:start_ret().
start_link(Target) ->
    gen_server:start_link({local, Target}, ?MODULE, Target, []).

-doc false.
-spec init(module()) -> {ok, #state{}}.
init(Target) ->
    later(),
    {ok, #state{target = Target}}.

-doc false.
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-doc false.
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-doc false.
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(pass_on, #state{target = Target} = State) ->
    later(),
    case Target:is_there() of
        true -> {noreply, pass_on(State)};
        false -> {noreply, State#state{refused = undefined}}
    end;
handle_info(_Info, State) ->
    {noreply, State}.

later() ->
    _ = erlang:send_after(?INTERVAL_MS, self(), pass_on),
    ok.

pass_on(#state{target = Target, refused = Before} = State) ->
    Now = refused(),
    Waited = waited(Target),
    case Before of
        undefined ->
            ok;
        #{} ->
            tell(Target, refused, since(Before, Now)),
            tell(Target, waited, Waited)
    end,
    _ = erlang:function_exported(Target, tick, 0) andalso Target:tick(),
    State#state{refused = Now}.

tell(_Target, _What, []) -> ok;
tell(Target, What, News) -> Target:What(News).

refused() ->
    #{roles := Rows} = erlmcp_native_metrics:snapshot(),
    #{Role => Refused || #{role := Role, refused := Refused} <- Rows}.

%% A role whose numbers were reset starts at 0.
since(Before, Now) ->
    [
        {Role, New}
     || {Role, Refused} <- lists:sort(maps:to_list(Now)),
        New <- [grown(maps:get(Role, Before, 0), Refused)],
        New > 0
    ].

grown(Before, Now) when Now >= Before -> Now - Before;
grown(_, Now) -> Now.

waited(Target) ->
    case erlang:function_exported(Target, waited, 1) andalso erlmcp_native:metrics_new_latencies() of
        [_ | _] = Waited -> Waited;
        _None -> []
    end.
