-module(erlmcp_overload_answers).
-moduledoc """
What owners say of their mailboxes when they are asked, each of them once for all that is said of it: one that does not
answer takes its time each time.
""".

-export([of_owner/2, of_rows/1]).

-export_type([asked/0]).

-doc "This is an owner, with its depth and what it said of its mailbox.".
-type asked() :: {
    erlmcp_queue_limits:owner_key(),
    Depth :: non_neg_integer(),
    {message_queue_len, non_neg_integer()} | undefined | silent | not_asked
}.

%% For each owner.
-define(PATIENCE_MS, 100).
%% Among so many of a role a mailbox is looked for whose process does not say how long it is.
-define(MAX_ROWS, 1000).

-doc "Asks an owner of a role. Of a mailbox whose process does not answer the depth is what was known last.".
-spec of_owner(erlmcp_queue_limits:role(), erlmcp_queue_limits:owner_key()) -> asked().
of_owner(Role, Owner) when is_pid(Owner) ->
    Said = erlmcp_native_process_info:one(Owner, message_queue_len, ?PATIENCE_MS),
    {Owner, depth(Role, Owner, Said), Said};
of_owner(Role, Owner) ->
    {Owner, depth(Role, Owner, not_asked), not_asked}.

depth(Role, Owner, Said) ->
    case {erlmcp_native:limits_depth(own, Role, Owner), Said} of
        {Depth, _} when is_integer(Depth) -> Depth;
        {mailbox, {message_queue_len, Length}} -> Length;
        {mailbox, silent} -> known_last(Owner, erlmcp_native:overload_first(own, Role, depth, ?MAX_ROWS));
        _DeadOrNotStarted -> 0
    end.

known_last(Owner, Rows) when is_list(Rows) ->
    lists:max([0 | [Depth || #{process := Of, depth := Depth} <- Rows, Of =:= Owner]]);
known_last(_, _NotStarted) ->
    0.

-doc "Asks the owners of rows of one role, but for mailboxes: of those a row says whether the process has answered.".
-spec of_rows([erlmcp_overload_monitor:queue_info()]) -> [asked()].
of_rows(Rows) ->
    Counted = [Pid || #{kind := counted, process := Pid} <- Rows, is_pid(Pid)],
    Infos = erlmcp_native_process_info:each([{Pid, message_queue_len} || Pid <- Counted], ?PATIENCE_MS),
    Said = maps:from_list(lists:zip(Counted, Infos)),
    [{Owner, Depth, said(Row, Said)} || #{process := Owner, depth := Depth} = Row <- Rows].

said(#{silent := true}, _) -> silent;
said(#{process := Owner}, Said) -> maps:get(Owner, Said, not_asked).
