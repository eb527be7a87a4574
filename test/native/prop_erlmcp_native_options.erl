%% Whatever type it is and whatever comes: a value, or a problem in words.
-module(prop_erlmcp_native_options).

-include_lib("proper/include/proper.hrl").

-export([prop_any_term/0]).

-define(O, erlmcp_native_options).

prop_any_term() ->
    ?FORALL({Type, Value}, {oneof(types()), values()},
        case ?O:check(Type, Value) of
            {ok, _} -> true;
            {error, {Path, _, Expected} = Problem} ->
                is_list(Path) andalso io_lib:char_list(Expected) andalso io_lib:char_list(?O:explain(Problem))
        end
    ).

values() ->
    oneof([any(), list(any()), list({atom(), any()}), map(atom(), any()), oneof(odd())]).

odd() ->
    [[a | b], 1 bsl 100, self(), make_ref(), fun() -> ok end, <<1:3>>, <<255>>, [16#110000], [[[a]]]].

types() ->
    Table = [
        #{name => port, type => ?O:integer(0, 65535), default => required, doc => ~"Where."},
        #{name => key, type => ?O:secret(?O:text()), default => none, doc => ~"Hush."}
    ],
    [
        ?O:integer(0, 9), ?O:milliseconds(0, 9), ?O:number(0, 1), ?O:boolean(), ?O:atom(), ?O:text(), ?O:one_of([a, b]),
        ?O:map_of(?O:atom(), ?O:text()), ?O:map_of(?O:text(), ?O:options(Table)), ?O:list_of(?O:atom()),
        ?O:options(Table), ?O:optional(off, ?O:options(Table)), ?O:secret(?O:list_of(?O:text())),
        ?O:at_most(2, "two", ?O:list_of(?O:atom()))
    ].
