-module(erlmcp_native_config).
-moduledoc """
Looks up what is configured. It knows no key: whoever reads one brings a table of its keys, with the check of each.

A key is looked up in this application's environment, else in `erlmcp_core`'s, else it has its default. An entry with
`from => [erlmcp_native]` is looked up here only, and of one with `merged => true`, a map, the default, theirs and ours
are merged. All keys that there are, and which are read by whom, is in `m:erlmcp_native_app`.

```erlang
1> Table = [#{name => supervise, type => erlmcp_native_options:boolean(), default => true, doc => ~"Starts them."}].
2> erlmcp_native_config:lookup(supervise, Table).
{ok,true}
3> application:set_env(erlmcp_native, supervise, 1), erlmcp_native_config:lookup(supervise, Table).
{error,{bad_config,#{application => erlmcp_native,key => supervise,value => 1,expected => "true or false"}}}
4> application:unset_env(erlmcp_native, supervise).
ok
```
""".

-export([lookup/2, check/2, unknown/1, problem/3]).

-export_type([problem/0]).

-doc """
A problem names the key, or the path to what is wrong in its value; the value, or `hidden`; and what was expected.
""".
-type problem() ::
    {bad_config, #{application := atom(), key := term() | [term()], value := term(), expected := string()}}.

-doc "Returns the keys that a module reads, with a check of each.".
-callback config() -> erlmcp_native_options:table().

-define(OURS, erlmcp_native).
-define(THEIRS, erlmcp_core).

-doc "Returns the value in force of a key that is in this table.".
-spec lookup(atom(), erlmcp_native_options:table()) -> {ok, term()} | {error, problem()}.
lookup(Key, Table) ->
    [#{type := Type, default := Default} = Entry] = [Entry || #{name := Name} = Entry <- Table, Name =:= Key],
    Apps = maps:get(from, Entry, [?OURS, ?THEIRS]),
    Given = [{App, Value} || App <- Apps, {ok, Value} <- [application:get_env(App, Key)]],
    case {Entry, Given} of
        {#{merged := true}, _} -> merged(Key, Type, lists:reverse(Given), Default);
        {_, [{App, Value} | _]} -> check(App, Key, Type, Value);
        {_, []} -> {ok, Default}
    end.

merged(Key, Type, [{App, Value} | Rest], Below) ->
    maybe
        {ok, Checked} ?= check(App, Key, Type, Value),
        merged(Key, Type, Rest, maps:merge(Below, Checked))
    end;
merged(Key, Type, [], Merged) ->
    check(?OURS, Key, Type, Merged).

check(App, Key, Type, Value) ->
    case erlmcp_native_options:check(Type, Value) of
        {ok, _} = Ok -> Ok;
        {error, Problem} -> problem(App, Key, Problem)
    end.

-doc "Checks these keys of a table, and tells the first problem.".
-spec check([atom()], erlmcp_native_options:table()) -> ok | {error, problem()}.
check([], _) ->
    ok;
check([Key | Rest], Table) ->
    case lookup(Key, Table) of
        {ok, _} -> check(Rest, Table);
        Error -> Error
    end.

-doc """
Checks that this application's environment has no key but those of a table. The value is not told: what was meant may
be a secret.
""".
-spec unknown(erlmcp_native_options:table()) -> ok | {error, problem()}.
unknown(Table) ->
    %% The runtime itself adds the last.
    Known = [included_applications | [Name || #{name := Name} <- Table]],
    case lists:sort([Key || {Key, _} <- application:get_all_env(?OURS), not lists:member(Key, Known)]) of
        [] ->
            ok;
        [Key | _] ->
            {error, {_, _, Expected}} = erlmcp_native_options:unknown(Key, hidden, Table),
            problem(?OURS, Key, {[], hidden, Expected})
    end.

-doc "Makes a problem of the configuration from one in the value of a key.".
-spec problem(App :: atom(), Key :: atom(), erlmcp_native_options:problem()) -> {error, problem()}.
problem(App, Key, {Path, Value, Expected}) ->
    At = case Path of [] -> Key; _ -> [Key | Path] end,
    {error, {bad_config, #{application => App, key => At, value => Value, expected => Expected}}}.
