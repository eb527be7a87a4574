-module(erlmcp_native_soak_actor).
-moduledoc """
An actor does one small piece of work after the other, and comes to rest when it is asked to.

At rest it has nothing under way, says what is not as it should be, and may keep what is to be there: processes that own
something, components that are registered. Each piece of work is over within some milliseconds.
""".

-export([start/2, rest/1, rested/1, resume/1, stop/1]).
-export([eventually/2]).
-export_type([counts/0]).

-doc "How often what was done.".
-type counts() :: #{atom() => non_neg_integer()}.

-doc "Begins; also makes what is needed later, so that nothing new comes with the first piece of work.".
-callback init() -> State :: term().
-doc "Does a piece of work, and tells what was done.".
-callback act(State) -> {[atom()], State} when State :: term().
-doc "Comes to rest, and says what is wrong.".
-callback rest(State) -> {[Finding :: iodata()], State} when State :: term().

%% Nothing that an actor does takes that long.
-define(PATIENCE_MS, 60_000).

-doc "Starts an actor, which draws from a seed of its own. It is linked to the caller, who traps exits.".
-spec start(module(), term()) -> pid().
start(Module, Seed) ->
    spawn_link(fun() ->
        _ = rand:seed(exsss, Seed),
        loop(Module, Module:init(), #{})
    end).

-doc "Asks an actor to come to rest. Each of these functions exits with the reason when the actor has ended.".
-spec rest(pid()) -> reference().
rest(Actor) ->
    Alias = monitor(process, Actor, [{alias, reply_demonitor}]),
    Actor ! {rest, Alias},
    Alias.

-doc "Waits until an actor is at rest, and returns what it found.".
-spec rested(reference()) -> [iodata()].
rested(Alias) ->
    answer(Alias).

-doc "Lets an actor go on.".
-spec resume(pid()) -> ok.
resume(Actor) ->
    Actor ! resume,
    ok.

-doc "Ends an actor that is not at rest. Returns how often it did what.".
-spec stop(pid()) -> counts().
stop(Actor) ->
    Alias = monitor(process, Actor, [{alias, reply_demonitor}]),
    Actor ! {stop, Alias},
    answer(Alias).

answer(Alias) ->
    receive
        {Alias, Answer} -> Answer;
        {'DOWN', Alias, process, Actor, _} -> exit({ended, why(Actor)})
    after ?PATIENCE_MS -> exit(hangs)
    end.

%% It is linked.
why(Actor) ->
    receive
        {'EXIT', Actor, Reason} -> Reason
    after ?PATIENCE_MS -> unknown
    end.

loop(Module, State, Counts) ->
    receive
        {rest, Alias} ->
            {Findings, Rested} = Module:rest(State),
            Alias ! {Alias, Findings},
            receive
                resume -> loop(Module, Rested, Counts)
            end;
        {stop, Alias} ->
            Alias ! {Alias, Counts},
            ok
    after 0 ->
        {Done, After} = Module:act(State),
        Count = fun(What, Counted) -> maps:update_with(What, fun(Times) -> Times + 1 end, 1, Counted) end,
        loop(Module, After, lists:foldl(Count, Counts, Done))
    end.

-doc "Returns no finding as soon as the condition is true, and the finding if it is not within five seconds.".
-spec eventually(fun(() -> boolean()), iodata() | fun(() -> iodata())) -> [iodata()].
eventually(Condition, Finding) ->
    eventually(Condition, Finding, erlang:monotonic_time(millisecond) + 5000).

eventually(Condition, Finding, Deadline) ->
    case Condition() orelse erlang:monotonic_time(millisecond) > Deadline of
        true ->
            case Condition() of
                true -> [];
                false when is_function(Finding) -> [Finding()];
                false -> [Finding]
            end;
        false ->
            receive after 5 -> eventually(Condition, Finding, Deadline) end
    end.
