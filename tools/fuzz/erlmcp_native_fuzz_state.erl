-module(erlmcp_native_fuzz_state).
-moduledoc "What a node holds: processes, atoms, tables, memory. Taken when all is at rest, before and after.".

-export([take/0, grown/2]).
-export_type([state/0]).

-doc "Numbers by what they count; memory is in bytes.".
-type state() :: #{atom() => non_neg_integer()}.

%% What may have been added, and is no leak: what allocators keep, what the runtime holds back for later.
-define(MAY_GROW, #{memory => 8 bsl 20, native => 16 bsl 20}).

-doc "Takes the numbers, once they hardly change any more.".
-spec take() -> state().
take() ->
    nothing_is_logged(50),
    take(numbers(), 50).

%% Who writes to the log ends when there was nothing to write for a second, and goes a second after that.
nothing_is_logged(Tries) ->
    case whereis(erlmcp_native_log_writer) of
        Writer when is_pid(Writer), Tries > 0 -> receive after 100 -> nothing_is_logged(Tries - 1) end;
        _ -> ok
    end.

take(Numbers, 0) ->
    Numbers;
take(Numbers, Tries) ->
    lists:foreach(fun erlang:garbage_collect/1, processes()),
    receive after 100 -> ok end,
    case numbers() of
        Other when Tries > 35 -> take(Other, Tries - 1);
        Other -> case near(Numbers, Other) of true -> Other; false -> take(Other, Tries - 1) end
    end.

near(One, Other) ->
    maps:without([memory, native], One) =:= maps:without([memory, native], Other) andalso
        abs(maps:get(memory, One) - maps:get(memory, Other)) < 100_000.

numbers() ->
    #{
        processes => erlang:system_info(process_count),
        ports => erlang:system_info(port_count),
        atoms => erlang:system_info(atom_count),
        tables => length(ets:all()),
        memory => erlang:memory(total),
        native => case erlmcp_native:native_memory() of Bytes when is_integer(Bytes) -> Bytes; _ -> 0 end
    }.

-doc "Returns what has grown by more than it may.".
-spec grown(state(), state()) -> [{atom(), Before :: non_neg_integer(), After :: non_neg_integer()}].
grown(Before, After) ->
    [
        {What, From, To}
     || {What, From} <- maps:to_list(Before),
        To <- [map_get(What, After)],
        To > From + maps:get(What, ?MAY_GROW, 0)
    ].
