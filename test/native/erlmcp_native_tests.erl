%% The native library: finding it, loading it, versions, and code that is loaded again. Each in a node of
%% its own, so that nothing has been loaded there before.
-module(erlmcp_native_tests).

-include_lib("eunit/include/eunit.hrl").

-export([control/1, crowd/1, busy/0]).

-define(LIMITS, erlmcp_queue_limits).
-define(NATIVE, erlmcp_native).

loading_test_() ->
    {foreach, fun erlmcp_native_test_lib:temp_dir/0, fun erlmcp_native_test_lib:remove_dir/1, [
        fun(Dir) -> {timeout, 30, {atom_to_list(element(2, erlang:fun_info(Test, name))), fun() -> Test(Dir) end}} end
     || Test <- [
            fun without_a_library/1,
            fun with_a_library_that_is_none/1,
            fun with_a_library_of_another_version/1,
            fun from_a_folder_with_a_version/1,
            fun before_the_first_start/1,
            fun loading_the_module_again/1,
            fun deleting_the_module_and_loading_it/1,
            fun deleting_the_module_and_not_purging_it/1,
            fun deleting_it_where_nothing_is_loaded_by_itself/1,
            fun deleting_it_while_it_is_busy/1,
            fun deleting_where_processes_wait/1
        ]
    ]}.

file_name() ->
    filename:basename(library()).

library() ->
    filename:join(code:priv_dir(?NATIVE), atom_to_list(?NATIVE) ++ ".so").

library_bytes() ->
    {ok, Bytes} = file:read_file(library()),
    Bytes.

with_peer(Ebin, Fun) ->
    with_peer(Ebin, [], Fun).

with_peer(Ebin, Flags, Fun) ->
    Peer = erlmcp_native_test_lib:peer([filename:dirname(code:which(?MODULE)), Ebin], Flags),
    try
        Fun(fun(Module, Function, Args) -> peer:call(Peer, Module, Function, Args, 10000) end)
    after
        peer:stop(Peer)
    end.

%% Starts the service over there, linked to nothing that ends.
start(Call) ->
    Call(gen_server, start, [{local, ?LIMITS}, erlmcp_limits_server, [], []]).

is_not_started(Call) ->
    Args = [session, a],
    ?assertExit({noproc, {?LIMITS, check_capacity, Args}}, Call(?LIMITS, check_capacity, Args)),
    ?assertExit({noproc, {?LIMITS, get_all_limits, []}}, Call(?LIMITS, get_all_limits, [])).

%% Says what is missing; and once it is there, starts.
becomes_usable(Dir, Call) ->
    ok = file:delete(filename:join([Dir, "erlmcp_native", "priv", file_name()])),
    _ = erlmcp_native_test_lib:install(Dir, [{file_name(), library_bytes()}]),
    ?assertMatch({ok, _}, start(Call)),
    ?assertEqual(ok, Call(?LIMITS, record_enqueue, [session, a])),
    ?assertEqual(1, Call(?LIMITS, get_queue_depth, [session, a])).

without_a_library(Dir) ->
    Ebin = erlmcp_native_test_lib:install(Dir, []),
    with_peer(Ebin, fun(Call) ->
        is_not_started(Call),
        {error, {native_library, {load_failed, Text}}} = start(Call),
        ?assertMatch({match, _}, re:run(Text, filename:join([Dir, "erlmcp_native", "priv"]))),
        is_not_started(Call),
        ?assertEqual(not_started, Call(?NATIVE, native_memory, [])),
        ok = file:write_file(filename:join([Dir, "erlmcp_native", "priv", file_name()]), <<>>),
        becomes_usable(Dir, Call)
    end).

with_a_library_that_is_none(Dir) ->
    Ebin = erlmcp_native_test_lib:install(Dir, [{file_name(), binary:copy(<<"garbage ">>, 1000)}]),
    with_peer(Ebin, fun(Call) ->
        is_not_started(Call),
        ?assertMatch({error, {native_library, {load_failed, _}}}, start(Call)),
        is_not_started(Call),
        becomes_usable(Dir, Call)
    end).

%% The Erlang side is made a version ahead.
with_a_library_of_another_version(Dir) ->
    Ebin = erlmcp_native_test_lib:install(Dir, [{file_name(), library_bytes()}]),
    Source = filename:join([erlmcp_native_test_lib:root(), "erlang", "native", "erlmcp_native.erl"]),
    {ok, Text} = file:read_file(Source),
    Version = <<"\"", (list_to_binary(version()))/binary, "\"">>,
    Ahead = binary:replace(Text, Version, <<"\"99.9.9\"">>),
    ?assertNotEqual(Text, Ahead),
    Changed = filename:join(Dir, "erlmcp_native.erl"),
    ok = file:write_file(Changed, Ahead),
    {ok, ?NATIVE} = compile:file(Changed, [{outdir, Ebin}]),
    with_peer(Ebin, fun(Call) ->
        is_not_started(Call),
        {error, {native_library, {bad_version, Why}}} = start(Call),
        Both = "the library is of version " ++ version() ++ ", and this module of 99.9.9: " ++ Dir,
        ?assertEqual(Both, lists:sublist(Why, length(Both))),
        is_not_started(Call)
    end).

