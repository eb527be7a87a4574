%% Runs the properties of the queue limits with the other tests.
-module(erlmcp_queue_limits_prop_tests).

-include_lib("eunit/include/eunit.hrl").

properties_test_() ->
    [
        {atom_to_list(Property),
            {timeout, 120, fun() ->
                ?assert(
                    proper:quickcheck(prop_erlmcp_queue_limits:Property(), [
                        {numtests, Times}, {max_size, Size}, quiet, {to_file, user}
                    ])
                )
            end}}
     || {Property, Times, Size} <- [{prop_is_a_map, 500, 100}, {prop_adds_up, 500, 100}]
    ].
