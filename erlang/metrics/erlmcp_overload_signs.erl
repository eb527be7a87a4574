-module(erlmcp_overload_signs).
-moduledoc """
The signs that a count is not what it should be: places that were taken and never given back, a name that is taken for a
process, dequeues of what was never enqueued. A count is as good as whoever keeps it, and a wrong one refuses quietly.

They are signs and no proof: an owner may take requests out of its mailbox at once and keep them in its state. What an
owner's mailbox has is what the owner said when it was asked; that it said nothing is told, too.
""".

-export([of_owners/2]).

-define(SILENT,
    "~p does not answer: it is in a native, or collects its garbage, or has no scheduler to run on, or this node has "
    "no room for a process that asks it"
).

-doc """
Returns a sentence for each of these owners that does not answer, for each sign in a role, of these owners and of the
role, and what to do about signs. `[]` if there is nothing to say.
""".
-spec of_owners(erlmcp_queue_limits:role(), [erlmcp_overload_answers:asked()]) -> [{silent | sign | remedy, string()}].
of_owners(Role, Owners) ->
    Silent = [silent(Role, Pid) || {Pid, _, silent} <- Owners],
    Signs = lists:append([of_owner(Role, Owner) || Owner <- Owners]) ++ of_role(Role),
    [{silent, Words} || Words <- Silent] ++ [{sign, Sign} || Sign <- Signs] ++ [{remedy, remedy()} || Signs =/= []].

silent(Role, Pid) ->
    Sentence = words(?SILENT, [Pid]),
    case erlmcp_native:limits_depth(own, Role, Pid) of
        mailbox -> Sentence ++ "; how much waits for it is what was known last";
        _Counted -> Sentence
    end.

%% An atom, if the service was stopped meanwhile: then nobody is full.
limit(Role, Owner) ->
    case erlmcp_native:limits_owner(own, Role, Owner) of
        {Limit, _, _, _, _} -> Limit;
        Stopped -> Stopped
    end.

of_owner(Role, {Pid, Depth, {message_queue_len, 0}}) when is_pid(Pid), Depth > 0 ->
    case is_integer(erlmcp_native:limits_depth(own, Role, Pid)) andalso Depth >= limit(Role, Pid) of
        true ->
            Sign = "~p is full, and its mailbox is empty: unless its queue is elsewhere, places were not given back",
            [words(Sign, [Pid])];
        false ->
            []
    end;
of_owner(_, {Name, _, _}) when is_atom(Name) ->
    case Name =/= undefined andalso whereis(Name) of
        Pid when is_pid(Pid) ->
            Sign = "~tp is counted as an atom, and ~p of that name by itself: {name, ~tp} is that process",
            [words(Sign, [Name, Pid, Name])];
        _ ->
            []
    end;
of_owner(_, _) ->
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
