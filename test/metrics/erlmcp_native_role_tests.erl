%% The table of a role's numbers against what the library says, and against its own type.
-module(erlmcp_native_role_tests).

-include_lib("eunit/include/eunit.hrl").

-define(R, erlmcp_native_role).

the_library_has_just_the_numbers_of_the_table_test() ->
    Level = erlmcp_native_test_lib:start(),
    #{roles := Rows} = erlmcp_native_metrics:snapshot(),
    erlmcp_native_test_lib:stop(Level),
    ?assert(length(Rows) >= 6),
    [?assertEqual(names(), lists:sort(maps:keys(Row))) || Row <- Rows].

the_type_has_just_the_numbers_of_the_table_test() ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(?R), [abstract_code]),
    [Fields] = [Fields || {attribute, _, type, {row, {type, _, map, Fields}, []}} <- Forms],
    ?assertEqual(names(), lists:sort([Name || {type, _, map_field_exact, [{atom, _, Name}, _]} <- Fields])).

each_number_is_said_in_a_sentence_test() ->
    [
        ?assertMatch({match, _}, re:run(Help, "^[A-Z][^.]+(\\. An estimate)?\\.$"), Name)
     || #{name := Name, help := Help} <- ?R:numbers()
    ].

metrics_come_first_test() ->
    {_, Without} = lists:splitwith(fun(#{metric := Metric}) -> Metric =/= none end, ?R:numbers()),
    ?assertEqual([none], lists:usort([Metric || #{metric := Metric} <- Without])).

levels_are_in_the_order_of_their_severity_test() ->
    ?assertEqual([0, 1, 2, 3], [?R:severity(Level) || Level <- ?R:levels()]).

names() ->
    Names = lists:sort([Name || #{name := Name} <- ?R:numbers()]),
    ?assertEqual(Names, lists:usort(Names)),
    Names.
