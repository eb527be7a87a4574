-module(erlmcp_overload_guard_keeper).
-moduledoc """
Keeps who guards the node (`m:erlmcp_overload_guard`) for the process of the overload monitor: starts it, has it follow
what is configured, and starts another when it is lost: at once, or after a second if it has not lived for ten.

It runs in the monitor's process, which hands in what it is told.
""".

-export([new/0, keep/2, handle/2, stop/1]).

-export_type([kept/0]).

-include_lib("kernel/include/logger.hrl").

-doc "This is what is known of the guard.".
-opaque kept() :: #{
    options := erlmcp_overload_node:options() | off | not_said,
    guard := pid() | none,
    begun_ms := integer(),
    %% Until when it is waited for, before another is started.
    pause := reference() | none
}.

%% A guard that has lived so long is replaced at once, and one that has not after a pause, within which its level holds.
-define(STEADY_MS, 10000).
-define(PAUSE_MS, 1000).
-define(FAILED_MS, 10000).

-doc "Makes what is known before anybody has said whether there is to be a guard.".
-spec new() -> kept().
new() ->
    #{options => not_said, guard => none, begun_ms => 0, pause => none}.

-doc "Has the node guarded by these options from now on, or not at all.".
-spec keep(erlmcp_overload_node:options() | off, kept()) -> kept().
keep(Options, #{options := Options, guard := Guard} = Kept) when is_pid(Guard); Options =:= off ->
    Kept;
keep(off, Kept) ->
    Stopped = stop(Kept),
    %% Of one that has been lost with a monitor before this, too.
    ok = erlmcp_overload_guard:close(),
    Stopped#{options := off};
keep(Options, #{guard := none} = Kept) ->
    start(no_pause(Kept#{options := Options}));
keep(Options, #{guard := Guard} = Kept) ->
    ok = erlmcp_overload_guard:reconfigure(Guard, Options),
    Kept#{options := Options}.

-doc "Takes a message that is about the guard: it has ended, or the time is over until another is to be started.".
-spec handle(term(), kept()) -> {ok, kept()} | other.
handle({'EXIT', Guard, Reason}, #{guard := Guard, begun_ms := BegunMs} = Kept) ->
    log("who guards the node was lost, and is started anew", Reason),
    case now_ms() - BegunMs >= ?STEADY_MS of
        true -> {ok, start(Kept#{guard := none})};
        false -> {ok, pause(?PAUSE_MS, Kept#{guard := none})}
    end;
handle({timeout, Pause, guard}, #{pause := Pause} = Kept) ->
    {ok, start(Kept#{pause := none})};
handle(_, _) ->
    other.

-doc "Ends the guard, if there is one. What it has said holds for its time, if nobody comes after it.".
-spec stop(kept()) -> kept().
stop(#{guard := none} = Kept) ->
    no_pause(Kept);
stop(#{guard := Guard} = Kept) ->
    true = unlink(Guard),
    Monitor = monitor(process, Guard),
    true = exit(Guard, kill),
    receive
        {'DOWN', Monitor, process, _, _} -> Kept#{guard := none}
    end.

start(#{options := Options} = Kept) ->
    case erlmcp_native_process:start(fun() -> erlmcp_overload_guard:start_link(Options, "") end) of
        {ok, Guard} ->
            Kept#{guard := Guard, begun_ms := now_ms()};
        {error, Reason} ->
            log("the node cannot be guarded, which is tried again", Reason),
            %% There may be room for a process as soon as one ends.
            pause(case Reason of system_limit -> ?PAUSE_MS; _ -> ?FAILED_MS end, Kept)
    end.

pause(Ms, Kept) ->
    Kept#{pause := erlang:start_timer(Ms, self(), guard)}.

no_pause(#{pause := none} = Kept) ->
    Kept;
no_pause(#{pause := Pause} = Kept) ->
    _ = erlang:cancel_timer(Pause),
    Kept#{pause := none}.

log(What, Reason) ->
    erlmcp_native_log:write(error, "erlmcp_overload_monitor: ~ts: ~0tp", [What, Reason], ?LOCATION, #{}).

now_ms() ->
    erlang:monotonic_time(millisecond).
