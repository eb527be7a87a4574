-module(erlmcp_overload_options).
-moduledoc """
The overload monitor's options, in the configuration under `overload` and as the argument of
`erlmcp_overload_monitor:start_link/1`.

| option | value | default | meaning |
| --- | --- | --- | --- |
| `check_interval` | milliseconds, an integer from 1 to 2^32 - 1 | `5000` | The time between two checks. |
| `max_alert_history` | an integer from 1 to 10000 | `100` | How many alerts are kept. |
| `clear_margin` | a number from 0 to 0.8 | `0.1` | How far below its threshold a level is left, as a share of the limit. |
| `realert_interval` | milliseconds, an integer from 1 to 2^32 - 1 | `60000` | The time after which a level that lasts is alerted again. |
| `open_breaker_at` | overload, critical or never | `overload` | The level of a role at which its breaker opens. |
| `breaker_min_open` | milliseconds, an integer from 0 to 2^32 - 1 | `5000` | How long a breaker stays open at least, a tenth more or less by chance. |
| `handlers` | a list of {Module, Arg} | `[{erlmcp_overload_default_handler,[]}]` | Who is told of alerts, see `m:erlmcp_overload_handler`. |
| `watch_mailboxes` | off, or a map of options | `off` | Whether all mailboxes are watched, and by which lengths, see `m:erlmcp_overload_mailbox`. |
""".

-export([table/0, complete/1, is_handler/1, rules/1, watch/0]).

-export_type([options/0]).

-doc "This map has every option with its value.".
-type options() :: #{
    check_interval := pos_integer(),
    max_alert_history := 1..10000,
    clear_margin := number(),
    realert_interval := pos_integer(),
    open_breaker_at := overload | critical | never,
    breaker_min_open := non_neg_integer(),
    handlers := [{module(), term()}],
    watch_mailboxes := erlmcp_overload_watch:lengths() | off
}.

-define(MAX_MS, 16#ffffffff).
-define(MAX_LENGTH, 16#ffffffff).

-doc "Returns the table of options.".
-spec table() -> erlmcp_native_options:table().
table() ->
    [
        #{
            name => check_interval,
            type => erlmcp_native_options:milliseconds(1, ?MAX_MS),
            default => 5000,
            doc => ~"The time between two checks."
        },
        #{
            name => max_alert_history,
            type => erlmcp_native_options:integer(1, 10000),
            default => 100,
            doc => ~"How many alerts are kept."
        },
        #{
            name => clear_margin,
            type => erlmcp_native_options:number(0, 0.8),
            default => 0.1,
            doc => ~"How far below its threshold a level is left, as a share of the limit."
        },
        #{
            name => realert_interval,
            type => erlmcp_native_options:milliseconds(1, ?MAX_MS),
            default => 60000,
            doc => ~"The time after which a level that lasts is alerted again."
        },
        #{
            name => open_breaker_at,
            type => erlmcp_native_options:one_of([overload, critical, never]),
            default => overload,
            doc => ~"The level of a role at which its breaker opens."
        },
        #{
            name => breaker_min_open,
            type => erlmcp_native_options:milliseconds(0, ?MAX_MS),
            default => 5000,
            doc => ~"How long a breaker stays open at least, a tenth more or less by chance."
        },
        #{
            name => handlers,
            type => erlmcp_native_options:list_of(
                erlmcp_native_options:checked("{Module, Arg}", fun handler/1)
            ),
            default => [{erlmcp_overload_default_handler, []}],
            doc => ~"Who is told of alerts, see `m:erlmcp_overload_handler`."
        },
        #{
            name => watch_mailboxes,
            type => watch(),
            default => off,
            doc => ~"Whether all mailboxes are watched, and by which lengths, see `m:erlmcp_overload_mailbox`."
        }
    ].

-doc "Makes the type of the lengths by which all mailboxes are watched, or `off`. None may be below the one before.".
-spec watch() -> erlmcp_native_options:type().
watch() ->
    Lengths = erlmcp_native_options:options([
        length_of(warning, 1000, ~"The length at which this level begins."),
        length_of(critical, 5000, ~"The length at which this level begins."),
        length_of(overload, 10000, ~"The length at which this level begins, which is the limit that is told.")
    ]),
    Rising = fun(Given) ->
        case erlmcp_native_options:check(Lengths, Given) of
            {ok, #{warning := Warning, critical := Critical}} when Critical < Warning ->
                below(critical, Critical, warning, Warning);
            {ok, #{critical := Critical, overload := Overload}} when Overload < Critical ->
                below(overload, Overload, critical, Critical);
            Result ->
                Result
        end
    end,
    erlmcp_native_options:optional(off, erlmcp_native_options:checked("a map of options", Rising)).

length_of(Level, Default, Doc) ->
    #{name => Level, type => erlmcp_native_options:integer(1, ?MAX_LENGTH), default => Default, doc => Doc}.

below(Level, Length, Milder, AtLeast) ->
    {error, {[Level], Length, lists:concat(["an integer from ", AtLeast, ", where ", Milder, " begins"])}}.

-doc "Adds the defaults to options that were checked.".
-spec complete(#{atom() => term()}) -> options().
complete(Options) ->
    maps:merge(#{Name => Default || #{name := Name, default := Default} <- table()}, Options).

-doc "Tells whether this is a handler: a module that exports the callbacks, and its argument.".
-spec is_handler(term()) -> boolean().
is_handler(Handler) ->
    handler(Handler) =:= true.

-doc "Turns options into the rules that the library takes.".
-spec rules(options()) -> erlmcp_native:rules().
rules(#{clear_margin := Margin, realert_interval := RealertMs, max_alert_history := History}) ->
    {round(Margin * 1000000), RealertMs, History}.

handler({Module, _Arg} = Handler) when is_atom(Module) ->
    case code:ensure_loaded(Module) of
        {module, Module} ->
            Missing = [
                lists:concat([Name, "/", Arity])
             || {Name, Arity} <- erlmcp_overload_handler:callbacks(),
                not erlang:function_exported(Module, Name, Arity)
            ],
            Missing =:= [] orelse wrong(Handler, "~tp to export ~ts", [Module, lists:join(", ", Missing)]);
        {error, _} ->
            wrong(Handler, "~tp to be a module that can be loaded", [Module])
    end;
handler(_) ->
    false.

wrong(Handler, Format, Args) ->
    {error, {[], Handler, lists:flatten(io_lib:format(Format, Args))}}.
