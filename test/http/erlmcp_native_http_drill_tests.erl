%% From a verdict to the process: why, a role's owners, an owner, a component.
-module(erlmcp_native_http_drill_tests).

-include_lib("eunit/include/eunit.hrl").

-import(erlmcp_native_http_test_lib, [fetch/1, json/1]).
-import(erlmcp_overload_test_lib, [fill/3]).

drill_test_() ->
    erlmcp_native_http_test_lib:with_listener([
        fun why_says_what_the_shell_says/0,
        fun why_of_an_owner/0,
        fun why_says_no_key_of_a_rate/0,
        fun why_without_services/0,
        fun owners_by_rank/0,
        fun owners_with_a_text/0,
        fun a_process_that_waits/0,
        fun a_process_that_is_suspended/0,
        fun a_process_that_is_dead/0,
        fun a_mailbox_that_is_limited/0,
        fun a_name_with_and_without_a_process/0,
        fun a_component_with_its_errors/0,
        fun a_component_whose_process_dies/0,
        fun errors_are_bounded/0,
        fun whatever_is_wrong_is_said/0,
        fun answers_are_bounded/0,
        fun nothing_makes_an_atom/0
    ]).

why_says_what_the_shell_says() ->
    ok = erlmcp_queue_limits:set_limit(r, 2),
    fill(r, a, 2),
    {error, _} = erlmcp_queue_limits:try_enqueue(r, a),
    #{~"role" := ~"r", ~"owner" := null, ~"verdict" := Verdict, ~"lines" := Lines} = json("/api/why?role=r"),
    ?assertEqual(~"r refuses what comes for a full owner: the fullest has 2 of 2", Verdict),
    Shown = [{Name, Words} || #{~"name" := Name, ~"words" := Words} <- Lines],
    ?assertEqual({~"reasons", ~"1 critical (full)"}, lists:keyfind(~"reasons", 1, Shown)),
    [First | Rest] = binary:split(erlmcp_overload:why_text(r), ~"\n", [global, trim]),
    ?assertEqual(Verdict, First),
    ?assertEqual([Name || {Name, _} <- Shown], [hd(string:lexemes(Line, " ")) || Line <- Rest]).

why_of_an_owner() ->
    ok = erlmcp_queue_limits:set_limit(r, 5),
    Idle = erlmcp_native_test_lib:idle(),
    fill(r, Idle, 3),
    Path = "/api/why?role=r&owner=" ++ quote(pid_to_list(Idle)),
    #{~"verdict" := Verdict, ~"owner" := Owner} = json(Path),
    ?assertEqual(list_to_binary(pid_to_list(Idle)), Owner),
    ?assertEqual(<<Owner/binary, " in r has room for 2: it has 3 of 5">>, Verdict).

%% A role and a rate may have one name. The keys are for whoever has a shell.
why_says_no_key_of_a_rate() ->
    fill(api, a, 1),
    ok = erlmcp_overload_rate:define(api, #{rate => {1, hour}}),
    [erlmcp_overload_rate:take(api, secret_key) || _ <- "abc"],
    ?assertMatch({_, _}, binary:match(erlmcp_overload:why_text(api), ~"secret_key")),
    {200, _, Body} = fetch("/api/why?role=api"),
    ?assertEqual(nomatch, binary:match(Body, ~"secret_key")).

why_without_services() ->
    fill(r, a, 1),
    ok = gen_server:stop(erlmcp_overload_monitor),
    {503, _, Body} = fetch("/api/why?role=r"),
    ?assertMatch(#{~"reason" := ~"erlmcp_overload_monitor is not started"}, json:decode(Body)),
    ok = erlmcp_overload_test_lib:start([{handlers, []}]),
    ok = gen_server:stop(erlmcp_native_scan),
    ?assertMatch({503, _, _}, fetch("/api/why?role=r")).

owners_by_rank() ->
    ok = erlmcp_queue_limits:set_limit(r, 100),
    fill(r, slow, 5),
    fill(r, long, 20),
    fill(r, quick, 10),
    %% The one that is taken from was the last to be: it stands still for less long than the others.
    erlmcp_native_test_lib:eventually(fun() -> stalled(slow) >= 200 end),
    [ok = erlmcp_queue_limits:record_dequeue(r, Owner) || Owner <- [quick, long]],
    ?assertEqual([~"long", ~"quick", ~"slow"], owners("/api/queues?role=r")),
    ?assertEqual([~"long", ~"quick", ~"slow"], owners("/api/queues?role=r&by=depth")),
    ?assertEqual([~"slow"], owners("/api/queues?role=r&top=1&by=stalled")),
    ?assertMatch(#{~"by" := ~"stalled", ~"top" := 10}, json("/api/queues?role=r&by=stalled")),
    %% By the share of the limit, and by the number: an owner's own limit makes the difference.
    ok = erlmcp_queue_limits:set_limit(s, 2),
    fill(s, small, 2),
    ?assertMatch([#{~"process" := ~"small"} | _], maps:get(~"queues", json("/api/queues"))),
    %% Nobody has waited for another in either, so that is not known; the fullest comes first.
    ?assertEqual([~"long"], owners("/api/queues?role=r&by=wait&top=1")).

stalled(Owner) ->
    [Ms] = [Ms || #{process := Process, stalled_ms := Ms} <- erlmcp_overload_monitor:queues(r), Process =:= Owner],
    Ms.

owners_with_a_text() ->
    [fill(r, Owner, 1) || Owner <- [alpha, beta, 'ALPHABET']],
    ?assertEqual([~"ALPHABET", ~"alpha"], lists:sort(owners("/api/queues?role=r&text=Alpha"))),
    ?assertEqual([], owners("/api/queues?role=r&text=gamma")),
    ?assertEqual(1, length(owners("/api/queues?role=r&text=alpha&top=1"))).

owners(Path) ->
    [Owner || #{~"process" := Owner} <- maps:get(~"queues", json(Path))].

a_process_that_waits() ->
    ok = erlmcp_queue_limits:set_limit(r, 5),
    Pid = proc_lib:spawn(fun() ->
        proc_lib:set_label({session, ~"Müller"}),
        receive stop -> ok end
    end),
    Pid ! one,
    fill(r, Pid, 3),
    Owner = list_to_binary(pid_to_list(Pid)),
    erlmcp_native_test_lib:eventually(fun() -> maps:get(~"state", owner(Pid)) =:= ~"alive" end),
    erlmcp_native_test_lib:eventually(fun() -> is_map_key(~"label", process(Pid)) end),
    #{~"owner" := Owner, ~"words" := Words, ~"process" := Process, ~"queues" := Queues} = owner(Pid),
    ?assertEqual(~"it is alive, and waits for a message that is none of those in its mailbox", Words),
    ?assertMatch(
        #{
            ~"registered_name" := null,
            ~"label" := <<"{session,", _/binary>>,
            ~"message_queue_len" := 1,
            ~"status" := ~"waiting",
            ~"reductions_per_s" := PerS,
            ~"memory_bytes" := Bytes,
            ~"stack" := [_ | _]
        } when Bytes > 1000 andalso PerS < 100,
        Process
    ),
    ?assertMatch(
        #{~"initial_call" := <<"erlmcp_native_http_drill_tests:'-a_process_that_waits", _/binary>>}, Process
    ),
    ?assertMatch([#{~"role" := ~"r", ~"depth" := 3, ~"limit" := 5, ~"kind" := ~"counted"}], Queues),
    %% Only the role that is asked for is shown although nothing waits there.
    ok = erlmcp_queue_limits:set_limit(s, 5),
    #{~"queues" := Both} = json("/api/owner?role=s&pid=" ++ quote(pid_to_list(Pid))),
    ?assertEqual([{~"r", 3}, {~"s", 0}], [{Role, Depth} || #{~"role" := Role, ~"depth" := Depth} <- Both]),
    exit(Pid, kill).

a_process_that_is_suspended() ->
    Idle = erlmcp_native_test_lib:idle(),
    true = erlang:suspend_process(Idle),
    ?assertMatch(#{~"state" := ~"alive", ~"words" := <<"it is suspended", _/binary>>}, owner(Idle)),
    true = erlang:resume_process(Idle).

a_process_that_is_dead() ->
    {Pid, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, process, _, _} -> ok end,
    ?assertMatch(
        #{~"state" := ~"dead", ~"process" := null, ~"queues" := [], ~"words" := <<"it has ended", _/binary>>},
        owner(Pid)
    ).

a_mailbox_that_is_limited() ->
    Idle = erlmcp_native_test_lib:idle(),
    [ok = erlmcp_overload_mailbox:send(r, Idle, message) || _ <- "abc"],
    ?assertMatch([#{~"role" := ~"r", ~"kind" := ~"mailbox", ~"depth" := 3}], maps:get(~"queues", owner(Idle))).

a_name_with_and_without_a_process() ->
    fill(r, erlmcp_queue_limits, 2),
    #{~"words" := Words, ~"process" := Process, ~"queues" := [#{~"depth" := 2}]} =
        json("/api/owner?pid=erlmcp_queue_limits"),
    ?assertMatch({_, _}, binary:match(Words, list_to_binary(pid_to_list(whereis(erlmcp_queue_limits))))),
    ?assertMatch(#{~"registered_name" := ~"erlmcp_queue_limits"}, Process),
    fill(r, nobody_has_this_name, 1),
    ?assertMatch(
        #{~"state" := ~"name", ~"process" := null, ~"queues" := [#{~"depth" := 1}]},
        json("/api/owner?pid=nobody_has_this_name")
    ),
    %% Of one under which nobody counts, nobody says so.
    ?assertMatch(
        #{~"state" := ~"name", ~"words" := ~"it is a name, and no process has it", ~"queues" := []},
        json("/api/owner?pid=lists")
    ).

a_component_with_its_errors() ->
    Handler = fun({control, _, Data}) -> maps:get(type, Data) =:= liveness orelse error({broken, Data}) end,
    ok = erlmcp_control_plane:register_component(server, Handler),
    {ok, _} = erlmcp_control_plane:send_health_check(server, liveness),
    ?assertMatch(#{~"id" := ~"server", ~"crashes" := 0, ~"errors" := [], ~"delivered" := 1}, component()),
    {error, {handler_crashed, _}} = erlmcp_control_plane:send_health_check(server, readiness),
    erlmcp_native_test_lib:eventually(fun() -> maps:get(~"errors", component()) =/= [] end),
    #{~"crashes" := 1, ~"errors" := [#{~"at_ms" := AtMs, ~"reason" := Reason}], ~"queued" := Queued} = component(),
    ?assert(abs(erlang:system_time(millisecond) - AtMs) < 60000),
    ?assertMatch(<<"raised {error,{broken,", _/binary>>, Reason),
    ?assertMatch({_, _}, binary:match(Reason, ~"erlmcp_native_http_drill_tests")),
    ?assertEqual(4, map_size(Queued)),
    ok = erlmcp_control_plane:reset_stats(),
    ?assertMatch(#{~"crashes" := 0, ~"errors" := []}, component()).

a_component_whose_process_dies() ->
    ok = erlmcp_control_plane:register_component(server, fun(_) -> exit(self(), kill) end),
    {error, {handler_crashed, killed}} = erlmcp_control_plane:send_health_check(server, full),
    erlmcp_native_test_lib:eventually(fun() ->
        [Reason || #{~"reason" := Reason} <- maps:get(~"errors", component())] =:= [~"its process died: killed"]
    end).

errors_are_bounded() ->
    Huge = [{N, lists:duplicate(100, $x)} || N <- lists:seq(1, 10000)],
    ok = erlmcp_control_plane:register_component(server, fun(_) -> error(Huge) end),
    [{error, _} = erlmcp_control_plane:send_health_check(server, full) || _ <- lists:seq(1, 20)],
    erlmcp_native_test_lib:eventually(fun() -> length(maps:get(~"errors", component())) =:= 5 end),
    #{~"crashes" := 20, ~"errors" := Errors} = component(),
    ?assertEqual([], [Reason || #{~"reason" := Reason} <- Errors, string:length(Reason) > 400]).

component() ->
    json("/api/component?id=server").

whatever_is_wrong_is_said() ->
    fill(r, a, 1),
    Big = lists:duplicate(1021, $a),
    [
        ?assertEqual({Path, Parameter}, {Path, refused(Path)})
     || {Path, Parameter} <- [
            {"/api/why", ~"role"},
            {"/api/why?owner=a", ~"role"},
            {"/api/why?role=unheard_of", ~"role"},
            {"/api/why?role=r&owner=" ++ Big, ~"owner"},
            {"/api/why?role=r&owner=never_heard_of_this_one", ~"owner"},
            {"/api/why?role=r&owner=%3C7.90.0%3E", ~"owner"},
            {"/api/why?role=r&pid=a", ~"pid"},
            {"/api/owner", ~"pid"},
            {"/api/owner?pid=%3C7.90.0%3E", ~"pid"},
            {"/api/owner?pid=%3C0.90.0%3Ex", ~"pid"},
            {"/api/owner?pid=%3C0.90.0%3E%0A", ~"pid"},
            {"/api/owner?pid=%3C0.9999999999.0%3E", ~"pid"},
            {"/api/owner?pid=%3C0.90%3E", ~"pid"},
            {"/api/owner?pid=%ff", ~"pid"},
            {"/api/owner?pid=" ++ Big, ~"pid"},
            {"/api/component", ~"id"},
            {"/api/component?id=unheard_of", ~"id"},
            {"/api/component?id=" ++ Big, ~"id"},
            {"/api/queues?by=wait", ~"by"},
            {"/api/queues?role=r&by=beauty", ~"by"},
            {"/api/queues?role=r&text=" ++ Big, ~"text"},
            {"/api/alerts?role=r&by=wait", ~"by"}
        ]
    ].

refused(Path) ->
    {400, #{~"content-type" := ~"application/json"}, Body} = fetch(Path),
    #{~"error" := ~"bad_parameter", ~"parameter" := Parameter, ~"reason" := Reason} = json:decode(Body),
    ?assert(byte_size(Reason) >= 10),
    Parameter.

answers_are_bounded() ->
    Long = list_to_atom(lists:duplicate(255, $ö)),
    ok = erlmcp_queue_limits:set_limit(Long, 1),
    Deep = lists:foldl(fun(_, Term) -> [Term] end, [], lists:seq(1, 100000)),
    Pid = proc_lib:spawn(fun() ->
        proc_lib:set_label({Deep, lists:seq(1, 100000)}),
        receive stop -> ok end
    end),
    fill(Long, Pid, 1),
    {error, _} = erlmcp_queue_limits:try_enqueue(Long, Pid),
    erlmcp_native_test_lib:eventually(fun() -> is_map_key(~"label", process(Pid)) end),
    Name = uri_string:quote(atom_to_binary(Long)),
    [
        begin
            {200, _, Body} = fetch(binary_to_list(iolist_to_binary([Path, Name]))),
            ?assert(byte_size(Body) < 20000)
        end
     || Path <- [
            "/api/why?role=",
            ["/api/owner?pid=", quote(pid_to_list(Pid)), "&role="],
            ["/api/why?owner=", quote(pid_to_list(Pid)), "&role="],
            "/api/queues?top=1000&role="
        ]
    ],
    exit(Pid, kill).

nothing_makes_an_atom() ->
    fill(r, a, 1),
    Ask = fun(N) ->
        Odd = "never_heard_of_" ++ integer_to_list(N),
        [{400, _, _} = fetch(Path ++ Odd) || Path <- ["/api/owner?pid=", "/api/why?role=", "/api/why?role=r&owner=",
            "/api/component?id=", "/api/queues?by=", "/api/queues?role=r&by="]]
    end,
    Ask(0),
    Before = erlang:system_info(atom_count),
    [Ask(N) || N <- lists:seq(1, 100)],
    ?assert(erlang:system_info(atom_count) - Before < 100).

owner(Pid) ->
    json("/api/owner?pid=" ++ quote(pid_to_list(Pid))).

process(Pid) ->
    case owner(Pid) of
        #{~"process" := #{~"label" := Label} = Process} when is_binary(Label) -> Process;
        #{} -> #{}
    end.

quote(Text) ->
    uri_string:quote(Text).
