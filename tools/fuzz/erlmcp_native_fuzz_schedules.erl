-module(erlmcp_native_fuzz_schedules).
-moduledoc """
Who kept an ordinary scheduler for a millisecond or longer, as the runtime tells (`long_schedule`).

The runtime looks at the clock on the wall: on a busy machine it tells of whoever was interrupted, too.
""".

-export([start/0, seen/0]).

-doc "Starts watching this node.".
-spec start() -> ok.
start() ->
    Watcher = spawn(fun() -> loop(#{}) end),
    true = register(?MODULE, Watcher),
    _ = erlang:system_monitor(Watcher, [{long_schedule, 1}]),
    ok.

-doc """
Returns for each place how often that happened, and the longest in ms. A place is where the process was when it was
scheduled in, and when it was scheduled out.
""".
-spec seen() -> [{{In :: term(), Out :: term()}, Times :: pos_integer(), LongestMs :: pos_integer()}].
seen() ->
    ?MODULE ! {seen, self()},
    receive
        {?MODULE, Seen} ->
            Rows = [{Place, Times, Longest} || {Place, {Times, Longest}} <- maps:to_list(Seen)],
            lists:reverse(lists:keysort(2, Rows))
    end.

loop(Seen) ->
    receive
        {monitor, _, long_schedule, Info} ->
            Place = {proplists:get_value(in, Info, port), proplists:get_value(out, Info, port)},
            Ms = proplists:get_value(timeout, Info),
            {Times, Longest} = maps:get(Place, Seen, {0, 0}),
            loop(Seen#{Place => {Times + 1, max(Ms, Longest)}});
        {seen, From} ->
            From ! {?MODULE, Seen},
            loop(Seen)
    end.
