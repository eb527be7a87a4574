%% JSON of whatever this library returns, and of any other term.
-module(erlmcp_native_json_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_json, [encode/1, plain/1]).

-define(LIMITS, erlmcp_queue_limits).
-define(MONITOR, erlmcp_overload_monitor).
%% Roles and owners may be called so, and are texts then.
-define(NAMES, [true, false, null, undefined, infinity, '', 'ü"\\', session]).

terms_test_() ->
    Ref = make_ref(),
    [
        {lists:flatten(io_lib:format("~0tP", [Term, 12])), ?_assertEqual(Json, encode(Term))}
     || {Term, Json} <- [
            {true, ~"true"},
            {undefined, ~"null"},
            {null, ~"null"},
            {infinity, ~"null"},
            {session, ~"\"session\""},
            {'ü', ~"\"ü\""},
            {1 bsl 70, ~"1180591620717411303424"},
            {0.5, ~"0.5"},
            {~"日", ~"\"日\""},
            {<<"a", 255, 254, "ü"/utf8, 16#e2>>, ~"\"a\x{fffd}\x{fffd}ü\x{fffd}\""},
            {~"a\"\n", ~"\"a\\\"\\n\""},
            {"AB", ~"[65,66]"},
            {[], ~"[]"},
            {{}, ~"[]"},
            {{error, [{a, 1}, undefined]}, ~"[\"error\",[[\"a\",1],null]]"},
            {[a | b], ~"\"[a|b]\""},
            {<<1:3>>, ~"\"<<1:3>>\""},
            {self(), <<$", (list_to_binary(pid_to_list(self())))/binary, $">>},
            {Ref, <<$", (list_to_binary(ref_to_list(Ref)))/binary, $">>},
            {#{#{} => 1}, ~"{\"\#{}\":1}"},
            {#{1 => 1}, ~"{\"1\":1}"},
            {#{1.5 => 1}, ~"{\"1.5\":1}"},
            {#{undefined => undefined}, ~"{\"undefined\":null}"},
            {#{role => undefined}, ~"{\"role\":\"undefined\"}"},
            {#{process => true}, ~"{\"process\":\"true\"}"},
            {#{component => infinity}, ~"{\"component\":\"infinity\"}"},
            {#{limit => infinity}, ~"{\"limit\":null}"}
        ]
    ].

what_is_deep_is_left_out_test() ->
    Deep = fun(Around) -> lists:foldl(fun(_, Inner) -> Around(Inner) end, 1, lists:seq(1, 100000)) end,
    [
        begin
            Json = encode(Deep(Around)),
            ?assert(byte_size(Json) < 1000),
            ?assertMatch({_, _}, binary:match(Json, ~"\"...\"")),
            _ = json:decode(Json)
        end
     || Around <- [fun(Inner) -> [Inner] end, fun(Inner) -> {Inner} end, fun(Inner) -> #{a => Inner} end]
    ],
    Just = fun(Depth) -> lists:foldl(fun(_, Inner) -> [Inner] end, [], lists:seq(2, Depth)) end,
    ?assertEqual([nomatch, {64, 5}], [binary:match(encode(Just(Depth)), ~"\"...\"") || Depth <- [64, 65]]).

what_is_printed_is_short_test() ->
    Long = [lists:seq(1, 100000) | x],
    [?assert(byte_size(encode(Term)) < 1000) || Term <- [Long, #{Long => 1}, <<0:800001>>]].

%% The runtime's own printer takes minutes for these, however few characters it is to give.
what_is_nested_deeply_is_printed_at_once_test() ->
    Deep = lists:foldl(fun(_, Inner) -> [Inner] end, [], lists:seq(1, 1_000_000)),
    [?assert(byte_size(encode(Term)) < 1000) || Term <- [[Deep | x], #{Deep => 1}, #{{Deep} => 1}]].

any_term_test_() ->
    {timeout, 60, ?_assert(proper:quickcheck(prop_erlmcp_native_json:prop_any_term(), [quiet, {numtests, 1000}]))}.

%% Everything that the drop-in modules tell, with names that to an encoder are no texts.
ours_test_() ->
    {setup, fun start/0, fun stop/1, [
        {"rows", fun rows/0},
        {"alerts", fun alerts/0},
        {"refusals", fun refusals/0},
        {"all that can be read", fun all_that_can_be_read/0}
    ]}.

start() ->
    Level = erlmcp_native_test_lib:quiet(),
    ok = application:start(erlmcp_native),
    ok = erlmcp_control_plane:register_component(null, fun(_) -> ok end),
    {ok, _} = erlmcp_control_plane:send_health_check(null, liveness),
    [ok = ?LIMITS:set_limit(Name, 1) || Name <- ?NAMES],
    [ok = ?LIMITS:record_enqueue(Name, Owner) || Name <- ?NAMES, Owner <- [Name, whereis(init)]],
    Level.

stop(Level) ->
    ok = application:stop(erlmcp_native),
    erlmcp_native_test_lib:loud(Level).

decoded(Term) ->
    json:decode(encode(Term)).

texts() ->
    lists:sort([atom_to_binary(Name) || Name <- ?NAMES]).

rows() ->
    Rows = decoded(?MONITOR:get_overloaded()),
    ?assertEqual(texts(), lists:sort([Role || #{~"role" := Role, ~"process" := Role} <- Rows])),
    ?assertEqual(
        [list_to_binary(pid_to_list(whereis(init)))],
        lists:usort([Process || #{~"role" := Role, ~"process" := Process} <- Rows, Process =/= Role])
    ).

alerts() ->
    Alerts = decoded(?MONITOR:get_alert_history()),
    ?assertEqual(texts(), lists:usort([Role || #{~"role" := Role, ~"level" := ~"overload"} <- Alerts])),
    ?assert(lists:all(fun(#{~"process" := Process}) -> is_binary(Process) end, Alerts)).

refusals() ->
    [
        begin
            ok = ?LIMITS:set_limit(Name, 0),
            {error, {capacity_exceeded, _}} = Refused = ?LIMITS:try_enqueue(Name, null),
            Role = atom_to_binary(Name),
            ?assertMatch(
                [
                    ~"error",
                    [
                        ~"capacity_exceeded",
                        #{~"role" := Role, ~"process" := ~"null", ~"limit" := 0}
                    ]
                ],
                decoded(Refused)
            )
        end
     || Name <- ?NAMES
    ].

all_that_can_be_read() ->
    [
        begin
            Term = apply(Module, Function, []),
            ?assertEqual({Module, Function, plain(Term)}, {Module, Function, decoded(Term)})
        end
     || {Module, Functions} <- [
            {?LIMITS, [get_all_limits, get_all_stats]},
            {?MONITOR, [queues, get_overloaded, get_alert_history, summary]},
            {erlmcp_control_plane, [get_stats, components]},
            {erlmcp_native_metrics, [snapshot, fields]},
            {erlmcp_native_role, [numbers]}
        ],
        Function <- Functions
    ].
