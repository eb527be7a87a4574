-module(erlmcp_overload_looker).
-moduledoc """
When the lengths of mailboxes are read, and the reading.

Nobody says when a message is taken out of a mailbox. So those that amount to a level are looked at until they do not,
and all of them after each check of `m:erlmcp_overload_server`, which keeps this and hands it the messages that it gets
itself.
""".

-export([new/0, all/1, later/1, handle/2]).
-export([look/1]).

-export_type([looker/0]).

%% Within 100 ms a mailbox has to be found shorter.
-define(LOOK_MS, 50).

-doc """
A looker has the timer until mailboxes are looked at, or the monitor of who does, and whether all of them are to be
looked at.
""".
-opaque looker() :: {Waits :: none | reference(), All :: boolean()}.

-doc "Returns one that waits for nothing.".
-spec new() -> looker().
new() ->
    {none, false}.

-doc "Has all mailboxes looked at, the next time that `later/1` finds nobody who does.".
-spec all(looker()) -> looker().
all({Waits, _}) ->
    {Waits, true}.

-doc "Sees to it that mailboxes are looked at, if there are any that have to be. The calling process is told.".
-spec later(looker()) -> looker().
later({none, true}) ->
    {looking(all), false};
later({none, false}) ->
    case erlmcp_native:mailbox_held(own) of
        [_ | _] -> {erlang:start_timer(?LOOK_MS, self(), look), false};
        _NoneOrNotStarted -> {none, false}
    end;
later(Looker) ->
    Looker.

-doc "Handles a message: now they are looked at, or have been; `other` if it is none of the looker's.".
-spec handle(Message :: term(), looker()) -> {looks | looked, looker()} | other.
handle({timeout, Timer, look}, {Timer, All}) -> {looks, {looking(held), All}};
handle({'DOWN', Monitor, process, _, _}, {Monitor, All}) -> {looked, {none, All}};
handle(_Message, _Looker) -> other.

%% In a process of its own, since a process that is busy takes its time to say how long its mailbox is.
looking(Which) ->
    {_, Monitor} = spawn_monitor(?MODULE, look, [Which]),
    Monitor.

-doc false.
-spec look(held | all) -> ok.
look(Which) ->
    _ = [look(Role, Pid) || {Role, Pid} <- mailboxes(Which)],
    ok.

mailboxes(held) -> list(erlmcp_native:mailbox_held(own));
mailboxes(all) -> list(erlmcp_native:mailbox_all(own)).

list(List) when is_list(List) -> List;
list(_NotStarted) -> [].

look(Role, Pid) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} -> erlmcp_native:mailbox_looked(own, Role, Pid, Length);
        %% What is dead is given up natively.
        undefined -> erlmcp_native:mailbox_looked(own, Role, Pid, 0)
    end.
