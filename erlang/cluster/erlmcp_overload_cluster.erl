-module(erlmcp_overload_cluster).
-moduledoc """
Many nodes that know of each other. It is off unless it is configured:

```erlang
{erlmcp_native, [{cluster, #{nodes => 12}}]}
```

| option | value | default | meaning |
| --- | --- | --- | --- |
| `nodes` | an integer from 1 to 2048 | `1` | How many nodes there are when all are there. |
| `interval_ms` | milliseconds, an integer from 100 to 1000 | `1000` | The time after which a node tells the others of itself again. |

Without the option nothing is started for it, no node is contacted, and `summary/0` exits with `noproc`. With it the
application has a scope of `m:pg`, `erlmcp_overload`, and each node tells all that it is connected to, and that have
that scope too, of itself, once in `interval_ms`: in one message of at most 4096 bytes
(`m:erlmcp_overload_cluster_message`), which is dropped where it would have to wait. Nobody asks anybody. Nodes that are
hidden have no part in it, and connections are made by whoever makes them otherwise.

What the others told is read on the node that asks, without a message, and says how old it is:

```erlang
1> application:set_env(erlmcp_native, cluster, #{}), erlmcp_native_app:reload_config().
ok
2> #{counted := Counted, nodes := Nodes} = erlmcp_overload_cluster:summary(), {Counted, [Node || Node := _ <- Nodes]}.
{#{fresh => 1,gone => 0,stale => 0},[nonode@nohost]}
3> application:unset_env(erlmcp_native, cluster), erlmcp_native_app:reload_config().
ok
```

A node is *fresh* for 3 s after it was heard, unless its connection is lost; then *stale*; and *gone* when it was not
heard for 15 s. Sums are over those that are fresh, and `counted` says how many those are. What is gone is shown for an
hour, or until there are 2048 others.

## Rates of all nodes together

A rate with `scope => cluster` (`m:erlmcp_overload_rate`) is defined on each node alike, and each has a share of it that
follows its demand, which is what is asked for a second, granted or not, but for single costs above the burst, which no
node could grant: rate × (0.1 / N + 0.9 × K / N × demand / Σ demand). K is how many nodes are heard, N is `nodes`, or K
if that is more. So all shares together are the rate while all nodes are there and hear each other. In a split each side
has K / N of it: less is let in rather than twice as much. That is so only where `nodes` is said; without it N is K, and
each side of a split has the whole rate. What is lost for longer is to be taken out of `nodes`.

The share is worked out anew once in `interval_ms` and where a connection is lost, changes by less than a hundredth of
it are left out, and what is asked of a rate is taken at half of what the last interval says and half of what was
before. Until a rate was looked at twice it is 1 / N, and the others take that into account.

What is shared is known of a name, not of a key. A key that is asked for on one node only may have what that node may
have: shares are for keys that are asked for everywhere, such as one for all, or all clients behind a balancer. Of a
burst each node has at least one; a share of less than one in a period is one in several. `share` in
`erlmcp_overload_rate:info/1` says what it is here, and `erlmcp_overload:why/1` says it in words.

A node is believed what it says: one that lies of its demand takes from the others all but their tenth, and no more than
that. What is no number is left out.
""".

-export([summary/0, ask/4]).
-export([asked/4]).
-export([table/0]).

-export_type([summary/0]).

-doc "A summary shows all nodes as far as this one has heard of them, and sums over those that are fresh.".
-type summary() :: #{
    nodes := #{node() => erlmcp_overload_cluster_picture:node_row()},
    roles := #{erlmcp_queue_limits:role() => erlmcp_overload_cluster_picture:role_row()},
    counted := #{fresh | stale | gone => non_neg_integer()},
    %% How many there are when all are there, as configured.
    expected := pos_integer(),
    %% How many messages of this node were dropped, since they would have had to wait.
    unsent := non_neg_integer()
}.

-define(ASK_MS, 1000).

-doc "Returns what is known of all nodes. It asks nobody. Exits with `noproc` where no cluster is configured.".
-spec summary() -> summary().
summary() ->
    case erlmcp_overload_cluster_server:read() of
        {View, Expected, Unsent} ->
            Summary = erlmcp_overload_cluster_picture:read(erlang:monotonic_time(millisecond), View),
            Summary#{expected => Expected, unsent => Unsent};
        none ->
            erlmcp_native_error:raise(not_started, {?MODULE, ?FUNCTION_NAME, []})
    end.

-doc """
Calls a function on a node that is fresh, and waits for it for 1 s at most, whatever becomes of the node meanwhile.

```text
{ok, Text} = erlmcp_overload_cluster:ask('b@host', erlmcp_overload, top_text, []), io:put_chars(Text).
```

A node that is not fresh is not asked: the error is its state then, or `unknown`. The others are `timeout`, and
`{failed, Reason}` for what the function raised, or a connection that was lost. Raises `badarg` for what cannot be
called, and exits with `noproc` where no cluster is configured.
""".
-spec ask(node(), module(), Function :: atom(), Args :: [term()]) ->
    {ok, term()} | {error, stale | gone | unknown | timeout | {failed, term()}}.
ask(Node, Module, Function, Args) when
    is_atom(Node), is_atom(Module), is_atom(Function), is_list(Args), length(Args) < 256
->
    Call = {?MODULE, ?FUNCTION_NAME, [Node, Module, Function, Args]},
    case erlmcp_overload_cluster_server:read() of
        {View, _, _} ->
            #{nodes := Nodes} = erlmcp_overload_cluster_picture:read(erlang:monotonic_time(millisecond), View),
            case Nodes of
                #{Node := #{state := fresh}} -> connected(Call);
                #{Node := #{state := State}} -> {error, State};
                #{} -> {error, unknown}
            end;
        none ->
            erlmcp_native_error:raise(not_started, Call)
    end;
ask(Node, Module, Function, Args) ->
    erlmcp_native_error:raise(bad_node, {?MODULE, ?FUNCTION_NAME, [Node, Module, Function, Args]}).

%% Nobody connects to a node that was lost this moment. A node that is fresh is not hidden.
connected({_, _, [Node | _]} = Call) ->
    case Node =:= node() orelse lists:member(Node, nodes()) of
        true -> fresh(Call);
        false -> {error, stale}
    end.

%% A process of its own: the runtime suspends whoever sends to a node that takes nothing in.
fresh({_, _, Args} = Call) ->
    try
        erlmcp_native_wait:within(?ASK_MS, {?MODULE, asked, Args}, Call)
    catch
        exit:{timeout, Call} -> {error, timeout}
    end.

-doc false.
-spec asked(node(), module(), atom(), [term()]) -> {ok, term()} | {error, timeout | {failed, term()}}.
asked(Node, Module, Function, Args) ->
    try
        {ok, erpc:call(Node, Module, Function, Args, ?ASK_MS)}
    catch
        error:{erpc, timeout} -> {error, timeout};
        _:Reason -> {error, {failed, Reason}}
    end.

-doc "Returns the table of options.".
-spec table() -> erlmcp_native_options:table().
table() ->
    erlmcp_overload_cluster_options:table().
