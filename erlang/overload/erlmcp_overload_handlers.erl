-module(erlmcp_overload_handlers).
-moduledoc """
Which handlers run, each in a process of its own, which outlives the process that started it.

Whoever comes after a crash of `m:erlmcp_overload_server` goes on with those that were kept.
""".

-export([kept/0, run/3, tell/2, close/0]).

-export_type([handler/0, running/0]).

-define(KEPT, {?MODULE, kept}).

-doc "A handler is a module and its argument.".
-type handler() :: {module(), term()}.
-doc "These are handlers and their processes.".
-type running() :: [{handler(), pid()}].

-doc "Returns those that ran last, and those of them that were added at run time.".
-spec kept() -> {running(), Added :: [handler()]}.
kept() ->
    persistent_term:get(?KEPT, {[], []}).

-doc """
Has these run and no others, but for the log, which always does; running ones go on as they are. The calling process
monitors them. One for which the node has no room is left out.
""".
-spec run(Configured :: [handler()], Added :: [handler()], running()) -> running().
run(Configured, Added, Running) ->
    All = [{erlmcp_overload_log, []} | Configured ++ Added],
    Handlers = [
        {Handler, Pid}
     || Handler <- lists:uniq(All), Pid <- [keep_or_start(Handler, Running)], Pid =/= no_room
    ],
    _ = [erlmcp_overload_handler:stop(Pid) || {Handler, Pid} <- Running, process(Handler, Handlers) =:= none],
    Kept = {Handlers, Added},
    Kept =:= kept() orelse persistent_term:put(?KEPT, Kept),
    Handlers.

-doc "Has a callback of all of them called.".
-spec tell(erlmcp_overload_handler:call(), running()) -> ok.
tell(Call, Running) ->
    lists:foreach(fun({_, Pid}) -> erlmcp_overload_handler:tell(Pid, Call) end, Running).

-doc "Ends all of them, and forgets those that were added.".
-spec close() -> ok.
close() ->
    {Running, _} = kept(),
    _ = persistent_term:erase(?KEPT),
    lists:foreach(fun({_, Pid}) -> erlmcp_overload_handler:stop(Pid) end, Running).

keep_or_start({Module, Arg} = Handler, Running) ->
    case process(Handler, Running) of
        none ->
            watch(erlmcp_overload_handler:start(Module, Arg));
        Pid ->
            case is_process_alive(Pid) of
                true -> watch(Pid);
                false -> watch(erlmcp_overload_handler:start(Module, Arg))
            end
    end.

%% By the very term: 1 and 1.0 are two arguments, for which lists:keyfind/3 finds one.
process(Handler, Running) ->
    case [Pid || {Of, Pid} <- Running, Of =:= Handler] of
        [Pid | _] -> Pid;
        [] -> none
    end.

watch(no_room) ->
    no_room;
watch(Pid) ->
    case get({watched, Pid}) of
        undefined ->
            _ = erlang:monitor(process, Pid),
            _ = put({watched, Pid}, true),
            Pid;
        true ->
            Pid
    end.
