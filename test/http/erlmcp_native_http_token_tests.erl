%% A token that clients have to know: who has it is let in, and nobody is told what it is.
-module(erlmcp_native_http_token_tests).

-include_lib("eunit/include/eunit.hrl").

-export([log/2, init/2]).

-import(erlmcp_native_http_test_lib, [fetch/1, fetch/2]).

-define(M, erlmcp_native_http).
-define(TOKEN, "hush-hush-token-0123456789").
-define(VARIABLE, "ERLMCP_NATIVE_TEST_TOKEN").

token_test_() ->
    {foreach, fun up/0, fun down/1, [
        fun(Up) -> {atom_to_list(Name), {timeout, 60, fun() -> Test(Up) end}} end
     || Test <- [
            fun who_has_it_is_let_in/1,
            fun who_has_it_not_is_told_so/1,
            fun browsers_send_it_as_a_password/1,
            fun the_host_is_looked_at_first/1,
            fun another_one_counts_at_once/1,
            fun while_it_cannot_be_read_nobody_is_let_in/1,
            fun a_stream_needs_it_too/1,
            fun it_is_printed_nowhere/1,
            fun wrong_sources_are_named_and_their_content_is_not/1,
            fun it_may_be_in_the_environment/1
        ],
        {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

up() ->
    Dir = erlmcp_native_test_lib:temp_dir(),
    File = filename:join(Dir, "token"),
    ok = file:write_file(File, ?TOKEN ++ "\n"),
    {Dir, File, erlmcp_native_http_test_lib:up(#{token => {file, File}})}.

down({Dir, _, State}) ->
    erlmcp_native_http_test_lib:down(State),
    true = os:unsetenv(?VARIABLE),
    erlmcp_native_test_lib:remove_dir(Dir).

bearer(Token) ->
    ["authorization: Bearer ", Token].

basic(User, Password) ->
    ["authorization: Basic ", base64:encode(iolist_to_binary([User, $:, Password]))].

status(Header) ->
    {Status, _, _} = fetch("/api/summary", [Header]),
    Status.

who_has_it_is_let_in(_) ->
    Paths = ["/", "/page/page.js", "/api/summary", "/metrics", "/health/live", "/health/ready"],
    [?assertMatch({Path, {200, _, _}}, {Path, fetch(Path, [bearer(?TOKEN)])}) || Path <- Paths],
    [?assertMatch({Path, {401, _, _}}, {Path, fetch(Path)}) || Path <- Paths ++ ["/events", "/nothing"]],
    ?assertEqual(200, status("Authorization: bearer " ++ ?TOKEN)).

who_has_it_not_is_told_so(_) ->
    Near = [
        "", "x", ?TOKEN ++ "0", tl(?TOKEN), lists:droplast(?TOKEN), string:uppercase(?TOKEN), ?TOKEN ++ " " ++ ?TOKEN,
        "\"" ++ ?TOKEN ++ "\"", lists:duplicate(4000, $a), [255, 254]
    ],
    [?assertEqual({Token, 401}, {Token, status(bearer(Token))}) || Token <- Near],
    Odd = ["authorization: ", "authorization: " ++ ?TOKEN, "authorization: Digest " ++ ?TOKEN, "x-token: " ++ ?TOKEN],
    [?assertEqual({Header, 401}, {Header, status(Header)}) || Header <- Odd],
    {401, Headers, Body} = fetch("/api/summary"),
    ?assertMatch(#{~"error" := ~"unauthorized", ~"reason" := _}, json:decode(Body)),
    ?assertEqual(~"no-store", maps:get(~"cache-control", Headers)),
    %% Each scheme has a line.
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, ?M:port(), [binary, {active, false}]),
    ok = gen_tcp:send(Socket, ["GET / HTTP/1.1\r\nhost: localhost\r\n", bearer("x"), "\r\n\r\n"]),
    {ok, Bytes} = gen_tcp:recv(Socket, 0, 5000),
    [Head | _] = binary:split(Bytes, ~"\r\n\r\n"),
    Lines = [L || L <- binary:split(Head, ~"\r\n", [global]), re:run(L, "^www-auth", [caseless]) =/= nomatch],
    ?assertEqual(
        [
            ~"WWW-Authenticate: Basic realm=\"erlmcp_native\", charset=\"UTF-8\"",
            ~"www-authenticate: Bearer realm=\"erlmcp_native\", error=\"invalid_token\""
        ],
        lists:sort(Lines)
    ),
    ok = gen_tcp:close(Socket).

browsers_send_it_as_a_password(_) ->
    ?assertEqual([200, 200], [status(basic(User, ?TOKEN)) || User <- ["", "ops"]]),
    Wrong = [basic(?TOKEN, ""), basic("ops", "x"), "authorization: Basic %%%", "authorization: Basic " ++ ?TOKEN],
    [?assertEqual({Header, 401}, {Header, status(Header)}) || Header <- Wrong].

the_host_is_looked_at_first(_) ->
    Ask = ["GET / HTTP/1.1\r\nhost: evil\r\n", bearer(?TOKEN), "\r\n\r\n"],
    ?assertMatch({421, _, _}, erlmcp_native_http_test_lib:raw(Ask)).

another_one_counts_at_once({_, File, _}) ->
    Other = "another-token-0123456789",
    ok = file:write_file(File, ["  ", Other, "\r\n\n"]),
    ?assertEqual([401, 200], [status(bearer(Token)) || Token <- [?TOKEN, Other]]),
    ok = file:write_file(File, ?TOKEN),
    ?assertEqual([200, 401], [status(bearer(Token)) || Token <- [?TOKEN, Other]]).

while_it_cannot_be_read_nobody_is_let_in({Dir, File, _}) ->
    Unreadable = [
        fun() -> ok = file:delete(File) end,
        fun() -> ok = file:make_dir(File) end,
        fun() -> ok = file:del_dir(File), ok = file:write_file(File, "") end,
        fun() -> ok = file:write_file(File, "short") end,
        fun() -> ok = file:write_file(File, ["two-tokens-0123456789 ", ?TOKEN]) end,
        fun() -> ok = file:write_file(File, lists:duplicate(1025, $a)) end,
        fun() -> ok = file:write_file(File, lists:duplicate(1 bsl 20, $a)) end,
        fun() -> ok = file:write_file(File, [?TOKEN, 0]) end
    ],
    {_, Lines} = erlmcp_native_otlp_test_lib:logged(fun() ->
        [
            begin
                Break(),
                Said = [fetch("/api/summary", [Header]) || Header <- [bearer(?TOKEN), "x: y", bearer("")]],
                [?assertMatch({503, #{~"retry-after" := _}, _}, Answer) || Answer <- Said],
                [?assertEqual(nomatch, binary:match(Body, list_to_binary(Dir))) || {_, _, Body} <- Said]
            end
         || Break <- Unreadable
        ],
        true = erlmcp_native_log:flush(5000)
    end),
    Text = lists:flatten(io_lib:format("~tp", [Lines])),
    ?assertNotEqual(nomatch, string:find(Text, File)),
    ?assertEqual(nomatch, string:find(Text, "hush-hush")),
    ok = file:write_file(File, ?TOKEN),
    ?assertEqual(200, status(bearer(?TOKEN))).

a_stream_needs_it_too(_) ->
    Stream = erlmcp_native_http_test_lib:open([bearer(?TOKEN)]),
    {_, Last} = erlmcp_native_http_test_lib:named(~"snapshot", Stream, 10000),
    erlmcp_native_http_test_lib:close(Last).

%% A handler that crashes, with the request in its arguments.
init(#{path := ~"/crash"} = Req, none) ->
    binary_to_atom(Req);
init(Req, Tester) ->
    Tester ! {asking, self(), Req},
    receive
        go -> {ok, cowboy_req:reply(200, Req), Tester}
    end.

log(Event, #{config := #{to := Pid}}) ->
    Pid ! {logged, unicode:characters_to_list(logger_formatter:format(Event, #{}))}.

%% Neither what is expected nor what was given: in no crash report, no state, no start of a child.
it_is_printed_nowhere({_, File, {_, Listener}}) ->
    Wrong = "hush-hush-wrong-0123456789",
    Handlers = [{Id, Level} || #{id := Id, level := Level} <- logger:get_handler_config()],
    [ok = logger:set_handler_config(Id, level, none) || {Id, _} <- Handlers],
    #{level := Quiet} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, debug),
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => all, filter_default => log, config => #{to => self()}}),
    try
        Routes = [{"/crash", ?MODULE, none}, {"/wait", ?MODULE, self()}],
        Seen = erlmcp_native_http_test_lib:serve(Routes, fun() ->
            {500, _, _} = fetch("/crash", [bearer(?TOKEN)]),
            {500, _, _} = fetch("/crash", [basic("ops", ?TOKEN)]),
            {401, _, _} = fetch("/crash", [bearer(Wrong)]),
            Socket = erlmcp_native_http_test_lib:connect(),
            ok = gen_tcp:send(Socket, ["GET /wait HTTP/1.1\r\nhost: localhost\r\n", bearer(?TOKEN), "\r\n\r\n"]),
            {Asker, Req} = receive {asking, Pid, Asked} -> {Pid, Asked} after 10000 -> error(nobody_asks) end,
            [Connection] = ranch:procs(?M, connections),
            Processes = [Listener, Connection | [P || {_, P, _, _} <- supervisor:which_children(Listener), is_pid(P)]],
            States = [{sys:get_status(P), sys:get_state(P)} || P <- Processes],
            Infos = [process_info(P, [dictionary, messages, current_stacktrace]) || P <- [Asker | Processes]],
            Asker ! go,
            {200, _, _} = erlmcp_native_http_test_lib:answer(Socket),
            ok = gen_tcp:close(Socket),
            Specs = [?M:child_spec(#{port => 0, token => {file, File}}), ranch:info(?M), ?M:options(#{port => 0})],
            Children = [supervisor:get_childspec(Listener, Id) || Id <- [listener, connections]],
            {Req, States, Infos, Specs, Children, ranch:get_protocol_options(?M)}
        end),
        true = erlmcp_native_log:flush(5000),
        Lines = logged_so_far(),
        ?assertMatch([_ | _], [Line || Line <- Lines, string:find(Line, "binary_to_atom") =/= nomatch]),
        Texts = [lists:flatten(io_lib:format("~tp", [Seen])) | Lines],
        ?assertEqual([], [Text || Text <- Texts, string:find(Text, "hush-hush") =/= nomatch])
    after
        ok = logger:remove_handler(?MODULE),
        ok = logger:set_primary_config(level, Quiet),
        [ok = logger:set_handler_config(Id, level, Was) || {Id, Was} <- Handlers]
    end.

logged_so_far() ->
    receive
        {logged, Text} -> [Text | logged_so_far()]
    after 0 -> []
    end.

wrong_sources_are_named_and_their_content_is_not({Dir, File, _}) ->
    Check = fun(Source) ->
        {error, {[token], hidden, Expected} = Problem} = ?M:options(#{port => 0, token => Source}),
        ?assertEqual(nomatch, string:find(erlmcp_native_options:explain(Problem), "hush-hush")),
        Expected
    end,
    ?assertMatch({ok, #{token := {file, File}}}, ?M:options(#{port => 0, token => {file, list_to_binary(File)}})),
    [
        begin
            ok = file:write_file(File, Content),
            ?assertNotEqual(nomatch, string:find(Check({file, File}), File))
        end
     || Content <- ["", "short", [?TOKEN, "\n", ?TOKEN], [?TOKEN, "!"], lists:duplicate(5000, $a), [?TOKEN, 255]]
    ],
    Absent = filename:join(Dir, "absent"),
    ?assertNotEqual(nomatch, string:find(Check({file, Absent}), Absent)),
    ?assertNotEqual(nomatch, string:find(Check({file, Dir}), Dir)),
    %% Nobody waits for what may never come.
    Pipe = filename:join(Dir, "pipe"),
    "" = os:cmd("mkfifo " ++ Pipe),
    ?assertNotEqual(nomatch, string:find(Check({file, Pipe}), Pipe)),
    ?assertNotEqual(nomatch, string:find(Check({env, ?VARIABLE}), ?VARIABLE)),
    %% The token itself in the place of its source, or as another option.
    _ = [Check(Wrong) || Wrong <- [
        ?TOKEN, list_to_binary(?TOKEN), [?TOKEN], {token, ?TOKEN}, {file, {?TOKEN}}, {file, ""}, {env, "A=" ++ ?TOKEN},
        {env, ""}, {file, [0 | ?TOKEN]}, {file, lists:duplicate(5000, $a)}, off
    ]],
    {error, Problem} = ?M:options(#{port => 0, tokn => ?TOKEN}),
    ?assertEqual(nomatch, string:find(erlmcp_native_options:explain(Problem), "hush-hush")).

it_may_be_in_the_environment({_, _, {_, Listener}}) ->
    ok = gen_server:stop(Listener, shutdown, 10000),
    true = os:putenv(?VARIABLE, ?TOKEN),
    {ok, Other} = ?M:start_link(#{port => 0, token => {env, ?VARIABLE}}),
    unlink(Other),
    ?assertEqual([200, 401], [status(bearer(Token)) || Token <- [?TOKEN, "x"]]),
    true = os:unsetenv(?VARIABLE),
    ?assertEqual(503, status(bearer(?TOKEN))),
    ok = gen_server:stop(Other, shutdown, 10000).
