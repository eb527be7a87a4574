%% What holds the documentation to the code, held to documents that are right and to documents that are wrong.
-module(erlmcp_native_document_check_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_document_shape, [shows/2]).

-define(CT_DOCTEST, code:which(ct_doctest) =/= non_existing).

right_test_() ->
    [
        {Title, {timeout, 60, ?_assertEqual({Kinds, []}, check(Lines))}}
     || {Title, Kinds, Lines} <- right(), ?CT_DOCTEST orelse not lists:member(session, Kinds)
    ].

%% Each is wrong in one place. What is said of it names the place, and what is wrong there.
wrong_test_() ->
    [
        {Title, {timeout, 60, fun() -> found(Line, Words, check(Lines)) end}}
     || {Title, Needs, Line, Words, Lines} <- wrong(), is_there(Needs)
    ].

is_there(any) -> true;
is_there(session) -> ?CT_DOCTEST;
is_there(elixir) -> erlmcp_native_document_elixir:is_there().

found(Line, Words, {_, Troubles}) ->
    Place = lists:flatten(io_lib:format("text:~b: ", [Line])),
    ?assertNotEqual([], Troubles),
    ?assertEqual([], [Trouble || Trouble <- Troubles, string:prefix(Trouble, Place) =:= nomatch]),
    ?assertNotEqual({nomatch, Troubles}, {string:find(lists:append(Troubles), Words), Troubles}).

check(Lines) ->
    erlmcp_native_document_check:check({text, iolist_to_binary([[Line, $\n] || Line <- Lines])}).

right() ->
    [
        {"nothing to look at", [], [~"# Prose", ~"", ~"- an item", ~"", ~"    and more of it"]},
        {"a session, with what differs each time", [session], [
            ~"```erlang",
            ~"1> ok = erlmcp_control_plane:register_component(here, fun(_) -> ok end).",
            ~"2> erlmcp_control_plane:send_health_check(here, liveness).",
            ~"{ok, LatencyUs}",
            ~"3> erlmcp_queue_limits:get_role_stats(session).",
            ~"#{current_depth => 0, limit => 10000}",
            ~"```"
        ]},
        {"a session that raises", [session], [
            ~"```erlang",
            ~"1> erlmcp_queue_limits:set_limit(session, -1).",
            ~"** exception error: bad argument",
            ~"```"
        ]},
        {"a module, and a session with it", [module, session], [
            ~"```erlang",
            ~"-module(document_example).",
            ~"-export([double/1]).",
            ~"double(N) -> 2 * N.",
            ~"```",
            ~"```erlang",
            ~"1> document_example:double(21).",
            ~"42",
            ~"```"
        ]},
        {"expressions, and what they print", [expressions, output], [
            ~"```erlang",
            ~"erlmcp_queue_limits:set_limit(session, 3),",
            ~"erlmcp_overload:why(session).",
            ~"```",
            ~"prints",
            ~"```output",
            ~"session has room: the fullest owner has 0 of 3",
            ~"...",
            ~"```"
        ]},
        {"what a handler prints", [expressions, output], [
            ~"```erlang",
            ~"Handler = fun({control, Type, _}) -> io:format(\"~p~n\", [Type]) end.",
            ~"erlmcp_control_plane:register_component(here, Handler).",
            ~"erlmcp_control_plane:send_cancel_task(here, 1).",
            ~"```",
            ~"```output",
            ~"cancel_task",
            ~"```"
        ]},
        {"functions", [functions], [~"```erlang", ~"double(N) -> 2 * N.", ~"```"]},
        {"configuration, and a node that has it", [terms, expressions], [
            ~"```erlang",
            ~"[{erlmcp_native, [{queue_limits, #{session => 5}}]}].",
            ~"```",
            ~"```erlang",
            ~"5 = erlmcp_queue_limits:get_limit(session).",
            ~"```"
        ]},
        {"a dependency", [terms], [~"```erlang", ~"{deps, [erlmcp_native]}.", ~"```"]},
        {"commands", [sh, output], [
            ~"```sh",
            ~"make test            # all of it",
            ~"curl -s 'http://127.0.0.1:9464/api/queues?role=session&top=2'",
            ~"```",
            ~"```output",
            ~"{\"role\":\"session\",\"by\":\"utilization\",\"queues\":[],\"top\":2,\"at_ms\":1795687865860}",
            ~"```"
        ]},
        {"Elixir", [elixir], [
            ~"```elixir",
            ~"case :erlmcp_queue_limits.with_capacity(:session, self(), fn -> {1, 2} end) do",
            ~"  {:ok, {1, 2}} -> :done",
            ~"end",
            ~"```"
        ]},
        {"the rest", [json, yaml, promql, dockerfile, toml, rust, text], [
            ~"```json",
            ~"{\"a\": 1}",
            ~"```",
            ~"```yaml",
            ~"expr: rate(erlmcp_queue_refused_total[5m])",
            ~"```",
            ~"```promql",
            ~"sum(erlmcp_queue_depth)",
            ~"```",
            ~"```dockerfile",
            ~"FROM scratch",
            ~"RUN apk add rust && \\",
            ~"    make test",
            ~"```",
            ~"```toml",
            ~"[source.here]",
            ~"directory = \"vendor\"  ",
            ~"```",
            ~"```rust",
            ~"#![forbid(unsafe_code)]",
            ~"```",
            ~"```text",
            ~"anything",
            ~"```"
        ]},
        {"code in a sentence", [], [~"Call `erlmcp_queue_limits:set_limit(Role, 3)` or `erlmcp_overload:why/1`."]}
    ].

