-module(erlmcp_native_demo_tenants).
-moduledoc """
Each client is a tenant, and may ask so often. One that is noisy asks for far more than it may, and more than the
executors could do: what it was granted, and what the others noticed of it.
""".

-export([rates/0, info/0, limit/0, tenant/1, kind/1, take/1]).
-export([lines/1, allowed/1, granted/1, others/1, untold/1]).

-export_type([tenant/0]).

-import(erlmcp_native_demo_text, [short/1, ms/1, left/2, right/2]).

-define(RATE, tenant).
-define(PER_S, 15_000).
-define(BURST, 1_500).

-doc "A tenant is a client by its number, or the noisy one.".
-opaque tenant() :: binary().

-doc "Returns the rates that are configured. No phase has a client ask for more, also when it makes good a delay.".
-spec rates() -> #{erlmcp_overload_rate:name() => erlmcp_overload_rate:options()}.
rates() ->
    #{?RATE => #{rate => {?PER_S, second}, burst => ?BURST}}.

-doc "Returns what the library says of the rate.".
-spec info() -> erlmcp_overload_rate:info().
info() ->
    erlmcp_overload_rate:info(?RATE).

-doc "Says in a few words what a tenant may ask.".
-spec limit() -> string().
limit() ->
    short(?PER_S) ++ "/s".

-doc "Returns the name of a tenant.".
-spec tenant(Number :: pos_integer() | noisy_one) -> tenant().
tenant(noisy_one) -> ~"noisy_one";
tenant(Number) -> <<"tenant_", (integer_to_binary(Number))/binary>>.

-doc "Tells which of the orders are for a tenant.".
-spec kind(tenant()) -> client | noisy_one.
kind(~"noisy_one") -> noisy_one;
kind(_) -> client.

-doc "Asks whether a tenant may make one more request.".
-spec take(tenant()) -> ok | limited.
take(Tenant) ->
    case erlmcp_overload_rate:take(?RATE, Tenant) of
        {ok, _Remaining} -> ok;
        {error, {rate_limited, _}} -> limited
    end.

-doc "Returns how many may be granted to the noisy one at most, in the time that it has asked.".
-spec allowed(erlmcp_native_demo_sample:sample()) -> non_neg_integer().
allowed(#{asking_ns := Ns}) ->
    ?BURST + ?PER_S * Ns div 1_000_000_000.

-doc "Returns how many requests were granted to the noisy one, and how many were not.".
-spec granted(erlmcp_native_demo_sample:sample()) -> {Granted :: non_neg_integer(), Limited :: non_neg_integer()}.
granted(#{tally := Tally}) ->
    {sum(offered, noisy_one, Tally), sum(limited, noisy_one, Tally)}.

-doc "Returns how many the others offered beside the noisy one, and how many of these were served.".
-spec others(erlmcp_native_demo_sample:sample()) -> {Offered :: non_neg_integer(), Served :: non_neg_integer()}.
others(#{tally := Tally}) ->
    {sum(offered, noisy, Tally), sum(answered, noisy, Tally)}.

-doc "Returns by how many the library's counts of what was taken and refused differ from the tenants' own.".
-spec untold(erlmcp_native_demo_sample:sample()) -> non_neg_integer().
untold(#{tally := Tally, rate := #{taken := Taken, refused := Refused}}) ->
    [Offered, Limited] = [erlmcp_native_demo_tally:total(What, Tally) || What <- [offered, limited]],
    abs(Taken - Offered) + abs(Refused - Limited).

sum(What, Side, Tally) ->
    erlmcp_native_demo_tally:total(What, maps:with([Side], Tally)).

-doc "Makes the table: eight tenants alone, beside a noisy one, and that.".
-spec lines(erlmcp_native_demo_sample:sample()) -> [erlmcp_native_demo_text:line()].
lines(#{tally := Tally, waits := Waits, asking_ns := Ns} = Sample) ->
    Row = fun(Name, Value) -> row(Name, lists:map(Value, [tenants, noisy, noisy_one])) end,
    {Granted, _} = granted(Sample),
    Sum = fun(What) -> fun(Side) -> short(sum(What, Side, Tally)) end end,
    [
        [{bold, row("tenants", ["8 of them alone", "beside a noisy one", "the noisy one"])}],
        Row("asked for", fun(Side) -> short(sum(offered, Side, Tally) + sum(limited, Side, Tally)) end),
        Row("refused by their rate", Sum(limited)),
        Row("served", fun(Side) -> [short(sum(answered, Side, Tally)), " of ", short(sum(offered, Side, Tally))] end),
        Row("waited, p99", fun(Side) -> waited(maps:get({ordinary, Side}, Waits)) end),
        [io_lib:format("It was granted ~s of ~s at most: ~s, and ~s/s for ~s.", [
            short(Granted), short(allowed(Sample)), short(?BURST), short(?PER_S), ms(Ns div 1000)
        ])]
    ].

row(Name, Values) ->
    [left(Name, 22) | [right(Value, 19) || Value <- Values]].

waited(#{count := 0}) -> "-";
waited(#{p99_us := Us}) -> ms(Us).
