%% Where natives run: one that makes a list makes it as long as there is much, and keeps no scheduler for that.
-module(erlmcp_native_schedule_tests).

-include_lib("eunit/include/eunit.hrl").

-define(BOUNDED, #{
    {erlmcp_native, overload_news, 2} => "gives as many as it is asked for, which is a hundred",
    {erlmcp_native, cancel_news, 0} => "gives 128 at most"
}).

whatever_makes_a_list_runs_on_a_dirty_scheduler_test() ->
    Specs = erlmcp_native_fuzz_spec:load([erlmcp_native]),
    Lists = [
        Name
     || {erlmcp_native, Name, _} = Native <- erlmcp_native_fuzz_spec:functions(erlmcp_native),
        is_map_key({spec, Native}, Specs),
        {_, {_, _, Result}} <- erlmcp_native_fuzz_spec:specs(Native, Specs),
        has_list(Result),
        not is_map_key(Native, ?BOUNDED)
    ],
    ?assert(lists:member(mailbox_held, Lists)),
    ?assertEqual([], lists:usort(Lists) -- dirty()).

whatever_is_for_what_is_long_runs_on_a_dirty_scheduler_test() ->
    Long = [
        Name
     || {erlmcp_native, Name, _} <- erlmcp_native_fuzz_spec:functions(erlmcp_native),
        lists:suffix("_long", atom_to_list(Name))
    ],
    ?assert(lists:member(cancel_token_long, Long)),
    ?assertEqual([], lists:usort(Long) -- dirty()).

has_list({type, _, list, _}) -> true;
has_list({type, _, nonempty_list, _}) -> true;
has_list(Type) when is_tuple(Type) -> has_list(tuple_to_list(Type));
has_list([First | Others]) -> has_list(First) orelse has_list(Others);
has_list(_) -> false.

%% Each native's attribute stands right above it.
dirty() ->
    Root = erlmcp_native_test_lib:root(),
    [
        binary_to_atom(Name)
     || File <- filelib:wildcard("native/nif/src/*.rs", Root),
        {ok, Source} <- [file:read_file(filename:join(Root, File))],
        {match, Names} <- [
            re:run(Source, ~B|#\[rustler::nif\(schedule = "DirtyCpu"\)\]\nfn (\w+)|, [
                global, {capture, all_but_first, binary}
            ])
        ],
        [Name] <- Names
    ].