from_a_folder_with_a_version(Dir) ->
    _ = erlmcp_native_test_lib:install(Dir, [{file_name(), library_bytes()}]),
    Versioned = filename:join(Dir, "erlmcp_native-" ++ version()),
    ok = file:rename(filename:join(Dir, "erlmcp_native"), Versioned),
    with_peer(filename:join(Versioned, "ebin"), fun(Call) ->
        ?assertMatch({ok, _}, start(Call)),
        ?assertEqual(ok, Call(?LIMITS, record_enqueue, [session, a]))
    end).

installed(Dir) ->
    erlmcp_native_test_lib:install(Dir, [{file_name(), library_bytes()}]).

before_the_first_start(Dir) ->
    with_peer(installed(Dir), fun(Call) ->
        is_not_started(Call),
        ?assertMatch({ok, _}, start(Call)),
        ?assertEqual(10000, Call(?LIMITS, get_limit, [session]))
    end).

%% Fails, and the old code goes on.
loading_the_module_again(Dir) ->
    with_peer(installed(Dir), fun(Call) ->
        {ok, Service} = start(Call),
        ok = Call(?LIMITS, record_enqueue, [session, a]),
        ok = Call(?LIMITS, set_limit, [session, 1]),
        ?assertMatch({error, _}, Call(c, l, [?NATIVE])),
        ?assertEqual(1, Call(?LIMITS, get_queue_depth, [session, a])),
        ?assertMatch({error, {capacity_exceeded, _}}, Call(?LIMITS, try_enqueue, [session, a])),
        ok = Call(?LIMITS, record_dequeue, [session, a]),
        ?assertEqual(ok, Call(?LIMITS, try_enqueue, [session, a])),
        ?assertEqual(Service, Call(erlang, whereis, [?LIMITS])),
        %% All the rest can be loaded again while it counts.
        [
            ?assertEqual({module, Module}, Call(c, l, [Module]))
         || Module <- [?LIMITS, erlmcp_native_error, erlmcp_native_config, erlmcp_limits_server]
        ],
        ?assertEqual(1, Call(?LIMITS, get_queue_depth, [session, a]))
    end).

%% The library and its counts outlive the module; what they held on to still dies with its owner.
deleting_the_module_and_loading_it(Dir) ->
    with_peer(installed(Dir), fun(Call) ->
        {ok, Service} = start(Call),
        Owner = Call(erlang, spawn, [timer, sleep, [infinity]]),
        Later = Call(erlang, spawn, [timer, sleep, [infinity]]),
        [ok = Call(?LIMITS, record_enqueue, [session, O]) || O <- [a, Owner]],
        ?assertEqual(true, Call(code, delete, [?NATIVE])),
        _ = Call(code, purge, [?NATIVE]),
        ?assertEqual({module, ?NATIVE}, Call(code, load_file, [?NATIVE])),
        ?assertEqual([1, 1], [Call(?LIMITS, get_queue_depth, [session, O]) || O <- [a, Owner]]),
        [ok = Call(?LIMITS, record_enqueue, [session, O]) || O <- [a, Owner, Later]],
        ?assertEqual({ok, nonode@nohost}, Call(?LIMITS, with_capacity, [session, a, fun erlang:node/0])),
        [true = Call(erlang, exit, [O, kill]) || O <- [Owner, Later]],
        erlmcp_native_test_lib:eventually(
            fun() ->
                #{owners := Owners, current_depth := Depth} = Call(?LIMITS, get_role_stats, [session]),
                {Owners, Depth} =:= {1, 2}
            end,
            1000
        ),
        ?assertEqual(Service, Call(erlang, whereis, [?LIMITS])),
        ok = Call(gen_server, stop, [?LIMITS]),
        is_not_started(Call),
        ?assertMatch({ok, _}, start(Call)),
        ?assertEqual(0, Call(?LIMITS, get_queue_depth, [session, a]))
    end).

%% Whoever calls next has it loaded again, and the library with it: nothing goes down, and nothing is lost.
deleting_the_module_and_not_purging_it(Dir) ->
    with_peer(installed(Dir), fun(Call) ->
        Before = counting(Call),
        [
            begin
                ?assert(Call(code, delete, [?NATIVE])),
                still_counting(Call, Before, Depth)
            end
         || Depth <- [1, 2, 3]
        ]
    end).

