-module(erlmcp_native_wait).
-moduledoc """
Where processes wait and where callbacks are called from, so that every other module can be replaced meanwhile.

The runtime keeps two versions of a module. At the second load, whoever is still in the first is killed: whoever waits
there, and whoever will return there. So nothing that may take long is waited for in a module that changes. It is waited
for here, and goes on afterwards with a call by name, which finds the newest version: the module before has called this
one last, and nothing leads back to it.

That works as long as this module itself stays. It refuses to be loaded over itself, as `m:erlmcp_native` does, and so
has nothing in it that could want to change. A node that is to have another version of it must be restarted.

A *continuation* `{Module, Function, Context}` is called with what came of it and the context.
""".

-export([ask/6, reach/6, request/4, respond/3, serve/3, within/3, gone/3, next/2, sleep/3, run/2, holding/2]).
-export([work/1]).

-export_type([continuation/0, haste/0, outcome/0, reached/0]).

-on_load(stay/0).

-compile({inline, [hasten/1, yields/1, options/1, remaining_ms/1]}).

-doc "A continuation is what is called afterwards, with what came of it and this context.".
-type continuation() :: {module(), Function :: atom(), Context :: term()}.
-doc "Haste says of a caller whether it is to be raised while it waits, and to yield before.".
-type haste() :: none | {Raised :: boolean(), Yields :: boolean()}.
-doc "An outcome tells how a call ended.".
-type outcome() :: {returned, term()} | {raised, error | exit | throw, Reason :: term(), erlang:stacktrace()}.

-doc """
This is what became of a message to another node: an answer, the end of whom its sender monitored, no answer in time, or
that it was not sent.
""".
-type reached() :: {answer, term()} | {down, Reason :: term()} | timeout | nosuspend | noconnect.

%% What a service has for an answer.
-define(SERVICE_MS, 5000).
%% A time limit is so many beats, each of which counts as one however late it is: see erlmcp_native_deadline.
-define(BEATS, 10).
-define(NS_PER_MS, 1_000_000).
%% What somebody who was woken later than this gives more.
-define(LATE_MS, 100).

stay() ->
    case erlang:module_loaded(?MODULE) of
        true -> {error, stays};
        false -> ok
    end.

-doc """
Sends a request, whose second element becomes whom to answer, and waits for `{From, Answer}` or the death of the process
until the deadline, in nanoseconds. The continuation gets `{answer, Answer}`, `{down, Reason}` or `timeout`.

A caller that was woken more than 100 ms late, since the machine had stood still, waits for 100 ms more: whoever was
about to answer had no time for it either.

With haste the message is a priority message. A caller that is to be raised waits at priority `high`: an ordinary
process that is answered among busy ones stands behind all of them for a turn, which takes a hundred times as long as
the whole rest. It has its own priority again before it goes on. One that is to yield does so once it has sent, since
who answers is at `high` and so runs first where they share a scheduler: an answer that is there then costs no timer.
""".
-spec ask(pid(), To :: reference() | pid(), haste(), tuple(), Deadline :: integer(), continuation()) -> term().
ask(Pid, To, Haste, Request, Deadline, {Module, Function, Context}) ->
    Before = hasten(Haste),
    Monitor = erlang:monitor(process, Pid, [{alias, reply_demonitor}]),
    _ = erlang:send(To, setelement(2, Request, Monitor), options(Haste)),
    _ = yields(Haste) andalso erlang:yield(),
    Outcome =
        receive
            {Monitor, Answer} -> {answer, Answer};
            {'DOWN', Monitor, process, _, Reason} -> {down, Reason}
        after 0 -> until(Deadline, Monitor)
        end,
    _ = Before =/= high andalso process_flag(priority, Before),
    Module:Function(Outcome, Context).

