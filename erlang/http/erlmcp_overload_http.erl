-module(erlmcp_overload_http).
-moduledoc """
What a refused client reads over HTTP: status, header fields and body, made of a refusal as it was returned.

```erlang
refuse(Refused, Req) ->
    {Status, Headers, Body} = erlmcp_overload_http:to_http(Refused),
    cowboy_req:reply(Status, maps:from_list(Headers), json:encode(Body), Req).
```

The status is 429 where it was the client's own rate that refused, so that it should slow down, and 503 where the
client is not to blame: the queue is full, a class of requests has to stand back, it would not be served in time, or the
role or the whole node is at its end. Nothing here needs a service, or counts anything.

| field | of | what it says |
| --- | --- | --- |
| `retry-after` | queue, rate | when to come again, in whole seconds: see below |
| `ratelimit-policy` | rate | `"api";q=100;w=60`: the limit's name, how many may come, and in how many seconds, where that is known |
| `ratelimit` | rate | `"api";r=0;t=3`: how many may come now, and for how many seconds there will be no more |
| `content-type` | `to_http/1` | `application/problem+json`: the body is a problem of RFC 9457 |

**When to come again.** `retry-after` is `retry_after_ms` rounded up to seconds, and by chance up to a fifth more, that
rounded up too: at least one second, so that also of those who are told to come after one some come after two. Without
that, whoever was refused in the same moment would come back in the same moment, and be refused again. In the body there
is `retryAfterMs`, without it.

**Rates.** `RateLimit` and `RateLimit-Policy` are as in draft-ietf-httpapi-ratelimit-headers-11 of the IETF, of May
2026: lists of strings with integers, in the syntax of structured fields. `t` does not say when the whole burst is there
again, as a reset would: the draft wants `retry-after` not to be before its end, so in a refusal it is `retry_after_ms`,
rounded up, and ends with it or before.

A limit's name may be any term. In printable ASCII it stands there as it is, in quotes; all else in it, and the percent
sign, is percent-encoded in UTF-8, and of more than 255 characters the rest is left out. So no name ends a header field.
The **key** is in no field and not in the body: it may be a secret, such as an API key, or say who somebody is, and a
digest of a short one is soon guessed. `pk`, which could have it, is optional in the draft; who wants to tell clients of
partitions has to know which of theirs may be told. Nor is the owner's process told.

The body says `type`, `title`, `status` and `detail`, and what `erlmcp_queue_limits:to_json_rpc_error/2` has in `data`;
the `type` is `quota-exceeded` with the `violated-policies`, or `temporary-reduced-capacity`, both of the same draft.
Limit and depth are for clients that one trusts; `maps:without/2` leaves them out. For JSON-RPC take the status and the
fields from here and the body from there, with a `content-type` of one's own.

In MCP's Streamable HTTP, as of its revision 2026-07-28, a client that disconnects has cancelled its request. When
cowboy then kills the process that handles it, the place that this held is free, as is written in the guide on HTTP 429
and 503; work that was handed on to others finds a token of that process cancelled (`m:erlmcp_control_cancel`).
""".

-export([to_http/1, headers/1, retry_after_seconds/1]).

-export_type([refusal/0, stats/0, tagged/0, accepted/0, headers/0, body/0]).

-doc """
A refusal is what was returned, or its second element, or the statistics in that. `cost_exceeds_burst` is one for good:
it has no `retry-after`.
""".
-type refusal() :: stats() | tagged() | {error, tagged()}.
-doc "Statistics say why and when, of a queue or of a rate.".
-type stats() :: erlmcp_queue_limits:refusal() | erlmcp_queue_limits:rate_refusal().
-doc "This is the second element of what was returned.".
-type tagged() ::
    {capacity_exceeded, erlmcp_queue_limits:refusal()}
    | {rate_limited, erlmcp_queue_limits:rate_refusal()}
    | {cost_exceeds_burst, #{name := term(), burst := pos_integer(), atom() => term()}}.
-doc """
This is what a rate let in: the limit's name and how many may still come; the rate itself, or only its number, for the
policy; and in how many milliseconds the whole burst will be there again.
""".
-type accepted() :: #{
    name := term(),
    remaining := non_neg_integer(),
    rate => {pos_integer(), second | minute | hour},
    limit => pos_integer(),
    reset_ms => non_neg_integer(),
    atom() => term()
}.
-doc "Header fields are pairs, in lower case, whose values are without line breaks.".
-type headers() :: [{Name :: binary(), Value :: iodata()}].
-doc "A body has texts, numbers, lists and `null`, and is ready to be encoded by `json:encode/1`.".
-type body() :: #{binary() => null | integer() | binary() | [binary()]}.

