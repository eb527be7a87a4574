%% Runs the properties of many nodes with the other tests.
-module(erlmcp_overload_cluster_prop_tests).

-include_lib("eunit/include/eunit.hrl").

-define(PROPERTIES, [
    prop_sums_are_over_those_that_are_fresh,
    prop_kept_sums_are_those_made_anew,
    prop_shares_are_what_is_heard_of_all,
    prop_whatever_is_sent_is_read,
    prop_a_demand_follows_what_is_asked
]).

properties_test_() ->
    [
        {atom_to_list(Property),
            {timeout, 120, fun() ->
                ?assert(
                    proper:quickcheck(prop_erlmcp_overload_cluster:Property(), [
                        {numtests, 300}, {max_size, 60}, quiet, {to_file, user}
                    ])
                )
            end}}
     || Property <- ?PROPERTIES
    ].
