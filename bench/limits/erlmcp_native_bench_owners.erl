-module(erlmcp_native_bench_owners).
-moduledoc "Idle processes to be tracked as owners.".

-export([start/1, stop/1, idle/0]).

-doc "Starts so many idle processes, and returns them in random order. They do not outlive the caller's `stop/1`.".
-spec start(pos_integer()) -> tuple().
start(Count) ->
    %% The smallest of heaps, which idling never changes.
    Tagged = [{rand:uniform(), spawn_opt(?MODULE, idle, [], [{min_heap_size, 0}])} || _ <- lists:seq(1, Count)],
    list_to_tuple([Pid || {_, Pid} <- lists:keysort(1, Tagged)]).

-doc "Ends idle processes, and returns when all are gone.".
-spec stop(tuple()) -> ok.
stop(Owners) ->
    Pids = tuple_to_list(Owners),
    lists:foreach(fun(Pid) -> exit(Pid, kill) end, Pids),
    lists:foreach(fun gone/1, Pids).

gone(Pid) ->
    Monitor = erlang:monitor(process, Pid),
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    end.

-doc false.
-spec idle() -> ok.
idle() ->
    receive
        stop -> ok
    end.
