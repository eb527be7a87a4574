-module(erlmcp_native_demo_budget).
-moduledoc """
How long each part of the demo takes: what stays of a minute, for a machine that has much else to do, is more than ten
seconds. What the parts before took longer is taken from the phases on this node, down to two thirds of them.
""".

-export([parts/1, compared_ms/1, nodes_ms/0, seconds/2]).

-export_type([part/0]).

-doc """
A part is a phase, or what comes before and after all phases: the `start` of this node and of those beside it, and
until all is at `rest`.
""".
-type part() :: start | rest | erlmcp_native_demo_phases:phase().

-define(START_MS, 2_000).
-define(COMPARED_MS, 5_000).
-define(NODES_MS, 4_000).
-define(REST_MS, 3_000).

-doc "Returns how long each part takes, in milliseconds and in their order, on a machine with little else to do.".
-spec parts(erlmcp_native_demo_settings:settings()) -> [{part(), pos_integer()}, ...].
parts(#{seconds := Seconds} = Settings) ->
    before(Settings) ++ own(Seconds) ++ [{rest, ?REST_MS}].

before(#{seconds := Seconds, compare := Compare, nodes := Nodes}) ->
    [{start, ?START_MS}] ++
        [{Phase, compared_ms(Seconds)} || Phase <- [naive, bounded], Compare] ++
        [{nodes, ?NODES_MS} || Nodes].

own(Seconds) ->
    Timeline = erlmcp_native_demo_phases:timeline(Seconds),
    Begins = [{Us, Step} || {Us, Step} <- Timeline, Step =:= stop orelse element(1, Step) =:= phase],
    Ends = [Us || {Us, _} <- tl(Begins)],
    [{Phase, (End - Us) div 1000} || {{Us, {phase, Phase}}, End} <- lists:zip(lists:droplast(Begins), Ends)].

-doc "Returns how long each of the two nodes runs that are compared, if the phases on this node take so many seconds.".
-spec compared_ms(Seconds :: pos_integer()) -> pos_integer().
compared_ms(Seconds) ->
    min(?COMPARED_MS, Seconds * 1000 div 6).

-doc "Returns how long the three nodes take.".
-spec nodes_ms() -> pos_integer().
nodes_ms() ->
    ?NODES_MS.

-doc """
Returns how many seconds the phases on this node are to take, when so much has passed since the runtime began. Seconds
that somebody asked for stay as they are.
""".
-spec seconds(erlmcp_native_demo_settings:settings(), PassedMs :: non_neg_integer()) -> pos_integer().
seconds(#{seconds := Seconds, asked := true}, _PassedMs) ->
    Seconds;
seconds(#{seconds := Seconds} = Settings, PassedMs) ->
    LateMs = PassedMs - lists:sum([Ms || {_, Ms} <- before(Settings)]),
    max(Seconds * 2 div 3, Seconds - max(0, LateMs + 999) div 1000).
