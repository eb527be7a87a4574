-module(erlmcp_native_http_change).
-moduledoc """
What has changed from one JSON to the next, as JSON: with many roles most of a snapshot is as it was a second ago.

| what it was | what it is in a change | means |
| --- | --- | --- |
| an object | an object | these members are changed so, the others are as they were |
| an object | an array with one element | it is another one, that element |
| an array | an object | the elements of these indexes, from 0, are changed so |
| an array | an array | it is another one |
| anything | anything else | it is that now |

```erlang
1> Was = ~'{"at":1,"roles":[{"role":"a","depth":1},{"role":"b","depth":1}]}'.
2> Is = ~'{"at":2,"roles":[{"role":"a","depth":1},{"role":"b","depth":7}]}'.
3> erlmcp_native_http_change:between(Was, Is).
~'{"at":2,"roles":{"1":{"depth":7}}}'
```
""".

-export([between/2]).

-doc "Returns what has changed between two JSON objects; `none` where that cannot be said.".
-spec between(binary(), binary()) -> binary() | none.
between(Was, Is) ->
    try change(json:decode(Was), json:decode(Is)) of
        #{} = Change -> iolist_to_binary(json:encode(Change));
        _ -> none
    catch
        throw:none -> none
    end.

change(Was, Is) when is_map(Was), is_map(Is) ->
    case maps:keys(Was) =:= maps:keys(Is) of
        true -> #{Key => change(map_get(Key, Was), Value) || Key := Value <- Is, Value =/= map_get(Key, Was)};
        false -> [Is]
    end;
change(Was, Is) when is_list(Was), is_list(Is), length(Was) =:= length(Is) ->
    #{integer_to_binary(At) => change(Before, Now) || {At, Before, Now} <- indexed(Was, Is), Before =/= Now};
%% What an array or an object has become would be taken for what has changed in it.
change(Was, Is) when is_list(Was), is_map(Is); is_map(Was), is_list(Is) ->
    throw(none);
change(_, Is) ->
    Is.

indexed(Was, Is) ->
    lists:zip3(lists:seq(0, length(Is) - 1), Was, Is).
