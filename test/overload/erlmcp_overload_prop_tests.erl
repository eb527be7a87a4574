%% Runs the property of the overload monitor with the other tests.
-module(erlmcp_overload_prop_tests).

-include_lib("eunit/include/eunit.hrl").

properties_test_() ->
    {timeout, 120, fun() ->
        ?assert(
            proper:quickcheck(prop_erlmcp_overload:prop_alerts_are_the_models(), [
                {numtests, 300}, {max_size, 40}, quiet, {to_file, user}
            ])
        )
    end}.
