%% Reads what Prometheus reads, as strictly as it is written here, and makes up large snapshots.
-module(erlmcp_native_prometheus_test_lib).

-export([parse/2, number/1, snapshot/2]).

%% The families in order; fails on whatever does not belong there.
parse(Body, text) ->
    families(lines(Body));
parse(Body, openmetrics) ->
    {Lines, [~"# EOF"]} = lists:split(length(lines(Body)) - 1, lines(Body)),
    families(Lines).

lines(<<>>) ->
    [];
lines(Body) ->
    $\n = binary:last(Body),
    binary:split(binary:part(Body, 0, byte_size(Body) - 1), ~"\n", [global]).

families([]) ->
    [];
families([<<"# HELP ", Descriptor/binary>> | Lines]) ->
    [Name, Help] = binary:split(Descriptor, ~" "),
    {Kind, AfterKind} = descriptor(~"# TYPE ", Name, Lines),
    {Unit, AfterUnit} = descriptor(~"# UNIT ", Name, AfterKind),
    {Samples, Rest} = lists:splitwith(fun(Line) -> binary:first(Line) =/= $# end, AfterUnit),
    Family = #{
        name => Name, kind => Kind, unit => Unit, help => unescape(Help), samples => [sample(Line) || Line <- Samples]
    },
    [Family | families(Rest)].

descriptor(Prefix, Name, [Line | Rest] = Lines) ->
    case string:prefix(Line, [Prefix, Name, " "]) of
        nomatch -> {none, Lines};
        Value -> {Value, Rest}
    end.

sample(Line) ->
    Options = [{capture, all_but_first, binary}, dotall],
    {match, [Name, Rest]} = re:run(Line, "^([a-zA-Z_:][a-zA-Z0-9_:]*)(.*)$", Options),
    {Labels, Value} = labels(Rest),
    {Name, Labels, number(Value)}.

labels(<<" ", Value/binary>>) -> {[], Value};
labels(<<"{", Rest/binary>>) -> labels(Rest, []).

labels(Text, Labels) ->
    [Name, Quoted] = binary:split(Text, ~"=\""),
    {Value, Rest} = value(Quoted, <<>>),
    Label =
        case Name of
            ~"le" -> {Name, number(Value)};
            _ -> {Name, Value}
        end,
    case Rest of
        <<",", More/binary>> -> labels(More, [Label | Labels]);
        <<"} ", Number/binary>> -> {lists:reverse([Label | Labels]), Number}
    end.

value(<<"\"", Rest/binary>>, Value) -> {Value, Rest};
value(<<"\\", Byte, Rest/binary>>, Value) -> value(Rest, <<Value/binary, (unescaped(Byte))>>);
value(<<Byte, Rest/binary>>, Value) when Byte =/= $\n -> value(Rest, <<Value/binary, Byte>>).

unescape(<<"\\", Byte, Rest/binary>>) -> <<(unescaped(Byte)), (unescape(Rest))/binary>>;
unescape(<<Byte, Rest/binary>>) -> <<Byte, (unescape(Rest))/binary>>;
unescape(<<>>) -> <<>>.

unescaped($n) -> $\n;
unescaped($\\) -> $\\;
unescaped($") -> $".

number(~"+Inf") ->
    infinity;
number(Text) ->
    case {binary:match(Text, ~"."), binary:split(Text, ~"e")} of
        {nomatch, [_]} -> binary_to_integer(Text);
        {nomatch, [Digits, Exponent]} -> binary_to_float(<<Digits/binary, ".0e", Exponent/binary>>);
        _ -> binary_to_float(Text)
    end.

%% Everything started, so many roles and components, and what they have after a busy month.
snapshot(Roles, Components) ->
    ByType = maps:from_keys([circuit_breaker, health_check, drain_session, cancel_task], 1234567890),
    #{
        at_ms => 1795426368412,
        services => maps:from_keys([erlmcp_queue_limits, erlmcp_overload_monitor, erlmcp_control_plane], true),
        switches => maps:from_keys([limits, overload, priority], true),
        roles => [role(Role) || Role <- Roles],
        %% A node has a few.
        rates => [
            #{name => Role, keys => 1234567, max_keys => 1234567, taken => 1234567890, refused => 1234567}
         || Role <- lists:sublist(Roles, 10)
        ],
        control => #{
            timeouts => 1234567,
            slo_violations => 1234567,
            handler_crashes => 1234567,
            latency => distribution(27),
            delivery => distribution(27),
            by_component => #{
                Id => #{latency => distribution(27), by_type => ByType, queued => ByType, rates => #{}}
             || Id <- Components
            }
        },
        pressure => #{
            level => 2,
            cause => memory,
            refuses => [critical, sheddable_plus, sheddable],
            since_ms => 1795426368412,
            memory => #{
                level => 2,
                used => 123456789012,
                limit => 137438953472,
                share => 0.898,
                marks => {0.7, 0.85},
                source => {file, "/sys/fs/cgroup/memory.max"}
            },
            run_queue => #{level => 1, length => 123456, schedulers => 64, per_scheduler => 1929.0, marks => {4, 8}}
        },
        cluster => #{counted => #{fresh => 97, stale => 2, gone => 1}, expected => 100},
        cancel => #{
            tokens => 1000000,
            tombstones => 65536,
            tombstones_limit => 65536,
            notices => 12345,
            cancelled => #{asked => 1234567, early => 12345, owner_down => 1234567},
            displaced => 12345,
            notices_dropped => 12
        },
        self => #{
            owners => 1000000,
            memory_bytes => 341000000,
            alerts_lost => 1234567,
            wakeups_dropped => 1234,
            mailboxes_passed_over => 12345
        }
    }.

%% What is not said here is a million.
role(Role) ->
    Million = #{Name => 1000000 || #{name := Name} <- erlmcp_native_role:numbers()},
    maps:merge(Million, #{
        role => Role,
        depth => 1234567,
        max_depth => 10000,
        limit => 10000,
        owners => 123456,
        enqueued => 9234567890,
        dequeued => 9234567890,
        unmatched => 1234567,
        released => 12345678,
        refused => 1234567890,
        refused_by => [
            {Class, Reason, 1234567890} || {Class, Reason} <- [{critical, full}, {sheddable, class}]
        ],
        refused_per_s => 12345.678901234567,
        retry_after_ms => 12345,
        max_utilization => 0.9876,
        owners_by_utilization => [{From, 123456} || From <- [0.0, 0.25, 0.5, 0.8, 0.9, 1.0]],
        owners_by_wait => [{From, 123456} || From <- [0, 10, 100, 1000, 10000]],
        max_wait_ms => 12345,
        max_stalled_ms => 123456,
        wait_target_ms => 12345,
        caps => [{total, 1234567, 2345678}, {bytes, 1234567890, 2345678901}],
        level => overload,
        ms_at_level => #{since_start => maps:from_keys([ok, warning, critical, overload], 2678400123)},
        alerts => maps:from_keys([warning, critical, overload], 12345678)
    }).

distribution(Bounds) ->
    #{
        count => 1234567890,
        sum_us => 1234567890123,
        below => [{1 bsl K, 1234567890 * K div Bounds} || K <- lists:seq(0, Bounds - 1)]
    }.
