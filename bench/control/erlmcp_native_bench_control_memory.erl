-module(erlmcp_native_bench_control_memory).
-moduledoc "What a registered component takes, its handler's process included, before and after its first message.".

-export([run/1]).

-import(erlmcp_native_bench_control_times, [target/5]).

-doc "Measures what components take, when they are registered and when each has had a message.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(_) ->
    %% Nearly as many as there can be.
    Count = 1_000,
    Plane = whereis(erlmcp_control_plane),
    %% Their names are not the control plane's.
    Ids = [list_to_atom("erlmcp_native_bench_memory_" ++ integer_to_list(I)) || I <- lists:seq(1, Count)],
    %% What all components share.
    ok = erlmcp_control_plane:register_component(hd(Ids), fun handle/1),
    {ok, _} = erlmcp_control_plane:send_health_check(hd(Ids), liveness),
    ok = erlmcp_control_plane:unregister_component(hd(Ids)),
    Empty = erlmcp_native_bench_run:memory([Plane]),
    lists:foreach(fun(Id) -> ok = erlmcp_control_plane:register_component(Id, fun handle/1) end, Ids),
    Registered = each(erlmcp_native_bench_run:memory([Plane]), Empty, Count),
    lists:foreach(fun(Id) -> {ok, _} = erlmcp_control_plane:send_health_check(Id, liveness) end, Ids),
    Used = each(erlmcp_native_bench_run:memory([Plane]), Empty, Count),
    lists:foreach(fun(Id) -> ok = erlmcp_control_plane:unregister_component(Id) end, Ids),
    result(Count, Registered, Used).

handle(_) -> ok.

each(#{vm := Vm, native := Native}, #{vm := EmptyVm, native := EmptyNative}, Count) ->
    #{vm => (Vm - EmptyVm) / Count, native => (Native - EmptyNative) / Count}.

result(Count, #{vm := Vm, native := Native} = Registered, Used) ->
    #{
        title => "",
        tables => [
            #{
                head => ["bytes a component", "native", "VM", "sum"],
                left => 1,
                rows => [
                    row([erlmcp_native_bench_report:count(Count), " registered"], Registered),
                    row("after one message each", Used)
                ]
            }
        ],
        notes => ["bytes     VM: the handler's process, its mailbox and what the service keeps; native: the rest"],
        targets => [target("memory per component, without histograms", lower, 4096, Vm + Native, " bytes")],
        data => #{memory => #{components => Count, registered => Registered, used => Used}}
    }.

row(Name, #{vm := Vm, native := Native}) ->
    [Name | [integer_to_list(round(Bytes)) || Bytes <- [Native, Vm, Native + Vm]]].
