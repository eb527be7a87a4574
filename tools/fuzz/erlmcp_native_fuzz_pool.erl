-module(erlmcp_native_fuzz_pool).
-moduledoc """
What calls have returned and other calls may be given: tables, permits, histograms, aliases, tokens. Whoever asks gets
any of them, so that a resource often goes where one of another kind belongs.

There are a few dozen places; what is put into one takes the place of what was there, which then goes, unless somebody
is just using it.
""".

-export([make/0, put/1, reference/0, clear/0]).

-define(PLACES, 48).

-doc "Makes the pool. It goes with the calling process.".
-spec make() -> ok.
make() ->
    ?MODULE = ets:new(?MODULE, [named_table, public, {write_concurrency, true}]),
    ok.

-doc "Keeps the references that a call's result is, or holds in a tuple or first in a list.".
-spec put(term()) -> ok.
put(Reference) when is_reference(Reference) ->
    true = ets:insert(?MODULE, {rand:uniform(?PLACES), Reference}),
    ok;
put({_, Reference}) when is_reference(Reference) ->
    put(Reference);
put([Reference | _]) when is_reference(Reference) ->
    put(Reference);
put({tell, Token, Telling}) ->
    ok = put(Token),
    put(Telling);
put(_) ->
    ok.

-doc "Returns one of those kept, or a new one.".
-spec reference() -> reference().
reference() ->
    case ets:lookup(?MODULE, rand:uniform(?PLACES)) of
        [{_, Reference}] -> Reference;
        [] -> make_ref()
    end.

-doc "Lets go of all.".
-spec clear() -> ok.
clear() ->
    true = ets:delete_all_objects(?MODULE),
    ok.
