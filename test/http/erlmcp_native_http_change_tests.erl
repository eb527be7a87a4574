%% What has changed from one JSON to the next, put together again as the page does it.
-module(erlmcp_native_http_change_tests).

-include_lib("eunit/include/eunit.hrl").

-export([changed/2]).

%% What it is now.
changed(Was, Change) when is_list(Change) -> if is_map(Was) -> hd(Change); true -> Change end;
changed(Was, Change) when is_map(Was), is_map(Change) ->
    maps:merge(Was, #{Key => changed(maps:get(Key, Was, null), Value) || Key := Value <- Change});
changed(Was, Change) when is_list(Was), is_map(Change) ->
    Indexes = #{binary_to_integer(At) => Value || At := Value <- Change},
    [
        case Indexes of #{At := Value} -> changed(Before, Value); #{} -> Before end
     || {At, Before} <- lists:enumerate(0, Was)
    ];
changed(_, Change) ->
    Change.

what_is_said_test_() ->
    [
        ?_assertEqual(Change, erlmcp_native_http_change:between(Was, Is))
     || {Was, Is, Change} <- [
            {~'{"a":1}', ~'{"a":1}', ~"{}"},
            {~'{"a":1,"b":[1,2]}', ~'{"a":2,"b":[1,3]}', ~'{"a":2,"b":{"1":3}}'},
            {~'{"a":[1]}', ~'{"a":[1,2]}', ~'{"a":[1,2]}'},
            {~'{"a":{"b":1}}', ~'{"a":{"c":1}}', ~'{"a":[{"c":1}]}'},
            {~'{"a":null}', ~'{"a":{"c":1}}', ~'{"a":{"c":1}}'},
            {~'{"a":{"c":1}}', ~'{"a":null}', ~'{"a":null}'},
            {~'{"a":[1]}', ~'{"a":null}', ~'{"a":null}'},
            %% An object that an array has become would be taken for its elements.
            {~'{"a":[1]}', ~'{"a":{"0":1}}', none},
            {~'{"a":{"b":1}}', ~'{"a":[1]}', none},
            {~'{"a":1}', ~'{"b":1}', none}
        ]
    ].

put_together_it_is_what_it_is_test_() ->
    Property = prop_erlmcp_native_http_change:prop_all_is_there(),
    {timeout, 60, ?_assert(proper:quickcheck(Property, [{numtests, 500}, {to_file, user}]))}.
