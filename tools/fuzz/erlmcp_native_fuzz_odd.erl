-module(erlmcp_native_fuzz_odd).
-moduledoc """
Terms that nobody expects: improper and deep ones, numbers around every bound of the runtime, bit strings, pids and
references of other nodes and other lives, resources of others, atoms as long as they may be, huge binaries.

They are made once, so that passing them around copies nothing. Making them makes all atoms that will be needed.
""".

-export([make/0, forget/0, pick/0, small/0, name/0, names/0, idle/1]).

-define(LARGE, {?MODULE, large}).
-define(SMALL, {?MODULE, small}).
-define(NAMES, {?MODULE, names}).

-doc "Makes the terms. To be called once in a node, by a process that stays.".
-spec make() -> ok.
make() ->
    persistent_term:put(?NAMES, list_to_tuple(some_names())),
    persistent_term:put(?SMALL, list_to_tuple(small_terms())),
    persistent_term:put(?LARGE, list_to_tuple(large_terms())),
    ok.

-doc "Lets go of the terms, and ends the processes among them.".
-spec forget() -> ok.
forget() ->
    lists:foreach(fun(N) -> exit(idle(N), kill) end, lists:seq(1, 4)),
    lists:foreach(fun persistent_term:erase/1, [?NAMES, ?SMALL, ?LARGE, {?MODULE, idle}]).

-doc "Returns one of the terms, with a name for it.".
-spec pick() -> {Name :: term(), Term :: term()}.
pick() ->
    case rand:uniform(6) of
        1 -> one_of(?LARGE);
        _ -> small()
    end.

-doc "Returns one of the terms that are quick to copy.".
-spec small() -> {Name :: term(), Term :: term()}.
small() ->
    one_of(?SMALL).

-doc "Returns one of the names for roles, owners and components.".
-spec name() -> atom().
name() ->
    one_of(?NAMES).

-doc "Returns all of these names.".
-spec names() -> [atom()].
names() ->
    tuple_to_list(persistent_term:get(?NAMES)).

-doc "Returns the Nth process that does nothing, of four.".
-spec idle(1..4) -> pid().
idle(N) ->
    element(N, persistent_term:get({?MODULE, idle})).

one_of(Key) ->
    Terms = persistent_term:get(Key),
    element(rand:uniform(tuple_size(Terms)), Terms).

%% Those that the services know from the start, and one for each odd thing that an atom may be. Few, so that calls meet.
some_names() ->
    [session, sse_stream, task_worker, tool_executor, transport, default, own, a, b, c, node()] ++ odd_atoms().

