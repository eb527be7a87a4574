%% Runs the properties of priority messages with the other tests.
-module(erlmcp_priority_prop_tests).

-include_lib("eunit/include/eunit.hrl").

properties_test_() ->
    [
        {atom_to_list(Property),
            {timeout, 120, fun() ->
                ?assert(
                    proper:quickcheck(prop_erlmcp_priority:Property(), [
                        {numtests, Times}, {max_size, Size}, quiet, {to_file, user}
                    ])
                )
            end}}
     || {Property, Times, Size} <- [
            {prop_all_at_once, 1000, 100}, {prop_in_stages, 1000, 100}, {prop_unused, 500, 50}
        ]
    ].
