%% A time limit in beats.
-module(erlmcp_native_deadline_tests).

-include_lib("eunit/include/eunit.hrl").

-define(DEADLINE, erlmcp_native_deadline).

%% How many beats there are until it has passed.
beats(Deadline, Seen) ->
    receive
        {timeout, Timer, beat} ->
            case ?DEADLINE:beat(Timer, Deadline) of
                {running, Longer} -> beats(Longer, Seen + 1);
                passed -> Seen + 1
            end
    after 5000 -> error({no_beat_after, Seen})
    end.

it_passes_after_its_time_test() ->
    Begun = erlang:monotonic_time(millisecond),
    ?assertEqual(10, beats(?DEADLINE:start(100), 0)),
    ?assert(erlang:monotonic_time(millisecond) - Begun >= 100).

shorter_than_its_beats_test() ->
    ?assertEqual([10, 10], [beats(?DEADLINE:start(Ms), 0) || Ms <- [0, 1]]).

%% The process comes to its beats late, by more than the whole limit each time.
a_late_beat_counts_as_one_test() ->
    ?assertEqual(10, late_beats(?DEADLINE:start(10), 0)).

late_beats(Deadline, Seen) ->
    ok = erlmcp_overload_test_lib:pass(20),
    receive
        {timeout, Timer, beat} ->
            case ?DEADLINE:beat(Timer, Deadline) of
                {running, Longer} -> late_beats(Longer, Seen + 1);
                passed -> Seen + 1
            end
    after 0 -> error({no_beat_after, Seen})
    end.

stopped_test() ->
    Deadline = ?DEADLINE:start(100),
    ok = ?DEADLINE:stop(Deadline),
    ok = ?DEADLINE:stop(none),
    ?assertEqual(stray, ?DEADLINE:beat(make_ref(), Deadline)),
    ?assertEqual(stray, ?DEADLINE:beat(make_ref(), none)),
    receive
        {timeout, _, beat} -> error(still_runs)
    after 50 -> ok
    end.
