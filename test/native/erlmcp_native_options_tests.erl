%% The checker of options: what each type takes, what it says of what it does not, and what is made of a table.
-module(erlmcp_native_options_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_options, [
    integer/2, milliseconds/2, number/2, boolean/0, atom/0, text/0, one_of/1, optional/2,
    map_of/2, list_of/1, at_most/3, options/1, secret/1, named/2, checked/2, check/2, given/2
]).

type_test_() ->
    [
        {What, [[?_assertEqual({ok, Value}, check(Type, Value)) || Value <- Good], [
            ?_assertEqual({error, {[], Value, What}}, check(Type, Value))
         || Value <- Bad
        ]]}
     || {What, Type, Good, Bad} <- [
            {"an integer from 1 to 3", integer(1, 3), [1, 2, 3], [0, 4, 2.0, a, 1 bsl 70]},
            {"an integer from 0 to 2^59 - 1", integer(0, 1 bsl 59 - 1), [0, 1 bsl 59 - 1], [1 bsl 59]},
            {"an integer from 0 to 4294967296", integer(0, 1 bsl 32), [1 bsl 32], [1 bsl 32 + 1]},
            {"milliseconds, an integer from 1 to 9", milliseconds(1, 9), [1, 9], [0, 10, infinity]},
            {"a number from 0 to 0.8", number(0, 0.8), [0, 0.0, 0.8], [0.81, -0.1, "0"]},
            {"true or false", boolean(), [true, false], [1, undefined, []]},
            {"an atom", atom(), [a, 'Elixir.A'], ["a", ~"a", 1]},
            {"a", one_of([a]), [a], [b, "a"]},
            {"a, b or c", one_of([a, b, c]), [a, c], [d]},
            {"off, or an integer from 1 to 3", optional(off, integer(1, 3)), [off, 2], []},
            {"a list of an atom", list_of(atom()), [[], [a, b]], [a, [a | b], #{}]},
            {"even", checked("even", fun(N) -> is_integer(N) andalso N rem 2 =:= 0 end), [2], [1, a]}
        ]
    ].

text_test() ->
    Texts = [{"ü", ~"ü"}, {~"ü", ~"ü"}, {"", ~""}, {["a", ~"b"], ~"ab"}],
    [?assertEqual({ok, Bytes}, check(text(), Given)) || {Given, Bytes} <- Texts],
    [
        ?assertMatch({error, {[], Given, "a string or a binary"}}, check(text(), Given))
     || Given <- [a, 1, [a], <<255>>, [$a | b]]
    ].

maps_and_keyword_lists_test() ->
    Type = map_of(named("an atom for the role", atom()), integer(0, 9)),
    ?assertEqual({ok, #{a => 1, b => 2}}, check(Type, #{a => 1, b => 2})),
    ?assertEqual({ok, #{a => 1, b => 2}}, check(Type, [{a, 1}, {b, 2}, {a, 3}])),
    ?assertEqual({ok, #{}}, check(Type, [])),
    ?assertEqual({error, {[b], 10, "an integer from 0 to 9"}}, check(Type, #{a => 1, b => 10})),
    ?assertEqual({error, {["a"], 1, "an atom for the role"}}, check(Type, #{"a" => 1})),
    [
        ?assertMatch({error, {[], Given, "a map of " ++ _}}, check(Type, Given))
     || Given <- [a, [a], [{a, 1} | b], {a, 1}, [{a, 1, 2}]]
    ],
    ?assertEqual({error, {[], [b, c], "one"}}, check(at_most(1, "one", list_of(atom())), [b, c])).

table() ->
    [
        #{name => port, type => integer(0, 65535), default => required, doc => ~"Where."},
        #{name => secure, type => boolean(), default => true, doc => ~"Whether."},
        #{name => note, type => text(), default => none, doc => ~"What."}
    ].

options_test() ->
    Type = options(table()),
    ?assertEqual({ok, #{port => 1, secure => true}}, check(Type, #{port => 1})),
    ?assertEqual(
        {ok, #{port => 1, secure => false, note => ~"n"}}, check(Type, [{secure, false}, {note, "n"}, {port, 1}])
    ),
    ?assertEqual({ok, #{port => 1, secure => true}}, check(Type, [{port, 1}, secure])),
    ?assertEqual({ok, #{}}, given(table(), [])),
    ?assertEqual({error, {[port], undefined, "an integer from 0 to 65535"}}, check(Type, [])),
    ?assertEqual({error, {[secure], 1, "true or false"}}, check(Type, #{secure => 1})),
    ?assertEqual({error, {[prot], 1, "one of port, secure, note; did you mean port?"}}, check(Type, #{prot => 1})),
    ?assertEqual({error, {["prot"], 1, "one of port, secure, note; did you mean port?"}}, check(Type, #{"prot" => 1})),
    ?assertEqual({error, {[{x}], 1, "one of port, secure, note"}}, check(Type, #{{x} => 1})),
    [
        ?assertEqual({error, {[], Given, "a map of options"}}, check(Type, Given))
     || Given <- [1, [1], {port, 1}, [port | x]]
    ].

%% A secret is not shown, wherever it goes wrong, nor is what may have been meant to be one.
secrets_test() ->
    Secret = #{name => key, type => secret(list_of(text())), default => [], doc => ~"Hush."},
    Type = options([Secret | table()]),
    Shown = [
        Problem
     || Given <- [
            #{key => hush}, #{key => [hush]}, #{key => [~"hush" | hush]}, #{kee => hush}, hush, [hush | hush],
            #{hush => 1}
        ],
        {error, Problem} <- [check(Type, Given)],
        {_, Value, _} <- [Problem],
        Value =/= hidden
    ],
    ?assertEqual([], Shown).

explained_test() ->
    ?assertEqual(
        "timeout: 5 is not one of timeout_ms",
        erlmcp_native_options:explain({[timeout], 5, "one of timeout_ms"})
    ),
    ?assertEqual("x is not a map of options", erlmcp_native_options:explain({[], x, "a map of options"})),
    ?assertEqual("a.b: x is not an atom", erlmcp_native_options:explain({[a, b], x, "an atom"})).

%% Whatever comes, the answer is one of two.
any_term_test_() ->
    {timeout, 60, ?_assert(proper:quickcheck(prop_erlmcp_native_options:prop_any_term(), [quiet, {numtests, 1000}]))}.

%% The documentation of each table is made of it: `make tables` writes it.
documented_test_() ->
    Root = filename:join(erlmcp_native_test_lib:root(), "erlang"),
    Sources = filelib:wildcard("**/*.erl", Root),
    Modules = [{list_to_atom(filename:basename(Source, ".erl")), filename:join(Root, Source)} || Source <- Sources],
    Tables = [{Module, File} || {Module, File} <- Modules, {table, 0} <- Module:module_info(exports)],
    [
        ?_assertMatch([_, _, _, _, _ | _], Tables)
        | [
            {atom_to_list(Module), fun() ->
                {ok, Text} = file:read_file(File),
                ?assertNotEqual(nomatch, binary:match(Text, erlmcp_native_options:markdown(Module:table())))
            end}
         || {Module, File} <- Tables
        ]
    ].

%% In the pages too, below a line that names the module.
documented_in_pages_test_() ->
    Root = erlmcp_native_test_lib:root(),
    Marks = [
        {Page, binary_to_existing_atom(Module), Table}
     || Page <- filelib:wildcard("docs/**/*.md", Root),
        {ok, Text} <- [file:read_file(filename:join(Root, Page))],
        Part <- tl(binary:split(Text, ~"<!-- options: ", [global])),
        [Module, Table] <- [binary:split(Part, ~" -->\n")]
    ],
    [
        ?_assertMatch([_, _ | _], Marks)
        | [
            {Page ++ ": " ++ atom_to_list(Module), fun() ->
                Expected = erlmcp_native_options:markdown(Module:table()),
                ?assertEqual(Expected, binary:part(Table, 0, min(byte_size(Table), byte_size(Expected))))
            end}
         || {Page, Module, Table} <- Marks
        ]
    ].