%% As in a release. The first service that notices dies, and its successor loads the module: here within a second.
deleting_it_where_nothing_is_loaded_by_itself(Dir) ->
    with_peer(installed(Dir), ["-mode", "embedded"], fun(Call) ->
        _ = Call(application, load, [?NATIVE]),
        {ok, Modules} = Call(application, get_key, [?NATIVE, modules]),
        [{module, _} = Call(code, load_file, [Module]) || Module <- [?MODULE | Modules]],
        Before = counting(Call),
        ?assert(Call(code, delete, [?NATIVE])),
        ?assertError(undef, Call(?LIMITS, get_queue_depth, [session, a])),
        erlmcp_native_test_lib:eventually(fun() -> Call(erlang, module_loaded, [?NATIVE]) end, 10000),
        erlmcp_native_test_lib:eventually(fun() -> lists:all(fun is_pid/1, services(Call)) end),
        ?assertEqual(length(Before), length(services(Call))),
        counts(Call, 1)
    end).

%% It is purged when nobody is in it any more, and not earlier: whoever is in it would be killed.
deleting_it_while_it_is_busy(Dir) ->
    with_peer(installed(Dir), fun(Call) ->
        Before = counting(Call),
        ok = Call(?MODULE, crowd, [200000]),
        Busy = Call(erlang, spawn, [?MODULE, busy, []]),
        erlmcp_native_test_lib:eventually(fun() ->
            Call(erlang, process_info, [Busy, current_function]) =:= {current_function, {?NATIVE, overload_rows, 3}}
        end),
        ?assert(Call(code, delete, [?NATIVE])),
        still_counting(Call, Before, 1),
        ?assert(Call(erlang, is_process_alive, [Busy]))
    end).

crowd(Count) ->
    lists:foreach(
        fun(N) -> ok = ?LIMITS:record_enqueue(crowd, list_to_atom("owner_" ++ integer_to_list(N))) end,
        lists:seq(1, Count)
    ).

%% Goes through all owners, over and over.
busy() ->
    _ = ?NATIVE:overload_rows(own, crowd, false),
    busy().

control(_Message) ->
    ok.

%% The module in which handlers wait cannot be replaced, but it can be deleted. They go on in it.
deleting_where_processes_wait(Dir) ->
    with_peer(installed(Dir), fun(Call) ->
        Before = counting(Call),
        ?assert(Call(code, delete, [erlmcp_native_wait])),
        still_counting(Call, Before, 1)
    end).

%% The application with a count and a component. Returns the processes of its services.
counting(Call) ->
    ok = Call(application, start, [?NATIVE]),
    ok = Call(?LIMITS, record_enqueue, [session, a]),
    ok = Call(erlmcp_control_plane, register_component, [component, {?MODULE, control}]),
    services(Call).

services(Call) ->
    Names = [?LIMITS, erlmcp_overload_monitor, erlmcp_control_plane, erlmcp_native_sup, erlmcp_native_exporters],
    [Call(erlang, whereis, [Name]) || Name <- Names].

still_counting(Call, Services, Depth) ->
    counts(Call, Depth),
    ?assertEqual(Services, services(Call)).

counts(Call, Depth) ->
    ?assertEqual(Depth, Call(?LIMITS, get_queue_depth, [session, a])),
    ?assertEqual(ok, Call(?LIMITS, record_enqueue, [session, a])),
    ?assertMatch({ok, _}, Call(erlmcp_control_plane, send_health_check, [component, liveness])),
    ?assertMatch([_ | _], Call(erlmcp_overload_monitor, summary, [])).

version() ->
    _ = application:load(?NATIVE),
    {ok, Version} = application:get_key(?NATIVE, vsn),
    Version.

versions_agree_test() ->
    {ok, Cargo} = file:read_file(filename:join(erlmcp_native_test_lib:root(), "Cargo.toml")),
    {match, [OfLibrary]} = re:run(Cargo, "^version *= *\"(.*)\"", [multiline, {capture, all_but_first, list}]),
    Module = filename:join([erlmcp_native_test_lib:root(), "erlang", "native", "erlmcp_native.erl"]),
    {ok, Source} = file:read_file(Module),
    {match, [OfModule]} = re:run(Source, "define\\(VERSION, \"(.*)\"\\)", [{capture, all_but_first, list}]),
    Upgrade = filename:join([erlmcp_native_test_lib:root(), "ebin", "erlmcp_native.appup"]),
    {ok, [{OfUpgrade, _, _}]} = file:consult(Upgrade),
    ?assertEqual([version() || _ <- [1, 2, 3]], [OfLibrary, OfModule, OfUpgrade]).

