%% Whatever a limit is called, and whoever's rate it is: fields that a parser of structured fields reads, which tell the
%% name and never the key; and when to come again.
-module(prop_erlmcp_overload_http).

-include_lib("proper/include/proper.hrl").

-export([prop_any_name/0, prop_any_refusal/0, prop_seconds/0]).

prop_any_name() ->
    ?FORALL({Name, Number}, {a_name(), oneof([non_neg_integer(), largeint_from_0()])}, begin
        Fields = erlmcp_overload_http:headers(#{name => Name, remaining => Number, limit => Number + 1}),
        [{~"ratelimit-policy", Policy}, {~"ratelimit", Limit}] = [{Field, text(Value)} || {Field, Value} <- Fields],
        [{item, {string, Read}, [{~"q", Quota}]}] = cow_http_struct_hd:parse_list(Policy),
        [{item, {string, Read}, [{~"r", Remaining}]}] = cow_http_struct_hd:parse_list(Limit),
        Quota =:= min(Number + 1, 999_999_999_999_999) andalso Remaining =:= min(Number, 999_999_999_999_999) andalso
            byte_size(Read) =< 255 * 4 * 3 andalso is_that(Name, uri_string:percent_decode(Read)) andalso
            lists:all(fun is_printable/1, [Policy, Limit])
    end).

prop_any_refusal() ->
    ?FORALL({Name, Key, Ms, Reset}, {a_name(), a_key(), non_neg_integer(), non_neg_integer()}, begin
        Stats = #{
            name => Name, key => Key, limit => 1, remaining => 0, retry_after_ms => Ms, reset_ms => Reset
        },
        {429, Headers, Body} = erlmcp_overload_http:to_http({error, {rate_limited, Stats}}),
        Json = iolist_to_binary(json:encode(Body)),
        Rpc = erlmcp_queue_limits:to_json_rpc_error(1, Stats),
        Body =:= json:decode(Json) andalso Rpc =:= json:decode(iolist_to_binary(json:encode(Rpc))) andalso
            lists:all(fun({Field, Value}) -> is_printable(text([Field, Value])) end, Headers) andalso
            not tells(Key, [Json, json:encode(Rpc), [[Field, Value] || {Field, Value} <- Headers]])
    end).

%% Not before, at most a fifth later, both in whole seconds.
prop_seconds() ->
    ?FORALL(Ms, oneof([non_neg_integer(), range(0, 100_000), largeint_from_0()]), begin
        Least = min(max(1, (Ms + 999) div 1000), 1_750_000_000),
        Stats = #{name => a, limit => 1, remaining => 0, retry_after_ms => Ms},
        Seconds = erlmcp_queue_limits:retry_after_seconds(Stats),
        Seconds >= Least andalso Seconds =< (Least * 6 + 4) div 5 andalso Seconds < 1 bsl 31
    end).

text(Value) -> iolist_to_binary(Value).

is_printable(Text) ->
    lists:all(fun(Byte) -> Byte >= 16#20 andalso Byte < 16#7f end, binary_to_list(Text)).

is_that(Name, Read) when is_atom(Name) -> atom_to_binary(Name) =:= Read;
is_that(Name, Read) when is_binary(Name), byte_size(Name) < 255 -> erlmcp_native_json:plain(Name) =:= Read;
is_that(_, _) -> true.

%% A key is made with this in it, and no name.
tells(_, Told) ->
    binary:match(iolist_to_binary(Told), [~"c2VjcmV0", ~"secret", ~"736563726574"]) =/= nomatch.

a_name() ->
    oneof([
        oneof([api, '', 'a b', 'zähler', 'a"b\\c', 'a\r\nset-cookie: x=1', 'a%0d%0a', undefined, '\x{10ffff}']),
        binary(), ?LET(Part, binary(), <<Part/binary, "\r\nx: y\r\n\r\n">>), ?LET(Text, list(range(0, 16#d7ff)),
            unicode:characters_to_binary(Text)),
        prop_erlmcp_native_json:a_term()
    ]).

a_key() ->
    ?LET(Term, oneof([integer(), binary()]), oneof([
        ~"secret", <<"\r\nsecret: ", (term_to_binary(Term))/binary>>, {Term, ~"secret"}, #{secret => Term}, "secret"
    ])).

largeint_from_0() ->
    ?LET(Number, largeint(), abs(Number) bsl 64).