odd_atoms() ->
    ['', undefined, true, infinity, 'with \"quotes\" and \\', 'two\nlines'] ++
        [list_to_atom(Text) || Text <- [[0], [16#10ffff], lists:duplicate(255, $x), lists:duplicate(255, 16#1f600)]].

%% {Name, Term}
small_terms() ->
    Atoms = [{Atom, Atom} || Atom <- odd_atoms()],
    Atoms ++ numbers() ++ lists() ++ tuples() ++ maps() ++ bits() ++ funs() ++ pids() ++ references().

numbers() ->
    Around = [0, 10_000, 800_000 | [1 bsl Bits || Bits <- [7, 16, 27, 31, 32, 59, 60, 63, 64]]],
    Integers = [Sign * (Number + Off) || Sign <- [1, -1], Number <- Around, Off <- [-1, 0, 1]],
    [{Number, Number} || Number <- Integers ++ [1 bsl 200, -(1 bsl 200), 0.0, -0.0, 1.5, -1.0e308, 5.0e-324]].

lists() ->
    Terms = [
        [], [a | b], [{session, 1} | tail], [{session, 1} | {session, 1}], [{session, 1}, {session, 1}], [[[[] | x]]],
        [{session, 1 bsl 59}], [{{}, 1}], [{session}], [{session, 1, 1}], "text", [16#110000], [0 | <<>>],
        [{handler, x}, {handler, y}], [handler], [{timeout_ms, -1} | x], [{top, 3} | #{}]
    ],
    [{Term, Term} || Term <- Terms].

tuples() ->
    Terms = [
        {}, {{}}, {a}, {session, 1}, {error, x}, {ok, 1, 2}, {control, cancel_task, #{}}, {control, no_such_type, #{}},
        {control, cancel_task, not_a_map}, {control, health_check}, {name, a}, {name, self}, {via, a, b}, {0, 1, 0},
        {800000, 1, 10000}, {1, 1 bsl 63, 1}, {-1, 0, 0}, {erlmcp_no_such_module, x}, {lists, {}}
    ],
    [{Term, Term} || Term <- Terms].

maps() ->
    Terms = [
        #{}, #{a => b}, #{{} => []}, #{1.0 => 1, 1 => 1.0}, #{top => -1}, #{top => 1 bsl 70}, #{top => 1, x => 2},
        #{handler => x}, #{alias => make_ref()}, #{handler => fun(_) -> ok end, alias => make_ref()},
        #{owner => self, handler => fun(_) -> ok end}, #{"handler" => 1}, #{role => x, limit => 1, depth => 1},
        #{roles => x}, #{by_component => #{}}, #{type => x}
    ],
    [{Term, Term} || Term <- Terms].

bits() ->
    <<_:3, Unaligned:80/bitstring, _/bitstring>> = <<0:128>>,
    Terms = [<<>>, <<1:1>>, <<255>>, <<"text">>, <<0:63>>, Unaligned, <<237, 160, 128>>],
    [{Term, Term} || Term <- Terms].

funs() ->
    [
        {'fun of 0', fun() -> ok end},
        {'fun of 1', fun(_) -> ok end},
        {'fun of 2', fun(_, _) -> ok end},
        {'fun of 9', fun(_, _, _, _, _, _, _, _, _) -> ok end},
        {'fun of a module that is not there', fun erlmcp_no_such_module:f/1},
        {'fun of a function that is not there', fun lists:no_such_function/0}
    ].

pids() ->
    Idle = list_to_tuple([spawn(fun() -> receive after infinity -> ok end end) || _ <- lists:seq(1, 4)]),
    persistent_term:put({?MODULE, idle}, Idle),
    Own = atom_to_list(node()),
    [
        {'an idle process', element(1, Idle)},
        {init, whereis(init)},
        {'a dead process', spawn(fun() -> ok end)},
        {'a process of another node', external(88, "other@nohost", 1, <<99:32, 0:32>>)},
        {'a process of this node in another life', external(88, Own, 16#7fffffff, <<99:32, 0:32>>)},
        {'a process with the highest number', external(88, Own, 0, <<16#0fffffff:32, 0:32>>)},
        {'a port', hd(erlang:ports())},
        {'a port of another node', external(89, "other@nohost", 1, <<5:32>>)}
    ].

%% A node that is not distributed has creation 0.
external(Tag, Node, Creation, Words) ->
    Name = list_to_binary(Node),
    binary_to_term(<<131, Tag, 119, (byte_size(Name)), Name/binary, Words/binary, Creation:32>>).

references() ->
    Own = atom_to_list(node()),
    [
        {'a reference', make_ref()},
        {'a monitor', monitor(process, init)},
        {'an alias', alias()},
        {'a priority alias', alias([priority])},
        {'a timer', erlang:start_timer(16#ffffffff, whereis(init), x)},
        {'counters', counters:new(1, [])},
        {'a hash', crypto:hash_init(sha256)},
        {'a compiled expression', element(2, re:compile("x"))}
    ] ++ [
        {{reference, Name, Words, Creation}, reference(Node, Creation, Words)}
     || {Name, Node} <- [{own, Own}, {other, "other@nohost"}, {long, lists:duplicate(200, $n) ++ "@nohost"}],
        Creation <- [0, 1, 16#ffffffff],
        Words <- [1, 2, 3, 4, 5],
        is_reference(reference(Node, Creation, Words))
    ].

%% What the runtime does not take is none. The last two words are those of a process that may be there.
reference(Node, Creation, Words) ->
    Name = list_to_binary(Node),
    Id = binary:part(<<1:32, 2:32, 3:32, (10 bsl 7 bor 3):32, 0:32>>, 0, 4 * Words),
    Bytes = <<131, 90, Words:16, 119, (byte_size(Name)), Name/binary, Creation:32, Id/binary>>,
    try
        binary_to_term(Bytes)
    catch
        error:badarg -> none
    end.

large_terms() ->
    Numbers = lists:seq(1, 100_000),
    [
        {'a binary of 64 MB', binary:copy(<<"x">>, 64 bsl 20)},
        {'a list of 100,000', Numbers},
        {'a string of 100,000', lists:duplicate(100_000, $x)},
        {'an improper list of 100,000', lists:foldl(fun(N, Tail) -> [{session, N} | Tail] end, tail, Numbers)},
        {'a list 100,000 deep', lists:foldl(fun(_, Inner) -> [Inner] end, [], Numbers)},
        {'a tuple 100,000 deep', lists:foldl(fun(_, Inner) -> {Inner} end, {}, Numbers)},
        {'a map in itself, 14 deep', lists:foldl(fun(_, Inner) -> #{Inner => Inner} end, x, lists:seq(1, 14))},
        {'a map of 10,000', #{N => N || N <- lists:seq(1, 10_000)}},
        {'a tuple of 10,000', erlang:make_tuple(10_000, x)},
        {'a number of 100,000 bits', 1 bsl 100_000}
    ].
