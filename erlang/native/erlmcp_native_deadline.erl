-module(erlmcp_native_deadline).
-moduledoc """
A time limit for somebody else's work, which goes by beats and not by the clock.

When a machine has stood still (a paused virtual machine, a stopped process), all timers that have passed meanwhile
fire before anybody else has had a moment to finish, and the healthy would be taken for stuck. So a limit is ten
beats: the process that waits gets one message after the other, and however late one is it counts as one.

The process gets `{timeout, Timer, beat}`, and passes the timer to `beat/2`. That the answer may lie in the mailbox when
the last beat has passed is for the process to look at.

```erlang
1> Deadline = erlmcp_native_deadline:start(50), erlmcp_native_deadline:stop(Deadline).
ok
```
""".

-export([start/1, beat/2, stop/1]).

-export_type([deadline/0]).

-doc "A deadline is a time limit that runs.".
-opaque deadline() :: {Timer :: reference(), BeatMs :: pos_integer(), Left :: non_neg_integer()}.

-define(BEATS, 10).

-doc "Starts a limit of so many milliseconds; with a beat of at least one.".
-spec start(Ms :: non_neg_integer()) -> deadline().
start(Ms) ->
    BeatMs = max(1, Ms div ?BEATS),
    {timer(BeatMs), BeatMs, ?BEATS - 1}.

-doc "Takes a beat, and says whether the limit has passed. A beat that is not this limit's is `stray`.".
-spec beat(Timer :: reference(), deadline() | none) -> {running, deadline()} | passed | stray.
beat(Timer, {Timer, _, 0}) -> passed;
beat(Timer, {Timer, BeatMs, Left}) -> {running, {timer(BeatMs), BeatMs, Left - 1}};
beat(_, _) -> stray.

-doc "Ends a limit. A beat that is on its way is a stray one.".
-spec stop(deadline() | none) -> ok.
stop(none) ->
    ok;
stop({Timer, _, _}) ->
    _ = erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
    ok.

timer(BeatMs) ->
    erlang:start_timer(BeatMs, self(), beat).
