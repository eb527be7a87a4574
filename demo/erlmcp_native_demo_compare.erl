-module(erlmcp_native_demo_compare).
-moduledoc """
Runs `m:erlmcp_native_demo_program` on two nodes, one after the other: as it was before, and with its one line changed.
Either may have the same memory, and is ended at the end.
""".

-export([run/3, memory/0]).

-export_type([result/0, settings/0]).

-define(FRAMES_PER_S, 4).
-define(MEMORY, (256 bsl 20)).

-doc """
This is what a node came to at the end, or when it was last asked; `ms` is how long it ran, and `ended` says whether it
was alive then.
""".
-type result() :: #{
    how := erlmcp_native_demo_program:how(),
    ms := pos_integer(),
    ended := alive | killed,
    sample := erlmcp_native_demo_program:sample()
}.
-doc "Settings are two nodes that do nothing yet, how long each takes, and the address of the page.".
-type settings() :: #{nodes := [erlmcp_native_demo_node:peer()], ms := pos_integer(), page := string()}.

-doc "Returns how many bytes a node may have.".
-spec memory() -> pos_integer().
memory() -> ?MEMORY.

-doc "Runs both, and shows them meanwhile.".
-spec run(erlmcp_native_demo_display:display(), file:io_device(), settings()) -> [result()].
run(Display, File, #{nodes := Nodes} = Settings) ->
    State = Settings#{display => Display},
    Results = lists:foldl(
        fun({How, Node}, Results) -> Results ++ [one(How, Node, Results, State)] end,
        [],
        lists:zip([bare, limited], Nodes)
    ),
    ok = erlmcp_native_demo_json:write(File, erlmcp_native_demo_json:compared(Results)),
    Results.

one(How, Node, Others, #{display := Display, ms := Ms} = State) ->
    _ = erlmcp_native_demo_display:mode(Display) =:= plain andalso
        erlmcp_native_demo_display:print(Display, erlmcp_native_demo_compare_view:heading(How)),
    try
        {ok, ok} = erlmcp_native_demo_node:call(Node, erlmcp_native_demo_program, start, [{How, ?MEMORY}]),
        Start = now_ms(),
        {ok, First} = sample(Node),
        Result = #{how => How, ms => 1, ended => alive, sample => First},
        watch(1, Result, Result, State#{node => Node, others => Others, start_ms => Start, until_ms => Start + Ms})
    after
        erlmcp_native_demo_node:stop(Node)
    end.

%% The result of before, and what was shown last.
watch(Frame, Result, Shown, #{node := Node, start_ms := Start, until_ms := Until} = State) ->
    At = min(Until, Start + Frame * 1000 div ?FRAMES_PER_S),
    receive
    after max(0, At - now_ms()) -> ok
    end,
    Ms = max(2, now_ms() - Start),
    case sample(Node) of
        {ok, Sample} when Start + Ms >= Until ->
            End = Result#{ms := Ms, sample := Sample},
            _ = show(End, Shown, true, State),
            End;
        {ok, Sample} ->
            New = Result#{ms := Ms, sample := Sample},
            %% What was missed is not made good.
            Next = max(Frame + 1, Ms * ?FRAMES_PER_S div 1000),
            watch(Next, New, show(New, Shown, Frame rem ?FRAMES_PER_S =:= 0, State), State);
        gone ->
            End = Result#{ms := Ms, ended := killed},
            _ = show(End, Shown, true, State),
            End
    end.

sample(Node) ->
    erlmcp_native_demo_node:call(Node, erlmcp_native_demo_program, sample, []).

%% Lines are a second's, frames all.
show(New, Shown, IsSecond, #{display := Display, others := Others, page := Page, ms := Ms}) ->
    case erlmcp_native_demo_display:mode(Display) of
        terminal ->
            View = #{results => Others ++ [New], page => Page, ms => Ms},
            ok = erlmcp_native_demo_display:frame(Display, erlmcp_native_demo_compare_view:frame(View)),
            New;
        plain when IsSecond ->
            ok = erlmcp_native_demo_display:print(Display, [erlmcp_native_demo_compare_view:plain(New, Shown)]),
            New;
        plain ->
            Shown
    end.

now_ms() ->
    erlang:monotonic_time(millisecond).
