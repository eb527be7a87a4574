-module(erlmcp_native_fuzz_handler).
-moduledoc "A handler of alerts that mostly works; else it raises, is killed, answers nonsense or takes its time.".
-behaviour(erlmcp_overload_handler).

-export([init/1, handle_alert/2, handle_clear/2, handle_role/3]).

-doc false.
-spec init(term()) -> {ok, term()} | term().
init(Arg) -> does(Arg).

-doc false.
-spec handle_alert(erlmcp_overload_monitor:alert(), term()) -> {ok, term()} | term().
handle_alert(_Alert, State) -> does(State).

-doc false.
-spec handle_clear(erlmcp_overload_monitor:alert(), term()) -> {ok, term()} | term().
handle_clear(_Alert, State) -> does(State).

-doc false.
-spec handle_role(atom(), open | close, term()) -> {ok, term()} | term().
handle_role(_Role, _What, State) -> does(State).

does(State) ->
    case rand:uniform(40) of
        1 -> error({fuzz, State});
        2 -> exit(fuzz);
        3 -> exit(self(), kill);
        4 -> throw(State);
        5 -> State;
        6 -> receive after 50 -> {ok, State} end;
        _ -> {ok, State}
    end.
