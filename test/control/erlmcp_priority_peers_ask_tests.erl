%% How often peers ask each other for their groups, what is answered, and what is known meanwhile. The other peer is one
%% of the tests' own, which says what they want and keeps what it hears.
-module(erlmcp_priority_peers_ask_tests).

-include_lib("eunit/include/eunit.hrl").

-export([speaker/0, say/3, heard/1, change/0, known/2]).

-import(erlmcp_control_far_test_lib, [on/4, name/1]).
-import(erlmcp_native_test_lib, [eventually/1]).

-define(LIB, erlmcp_control_far_test_lib).
-define(PEERS, erlmcp_priority_peers).
-define(SCOPE, erlmcp_overload).

ask_test_() ->
    {setup,
        fun() ->
            [A, B] = Peers = [?LIB:node(Name) || Name <- [peers_s, peers_t]],
            _ = ?LIB:cluster(A),
            {ok, _} = on(B, pg, start, [?SCOPE]),
            _ = ?LIB:connect(A, B),
            Peers
        end,
        fun(Peers) -> [ok = ?LIB:stop(Peer) || Peer <- Peers] end,
        fun([A, B]) ->
            [
                {Title, {timeout, 120, fun() -> with_speaker(Test, A, B) end}}
             || {Title, Test} <- [
                    {"one that tells of a change, and not of the rest, is asked again", fun told_of_a_change/3},
                    {"one that does not answer is asked twice a second, and holds up no news", fun not_answered/3},
                    {"who asks many times is answered once", fun asked_many_times/3},
                    {"while everything is told again nothing is unknown", fun told_again/3}
                ]
            ]
        end}.

%% It is known once it is asked.
with_speaker(Test, A, B) ->
    Speaker = on(B, ?MODULE, speaker, []),
    ok = eventually(fun() -> asks(B, Speaker) > 0 end),
    Test(A, B, Speaker),
    true = on(B, erlang, exit, [Speaker, kill]).

speaker() ->
    Caller = self(),
    Speaker = spawn(fun() ->
        ok = pg:join(?SCOPE, ?PEERS, self()),
        Caller ! {self(), joined},
        speak(erlang:alias())
    end),
    receive
        {Speaker, joined} -> Speaker
    end.

speak(Alias) ->
    receive
        {say, From, Node, Maps} ->
            _ = [{?PEERS, Node} ! {?PEERS, 1, self(), Map#{alias => Alias}} || Map <- Maps],
            From ! {self(), said},
            speak(Alias)
    end.

say(Speaker, Node, Maps) ->
    Speaker ! {say, self(), Node, Maps},
    receive
        {Speaker, said} -> ok
    end.

heard(Speaker) ->
    {messages, Messages} = process_info(Speaker, messages),
    [Map || {?PEERS, 1, _, Map} <- Messages].

asks(B, Speaker) ->
    length([ask || #{ask := counts} <- on(B, ?MODULE, heard, [Speaker])]).

waiting(A) ->
    {message_queue_len, Length} = on(A, erlang, process_info, [on(A, erlang, whereis, [?PEERS]), message_queue_len]),
    Length.

%% It may not have known who asked.
told_of_a_change(A, B, Speaker) ->
    ok = on(B, ?MODULE, say, [Speaker, name(A), [#{counts => #{newer => 1}, first => false}]]),
    ok = eventually(fun() -> on(A, ?MODULE, known, [[newer], name(B)]) =:= [newer] end),
    Asked = asks(B, Speaker),
    ok = eventually(fun() -> asks(B, Speaker) > Asked end).

%% What changes meanwhile is told every 20 ms: 50 of that in so long a time that a busy machine has it, too.
not_answered(A, B, Speaker) ->
    BegunMs = erlang:monotonic_time(millisecond),
    %% It is to be told, too.
    ok = on(B, ?MODULE, say, [Speaker, name(A), [#{ask => counts}]]),
    Changer = on(A, erlang, spawn, [?MODULE, change, []]),
    Told = fun() -> length([told || #{counts := _} <- on(B, ?MODULE, heard, [Speaker])]) end,
    ok = eventually(fun() -> Told() > 50 end),
    Asked = asks(B, Speaker),
    true = on(A, erlang, exit, [Changer, kill]),
    ?assert(Asked =< 2 + (erlang:monotonic_time(millisecond) - BegunMs) div 500).

change() ->
    ok = erlmcp_priority:join(changing),
    ok = erlmcp_priority:leave(changing),
    receive
    after 1 -> change()
    end.

%% By one that stood still meanwhile.
asked_many_times(A, B, Speaker) ->
    ok = on(A, sys, suspend, [?PEERS]),
    ok = on(B, ?MODULE, say, [Speaker, name(A), lists:duplicate(50, #{ask => counts})]),
    ok = eventually(fun() -> waiting(A) >= 50 end),
    ok = on(A, sys, resume, [?PEERS]),
    Answers = fun() -> length([all || #{first := true} <- on(B, ?MODULE, heard, [Speaker])]) end,
    ok = eventually(fun() -> Answers() > 0 andalso waiting(A) =:= 0 end),
    ?assertEqual(1, Answers()).

told_again(A, B, Speaker) ->
    All = [{group, N} || N <- lists:seq(1, 300)],
    {Begin, End} = lists:split(256, All),
    Say = fun(Groups, Map) -> on(B, ?MODULE, say, [Speaker, name(A), [Map#{counts => maps:from_keys(Groups, 1)}]]) end,
    Known = fun() -> on(A, ?MODULE, known, [All, name(B)]) end,
    ok = Say(Begin, #{first => true, more => true}),
    ok = Say(End, #{first => false, more => false}),
    ok = eventually(fun() -> Known() =:= All end),
    %% The first part of it, and a group that shows that this was heard.
    ok = Say([heard | Begin], #{first => true, more => true}),
    ok = eventually(fun() -> on(A, ?MODULE, known, [[heard], name(B)]) =:= [heard] end),
    ?assertEqual(All, Known()),
    ok = Say(lists:droplast(End), #{first => false, more => false}),
    ok = eventually(fun() -> Known() =:= lists:droplast(All) end),
    %% By one that does not know of parts.
    ok = Say(Begin, #{first => true}),
    ok = eventually(fun() -> Known() =:= Begin end).

%% Those of these groups of which the node has told.
known(Groups, Node) ->
    [Group || Group <- Groups, {To, _, _} <- erlmcp_priority_peers:send(Group, {priority, self(), x}), To =:= Node].
