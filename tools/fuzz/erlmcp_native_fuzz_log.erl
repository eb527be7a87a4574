-module(erlmcp_native_fuzz_log).
-moduledoc "A logger's handler that formats every event as an operator would see it, counts them, and shows none.".

-export([install/0, seen/0]).
-export([log/2]).

-doc "Takes the place of all handlers of this node.".
-spec install() -> ok.
install() ->
    Counters = counters:new(3, []),
    persistent_term:put(?MODULE, Counters),
    lists:foreach(fun(Id) -> ok = logger:remove_handler(Id) end, logger:get_handler_ids()),
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => all}).

-doc "Returns how many events there were, how many could not be formatted, and the bytes of the longest.".
-spec seen() -> #{events := non_neg_integer(), broken := non_neg_integer(), longest := non_neg_integer()}.
seen() ->
    Counters = persistent_term:get(?MODULE),
    #{events => counters:get(Counters, 1), broken => counters:get(Counters, 2), longest => counters:get(Counters, 3)}.

-doc false.
-spec log(logger:log_event(), logger:handler_config()) -> ok.
log(Event, _) ->
    Counters = persistent_term:get(?MODULE),
    counters:add(Counters, 1, 1),
    %% What is longer than this costs seconds, and is known to be long.
    try unicode:characters_to_binary(logger_formatter:format(Event, #{single_line => true, chars_limit => 20_000})) of
        Line when is_binary(Line) -> counters:put(Counters, 3, max(byte_size(Line), counters:get(Counters, 3)))
    catch
        _:_ -> counters:add(Counters, 2, 1)
    end.
