-module(erlmcp_overload_signs).
-moduledoc """
The signs that a count is not what it should be: places that were taken and never given back, a name that is taken for a
process, dequeues of what was never enqueued. A count is as good as whoever keeps it, and a wrong one refuses quietly.

They are signs and no proof: an owner may take requests out of its mailbox at once and keep them in its state.
""".

-export([of_owners/2]).

-doc """
Returns a sentence for each sign in a role, of these owners with their depths, and of the role; what to do about it
comes last. `[]` if there is none.
""".
-spec of_owners(erlmcp_queue_limits:role(), [{erlmcp_queue_limits:owner_key(), Depth :: non_neg_integer()}]) ->
    [{sign | remedy, string()}].
of_owners(Role, Owners) ->
    OfOwners = [of_owner(Role, Owner, Depth, limit(Role, Owner)) || {Owner, Depth} <- Owners],
    Signs = lists:append(OfOwners) ++ of_role(Role),
    [{sign, Sign} || Sign <- Signs] ++ [{remedy, remedy()} || Signs =/= []].

%% An atom, if the service was stopped meanwhile: then nobody is full.
limit(Role, Owner) ->
    case erlmcp_native:limits_owner(own, Role, Owner) of
        {Limit, _, _, _, _} -> Limit;
        Stopped -> Stopped
    end.

of_owner(Role, Pid, Depth, Limit) when is_pid(Pid), Depth > 0, Depth >= Limit ->
    Counted = erlmcp_native:limits_depth(own, Role, Pid),
    case is_integer(Counted) andalso process_info(Pid, message_queue_len) of
        {message_queue_len, 0} ->
            Sign = "~p is full, and its mailbox is empty: unless its queue is elsewhere, places were not given back",
            [words(Sign, [Pid])];
        _ ->
            []
    end;
of_owner(_, Name, _, _) when is_atom(Name) ->
    case Name =/= undefined andalso whereis(Name) of
        Pid when is_pid(Pid) ->
            Sign = "~tp is counted as an atom, and ~p of that name by itself: {name, ~tp} is that process",
            [words(Sign, [Name, Pid, Name])];
        _ ->
            []
    end;
of_owner(_, _, _, _) ->
    [].

of_role(Role) ->
    case erlmcp_queue_limits:get_role_stats(Role) of
        #{unmatched_dequeues := Unmatched} when Unmatched > 0 ->
            Sign = "~b dequeues in this role found nothing to take: of another owner, or twice",
            [words(Sign, [Unmatched])];
        _ ->
            []
    end.

remedy() ->
    "a permit gives its place back by itself: acquire/2; erlmcp_overload_mailbox limits a mailbox as it is".

words(Format, Args) ->
    lists:flatten(io_lib:format(Format, Args)).
