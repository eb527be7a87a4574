-module(erlmcp_native_demo_handler).
-moduledoc """
The demo's handler of the overload monitor: measures how long after the crossing it is called, counts alerts, and
keeps the state of each role's breaker. The first alerts of every second go to the demo one by one as
`{event, Event}`, of the others only the number is kept.
""".

-behaviour(erlmcp_overload_handler).

-export([new/0, counts/1, breakers/1, told/2]).
-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).

-export_type([book/0, event/0]).

-define(ONE_BY_ONE, 16).

-doc "A book has what was counted. The process that made it owns it.".
-type book() :: ets:table().
-doc "An event is an alert, or what a breaker did, and when it became known, in milliseconds of system time.".
-type event() :: #{
    at_ms := integer(),
    what := raised | cleared | breaker,
    role := atom(),
    level => warning | critical | overload,
    process => erlmcp_queue_limits:owner(),
    depth => non_neg_integer(),
    action => open | close
}.

-doc "Makes an empty book.".
-spec new() -> book().
new() ->
    ets:new(?MODULE, [public, set, {write_concurrency, true}]).

-doc "Returns how many alerts there were so far, and how often a breaker opened.".
-spec counts(book()) -> #{raised | cleared | opened => non_neg_integer()}.
counts(Book) ->
    #{What => ets:lookup_element(Book, What, 2, 0) || What <- [raised, cleared, opened]}.

-doc "Returns what each role's breaker did last.".
-spec breakers(book()) -> #{erlmcp_queue_limits:role() => open | close}.
breakers(Book) ->
    #{Role => Action || {{breaker, Role}, Action} <- ets:tab2list(Book)}.

-doc "Returns how long a mailbox was when the watch told of its overload, and when, in microseconds of monotonic time.".
-spec told(book(), pid()) -> {Depth :: non_neg_integer(), AtUs :: integer()} | not_yet.
told(Book, Pid) ->
    ets:lookup_element(Book, {told, Pid}, 2, not_yet).

-doc false.
-spec init({pid(), book(), erlmcp_native_demo_meter:meter()}) -> {ok, map()}.
init({Demo, Book, Meter}) ->
    {ok, #{demo => Demo, book => Book, meter => Meter, second => 0, told => 0}}.

-doc false.
-spec handle_alert(erlmcp_overload_monitor:alert(), map()) -> {ok, map()}.
handle_alert(#{timestamp := Ms} = Alert, #{meter := Meter, book := Book} = State) ->
    _ = watched(Alert, Book),
    %% The crossing is known to the millisecond: this is up to one more than it took.
    ok = erlmcp_native_demo_meter:waited(Meter, crossing, erlang:system_time(microsecond) - Ms * 1000),
    {ok, counted(raised, Alert, State)}.

-doc false.
-spec handle_clear(erlmcp_overload_monitor:alert(), map()) -> {ok, map()}.
handle_clear(Alert, State) ->
    {ok, counted(cleared, Alert, State)}.

-doc false.
-spec handle_role(erlmcp_queue_limits:role(), open | close, map()) -> {ok, map()}.
handle_role(Role, Action, #{book := Book} = State) ->
    true = ets:insert(Book, {{breaker, Role}, Action}),
    _ = Action =:= open andalso ets:update_counter(Book, opened, 1, {opened, 0}),
    {ok, tell(#{what => breaker, role => Role, action => Action}, State)}.

watched(#{role := mailbox, level := overload, process := Pid, depth := Depth}, Book) ->
    ets:insert(Book, {{told, Pid}, {Depth, erlang:monotonic_time(microsecond)}});
watched(_Alert, _Book) ->
    true.

counted(What, Alert, #{book := Book} = State) ->
    _ = ets:update_counter(Book, What, 1, {What, 0}),
    tell(maps:put(what, What, maps:with([role, level, process, depth], Alert)), State).

tell(Event, #{demo := Demo, second := Second, told := Told} = State) ->
    Now = erlang:system_time(millisecond),
    case Now div 1000 of
        Second when Told >= ?ONE_BY_ONE ->
            State;
        Second ->
            Demo ! {event, Event#{at_ms => Now}},
            State#{told := Told + 1};
        Next ->
            Demo ! {event, Event#{at_ms => Now}},
            State#{second := Next, told := 1}
    end.
