%% /api/history.
-module(erlmcp_native_http_history_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_test_lib, [fetch/1, json/1]).
-import(erlmcp_native_test_lib, [eventually/2]).

history_test_() ->
    erlmcp_native_http_test_lib:with_listener([
        fun it_says_what_was/0,
        fun wrong_parameters/0,
        fun while_nothing_is_kept/0
    ]).

it_says_what_was() ->
    ok = erlmcp_queue_limits:record_enqueue(r, a),
    ok = erlmcp_queue_limits:record_enqueue(null, a),
    eventually(fun() -> length(maps:get(~"roles", json("/api/history"))) =:= 2 end, 30000),
    Fields = [
        ~"at_ms", ~"left_out", ~"node", ~"of", ~"points", ~"role", ~"roles", ~"span", ~"step_ms", ~"to_ms"
    ],
    [
        begin
            Answer = #{~"node" := Node, ~"roles" := Rows} = json("/api/history" ++ Query),
            ?assertEqual(Fields, lists:sort(maps:keys(Answer))),
            ?assertMatch(
                #{~"step_ms" := StepMs, ~"points" := Points, ~"span" := Span, ~"left_out" := 0, ~"role" := Role}, Answer
            ),
            ?assertEqual(Roles, [Of || #{~"role" := Of} <- Rows]),
            [?assertEqual(Points, length(Values)) || Values <- maps:values(Node)],
            [
                ?assertEqual(Points, length(maps:get(Field, Row)))
             || Row <- Rows, Field <- [~"fullest", ~"refused_per_s", ~"max_wait_ms"]
            ],
            [?assert(lists:member(1, Fullest) andalso hd(Fullest) =:= null) || #{~"fullest" := Fullest} <- Rows]
        end
     || {Query, StepMs, Points, Span, Role, Roles} <- [
            {"", 1000, 600, ~"last_10_minutes", null, [~"null", ~"r"]},
            {"?span=10m&role=r", 1000, 600, ~"last_10_minutes", ~"r", [~"r"]},
            {"?role=null&span=24h", 60000, 1440, ~"last_day", ~"null", [~"null"]},
            {"?role=session", 1000, 600, ~"last_10_minutes", ~"session", []}
        ]
    ].

wrong_parameters() ->
    [
        begin
            {400, _, Body} = fetch("/api/history?" ++ Query),
            ?assertMatch(#{~"error" := ~"bad_parameter", ~"parameter" := Parameter}, json:decode(Body))
        end
     || {Query, Parameter} <- [
            {"span", ~"span"}, {"span=", ~"span"}, {"span=10M", ~"span"}, {"span=1h", ~"span"}, {"x=1", ~"x"},
            {"span=10m&span=24h", ~"span"}, {"role=nobody", ~"role"}, {"top=1", ~"top"}, {"node", ~"node"}
        ]
    ],
    {405, _, _} = erlmcp_native_http_test_lib:request("POST /api/history", []).

while_nothing_is_kept() ->
    ok = erlmcp_native:history_keep(false),
    {503, #{~"retry-after" := _}, _} = fetch("/api/history"),
    ok = gen_server:stop(erlmcp_queue_limits),
    [{503, _, _} = fetch("/api/history" ++ Query) || Query <- ["", "?span=24h", "?role=r"]].
