%% Handlers that are added at run time.
-module(erlmcp_overload_added_handler_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_overload_monitor, [add_handler/2, delete_handler/2]).
-import(erlmcp_overload_test_lib, [start/1, stop/0, crash/0, fill/3, drain/3, next/1, handler/1]).

-define(LAB, erlmcp_overload_test_lib).

added_test_() ->
    erlmcp_overload_test_lib:with_services([
        fun it_hears_what_the_configured_ones_hear/0,
        fun twice_is_once/0,
        fun equal_numbers_are_two_arguments/0,
        fun deleted_it_hears_nothing_more/0,
        fun a_crash_of_the_monitor_leaves_it/0,
        fun a_stop_ends_it/0,
        fun configured_ones_stay/0,
        fun what_is_no_handler_is_refused/0
    ]).

it_hears_what_the_configured_ones_hear() ->
    [Configured, Added] = [make_ref(), make_ref()],
    ok = start([{handlers, [handler(Configured)]}, {open_breaker_at, never}]),
    ok = add(Added),
    cross(),
    [?assertMatch({alert, {overload, r, a, 1, 1}}, next(Tag)) || Tag <- [Configured, Added]].

twice_is_once() ->
    Tag = make_ref(),
    ok = start([{handlers, []}, {open_breaker_at, never}]),
    ok = add(Tag),
    ok = add(Tag),
    cross(),
    ?assertMatch({alert, _}, next(Tag)),
    ok = drain(r, a, 1),
    ?assertMatch({clear, _}, next(Tag)).

equal_numbers_are_two_arguments() ->
    Tags = [1, 1.0, 0.0, -0.0],
    ok = start([{handlers, []}, {open_breaker_at, never}]),
    [ok = add(Tag) || Tag <- Tags],
    cross(),
    [?assertMatch({alert, _}, next(Tag)) || Tag <- Tags],
    [ok = delete(Tag) || Tag <- [1, 0.0]],
    ok = drain(r, a, 1),
    [?assertMatch({clear, _}, next(Tag)) || Tag <- [1.0, -0.0]],
    [told_nothing(Tag) || Tag <- [1, 0.0]].

deleted_it_hears_nothing_more() ->
    [Deleted, Other] = [make_ref(), make_ref()],
    ok = start([{handlers, []}, {open_breaker_at, never}]),
    ok = add(Deleted),
    ok = add(Other),
    ok = delete(Deleted),
    ok = delete(Deleted),
    cross(),
    ?assertMatch({alert, _}, next(Other)),
    told_nothing(Deleted).

a_crash_of_the_monitor_leaves_it() ->
    Tag = make_ref(),
    ok = start([{handlers, []}, {open_breaker_at, never}]),
    ok = add(Tag),
    crash(),
    cross(),
    ok = start([{handlers, []}, {open_breaker_at, never}]),
    ?assertMatch({alert, {overload, r, a, 1, 1}}, next(Tag)).

a_stop_ends_it() ->
    Tag = make_ref(),
    ok = start([{handlers, []}]),
    ok = add(Tag),
    stop(),
    ?assertExit({noproc, {erlmcp_overload_monitor, add_handler, [_, _]}}, add(Tag)),
    ?assertExit({noproc, {erlmcp_overload_monitor, delete_handler, [_, _]}}, delete(Tag)),
    Other = make_ref(),
    ok = start([{handlers, [handler(Other)]}, {open_breaker_at, never}]),
    cross(),
    ?assertMatch({alert, _}, next(Other)),
    told_nothing(Tag).

configured_ones_stay() ->
    Tag = make_ref(),
    ok = start([{handlers, [handler(Tag)]}, {open_breaker_at, never}]),
    ok = delete(Tag),
    cross(),
    ?assertMatch({alert, _}, next(Tag)).

what_is_no_handler_is_refused() ->
    ok = start([]),
    [?assertError(badarg, add_handler(Module, [])) || Module <- [lists, no_such_module, "erlmcp_overload_log", 1]].

cross() ->
    ok = erlmcp_queue_limits:set_limit(r, 1),
    fill(r, a, 1).

%% To be asked after another handler has been told.
told_nothing(Tag) ->
    receive
        {Tag, Event} -> error({told, Event})
    after 0 -> ok
    end.

add(Tag) ->
    {?LAB, Arg} = handler(Tag),
    add_handler(?LAB, Arg).

delete(Tag) ->
    {?LAB, Arg} = handler(Tag),
    delete_handler(?LAB, Arg).
