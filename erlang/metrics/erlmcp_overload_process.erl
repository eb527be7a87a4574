-module(erlmcp_overload_process).
-moduledoc """
What a process is and what it is doing, for whoever is on call: its names, where it is, how much waits for it, how much
it works. Nothing here changes it.

```erlang
1> {ok, Seen} = erlmcp_overload_process:look(whereis(erlmcp_native_sup)).
2> maps:with([registered_name, initial_call], Seen).
#{registered_name => erlmcp_native_sup, initial_call => ~"supervisor:erlmcp_native_sup/1"}
```

A process says this itself, between two things that it does. One that is in a native for long, or has no scheduler to
run on, does not: it is not waited for longer than two seconds. Of its messages and its dictionary nothing is read but
how many there are, and the two entries in which `proc_lib` keeps a label and the initial call. They may be large, and
whoever reads them has 8 MB for it; if that is not enough, all but the label is read.
""".

-export([look/1]).
-export([tell/3, guard/2]).

-export_type([seen/0]).

-doc """
What is seen of a process. Texts have 200 characters at most. `reductions_per_s` is over a tenth of a second, and
`undefined` if the process ended meanwhile.
""".
-type seen() :: #{
    registered_name := atom() | undefined,
    %% What `proc_lib:set_label/1` was given, or that it is too large.
    label := binary() | undefined,
    initial_call := binary(),
    current_function := binary() | undefined,
    %% Where it is, the innermost call first.
    stack := [binary()],
    status := atom(),
    message_queue_len := non_neg_integer(),
    %% `undefined` with more than 10,000 messages in its mailbox: the process would count the memory of each.
    memory_bytes := non_neg_integer() | undefined,
    reductions := non_neg_integer(),
    reductions_per_s := non_neg_integer() | undefined,
    %% Who started it.
    parent := binary() | undefined
}.

-define(PATIENCE_MS, 2000).
-define(BETWEEN_MS, 100).
%% So many reductions it takes to answer.
-define(ASKING, 1).
-define(MAX_CHARS, 200).
-define(MAX_CALLS, 8).
%% 8 MB.
-define(MAX_WORDS, 1048576).
%% 20 ns each.
-define(MAX_MESSAGES, 10000).
-define(LABEL, {dictionary, '$process_label'}).
-define(ITEMS, [
    registered_name,
    initial_call,
    current_function,
    current_stacktrace,
    status,
    message_queue_len,
    reductions,
    parent,
    {dictionary, '$initial_call'}
]).

-doc """
Looks at a process of this node, for some 100 ms. `dead` is one that has ended, `silent` one that does not say anything
within two seconds, `too_large` one of which more than 8 MB would have to be read even without its label. `no_room` is
said where this node has none for who would ask.
""".
-spec look(pid()) -> {ok, seen()} | dead | silent | too_large | no_room.
look(Pid) ->
    case look(Pid, [?LABEL | ?ITEMS]) of
        too_large -> look(Pid, ?ITEMS);
        Seen -> Seen
    end.

look(Pid, Items) ->
    Bounds = #{size => ?MAX_WORDS, kill => true, error_logger => false, include_shared_binaries => true},
    Options = [{priority, high}, {max_heap_size, Bounds}],
    case erlmcp_native_process:helper(?MODULE, tell, [self(), Pid, Items], Options) of
        no_room -> no_room;
        {Helper, Monitor} -> answer(Helper, Monitor)
    end.

answer(Helper, Monitor) ->
    receive
        {'DOWN', Monitor, process, _, {told, Told}} -> Told;
        {'DOWN', Monitor, process, _, no_room} -> no_room;
        %% By the runtime: nobody else does, before time is up.
        {'DOWN', Monitor, process, _, killed} -> too_large;
        {'DOWN', Monitor, process, _, _} -> silent
    after ?PATIENCE_MS ->
        true = exit(Helper, kill),
        receive
            {'DOWN', Monitor, process, _, {told, Told}} -> Told;
            {'DOWN', Monitor, process, _, _} -> silent
        end
    end.

-doc false.
-spec tell(pid(), pid(), [atom() | {dictionary, atom()}]) -> no_return().
tell(Asker, Pid, Items) ->
    case erlmcp_native_process:helper(?MODULE, guard, [Asker, self()], [{priority, high}]) of
        no_room -> exit(no_room);
        {_, _} -> exit({told, told(process_info(Pid, with_memory(Pid, Items)), Pid)})
    end.

with_memory(Pid, Items) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} when Length =< ?MAX_MESSAGES -> [memory | Items];
        _ManyOrDead -> Items
    end.

%% Whoever waits for what a process says does not see that nobody asks any more.
-doc false.
-spec guard(pid(), pid()) -> true.
guard(Asker, Teller) ->
    [_ = erlang:monitor(process, Pid) || Pid <- [Asker, Teller]],
    receive
        {'DOWN', _, process, _, _} -> exit(Teller, kill)
    end.

told(undefined, _) ->
    dead;
told(Items, Pid) ->
    FirstNs = erlang:monotonic_time(nanosecond),
    #{reductions := First} = Seen = seen(maps:from_list(Items)),
    receive
    after ?BETWEEN_MS -> ok
    end,
    case process_info(Pid, reductions) of
        {reductions, Second} ->
            Ns = erlang:monotonic_time(nanosecond) - FirstNs,
            {ok, Seen#{reductions_per_s => max(0, Second - First - ?ASKING) * 1_000_000_000 div Ns}};
        undefined ->
            {ok, Seen}
    end.

seen(#{registered_name := Name, initial_call := Initial, current_function := Current, parent := Parent} = Items) ->
    #{current_stacktrace := Stack, {dictionary, '$initial_call'} := OfProcLib} = Items,
    Same = maps:with([status, message_queue_len, reductions], Items),
    Same#{
        registered_name => case Name of [] -> undefined; _ -> Name end,
        label => label(Items),
        initial_call => function(case OfProcLib of {_, _, _} -> OfProcLib; _ -> Initial end),
        current_function => function(Current),
        stack => [call(Call) || Call <- lists:sublist(Stack, ?MAX_CALLS)],
        memory_bytes => maps:get(memory, Items, undefined),
        reductions_per_s => undefined,
        parent => case is_pid(Parent) of true -> text("~tp", [Parent]); false -> undefined end
    }.

label(#{?LABEL := undefined}) -> undefined;
label(#{?LABEL := Label}) -> text("~0tp", [Label]);
label(#{}) -> ~"(larger than 8 MB, and not read)".

%% proc_lib keeps an arity, or in its place all arguments.
function({Module, Function, Arity}) when is_integer(Arity) -> text("~tp:~tp/~b", [Module, Function, Arity]);
function({Module, Function, Args}) when is_list(Args) -> text("~tp:~tp/~b", [Module, Function, length(Args)]);
function(_) -> undefined.

call({Module, Function, Arity, Location}) ->
    At =
        case {proplists:get_value(file, Location), proplists:get_value(line, Location)} of
            {[_ | _] = File, Line} when is_integer(Line) -> text(" (~ts:~b)", [filename:basename(File), Line]);
            _ -> ~""
        end,
    <<(function({Module, Function, Arity}))/binary, At/binary>>.

text(Format, Args) ->
    erlmcp_native_log_text:format(Format, Args, ?MAX_CHARS).