wrong() ->
    [
        {"a wrong result", session, 1, "{ok,other}", [
            ~"```erlang",
            ~"1> {ok, erlmcp_queue_limits:get_limit(session)}.",
            ~"{ok,other}",
            ~"```"
        ]},
        {"a wrong key of a map", session, 1, "no match of right hand side", [
            ~"```erlang",
            ~"1> erlmcp_queue_limits:get_role_stats(session).",
            ~"#{rejected => 0}",
            ~"```"
        ]},
        {"a session that raises", session, 1, "bad argument", [
            ~"```erlang",
            ~"1> erlmcp_queue_limits:set_limit(session, -1).",
            ~"```"
        ]},
        {"a session that should raise", session, 1, "Expected failure", [
            ~"```erlang",
            ~"1> erlmcp_queue_limits:set_limit(session, 1).",
            ~"** exception error: bad argument",
            ~"```"
        ]},
        {"a session that begins elsewhere", session, 1, "prompt", [~"```erlang", ~"2> ok.", ~"```"]},
        {"a renamed function", any, 2, "erlmcp_queue_limits:limit/1", [
            ~"# Title",
            ~"```erlang",
            ~"erlmcp_queue_limits:limit(session).",
            ~"```"
        ]},
        {"a missing argument, in a branch that is not taken", any, 1, "erlmcp_queue_limits:to_json_rpc_error/1", [
            ~"```erlang",
            ~"case erlmcp_queue_limits:try_enqueue(session, self()) of",
            ~"    ok -> ok;",
            ~"    {error, Refusal} -> erlmcp_queue_limits:to_json_rpc_error(Refusal)",
            ~"end",
            ~"```"
        ]},
        {"a renamed function, in a session's branch", session, 1, "erlmcp_queue_limits:drop/2", [
            ~"```erlang",
            ~"1> case 1 of",
            ~"       1 -> ok;",
            ~"       2 -> erlmcp_queue_limits:drop(session, self())",
            ~"   end.",
            ~"ok",
            ~"```"
        ]},
        {"an expression that raises", any, 1, "no match of right hand side value 1000", [
            ~"```erlang",
            ~"17 = erlmcp_queue_limits:get_limit(x).",
            ~"```"
        ]},
        {"an unbound variable", any, 1, "{unbound_var,'Owner'}", [
            ~"```erlang",
            ~"erlmcp_queue_limits:forget(session, Owner).",
            ~"```"
        ]},
        {"code that is none", any, 1, "syntax error", [~"```erlang", ~"X = = 1.", ~"```"]},
        {"a module with a warning", any, 1, "unused", [
            ~"```erlang",
            ~"-module(document_example).",
            ~"-export([f/1]).",
            ~"f(X) -> ok.",
            ~"```"
        ]},
        {"a module that calls nobody", any, 1, "erlmcp_queue_limits:enqueue/2", [
            ~"```erlang",
            ~"-module(document_example).",
            ~"-export([f/0]).",
            ~"f() -> erlmcp_queue_limits:enqueue(session, self()).",
            ~"```"
        ]},
        {"a module of ours again", any, 1, "already", [
            ~"```erlang",
            ~"-module(erlmcp_queue_limits).",
            ~"-export([f/0]).",
            ~"f() -> ok.",
            ~"```"
        ]},
        {"a function that calls nobody", any, 1, "undefined", [~"```erlang", ~"f() -> g().", ~"```"]},
        {"a value of configuration", any, 1, "bad_config", [
            ~"```erlang",
            ~"{erlmcp_native, [{queue_limits, #{session => many}}]}",
            ~"```"
        ]},
        {"a term that nobody reads", any, 1, "nobody knows", [~"```erlang", ~"{dependencies, []}.", ~"```"]},
        {"other output", any, 4, "prints otherwise", [
            ~"```erlang",
            ~"erlmcp_overload:why(session).",
            ~"```",
            ~"```output",
            ~"session refuses everything",
            ~"```"
        ]},
        {"a target of make", any, 1, "make has no target all", [~"```sh", ~"make all", ~"```"]},
        {"a program", any, 1, "nobody knows whether this runs: erlmcp", [~"```sh", ~"erlmcp --help", ~"```"]},
        {"a file", any, 1, "there is no scripts/none.sh", [~"```sh", ~"docker run scripts/none.sh", ~"```"]},
        {"a path of HTTP", any, 1, "/api/nothing is answered with 404", [
            ~"```sh",
            ~"curl http://127.0.0.1:9464/api/nothing",
            ~"```"
        ]},
        {"an answer of HTTP", any, 4, "prints otherwise", [
            ~"```sh",
            ~"curl -s http://127.0.0.1:9464/api/queues",
            ~"```",
            ~"```output",
            ~"{\"rows\":[]}",
            ~"```"
        ]},
        {"nobody listens", any, 1, "listens", [~"```sh", ~"curl http://127.0.0.1:8080/", ~"```"]},
        {"Elixir with another number of arguments", any, 1, ":erlmcp_queue_limits.try_enqueue/1", [
            ~"```elixir",
            ~":erlmcp_queue_limits.try_enqueue(:session)",
            ~"```"
        ]},
        {"Elixir that is none", elixir, 1, "missing terminator", [~"```elixir", ~"case 1 do", ~"```"]},
        {"Elixir that raises", elixir, 1, "no match of right hand side", [~"```elixir", ~":ok = :error", ~"```"]},
        {"Elixir that lacks something", elixir, 1, "undefined variable", [~"```elixir", ~"nobody + 1", ~"```"]},
        {"configuration by Elixir", elixir, 1, "did you mean queue_limits", [
            ~"```elixir",
            ~"import Config",
            ~"config :erlmcp_native, queue_limit: [session: 1]",
            ~"```"
        ]},
        {"JSON", any, 1, "no JSON", [~"```json", ~"{a: 1}", ~"```"]},
        {"a metric", any, 1, "erlmcp_queue_fullness", [~"```promql", ~"max(erlmcp_queue_fullness)", ~"```"]},
        {"TOML", any, 1, "no TOML: a: b", [~"```toml", ~"[a]", ~"a: b", ~"```"]},
        {"an instruction", any, 1, "INSTALL", [~"```dockerfile", ~"INSTALL rust", ~"```"]},
        {"a command in a Dockerfile", any, 1, "make has no target all", [~"```dockerfile", ~"RUN make all", ~"```"]},
        {"Rust that is not ours", any, 1, "no source file", [~"```rust", ~"fn nobody() {}", ~"```"]},
        {"a tag that nobody knows", any, 1, "basic", [~"```basic", ~"10 GOTO 10", ~"```"]},
        {"no tag", any, 1, "no tag", [~"```", ~"text", ~"```"]},
        {"no end", any, 1, "no end", [~"```text", ~"text"]},
        {"no fence", any, 3, "indented", [~"Text", ~"", ~"    code"]}
    ].

