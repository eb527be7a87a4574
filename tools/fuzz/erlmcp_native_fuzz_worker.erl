-module(erlmcp_native_fuzz_worker).
-moduledoc """
A process that calls one function after the other with arguments drawn from a seed, until it is killed.

What it is at stands in a table, for whoever looks for calls that hang, and in a file, for whoever wants to know what
was called when the runtime ended.
""".

-export([start/1, calls/0]).
-export_type([settings/0]).

-doc "What a worker needs.".
-type settings() :: #{
    functions := tuple(),
    specs := erlmcp_native_fuzz_spec:specs(),
    %% For each function as many as there are kinds of ends.
    counters := counters:counters_ref(),
    findings := ets:table(),
    seed := integer(),
    number := pos_integer(),
    life := pos_integer(),
    folder := file:filename(),
    group_leader := pid()
}.

-doc "Starts a worker. It is not linked; the caller gets a message when it ends.".
-spec start(settings()) -> {pid(), reference()}.
start(Settings) ->
    spawn_opt(fun() -> init(Settings) end, [monitor]).

-doc "Returns the table with what workers are at: `{Number, Pid, Function, SinceMs}`, in monotonic time.".
-spec calls() -> ets:table().
calls() ->
    erlmcp_native_fuzz_calls.

init(#{seed := Seed, number := Number, life := Life, folder := Folder, group_leader := Leader} = Settings) ->
    true = group_leader(Leader, self()),
    _ = rand:seed(exsss, {Seed, Number, Life}),
    File = filename:join(Folder, "call." ++ integer_to_list(Number)),
    {ok, Log} = file:open(File, [write, raw, binary]),
    loop(Settings, Log).

loop(#{functions := Functions, specs := Specs} = Settings, Log) ->
    Index = rand:uniform(tuple_size(Functions)),
    Function = element(Index, Functions),
    Clauses = erlmcp_native_fuzz_spec:specs(Function, Specs),
    {Types, _} = lists:nth(rand:uniform(length(Clauses)), Clauses),
    {Names, Args} = lists:unzip([erlmcp_native_fuzz_value:argument(Type, Specs) || Type <- Types]),
    begin_call(Settings, Function, Names, Log),
    Outcome = erlmcp_native_fuzz_judge:call(Function, Args, Specs),
    end_call(Settings, Index, Function, Names, Outcome),
    forget_messages(),
    loop(Settings, Log).

begin_call(#{number := Number}, Function, Names, Log) ->
    Line = unicode:characters_to_binary(io_lib:format("~0tP~n", [{Function, Names}, 60])),
    ok = file:pwrite(Log, 0, <<(byte_size(Line)):32, Line/binary>>),
    true = ets:insert(calls(), {Number, self(), Function, erlang:monotonic_time(millisecond)}).

end_call(#{number := Number, findings := Findings} = Settings, Index, Function, Names, Outcome) ->
    true = ets:delete(calls(), Number),
    case Outcome of
        {finding, Finding} ->
            _ = ets:insert_new(Findings, {{Function, Finding}, io_lib:format("~0tP", [Names, 60]), 0}),
            _ = ets:update_counter(Findings, {Function, Finding}, {3, 1}),
            ok;
        {Kind, Value} ->
            count(Settings, Index, Kind),
            erlmcp_native_fuzz_pool:put(Value)
    end.

count(#{counters := Counters}, Index, Kind) ->
    Kinds = erlmcp_native_fuzz_judge:kinds(),
    Place = length(lists:takewhile(fun(Other) -> Other =/= Kind end, Kinds)),
    counters:add(Counters, (Index - 1) * length(Kinds) + Place + 1, 1).

forget_messages() ->
    receive
        _ -> forget_messages()
    after 0 -> ok
    end.
