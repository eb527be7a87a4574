%% What is no rate, no name, no cost, no list: each is named, and nothing is changed.
-module(erlmcp_overload_rate_misuse_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_overload_rate, [define/2, undefine/1, names/0, info/1, take/2, take/3, take_all/1, peek/2]).
-import(erlmcp_overload_rate, [give_back/3, reset/2]).

-define(SLOW, #{rate => {1, hour}, burst => 3}).

misuse_test_() ->
    erlmcp_native_test_lib:with_service([
        fun what_is_no_rate_is_not_defined/0,
        fun what_just_fits_is_defined/0,
        fun a_name_is_an_atom/0,
        fun what_is_not_defined_is_a_bad_name/0,
        fun a_cost_is_a_positive_integer/0,
        fun items_are_a_short_list_of_three/0,
        fun there_are_1024_names/0,
        fun a_change_during_takes_grants_no_more/0
    ]).

what_is_no_rate_is_not_defined() ->
    Bad = [
        {#{}, "rate: undefined is not {Number, Period}"},
        {#{burst => 1}, "rate: undefined is not {Number, Period}"},
        {#{rate => {0, second}}, "rate: {0,second} is not {Number, Period}"},
        {#{rate => {-1, second}}, "rate: {-1,second} is not"},
        {#{rate => {1.5, second}}, "rate: {1.5,second} is not"},
        {#{rate => {1, day}}, "rate: {1,day} is not"},
        {#{rate => {1000000001, second}}, "rate: {1000000001,second} is not"},
        {#{rate => {60000000001, minute}}, "rate: {60000000001,minute} is not"},
        {#{rate => 10}, "rate: 10 is not"},
        {#{rate => {1, second}, burst => 0}, "burst: 0 is not an integer from 1 to 2^58"},
        {#{rate => {1, second}, burst => -1}, "burst: -1 is not"},
        {#{rate => {1, second}, burst => 1 bsl 58 + 1}, "burst: 288230376151711745 is not"},
        {#{rate => {1, hour}, burst => 80064}, "burst: 80064 is not a rate and a burst of which"},
        {#{rate => {1, second}, max_keys => 0}, "max_keys: 0 is not an integer from 1 to 2^32 - 1"},
        {#{rate => {1, second}, max_keys => 1 bsl 32}, "max_keys: 4294967296 is not"},
        {#{rate => {1, second}, overflow => drop}, "overflow: drop is not share or refuse"},
        {#{rate => {1, second}, brust => 1}, "did you mean burst?"},
        {rate, "rate is not a map of options"},
        {[{rate, {1, second}} | burst], "is not a map of options"}
    ],
    [
        ?assertMatch({Options, {2, _}, {match, _}}, {Options, {Position, Text}, re:run(Text, quoted(Words))})
     || {Options, Words} <- Bad, {Position, Text} <- [explained(fun() -> define(api, Options) end)]
    ],
    ?assertEqual([], names()).

what_just_fits_is_defined() ->
    Fit = [
        #{rate => {1, second}},
        #{rate => {1, hour}, burst => 80063},
        #{rate => {1000000000, second}, burst => 1 bsl 58},
        #{rate => {3600000000000, hour}, burst => 1},
        #{rate => {999999937, second}, burst => 1 bsl 57},
        #{rate => {1, second}, max_keys => 16#ffffffff}
    ],
    [?assertEqual({Options, ok}, {Options, define(api, Options)}) || Options <- Fit],
    [?assertMatch({ok, _}, begin ok = define(api, Options), ok = reset(api, t), take(api, t) end) || Options <- Fit].

a_name_is_an_atom() ->
    [
        ?assertMatch({Name, {1, "not an atom"}}, {Name, explained(fun() -> define(Name, ?SLOW) end)})
     || Name <- [1, ~"api", "api", {api}, self()]
    ].

what_is_not_defined_is_a_bad_name() ->
    Calls = [
        fun(Name) -> undefine(Name) end,
        fun(Name) -> info(Name) end,
        fun(Name) -> take(Name, t) end,
        fun(Name) -> take(Name, t, 2) end,
        fun(Name) -> take(Name, #{}, 2) end,
        fun(Name) -> take_all([{Name, t, 1}]) end,
        fun(Name) -> take_all([{Name, #{}, 1}]) end,
        fun(Name) -> peek(Name, t) end,
        fun(Name) -> give_back(Name, t, 1) end,
        fun(Name) -> reset(Name, t) end
    ],
    [
        ?assertEqual({1, "not the name of a rate that is defined"}, explained(fun() -> Call(Name) end))
     || Call <- Calls, Name <- [never_defined, 1, ~"api", {api, 1}]
    ].

a_cost_is_a_positive_integer() ->
    ok = define(api, ?SLOW),
    Bad = [0, -1, 1.0, one, 1 bsl 64, ~"1"],
    Words = "not an integer from 1 to 2^64 - 1",
    [
        ?assertEqual({Cost, {3, Words}}, {Cost, explained(fun() -> Call(Cost) end)})
     || Cost <- Bad,
        Call <- [
            fun(Of) -> take(api, t, Of) end, fun(Of) -> take(api, #{}, Of) end, fun(Of) -> give_back(api, t, Of) end
        ]
    ],
    [?assertEqual({1, Words}, explained(fun() -> take_all([{api, t, 1}, {api, u, Cost}]) end)) || Cost <- Bad],
    ?assertMatch(#{taken := 0, refused := 0}, info(api)).

items_are_a_short_list_of_three() ->
    ok = define(api, #{rate => {1, hour}, burst => 100}),
    Bad = [
        none, {api, t, 1}, [{api, t}], [{api, t, none, 1}], [{api, t, 1} | more], [{api, t, 1} | {api, t, 1}],
        lists:duplicate(65, {api, t, 1})
    ],
    Words = "not a list of at most 64 {Name, Key, Cost}",
    [?assertEqual({1, Words}, explained(fun() -> take_all(Items) end)) || Items <- Bad],
    ?assertEqual(ok, take_all(lists:duplicate(64, {api, t, 1}))),
    ?assertMatch(#{taken := 64}, info(api)).

there_are_1024_names() ->
    Name = fun(Number) -> binary_to_atom(<<"rate_", (integer_to_binary(Number))/binary>>) end,
    [ok = define(Name(Number), ?SLOW) || Number <- lists:seq(1, 1024)],
    ?assertError(system_limit, define(one_more, ?SLOW)),
    ok = define(Name(7), #{rate => {2, hour}}),
    ok = undefine(Name(7)),
    ok = define(one_more, ?SLOW),
    ?assertEqual(1024, length(names())).

%% Of a rate at which nothing comes back, whose burst stays: whoever changes it meanwhile gives nothing away.
a_change_during_takes_grants_no_more() ->
    ok = define(api, #{rate => {1, hour}, burst => 20000}),
    Take = fun() -> exit({taken, length([ok || _ <- lists:seq(1, 10000), {ok, _} <- [take(api, t)]])}) end,
    Change = fun() ->
        [ok = define(api, #{rate => {1 + Number rem 2, hour}, burst => 20000}) || Number <- lists:seq(1, 1000)],
        exit({taken, 0})
    end,
    Callers = [spawn_monitor(Fun) || Fun <- [Change | lists:duplicate(4, Take)]],
    Taken = [receive {'DOWN', Monitor, process, _, {taken, Count}} -> Count end || {_, Monitor} <- Callers],
    ?assertEqual(20000, lists:sum(Taken)),
    ?assertMatch(#{keys := 1, taken := 20000}, info(api)).

%% Which argument is wrong, and why, as the shell would say.
explained(Call) ->
    try Call() of
        Result -> {not_raised, Result}
    catch
        error:badarg:Stack ->
            #{} = Said = erlmcp_native_error:format_error(badarg, Stack),
            [{Position, Text}] = maps:to_list(Said),
            {Position, lists:flatten(Text)}
    end.

quoted(Words) ->
    ["\\Q", Words, "\\E"].
