%% Lines: what they look like, that they are bounded, and that nobody waits for the logger.
-module(erlmcp_native_log_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("kernel/include/logger.hrl").

-export([log/2]).

-import(erlmcp_native_test_lib, [eventually/1, eventually/2]).

-define(WRITER, erlmcp_native_log_writer).
%% One line, its text and its metadata included.
-define(MAX_BYTES, 10000).

log_test_() ->
    [
        {atom_to_list(Name), {timeout, 60, fun() -> captured(Test) end}}
     || Test <- [
            fun a_line_is_a_report/0,
            fun the_level_of_a_module_is_heeded/0,
            fun a_wrong_format_is_shown/0,
            fun odd_terms_cost_little_and_say_little/0,
            fun a_source_has_a_line_a_second_and_a_count/0,
            fun all_sources_have_a_hundred_a_second/0,
            fun a_stuck_logger_holds_up_nobody/0,
            fun a_killed_writer_is_replaced/0,
            fun a_line_to_whom_the_name_was_is_written/0,
            fun it_ends_when_nothing_is_to_be_said/0,
            fun a_line_at_the_last_moment_is_written/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ].

%% Whatever else logs might wait for the logger in line.
nobody_else_logs_test() ->
    {ok, _} = xref:start(?MODULE),
    try
        [
            {ok, _} = xref:add_module(?MODULE, code:which(Module), [{warnings, false}])
         || Module <- erlmcp_native_test_lib:ours()
        ],
        {ok, Calls} = xref:q(?MODULE, "XC"),
        Logging = [Module || {{Module, _, _}, {Logger, _, _}} <- Calls, lists:member(Logger, [logger, error_logger])],
        ?assertEqual([], lists:usort(Logging) -- [erlmcp_native_log, ?WRITER])
    after
        xref:stop(?MODULE)
    end.

captured(Test) ->
    Captured = capture(),
    try
        Test()
    after
        release(Captured)
    end.

capture() ->
    case whereis(?WRITER) of
        undefined -> ok;
        Writer -> erlmcp_native_test_lib:kill(Writer)
    end,
    Handlers = [{Id, Level} || #{id := Id, level := Level} <- logger:get_handler_config()],
    [ok = logger:set_handler_config(Id, level, none) || {Id, _} <- Handlers],
    Before = erlmcp_native_test_lib:quiet(),
    Gate = atomics:new(1, []),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self(), gate => Gate}}),
    ok = erlmcp_native_test_lib:loud(info),
    put(gate, Gate),
    {Before, Handlers}.

release({Before, Handlers}) ->
    ok = logger:remove_handler(?MODULE),
    [ok = logger:set_handler_config(Id, level, Level) || {Id, Level} <- Handlers],
    ok = erlmcp_native_test_lib:loud(Before).