-doc """
Sends a request to another node, whose third element becomes whom to answer, and waits as `ask/6` for `{From, Answer}`
or the death of a process of this node, `Near`. The continuation gets `t:reached/0`: what would suspend the sender, or
have it make a connection, is not sent.
""".
-spec reach(Near :: pid(), {atom(), node()}, haste(), tuple(), Deadline :: integer(), continuation()) -> term().
reach(Near, To, Haste, Request, Deadline, {Module, Function, Context}) ->
    Before = hasten(Haste),
    Monitor = erlang:monitor(process, Near, [{alias, reply_demonitor}]),
    Outcome =
        case erlang:send(To, setelement(3, Request, Monitor), [nosuspend, noconnect]) of
            ok ->
                until(Deadline, Monitor);
            NotSent ->
                true = erlang:demonitor(Monitor, [flush]),
                NotSent
        end,
    _ = Before =/= high andalso process_flag(priority, Before),
    Module:Function(Outcome, Context).

options(none) -> [];
options(_) -> [priority].

%% The priority to go back to; `high` if there is nothing to go back from.
hasten({true, _}) ->
    case process_flag(priority, high) of
        max -> process_flag(priority, max);
        Before -> Before
    end;
hasten(_) ->
    high.

yields(none) -> false;
yields({_, Yields}) -> Yields.

until(Deadline, Monitor) ->
    receive
        {Monitor, Answer} -> {answer, Answer};
        {'DOWN', Monitor, process, _, Reason} -> {down, Reason}
    after remaining_ms(Deadline) -> last_look(Monitor, grace_ms(Deadline))
    end.

last_look(Monitor, Ms) ->
    receive
        {Monitor, Answer} -> {answer, Answer};
        {'DOWN', Monitor, process, _, Reason} -> {down, Reason}
    after Ms ->
        true = erlang:demonitor(Monitor, [flush]),
        receive
            {Monitor, Answer} -> {answer, Answer}
        after 0 -> timeout
        end
    end.

grace_ms(Deadline) ->
    LateMs = (erlang:monotonic_time(nanosecond) - Deadline) div ?NS_PER_MS,
    if
        LateMs > ?LATE_MS -> ?LATE_MS;
        true -> 0
    end.

%% Rounded up, so that nobody gives up before the deadline that the other side goes by.
remaining_ms(Deadline) ->
    max(0, (Deadline - erlang:monotonic_time(nanosecond) + ?NS_PER_MS - 1) div ?NS_PER_MS).

-doc """
Calls a `gen_server` by its name. The continuation gets `{answer, Answer}`, `{down, Reason}` if it is not there or dies,
or `timeout`. Time in which the machine stands still does not count.
""".
-spec request(atom(), Request :: term(), Ms :: pos_integer(), continuation()) -> term().
request(Name, Request, Ms, {Module, Function, Context}) ->
    Outcome = answer(gen_server:send_request(Name, Request), beat_ms(Ms), ?BEATS),
    Module:Function(Outcome, Context).

-doc """
Waits for the answer to `gen_server:send_request/2` for as long as a caller asks for, and returns it as `{ok, Answer}`.
The continuation gets `{error, {Reason, Server}}` if the server dies, or `timeout`, after which no answer comes.
""".
-spec respond(gen_server:request_id(), timeout(), continuation()) -> term().
respond(Request, Timeout, {Module, Function, Context}) ->
    case gen_server:receive_response(Request, Timeout) of
        {reply, Answer} -> {ok, Answer};
        Unanswered -> Module:Function(Unanswered, Context)
    end.

-doc """
Calls a service of ours by its name. It has 5 s for the answer, in which a machine that stands still does not count.
Exits with `{noproc, Call}` if it is not started or is being stopped, with `{timeout, Call}` if it does not answer, and
with `{Reason, Call}` if it dies of another reason meanwhile. What was asked for may still be done after a `timeout`.
""".
-spec serve(atom(), Request :: term(), Call :: {module(), atom(), [term()]}) -> term().
serve(Name, Request, Call) ->
    case answer(gen_server:send_request(Name, Request), beat_ms(?SERVICE_MS), ?BEATS) of
        {answer, Answer} -> Answer;
        timeout -> exit({timeout, Call});
        {down, Reason} -> exit({why(Reason), Call})
    end.

answer(Request, BeatMs, 1) ->
    outcome(gen_server:receive_response(Request, BeatMs));
answer(Request, BeatMs, Beats) ->
    case gen_server:wait_response(Request, BeatMs) of
        timeout -> answer(Request, BeatMs, Beats - 1);
        Response -> outcome(Response)
    end.

