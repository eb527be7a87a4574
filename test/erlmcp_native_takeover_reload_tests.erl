%% Modules are loaded anew while somebody waits to take a service over: for its answer, and for its end.
-module(erlmcp_native_takeover_reload_tests).

-include_lib("eunit/include/eunit.hrl").

-export([taken_over/1]).

-import(erlmcp_native_test_lib, [eventually/1]).

-define(LIMITS, erlmcp_queue_limits).
-define(SUPERVISOR, erlmcp_native_sup).
-define(RELOADED, [?LIMITS, erlmcp_limits_server, erlmcp_native_service, erlmcp_native_error, erlmcp_native_config]).
-define(DEADLINE_MS, 30000).

%% In a node of its own, where nobody else would be killed.
takeover_reload_test_() ->
    [
        {atom_to_list(Slow), {timeout, 60, fun() ->
            Peer = erlmcp_native_test_lib:peer(erlmcp_native_test_lib:ebins([?LIMITS, ?MODULE]), []),
            try
                ?assertEqual(ok, peer:call(Peer, ?MODULE, taken_over, [Slow], 50000))
            after
                peer:stop(Peer)
            end
        end}}
     || Slow <- [?LIMITS, ?SUPERVISOR]
    ].

taken_over(Slow) ->
    ok = application:start(erlmcp_native),
    ok = ?LIMITS:record_enqueue(session, kept),
    Before = whereis(?LIMITS),
    Test = self(),
    ok = sys:suspend(Slow),
    {Taker, Monitor} = spawn_monitor(fun() ->
        Test ! {taken, ?LIMITS:start_link()},
        receive stop -> ok end
    end),
    eventually(fun() -> is_waiting(Slow, Taker) end),
    [
        begin
            true = code:soft_purge(Module),
            {module, Module} = code:load_file(Module)
        end
     || _ <- [1, 2, 3], Module <- ?RELOADED
    ],
    ok = sys:resume(Slow),
    receive
        {taken, {ok, Service}} -> ?assertEqual([Service], [whereis(?LIMITS)] -- [Before]);
        {taken, Other} -> error({not_taken, Other});
        {'DOWN', Monitor, process, Taker, Reason} -> error({died, Reason})
    after ?DEADLINE_MS -> error({waits, process_info(Taker, current_stacktrace)})
    end,
    ?assertEqual(1, ?LIMITS:get_queue_depth(session, kept)),
    Taker ! stop,
    application:stop(erlmcp_native).

%% For the answer of a service that is suspended, or for its end, which its supervisor is to bring about.
is_waiting(Slow, Taker) ->
    {message_queue_len, Waiting} = process_info(whereis(Slow), message_queue_len),
    Waiting > 0 andalso process_info(Taker, status) =:= {status, waiting}.
