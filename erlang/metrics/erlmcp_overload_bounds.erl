-module(erlmcp_overload_bounds).
-moduledoc """
Says in words what bounds a role beside the number of its limit, and for what it refused, for a person at a shell: a
limit in milliseconds, what is reserved for the higher classes, caps over all owners, refusals by class and reason.
""".

-export([lines/1]).

-export_type([row/0]).

-doc "A row is a role's.".
-type row() :: #{
    role := erlmcp_queue_limits:role(),
    caps := [{total | bytes, Used :: non_neg_integer(), erlmcp_queue_limits:limit()}],
    refused_by := [{erlmcp_queue_limits:class(), erlmcp_queue_limits:reason(), non_neg_integer()}],
    atom() => term()
}.

-doc "Returns a line for each bound that was set, and one for the refusals if there were any.".
-spec lines(row()) -> [{Name :: string(), string()}].
lines(#{role := Role, caps := Caps, refused_by := Refused}) ->
    [
        {Name, Words}
     || {Name, [_ | _] = Words} <- [
            {"wait", wait(erlmcp_queue_limits:get_limit(Role))},
            {"reserve", reserve(erlmcp_queue_limits:get_reserve(Role))},
            {"caps", list([cap(Of, Used, Most) || {Of, Used, Most} <- Caps, is_integer(Most)])},
            {"reasons", list([refused(Class, Reason, N) || {Class, Reason, N} <- Refused, N > 0])}
        ]
    ].

wait({wait, TargetMs, #{min := Min, max := Max}}) ->
    words("nobody for longer than ~b ms: a limit from ~b to ~b, of each owner its own", [TargetMs, Min, Max]);
wait(_) ->
    "".

reserve(Reserve) ->
    Classes = [{Class, maps:get(Class, Reserve)} || Class <- [critical, sheddable_plus, sheddable]],
    list([words("~s may not use ~b %", [Class, Percent]) || {Class, Percent} <- Classes, Percent > 0]).

cap(total, Used, Most) -> words("~b of ~b places", [Used, Most]);
cap(bytes, Used, Most) -> words("~b of ~b bytes", [Used, Most]).

refused(Class, Reason, N) -> words("~b ~s (~s)", [N, Class, Reason]).

list(Parts) -> lists:append(lists:join(", ", Parts)).

words(Format, Args) ->
    lists:flatten(io_lib:format(Format, Args)).
