-module(erlmcp_native_service).
-moduledoc """
Starts the processes of the three services, and has the application hand one over to whoever starts it explicitly.

A service has one process, registered under its name. Where the application's supervisor has started it, another process
that calls its `start_link` takes it over: what is counted, set and registered stays, as at a crash, the application's
supervisor lets go of it, and takes it back only when the application is started again, if nobody else has it then.
Whoever has taken a service over keeps it: `already_started` is what the next one gets.

The process that hands over is asked first: it notes that it must forget nothing when it ends, and then has its
supervisor end it. Between its end and the start of the next one there is no process, as between a crash and a restart;
everything that runs in the callers goes on.

A service that crashes leaves its part of the native state open, for the next process. So whose it is has to outlive its
process: where the application goes down and there is no next one, the application closes what it has left.
""".

-export([start_link/5, opens/1, hand_over/2, is_stopped/1, closed/1, is_left/1]).
-export([asked/2, ended/2]).

%% Not the module, but the process: of the application.
-define(SUPERVISOR, erlmcp_native_sup).
%% How long the process may take to answer, after which it does nothing any more; how long is waited for the answer;
%% and how long its supervisor may take to end it.
-define(VALID_MS, 4000).
-define(ANSWER_MS, 5000).
-define(END_MS, 60000).
%% Whether what a service has opened is the application's, and not closed yet.
-define(LEFT(Name), {?MODULE, Name}).

-doc "This is a function and its arguments.".
-type mfargs() :: {module(), atom(), [term()]}.
-doc "This is what `start_link/5` was called with.".
-type service() :: {Name :: atom(), module(), Args :: term(), [gen_server:start_opt()], Check :: mfargs()}.

-doc """
Starts a service that is this gen_server, or takes it over from the application. What is called by `Check` has to hold
before anything is taken over: a start that would fail takes nothing from the application.
""".
-spec start_link(Name :: atom(), module(), Args :: term(), [gen_server:start_opt()], Check :: mfargs()) ->
    gen_server:start_ret().
start_link(Name, Module, Args, Options, Check) ->
    start({Name, Module, Args, Options, Check}).

start({Name, Module, Args, Options, Check} = Service) ->
    case gen_server:start_link({local, Name}, Module, Args, Options) of
        {error, {already_started, Pid}} = Started ->
            case is_the_applications(Pid) andalso check(Check) of
                ok -> take(Pid, Service);
                false -> Started;
                {error, _} = Error -> Error
            end;
        Result ->
            Result
    end.

check({Module, Function, Args}) ->
    apply(Module, Function, Args).

%% Waited for where this module can be replaced meanwhile.
take(Pid, {Name, _, _, _, _} = Service) ->
    HandOver = {hand_over, now_ms() + ?VALID_MS},
    erlmcp_native_wait:request(Name, HandOver, ?ANSWER_MS, {?MODULE, asked, {Pid, Service}}).

-doc false.
-spec asked({answer, handing_over | kept} | {down, term()} | timeout, {pid(), service()}) -> gen_server:start_ret().
asked({answer, handing_over}, {Pid, _} = Taking) ->
    erlmcp_native_wait:gone(Pid, ?END_MS, {?MODULE, ended, Taking});
asked({down, _}, {_, Service}) ->
    start(Service);
asked(_KeptOrTimeout, {Pid, {Name, _, _, _, _} = Service}) ->
    case whereis(Name) of
        Pid -> {error, {already_started, Pid}};
        %% It was another taker's process that has answered.
        _ -> start(Service)
    end.

-doc false.
-spec ended(gone | timeout, {pid(), service()}) -> gen_server:start_ret().
ended(gone, {_, Service}) -> start(Service);
ended(timeout, {Pid, _}) -> {error, {already_started, Pid}}.

-doc "Says, in the process of a service that is named so, that it is about to open its part of the native state.".
-spec opens(Name :: atom()) -> ok.
opens(Name) ->
    case is_the_applications(self()) of
        true -> persistent_term:put(?LEFT(Name), true);
        false -> closed(Name)
    end.

-doc "Says that a service has closed its part of the native state, or that it is somebody else's from now on.".
-spec closed(Name :: atom()) -> ok.
closed(Name) ->
    _ = persistent_term:erase(?LEFT(Name)),
    ok.

-doc """
Tells whether a service has left open what is the application's. For when the application's supervisor has ended: a
process that it has left is ended now.
""".
-spec is_left(Name :: atom()) -> boolean().
is_left(Name) ->
    persistent_term:get(?LEFT(Name), false) andalso is_ended(whereis(Name)).

is_ended(undefined) ->
    true;
is_ended(Pid) ->
    %% Or somebody else has started it just now, who lives.
    erlmcp_native_pid:is_orphan(Pid) andalso killed(Pid).

killed(Pid) ->
    Monitor = erlang:monitor(process, Pid),
    true = exit(Pid, kill),
    receive
        {'DOWN', Monitor, process, _, _} -> true
    end.

-doc """
Answers the call `{hand_over, UntilMs}` of a service that is named so, in its process: `handing_over` if the application
has started it and somebody still waits for the answer, else `kept`.
""".
-spec hand_over(Name :: atom(), UntilMs :: integer()) -> handing_over | kept.
hand_over(Name, UntilMs) ->
    case is_the_applications(self()) andalso now_ms() < UntilMs of
        true ->
            %% Not here: the supervisor waits for the end of this process, which is told once it is done with this.
            case erlmcp_native_process:helper(supervisor, terminate_child, [?SUPERVISOR, Name], []) of
                {_Pid, Monitor} ->
                    true = erlang:demonitor(Monitor, [flush]),
                    _ = put(?MODULE, handing_over),
                    closed(Name),
                    handing_over;
                no_room ->
                    kept
            end;
        false ->
            kept
    end.

-doc """
Tells, in the process of a service that ends with this reason, whether it was stopped, and not lost or handed over.
""".
-spec is_stopped(term()) -> boolean().
is_stopped(Reason) ->
    erlmcp_native_error:is_normal(Reason) andalso get(?MODULE) =/= handing_over.

%% Whoever has ended meanwhile is nobody's.
is_the_applications(Pid) ->
    Supervisor = whereis(?SUPERVISOR),
    case process_info(Pid, parent) of
        {parent, Supervisor} -> is_pid(Supervisor) andalso Supervisor =/= self();
        {parent, _} -> false;
        undefined -> true
    end.

now_ms() ->
    erlang:monotonic_time(millisecond).
