%% Control messages to components of other nodes: what comes there, in which order, and what comes back.
-module(erlmcp_control_far_tests).

-include_lib("eunit/include/eunit.hrl").

-export([exits/2, all_at_once/1, pretend/1, answers/1, gate_says/3]).

-import(erlmcp_control_far_test_lib, [on/3, on/4, component/2, component/3, collected/1, connect/2]).
-import(erlmcp_native_test_lib, [eventually/1]).

-define(LIB, erlmcp_control_far_test_lib).
-define(NEVER, {control, cancel_task, #{task_id => never}}).

nodes_test_() ->
    {setup,
        fun() ->
            [A, B] = Peers = [?LIB:cluster(?LIB:node(Name)) || Name <- [far_a, far_b]],
            _ = connect(A, B),
            Peers
        end,
        fun(Peers) -> [ok = ?LIB:stop(Peer) || Peer <- Peers] end,
        fun([A, B]) ->
            [
                {name(Test), {timeout, 120, fun() -> Test(A, B, ?LIB:name(B)) end}}
             || Test <- [
                    fun all_types_come_there_and_back/3,
                    fun answers_are_the_handlers/3,
                    fun the_most_urgent_goes_first/3,
                    fun a_component_that_takes_them_itself/3,
                    fun a_sender_waits_as_long_as_the_component_says/3,
                    fun what_nobody_waits_for_is_not_run/3,
                    fun a_rate_is_that_of_the_component/3,
                    fun a_message_may_be_large/3,
                    fun a_component_may_come_and_go/3,
                    fun numbers_of_what_became_of_them/3,
                    fun what_is_no_message_is_ignored/3,
                    fun a_gate_of_another_version/3,
                    fun a_sender_of_another_version/3,
                    fun misuse/3
                ]
            ]
        end}.

name(Test) ->
    {name, Name} = erlang:fun_info(Test, name),
    atom_to_list(Name).

all_types_come_there_and_back(A, B, Node) ->
    ok = component(B, types),
    To = {types, Node},
    [
        ?assertMatch({ok, Us} when Us > 0, on(A, Function, [To, Argument]))
     || {Function, Argument} <- [
            {send_health_check, full}, {send_drain_session, s}, {send_cancel_task, t}, {send_circuit_breaker, open}
        ]
    ],
    ?assertMatch(
        [
            {control, health_check, #{type := full, timeout_ms := 100}},
            {control, drain_session, #{session_id := s}},
            {control, cancel_task, #{task_id := t}},
            {control, circuit_breaker, #{action := open, component := types}}
        ],
        [Message || {types, Message} <- collected(B)]
    ),
    ok = on(A, cast_priority, [To, ?NEVER]),
    ok = eventually(fun() -> lists:member({types, ?NEVER}, collected(B)) end),
    %% A node of its own is a node, too.
    ?assertMatch({ok, _}, on(B, send_health_check, [To, full])),
    ?assertEqual(ok, on(B, cast_priority, [To, ?NEVER])).

answers_are_the_handlers(A, B, Node) ->
    ok = component(B, answers),
    ?assertEqual({error, no}, on(A, send_cancel_task, [{answers, Node}, {error, no}])),
    ?assertEqual({error, {handler_crashed, why}}, on(A, send_cancel_task, [{answers, Node}, {crash, why}])),
    ?assertEqual({error, component_not_registered}, on(A, send_cancel_task, [{nobody, Node}, t])),
    ?assertEqual({error, component_not_registered}, on(A, cast_priority, [{nobody, Node}, ?NEVER])).

the_most_urgent_goes_first(A, B, Node) ->
    ok = component(B, order),
    ok = on(A, cast_priority, [{order, Node}, {control, cancel_task, #{task_id => {wait, order_waits}}}]),
    ok = eventually(fun() -> on(B, ?LIB, runs, [order_waits]) end),
    Messages = [
        {control, cancel_task, #{task_id => 1}},
        {control, cancel_task, #{task_id => 2}},
        {control, drain_session, #{session_id => 3}},
        {control, health_check, #{type => full}},
        {control, circuit_breaker, #{action => query}}
    ],
    [ok = on(A, cast_priority, [{order, Node}, Message]) || Message <- Messages],
    ok = eventually(fun() -> waiting(B, order) =:= 5 end),
    {go, ok} = on(B, erlang, send, [order_waits, {go, ok}]),
    ok = eventually(fun() -> length([x || {order, _} <- collected(B)]) =:= 6 end),
    [_ | Rest] = [Message || {order, Message} <- collected(B)],
    [Cancel1, Cancel2, Drain, Health, Breaker] = Messages,
    ?assertEqual([Breaker, Health, Drain, Cancel1, Cancel2], Rest).

waiting(Peer, Id) ->
    #{by_component := #{Id := #{queued := Queued}}} = on(Peer, get_stats, []),
    lists:sum(maps:values(Queued)).

a_component_that_takes_them_itself(A, B, Node) ->
    Pid = on(B, ?MODULE, answers, [own]),
    ok = eventually(fun() -> lists:member(own, on(B, components, [])) end),
    ?assertMatch({ok, _}, on(A, send_drain_session, [{own, Node}, s])),
    ?assertEqual({error, own}, on(A, send_cancel_task, [{own, Node}, t])),
    true = on(B, erlang, exit, [Pid, kill]),
    ok = eventually(fun() -> on(A, send_drain_session, [{own, Node}, s]) =:= {error, component_not_registered} end).

answers(Id) ->
    spawn(fun() ->
        Alias = erlmcp_priority:create_priority_alias(),
        ok = erlmcp_control_plane:register_component(Id, #{alias => Alias}),
        answer_all(Id)
    end).

answer_all(Id) ->
    receive
        {priority, From, {control, drain_session, _}} -> erlmcp_control_plane:reply(From, ok);
        {priority, From, _} -> erlmcp_control_plane:reply(From, {error, Id})
    end,
    answer_all(Id).

a_sender_waits_as_long_as_the_component_says(A, B, Node) ->
    ok = component(B, slow, #{timeout_ms => 100}),
    Args = [{slow, Node}, {wait, slow_waits}],
    {Result, Ms} = on(A, ?LIB, timed, [erlmcp_control_plane, send_cancel_task, Args]),
    ?assertEqual({error, timeout}, Result),
    ?assert(Ms >= 100 andalso Ms < 4000),
    {go, ok} = on(B, erlang, send, [slow_waits, {go, ok}]),
    %% What the component says is learned again with each answer.
    ok = component(B, slow, #{timeout_ms => 60000}),
    ?assertMatch({ok, _}, on(A, send_health_check, [{slow, Node}, full])),
    Learned = fun() -> on(A, ets, lookup_element, [erlmcp_control_routes, {slow, Node}, 3]) end,
    ok = eventually(fun() -> Learned() =:= 60000 end).

what_nobody_waits_for_is_not_run(A, B, Node) ->
    ok = component(B, late, #{timeout_ms => 300}),
    ok = on(A, cast_priority, [{late, Node}, {control, cancel_task, #{task_id => {wait, late_waits}}}]),
    ok = eventually(fun() -> on(B, ?LIB, runs, [late_waits]) end),
    ?assertEqual({error, timeout}, on(A, send_cancel_task, [{late, Node}, given_up])),
    {go, ok} = on(B, erlang, send, [late_waits, {go, ok}]),
    ok = eventually(fun() -> waiting(B, late) =:= 0 end),
    ?assertMatch({ok, _}, on(A, send_drain_session, [{late, Node}, last])),
    Run = [Message || {late, Message} <- collected(B)],
    ?assertMatch([{control, cancel_task, _}, {control, drain_session, _}], Run).

a_rate_is_that_of_the_component(A, B, Node) ->
    ok = component(B, rated, #{rate => #{cancel_task => {1, hour}}}),
    ?assertMatch({ok, _}, on(A, send_cancel_task, [{rated, Node}, t])),
    ?assertMatch(
        {error, {rate_limited, #{name := rated, key := cancel_task}}}, on(A, send_cancel_task, [{rated, Node}, t])
    ),
    ?assertMatch({ok, _}, on(A, send_drain_session, [{rated, Node}, t])).

a_message_may_be_large(A, B, Node) ->
    ok = component(B, large),
    Id = binary:copy(<<7>>, 3_000_000),
    ?assertMatch({ok, _}, on(A, send_cancel_task, [{large, Node}, Id])),
    ?assertMatch([Id], [Task || {large, {control, cancel_task, #{task_id := Task}}} <- collected(B)]).

a_component_may_come_and_go(A, B, Node) ->
    ok = component(B, comes),
    ?assertMatch({ok, _}, on(A, send_cancel_task, [{comes, Node}, t])),
    ok = on(B, unregister_component, [comes]),
    ?assertEqual({error, component_not_registered}, on(A, send_cancel_task, [{comes, Node}, t])),
    Forgotten = fun() -> on(A, ets, lookup, [erlmcp_control_routes, {comes, Node}]) =:= [] end,
    ok = eventually(Forgotten),
    ok = component(B, comes),
    ?assertMatch({ok, _}, on(A, send_cancel_task, [{comes, Node}, t])),
    %% A handler that is killed at its message is the sender's to know.
    ?assertEqual(
        {error, {handler_crashed, killed}},
        begin
            Killer = spawn_link(fun() ->
                ok = eventually(fun() -> on(B, ?LIB, runs, [to_be_killed]) end),
                true = on(B, erlang, exit, [on(B, erlang, whereis, [to_be_killed]), kill])
            end),
            Result = on(A, send_cancel_task, [{comes, Node}, {wait, to_be_killed}]),
            ?assert(is_pid(Killer)),
            Result
        end
    ).

numbers_of_what_became_of_them(A, B, Node) ->
    ok = component(B, counted),
    ok = on(A, reset_stats, []),
    ok = on(B, reset_stats, []),
    {ok, Us} = on(A, send_health_check, [{counted, Node}, full]),
    ok = on(A, cast_priority, [{counted, Node}, ?NEVER]),
    {error, {handler_crashed, _}} = on(A, send_cancel_task, [{counted, Node}, {crash, why}]),
    {error, {nodedown, 'no@localhost'}} = on(A, send_health_check, [{counted, 'no@localhost'}, full]),
    #{far := Far, slo_violations := 1, max_latency_us := Max, total_delivered := 0} = on(A, get_stats, []),
    ?assert(Max >= Us),
    ?assertEqual(
        #{sent => 1, answered => 1, died => 1, timeout => 0, busy => 0, nodedown => 1, not_supported => 0}, Far
    ),
    ?assertMatch(
        #{'no@localhost' := #{nodedown := 1, busy := 0, timeout := 0, not_supported := 0, last_ms := _}},
        maps:get(far_by_node, on(A, get_stats, []))
    ),
    ok = component(B, counted, #{timeout_ms => 100}),
    {ok, _} = on(A, send_health_check, [{counted, Node}, full]),
    ok = eventually(fun() -> element(3, hd(on(A, ets, lookup, [erlmcp_control_routes, {counted, Node}]))) =:= 100 end),
    {error, timeout} = on(A, send_cancel_task, [{counted, Node}, {wait, counted_waits}]),
    {go, ok} = on(B, erlang, send, [counted_waits, {go, ok}]),
    ?assertMatch(#{Node := #{timeout := 1, nodedown := 0}}, maps:get(far_by_node, on(A, get_stats, []))),
    Delivered = fun() ->
        #{by_component := #{counted := #{delivered := Number}}} = on(B, get_stats, []),
        Number
    end,
    ok = eventually(fun() -> Delivered() =:= 5 end),
    Metrics = [Samples || {#{name := ~"erlmcp_control_far"}, Samples} <- on(A, erlmcp_native_metrics, collect, [])],
    ?assert(lists:member({[~"died"], 1}, hd(Metrics))),
    ok = on(A, reset_stats, []),
    ?assertNot(is_map_key(far_by_node, on(A, get_stats, []))).

what_is_no_message_is_ignored(A, B, Node) ->
    ok = component(B, there),
    Gate = on(B, erlang, whereis, [erlmcp_control_gate]),
    Call = fun(Map) -> {erlmcp_control, 1, none, Map} end,
    [
        on(A, erlang, send, [{erlmcp_control_gate, Node}, Forged])
     || Forged <- [
            hello,
            {erlmcp_control, 1, make_ref(), []},
            {erlmcp_control, x, none, #{}},
            Call(#{}),
            Call(#{ask => call, id => "there", message => ?NEVER}),
            Call(#{ask => call, id => there, message => ?NEVER, timeout_ms => soon}),
            Call(#{ask => call, id => there, message => ?NEVER, timeout_ms => -1}),
            Call(#{ask => call, id => there, message => ?NEVER, timeout_ms => 1 bsl 70}),
            Call(#{ask => call, id => there, message => [improper | list], timeout_ms => 5}),
            Call(#{ask => cast, id => there, message => {control, cancel_task, x}}),
            Call(#{ask => what, id => there}),
            {'$gen_call', {self(), make_ref()}, x},
            {'$gen_cast', x}
        ]
    ],
    ?assertMatch({ok, _}, on(A, send_cancel_task, [{there, Node}, t])),
    ?assertEqual(Gate, on(B, erlang, whereis, [erlmcp_control_gate])).

%% A node that does not understand what it is sent says what it would.
a_gate_of_another_version(A, B, Node) ->
    ok = on(B, supervisor, terminate_child, [erlmcp_overload_cluster_sup, erlmcp_control_gate]),
    Pid = on(B, ?MODULE, pretend, [erlmcp_control_gate]),
    ?assertEqual({error, {not_supported, 7}}, on(A, send_cancel_task, [{there, Node}, t])),
    ok = eventually(fun() -> on(A, cast_priority, [{there, Node}, ?NEVER]) =:= {error, {not_supported, 7}} end),
    true = on(B, erlang, exit, [Pid, kill]),
    %% One without any.
    ok = eventually(fun() -> on(A, send_cancel_task, [{there, Node}, t]) =:= {error, {not_supported, 0}} end),
    {ok, _} = on(B, supervisor, restart_child, [erlmcp_overload_cluster_sup, erlmcp_control_gate]),
    ok = component(B, there),
    ?assertMatch({ok, _}, on(A, send_cancel_task, [{there, Node}, t])).

pretend(Name) ->
    Caller = self(),
    Pid = spawn(fun() -> true = register(Name, self()), Caller ! {self(), there}, answer_in_another_version() end),
    receive
        {Pid, there} -> Pid
    end.

answer_in_another_version() ->
    receive
        {erlmcp_control, 1, From, _} when is_reference(From) -> From ! {From, {erlmcp_control, 7, #{new => key}}};
        _ -> ok
    end,
    answer_in_another_version().

%% A sender of a later version is answered as far as it is understood.
a_sender_of_another_version(A, B, Node) ->
    ok = component(B, there, #{timeout_ms => 7000}),
    Says = fun(Vsn, Map) -> on(A, ?MODULE, gate_says, [Node, Vsn, Map]) end,
    Call = #{ask => call, id => there, message => ?NEVER, timeout_ms => 7000},
    ?assertEqual(#{timeout_ms => 7000}, Says(1, #{ask => route, id => there, new => key})),
    ?assertEqual(#{result => ok, timeout_ms => 7000}, Says(1, Call#{new => key})),
    Before = length(collected(B)),
    [
        ?assertEqual({Vsn, Map, #{}}, {Vsn, Map, Says(Vsn, Map)})
     || {Vsn, Map} <- [
            {2, #{ask => route, id => there}},
            {2, Call},
            {2, #{new => map}},
            {1, Call#{ask := something_new}},
            {1, Call#{message := {control, new_type, #{}}}}
        ]
    ],
    ?assertEqual(Before, length(collected(B))).

gate_says(Node, Vsn, Map) ->
    From = erlang:alias(),
    {erlmcp_control_gate, Node} ! {erlmcp_control, Vsn, From, Map},
    receive
        {From, {erlmcp_control, 1, Answer}} -> Answer
    after 20000 -> nothing
    end.

misuse(A, _B, Node) ->
    [
        ?assertError(badarg, on(A, Function, [To | Args]))
     || {Function, Args} <- [
            {send_priority, [?NEVER]},
            {cast_priority, [?NEVER]},
            {send_health_check, [full]},
            {send_drain_session, [s]},
            {send_cancel_task, [t]},
            {send_circuit_breaker, [open]}
        ],
        To <- [{"id", Node}, {there, "node"}, {there, Node, more}, {there, self()}, {"id", on(A, erlang, node, [])}]
    ],
    ?assertError(badarg, on(A, send_priority, [{there, Node}, no_message])),
    ?assertError(badarg, on(A, register_component, [{there, Node}, {lists, sum}])).

without_a_cluster_test_() ->
    {timeout, 120, fun() ->
        A = ?LIB:cluster(?LIB:node(far_alone_a)),
        B = ?LIB:node(far_alone_b),
        {ok, _} = on(B, application, ensure_all_started, [erlmcp_native]),
        Node = connect(A, B),
        ok = component(B, there),
        %% Asked there it is nobody's business that there are no others; here nobody may be asked.
        ?assertEqual({error, {not_supported, 0}}, on(A, send_cancel_task, [{there, Node}, t])),
        %% Also to those that come when others have just learned it.
        ?assertEqual([{error, {not_supported, 0}}], on(A, ?MODULE, all_at_once, [[{there, Node}, t]])),
        Args = [{there, ?LIB:name(A)}, t],
        NoProcess = {noproc, {erlmcp_control_plane, send_cancel_task, Args}},
        ?assertEqual(NoProcess, on(B, ?MODULE, exits, [send_cancel_task, Args])),
        ?assertMatch({ok, _}, on(B, send_cancel_task, [{there, Node}, t])),
        %% Configured, it is there; and no more when it is not.
        ok = on(B, application, set_env, [erlmcp_native, cluster, []]),
        ok = on(B, erlmcp_native_app, reload_config, []),
        ?assertMatch({ok, _}, on(A, send_cancel_task, [{there, Node}, t])),
        ok = on(B, application, unset_env, [erlmcp_native, cluster]),
        ok = on(B, erlmcp_native_app, reload_config, []),
        ok = eventually(fun() -> on(A, send_cancel_task, [{there, Node}, t]) =:= {error, {not_supported, 0}} end),
        [ok = ?LIB:stop(Peer) || Peer <- [A, B]]
    end}.

%% What many get who send a message all the time.
all_at_once(Args) ->
    Send = fun() -> exit([apply(erlmcp_control_plane, send_cancel_task, Args) || _ <- lists:seq(1, 100)]) end,
    Senders = [spawn_monitor(Send) || _ <- lists:seq(1, 20)],
    lists:umerge([receive {'DOWN', Monitor, process, _, Got} -> lists:usort(Got) end || {_, Monitor} <- Senders]).

exits(Function, Args) ->
    try
        {returned, apply(erlmcp_control_plane, Function, Args)}
    catch
        exit:Reason -> Reason
    end.
