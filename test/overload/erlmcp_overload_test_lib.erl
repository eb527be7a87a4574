%% What the suites of the overload monitor share: both services, handlers that tell, stand-ins for modules.
-module(erlmcp_overload_test_lib).

-behaviour(erlmcp_overload_handler).

-export([with_services/1, alone/1, up/0, down/1, monitor/1, start/1, stop/0, crash/0]).
-export([fill/3, drain/3, brief/1, history/0, history/1, row/1]).
-export([handler/1, handler/2, next/1, next/2, until/2, role/3, silent/2]).
-export([idles/1, end_all/1, pass/1, configure/1]).
-export([stand_in/2, without/1]).
-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).

-define(MONITOR, erlmcp_overload_monitor).
-define(NEVER_MS, 3600000).

%% Each test has queue limits of its own, and starts the monitor itself.
with_services(Tests) ->
    {foreach, fun up/0, fun down/1, [
        {atom_to_list(Name), {timeout, 30, Test}}
     || Test <- Tests, {name, Name} <- [erlang:fun_info(Test, name)]
    ]}.

%% Runs a test in a process of its own, which what it has started may monitor.
alone(Test) ->
    Run = fun() ->
        try Test() of
            _ -> passed
        catch
            Class:Reason:Stacktrace -> {Class, Reason, Stacktrace}
        end
    end,
    case erlmcp_native_test_lib:in_process(Run) of
        passed -> ok;
        {Class, Reason, Stacktrace} -> erlang:raise(Class, Reason, Stacktrace)
    end.

up() ->
    erlmcp_native_test_lib:start().

down(Level) ->
    [
        ok = application:unset_env(App, Key)
     || App <- [erlmcp_native, erlmcp_core], Key <- [overload, overload_monitor_enabled, node]
    ],
    stop(),
    erlmcp_native_test_lib:stop(Level).

%% A monitor that does not check by itself. The handler tells the caller, with the tag that is returned.
monitor(Options) ->
    Tag = make_ref(),
    ok = start([{handlers, [handler(Tag)]} | Options]),
    Tag.

start(Options) ->
    {ok, Pid} = ?MONITOR:start_link(Options ++ [{check_interval, ?NEVER_MS}, {breaker_min_open, 0}]),
    unlink(Pid),
    ok.

%% Also ends what a killed one has left behind.
stop() ->
    whereis(?MONITOR) =/= undefined orelse start([{handlers, []}]),
    ok = gen_server:stop(?MONITOR).

crash() ->
    erlmcp_native_test_lib:kill(whereis(?MONITOR)).

fill(Role, Owner, Times) ->
    [ok = erlmcp_queue_limits:record_enqueue(Role, Owner) || _ <- lists:seq(1, Times)],
    ok.

drain(Role, Owner, Times) ->
    [ok = erlmcp_queue_limits:record_dequeue(Role, Owner) || _ <- lists:seq(1, Times)],
    ok.

brief(#{level := Level, role := Role, process := Process, depth := Depth, limit := Limit}) ->
    {Level, Role, Process, Depth, Limit}.

history() ->
    [brief(Alert) || Alert <- ?MONITOR:get_alert_history()].

history(Role) ->
    [brief(Alert) || Alert <- ?MONITOR:get_alert_history(Role)].

row(Role) ->
    [Row] = [Row || #{role := Of} = Row <- ?MONITOR:summary(), Of =:= Role],
    Row.

%% The caller gets {Tag, Event} for each event: {alert, Brief}, {clear, Brief}, {Role, open | close}.
handler(Tag) ->
    handler(Tag, fun(_) -> ok end).

%% Act runs after the event was told, in the handler; {return, Term} is what the callback is to return.
handler(Tag, Act) ->
    {?MODULE, {self(), Tag, Act}}.

init({_, _, Act} = Arg) ->
    case Act(init) of
        {return, Result} -> Result;
        _ -> {ok, Arg}
    end.

handle_alert(Alert, State) ->
    told({alert, brief(Alert)}, State).

handle_clear(Alert, State) ->
    told({clear, brief(Alert)}, State).

handle_role(Role, Action, State) ->
    told({Role, Action}, State).

told(Event, {Pid, Tag, Act} = State) ->
    Pid ! {Tag, Event},
    case Act(Event) of
        {return, Result} -> Result;
        _ -> {ok, State}
    end.

next(Tag) ->
    next(Tag, 5000).

next(Tag, Ms) ->
    receive
        {Tag, Event} -> Event
    after Ms -> error(not_told)
    end.

%% The events up to this one, which is not among them.
until(Tag, Last) ->
    case next(Tag) of
        {_, Action} when Last =:= {element(1, Last), Action}, is_atom(Action) -> behind(Tag);
        Last -> [];
        Event -> [Event | until(Tag, Last)]
    end.

%% A role's breaker may be told of before the alerts that moved it.
behind(Tag) ->
    whereis(?MONITOR) =:= undefined orelse [sys:get_state(?MONITOR) || _ <- [1, 2]],
    more(Tag).

more(Tag) ->
    receive
        {Tag, Event} -> [Event | more(Tag)]
    after 30 -> []
    end.

%% The next that is told of the role's breaker.
role(Tag, Role, Ms) ->
    receive
        {Tag, {Role, Action}} when Action =:= open; Action =:= close -> Action
    after Ms -> error(not_told)
    end.

%% Nothing was told until an alert that is made here; Marker is a role that nobody else uses.
silent(Tag, Marker) ->
    ok = erlmcp_queue_limits:set_limit(Marker, 5),
    fill(Marker, Marker, 4),
    until(Tag, {alert, {warning, Marker, Marker, 4, 5}}) =:= [].

idles(Count) ->
    [erlmcp_native_test_lib:idle() || _ <- lists:seq(1, Count)].

end_all(Pids) ->
    Refs = [{Pid, erlang:monitor(process, Pid)} || Pid <- Pids],
    [exit(Pid, kill) || Pid <- Pids],
    [
        receive
            {'DOWN', Ref, process, Pid, _} -> ok
        after 30000 -> error({still_alive, Pid})
        end
     || {Pid, Ref} <- Refs
    ],
    ok.

pass(Ms) ->
    Begun = erlang:monotonic_time(millisecond),
    erlmcp_native_test_lib:eventually(fun() -> erlang:monotonic_time(millisecond) - Begun >= Ms end, 2 * Ms + 100).

configure(Env) ->
    [ok = application:set_env(erlmcp_native, Key, Value) || {Key, Value} <- Env],
    erlmcp_native_app:reload_config().

%% Loads a module made of these lines.
stand_in(Module, Lines) ->
    Head = ["-module(", atom_to_list(Module), "). -compile([export_all, nowarn_export_all]).\n"],
    Source = [Head, lists:join("\n", Lines), "\n"],
    {ok, Tokens, _} = erl_scan:string(lists:flatten(Source)),
    {ok, Module, Beam} = compile:forms(forms(Tokens, [])),
    {module, Module} = code:load_binary(Module, atom_to_list(Module) ++ ".erl", Beam),
    ok.

forms([], []) ->
    [];
forms([{dot, _} = Dot | Rest], Form) ->
    {ok, Parsed} = erl_parse:parse_form(lists:reverse([Dot | Form])),
    [Parsed | forms(Rest, [])];
forms([Token | Rest], Form) ->
    forms(Rest, [Token | Form]).

without(Module) ->
    _ = code:purge(Module),
    _ = code:delete(Module),
    _ = code:purge(Module),
    ok.
