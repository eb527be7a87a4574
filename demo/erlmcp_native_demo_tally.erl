-module(erlmcp_native_demo_tally).
-moduledoc """
What became of the requests of each phase, and of the noisy tenant's, by class, as those count it who offer, refuse and
answer them.

One request in sixteen is `critical`, the others are `sheddable`. A request carries its tag, so that it counts for the
phase in which it was offered, however late it is answered.
""".

-export([new/0, tag/2, options/1, side/1, add/3, refused/3, read/1]).
-export([total/2, total/3, reasons/2]).

-export_type([tally/0, tag/0, class/0, what/0, reason/0, counts/0]).

-define(CLASSES, [critical, sheddable]).
-define(REASONS, [node, full, class]).
-define(WHATS, [limited, offered, answered, refused, node, full, class]).

-doc "A tally is shared by all processes of the demo.".
-opaque tally() :: counters:counters_ref().
-doc "A tag says what a request counts for.".
-opaque tag() :: {erlmcp_native_demo_meter:side(), class()}.
-doc "These are the classes of the demo's requests.".
-type class() :: critical | sheddable.
-doc "These are the reasons for which requests of the demo are refused.".
-type reason() :: node | full | class.
-doc """
This is what is counted: `limited` by the client's rate, and so never offered; `offered`, `answered` and `refused` is
what clients know. A refusal is counted by its reason, too, by whoever was refused: that is more than `refused` by those
that come after their executor's death.
""".
-type what() :: limited | offered | answered | refused | reason().
-doc "These are all counts, by what they are for and by class.".
-type counts() :: #{erlmcp_native_demo_meter:side() => #{class() => #{what() => non_neg_integer()}}}.

-doc "Makes a tally at zero.".
-spec new() -> tally().
new() ->
    counters:new(length(sides()) * length(?CLASSES) * length(?WHATS), [write_concurrency]).

-doc "Returns the tag of a client's request by its number; the eight in a row that go to all executors have one class.".
-spec tag(erlmcp_native_demo_meter:side(), Number :: non_neg_integer()) -> tag().
tag(Side, Number) when Number div 8 rem 16 =:= 0 -> {Side, critical};
tag(Side, _Number) -> {Side, sheddable}.

-doc "Returns what the library is told of such a request.".
-spec options(tag()) -> #{class := class()}.
options({_Side, critical}) -> #{class => critical};
options({_Side, sheddable}) -> #{class => sheddable}.

-doc "Returns what such a request counts for.".
-spec side(tag()) -> erlmcp_native_demo_meter:side().
side({Side, _Class}) -> Side.

-doc "Counts such a request.".
-spec add(tally(), tag(), what()) -> ok.
add(Tally, Tag, What) ->
    counters:add(Tally, index(Tag, What), 1).

-doc "Counts a refusal of such a request by the reason that it names.".
-spec refused(tally(), tag(), erlmcp_queue_limits:refusal()) -> ok.
refused(Tally, Tag, #{reason := Reason}) ->
    add(Tally, Tag, Reason).

-doc "Returns all counts of a tally.".
-spec read(tally()) -> counts().
read(Tally) ->
    #{
        Side => #{
            Class => #{What => counters:get(Tally, index({Side, Class}, What)) || What <- ?WHATS}
         || Class <- ?CLASSES
        }
     || Side <- sides()
    }.

-doc "Returns a count of all classes and of all that it may be for.".
-spec total(what(), counts()) -> non_neg_integer().
total(What, Counts) ->
    lists:sum([total(What, Class, Counts) || Class <- ?CLASSES]).

-doc "Returns a count of a class, of all that it may be for.".
-spec total(what(), class(), counts()) -> non_neg_integer().
total(What, Class, Counts) ->
    lists:sum([N || _ := #{Class := #{What := N}} <- Counts]).

-doc "Returns how many of these were refused, by class and reason, without those of which none was.".
-spec reasons([erlmcp_native_demo_meter:side()], counts()) -> #{{class(), reason()} => pos_integer()}.
reasons(Sides, Counts) ->
    #{
        {Class, Reason} => Sum
     || Class <- ?CLASSES,
        Reason <- ?REASONS,
        Sum <- [lists:sum([N || #{Class := #{Reason := N}} <- [maps:get(Side, Counts) || Side <- Sides]])],
        Sum > 0
    }.

sides() ->
    erlmcp_native_demo_meter:sides().

index({Side, Class}, What) ->
    Above = place(Side, sides()) * length(?CLASSES) + place(Class, ?CLASSES),
    Above * length(?WHATS) + place(What, ?WHATS) + 1.

place(Name, Names) -> place(Name, Names, 0).

place(Name, [Name | _], Place) -> Place;
place(Name, [_ | Names], Place) -> place(Name, Names, Place + 1).
