-module(erlmcp_overload_pace).
-moduledoc """
Says in words what rates allow and whom they refuse, for a person at a shell: those that are defined by name, and those
of control messages, by component and type.

Which keys have nothing left is found by a look at all of them, some 30 ms of a dirty scheduler for a million. A refusal
is noted nowhere but in a count, so of a key whose bucket is full again nothing is known.
""".

-export([lines/2, key_lines/3, table/2]).

-import(erlmcp_overload_text, [words/2, line/2, list/1, rate/1, clock/1, ago/1, duration/1]).

%% A share is of so many.
-define(PARTS, 1_000_000_000).
%% So many of the emptiest keys are shown.
-define(KEYS, 3).
%% Of a key that is longer.
-define(MOST_CHARACTERS, 60).

-doc "Returns what there is to say of the rate of this name, and of the component's; `[]` if there is neither.".
-spec lines(Name :: atom(), erlmcp_native_metrics:snapshot()) -> [string()].
lines(Name, Snapshot) ->
    lists:append([of_rate(Row) || Row <- named(Name, Snapshot)]) ++ of_component(Name, rates_of(Name, Snapshot)).

-doc "Returns what there is to say of one key of the rate of this name; `[]` if there is none.".
-spec key_lines(Name :: atom(), Key :: term(), erlmcp_native_metrics:snapshot()) -> [string()].
key_lines(Name, Key, Snapshot) ->
    lists:append([of_key(Key, Row) || Row <- named(Name, Snapshot)]).

