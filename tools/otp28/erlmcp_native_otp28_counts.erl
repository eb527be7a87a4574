-module(erlmcp_native_otp28_counts).
-moduledoc "An eunit listener that sends `{Tag, #{pass, fail, skip, cancel}}` to whoever ran the tests.".
-behaviour(eunit_listener).

-export([start/1]).
-export([init/1, handle_begin/3, handle_end/3, handle_cancel/3, terminate/2]).

-doc "Called by eunit, with `[{to, Pid}, {tag, Tag}]` among the options.".
-spec start([term()]) -> pid().
start(Options) ->
    eunit_listener:start(?MODULE, Options).

-doc false.
-spec init([term()]) -> {pid(), term()}.
init(Options) ->
    receive
        {start, _Reference} -> {proplists:get_value(to, Options), proplists:get_value(tag, Options)}
    end.

-doc false.
-spec handle_begin(atom(), [term()], State) -> State.
handle_begin(_Kind, _Data, State) -> State.

-doc false.
-spec handle_end(atom(), [term()], State) -> State.
handle_end(_Kind, _Data, State) -> State.

-doc false.
-spec handle_cancel(atom(), [term()], State) -> State.
handle_cancel(_Kind, _Data, State) -> State.

-doc false.
-spec terminate({ok, [{atom(), non_neg_integer()}]} | {error, term()}, {pid(), term()}) -> term().
terminate({ok, Counts}, {To, Tag}) ->
    To ! {Tag, maps:from_list(Counts)};
terminate({error, _}, {To, Tag}) ->
    To ! {Tag, #{}}.
