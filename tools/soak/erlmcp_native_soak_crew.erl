-module(erlmcp_native_soak_crew).
-moduledoc "All actors.".

-export([start/1, rest/1, resume/1, stop/1]).
-export_type([crew/0]).

-doc "The actors, by what they are.".
-opaque crew() :: [{module(), pid()}].

%% Chaos rests first: what it killed comes back while the others finish.
-define(ACTORS, [
    erlmcp_native_soak_chaos,
    erlmcp_native_soak_scrapes,
    erlmcp_native_soak_streams,
    erlmcp_native_soak_handlers,
    erlmcp_native_soak_components,
    erlmcp_native_soak_permits,
    erlmcp_native_soak_tokens,
    erlmcp_native_soak_mailboxes,
    erlmcp_native_soak_owners
]).

-doc "Starts all actors.".
-spec start(integer()) -> crew().
start(Seed) ->
    [
        {Module, erlmcp_native_soak_actor:start(Module, {Seed, Number, 0})}
     || {Number, Module} <- lists:enumerate(?ACTORS)
    ].

-doc "Brings all actors to rest, and returns what they found.".
-spec rest(crew()) -> [iodata()].
rest(Crew) ->
    [
        [strip(Module), ": ", Finding]
     || {Module, Actor} <- Crew,
        Finding <- erlmcp_native_soak_actor:rested(erlmcp_native_soak_actor:rest(Actor))
    ].

-doc "Lets all actors go on.".
-spec resume(crew()) -> ok.
resume(Crew) ->
    lists:foreach(fun({_, Actor}) -> ok = erlmcp_native_soak_actor:resume(Actor) end, Crew).

-doc "Ends all actors, and returns how often they did what.".
-spec stop(crew()) -> erlmcp_native_soak_actor:counts().
stop(Crew) ->
    lists:foldl(fun({_, Actor}, Counts) -> maps:merge(Counts, erlmcp_native_soak_actor:stop(Actor)) end, #{}, Crew).

strip(Module) ->
    string:replace(atom_to_list(Module), "erlmcp_native_soak_", "").
