%% What another node may say: anything. Whoever hears it goes on, and goes by what makes sense.
-module(erlmcp_overload_cluster_hearsay_tests).

-include_lib("eunit/include/eunit.hrl").

-export([throw_all/1, speak/0, answers/2, send/2]).

-import(erlmcp_control_far_test_lib, [on/3, on/4, component/2, name/1]).
-import(erlmcp_native_test_lib, [eventually/1]).

-define(LIB, erlmcp_control_far_test_lib).
-define(GATE, erlmcp_control_gate).
-define(PEERS, erlmcp_priority_peers).
-define(CLUSTER, erlmcp_overload_cluster).
-define(RECEIVERS, [?GATE, ?PEERS, ?CLUSTER, erlmcp_control_routes, erlmcp_priority_groups]).
%% The scope: no module.
-define(SCOPE, erlmcp_overload).
-define(NEVER, {control, cancel_task, #{task_id => never}}).
-define(MAX_TIMEOUT_MS, 16#ffffffff).

odd() ->
    [
        -1,
        0,
        1,
        1 bsl 32,
        1 bsl 70,
        -(1 bsl 70),
        1 bsl 20000,
        0.5,
        -1.0e300,
        infinity,
        undefined,
        "text",
        ~"text",
        <<1:3>>,
        [],
        [improper | list],
        {},
        #{},
        #{odd => {key, [1 | 2]}},
        make_ref(),
        self(),
        fun erlang:node/0
    ].

hearsay_test_() ->
    {setup,
        fun() ->
            Path = ["-pa", filename:dirname(code:which(?MODULE))],
            [A, B] = [?LIB:node(Name, Path) || Name <- [hearsay_a, hearsay_b]],
            _ = ?LIB:cluster(A),
            {ok, _} = on(B, pg, start, [?SCOPE]),
            ok = on(B, ?MODULE, speak, []),
            _ = ?LIB:connect(A, B),
            [A, B]
        end,
        fun(Peers) -> [ok = ?LIB:stop(Peer) || Peer <- Peers] end,
        fun([A, B]) ->
            [
                {atom_to_list(Name), {timeout, 120, fun() -> Test(A, B) end}}
             || {Name, Test} <- [
                    {who_listens_hears_anything, fun who_listens_hears_anything/2},
                    {who_asks_is_answered_anything, fun who_asks_is_answered_anything/2},
                    {nobody_waits_longer_than_one_can, fun nobody_waits_longer_than_one_can/2}
                ]
            ]
        end}.

%% Each message as it ought to be, and with each part of it replaced by each odd term.
who_listens_hears_anything(A, B) ->
    ok = component(A, there),
    Before = pids(A),
    ok = eventually(fun() -> is_known(B) end),
    ?assert(on(B, ?MODULE, throw_all, [name(A)]) > 1000),
    ?assertEqual(Before, pids(A)),
    %% And what makes sense is heard.
    ok = eventually(fun() -> is_heard(A, B) end),
    ?assertMatch(#{nodes := #{}}, on(A, erlmcp_priority, broadcast, [sensible, hello, on(A, erlang, whereis, [init])])),
    ?assertMatch({ok, _}, on(A, send_health_check, [there, full])).

pids(Peer) ->
    [{Name, on(Peer, erlang, whereis, [Name])} || Name <- [erlmcp_native_exporters | ?RECEIVERS]].

%% Who is known is asked.
is_known(B) ->
    Speaker = on(B, erlang, whereis, [?PEERS]),
    {message_queue_len, 0} =/= on(B, erlang, process_info, [Speaker, message_queue_len]).

is_heard(A, B) ->
    Node = name(B),
    case on(A, ?CLUSTER, summary, []) of
        #{nodes := #{Node := #{roles := #{sensible := #{depth := 3}}, rates := #{sensible := 1.5}}}} -> true;
        _ -> false
    end.

%% On the other node.
throw_all(Node) ->
    Speaker = whereis(?PEERS),
    Alias = erlang:alias(),
    Row = {sensible, 3, 10, 1, 0, ok},
    Told = #{vsn => ~"0.1.0", roles => [Row], pressure => {1, memory}, rates => [{sensible, 1.5}]},
    Cluster = {'$gen_cast', {?CLUSTER, 1, node(), Told}},
    Sensible = [
        {?GATE, {erlmcp_control, 1, Alias, #{ask => route, id => there}}},
        {?GATE, {erlmcp_control, 1, Alias, #{ask => call, id => there, message => ?NEVER, timeout_ms => 100}}},
        {?GATE, {erlmcp_control, 1, Alias, #{ask => cast, id => there, message => ?NEVER}}},
        {?PEERS, {?PEERS, 1, Speaker, #{ask => counts}}},
        {?PEERS, {?PEERS, 1, Speaker, #{counts => #{sensible => 2}, alias => Alias, first => true, more => false}}},
        {?PEERS, {?PEERS, 1, Speaker, #{group => sensible, message => {priority, self(), hello}}}},
        {?CLUSTER, Cluster}
    ],
    All = lists:usort([{Name, Odd} || {Name, Message} <- Sensible, Odd <- odd_ones(Message)]),
    _ = [{Name, Node} ! Message || {Name, Message} <- All],
    _ = [{Name, Node} ! Message || Name <- ?RECEIVERS, Message <- odd()],
    {?CLUSTER, Node} ! Cluster,
    %% Who answers has heard all that.
    _ = [{error, unknown_call} = gen_server:call({Name, Node}, anything, 60000) || Name <- ?RECEIVERS],
    length(All).

odd_ones(Term) ->
    odd() ++ with_odd_parts(Term).

with_odd_parts(#{} = Map) ->
    lists:append([
        [maps:remove(Key, Map), Map#{Value => Value}] ++ [Map#{Key := Odd} || Odd <- odd_ones(Value)]
     || Key := Value <- Map
    ]);
with_odd_parts(Tuple) when is_tuple(Tuple) ->
    [erlang:insert_element(1 + tuple_size(Tuple), Tuple, odd)] ++
        [
            setelement(At, Tuple, Odd)
         || At <- lists:seq(1, tuple_size(Tuple)), Odd <- odd_ones(element(At, Tuple))
        ];
with_odd_parts([Element | Rest]) ->
    [[Odd | Rest] || Odd <- odd_ones(Element)] ++ [[Element | Odd] || Odd <- odd_ones(Rest)];
with_odd_parts(_) ->
    [].

who_asks_is_answered_anything(A, B) ->
    Good = #{timeout_ms => 5000, result => ok},
    Answers = [{erlmcp_control, 1, Good#{timeout_ms := 1 bsl 70}} | odd_ones({erlmcp_control, 1, Good})],
    [
        begin
            ok = on(B, ?MODULE, answers, [ToRoute, ToCall]),
            ?assertMatch({ok, {Tag, _}} when Tag =:= ok; Tag =:= error, on(A, ?MODULE, send, [odd, name(B)]))
        end
     || Answer <- Answers, {ToRoute, ToCall} <- [{Answer, Good}, {Good, Answer}, {Answer, Answer}]
    ].

%% Not what the other node says, and so within what a receive may be told.
nobody_waits_longer_than_one_can(A, B) ->
    Node = name(B),
    Long = {erlmcp_control, 1, #{timeout_ms => 1 bsl 70, result => ok}},
    Short = {erlmcp_control, 1, #{timeout_ms => 700, result => ok}},
    Known = fun() -> on(A, ets, lookup_element, [erlmcp_control_routes, {long, Node}, 3, none]) end,
    [
        begin
            ok = on(B, ?MODULE, answers, [Answer, Answer]),
            ?assertMatch({ok, _}, on(A, send_cancel_task, [{long, Node}, t])),
            ok = eventually(fun() -> Known() =:= TimeoutMs end)
        end
     || {Answer, TimeoutMs} <- [{Long, ?MAX_TIMEOUT_MS}, {Short, 700}, {Long, ?MAX_TIMEOUT_MS}]
    ].

send(Id, Node) ->
    try
        {ok, erlmcp_control_plane:send_cancel_task({Id, Node}, t)}
    catch
        Class:Reason:Stacktrace -> {raised, Class, Reason, Stacktrace}
    end.

%% What the other node has for a gate, and for whoever knows of groups.
speak() ->
    Caller = self(),
    Gate = spawn(fun() ->
        true = register(?GATE, self()),
        Caller ! {self(), there},
        gate(none, none)
    end),
    Peers = spawn(fun() ->
        true = register(?PEERS, self()),
        ok = pg:join(?SCOPE, ?PEERS, self()),
        Caller ! {self(), there},
        receive
            never -> ok
        end
    end),
    _ = [receive {Pid, there} -> ok end || Pid <- [Gate, Peers]],
    ok.

answers(ToRoute, ToCall) ->
    ?GATE ! {answers, self(), ToRoute, ToCall},
    receive
        {?GATE, ok} -> ok
    end.

gate(ToRoute, ToCall) ->
    receive
        {answers, From, NewToRoute, NewToCall} ->
            From ! {?GATE, ok},
            gate(NewToRoute, NewToCall);
        {erlmcp_control, 1, From, #{ask := Ask}} when is_reference(From) ->
            From ! {From, case Ask of route -> ToRoute; call -> ToCall end},
            gate(ToRoute, ToCall)
    end.