-import(erlmcp_native_error, [raise/2]).

-define(PROBLEMS, "https://iana.org/assignments/http-problem-types#").
%% Of a structured field's integer.
-define(MOST, 999_999_999_999_999).

-doc """
Makes status, header fields and body of a refusal.

```erlang
1> Refused = {error, {rate_limited, #{
       name => api, key => ~"secret", limit => 100, remaining => 0, retry_after_ms => 2100, reset_ms => 60000
   }}}.
2> {429, Headers, Body} = erlmcp_overload_http:to_http(Refused), maps:get(~"detail", Body).
~"Too many requests: they come faster than they may"
3> {_, RetryAfter} = lists:keyfind(~"retry-after", 1, Headers), lists:member(RetryAfter, [~"3", ~"4"]).
true
4> {_, RateLimit} = lists:keyfind(~"ratelimit", 1, Headers), iolist_to_binary(RateLimit).
~"\"api\";r=0;t=3"
```

Raises `badarg` for what is no refusal.
""".
-spec to_http(refusal()) -> {429 | 503, headers(), body()}.
to_http(Refusal) ->
    case erlmcp_native_refusal:read(Refusal) of
        error ->
            raise(bad_refusal, {?MODULE, ?FUNCTION_NAME, [Refusal]});
        Read ->
            Status = status(Read),
            {Status, [{~"content-type", ~"application/problem+json"} | refused(Read)], problem(Status, Read)}
    end.

status({queue, _}) -> 503;
status({_, _}) -> 429.

problem(Status, Refusal) ->
    Common = #{~"status" => Status, ~"detail" => erlmcp_native_refusal:words(Refusal)},
    maps:merge(maps:merge(Common, type(Refusal)), erlmcp_native_refusal:data(Refusal)).

type({queue, _}) ->
    #{
        ~"type" => <<?PROBLEMS, "temporary-reduced-capacity">>,
        ~"title" => ~"Request cannot be satisfied due to temporary server capacity constraints"
    };
