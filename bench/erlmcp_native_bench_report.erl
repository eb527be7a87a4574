-module(erlmcp_native_bench_report).
-moduledoc "How results look: tables for a terminal of 100 columns, and JSON.".

-export([machine/0, print_machine/2, print/1, print_targets/1, write_json/4]).
-export([count/1, ns/1]).

-export_type([table/0]).

%% A terminal's, that is.
-define(COLUMNS, 100).

-doc "A table has texts as cells. The first `left` columns are aligned to the left, the others to the right.".
-type table() :: #{head := [iodata()], left := non_neg_integer(), rows := [[iodata()]]}.

-doc "Returns what ran this, and on what.".
-spec machine() -> map().
machine() ->
    #{
        cpu => cpu_model(),
        cores_online => erlang:system_info(logical_processors_online),
        schedulers => erlang:system_info(schedulers_online),
        otp => list_to_binary(otp_version()),
        erts => list_to_binary(erlang:system_info(version)),
        emulator => erlang:system_info(emu_flavor),
        load_average => first_line("/proc/loadavg"),
        date => list_to_binary(calendar:system_time_to_rfc3339(erlang:system_time(second), [{offset, "Z"}])),
        revision => git_revision()
    }.

cpu_model() ->
    maybe
        {ok, Text} ?= file:read_file("/proc/cpuinfo"),
        {match, [Model]} ?= re:run(Text, "^model name\\s*: (.*)$", [multiline, {capture, all_but_first, binary}]),
        Model
    else
        _ -> list_to_binary(erlang:system_info(system_architecture))
    end.

otp_version() ->
    Release = erlang:system_info(otp_release),
    case file:read_file(filename:join([code:root_dir(), "releases", Release, "OTP_VERSION"])) of
        {ok, Version} -> string:trim(binary_to_list(Version));
        {error, _} -> Release
    end.

first_line(File) ->
    case file:read_file(File) of
        {ok, Text} -> hd(binary:split(Text, <<"\n">>));
        {error, _} -> null
    end.

git_revision() ->
    case string:trim(os:cmd("git describe --always --dirty 2>/dev/null")) of
        "" -> null;
        Revision -> list_to_binary(Revision)
    end.

-doc "Prints the head of the report.".
-spec print_machine(map(), erlmcp_native_bench:options()) -> ok.
print_machine(#{cpu := Cpu, cores_online := Cores, schedulers := Schedulers} = Machine, Options) ->
    #{otp := Otp, erts := Erts, revision := Revision, date := Date, load_average := Load} = Machine,
    #{quick := Quick, rounds := Rounds, step_ms := StepMs} = Options,
    io:format("erlmcp_native ~ts, ~ts~n", [or_unknown(Revision), Date]),
    io:format("~ts, ~p cores online, ~b schedulers, load ~ts~n", [Cpu, Cores, Schedulers, or_unknown(Load)]),
    io:format("OTP ~ts, erts ~ts; ~b rounds, ~b ms a step at least~ts~n", [
        Otp, Erts, Rounds, StepMs, [" (BENCH_QUICK: smaller sizes, noisier)" || Quick]
    ]).

or_unknown(null) -> "unknown";
or_unknown(Text) -> Text.

-doc "Prints the tables and notes of a group.".
-spec print(erlmcp_native_bench:result()) -> ok.
print(#{title := Title, tables := Tables, notes := Notes}) ->
    io:format("~n## ~ts~n", [Title]),
    lists:foreach(fun(Table) -> io:format("~n~ts", [text(Table)]) end, Tables),
    io:format("~n~ts", [[["  ", Note, $\n] || Note <- Notes]]).

-doc "Prints the targets and whether they were met.".
-spec print_targets([erlmcp_native_bench:target()]) -> ok.
print_targets(Targets) ->
    Rows = [
        [Name, [sign(Better), number(Wanted), Unit], [number(Measured), Unit], verdict(Target)]
     || #{name := Name, better := Better, target := Wanted, measured := Measured, unit := Unit} = Target <- Targets
    ],
    Head = ["target", "wanted", "measured", ""],
    io:format("~n## Targets~n~n~ts", [text(#{head => Head, left => 1, rows => Rows})]).

sign(lower) -> "<= ";
sign(higher) -> ">= ".

verdict(Target) ->
    case is_met(Target) of
        true -> "met";
        false -> "MISSED"
    end.

is_met(#{better := lower, target := Wanted, measured := Measured}) -> Measured =< Wanted;
is_met(#{better := higher, target := Wanted, measured := Measured}) -> Measured >= Wanted.

-doc "Writes everything that was measured to a file.".
-spec write_json(file:name_all(), map(), erlmcp_native_bench:options(), [{atom(), erlmcp_native_bench:result()}]) ->
    ok.
write_json(File, Machine, Options, Results) ->
    Targets = [
        Target#{name := text_of(Name), unit := string:trim(text_of(Unit)), met => is_met(Target)}
     || {_, #{targets := All}} <- Results, #{name := Name, unit := Unit} = Target <- All
    ],
    Groups = #{Group => Data || {Group, #{data := Data}} <- Results},
    Json = json:encode(#{machine => Machine, options => Options, groups => Groups, targets => Targets}),
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, [Json, $\n]).

text_of(Text) -> unicode:characters_to_binary(Text).

text(#{head := Head, left := Left, rows := Rows}) ->
    Lines = [[unicode:characters_to_list(Cell) || Cell <- Line] || Line <- [Head | Rows]],
    Widths = lists:foldl(fun widen/2, [0 || _ <- Head], Lines),
    Gap = case lists:sum(Widths) + 2 * length(Widths) > ?COLUMNS of true -> " "; false -> "  " end,
    [HeadLine | RowLines] = [line(Line, Widths, Left, Gap) || Line <- Lines],
    [HeadLine, [lists:duplicate(length(string:trim(HeadLine)), $-), $\n], RowLines].

widen(Line, Widths) ->
    lists:zipwith(fun(Cell, Width) -> max(length(Cell), Width) end, Line, Widths).

line(Line, Widths, Left, Gap) ->
    Columns = lists:zip3(lists:seq(1, length(Line)), Line, Widths),
    Cells = [pad(Cell, Width, Column =< Left) || {Column, Cell, Width} <- Columns],
    string:trim(lists:flatten(lists:join(Gap, Cells)), trailing) ++ "\n".

pad(Cell, Width, true) -> string:pad(Cell, Width, trailing);
pad(Cell, Width, false) -> string:pad(Cell, Width, leading).

-doc "Writes a count in short: 100, 10k, 1M.".
-spec count(non_neg_integer()) -> string().
count(N) when N >= 1_000_000, N rem 1_000_000 =:= 0 -> integer_to_list(N div 1_000_000) ++ "M";
count(N) when N >= 1_000, N rem 1_000 =:= 0 -> integer_to_list(N div 1_000) ++ "k";
count(N) -> integer_to_list(N).

-doc "Writes nanoseconds, with one decimal where it means something.".
-spec ns(number()) -> string().
ns(Ns) when Ns < 99.95 -> float_to_list(float(Ns), [{decimals, 1}]);
ns(Ns) -> integer_to_list(round(Ns)).

number(N) when is_integer(N) -> integer_to_list(N);
number(N) when N < 100 -> float_to_list(N, [{decimals, 2}]);
number(N) -> integer_to_list(round(N)).
