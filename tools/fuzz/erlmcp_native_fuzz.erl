-module(erlmcp_native_fuzz).
-moduledoc """
Every native and every public function with odd terms, from several processes at once (`make fuzz`).

The environment says for how long (`FUZZ_MINUTES`, 10) and from which seed (`FUZZ_SEED`, a new one, which is printed).
A seed gives every process the same calls again; how they meet is up to the scheduler. Half of the time goes to natives
with no service started, the other half to all other functions with the application started, each in a runtime of its
own that this one watches. The exit status is 0 when nothing was found.
""".

-export([main/0]).

-define(PARTS, [natives, functions]).

-doc "Runs both parts, prints what was seen, and exits.".
-spec main() -> no_return().
main() ->
    Ms = round(erlmcp_native_settings:number("FUZZ_MINUTES", 10.0) * 60_000),
    Seed = round(erlmcp_native_settings:number("FUZZ_SEED", float(rand:uniform(1_000_000_000)))),
    io:format("fuzz: ~.1f minutes, FUZZ_SEED=~b~n", [Ms / 60_000, Seed]),
    Left = erlmcp_native_fuzz_plan:left_out(),
    io:format("~nleft out:~n"),
    [io:format("  ~s ~s~n", [erlmcp_native_fuzz_report:name(What), Why]) || {What, Why} <- Left],
    Found = lists:append([part(Part, Ms div length(?PARTS), Seed) || Part <- ?PARTS]),
    io:format("~nfound: ~b (FUZZ_SEED=~b)~n", [length(Found), Seed]),
    [io:format("~n  ~ts~n", [Finding]) || Finding <- Found],
    halt(min(1, length(Found))).

part(Part, Ms, Seed) ->
    io:format("~n~s, ~b s~n", [Part, Ms div 1000]),
    case erlmcp_native_fuzz_node:run(Part, Ms, Seed) of
        {ok, Result, Errors} -> erlmcp_native_fuzz_report:result(Result) ++ erlmcp_native_fuzz_report:errors(Errors);
        {ended, Why, Calls, Errors} -> erlmcp_native_fuzz_report:ended(Why, Calls, Errors)
    end.
