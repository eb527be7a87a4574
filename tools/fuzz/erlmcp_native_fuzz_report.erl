-module(erlmcp_native_fuzz_report).
-moduledoc "What is printed of a run, and what of it is a finding.".

-export([result/1, errors/1, ended/3, name/1]).

-doc "Prints what a part did, and returns what was found.".
-spec result(erlmcp_native_fuzz_run:result()) -> [iodata()].
result(#{calls := Calls, findings := Findings, states := {Before, After}, log := #{broken := Broken}} = Result) ->
    calls(Calls),
    done(Result),
    states(Before, After),
    schedules(maps:get(schedules, Result)),
    lists:append([
        [io_lib:format("~tp, ~b times, such as ~ts", [What, Times, Example]) || {What, Example, Times} <- Findings],
        [
            io_lib:format("~s: ~b before, ~b after", [What, From, To])
         || {What, From, To} <- erlmcp_native_fuzz_state:grown(Before, After)
        ],
        [
            io_lib:format("~s was called, and never returned as it should", [name(Function)])
         || {Function, Counts} <- Calls, is_untried(Counts)
        ],
        [io_lib:format("~b log events could not be formatted", [Broken]) || Broken > 0]
    ]).

calls(Calls) ->
    Kinds = erlmcp_native_fuzz_judge:kinds(),
    io:format("~-52s~s~n", ["calls of", [io_lib:format("~13s", [Kind]) || Kind <- Kinds]]),
    [
        io:format("~-52s~s~n", [name(Function), [io_lib:format("~13b", [map_get(Kind, Of)]) || Kind <- Kinds]])
     || {Function, Of} <- Calls
    ].

done(#{calls := Calls, kills := Kills, service_kills := ServiceKills, restarts := Restarts} = Result) ->
    #{longest_stop_ms := StopMs, log := #{events := Events, longest := Longest}} = Result,
    Total = lists:sum([lists:sum(maps:values(Counts)) || {_, Counts} <- Calls]),
    io:format("~b calls of ~b functions; ~b callers killed, ~b services killed~n", [
        Total, length(Calls), Kills, ServiceKills
    ]),
    io:format("~b restarts, ~b ms the longest stop~n", [Restarts, StopMs]),
    io:format("~b events logged, ~b bytes the longest~n", [Events, Longest]).

states(Before, After) ->
    [
        io:format("~-10s ~12b before, ~12b after~n", [What, From, map_get(What, After)])
     || {What, From} <- maps:to_list(Before)
    ].

is_untried(Counts) ->
    lists:sum(maps:values(Counts)) =:= 0.

%% They decide nothing: on a busy machine whoever is interrupted is among them.
schedules(Schedules) ->
    Ours = [Row || {{In, Out}, _, _} = Row <- Schedules, is_ours(In) orelse is_ours(Out)],
    Times = fun(Rows) -> lists:sum([N || {_, N, _} <- Rows]) end,
    io:format("kept a scheduler for 1 ms or longer: ~b times", [Times(Schedules)]),
    io:format(", of which ~b in our modules~n", [Times(Ours)]),
    [
        io:format("  ~6b times, ~4b ms at most, ~0tp~n", [N, Longest, Place])
     || {Place, N, Longest} <- lists:sublist(Ours, 10)
    ].

is_ours({Module, _, _}) ->
    Name = atom_to_list(Module),
    lists:prefix("erlmcp_", Name) andalso not lists:prefix("erlmcp_native_fuzz", Name);
is_ours(_) ->
    false.

-doc "Returns a finding for what a runtime said on standard error, if that is a panic.".
-spec errors(binary()) -> [iodata()].
errors(Said) ->
    case binary:match(Said, <<"panicked at">>) of
        nomatch -> [];
        {At, _} -> [["panic: ", binary:part(Said, At, min(2000, byte_size(Said) - At))]]
    end.

-doc "Returns the finding that a runtime has ended, with the calls that were under way.".
-spec ended(binary(), [binary()], binary()) -> [iodata()].
ended(Why, Calls, Said) ->
    Tail = binary:part(Said, byte_size(Said), -min(2000, byte_size(Said))),
    [[io_lib:format("the runtime ended: ~ts~n~ts~nunder way were:~n", [Why, Tail]), Calls]].

-doc "Returns a function's or module's name.".
-spec name(module() | mfa()) -> iodata().
name({Module, Name, Arity}) -> io_lib:format("~s:~s/~b", [Module, Name, Arity]);
name(Module) -> atom_to_list(Module).
