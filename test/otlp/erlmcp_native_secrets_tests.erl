%% What is configured for the pusher may hold secrets: wherever a node prints something of us by itself, or when asked
%% for a process's status, a marked one does not come out.
-module(erlmcp_native_secrets_tests).

-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

-import(erlmcp_native_test_lib, [eventually/1]).

-define(SECRET, "hush-hush-token").
-define(PUSHER, erlmcp_native_otlp).
-define(SUPERVISORS, [erlmcp_native_exporters, erlmcp_native_sup]).

secrets_test_() ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name), {timeout, 60, fun() -> ?assertEqual([], leaks(Test)) end}}
     || Test <- [
            fun it_is_there/0,
            fun an_ordinary_start/0,
            fun a_kill/0,
            fun a_crash_of_its_own/0,
            fun its_name_is_taken_at_the_start/0,
            fun its_name_is_taken_at_a_reload/0,
            fun wrong_options/0,
            fun a_key_that_nobody_reads/0,
            fun status_and_child_specs/0,
            fun a_push_that_fails/0
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

options() ->
    #{
        endpoint => "http://127.0.0.1:9/v1/" ++ ?SECRET ++ "?key=" ++ ?SECRET,
        headers => [{"authorization", "Bearer " ++ ?SECRET}],
        interval_ms => 100
    }.

up() ->
    Handlers = [{Id, Level} || #{id := Id, level := Level} <- logger:get_handler_config()],
    [ok = logger:set_handler_config(Id, level, none) || {Id, _} <- Handlers],
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, debug),
    ok = application:set_env(erlmcp_native, otlp, options()),
    {Level, Handlers}.

down({Level, Handlers}) ->
    _ = application:stop(erlmcp_native),
    [application:unset_env(erlmcp_native, Key) || Key <- [otlp, otpl]],
    ok = logger:set_primary_config(level, Level),
    [ok = logger:set_handler_config(Id, level, Was) || {Id, Was} <- Handlers].

log(Event, #{config := #{to := Pid}}) ->
    Pid ! {logged, unicode:characters_to_list(logger_formatter:format(Event, #{}))}.

%% What the test returns, and what was logged meanwhile, as far as the secret is in it.
leaks(Test) ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => all, filter_default => log, config => #{to => self()}}),
    try
        Seen = [lists:flatten(io_lib:format("~tp", [Test()])) | logged()],
        [Text || Text <- Seen, string:find(Text, ?SECRET) =/= nomatch]
    after
        ok = logger:remove_handler(?MODULE)
    end.

logged() ->
    true = erlmcp_native_log:flush(5000),
    logged_so_far().

logged_so_far() ->
    receive
        {logged, Text} -> [Text | logged_so_far()]
    after 0 -> []
    end.

start() ->
    ok = application:start(erlmcp_native),
    true = is_pid(whereis(?PUSHER)).

%% Otherwise all that follows would say nothing: the pusher does have it, and a log that has it is seen.
it_is_there() ->
    start(),
    [Table] = [T || T <- ets:all(), ets:info(T, name) =:= ?PUSHER],
    ?assertEqual(private, ets:info(Table, protection)),
    logger:error("~p", [options()]),
    ?assertMatch([_ | _], [Text || Text <- logged(), string:find(Text, ?SECRET) =/= nomatch]).

an_ordinary_start() ->
    start(),
    %% At level info supervisors report each child that they start.
    Logged = logged(),
    ?assertMatch([_ | _], [Text || Text <- Logged, string:find(Text, "otlp") =/= nomatch]),
    Logged.

a_kill() ->
    start(),
    Pid = whereis(?PUSHER),
    exit(Pid, kill),
    eventually(fun() -> is_pid(whereis(?PUSHER)) andalso whereis(?PUSHER) =/= Pid end).

a_crash_of_its_own() ->
    start(),
    Pid = whereis(?PUSHER),
    _ = sys:replace_state(?PUSHER, fun(State) -> setelement(2, State, broken) end),
    Pid ! {timeout, make_ref(), snapshot},
    eventually(fun() -> is_pid(whereis(?PUSHER)) andalso whereis(?PUSHER) =/= Pid end),
    Logged = logged(),
    ?assertMatch([_ | _], [Text || Text <- Logged, string:find(Text, "terminating") =/= nomatch]),
    Logged.

with_its_name_taken(Fun) ->
    Other = spawn(fun() -> receive stop -> ok end end),
    true = register(?PUSHER, Other),
    try
        Fun()
    after
        exit(Other, kill)
    end.

its_name_is_taken_at_the_start() ->
    with_its_name_taken(fun() -> {error, _} = application:start(erlmcp_native) end).

its_name_is_taken_at_a_reload() ->
    ok = application:set_env(erlmcp_native, otlp, off),
    ok = application:start(erlmcp_native),
    with_its_name_taken(fun() ->
        ok = application:set_env(erlmcp_native, otlp, options()),
        {error, _} = Answer = erlmcp_native_app:reload_config(),
        {Answer, erlmcp_native_app:config_change([], [], [])}
    end).

%% Each option in turn is wrong, in each way that options can be.
wrong_options() ->
    Wrong = [
        maps:put(Name, Value, options())
     || Name <- [endpoint, headers, header, "headers"],
        Value <- [
            ?SECRET, [?SECRET], {?SECRET}, #{?SECRET => 1}, "https://u:" ++ ?SECRET ++ "@h/", "ftp://h/" ++ ?SECRET,
            "h?" ++ ?SECRET, [{"a b", ?SECRET}], [{"a", ?SECRET ++ "\n"}], [{a, ?SECRET}], [{"a", ?SECRET} | ?SECRET],
            [{"host", ?SECRET}], lists:duplicate(65, {"a", ?SECRET})
        ]
    ],
    Given = [?SECRET, [?SECRET], {otlp, ?SECRET}, [{endpoint, ?SECRET} | ?SECRET], #{key => ?SECRET} | Wrong],
    [
        begin
            ok = application:set_env(erlmcp_native, otlp, Options),
            case application:start(erlmcp_native) of
                {error, _} = Error -> {Error, erlmcp_native_otlp:options(Options)};
                %% A text is a list of headers of which none is one; but no start.
                ok -> ok = application:stop(erlmcp_native)
            end
        end
     || Options <- Given
    ].

a_key_that_nobody_reads() ->
    ok = application:set_env(erlmcp_native, otpl, options()),
    {error, _} = Error = application:start(erlmcp_native),
    Error.

status_and_child_specs() ->
    start(),
    Processes = [?PUSHER | ?SUPERVISORS],
    Others = [
        {process_info(whereis(Name), [dictionary, initial_call, current_stacktrace]),
            proc_lib:translate_initial_call(whereis(Name))}
     || Name <- Processes
    ],
    Specs = [
        supervisor:get_childspec(Supervisor, Id)
     || Supervisor <- ?SUPERVISORS, {Id, _, _, _} <- supervisor:which_children(Supervisor)
    ],
    ?assert(lists:keymember(ok, 1, Specs)),
    {[{sys:get_status(Name), sys:get_state(Name)} || Name <- Processes], Specs, Others}.

a_push_that_fails() ->
    start(),
    eventually(fun() -> maps:get(otlp_failed, erlmcp_native_self:read()) > 0 end),
    sys:get_status(?PUSHER).
