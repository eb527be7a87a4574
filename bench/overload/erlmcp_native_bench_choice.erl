-module(erlmcp_native_bench_choice).
-moduledoc """
How long requests wait at sixteen receivers, each of which takes its time for one after the other: exponentially
distributed, 5 ms on average. They come at random, at a share of what the receivers can do; by turns, or each to one
that `erlmcp_overload_mailbox:send_any/3` chose.

A wait is the time from sending to the begin of the work. Both see the same times of arrival and of work.
""".

-export([run/3, table/1]).

-define(RECEIVERS, 16).
-define(SERVICE_MS, 5).

-doc "Sends so many requests either way, and returns the percentiles of how long they waited.".
-spec run(erlmcp_queue_limits:role(), pos_integer(), Load :: float()) ->
    #{choice | turns := #{p50_ms := float(), p99_ms := float(), longest_ms := float()}}.
run(Role, Requests, Load) ->
    Seed = rand:seed_s(exsss, 7),
    {Plan, _} = lists:mapfoldl(fun(_, State) -> request(Load, State) end, Seed, lists:seq(1, Requests)),
    #{Way => percentiles(waits(Way, Role, Plan)) || Way <- [turns, choice]}.

%% After how many microseconds it comes, and how many milliseconds it takes.
request(Load, State) ->
    {Gap, State1} = exponential(?SERVICE_MS * 1000 / ?RECEIVERS / Load, State),
    {Service, State2} = exponential(?SERVICE_MS, State1),
    {{Gap, Service}, State2}.

exponential(Mean, State) ->
    {U, Next} = rand:uniform_real_s(State),
    {-Mean * math:log(U), Next}.

waits(Way, Role, Plan) ->
    Collector = self(),
    Receivers = [spawn_link(fun() -> receiver(Collector) end) || _ <- lists:seq(1, ?RECEIVERS)],
    ok = arrive(Plan, float(now_us()), Way, Role, Receivers, []),
    Waits = [receive {waited, Us} -> Us end || _ <- Plan],
    lists:foreach(fun(Pid) -> unlink(Pid), exit(Pid, kill) end, Receivers),
    Waits.

arrive([], _, _, _, _, _) ->
    ok;
arrive(Plan, At, Way, Role, All, []) ->
    arrive(Plan, At, Way, Role, All, All);
arrive([{Gap, Service} | Plan], Before, Way, Role, All, [Next | Others]) ->
    At = Before + Gap,
    ok = wait_until(At),
    Request = {request, now_us(), Service},
    case Way of
        turns -> Next ! Request;
        choice -> {ok, _} = erlmcp_overload_mailbox:send_any(Role, All, Request)
    end,
    arrive(Plan, At, Way, Role, All, Others).

wait_until(At) ->
    case trunc(At) - now_us() of
        Us when Us >= 1000 -> receive after Us div 1000 -> wait_until(At) end;
        _ -> ok
    end.

%% Work ends when it would have, had every piece of it taken its very time: a timer that is late delays nobody.
receiver(Collector) ->
    receiver(Collector, float(now_us())).

receiver(Collector, FreeAt) ->
    receive
        {request, Sent, ServiceMs} ->
            Begin = max(float(Sent), FreeAt),
            Collector ! {waited, Begin - Sent},
            End = Begin + ServiceMs * 1000,
            ok = wait_until(End),
            receiver(Collector, End)
    end.

now_us() -> erlang:monotonic_time(microsecond).

percentiles(Waits) ->
    Sorted = lists:sort(Waits),
    At = fun(Share) -> lists:nth(max(1, ceil(length(Sorted) * Share)), Sorted) / 1000 end,
    #{p50_ms => At(0.5), p99_ms => At(0.99), longest_ms => At(1.0)}.

-doc "Returns the table of what was measured at some loads.".
-spec table([{Load :: float(), #{choice | turns := map()}}]) -> erlmcp_native_bench_report:table().
table(Choices) ->
    #{
        head => ["16 receivers, a wait in ms", "load", "p50", "p99", "longest"],
        left => 1,
        rows => [
            [Name, io_lib:format("~.2f", [Load]) | [ms(map_get(Key, map_get(Way, Both))) || Key <- keys()]]
         || {Load, Both} <- Choices, {Way, Name} <- [{turns, "by turns"}, {choice, "send_any/3"}]
        ]
    }.

keys() -> [p50_ms, p99_ms, longest_ms].

ms(Ms) -> io_lib:format("~.1f", [Ms]).
