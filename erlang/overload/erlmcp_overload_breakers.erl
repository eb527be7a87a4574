-module(erlmcp_overload_breakers).
-moduledoc """
Which roles' breakers are open, and which are to be opened or closed: a breaker follows its role's level, but is not
closed before it was open for its least time. Under steady overload it would open and close several times a second
otherwise, since a role's level is that of its fullest owner.

That time is `breaker_min_open` of `m:erlmcp_overload_options`, a tenth more or less by chance for each opening:
breakers that have opened together do not close together. What a process before this one has opened counts from now
on.

It runs in the monitor's process, which hands in the message that a breaker may be closed.
""".

-export([new/1, follow/4, handle/2]).
-export([follow/5]).

-export_type([breakers/0, action/0, may/0]).

-doc "These are the open ones, with the time from which on each may be closed, and when that is asked next.".
-opaque breakers() :: #{
    open := #{erlmcp_queue_limits:role() => MayCloseMs :: integer() | since_before},
    timer := reference() | none
}.
-doc "An action is what becomes of a role's breaker.".
-type action() :: {erlmcp_queue_limits:role(), open | close}.
-doc "Whether a breaker is kept open for its least time, or may be closed at once, since nothing is judged any more.".
-type may() :: later | at_once.

%% A tenth more or less.
-define(SPREAD, 0.1).

-doc "Begins with those that were opened before.".
-spec new([erlmcp_queue_limits:role()]) -> breakers().
new(Opened) ->
    #{open => maps:from_keys(Opened, since_before), timer => none}.

-doc "Follows the roles that are at the level now, and says what is to be done.".
-spec follow([erlmcp_queue_limits:role()], MinOpenMs :: non_neg_integer(), may(), breakers()) ->
    {[action()], breakers()}.
follow(Wanted, MinOpenMs, May, #{open := Before, timer := Timer} = Breakers) ->
    Times = fun() -> round(MinOpenMs * (1 - ?SPREAD + 2 * ?SPREAD * rand:uniform())) end,
    NowMs = erlang:monotonic_time(millisecond),
    {Actions, Open, NextMs} = follow(Wanted, NowMs, Times, May, Before),
    {Actions, Breakers#{open := Open, timer := ask_again(NextMs, NowMs, Timer)}}.

-doc false.
-spec follow([Role], integer(), fun(() -> non_neg_integer()), may(), #{Role => integer() | since_before}) ->
    {[{Role, open | close}], #{Role => integer()}, NextMs :: integer() | never}.
follow(Wanted, NowMs, MinOpenMs, May, Before) ->
    Known = #{Role => at(MayMs, NowMs, MinOpenMs) || Role := MayMs <- Before},
    New = #{Role => NowMs + MinOpenMs() || Role <- Wanted, not is_map_key(Role, Known)},
    Left = maps:without(Wanted, Known),
    Closed = [Role || Role := MayMs <- Left, May =:= at_once orelse MayMs =< NowMs],
    Kept = maps:without(Closed, Left),
    Actions = [{Role, open} || Role <- Wanted, is_map_key(Role, New)] ++ [{Role, close} || Role <- lists:sort(Closed)],
    {Actions, maps:merge(maps:without(Closed, Known), New), lists:min([never | maps:values(Kept)])}.

at(since_before, NowMs, MinOpenMs) -> NowMs + MinOpenMs();
at(MayMs, _, _) -> MayMs.

ask_again(NextMs, NowMs, Timer) ->
    _ = [erlang:cancel_timer(Timer) || is_reference(Timer)],
    case NextMs of
        never -> none;
        _ -> erlang:start_timer(NextMs - NowMs, self(), breakers)
    end.

-doc "Tells whether a message says that it is time to follow again.".
-spec handle(term(), breakers()) -> due | other.
handle({timeout, Timer, breakers}, #{timer := Timer}) -> due;
handle(_, _) -> other.