code_in_a_sentence_test_() ->
    Calls = [~"`erlmcp_queue_limits:limit(Role)`", ~"`erlmcp_queue_limits:set_limit/3`", ~"`m:erlmcp_limits`"],
    [{binary_to_list(Call), ?_assertMatch({[], [_]}, check([[~"Call ", Call, ~"."]]))} || Call <- Calls].

%% A document leaves nothing behind that another would find.
leaves_nothing_test() ->
    Before = {application:get_all_env(erlmcp_native), application:which_applications(), registered()},
    {_, []} = check([
        ~"```erlang",
        ~"{erlmcp_native, [{supervise, false}]}",
        ~"```",
        ~"```erlang",
        ~"-module(document_example).",
        ~"-export([f/0]).",
        ~"f() -> ok.",
        ~"```",
        ~"```erlang",
        ~"true = register(document_process, spawn(fun() -> receive stop -> ok end end)).",
        ~"{ok, _} = cowboy:start_clear(document_listener, [{port, 8080}], #{}).",
        ~"```"
    ]),
    ?assertEqual(Before, {application:get_all_env(erlmcp_native), application:which_applications(), registered()}),
    ?assertEqual(false, code:is_loaded(document_example)),
    ?assertError(badarg, ranch:get_port(document_listener)).

shape_test_() ->
    Printed = ~"a 3 of 3\nsince 11:32:44 (2.1 s ago), <0.12.0>\nend\n",
    [
        ?_assert(shows(~"since 01:02:03 (17 ms ago), <0.7.0>", Printed)),
        ?_assert(shows(~"a 3 of 3\n...\nend", Printed)),
        ?_assertNot(shows(~"a 3 of 4", Printed)),
        ?_assertNot(shows(~"a 3 of 3\nend", Printed)),
        ?_assertNot(shows(~"since yesterday, <0.7.0>", Printed)),
        ?_assertNot(shows(~"end\na 3 of 3", Printed))
    ].
