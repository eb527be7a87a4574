-module(erlmcp_native_relay).
-moduledoc """
Once a second passes on what is new to something that may or may not be there: erlmcp's metrics server
(`m:erlmcp_native_metrics_server`) or the `telemetry` library (`m:erlmcp_native_telemetry`).

What is counted natively is compared with what it was a second ago, so that neither an admission nor a control
message costs anything more, and a target that is slow, hangs or crashes delays nobody but its own relay. What
was counted before the target was there is not passed on.

What was passed on last outlives a relay that crashes, in a table of the application's: its successor passes on what has
been counted since. Nothing is passed on twice; what a relay was about to tell when it was killed is lost.
""".

-behaviour(gen_server).

-export([start_link/1, start_link/2, remember/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-doc "Tells whether there is anybody to tell.".
-callback is_there() -> boolean().
-doc "Passes on the refusals of the last second by role, class and reason.".
-callback refused([{refused_as(), pos_integer()}]) -> ok.
-doc "Passes on how many senders of control messages have waited in the last second, and how long in all, by type.".
-callback waited([{erlmcp_control_message:control_type(), pos_integer(), Us :: non_neg_integer()}]) -> ok.
-doc "Is called once a second while the target is there.".
-callback tick() -> ok.
-optional_callbacks([waited/1, tick/0]).

-define(INTERVAL_MS, 1000).

-doc "A part is what is passed on, by the name of its callback.".
-type part() :: refused | waited.
-doc "Refusals are counted by their role, the class of the request and the reason.".
-type refused_as() :: {erlmcp_queue_limits:role(), erlmcp_queue_limits:class(), erlmcp_queue_limits:reason()}.

-export_type([part/0, refused_as/0]).

%% What was counted by role, or by type of control message.
-type counted() :: #{atom() => non_neg_integer()}.

-record(state, {
    target :: module(),
    parts :: [part()],
    %% What was counted when it was last passed on; undefined while the target is not there.
    before :: #{refused | waits | waits_us => counted()} | undefined
}).

-doc "Starts a relay of all parts that a target takes: the name of a module with these callbacks.".
-spec start_link(module()) -> gen_server:start_ret().
start_link(Target) ->
    start_link(Target, [refused, waited]).

-doc "Starts a relay of some parts.".
-spec start_link(module(), [part()]) -> gen_server:start_ret().
start_link(Target, Parts) ->
    gen_server:start_link({local, Target}, ?MODULE, {Target, Parts}, []).

-doc "Makes the table in which relays find what was passed on before them. It lives as long as the caller.".
-spec remember() -> ok.
remember() ->
    _ = ets:new(?MODULE, [named_table, public]),
    ok.

-doc false.
-spec init({module(), [part()]}) -> {ok, #state{}}.
init({Target, Parts}) ->
    _ = code:ensure_loaded(Target),
    later(),
    {ok, #state{
        target = Target,
        parts = [Part || Part <- Parts, erlang:function_exported(Target, Part, 1)],
        before = remembered(Target)
    }}.

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
        false -> remember(Target, undefined), {noreply, State#state{before = undefined}}
    end;
handle_info(_Info, State) ->
    {noreply, State}.

later() ->
    _ = erlang:send_after(?INTERVAL_MS, self(), pass_on),
    ok.

pass_on(#state{target = Target, parts = Parts, before = Before} = State) ->
    Now = counted(),
    remember(Target, Now),
    _ = [tell(Target, Part, news(Part, Before, Now)) || Before =/= undefined, Part <- Parts],
    _ = erlang:function_exported(Target, tick, 0) andalso Target:tick(),
    State#state{before = Now}.

%% A relay may be started without the application.
remember(Target, Before) ->
    _ = ets:whereis(?MODULE) =/= undefined andalso ets:insert(?MODULE, {Target, Before}),
    ok.

remembered(Target) ->
    case ets:whereis(?MODULE) of
        undefined -> undefined;
        Table -> ets:lookup_element(Table, Target, 2, undefined)
    end.

tell(_Target, _Part, []) -> ok;
tell(Target, Part, News) -> Target:Part(News).

counted() ->
    #{roles := Rows, control := Control} = erlmcp_native_metrics:snapshot(),
    {Waits, WaitsUs} =
        case Control of
            #{waits := ByType, waits_us := UsByType} -> {ByType, UsByType};
            undefined -> {#{}, #{}}
        end,
    Refused = #{
        {Role, Class, Reason} => Count
     || #{role := Role, refused_by := By} <- Rows, {Class, Reason, Count} <- By
    },
    #{refused => Refused, waits => Waits, waits_us => WaitsUs}.

news(refused, Before, Now) ->
    since(refused, Before, Now);
news(waited, Before, Now) ->
    Us = since(waits_us, Before, Now),
    [{Type, Waits, proplists:get_value(Type, Us, 0)} || {Type, Waits} <- since(waits, Before, Now)].

%% What was reset starts at 0.
since(What, Before, Now) ->
    #{What := Old} = Before,
    #{What := New} = Now,
    [
        {Key, Grown}
     || {Key, Count} <- lists:sort(maps:to_list(New)),
        Grown <- [grown(maps:get(Key, Old, 0), Count)],
        Grown > 0
    ].

grown(Before, Now) when Now >= Before -> Now - Before;
grown(_, Now) -> Now.
