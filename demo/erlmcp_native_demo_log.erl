-module(erlmcp_native_demo_log).
-moduledoc """
A logger handler that keeps the last events as lines for the display, in place of the default handler, which
would write across the table.
""".

-export([install/0, events/2]).
-export([log/2]).

-export_type([log/0, event/0]).

-define(KEPT, 50).

-doc "The log, and how far it was read.".
-opaque log() :: #{table := ets:table(), read := non_neg_integer()}.
-doc "An event: its number, system time in microseconds, level, and text in one line.".
-type event() :: {pos_integer(), integer(), logger:level(), unicode:chardata()}.

-doc "Takes the default handler's place. The calling process owns what is kept.".
-spec install() -> log().
install() ->
    Table = ets:new(?MODULE, [ordered_set, public]),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => Table, filters => default_filters()}),
    ok = logger:remove_handler(default),
    #{table => Table, read => 0}.

default_filters() ->
    {ok, #{filters := Filters}} = logger:get_handler_config(default),
    Filters.

-doc "For a terminal, which shows them again and again, all that are kept; else those that are new.".
-spec events(log(), erlmcp_native_demo_display:mode()) -> {[event()], log()}.
events(#{table := Table, read := Read} = Log, Mode) ->
    Events = [Event || {_Number, _, _, _} = Event <- ets:tab2list(Table)],
    Last = lists:max([0 | [Number || {Number, _, _, _} <- Events]]),
    case Mode of
        terminal -> {Events, Log};
        plain -> {[Event || {Number, _, _, _} = Event <- Events, Number > Read], Log#{read := Last}}
    end.

-doc false.
-spec log(logger:log_event(), logger:handler_config()) -> ok.
log(#{level := Level, meta := #{time := Time}} = Event, #{config := Table}) ->
    Text = logger_formatter:format(Event, #{single_line => true, template => [msg]}),
    Number = ets:update_counter(Table, last, 1, {last, 0}),
    true = ets:insert(Table, {Number, Time, Level, Text}),
    true = ets:delete(Table, Number - ?KEPT),
    ok.
