%% What the suites of the control plane share: a started service, gated handlers, senders that wait.
-module(erlmcp_control_test_lib).

-behaviour(supervisor).

-export([with_plane/1, start/0, stop/1, crash/0, restart/0]).
-export([supervise/1, init/1]).
-export([gate/1, gate/2, gate_fun/1, running/1, go/1, go/2, idle_pid/1]).
-export([async/1, result/1, result/2, waits_in/2]).
-export([queued/1, queued_all/1, stat/1, type/2]).
-export([badarg/2, down/1, mailbox/1, capture/0, release/1, logged/1, log/2]).

-define(LIB, erlmcp_native_test_lib).

%% A service of its own for each test, linked to nobody; crashes that are meant are not logged.
with_plane(Tests) ->
    {foreach, fun start/0, fun stop/1, [{timeout, 60, Test} || Test <- Tests]}.

start() ->
    Level = ?LIB:quiet(),
    ok = restart(),
    Level.

stop(Level) ->
    case whereis(erlmcp_control_plane) of
        undefined -> ok = restart();
        _ -> ok
    end,
    ok = gen_server:stop(erlmcp_control_plane),
    ok = ?LIB:loud(Level).

crash() ->
    ?LIB:kill(whereis(erlmcp_control_plane)).

restart() ->
    {ok, Pid} = erlmcp_control_plane:start_link(),
    true = unlink(Pid),
    ok.

supervise(Specs) ->
    supervisor:start_link(?MODULE, Specs).

init(Specs) ->
    {ok, {#{strategy => one_for_one, intensity => 100, period => 10}, Specs}}.

%% A handler that says what it is given and waits to be told what to answer.
gate(Id) ->
    gate(Id, #{}).

gate(Id, Options) ->
    ok = erlmcp_control_plane:register_component(Id, Options#{handler => gate_fun(Id)}).

gate_fun(Id) ->
    Test = self(),
    fun(Message) ->
        Test ! {Id, self(), Message},
        receive
            {go, Answer} when is_function(Answer, 0) -> Answer();
            {go, Answer} -> Answer
        end
    end.

running(Id) ->
    receive
        {Id, Pid, Message} -> {Pid, Message}
    after 10000 -> error({not_run, Id})
    end.

go(Pid) ->
    go(Pid, ok).

go(Pid, Answer) ->
    Pid ! {go, Answer},
    ok.

%% The process of a gated handler that has nothing to do.
idle_pid(Id) ->
    Sender = async(fun() -> erlmcp_control_plane:send_circuit_breaker(Id, query) end),
    {Pid, _} = running(Id),
    go(Pid),
    {ok, _} = result(Sender),
    Pid.

async(Fun) ->
    spawn_monitor(fun() -> exit({result, Fun()}) end).

result(Sender) ->
    result(Sender, 10000).

result({Pid, Ref}, Ms) ->
    receive
        {'DOWN', Ref, process, Pid, {result, Result}} -> Result;
        {'DOWN', Ref, process, Pid, Reason} -> {died, Reason}
    after Ms -> error({no_result_within_ms, Ms, process_info(Pid, current_stacktrace)})
    end.

%% N messages have come to a process that is at something else.
waits_in(Pid, N) ->
    ?LIB:eventually(fun() -> process_info(Pid, message_queue_len) =:= {message_queue_len, N} end).

queued(Id) ->
    #{by_component := #{Id := #{queued := Queued}}} = erlmcp_control_plane:get_stats(),
    Queued.

queued_all(N) ->
    maps:from_keys([circuit_breaker, health_check, drain_session, cancel_task], N).

stat(Key) ->
    maps:get(Key, erlmcp_control_plane:get_stats()).

type(circuit_breaker, Id) -> {control, circuit_breaker, #{action => query, component => Id}};
type(health_check, _) -> {control, health_check, #{type => full}};
type(drain_session, N) -> {control, drain_session, #{session_id => N}};
type(cancel_task, N) -> {control, cancel_task, #{task_id => N}}.

%% The call raises badarg, from the function that was called, with an explanation. Which argument is it?
badarg(Function, Args) ->
    try apply(erlmcp_control_plane, Function, Args) of
        Result -> error({returned, Result})
    catch
        error:badarg:Stacktrace ->
            [{erlmcp_control_plane, Function, Args, Info} | _] = Stacktrace,
            #{error_info := #{module := Module}} = maps:from_list(Info),
            [{Position, Text}] = maps:to_list(Module:format_error(badarg, Stacktrace)),
            true = length(Text) > 5,
            Position
    end.

down(Pid) ->
    Ref = monitor(process, Pid),
    receive
        {'DOWN', Ref, process, Pid, _} -> ok
    after 10000 -> error({still_alive, Pid})
    end.

mailbox(Pid) ->
    {messages, Messages} = process_info(Pid, messages),
    Messages.

%% Errors and worse, as {logged, Level, Text} to the caller and nowhere else.
capture() ->
    Handlers = [{Id, Level} || #{id := Id, level := Level} <- logger:get_handler_config()],
    [ok = logger:set_handler_config(Id, level, none) || {Id, _} <- Handlers],
    Before = ?LIB:quiet(),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()}}),
    ok = ?LIB:loud(warning),
    {Before, Handlers}.

release({Before, Handlers}) ->
    ok = logger:remove_handler(?MODULE),
    [ok = logger:set_handler_config(Id, level, Level) || {Id, Level} <- Handlers],
    ok = ?LIB:loud(Before).

logged(Ms) ->
    receive
        {logged, Level, Text} -> {Level, Text}
    after Ms -> nothing
    end.

log(#{level := Level} = Event, #{config := #{to := Pid}}) ->
    Text = unicode:characters_to_list(logger_formatter:format(Event, #{single_line => true})),
    Pid ! {logged, Level, Text},
    ok.
