%% What the tests of priority messages share: processes whose mailbox is looked into, references made by
%% hand, and nodes that are connected without epmd.
-module(erlmcp_priority_test_lib).

-export([receiver/0, receiver/1, in/2, alias_in/1, arrived/2, mailbox/1, taken/2, stop/1]).
-export([words/1, with_words/2, with_creation/2, with_node/2]).
-export([node_args/1, connect/2]).
-export([start_link/0, listen_port_please/2, register_node/3, address_please/3]).

-import(erlmcp_native_test_lib, [eventually/1]).

receiver() ->
    receiver([]).

%% A process that does as it is told by in/2, and leaves all else in its mailbox.
receiver(Options) ->
    spawn_opt(fun serve/0, [link | Options]).

serve() ->
    receive
        {?MODULE, From, Ref, Fun} ->
            From ! {Ref, Fun()},
            serve();
        {?MODULE, stop} ->
            ok
    end.

in(Pid, Fun) ->
    Ref = monitor(process, Pid),
    Pid ! {?MODULE, self(), Ref, Fun},
    receive
        {Ref, Result} ->
            demonitor(Ref, [flush]),
            Result;
        {'DOWN', Ref, process, Pid, Reason} ->
            error({died, Pid, Reason})
    after 30000 -> error({no_answer, Pid})
    end.

alias_in(Pid) ->
    in(Pid, fun erlmcp_priority:create_priority_alias/0).

%% Waits until so many messages are in the mailbox.
arrived(Pid, Number) ->
    eventually(fun() -> process_info(Pid, message_queue_len) =:= {message_queue_len, Number} end).

%% Everything that has arrived, in the order in which `receive` finds it.
mailbox(Pid) ->
    in(Pid, fun() -> take(infinity) end).

taken(Pid, Number) ->
    in(Pid, fun() -> take(Number) end).

take(0) ->
    [];
take(Number) ->
    receive
        Message when element(1, Message) =/= ?MODULE -> [Message | take(less(Number))]
    after 0 -> []
    end.

less(infinity) -> infinity;
less(Number) -> Number - 1.

stop(Pid) ->
    Ref = monitor(process, Pid),
    unlink(Pid),
    Pid ! {?MODULE, stop},
    receive
        {'DOWN', Ref, process, Pid, normal} -> ok
    after 10000 -> error({still_alive, Pid})
    end.

%% NEWER_REFERENCE_EXT: the words after node and creation.
words(Ref) ->
    {_, _, Words} = parts(Ref),
    [Word || <<Word:32>> <= Words].

with_words(Ref, Words) ->
    {Node, Creation, _} = parts(Ref),
    reference(Node, Creation, << <<Word:32>> || Word <- Words >>).

with_creation(Ref, Change) ->
    {Node, Creation, Words} = parts(Ref),
    reference(Node, Change(Creation), Words).

with_node(Ref, Name) ->
    {_, Creation, Words} = parts(Ref),
    reference(atom_to_binary(Name), Creation, Words).

parts(Ref) ->
    <<131, 90, Number:16, 119, Length, Node:Length/binary, Creation:32, Words:(4 * Number)/binary>> =
        term_to_binary(Ref),
    {Node, Creation, Words}.

reference(Node, Creation, Words) ->
    Number = byte_size(Words) div 4,
    binary_to_term(<<131, 90, Number:16, 119, (byte_size(Node)), Node/binary, Creation:32, Words/binary>>).

%% For a node that is, or can become, part of a network in which ports are known by other means than epmd.
node_args(Name) ->
    [
        "-start_epmd", "false",
        "-epmd_module", ?MODULE_STRING,
        "-setcookie", ?MODULE_STRING,
        "-pa", filename:dirname(code:which(?MODULE))
        | [Arg || Name =/= none, Arg <- ["-sname", atom_to_list(Name) ++ "@localhost"]]
    ].

%% From the first peer to the second.
connect(From, To) ->
    Node = peer:call(To, erlang, node, []),
    Port = peer:call(To, persistent_term, get, [{?MODULE, port}]),
    ok = peer:call(From, persistent_term, put, [{?MODULE, Node}, Port]),
    true = peer:call(From, net_kernel, connect_node, [Node]),
    Node.

start_link() ->
    ignore.

listen_port_please(_Name, _Host) ->
    {ok, 0}.

register_node(_Name, Port, _Family) ->
    persistent_term:put({?MODULE, port}, Port),
    {ok, rand:uniform(16#fffffffe)}.

address_please(Name, Host, _Family) ->
    Node = list_to_atom(lists:concat([Name, "@", Host])),
    {ok, {127, 0, 0, 1}, persistent_term:get({?MODULE, Node}), 6}.
