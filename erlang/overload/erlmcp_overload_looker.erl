-module(erlmcp_overload_looker).
-moduledoc """
When the lengths of mailboxes are read, and the reading.

Nobody says when a message is taken out of a mailbox. So those that amount to a level are looked at until they do not,
and all of them after each check of `m:erlmcp_overload_server`, which keeps this and hands it the messages that it gets
itself.

How long a mailbox is has to be asked for, and a process that is busy takes its time to say so. So helpers ask, at most
100 at a time, and no look waits longer than 10 ms for them: one who is late goes on, and what it has in hand is left to
it meanwhile. As long as there are no more than 100 mailboxes each has a helper to itself: that it has become shorter is
found within 100 ms, or when its own process answers. Of more mailboxes each helper has several, one after the other,
and one that is busy delays those behind it; and while 100 helpers are late nobody else is looked at.
""".

-export([new/0, all/1, later/1, handle/2]).
-export([look/2, ask/1]).

-export_type([looker/0]).

%% Within 100 ms a mailbox has to be found shorter.
-define(LOOK_MS, 50).
-define(LATE_MS, 10).
-define(MOST_HELPERS, 100).

-doc """
A looker has the timer until mailboxes are looked at, or the monitor of who does, whether all of them are to be looked
at, and the helpers who were late, with what they have in hand.
""".
-opaque looker() :: {Waits :: none | reference(), All :: boolean(), Late :: [helper()]}.
-doc "A helper is who asks, and for what it was started.".
-type helper() :: {pid(), [mailbox()]}.
-doc "A mailbox is that of a process in a role.".
-type mailbox() :: {erlmcp_queue_limits:role(), pid()}.

-doc "Returns one that waits for nothing.".
-spec new() -> looker().
new() ->
    {none, false, []}.

-doc "Has all mailboxes looked at, the next time that `later/1` finds nobody who does.".
-spec all(looker()) -> looker().
all({Waits, _, Late}) ->
    {Waits, true, Late}.

-doc "Sees to it that mailboxes are looked at, if there are any that have to be. The calling process is told.".
-spec later(looker()) -> looker().
later({none, true, Late}) ->
    {looking(all, Late), false, Late};
later({none, false, Late}) ->
    case erlmcp_native:mailbox_any_held(own) of
        true -> {erlang:start_timer(?LOOK_MS, self(), look), false, Late};
        _NoneOrNotStarted -> {none, false, Late}
    end;
later(Looker) ->
    Looker.

-doc "Handles a message: now they are looked at, or have been; `other` if it is none of the looker's.".
-spec handle(Message :: term(), looker()) -> {looks | looked, looker()} | other.
handle({timeout, Timer, look}, {Timer, All, Late}) -> {looks, {looking(held, Late), All, Late}};
handle({'DOWN', Monitor, process, _, {late, Late}}, {Monitor, All, _}) -> {looked, {none, All, Late}};
handle({'DOWN', Monitor, process, _, _}, {Monitor, All, Late}) -> {looked, {none, All, Late}};
handle(_Message, _Looker) -> other.

%% Where there is no room for who looks, that is over, until somebody wants it again.
looking(Which, Late) ->
    case erlmcp_native_process:helper(?MODULE, look, [Which, Late], [{priority, priority(Which)}]) of
        {_, Monitor} -> Monitor;
        no_room -> none
    end.

%% Where schedulers are busy each turn that is waited for is long. All may be very many, and are in no haste.
priority(held) -> high;
priority(all) -> normal.

-doc false.
-spec look(held | all, [helper()]) -> no_return().
look(Which, Helpers) ->
    Busy = [Helper || {Pid, _} = Helper <- Helpers, is_process_alive(Pid)],
    InHand = #{Mailbox => true || {_, Mailboxes} <- Busy, Mailbox <- Mailboxes},
    Mailboxes = [Mailbox || Mailbox <- mailboxes(Which), not is_map_key(Mailbox, InHand)],
    Shares = shares(Mailboxes, ?MOST_HELPERS - length(Busy)),
    Asking = [Helper || Share <- Shares, {_, _} = Helper <- [asking(Share)]],
    _ = erlang:send_after(?LATE_MS, self(), late),
    exit({late, ended(Asking) ++ Busy}).

shares(Mailboxes, Helpers) when Mailboxes =:= []; Helpers =:= 0 ->
    [];
shares(Mailboxes, Helpers) ->
    Count = length(Mailboxes),
    Size = (Count + Helpers - 1) div Helpers,
    cut(Mailboxes, Count, Size).

cut(Mailboxes, Count, Size) when Count =< Size ->
    [Mailboxes];
cut(Mailboxes, Count, Size) ->
    {Share, Others} = lists:split(Size, Mailboxes),
    [Share | cut(Others, Count - Size, Size)].

%% What does not come to an end soon must not keep others from running.
asking(Share) ->
    Priority =
        case Share of
            [_] -> high;
            _ -> normal
        end,
    case erlmcp_native_process:helper(?MODULE, ask, [Share], [{priority, Priority}]) of
        {Pid, Monitor} -> {Monitor, {Pid, Share}};
        no_room -> no_room
    end.

%% Gives those who are late.
ended([]) ->
    [];
ended([{Monitor, _} | Others] = Asking) ->
    receive
        {'DOWN', Monitor, process, _, _} -> ended(Others);
        late -> [Helper || {_, Helper} <- Asking]
    end.

-doc false.
-spec ask([mailbox()]) -> ok.
ask(Mailboxes) ->
    lists:foreach(fun({Role, Pid}) -> look_at(Role, Pid) end, Mailboxes).

mailboxes(held) -> list(erlmcp_native:mailbox_held(own));
mailboxes(all) -> list(erlmcp_native:mailbox_all(own)).

list(List) when is_list(List) -> List;
list(_NotStarted) -> [].

look_at(Role, Pid) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} -> erlmcp_native:mailbox_looked(own, Role, Pid, Length);
        %% What is dead is given up natively.
        undefined -> erlmcp_native:mailbox_looked(own, Role, Pid, 0)
    end.