outcome({reply, Answer}) -> {answer, Answer};
outcome({error, {Reason, _}}) -> {down, Reason};
outcome(timeout) -> timeout.

why(normal) -> noproc;
why(shutdown) -> noproc;
why({shutdown, _}) -> noproc;
why(Reason) -> Reason.

-doc """
Calls a function in a process of its own, which has so much time for it. Returns its value, or exits with
`{timeout, Call}` if it is too slow, or with `{Reason, Call}` if it exits. Where it exits since a call of its own did,
the reason is that call's, and `noproc` if whom it called was being stopped.
""".
-spec within(Ms :: pos_integer(), {module(), atom(), [term()]}, Call :: {module(), atom(), [term()]}) -> term().
within(Ms, Wanted, Call) ->
    {Pid, Monitor} = spawn_monitor(?MODULE, work, [Wanted]),
    within(Pid, Monitor, beat_ms(Ms), ?BEATS, Call).

within(Pid, Monitor, BeatMs, Beats, Call) ->
    receive
        {'DOWN', Monitor, process, _, {?MODULE, Value}} -> Value;
        {'DOWN', Monitor, process, _, {Reason, {_, _, Args}}} when is_list(Args) -> exit({why(Reason), Call});
        {'DOWN', Monitor, process, _, Reason} -> exit({Reason, Call})
    after BeatMs ->
        case Beats of
            1 ->
                true = exit(Pid, kill),
                true = erlang:demonitor(Monitor, [flush]),
                exit({timeout, Call});
            _ ->
                within(Pid, Monitor, BeatMs, Beats - 1, Call)
        end
    end.

-doc false.
-spec work({module(), atom(), [term()]}) -> no_return().
work({Module, Function, Args}) ->
    exit({?MODULE, apply(Module, Function, Args)}).

-doc """
Waits for the end of a process. The continuation gets `gone` or `timeout`. Time in which the machine stands still does
not count.
""".
-spec gone(pid(), Ms :: pos_integer(), continuation()) -> term().
gone(Pid, Ms, {Module, Function, Context}) ->
    Outcome = ended(erlang:monitor(process, Pid), beat_ms(Ms), ?BEATS),
    Module:Function(Outcome, Context).

ended(Monitor, BeatMs, Beats) ->
    receive
        {'DOWN', Monitor, process, _, _} -> gone
    after BeatMs ->
        case Beats of
            1 -> true = erlang:demonitor(Monitor, [flush]), timeout;
            _ -> ended(Monitor, BeatMs, Beats - 1)
        end
    end.

beat_ms(Ms) ->
    max(1, Ms div ?BEATS).

-doc "Waits for the next message, for ever, and calls the module's function `got/2` with it and the context.".
-spec next(module(), Context :: term()) -> term().
next(Module, Context) ->
    receive
        Message -> Module:got(Message, Context)
    end.

-doc """
Waits for the next message as `next/2`, with the pair as context, and takes as little memory as can be meanwhile. The
pair is made afterwards: what is first wanted then has the heap grow before the message is in it, and grow by less.
""".
-spec sleep(module(), First :: term(), Second :: term()) -> term().
sleep(Module, First, Second) ->
    erlang:hibernate(),
    next(Module, {First, Second}).

-doc "Calls a function of one argument, or one by name, and goes on with what came of it.".
-spec run({fun((Argument) -> term()), Argument} | {module(), atom(), [term()]}, continuation()) -> term().
run(Call, {Module, Function, Context}) ->
    Outcome =
        try
            case Call of
                {Fun, Argument} -> Fun(Argument);
                {CalledModule, Called, CalledArgs} -> apply(CalledModule, Called, CalledArgs)
            end
        of
            Value -> {returned, Value}
        catch
            Class:Reason:Stacktrace -> {raised, Class, Reason, Stacktrace}
        end,
    Module:Function(Outcome, Context).

-doc "Calls a function and gives a permit back, however that ended.".
-spec holding(fun(() -> Value), erlmcp_native:permit()) -> {ok, Value}.
holding(Fun, Permit) ->
    try
        {ok, Fun()}
    after
        erlmcp_native:limits_give_back(Permit)
    end.