-doc """
Returns the rates that refuse now, or have nearly as many keys as they may, as rows of a table, as many as asked for:
those first that refuse most. `[]` if there is none.
""".
-spec table(non_neg_integer(), erlmcp_native_metrics:snapshot()) -> [unicode:chardata()].
table(Most, #{rates := Rates, control := Control}) ->
    Named = [{words("~tp", [Name]), Row} || #{name := Name} = Row <- Rates],
    OfTypes = [{words("~tp ~ts", [Id, Type]), Row} || {Id, ByType} <- components(Control), Type := Row <- ByType],
    Telling = [{-PerS, Name, Row} || {Name, #{refused_per_s := PerS} = Row} <- Named ++ OfTypes, is_telling(Row)],
    case lists:sublist(lists:sort(Telling), Most) of
        [] -> [];
        Shown -> [row("rate", "allows", ["refused/s", "refused", "keys"]) | [row(Name, Row) || {_, Name, Row} <- Shown]]
    end.

is_telling(#{refusing_since_ms := Since} = Row) ->
    is_integer(Since) orelse is_crowded(Row).

is_crowded(#{keys := Keys, max_keys := Most}) ->
    Most > 1 andalso Keys >= 0.8 * Most.

row(Name, #{refused_per_s := PerS, refused := Refused, keys := Keys} = Row) ->
    row(Name, allowed(Row), [rate(PerS), integer_to_list(Refused), integer_to_list(Keys)]).

row(Name, Allowed, Numbers) ->
    [string:pad(Name, 26), " ", string:pad(Allowed, 20), [string:pad(Number, 11, leading) || Number <- Numbers]].

named(Name, #{rates := Rates}) ->
    [Row || #{name := Of} = Row <- Rates, Of =:= Name].

components(undefined) ->
    [];
components(Control) ->
    [{Id, Rates} || {Id, #{rates := Rates}} <- erlmcp_native_metric:components(Control)].

rates_of(Id, #{control := Control}) ->
    [{Type, Row} || {Of, Rates} <- components(Control), Of =:= Id, {Type, Row} <- lists:sort(maps:to_list(Rates))].

of_rate(#{name := Name, keys := Keys, max_keys := Most} = Row) ->
    case erlmcp_native:rate_emptiest(Name, ?KEYS) of
        {Empty, Emptiest} ->
            Verdict =
                if
                    Empty > 0 -> words("refuses ~b of ~b keys now, which have nothing left", [Empty, max(Empty, Keys)]);
                    Keys >= Most -> "has as many keys as it may, and no place for others";
                    Emptiest =:= [] -> "refuses nobody: no key has used any of it";
                    true -> words("refuses nobody now: all of ~b keys have something left", [Keys])
                end,
            [words("the rate ~tp ~ts", [Name, Verdict]) | common(Row)] ++
                [line("emptiest", emptiest(Key, Row)) || Key <- Emptiest];
        _UndefinedMeanwhile ->
            []
    end.

common(Row) ->
    [
        line("allows", [allowed(Row), " to each key", at_once(Row), of_all(Row)]),
        line("refusals", refusals(Row)),
        line("takes", takes(Row)),
        line("keys", keys(Row))
    ].

of_key(Key, #{name := Name} = Row) ->
    Burst = burst(Row),
    %% It may be undefined, or the service stopped, since the snapshot was taken.
    try erlmcp_overload_rate:peek(Name, Key) of
        {ok, Left} ->
            of_key(Key, Row, words("is not refused: it has ~b of ~b left", [Left + 1, Burst]), []);
        {error, {rate_limited, #{retry_after_ms := Ms, reset_ms := ResetMs}}} ->
            Verdict = words("is refused: it has 0 of ~b left, and the next in ~s", [Burst, duration(Ms)]),
            of_key(Key, Row, Verdict, [line("full", ["in ", duration(ResetMs)])])
    catch
        error:badarg -> [];
        exit:{noproc, _} -> []
    end.

of_key(Key, #{name := Name} = Row, Verdict, Full) ->
    [words("~ts of the rate ~tp ~ts", [shown(Key), Name, Verdict]) | Full] ++
        [
            line("allows", [allowed(Row), at_once(Row), of_all(Row)]),
            line("refusals", [refusals(Row), ", of all keys"]),
            line("keys", keys(Row))
        ].

of_component(_, []) ->
    [];
of_component(Id, Rates) ->
    Verdict =
        case [atom_to_list(Type) || {Type, #{retry_after_ms := Ms}} <- Rates, Ms > 0] of
            [] -> "refuses no control message for its rate now";
            Types -> words("refuses control messages now: ~ts, more often than it may come", [list(Types)])
        end,
    [words("the component ~tp ~ts", [Id, Verdict]) | [line("rate", ration(Type, Row)) || {Type, Row} <- Rates]].

ration(Type, #{retry_after_ms := Ms} = Row) ->
    Next = case Ms of 0 -> "now"; _ -> ["in ", duration(Ms)] end,
    words("~ts: ~ts; the next ~ts; refusals ~ts", [Type, allowed(Row), Next, refusals(Row)]).

allowed(#{rate := {Number, hour}}) -> words("~b an hour", [Number]);
allowed(#{rate := {Number, Period}}) -> words("~b a ~s", [Number, Period]).

at_once(#{rate := {Burst, _}, burst := Burst}) -> "";
at_once(#{burst := Burst}) -> words(", ~b at once after a pause", [Burst]).

of_all(#{scope := cluster, share := Share}) -> words(", of all nodes together: ~s % here", [percent(100 * Share)]);
of_all(_) -> "".

percent(Percent) when Percent >= 10 -> integer_to_list(round(Percent));
percent(Percent) -> float_to_list(Percent, [{decimals, 2}, compact]).

refusals(#{refused := 0}) ->
    "none";
refusals(#{refused := InAll, refused_per_s := PerS} = Row) ->
    words("~s a second, ~b in all~ts", [rate(PerS), InAll, when_refused(Row)]).

when_refused(#{refusing_since_ms := Since, last_refused_ms := Last}) when is_integer(Since) ->
    words("; since ~s (~s ago), the last ~s ago", [clock(Since), ago(Since), ago(Last)]);
when_refused(#{last_refused_ms := Last}) when is_integer(Last) ->
    words("; the last at ~s (~s ago)", [clock(Last), ago(Last)]);
when_refused(_) ->
    "".

takes(#{taken := InAll, taken_per_s := PerS}) ->
    words("~s a second, ~b in all, costs added up", [rate(PerS), InAll]).

keys(#{keys := Keys, max_keys := Most, overflow := share}) ->
    words("~b of ~b; further ones share one bucket", [Keys, Most]);
keys(#{keys := Keys, max_keys := Most, overflow := refuse}) ->
    words("~b of ~b; further ones are refused", [Keys, Most]).

emptiest({Key, Left, RetryNs, ResetNs}, Row) ->
    Next = [["the next in ", duration(ms(RetryNs)), ", "] || RetryNs > 0],
    words("~ts: ~b of ~b left, ~tsall in ~ts", [whose(Key), Left, burst(Row), Next, duration(ms(ResetNs))]).

%% As the library works it out of the parts that the share is of.
burst(#{burst := Burst, share := Share}) ->
    max(1, Burst * round(Share * ?PARTS) div ?PARTS).

whose(Key) ->
    case erlmcp_native_rate:unpack(Key) of
        {ok, Term} -> shown(Term);
        {digest, Digest} -> ["a key of more than 255 bytes, ", binary:encode_hex(binary:part(Digest, 0, 8), lowercase)];
        share -> "all further keys together"
    end.

shown(Key) ->
    lists:flatten(io_lib:format("~tp", [Key], [{chars_limit, ?MOST_CHARACTERS}])).

ms(Ns) ->
    (Ns + 999_999) div 1_000_000.
