%% Elixir in documents. The functions of Erlang modules that it calls exist. Where there is an Elixir (on PATH, or as
%% scripts/docs_tools.sh has fetched it), it runs in this node: a block is parsed, configuration is handed on, and what
%% needs no library that is missing here is run, or compiled and loaded.
-module(erlmcp_native_document_elixir).

-export([is_there/0, check/1, stop/0]).

%% Libraries of others, which are not here.
-define(ABSENT, [~"telemetry"]).

-type result() ::
    {ok, Loaded :: [module()]} | {configuration, [{atom(), [{atom(), term()}]}]} | {error, [string()]}.

-spec check(binary()) -> result().
check(Text) ->
    case {unknown_calls(Text), start()} of
        {[], true} -> with_diagnostics(fun() -> evaluate(Text) end);
        {[], false} -> {ok, []};
        {Troubles, _} -> {error, Troubles}
    end.

-spec is_there() -> boolean().
is_there() -> ebin() =/= none.

start() ->
    case ebin() of
        none ->
            false;
        Ebin ->
            true = code:add_pathz(Ebin),
            {ok, _} = application:ensure_all_started(elixir),
            true
    end.

-spec stop() -> ok.
stop() ->
    _ = application:stop(elixir),
    ok.

ebin() ->
    Beside =
        case os:find_executable("elixir") of
            false -> [];
            Found -> [filename:join(filename:dirname(filename:dirname(Found)), "lib/elixir/ebin")]
        end,
    Cache = os:getenv("XDG_CACHE_HOME", filename:join(os:getenv("HOME", "/"), ".cache")),
    Fetched = filelib:wildcard(filename:join(Cache, "erlmcp_native/ex_doc-*/usr/lib/elixir/lib/elixir/ebin")),
    case [Dir || Dir <- Beside ++ Fetched, filelib:is_regular(filename:join(Dir, "elixir.app"))] of
        [] -> none;
        [Dir | _] -> Dir
    end.

%% What it would write to standard error becomes part of the error.
with_diagnostics(Fun) ->
    {Result, Diagnostics} = 'Elixir.Code':with_diagnostics(fun() ->
        try
            Fun()
        catch
            Class:Reason:Stack ->
                {error, [unicode:characters_to_list('Elixir.Exception':format_banner(Class, Reason, Stack))]}
        end
    end),
    case Result of
        {error, Troubles} ->
            {error, Troubles ++ [unicode:characters_to_list(Message) || #{message := Message} <- Diagnostics]};
        _ ->
            Result
    end.

evaluate(Text) ->
    _ = 'Elixir.Code':'string_to_quoted!'(Text),
    case {matches(Text, ~B"(?m)^import Config$"), needs(Text)} of
        {true, _} -> {configuration, 'Elixir.Config.Reader':'eval!'(~"config.exs", Text)};
        {false, []} -> {ok, loaded(Text)};
        {false, _} -> {ok, []}
    end.

loaded(Text) ->
    Before = [Module || {Module, _} <- code:all_loaded()],
    _ = 'Elixir.Code':eval_string(Text),
    Named = [binary_to_atom(<<"Elixir.", Name/binary>>) || [Name] <- found(Text, ~B"(?m)^defmodule ([\w.]+)")],
    [Module || Module <- Named, code:is_loaded(Module) =/= false, not lists:member(Module, Before)].

%% What it uses, and is not here; `def` outside of a module is a part of one.
needs(Text) ->
    Used = [Name || [Name] <- found(Text, ~B"(?m)^\s*(?:use|import|require) ([A-Z][\w.]*)")],
    [Name || Name <- Used, code:ensure_loaded(binary_to_atom(<<"Elixir.", Name/binary>>)) =/= {module, module(Name)}] ++
        [~"a module" || matches(Text, ~B"(?m)^defp? ")].

module(Name) -> binary_to_atom(<<"Elixir.", Name/binary>>).

%% Calls as Elixir writes them, and `{:module, :function, [arguments]}`.
unknown_calls(Text) ->
    Plain = re:replace(Text, ~B"(?m)(^|\s)#[^{].*$", ~"", [global, {return, binary}]),
    Calls = [{M, F, A} || [M, F, _, A] <- found(Plain, ~B"(?:^|[^\w]):(\w+)\.(\w+)(\(((?:[^()]|(?3))*)\))?")],
    Named = [{M, F, A} || [M, F, A] <- found(Plain, ~B"\{:(\w+), :(\w+), \[([^\]]*)\]\}")],
    [
        lists:flatten(io_lib:format(":~ts.~ts/~b does not exist", [Module, Name, Arity]))
     || {Module, Name, Arguments} <- Calls ++ Named,
        Arity <- [arity(Arguments)],
        not lists:member(Module, ?ABSENT),
        not exists(binary_to_atom(Module), binary_to_atom(Name), Arity)
    ].

exists(Module, Name, Arity) ->
    _ = code:ensure_loaded(Module),
    erlang:function_exported(Module, Name, Arity) orelse erlang:is_builtin(Module, Name, Arity).

%% Arguments are parted by commas that are in no bracket.
arity(Text) ->
    case string:trim(Text) of
        ~"" -> 0;
        Arguments -> arity(unicode:characters_to_list(Arguments), 0, 1)
    end.

arity([], _, N) -> N;
arity([C | T], Depth, N) when C =:= $(; C =:= $[; C =:= ${ -> arity(T, Depth + 1, N);
arity([C | T], Depth, N) when C =:= $); C =:= $]; C =:= $} -> arity(T, Depth - 1, N);
arity([$, | T], 0, N) -> arity(T, 0, N + 1);
arity([_ | T], Depth, N) -> arity(T, Depth, N).

matches(Text, Pattern) -> re:run(Text, Pattern) =/= nomatch.

found(Text, Pattern) ->
    case re:run(Text, Pattern, [global, {capture, all_but_first, binary}]) of
        {match, Found} -> [pad(F) || F <- Found];
        nomatch -> []
    end.

%% A group at the end that took no part is left out.
pad([M, F]) -> [M, F, ~"", ~""];
pad(Found) -> Found.
