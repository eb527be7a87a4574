-module(erlmcp_overload_cancels).
-moduledoc "Says in words how many tasks can be cancelled, and what cancelling came to, for a person at a shell.".

-export([lines/1, near/1]).

-import(erlmcp_overload_text, [words/2, line/2]).

-doc "Returns what there is to say of cancellations; `[]` while the control plane is not started.".
-spec lines(erlmcp_native_metrics:snapshot()) -> [string()].
lines(#{cancel := undefined}) ->
    [];
lines(#{cancel := #{tombstones := Early, tombstones_limit := Most} = Stats}) ->
    #{tokens := Tokens, cancelled := #{asked := Asked, early := Came, owner_down := Down}} = Stats,
    #{displaced := Displaced, notices := Waiting, notices_dropped := Dropped} = Stats,
    Verdict =
        if
            Early >= Most -> "has as many early cancellations as it may: each further one has the oldest forgotten";
            true -> words("has room for ~b more early cancellations", [Most - Early])
        end,
    [
        ["cancel ", Verdict],
        line("tasks", words("~b can be cancelled now", [Tokens])),
        line("cancelled", words("~b when asked, ~b early, ~b with their owner", [Asked, Came, Down])),
        line("early", words("~b of ~b are remembered, for tasks that have not begun", [Early, Most])),
        line("lost", words("~b early ones for room; ~b messages, ~b wait to be sent", [Displaced, Dropped, Waiting]))
    ].

-doc "Returns a sentence if early cancellations are nearly as many as may be.".
-spec near(erlmcp_native_metrics:snapshot()) -> [string()].
near(#{cancel := #{tombstones := Early, tombstones_limit := Most} = Stats}) ->
    #{displaced := Displaced, notices_dropped := Dropped} = Stats,
    Words = "cancel: ~b of ~b early cancellations are remembered; ~b were forgotten for room, and ~b messages not sent",
    [words(Words, [Early, Most, Displaced, Dropped]) || Early > 0, Early >= 0.8 * Most];
near(_) ->
    [].