%% While the gate is closed it does not return.
log(#{level := Level, msg := {report, #{text := _} = Report}, meta := Meta} = Event, #{config := Config}) ->
    #{to := Pid, gate := Gate} = Config,
    Text = unicode:characters_to_list(logger_formatter:format(Event, #{single_line => true, template => [msg]})),
    Pid ! {self(), line, Level, Text, Report, Meta},
    eventually(fun() -> atomics:get(Gate, 1) =:= 0 end, 60000);
log(_, _) ->
    ok.

next() ->
    receive
        {_, line, Level, Text, Report, Meta} -> {Level, Text, Report, Meta}
    after 5000 -> error(not_logged)
    end.

lines() ->
    true = erlmcp_native_log:flush(5000),
    lines_so_far().

lines_so_far() ->
    receive
        {_, line, Level, Text, Report, Meta} -> [{Level, Text, Report, Meta} | lines_so_far()]
    after 0 -> []
    end.

%% How many occurrences these lines tell of.
told(Lines) ->
    lists:sum([
        case Report of
            #{left_out := Count} -> Count;
            #{lost_lines := Count} -> Count;
            #{} -> 1
        end
     || {_, _, Report, _} <- Lines
    ]).

until_told(Count, Lines) ->
    case told(Lines) of
        Count -> Lines;
        Fewer when Fewer < Count -> until_told(Count, Lines ++ [next()])
    end.

a_line_is_a_report() ->
    Begun = logger:timestamp(),
    ok = logger:set_process_metadata(#{request => 7}),
    ok = erlmcp_native_log:write(warning, "~tp has ~b", [r, 3], ?LOCATION, #{role => r, refusals => 3}),
    ok = logger:unset_process_metadata(),
    {Level, Text, Report, Meta} = next(),
    ?assertEqual({warning, "r has 3"}, {Level, Text}),
    ?assertEqual(#{role => r, refusals => 3, text => ~"r has 3"}, Report),
    #{mfa := MFA, pid := Pid, time := Time, line := _, file := _} = Meta,
    ?assertMatch(#{role := r, refusals := 3, request := 7}, Meta),
    ?assertEqual({{?MODULE, ?FUNCTION_NAME, 0}, self()}, {MFA, Pid}),
    ?assert(Time >= Begun andalso Time =< logger:timestamp()).

the_level_of_a_module_is_heeded() ->
    ok = logger:set_module_level(?MODULE, error),
    try
        ok = erlmcp_native_log:write(warning, "no", [], ?LOCATION, #{}),
        ok = erlmcp_native_log:write(error, "yes", [], ?LOCATION, #{}),
        ok = erlmcp_native_log:write(debug, "less than all log", [], #{}, #{})
    after
        logger:unset_module_level(?MODULE)
    end,
    ?assertMatch([{error, "yes", _, _}], lines()).

a_wrong_format_is_shown() ->
    ok = erlmcp_native_log:write(warning, "~b", [x], #{}, #{}),
    ok = erlmcp_native_log:write(warning, "~ts", [[-1]], #{}, #{}),
    ?assertMatch([{_, "{\"~b\",[x]}", _, _}, {_, "{\"~ts\",[[-1]]}", _, _}], lines()).

odd_terms() ->
    Long = lists:seq(1, 200000),
    [
        {list, Long},
        {string, lists:duplicate(200000, $a)},
        {tuple, list_to_tuple(Long)},
        {map, #{I => I || I <- Long}},
        {keys, #{lists:seq(1, I) => Long || I <- lists:seq(1, 100)}},
        {improper, [a | b]},
        {improper, Long ++ x},
        {deep_list, lists:foldl(fun(_, Term) -> [Term] end, x, Long)},
        {deep_tuple, lists:foldl(fun(_, Term) -> {Term} end, x, Long)},
        {wide_and_deep, lists:foldl(fun(_, Term) -> [Term, {Term, #{Term => Term}}] end, x, lists:seq(1, 12))},
        {integer, 1 bsl 4000000},
        {integer, -(1 bsl 4000000)},
        {integers, [1 bsl 500 || _ <- Long]},
        {binary, rand:bytes(10000000)},
        {binaries, [rand:bytes(1000) || _ <- lists:seq(1, 1000)]},
        {bitstring, <<0:1000001>>},
        {pid, self()},
        {reference, make_ref()},
        {function, fun() -> Long end},
        {list, []}
    ].

odd_terms_cost_little_and_say_little() ->
    _ = erlmcp_native_log_text:format("~tp", [warm]),
    [
        begin
            Text = erlmcp_native_log_text:format(Format, [Term]),
            %% The least: a collection of what this process holds counts, too.
            Say = fun() -> erlmcp_native_log_text:format(Format, [Term]) end,
            Cost = lists:min([reductions(Say) || _ <- [1, 2, 3]]),
            ?assert(byte_size(Text) < ?MAX_BYTES, {Name, Format, byte_size(Text)}),
            ?assert(Cost < 300000, {Name, Format, Cost})
        end
     || {Name, Term} <- odd_terms(), Format <- ["~tp", "~0tp", "~tw", "~ts"]
    ].

reductions(Fun) ->
    {reductions, Before} = process_info(self(), reductions),
    _ = Fun(),
    {reductions, After} = process_info(self(), reductions),
    After - Before.

a_source_has_a_line_a_second_and_a_count() ->
    Begun = erlang:monotonic_time(millisecond),
    Say = fun(N) -> erlmcp_native_log:write(error, "~b fell", [N], #{}, #{source => ?FUNCTION_NAME, n => N}) end,
    lists:foreach(Say, lists:seq(1, 10000)),
    ok = erlmcp_native_log:write(error, "another", [], #{}, #{source => another, n => 0}),
    Lines = until_told(10001, []),
    Seconds = (erlang:monotonic_time(millisecond) - Begun) div 1000,
    ?assertMatch([{error, "1 fell", #{n := 1}, _} | _], Lines),
    ?assertMatch([_], [Line || {_, _, #{n := 0}, _} = Line <- Lines]),
    ?assert(length(Lines) =< Seconds + 3, Lines),
    {error, Last, #{left_out := LeftOut}, #{left_out := LeftOut}} = lists:last(Lines),
    ?assertEqual(lists:flatten(io_lib:format("1 fell (~b more in a second)", [LeftOut])), Last).

all_sources_have_a_hundred_a_second() ->
    Begun = erlang:monotonic_time(millisecond),
    [ok = erlmcp_native_log:write(error, "~b", [N], #{}, #{source => N}) || N <- lists:seq(1, 500), _ <- [1, 2]],
    [ok = erlmcp_native_log:write(error, "~b", [N], #{}, #{}) || N <- lists:seq(1, 500)],
    Lines = until_told(1500, []),
    Seconds = (erlang:monotonic_time(millisecond) - Begun) div 1000,
    %% Those of a source may be followed by another that says how many more.
    ?assert(length(Lines) =< (Seconds + 2) * 201, length(Lines)).

a_stuck_logger_holds_up_nobody() ->
    Gate = get(gate),
    ok = atomics:put(Gate, 1, 1),
    Begun = erlang:monotonic_time(millisecond),
    Long = lists:seq(1, 100000),
    [
        ok = erlmcp_native_log:write(error, "~b: ~tp", [N, Long], #{}, #{source => {N rem 10}})
     || N <- lists:seq(1, 10000)
    ],
    _ = next(),
    ?assertNot(erlmcp_native_log:flush(0)),
    %% For some seconds, in which it is said over and over how much was left out.
    eventually(fun() -> lost_of(sys:get_state(?WRITER)) > 0 orelse say_more() end, 30000),
    {memory, Memory} = process_info(whereis(?WRITER), memory),
    ?assert(Memory < 2000000, Memory),
    {message_queue_len, Waiting} = process_info(whereis(?WRITER), message_queue_len),
    ?assert(Waiting < 200, Waiting),
    ?assertEqual([], lines_so_far()),
    Said = 10000 + get_said(),
    ok = atomics:put(Gate, 1, 0),
    Lines = until_told(Said - 1, []),
    ?assertMatch([_ | _], [Line || {error, _, #{lost_lines := _}, _} = Line <- Lines]),
    ?assert(erlang:monotonic_time(millisecond) - Begun < 40000).

%% In the order of the record's fields.
lost_of(State) ->
    element(4, State).

say_more() ->
    [ok = erlmcp_native_log:write(error, "more", [], #{}, #{}) || _ <- lists:seq(1, 10)],
    put(said, get_said() + 10),
    false.

get_said() ->
    case get(said) of
        undefined -> 0;
        Said -> Said
    end.

a_killed_writer_is_replaced() ->
    ok = erlmcp_native_log:write(error, "one", [], #{}, #{source => s}),
    {_, "one", _, _} = next(),
    erlmcp_native_test_lib:kill(whereis(?WRITER)),
    ok = erlmcp_native_log:write(error, "two", [], #{}, #{source => s}),
    ?assertMatch([{_, "two", _, _}], lines()).

it_ends_when_nothing_is_to_be_said() ->
    ?assert(erlmcp_native_log:flush(0)),
    ok = erlmcp_native_log:write(error, "one", [], #{}, #{source => s}),
    Monitor = monitor(process, ?WRITER),
    receive
        {'DOWN', Monitor, process, _, normal} -> ok
    after 10000 -> error(still_there)
    end,
    ?assertEqual(undefined, ets:info(?WRITER)),
    ?assertMatch([{_, "one", _, _}], lines()).

%% The table is gone and the name not yet; or the line is in the mailbox of a process that ends.
a_line_at_the_last_moment_is_written() ->
    ok = erlmcp_native_log:write(error, "one", [], #{}, #{source => s}),
    true = erlmcp_native_log:flush(5000),
    Writer = whereis(?WRITER),
    ok = sys:suspend(Writer),
    ok = erlmcp_native_log:write(error, "two", [], #{}, #{source => t}),
    Monitor = monitor(process, Writer),
    ok = sys:terminate(Writer, normal),
    receive
        {'DOWN', Monitor, process, _, normal} -> ok
    after 5000 -> error(still_there)
    end,
    ?assertEqual(["one", "two"], [Text || {_, Text, _, _} <- lines()]).

%% The name and the table are gone, and whoever had found it before has not sent yet.
a_line_to_whom_the_name_was_is_written() ->
    ok = erlmcp_native_log:write(error, "one", [], #{}, #{source => s}),
    true = erlmcp_native_log:flush(5000),
    Writer = whereis(?WRITER),
    ok = sys:terminate(Writer, normal),
    eventually(fun() -> whereis(?WRITER) =:= undefined end),
    Meta = #{pid => self(), gl => group_leader(), time => logger:timestamp()},
    Writer ! {line, t, {error, #{text => ~"two"}, Meta}},
    eventually(fun() -> not is_process_alive(Writer) end),
    ?assertEqual(["one", "two"], [Text || {_, Text, _, _} <- lines()]).
