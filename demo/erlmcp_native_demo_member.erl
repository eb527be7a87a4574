-module(erlmcp_native_demo_member).
-moduledoc """
What each of the three nodes of `m:erlmcp_native_demo_nodes` does: it listens on loopback, is part of the cluster, and
asks for more than its part of a rate that all three share. The two that are started for it also hold some requests, and
have a component and a member of a group.
""".

-export([listen/1, serve/1, join/1, leave/0, asked/0]).
-export([rate/0, limit/0, burst/0, held/0, role/0, component/0, group/0]).

-define(RATE, ?MODULE).
-define(PER_S, 3_000).
-define(BURST, 300).
%% A node alone asks for all of the rate.
-define(ASKED_PER_S, 3_000).
-define(HELD, 100).
-define(INTERVAL_MS, 200).
-define(TURN_MS, 4).
-define(READ_MS, 60_000).

-doc "Returns how often all nodes together may be granted something, a second.".
-spec rate() -> pos_integer().
rate() -> ?PER_S.

-doc "Says in a few words how often that is.".
-spec limit() -> string().
limit() -> erlmcp_native_demo_text:short(?PER_S) ++ "/s".

-doc "Returns how much of that may be granted at once.".
-spec burst() -> pos_integer().
burst() -> ?BURST.

-doc "Returns how many requests are held on each of the two nodes.".
-spec held() -> pos_integer().
held() -> ?HELD.

-doc "Returns the role of those.".
-spec role() -> erlmcp_queue_limits:role().
role() -> tool_executor.

-doc "Returns the component that each of the two nodes has.".
-spec component() -> erlmcp_control_plane:component_id().
component() -> ?MODULE.

-doc "Returns the group that each of the two nodes has a member of.".
-spec group() -> atom().
group() -> ?MODULE.

-doc "Has this node listen on loopback under a name, with the user's own cookie. Returns the port, or why it cannot.".
-spec listen(node()) -> {ok, inet:port_number()} | {error, term()}.
listen(Node) ->
    maybe
        erlmcp_native_demo_epmd ?= net_kernel:epmd_module(),
        ok = application:set_env(kernel, inet_dist_use_interface, {127, 0, 0, 1}),
        {ok, _} ?= net_kernel:start(Node, #{name_domain => shortnames}),
        {ok, erlmcp_native_demo_epmd:port()}
    else
        {error, _} = Error -> Error;
        Other -> {error, {epmd_module, Other}}
    end.

-doc "Makes this node part of a cluster of so many, and begins to ask for the rate.".
-spec join(Nodes :: pos_integer()) -> ok.
join(Nodes) ->
    ok = application:set_env(erlmcp_native, cluster, #{nodes => Nodes, interval_ms => ?INTERVAL_MS}),
    {ok, _} = application:ensure_all_started(erlmcp_native),
    ok = erlmcp_native_app:reload_config(),
    ok = erlmcp_overload_rate:define(?RATE, #{rate => {?PER_S, second}, burst => ?BURST, scope => cluster}),
    true = register(?MODULE, spawn(fun() -> ask(erlmcp_native_demo_pace:new(?ASKED_PER_S, now_us()), 0, 0) end)),
    ok.

-doc "Makes this node part of a cluster, with something for others to see, to ask and to tell.".
-spec serve(Nodes :: pos_integer()) -> ok.
serve(Nodes) ->
    ok = join(Nodes),
    ok = erlmcp_control_plane:register_component(?MODULE, fun(_Message) -> ok end),
    Starter = self(),
    {_, Monitor} = spawn_monitor(fun() ->
        [ok = erlmcp_queue_limits:record_enqueue(role(), self()) || _ <- lists:seq(1, ?HELD)],
        ok = erlmcp_priority:join(?MODULE),
        Starter ! {?MODULE, ready},
        answer()
    end),
    receive
        {?MODULE, ready} ->
            true = demonitor(Monitor, [flush]),
            ok
    end.

-spec answer() -> no_return().
answer() ->
    receive
        {priority, From, Message} ->
            From ! {?MODULE, Message, node()},
            answer()
    end.

-doc "Makes this node what it was before, also where that was not all done.".
-spec leave() -> ok.
leave() ->
    _ = [exit(Asker, kill) || Asker <- [whereis(?MODULE)], is_pid(Asker)],
    ok = application:unset_env(erlmcp_native, cluster),
    ok = erlmcp_native_app:reload_config(),
    _ = lists:member(?RATE, erlmcp_overload_rate:names()) andalso erlmcp_overload_rate:undefine(?RATE),
    ok = net_kernel:stop().

-doc "Returns how often this node has asked for the rate, and how often it was granted.".
-spec asked() -> {Asked :: non_neg_integer(), Granted :: non_neg_integer()}.
asked() ->
    Reference = make_ref(),
    ?MODULE ! {read, self(), Reference},
    receive
        {Reference, Counts} -> Counts
    after ?READ_MS -> error(timeout)
    end.

-spec ask(erlmcp_native_demo_pace:pace(), non_neg_integer(), non_neg_integer()) -> no_return().
ask(Pace, Asked, Granted) ->
    {Due, Next} = erlmcp_native_demo_pace:due(Pace, now_us()),
    Oks = length([ok || _ <- lists:seq(1, Due), {ok, _} <- [erlmcp_overload_rate:take(?RATE, everybody)]]),
    ok = told(Asked + Due, Granted + Oks),
    receive
    after ?TURN_MS -> ask(Next, Asked + Due, Granted + Oks)
    end.

told(Asked, Granted) ->
    receive
        {read, From, Reference} ->
            From ! {Reference, {Asked, Granted}},
            told(Asked, Granted)
    after 0 -> ok
    end.

now_us() ->
    erlang:monotonic_time(microsecond).
