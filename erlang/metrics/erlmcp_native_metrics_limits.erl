-module(erlmcp_native_metrics_limits).
-moduledoc "The metrics of queues, by role, and of rates, by name.".

-export([rows/0]).

-import(erlmcp_native_metric, [field/3, sums/1, word/1]).

-doc "Returns the metrics of queues and rates.".
-spec rows() -> [erlmcp_native_metric:metric()].
rows() ->
    queues() ++ [refusals(), waits() | rates()].

queues() ->
    [
        field(
            {Metric, Name, unit(Kind), [~"role" | labels(Kind)]},
            Help,
            by_role(fun(#{Number := Value}) -> samples(Kind, Value) end)
        )
     || #{name := Number, kind := Kind, metric := {Metric, Name}, help := Help} <- erlmcp_native_role:numbers()
    ].

unit(ms) -> seconds;
unit(ms_at_level) -> seconds;
unit(ratio) -> ratio;
unit(caps) -> ratio;
unit(bytes) -> bytes;
unit(_) -> none.

labels(by_utilization) -> [~"from"];
labels(by_reason) -> [~"class"];
labels(caps) -> [~"cap"];
labels(Kind) when Kind =:= by_level; Kind =:= by_alert_level; Kind =:= ms_at_level -> [~"level"];
labels(_) -> [].

samples(_, undefined) ->
    [];
samples(limit, infinity) ->
    [];
samples(ms, Ms) ->
    [{[], Ms / 1000}];
samples(level, Level) ->
    [{[], erlmcp_native_role:severity(Level)}];
samples(ms_at_level, #{since_start := ByLevel}) ->
    [{Labels, Ms / 1000} || {Labels, Ms} <- samples(by_level, ByLevel)];
samples(Kind, ByLevel) when Kind =:= by_level; Kind =:= by_alert_level ->
    [{[word(Level)], maps:get(Level, ByLevel)} || Level <- erlmcp_native_role:levels(), is_map_key(Level, ByLevel)];
samples(by_utilization, Bands) ->
    [{[float_to_binary(From, [short])], Owners} || {From, Owners} <- Bands];
samples(by_reason, Refused) ->
    lists:sort(maps:to_list(sums([{[word(Class)], Count} || {Class, _, Count} <- Refused, Count > 0])));
samples(caps, Caps) ->
    [{[word(Of)], share(Used, Most)} || {Of, Used, Most} <- Caps, is_integer(Most)];
samples(_, Number) ->
    [{[], Number}].

%% Of nothing all is in use.
share(_, 0) -> 1.0;
share(Used, Most) -> Used / Most.

by_role(Samples) ->
    fun(#{roles := Rows}) ->
        [{[word(Role) | Labels], Value} || #{role := Role} = Row <- Rows, {Labels, Value} <- Samples(Row)]
    end.

%% Over all roles, as what follows.
waits() ->
    field(
        {gauge, ~"queue_owners_by_wait", none, [~"from"]},
        ~"Owners of all roles at the last check, by how long one waits that comes, from so long up to the next.",
        fun(#{roles := Rows}) ->
            Sums = sums(lists:append([Bands || #{owners_by_wait := Bands} <- Rows])),
            [{[float_to_binary(FromMs / 1000, [short])], N} || {FromMs, N} <- lists:sort(maps:to_list(Sums))]
        end
    ).

%% Over all roles: that is one of a few for the node, instead of as many for each role, which has them by class alone.
refusals() ->
    field(
        {counter, ~"queue_refusals_by_reason", none, [~"class", ~"reason"]},
        ~"Requests refused over all roles, by how much they mattered and why, where there were any.",
        fun(#{roles := Rows}) ->
            All = [{[word(Class), word(Why)], N} || #{refused_by := By} <- Rows, {Class, Why, N} <- By],
            lists:sort(maps:to_list(sums(All)))
        end
    ).

rates() ->
    [
        rate(counter, ~"rate_taken", ~"What was taken of a rate, costs added up.", taken),
        rate(counter, ~"rate_refused", ~"Requests that a rate refused.", refused),
        rate(gauge, ~"rate_keys", ~"Keys that have a bucket of their own, since they have used some of it.", keys),
        rate(gauge, ~"rate_keys_limit", ~"Keys that may have a bucket of their own.", max_keys)
    ].

rate(Kind, Name, Help, Key) ->
    field({Kind, Name, none, [~"rate"]}, Help, fun(#{rates := Rows}) ->
        [{[word(Of)], Value} || #{name := Of, Key := Value} <- Rows]
    end).
