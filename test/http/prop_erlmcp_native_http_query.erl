%% Whatever the query string, the answer is one of those that are promised, and no atom is made.
-module(prop_erlmcp_native_http_query).

-include_lib("proper/include/proper.hrl").

-export([prop_anything_is_answered/0, prop_what_was_written_is_read/0]).

-define(M, erlmcp_native_http_query).

prop_anything_is_answered() ->
    ?FORALL(
        {Query, Allowed},
        {query(), oneof([[], [role], [role, top]])},
        begin
            Before = erlang:system_info(atom_count),
            Answer = ?M:check(Query, Allowed),
            conjunction([{answer, is_answer(Answer, Allowed)}, {atoms, erlang:system_info(atom_count) =:= Before}])
        end
    ).

is_answer({ok, Values}, Allowed) ->
    maps:keys(Values) -- Allowed =:= [] andalso lists:all(fun is_value/1, maps:to_list(Values));
is_answer({error, {none, Reason}}, _) ->
    is_text(Reason);
is_answer({error, {Parameter, Reason}}, _) ->
    is_text(Parameter) andalso string:length(Parameter) =< 64 andalso is_text(Reason).

is_value({role, Name}) -> is_text(Name) andalso byte_size(Name) =< 1020;
is_value({top, Top}) -> is_integer(Top) andalso Top >= 1 andalso Top =< 1000.

is_text(Binary) ->
    unicode:characters_to_binary(Binary) =:= Binary.

query() ->
    oneof([binary(), ?LET(Pieces, list(piece()), iolist_to_binary(lists:join("&", Pieces)))]).

piece() ->
    oneof([
        binary(),
        [oneof(["role", "top", "Role", "%72ole", binary()]), oneof(["", "=", "=="]), value()]
    ]).

value() ->
    oneof([
        binary(),
        "session",
        ?LET(N, integer(-5, 2000), integer_to_list(N)),
        ?LET(Bytes, list(byte()), [["%", binary:encode_hex(<<B>>)] || B <- Bytes]),
        oneof([
            "%", "%z", "%0", "+", "%00", "%C3", "%F0%9F%98%80", lists:duplicate(1500, $a), lists:duplicate(5000, $a)
        ])
    ]).

prop_what_was_written_is_read() ->
    ?FORALL(
        {Role, Top, Swapped},
        {?SUCHTHAT(Text, utf8(), byte_size(Text) =< 1020), integer(1, 1000), boolean()},
        begin
            Pieces = [["role=", uri_string:quote(Role)], ["top=", integer_to_list(Top)]],
            Ordered = if Swapped -> lists:reverse(Pieces); true -> Pieces end,
            Query = iolist_to_binary(lists:join("&", Ordered)),
            ?M:check(Query, [role, top]) =:= {ok, #{role => Role, top => Top}}
        end
    ).
