-module(erlmcp_native_metrics_server).
-moduledoc """
Passes refusals and latencies on to erlmcp's own metrics, when a process is registered as `erlmcp_metrics_server`
and the module of that name has its functions: `record_error/0` for each refusal, `record_latency/1` with the
milliseconds that a sender of a control message waited, exact to three digits, for each message.

At most 10000 of each a second, and none while as many wait in that process's mailbox; what was too much is counted
in the metric `erlmcp_relay_skipped`. Of too many latencies, evenly chosen ones are passed on.
""".

-behaviour(erlmcp_native_relay).

-export([is_there/0, refused/1, waited/1]).

-define(TARGET, erlmcp_metrics_server).
-define(MOST, 10000).

-doc false.
-spec is_there() -> boolean().
is_there() ->
    whereis(?TARGET) =/= undefined andalso
        erlang:function_exported(?TARGET, record_error, 0) andalso
        erlang:function_exported(?TARGET, record_latency, 1).

-doc false.
-spec refused([{erlmcp_queue_limits:role(), pos_integer()}]) -> ok.
refused(ByRole) ->
    Count = lists:sum([Refused || {_, Refused} <- ByRole]),
    pass_on(Count, fun(Most) -> repeat(Most, fun() -> call(record_error, []) end) end).

-doc false.
-spec waited([{Us :: non_neg_integer(), pos_integer()}]) -> ok.
waited(Waited) ->
    Count = lists:sum([Times || {_, Times} <- Waited]),
    pass_on(Count, fun(Most) ->
        lists:foreach(fun(Us) -> call(record_latency, [Us / 1000]) end, choose(Waited, Count, Most))
    end).

pass_on(Count, Send) ->
    Most = min(Count, room()),
    Send(Most),
    erlmcp_native_self:add(relay_skipped, Count - Most).

room() ->
    maybe
        Pid = whereis(?TARGET),
        true ?= is_pid(Pid),
        {message_queue_len, Waiting} ?= process_info(Pid, message_queue_len),
        max(0, ?MOST - Waiting)
    else
        _Gone -> 0
    end.

repeat(0, _Act) -> ok;
repeat(Times, Act) -> Act(), repeat(Times - 1, Act).

%% Of so many values, in order, `Most` in even distances.
choose(Waited, Count, Most) ->
    choose(Waited, Count, Most, 0).

%% `Owed`: how far, in parts of Count, the next one to be chosen has come near.
choose([], _, _, _) ->
    [];
choose([{Us, Times} | Rest], Count, Most, Owed) ->
    Total = Owed + Times * Most,
    lists:duplicate(Total div Count, Us) ++ choose(Rest, Count, Most, Total rem Count).

%% erlmcp's; not there where this is built.
call(Function, Args) ->
    apply(?TARGET, Function, Args).
