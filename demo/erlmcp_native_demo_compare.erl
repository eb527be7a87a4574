-module(erlmcp_native_demo_compare).
-moduledoc """
Runs `m:erlmcp_native_demo_program` on two nodes, one after the other: as it was before, and with its one line changed.
Either may have the same memory, and is ended at the end.
""".

-export([run/3, memory/0]).

-export_type([result/0, settings/0]).

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
-doc "Settings are how long both take together, without their start, and the address of the page.".
-type settings() :: #{ms := pos_integer(), page := string()}.

-doc "Returns how many bytes a node may have.".
-spec memory() -> pos_integer().
memory() -> ?MEMORY.

-doc "Runs both, and shows them meanwhile.".
-spec run(erlmcp_native_demo_display:display(), file:io_device(), settings()) -> [result()].
run(Display, File, #{ms := Ms} = Settings) ->
    FramesPerS =
        case erlmcp_native_demo_display:mode(Display) of
            terminal -> 4;
            plain -> 1
        end,
    State = Settings#{display => Display, ms := Ms div 2, frames_per_s => FramesPerS},
    Results = lists:foldl(fun(How, Results) -> Results ++ [one(How, Results, State)] end, [], [bare, limited]),
    ok = erlmcp_native_demo_json:write(File, erlmcp_native_demo_json:compared(Results)),
    Results.

one(How, Others, #{display := Display, ms := Ms} = State) ->
    _ = erlmcp_native_demo_display:mode(Display) =:= plain andalso
        erlmcp_native_demo_display:print(Display, erlmcp_native_demo_compare_view:heading(How)),
    Node = erlmcp_native_demo_node:start([]),
    try
        {ok, ok} = erlmcp_native_demo_node:call(Node, erlmcp_native_demo_program, start, [{How, ?MEMORY}]),
        Start = now_ms(),
        {ok, First} = sample(Node),
        Result = #{how => How, ms => 1, ended => alive, sample => First},
        watch(Result, 1, State#{node => Node, others => Others, start_ms => Start, until_ms => Start + Ms})
    after
        erlmcp_native_demo_node:stop(Node)
    end.

watch(Result, Frame, #{node := Node, start_ms := Start, until_ms := Until, frames_per_s := PerS} = State) ->
    At = min(Until, Start + Frame * 1000 div PerS),
    receive
    after max(0, At - now_ms()) -> ok
    end,
    Ms = max(2, now_ms() - Start),
    case sample(Node) of
        {ok, Sample} ->
            New = Result#{ms := Ms, sample := Sample},
            ok = show(New, Result, State),
            case Start + Ms >= Until of
                true -> New;
                %% What was missed is not made good.
                false -> watch(New, max(Frame + 1, Ms * PerS div 1000), State)
            end;
        gone ->
            Killed = Result#{ms := Ms, ended := killed},
            ok = show(Killed, Result, State),
            Killed
    end.

sample(Node) ->
    erlmcp_native_demo_node:call(Node, erlmcp_native_demo_program, sample, []).

show(New, Old, #{display := Display, others := Others, page := Page, ms := Ms}) ->
    case erlmcp_native_demo_display:mode(Display) of
        terminal ->
            View = #{results => Others ++ [New], page => Page, ms => Ms},
            erlmcp_native_demo_display:frame(Display, erlmcp_native_demo_compare_view:frame(View));
        plain ->
            erlmcp_native_demo_display:print(Display, [erlmcp_native_demo_compare_view:plain(New, Old)])
    end.

now_ms() ->
    erlang:monotonic_time(millisecond).
