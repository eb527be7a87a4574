-module(erlmcp_native_bench_memory).
-moduledoc "What a tracked owner with one role takes, native and of the runtime apart.".

-behaviour(erlmcp_native_bench).

-export([run/1]).

-define(ROLE, session).

-doc "Tracks more and more owners in a table that never held any, and measures what each takes.".
-spec run(erlmcp_native_bench:options()) -> erlmcp_native_bench:result().
run(#{tracked := Sizes}) ->
    {ok, _} = erlmcp_queue_limits:start_link(),
    Most = lists:max(Sizes),
    Idle = erlmcp_native_bench_owners:start(Most),
    Table = erlmcp_native:limits_new([{?ROLE, 1}]),
    Empty = erlmcp_native_bench_run:memory([]),
    %% Seen on the way too, since a table that has just grown is at its emptiest.
    Looks = lists:usort(Sizes ++ lists:seq(Most div 50, Most, Most div 50)),
    Look = fun(Size, Before) -> {track(Table, Idle, Before + 1, Size, Empty), Size} end,
    {Rows, _} = lists:mapfoldl(Look, 0, Looks),
    #{owners := Most, current_depth := Most} = erlmcp_native:limits_role_stats(Table, ?ROLE),
    ok = erlmcp_native_bench_owners:stop(Idle),
    ok = none_left(Table, 100),
    #{native := Left} = erlmcp_native_bench_run:memory([]),
    ok = gen_server:stop(erlmcp_queue_limits),
    Late = [{total(Row), Row} || #{owners := N} = Row <- Rows, N >= Most div 10],
    {_, Worst} = lists:max(Late),
    result(Rows, Worst, Sizes, Left - map_get(native, Empty)).

track(Table, Idle, From, To, Empty) ->
    enqueue(Table, Idle, From, To),
    Used = erlmcp_native_bench_run:memory([]),
    %% As the service's process does once a second.
    ok = erlmcp_native:limits_sample(Table),
    #{native := Tidied} = erlmcp_native_bench_run:memory([]),
    #{
        owners => To,
        native => (map_get(native, Used) - map_get(native, Empty)) / To,
        tidied => (Tidied - map_get(native, Empty)) / To,
        vm => (map_get(vm, Used) - map_get(vm, Empty)) / To
    }.

enqueue(_, _, From, To) when From > To ->
    ok;
enqueue(Table, Idle, From, To) ->
    ok = erlmcp_native:limits_enqueue(Table, ?ROLE, element(From, Idle)),
    enqueue(Table, Idle, From + 1, To).

none_left(Table, 0) ->
    {error, erlmcp_native:limits_role_stats(Table, ?ROLE)};
none_left(Table, Ms) ->
    case erlmcp_native:limits_role_stats(Table, ?ROLE) of
        #{owners := 0, current_depth := 0} -> ok;
        _ -> receive after 1 -> none_left(Table, Ms - 1) end
    end.

total(#{native := Native, vm := Vm}) -> Native + Vm.

result(Rows, Worst, Sizes, Left) ->
    Shown = [{"", Row} || #{owners := N} = Row <- Rows, lists:member(N, Sizes)] ++ [{"worst on the way", Worst}],
    Last = lists:last([Row || {"", Row} <- Shown]),
    #{
        title => "Queue limits: bytes per tracked owner with one role",
        tables => [
            #{
                head => ["tracked", "native", "a second later", "VM", "sum", ""],
                left => 0,
                rows => [
                    [
                        erlmcp_native_bench_report:count(N),
                        bytes(Native),
                        bytes(Tidied),
                        bytes(Vm),
                        bytes(Tidied + Vm),
                        Note
                    ]
                 || {Note, #{owners := N, native := Native, tidied := Tidied, vm := Vm}} <- Shown
                ]
            }
        ],
        notes => [
            "native  what malloc has handed out; VM: erlang:memory(total). Both less what was there before the",
            "        first owner was tracked, the processes themselves included; for 100 owners that is noise",
            "a second later  when growths that were under way have been ended, as the service's process does; the",
            "        sum is with this",
            io_lib:format("after all owners died: ~b bytes native more than before the first", [Left])
        ],
        targets => [
            target("memory per owner, everything included, at the most tracked, a second later", 320, later(Last)),
            target("the same at once", 320, total(Last)),
            target("memory per owner, worst while growing to that", 512, total(Worst))
        ],
        data => #{sizes => Rows, native_bytes_left => Left}
    }.

bytes(Bytes) -> integer_to_list(round(Bytes)).

later(#{tidied := Tidied, vm := Vm}) -> Tidied + Vm.

target(Name, Target, Bytes) ->
    #{name => Name, better => lower, target => Target, measured => Bytes, unit => " bytes"}.
