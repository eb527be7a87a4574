-module(erlmcp_native_soak_components).
-moduledoc """
Components are registered, replaced, unregistered, and go with their owners; handlers raise and are killed; senders are
killed while they wait. At rest those components are there that should be, and each of them answers.
""".
-behaviour(erlmcp_native_soak_actor).

-export([init/0, act/1, rest/1]).
-export([handle/1]).

-define(P, erlmcp_control_plane).
-define(SENDERS, 10).

-type state() :: #{Id :: atom() => alone | pid()}.

-doc false.
-spec init() -> state().
init() ->
    #{}.

-doc false.
-spec act(state()) -> {[atom()], state()}.
act(Components) ->
    receive after 5 -> ok end,
    Id = one_of(ids()),
    case rand:uniform(12) of
        1 -> {[registrations], alone(Id, Components)};
        2 -> {[registrations], owned(Id, Components)};
        3 -> {[registrations], alias(Id, Components)};
        4 -> {[unregistrations], without(Id, Components)};
        5 -> {[casts], cast(Id, Components)};
        _ -> send(Components)
    end.

ids() ->
    [soak_a, soak_b, soak_c, soak_d, soak_e, soak_f, soak_g, soak_h].

one_of(List) ->
    lists:nth(rand:uniform(length(List)), List).

alone(Id, Components) ->
    ok = again(fun() -> ?P:register_component(Id, fun ?MODULE:handle/1) end),
    (ended(Id, Components))#{Id => alone}.

owned(Id, Components) ->
    Owner = spawn(fun() -> receive after infinity -> ok end end),
    ok = again(fun() -> ?P:register_component(Id, #{handler => fun ?MODULE:handle/1, owner => Owner}) end),
    (ended(Id, Components))#{Id => Owner}.

alias(Id, Components) ->
    Self = self(),
    Owner = spawn(fun() ->
        Self ! {self(), erlmcp_priority:create_priority_alias()},
        serve()
    end),
    receive
        {Owner, Alias} -> ok = again(fun() -> ?P:register_component(Id, #{alias => Alias, timeout_ms => 100}) end)
    end,
    (ended(Id, Components))#{Id => Owner}.

serve() ->
    receive
        {priority, From, {control, _, _}} ->
            ok = ?P:reply(From, ok),
            serve()
    end.

without(Id, Components) ->
    ok = again(fun() -> ?P:unregister_component(Id) end),
    maps:remove(Id, ended(Id, Components)).

%% Its owner, or whoever served it, was replaced.
ended(Id, Components) ->
    case Components of
        #{Id := Owner} when is_pid(Owner) -> exit(Owner, kill), Components;
        #{} -> Components
    end.

cast(Id, Components) ->
    _ = ?P:cast_priority(Id, erlmcp_control_message:cancel_task(1)),
    Components.

send(Components) ->
    Senders = [spawn_monitor(fun() -> sender(one_of(ids()), rand:uniform(4)) end) || _ <- lists:seq(1, ?SENDERS)],
    receive after 1 -> ok end,
    Killed = [exit(Pid, kill) || {Pid, _} <- Senders, rand:uniform(4) =:= 1],
    [receive {'DOWN', Monitor, process, Pid, _} -> ok end || {Pid, Monitor} <- Senders],
    {[sends || _ <- Senders] ++ [senders_killed || _ <- Killed], Components}.

sender(Id, 1) -> ?P:send_circuit_breaker(Id, query);
sender(Id, 2) -> ?P:send_health_check(Id, liveness);
sender(Id, 3) -> ?P:send_drain_session(Id, <<"session">>);
sender(Id, 4) -> ?P:send_cancel_task(Id, {task, lists:seq(1, 100)}).

-doc false.
-spec handle(erlmcp_control_plane:control_message()) -> term().
handle({control, health_check, _}) ->
    ok;
handle(_) ->
    case rand:uniform(30) of
        1 -> error(soak);
        2 -> exit(self(), kill);
        3 -> {error, soak};
        4 -> receive after 2 -> ok end;
        _ -> ok
    end.

-doc false.
-spec rest(state()) -> {[iodata()], state()}.
rest(Components) ->
    [exit(Owner, kill) || Owner <- maps:values(Components), is_pid(Owner)],
    Left = #{Id => alone || Id := alone <- Components},
    Wanted = lists:sort(maps:keys(Left)),
    Are = fun() -> lists:sort(again(fun ?P:components/0)) end,
    There = erlmcp_native_soak_actor:eventually(fun() -> Are() =:= Wanted end, fun() ->
        io_lib:format("components are ~0p, and should be ~0p", [Are(), Wanted])
    end),
    Answers = [
        erlmcp_native_soak_actor:eventually(
            fun() -> element(1, ?P:send_health_check(Id, liveness)) =:= ok end,
            io_lib:format("~s does not answer", [Id])
        )
     || Id <- Wanted
    ],
    {There ++ lists:append(Answers), Left}.

%% A call that is under way when the service is killed may have been served, or not: another makes sure.
again(Call) ->
    try
        Call()
    catch
        exit:_ ->
            receive after 5 -> again(Call) end
    end.