nothing_raises_test_() ->
    Odd = [1, "x", <<>>, self(), make_ref(), 1.5, #{}, [a | b], 1 bsl 80, own],
    erlmcp_native_test_lib:with_service([
        fun() ->
            [
                ?assertNotMatch({_, {raised, _, _}}, {Function, answer(Function, Args)}, Args)
             || {Function, Arity} <- natives(),
                First <- [own, table, make_ref(), nothing],
                Term <- Odd,
                Args <- [[First | lists:duplicate(Arity - 1, Term)]],
                {Function, First} =/= {limits_close, own}
            ],
            ?assertEqual(10000, ?LIMITS:get_limit(session))
        end,
        fun a_table_of_ones_own/0
    ]).

natives() ->
    [
        {Function, Arity}
     || {Function, Arity} <- ?NATIVE:module_info(exports), lists:prefix("limits_", atom_to_list(Function))
    ].

answer(Function, Args) ->
    try
        apply(?NATIVE, Function, Args)
    catch
        Class:Reason -> {raised, Class, Reason}
    end.

a_table_of_ones_own() ->
    Table = ?NATIVE:limits_new([{default, 1}, {mine, 2}]),
    ?assert(is_reference(Table)),
    ok = ?NATIVE:limits_try_enqueue(Table, mine, a),
    ?assertEqual([1, 0], [?NATIVE:limits_depth(T, mine, a) || T <- [Table, own]]),
    ?assertEqual([2, 1000], [?NATIVE:limits_get_limit(T, mine) || T <- [Table, own]]),
    ?assertEqual(ok, ?NATIVE:limits_close(Table)),
    ?assertEqual(not_started, ?NATIVE:limits_depth(Table, mine, a)),
    ?assertEqual([bad_limits, bad_limits, bad_role, bad_limit], [
        ?NATIVE:limits_new(Limits)
     || Limits <- [#{}, [session], [{"x", 1}], [{session, -1}]]
    ]),
    ?assertEqual(bad_permit, ?NATIVE:limits_give_back(Table)).

%% Also behind elements that are right. A panic would be seen as the error nif_panicked.
improper_lists_test_() ->
    Improper = [[{session, 1} | Tail] || Tail <- [b, 1 bsl 80, {session, 1}, <<1:1>>, "x" ++ y, #{}]],
    Lists = [[{session, 1}, {session, Improper}] | Improper],
    erlmcp_native_test_lib:with_service([
        fun() ->
            Table = ?NATIVE:limits_new([]),
            ?assertEqual([bad_limits], lists:usort([?NATIVE:limits_new(List) || List <- Improper])),
            [
                ?assertEqual([bad_limits], lists:usort([Apply(List) || List <- Improper]))
             || Apply <- [
                    fun(List) -> ?NATIVE:limits_configure(Table, List, [], true) end,
                    fun(List) -> ?NATIVE:limits_configure(Table, [], [{a, {0, 0, 0}} | tl(List)], true) end,
                    fun(List) -> ?NATIVE:limits_open(Table, List, [], true) end
                ]
            ],
            ?assertEqual(bad_reserve, ?NATIVE:limits_configure(Table, [], [{a, {1, 0, 0}}], true)),
            ?assertEqual([bad_limit], lists:usort([?NATIVE:limits_new([{a, List}]) || List <- Lists]))
        end,
        fun() ->
            [
                ?assertNotMatch({_, {raised, _, _}}, {Function, answer(Function, Args)}, Args)
             || {Function, Arity} <- all_natives(),
                First <- [erlmcp_native:limits_new([]), session, hd(Lists)],
                List <- Lists,
                At <- lists:seq(1, Arity),
                Others <- [true, session, 1],
                Args <- [[case N of At -> List; 1 -> First; _ -> Others end || N <- lists:seq(1, Arity)]]
            ]
        end
    ]).

%% But for what has no list to look at, and would open or close what others use.
all_natives() ->
    ?NATIVE:module_info(exports) --
        [{load, 0}, {module_info, 0}, {module_info, 1}, {control_open, 1}, {control_close, 0}].

intervals_are_positive_test() ->
    ok = ?NATIVE:load(),
    Table = ?NATIVE:limits_new([]),
    Rules = {100_000, 1, 1},
    ?assertEqual(bad_timeout, ?NATIVE:overload_open(Table, Rules, true, 0)),
    ?assertEqual(7, ?NATIVE:overload_open(Table, Rules, true, 7)),
    ?assertEqual(bad_timeout, ?NATIVE:overload_configure(Table, Rules, true, 0)),
    ?assertEqual(8, ?NATIVE:overload_configure(Table, Rules, true, 8)),
    ?assertEqual(bad_timeout, ?NATIVE:overload_set_interval(Table, 0)),
    ?assertEqual(ok, ?NATIVE:overload_set_interval(Table, 9)).

native_memory_test() ->
    Bytes = ?NATIVE:native_memory(),
    ?assert(Bytes =:= undefined orelse Bytes > 0).
