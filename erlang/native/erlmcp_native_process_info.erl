-module(erlmcp_native_process_info).
-moduledoc """
Asks other processes what they are, where one may not answer.

A process says itself what `process_info/2` returns, between two things that it does. One that is in a native, or
collects its garbage, for long does not, and whoever asks stands still meanwhile and cannot give up. So a process asks
in the asker's place, and another one, which never stands still itself, ends that when it has waited long enough, or
the asker has ended.

```erlang
1> erlmcp_native_process_info:one(whereis(erlmcp_native_sup), registered_name, 5000).
{registered_name,erlmcp_native_sup}
```
""".

-export([one/3, each/2]).
-export([attend/3, tell/3]).

-export_type([items/0, info/0]).

-doc "What is asked is what `process_info/2` takes.".
-type items() :: atom() | [atom() | {dictionary, term()}].
-doc "An answer is what `process_info/2` returns, `undefined` of a dead process, or `silent` if there was none.".
-type info() :: term() | undefined | silent.

%% So many that do not answer are waited for, and then nobody else is asked.
-define(MOST_SILENT, 5).
%% Who asks more must not keep others from running.
-define(FEW, 16).

-doc "Asks one process, which has so much time to answer.".
-spec one(pid(), items(), Ms :: pos_integer()) -> info().
one(Pid, Items, Ms) ->
    [Info] = each([{Pid, Items}], Ms),
    Info.

-doc """
Asks one process after the other, each of which has so much time to answer, and returns their answers in that order.
When five were silent, nobody else is asked, and all others count as silent too.
""".
-spec each([{pid(), items()}], Ms :: pos_integer()) -> [info()].
each([], _) ->
    [];
each(Asked, Ms) ->
    Start = fun() -> spawn_opt(?MODULE, attend, [self(), Asked, Ms], [{priority, high}]) end,
    case erlmcp_native_process:start(Start) of
        {error, system_limit} ->
            silent(Asked);
        Attendant ->
            %% One reference for both, so that a mailbox that is long is not searched.
            Alias = erlang:monitor(process, Attendant, [{alias, reply_demonitor}]),
            Attendant ! {answer_to, Alias},
            receive
                {Alias, Infos} -> Infos;
                {'DOWN', Alias, process, _, _} -> silent(Asked)
            end
    end.

silent(Asked) ->
    [silent || _ <- Asked].

-doc false.
-spec attend(pid(), [{pid(), items()}], pos_integer()) -> ok.
attend(Asker, Asked, Ms) ->
    Asking = erlang:monitor(process, Asker),
    receive
        {answer_to, Alias} ->
            case asked(Asked, Ms, Asking, ?MOST_SILENT) of
                nobody_asks -> ok;
                Infos -> Alias ! {Alias, Infos}, ok
            end;
        {'DOWN', Asking, process, _, _} ->
            ok
    end.

asked([], _, _, _) ->
    [];
asked(Asked, _, _, 0) ->
    silent(Asked);
asked(Asked, Ms, Asking, Patience) ->
    Tag = make_ref(),
    case erlmcp_native_process:helper(?MODULE, tell, [self(), Tag, Asked], [{priority, priority(Asked)}]) of
        no_room ->
            silent(Asked);
        {Teller, Monitor} ->
            Outcome = answers(Asked, Tag, {Asking, Monitor}, Ms, []),
            true = exit(Teller, kill),
            true = erlang:demonitor(Monitor, [flush]),
            others(Outcome, Ms, Asking, Patience)
    end.

others({Told, []}, _, _, _) ->
    lists:reverse(Told);
others({Told, [_ | Others]}, Ms, Asking, Patience) ->
    case asked(Others, Ms, Asking, Patience - 1) of
        nobody_asks -> nobody_asks;
        Infos -> lists:reverse(Told, [silent | Infos])
    end;
others(nobody_asks, _, _, _) ->
    nobody_asks.

answers([], _, _, _, Told) ->
    {Told, []};
answers([_ | Others] = Asked, Tag, {Asking, Monitor} = Ends, Ms, Told) ->
    receive
        {Tag, Info} -> answers(Others, Tag, Ends, Ms, [Info | Told]);
        {'DOWN', Monitor, process, _, _} -> {Told, Asked};
        {'DOWN', Asking, process, _, _} -> nobody_asks
    after Ms -> {Told, Asked}
    end.

priority(Asked) when length(Asked) =< ?FEW -> high;
priority(_) -> normal.

-doc false.
-spec tell(pid(), reference(), [{pid(), items()}]) -> ok.
tell(Attendant, Tag, Asked) ->
    lists:foreach(fun({Pid, Items}) -> Attendant ! {Tag, process_info(Pid, Items)} end, Asked).
