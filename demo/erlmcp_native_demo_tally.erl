-module(erlmcp_native_demo_tally).
-moduledoc """
What became of the requests of each phase, by class, as those count it who offer, refuse and answer them.

One request in sixteen is `critical`, the others are `sheddable`. A request carries its tag, so that it counts for the
phase in which it was offered, however late it is answered.
""".

-export([new/0, tag/2, options/1, phase/1, add/3, refused/3, read/1]).
-export([total/2, total/3, reasons/2]).

-export_type([tally/0, tag/0, class/0, what/0, reason/0, counts/0]).

-define(PHASES, [calm, surge, fixed, pause, wait, faults, pressure, recovery]).
-define(CLASSES, [critical, sheddable]).
-define(REASONS, [node, full, class]).
-define(WHATS, [offered, answered, refused, node, full, class]).

-doc "A tally is shared by all processes of the demo.".
-opaque tally() :: counters:counters_ref().
-doc "A tag says what a request counts for.".
-opaque tag() :: {erlmcp_native_demo_meter:phase(), class()}.
-doc "These are the classes of the demo's requests.".
-type class() :: critical | sheddable.
-doc "These are the reasons for which requests of the demo are refused.".
-type reason() :: node | full | class.
-doc """
This is what is counted: `offered`, `answered` and `refused` is what clients know. A refusal is counted by its reason,
too, by whoever was refused: that is more than `refused` by those that come after their executor's death.
""".
-type what() :: offered | answered | refused | reason().
-doc "These are all counts, by phase and class.".
-type counts() :: #{erlmcp_native_demo_meter:phase() => #{class() => #{what() => non_neg_integer()}}}.

-doc "Makes a tally at zero.".
-spec new() -> tally().
new() ->
    counters:new(length(?PHASES) * length(?CLASSES) * length(?WHATS), [write_concurrency]).

-doc "Returns the tag of a client's request by its number; the eight in a row that go to all executors have one class.".
-spec tag(erlmcp_native_demo_meter:phase(), Number :: non_neg_integer()) -> tag().
tag(Phase, Number) when Number div 8 rem 16 =:= 0 -> {Phase, critical};
tag(Phase, _Number) -> {Phase, sheddable}.

-doc "Returns what the library is told of such a request.".
-spec options(tag()) -> #{class := class()}.
options({_Phase, critical}) -> #{class => critical};
options({_Phase, sheddable}) -> #{class => sheddable}.

-doc "Returns the phase in which such a request was offered.".
-spec phase(tag()) -> erlmcp_native_demo_meter:phase().
phase({Phase, _Class}) -> Phase.

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
        Phase => #{
            Class => #{What => counters:get(Tally, index({Phase, Class}, What)) || What <- ?WHATS}
         || Class <- ?CLASSES
        }
     || Phase <- ?PHASES
    }.

-doc "Returns a count of all classes and phases.".
-spec total(what(), counts()) -> non_neg_integer().
total(What, Counts) ->
    lists:sum([total(What, Class, Counts) || Class <- ?CLASSES]).

-doc "Returns a count of a class, of all phases.".
-spec total(what(), class(), counts()) -> non_neg_integer().
total(What, Class, Counts) ->
    lists:sum([N || _ := #{Class := #{What := N}} <- Counts]).

-doc "Returns how many were refused in these phases, by class and reason, without those of which none was.".
-spec reasons([erlmcp_native_demo_meter:phase()], counts()) -> #{{class(), reason()} => pos_integer()}.
reasons(Phases, Counts) ->
    #{
        {Class, Reason} => Sum
     || Class <- ?CLASSES,
        Reason <- ?REASONS,
        Sum <- [lists:sum([N || #{Class := #{Reason := N}} <- [maps:get(Phase, Counts) || Phase <- Phases]])],
        Sum > 0
    }.

index({Phase, Class}, What) ->
    Above = place(Phase, ?PHASES) * length(?CLASSES) + place(Class, ?CLASSES),
    Above * length(?WHATS) + place(What, ?WHATS) + 1.

place(Name, Names) -> place(Name, Names, 0).

place(Name, [Name | _], Place) -> Place;
place(Name, [_ | Names], Place) -> place(Name, Names, Place + 1).
