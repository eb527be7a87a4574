-module(erlmcp_overload_default_handler).
-moduledoc """
The handler that serves erlmcp's own modules, as they are and if they are there.

When a role reaches `critical` or `overload`, `erlmcp_health_monitor:report_degradation/1` is told, if a process
of that name is registered. When a role's breaker opens or closes, `erlmcp_circuit_breaker:force_open/1` or
`force_close/1` is called if that module exports them, `erlmcp_health_monitor:report_circuit_breaker/2` likewise,
and the control plane's component of the role's name gets `circuit_breaker`. That there is no breaker of the
role's name is no error.
""".

-behaviour(erlmcp_overload_handler).

-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).
-export([called/2]).

-define(HEALTH, erlmcp_health_monitor).
-define(BREAKER, erlmcp_circuit_breaker).

-type mfargs() :: {module(), atom(), [term()]}.
%% The level that was reported of a role, while it lasts.
-type state() :: #{erlmcp_queue_limits:role() => critical | overload}.

-doc false.
-spec init(term()) -> {ok, state()}.
init(_) ->
    {ok, #{}}.

-doc false.
-spec handle_alert(erlmcp_overload_monitor:alert(), state()) -> {ok, state()}.
handle_alert(#{level := warning}, State) ->
    {ok, State};
handle_alert(#{level := Level, role := Role}, State) ->
    case State of
        #{Role := Level} -> {ok, State};
        #{Role := overload} -> {ok, State};
        #{} -> calls(health(report_degradation, [Role]), State#{Role => Level})
    end.

-doc false.
-spec handle_clear(erlmcp_overload_monitor:alert(), state()) -> {ok, state()}.
handle_clear(#{role := Role}, State) when is_map_key(Role, State) ->
    case role_level(Role) of
        Level when Level =:= critical; Level =:= overload -> {ok, State#{Role := Level}};
        _ -> {ok, maps:remove(Role, State)}
    end;
handle_clear(_, State) ->
    {ok, State}.

-doc false.
-spec handle_role(erlmcp_queue_limits:role(), open | close, state()) -> {ok, state()}.
handle_role(Role, Action, State) ->
    {Force, Reported} =
        case Action of
            open -> {force_open, open};
            close -> {force_close, closed}
        end,
    Left =
        case Action of
            open -> State;
            %% What comes later is reported anew, even if the clearing was not told.
            close -> maps:remove(Role, State)
        end,
    calls(
        [{?BREAKER, Force, [Role]} || is_exported(?BREAKER, Force, 1)] ++
            [
                Call
             || is_exported(?HEALTH, report_circuit_breaker, 2),
                Call <- health(report_circuit_breaker, [Role, Reported])
            ] ++
            [{erlmcp_control_plane, send_circuit_breaker, [Role, Action]}],
        Left
    ).

health(Function, Args) ->
    [{?HEALTH, Function, Args} || whereis(?HEALTH) =/= undefined].

%% One after the other, each waited for where this module can be replaced meanwhile.
calls([], State) -> {ok, State};
calls([Call | Rest], State) -> erlmcp_native_wait:run(Call, {?MODULE, called, {Call, Rest, State}}).

-doc false.
-spec called(erlmcp_native_wait:outcome(), {mfargs(), [mfargs()], state()}) -> {ok, state()}.
called({returned, _}, {_, Rest, State}) ->
    calls(Rest, State);
called({raised, Class, Reason, Stacktrace}, {{Module, _, _}, Rest, State}) ->
    case is_nobody(Class, Reason) andalso Module =/= ?HEALTH of
        true -> calls(Rest, State);
        false -> erlang:raise(Class, Reason, Stacktrace)
    end.

%% The breaker is a process of the role's name, and the control plane is a service: there need be neither.
is_nobody(exit, noproc) -> true;
is_nobody(exit, {noproc, _}) -> true;
is_nobody(_, _) -> false.

is_exported(Module, Function, Arity) ->
    code:ensure_loaded(Module) =:= {module, Module} andalso
        erlang:function_exported(Module, Function, Arity).

role_level(Role) ->
    case erlmcp_native:overload_levels(own) of
        Levels when is_list(Levels) ->
            case lists:keyfind(Role, 1, Levels) of
                {Role, Level} -> Level;
                false -> ok
            end;
        _ ->
            ok
    end.
