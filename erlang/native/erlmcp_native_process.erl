-module(erlmcp_native_process).
-moduledoc """
Starts processes where the node may have no room for one more.

To start one raises `system_limit` then, as it does in a node that is overloaded by nothing but processes; whoever
serves many others must not end for that. So it is told that there was no room, and tries again when it is time.

```erlang
1> {_Pid, Monitor} = erlmcp_native_process:helper(timer, sleep, [1], [{priority, high}]),
   receive {'DOWN', Monitor, process, _, normal} -> over end.
over
2> erlmcp_native_process:start(fun() -> erlang:error(system_limit) end).
{error,system_limit}
```
""".

-export([helper/4, start/1]).

-doc "Starts a process that the calling one monitors, with the options of `erlang:spawn_opt/4`.".
-spec helper(module(), atom(), [term()], [proc_lib:spawn_option() | link | monitor]) ->
    {pid(), Monitor :: reference()} | no_room.
helper(Module, Function, Args, Options) ->
    try
        spawn_opt(Module, Function, Args, [monitor | Options])
    catch
        error:system_limit -> no_room
    end.

-doc "Starts a process by a function, which is what starts it and nothing else.".
-spec start(fun(() -> Started)) -> Started | {error, system_limit}.
start(Start) ->
    try
        Start()
    catch
        error:system_limit -> {error, system_limit}
    end.
