%% The parts of the fuzzer that decide: what is called, what is of a type, what is a finding.
-module(erlmcp_native_fuzz_tests).

-include_lib("eunit/include/eunit.hrl").

-define(PLAN, erlmcp_native_fuzz_plan).

%% Also fails when what is left out is there no more.
everything_is_called_or_left_out_test() ->
    Natives = erlmcp_native_fuzz_spec:functions(erlmcp_native),
    ?assertEqual([{erlmcp_native, load, 0}], Natives -- ?PLAN:natives()),
    Out = [What || {What, _} <- ?PLAN:left_out()],
    ?assertEqual([], [
        Function
     || Module <- ?PLAN:modules() -- Out,
        Function <- (erlmcp_native_fuzz_spec:functions(Module) -- ?PLAN:callbacks(Module)) -- Out,
        not lists:member(Function, ?PLAN:functions() ++ ?PLAN:natives())
    ]).

specs() ->
    erlmcp_native_fuzz_spec:load(?PLAN:modules()).

every_function_that_is_called_has_a_specification_test() ->
    Specs = specs(),
    [?assertMatch({_, [_ | _]}, {Function, erlmcp_native_fuzz_spec:specs(Function, Specs)}) || Function <- called()].

called() ->
    ?PLAN:functions() ++ ?PLAN:natives().

result_of(Function, Value, Specs) ->
    [{_, Result}] = erlmcp_native_fuzz_spec:specs(Function, Specs),
    erlmcp_native_fuzz_check:is(Value, Result, Specs).

what_is_of_a_type_test() ->
    Specs = specs(),
    Depth = {erlmcp_queue_limits, get_queue_depth, 1},
    ?assertEqual([true, true, false, false, false], [
        result_of(Depth, Value, Specs)
     || Value <- [0, {error, not_found}, -1, {error, other}, not_found]
    ]),
    Limits = {erlmcp_queue_limits, get_all_limits, 0},
    ?assertEqual([true, true, false, false], [
        result_of(Limits, Value, Specs)
     || Value <- [#{}, #{session => 1}, #{session => -1}, #{"session" => 1}]
    ]),
    Rows = {erlmcp_overload_monitor, queues, 0},
    ?assertEqual([true, false, false], [result_of(Rows, Value, Specs) || Value <- [[], [#{}], [x | y]]]).

judged(Module, Name, Args, Specs) ->
    erlmcp_native_fuzz_judge:call({Module, Name, length(Args)}, Args, Specs).

findings_test_() ->
    erlmcp_native_test_lib:with_service([
        fun() ->
            Specs = specs(),
            ?assertEqual({returned, 0}, judged(erlmcp_queue_limits, get_queue_depth, [session, a], Specs)),
            ?assertEqual({badarg, badarg}, judged(erlmcp_queue_limits, get_queue_depth, [1, a], Specs)),
            WithFun = fun(Fun) -> judged(erlmcp_queue_limits, with_capacity, [r, a, Fun], Specs) end,
            ?assertEqual({fun_raised, fuzz}, WithFun(fun() -> exit(fuzz) end)),
            ?assertMatch({finding, {error, other, _}}, WithFun(fun raise/0)),
            ?assertEqual({noproc, noproc}, judged(erlmcp_control_plane, components, [], Specs))
        end
    ]).

raise() ->
    error(other).

odd_terms_can_be_made_and_passed_test() ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        ok = erlmcp_native_fuzz_odd:make(),
        ok = erlmcp_native_fuzz_pool:make(),
        Specs = specs(),
        [
            {_, _} = erlmcp_native_fuzz_value:argument(Type, Specs)
         || _ <- lists:seq(1, 20),
            Function <- called(),
            {Types, _} <- erlmcp_native_fuzz_spec:specs(Function, Specs),
            Type <- Types
        ],
        ok = erlmcp_native_fuzz_odd:forget(),
        exit(made)
    end),
    receive
        {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(made, Reason)
    end.
