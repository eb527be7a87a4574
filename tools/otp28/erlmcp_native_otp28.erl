-module(erlmcp_native_otp28).
-moduledoc """
Runs the tests on an older runtime that has no more than kernel, stdlib, crypto and eunit (`make test-otp28`).

What the newer OTP compiled for the older is looked at first: the call of a function that the older runtime does not
have is a failure, whether a test comes there or not. Then all tests run that `m:erlmcp_native_otp28_plan` does not
leave out, and those that it leaves out are named, with what they miss. What did not pass is said last. The exit status
is 0 when every call can be made and every test passes.
""".

-export([main/0]).

-doc "Runs the tests and exits.".
-spec main() -> no_return().
main() ->
    Plan = erlmcp_native_otp28_plan:read(),
    Facts = [erlang:system_info(Fact) || Fact <- [otp_release, version, nif_version]],
    io:format("OTP ~s, erts ~s, native interface ~s~n", Facts),
    Absent = absent_calls(),
    lists:foreach(
        fun({Module, {M, F, A}}) -> io:format("~s calls ~s:~s/~b, which is not there~n", [Module, M, F, A]) end,
        Absent
    ),
    {Counts, Faults} = lists:unzip([
        run(Suite, Tests)
     || {Suite, All} <- Plan, [_ | _] = Tests <- [[Test || {Test, []} <- All]]
    ]),
    io:format("~nleft out for what they miss:~n"),
    [
        io:format("  ~s:~s: ~s~n", [Suite, Test, lists:join(", ", [atom_to_list(Name) || Name <- Missing])])
     || {Suite, All} <- Plan, {Test, [_ | _] = Missing} <- All
    ],
    [io:format("~ndid not pass: ~tp~n~tP~n", [Test, Why, 30]) || {Test, Why} <- lists:append(Faults)],
    halt(status(Absent, length(Plan), Counts)).

status(Absent, Suites, Counts) ->
    Keys = [pass, fail, skip, cancel],
    [Passed | Others] = Sums = [lists:sum([maps:get(Key, Of, 0) || Of <- Counts]) || Key <- Keys],
    Broken = length([broken || Of <- Counts, maps:size(Of) =:= 0]),
    io:format("~nOTP ~s ran ~b of ~b suites: tests ~b passed, ~b failed, ~b skipped, ~b cancelled~n", [
        erlang:system_info(otp_release), length(Counts), Suites | Sums
    ]),
    io:format("suites that broke off: ~b; calls of absent functions: ~b~n", [Broken, length(Absent)]),
    case lists:sum(Others) + Broken + length(Absent) of
        0 when Passed > 0 -> 0;
        _ -> 1
    end.

%% What eunit counted, or nothing where it broke off, and what did not pass.
run(Suite, Tests) ->
    io:format("~s~n", [Suite]),
    Tag = make_ref(),
    Report = {erlmcp_native_otp28_counts, [{to, self()}, {tag, Tag}]},
    _ = eunit:test({atom_to_list(Suite), [test(Suite, Test) || Test <- Tests]}, [{report, Report}]),
    receive
        {Tag, Counts, Faults} -> {Counts, Faults}
    end.

test(Suite, Test) ->
    case lists:last(atom_to_list(Test)) of
        $_ -> {generator, Suite, Test};
        _ -> {test, Suite, Test}
    end.

%% Calls by the application of functions that this runtime does not have, in modules that it has.
absent_calls() ->
    Ebin = filename:dirname(code:which(erlmcp_native)),
    [
        {Module, Call}
     || Beam <- filelib:wildcard(filename:join(Ebin, "*.beam")),
        {ok, {Module, [{imports, Calls}]}} <- [beam_lib:chunks(Beam, [imports])],
        {M, F, A} = Call <- Calls,
        code:ensure_loaded(M) =:= {module, M},
        not erlang:function_exported(M, F, A),
        not erlang:is_builtin(M, F, A)
    ].
