-module(erlmcp_native_http_query_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_query, [check/2, known/2, printable/1]).

good_ones_test() ->
    [
        ?assertEqual({ok, Values}, check(Query, [role, top]))
     || {Query, Values} <- [
            {~"", #{}},
            {~"&&", #{}},
            {~"role=a", #{role => ~"a"}},
            {~"role=", #{role => ~""}},
            {~"role=a=b", #{role => ~"a=b"}},
            {~"top=1", #{top => 1}},
            {~"top=1000", #{top => 1000}},
            {~"&top=10&&role=a+b&", #{top => 10, role => ~"a b"}},
            {~"%72ole=%C3%A4", #{role => ~"ä"}},
            {<<"role=", (binary:copy(~"a", 1020))/binary>>, #{role => binary:copy(~"a", 1020)}}
        ]
    ].

bad_ones_test() ->
    [
        ?assertEqual({error, {Parameter, Reason}}, check(Query, [role, top]))
     || {Query, Parameter, Reason} <- [
            {~"role", ~"role", ~"it has no value"},
            {~"top&role=a", ~"top", ~"it has no value"},
            {~"role=a&role=a", ~"role", ~"it is given more than once"},
            {~"top=1&role=a&top=2", ~"top", ~"it is given more than once"},
            {~"Role=a", ~"Role", ~"it is none of role, top"},
            {~"=a", ~"", ~"it is none of role, top"},
            {<<(binary:copy(~"x", 100))/binary, "=1">>, binary:copy(~"x", 64), ~"it is none of role, top"},
            {~"role=%", ~"role", ~"it is not percent-encoded UTF-8"},
            {~"role=%4", ~"role", ~"it is not percent-encoded UTF-8"},
            {~"role=%4g", ~"role", ~"it is not percent-encoded UTF-8"},
            {~"role=%ff", ~"role", ~"it is not percent-encoded UTF-8"},
            {~"role=%ed%a0%80", ~"role", ~"it is not percent-encoded UTF-8"},
            {<<"role=", 255>>, ~"role", ~"it is not percent-encoded UTF-8"},
            {~"%zz=1", ~"%zz", ~"it is not percent-encoded UTF-8"},
            {<<"a", 255, "=1">>, ~"a", ~"it is not percent-encoded UTF-8"},
            {<<"role=", (binary:copy(~"a", 1021))/binary>>, ~"role", ~"it is longer than any role"},
            {<<"role=", (binary:copy(~"a", 5000))/binary>>, none, ~"the query string is longer than 4096 bytes"}
        ]
    ],
    ?assertEqual({error, {~"top", ~"there are no parameters here"}}, check(~"top=1", [])),
    [
        ?assertEqual({error, {~"top", ~"it is not an integer from 1 to 1000"}}, check(<<"top=", Top/binary>>, [top]))
     || Top <- [
            ~"", ~"0", ~"1001", ~"-1", ~"%2b1", ~"+1", ~"1.0", ~"1e2", ~"0x10", ~"ten", ~"1%00", ~"%D9%A1",
            binary:copy(~"9", 4000)
        ]
    ].

known_test() ->
    Atoms = ['', null, 'ä', session],
    [?assertEqual({ok, Atom}, known(atom_to_binary(Atom), Atoms)) || Atom <- Atoms],
    [?assertEqual(error, known(Name, Atoms)) || Name <- [~"no", ~"Session", <<255>>]].

printable_test() ->
    ?assertEqual(~"a", printable(<<"a", 255, "b">>)),
    ?assertEqual(~"", printable(<<255>>)),
    ?assertEqual(binary:copy(~"ä", 64), printable(binary:copy(~"ä", 1000))),
    ?assertEqual(binary:copy(~"\x{1F600}", 64), printable(binary:copy(~"\x{1F600}", 1000))).

properties_test_() ->
    {timeout, 120, [
        ?_assert(proper:quickcheck(Property, [{numtests, 3000}, quiet, {to_file, user}]))
     || Property <- [
            prop_erlmcp_native_http_query:prop_anything_is_answered(),
            prop_erlmcp_native_http_query:prop_what_was_written_is_read()
        ]
    ]}.
