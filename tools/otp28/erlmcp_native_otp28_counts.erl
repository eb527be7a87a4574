-module(erlmcp_native_otp28_counts).
-moduledoc """
An eunit listener that sends `{Tag, #{pass, fail, skip, cancel}, Faults}` to whoever ran the tests. A fault is a test
that did not pass, and why.
""".
-behaviour(eunit_listener).

-export_type([fault/0]).
-export([start/1]).
-export([init/1, handle_begin/3, handle_end/3, handle_cancel/3, terminate/2]).

-doc "A test that did not pass, with its line and description, and what eunit says of why.".
-type fault() :: {Test :: tuple(), Why :: term()}.
-type state() :: {To :: pid(), Tag :: term(), [fault()]}.

-doc "Called by eunit, with `[{to, Pid}, {tag, Tag}]` among the options.".
-spec start([term()]) -> pid().
start(Options) ->
    eunit_listener:start(?MODULE, Options).

-doc false.
-spec init([term()]) -> state().
init(Options) ->
    receive
        {start, _Reference} -> {proplists:get_value(to, Options), proplists:get_value(tag, Options), []}
    end.

-doc false.
-spec handle_begin(atom(), [term()], State) -> State.
handle_begin(_Kind, _Data, State) -> State.

-doc false.
-spec handle_end(atom(), [term()], state()) -> state().
handle_end(test, Data, {To, Tag, Faults}) ->
    case proplists:get_value(status, Data) of
        ok -> {To, Tag, Faults};
        Why -> {To, Tag, [{test(Data), Why} | Faults]}
    end;
handle_end(group, _Data, State) ->
    State.

-doc false.
-spec handle_cancel(atom(), [term()], state()) -> state().
handle_cancel(_Kind, Data, {To, Tag, Faults} = State) ->
    case proplists:get_value(reason, Data) of
        undefined -> State;
        {blame, _Other} -> State;
        Why -> {To, Tag, [{test(Data), Why} | Faults]}
    end.

-doc false.
-spec terminate({ok, [{atom(), non_neg_integer()}]} | {error, term()}, state()) -> term().
terminate({ok, Counts}, {To, Tag, Faults}) ->
    To ! {Tag, maps:from_list(Counts), lists:reverse(Faults)};
terminate({error, Why}, {To, Tag, Faults}) ->
    To ! {Tag, #{}, lists:reverse(Faults, [{{eunit}, Why}])}.

test(Data) ->
    list_to_tuple([Value || Key <- [source, line, desc], {_, Value} <- [proplists:lookup(Key, Data)]]).
