-module(erlmcp_native_bench_page).
-moduledoc """
The node's part of `make bench-page`: owners and traffic for a page to show, how quick admissions are meanwhile, and
what the listener's connections send.
""".

-export([fill/2, traffic/2, admit/1, sent/1]).

-define(LIMITS, erlmcp_queue_limits).
-define(LIMIT, 1_000).
-define(COMPONENTS, [session, transport, executor, stream, server]).
-define(BATCH, 500).
-define(TURN_MS, 100).
-define(LOOK_MS, 100).

-doc """
Starts so many idle processes, each of which has something waiting in one of the roles, in turn, and a few components.
""".
-spec fill([erlmcp_queue_limits:role(), ...], Owners :: pos_integer()) -> ok.
fill(Roles, Owners) ->
    [ok = ?LIMITS:set_limit(Role, ?LIMIT) || Role <- Roles],
    Idle = tuple_to_list(erlmcp_native_bench_owners:start(Owners)),
    ok = enqueue(Idle, Roles, Roles),
    [ok = erlmcp_control_plane:register_component(Id, fun(_) -> ok end) || Id <- ?COMPONENTS],
    [{ok, _} = erlmcp_control_plane:send_health_check(Id, liveness) || Id <- ?COMPONENTS, _ <- lists:seq(1, 100)],
    erlmcp_overload_monitor:force_check().

enqueue([], _, _) ->
    ok;
enqueue(Idle, [], Roles) ->
    enqueue(Idle, Roles, Roles);
enqueue([Owner | Idle], [Role | Rest], Roles) ->
    [ok = ?LIMITS:record_enqueue(Role, Owner) || _ <- lists:seq(1, rand:uniform(4))],
    enqueue(Idle, Rest, Roles).

-doc "Has each of the roles take in a few requests, and work some off, ten times a second, for so long.".
-spec traffic([erlmcp_queue_limits:role()], Ms :: pos_integer()) -> ok.
traffic(Roles, Ms) ->
    _ = spawn(fun() ->
        _ = erlang:send_after(Ms, self(), stop),
        move(Roles)
    end),
    ok.

move(Roles) ->
    [
        begin
            In = rand:uniform(20),
            [ok = ?LIMITS:record_enqueue(Role, self()) || _ <- lists:seq(1, In)],
            [ok = ?LIMITS:record_dequeue(Role, self()) || _ <- lists:seq(1, min(depth(Role), rand:uniform(20)))]
        end
     || Role <- Roles
    ],
    receive
        stop -> ok
    after ?TURN_MS -> move(Roles)
    end.

depth(Role) ->
    ?LIMITS:get_queue_depth(Role, self()).

-doc """
Admits and takes out again for so long, in a process of its own: how many a second, and how many nanoseconds one took in
the middle batch, which is one that was not interrupted.
""".
-spec admit(Ms :: pos_integer()) -> #{per_s := float(), ns := float()}.
admit(Ms) ->
    {_, Monitor} = spawn_monitor(fun() ->
        Begun = now_ns(),
        Batches = batches(Begun + Ms * 1_000_000, []),
        Ns = now_ns() - Begun,
        Middle = erlmcp_native_bench_run:median(Batches) / ?BATCH,
        exit({admitted, #{per_s => length(Batches) * ?BATCH * 1.0e9 / Ns, ns => Middle}})
    end),
    receive
        {'DOWN', Monitor, process, _, {admitted, Result}} -> Result
    end.

batches(UntilNs, Batches) ->
    BegunNs = now_ns(),
    case BegunNs < UntilNs of
        true ->
            ok = erlmcp_native_bench_loops:run(admit, session, {one, self()}, ?BATCH),
            batches(UntilNs, [now_ns() - BegunNs | Batches]);
        false ->
            Batches
    end.

-doc "Returns how many bytes the listener's connections send in so long, with all that goes before the bodies.".
-spec sent(Ms :: pos_integer()) -> non_neg_integer().
sent(Ms) ->
    Before = octets(),
    sent(Before, Before, erlang:monotonic_time(millisecond) + Ms).

%% What a connection sends in its last tenth of a second is not seen.
sent(Before, Seen, UntilMs) ->
    receive
    after ?LOOK_MS -> ok
    end,
    Now = maps:merge(Seen, octets()),
    case erlang:monotonic_time(millisecond) < UntilMs of
        true -> sent(Before, Now, UntilMs);
        false -> lists:sum(maps:values(Now)) - lists:sum(maps:values(Before))
    end.

octets() ->
    Own = erlmcp_native_http:port(),
    #{
        Socket => Octets
     || Socket <- erlang:ports(),
        erlang:port_info(Socket, name) =:= {name, "tcp_inet"},
        {ok, {_, Port}} <- [inet:sockname(Socket)],
        Port =:= Own,
        {ok, [{send_oct, Octets}]} <- [inet:getstat(Socket, [send_oct])]
    }.

now_ns() ->
    erlang:monotonic_time(nanosecond).
