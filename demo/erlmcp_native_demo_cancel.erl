-module(erlmcp_native_demo_cancel).
-moduledoc """
Two tools are called at an executor at which hundreds of requests wait, and are cancelled by control messages: the one
while it runs, the other before its call has been taken up.

A call waits like any request; a cancellation goes ahead of all of them, and so of a call, too. A tool runs in a process
of its own, in the name of the executor, holds a place, and looks at its token after each piece of work.
""".

-export([start/2, cancel_two/2]).

-export_type([call/0, cancelled/0]).

-define(ROLE, task_worker).
-define(PIECE, 16_384).
-define(DEADLINE_MS, 15_000).

-doc "A call of a tool is what an executor gets of it.".
-type call() :: {tool, Caller :: pid(), Id :: reference()}.
-doc """
This says how many requests waited at the executor when the first tool was cancelled, how long after that it had ended,
and whether its place was free when the canceller had its answer; and of the second, whether it ran. What was not seen
before the deadline is `not_seen`.
""".
-type cancelled() :: #{
    process := pid(),
    past := non_neg_integer(),
    ended_us := non_neg_integer() | not_seen,
    freed := boolean(),
    overtaken := never_began | ended | not_seen
}.

-doc "Starts a tool in the name of the caller, an executor, unless its cancellation has overtaken the call.".
-spec start(call(), erlmcp_native_demo_meter:meter()) -> ok.
start({tool, Caller, Id}, Meter) ->
    {ok, Permit} = erlmcp_queue_limits:acquire(?ROLE, self()),
    Token = erlmcp_control_cancel:new(#{id => Id, permit => Permit}),
    case erlmcp_control_cancel:is_cancelled(Token) of
        true ->
            ok = erlmcp_control_cancel:done(Token),
            Caller ! {never_began, Id, now_us()};
        false ->
            Tool = spawn(fun() -> work(Token, Caller, Id, <<0:?PIECE/unit:8>>, now_us() + ?DEADLINE_MS * 1000) end),
            Caller ! {began, Id, Tool}
    end,
    erlmcp_native_demo_meter:add(Meter, finished, 1).

work(Token, Caller, Id, Payload, DeadlineUs) ->
    _ = erlang:crc32(Payload),
    case erlmcp_control_cancel:is_cancelled(Token) orelse now_us() > DeadlineUs of
        true ->
            Now = now_us(),
            ok = erlmcp_control_cancel:done(Token),
            Caller ! {ended, Id, Now};
        false ->
            work(Token, Caller, Id, Payload, DeadlineUs)
    end.

-doc "Calls and cancels both tools, at another executor if that is killed meanwhile.".
-spec cancel_two(erlmcp_native_demo_crew:crew(), erlmcp_native_demo_meter:meter()) -> cancelled().
cancel_two(Crew, Meter) ->
    cancel_two(Crew, Meter, now_us() + ?DEADLINE_MS * 1000).

cancel_two(Crew, Meter, DeadlineUs) ->
    {_, Pid, Component} = lists:max([
        {waiting(Pid), Pid, Component}
     || {Pid, Component} <- erlmcp_native_demo_crew:components(Crew)
    ]),
    Monitor = monitor(process, Pid),
    Executor = #{pid => Pid, component => Component, monitor => Monitor, meter => Meter, deadline_us => DeadlineUs},
    try
        Running = first(Executor),
        Running#{process => Pid, overtaken => second(Executor)}
    catch
        throw:killed -> cancel_two(Crew, Meter, DeadlineUs)
    after
        true = demonitor(Monitor, [flush])
    end.

first(#{pid := Pid} = Executor) ->
    Id = call(Executor),
    case await([began], Id, Executor) of
        {began, _Tool} ->
            Past = waiting(Pid),
            Start = now_us(),
            ok = cancel(Id, Executor),
            Freed = erlmcp_queue_limits:get_queue_depth(?ROLE, Pid) =:= 0,
            case await([ended], Id, Executor) of
                {ended, At} -> #{past => Past, ended_us => max(0, At - Start), freed => Freed};
                not_seen -> #{past => Past, ended_us => not_seen, freed => Freed}
            end;
        not_seen ->
            #{past => waiting(Pid), ended_us => not_seen, freed => false}
    end.

second(Executor) ->
    Id = call(Executor),
    ok = cancel(Id, Executor),
    case await([never_began, ended], Id, Executor) of
        {What, _} -> What;
        not_seen -> not_seen
    end.

%% Counted like all that an executor does, and refused like it.
call(#{pid := Pid, meter := Meter} = Executor) ->
    Tag = erlmcp_native_demo_tally:tag(erlmcp_native_demo_meter:phase(Meter), 0),
    case erlmcp_queue_limits:try_enqueue(tool_executor, Pid, erlmcp_native_demo_tally:options(Tag)) of
        ok ->
            Id = make_ref(),
            Pid ! {tool, self(), Id},
            Id;
        {error, {capacity_exceeded, Refusal}} ->
            ok = erlmcp_native_demo_tally:refused(erlmcp_native_demo_meter:tally(Meter), Tag, Refusal),
            receive after 1 -> call(Executor) end
    end.

cancel(Id, #{component := Component, monitor := Monitor} = Executor) ->
    case erlmcp_control_plane:send_cancel_task(Component, Id) of
        {ok, _Us} ->
            ok;
        {error, timeout} ->
            cancel(Id, Executor);
        {error, _Killed} ->
            receive
                {'DOWN', Monitor, process, _, _} -> throw(killed)
            end
    end.

await(Whats, Id, #{monitor := Monitor, deadline_us := DeadlineUs} = Executor) ->
    receive
        {What, Id, Detail} ->
            case lists:member(What, Whats) of
                true -> {What, Detail};
                false -> await(Whats, Id, Executor)
            end;
        {'DOWN', Monitor, process, _, _} ->
            throw(killed)
    after max(0, (DeadlineUs - now_us()) div 1000) -> not_seen
    end.

waiting(Pid) ->
    erlmcp_queue_limits:get_queue_depth(tool_executor, Pid).

now_us() ->
    erlang:monotonic_time(microsecond).
