%% What a refused client reads: status, fields and body of each refusal, and what is no refusal.
-module(erlmcp_overload_http_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_overload_http, [to_http/1, headers/1, retry_after_seconds/1]).

-define(LIMITS, erlmcp_queue_limits).
-define(REASONS, [node, full, class, deadline, role, bytes]).

queue() ->
    #{
        role => session, limit => 10, depth => 12, class => sheddable, reason => full, retry_after_ms => 2500,
        process => self()
    }.

rate() ->
    #{name => api, key => ~"secret", limit => 100, remaining => 3, retry_after_ms => 2500, reset_ms => 60001}.

read(Headers) ->
    #{Name => iolist_to_binary(Value) || {Name, Value} <- Headers}.

queues_and_all_that_is_not_the_client_test() ->
    [
        begin
            {503, Headers, Body} = to_http((queue())#{reason := Reason}),
            ?assertEqual([~"content-type", ~"retry-after"], [Name || {Name, _} <- Headers]),
            ?assertMatch(#{~"content-type" := ~"application/problem+json"}, read(Headers)),
            Text = atom_to_binary(Reason),
            ?assertMatch(
                #{
                    ~"status" := 503,
                    ~"class" := ~"sheddable",
                    ~"reason" := Text,
                    ~"role" := ~"session",
                    ~"limit" := 10,
                    ~"depth" := 12,
                    ~"retryAfterMs" := 2500,
                    ~"type" := <<"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity">>,
                    ~"title" := <<_, _/binary>>,
                    ~"detail" := <<"Too many requests: ", _, _/binary>>
                },
                Body
            ),
            ?assertEqual(10, map_size(Body)),
            ?assertEqual(Body, json:decode(iolist_to_binary(json:encode(Body))))
        end
     || Reason <- ?REASONS
    ],
    {503, _, Unlimited} = to_http((queue())#{limit := infinity}),
    ?assertMatch(#{~"limit" := null}, Unlimited).

rates_are_the_client_s_test() ->
    {429, Headers, Body} = to_http(rate()),
    ?assertMatch(
        #{~"ratelimit-policy" := ~"\"api\";q=100", ~"ratelimit" := ~"\"api\";r=3;t=3"},
        read(Headers)
    ),
    ?assertEqual(
        #{
            ~"type" => ~"https://iana.org/assignments/http-problem-types#quota-exceeded",
            ~"title" => ~"Request cannot be satisfied as assigned quota has been exceeded",
            ~"status" => 429,
            ~"detail" => ~"Too many requests: they come faster than they may",
            ~"violated-policies" => [~"api"],
            ~"reason" => ~"rate",
            ~"name" => ~"api",
            ~"limit" => 100,
            ~"remaining" => 3,
            ~"retryAfterMs" => 2500,
            ~"resetMs" => 60001
        },
        Body
    ),
    {429, Least, _} = to_http(maps:remove(reset_ms, rate())),
    ?assertEqual(lists:sort(maps:keys(read(Headers))), lists:sort(maps:keys(read(Least)))),
    %% What else there is in it may be anything.
    [
        ?assertMatch({429, #{~"ratelimit-policy" := Policy}}, status_and_fields((rate())#{rate => Rate}))
     || {Rate, Policy} <- [
            {{100, minute}, ~"\"api\";q=100;w=60"}, {{0, second}, ~"\"api\";q=100"}, {x, ~"\"api\";q=100"}
        ]
    ].

status_and_fields(Refusal) ->
    {Status, Headers, _} = to_http(Refusal),
    {Status, read(Headers)}.

%% The draft: it should not be before the end of the effective window.
to_come_again_is_not_before_the_window_s_end_test() ->
    [
        begin
            {429, Headers, _} = to_http((rate())#{retry_after_ms := Ms}),
            #{~"retry-after" := After, ~"ratelimit" := <<"\"api\";r=3;t=", Window/binary>>} = read(Headers),
            ?assert(binary_to_integer(After) >= binary_to_integer(Window)),
            ?assert(binary_to_integer(Window) * 1000 >= Ms)
        end
     || Ms <- [0, 1, 999, 1000, 1001, 3_600_000], _ <- "abcdefgh"
    ].

for_good_test() ->
    {429, Headers, Body} = to_http({error, {cost_exceeds_burst, #{name => api, burst => 5}}}),
    ?assertEqual([~"content-type"], maps:keys(read(Headers))),
    ?assertMatch(#{~"burst" := 5, ~"violated-policies" := [~"api"], ~"reason" := ~"cost", ~"status" := 429}, Body),
    ?assertEqual([], headers({error, {cost_exceeds_burst, #{name => api, burst => 5}}})),
    ?assertError(badarg, retry_after_seconds({cost_exceeds_burst, #{name => api, burst => 5}})).

every_form_is_read_test() ->
    [
        begin
            ?assertEqual({Status, Body}, {element(1, to_http(Form)), element(3, to_http(Form))}),
            ?assert(lists:member(retry_after_seconds(Form), [3, 4])),
            ?assertEqual(lists:sort([~"content-type" | maps:keys(read(headers(Form)))]), Fields)
        end
     || {Tag, Stats} <- [{capacity_exceeded, queue()}, {rate_limited, rate()}],
        {Status, Headers, Body} <- [to_http(Stats)],
        Fields <- [lists:sort(maps:keys(read(Headers)))],
        Form <- [Stats, {Tag, Stats}, {error, {Tag, Stats}}]
    ].

real_refusals_test_() ->
    erlmcp_native_test_lib:with_service([
        fun() ->
            ok = ?LIMITS:set_limit('rôle', 0),
            Refused = {error, {_, Stats}} = ?LIMITS:try_enqueue('rôle', self()),
            {503, _, Body} = to_http(Refused),
            ?assertMatch(#{~"role" := <<"rôle"/utf8>>, ~"limit" := 0, ~"reason" := ~"full"}, Body),
            Json = iolist_to_binary(json:encode(Body)),
            ?assertEqual(nomatch, binary:match(Json, list_to_binary(pid_to_list(self())))),
            ?assert(lists:member(?LIMITS:retry_after_seconds(Stats), [1, 2]))
        end,
        fun() ->
            Rate = {6, minute},
            ok = erlmcp_overload_rate:define('my api', #{rate => Rate, burst => 2}),
            {ok, 1} = erlmcp_overload_rate:take('my api', ~"secret"),
            Told = (erlmcp_overload_rate:info('my api'))#{name => 'my api', remaining => 1},
            Policy = ~"\"my api\";q=6;w=60",
            ?assertEqual(#{~"ratelimit" => ~"\"my api\";r=1", ~"ratelimit-policy" => Policy}, read(headers(Told))),
            {ok, 0} = erlmcp_overload_rate:take('my api', ~"secret"),
            {error, {Tag, Stats}} = Refused = erlmcp_overload_rate:take('my api', ~"secret"),
            ?assertMatch({429, #{~"ratelimit" := ~"\"my api\";r=0;t=10"}}, status_and_fields(Refused)),
            WithRate = {Tag, Stats#{rate => Rate}},
            ?assertMatch({429, #{~"ratelimit-policy" := Policy}}, status_and_fields(WithRate)),
            ?assert(lists:member(retry_after_seconds(Refused), [10, 11, 12])),
            ForGood = {error, {cost_exceeds_burst, _}} = erlmcp_overload_rate:take('my api', ~"secret", 3),
            ?assertMatch({429, _, #{~"burst" := 2, ~"name" := ~"my api"}}, to_http(ForGood)),
            ?assertMatch(#{~"error" := #{~"code" := -32010}}, ?LIMITS:to_json_rpc_error(1, Stats))
        end
    ]).

accepted_test() ->
    [
        ?assertEqual(Fields, [{Name, iolist_to_binary(Value)} || {Name, Value} <- headers(Accepted)])
     || {Accepted, Fields} <- [
            {ok, []},
            {[], []},
            {{ok, 0}, [{~"ratelimit", ~"\"default\";r=0"}]},
            {#{name => api, remaining => 7}, [{~"ratelimit", ~"\"api\";r=7"}]},
            {#{name => api, remaining => 7, reset_ms => 0}, [{~"ratelimit", ~"\"api\";r=7;t=0"}]},
            {#{name => api, remaining => 7, limit => 10, burst => 5, keys => 3},
                [{~"ratelimit-policy", ~"\"api\";q=10"}, {~"ratelimit", ~"\"api\";r=7"}]},
            {[#{name => burst, remaining => 9, rate => {10, second}, reset_ms => 100},
              #{name => 'per hour', remaining => 99, rate => {100, hour}}],
                [{~"ratelimit-policy", ~"\"burst\";q=10;w=1, \"per hour\";q=100;w=3600"},
                 {~"ratelimit", ~"\"burst\";r=9;t=1, \"per hour\";r=99"}]}
        ]
    ].

%% As a parser that is not ours reads them.
names_test() ->
    [
        begin
            [{_, Field}] = headers(#{name => Name, remaining => 1}),
            Parsed = cow_http_struct_hd:parse_list(iolist_to_binary(Field)),
            ?assertEqual([{item, {string, Text}, [{~"r", 1}]}], Parsed)
        end
     || {Name, Text} <- [
            {api, ~"api"},
            {'', ~""},
            {~"per \"user\" \\", ~"per \"user\" \\"},
            {'zähler', ~"z%C3%A4hler"},
            {'a\r\nset-cookie: x', ~"a%0D%0Aset-cookie: x"},
            {~"100%", ~"100%25"},
            {<<255>>, ~"%EF%BF%BD"},
            {{api, 1}, ~"{api,1}"},
            {binary:copy(~"x", 1000), binary:copy(~"x", 255)},
            {binary:copy(~"ä", 1000), binary:copy(~"%C3%A4", 255)}
        ]
    ].

%% However it is made, it is there in time: to print what is nested a million times would take minutes.
a_name_that_is_nested_deeply_test() ->
    Deep = lists:foldl(fun(_, Name) -> [Name] end, [], lists:seq(1, 1_000_000)),
    [{_, Field}] = headers(#{name => Deep, remaining => 1}),
    ?assertMatch(<<"\"[[[", _/binary>>, iolist_to_binary(Field)),
    ?assert(iolist_size(Field) =< 300).

properties_test_() ->
    [
        {Title, {timeout, 60, ?_assert(proper:quickcheck(Property, [quiet, {numtests, 500}]))}}
     || {Title, Property} <- [
            {"any name", prop_erlmcp_overload_http:prop_any_name()},
            {"any refusal", prop_erlmcp_overload_http:prop_any_refusal()},
            {"seconds", prop_erlmcp_overload_http:prop_seconds()}
        ]
    ].

%% Each of the values, and no other. That one does not come in so many is less likely than 2^-500.
they_do_not_come_back_together_test() ->
    [
        begin
            Told = [retry_after_seconds((queue())#{retry_after_ms := Ms}) || _ <- lists:seq(1, 5000)],
            ?assertEqual(Seconds, lists:usort(Told))
        end
     || {Ms, Seconds} <- [
            {1, [1, 2]}, {1000, [1, 2]}, {1001, [2, 3]}, {5000, [5, 6]}, {10_000, [10, 11, 12]},
            {60_000, lists:seq(60, 72)}
        ]
    ].

misuse_test_() ->
    [
        [?_assertError(badarg, to_http(Wrong)) || Wrong <- no_refusals() ++ [ok, {ok, 1}, [rate()]]],
        [?_assertError(badarg, retry_after_seconds(Wrong)) || Wrong <- no_refusals()],
        [
            ?_assertError(badarg, headers(Wrong))
         || Wrong <- no_results() ++ [{ok, -1}, {ok, x}, [rate()], [#{}], [#{name => a, remaining => 1} | x]] ++
                [maps:put(Key, Value, #{name => a, remaining => 1}) || {Key, Values} <- no_accepted(), Value <- Values]
        ]
    ].

no_accepted() ->
    [
        {remaining, [-1, 1.0, infinity]},
        {rate, [{0, second}, {1, day}, {1.0, second}, second, {1, second, 1}]},
        {limit, [0, -1, x]},
        {reset_ms, [-1, x]}
    ].

%% What is short of a time may have been let in.
no_results() ->
    no_refusals() -- [maps:remove(retry_after_ms, rate())].

no_refusals() ->
    [#{}, undefined, [[]], {error, noproc}, {error, queue()}, {error, {rate_limited, queue()}}, {rate_limited, x}]
        ++ [{capacity_exceeded, rate()}, {error, {error, {rate_limited, rate()}}}, "text", self()]
        ++ [maps:remove(Key, queue()) || Key <- [role, limit, depth, retry_after_ms]]
        ++ [maps:remove(Key, rate()) || Key <- [name, limit, remaining, retry_after_ms]]
        ++ [(rate())#{Key := Wrong} || Key <- [limit, remaining, retry_after_ms, reset_ms], Wrong <- [-1, 1.5, x]]
        ++ [(queue())#{Key := Wrong} || Key <- [limit, depth, retry_after_ms], Wrong <- [-1, 1.5, x]]
        ++ [(queue())#{role := "x"}, (queue())#{reason := "x"}, (queue())#{class := "x"}, (rate())#{limit := 0}].

what_is_wrong_is_said_test() ->
    [
        ?assertEqual(#{1 => Says}, explained(Function, Args))
     || {Function, Args, Says} <- [
            {to_http, [#{}], "neither the statistics of a refusal nor those of a rate, alone, tagged or in {error, _}"},
            {retry_after_seconds, [x],
                "neither the statistics of a refusal nor those of a rate, alone, tagged or in {error, _}"},
            {headers, [x],
                "neither a refusal, nor what a rate let in, nor a list of maps with a name and what is remaining"}
        ]
    ].

explained(Function, Args) ->
    try apply(erlmcp_overload_http, Function, Args) of
        Result -> error({no_error, Result})
    catch
        error:badarg:Stack ->
            ?assertMatch([{erlmcp_overload_http, Function, Args, _} | _], Stack),
            erlmcp_native_error:format_error(badarg, Stack)
    end.
