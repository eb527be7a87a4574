-module(erlmcp_native_demo).
-moduledoc """
`make demo`: first the same program on two nodes of their own, of which only the second is protected; three nodes that
share a rate, of which one is killed; then a node with clients, sessions, transports, tool executors and SSE streams
under 100,000 requests/s, in ten phases, with control messages all the time; what is promised, and whether it was
kept, at the end.

Everything shown is measured while it runs: processes, messages, refusals, faults and times are real, and on a machine
that cannot keep the pace the rates are those it reached. `m:erlmcp_native_demo_settings` has the settings. The exit
status is 0 if all promises hold that decide, 1 if not, 2 for wrong settings.
""".

-export([main/0]).

-define(RESERVED, #{Role => #{sheddable => 10} || Role <- [session, transport, tool_executor]}).
%% A call may wait for long on a machine that stands still.
-define(CANCEL, #{tombstone_ms => 30_000}).
%% All that is limited stays below these.
-define(WATCHED, #{warning => 3_000, critical => 5_000, overload => 10_000}).
-define(DRAIN_MS, 10_000).

-doc "Runs the demo and halts with its exit status.".
-spec main() -> no_return().
main() ->
    %% Ends at once; an orderly stop would take the services away from under the processes.
    ok = os:set_signal(sigterm, default),
    case erlmcp_native_demo_settings:read(fun os:getenv/2) of
        {ok, #{log := Log} = Settings} ->
            case erlmcp_native_demo_json:open(Log) of
                {ok, File} -> halt(run(Settings, File));
                {error, Reason} -> wrong(io_lib:format("DEMO_LOG: ~ts: ~ts", [Log, file:format_error(Reason)]))
            end;
        {error, Problem} ->
            wrong(Problem)
    end.

-spec wrong(unicode:chardata()) -> no_return().
wrong(Problem) ->
    io:format(standard_error, "~ts~n", [Problem]),
    halt(2).

run(#{log := Log, port := Port, plain := Plain, seconds := Seconds} = Settings, File) ->
    ok = quiet(filename:rootname(Log) ++ ".log"),
    HasPage = element(1, application:ensure_all_started(cowboy)) =:= ok,
    _ = HasPage andalso application:set_env(erlmcp_native, http, #{port => Port}),
    ok = application:set_env(erlmcp_native, queue_limits, erlmcp_native_demo_phases:limits()),
    ok = application:set_env(erlmcp_native, reserve, ?RESERVED),
    ok = application:set_env(erlmcp_native, node, erlmcp_native_demo_pressure:guard()),
    ok = application:set_env(erlmcp_native, rates, erlmcp_native_demo_tenants:rates()),
    ok = application:set_env(erlmcp_native, cancel, ?CANCEL),
    ok = application:set_env(erlmcp_native, overload, #{
        %% Where sheddable work is refused a tenth before the limit, nobody is at the limit.
        open_breaker_at => critical,
        %% Breakers are to close before the end, however short the demo is.
        breaker_min_open => min(5000, 50 * Seconds),
        watch_mailboxes => ?WATCHED
    }),
    case application:ensure_all_started(erlmcp_native) of
        {ok, _} ->
            try
                Status = play(Settings, File, erlmcp_native_demo_display:new(Plain)),
                ok = file:close(File),
                Status
            catch
                throw:output_closed -> 1
            end;
        {error, Reason} ->
            io:format(standard_error, "erlmcp_native does not start: ~tp~n", [Reason]),
            1
    end.

%% What is logged would be written across the table.
quiet(Name) ->
    _ = file:delete(Name),
    ok = logger:add_handler(?MODULE, logger_std_h, #{
        config => #{file => Name, max_no_bytes => 10_000_000, max_no_files => 1},
        formatter => {logger_formatter, #{single_line => true}}
    }),
    logger:remove_handler(default).

page() ->
    case erlmcp_native_http:port() of
        undefined -> "(no page: cowboy is not there)";
        Port -> "http://127.0.0.1:" ++ integer_to_list(Port) ++ "/"
    end.

play(#{log := Log, rival := Rival, hold := Hold} = Settings, File, Display) ->
    Page = page(),
    _ = erlmcp_native_demo_display:mode(Display) =:= plain andalso
        erlmcp_native_demo_display:print(Display, [["page: ", Page, "; log: ", Log]]),
    %% All at once and before anything is measured: none is slowed by the start of another.
    Started = erlmcp_native_demo_node:start_all(to_compare(Settings) ++ more(Settings)),
    {ToCompare, More} = lists:split(length(to_compare(Settings)), Started),
    Compared = compare(ToCompare, Settings, File, Display, Page),
    Nodes = nodes(More, File, Display, Page),
    Seconds = erlmcp_native_demo_budget:seconds(Settings, passed_ms()),
    Book = erlmcp_native_demo_handler:new(),
    Meter = erlmcp_native_demo_meter:new(),
    ok = erlmcp_overload_monitor:add_handler(erlmcp_native_demo_handler, {self(), Book, Meter}),
    Crew = erlmcp_native_demo_crew:start(Meter),
    World = #{meter => Meter, book => Book, crew => Crew, share => erlmcp_native_demo_share:start([self()])},
    Show = erlmcp_native_demo_show:run(World, File, Display, #{seconds => Seconds, page => Page}),
    AtRest = come_to_rest(World, erlang:monotonic_time(millisecond) + ?DRAIN_MS),
    Refused = erlmcp_native_demo_sample:library_refused(),
    Facts = Show#{sample => AtRest, compared => Compared, nodes => Nodes, library_refused => Refused},
    Verdicts = erlmcp_native_demo_promises:verdicts(Facts),
    Status =
        case erlmcp_native_demo_verdict:kept(Verdicts) of
            true -> 0;
            false -> 1
        end,
    Tables = [
        erlmcp_native_demo_compare_view:lines(Compared),
        erlmcp_native_demo_nodes_view:lines(Nodes),
        erlmcp_native_demo_tenants:lines(AtRest),
        erlmcp_native_demo_overload:lines(Facts),
        erlmcp_native_demo_verdict:lines(Verdicts)
    ],
    ok = erlmcp_native_demo_display:print(Display, lists:append([[[] | Table] || Table <- Tables, Table =/= []])),
    Rival andalso contest(File, Display),
    ok = erlmcp_native_demo_json:write(File, erlmcp_native_demo_json:promises(Verdicts, Status)),
    Hold andalso hold(Meter, Page, Display),
    Status.

%% What is on its way is finished, so that all counts must add up, and alerts clear.
come_to_rest(#{meter := Meter} = World, Deadline) ->
    ok = erlmcp_native_demo_meter:set(Meter, {recovery, 0, 0, 0}),
    #{counts := Counts, roles := Roles, node := Node} = Sample = erlmcp_native_demo_sample:take(World),
    #{offered := Offered, answered := Answered, refused := Refused, lost := Lost} = Counts,
    Quiet = lists:all(
        fun(#{role := Role, fullest := Fullest, level := Level, breaker := Breaker, stats := Stats}) ->
            #{current_depth := Depth} = Stats,
            %% Of mailboxes, that is how long they were when they were last looked at.
            IsEmpty = Fullest =:= 0 andalso (Depth =:= 0 orelse Role =:= session),
            Level =:= ok andalso Breaker =:= close andalso IsEmpty
        end,
        Roles
    ),
    #{level := Pressure, breaker := NodeBreaker} = Node,
    IsPressed = Pressure > 0 orelse NodeBreaker =:= open,
    IsTold = erlmcp_native_demo_tenants:untold(Sample) =:= 0,
    Done = Offered =:= Answered + Refused + Lost andalso Quiet andalso IsTold andalso not IsPressed,
    case Done orelse erlang:monotonic_time(millisecond) >= Deadline of
        true -> Sample;
        false -> receive after 20 -> come_to_rest(World, Deadline) end
    end.

%% The arguments of each node.
to_compare(#{compare := false}) -> [];
to_compare(#{compare := true}) -> [[], []].

more(#{nodes := false}) -> [];
more(#{nodes := true}) -> erlmcp_native_demo_nodes:arguments().

passed_ms() ->
    Passed = erlang:monotonic_time() - erlang:system_info(start_time),
    erlang:convert_time_unit(Passed, native, millisecond).

compare([], _Settings, _File, _Display, _Page) ->
    [];
compare(Peers, #{seconds := Seconds}, File, Display, Page) ->
    Ms = erlmcp_native_demo_budget:compared_ms(Seconds),
    erlmcp_native_demo_compare:run(Display, File, #{nodes => Peers, ms => Ms, page => Page}).

nodes([], _File, _Display, _Page) -> #{};
nodes(Peers, File, Display, Page) -> erlmcp_native_demo_nodes_view:run(Display, File, Page, Peers).

contest(File, Display) ->
    ok = erlmcp_native_demo_display:print(Display, [
        [], ["now the library and a gen_server take the same load; waits in µs"]
    ]),
    Results = erlmcp_native_demo_contest:run(),
    ok = erlmcp_native_demo_json:write(File, erlmcp_native_demo_json:contested(Results)),
    erlmcp_native_demo_display:print(Display, erlmcp_native_demo_contest:lines(Results)).

-spec hold(erlmcp_native_demo_meter:meter(), string(), erlmcp_native_demo_display:display()) -> no_return().
hold(Meter, Page, Display) ->
    ok = erlmcp_native_demo_meter:set(Meter, erlmcp_native_demo_phases:orders(calm)),
    ok = erlmcp_native_demo_display:print(Display, [[], ["calm load goes on, see ", Page, "; Ctrl-C ends it"]]),
    idle().

%% The handler goes on telling of alerts.
-spec idle() -> no_return().
idle() ->
    receive
        _ -> idle()
    end.