type({_, #{name := Name}}) ->
    #{
        ~"type" => <<?PROBLEMS, "quota-exceeded">>,
        ~"title" => ~"Request cannot be satisfied as assigned quota has been exceeded",
        ~"violated-policies" => [erlmcp_native_refusal:name(Name)]
    }.

-doc """
Makes the header fields of a refusal, or those of a rate that let somebody in, so that clients can slow down before they
are refused.

```erlang
1> Fields = erlmcp_overload_http:headers(#{name => api, rate => {100, minute}, remaining => 99, reset_ms => 600}).
2> [{Name, iolist_to_binary(Value)} || {Name, Value} <- Fields].
[{~"ratelimit-policy",~"\"api\";q=100;w=60"},
 {~"ratelimit",~"\"api\";r=99;t=1"}]
```

What was let in is a map such as this; a list of these, where several rates were asked; `{ok, Remaining}`, under the
name `default`, since it has none; or `ok`, of which there is nothing to say. Without `rate` and `limit` there is no
policy, without `reset_ms` no `t`.

Raises `badarg` for anything else.
""".
-spec headers(refusal() | accepted() | [accepted()] | {ok, Remaining :: non_neg_integer()} | ok) -> headers().
headers(ok) ->
    [];
headers({ok, Remaining}) when is_integer(Remaining), Remaining >= 0 ->
    rates([#{name => default, remaining => Remaining}]);
headers(List) when is_list(List) ->
    %% Not all/2, which would take an improper list up to its end.
    case length_of(List) > 0 andalso lists:all(fun is_accepted/1, List) of
        true -> rates(List);
        false when List =:= [] -> [];
        false -> raise(bad_result, {?MODULE, ?FUNCTION_NAME, [List]})
    end;
headers(Result) ->
    case erlmcp_native_refusal:read(Result) of
        error ->
            case is_accepted(Result) of
                true -> rates([Result]);
                false -> raise(bad_result, {?MODULE, ?FUNCTION_NAME, [Result]})
            end;
        Refusal ->
            refused(Refusal)
    end.

length_of(List) when length(List) >= 0 -> length(List);
length_of(_) -> 0.

is_accepted(#{retry_after_ms := _}) ->
    false;
is_accepted(#{name := _, remaining := Remaining} = Accepted) when is_integer(Remaining), Remaining >= 0 ->
    lists:all(fun is_sound/1, maps:to_list(maps:with([rate, limit, reset_ms], Accepted)));
is_accepted(_) ->
    false.

is_sound({rate, {Number, Unit}}) ->
    is_integer(Number) andalso Number > 0 andalso (Unit =:= second orelse Unit =:= minute orelse Unit =:= hour);
is_sound({limit, Limit}) -> is_integer(Limit) andalso Limit > 0;
is_sound({reset_ms, Ms}) -> is_integer(Ms) andalso Ms >= 0;
is_sound({_, _}) -> false.

-doc """
Returns after how many whole seconds to come again, as in `retry-after`: see
`erlmcp_queue_limits:retry_after_seconds/1`. It takes a refusal in any form but `cost_exceeds_burst`, which has no such
time; for that, and for what is no refusal, it raises `badarg`.
""".
-spec retry_after_seconds(refusal()) -> pos_integer().
retry_after_seconds(Refusal) ->
    case erlmcp_native_refusal:read(Refusal) of
        {_, #{retry_after_ms := RetryAfterMs}} -> erlmcp_native_refusal:seconds(RetryAfterMs);
        _ -> raise(bad_refusal, {?MODULE, ?FUNCTION_NAME, [Refusal]})
    end.

refused({queue, #{retry_after_ms := RetryAfterMs}}) ->
    [retry_after(RetryAfterMs)];
refused({rate, #{retry_after_ms := RetryAfterMs} = Stats}) ->
    %% What else is there may be anything.
    Known = maps:filter(fun(Key, Value) -> Key =/= rate orelse is_sound({Key, Value}) end, Stats),
    [retry_after(RetryAfterMs) | rates([Known#{reset_ms => RetryAfterMs}])];
refused({cost, _}) ->
    [].

retry_after(RetryAfterMs) ->
    {~"retry-after", integer_to_binary(erlmcp_native_refusal:seconds(RetryAfterMs))}.

rates(Rates) ->
    [
        {Field, lists:join(~", ", Items)}
     || {Field, Item} <- [{~"ratelimit-policy", fun policy/1}, {~"ratelimit", fun service_limit/1}],
        Items <- [lists:flatmap(Item, Rates)],
        Items =/= []
    ].

policy(#{name := Name, rate := {Number, Unit}}) -> [[quoted(Name), number(~"q", Number), number(~"w", window(Unit))]];
policy(#{name := Name, limit := Limit}) -> [[quoted(Name), number(~"q", Limit)]];
policy(#{}) -> [].

window(second) -> 1;
window(minute) -> 60;
window(hour) -> 3600.

service_limit(#{name := Name, remaining := Remaining} = Rate) ->
    [[quoted(Name), number(~"r", Remaining) | [number(~"t", (Ms + 999) div 1000) || Ms <- reset_ms(Rate)]]].

reset_ms(#{reset_ms := Ms}) -> [Ms];
reset_ms(#{}) -> [].

number(Name, Number) ->
    [$;, Name, $=, integer_to_binary(min(Number, ?MOST))].

quoted(Name) ->
    Escaped = << <<(escaped(Byte))/binary>> || <<Byte>> <= erlmcp_native_refusal:name(Name) >>,
    [$", Escaped, $"].

escaped($") -> ~B'\"';
escaped($\\) -> ~B'\\';
escaped(Byte) -> <<Byte>>.
