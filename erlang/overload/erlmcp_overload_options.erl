-module(erlmcp_overload_options).
-moduledoc """
The overload monitor's options, checked by name at the door.

| option | value | default |
| --- | --- | --- |
| `check_interval` | milliseconds between checks, from 1 to 2^32 - 1 | 5000 |
| `max_alert_history` | how many alerts are kept, 1 to 10000 | 100 |
| `clear_margin` | how far below its threshold a level is left, as a share of the limit, 0 to 0.8 | 0.1 |
| `realert_interval` | after how many milliseconds a level that lasts is alerted again, 1 to 2^32 - 1 | 60000 |
| `open_breaker_at` | `overload`, `critical` or `never` | `overload` |
| `handlers` | list of `{Module, Arg}`, see `m:erlmcp_overload_handler` | `erlmcp_overload_default_handler` |
""".

-export([check/2, check_list/1, rules/1]).

-export_type([options/0]).

-doc "Every option with its value.".
-type options() :: #{
    check_interval := pos_integer(),
    max_alert_history := 1..10000,
    clear_margin := number(),
    realert_interval := pos_integer(),
    open_breaker_at := overload | critical | never,
    handlers := [{module(), term()}]
}.

-define(MAX_MS, 16#ffffffff).

-doc "Some options, the others at their defaults. `App` is whose configuration it is.".
-spec check(atom(), term()) -> {ok, options()} | {error, erlmcp_native_config:problem()}.
check(App, Options) when is_map(Options) ->
    try
        maps:foreach(fun(Name, Value) -> check_option(App, Name, Value) end, Options),
        {ok, maps:merge(defaults(), Options)}
    catch
        throw:{bad_config, _} = Problem -> {error, Problem}
    end;
check(App, Value) ->
    {error, problem(App, overload, Value, "a map of options")}.

-doc "The same for a list of `{Name, Value}`; the first of a name counts.".
-spec check_list(term()) -> {ok, map()} | {error, erlmcp_native_config:problem()}.
check_list(Options) when is_list(Options), length(Options) >= 0 ->
    Expanded = proplists:unfold(Options),
    case [Odd || Odd <- Expanded, not (is_tuple(Odd) andalso tuple_size(Odd) =:= 2)] of
        [] ->
            Given = maps:from_list(lists:reverse(Expanded)),
            case check(erlmcp_native, Given) of
                {ok, _} -> {ok, Given};
                Error -> Error
            end;
        [Odd | _] ->
            {error, problem(erlmcp_native, overload, Odd, "{Option, Value}")}
    end;
check_list(Value) ->
    {error, problem(erlmcp_native, overload, Value, "a list of {Option, Value}")}.

-doc "As the library takes them.".
-spec rules(options()) -> erlmcp_native:rules().
rules(#{clear_margin := Margin, realert_interval := RealertMs, max_alert_history := History}) ->
    {round(Margin * 1000000), RealertMs, History}.

defaults() ->
    #{
        check_interval => 5000,
        max_alert_history => 100,
        clear_margin => 0.1,
        realert_interval => 60000,
        open_breaker_at => overload,
        handlers => [{erlmcp_overload_default_handler, []}]
    }.

check_option(App, Name, Value) ->
    case is_option(Name, Value) of
        true -> ok;
        Expected -> throw(problem(App, [overload, Name], Value, Expected))
    end.

is_option(check_interval, Value) ->
    is_ms(Value);
is_option(realert_interval, Value) ->
    is_ms(Value);
is_option(max_alert_history, Value) ->
    (is_integer(Value) andalso Value >= 1 andalso Value =< 10000) orelse "an integer from 1 to 10000";
is_option(clear_margin, Value) ->
    (is_number(Value) andalso Value >= 0 andalso Value =< 0.8) orelse "a number from 0 to 0.8";
is_option(open_breaker_at, Value) ->
    lists:member(Value, [overload, critical, never]) orelse "overload, critical or never";
is_option(handlers, Value) when is_list(Value), length(Value) >= 0 ->
    case [Wrong || Handler <- Value, Wrong <- [is_handler(Handler)], Wrong =/= true] of
        [] -> true;
        [Wrong | _] -> Wrong
    end;
is_option(handlers, _) ->
    "a list of {Module, Arg}";
is_option(_, _) ->
    "one of check_interval, max_alert_history, clear_margin, realert_interval, open_breaker_at, handlers".

is_ms(Value) ->
    (is_integer(Value) andalso Value >= 1 andalso Value =< ?MAX_MS) orelse
        "milliseconds, an integer from 1 to 2^32 - 1".

is_handler({Module, _Arg}) when is_atom(Module) ->
    case code:ensure_loaded(Module) of
        {module, Module} ->
            Missing = [
                [atom_to_list(Name), "/", integer_to_list(Arity)]
             || {Name, Arity} <- erlmcp_overload_handler:callbacks(),
                not erlang:function_exported(Module, Name, Arity)
            ],
            Missing =:= [] orelse
                lists:flatten(io_lib:format("~tp to export ~ts", [Module, lists:join(", ", Missing)]));
        {error, _} ->
            lists:flatten(io_lib:format("~tp to be a module that can be loaded", [Module]))
    end;
is_handler(_) ->
    "a list of {Module, Arg}".

problem(App, Key, Value, Expected) ->
    {bad_config, #{application => App, key => Key, value => Value, expected => Expected}}.
